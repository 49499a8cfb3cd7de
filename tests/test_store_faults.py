"""A disk that fails below the store: each call in turn, in each way; what is promised holds all the same."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import (
    AppendOutcomeUnknown,
    StoreError,
    StoreFailedError,
    StoreFullError,
)
from gossiplog.log.segment import Segment
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append, Forget, SetCursor
from gossiplog.testing.chain import Chain
from tests.lives import Life, held, use_both_journals
from tests.mounts import MountCase
from tests.processes import environment
from tests.shims import Fault, Point, between, usable

ALL = 1 << 30
CHANGES = frozenset(
    {"write", "sync", "truncate", "open", "mkdir", "fsync", "rename", "unlink", "pwrite", "setxattr"}
)


class FailingSync:
    """A hook: once armed, one sync fails (of ``file``, or of any); what is changed in the database is noted."""

    def __init__(self, file: str = "") -> None:
        self.armed = False
        self.failed = False
        self.written: list[Point] = []
        self._file = file

    def __call__(self, point: Point) -> Fault | None:
        if point.call in CHANGES and point.file.startswith("log.sqlite"):
            self.written.append(point)
        if self.armed and not self.failed and point.call == "sync" and self._file in ("", point.file):
            self.failed = True
            return Fault.FAILS
        return None


class FaultTests(SynchronousTestCase):
    """The n-th call fails, for every n."""

    if not usable():
        skip = "this sqlite3 cannot be given another VFS"

    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir(parents=True)

    def live(self, number: int, fault: Fault, calls: frozenset[str], for_good: bool = False) -> Life | None:
        """Live with one fault (or all from it on), check; None when there was no such call any more."""
        seen = 0

        def hook(point: Point) -> Fault | None:
            nonlocal seen
            seen += point.call in calls
            hit = seen >= number if for_good else seen == number
            return fault if hit and point.call in calls else None

        path = self.place / "store"
        shutil.rmtree(path, ignore_errors=True)
        life = Life(path)
        with between(hook):
            life.run()
        if seen < number:
            return None
        self.check(life, f"call {number} {fault}")
        return life

    def check(self, life: Life, about: str) -> None:
        """Opened again on a good disk: in order, nothing acknowledged is lost, and writing goes on."""
        logs = open_logs(life.path)
        try:
            report = logs.verify()
            self.assertEqual(report.damages, [], about)
            self.assertEqual(dict(logs._backend.heads()), dict(logs.clock.items()), about)
            for author, ids in life.acknowledged.items():
                found = held(logs, author)
                self.assertEqual(found[: len(ids)], ids, about)
                if author not in life.unknown:
                    self.assertEqual(found, ids, about)
                self.assertIn(
                    len(found) - len(ids), (0, 1, 2), about
                )  # what is unknown is there whole or not
            ann = logs.writer("ann").author
            if not logs.copied:
                [result] = logs.process([Append(ann, [b"goes on"])]).results
                self.assertFalse(isinstance(result, StoreError), about)
        finally:
            logs.close()

    def each(self, fault: Fault, calls: frozenset[str], step: int = 1, for_good: bool = False) -> list[Life]:
        """Live once for each call."""
        lives: list[Life] = []
        number = 1
        while (life := self.live(number, fault, calls, for_good)) is not None:
            lives.append(life)
            number += step
        self.assertGreater(len(lives), 10)
        return lives

    def kinds(self, lives: list[Life]) -> set[type[StoreError]]:
        return {type(error) for life in lives for error in life.errors}

    def test_each_call_fails(self) -> None:
        kinds = self.kinds(self.each(Fault.FAILS, CHANGES))
        self.assertLessEqual({AppendOutcomeUnknown, StoreFailedError}, kinds)

    def test_each_call_finds_no_room(self) -> None:
        """The store goes on where nothing was written: at most a few appends fail, and none for good."""
        lives = self.each(Fault.FULL, frozenset({"write", "pwrite", "open", "mkdir"}))
        self.assertIn(StoreFullError, self.kinds(lives))

    def test_each_write_is_cut_short(self) -> None:
        self.each(Fault.HALF, frozenset({"write", "pwrite"}))

    def test_each_sync_fails_and_kept_everything(self) -> None:
        lives = self.each(Fault.DONE, frozenset({"sync", "fsync", "rename"}))
        self.assertIn(AppendOutcomeUnknown, self.kinds(lives))

    def test_the_disk_is_gone_from_some_call_on(self) -> None:
        self.each(Fault.FAILS, CHANGES, step=3, for_good=True)

    def test_after_a_failed_sync_nothing_is_written(self) -> None:
        """Not one byte, until the store is opened again; reading goes on."""
        disk = FailingSync()
        with between(disk):
            logs = open_logs(self.place / "store")
            ann = logs.writer("ann").author
            logs.process([Append(ann, [b"one"])])
            disk.armed = True
            self.assertRaises(AppendOutcomeUnknown, logs.process, [Append(ann, [b"two"])])
            self.assert_reads_only(logs, ann, 1, disk)
            logs.close()

    def assert_reads_only(self, logs: Logs, ann: bytes, count: int, disk: FailingSync) -> None:
        """Nothing is taken, nor written: not even by trying; ``count`` entries can be read."""
        self.assertTrue(disk.failed)
        disk.written.clear()
        for _ in range(3):
            self.assertRaises(StoreFailedError, logs.process, [Append(ann, [b"three"])])
        self.assertEqual(len(held(logs, ann)), count)
        self.assertEqual(disk.written, [])

    def test_a_failed_checkpoint_ends_writing(self) -> None:
        """Merging goes on without a word; the next append says it, and everything can be read."""
        disk = FailingSync("log.sqlite")
        with between(disk):
            logs = open_logs(self.place / "store")
            ann = logs.writer("ann").author
            for number in range(9):
                logs.process([Append(ann, [b"%d" % number])])
            disk.armed = True
            disk.written.clear()
            while logs.merge_some(ALL):
                pass
            self.assertEqual(disk.written.count(Point("sync", "log.sqlite")), 1)
            self.assert_reads_only(logs, ann, 9, disk)
            logs.close()

    def test_a_full_disk_keeps_the_journal_from_changing(self) -> None:
        """SQLite may be left in a transaction that it does not say it has, and copies no write-ahead log then."""
        full = False
        path = self.place / "store"

        def hook(point: Point) -> Fault | None:
            return Fault.FULL if full and point.call == "write" else None

        with between(hook), closing(open_logs(path)) as logs:
            ann = logs.writer("ann").author

            def append(size: int) -> Any:
                return logs.process([Append(ann, [bytes(size)])]).results[0]

            append(200_000)
            self.assertEqual([*logs._backend.check()], [])
            logs.process([Forget(bytes(32))])
            append(200_000)
            logs._backend.checkpoint()
            full = True
            self.assertRaises(StoreFullError, append, 200_000)
            logs._backend.checkpoint()
            full = False
            for seq, size in enumerate((1, 200_000, 200_000, 1), 3):
                self.assertEqual(append(size).last, seq)
                logs._backend.checkpoint()
        with closing(open_logs(path)) as logs:
            self.assertEqual((logs.verify().damages, logs.clock.seq(ann)), ([], 6))

    def test_each_read_fails(self) -> None:
        """A typed error, once; what is read afterwards is right."""
        life = Life(self.place / "store")
        life.run()
        self.assertEqual(life.errors, [])
        number = hits = 0
        while hits == number:
            number += 1
            hits = self.read_with_fault(life, number, hits)
        self.assertGreater(hits, 5)

    def read_with_fault(self, life: Life, number: int, hits: int) -> int:
        seen = 0

        def hook(point: Point) -> Fault | None:
            nonlocal seen
            seen += point.call == "read"
            return Fault.FAILS if point.call == "read" and seen == number else None

        with between(hook):
            logs = life.tried(lambda: open_logs(life.path))
            if isinstance(logs, Logs):
                for author, ids in life.acknowledged.items():
                    read = [life.tried(partial(held, logs, author)) for _ in range(3)]
                    # which of them fails depends on the pages that this SQLite keeps; it does once
                    self.assertLessEqual(read.count(None), 1)
                    self.assertTrue(all(found in (None, ids) for found in read))
                logs.close()
        return hits + (seen >= number)


class BulkFaultTests(FaultTests):
    """The same while the store goes from one journal to the other and back."""

    def setUp(self) -> None:
        super().setUp()
        use_both_journals(self.patch)

    def test_the_disk_is_gone_from_some_call_on(self) -> None:
        """Then reading may end too, since what a commit overwrote cannot be put back before the disk is."""
        read = Life.read
        self.patch(Life, "read", lambda life, logs: life.tried(lambda: read(life, logs)))
        super().test_the_disk_is_gone_from_some_call_on()

    def test_after_a_failed_sync_nothing_is_written(self) -> None:
        """Undoing it reads and writes the file, so that readers see the state before; nothing after that."""
        disk = FailingSync("log.sqlite")
        with between(disk):
            logs = open_logs(self.place / "store")
            ann = logs.writer("ann").author
            for _ in range(3):
                logs.process([Append(ann, [bytes(3000)])])
            self.assertIn(Point("sync", "log.sqlite-journal"), disk.written)
            disk.armed = True
            self.assertRaises(AppendOutcomeUnknown, logs.process, [Append(ann, [bytes(3000)])])
            self.assertEqual(len(held(logs, ann)), 3)
            self.assert_reads_only(logs, ann, 3, disk)
            logs.close()


MOUNTED = """
import sys
from gossiplog.errors import StoreFullError
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
logs = open_logs(sys.argv[1])
ann = logs.writer("ann").author
done = full = 0
while full < 3:
    try:
        logs.process([Append(ann, [bytes(30_000)])])
        done += 1
    except StoreFullError:
        full += 1
