"""The format of the database file, and what an SQLite error means to us.

Responsible for: the tables, creating them, translating errors.
Must not know: what the rows mean, or how a file is opened.
Invariant: every error of SQLite becomes one of ours, but for what only a bug can cause.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gossiplog.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from gossiplog.store.sqlite.header import APPLICATION_ID, MARK, PAGE_BYTES

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a statement raises; the second when the message about a damaged schema is not text."""

DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # a table of ours is not there, or the header asks for what SQLite does not know
        sqlite3.SQLITE_CONSTRAINT,  # an index says something else than its table
        sqlite3.SQLITE_TOOBIG,  # a value is larger than any that we write
        sqlite3.SQLITE_INTERRUPT,  # a statement has no end
    }
)
"""Results that only a file can cause whose content is not what was written."""

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
    # With a rowid, as segments: without one, a proof of 5 KB would take 19.
    "CREATE TABLE forks (author BLOB NOT NULL UNIQUE, proof BLOB NOT NULL)",
    # A row for each author, so that a cursor that moved costs the rows that did; `crc` is over the whole row.
    """CREATE TABLE cursors (
        name TEXT NOT NULL, author BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (name, author)) WITHOUT ROWID""",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # Indices last, so that each begins at the page where VACUUM would put it: the first page is the same in every file.
    "CREATE UNIQUE INDEX segments_by_seq ON segments (author, first)",
    "CREATE INDEX segments_with_holes ON segments (author, first, count, holes) WHERE holes > 0",
)
DEFINITIONS: Final = tuple(statement.encode() for statement in _TABLES)

_NEW_FILE: Final = (  # what a file has for good
    f"page_size = {PAGE_BYTES}",
    "encoding = 'UTF-8'",
    "auto_vacuum = INCREMENTAL",  # free pages are given back in small steps
)


EMPTY_PAGES: Final = 11
"""Of a file with these tables and nothing in them."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make an empty database one of ours."""
    for setting in _NEW_FILE:
        connection.execute(f"PRAGMA {setting}")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {MARK}")
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
