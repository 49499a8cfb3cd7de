"""Fingerprints of more authors than memory has room for.

Responsible for: count and sum of any range of authors, as :class:`gossiplog.log.fingerprint.FingerprintTree` says them,
from what is kept of every leaf, and the authors of the leaves that a bound cuts, which somebody else reads.
Must not know: where heads are kept and how they are read; what of them is in memory.
Invariant: sums are those of the heads that were handed in and moved, whatever the order; what is not there is said all
at once, and nothing has changed then.  A leaf that many chose on purpose is split when it is read.

The leaves are those of a binary trie over the authors' bits: whoever wants to have many authors in one has to find keys
that are alike in ever more bits.  300 bytes are kept of a leaf, and of each place where two part: about 9 an author.

>>> heads = [(b"ann", 1, bytes(32)), (b"bob", 2, bytes(32))]
>>> sums = LeafSums(heads, lambda lower, upper: heads)
>>> sums.range(b"", b"b")[0], sums.split(b"", b"", 2)
(1, [b'b'])
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeAlias, TypeVar

from gossiplog.errors import InvalidValueError
from gossiplog.log.fingerprint import MASK, bound_between, item

LEAF_AUTHORS: Final = 128
"""What a bound that cuts a leaf costs to read: 0.5 ms from a database.  Larger ones would save half of 90 MB, of ten
million authors."""

BITS: Final = 256
"""Of an author, by which leaves part; of what is no key, more may be alike and share a leaf."""

Span: TypeAlias = tuple[bytes, bytes]
"""The authors from a bound on and below another one; ``b""`` above is the end."""

Stood: TypeAlias = tuple[bytes, int, bytes]
"""An author and what stands for it in a fingerprint: seq and id."""

_A = TypeVar("_A")
_T = TypeVar("_T")
Read: TypeAlias = Callable[[bytes, bytes], Sequence[Stood]]


class Away(Exception):
    """These spans are not in memory.  Nothing was done."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = frozenset(spans)
        super().__init__(f"{len(self.spans)} spans of authors are not in memory")


class _Leaf:
    """I am what is kept of neighbouring authors."""

    __slots__ = ("count", "total")

    def __init__(self, count: int, total: int) -> None:
        self.count = count
        self.total = total


class _Branch:
    """I am a bit in which authors part: those of ``low`` are below ``middle``, those of ``high`` are not."""

    __slots__ = ("count", "high", "low", "middle", "total")

    def __init__(self, middle: bytes, low: _Node, high: _Node) -> None:
        self.middle = middle
        self.low = low
        self.high = high
        self.count: int = low.count + high.count
        self.total: int = low.total + high.total


_Node: TypeAlias = _Leaf | _Branch


class _Found(NamedTuple):
    """A leaf: the way to it, what it spans, and count (its ``rank``) and sum of all authors below it."""

    path: list[_Branch]
    leaf: _Leaf
    span: Span
    rank: int
    total: int


