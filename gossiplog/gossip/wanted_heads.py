"""What of our heads is wanted: the clock that a session compares.

Responsible for: count and sum, bounds, authors and items of any range, over the authors that an interest wants.
Must not know: messages; why an author is wanted.
Invariant: it always answers as if what is not wanted were not held.  Whoever changes the interest says so with
:meth:`WantedHeads.changed` or :meth:`WantedHeads.renew`; what changes below is handed up by :meth:`WantedHeads.touch`.

A view lies on the heads or on another view: what we want is one for all sessions, and what of that a peer wants is
one of the session, which costs nothing while the peer wants everything.  A view has a tree of the authors named; an
interest in all but these subtracts it from what lies below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from sys import getsizeof
from typing import TypeAlias, Union

from gossiplog.gossip.heads import TOUCHED_AT_ONCE, Heads, View, fingerprint
from gossiplog.gossip.interest import Interest, Wanted
from gossiplog.log.fingerprint import FingerprintTree
from gossiplog.log.fingerprint_nodes import MASK
from gossiplog.log.leaf_sums import Away, each_at_once

Held: TypeAlias = Union[Heads, "WantedHeads"]
"""What can be compared."""

NAMED_BYTES = 160
"""What the tree of those named takes up for each that is held."""


class WantedHeads:
    """I answer for what is held as :class:`Heads` does, limited to what ``wanted`` wants."""

    def __init__(self, below: Held, wanted: Wanted) -> None:
        self.views: set[View] = set()
        self._below = below
        self._wanted = wanted
        self._named: FingerprintTree | None = None
        self._touched: set[bytes] = set()
        self.renew()

    def close(self) -> None:
        """Nobody asks any more."""
        self._below.views.discard(self)

    @property
    def own_bytes(self) -> int:
        """About what I take up beside what lies below, and the interest.  O(1)."""
        named = 0 if self._named is None else NAMED_BYTES * len(self._named)
        return named + getsizeof(self._touched)

    # -- what changes

    def renew(self) -> None:
        """The interest changed as a whole.  O(authors named), 5 us for each that is held."""
        self._named = None
        self._touched.clear()
        if not self._wanted.is_everything:
            names = self._wanted.authors
            held = zip(names, each_at_once(self._below.stands_for, names), strict=True)
            self._named = FingerprintTree((author, *head) for author, head in held if head is not None)
            self._below.views.add(self)

    def changed(self, author: bytes) -> None:
        """The interest changed its mind about an author."""
        if self._named is None:
            self.renew()
        self.touch(author, is_named=True)

    def touch(self, author: bytes, *, is_named: bool = False) -> None:
        """What is held of an author changed, or whether it is wanted."""
        if self._named is not None and (is_named or author in self._wanted.authors):
            self._touched.add(author)
            if self.is_paged:
                self._take_in(self._named, author)  # later it may not be in memory, if it moves no more
            if len(self._touched) >= TOUCHED_AT_ONCE:
                self._up_to_date()
        for view in self.views:
            view.touch(author)

    @property
    def is_paged(self) -> bool:
        """As of :class:`Heads`."""
        return self._below.is_paged

    # -- what reconcile compares, as in Heads

    @property
    def tree(self) -> WantedHeads:
        """I have the methods of a :class:`FingerprintTree` that are needed."""
        return self

    def __len__(self) -> int:
        return self.range()[0]

    def range(self, lower: bytes = b"", upper: bytes = b"") -> tuple[int, int]:
        """Return count and sum (modulo 2^2048) of the authors in a range.  O(log n)."""
        named = self._up_to_date()
        if named is not None and self._wanted.mode is Interest.WANTED:
            return named.range(lower, upper)
        count, total = self._below.tree.range(lower, upper)
        if named is None:
            return count, total
        less, subtrahend = named.range(lower, upper)
        return count - less, (total - subtrahend) & MASK

    def split(self, lower: bytes, upper: bytes, parts: int) -> list[bytes]:
        """Return bounds that cut a range into parts, of about equal counts but for what is subtracted.

        O(parts log n).
        """
        named = self._up_to_date()
        if named is not None and self._wanted.mode is Interest.WANTED:
            return named.split(lower, upper, parts)
        return self._below.tree.split(lower, upper, parts)

    def authors(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[bytes]:
        """Authors held and wanted, ascending, as :meth:`Heads.authors`."""
        below, names = self._below, self._wanted.authors
        if self._wanted.mode is Interest.WANTED:
            return filter(below.holds, names.irange(lower or None, upper or None, (True, False)))
        held = below.authors(lower, upper)
        return (author for author in held if author not in names) if names else held

    def first(self, lower: bytes, upper: bytes, most: int) -> list[bytes]:
        """The first of :meth:`authors`, ``most`` if there are so many, as :meth:`Heads.first`."""
        below, names = self._below, self._wanted.authors
        found: list[bytes] = []
        if self._wanted.mode is Interest.WANTED:
            named = names.irange(lower or None, upper or None, (True, False))
            while len(found) < most and (some := [*islice(named, most)]):
                held = each_at_once(below.holds, some)
                found += (author for author, is_held in zip(some, held, strict=True) if is_held)
            return found[:most]
        while True:
            some = below.first(lower, upper, most)
            found += (author for author in some if author not in names)
            if len(some) < most or len(found) >= most:
                return found[:most]
            lower = some[-1] + b"\0"

    def holds(self, author: bytes) -> bool:
        """Whether an author is held and wanted."""
        return self._wanted.wants(author) and self._below.holds(author)

    def stands_for(self, author: bytes) -> tuple[int, bytes] | None:
        """What a fingerprint says of an author, None if it is not held or not wanted."""
        return self._below.stands_for(author) if self._wanted.wants(author) else None

    def item(self, author: bytes, salt: bytes) -> tuple[int, bytes]:
        """(seq, id check) of ``author`` as said in lists."""
        return self._below.item(author, salt)

    def root(self, salt: bytes) -> bytes:
        """Sixteen bytes that two nodes share, in one session, when they hold the same of what is wanted."""
        return fingerprint(salt, *self.range())

    def _up_to_date(self) -> FingerprintTree | None:
        """The tree of the authors named, as far as they are held below."""
        named = self._named
        if named is not None and self._touched:
            for author in self._touched:
                with suppress(Away):  # it did not move since it was taken in
                    self._take_in(named, author)
            self._touched.clear()
        return named

    def _take_in(self, named: FingerprintTree, author: bytes) -> None:
        head = self._below.stands_for(author) if author in self._wanted.authors else None
        if head is None:
            named.discard(author)
        else:
            named.set(author, *head)
