"""The rows of one author in a store in memory.

Responsible for: the writes that change them, each with what takes it back.
Must not know: other authors, faults, commits.
Invariant: a write that is refused changed nothing, and what it returns undoes it exactly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable

from gossiplog.errors import InvalidValueError
from gossiplog.log.segment import Head, Segment, count_holes
from gossiplog.store.interface import (
    Cut,
    Mend,
    PutSegment,
    Replace,
    check_cut,
    check_mend,
    check_put,
    check_replace,
)

Undo = Callable[[], object]
"""Takes one write back."""


class LogRows:
    """I am one author's rows, ascending, with its head."""

    def __init__(self) -> None:
        """Begin without rows."""
        self.rows: list[Segment] = []
        self.firsts: list[int] = []
        self.head: Head | None = None
        self.holes: dict[int, int] = {}
        self.holed: list[int] = []

    def copy(self) -> LogRows:
        """Return an independent log with the same rows."""
        copy = LogRows()
        copy.rows, copy.firsts, copy.head = list(self.rows), list(self.firsts), self.head
        copy.holes, copy.holed = dict(self.holes), list(self.holed)
        return copy

    def row_from(self, first: int) -> Segment | None:
        """Return the first row that begins at ``first`` or later."""
        place = bisect_left(self.firsts, first)
        return self.rows[place] if place < len(self.rows) else None

    def put(self, write: PutSegment) -> Undo:
        """Add a row at the end."""
        segment, head = check_put(write)
        if segment.first != (self.head.seq if self.head else 0) + 1:
            raise InvalidValueError(f"entry {segment.first} does not continue its author's log")
        return self._swap(slice(len(self.rows), len(self.rows)), [segment], head)

    def replace(self, write: Replace) -> Undo:
        """Put one row in the place of several."""
        _, first, last, segment = check_replace(write)
        place = slice(bisect_left(self.firsts, first), bisect_right(self.firsts, last))
        rows = self.rows[place]
        if not rows or (rows[0].first, rows[-1].last) != (first, last):
            raise InvalidValueError(f"no rows hold exactly {first} to {last} of this author")
        return self._swap(place, [segment], self.head)

    def cut(self, write: Cut) -> Undo:
        """Remove the rows behind one."""
        _, first, head = check_cut(write)
        place = bisect_right(self.firsts, first)
        if head is not None and (not place or self.rows[place - 1][1:3] != (first, head.seq - first + 1)):
            raise InvalidValueError(f"no row holds exactly {first} to {head.seq} of this author")
        return self._swap(slice(place, len(self.rows)), [], head)

    def mend(self, write: Mend) -> Undo:
        """Put rows in the place of those that begin among their entries."""
        _, first, last = check_mend(write)
        place = slice(bisect_left(self.firsts, first), bisect_right(self.firsts, last))
        before = self.rows[place.start - 1].last if place.start else 0
        if before >= first or last > (self.head.seq if self.head else 0):
            raise InvalidValueError(f"rows of this author overlap {first} to {last}, or it ends before")
        return self._swap(place, [row.segment for row in write.rows], self.head)

    def _swap(self, place: slice, rows: list[Segment], head: Head | None) -> Undo:
        start = place.start
        old, old_head = self.rows[place], self.head
        self._put_rows(place, rows, head)
        return lambda: self._put_rows(slice(start, start + len(rows)), old, old_head)

    def _put_rows(self, place: slice, rows: list[Segment], head: Head | None) -> None:
        for first in self.firsts[place]:
            if self.holes.pop(first, 0):
                self.holed.remove(first)
        self.rows[place], self.head = rows, head
        self.firsts[place] = [row.first for row in rows]
        for row in rows:
            if holes := count_holes(row):
                self.holes[row.first] = holes
                insort(self.holed, row.first)
