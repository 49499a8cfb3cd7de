"""The database file: its tables, its settings, and what an SQLite error means to us.

Responsible for: opening a connection that has our format, creating the format, translating errors.
Must not know: what the rows mean.
Invariant: a file that is not ours, or newer than us, is never changed.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final
from urllib.parse import quote

from gossiplog.errors import (
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
)
from gossiplog.store.directory import StoreDirectory, require_no_seeds

APPLICATION_ID: Final = int.from_bytes(b"glog", "big")
SCHEMA_VERSION: Final = 2

PAGE_BYTES: Final = 16384
"""Eight hold a full segment; the same row in 4 KiB pages costs twice the time."""

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a statement raises; the second when the message about a damaged schema is not text."""

DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # a table of ours is not there, or the header asks for what SQLite does not know
        sqlite3.SQLITE_CONSTRAINT,  # an index says something else than its table
    }
)
"""Results that only a file can cause whose content is not what was written."""

_LEAST_BYTES: Final = 512
"""SQLite takes a shorter file for an empty one."""

_BEFORE_FIRST_READ: Final = (
    "locking_mode = EXCLUSIVE",  # no shared-memory file; the directory's lock is already ours
    "trusted_schema = OFF",
    "cell_size_check = ON",  # damage is found when a page is read, not when it is used
    "cache_size = -4096",  # KiB; a whole group commit stays in memory until its COMMIT
    f"page_size = {PAGE_BYTES}",  # counts for a new file only
)

_BEFORE_FIRST_WRITE: Final = (
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: without it a sync stops at the drive's cache
    "wal_autocheckpoint = 250",  # pages, 4 MiB: the log stays in the page cache until it is copied
    "journal_size_limit = 8388608",
)

_TABLES: Final = (
    """CREATE TABLE authors (
        number INTEGER PRIMARY KEY, author BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL, id BLOB NOT NULL)""",
    # A rowid table: rows are added at its end, large ones in overflow pages.  `holes` counts bodies that were dropped,
    # `crc` is over the whole row, `id` is that of its last entry.  The heads in `authors` are those of a while ago, see
    # SQLiteWriter.
    """CREATE TABLE segments (
        number INTEGER PRIMARY KEY, author INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
        holes INTEGER NOT NULL, crc INTEGER NOT NULL, id BLOB NOT NULL, previous BLOB NOT NULL,
        signature BLOB NOT NULL, bodies BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX segments_by_seq ON segments (author, first)",
    "CREATE INDEX segments_with_holes ON segments (author, first, count, holes) WHERE holes > 0",
    "CREATE TABLE forks (author BLOB PRIMARY KEY, proof BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE cursors (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def connect(directory: StoreDirectory, init: bool, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    """Open the database of a locked store directory, its tables created if ``init`` and it is empty."""
    directory.create_database_file()
    uri = f"file:{quote(directory.database)}"
    if directory.read_only:
        _require_closed(directory.database)
        uri += "?immutable=1"  # or SQLite would want to write a file beside it
    try:
        connection = sqlite3.connect(uri, timeout=0, isolation_level=None, factory=factory, uri=True)
    except sqlite3.Error as error:
        raise read_error(error, directory.database) from error
    connection.text_factory = bytes  # a damaged text is found by its content, not by a decoding error
    try:
        _set(connection, _BEFORE_FIRST_READ)
        empty = _is_empty(connection, directory.database)
        if empty:
            require_no_seeds(directory.path)
            if 0 < os.path.getsize(directory.database) < _LEAST_BYTES:
                raise StoreDamagedError(f"{directory.database} is damaged: its end is missing")
            if not init:
                raise StoreNotFoundError(f"no store at {directory.path}: {directory.database} is empty")
        if not directory.read_only:
            if _ask(connection, "PRAGMA journal_mode = WAL") != b"wal":
                raise StoreError(
                    f"{directory.database}: SQLite's write-ahead log does not work on this file system"
                )
            _set(connection, _BEFORE_FIRST_WRITE)
            if empty:
                create_tables(connection)
    except SQLITE_ERRORS as error:
        connection.close()
        raise read_error(error, directory.database) from error
    except StoreError:
        connection.close()
        raise
    return connection


def _require_closed(file: str) -> None:
    """Raise for a database that needs something from a file beside it, which only a writer takes over."""
    for beside in (f"{file}-wal", f"{file}-journal"):
        if os.path.exists(beside) and os.path.getsize(beside):
            raise StoreError(
                f"{file} was not closed, and its file system is read-only now: "
                "copy the whole directory to another disk and read it there"
            )


def create_tables(connection: sqlite3.Connection) -> None:
    """Make an empty database one of ours."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("COMMIT")


def read_error(error: Exception, path: str) -> StoreError:
    """Translate what SQLite raised outside a commit."""
    kind = primary(error)
    if kind is None:  # not from the file: a bug of ours, such as the wrong thread
        raise error
    if kind in DAMAGE:
        return StoreDamagedError(f"{path} is damaged: {error}")
    if kind == sqlite3.SQLITE_IOERR:
        return StoreDamagedError(f"{path} cannot be read: {error}")
    if kind == sqlite3.SQLITE_FULL:
        return StoreFullError(f"{path}: no space left; nothing was written")
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLockedError(path)
    return StoreError(f"{path}: {error}")


def primary(error: Exception) -> int | None:
    """Return the primary result code, ``None`` for an error that is not SQLite's own."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _is_empty(connection: sqlite3.Connection, path: str) -> bool:
    application = _ask(connection, "PRAGMA application_id")
    version = _ask(connection, "PRAGMA user_version")
    if application == APPLICATION_ID:
        if version == SCHEMA_VERSION:
            return False
        raise StoreFormatError(
            f"{path} has format {version!r}; this version of gossiplog reads {SCHEMA_VERSION}"
        )
    if application or version or _ask(connection, "SELECT count(*) FROM sqlite_master"):
        raise StoreFormatError(f"{path} is the database of another program")
    return True


def _set(connection: sqlite3.Connection, settings: tuple[str, ...]) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}").fetchall()


def _ask(connection: sqlite3.Connection, question: str) -> object:
    row: tuple[object, ...] = connection.execute(question).fetchone()
    return row[0]
