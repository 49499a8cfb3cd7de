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
from gossiplog.log.segment import Segment
from gossiplog.store.interface import Backend
from gossiplog.store.repair.verify import Damage

_TRIED: Final = 64
"""Rows tried at once, so that reading a long stretch of damage holds nobody up: 10 ms if all are full."""

Read = Callable[[bytes, int, int, int | None], list[Segment]]
"""``read(author, first, limit_bytes, last)``: stored neighbours, the first of which contains ``first``."""


class Stretch(NamedTuple):
    """Neighbouring rows of a log, and what was passed over before them; no rows if there is more to pass over."""

    segments: list[Segment]
    damage: Damage | None = None


def read_around(
    backend: Backend, read: Read, author: bytes, first: int, limit_bytes: int, last: int
) -> Stretch:
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


def _tried(read: Read, author: bytes, first: int, limit_bytes: int, last: int) -> list[Segment] | str:
    """Return rows, or why there are none."""
    try:
        return read(author, first, limit_bytes, last) or f"entry {first} is missing"
    except StoreDamagedError as error:
        return str(error)
