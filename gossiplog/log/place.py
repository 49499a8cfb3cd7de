"""The place of an entry among the entries of all authors.

Responsible for: places and their bytes, what of an entry they are computed from, and runs of entries that have theirs.
Must not know: where entries are kept, who reads them.
Invariant: the order of the bytes of places is the order of the places.

A *moment* is a pair of milliseconds and a count, and each entry has one (specification, "Order"):

    moment(e) = the largest of  (timestamp, 0),  the moment of the entry before it in its log,
                                and (ms, n + 1) for the moment (ms, n) of each entry that it names

Its place is (ms, n, author, seq): so an entry comes behind all that it names and all before it in its log.

>>> place_bytes((5, 0), bytes(32), 7) < place_bytes((5, 1), bytes(32), 1) < place_bytes((6, 0), bytes(32), 8)
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from gossiplog.errors import InvalidValueError, MalformedBodyError
from gossiplog.log.body import MAX_TIMESTAMP_MS, Reference, decode_body
from gossiplog.log.items import Item
from gossiplog.log.keys import KEY_BYTES
from gossiplog.log.segment import Segment, chain_ids, split_items

Moment: TypeAlias = tuple[int, int]
"""Milliseconds, and how many entries of that millisecond at least it comes behind."""

EARLIEST: Final[Moment] = (0, 0)

_NUMBER_BYTES: Final = 8
_PLAIN: Final = b"\x92\xcf"  # an array of two, of which the first is a u64
_BIN8: Final = 0xC4
_BIN16: Final = 0xC5
PLACE_BYTES: Final = 3 * _NUMBER_BYTES + KEY_BYTES


class Place(NamedTuple):
    """Where an entry is among all: places compare as their bytes do."""

    ms: int
    n: int
    author: bytes
    seq: int


def place_bytes(moment: Moment, author: bytes, seq: int) -> bytes:
    """Return a place as 56 bytes: ms, n, author, seq; numbers are u64, big-endian."""
    ms, n = moment
    return (ms << 64 | n).to_bytes(16, "big") + author + seq.to_bytes(_NUMBER_BYTES, "big")


def read_place(place: bytes) -> Place:
    """Return what :func:`place_bytes` wrote; InvalidValueError for what is no place."""
    if type(place) is not bytes or len(place) != PLACE_BYTES:
        raise InvalidValueError(f"a place is {PLACE_BYTES} bytes")
    numbers = [int.from_bytes(place[at : at + _NUMBER_BYTES], "big") for at in (0, 8, 48)]
    return Place(numbers[0], numbers[1], place[16:48], numbers[2])


class Stated(NamedTuple):
    """What a run of entries of one log says: their clocks, and what those named that name any, by seq.

    ``id_at`` is asked for the id at a seq of the run, or before it.
    """

    author: bytes
    first: int
    timestamps: Sequence[int]
    after: Mapping[int, Sequence[Reference]]
    id_at: Callable[[int], bytes]

    @property
    def last(self) -> int:
        """The seq of the last of them."""
        return self.first + len(self.timestamps) - 1

    def from_seq(self, first: int) -> Stated:
        """The part from ``first`` on.  O(n)."""
        return self._replace(first=first, timestamps=self.timestamps[first - self.first :])


def read_stated(segment: Segment, first: int = 1, last: int | None = None) -> Stated:
    """Return what the entries of a segment from ``first`` to ``last`` say.  O(n), nothing is hashed.

    A body that was dropped or does not decode says nothing: its time is 0 and it names nobody.
    """
    items = split_items(segment)
    begin = max(first, segment.first)
    end = segment.last if last is None else min(last, segment.last)
    items = items[begin - segment.first : end - segment.first + 1]
    after: dict[int, tuple[Reference, ...]] = {}
    timestamps = _plain_timestamps(items)
    if timestamps and not 0 <= min(timestamps) <= max(timestamps) <= MAX_TIMESTAMP_MS:
        for at, timestamp in enumerate(timestamps):
            if not 0 <= timestamp <= MAX_TIMESTAMP_MS:
                timestamps[at] = _decoded(items[at], begin + at, after)
    return Stated(segment.author, begin, timestamps, after, _Ids(segment).at)


class _Ids:
    """I am the ids of a segment, computed when one is asked for, and once."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._ids: list[bytes] = []

    def at(self, seq: int) -> bytes:
        """The id at a seq, or that before the first."""
        self._ids = self._ids or [self._segment.previous, *chain_ids(self._segment)]
        return self._ids[seq - self._segment.first + 1]


class Zone(NamedTuple):
    """Entries ``first`` to ``last`` of one log have their moments, from ``low`` of the first to ``high`` of the last.

    ``raised`` has those, by seq ascending, that are later than the clocks in the zone up to there and the entry before
    say: because of what they name.
    """

    author: bytes
    first: int
    last: int
    low: Moment
    high: Moment
    raised: tuple[tuple[int, Moment], ...] = ()

    def moments(self, timestamps: Sequence[int]) -> list[Moment]:
        """Return the moment of each entry, given their clocks; fewer clocks, fewer moments.  O(n)."""
        raised = dict(self.raised)
        moment = self.low
        found = []
        for seq, timestamp in enumerate(timestamps, self.first):
            moment = max(moment, (timestamp, 0), raised.get(seq, EARLIEST))
            found.append(moment)
        return found


def _plain_timestamps(items: Sequence[Any]) -> list[int]:
    """The clocks of bodies as we write them, with no more than a payload; -1 of any other.  0.3 us each."""
    number = int.from_bytes
    try:
        return [
            number(item[2:10], "big")
            if item[:2] == _PLAIN and item[10] == _BIN8 and len(item) == 12 + item[11]
            else number(item[2:10], "big")
            if item[:2] == _PLAIN and item[10] == _BIN16 and len(item) == 13 + number(item[11:13], "big")
            else -1
            for item in items
        ]
    except (IndexError, TypeError):  # one is shorter, or dropped
        return [-1] * len(items)


def _decoded(item: Item, seq: int, after: dict[int, tuple[Reference, ...]]) -> int:
    if not isinstance(item, bytes):
        return 0
    try:
        body = decode_body(item)
    except MalformedBodyError:
        return 0
    if body.after:
        after[seq] = body.after
    return body.timestamp_ms