class LeafSums:
    """I know the count and the sum of any range of authors, and read those of a leaf that a bound cuts.

    ``read`` returns exactly the authors of a span as they are summed, ascending, or raises :class:`Away`.
    """

    def __init__(self, heads: Iterable[Stood], read: Read) -> None:
        """Start from ``heads``, strictly ascending by author; InvalidValueError if they are not.  O(n), a hash each."""
        self._read = read
        self._root = _grown(deque(), _ascending(heads), 0, 0)

    def __len__(self) -> int:
        return self._root.count

    def move(self, author: bytes, before: tuple[int, bytes] | None, after: tuple[int, bytes] | None) -> None:
        """Say what stood for an author, and what stands for it now; None: it is not held.  O(log n), a hash each."""
        count = (after is not None) - (before is not None)
        delta = (item(author, *after) if after else 0) - (item(author, *before) if before else 0)
        path, leaf, *_ = self._find(author)
        leaf.count += count
        leaf.total += delta
        for node in path:
            node.count += count
            node.total += delta
        for depth, node in enumerate(path):
            if node.count < LEAF_AUTHORS // 4:
                self._put(path[:depth], node, _Leaf(node.count, node.total))
                return

    def range(self, lower: bytes = b"", upper: bytes = b"") -> tuple[int, int]:
        """Return count and sum (modulo 2^2048) of the authors with ``lower <= author < upper``; ``b""`` above: the end.

        O(log n); at most half a leaf is hashed at either end.

        :raises Away: a leaf that a bound cuts is not in memory.
        """
        if upper and lower >= upper:
            return 0, 0
        all_ = self._root.count, self._root.total
        (start, subtrahend), (stop, total) = each_at_once(
            lambda bound: all_ if bound is None else self._below(bound), (lower, upper or None)
        )
        return stop - start, (total - subtrahend) & MASK

    def split(self, lower: bytes, upper: bytes, parts: int) -> list[bytes]:
        """Return the bounds that a :class:`~gossiplog.log.fingerprint.FingerprintTree` cuts a range at.

        :raises Away: leaves that a bound cuts are not in memory.
        """
        all_ = self._root.count
        start, stop = each_at_once(
            lambda bound: all_ if bound is None else self._rank(bound), (lower, upper or None)
        )
        cuts = sorted({start + (stop - start) * part // parts for part in range(1, parts)})
        ranks = [rank for cut in cuts if start < cut < stop for rank in (cut - 1, cut)]
        found = each_at_once(self._author, ranks)
        return [bound_between(left, right) for left, right in zip(found[::2], found[1::2], strict=True)]

    def spans(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[Span]:
        """Iterate over what each leaf spans that holds authors of a range, or would hold them, ascending."""
        at = lower
        while True:
            found = self._find(at)
            yield found.span
            at = found.span[1]
            if not at or (upper and at >= upper):
                return

    def _find(self, bound: bytes) -> _Found:
        path: list[_Branch] = []
        lower = upper = b""
        count = total = 0
        node = self._root
        while isinstance(node, _Branch):
            path.append(node)
            if bound < node.middle:
                upper, node = node.middle, node.low
            else:
                count += node.low.count
                total += node.low.total
                lower, node = node.middle, node.high
        return _Found(path, node, (lower, upper), count, total)

    def _cut(self, bound: bytes) -> tuple[_Found, Sequence[Stood]]:
        """Find the leaf that a bound cuts, and read it; one that holds too many is split."""
        found = self._find(bound)
        heads = self._read(*found.span)
        if len(found.path) == BITS or found.leaf.count <= LEAF_AUTHORS:
            return found, heads
        prefix = _bits(heads[0][0]) >> (BITS - len(found.path))
        self._put(found.path, found.leaf, _grown(deque(), iter(heads), prefix, len(found.path)))
        found = self._find(bound)
        first, stop = (bisect_left(heads, (edge,)) if edge else len(heads) for edge in found.span)
        return found, heads[first if found.span[0] else 0 : stop]

    def _below(self, bound: bytes) -> tuple[int, int]:
        """Count and sum (not reduced) of the authors below a bound."""
        found = self._find(bound)
        if bound == found.span[0]:
            return found.rank, found.total
        found, heads = self._cut(bound)
        place = bisect_left(heads, (bound,))
        if place <= len(heads) // 2:
            return found.rank + place, found.total + _sum(heads[:place])
        return found.rank + place, found.total + found.leaf.total - _sum(heads[place:])

    def _rank(self, bound: bytes) -> int:
        """How many authors are below a bound."""
        found = self._find(bound)
        if bound == found.span[0]:
            return found.rank
        found, heads = self._cut(bound)
        return found.rank + bisect_left(heads, (bound,))

    def _author(self, rank: int) -> bytes:
        """The author with ``rank`` authors below it."""
        node, lower, left = self._root, b"", rank
        while isinstance(node, _Branch):
            if left < node.low.count:
                node = node.low
            else:
                left -= node.low.count
                lower, node = node.middle, node.high
        found, heads = self._cut(lower)
        if rank - found.rank >= len(heads):  # it was split
            return self._author(rank)
        return heads[rank - found.rank][0]

    def _put(self, path: list[_Branch], old: _Node, new: _Node) -> None:
        """Put a node in the place of another."""
        if not path:
            self._root = new
        elif path[-1].low is old:
            path[-1].low = new
        else:
            path[-1].high = new


def each_at_once(read: Callable[[_A], _T], of: Iterable[_A]) -> list[_T]:
    """Return what ``read`` returns of each of these.

    :raises Away: what it lacks for any of them.
    """
    asked = list(of)
    try:
        return [read(each) for each in asked]
    except Away:
        away: set[Span] = set()
        for each in asked:
            try:
                read(each)
            except Away as error:
                away |= error.spans
        raise Away(away) from None


def _ascending(heads: Iterable[Stood]) -> Iterator[Stood]:
    last = None
    for head in heads:
        if last is not None and head[0] <= last:
            raise InvalidValueError("sums of leaves start from ascending authors")
        last = head[0]
        yield head


def _grown(ready: deque[Stood], coming: Iterator[Stood], prefix: int, depth: int) -> _Node:
    """The node of all whose first ``depth`` bits are ``prefix``, which are the next of those ``ready`` and coming."""
    upper = _edge(prefix + 1, depth)
    ready.extend(islice(coming, LEAF_AUTHORS + 1 - len(ready)))
    is_over = len(ready) > LEAF_AUTHORS and (not upper or ready[LEAF_AUTHORS][0] < upper)
    if is_over and depth < BITS:
        low = _grown(ready, coming, 2 * prefix, depth + 1)
        high = _grown(ready, coming, 2 * prefix + 1, depth + 1)
        return _Branch(_edge(2 * prefix + 1, depth + 1), low, high)
    leaf = _Leaf(0, 0)
    while ready and (not upper or ready[0][0] < upper):
        leaf.count += 1
        leaf.total += item(*ready.popleft())
        if not ready:
            ready.extend(islice(coming, LEAF_AUTHORS))
    return leaf


def _bits(author: bytes) -> int:
    """The first bits of an author; what is shorter goes on with zeros."""
    return int.from_bytes(author[: BITS // 8].ljust(BITS // 8, b"\0"), "big")


def _edge(prefix: int, depth: int) -> bytes:
    """The least author whose first ``depth`` bits are ``prefix`` or more; ``b""`` if there is none."""
    if prefix >> depth:
        return b""
    return (prefix << (BITS - depth)).to_bytes(BITS // 8, "big").rstrip(b"\0")


def _sum(heads: Iterable[Stood]) -> int:
    return sum([item(*head) for head in heads])
