"""Ring 8: the reactor, the sockets and the timers of a node in a child by fork; as real processes."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.processes import ProcessTestCase

PAIR = """
import asyncio, gc, os, select, socket, sys
from twisted.internet.defer import Deferred
from gossiplog import DialFailed, Node, PeerDown, PeerUp, open_store

class Pair:
    "Two stores with a node each, connected, in one process."

    async def open(self, reactor):
        self.stores = [open_store(name, reactor) for name in ("one", "two")]
        self.writers = [await store.writer() for store in self.stores]
        self.nodes = [Node(reactor, store, network="here") for store in self.stores]
        self.address = await self.nodes[0].listen("tcp:0:interface=127.0.0.1")
        self.nodes[1].connect(self.address.replace("127.0.0.1", "localhost"))
        self.nodes[1].connect("tcp:127.0.0.1:1")
        up = await self.nodes[0].when(PeerUp)
        await self.nodes[0].when_in_sync(up.peer)
        self.notices = []
        for node in self.nodes:
            node.subscribe(self.notices.append)
        self.readers = [store.read(tail=True) for store in self.stores]

    async def work(self, count):
        "Entries go to and fro, on the connection there was."
        for number in range(count):
            for writer in self.writers:
                await writer.append(b"%d" % number)
            for reader in self.readers:
                for _ in self.stores:
                    assert (await anext(reader)).payload == b"%d" % number
        assert not [notice for notice in self.notices if isinstance(notice, PeerDown)], self.notices

    async def close(self):
        for store in self.stores:
            await store.close()

pair = Pair()

async def main(reactor):
    await pair.open(reactor)
    for leave in LEAVING:
        to_child, go = os.pipe()
        from_child, up = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(go)
            pair.notices.clear()
            await leave(reactor, to_child, up)
            sys.exit(7)
        os.close(up)
        os.read(from_child, 1)
        await pair.work(3)
        {parent}
        os.close(go)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), end=" ", flush=True)
        await pair.work(3)
    await pair.close()
    print("well", flush=True)

async def by_exit(*_):
    pass

async def by_an_error(*_):
    1 / 0

async def after_close(*_):
    for node in pair.nodes:
        await node.stop()
    await pair.close()

async def collected(*_):
    pair.__dict__.clear()
    gc.collect()

async def later(reactor, to_child, up):
    "Go on with the reactor until the parent says so."
    from twisted.internet.task import deferLater
    os.write(up, b"1")
    while not select.select([to_child], [], [], 0)[0]:
        await deferLater(reactor, 0.001)
    if pair.notices:
        print(pair.notices, flush=True)

async def much_later(reactor, to_child, up):
    "Do nothing until the parent says so."
    os.write(up, b"1")
    os.read(to_child, 1)

LEAVING = [{leaving}]

def asyncio_main():
    async def run():
        from twisted.internet import asyncioreactor
        asyncioreactor.install(asyncio.get_running_loop())
        from twisted.internet import reactor
        reactor.startRunning(installSignalHandlers=False)
        await main(reactor)

    asyncio.run(run())

def twisted_main(kind):
    from importlib import import_module
    import_module(f"twisted.internet.{{kind}}reactor").install()
    from twisted.internet.task import react
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