held = sum(segment.count for segment in logs.segments(ann, 1, 1 << 30))
print(done, logs.clock.seq(ann), held)
logs.close()
"""


class MountTests(MountCase):
    """File systems that are really full, or really read-only; for root only."""

    def test_a_disk_that_is_really_full(self) -> None:
        place = self.mount("size=2m")
        told = subprocess.run(
            [sys.executable, "-c", MOUNTED, place / "store"],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        done, seq, held = map(int, told.stdout.split())
        self.assertGreater(done, 10)
        self.assertEqual((seq, held), (done, done))
        subprocess.run(["mount", "-o", "remount,size=8m", place], check=True)
        logs = open_logs(place / "store")
        [author] = logs.local
        self.assertTrue(logs.verify().ok)
        self.assertEqual(logs.clock.seq(author), done)
        logs.process([Append(author, [bytes(30_000)])])
        logs.close()

    def test_a_disk_that_turned_read_only(self) -> None:
        """It can be read; appends fail with a typed error; written again when it is writable again."""
        place = self.mount("size=8m")
        logs = open_logs(place / "store")
        ann = logs.writer("ann").author
        logs.process([Append(ann, [b"one"])])
        left = place / "left"
        shutil.copytree(place / "store", left)  # as a kill leaves it
        logs.close()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        logs = open_logs(place / "store")
        self.assertEqual((logs.clock.seq(ann), len(held(logs, ann)), logs.copied), (1, 1, ""))
        self.assertTrue(logs.verify().ok)
        for request in (Append(ann, [b"two"]), SetCursor("me", b"here")):
            with self.assertRaises(StoreFailedError) as caught:
                logs.process([request])
            self.assertIn("its file system is read-only", str(caught.exception))
        self.assertFalse(logs.merge_some(ALL))
        open_logs(place / "store").close()  # as many may read as like
        logs.close()
        for path, text in ((left, "was not closed"), (place / "new", "Read-only file system")):
            with self.assertRaises(StoreError) as caught:
                open_logs(path)
            self.assertIn(text, str(caught.exception))
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        logs = open_logs(place / "store")
        self.assertEqual(logs.copied, "")
        logs.process([Append(ann, [b"two"])])
        self.assertTrue(logs.verify().ok)
        logs.close()


class FileTests(SynchronousTestCase):
    """Bits flipped in, and ends cut off, every file of a store that was killed."""

    def setUp(self) -> None:
        self.good = Path(self.mktemp()).absolute()
        original = Path(self.mktemp()).absolute()
        logs = open_logs(original)
        self.ann = logs.writer("ann").author
        logs.node_key()
        self.chains = [Chain(number) for number in (1, 2)]
        for number in range(5):
            logs.process([Append(self.ann, [b"%d" % number])])
            logs.process([Accept(*chain.put(b"%d" % number * 50)) for chain in self.chains])
        shutil.copytree(original, self.good)  # as a kill leaves it
        self.own = held(logs, self.ann)
        logs.close()

    def files(self) -> list[str]:
        return [
            str(file.relative_to(self.good))
            for file in sorted(self.good.rglob("*"))
            if file.is_file() and file.name != "lock"
        ]

    def test_all_files_are_looked_at(self) -> None:
        self.assertEqual(
            self.files(), ["generation", "log.sqlite", "log.sqlite-wal", "node.key", "seeds/ann"]
        )

    def test_flipped_bits(self) -> None:
        draw = random.Random(1)
        for file in self.files():
            size = (self.good / file).stat().st_size
            for _ in range(40):
                place = draw.randrange(size)

                def flip(content: bytearray, place: int = place) -> bytearray:
                    content[place] ^= 1 << draw.randrange(8)
                    return content

                self.damaged(file, flip)

    def test_lost_ends(self) -> None:
        draw = random.Random(2)
        for file in self.files():
            size = (self.good / file).stat().st_size
            for end in (0, 1, size - 1, *(draw.randrange(size) for _ in range(6))):
                self.damaged(file, lambda content, end=end: content[:end])  # type: ignore[misc]

    def damaged(self, file: str, change: Callable[[bytearray], bytearray]) -> None:
        """Damage one file of a copy: a typed error that names the file, or no wrong entry and no second id."""
        path = Path(self.mktemp()).absolute()
        shutil.copytree(self.good, path)
        (path / file).write_bytes(change(bytearray((path / file).read_bytes())))
        try:
            logs = open_logs(path)
        except StoreError as error:
            self.assertIn(str(path / file.removesuffix("-wal").removesuffix("-journal")), str(error))
            return
        try:
            for chain in self.chains:
                self.assert_prefix(chain.segments, logs, chain.author)
            report = logs.verify()
            for damage in report.damages:
                self.assertTrue(damage.author is None or damage.last >= damage.first - 1)
            if report.ok:
                seq = logs.clock.seq(self.ann)
                self.assertEqual(held(logs, self.ann), self.own[:seq])
                self.assertTrue(seq == 5 or logs.copied)  # who lost own entries does not sign again
        finally:
            logs.close()

    def assert_prefix(self, segments: list[Segment], logs: Logs, author: bytes) -> None:
        try:
            found = logs.segments(author, 1, ALL)
        except StoreError:
            return
        self.assertEqual(found, segments[: len(found)])


class JournalFileTests(FileTests):
    """The same of a store that was killed in the middle of a large commit, which its next opening undoes."""

    if not usable():
        skip = "this sqlite3 cannot be given another VFS"

    def setUp(self) -> None:
        use_both_journals(self.patch)
        self.good = Path(self.mktemp()).absolute()
        original = Path(self.mktemp()).absolute()
        last = False

        def hook(point: Point) -> None:
            if last and point == Point("sync", "log.sqlite") and not self.good.exists():
                shutil.copytree(original, self.good)

        with between(hook):
            logs = open_logs(original)
            self.ann = logs.writer("ann").author
            logs.node_key()
            self.chains = [Chain(number) for number in (1, 2)]
            for number in range(5):
                payload = b"%d" % number * 3000
                logs.process([Append(self.ann, [payload])])
                last = number == 4
                logs.process([Accept(*chain.put(payload)) for chain in self.chains])
            self.own = held(logs, self.ann)
            logs.close()

    def test_all_files_are_looked_at(self) -> None:
        self.assertEqual(
            self.files(), ["generation", "log.sqlite", "log.sqlite-journal", "node.key", "seeds/ann"]
        )
        logs = open_logs(self.good)
        self.addCleanup(logs.close)
        self.assertEqual([logs.clock.seq(chain.author) for chain in self.chains], [4, 4])
        self.assertTrue(logs.verify().ok)
