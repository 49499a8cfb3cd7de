"""The zones of one log, in little memory.

Responsible for: keeping them so that the moment of an old entry can be found again from what its row says.
Must not know: rows, other logs.
Invariant: the zones follow each other from the first entry on, and so do their moments; small ones become one.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import Final, TypeAlias

from gossiplog.log.place import EARLIEST, Moment, Zone

_ENTRIES: Final = 1024
_BYTES: Final = 128 * 1024
"""What a zone has at most, unless it is one entry or comes as one: it is read as a whole to find a moment."""

_RAISED: Final = struct.Struct(">QQQ")
"""Seq, ms and n of an entry that is placed by what it names: a third of what the objects take."""

_Packed: TypeAlias = tuple[int, int, Moment, Moment, bytes, int]
_first = itemgetter(0)
_high = itemgetter(3)


class ZoneList:
    """I keep the zones of one log."""

    __slots__ = ("_zones",)

    def __init__(self) -> None:
        self._zones: list[_Packed] = []

    @property
    def last(self) -> tuple[int, Moment]:
        """The seq and the moment of the last entry.  O(1)."""
        return (self._zones[-1][1], self._zones[-1][3]) if self._zones else (0, EARLIEST)

    def add(self, zone: Zone, size: int) -> None:
        """Add the next entries, which take ``size`` bytes.  O(1)."""
        raised = b"".join(_RAISED.pack(seq, *moment) for seq, moment in zone.raised)
        if self._zones:
            first, last, low, _, before, used = self._zones[-1]
            if zone.last - first < _ENTRIES and used + size <= _BYTES and last + 1 == zone.first:
                self._zones[-1] = first, zone.last, low, zone.high, before + raised, used + size
                return
        self._zones.append((zone.first, zone.last, zone.low, zone.high, raised, size))

    def containing(self, author: bytes, seq: int) -> Zone:
        """Return the zone of an entry that has a place.  O(log n)."""
        first, last, low, high, raised, _ = self._zones[self._at(seq)]
        records = tuple((each, (ms, n)) for each, ms, n in _RAISED.iter_unpack(raised))
        return Zone(author, first, last, low, high, records)

    def bound(self, seq: int) -> Moment:
        """Return a moment that an entry's is not above.  O(log n)."""
        return self._zones[self._at(seq)][3]

    def cut(self, moment: Moment) -> None:
        """Take out all entries from ``moment`` on, and some before.  O(log n)."""
        del self._zones[bisect_left(self._zones, moment, key=_high) :]

    def _at(self, seq: int) -> int:
        return bisect_right(self._zones, seq, key=_first) - 1
