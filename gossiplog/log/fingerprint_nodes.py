"""Nodes of the fingerprint tree.

Responsible for: one leaf (authors and their heads) and one inner node (children and where they begin), each with its
count and its sum.
Must not know: the path that led here; :mod:`gossiplog.log.fingerprint` keeps it and hands changes up.
Invariant: ``count`` is exact; ``total`` is the exact sum modulo 2^2048, or None while nobody asked for it, whatever its
children know.  ``lowers[i]`` is not above any author of ``children[i]``, and above every one of ``children[i - 1]``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from hashlib import shake_128
from typing import Final, TypeAlias

ITEM_BYTES: Final = 256
MASK: Final = (1 << (8 * ITEM_BYTES)) - 1

LEAF_AUTHORS: Final = 64
"""A range that cuts a leaf hashes at most half of it, 2 us each; larger leaves would save little memory."""

FAN_OUT: Final = 64
"""Four levels hold ten million authors, and a range adds a few dozen sums per level."""


def item(author: bytes, seq: int, entry_id: bytes) -> int:
    """Return the number that stands for one author's head: SHAKE-128 of author, seq (u64) and id, 2048 bits."""
    return int.from_bytes(shake_128(author + seq.to_bytes(8, "big") + entry_id).digest(ITEM_BYTES), "big")


class Leaf:
    """I hold the heads of neighbouring authors, as three lists: objects per author would triple the memory."""

    __slots__ = ("authors", "count", "ids", "seqs", "total")

    def __init__(self, authors: list[bytes], seqs: list[int], ids: list[bytes]) -> None:
        self.authors = authors
        self.seqs = seqs
        self.ids = ids
        self.count: int = len(authors)
        self.total: int | None = None

    def item(self, place: int) -> int:
        """Return the item of the author at ``place``."""
        return item(self.authors[place], self.seqs[place], self.ids[place])

    def sum(self) -> int:
        """Return the sum of all, modulo 2^2048."""
        if self.total is None:
            self.total = self._sum(0, self.count) & MASK
        return self.total

    def range(self, lower: bytes, upper: bytes) -> tuple[int, int]:
        """Return count and sum (not reduced) of ``lower <= author < upper``; ``b""`` above means the end."""
        start = self.rank(lower)
        stop = self.rank(upper) if upper else self.count
        if stop - start <= self.count // 2:
            return stop - start, self._sum(start, stop)
        return stop - start, self.sum() - self._sum(0, start) - self._sum(stop, self.count)

    def rank(self, bound: bytes) -> int:
        """Return how many authors are below ``bound``."""
        return bisect_left(self.authors, bound)

    def author(self, rank: int) -> bytes:
        """Return the author with ``rank`` authors below it."""
        return self.authors[rank]

    def lower(self) -> bytes:
        """Return where the node begins."""
        return self.authors[0]

    def is_over(self) -> bool:
        """Tell whether the node must be split."""
        return self.count > LEAF_AUTHORS

    def is_small(self) -> bool:
        """Tell whether the node should be joined with a neighbour."""
        return self.count < LEAF_AUTHORS // 4

    def split_off(self) -> Leaf:
        """Give the upper half away to a new node."""
        half = self.count // 2
        right = Leaf(self.authors[half:], self.seqs[half:], self.ids[half:])
        del self.authors[half:], self.seqs[half:], self.ids[half:]
        self.count = half
        self.total = None
        return right

    def absorb(self, right: Leaf) -> bool:
        """Take over the neighbour above, if both together fit one node."""
        if self.count + right.count > LEAF_AUTHORS:
            return False
        self.authors += right.authors
        self.seqs += right.seqs
        self.ids += right.ids
        self.count += right.count
        self.total = None if self.total is None or right.total is None else (self.total + right.total) & MASK
        return True

    def _sum(self, start: int, stop: int) -> int:
        return sum([self.item(place) for place in range(start, stop)])


class Inner:
    """I hold neighbouring nodes of one level, and where each begins."""

    __slots__ = ("children", "count", "lowers", "total")

    def __init__(self, lowers: list[bytes], children: list[Node]) -> None:
        self.lowers = lowers
        self.children = children
        self.count: int = sum([child.count for child in children])
        self.total: int | None = None

    def place(self, author: bytes) -> int:
        """Return the place of the child that holds, or would hold, an author."""
        return bisect_right(self.lowers, author) - 1

    def sum(self) -> int:
        """Return the sum of all, modulo 2^2048."""
        if self.total is None:
            self.total = sum([child.sum() for child in self.children]) & MASK
        return self.total

    def range(self, lower: bytes, upper: bytes) -> tuple[int, int]:
        """Return count and sum (not reduced) of ``lower <= author < upper``; ``b""`` above means the end."""
        if not upper and lower <= self.lowers[0]:
            return self.count, self.sum()
        start = max(0, self.place(lower))
        stop = self.place(upper) if upper else len(self.children)
        if start == stop:
            return self.children[start].range(lower, upper)
        count, total = self.children[start].range(lower, b"")
        for child in self.children[start + 1 : stop]:
            count += child.count
            total += child.sum()
        if stop < len(self.children):
            last_count, last_total = self.children[stop].range(b"", upper)
            return count + last_count, total + last_total
        return count, total

    def rank(self, bound: bytes) -> int:
        """Return how many authors are below ``bound``."""
        place = self.place(bound)
        below = sum([child.count for child in self.children[:place]])
        return below + self.children[place].rank(bound)

    def author(self, rank: int) -> bytes:
        """Return the author with ``rank`` authors below it."""
        for child in self.children:
            if rank < child.count:
                return child.author(rank)
            rank -= child.count
        raise IndexError("rank out of range")

    def lower(self) -> bytes:
        """Return where the node begins."""
        return self.lowers[0]

    def is_over(self) -> bool:
        """Tell whether the node must be split."""
        return len(self.children) > FAN_OUT

    def is_small(self) -> bool:
        """Tell whether the node should be joined with a neighbour."""
        return len(self.children) < FAN_OUT // 4

    def split_off(self) -> Inner:
        """Give the upper half away to a new node."""
        half = len(self.children) // 2
        right = Inner(self.lowers[half:], self.children[half:])
        del self.lowers[half:], self.children[half:]
        self.count -= right.count
        self.total = None
        return right

    def absorb(self, right: Inner) -> bool:
        """Take over the neighbour above, if both together fit one node."""
        if len(self.children) + len(right.children) > FAN_OUT:
            return False
        self.lowers += right.lowers
        self.children += right.children
        self.count += right.count
        self.total = None if self.total is None or right.total is None else (self.total + right.total) & MASK
        return True

    def insert_after(self, place: int, right: Node) -> None:
        """Take in the upper half of the child at ``place``; count and sum are unchanged."""
        self.lowers.insert(place + 1, right.lower())
        self.children.insert(place + 1, right)

    def join(self, place: int) -> None:
        """Join the child at ``place`` with the neighbour below or above it, where both fit one node."""
        for left in (place - 1, place):
            if 0 <= left < len(self.children) - 1 and self._absorb(left):
                return

    def _absorb(self, left: int) -> bool:
        pair = self.children[left], self.children[left + 1]
        match pair:
            case (Leaf() as ours, Leaf() as theirs):
                fits = ours.absorb(theirs)
            case (Inner() as ours, Inner() as theirs):
                fits = ours.absorb(theirs)
            case _:
                raise AssertionError("all leaves are at one level")
        if fits:
            del self.lowers[left + 1], self.children[left + 1]
        return fits


Node: TypeAlias = Leaf | Inner
