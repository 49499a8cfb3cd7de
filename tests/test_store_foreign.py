"""Stores that somebody else made: whatever is in their directory, nothing outside is touched, and nothing hangs."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog.errors import (
    InvalidValueError,
    StoreDamagedError,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreLockedError,
    StoreNotClosedError,
    StoreNotFoundError,
    StoreUnsafeError,
)
from gossiplog.log.body import encode_body
from gossiplog.log.cursor import Cursor
from gossiplog.store import interface, secret_files, writer_keys
from gossiplog.store.folder import Folder
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Append, Done, SetCursor, SetMeta
from gossiplog.store.sqlite import opening as sqlite_opening
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.store.sqlite.extent import HOLES_BYTES, has_room_for, holes_damage
from gossiplog.store.sqlite.header import PAGE_BYTES
from tests.test_store_sqlite import command, environment

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

NAMES = (
    "lock",
    "generation",
    "node.key",
    "seeds/ann",
    "log.sqlite",
    "log.sqlite-wal",
    "log.sqlite-shm",
    "log.sqlite-journal",
)
"""Every file that a store opens, or SQLite for it."""

DRAFTS = (".generation.new", ".node.key.new", "seeds/.bob.new")
"""Every file that is written beside its place."""

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)"

OPEN = """
import sys
from gossiplog.errors import StoreError
from gossiplog.store.logs import open_logs
try:
    logs = open_logs(sys.argv[1])
    logs.writer("bob")
    logs.node_key()
    logs.close()
except StoreError as error:
    print(type(error).__name__)
"""


MUCH = """
import sys
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, Forget
from gossiplog.testing.chain import Chain
logs = open_logs(sys.argv[1])
chains = [Chain(number) for number in range(1, 80)]
for _ in range(3):
    logs.process([Accept(*chain.put(bytes(100_000))) for chain in chains])
