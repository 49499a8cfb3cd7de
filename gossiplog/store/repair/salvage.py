"""Rebuilding a database file of which pages are damaged: what can be read, row by row, goes into a new one.

Responsible for: reading around damage, and putting the new file in the place of the old one, which is kept aside.
Must not know: whether a log is complete afterwards (``verifying``), or what is done if it is not (``repairing``).
Invariant: only rows with their checksum, and proofs that prove something, are taken over; at any moment the store's
file is the old one with all that can be read from it, or the new one whole and synced.  The new one is another file
than the one that was marked, so that no writer appends before ``recover``.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

from gossiplog.errors import GossiplogError, StoreDamagedError, StoreFailedError, StoreFormatError
from gossiplog.log.fork import decode_proof, verify_proof
from gossiplog.log.keys import ID_BYTES, KEY_BYTES
from gossiplog.paths import AnyPath
from gossiplog.store.directory import ASIDE, DATABASE, StoreDirectory, store_error
from gossiplog.store.folder import Folder
from gossiplog.store.sqlite.cursors import is_name, is_whole
from gossiplog.store.sqlite.header import HEADER_BYTES, PAGE_BYTES, SCHEMA_VERSION, is_ours, version_of
from gossiplog.store.sqlite.opening import Effort, open_database, our_tables, tables_of
from gossiplog.store.sqlite.rows import row_crc
from gossiplog.store.sqlite.schema import DEFINITIONS, SQLITE_ERRORS, create_tables, read_error

_NEW: Final = f"{DATABASE}.new"


class Salvage(NamedTuple):
    """What a new database file was made of, and where the old one is."""

    rows: int
    authors: int
    aside: str


def salvage(path: AnyPath, wait: float = 0.0) -> Salvage:
    """Rebuild the database of the closed store at ``path`` from what can be read of it.

    Blocks for up to ``wait`` seconds while others have it open.

    :raises StoreError: its subclass says why not; of the store nothing but the header of its file was changed.
    """
    with closing(StoreDirectory(path, init=False, wait=wait)) as directory:
        file = directory.database
        if directory.read_only:
            raise StoreFailedError(f"{file}: {directory.why_read_only(asked=False)}")
        try:
            return _Salvage(directory).run()
        except SQLITE_ERRORS as error:
            raise read_error(error, file) from error
        except OSError as error:
            raise store_error(error, file) from error


class _Salvage:
    def __init__(self, directory: StoreDirectory) -> None:
        self._directory = directory
        self._folder = directory.folder
        self._file = directory.database

    def run(self) -> Salvage:
        folder = self._folder
        for leftover in (_NEW, f"{_NEW}-journal"):
            folder.remove(leftover)
        os.close(folder.create(_NEW))
        with closing(sqlite3.connect(folder.file(_NEW), isolation_level=None)) as new:
            for setting in ("synchronous = FULL", "temp_store = MEMORY"):
                new.execute(f"PRAGMA {setting}")
            create_tables(new)
            self._mend_page(HEADER_BYTES)
            if not self._has_our_tables():
                self._mend_page(PAGE_BYTES)
            new.execute("BEGIN IMMEDIATE")
            with closing(self._opened()) as old:
                rows, authors = _Reading(self._file, old, new).run()
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            new.execute("COMMIT")
        if folder.size(f"{DATABASE}-wal"):
            raise StoreDamagedError(f"{self._file}-wal could not be copied into its database")
        for leftover in ("wal", "journal"):  # what the old file needed of them is in it now
            folder.remove(f"{DATABASE}-{leftover}")
        aside = _free_name(folder, DATABASE + ASIDE)
        folder.link(DATABASE, aside)
        folder.rename(_NEW, DATABASE)
        folder.sync()
        return Salvage(rows, authors, folder.file(aside))

    def _has_our_tables(self) -> bool:
        """Tell whether the first page says where our tables are.

        :raises StoreFormatError: it has what we never make, and what would be run when it is read.
        """
        try:
            with closing(open_database(self._directory)) as connection:
                for kind, sql in connection.execute("SELECT type, sql FROM sqlite_master LIMIT 32"):
                    if kind in (b"view", b"trigger") or (sql or b"").upper().startswith(b"CREATE VIRTUAL"):
                        raise StoreFormatError(
                            f"{self._file} was not made by gossiplog: it has SQL of its own"
                        )
                return tables_of(connection) == our_tables()
        except (StoreDamagedError, *SQLITE_ERRORS):
            return False

    def _opened(self) -> sqlite3.Connection:
        connection = open_database(self._directory, around_damage=True)
        Effort(connection, self._directory)
        return connection

    def _mend_page(self, size: int) -> None:
        """Write the beginning of our first page over that of a damaged file of ours: it is the same in all of them, and
        SQLite may not even open the file as it is.

        The header says that no page is free, so nothing may be written to the file afterwards.
        """
        folder, file = self._folder, self._file
        with open(folder.open(DATABASE, os.O_RDWR), "r+b") as damaged, open(folder.open(_NEW), "rb") as good:
            mended = bytearray(good.read(size))
            page = damaged.read(PAGE_BYTES)
            if version_of(page) not in (None, SCHEMA_VERSION):
                raise StoreFormatError(f"{file} is of a newer version of gossiplog")
            if not is_ours(page, DEFINITIONS):
                raise StoreDamagedError(f"{file} is damaged: nothing can be read from it")
            pages = os.fstat(damaged.fileno()).st_size // PAGE_BYTES
            mended[18:20] = b"\2\2"  # with a write-ahead log
            mended[28:40] = pages.to_bytes(4, "big") + bytes(8)
            mended[92:96] = mended[24:28]  # the number of pages counts
            damaged.seek(0)
            damaged.write(mended)
            damaged.flush()
            os.fsync(damaged.fileno())


class _Reading:
    """I copy what is good from one connection to another."""

    def __init__(self, file: str, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
        self._file = file
        self._old = old
        self._new = new
        self._failed = False

    def run(self) -> tuple[int, int]:
        authors, heads = self._authors()
        numbers: dict[bytes, int] = {}
        rows = 0
        for row in self._segments():
            author = _author_of(row, authors.get(row[1], set()))
            if author is None:
                continue
            number = numbers.setdefault(author, len(numbers) + 1)
            _, _, first, count, holes, crc, entry_id, *rest = row
            rows += self._new.execute(
                "INSERT OR IGNORE INTO segments "
                "(author, first, count, holes, crc, id, previous, signature, bodies) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, first, count, holes, crc, entry_id, *rest),
            ).rowcount
            last = first + count - 1
            if last >= heads.get(author, (0, b""))[0]:
                heads[author] = last, entry_id
        if self._failed and not (rows or heads):
            raise StoreDamagedError(f"{self._file} is damaged: nothing can be read from it")
        for author in heads:  # also of what has no rows any more: nobody may sign behind a log that is lost
            number = numbers.setdefault(author, len(numbers) + 1)
            self._new.execute("INSERT INTO authors VALUES (?, ?, ?, ?)", (number, author, *heads[author]))
        self._new.execute(
            "INSERT INTO meta (key, value) SELECT x'', max(number) FROM segments HAVING max(number) > 0"
        )
        self._values()
        self._cursors()
        return rows, len(numbers)

    def _authors(self) -> tuple[dict[int, set[bytes]], dict[bytes, tuple[int, bytes]]]:
        """Return the authors by number, of which an index may know others, and their heads."""
        authors: dict[int, set[bytes]] = defaultdict(set)
        heads: dict[bytes, tuple[int, bytes]] = {}
        index = "INDEXED BY sqlite_autoindex_authors_1"
        for order in ("ASC", "DESC"):
            for row in self._scan(f"SELECT number, author, seq, id FROM authors ORDER BY number {order}"):
                number, author, seq, entry_id = row
                if _is_key(author):
                    authors[number].add(author)
                    if type(seq) is int and seq > 0 and type(entry_id) is bytes and len(entry_id) == ID_BYTES:
                        heads[author] = seq, entry_id
            for number, author in self._scan(
                f"SELECT number, author FROM authors {index} ORDER BY author {order}"
            ):
                if _is_key(author):
                    authors[number].add(author)
        return authors, heads

    def _segments(self) -> Iterator[Any]:
        """Yield the rows that can be read: from both ends to the damage, then those that the index knows."""
        columns = "number, author, first, count, holes, crc, id, previous, signature, bodies FROM segments"
        seen: set[int] = set()
        for order in ("ASC", "DESC"):
            for row in self._scan(f"SELECT {columns} ORDER BY number {order}"):
                if row[0] not in seen:
                    seen.add(row[0])
                    yield row
            if not self._failed:
                return
        for order in ("ASC", "DESC"):
            known = f"SELECT number FROM segments INDEXED BY segments_by_seq ORDER BY author {order}, first {order}"
            for (number,) in self._scan(known):
                if number not in seen:
                    seen.add(number)
                    yield from self._scan(f"SELECT {columns} WHERE number = ?", (number,))

    def _values(self) -> None:
        for table, key in (("forks", "author"), ("meta", "key")):
            for order in ("ASC", "DESC"):
                for row in self._scan(f"SELECT * FROM {table} ORDER BY {key} {order}"):
                    if table == "forks" and not _proves(row):
                        continue
                    if row[0] and type(row[1]) is bytes:
                        self._new.execute(
                            f"INSERT OR IGNORE INTO {table} VALUES (CAST(? AS {_kind(key)}), ?)", row
                        )

    def _cursors(self) -> None:
        for order in ("ASC", "DESC"):
            for row in self._scan(
                f"SELECT name, author, seq, id, crc FROM cursors ORDER BY name {order}, author {order}"
            ):
                if is_name(row[0]) and is_whole(*row):
                    self._new.execute(
                        "INSERT OR IGNORE INTO cursors VALUES (CAST(? AS TEXT), ?, ?, ?, ?)", row
                    )
            if not self._failed:
                return

    def _scan(self, question: str, parameters: tuple[object, ...] = ()) -> Iterator[Any]:
        """Yield rows until one cannot be read, of which ``_failed`` then speaks."""
        try:
            yield from self._old.execute(question, parameters)
            self._failed = False
        except SQLITE_ERRORS:
            self._failed = True


def _author_of(row: tuple[Any, ...], authors: set[bytes]) -> bytes | None:
    """Return whose row this is, ``None`` if it is not what was written."""
    _, _, first, count, holes, crc, *rest = row
    if any(type(value) is not int for value in (first, count, holes)) or any(
        type(part) is not bytes for part in rest
    ):
        return None
    return next((author for author in authors if row_crc(author, first, count, holes, *rest) == crc), None)


def _is_key(author: object) -> bool:
    return type(author) is bytes and len(author) == KEY_BYTES


def _proves(row: tuple[Any, ...]) -> bool:
    try:
        proof = decode_proof(row[1])
        verify_proof(proof)
    except (GossiplogError, TypeError):
        return False
    return bool(proof.author == row[0])


def _kind(key: str) -> str:
    return "BLOB" if key == "author" else "TEXT"


def _free_name(folder: Folder, wanted: str) -> str:
    name, number = wanted, 1
    while folder.holds(name):
        number += 1
        name = f"{wanted}-{number}"
    return name
