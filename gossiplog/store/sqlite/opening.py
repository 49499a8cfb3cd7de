"""Opening the database file, whoever made it: nothing in it is asked before it is known to be one of ours.

Responsible for: the settings of a connection, the bounds of what it may take, creating our tables, comparing those that
are there with ours.
Must not know: what the rows mean.
Invariant: a file that is not ours, or newer than us, is never changed, and no SQL of its own ever runs.  A statement
ends after the work that a whole file could need, and no value is larger than any that we write.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from gossiplog.errors import (
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreNotClosedError,
    StoreNotFoundError,
)
from gossiplog.limits import MAX_BODY_BYTES, MAX_VALUE_BYTES
from gossiplog.store.directory import DATABASE, StoreDirectory, require_no_seeds
from gossiplog.store.folder import store_error
from gossiplog.store.sqlite.extent import has_room_for, holes_damage
from gossiplog.store.sqlite.header import (
    APPLICATION_ID,
    LEAST_BYTES,
    MARK,
    PAGE_BYTES,
    SCHEMA_VERSION,
    header_damage,
    is_ours,
    version_of,
)
from gossiplog.store.sqlite.rows import SEAL_BYTES
from gossiplog.store.sqlite.schema import DEFINITIONS, SQLITE_ERRORS, create_tables, read_error

_ROW_BYTES: Final = 2 * MAX_BODY_BYTES
"""A row of entries: the largest has an entry, three keys and some numbers."""

_LIMITS: Final = (
    (sqlite3.SQLITE_LIMIT_LENGTH, _ROW_BYTES),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 65_536),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)

_SCHEMA_STEPS: Final = 5000
"""Of SQLite's machine, in which it reads our eleven tables and indices forty times over."""

_STEPS: Final = 1_000_000
"""Between two looks at how much a statement has done: some 20 ms, so that the look itself costs nothing."""

_FREE_STEPS: Final = 2_000_000
_STEPS_PER_BYTE: Final = 2
"""A statement that goes through all rows takes a fifth of that: a row has 100 bytes and takes 40 steps at most."""

_SPARSE_BYTES: Final = 64 * 1024 * 1024
"""A file may have so much less on disk than in it, where the file system compresses."""

_BEFORE_FIRST_READ: Final = (  # some of these read the schema
    "locking_mode = EXCLUSIVE",  # no shared-memory file; the directory's lock is already ours
    "trusted_schema = OFF",
    "recursive_triggers = OFF",
    "foreign_keys = OFF",
    "ignore_check_constraints = OFF",
    "automatic_index = OFF",
    "reverse_unordered_selects = OFF",
    "read_uncommitted = OFF",
    "query_only = OFF",
    "cell_size_check = ON",  # damage is found when a page is read, not when it is used
    "mmap_size = 0",  # a file that gets shorter meanwhile is an error, not the end of the process
    "temp_store = MEMORY",  # no entry is ever written outside of the store
    "secure_delete = FAST",  # in pages that are written anyway; those that are freed are given back, see Space
    "cache_size = -4096",  # KiB; a whole group commit stays in memory until its COMMIT
    "cache_spill = ON",  # into the store, when a commit is larger
)

_BEFORE_FIRST_WRITE: Final = (
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: without it a sync stops at the drive's cache
    "checkpoint_fullfsync = ON",
    "max_page_count = 1073741823",
    "wal_autocheckpoint = 250",  # pages, 4 MiB: the log stays in the page cache until it is copied
    "journal_size_limit = 8388608",
)


_forsaken: Final[set[tuple[int, int]]] = set()
"""Files that a parent had open when this process was forked: in here SQLite takes them for locked, for ever."""