logs.verify()
logs.process([Forget(chain.author) for chain in chains])
logs.close()
"""

LINUX = sys.platform == "linux"


class ForeignTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True, mode=0o700)
        self.path = place / "store"
        self.outside = place / "outside"
        self.outside.mkdir()
        self.precious = self.outside / "precious"
        self.precious.write_bytes(b"of the user")
        logs = open_logs(self.path)
        self.ann = logs.writer("ann").author
        logs.node_key()
        logs.process([Append(self.ann, [encode_body(7, b"one"), encode_body(8, b"two")])])
        logs.close()

    def use(self) -> None:
        """Do with the store what a node does."""
        logs = open_logs(self.path)
        try:
            logs.node_key()
            logs.writer("bob")
            logs.process([Append(self.ann, [b"three"])])
            logs.verify()
        finally:
            logs.close()

    def assert_nothing_outside_changed(self) -> None:
        self.assertEqual(
            [(p.name, p.read_bytes()) for p in self.outside.iterdir()], [("precious", b"of the user")]
        )

    def assert_unsafe(self, words: str, use: Callable[[], object] | None = None) -> None:
        with self.assertRaises(StoreUnsafeError) as caught:
            (use or self.use)()
        self.assertIn(words, str(caught.exception))
        self.assert_nothing_outside_changed()

    def alter(self, *statements: str) -> None:
        """Do with the database what whoever made the store may have done."""
        with closing(sqlite3.connect(self.path / "log.sqlite", isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement).fetchall()


class LinkTests(ForeignTestCase):
    """Names that lead out of the directory."""

    def place(self, name: str, make: Callable[[Path], object]) -> None:
        file = self.path / name
        file.unlink(missing_ok=True)
        make(file)

    def of_each(self, make: Callable[[Path], object], words: str) -> None:
        aside = self.path.with_name("aside")
        for name in NAMES:
            file = self.path / name
            held = file.exists()
            if held:
                file.rename(aside)  # not copied, which would be noticed
            make(file)
            try:
                self.assert_unsafe(words)
            except BaseException as error:
                raise AssertionError(f"{name}: {error}") from error
            if stat.S_ISDIR(file.lstat().st_mode):
                file.rmdir()
            else:
                file.unlink()
            if held:
                aside.rename(file)
        self.use()

    def test_symbolic_links_to_a_file(self) -> None:
        self.of_each(lambda file: file.symlink_to(self.precious), "a symbolic link")

    def test_symbolic_links_to_nothing(self) -> None:
        self.of_each(lambda file: file.symlink_to(self.outside / "new"), "a symbolic link")

    def test_hard_links(self) -> None:
        self.of_each(lambda file: os.link(self.precious, file), "another name")

    def test_pipes(self) -> None:
        self.of_each(os.mkfifo, "a named pipe")

    def test_sockets(self) -> None:
        def make(file: Path) -> None:
            before = os.getcwd()
            os.chdir(file.parent)  # the path of a socket has to be short
            try:
                with socket.socket(socket.AF_UNIX) as bound:
                    bound.bind(file.name)
            finally:
                os.chdir(before)

        self.of_each(make, "a socket")

    def test_directories(self) -> None:
        self.of_each(Path.mkdir, "a directory")

    def test_devices(self) -> None:
        if os.geteuid():
            raise SkipTest("only root makes devices")
        self.of_each(lambda file: os.mknod(file, 0o600 | stat.S_IFCHR, os.makedev(1, 5)), "a device")

    def test_the_directory_of_seeds(self) -> None:
        (self.outside / "precious").rename(self.path / "seeds" / "precious")
        shutil.rmtree(self.path / "seeds")
        self.precious.write_bytes(b"of the user")
        (self.path / "seeds").symlink_to(self.outside)
        self.assert_unsafe("not a directory of its own")
        (self.path / "seeds").unlink()
        os.mkfifo(self.path / "seeds")
        self.assert_unsafe("not a directory of its own")

    def test_drafts_are_never_written_through(self) -> None:
        """What is beside a place is taken away first, whatever it is: only the name goes."""
        for make in (lambda file: file.symlink_to(self.precious), lambda file: os.link(self.precious, file)):
            for name in DRAFTS:
                self.place(name, make)
            for name in ("generation", "node.key"):
                (self.path / name).unlink()
            with closing(open_logs(self.path)) as logs:
                logs.node_key()
                logs.writer("bob")
            self.assert_nothing_outside_changed()
            self.assertFalse([name for name in DRAFTS if os.path.lexists(self.path / name)])
            (self.path / "seeds" / "bob").unlink()

    def test_a_store_that_is_begun(self) -> None:
        """There are no files yet but those that are links."""
        for name in ("lock", "node.key", "generation"):
            shutil.rmtree(self.path)
            self.path.mkdir()
            (self.path / name).symlink_to(self.outside / "new")
            self.assert_unsafe("a symbolic link", self.use)

    def test_rebuilding(self) -> None:
        for name in ("log.sqlite.new", "log.sqlite.new-journal", "log.sqlite.damaged"):
            (self.path / name).symlink_to(self.precious)
        salvage(self.path)
        self.assert_nothing_outside_changed()
        self.use()
        self.place("log.sqlite-journal", lambda file: file.symlink_to(self.precious))
        self.assert_unsafe("a symbolic link", lambda: salvage(self.path))

    def test_rebuilding_that_was_cut_short(self) -> None:
        """The old file has two names then, both of which are ours."""
        os.link(self.path / "log.sqlite", self.path / "log.sqlite.damaged")
        self.use()
        self.assertFalse((self.path / "log.sqlite.damaged").exists())

    def test_a_pipe_is_not_waited_for(self) -> None:
        """In a process of its own, which a pipe would hold up for good."""
        self.place("log.sqlite", os.mkfifo)
        done = subprocess.run(
            command(OPEN, str(self.path)), env=environment(), capture_output=True, timeout=60, check=True
        )
        self.assertEqual(done.stdout.split(), [b"StoreUnsafeError"])


class FolderTests(ForeignTestCase):
    """Somebody is quicker than the look at a name."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Folder(str(self.path))
        self.addCleanup(self.folder.close)
        self.patch(self.folder, "size", lambda name: None)  # it was in order when it was looked at

    def test_opened(self) -> None:
        for name, make in (
            ("pipe", os.mkfifo),
            ("link", lambda file: file.symlink_to(self.precious)),
            ("hard", lambda file: os.link(self.precious, file)),
        ):
            make(self.path / name)
            self.assert_unsafe(name, lambda name=name: self.folder.open(name))  # type: ignore[misc]

    def test_made(self) -> None:
        for number, make in enumerate(
            (
                lambda file: file.symlink_to(self.precious),
                lambda file: file.symlink_to(self.outside / "new"),
                lambda file: os.link(self.precious, file),
                os.mkfifo,
            )
        ):
            name = f"name{number}"
            make(self.path / name)
            self.assertRaises(FileExistsError, self.folder.create, name)
        self.assert_nothing_outside_changed()


