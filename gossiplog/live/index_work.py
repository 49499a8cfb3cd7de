"""What is done with the index of places, in steps.

Responsible for: bringing it up, finding and decoding the entries of a page, how far logs are known.
Must not know: threads, who asks; it is called in the views thread.
Invariant: nothing is read here: a step asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from gossiplog.live.page import Wanted
from gossiplog.log.debts import Debt
from gossiplog.log.encodings import Encoding
from gossiplog.log.entry import Entry, read_entry
from gossiplog.log.place import Place
from gossiplog.log.segment import Head
from gossiplog.log.zone_list import ZoneList
from gossiplog.views.asking import Ask, Steps, Told
from gossiplog.views.index import Index
from gossiplog.views.indexing import Ahead
from gossiplog.views.pages import Part
from gossiplog.views.zones import Gap

T = TypeVar("T")


class Work(Generic[T]):
    """I am something that is done in steps; at the end there is a ``value``, in a tuple."""

    def __init__(self, begin: Callable[[Index], Steps[T]]) -> None:
        self._begin = begin
        self._steps: Steps[T] | None = None
        self.value: tuple[T] | None = None
        self.progress = 0, 0

    def go_on(self, index: Index, told: Sequence[Told] | None) -> Sequence[Ask]:
        """Take what was told, and return what is asked."""
        if self._steps is None:
            self._steps = self._begin(index)
        try:
            asks = next(self._steps) if told is None else self._steps.send(told)
        except StopIteration as end:
            self.value = (end.value,)
            return ()
        self.progress = index.indexing.done, index.indexing.total
        return asks


class Changes(NamedTuple):
    """What an index is to be brought up to; ``whole``: these are all heads, ``anew``: nothing that it has is to be
    believed."""

    heads: Mapping[bytes, Head]
    gone: Collection[bytes]
    whole: bool
    anew: bool
    holed: Mapping[bytes, int] | None
    patient: bool
    until_ms: int


class Followed(NamedTuple):
    """Whether something is owed, how many entries were placed again, how far logs are that moved, what is ahead."""

    owes: bool
    went_back: int
    reached: Mapping[bytes, tuple[int, bytes] | None]
    ahead: Mapping[bytes, Ahead]


def follow(index: Index, changes: Changes) -> Steps[Followed]:
    """Bring the index up."""
    heads, gone, whole, anew, holed, patient, until_ms = changes
    indexing = index.indexing
    if whole:
        known = index.zones.positions().keys()
        gone = known if anew else {*gone, *(known - heads.keys())}
    there = {} if holed is None else index.zones.with_holes()
    filled = [each for each, count in there.items() if not whole or (holed or {}).get(each, 0) != count]
    moved = {*heads, *indexing.ahead}
    yield from indexing.follow(heads, gone, filled, patient, until_ms)
    reached = {author: indexing.reached(author) for author in moved | indexing.ahead.keys()}
    return Followed(indexing.is_owing, indexing.went_back, reached, dict(indexing.ahead))


class Known(NamedTuple):
    """Zones of logs, and what entries in them were placed without."""

    zones: Mapping[bytes, ZoneList]
    missed: Sequence[Debt]


def known(index: Index, last: Mapping[bytes, int]) -> Steps[Known]:
    """Look up how far logs are known; ``last`` is the last seq that is asked for."""
    yield from ()
    zones = {author: index.zones.up_to(author, seq) for author, seq in last.items()}
    missed = [
        each
        for each in index.zones.missed()
        if (found := zones.get(each[1].author)) is not None and each[1].seq <= found.last[0]
    ]
    return Known(zones, missed)


def nothing(index: Index) -> Steps[None]:
    """Bring it up, and no more."""
    yield from ()


def find(
    index: Index, before: Place, count: int, wanted: Wanted, chosen: Encoding
) -> Steps[tuple[Part, list[Entry], list[Gap]]]:
    """Find entries and decode them."""
    part = yield from index.pages.part(before, wanted.since, count, wanted.authors)
    decoded = [
        read_entry(place.author, place.seq, entry_id, item if isinstance(item, bytes) else None, chosen)
        for place, entry_id, item in part.entries
    ]
    return part, decoded, index.zones.gaps(wanted.authors)
