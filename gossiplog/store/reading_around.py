"""Reading on behind damage: one bad row hides nothing but itself.

Responsible for: finding where a log can be read again, and saying which of its entries were passed over.
Must not know: what is wrong with them, or who is told.
Invariant: an entry is either in what is given or in the damage that is said; rows are found by their index, so that
what is wrong in a row hides none behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gossiplog.errors import StoreDamagedError
from gossiplog.limits import MAX_SEGMENT_ENTRIES
from gossiplog.log.segment import Segment, toil_bytes
from gossiplog.store.interface import Rows
from gossiplog.store.repair.verify import Damage

_TRIED: Final = 64
"""Rows tried at once, so that reading a long stretch of damage holds nobody up: 10 ms if all are full."""

Read = Callable[[bytes, int, int, int | None], list[Segment]]
"""``read(author, first, limit_bytes, last)``: stored neighbours, the first of which contains ``first``."""


class Stretch(NamedTuple):
    """Neighbouring rows of a log, and what was passed over before them; no rows if there is more to pass over.

    Of who reads backwards the rows are, too: what was passed over is behind them in the log.
    """

    segments: list[Segment]
    damage: Damage | None = None


def read_around(backend: Rows, read: Read, author: bytes, first: int, limit_bytes: int, last: int) -> Stretch:
    """Return what ``read`` gives of a log that is there from ``first`` to ``last``, or what it gives next."""
    reason = _tried(read, author, first, limit_bytes, last)
    if isinstance(reason, list):
        return Stretch(reason)
    try:
        starts = backend.starts(author, first + 1, _TRIED)
    except StoreDamagedError as error:
        return Stretch([], Damage(author, first, last, str(error)))
    starts = [start for start in starts if first < start <= last]
    for start in starts[:_TRIED]:
        segments = _tried(read, author, start, limit_bytes, last)
        if isinstance(segments, list):
            return Stretch(segments, Damage(author, first, start - 1, reason))
    end = starts[-1] if len(starts) == _TRIED else last
    return Stretch([], Damage(author, first, end, reason))


def read_back(backend: Rows, read: Read, author: bytes, first: int, limit_bytes: int, last: int) -> Stretch:
    """As :func:`read_around`, from ``last`` backwards: rows in descending order, the first of which holds ``last``."""
    found: list[Segment] = []
    size, end = 0, last
    reason: list[Segment] | str = ""
    while end >= first and size < limit_bytes:
        reason = _tried(read, author, end, 1, end)
        if isinstance(reason, str):
            break
        found.append(reason[0])
        size += toil_bytes(reason[0])
        end = reason[0].first - 1
    return (
        Stretch(found)
        if found or isinstance(reason, list)
        else _back(backend, read, author, first, last, reason)
    )


def _back(backend: Rows, read: Read, author: bytes, first: int, last: int, reason: str) -> Stretch:
    """Return the row before what cannot be read at ``last``, and the damage behind it."""
    end = last
    for _ in range(_TRIED):
        try:
            start = _start_before(backend, author, first, end)
        except StoreDamagedError as error:
            return Stretch([], Damage(author, first, last, str(error)))
        rows = _tried(read, author, start, 1, start) if start else reason
        if isinstance(rows, list) and rows[0].last >= last:
            return Stretch(rows)
        if isinstance(rows, list) and rows[0].last >= first:
            return Stretch(rows, Damage(author, rows[0].last + 1, last, reason))
        if isinstance(rows, list) or start <= first:
            return Stretch([], Damage(author, first, last, reason))
        end = start - 1
    return Stretch([], Damage(author, end + 1, last, reason))


def _start_before(backend: Rows, author: bytes, first: int, seq: int) -> int:
    """Return where the last row begins that begins at ``seq`` or before, 0 if none does that may hold ``first``."""
    least = max(1, first - MAX_SEGMENT_ENTRIES)
    step = 64
    while True:
        begin = max(least, seq - step + 1)
        if starts := [start for start in backend.starts(author, begin, step) if start <= seq]:
            return starts[-1]
        if begin == least:
            return 0
        step *= 64


def _tried(read: Read, author: bytes, first: int, limit_bytes: int, last: int) -> list[Segment] | str:
    """Return rows, or why there are none."""
    try:
        return read(author, first, limit_bytes, last) or f"entry {first} is missing"
    except StoreDamagedError as error:
        return str(error)
