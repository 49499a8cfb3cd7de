"""The table of cursors: a row for each author that was read under a name.

Responsible for: reading a cursor, and writing what changed of it, in as few statements as it takes.
Must not know: who reads; what a cursor was before.
Invariant: a row that is not what was written is said, and hides no other one.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final
from zlib import crc32

from gossiplog.errors import StoreDamagedError
from gossiplog.limits import MAX_SEQ
from gossiplog.log.cursor import ID8_BYTES, Cursor
from gossiplog.log.keys import KEY_BYTES
from gossiplog.store.interface import PutCursor, SavedCursor, check_name
from gossiplog.store.sqlite.rows import insert

_LONGEST: Final = 4096
"""No value in a row of ours is longer: names have 256 characters."""


class CursorRows:
    """I read and write the cursors of one database file."""

    def __init__(self, connection: sqlite3.Connection, file: str) -> None:
        """Use ``connection``, whose owner translates its errors, and begins and ends transactions."""
        self._connection = connection
        self._file = file
        self._are_small = False

    def names(self) -> list[str]:
        """Return the names of all cursors, sorted.  O(rows)."""
        found = self._ask("SELECT DISTINCT name, typeof(name) FROM cursors")
        if not all(kind == b"text" and is_name(name) for name, kind in found):
            raise StoreDamagedError(f"{self._file} is damaged: the name of a cursor is not one")
        return sorted(name.decode() for name, _ in found)

    def read(self, name: str) -> SavedCursor:
        """Return what can be read of a cursor."""
        self.require_small()
        rows = self._ask("SELECT author, seq, id, crc FROM cursors WHERE name = ?", name)
        found = {row[0]: (row[1], row[2]) for row in rows if is_whole(name.encode(), *row)}
        cursor = Cursor()
        cursor.apply(found)
        if bad := len(rows) - len(found):
            return SavedCursor(
                cursor, f"{self._file} is damaged: the cursor {name!r} at {bad} of its authors"
            )
        return SavedCursor(cursor)

    def put(self, write: PutCursor) -> None:
        """Do a write, in a transaction; O(changes), but for ``anew``."""
        self.require_small()
        name, changes, anew = write
        key = check_name(name).encode()
        if anew:
            self._ask("DELETE FROM cursors WHERE name = ?", name)
        elif gone := [(name, author) for author, place in changes.items() if place is None]:
            self._connection.executemany("DELETE FROM cursors WHERE name = ? AND author = ?", gone)
        rows = [
            (name, author, *place, _crc(key, author, *place))
            for author, place in sorted(changes.items())
            if place is not None
        ]
        insert(self._connection, "INSERT OR REPLACE INTO cursors", "(?, ?, ?, ?, ?)", rows)

    def require_small(self) -> None:
        """Raise for a value larger than any of ours: SQLite would read it whole to compare a key.  O(rows), once."""
        if not self._are_small:
            large = " OR ".join(
                f"length({each}) > {_LONGEST}" for each in ("name", "author", "seq", "id", "crc")
            )
            if self._ask(f"SELECT 1 FROM cursors WHERE {large} LIMIT 1"):
                raise StoreDamagedError(f"{self._file} is damaged: it has a value that is too big in cursors")
            self._are_small = True

    def _ask(self, question: str, *parameters: object) -> list[Any]:
        return self._connection.execute(question, parameters).fetchall()


def is_name(name: object) -> bool:
    """Tell whether this, as SQLite gives it, can be the name of a cursor."""
    try:
        return type(name) is bytes and bool(name.decode())
    except UnicodeDecodeError:
        return False


def is_whole(name: bytes, author: object, seq: object, id8: object, crc: object) -> bool:
    """Tell whether a row of the cursor ``name`` is what was written."""
    return (
        type(author) is bytes
        and len(author) == KEY_BYTES
        and type(seq) is int
        and 1 <= seq <= MAX_SEQ
        and type(id8) is bytes
        and len(id8) in (0, ID8_BYTES)
        and crc == _crc(name, author, seq, id8)
    )


def _crc(name: bytes, author: bytes, seq: int, id8: bytes) -> int:
    """The checksum of a row; with the name, so that no row of another cursor is taken for one of this."""
    return crc32(b"%b %b %d %b" % (name, author, seq, id8))
