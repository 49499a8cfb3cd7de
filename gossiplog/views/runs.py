"""Entries of zones, unpacked: what they say, their ids and their moments.

Responsible for: reading the entries of a row for the index, and those of zones for who wants their moments or ids.
Must not know: where rows come from, what is done with them.
Invariant: of zones that were looked at, what takes ``limits.TIMELINE_MEMORY_BYTES`` is kept, those used last.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from gossiplog import limits
from gossiplog.log.body import ID16_BYTES, MAX_TIMESTAMP_MS
from gossiplog.log.items import Item
from gossiplog.log.place import Moment, Stated, read_stated
from gossiplog.log.segment import Segment, chain_ids, split_items
from gossiplog.views.asking import Ask, Steps, Told
from gossiplog.views.zones import Gap, Stored

_START: Final = ((0, b"\x92"), (1, b"\xcf"), (10, b"\xc4"))
"""Where and what a body has before its timestamp, above 2^32 - 1, and the size of its payload if it has no more."""

_START_BYTES: Final = 12
_start: Final = itemgetter(slice(_START_BYTES))
_PAYLOAD_BYTES: Final = bytes(max(0, size - _START_BYTES) for size in range(256))
_ENTRY_BYTES: Final = 250
"""What an unpacked entry takes beside its body: two objects of bytes, its moment, and where they are listed."""


class Run(NamedTuple):
    """The entries of a zone that could be read: seqs ascending, items, ids and moments, one of each."""

    last: int
    seqs: Sequence[int]
    items: Sequence[Item]
    ids: Sequence[bytes]
    moments: Sequence[Moment]
    passed: Sequence[Gap]


def plain_timestamps(items: Sequence[Any]) -> Sequence[int] | None:
    """Return the clocks of bodies as we write them, with payloads below 244 bytes; None if there is another.

    No step in Python for each: a tenth of a microsecond.
    """
    count = len(items)
    try:
        starts = b"".join(map(_start, items))
        sizes = bytes(map(len, items))
    except (TypeError, ValueError):
        return None
    if len(starts) != _START_BYTES * count or starts[11::_START_BYTES] != sizes.translate(_PAYLOAD_BYTES):
        return None
    if any(starts[at::_START_BYTES] != byte * count for at, byte in _START):
        return None
    found = struct.unpack(">" + "2xQ2x" * count, starts)
    return found if max(found, default=0) <= MAX_TIMESTAMP_MS else None


def state(segment: Segment, first: int, last: int) -> tuple[Stated, int]:
    """Return what the entries of a row from ``first`` to ``last`` say, and how many of these have no body."""
    begin, end = max(first, segment.first), min(last, segment.last)
    items = split_items(segment)[begin - segment.first : end - segment.first + 1]
    found = plain_timestamps(items)
    if found is None:
        holes = sum(not isinstance(item, bytes) for item in items)
        return read_stated(segment, begin, end)._replace(id_at=_Ids(segment)), holes
    return Stated(segment.author, begin, found, {}, _Ids(segment)), 0


class _Ids:
    """I know the ids of a row and the one before, computed once if at all: 16 bytes, as many as a reference has."""

    __slots__ = ("_first", "_ids", "_segment")

    def __init__(self, segment: Segment) -> None:
        self._first = segment.first - 1
        self._segment: Segment | None = segment
        self._ids = b""

    def __call__(self, seq: int) -> bytes:
        """Return the beginning of the id at ``seq``."""
        if self._segment is not None:
            ids = [self._segment.previous, *chain_ids(self._segment)]
            self._ids = b"".join(each[:ID16_BYTES] for each in ids)
            self._segment = None
        at = (seq - self._first) * ID16_BYTES
        return self._ids[at : at + ID16_BYTES]


class Runs:
    """I unpack zones, and keep what was used last."""

    def __init__(self, keep_bytes: int = limits.TIMELINE_MEMORY_BYTES) -> None:
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[tuple[bytes, int], tuple[Run, int]] = OrderedDict()
        self.kept_bytes = 0

    def get(self, stored: Stored) -> Run | None:
        """Return a zone that was unpacked.  O(1)."""
        key = stored.zone.author, stored.zone.first
        found = self._kept.get(key)
        if found is None or found[0].last != stored.zone.last:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def clear(self) -> None:
        """Forget everything: what is stored changed."""
        self._kept.clear()
        self.kept_bytes = 0

    def open(self, wanted: Collection[Stored]) -> Steps[list[Run]]:
        """Return zones unpacked, in their order."""
        found: dict[int, Run] = {
            at: run for at, each in enumerate(wanted) if (run := self.get(each)) is not None
        }
        missing = {at: (each, _Parts(each)) for at, each in enumerate(wanted) if at not in found}
        while missing:
            asks = [
                Ask(each.zone.author, parts.following, each.zone.last) for each, parts in missing.values()
            ]
            for (at, (each, parts)), told in zip([*missing.items()], (yield asks), strict=True):
                parts.add(told)
                if parts.following > each.zone.last:
                    found[at] = parts.run()
                    self._keep(each, found[at])
                    del missing[at]
        return [found[at] for at in range(len(found))]

    def _keep(self, stored: Stored, run: Run) -> None:
        key = stored.zone.author, stored.zone.first
        size = _ENTRY_BYTES * len(run.items) + sum(len(each) for each in run.items if isinstance(each, bytes))
        if (before := self._kept.pop(key, None)) is not None:
            self.kept_bytes -= before[1]
        self._kept[key] = run, size
        self.kept_bytes += size
        while self.kept_bytes > self._keep_bytes and len(self._kept) > 1:
            self.kept_bytes -= self._kept.popitem(last=False)[1][1]


class _Parts:
    """I put a zone together from the rows that its entries are in."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self.following = stored.zone.first
        self._seqs: list[int] = []
        self._items: list[Item] = []
        self._ids: list[bytes] = []
        self._timestamps: list[int] = []
        self._passed: list[Gap] = []

    def add(self, told: Told) -> None:
        """These are the next."""
        last = self._stored.zone.last
        before = self.following
        if told.passed >= before:
            self._skip(min(told.passed, last), told.reason)
        for segment, unfolded in zip(told.segments, told.unfolded, strict=True):
            if segment.first > self.following or segment.last < self.following:
                continue
            begin, end = self.following - segment.first, min(last, segment.last) - segment.first + 1
            if begin >= end:
                continue
            items, ids = unfolded
            self._seqs += range(segment.first + begin, segment.first + end)
            self._items += items[begin:end]
            self._ids += ids[begin:end]
            found = plain_timestamps(items[begin:end])
            self._timestamps += (
                read_stated(segment, self.following, last).timestamps if found is None else found
            )
            self.following = segment.first + end
        if self.following == before:
            self._skip(last, "it is not there any more")

    def _skip(self, last: int, reason: str) -> None:
        self._passed.append(Gap(self._stored.zone.author, self.following, last, reason))
        self._timestamps += [0] * (last - self.following + 1)
        self.following = last + 1

    def run(self) -> Run:
        """All of it."""
        zone = self._stored.zone
        if self._stored.is_plain:
            moments: list[Moment] = [(timestamp, 0) for timestamp in self._timestamps]
        else:
            moments = zone.moments(self._timestamps)
        if self._passed:
            moments = [moments[seq - zone.first] for seq in self._seqs]
        return Run(zone.last, self._seqs, self._items, self._ids, moments, self._passed)
