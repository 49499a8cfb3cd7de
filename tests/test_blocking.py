"""Ring 8: ``gossiplog.blocking`` from scripts and threads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import gossiplog
from gossiplog import (
    InSync,
    NodeError,
    PayloadTooLargeError,
    PeerUp,
    StoreClosedError,
    StoreLockedError,
    WrongCallerError,
    blocking,
)
from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_BODY_BYTES

SECONDS = 60.0
LISTEN = "tcp:0:interface=127.0.0.1"


class StartTests(SynchronousTestCase):
    """What a script that stays local does not wait for."""

    def test_what_is_not_imported(self) -> None:
        """What meets peers, mends, pages, is for other stores or names; appending and reading need none of it."""
        later = (
            "gossiplog.node gossiplog.net gossiplog.gossip.replica gossiplog.gossip.events gossiplog.views.index "
            "gossiplog.views.view gossiplog.notices gossiplog.live.causal_source "
            "gossiplog.live.timeline gossiplog.store.memory.backend gossiplog.store.sqlite.damaged nacl.pwhash "
            "gossiplog.store.sqlite.carved gossiplog.store.sqlite.pages gossiplog.store.repair.repair "
            "gossiplog.gossip.messages gossiplog.log.network gossiplog.log.place gossiplog.views.place "
            "importlib.metadata twisted.internet.reactor"
        )
        running = "twisted.internet.base twisted.internet.posixbase"  # what runs a store that is open
        look = f"print([name for name in {later.split()} if name in sys.modules])"
        append = "store.writer().append(b'1'); assert len(list(store.read())) == 1"
        opened = f"with b.Store({self.mktemp()!r}) as store: {append}"
        first = look.replace(later, f"{later} {running}")
        code = f"import sys, gossiplog.blocking as b\n{first}\n{opened}\n{look}"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(found.stdout, "[]\n[]\n")


class StoreTests(SynchronousTestCase):
    """One store, in this process."""

    def setUp(self) -> None:
        self.path = self.mktemp()

    def test_append_and_read(self) -> None:
        with blocking.Store(self.path, timeout=SECONDS) as store:
            writer = store.writer(encoding="json")
            self.assertEqual(writer.append({"n": 0}), 1)
            self.assertEqual(writer.append_many([{"n": n} for n in range(1, 10)]), range(2, 11))
            self.assertEqual([entry.payload["n"] for entry in store.read(encoding="json")], list(range(10)))
            self.assertEqual(store.clock.seq(writer.author), 10)
            self.assertEqual(store.writers(), {"default": writer.author})
            self.assertEqual(store.verify().entries, 10)
            self.assertRaises(PayloadTooLargeError, writer.append, "x" * MAX_BODY_BYTES)

    def test_causal_order(self) -> None:
        with blocking.Store(self.path, timeout=SECONDS) as store:
            one, two = store.writer("one", encoding="json"), store.writer("two", encoding="json")
            one.append(1)
            two.append(2, after=list(store.read(one.author)))
            one.append(3, after=store.heads())
            self.assertEqual(
                [each.payload for each in store.read(order="causal", encoding="json")], [1, 2, 3]
            )
            live = store.read(order="causal", live=True, settle=0.0, encoding="json", timeout=0.1)
            self.assertEqual([next(live).payload for _ in range(3)], [1, 2, 3])
            self.assertRaisesRegex(TimeoutError, r"within 0?\.?[0-9.]+ s", next, live)
            two.append(4)
            live._timeout = SECONDS
            self.assertEqual(next(live).payload, 4)
            self.assertTrue(callable(store.notices.listen(print)))

    def test_cursor(self) -> None:
        """It is behind the entry that was handed over, whatever was fetched with it; and the reader goes on."""
        with blocking.Store(self.path, timeout=SECONDS) as store:
            writer = store.writer(encoding="json")
            writer.append_many(range(20))
            reader = store.read(encoding="json")
            self.assertEqual(store.read(encoding="json").cursor().seq(writer.author), 0)
            for wanted in range(7):
                self.assertEqual(next(reader).payload, wanted)
            for _ in range(2):
                self.assertEqual(reader.cursor().seq(writer.author), 7)
            store.save_cursor("mine", reader.cursor())
            self.assertEqual(next(reader).payload, 7)
            rest = store.read(after=store.cursor("mine"), encoding="json")
            self.assertEqual([entry.payload for entry in rest], list(range(7, 20)))
            self.assertEqual([entry.payload for entry in reader], list(range(8, 20)))
            self.assertEqual(reader.cursor().seq(writer.author), 20)

    def test_live(self) -> None:
        """A live reader waits as long as it is allowed to, and goes on after that."""
        with blocking.Store(self.path, timeout=SECONDS) as store:
            writer = store.writer()
            reader = store.read(live=True, timeout=0.01)
            self.assertRaises(TimeoutError, next, reader)
            writer.append(b"1")
            writer.append(b"2")
            patient = store.read(live=True)
            self.assertEqual([next(patient).payload, next(patient).payload], [b"1", b"2"])
            late = threading.Timer(0, writer.append, [b"3"])
            late.start()
            self.assertEqual(next(patient).payload, b"3")
            late.join()
            self.assertEqual([next(reader).payload for _ in range(3)], [b"1", b"2", b"3"])
            reader.close()
            self.assertEqual(list(reader), [])

    def test_threads(self) -> None:
        """Any thread may call."""
        with blocking.Store(self.path, timeout=SECONDS) as store:
            writer = store.writer(encoding="json")
            threads = [
                threading.Thread(target=lambda: [writer.append(n) for n in range(25)]) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(len(list(store.read())), 100)

    def test_locked(self) -> None:
        """Two handles of one process: the second one waits for the first to be closed, if it was told to."""
        first = blocking.Store(self.path).open()
        self.assertRaises(StoreLockedError, blocking.Store(self.path).open)
        closing = threading.Timer(0.1, first.close)
        closing.start()
        with blocking.Store(self.path, wait=SECONDS) as store:
            self.assertEqual(len(store.clock), 0)
        closing.join()

    def test_mistakes(self) -> None:
        """Not open, open twice, from the thread that works, from a loop that runs: an error, never a wait."""
        store = blocking.Store(self.path, timeout=SECONDS)
        self.assertRaises(StoreClosedError, store.writer)
        self.assertRaises(StoreClosedError, lambda: store.clock)
        with store:
            self.assertRaises(InvalidValueError, store.open)
            writer = store.writer()

            async def main() -> None:
                self.assertRaises(WrongCallerError, writer.append, b"1")

            asyncio.run(main())
            with blocking.Node(store, network="blocking") as node:
                caught: list[Exception] = []

                def told(_: object) -> None:
                    try:
                        writer.append(b"1")
                    except WrongCallerError as error:
                        caught.append(error)

                node.subscribe(told)
                self.assertRaises(TimeoutError, self.impatient, store, node)
                with blocking.Store(self.mktemp()) as other, blocking.Node(other, network="blocking") as peer:
                    up = peer.events(PeerUp)
                    peer.connect(node.listen(LISTEN))
                    next(up)
                self.assertNotEqual(caught, [])
        self.assertRaises(StoreClosedError, writer.append, b"1")
        store.close()

    def impatient(self, store: blocking.Store, node: blocking.Node) -> None:
        store.timeout = 0.01
        try:
            node.when(InSync)
        finally:
            store.timeout = SECONDS

    def test_sync(self) -> None:
        """What moved, in both directions; who does not answer is named."""
        with blocking.Store(self.path) as here, blocking.Store(self.mktemp()) as there:
            here.writer().append_many([b"1", b"2"])
            there.writer().append(b"3")
            with blocking.Node(there, network="blocking") as node:
                address = node.listen(LISTEN)
                moved = here.sync(address, network="blocking", timeout=SECONDS)
                self.assertEqual(moved[:2], (1, 2))
                self.assertEqual(sorted(entry.payload for entry in here.read()), [b"1", b"2", b"3"])
            with self.assertRaises(NodeError) as caught:
                here.sync(address, network="blocking", timeout=0.2)
            self.assertIn(address, str(caught.exception))

    def test_same_methods(self) -> None:
        """What ``gossiplog`` offers, ``gossiplog.blocking`` offers."""
        public = {name for name in vars(gossiplog.Node) if not name.startswith("_")}
        self.assertEqual(public - set(vars(blocking.Node)), set())


class ProcessTests(SynchronousTestCase):
    """A program of its own, in development mode, where a warning is an error."""

    def test_nothing_is_left(self) -> None:
        """No thread, no descriptor, no installed reactor; once more in the same process, and with no close at all."""
        program = """
import os, sys, threading
from gossiplog import blocking
def once():
    with blocking.Store("ann") as ann, blocking.Store("bob") as bob:
        ann.writer().append(b"1")
        with blocking.Node(bob, network="blocking") as node:
            ann.sync(node.listen("tcp:0:interface=127.0.0.1"), network="blocking")
        return len(list(bob.read()))
def left():
    return threading.active_count(), len(os.listdir("/proc/self/fd")), "twisted.internet.reactor" in sys.modules
print(once())
before = left()
print(once(), left() == before, before[0], before[2])
blocking.Store("ann").open().writer().append(b"2")
"""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("1\n2 True 1 False\n", "", 0))
