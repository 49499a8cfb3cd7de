"""Deleting on a full disk: in small steps, with little room, and nothing of it is left in the store's files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreDamagedError
from gossiplog.log.segment import drop_payloads
from gossiplog.store.interface import DeleteAuthor, PutFork, PutSegment
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append, Forget
from gossiplog.store.sqlite.header import PAGE_BYTES
from gossiplog.testing.chain import Chain
from tests.lives import held
from tests.mounts import MountCase
from tests.processes import environment

SECRET = b"that nobody is to read any more"
ROW_BYTES = 100_000


class SpaceTests(SynchronousTestCase):
    """A store with two logs of others and one of its own, of which one is deleted."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.database = self.path / "log.sqlite"
        self.kept, self.gone = Chain(1), Chain(2)
        self.logs = open_logs(self.path)
        self.addCleanup(lambda: self.logs.close())
        self.ann = self.logs.writer("ann").author
        for number in range(20):
            for chain in (self.kept, self.gone):
                payload = SECRET + os.urandom(ROW_BYTES) if chain is self.gone else os.urandom(ROW_BYTES)
                self.logs.process([Accept(*chain.put(payload)), Append(self.ann, [b"%d" % number])])

    def delete(self, logs: Logs) -> None:
        [result] = logs.process([Forget(self.gone.author)]).results
        self.assertNotIsInstance(result, Exception)
        self.assertEqual(logs.segments(self.gone.author, 1, 1), [])
        self.assertNotIn(self.gone.author, dict(logs._backend.heads()))

    def reclaim(self, logs: Logs) -> int:
        steps = 0
        while logs.reclaim():
            steps += 1
            self.assertLess(steps, 500)
        return steps

    def bytes_on_disk(self) -> int:
        return sum(file.stat().st_size for file in self.path.glob("log.sqlite*"))

    def assert_gone(self) -> None:
        for file in self.path.glob("log.sqlite*"):
            self.assertNotIn(SECRET, file.read_bytes(), file)

    def assert_rest_is_whole(self, logs: Logs) -> None:
        self.assertEqual(len(held(logs, self.ann)), 40)
        self.assertEqual(logs.segments(self.kept.author, 1, 1 << 30), self.kept.segments)
        report = logs.verify()
        self.assertEqual((report.damages, report.authors), ([], 2))

    def test_room_comes_back(self) -> None:
        before = self.bytes_on_disk()
        self.delete(self.logs)
        self.assertGreater(self.reclaim(self.logs), 3)
        self.assertLess(self.bytes_on_disk(), before - 19 * ROW_BYTES)
        self.assert_gone()
        self.assert_rest_is_whole(self.logs)
        self.assertFalse(self.logs.reclaim())

    def test_many_authors_go_together(self) -> None:
        """As many small logs as are deleted at once take some steps, and not some steps each."""
        chains = [Chain(number) for number in range(10, 310)]
        self.logs.process([Accept(*chain.put(SECRET)) for chain in chains])
        self.reclaim(self.logs)
        self.logs.process([Forget(chain.author) for chain in chains[::2]])
        self.assertLess(self.reclaim(self.logs), 20)
        for chain in chains[::2]:
            self.assertEqual(self.logs.segments(chain.author, 1, 1), [])
        for chain in chains[1::2]:
            self.assertEqual(self.logs.segments(chain.author, 1, 1), chain.segments)
        self.assertEqual(self.logs.verify().damages, [])

    def test_goes_on_when_opened_again(self) -> None:
        """Whenever it was killed: the log is gone, and comes back whole if it is wanted again."""
        self.delete(self.logs)
        steps = 0
        while True:
            killed = Path(self.mktemp()).absolute()
            shutil.copytree(self.path, killed)
            with closing(open_logs(killed)) as logs:
                self.assertEqual(logs.clock.seq(self.gone.author), 0)
                self.assertEqual(logs.verify().damages, [])
                again = Chain(2)
                logs.process([Accept(*again.put(b"again"))])
                if not steps % 3:
                    self.reclaim(logs)
                    self.assertEqual(
                        logs._backend._connection.execute("PRAGMA freelist_count").fetchone(), (0,)
                    )
                self.assertEqual(logs.segments(again.author, 1, 1), again.segments)
                logs.verify()
            with closing(open_logs(killed)) as logs:
                self.assertEqual(logs.clock.seq(again.author), 1)
            shutil.rmtree(killed)
            if not self.logs.reclaim():
                break
            steps += 1
        self.assertGreater(steps, 3)

    def test_steps_are_small(self) -> None:
        """Without room for a large one, each writes few pages; many rows of one author are many steps."""
        self.delete(self.logs)
        self.logs._backend.checkpoint()
        space = self.logs._backend._space
        connection = self.logs._backend._connection
        while True:
            space._size = 1
            before = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            again = self.logs.reclaim()
            wal = self.path / "log.sqlite-wal"
            self.assertLessEqual(wal.stat().st_size if wal.exists() else 0, 20 * PAGE_BYTES, before)
            if not again:
                break
        self.assert_gone()

    def test_the_last_row_of_all(self) -> None:
        """Its number is used again, and the heads are right when the store is opened again."""
        others = [Chain(number) for number in range(10, 30)]
        self.logs.process([Accept(*chain.put(b"one")) for chain in others])
        self.logs.process([Accept(*self.gone.put(b"last of all"))])
        self.delete(self.logs)
        self.reclaim(self.logs)
        self.logs.process([Accept(*chain.put(b"two")) for chain in others])
        clock = self.logs.clock.copy()
        killed = Path(self.mktemp()).absolute()
        shutil.copytree(self.path, killed)
        with closing(open_logs(killed)) as logs:
            self.assertEqual(logs.clock, clock)
            self.assertEqual(logs.verify().damages, [])

    def test_holes_and_proofs_go_with_it(self) -> None:
        segment, head = self.gone.put(SECRET, SECRET * 30)
        backend = self.logs._backend
        backend.commit([PutSegment(drop_payloads(segment, [segment.first]), head), PutFork(self.gone.fork())])
        self.assertEqual(backend.holes(), {self.gone.author: 1})
        backend.commit([DeleteAuthor(self.gone.author)])
        self.assertEqual((backend.holes(), backend.forks(), backend.holed_after(None, 9)), ({}, {}, []))
        self.reclaim(self.logs)
        self.assert_gone()

    def test_deleted_and_written_again_in_one_commit(self) -> None:
        again = Chain(2)
        self.logs._backend.commit([DeleteAuthor(self.gone.author), again.put(b"new")])
        self.assertEqual(dict(self.logs._backend.heads())[again.author], again.head)
        self.reclaim(self.logs)
        self.assertEqual(self.logs._backend.segments(again.author, 1, 1), again.segments)

    def test_damage_is_left_to_the_repair(self) -> None:
        """What cannot be removed ends no writing."""
        self.delete(self.logs)
        self.patch(self.logs._backend._space, "_execute", self.fails)
        self.assertRaises(StoreDamagedError, self.logs.reclaim)
        self.assertFalse(self.logs.reclaim())
        [result] = self.logs.process([Append(self.ann, [b"goes on"])]).results
        self.assertNotIsInstance(result, Exception)

    def fails(self, statement: str, *parameters: object) -> list[Any]:
        if statement.startswith("DELETE"):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return self.logs._backend._connection.execute(statement, parameters).fetchall()