class JournalTests(ForeignTestCase):
    """What SQLite does by itself when it finds a journal."""

    def journal(self, named: Path) -> bytes:
        """A journal that is to be played back, and belongs to a transaction of several files, which ``named`` lists."""
        name = bytes(named)
        page = (self.path / "log.sqlite").read_bytes()[:16384]
        nonce = 0
        check = nonce
        for place in range(16384 - 200, 0, -200):
            check += page[place]
        pages = (self.path / "log.sqlite").stat().st_size // 16384
        header = JOURNAL_MAGIC + struct.pack(">IIIII", 1, nonce, pages, 512, 16384)
        record = struct.pack(">I", 1) + page + struct.pack(">I", check & 0xFFFFFFFF)
        lock_page = 0x40000000 // 16384 + 1
        tail = struct.pack(">I", lock_page) + name + struct.pack(">II", len(name), sum(name)) + JOURNAL_MAGIC
        return header.ljust(512, b"\0") + record + tail

    def plant(self) -> None:
        self.alter("PRAGMA journal_mode = delete")
        (self.path / "log.sqlite-journal").write_bytes(self.journal(self.precious))

    def test_a_file_named_in_it_is_not_deleted(self) -> None:
        self.plant()
        self.assert_unsafe("names another file")
        self.assert_unsafe("names another file", lambda: salvage(self.path))
        self.assert_unsafe("names another file", lambda: open_logs(self.path, read_only=True))

    def test_sqlite_itself_would_delete_it(self) -> None:
        """This journal does what it is to do: without the look at it the file is gone."""
        self.plant()
        self.alter("PRAGMA user_version")
        self.assertFalse(self.precious.exists())


