"""Rebuilding a database file of which pages are damaged: what can be read, row by row, goes into a new one.

Responsible for: putting a new file in the place of the old one, which is kept aside with what belongs to it.
Must not know: how damaged pages are read (``carved``); whether a log is complete afterwards (``verify``), or what is
done if it is not (``repair``).
Invariant: only rows with their checksum, and proofs that prove something, are taken over.  Nothing of the old file is
changed, and at any moment the store's file is the old one, or the new one whole and synced.  The new one is another
file than the one that was marked, so that no writer appends before ``recover``.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import Final, NamedTuple

from gossiplog.errors import StoreDamagedError, StoreError, StoreFailedError, StoreFormatError
from gossiplog.log.cursor import Cursor
from gossiplog.paths import AnyPath
from gossiplog.store.directory import ASIDE, BESIDE, DATABASE, StoreDirectory
from gossiplog.store.folder import Folder, store_error
from gossiplog.store.interface import PutCursor, PutFork, PutMeta
from gossiplog.store.sqlite.carved import Carved
from gossiplog.store.sqlite.header import SCHEMA_VERSION, version_of
from gossiplog.store.sqlite.integrity import problems
from gossiplog.store.sqlite.opening import open_database, our_tables, tables_of
from gossiplog.store.sqlite.pages import Pages
from gossiplog.store.sqlite.rows import Rows
from gossiplog.store.sqlite.schema import SQLITE_ERRORS, create_tables, read_error
from gossiplog.store.sqlite.transaction import SQLiteWriter

_NEW: Final = f"{DATABASE}.new"

_FLUSHED_ROWS: Final = 64
"""Rows in memory at once: 8 MB when all are full."""


class Salvage(NamedTuple):
    """What a new database file was made of, and where the old one is."""

    rows: int
    authors: int
    aside: str


def salvage(path: AnyPath, wait: float = 0.0) -> Salvage:
    """Rebuild the database of the closed store at ``path`` from what can be read of it.

    Blocks for up to ``wait`` seconds while others have it open.

    :raises StoreError: its subclass says why not; nothing of the store was changed.
    """
    with closing(StoreDirectory(path, init=False, wait=wait)) as directory:
        file = directory.database
        if directory.read_only:
            raise StoreFailedError(f"{file}: {directory.why_read_only(asked=False)}")
        try:
            pages = Pages(directory.folder)
            with closing(pages):
                version = version_of(pages.read(1))
                if version not in (None, SCHEMA_VERSION):
                    raise StoreFormatError(
                        f"{file} has format {version}, and is not damaged as far as can be told"
                    )
                carved = Carved(pages, file)
                if not carved and not _is_sound(directory):
                    raise StoreDamagedError(f"{file} is damaged: nothing can be read from it")
                return _rebuild(directory.folder, carved)
        except SQLITE_ERRORS as error:
            raise read_error(error, file) from error
        except OSError as error:
            raise store_error(error, file) from error


def _is_sound(directory: StoreDirectory) -> bool:
    """Whether nothing is damaged after all: then there is nothing in it to be lost."""
    try:
        with closing(open_database(directory, sqlite3.Connection)) as connection:
            return tables_of(connection) == our_tables() and not any(problems(connection))
    except (StoreError, *SQLITE_ERRORS):
        return False


def _rebuild(folder: Folder, carved: Carved) -> Salvage:
    for leftover in (_NEW, f"{_NEW}-journal"):
        folder.remove(leftover)
    os.close(folder.create(_NEW))
    with closing(sqlite3.connect(folder.file(_NEW), isolation_level=None)) as new:
        for setting in ("synchronous = FULL", "temp_store = MEMORY"):
            new.execute(f"PRAGMA {setting}")
        create_tables(new)
        rows, authors = _copy(carved, new, folder.file(_NEW))
    aside = _free_name(folder, DATABASE + ASIDE)
    folder.link(DATABASE, aside)
    for suffix in BESIDE:  # what belongs to the old file must not be played into the new one
        if folder.holds(DATABASE + suffix):
            folder.rename(DATABASE + suffix, aside + suffix)
    folder.sync()
    folder.rename(_NEW, DATABASE)
    folder.sync()
    return Salvage(rows, authors, folder.file(aside))


def _copy(carved: Carved, new: sqlite3.Connection, file: str) -> tuple[int, int]:
    """Write everything into an empty database; return how many rows and authors these are."""
    writer, rows = SQLiteWriter(new, file), Rows(new)
    heads = dict(carved.all_heads())
    count = 0

    def copy() -> None:
        nonlocal count
        for (
            author,
            head,
        ) in heads.items():  # also what has no rows any more: nobody may sign behind a log that is lost
            rows.add_author(author, head)
        rows.flush()
        for author in heads:
            for row in carved.rows.get(author, ()):
                with suppress(StoreDamagedError):
                    rows.add_segment(*carved.read(author, row))
                    count += 1
                if not count % _FLUSHED_ROWS:
                    rows.flush()
        rows.flush()
        writer.settle_heads()

    writer.transaction(copy)
    writer.commit(
        [
            *map(PutFork, carved.forks.values()),
            *(PutMeta(key, value) for key, value in carved.values.items()),
            *(PutCursor(name, cursor.difference(Cursor())) for name, cursor in carved.cursors.items()),
        ]
    )
    return count, len(heads)


def _free_name(folder: Folder, wanted: str) -> str:
    name, number = wanted, 1
    while any(folder.holds(name + suffix) for suffix in ("", *BESIDE)):
        number += 1
        name = f"{wanted}-{number}"
    return name
