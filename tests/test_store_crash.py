"""``kill -9`` in real processes: what was acknowledged is there, and no seq ever gets a second id."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreLockedError
from gossiplog.log.segment import chain_ids
from gossiplog.store.logs import open_logs
from tests.processes import ProcessTestCase

ALL = 1 << 30

WRITER = """
import os, random, signal, sqlite3, sys
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Append
from gossiplog.store.sqlite.backend import SQLiteBackend

path, seed, fatal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(seed)
statements = 0

class Mortal(sqlite3.Connection):
    "Ends the process before the statement numbered fatal, or inside it when it is negative."
    def execute(self, sql, *parameters):
        global statements
        if sql.startswith("PRAGMA"):
            return super().execute(sql, *parameters)
        statements += 1
        if statements == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().execute(sql, *parameters)
        if statements == -fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

logs = Logs(SQLiteBackend(path, factory=Mortal))
ann = logs.writer("ann").author
print("head", logs.clock.seq(ann), flush=True)
while True:
    lists = [[draw.randbytes(draw.choice((1, 100, 3000, 50_000))) for _ in range(draw.randint(1, 5))]
             for _ in range(draw.randint(1, 3))]
    outcome = logs.process([Append(ann, bodies) for bodies in lists])
    head = outcome.heads[ann]
    print("durable", head.seq, head.id.hex(), flush=True)
    if draw.random() < 0.3:
        while logs.merge_some(200_000):
            pass
"""

SENDER = """
import os, random, sys
from twisted.internet import defer, task
from gossiplog import Node, PeerUp, open_store

async def main(reactor, path, seed, peer):
    draw = random.Random(int(seed))
    store = open_store(path, reactor)
    writer = await store.writer("ann")
    node = Node(reactor, store, network="garden")
    node.connect(peer)
    await node.when(PeerUp)

    async def append_all():
        while True:
            seqs = await writer.append_many([draw.randbytes(draw.choice((1, 100, 3000, 50_000)))
                                             for _ in range(draw.randint(1, 20))])
            os.write(1, b"durable %d\\n" % seqs[-1])

    await defer.gatherResults([defer.ensureDeferred(append_all()) for _ in range(3)])

task.react(lambda reactor, *arguments: defer.ensureDeferred(main(reactor, *arguments)), sys.argv[1:])
"""


class CrashTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.acknowledged: dict[int, str] = {}

    def run_until_killed(self, seed: int, fatal: int, lines: int | None) -> None:
        """Run the writer until it ends itself or (``lines``) has acknowledged so often; keep what it said."""
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.path), str(seed), str(fatal)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert child.stdout is not None
        said = []
        while line := child.stdout.readline():
            said.append(line.decode().split())
            if len(said) == lines:
                child.kill()
        child.stdout.close()
        self.assertEqual(child.wait(), -signal.SIGKILL)
        for word, seq, *entry_id in said:
            if word == "durable":
                self.assertNotIn(int(seq), self.acknowledged)
                self.acknowledged[int(seq)] = entry_id[0]
            else:
                self.assertGreaterEqual(int(seq), max(self.acknowledged, default=0))

    def check(self) -> None:
        """Open the store as it is now: everything acknowledged is there under its id, whole and signed."""
        logs = open_logs(self.path)
        try:
            report = logs.verify()
            self.assertEqual(report.damages, [])
            self.assertEqual(logs.copied, "")
            author = logs.writer("ann").author
            ids = [entry_id for segment in logs.segments(author, 1, ALL) for entry_id in chain_ids(segment)]
            self.assertEqual(len(ids), logs.clock.seq(author))
            self.assertGreaterEqual(len(ids), max(self.acknowledged, default=0))
            for seq, entry_id in self.acknowledged.items():
                self.assertEqual(ids[seq - 1].hex(), entry_id)
        finally:
            logs.close()

    def test_killed_at_any_moment(self) -> None:
        draw = random.Random(1)
        for seed in range(20):
            self.run_until_killed(seed, 0, 1 + draw.randint(0, 60))
            if seed % 2:
                self.check()
        self.check()
        self.assertGreater(len(self.acknowledged), 100)

    def test_killed_before_or_after_each_statement(self) -> None:
        for fatal in (*range(1, 14), *range(-34, -24)):
            self.run_until_killed(abs(fatal), fatal, None)
            self.check()

    def test_the_lock_ends_with_the_process(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.path), "1", "0"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert child.stdout is not None
        child.stdout.readline()
        self.assertRaises(StoreLockedError, open_logs, self.path)
        child.kill()
        child.communicate()
        open_logs(self.path).close()


class PeerTests(ProcessTestCase):
    """Ann sends what she appends and is killed; bob, another process, keeps what he was sent."""

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.place / "ann", self.place / "bob"
        open_logs(self.ann).close()
        open_logs(self.bob).close()

    def test_what_was_sent_is_on_disk(self) -> None:
        """After each kill ann's disk holds, under the same id, every entry that bob has, and all she acknowledged."""
        draw = random.Random(3)
        received = 0
        for seed in range(6):
            bob = self.gossiplog(
                "run", "--store", self.bob, "--network", "garden", "--listen", "tcp:0:interface=127.0.0.1"
            )
            [address] = bob.ready()["listening"]
            ann = self.start(sys.executable, "-c", SENDER, self.ann, str(seed), address)
            for _ in range(draw.randint(1, 60)):
                acknowledged = int(ann.wait_for(r"durable (\d+)$")[1])
            self.assertEqual(ann.kill(), -signal.SIGKILL)
            bob.terminate()
            ours, theirs = self.ids(self.ann), self.ids(self.bob)
            self.assertGreaterEqual(len(ours), acknowledged)
            self.assertEqual(ours[: len(theirs)], theirs)
            self.assertGreaterEqual(len(theirs), received)
            received = len(theirs)
        self.assertGreater(received, 0)

    def ids(self, path: Path) -> list[bytes]:
        """The ids of everything a store holds of ann, after checking it."""
        logs = open_logs(path)
        try:
            self.assertTrue(logs.verify().ok)
            self.assertEqual((logs.copied, logs.forks), ("", set()))
            [author] = logs.clock
            return [one for segment in logs.segments(author, 1, ALL) for one in chain_ids(segment)]
        finally:
            logs.close()
