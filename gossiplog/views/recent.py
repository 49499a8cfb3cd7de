"""The entries of a log that were placed last.

Responsible for: their moments, without reading them again.
Must not know: where places are kept.
Invariant: no more is remembered than the entries of one stored row, and what is needed to find them.
"""

from __future__ import annotations

from bisect import bisect_right

from gossiplog.limits import MAX_SEGMENT_ENTRIES
from gossiplog.log.body import Reference
from gossiplog.log.place import Moment, Stated, Zone


class Recent:
    """I know the entries of a log that were placed last, if it names others."""

    def __init__(self) -> None:
        self._pieces: list[tuple[Zone, Stated]] = []

    def took(self, zone: Zone, stated: Stated) -> None:
        """These are placed, too."""
        if self._pieces and self._pieces[-1][0].last + 1 != zone.first:
            self._pieces.clear()
        begin, end = zone.first - stated.first, zone.last - stated.first + 1
        self._pieces.append(
            (zone, stated._replace(first=zone.first, timestamps=stated.timestamps[begin:end], after={}))
        )
        while zone.last - self._pieces[0][0].last > MAX_SEGMENT_ENTRIES:
            del self._pieces[0]

    def has(self, seq: int) -> bool:
        """Whether an entry is among them."""
        return bool(self._pieces) and self._pieces[0][0].first <= seq <= self._pieces[-1][0].last

    def moment(self, reference: Reference) -> Moment | None:
        """The moment of one of them; None if another entry is named."""
        at = bisect_right(self._pieces, reference.seq, key=lambda piece: piece[0].first) - 1
        zone, stated = self._pieces[at]
        if not stated.id_at(reference.seq).startswith(reference.id16):
            return None
        return zone.moments(stated.timestamps[: reference.seq - zone.first + 1])[-1]
