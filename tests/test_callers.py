"""Ring 8: who calls from where it can only hang, or ends the program in a callback, learns of it; as real processes."""

from __future__ import annotations

import sys

from tests.processes import ProcessTestCase

NO_LOOP = """
import asyncio
from twisted.internet import {reactor}
from gossiplog import WrongCallerError, open_store

async def main():
    store = open_store("store", reactor)
    try:
        await {call}
    except WrongCallerError as error:
        print(error)

asyncio.run(main())
"""

NOT_STARTED = """
import asyncio
from twisted.internet import asyncioreactor

async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    from gossiplog import WrongCallerError, open_store
    store = open_store("store", reactor)
    try:
        await store.writer()
    except WrongCallerError as error:
        print(error)

asyncio.run(main())
"""

OTHER_LOOP = """
import asyncio, threading
from twisted.internet import asyncioreactor
from gossiplog import Node, WrongCallerError, open_store

async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    store = open_store("store", reactor)
    writer = await store.writer()

    def elsewhere(call):
        try:
            call()
        except WrongCallerError as error:
            print(error)

    calls = (store.writer, lambda: store.read(), lambda: writer.append(b"x"), lambda: store.cursor("c"), store.writers)
    await asyncio.to_thread(lambda: [elsewhere(call) for call in calls])
    waiting = Node(reactor, store, network="here").when()

    async def wait():
        await waiting

    await asyncio.to_thread(elsewhere, lambda: asyncio.run(wait()))
    await store.close()

asyncio.run(main())
"""

GONE = """
import asyncio
{begin}
from gossiplog import Node, StoreLockedError, WrongCallerError, open_store
from gossiplog.store.logs import open_logs

async def main():
    {install}
    from twisted.internet import reactor
    {start}
    store = open_store("store", reactor)
    writer = await store.writer()
    node = Node(reactor, store, network="here")
    queued = [writer.append(b"x") for _ in range(100)]
    {stop}
    return reactor, store, writer, node

{run}
for call in (store.writer, lambda: writer.append(b"x"), lambda: store.read(), store.verify, node.when, node.stop,
             lambda: node.listen("tcp:0"), lambda: Node(reactor, store, network="here"), lambda: node.follow(bytes(32)),
             lambda: open_store("store", reactor), lambda: open_store("other", reactor)):
    try:
        call()
    except WrongCallerError as error:
        print(error)
assert store.close().called
logs = open_logs("store")
print(logs.clock.total())
logs.close()
"""

CLOSED = {
    "begin": "from twisted.internet import asyncioreactor",
    "install": "asyncioreactor.install(asyncio.get_running_loop())",
    "start": "reactor.startRunning(installSignalHandlers=False)",
    "stop": "",
    "run": "reactor, store, writer, node = asyncio.run(main())",
}
STOPPED = {
    "begin": "from twisted.internet import reactor\nfrom twisted.internet.defer import Deferred",
    "install": "",
    "start": "",
    "stop": "reactor.stop()",
    "run": """
made = []
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addCallback(made.extend))
reactor.run()
reactor, store, writer, node = made
""",
}

EXIT = """
import sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from gossiplog import Node, open_store
from gossiplog.app.foreground import foreground

async def main(reactor):
    async with open_store("store", reactor) as store, Node(reactor, store, network="here") as node:
        writer = await store.writer()
        {subscribe}
        try:
            print(await writer.append(b"1"))
            await Deferred()
        finally:
            print(await writer.append(b"2"))

react(foreground(main))
"""


EXIT_ASYNCIO = """
import asyncio, sys
from twisted.internet import asyncioreactor
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer
from gossiplog import NewEntries, Node, open_store

def leave(_=None):
    {leave}

@implementer(IStreamClientEndpoint, IStreamServerEndpoint)
class Endpoint:
    "One of an application."

    def connect(self, factory):
        leave()

    listen = connect

class Late(Endpoint):
    def connect(self, factory):
        return deferLater(sys.modules["twisted.internet.reactor"], 0, leave)

ENDPOINT, LATE = Endpoint(), Late()

async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    async with open_store("store", reactor) as store, Node(reactor, store, network="here") as node:
        writer = await store.writer()
        try:
            {first}
            await asyncio.wait_for({wait}, 30)
        finally:
            print(await writer.append(b"2"))
    print("closed")

try:
    asyncio.run(main())
except BaseException as error:
    print(repr(error))
    raise
"""


CANCELLED = """
import asyncio, gc
from twisted.internet import asyncioreactor
from gossiplog import NewEntries, Node, open_store

def leave(_=None):
    raise asyncio.CancelledError

async def waited(awaitable):
    try:
        await awaitable
    except asyncio.CancelledError:
        print("cancelled", asyncio.current_task().cancelling())

async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    async with open_store("store", reactor) as store, Node(reactor, store, network="here") as node:
        writer = await store.writer()
        writer.append(b"1").addCallback(leave)
        await waited(writer.append(b"2").addCallback(leave))
        late = writer.append(b"3").addCallback(leave)
        await writer.append(b"4")
        await waited(late)
        writer.append(b"5")
        await waited(node.when(NewEntries, where=leave))
        gc.collect()
        print(await writer.append(b"6"))
    print("closed")

asyncio.run(main())
"""


