"""The store on disk: its directory, its lock, its modes, and what it makes of a bad disk."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import (
    AppendOutcomeUnknown,
    InvalidValueError,
    StoreDamagedError,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
)
from gossiplog.limits import MAX_SEQ
from gossiplog.log.fork import build_proof, encode_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, entries
from gossiplog.store.interface import PutMeta, PutSegment
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append, Forget, SetMeta
from gossiplog.store.sqlite import journal as sqlite_journal
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.store.sqlite.header import SCHEMA_VERSION, mark
from gossiplog.store.sqlite.rows import sealed
from gossiplog.testing.chain import Chain
from tests.fuzz.survey import bearing_any_value

ALL = 1 << 30

HOLD = """
import sys
from gossiplog.store.logs import open_logs
logs = open_logs(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""

NO_ROOM = """
import os, resource, sys
from gossiplog.errors import AppendOutcomeUnknown, StoreFailedError
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
logs = open_logs(sys.argv[1])
ann = logs.writer("ann").author
logs.process([Append(ann, [b"before"])])
size = os.path.getsize(os.path.join(sys.argv[1], "log.sqlite-wal"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
failures = []
for _ in range(2):
    try:
        logs.process([Append(ann, [b"x" * 100_000])])
    except StoreFailedError as error:
        failures.append(type(error).__name__)
seq, held = logs.clock.seq(ann), len(logs.segments(ann, 1, 1 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logs.close()
print(*failures, seq, held)
"""


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class DirectoryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def open(self, init: bool = True) -> Logs:
        logs = open_logs(self.path, init)
        self.addCleanup(logs.close)
        return logs

    def filled(self) -> bytes:
        """Leave a closed store with a writer's entry behind; return the writer's author."""
        logs = open_logs(self.path)
        author = logs.writer("ann").author
        logs.process([Append(author, [b"one"])])
        logs.close()
        return author

    def assertRefused(self, expected: type[StoreError], text: str, init: bool = True) -> None:
        """Opening fails in that way and says so, and whatever is there stays as it was."""
        before = self.content()
        with self.assertRaises(expected) as caught:
            open_logs(self.path, init)
        self.assertIn(text, str(caught.exception))
        self.assertEqual(self.content(), before)

    def content(self) -> dict[str, bytes]:
        if not self.path.is_dir():
            return {}
        return {
            str(p): p.read_bytes() for p in sorted(self.path.rglob("*")) if p.is_file() and p.name != "lock"
        }


class DirectoryTests(DirectoryTestCase):
    def test_a_store_is_created_with_missing_parents(self) -> None:
        self.path = self.path / "a" / "b"
        logs = self.open()
        self.assertEqual(logs.path, str(self.path))
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)

    def test_modes_do_not_depend_on_the_umask(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        logs = self.open()
        author = logs.writer("ann").author
        logs.node_key()
        logs.process([Append(author, [b"one"])])
        names = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [self.path, *self.path.rglob("*")]}
        self.assertEqual(names.pop(self.path.name), 0o700)
        self.assertEqual(names.pop("seeds"), 0o700)
        self.assertEqual(
            names,
            dict.fromkeys(("lock", "generation", "log.sqlite", "log.sqlite-wal", "node.key", "ann"), 0o600),
        )

    def test_no_store(self) -> None:
        self.assertRefused(StoreNotFoundError, "no store at", init=False)
        self.assertFalse(self.path.exists())
        self.path.mkdir()
        self.assertRefused(StoreNotFoundError, "no store at", init=False)
        self.assertEqual(list(self.path.iterdir()), [])

    def test_an_empty_directory_becomes_a_store(self) -> None:
        self.path.mkdir()
        (self.path / "lost+found").mkdir()
        self.assertEqual(len(self.open().clock), 0)

    def test_not_a_directory(self) -> None:
        self.path.write_bytes(b"a file")
        self.assertRefused(StoreFormatError, "is not a directory")
        self.path = self.path / "below"
        self.assertRefused(StoreError, "Not a directory")
        self.path = Path(self.mktemp()).absolute()
        self.path.symlink_to("nowhere")
        self.assertRefused(StoreFormatError, "is not a directory")

    def test_a_directory_of_somebody_else(self) -> None:
        self.path.mkdir()
        (self.path / "notes.txt").write_bytes(b"mine")
        self.assertRefused(StoreFormatError, "notes.txt")
        self.assertEqual([p.name for p in self.path.iterdir()], ["notes.txt"])

    def test_a_database_of_another_program(self) -> None:
        self.path.mkdir()
        connection = sqlite3.connect(self.path / "log.sqlite")
        connection.execute("CREATE TABLE theirs (a)")
        connection.close()
        self.assertRefused(StoreFormatError, "another program")

    def test_a_newer_format(self) -> None:
        self.filled()
        connection = sqlite3.connect(self.path / "log.sqlite")
        connection.execute(f"PRAGMA user_version = {mark(SCHEMA_VERSION + 1)}")
        connection.close()
        self.assertRefused(StoreFormatError, f"has format {SCHEMA_VERSION + 1};")

    def test_a_start_that_was_cut_short(self) -> None:
        self.path.mkdir()
        (self.path / "lock").touch()
        (self.path / "log.sqlite").touch()
        self.assertRefused(StoreNotFoundError, "is empty", init=False)
        self.assertEqual(len(self.open().clock), 0)

    def test_writers_without_their_logs_would_fork(self) -> None:
        self.filled()
        database = self.path / "log.sqlite"
        database.write_bytes(b"")
        self.assertRefused(StoreDamagedError, "'ann'")
        database.unlink()
        self.assertRefused(StoreDamagedError, "'ann'")

    def test_a_damaged_secret(self) -> None:
        author = self.filled()
        seed = self.path / "seeds" / "ann"
        good = seed.read_bytes()
        first, last = bytes([good[0] ^ 1]), bytes([good[-1] ^ 1])
        for bad in (b"", good[:-1], good + b"x", first + good[1:], good[:-1] + last):
            seed.write_bytes(bad)
            self.assertRefused(StoreDamagedError, str(seed))
        seed.write_bytes(good)
        (self.path / "seeds" / ".bob.new").write_bytes(b"cut short")
        logs = self.open()
        self.assertEqual(logs.writers(), {"ann": author})
        self.assertNotEqual(logs.writer("bob").author, author)

    def test_no_permission(self) -> None:
        self.filled()
        parent = self.path.parent
        self.addCleanup(self.path.chmod, 0o700)
        self.addCleanup(parent.chmod, stat.S_IMODE(parent.stat().st_mode))
        self.path.chmod(0)  # an owner who may read could open it for reading
        parent.chmod(0o555)
        if os.geteuid() == 0:  # to whom nothing is forbidden
            self.addCleanup(os.seteuid, 0)
            os.seteuid(65534)
        for path in (self.path, parent / "another", Path("/gossiplog-store")):
            with self.assertRaises(StoreError) as caught:
                open_logs(path)
            self.assertIn("Permission denied", str(caught.exception))

    def test_the_thread_that_opened_it(self) -> None:
        logs = self.open()
        caught: list[BaseException] = []

        def use() -> None:
            try:
                logs.meta("a")
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        self.assertIsInstance(caught[0], sqlite3.ProgrammingError)