class SchemaTests(ForeignTestCase):
    """SQL that comes with a database never runs, and what has no end has one."""

    def assert_refused(self, *kinds: type[StoreError]) -> None:
        with self.assertRaises(kinds or (StoreDamagedError,)):
            self.use()
        try:
            salvage(self.path)
        except StoreError:
            return
        with closing(open_logs(self.path)) as logs:  # only what was signed is left
            self.assertEqual({damage.author for damage in logs.repair().left} - {self.ann}, set())
            for damage in logs.verify().damages:  # her rows are gone, and nobody signs behind them
                self.assertIn("the log ends at", damage.reason)

    def test_views_in_the_place_of_tables(self) -> None:
        for table, columns in (
            (
                "segments",
                "i number, i author, i first, i count, i crc, i id, i previous, i signature, i bodies",
            ),
            ("authors", "i number, i author, i seq, i id"),
            ("meta", "i key, i value"),
            ("forks", "i author, i proof"),
            ("cursors", "i name, i value"),
        ):
            kept = self.path.with_name("kept")
            shutil.copytree(self.path, kept)
            self.alter(f"DROP TABLE {table}", f"CREATE VIEW {table} AS {ENDLESS} SELECT {columns} FROM n")
            self.assert_refused()
            shutil.rmtree(self.path)
            kept.rename(self.path)

    def test_triggers(self) -> None:
        self.alter(
            f"CREATE TRIGGER t AFTER INSERT ON segments BEGIN DELETE FROM meta WHERE value IN ({ENDLESS} "
            "SELECT i FROM n); END"
        )
        self.assert_refused()

    def test_tables_of_others(self) -> None:
        for statement in (
            "CREATE TABLE more (a)",
            "CREATE INDEX more ON segments (abs(first))",
            "CREATE VIRTUAL TABLE more USING fts5(a)",
            "ALTER TABLE authors ADD COLUMN more AS (randomblob(1000))",
        ):
            kept = self.path.with_name("kept")
            shutil.copytree(self.path, kept)
            try:
                self.alter(statement)
            except sqlite3.OperationalError:
                pass  # this SQLite has no such tables
            else:
                self.assert_refused()
            shutil.rmtree(self.path)
            kept.rename(self.path)

    def test_definitions_that_were_written_over(self) -> None:
        self.alter(
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = replace(sql, 'bodies BLOB NOT NULL', "
            "'bodies BLOB NOT NULL DEFAULT (randomblob(9))') WHERE name = 'segments'",
        )
        self.assert_refused()

    def test_very_many_tables(self) -> None:
        """Not even their definitions are read to the end."""
        with closing(sqlite3.connect(self.path / "log.sqlite", isolation_level=None)) as connection:
            connection.execute("BEGIN")
            for number in range(3000):
                connection.execute(f"CREATE TABLE t{number} (a)")
            connection.execute("COMMIT")
        with self.assertRaises(StoreDamagedError) as caught:
            self.use()
        self.assertIn("interrupted", str(caught.exception))

    def test_pages_and_text_of_another_kind(self) -> None:
        for setting in ("page_size = 512", "encoding = 'UTF-16'"):
            shutil.rmtree(self.path)
            self.path.mkdir(mode=0o700)
            self.alter(f"PRAGMA {setting}", "CREATE TABLE a (b)", "PRAGMA application_id = 1735159655")
            self.alter("PRAGMA user_version = 1")
            self.assert_refused(StoreFormatError)

    def test_huge_values(self) -> None:
        """A gigabyte that takes a megabyte of holes is not read into memory."""
        for statement in (
            "UPDATE segments SET bodies = zeroblob(20000000)",
            "UPDATE segments SET signature = zeroblob(20000000)",
            "UPDATE authors SET id = zeroblob(20000000)",
        ):
            kept = self.path.with_name("kept")
            shutil.copytree(self.path, kept)
            self.alter(statement)
            with closing(open_logs(self.path)) as logs:
                self.assertIn("too big", logs.damages[0].reason)
            shutil.rmtree(self.path)
            kept.rename(self.path)

    def test_pages_that_lead_to_each_other(self) -> None:
        """A table of which each page names a thousand times the one below has as many rows as a star has atoms."""
        page = 16384
        content = bytearray((self.path / "log.sqlite").read_bytes())
        with closing(sqlite3.connect(self.path / "log.sqlite")) as connection:
            [[root]] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'authors'")
        leaf = bytes(content[(root - 1) * page : root * page])
        last = len(content) // page
        levels = range(last + 1, last + 13)
        for level in levels:
            child = level + 1
            cells = [struct.pack(">I", child) + b"\1" for _ in range(1500)]
            body = bytearray(page)
            offsets = []
            at = page
            for cell in cells:
                at -= len(cell)
                body[at : at + len(cell)] = cell
                offsets.append(at)
            body[:12] = struct.pack(">BHHHBI", 5, 0, len(cells), at, 0, child)
            body[12 : 12 + 2 * len(cells)] = struct.pack(f">{len(cells)}H", *offsets)
            content += body
        content += leaf
        content[(root - 1) * page : root * page] = content[last * page : (last + 1) * page]
        content[28:32] = struct.pack(">I", len(content) // page)
        content[92:96] = content[24:28]
        (self.path / "log.sqlite").write_bytes(content)
        with closing(open_logs(self.path)) as logs:
            self.assertIn("interrupted", logs.damages[0].reason)
            self.assertEqual(logs.clock.seq(self.ann), 2)


class OwnerTests(ForeignTestCase):
    """A store that is not ours alone is read, when that is asked for, and never written."""

    def everything(self) -> dict[str, object]:
        """All that can be seen of the directory from outside, but when it was read."""
        found: dict[str, object] = {}
        for file in [self.path, *self.path.rglob("*")]:
            about = file.stat()
            attributes = {name: os.getxattr(file, name) for name in os.listxattr(file)} if LINUX else {}
            about_it = (about.st_mode, about.st_uid, about.st_size, about.st_nlink, about.st_ino)
            times = (about.st_mtime_ns, about.st_ctime_ns)
            found[str(file)] = (about_it, times, attributes, file.read_bytes() if file.is_file() else b"")
        return found

    def give_away(self) -> None:
        if os.geteuid():
            raise SkipTest("only root gives files away")
        for file in [self.path, *self.path.rglob("*")]:
            os.chown(file, 65534, 65534)

    def assert_readable_only(self, words: str) -> None:
        before = self.everything()
        self.assert_unsafe(words)
        self.assertEqual(self.everything(), before)
        self.assert_reads(writers={})

    def assert_reads(self, writers: dict[str, bytes]) -> None:
        before = self.everything()
        with closing(open_logs(self.path, read_only=True)) as logs:
            self.assertEqual(logs.clock.seq(self.ann), 2)
            self.assertEqual(len(logs.segments(self.ann, 1, 1)), 1)
            self.assertTrue(logs.verify().ok)
            self.assertEqual(logs.writers(), writers)
            self.assertEqual(logs.node_key(), logs.node_key())
            for write in (
                lambda: logs.writer("bob"),
                lambda: logs.process([Append(self.ann, [b"x"])]),
            ):
                self.assertRaises(StoreFailedError, write)
        self.assertEqual(self.everything(), before)

    def test_of_another_user(self) -> None:
        self.give_away()
        self.assert_readable_only("belongs to user 65534")

    def test_one_file_of_another_user(self) -> None:
        if os.geteuid():
            raise SkipTest("only root gives files away")
        for name in ("log.sqlite", "lock", "generation", "seeds", "seeds/ann", "node.key"):
            os.chown(self.path / name, 65534, 65534)
            self.assert_readable_only("belongs to user 65534")
            os.chown(self.path / name, 0, 0)

    def test_others_may_write(self) -> None:
        for name in (".", "log.sqlite", "lock", "generation", "seeds", "seeds/ann", "node.key"):
            file = self.path / name
            mode = stat.S_IMODE(file.stat().st_mode)
            for wide in (0o020, 0o002):
                file.chmod(mode | wide)
                self.assert_readable_only("chmod go-w")
            file.chmod(mode)
        self.use()

    def test_others_may_write_what_is_beside_the_database(self) -> None:
        for name in ("log.sqlite-wal", "log.sqlite-journal"):
            (self.path / name).touch()
            (self.path / name).chmod(0o666)
            self.assert_unsafe("chmod go-w")
            (self.path / name).unlink()

    def test_others_may_exchange_the_directory(self) -> None:
        parent = self.path.parent
        for mode in (0o777, 0o702):
            parent.chmod(mode)
            self.assert_unsafe("could put another directory in the place")
        parent.chmod(0o1777)  # as /tmp
        self.use()

    def test_a_group_that_is_not_ours(self) -> None:
        if os.geteuid():
            raise SkipTest("only root gives files away")
        parent = self.path.parent
        parent.chmod(0o770)
        os.chown(parent, -1, 65534)
        self.assert_unsafe("could put another directory in the place")
        os.chown(parent, -1, os.getegid())
        self.use()

    def test_an_empty_directory_that_everybody_may_write_to(self) -> None:
        shutil.rmtree(self.path)
        self.path.mkdir()
        self.path.chmod(0o777)
        open_logs(self.path).close()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)
        shutil.rmtree(self.path)
        self.path.mkdir()
        self.path.chmod(0o1777)
        self.assert_unsafe("chmod go-w")

    def test_what_others_may_read_is_not_left_so(self) -> None:
        """As a copy or an archive leaves it."""
        names = ("log.sqlite", "seeds/ann", "node.key")
        for name in names:
            (self.path / name).chmod(0o644)
        self.use()
        for name in names:
            self.assertEqual(stat.S_IMODE((self.path / name).stat().st_mode), 0o600)

    def test_reading_keeps_writers_out_and_the_other_way_round(self) -> None:
        with closing(open_logs(self.path)):
            self.assertRaises(StoreLockedError, open_logs, self.path, read_only=True)
        with closing(open_logs(self.path, read_only=True)), closing(open_logs(self.path, read_only=True)):
            self.assertRaises(StoreLockedError, open_logs, self.path)

    def test_without_a_lock_file(self) -> None:
        (self.path / "lock").unlink()
        self.assert_reads({"ann": self.ann})

    def test_by_its_owner(self) -> None:
        """Who may read it in any case sees who writes there."""
        self.assert_reads({"ann": self.ann})
        with closing(open_logs(self.path, read_only=True)) as logs:
            node = logs.node_key()
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.node_key(), node)

    def test_secrets_of_another_user_are_not_looked_at(self) -> None:
        """Not even what they are: a link in their place is no obstacle."""
        (self.path / "seeds" / "ann").unlink()
        (self.path / "seeds" / "ann").symlink_to(self.precious)
        self.give_away()
        self.assert_reads(writers={})

    def test_what_was_not_closed_is_not_read(self) -> None:
        logs = open_logs(self.path)
        logs.process([Append(self.ann, [b"three"])])
        copy = self.path.with_name("copy")
        shutil.copytree(self.path, copy)
        logs.close()
        self.path = copy
        before = self.everything()
        self.assertRaises(StoreNotClosedError, open_logs, copy, read_only=True)
        self.assertEqual(self.everything(), before)

    def test_no_store(self) -> None:
        shutil.rmtree(self.path)
        self.assertRaises(StoreNotFoundError, open_logs, self.path, read_only=True)
        self.assertFalse(self.path.exists())