class Effort:
    """I end a statement of one connection that takes more work than its file can be worth: pages that lead to each
    other without end look like a large table."""

    def __init__(self, connection: sqlite3.Connection, directory: StoreDirectory) -> None:
        """Watch ``connection`` from now on."""
        self._directory = directory
        self._looks = 0
        connection.set_progress_handler(self._is_too_much, _STEPS)

    def begin(self) -> None:
        """Another statement begins."""
        self._looks = 0

    def _is_too_much(self) -> bool:
        self._looks += 1
        if self._looks * _STEPS < _FREE_STEPS:
            return False
        worth = _FREE_STEPS + _STEPS_PER_BYTE * self._file_bytes()
        return self._looks * _STEPS > worth

    def _file_bytes(self) -> int:
        """What the files really have on disk: a hole of a terabyte takes no room."""
        size = 0
        for name in (DATABASE, f"{DATABASE}-wal"):
            try:
                found = os.stat(self._directory.folder.file(name))
            except OSError:
                continue
            size += max(found.st_blocks * 512, min(found.st_size, _SPARSE_BYTES))
        return size


def connect(
    directory: StoreDirectory, init: bool, factory: type[sqlite3.Connection]
) -> tuple[sqlite3.Connection, Effort]:
    """Open the database of a locked store directory, its tables created if ``init`` and it is empty."""
    directory.create_database_file()
    _check_header(directory)
    connection = open_database(directory, factory)
    try:
        empty = _is_empty(connection, directory.database)
        if empty:
            require_no_seeds(directory.folder)
            if 0 < os.path.getsize(directory.database) < LEAST_BYTES:
                raise StoreDamagedError(f"{directory.database} is damaged: its end is missing")
            if not init:
                raise StoreNotFoundError(f"no store at {directory.path}: {directory.database} is empty")
        effort = Effort(connection, directory)
        if not empty:
            _require_small_values(connection, directory.database)
        if not directory.read_only:
            _set(connection, _BEFORE_FIRST_WRITE)
            if empty:  # before there is a write-ahead log: the file itself has its header from the first
                create_tables(connection)
            if _ask(connection, "PRAGMA journal_mode = WAL") != b"wal":
                raise StoreError(
                    f"{directory.database}: SQLite's write-ahead log does not work on this file system"
                )
        _set(connection, ("busy_timeout = 0",))  # nobody else gets in any more
    except SQLITE_ERRORS as error:
        connection.close()
        raise read_error(error, directory.database) from error
    except BaseException:
        connection.close()
        raise
    return connection, effort