class ReactorTests(ProcessTestCase):
    """Two nodes in one process, which forks while they are connected."""

    def run_program(self, kind: str, leaving: str, parent: str = "pass") -> tuple[str, str]:
        """What it printed, on both streams."""
        run = "asyncio_main()" if kind == "asyncio" else f"twisted_main({kind!r})"
        program = PAIR.format(leaving=leaving, parent=parent.strip())
        place = Path(self.mktemp())
        place.mkdir()
        process = self.start(sys.executable, "-c", f"{program}\n{run}\n", cwd=place)
        process.finish()
        return process.out, process.err

    def test_leaving_a_loop(self) -> None:
        """However a child leaves ``asyncio.run``, which closes the loop, the parent's goes on."""
        out, err = self.run_program("asyncio", "by_exit, by_an_error, after_close, collected")
        self.assertEqual(out, "7 1 7 7 well\n", err)

    def test_leaving_a_reactor(self) -> None:
        """The same of Twisted's.

        One that goes on reads from no connection of the parent, dials nobody and tells nothing.
        """
        for kind in ("epoll", "poll", "select"):
            with self.subTest(kind):
                out, err = self.run_program(kind, "by_exit, by_an_error, after_close, collected, later")
                self.assertEqual(out, "7 1 7 7 7 well\n", err)

    def test_ports(self) -> None:
        """What the parent gives back is free, although its child lives on."""
        parent = """
        address = pair.address
        await pair.nodes[0].stop()
        again = pair.nodes[0] = Node(reactor, pair.stores[0], network="here")
        again.subscribe(pair.notices.append)
        assert await again.listen(f"{address}:interface=127.0.0.1".replace("127.0.0.1:", "", 1)) == address
        await again.when(PeerUp)
        pair.notices.clear()
"""
        for kind, leaving in (("epoll", "later"), ("asyncio", "much_later")):
            with self.subTest(kind):
                out, err = self.run_program(kind, leaving, parent)
                self.assertEqual(out, "7 well\n", err)


AIO = """
import asyncio, os, sys
from gossiplog import PeerUp, StoreInheritedError, aio

async def leave(how, writer, store):
    if how == "use":
        await writer.append(b"child")
    if how == "close":
        await store.close()
        await store.close()
    sys.exit(7)

async def main():
    async with aio.Store("one") as store, aio.Store("two") as other:
        writer = await store.writer()
        async with aio.Node(store, network="here") as node, aio.Node(other, network="here") as peer:
            peer.connect(await node.listen("tcp:0:interface=127.0.0.1"))
            await peer.when(PeerUp)
            for how in ("exit", "use", "close"):
                pid = os.fork()
                if not pid:
                    await leave(how, writer, store)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), await writer.append(b"x"), flush=True)
            async for entry in other.read(live=True):
                if entry.seq == 3:
                    break
            assert node.peers

try:
    asyncio.run(main())
except StoreInheritedError:
    sys.exit(8)
print("well", flush=True)
"""

BLOCKING = """
import os, sys
from gossiplog import PeerUp, StoreInheritedError, blocking

def leave(how, writer, store, reader):
    if how == "read":
        list(reader)
    if how == "use":
        writer.append(b"child")
    if how == "close":
        store.close()
        store.close()
    if how == "new":
        with blocking.Store("three") as another:
            assert another.writer().append(b"child's") == 1
    sys.exit(7)

try:
    with blocking.Store("one") as store, blocking.Store("two") as other:
        writer, reader = store.writer(), store.read()
        with blocking.Node(store, network="here") as node, blocking.Node(other, network="here") as peer:
            with peer.events(PeerUp) as events:
                peer.connect(node.listen("tcp:0:interface=127.0.0.1"))
                next(events)
                for how in ("exit", "use", "read", "close", "new"):
                    pid = os.fork()
                    if not pid:
                        leave(how, writer, store, reader)
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), writer.append(b"x"), flush=True)
                for entry in other.read(live=True):
                    if entry.seq == 5:
                        break
                assert node.peers
except StoreInheritedError:
    sys.exit(8)
print("well", flush=True)
"""


class FrontDoorTests(ProcessTestCase):
    """The same through ``gossiplog.aio`` and ``gossiplog.blocking``: a child leaves without a loop and a thread."""

    def run_program(self, program: str) -> list[str]:
        about_threads = (
            "ignore:This process:DeprecationWarning"  # from Python 3.12 on, and what this is a test of
        )
        process = self.start(sys.executable, "-W", about_threads, "-c", program)
        self.assertEqual((process.finish(), process.err), (0, ""))
        return process.out.splitlines()

    def test_aio(self) -> None:
        self.assertEqual(self.run_program(AIO), ["7 1", "8 2", "7 3", "well"])

    def test_blocking(self) -> None:
        self.assertEqual(self.run_program(BLOCKING), ["7 1", "8 2", "8 3", "7 4", "7 5", "well"])