class LockTests(DirectoryTestCase):
    def test_a_second_opening_in_this_process(self) -> None:
        self.open()
        with self.assertRaises(StoreLockedError) as caught:
            open_logs(self.path)
        self.assertEqual(caught.exception.path, str(self.path))

    def test_closing_lets_the_next_one_in(self) -> None:
        for _ in range(3):
            self.open().close()

    def test_a_failed_opening_leaves_no_lock(self) -> None:
        self.filled()
        database = self.path / "log.sqlite"
        good = database.read_bytes()
        database.write_bytes(b"not a database at all" * 1000)
        self.assertRefused(StoreDamagedError, str(database))
        database.write_bytes(good)
        self.open()

    def test_another_process(self) -> None:
        child = subprocess.Popen(
            command(HOLD, str(self.path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        self.addCleanup(child.communicate)
        assert child.stdout is not None
        self.assertEqual(child.stdout.readline(), b"open\n")
        with self.assertRaises(StoreLockedError):
            open_logs(self.path)
        child.kill()
        child.wait()
        self.open()


class HeadTests(DirectoryTestCase):
    """The heads in the table of authors are behind; what a crash leaves has to lead to the same clock."""

    def assertSameAfterCrash(self, logs: Logs) -> None:
        """Open a copy of the files as they are now."""
        copy = Path(self.mktemp()).absolute()
        shutil.copytree(self.path, copy)
        found = open_logs(copy)
        self.assertEqual(found.clock, logs.clock)
        self.assertTrue(found.verify().ok)
        found.close()

    def test_heads_after_a_crash(self) -> None:
        logs = self.open()
        chains = [Chain(number) for number in range(1, 4)]
        for number in range(2500):
            chain = chains[number % 2 if number < 2000 else 2]
            logs.process([Accept(*chain.put(b"x"))])
            if number % 250 == 0 or number in (1023, 1024, 2048):
                self.assertSameAfterCrash(logs)

    def test_row_numbers_that_are_used_again(self) -> None:
        logs = self.open()
        first, last = Chain(1), Chain(2)
        for _ in range(3):
            logs.process([Accept(*first.put(b"x"))])
        for _ in range(3):
            logs.process([Accept(*last.put(b"x"))])
        logs.process([Forget(last.author)])
        self.assertSameAfterCrash(logs)
        for _ in range(9):
            logs.process([Accept(*first.put(b"x"))])
            self.assertSameAfterCrash(logs)
        while logs.merge_some(ALL):
            self.assertSameAfterCrash(logs)
        self.assertSameAfterCrash(logs)
        again = Chain(2)
        logs.process([Accept(*again.put(b"y")), Accept(*first.put(b"x"))])
        self.assertSameAfterCrash(logs)
        logs.process([Accept(*again.put(b"z")), Forget(again.author), Accept(*Chain(2).put(b"a"))])
        self.assertSameAfterCrash(logs)
        self.assertEqual(logs.clock.seq(again.author), 1)

    def test_a_head_that_fell_behind_is_not_signed_behind(self) -> None:
        logs = self.open()
        ann = logs.writer("ann").author
        for _ in range(3):
            logs.process([Append(ann, [b"x"])])
        logs.close()
        connection = sqlite3.connect(self.path / "log.sqlite")
        settled = sealed("meta", b"", (3).to_bytes(8, "big"))
        connection.execute("INSERT INTO meta VALUES (x'', ?)", (settled,))
        connection.commit()
        connection.close()
        logs = self.open()
        self.assertEqual(logs.clock.seq(ann), 1)
        [result] = logs.process([Append(ann, [b"another second entry"])]).results
        self.assertIsInstance(result, StoreDamagedError)
        self.assertEqual({damage.author for damage in logs.verify().damages}, {ann})


class SpaceTests(DirectoryTestCase):
    def test_entries_written_one_by_one_take_little_room(self) -> None:
        logs = self.open()
        ann = logs.writer("ann").author
        for number in range(2000):
            logs.process([Append(ann, [b"%04d" % number * 28])])
        while logs.merge_some(ALL):
            pass
        logs.close()
        names = {p.name for p in self.path.iterdir()}
        self.assertEqual(names, {"lock", "generation", "log.sqlite", "seeds"})
        fixed = 12 * 16384  # tables, and what the last page of each row has left
        self.assertLess((self.path / "log.sqlite").stat().st_size, 2000 * 120 + fixed)
        self.assertEqual(self.open().verify().entries, 2000)

    def test_the_write_ahead_log_stays_small(self) -> None:
        self.patch(sqlite_journal, "BULK_BYTES", 1 << 30)  # or it is not used for so much
        logs = self.open()
        ann = logs.writer("ann").author
        for number in range(40):
            logs.process([Append(ann, [bytes(500_000), bytes(500_000)])])
            logs.segments(ann, 1, 1)
            self.assertLess((self.path / "log.sqlite-wal").stat().st_size, 8 << 20, number)

    def test_what_comes_in_large_pieces_is_written_once(self) -> None:
        """It goes past the write-ahead log, which comes back when only little is written."""
        logs = self.open()
        ann = logs.writer("ann").author
        beside = self.path / "log.sqlite-wal", self.path / "log.sqlite-journal"
        for _ in range(3):
            logs.process([Append(ann, [bytes(60_000), bytes(60_000)])])
        self.assertEqual([p.exists() for p in beside], [False, True])
        self.assertLess(beside[1].stat().st_size, 10 * 16384)
        for _ in range(31):
            logs.process([Append(ann, [b"little"])])
        self.assertEqual([p.exists() for p in beside], [False, True])
        for _ in range(2):
            logs.process([Append(ann, [b"little"])])
        self.assertEqual([p.exists() for p in beside], [True, False])
        logs.close()
        self.assertEqual(self.open().verify().entries, 6 + 33)

    def test_closed_while_much_comes_in(self) -> None:
        """Nothing is left beside the file."""
        logs = self.open()
        ann = logs.writer("ann").author
        for _ in range(3):
            logs.process([Append(ann, [bytes(60_000), bytes(60_000)])])
        logs.close()
        self.assertEqual([p.name for p in self.path.glob("log.sqlite*")], ["log.sqlite"])


class FullTests(DirectoryTestCase):
    def test_a_full_disk(self) -> None:
        backend = SQLiteBackend(self.path)
        self.addCleanup(backend.close)
        logs = Logs(backend)
        ann = logs.writer("ann").author
        logs.process([Append(ann, [b"before"])])
        clock = logs.clock.copy()
        backend._connection.execute("PRAGMA max_page_count = 40")
        for _ in range(3):
            with self.assertRaises(StoreFullError):
                logs.process([Append(ann, [bytes(400_000)] * 5), SetMeta("a", b"1")])
            self.assertEqual(logs.clock, clock)
            self.assertIsNone(logs.meta("a"))
        logs.process([Append(ann, [b"small"])])
        backend._connection.execute("PRAGMA max_page_count = 100000")
        logs.process([Append(ann, [bytes(400_000)] * 5), SetMeta("a", b"1")])
        logs.close()
        logs = self.open()
        self.assertEqual((logs.clock.seq(ann), logs.meta("a")), (7, b"1"))
        self.assertTrue(logs.verify().ok)


class FailingConnection(sqlite3.Connection):
    """A connection on which the statement that ``breaks`` begins with fails, after it was done if ``kept``."""

    breaks = ""
    kept = False
    code = sqlite3.SQLITE_IOERR_FSYNC

    def execute(self, sql: str, *parameters: Iterable[object]) -> sqlite3.Cursor:  # type: ignore[override]
        if not self.breaks or not sql.startswith(self.breaks):
            return super().execute(sql, *parameters)  # type: ignore[arg-type]
        if self.kept:
            super().execute(sql, *parameters)  # type: ignore[arg-type]
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = self.code
        raise error


class FailingTests(DirectoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.backend = SQLiteBackend(self.path, factory=FailingConnection)
        self.addCleanup(self.backend.close)
        self.logs = Logs(self.backend)
        self.ann = self.logs.writer("ann").author
        self.logs.process([Append(self.ann, [b"before"])])
        self.connection = self.backend._connection
        assert isinstance(self.connection, FailingConnection)

    def append_to(
        self, breaks: str, kept: bool = False, code: int = sqlite3.SQLITE_IOERR_FSYNC
    ) -> StoreError:
        """Append on a broken connection; return the error, with the clock as it was."""
        assert isinstance(self.connection, FailingConnection)
        self.connection.breaks, self.connection.kept, self.connection.code = breaks, kept, code
        with self.assertRaises(StoreError) as caught:
            self.logs.process([Append(self.ann, [b"after"]), SetMeta("a", b"1")])
        self.connection.breaks = ""
        self.assertEqual(self.logs.clock.seq(self.ann), 1)
        self.assertEqual(len(self.logs.segments(self.ann, 1, ALL)), 1 + kept)
        return caught.exception

    def assertPoisoned(self) -> None:
        for write in (
            lambda: self.logs.process([SetMeta("b", b"2")]),
            lambda: self.backend.commit([PutMeta("b", b"")]),
        ):
            with self.assertRaises(StoreFailedError) as caught:
                write()
            self.assertNotIsInstance(caught.exception, AppendOutcomeUnknown)
        self.assertIsNone(self.logs.meta("b"))

    def test_a_failed_sync_that_kept_nothing(self) -> None:
        self.assertIsInstance(self.append_to("COMMIT"), AppendOutcomeUnknown)
        self.assertPoisoned()
        self.logs.close()
        logs = self.open()
        self.assertEqual((logs.clock.seq(self.ann), logs.meta("a")), (1, None))
        logs.process([Append(self.ann, [b"again"])])
        self.assertTrue(logs.verify().ok)

    def test_a_failed_sync_that_kept_everything(self) -> None:
        self.assertIsInstance(self.append_to("COMMIT", kept=True), AppendOutcomeUnknown)
        self.assertPoisoned()
        self.logs.close()
        logs = self.open()
        self.assertEqual((logs.clock.seq(self.ann), logs.meta("a")), (2, b"1"))
        logs.process([Append(self.ann, [b"again"])])
        self.assertTrue(logs.verify().ok)

    def test_an_io_error_before_the_commit(self) -> None:
        error = self.append_to("INSERT INTO segments", code=sqlite3.SQLITE_IOERR_WRITE)
        self.assertEqual(type(error), StoreFailedError)
        self.assertPoisoned()

    def test_a_rollback_that_fails(self) -> None:
        assert isinstance(self.connection, FailingConnection)
        self.connection.breaks = "ROLLBACK"
        with self.assertRaises(InvalidValueError):
            self.backend.commit([PutSegment(*Chain(2).put(b"x"))] * 2)
        self.connection.breaks = ""
        self.assertRaises(StoreFailedError, self.backend.commit, [PutMeta("b", b"")])

    def test_damage_met_while_writing(self) -> None:
        self.assertIsInstance(self.append_to("INSERT", code=sqlite3.SQLITE_CORRUPT), StoreDamagedError)
        self.assertPoisoned()

    def test_no_room_at_the_commit_is_known_to_be_nothing(self) -> None:
        self.assertIsInstance(self.append_to("COMMIT", code=sqlite3.SQLITE_FULL), StoreFullError)
        self.logs.process([Append(self.ann, [b"again"])])
        self.assertEqual(self.logs.clock.seq(self.ann), 2)

    def test_a_file_system_that_turned_read_only(self) -> None:
        error = self.append_to("BEGIN", code=sqlite3.SQLITE_READONLY)
        self.assertEqual(type(error), StoreError)
        self.logs.process([Append(self.ann, [b"again"])])

    def test_a_real_write_that_fails(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        told = subprocess.run(
            command(NO_ROOM, str(self.path)), env=environment(), capture_output=True, check=True, text=True
        )
        self.assertEqual(told.stdout, "AppendOutcomeUnknown StoreFailedError 1 1\n")
        logs = self.open()
        [author] = logs.local
        logs.process([Append(author, [b"again"])])
        self.assertTrue(logs.verify().ok)


class DamageTests(DirectoryTestCase):
    """Flipped bits and lost ends: typed errors, a report that names the author, never other bytes than written."""

    def setUp(self) -> None:
        super().setUp()
        logs = open_logs(self.path)
        self.chains = [Chain(number) for number in range(1, 6)]
        for size in (10, 60_000, 100, 3000):
            logs.process([Accept(*chain.put(bytes([size % 251]) * size)) for chain in self.chains])
        logs.process([SetMeta("a", b"1")])
        logs.close()
        self.database = self.path / "log.sqlite"
        self.good = self.database.read_bytes()

    def opened(self, content: bytes) -> Logs | None:
        """Return the logs over a changed file; ``None`` if opening said that it is damaged."""
        self.database.write_bytes(content)
        (self.path / "log.sqlite-wal").unlink(missing_ok=True)
        try:
            return open_logs(self.path)
        except StoreError as error:
            self.assertIsInstance(error, StoreDamagedError | StoreFormatError)
            self.assertIn(str(self.database), str(error))
            return None

    def read(self, chain: Chain, logs: Logs) -> list[Segment]:
        try:
            return logs.segments(chain.author, 1, ALL)
        except StoreDamagedError:
            return []

    def check(self, content: bytes) -> bool:
        """Read everything from a changed file; whether the damage was found."""
        logs = self.opened(content)
        if logs is None:
            return True
        try:
            for chain in self.chains:
                found = self.read(chain, logs)
                self.assertEqual(found, chain.segments[: len(found)])
            report = logs.verify()
            if report.ok:
                self.assertEqual(
                    dict(logs.clock.items()), {chain.author: chain.head for chain in self.chains}
                )
                self.assertEqual(
                    [self.read(chain, logs) for chain in self.chains], [c.segments for c in self.chains]
                )
            return not report.ok
        finally:
            logs.close()

    def test_the_file_as_it_is(self) -> None:
        self.assertFalse(self.check(self.good))

    def test_a_flipped_bit_anywhere(self) -> None:
        draw = random.Random(1)
        places = [*range(100), *(draw.randrange(len(self.good)) for _ in range(300))]
        found = 0
        for place in places:
            bad = bytearray(self.good)
            bad[place] ^= 1 << draw.randrange(8)
            found += self.check(bytes(bad))
        self.assertGreater(found, 200)

    def test_an_end_that_is_missing(self) -> None:
        for size in (1, 100, 16384, len(self.good) // 2, len(self.good) - 16384, len(self.good) - 1):
            self.assertTrue(self.check(self.good[:size]), size)

    def test_zeroed_pages(self) -> None:
        for place in range(0, len(self.good), 16384):
            bad = self.good[:place] + bytes(16384) + self.good[place + 16384 :]
            self.assertTrue(self.check(bad) or bad == self.good, place)

    def test_the_report_names_the_author(self) -> None:
        for chain in self.chains:
            place = self.good.index(chain.segments[0].signature)
            bad = bytearray(self.good)
            bad[place] ^= 1
            logs = self.opened(bytes(bad))
            assert logs is not None
            self.assertRaises(StoreDamagedError, logs.segments, chain.author, 1, 1)
            self.assertEqual(len(logs.segments(chain.author, 2, ALL)), 3)
            self.assertEqual({(d.author, d.first) for d in logs.verify().damages}, {(chain.author, 1)})
            logs.close()

    def alter(self, *statements: str, values: tuple[object, ...] = ()) -> None:
        """Do to the closed store what only a bad disk does, NULL where there is none among it."""
        with bearing_any_value(self.database) as connection:
            for statement in statements:
                connection.execute(statement, values)

    def test_a_value_of_another_type(self) -> None:
        for value in ("7", "1.5", "NULL", "'text'"):
            self.database.write_bytes(self.good)
            self.alter(f"UPDATE meta SET value = {value} WHERE key = 'a'")
            logs = self.open()
            if value != "'text'":  # SQLite gives the bytes of a text
                self.assertRaises(StoreDamagedError, logs.meta, "a")
            logs.close()

    def test_a_head_beyond_the_seqs_there_are(self) -> None:
        for seq in (0, MAX_SEQ + 1, 2**63 - 1):
            self.database.write_bytes(self.good)
            self.alter(f"UPDATE authors SET seq = {seq}")
            logs = self.open()
            self.assertIn("a row of the table of authors is not one", logs.damages[0].reason)
            self.assertEqual({head.seq for _, head in logs.clock.items()}, {4})
            logs.close()

    def test_a_fork_proof_of_another_author(self) -> None:
        cat = Keypair(bytes(32))
        start = Head(0, genesis_id(cat.author))
        left, right = (build(cat, start, [body])[0][0] for body in (b"left", b"right"))
        proof = build_proof(left, right)
        assert proof is not None
        for author in (self.chains[0].author, b""):
            self.database.write_bytes(self.good)
            self.alter("INSERT INTO forks VALUES (?, ?)", values=(author, encode_proof(proof)))
            logs = self.open()
            if not author:
                self.assertIn("a fork proof is of no author", logs.damages[0].reason)
                self.assertEqual(logs.forks, set())
                logs.close()
                continue
            self.assertRaises(StoreDamagedError, logs.fork_proof, author)
            report = logs.verify()
            self.assertEqual(([damage.author for damage in report.damages], report.sound), ([author], False))
            logs.close()

    def test_a_row_of_nobody(self) -> None:
        for number in ("NULL", "99", "'text'"):
            self.database.write_bytes(self.good)
            self.alter(
                f"UPDATE segments SET author = {number} WHERE number = (SELECT max(number) FROM segments)"
            )
            logs = self.open()
            reasons = [damage.reason for damage in logs.verify().damages if damage.author is None]
            self.assertEqual(reasons[-1:], ["a row of segments is of no author"], number)
            logs.close()

    def test_writing_to_a_damaged_store(self) -> None:
        draw = random.Random(2)
        for _ in range(60):
            bad = bytearray(self.good)
            for _ in range(40):
                bad[draw.randrange(16384, len(bad))] ^= 1 << draw.randrange(8)
            shutil.rmtree(self.path / "seeds", ignore_errors=True)  # of the store that was here before
            logs = self.opened(bytes(bad))
            if logs is None:
                continue
            for step in self.uses(logs):
                try:
                    step()
                except (StoreError, InvalidValueError):
                    pass
            logs.close()

    def uses(self, logs: Logs) -> list[Callable[[], object]]:
        def append() -> None:
            author = logs.writer("ann").author
            logs.process([Append(author, [b"x"])])
            found = [body for s in logs.segments(author, 1, ALL) for _, _, body in entries(s)]
            self.assertEqual(found, [b"x"])

        chain = Chain(9)
        writes = [lambda: logs.process([Accept(*chain.put(b"y"))]) for _ in range(20)]
        merges = [lambda: logs.merge_some(ALL)] * 4
        return [append, *writes, *merges, lambda: logs.cursor("a"), logs.verify]
