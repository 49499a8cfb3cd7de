"""Rows on their way into the tables of authors and segments, many in one statement.

Responsible for: the fewest statements for the rows of one transaction; what shows that a value is as it was written.
Must not know: which rows are right, or what else a transaction does.
Invariant: after :meth:`Rows.flush` every row added before is in its table, in the order added.

Each statement gives up the interpreter's lock three times and waits until the reactor's thread, which hashes what comes
in, lets go of it: up to a millisecond each time.  A commit of 64 small rows took 88 ms beside such a thread with a
statement for each of them, and takes 5 ms with one for all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from gossiplog.limits import MAX_SEQ
from gossiplog.log.keys import ID_BYTES
from gossiplog.log.segment import Head, Segment
from gossiplog.store.row_form import row_of

NUMBER: Final = "(SELECT number FROM authors WHERE author = ?)"
"""An author's number, by which the rows of segments name it."""

LEAVING_BYTES: Final = 8
"""What stands in the place of the key of an author that was deleted, while rows of it are left: keys have 32 bytes."""

_GROUPS: Final = (64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1)
"""How many rows a statement takes: few different statements, so that all of them stay prepared."""

SEAL_BYTES: Final = 4
"""Behind each value: a checksum over table, key and value, so that none is taken for another one."""


def leaving(number: int) -> bytes:
    """Return what stands for the author ``number`` once it is deleted."""
    return number.to_bytes(LEAVING_BYTES, "big")


def insert(connection: sqlite3.Connection, into: str, marks: str, rows: list[tuple[Any, ...]]) -> None:
    """Do ``into`` (``INSERT INTO ...``) with ``rows``, each of which is ``marks``."""
    place = 0
    for size in _GROUPS:
        while len(rows) - place >= size:
            values = [value for row in rows[place : place + size] for value in row]
            connection.execute(f"{into} VALUES {', '.join([marks] * size)}", values)
            place += size


def sealed(table: str, key: bytes, value: bytes) -> bytes:
    """Return ``value`` as the column of a table keeps it, in the row with ``key``."""
    return value + _seal(table, key, value)


def unsealed(table: str, key: object, content: object) -> bytes | None:
    """Return the value that :func:`sealed` made this of, ``None`` if it is not what was written there."""
    if type(key) is not bytes or type(content) is not bytes:
        return None
    value, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    return value if seal == _seal(table, key, value) else None


def head_columns(author: bytes, head: Head) -> tuple[int, bytes]:
    """Return the columns ``seq`` and ``id`` of a row of the table of authors."""
    return head.seq, sealed("authors", b"%b %d" % (author, head.seq), head.id)


def head_of(author: object, seq: object, content: object) -> Head | None:
    """Return the head that these columns say, ``None`` if they are not what was written."""
    if type(author) is not bytes or type(seq) is not int or not 1 <= seq <= MAX_SEQ:
        return None
    entry_id = unsealed("authors", b"%b %d" % (author, seq), content)
    return None if entry_id is None or len(entry_id) != ID_BYTES else Head(seq, entry_id)


def _seal(table: str, key: bytes, value: bytes) -> bytes:
    return crc32(value, crc32(b"%b %d %b" % (table.encode(), len(key), key))).to_bytes(SEAL_BYTES, "big")


class Rows:
    """I collect the rows of one transaction until they have to be in their tables."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Insert through ``connection``, in whatever transaction is open then."""
        self._connection = connection
        self._authors: list[tuple[Any, ...]] = []
        self._segments: list[tuple[Any, ...]] = []

    def clear(self) -> None:
        """Begin a transaction: forget what another one left."""
        self._authors.clear()
        self._segments.clear()

    def add_author(self, author: bytes, head: Head) -> None:
        """A row for an author that has none."""
        self._authors.append((author, *head_columns(author, head)))

    def add_segment(self, segment: Segment, entry_id: bytes) -> None:
        """A row for ``segment``, whose last entry has ``entry_id``."""
        self._segments.append((segment.author, *row_of(segment, entry_id)))

    def flush(self) -> None:
        """Insert what was added."""
        insert(self._connection, "INSERT INTO authors (author, seq, id)", "(?, ?, ?)", self._authors)
        insert(
            self._connection,
            "INSERT INTO segments (author, first, count, holes, crc, id, previous, signature, bodies)",
            f"({NUMBER}, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._segments,
        )
        self.clear()

    def seqs(self, authors: Iterable[bytes]) -> dict[bytes, int]:
        """Return the seqs in the table of authors; 0 of those that are not there."""
        seqs = dict.fromkeys(authors, 0)
        names = list(seqs)
        for place in range(0, len(names), _GROUPS[0]):
            asked = names[place : place + _GROUPS[0]]
            size = next(size for size in reversed(_GROUPS) if size >= len(asked))
            asked += asked[-1:] * (size - len(asked))
            marks = ", ".join("?" * size)
            seqs.update(
                self._connection.execute(f"SELECT author, seq FROM authors WHERE author IN ({marks})", asked)
            )
        return seqs