AFTERWARDS = """
import sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from gossiplog.app.foreground import foreground

class Late:
    def __del__(self, Deferred=Deferred):
        try:
            import colorsys
        except ImportError:
            Deferred().errback()

async def main(reactor):
    global late
    late = Late()
    return 3

react(foreground(main))
"""


class CallerTests(ProcessTestCase):
    """Programs that others wrote."""

    def run_program(self, program: str, status: int = 0) -> str:
        """Run it to its end, which has to come."""
        process = self.start(sys.executable, "-c", program)
        self.assertEqual((process.finish(), process.err), (status, ""))
        return process.out

    def test_a_reactor_that_is_no_loop(self) -> None:
        """The line to add is in the error."""
        for call in ("store.writer()", "store.close()", "anext(store.read(tail=True))", "store.verify()"):
            printed = self.run_program(NO_LOOP.format(reactor="reactor", call=call))
            self.assertIn("asyncioreactor.install(asyncio.get_running_loop())", printed, call)

    def test_a_reactor_that_was_not_started(self) -> None:
        self.assertIn("reactor.startRunning(", self.run_program(NOT_STARTED))

    def test_another_thread(self) -> None:
        """Of five calls from there each raises, and so does waiting in another loop."""
        lines = self.run_program(OTHER_LOOP).splitlines()
        self.assertEqual(len(lines), 6)
        for line in lines[:5]:
            self.assertIn("callFromThread", line)
        self.assertIn("not the one", lines[5])

    def test_after_the_end(self) -> None:
        """Each call raises; closing is done at once, and what was queued is on disk."""
        for about, says in ((CLOSED, "loop"), (STOPPED, "has stopped")):
            lines = self.run_program(GONE.format(**about)).splitlines()
            self.assertEqual([says in line for line in lines], [True] * 11 + [False], lines)
            self.assertEqual(lines[-1], "100")
            self.run_program("import shutil; shutil.rmtree('store')")

    def test_exit_in_a_subscriber(self) -> None:
        """What main has in its finally blocks is done, and the status is the one that was asked for."""
        for leave, status in (
            ("sys.exit(5)", 5),
            ("sys.exit()", 0),
            ("(_ for _ in ()).throw(KeyboardInterrupt)", 130),
        ):
            for subscribe in (
                f"node.subscribe(lambda notice: {leave})",
                f"store.writers().addCallback(lambda _: {leave})",
            ):
                program = EXIT.format(subscribe=subscribe)
                self.assertEqual(self.run_program(program, status), "1\n2\n", subscribe)
                self.run_program("import shutil; shutil.rmtree('store')")

    def test_exit_in_an_asyncio_program(self) -> None:
        """Whoever runs the loop gets what a subscriber or a predicate raised, and the end of the program is orderly."""
        subscribe, forever = "node.subscribe(leave); await writer.append(b'1')", "asyncio.Event().wait()"
        begin = "writer.append(b'1')"
        where = "node.when(NewEntries, where=leave)"
        for leave, first, wait, end, status in (
            ("sys.exit(5)", subscribe, forever, "SystemExit(5)", 5),
            ("raise KeyboardInterrupt", subscribe, forever, "KeyboardInterrupt()", -2),
            ("sys.exit(5)", begin, where, "SystemExit(5)", 5),
            ("raise StopIteration", begin, where, "RuntimeError(", 1),
            ("raise GeneratorExit", begin, where, "GeneratorExit()", 1),
            ("sys.exit(5)", "writer.append(b'1').addCallback(leave)", forever, "SystemExit(5)", 5),
            (
                "raise KeyboardInterrupt",
                f"await {begin}; node.listen(ENDPOINT)",
                forever,
                "KeyboardInterrupt()",
                -2,
            ),
            ("sys.exit(5)", f"await {begin}; node.connect(ENDPOINT)", forever, "SystemExit(5)", 5),
            ("sys.exit(5)", f"await {begin}; node.connect(LATE)", forever, "SystemExit(5)", 5),
        ):
            program = EXIT_ASYNCIO.format(leave=leave, first=first, wait=wait)
            process = self.start(sys.executable, "-c", program)
            self.assertEqual(process.finish(), status, process.err)
            self.assertIn(end, process.out)
            self.assertRegex(process.out, r"\A2\n")
            self.run_program("import shutil; shutil.rmtree('store')")

    def test_cancelled_in_a_callback(self) -> None:
        """That ends no program and no task but the one that waits; nobody waits for the first one, which is logged."""
        process = self.start(sys.executable, "-c", CANCELLED)
        self.assertEqual(process.finish(), 0, process.err)
        self.assertEqual(process.out, "cancelled 0\n" * 3 + "6\nclosed\n")
        self.assertEqual(process.err.count("Unhandled error"), 1)
        self.assertEqual(process.err.count("asyncio.exceptions.CancelledError"), 1)

    def test_what_fails_when_the_interpreter_ends(self) -> None:
        """A command says what was wrong with it, and nothing about what is thrown away with it."""
        self.run_program(AFTERWARDS, 3)
