"""Nodes of which only some heads are in memory, in virtual time.

Responsible for: the heads of such a node, and what a watcher sees of them: all.
Must not know: what asks for heads.
Invariant: what a watcher sees is what the store told, whatever of it is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gossiplog.gossip.heads import Heads
from gossiplog.log.clock_view import HeadView
from gossiplog.log.leaf_sums import Away
from gossiplog.log.paged_clock import PagedClock, alone
from gossiplog.log.segment import Head
from gossiplog.store.held import Held


class Paging(NamedTuple):
    """How many heads stay in memory; ``at_once``: what is away is there when it is asked for, and nothing waits."""

    most: int
    at_once: bool = False


class AtOnce(PagedClock):
    """I read what is away of ``all``."""

    def __init__(self, most: int, all_: HeadView) -> None:
        super().__init__(most)
        self._all = all_

    def head(self, author: bytes) -> Head | None:
        """Return the head held of an author, None if nothing is."""
        try:
            return super().head(author)
        except Away as away:
            self._read(away)
            return super().head(author)

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head) with ``lower <= author < upper``."""
        try:
            return super().range(lower, upper)
        except Away as away:
            self._read(away)
            return super().range(lower, upper)

    def _read(self, away: Away) -> None:
        for span in away.spans:
            self.bring(span, [*self._all.range(*span)])


def page(held: Held, shown: Heads, paging: Paging, chosen: Iterable[bytes]) -> Heads:
    """Return the heads of a node that holds what is ``shown``, which shares with them what does not hang on a clock.

    ``chosen`` are authors who have to be there at once.
    """
    clock = AtOnce(paging.most, held.clock) if paging.at_once else PagedClock(paging.most)
    held.follow(clock)
    heads = Heads(clock, held.forks, held.local, shown.holed)
    heads.sum_up(clock, held.clock.range())
    shown.forks, shown._forked, shown.ahead, shown.holed = (
        heads.forks,
        heads._forked,
        heads.ahead,
        heads.holed,
    )
    for author in {*held.local, *chosen}:
        clock.bring(alone(author), [*held.clock.range(*alone(author))])
    return heads
