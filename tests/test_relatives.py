"""Other members of the kinds of faults that users found: scripts, each with what else its kind could do."""

from __future__ import annotations

import sys
from pathlib import Path

import msgpack
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.log.encodings import ENCODINGS
from gossiplog.log.entry import read_entries
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from tests.audit.names import SLOW
from tests.processes import ProcessTestCase, environment

POOL = """
import gc, multiprocessing, os, sys, threading
from gossiplog import GossiplogError, blocking

store = blocking.Store("store").__enter__()
writer = store.writer()
for number in range(5):
    writer.append(b"%d" % number)
stored, live = iter(store.read()), store.read(live=True)
next(stored)

def tried(_=None):
    calls = (lambda: writer.append(b"x"), lambda: next(stored), lambda: next(live), lambda: list(store.read()),
             lambda: store.writer("z"), lambda: store.cursor("c"), store.verify)
    said = []
    for call in calls:
        try:
            said.append(repr(call()))
        except GossiplogError as error:
            said.append(type(error).__name__)
    store.close()
    return said

def fork():
    child = os.fork()
    if not child:
        {child}
    assert os.waitpid(child, 0)[1] == 0

{use}
print(writer.append(b"y"), store.verify().ok)
store.close()
with blocking.Store("store") as store:
    print(len(list(store.read())))
"""

IN_A_POOL = """
fork_context = multiprocessing.get_context("fork")
with fork_context.Pool(2) as pool:
    for said in pool.map(tried, range(2), 1):
        assert {*said} in ({"StoreInheritedError"}, {"StoreClosedError"}), said  # or it closed it before
"""

BESIDE = """
import asyncio
from gossiplog import aio
from gossiplog.log.cursor import Cursor

async def main():
    async with aio.Store("store") as store, aio.Node(store, network="here") as node:
        writer, reference = await store.writer(), (bytes(32), 1, bytes(16))
        for bad in (
            lambda: writer.append(bytes(1 << 20)),
            lambda: writer.append_many([b"fits", bytes(2 << 20)]),
            lambda: writer.append(b"x", after=[(bytes(32), 0, bytes(16))]),
            lambda: writer.append(b"x", after=[(bytes(32), 1, b"short")]),
            lambda: writer.append(b"x", after=[reference] * 65),
            lambda: writer.append(None),
            lambda: store.save_cursor("x" * 5000, Cursor()),
            lambda: store.save_cursor("c", {b"short": 1}),
            lambda: store.writer("a/b"),
            lambda: node.block(writer.author),
            lambda: node.unfollow(writer.author),
        ):
            before = asyncio.ensure_future(writer.append(b"before"))
            wrong = asyncio.ensure_future(bad())
            after = asyncio.ensure_future(writer.append(b"after"))
            answers = await asyncio.gather(before, wrong, after, return_exceptions=True)
            print([type(answer).__module__ for answer in answers])
        print((await store.verify()).ok)

asyncio.run(main())
"""

ENDING = """
import asyncio
from twisted.internet import asyncioreactor
from gossiplog import Node, open_store

class Raising(list):
    def __init__(self, error):
        super().__init__([b"x"])
        self.error = error

    def fail(self, *_):
        raise self.error

    __iter__ = __len__ = __str__ = __repr__ = __bool__ = __eq__ = __fspath__ = fail
    __hash__ = None

async def loop(over, error):
    async for _ in over:
        raise error

async def within(what, error):
    async with what:
        raise error

async def waited(result):
    return await result

async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    async with open_store("store", reactor) as store, Node(reactor, store, network="here") as node:
        plain, json = await store.writer(), await store.writer("json", encoding="json")
        await plain.append(b"1")
        for error in (SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()):
            odd = Raising(error)
            for number, use in enumerate((
                lambda: plain.append_many(odd),
                lambda: plain.append_many(odd.fail() for _ in range(3)),
                lambda: plain.append(b"x", after=odd),
                lambda: json.append(odd),
                lambda: store.writer(odd),
                lambda: store.save_cursor("c", odd),
                lambda: node.follow(odd),
                lambda: node.listen(odd),
                lambda: node.connect(odd),
                lambda: node.when(odd),
                lambda: loop(store.read(), error),
                lambda: loop(store.read(live=True), error),
                lambda: within(store.read(live=True), error),
                lambda: within(node.events(), error),
            )):
                try:
                    await waited(use())
                except BaseException as raised:
                    if raised is not error and "gossiplog" not in type(raised).__module__:
                        print(number, repr(raised))
                else:
                    print(number, "raised nothing")
                await asyncio.wait_for(asyncio.ensure_future(waited(plain.append(b"2"))), 30)
    print("closed")

asyncio.run(main())
"""

SLOW_AIO = """
import asyncio
from gossiplog import aio

async def main():
    async with aio.Store("store") as store, aio.Node(store, network="here") as node:
        node.connect("tcp:relay.slow:4000")
        try:
            await asyncio.wait_for(node.listen("tcp:0:interface=here.slow"), 0.1)
        except TimeoutError:
            print(await (await store.writer()).append(b"x"))

asyncio.run(main())
asyncio.run(main())
"""

