"""Room that is free in the database file: rows of deleted authors are removed, and free pages given back.

Responsible for: doing that in small steps, each of which needs little room itself.
Must not know: which authors are deleted, and why.
Invariant: a step is one transaction, and the store is whole after each.  Once the steps for a deleted author are done,
no page is free and the write-ahead log is empty: nothing of it can be read in the store's files.

A deletion that has to copy what it deletes could never make room on a full disk.  So pages are freed without being
written over; then the last pages of the file move into them, and the file ends before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from gossiplog.errors import StoreDamagedError, StoreFullError
from gossiplog.store.sqlite.rows import LEAVING_BYTES
from gossiplog.store.sqlite.transaction import SQLiteWriter

_MOST: Final = 64
"""Rows removed or pages given back in a step: some milliseconds, during which an append would wait."""

_LEAST: Final = 1
"""The same when there is no room for more: 100 to 300 KB of write-ahead log."""

_LEAVING: Final = "x'000001'"
"""What stands for a deleted author begins with zeros; of keys one in 16 million does."""

_HEADS: Final = 8
"""Heads brought up to date in a step; each may be in a page of its own."""

_FREE_PAGES: Final = 16
_FREE_SHARE: Final = 1 / 8
_MANY_FREE_PAGES: Final = 4096
"""Pages are given back when an eighth of the file is free, or 64 MiB are: a few are used again soon."""

_CLOSING_SHARE: Final = 0.02
CLOSING_STEPS: Final = 64
"""A store that is closed gives back what is more than this share, up to 64 MiB: about half a second."""


class Space:
    """I make room in one file, whose writer does my transactions."""

    def __init__(self, connection: sqlite3.Connection, writer: SQLiteWriter) -> None:
        """Begin with large steps."""
        self._connection = connection
        self._writer = writer
        self._size = _MOST
        self._giving = False
        self._failed = False
        self._damaged = False

    def step(self, *, closing: bool = False, thorough: bool = False) -> bool:
        """Do one step; tell whether there is another one to do.  O(1) when there is nothing to do.

        :raises StoreFullError: there is not even room for a small step.
        :raises StoreDamagedError: the file has to be repaired first; from then on nothing is done.
        """
        if thorough:
            return self._step(1)
        pages = self._ask("PRAGMA page_count")
        enough = pages * _CLOSING_SHARE if closing else min(_MANY_FREE_PAGES, pages * _FREE_SHARE)
        return self._step(max(_FREE_PAGES, enough))

    def _step(self, enough: float) -> bool:
        if self._writer.poison or self._damaged:
            return False
        gone = self._numbers(
            f"authors WHERE author < {_LEAVING} AND length(author) = {LEAVING_BYTES} LIMIT {self._size}"
        )
        if gone and (rows := self._rows_of(gone)):
            return self._remove(rows)
        free = self._ask("PRAGMA freelist_count")
        self._giving = free > 0 and (bool(gone) or free >= enough or self._giving)
        if self._giving:
            return self._try(lambda: self._give_back(min(free, self._size)))
        if gone:
            self._try(lambda: self._delete("authors", gone))
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return True
        return False

    def _rows_of(self, authors: list[int]) -> list[int]:
        """Return some rows of deleted authors by number, the last row of the table only if it is the last of these."""
        marks = ", ".join("?" * len(authors))
        numbers = self._numbers(
            f"segments INDEXED BY segments_by_seq WHERE author IN ({marks}) LIMIT {self._size + 1}", *authors
        )
        others = [number for number in numbers if number != self._ask("SELECT max(number) FROM segments")]
        return others[: self._size] or numbers

    def _remove(self, numbers: list[int]) -> bool:
        """Remove rows.  Before the last one of the table goes all heads are to be in theirs: numbers are used again."""
        writer = self._writer
        if numbers != [self._ask("SELECT max(number) FROM segments")]:
            return self._try(lambda: self._delete("segments", numbers))
        heads = writer.some_heads(_HEADS)
        if len(writer.ahead) > len(heads):
            if self._try(lambda: writer.write_heads(heads)) and not self._failed:
                for author in heads:
                    del writer.ahead[author]
            return True

        def last() -> None:
            self._delete("segments", numbers)
            writer.settle_heads()

        self._try(last)
        if not self._failed:
            writer.settled()
        return True

    def _give_back(self, pages: int) -> None:
        for _ in range(pages):  # asked for more at once, Python's sqlite3 ends after the first one
            self._execute("PRAGMA incremental_vacuum(1)")

    def _try(self, work: Callable[[], object]) -> bool:
        """Do one transaction; without room for it the next one is smaller.  There is always another step to do."""
        self._failed = True
        try:
            self._writer.journal.settle()  # the other journal keeps what it has
            self._writer.transaction(work, spoils=False)
        except StoreFullError:
            if self._size == _LEAST:
                raise
            self._writer.checkpoint()
            self._size = _LEAST
            return True
        except StoreDamagedError:
            self._damaged = True  # a repair makes a new file
            raise
        self._failed = False
        self._writer.checkpoint()  # so that the next one begins the write-ahead log anew
        self._size = min(_MOST, 2 * self._size)
        return True

    def _delete(self, table: str, numbers: list[int]) -> None:
        marks = ", ".join("?" * len(numbers))
        self._execute(f"DELETE FROM {table} WHERE number IN ({marks})", *numbers)

    def _numbers(self, where: str, *parameters: object) -> list[int]:
        return [number for [number] in self._execute(f"SELECT number FROM {where}", *parameters)]

    def _execute(self, statement: str, *parameters: object) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()

    def _ask(self, question: str) -> int:
        rows = self._execute(question)
        return int(rows[0][0] or 0) if rows else 0
