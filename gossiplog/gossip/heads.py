"""What this node holds, as gossip sees it.

Responsible for: the durable clock and the accepted heads ahead of it, forked and local authors, fingerprints.
Must not know: sessions and messages.
Invariant: ``accepted(author).seq >= clock.seq(author)``; what is claimed, compared and announced is the durable clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from heapq import merge
from itertools import islice
from typing import Protocol, TypeAlias

from sortedcontainers import SortedSet

from gossiplog import limits
from gossiplog.log.clock_view import HeadView
from gossiplog.log.fingerprint import FORKED_ID, FORKED_SEQ, FingerprintTree
from gossiplog.log.keys import genesis_id
from gossiplog.log.leaf_sums import Away, LeafSums, Span, Stood
from gossiplog.log.paged_clock import PagedClock
from gossiplog.log.segment import Head

CHECK_BYTES = 8
ROOT_BYTES = 16

TOUCHED_AT_ONCE = 1024
"""Changed heads that the tree takes in at once: 10 ms, so that no fingerprint waits for a whole catch-up."""


Stand: TypeAlias = tuple[int, bytes]
"""What stands for an author in a fingerprint: seq and id."""


class View(Protocol):
    """What shows some of the heads."""

    def touch(self, author: bytes) -> None:
        """What is held of an author changed."""


class Heads:
    """I answer what we have, and what of it is safe on disk.

    With a :class:`PagedClock` I raise :class:`~gossiplog.log.leaf_sums.Away`, unchanged, for what is not in memory.
    """

    def __init__(
        self,
        clock: HeadView,
        forks: Iterable[bytes],
        local: AbstractSet[bytes],
        holed: Iterable[bytes] = (),
    ) -> None:
        """``clock`` and ``local`` are live views of what the store knows, and are read only; the others are where to
        begin, and mine from then on."""
        self.clock = clock
        self.forks = set(forks)
        self.local = local
        self.holed = set(holed)
        self.ahead: dict[bytes, Head] = {}
        self.views: set[View] = set()
        self._forked: SortedSet[bytes] = SortedSet(forks)
        self._tree: FingerprintTree | None = None
        self._touched: set[bytes] = set()
        self.paged: PagedClock | None = None
        self._sums = LeafSums((), self._read)
        self._is_asked = False

    def sum_up(self, clock: PagedClock, heads: Iterable[tuple[bytes, Head]]) -> None:
        """My clock is this one, and these are all heads, ascending, of which nothing but sums stays.  O(n)."""
        self.paged = clock
        stood = ((author, *head) for author, head in heads if author not in self.forks)
        forked = ((author, FORKED_SEQ, FORKED_ID) for author in self._forked)
        self._sums = LeafSums(merge(stood, forked), self._read)

    @property
    def is_paged(self) -> bool:
        """Whether some heads may not be in memory."""
        return self.paged is not None

    # -- heads

    def accepted(self, author: bytes) -> Head:
        """The head that the next segment of ``author`` has to continue."""
        durable = self.clock.head(author) or Head(0, genesis_id(author))
        ahead = self.ahead.get(author)
        return durable if ahead is None or ahead.seq <= durable.seq else ahead

    def accepted_seq(self, author: bytes) -> int:
        """As :meth:`accepted`, the seq alone."""
        ahead = self.ahead.get(author)
        durable = self.clock.seq(author)
        return durable if ahead is None else max(ahead.seq, durable)

    def accept(self, author: bytes, head: Head) -> None:
        """A verified segment took ``author`` to ``head``; it is not on disk yet."""
        self.ahead[author] = head

    def settle(self, author: bytes) -> None:
        """More of ``author`` is on disk, and the clock says so."""
        self._touch(author, self._summed(author))
        ahead = self.ahead.get(author)
        if ahead is not None and ahead.seq <= self.clock.seq(author):
            del self.ahead[author]

    def revert(self, author: bytes | None = None) -> None:
        """Nothing that was pending (of ``author``) reached the disk."""
        if author is None:
            self.ahead.clear()
        else:
            self.ahead.pop(author, None)

    @property
    def pending(self) -> bool:
        """Whether anything accepted is not on disk yet."""
        return bool(self.ahead)

    def freeze(self, author: bytes) -> None:
        """A proof shows that ``author`` forked."""
        before = self._summed(author)
        self.forks.add(author)
        self._forked.add(author)
        self._touch(author, before)
        self.ahead.pop(author, None)

    def thaw(self, author: bytes) -> None:
        """The proof that ``author`` forked is lost."""
        before = self._summed(author)
        self.forks.discard(author)
        self._forked.discard(author)
        self._touch(author, before)

    def forget(self, author: bytes) -> None:
        """``author`` was deleted, and the clock says so."""
        self.ahead.pop(author, None)
        self.holed.discard(author)
        self.thaw(author)

    def lacks(self, author: bytes) -> None:
        """Payloads of ``author`` are missing here; of too many such authors, some are not remembered."""
        if len(self.holed) < limits.MAX_HOLED_AUTHORS:
            self.holed.add(author)

    # -- what reconcile compares

    def holds(self, author: bytes) -> bool:
        """Whether anything of ``author`` is on disk, or it is known as forked."""
        return author in self.forks or author in self.clock

    def stands_for(self, author: bytes) -> tuple[int, bytes] | None:
        """What a fingerprint says of ``author``: the durable head, or what stands for a fork; None if not held."""
        if author in self.forks:
            return FORKED_SEQ, FORKED_ID
        head = self.clock.head(author)
        return None if head is None else (head.seq, head.id)

    def item(self, author: bytes, salt: bytes) -> tuple[int, bytes]:
        """(seq, id check) of ``author`` as said in lists; a proven fork is (0, zeros) on every node."""
        if author in self.forks:
            return FORKED_SEQ, bytes(CHECK_BYTES)
        head = self.clock.head(author)
        if head is None:
            return 0, b""
        return head.seq, hashlib.sha256(salt + head.id).digest()[:CHECK_BYTES]

    def authors(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[bytes]:
        """Authors held (or known as forked) with ``lower <= author < upper``, ascending; ``b""`` above is the end.

        O(log n + found).  Nothing may change meanwhile.
        """
        held = (author for author, _ in self.clock.range(lower, upper))
        if not self._forked:
            return held
        forked = self._forked.irange(lower or None, upper or None, (True, False))
        return merge(held, (author for author in forked if author not in self.clock))

    def first(self, lower: bytes, upper: bytes, most: int) -> list[bytes]:
        """The first of :meth:`authors`, ``most`` if there are so many.  O(log n + most)."""
        if self.paged is None:
            return [*islice(self.authors(lower, upper), most)]
        found: list[bytes] = []
        away: set[Span] = set()
        count = 0
        for first, stop in self._sums.spans(lower, upper):
            span = max(lower, first), min(upper or stop, stop or upper)
            try:
                some = [*self.authors(*span)]
                found += some
                count += len(some)
            except Away as error:
                away |= error.spans
                count += self._sums.range(first, stop)[0]
            if count >= most:
                break
        if away:
            raise Away(away)
        return found[:most]

    @property
    def tree(self) -> FingerprintTree | LeafSums:
        """The fingerprints of the durable clock, brought up to date.  The first time O(n)."""
        if self.paged is not None:
            self._sum_as_of_now(self.paged)
            return self._sums
        if self._tree is None:
            self._tree = FingerprintTree((author, seq, id_) for author, (seq, id_) in self.clock.range())
            self._touched.update(self.forks)
        if self._touched:
            self._bring_up_to_date(self._tree)
        return self._tree

    def _read(self, lower: bytes, upper: bytes) -> list[Stood]:
        """What the sums have of the authors of a span."""
        held = dict(self.clock.range(lower, upper))
        assert self.paged is not None
        for author, (before, _) in self.paged.moved.items():
            if lower <= author and (not upper or author < upper):
                held.pop(author, None)
                if before is not None:
                    held[author] = before
        stood: dict[bytes, Stand] = {**held}
        forked = self._forked.irange(lower or None, upper or None, (True, False))
        stood |= dict.fromkeys(forked, (FORKED_SEQ, FORKED_ID))
        return [(author, *stood[author]) for author in sorted(stood)]

    def _summed(self, author: bytes) -> Stand | None:
        """What the sums have of ``author``; nothing without them."""
        if self.paged is None:
            return None
        head = self.clock.head(author)  # what is away is said before anything changes
        if author in self.forks:
            return FORKED_SEQ, FORKED_ID
        moved = self.paged.moved.get(author)
        return head if moved is None else moved.before

    def _touch(self, author: bytes, before: Stand | None = None) -> None:
        for view in self.views:
            view.touch(author)
        if self.paged is not None:
            self._sums.move(author, before, self.stands_for(author))
            self.paged.settled(author)
        if self._tree is None and not self._is_asked:
            return
        self._touched.add(author)
        if len(self._touched) >= TOUCHED_AT_ONCE:
            _ = self.tree

    def _sum_as_of_now(self, paged: PagedClock) -> None:
        """Whoever asks is told of those that changed since somebody asked as they are now, not as they were then."""
        for author in self._touched & paged.moved.keys() if self._is_asked else tuple(paged.moved):
            self._sums.move(author, self._summed(author), self.stands_for(author))
            paged.settled(author)
        self._is_asked = True
        self._touched.clear()

    def _bring_up_to_date(self, tree: FingerprintTree) -> None:
        for author in self._touched:
            head = self.stands_for(author)
            if head is None:
                tree.discard(author)
            else:
                tree.set(author, *head)
        self._touched.clear()

    def root(self, salt: bytes) -> bytes:
        """Sixteen bytes that two nodes share, in one session, when they hold the same.

        2 us when nothing changed; O(log n) for each author that did; the first time O(n), 5 us for each author.
        """
        count, total = self.tree.range(b"", b"")
        return fingerprint(salt, count, total)


def fingerprint(salt: bytes, count: int, total: int) -> bytes:
    """A range's fingerprint on the wire (specification, "Reconcile"): salted by the session's handshake hash."""
    return hashlib.sha256(salt + count.to_bytes(8, "big") + total.to_bytes(256, "big")).digest()[:ROOT_BYTES]
