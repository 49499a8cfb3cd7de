"""Cursors in a store: what moved is what is written, and damage of one hides nothing else."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import (
    AppendOutcomeUnknown,
    InvalidValueError,
    StoreDamagedError,
    StoreFailedError,
    StoreFullError,
)
from gossiplog.log.cursor import Cursor, Place
from gossiplog.store import saved_cursors
from gossiplog.store.interface import PutCursor, RowWrite, SavedCursor
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Accept, Accepted, Append, Done, SetCursor
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.chain import Chain
from tests.fuzz.survey import bearing_any_value
from tests.mounts import MountCase
from tests.netcase import World
from tests.test_reading import VirtualCase

NAMES = [number.to_bytes(32, "big") for number in range(1, 2001)]
ANN, BOB, CAT = NAMES[:3]


def many(seq: int = 1) -> Cursor:
    return Cursor({author: (seq, bytes(8)) for author in NAMES})


class Watched(MemoryBackend):
    """I remember what was written and read of cursors."""

    def __init__(self, path: str = "memory") -> None:
        super().__init__(path)
        self.puts: list[PutCursor] = []
        self.reads: list[str] = []
        self.damage = ""

    def commit(self, writes: Sequence[RowWrite]) -> None:
        super().commit(writes)
        self.puts += [write for write in writes if isinstance(write, PutCursor)]

    def cursor(self, name: str) -> SavedCursor:
        self.reads.append(name)
        return super().cursor(name)._replace(damage=self.damage)


class CostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = Watched()
        self.logs = Logs(self.backend)

    def save(self, *cursors: Cursor | None, name: str = "me") -> list[PutCursor]:
        """Save copies of these together; return what that wrote."""
        self.backend.puts.clear()
        requests = [SetCursor(name, cursor and cursor.copy()) for cursor in cursors]
        self.assertEqual(self.logs.process(requests).results, [Done()] * len(cursors))
        return self.backend.puts

    def test_what_moved_is_what_is_written(self) -> None:
        cursor = many()
        self.assertEqual(self.save(cursor), [PutCursor("me", dict(cursor.items()))])
        cursor.advance(BOB, 2)
        self.assertEqual(self.save(cursor), [PutCursor("me", {BOB: (2, b"")})])
        cursor.discard(ANN)
        cursor.advance(CAT, 1, b"8 bytes!")
        self.assertEqual(self.save(cursor), [PutCursor("me", {ANN: None, CAT: (1, b"8 bytes!")})])
        self.assertEqual(self.save(cursor), [])

    def test_going_on_with_what_was_saved(self) -> None:
        """In another process: it is read once, by whoever comes first."""
        self.save(many())
        for first in ("read", "save"):
            self.logs = Logs(self.backend)
            self.backend.reads.clear()
            cursor = self.logs.cursor("me") if first == "read" else many()
            for seq in range(2, 7):
                cursor.advance(BOB, seq)
                self.assertEqual(self.save(cursor), [PutCursor("me", {BOB: (seq, b"")})])
            self.assertEqual(self.backend.reads, ["me"])
            cursor = self.logs.cursor("me")
            self.assertEqual((cursor.seq(BOB), cursor.seq(CAT), len(cursor)), (6, 1, len(NAMES)))
            self.save(many())

    def test_of_another_origin(self) -> None:
        """Only what differs is written, back too."""
        self.save(many(2))
        other = many(2)
        other.apply({BOB: (1, b"")})
        self.assertEqual(self.save(other), [PutCursor("me", {BOB: (1, b"")})])

    def test_several_of_one_name_in_a_commit(self) -> None:
        """The last one counts, and only it is written."""
        one, two = many(), many()
        two.advance(BOB, 7)
        self.save(one)
        self.assertEqual(self.save(many(5), None, many(3), two), [PutCursor("me", {BOB: (7, b"")})])
        self.assertEqual(self.save(many(9), two), [])
        self.assertEqual(self.save(two, None), [PutCursor("me", {}, anew=True)])
        self.assertEqual(self.logs.cursor("me"), Cursor())
        self.assertEqual(self.backend.cursor("me"), SavedCursor(Cursor()))

    def test_one_without_authors_is_none(self) -> None:
        self.assertEqual(self.save(Cursor()), [])
        self.save(many())
        self.assertEqual(self.save(Cursor()), [PutCursor("me", {}, anew=True)])
        self.assertEqual(self.logs.cursor_names(), [])

    def test_what_was_given_out_changes_nothing(self) -> None:
        """Nor does a program that goes on with what it saved."""
        cursor = many()
        self.save(cursor)
        for each in (cursor, self.logs.cursor("me")):
            each.advance(BOB, 9)
        self.assertEqual(self.logs.cursor("me"), many())
        self.assertEqual(self.save(cursor), [PutCursor("me", {BOB: (9, b"")})])

    def test_what_is_known_is_bounded(self) -> None:
        """Those saved last are known; others are read again, and what is written is the same."""
        self.patch(saved_cursors, "MAX_KEPT_PLACES", 3 * len(NAMES))
        for name in "abcd":
            self.save(many(), name=name)
        self.backend.reads.clear()
        moved = many()
        moved.advance(BOB, 2)
        for name in "bdca":
            self.assertEqual(self.save(moved, name=name), [PutCursor(name, {BOB: (2, b"")})])
        self.assertEqual(self.backend.reads, ["a"])
        self.patch(saved_cursors, "MAX_KEPT_PLACES", 1)
        for _ in range(3):
            self.save(many(), name="large")
        self.assertEqual(self.backend.reads, ["a", "large"])

    def test_a_failed_commit_changes_nothing(self) -> None:
        """What is written the next time is what is not there."""
        self.save(many())
        moved = many()
        moved.advance(BOB, 2)
        self.backend.fault = lambda writes: DiskFault.FULL
        with self.assertRaises(StoreFullError):
            self.save(moved)
        self.assertEqual(self.logs.cursor("me"), many())
        self.backend.fault = None
        self.assertEqual(self.save(moved), [PutCursor("me", {BOB: (2, b"")})])
        moved.advance(BOB, 3)
        backend: MemoryBackend = self.backend
        for fault, seq in ((DiskFault.LOST, 2), (DiskFault.KEPT, 3)):
            backend.fault = lambda writes, fault=fault: fault  # type: ignore[misc]
            with self.assertRaises(AppendOutcomeUnknown):
                self.save(moved)
            self.assertEqual(self.logs.cursor("me").seq(BOB), 2)
            with self.assertRaises(StoreFailedError):
                self.save(moved)
            backend = backend.reopen()
            self.logs = Logs(backend)
            self.assertEqual(self.logs.cursor("me").seq(BOB), seq)

    def test_a_large_one_is_removed_in_steps(self) -> None:
        """So that a full disk has room for each; one that fails is the request's, and what is left can be removed."""
        self.patch(saved_cursors, "REMOVED_AT_ONCE", 600)
        self.save(many())
        puts = self.save(None)
        self.assertEqual([len(put.changes) for put in puts], [600, 600, 600, 0])
        self.assertTrue(puts[-1].anew)
        self.assertEqual(self.logs.cursor_names(), [])
        self.save(many())
        faults = iter([None, None, DiskFault.FULL])
        self.backend.fault = lambda writes: next(faults, None)
        [removed, other] = self.logs.process([SetCursor("me", None), SetCursor("other", many())]).results
        self.assertIsInstance(removed, StoreFullError)
        self.assertEqual(other, Done())
        self.assertEqual(self.logs.cursor("me"), Cursor(dict(list(many().items())[1200:])))
        self.assertEqual(self.logs.cursor("me"), self.backend.cursor("me").cursor)
        self.save(None)
        self.assertEqual(self.backend.cursor("me"), SavedCursor(Cursor()))

    def test_a_damaged_one_is_written_anew(self) -> None:
        """Whole: who saves knows all of it."""
        self.save(many())
        self.logs = Logs(self.backend)
        self.backend.damage = "damaged"
        with self.assertRaises(StoreDamagedError) as caught:
            self.logs.cursor("me")
        self.assertIn("gossiplog verify --repair", str(caught.exception))
        self.assertEqual(self.save(many(2)), [PutCursor("me", dict(many(2).items()), anew=True)])
        self.assertEqual(self.logs.cursor("me"), many(2))
        self.logs = Logs(self.backend)
        self.assertEqual(self.save(None), [PutCursor("me", {}, anew=True)])

    def test_names_and_values(self) -> None:
        for name in ("", "x" * 257, "\ud800", 5, None):
            self.assertRaises(InvalidValueError, self.logs.cursor, name)
        for request in (SetCursor("me", b""), SetCursor("me", {}), SetCursor("", Cursor())):  # type: ignore[arg-type]
            [refused, done] = self.logs.process([request, SetCursor("other", many())]).results
            self.assertIsInstance(refused, InvalidValueError)
            self.assertEqual(done, Done())


