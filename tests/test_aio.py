"""Ring 8: ``gossiplog.aio`` under asyncio's own runners, in processes of their own where what is left behind counts."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import gossiplog
from gossiplog import StoreClosedError, StoreLockedError, aio, aio_attached
from gossiplog.blocking import attached as blocking_attached
from gossiplog.control import attached_node
from gossiplog.errors import InvalidValueError, WrongCallerError

SECONDS = 60

PROGRAM = """
import asyncio, os, signal, sys, threading
from gossiplog import InSync, PeerUp, aio

async def main(names=("ann", "bob")):
    async with aio.Store(names[0]) as ann, aio.Store(names[1]) as bob:
        writer = await ann.writer(encoding="json")
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(writer.append(number))
        async with aio.Node(ann, network="aio") as here, aio.Node(bob, network="aio") as there:
            up = asyncio.create_task(there.when(PeerUp))
            there.connect((await here.listen("tcp:0:interface=127.0.0.1")).replace("127.0.0.1", "localhost"))
            await there.when_in_sync((await up).peer)
            return [entry.payload async for entry in bob.read(encoding="json")]

def left():
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(10)  # one that looked a name up is about to end
    return threading.active_count(), len(os.listdir("/proc/self/fd")), "twisted.internet.reactor" in sys.modules

"""


def run(text: str, directory: Path) -> str:
    """Return what a program prints; it must end well and without a warning."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM + text],
        cwd=directory,
        capture_output=True,
        timeout=SECONDS,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    warned = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]  # it was slow
    if done.returncode or warned:
        raise AssertionError(f"status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class ProcessTests(SynchronousTestCase):
    """A program of its own, in development mode, where a warning is an error."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)

    def test_several_times(self) -> None:
        """Each ``asyncio.run`` finds everything as it was before, and leaves it so."""
        printed = run(
            """
first = asyncio.run(main())
before = left()
for number in range(3):
    asyncio.run(main())
    assert left() == before, (left(), before)
print(first, before[0], before[2])
""",
            self.directory,
        )
        self.assertEqual(printed, "[0, 1, 2] 1 False\n")

    def test_causal_order(self) -> None:
        """Live, with the notices of the store, and cancelled in the middle."""
        text = """
async def order():
    async with aio.Store("order") as store:
        store.notices.listen(print)
        one, two = await store.writer("one"), await store.writer("two")
        await one.append(b"1")
        await two.append(b"2", after=[entry async for entry in store.read()])
        await one.append(b"3", after=await store.heads())
        reader = store.read(order="causal", live=True, settle=0.05)
        got = [(await anext(reader)).payload for _ in range(3)]
        try:
            await asyncio.wait_for(anext(reader), 0.1)
        except TimeoutError:
            await two.append(b"4")
        print(got, (await anext(reader)).payload)
asyncio.run(order())
print(left()[0])
"""
        self.assertEqual(run(text, self.directory), "[b'1', b'2', b'3'] b'4'\n1\n")

    def test_a_body_that_fails(self) -> None:
        """Its error comes out, and store and node are closed."""
        printed = run(
            """
async def fails():
    async with aio.Store("ann") as store, aio.Node(store, network="aio") as node:
        await node.listen("tcp:0:interface=127.0.0.1")
        raise KeyError("mine")
for number in range(2):
    try:
        asyncio.run(fails())
    except KeyError as error:
        print(error, left()[0])
""",
            self.directory,
        )
        self.assertEqual(printed, "'mine' 1\n" * 2)

    def test_interrupted(self) -> None:
        """Ctrl-C ends a live read; what was begun is on disk, and everything is closed."""
        printed = run(
            """
async def reads():
    async with aio.Store("ann") as store, aio.Node(store, network="aio") as node:
        writer = await store.writer(encoding="json")
        appending = [asyncio.create_task(writer.append(number)) for number in range(100)]
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGINT)
        async for entry in store.read(tail=True):
            pass
async def count():
    async with aio.Store("ann") as store:
        print(len([entry async for entry in store.read()]), left()[0])
signal.signal(signal.SIGINT, signal.default_int_handler)  # who started the tests may ignore it
try:
    asyncio.run(reads())
except KeyboardInterrupt:
    print("interrupted", left()[0])
asyncio.run(count())
""",
            self.directory,
        )
        self.assertEqual(printed, "interrupted 1\n100 2\n")

    def test_abandoned(self) -> None:
        """A store that nobody closed: the next run is not disturbed by it."""
        printed = run(
            """
async def abandons():
    await aio.Store("carol").open()
asyncio.run(abandons())
print(asyncio.run(main()))
""",
            self.directory,
        )
        self.assertEqual(printed, "[0, 1, 2]\n")

    def test_loops_in_threads(self) -> None:
        """Each thread has its loop, and stores of its own on it."""
        printed = run(
            """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    print(*pool.map(lambda names: asyncio.run(main(names)), [("ann", "bob"), ("carol", "dave")]))
