"""Ring 8: stores that are open elsewhere: waiting for them in turn, who holds them, and what is said in the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from types import SimpleNamespace

from twisted.internet import reactor

from gossiplog.errors import StoreLockedError
from gossiplog.live.opening import open_store
from gossiplog.store import lock as locking
from gossiplog.store.directory import DATABASE, LOCK
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from tests.processes import Process, ProcessTestCase

LOUD = """
import sys, time
from contextlib import closing
from gossiplog.store import lock as locking
sleep = time.sleep
def loud(seconds):
    print("waiting", flush=True)
    sleep(seconds)
time.sleep = loud
bear = locking.Patience.bear
def bear_loudly(patience, *about):
    left = bear(patience, *about)
    print("waiting", flush=True)
    return left
locking.Patience.bear = bear_loudly
"""
"""Says when it has to wait."""

OPEN = """
from gossiplog.store.logs import open_logs
with closing(open_logs(sys.argv[1], wait=float(sys.argv[2]))):
    print("open", flush=True)
    sys.stdin.read()
"""

COMMAND = "from gossiplog.app.cli import main; sys.exit(main(sys.argv[1:]))"


class WaitingTests(ProcessTestCase):
    """One store, more than one who wants it."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.place / "ann"
        open_logs(self.path).close()

    def child(self, wait: float = 60.0) -> Process:
        """Start a process that opens the store and keeps it until its input ends."""
        return self.start(sys.executable, "-c", LOUD + OPEN, self.path, str(wait))

    def test_five_commands_at_once(self) -> None:
        """As cron starts them, and each has to wait: all succeed."""
        with closing(open_logs(self.path)):
            command = ("-c", LOUD + COMMAND, "append", "--store", "ann")
            several = [self.start(sys.executable, *command, str(number)) for number in range(5)]
            for process in several:
                process.wait_for("waiting")
        for process in several:
            self.assertEqual((process.finish(), process.err), (0, ""))
        self.assertEqual(len(self.logged("ann")), 5)

    def test_fifty_commands_at_once(self) -> None:
        """All succeed, however long it takes: each one that is done lets the others wait on."""
        several = [self.gossiplog("append", "--store", "ann", str(number)) for number in range(50)]
        for process in several:
            self.assertEqual((process.finish(), process.err), (0, ""))
        self.assertEqual(len(self.logged("ann")), 50)

    def test_a_queue_that_moves(self) -> None:
        """The time is that of one holder: who comes and goes meanwhile does not count."""
        lock = self.path / LOCK
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds
            if now[0] < 50 and int(now[0]) != int(now[0] - seconds):
                lock.write_text(str(now[0]).ljust(20))

        with closing(open_logs(self.path)):
            self.patch(locking, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
            self.assertRaises(StoreLockedError, open_logs, self.path, wait=5)
        self.assertAlmostEqual(now[0], 54, 0)

    def test_who_waits_comes_first(self) -> None:
        """A program that closes the store to open it again lets others have it."""
        ours = open_logs(self.path)
        other = self.child()
        other.wait_for("waiting")
        ours.close()
        self.assertRaises(StoreLockedError, open_logs, self.path)
        other.wait_for("open")
        self.assertEqual(other.finish(), 0)
        open_logs(self.path).close()

    def test_a_waiting_process_that_is_killed(self) -> None:
        """Holds up nobody."""
        with closing(open_logs(self.path)):
            other = self.child()
            other.wait_for("waiting")
            self.assertEqual(other.kill(), -signal.SIGKILL)
        open_logs(self.path).close()

    def test_who_holds_it(self) -> None:
        """The process is named, with how long was waited; not one that held it before, nor a reader."""
        other = self.child()
        other.wait_for("open")
        error = self.assertRaises(StoreLockedError, open_logs, self.path, wait=0.05)
        self.assertEqual(error.pid, other.popen.pid)
        self.assertIn(f"in use by process {other.popen.pid} after 0.05 s; stop it, wait longer", str(error))
        self.assertIn("0.05 s", str(self.assertRaises(StoreLockedError, salvage, self.path, wait=0.05)))
        other.finish()
        (self.path / LOCK).write_text(str(other.popen.pid))  # as kill -9 leaves it
        reading = OPEN.replace("wait", "read_only=True, wait")
        reader = self.start(sys.executable, "-c", LOUD + reading, self.path, "0")
        reader.wait_for("open")
        error = self.assertRaises(StoreLockedError, open_logs, self.path)
        self.assertEqual((error.pid, "another process" in str(error)), (None, True))

    def test_in_this_process(self) -> None:
        """It says so, of every way to open."""
        with closing(open_logs(self.path)):
            for use in (open_logs, salvage):
                error = self.assertRaises(StoreLockedError, use, self.path)
                self.assertEqual(error.pid, os.getpid())
                self.assertIn("is open in this process already", str(error))
            error = self.assertRaises(StoreLockedError, open_store, self.path, reactor, wait=0.02)
            self.assertIn("open in this process already after 0.02 s", str(error))
        self.assertEqual((self.path / LOCK).read_text().strip(), "")

    def test_another_program_that_reads_the_database(self) -> None:
        """It knows nothing of our lock; who opens the store waits for it, or says so."""
        read = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN'); "
            "c.execute('SELECT count(*) FROM authors').fetchone(); print('reading', flush=True); sys.stdin.read()"
        )
        other = self.start(sys.executable, "-c", read, self.path / DATABASE)
        other.wait_for("reading")
        self.assertRaises(StoreLockedError, open_logs, self.path)
        began = time.monotonic()
        self.assertRaises(StoreLockedError, open_logs, self.path, wait=0.2)
        self.assertGreater(time.monotonic() - began, 0.15)
        waiting = self.child()
        other.finish()
        waiting.wait_for("open")

    def test_interrupted(self) -> None:
        """Ctrl-C ends the waiting of every kind of command."""
        wait = ("--store", "ann", "--wait", "600")
        with closing(open_logs(self.path)):
            for verb in (["run", "--network", "n"], ["append", "x"], ["log", "--follow"]):
                process = self.start(sys.executable, "-c", LOUD + COMMAND, *verb, *wait)
                process.wait_for("waiting")
                self.assertIn(process.interrupt(), (0, 130), verb)
                self.assertNotIn("Traceback", process.err)

    def test_a_node_that_waits(self) -> None:
        """It runs once the store is free."""
        with closing(open_logs(self.path)):
            run = ("run", "--network", "n", "--store", "ann")
            node = self.start(sys.executable, "-c", LOUD + COMMAND, *run)
            node.wait_for("waiting")
        node.ready()
        self.assertEqual(node.interrupt(), 0)

    def test_twistd(self) -> None:
        """The service waits too, before its reactor runs."""
        with closing(open_logs(self.path)):
            run = LOUD + "sys.argv[0] = 'twistd'\nfrom twisted.scripts.twistd import run\nrun()"
            options = ("--nodaemon", "--pidfile=", "gossiplog", "--network", "n", "--store", str(self.path))
            service = self.start(sys.executable, "-c", run, *options)
            service.wait_for("waiting")
        service.ready()
        service.terminate()
