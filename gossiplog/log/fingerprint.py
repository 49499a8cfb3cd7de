"""Fingerprints: what two large clocks compare instead of themselves.

Responsible for: the number that stands for one author's head, and the count and sum of these numbers over any range of
authors while heads change.
Must not know: sessions and their salts, what a peer said.
Invariant: :meth:`FingerprintTree.range` is the sum over the authors in the range modulo 2^2048, in whatever order they
came; no choice of authors makes an operation dearer than O(log n).

The sum is a multiset hash.  2048 bits stand against generalised-birthday attacks (Wagner, CRYPTO 2002), to which sums
of 256 bits fall.

>>> tree = FingerprintTree()
>>> tree.set(b"ann", 1, bytes(32)); tree.set(b"bob", 2, bytes(32))
>>> tree.range() == (2, (item(b"ann", 1, bytes(32)) + item(b"bob", 2, bytes(32))) % 2**2048)
True
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import islice
from operator import ge
from typing import Final

from gossiplog.errors import InvalidValueError
from gossiplog.log.fingerprint_nodes import FAN_OUT, LEAF_AUTHORS, MASK, Inner, Leaf, Node, item

__all__ = ["FORKED_ID", "FORKED_SEQ", "MASK", "FingerprintTree", "bound_between", "item"]

FORKED_SEQ: Final = 0
FORKED_ID: Final = bytes(32)
"""With seq 0: what stands for every proven fork, so that nodes on different branches agree."""


class FingerprintTree:
    """I know the count and the sum of any range of authors: a B+ tree over the authors' bytes.

    Sums are computed when they are first asked for and carried along from then on; before that nothing is hashed.
    """

    __slots__ = ("_is_summed", "_root")

    def __init__(self, heads: Iterable[tuple[bytes, int, bytes]] = ()) -> None:
        """Start from (author, seq, id), strictly ascending by author; InvalidValueError if they are not.

        O(n), several times as fast as setting them one by one.
        """
        found = iter(heads)
        level: list[Node] = []
        last: list[bytes] = []
        while part := list(islice(found, LEAF_AUTHORS * 3 // 4)):
            leaf = Leaf(*map(list, zip(*part, strict=True)))
            if any(map(ge, [*last, *leaf.authors], leaf.authors[1 - len(last) :])):
                raise InvalidValueError("a fingerprint tree starts from ascending authors")
            last = leaf.authors[-1:]
            level.append(leaf)
        while len(level) > 1:
            level = _parents(level)
        self._root: Node = level[0] if level else Leaf([], [], [])
        self._is_summed = False

    def __len__(self) -> int:
        return self._root.count

    def set(self, author: bytes, seq: int, entry_id: bytes) -> None:
        """Say that an author's head is (seq, id), instead of any before.  O(log n), at most two hashes."""
        path, leaf = self._descend(author)
        place = bisect_left(leaf.authors, author)
        known = place < leaf.count and leaf.authors[place] == author
        if known and leaf.seqs[place] == seq and leaf.ids[place] == entry_id:
            return
        delta = 0
        if self._is_summed:
            delta = item(author, seq, entry_id) - (leaf.item(place) if known else 0)
        if known:
            leaf.seqs[place] = seq
            leaf.ids[place] = entry_id
        else:
            leaf.authors.insert(place, author)
            leaf.seqs.insert(place, seq)
            leaf.ids.insert(place, entry_id)
        _change(path, leaf, 0 if known else 1, delta)
        if leaf.is_over():
            self._split_up(path, leaf, author)

    def discard(self, author: bytes) -> None:
        """Forget an author, if it is known.  O(log n), at most one hash."""
        path, leaf = self._descend(author)
        place = bisect_left(leaf.authors, author)
        if place == leaf.count or leaf.authors[place] != author:
            return
        delta = -leaf.item(place) if self._is_summed else 0
        del leaf.authors[place], leaf.seqs[place], leaf.ids[place]
        _change(path, leaf, -1, delta)
        if leaf.is_small():
            self._join_up(path, leaf, author)

    def range(self, lower: bytes = b"", upper: bytes = b"") -> tuple[int, int]:
        """Return count and sum (modulo 2^2048) of the authors with ``lower <= author < upper``; ``b""`` above: the end.

        O(log n); at most half a leaf is hashed at either end.
        """
        if upper and lower >= upper:
            return 0, 0
        self._is_summed = True
        count, total = self._root.range(lower, upper)
        return count, total & MASK

    def split(self, lower: bytes, upper: bytes, parts: int) -> list[bytes]:
        """Return the ascending bounds, at most ``parts - 1``, that cut a range into about equal counts.

        None is at an end of the range; each is as short as it can be and lie between two neighbours.  O(parts log n).
        """
        root = self._root
        start = root.rank(lower)
        stop = root.rank(upper) if upper else root.count
        cuts = sorted({start + (stop - start) * part // parts for part in range(1, parts)})
        return [bound_between(root.author(cut - 1), root.author(cut)) for cut in cuts if start < cut < stop]

    def _descend(self, author: bytes) -> tuple[list[Inner], Leaf]:
        path = []
        node = self._root
        while isinstance(node, Inner):
            path.append(node)
            node = node.children[bisect_right(node.lowers, author) - 1]
        return path, node

    def _split_up(self, path: list[Inner], leaf: Leaf, author: bytes) -> None:
        """Split what is over its size, from the leaf on ``author``'s path to the root."""
        node: Node = leaf
        for parent in reversed(path):
            if not node.is_over():
                return
            parent.insert_after(parent.place(author), node.split_off())
            node = parent
        if node.is_over():
            total = node.total
            right = node.split_off()
            self._root = Inner([b"", right.lower()], [node, right])
            self._root.total = total

    def _join_up(self, path: list[Inner], leaf: Leaf, author: bytes) -> None:
        """Join what became small with a neighbour, from the leaf on ``author``'s path up; drop a root of one child."""
        node: Node = leaf
        for parent in reversed(path):
            if node.is_small():
                parent.join(parent.place(author))
            node = parent
        while isinstance(self._root, Inner) and len(self._root.children) == 1:
            self._root = self._root.children[0]


def _parents(level: list[Node]) -> list[Node]:
    width = FAN_OUT * 3 // 4
    parts = [level[at : at + width] for at in range(0, len(level), width)]
    parents = [Inner([child.lower() for child in part], part) for part in parts]
    parents[0].lowers[0] = b""
    return [*parents]


def _change(path: list[Inner], leaf: Leaf, count: int, delta: int) -> None:
    nodes: list[Node] = [*path, leaf]
    for node in nodes:
        node.count += count
        total = node.total
        if total is not None:
            node.total = (total + delta) & MASK


def bound_between(left: bytes, right: bytes) -> bytes:
    """Return the shortest prefix of ``right`` that is above ``left``."""
    length = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), len(left))
    return right[: length + 1]