def open_database(
    directory: StoreDirectory, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Return a connection with all bounds, of which nothing but the schema may be asked without an :class:`Effort`."""
    damage = holes_damage(directory.folder, DATABASE)
    if damage:
        raise StoreDamagedError(f"{directory.database} is damaged: {damage}")
    uri = f"file:{quote(os.fsencode(directory.database))}"
    if directory.read_only:
        _require_closed(directory)
        uri += "?immutable=1"  # or SQLite would want to write a file beside it
    elif _file_of(directory.database) in _forsaken:
        uri += "?vfs=unix-none"  # it does not lock; the directory is
    try:
        # another program may be reading the file, that knows nothing of our lock
        connection = sqlite3.connect(
            uri, timeout=directory.wait, isolation_level=None, factory=factory, uri=True
        )
    except sqlite3.Error as error:
        raise read_error(error, directory.database) from error
    try:
        directory.require_in_place()
        connection.text_factory = bytes  # a damaged text is found by its content, not by a decoding error
        for limit, value in _LIMITS:
            connection.setlimit(limit, value)
        connection.set_progress_handler(lambda: True, _SCHEMA_STEPS)
        connection.execute("PRAGMA writable_schema = OFF")
        _set(connection, _BEFORE_FIRST_READ)
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        if not has_room_for(directory.folder, DATABASE, pages * page_bytes):
            raise StoreDamagedError(
                f"{directory.database} is damaged: it says that it has more pages than it has"
            )
    except SQLITE_ERRORS as error:
        connection.close()
        raise read_error(error, directory.database) from error
    except BaseException:
        connection.close()
        raise
    return connection


def forsake(database: str) -> None:
    """In a child: the connection to ``database`` that the parent made stays as it is."""
    if (file := _file_of(database)) is not None:
        _forsaken.add(file)


def _file_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def large_values(connection: sqlite3.Connection) -> Iterator[None]:
    """Meanwhile a value may be larger than an entry: a cursor, or what SQLite copies without looking at it."""
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES + 65_536)
    try:
        yield
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


def _require_closed(directory: StoreDirectory) -> None:
    """Raise for a database that needs something from a file beside it, which only a writer takes over."""
    for beside in (f"{DATABASE}-wal", f"{DATABASE}-journal"):
        if directory.folder.size(beside):
            raise StoreNotClosedError(
                f"{directory.database} was not closed, so it takes a writer to read it whole: `gossiplog verify "
                "--repair` does that, if others may not write to the store; else copy the directory and do it there"
            )


def _check_header(directory: StoreDirectory) -> None:
    """Raise for a header of ours that is not as we wrote it, which SQLite could take for another one."""
    folder = directory.folder
    try:  # nobody else in this process has it open: closing it would free its locks
        with open(folder.open(DATABASE), "rb") as file:
            page = file.read(PAGE_BYTES)
    except OSError as error:
        raise store_error(error, directory.database) from error
    if len(page) < LEAST_BYTES or folder.size(f"{DATABASE}-journal"):
        return  # SQLite undoes first what was begun
    version = version_of(page)
    if version is not None and version != SCHEMA_VERSION:
        raise StoreFormatError(
            f"{directory.database} has format {version}; this version of gossiplog reads {SCHEMA_VERSION}"
        )
    alone = not folder.size(f"{DATABASE}-wal")
    damage = header_damage(page, folder.size(DATABASE) if alone else None)
    if damage and is_ours(page, DEFINITIONS):
        raise StoreDamagedError(f"{directory.database} is damaged: in its header {damage} is not what it was")


def _is_empty(connection: sqlite3.Connection, path: str) -> bool:
    application = _ask(connection, "PRAGMA application_id")
    version = _ask(connection, "PRAGMA user_version")
    tables = tables_of(connection)
    if (application, version) == (APPLICATION_ID, MARK):
        kind = [_ask(connection, f"PRAGMA {name}") for name in ("page_size", "encoding", "auto_vacuum")]
        if kind != [PAGE_BYTES, b"UTF-8", 2]:
            raise StoreFormatError(f"{path} was not made by gossiplog: its pages are of another kind")
        if tables != our_tables():
            raise StoreDamagedError(f"{path} is damaged: its tables are not the ones that were made")
        return False
    if application or version or tables:
        raise StoreFormatError(f"{path} is the database of another program")
    return True


def _require_small_values(connection: sqlite3.Connection, path: str) -> None:
    """Raise for a value above any that we write, in a table in which SQLite reads a whole row to compare its key; no
    value is read for that."""
    for table, value, most in (
        ("meta", "value", MAX_VALUE_BYTES + SEAL_BYTES),
        ("forks", "proof", _ROW_BYTES),
    ):
        large = f"SELECT 1 FROM {table} WHERE length({value}) > {most} LIMIT 1"
        if connection.execute(large).fetchone() is not None:
            raise StoreDamagedError(f"{path} is damaged: it has a value that is too big in {table}")


def tables_of(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return everything that the database defines, up to one more than we do; nothing of it is used for that."""
    found = connection.execute(
        "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master LIMIT 32"
    ).fetchall()
    return sorted(found, key=repr)


@cache
def our_tables() -> list[tuple[Any, ...]]:
    """Return what :func:`tables_of` finds in every database of ours."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.text_factory = bytes
        create_tables(connection)
        return tables_of(connection)


def _set(connection: sqlite3.Connection, settings: tuple[str, ...]) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}").fetchall()


def _ask(connection: sqlite3.Connection, question: str) -> object:
    row: tuple[object, ...] = connection.execute(question).fetchone()
    return row[0]