class OutsideTests(ForeignTestCase):
    """What a store writes, it writes into its directory."""

    def test_nothing_is_written_into_temporary_files(self) -> None:
        """SQLite puts them into a directory that a variable names, and takes their names away at once; the directory
        remembers that."""
        place = self.path.with_name("temporary")
        place.mkdir()
        before = place.stat().st_mtime_ns
        subprocess.run(
            command(MUCH, str(self.path)),
            env={**environment(), "SQLITE_TMPDIR": str(place), "TMPDIR": str(place)},
            check=True,
            timeout=60,
        )
        self.assertEqual(place.stat().st_mtime_ns, before)


class LimitTests(ForeignTestCase):
    def test_writers(self) -> None:
        self.patch(secret_files, "MAX_WRITERS", 2)
        self.patch(writer_keys, "MAX_WRITERS", 2)
        with closing(open_logs(self.path)) as logs:
            logs.writer("bob")
            self.assertRaises(InvalidValueError, logs.writer, "cat")
        open_logs(self.path).close()
        shutil.copy(self.path / "seeds" / "bob", self.path / "seeds" / "cat")
        self.assertRaises(StoreFormatError, open_logs, self.path)

    def test_values_that_would_be_read_to_compare_their_keys(self) -> None:
        for table, key in (("meta", "'interest'"), ("forks", "zeroblob(32)")):
            kept = self.path.with_name("kept")
            shutil.copytree(self.path, kept)
            self.alter(f"INSERT INTO {table} VALUES ({key}, zeroblob(100000000))")
            self.assert_too_big()
            shutil.rmtree(self.path)
            kept.rename(self.path)

    def test_rows_of_cursors_that_would_be_read_to_compare_their_keys(self) -> None:
        """Told before any of them is compared; logs are read, and grow."""
        for column in ("name", "author", "seq", "id", "crc"):
            with closing(open_logs(self.path)) as logs:
                cursor = Cursor({bytes(32): (1, b"")})
                logs.process([SetCursor("me", cursor), SetCursor("other", cursor)])
            kept = self.path.with_name("kept")
            shutil.copytree(self.path, kept)
            self.alter(f"UPDATE cursors SET {column} = zeroblob(100000000) WHERE name = 'me'")
            with closing(open_logs(self.path)) as logs:
                for read in (lambda: logs.cursor("other"), lambda: logs.cursor("me")):
                    with self.assertRaises(StoreDamagedError) as caught:
                        read()
                    self.assertIn("too big", str(caught.exception))
                requests = [SetCursor("other", cursor), SetMeta("a", b"1")]
                refused, done = logs.process(requests).results
                self.assertIsInstance(refused, StoreDamagedError)
                self.assertEqual(done, Done())
                self.assertFalse(logs.verify().sound)
            shutil.rmtree(self.path)
            kept.rename(self.path)

    def assert_too_big(self) -> None:
        """Told before any of it is read."""
        for read_only in (False, True):
            with closing(open_logs(self.path, read_only=read_only)) as logs:
                self.assertIn("too big", logs.damages[0].reason)
                self.assertEqual(len(logs.segments(self.ann, 1, 1)), 1)
                self.assertFalse(logs.cursor("me") or logs.meta("me"))

    def test_a_file_that_is_hardly_there(self) -> None:
        """A key may be said to be as long as its file, and is read whole: so a file is what was written of it."""
        database = self.path / "log.sqlite"
        size = database.stat().st_size
        os.truncate(database, size + 2 * HOLES_BYTES)
        with open(database, "r+b") as file:
            file.seek(28)
            file.write(((size + 2 * HOLES_BYTES) // PAGE_BYTES).to_bytes(4, "big"))
        for read_only in (False, True):
            with self.assertRaises(StoreDamagedError) as caught:
                SQLiteBackend(self.path, read_only=read_only).close()
            self.assertIn("cp --sparse=never", str(caught.exception))
        os.truncate(database, size)

    def test_holes_are_added_up(self) -> None:
        """However many there are, at the end too; as many bytes as were written are fine."""
        file = self.path / "log.sqlite"
        with open(file, "wb") as written:
            for place in range(1, 40):
                written.seek(place * (4 << 20))
                written.write(bytes([1]) * 4096)
        with closing(Folder(str(self.path))) as folder:
            self.assertIn("never written", holes_damage(folder, "log.sqlite"))
            with open(file, "wb") as written:
                written.write(bytes([1]) * 8192)
                written.truncate(8192 + HOLES_BYTES)
            self.assertEqual(holes_damage(folder, "log.sqlite"), "")
            self.assertTrue(has_room_for(folder, "log.sqlite", HOLES_BYTES + PAGE_BYTES))
            self.assertFalse(has_room_for(folder, "log.sqlite", HOLES_BYTES + 2 * PAGE_BYTES))

    def test_a_log_of_a_larger_database(self) -> None:
        """SQLite believes a write-ahead log how many pages there are."""
        with (
            patch.object(sqlite_opening, "has_room_for", lambda *_: False),
            self.assertRaises(StoreDamagedError) as caught,
        ):
            SQLiteBackend(self.path)
        self.assertIn("more pages than it has", str(caught.exception))

    def test_values(self) -> None:
        """One at the limit is kept, through the rewriting of the file too; one above is neither written nor read."""
        limit = 4 * 1024 * 1024
        for module in (interface, sqlite_opening):
            self.patch(module, "MAX_VALUE_BYTES", limit)
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(InvalidValueError, logs.process, [SetMeta("me", bytes(limit + 1))])
            logs.process([SetMeta("me", bytes(limit)), SetMeta("other", bytes(limit))])
            logs.process([SetMeta("other", None)])
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.meta("me"), bytes(limit))
            self.assertTrue(logs.verify().ok)
        self.alter(f"UPDATE meta SET value = zeroblob({limit + 5}) WHERE key = 'me'")
        self.assert_too_big()