FULL = """
import os, sys
from contextlib import closing
from gossiplog.errors import StoreFullError
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, Append
from gossiplog.testing.chain import Chain
path, left = sys.argv[1], int(sys.argv[2])
ballast = os.path.join(os.path.dirname(path), "ballast")
with open(ballast, "wb") as file:
    file.write(bytes(left))
chain = Chain(1)
logs = open_logs(path)
ann = logs.writer("ann").author
logs.process([Append(ann, [b"mine"])])
while True:
    put = chain.put(*[os.urandom(1000)] * 100)
    try:
        logs.process([Accept(*put)])
    except StoreFullError:
        break
logs.close()
os.unlink(ballast)
print(chain.author.hex(), os.path.getsize(os.path.join(path, "log.sqlite")))
"""


class FullDiskTests(MountCase):
    """A file system with next to no room; for root only."""

    def test_with_a_few_hundred_kilobytes(self) -> None:
        place = self.mount("size=16m")
        path = place / "store"
        said = subprocess.run(
            [sys.executable, "-c", FULL, path, str(400 * 1024)],
            env=environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual(said.returncode, 0, said.stderr)
        author, size = said.stdout.split()
        self.assertGreater(int(size), 10 << 20)
        free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
        self.assertLess(free, 600 * 1024)
        gone = subprocess.run(
            [sys.executable, "-m", "gossiplog.app.cli", "block", "--store", path, "--delete", author],
            env=environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual(gone.returncode, 0, gone.stderr)
        self.assertLess((path / "log.sqlite").stat().st_size, 1 << 20)
        with closing(open_logs(path)) as logs:
            self.assertEqual(len(logs.clock), 1)
            self.assertEqual(logs.verify().damages, [])
