"""What of our holdings a peer and we both want: the clock that one session compares.

Responsible for: count and sum, bounds, authors and items of any range, over the authors that both sides want.
Must not know: messages; why an author is wanted.
Invariant: it always answers as if what is held and not wanted by both were not held.  Whoever changes one of the two
interests says so with :meth:`View.changed` or :meth:`View.renew`; changed heads come from the holdings.

Two sides that want all but some authors subtract these from the tree of everything.  When one wants only some, these
have a tree of their own.  Either way it is one tree of the authors named, and without any there is none.
"""

from __future__ import annotations

from collections.abc import Iterator

from gossiplog.gossip.holdings import TOUCHED_AT_ONCE, Holdings, fingerprint
from gossiplog.gossip.interest import Wanted
from gossiplog.gossip.messages import Interest
from gossiplog.log.fingerprint import FingerprintTree
from gossiplog.log.fingerprint_nodes import MASK


class View:
    """I answer for what is held as :class:`Holdings` does, limited to what ``ours`` and ``theirs`` want."""

    def __init__(self, holdings: Holdings, ours: Wanted, theirs: Wanted) -> None:
        self._holdings = holdings
        self._ours = ours
        self._theirs = theirs
        self._named: FingerprintTree | None = None
        self._subtracts = True
        self._touched: set[bytes] = set()
        self.renew()

    def close(self) -> None:
        """Nobody asks any more."""
        self._holdings.views.discard(self)

    def wants(self, author: bytes) -> bool:
        """Tell whether both sides want an author."""
        return self._ours.wants(author) and self._theirs.wants(author)

    @property
    def is_whole(self) -> bool:
        """Whether both sides want everything."""
        return self._named is None

    # -- what changes

    def renew(self) -> None:
        """An interest changed as a whole.  O(authors named), 5 us for each that is held."""
        sides = self._ours, self._theirs
        self._subtracts = all(side.mode is Interest.ALL for side in sides)
        self._named = None
        self._touched.clear()
        if any(side.authors for side in sides) or not self._subtracts:
            held = ((author, self._holdings.stands_for(author)) for author in self._names())
            self._named = FingerprintTree((author, *head) for author, head in held if head is not None)
            self._holdings.views.add(self)
        else:
            self._holdings.views.discard(self)

    def changed(self, author: bytes) -> None:
        """One of the two interests changed its mind about an author."""
        if self._named is None:
            self.renew()
        else:
            self._touched.add(author)

    def touch(self, author: bytes) -> None:
        """What is held of an author changed."""
        if self._is_named(author):
            self._touched.add(author)
            if len(self._touched) >= TOUCHED_AT_ONCE:
                self._up_to_date()

    # -- what reconcile compares, as in Holdings

    @property
    def tree(self) -> View:
        """I have the methods of a :class:`FingerprintTree`."""
        return self

    def __len__(self) -> int:
        return self.range()[0]

    def range(self, lower: bytes = b"", upper: bytes = b"") -> tuple[int, int]:
        """Return count and sum (modulo 2^2048) of the authors in a range.  O(log n)."""
        named = self._up_to_date()
        if named is None:
            return self._holdings.tree.range(lower, upper)
        count, total = named.range(lower, upper)
        if self._subtracts:
            all_count, all_total = self._holdings.tree.range(lower, upper)
            return all_count - count, (all_total - total) & MASK
        return count, total

    def split(self, lower: bytes, upper: bytes, parts: int) -> list[bytes]:
        """Return bounds that cut a range into parts.  O(parts log n).

        Their counts are about equal, but for what is subtracted.
        """
        named = self._up_to_date()
        tree = self._holdings.tree if named is None or self._subtracts else named
        return tree.split(lower, upper, parts)

    def authors(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[bytes]:
        """Authors held and wanted by both, ascending, as :meth:`Holdings.authors`."""
        if self._named is None:
            return self._holdings.authors(lower, upper)
        if self._subtracts:
            return (author for author in self._holdings.authors(lower, upper) if self.wants(author))
        holds = self._holdings.holds
        return (author for author in self._names(lower, upper) if holds(author))

    def item(self, author: bytes, salt: bytes) -> tuple[int, bytes]:
        """(seq, id check) of ``author`` as said in lists."""
        return self._holdings.item(author, salt)

    def root(self, salt: bytes) -> bytes:
        """Sixteen bytes that the two nodes share, in one session, when they hold the same of what both want."""
        return fingerprint(salt, *self.range())

    def _up_to_date(self) -> FingerprintTree | None:
        named = self._named
        if named is not None and self._touched:
            for author in self._touched:
                head = self._holdings.stands_for(author) if self._is_named(author) else None
                if head is None:
                    named.discard(author)
                else:
                    named.set(author, *head)
            self._touched.clear()
        return named

    def _is_named(self, author: bytes) -> bool:
        """Whether the tree of those named has ``author``, if it is held."""
        return self.wants(author) != self._subtracts

    def _names(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[bytes]:
        """The authors :meth:`_is_named` is true of, ascending.  O(log n + names in the range)."""
        bounds = lower or None, upper or None, (True, False)
        ours, theirs = self._ours.authors, self._theirs.authors
        if self._subtracts:
            return iter(sorted({*ours.irange(*bounds), *theirs.irange(*bounds)}))
        lists = [side.authors for side in (self._ours, self._theirs) if side.mode is Interest.WANTED]
        return (author for author in min(lists, key=len).irange(*bounds) if self.wants(author))