SLOW_BLOCKING = """
from gossiplog import NodeError, blocking

with blocking.Store("store") as store:
    with blocking.Node(store, network="here") as node:
        for number in range(20):
            node.connect(f"tcp:relay{number}.slow:4000")
        print(store.writer().append(b"x"))
    try:
        store.sync("tcp:relay.slow:4000", network="here", timeout=0.1)
    except NodeError as error:
        print(error)
"""


class ProgramTests(ProcessTestCase):
    """Kinds 1, 3, 14 and 16."""

    def said(self, program: str) -> list[str]:
        process = self.start(
            sys.executable, "-W", "ignore", "-c", program, env=environment(PYTHONPATH=self.path)
        )
        self.assertEqual(process.finish(), 0, process.err)
        return process.out.splitlines()

    @property
    def path(self) -> str:
        """Where a program finds what it imports: names that nobody answers for among it."""
        (self.place / "sitecustomize.py").write_text(SLOW)
        return f"{self.place}:{environment()['PYTHONPATH']}"

    def test_pool(self) -> None:
        """Workers by fork that use everything they inherited, an iterator in the middle too."""
        self.assertEqual(self.said(POOL.format(child="pass", use=IN_A_POOL)), ["6 True", "6"])

    def test_child_of_another_thread(self) -> None:
        """It drops everything and ends as programs do."""
        child = "[globals().pop(name) for name in ('store', 'writer', 'stored', 'live')]; gc.collect(); sys.exit()"
        use = "thread = threading.Thread(target=fork); thread.start(); thread.join(); fork()"
        self.assertEqual(self.said(POOL.format(child=child, use=use)), ["6 True", "6"])

    def test_beside_good_ones(self) -> None:
        """What is wrong with one request is no matter of the two in the same turn."""
        lines = self.said(BESIDE)
        self.assertEqual(lines[:-1], ["['builtins', 'gossiplog.errors', 'builtins']"] * 11)
        self.assertEqual(lines[-1], "True")

    def test_ends_of_programs(self) -> None:
        """Raised by what an application gives, in fourteen places: it comes back, and everything goes on."""
        self.assertEqual(self.said(ENDING), ["closed"])

    def test_slow_names_within_asyncio(self) -> None:
        self.assertEqual(self.said(SLOW_AIO), ["1", "2"])

    def test_slow_names_without_a_loop(self) -> None:
        counted, why = self.said(SLOW_BLOCKING)
        self.assertEqual(counted, "1")
        self.assertIn("still being looked up", why)


class CommandTests(ProcessTestCase):
    """Kinds 9 and 10."""

    def test_full_output(self) -> None:
        """Of what is printed before anything is opened, too."""
        self.gossiplog("init").finish()
        for verb in (("--help",), ("--version",), ("append", "--help"), ("verify",), ("id",)):
            with open("/dev/full", "wb") as full:
                process = self.gossiplog(*verb, stdout=full)
                self.assertEqual(process.finish(), 1, verb)
            self.assertIn("standard output: No space left on device", process.err)

    def test_paths(self) -> None:
        """No store can be there: one line, which names the place, and nothing new."""
        place = Path(self.mktemp()).absolute()
        place.mkdir()
        (place / "file").touch()
        (place / "loop").symlink_to("loop")
        (place / "dangling").symlink_to("nowhere/at/all")
        before = sorted(place.iterdir())
        for name in (
            "file",
            "file/below",
            "loop",
            "dangling",
            "n" * 300,
            "deep/" * 2000,
            "/dev/null",
            "/proc/x",
        ):
            process = self.gossiplog("init", "--store", name, cwd=place)
            self.assertEqual(process.finish(), 1, name[:20])
            self.assertRegex(process.err, r"\Agossiplog: .*\n\Z", name[:20])
            self.assertIn(name[:20].rstrip("/"), process.err)
        self.assertEqual(sorted(place.iterdir()), before)


class BodyTests(SynchronousTestCase):
    """Kind 5: whatever a member signs, an entry can be looked at and printed."""

    def test_odd_bodies(self) -> None:
        pack = msgpack.packb
        times = (
            -1,
            2**53 - 1,
            2**53,
            -(2**63),
            2**64 - 1,
            253402300799999,
            253402300800000,
            1.5,
            None,
            "x",
            b"x",
            True,
        )
        bodies = [pack([time, b"x"]) for time in times]
        bodies += [pack([1, payload]) for payload in (b"", b"\xff", "text", None, 5, [1], {})]
        references = ([], [[]], [[1, 2, 3]], [[bytes(32), 0, bytes(16)]], [[bytes(32), 2**64 - 1, bytes(16)]])
        bodies += [
            pack([1, b"x", after]) for after in (*references, None, "x", {}, [[bytes(32), 1, bytes(16)]] * 65)
        ]
        bodies += [
            b"",
            b"\xc0",
            b"\x90",
            b"\x92\x01\xc4",
            b"\x92\x01\xc4\x00\x00",
            b"\x92\xd6\xff\0\0\0\0\xc4\0",
            b"\xc1",
        ]
        keypair = Keypair(bytes(32))
        segments, _ = build(keypair, Head(0, genesis_id(keypair.author)), bodies)
        for encoding in ENCODINGS.values():
            entries = [entry for segment in segments for entry in read_entries(segment, encoding)]
            self.assertEqual(len(entries), len(bodies))
            for entry in entries:
                for name in dir(entry):
                    getattr(entry, name)
                self.assertTrue(repr(entry).isprintable())
                repr(entry).encode()