""",
            self.directory,
        )
        self.assertEqual(printed, "[0, 1, 2] [0, 1, 2]\n")

    def test_uvloop(self) -> None:
        """Under uvloop as under asyncio's own loop."""
        if find_spec("uvloop") is None:
            raise SkipTest("needs the extra frameworks")
        printed = run(
            "import uvloop\nprint(uvloop.run(main()), left()[0])\nprint(uvloop.run(main())[:1])",
            self.directory,
        )
        self.assertEqual(printed, "[0, 1, 2] 1\n[0]\n")

    def test_on_the_installed_reactor(self) -> None:
        """Where Twisted's reactor for asyncio is installed and runs on the loop, that one is used."""
        printed = run(
            """
from twisted.internet import asyncioreactor
async def installed():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    store = await aio.Store("carol").open()
    print(store._reactor is reactor)
    await store.close()
    print(reactor.running, await main())
asyncio.run(installed())
""",
            self.directory,
        )
        self.assertEqual(printed, "True\nTrue [0, 1, 2]\n")

    def test_pytest(self) -> None:
        """Each test of pytest-asyncio has a loop of its own."""
        if find_spec("pytest_asyncio") is None:
            raise SkipTest("needs the extra frameworks")
        (self.directory / "test_notes.py").write_text(
            "import pytest\nfrom gossiplog import aio\n"
            "@pytest.mark.asyncio\n@pytest.mark.parametrize('seq', [1, 2])\n"
            "async def test_append(seq):\n    async with aio.Store('notes') as store:\n"
            "        writer = await store.writer()\n        assert await writer.append(b'note') == seq\n"
        )
        arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
        arguments += ["-o", "asyncio_default_fixture_loop_scope=function", "-W", "error"]
        done = subprocess.run(
            arguments, cwd=self.directory, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        self.assertIn("2 passed", done.stdout, done.stdout + done.stderr)


class CallTests(SynchronousTestCase):
    """One store, one loop at a time, in this process."""

    def setUp(self) -> None:
        self.path = self.mktemp()

    def test_same_methods(self) -> None:
        """What ``gossiplog`` offers, ``gossiplog.aio`` offers, as coroutines where one waits."""
        waits = {
            "Store": "writer writers add_writer unlock protect recovered add_fork fork_proof view timeline cursor "
            "save_cursor verify holes repair close",
            "Writer": "append append_many",
            "LiveView": "ready query close",
            "LiveSearch": "find",
            "Node": "listen follow unfollow block unblock when when_in_sync recover stop",
        }
        for name, methods in waits.items():
            for method in methods.split():
                self.assertTrue(inspect.iscoroutinefunction(getattr(getattr(aio, name), method)), method)
        public = {name for name in vars(gossiplog.Node) if not name.startswith("_")}
        self.assertEqual(public - set(vars(aio.Node)), set())
        attached = {name for name in vars(attached_node.AttachedNode) if not name.startswith("_")}
        for name in attached:
            self.assertTrue(inspect.iscoroutinefunction(getattr(aio_attached.AttachedNode, name)), name)
            self.assertIn(name, dir(blocking_attached.AttachedNode))

    def test_cancelled_at_the_end(self) -> None:
        """Whoever cancels the task that leaves: the store is closed all the same, and the cancellation is told."""

        async def leave(store: aio.Store) -> None:
            async with store:
                writer = await store.writer()
                self.appending = asyncio.ensure_future(writer.append(b"1"))
                await asyncio.sleep(0)

        async def main() -> list[bytes]:
            for delay in range(6):
                task = asyncio.ensure_future(leave(store := aio.Store(self.path)))
                for _ in range(delay):
                    await asyncio.sleep(0.001)
                for _ in range(3):
                    task.cancel()
                    await asyncio.sleep(0)
                await asyncio.wait([task])
                with self.assertRaises(StoreClosedError):
                    _ = store.path
            async with aio.Store(self.path) as again:
                return [entry.payload async for entry in again.read()]

        self.assertEqual(set(asyncio.run(main())) - {b"1"}, set())

    def test_locked(self) -> None:
        """Waiting for a store leaves the loop alone; after that it is told who has it."""

        async def main() -> int:
            ticks = 0
            async with aio.Store(self.path):
                with self.assertRaises(StoreLockedError):
                    await aio.Store(self.path).open()
                waiting = asyncio.ensure_future(aio.Store(self.path, wait=SECONDS).open())
                while ticks < 20:
                    await asyncio.sleep(0.005)
                    ticks += 1
            await (await waiting).close()
            return ticks

        self.assertEqual(asyncio.run(main()), 20)

    def test_mistakes(self) -> None:
        """Not open, open twice, in another thread, in another loop: an error that says so."""
        store = aio.Store(self.path)
        self.assertRaises(StoreClosedError, lambda: store.clock)
        self.assertRaises(StoreClosedError, aio.Node, store, network="aio")

        async def main() -> None:
            async with store:
                with self.assertRaises(InvalidValueError):
                    await store.open()
                writer = await store.writer()
                caught: list[Any] = []

                def elsewhere() -> None:
                    try:
                        asyncio.run(writer.append(b"1"))
                    except WrongCallerError as error:
                        caught.append(error)

                thread = threading.Thread(target=elsewhere)
                thread.start()
                await asyncio.to_thread(thread.join)
                self.assertEqual(len(caught), 1)

        asyncio.run(main())
        self.assertRaises(StoreClosedError, asyncio.run, store.verify())
