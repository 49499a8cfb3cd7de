"""The entries of a zone, read.

Responsible for: putting them together from rows, with their ids and moments.
Must not know: where rows come from.
Invariant: what cannot be read any more has its place all the same, and moves no other entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gossiplog.log.items import Item
from gossiplog.log.place import Moment, Place, Zone, read_stated
from gossiplog.log.segment import Segment, split_items

_ENTRY_BYTES: Final = 250
"""What an entry takes beside its body: two objects of bytes, its moment, and where they are listed."""


class Ready(NamedTuple):
    """The next entry, not decoded; ``late`` if one that belongs behind it was handed over before."""

    place: Place
    id: bytes
    item: Item
    late: bool


class Row:
    """I am a stored segment from ``first`` to ``last``, unpacked once: what its entries say, and its items."""

    __slots__ = ("items", "segment", "stated")

    def __init__(self, segment: Segment, first: int, last: int) -> None:
        self.segment = segment
        self.stated = read_stated(segment, first, last)
        self.items = split_items(segment)


class Opened:
    """I am the entries of ``zone``; ``following`` is the next to be added, ``size`` about what all take."""

    __slots__ = ("_entries", "_moments", "_timestamps", "following", "size", "zone")

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.following = zone.first
        self.size = 0
        self._entries: list[tuple[bytes, Item] | None] = []
        self._timestamps: list[int] = []
        self._moments: list[Moment] = []

    @property
    def is_whole(self) -> bool:
        """Whether all are there."""
        return self.following > self.zone.last

    def add(self, segments: Sequence[Segment], passed: int) -> None:
        """These rows come next; what is up to ``passed`` cannot be read.  O(n)."""
        before = self.following
        self._skip(passed)
        for segment in segments:
            if segment.first <= self.following <= segment.last and not self.is_whole:
                self.take(Row(segment, self.following, self.zone.last))
        if self.following == before:
            self._skip(self.zone.last)  # they are not there any more

    def take(self, row: Row) -> None:
        """This row comes next.  O(n)."""
        begin, last = self.following, min(self.zone.last, row.stated.last)
        first = row.segment.first
        items = row.items[begin - first : last - first + 1]
        ids = [row.stated.id_at(seq) for seq in range(begin, last + 1)]
        self._entries += zip(ids, items, strict=True)
        self._timestamps += row.stated.timestamps[begin - row.stated.first : last - row.stated.first + 1]
        self.following = last + 1
        self.size += len(row.segment.bodies) * len(items) // row.segment.count + _ENTRY_BYTES * len(items)

    def _skip(self, last: int) -> None:
        count = min(last, self.zone.last) - self.following + 1
        if count > 0:
            self._entries += [None] * count
            self._timestamps += [0] * count
            self.following += count

    def moment(self, seq: int) -> Moment:
        """The moment of an entry.  O(1), the first time O(n)."""
        if not self._moments:  # a payload that came or went since has moved no entry
            self._moments = [min(each, self.zone.high) for each in self.zone.moments(self._timestamps)]
        return self._moments[seq - self.zone.first]

    def entry(self, seq: int) -> tuple[bytes, Item] | None:
        """The id and the item of an entry, None if it cannot be read."""
        return self._entries[seq - self.zone.first]

    def before_readable(self, seq: int) -> int:
        """The seq before the next entry from ``seq`` on that can be read; the last of the zone if none can."""
        while seq <= self.zone.last and self.entry(seq) is None:
            seq += 1
        return seq - 1