class DiskCase(SynchronousTestCase):
    """A closed store with two logs and three cursors."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.database = self.path / "log.sqlite"
        self.chain = Chain(1)
        with closing(open_logs(self.path)) as logs:
            self.own = logs.writer("ann").author
            logs.process([Append(self.own, [b"x"]), Accept(*self.chain.put(b"1", b"2"))])
            logs.process([SetCursor(name, many()) for name in ("me", "other", "third")])
        self.good = self.database.read_bytes()

    def alter(self, statement: str, *values: object) -> None:
        with bearing_any_value(self.database) as connection:
            self.assertGreater(connection.execute(statement, values).rowcount, 0)

    def assert_logs_are_read(self, logs: Logs) -> None:
        self.assertEqual(logs.clock.head(self.chain.author), self.chain.head)
        for author in (self.own, self.chain.author):
            self.assertEqual(logs.segments(author, 1, 1 << 20)[-1].last, logs.clock.seq(author))
        put = Chain(2).put(b"goes on")
        self.assertEqual(logs.process([Accept(*put)]).results, [Accepted(put.head)])


class RowTests(DiskCase):
    def test_a_save_writes_a_page_or_two(self) -> None:
        """However many authors the cursor has; the write-ahead log says how much."""
        with closing(open_logs(self.path)) as logs:
            cursor = logs.cursor("me")
            for number in (7, 1234, 42):
                before = (self.path / "log.sqlite-wal").stat().st_size
                cursor.advance(NAMES[number], 2)
                logs.process([SetCursor("me", cursor.copy())])
                self.assertLess((self.path / "log.sqlite-wal").stat().st_size - before, 3 * 16_500)

    def test_damaged_rows(self) -> None:
        """Each column, to values of every kind: they are said, the others kept, and logs and other cursors read."""
        for column, value in (
            ("seq", 2),
            ("seq", 0),
            ("seq", -1),
            ("seq", 2**53),
            ("seq", 1.5),
            ("seq", "text"),
            ("seq", None),
            ("id", b""),
            ("id", b"\1" * 8),
            ("id", b"7 bytes"),
            ("id", None),
            ("id", 7),
            ("crc", 1),
            ("crc", None),
            ("author", NAMES[0][:31]),
            ("author", b"another author of 32 bytes......"),
            ("author", 7),
        ):
            self.database.write_bytes(self.good)
            self.alter(f"UPDATE cursors SET {column} = ? WHERE name = 'me' AND author = ?", value, BOB)
            self.check_damage()

    def check_damage(self) -> None:
        left = many()
        left.discard(BOB)
        with closing(open_logs(self.path)) as logs:
            with self.assertRaises(StoreDamagedError) as caught:
                logs.cursor("me")
            self.assertIn("'me' at 1 of its authors", str(caught.exception))
            self.assertEqual(logs.cursor("other"), many())
            self.assert_logs_are_read(logs)
            report = logs.verify()
            self.assertEqual(report.cursors, ["me"])
            if report.sound:  # else SQLite itself complains, newer ones of more
                self.assertEqual(len(report.damages), 1)
                repaired = logs.repair()
                self.assertEqual((repaired.cursors, repaired.left), (["me"], []))
                self.assertEqual(logs.cursor("me"), left)
        if not report.sound:
            salvage(self.path)
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.cursor("me"), left)
            self.assertTrue(logs.verify().ok)

    def test_a_row_of_another_cursor(self) -> None:
        """Even one that is whole there."""
        self.alter("UPDATE cursors SET seq = 1, name = 'somebody' WHERE name = 'me' AND author = ?", BOB)
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(StoreDamagedError, logs.cursor, "somebody")
            self.assertEqual(len(logs.cursor("me")), len(NAMES) - 1)

    def test_saved_over_damage(self) -> None:
        self.alter("UPDATE cursors SET seq = 5 WHERE name = 'me'")
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.process([SetCursor("me", many(3))]).results, [Done()])
            self.assertEqual(logs.cursor("me"), many(3))
            self.assertTrue(logs.verify().ok)

    def test_what_is_known_is_not_damaged(self) -> None:
        """A row that goes bad while the store is open: a repair takes what is on disk."""
        with closing(open_logs(self.path)) as logs:
            logs.cursor("me")
            assert isinstance(logs._backend, SQLiteBackend)
            logs._backend._connection.execute(
                "UPDATE cursors SET crc = 0 WHERE name = 'me' AND author = ?", (BOB,)
            )
            self.assertEqual(logs.repair().cursors, ["me"])
            self.assertEqual(logs.cursor("me").seq(BOB), 0)
            logs.process([SetCursor("me", many())])
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.cursor("me"), many())

    def test_a_name_that_is_none(self) -> None:
        for name in (b"me", b"\xff", ""):
            self.database.write_bytes(self.good)
            self.alter("UPDATE cursors SET name = ? WHERE name = 'me' AND author = ?", name, BOB)
            if name == b"\xff":
                self.alter("UPDATE cursors SET name = CAST(name AS TEXT) WHERE name = x'ff'")
            with closing(open_logs(self.path)) as logs:
                self.assertFalse(logs.verify().sound)
                self.assert_logs_are_read(logs)
            salvage(self.path)
            with closing(open_logs(self.path)) as logs:
                self.assertTrue(logs.verify().ok)
                self.assertEqual(logs.cursor_names(), ["me", "other", "third"])
                self.assertGreaterEqual(len(logs.cursor("me")), len(NAMES) - 1)

    def test_names_that_differ_little(self) -> None:
        """Names are told apart by their characters, whatever SQLite thinks of letters and ends."""
        names = ["me", "Me", "me ", "me\0", "me\0x", "mé", "%", "字" * 256]
        with closing(open_logs(self.path)) as logs:
            for seq, name in enumerate(names, start=2):
                self.assertEqual(
                    logs.process([SetCursor(name, Cursor({BOB: (seq, b"")}))]).results, [Done()], name
                )
        with closing(open_logs(self.path)) as logs:
            for seq, name in enumerate(names, start=2):
                self.assertEqual(dict(logs.cursor(name).items()), {BOB: (seq, b"")}, name)
            self.assertEqual(logs.cursor_names(), sorted([*names, "other", "third"]))
            self.assertTrue(logs.verify().ok)


class FullDiskTests(MountCase):
    def test_a_large_one_is_removed(self) -> None:
        """Where there is not the room that its rows take, and that comes back."""
        place = self.mount("size=8m")
        ballast = place / "ballast"
        ballast.write_bytes(bytes(700 * 1024))
        cursor = Cursor({number.to_bytes(32, "big"): (1, bytes(8)) for number in range(40_000)})
        with closing(open_logs(place / "store")) as logs:
            author = logs.writer("ann").author
            logs.process([SetCursor("me", cursor)])
            with self.assertRaises(StoreFullError):
                while True:
                    logs.process([Append(author, [bytes(100_000)])])
            ballast.unlink()
            self.assertEqual(logs.process([SetCursor("me", None)]).results, [Done()])
            while logs.reclaim():
                pass
            logs.process([Append(author, [bytes(500_000)])])


class PageTests(DiskCase):
    def test_any_page_of_the_table(self) -> None:
        """A damaged page of cursors: logs are read, nothing false is said, and a rebuilding keeps most."""
        draw = random.Random(1)
        pages = self.pages()
        self.assertGreater(len(pages), 10)
        for page in draw.sample(pages, 6):
            bad = bytearray(self.good)
            start = (page - 1) * 16_384
            bad[start : start + 16_384] = draw.randbytes(16_384)
            self.database.write_bytes(bad)
            with closing(open_logs(self.path)) as logs:
                self.assert_logs_are_read(logs)
                for name in ("me", "other", "third"):
                    try:
                        self.assertEqual(logs.cursor(name), many())
                    except StoreDamagedError:
                        pass
                put = Chain(3).put(b"y")
                [saved, accepted] = logs.process([SetCursor("me", many(2)), Accept(*put)]).results
                self.assertIsInstance(saved, StoreDamagedError)
                self.assertEqual(accepted, Accepted(put.head))
                self.assertFalse(logs.verify().sound)
            salvage(self.path)
            with closing(open_logs(self.path)) as logs:
                self.assertTrue(logs.verify().ok)
                left = [logs.cursor(name) for name in ("me", "other", "third")]
                for cursor in left:
                    changes = cursor.difference(many())
                    self.assertEqual(set(changes.values()) - {None}, set())
                self.assertGreater(sum(map(len, left)), 0 if page == pages[0] else len(NAMES))
            for leftover in self.path.glob("log.sqlite*"):
                leftover.unlink()

    def pages(self) -> list[int]:
        """The pages of the table of cursors, the root first."""
        with closing(sqlite3.connect(self.database)) as connection:
            [root] = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = 'cursors'"
            ).fetchone()
        found = [root]
        for number in range(2, len(self.good) // 16_384 + 1):
            page = self.good[(number - 1) * 16_384 : number * 16_384]
            if number != root and any(name + bytes(28) in page for name in (b"me", b"other", b"third")):
                found.append(number)
        return found

    def test_salvage(self) -> None:
        """Every whole row is taken over."""
        salvage(self.path)
        with closing(open_logs(self.path)) as logs:
            for name in ("me", "other", "third"):
                self.assertEqual(logs.cursor(name), many())


class StoreTests(VirtualCase):
    """Through the store of an application."""

    def test_a_cursor_saved_after_each_entry(self) -> None:
        """What is kept at each moment is what was read until then, although the reader went on since."""
        world: World = self.world
        writer = self.writer()
        self.append(writer, *[b"%d" % number for number in range(20)])
        reader = self.store.read()
        saves: list[tuple[int, Place]] = []

        async def main() -> None:
            async for entry in reader:
                saving = self.store.save_cursor("me", reader.cursor())
                if entry.seq % 3:
                    await saving
                    found = await self.store.cursor("me")
                    saves.append((entry.seq, next(iter(found.items()))[1]))

        world.result(Deferred.fromCoroutine(main()))
        for seq, (kept, _) in saves:
            self.assertEqual(kept, seq)
        self.assertEqual(len(saves), 14)

    def test_an_own_cursor_goes_on(self) -> None:
        """What was asked to be saved is saved as it was then."""
        writer = self.writer()
        self.append(writer, b"1")
        cursor = Cursor({writer.author: (1, b"")})
        saving = self.store.save_cursor("me", cursor)
        cursor.advance(writer.author, 5)
        self.world.result(saving)
        self.assertEqual(self.world.result(self.store.cursor("me")).seq(writer.author), 1)
        got = self.world.result(self.store.cursor("me"))
        got.advance(writer.author, 7)
        self.assertEqual(self.world.result(self.store.cursor("me")).seq(writer.author), 1)

    def test_a_reader_goes_on_from_a_copy(self) -> None:
        """Neither a reader nor who gave it a cursor sees what the other does."""
        writer = self.writer()
        self.append(writer, b"1", b"2", b"3")
        cursor = Cursor({writer.author: (1, b"")})
        reader = self.store.read(after=cursor)
        cursor.advance(writer.author, 3)
        self.assertEqual(self.read(after=Cursor({writer.author: (2, b"")})), [b"3"])
        self.assertEqual(reader.cursor().seq(writer.author), 1)
        reader.cursor().advance(writer.author, 3)
        self.assertEqual(reader.cursor().seq(writer.author), 1)

    def test_what_is_no_place_to_go_on_from(self) -> None:
        for after in ("cursor", 5, b"", {}, [], object()):
            self.assertRaises(InvalidValueError, self.store.read, after=after)
