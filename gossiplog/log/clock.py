"""The clock: which entries a node holds, as one head per author.  Start reading gossiplog here.

A log has no gaps, so the seq of its head says exactly which of an author's entries are held: the map from author to
head is a vector clock.  Two nodes that compare clocks know what each is missing.

Responsible for: that map, sorted by author; comparing, merging and differences.
Must not know: where the entries are, who else holds them, which logs are forked.
Invariant: :meth:`Clock.advance` and :meth:`Clock.merge` never take an author back; iteration is always in the order of
the authors' bytes, and a loop over a clock may wait for something while the clock moves.

>>> ours, theirs = Clock(), Clock()
>>> ours.advance(b"ann", Head(2, b"id")); theirs.advance(b"bob", Head(1, b"id"))
>>> ours.compare(theirs), ours.difference(theirs)
(<Order.CONCURRENT: 'concurrent'>, [(b'ann', 2, 0), (b'bob', 0, 1)])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import islice
from typing import Any, Final, TypeVar

from sortedcontainers import SortedDict

from gossiplog.arguments import as_dict, check_type
from gossiplog.errors import InvalidValueError
from gossiplog.log.cursor import Cursor
from gossiplog.log.segment import Head

_SOME: Final = 256
V = TypeVar("V")


class Order(Enum):
    """How one clock stands to another."""

    BEFORE = "before"
    AFTER = "after"
    EQUAL = "equal"
    CONCURRENT = "concurrent"


class Clock:
    """I say which entries are held: author -> head of its log.  An author without entries is not in me."""

    __slots__ = ("_heads", "_total")

    is_whole = True

    def __init__(self, heads: Mapping[bytes, Head] | Iterable[tuple[bytes, Head]] = ()) -> None:
        """Start from ``heads``.  O(n log n), O(n) if they come sorted."""
        self._heads: SortedDict[bytes, Head] = _sorted("heads", heads)
        self._total = 0
        for head in self._heads.values():
            _check_head(head)
            self._total += head.seq

    def seq(self, author: bytes) -> int:
        """Return the seq held of an author, 0 if nothing is.  O(1)."""
        head = self._heads.get(author)
        return 0 if head is None else head.seq

    def head(self, author: bytes) -> Head | None:
        """Return the head held of an author, None if nothing is.  O(1)."""
        return self._heads.get(author)

    def advance(self, author: bytes, head: Head) -> None:
        """Move an author forward; InvalidValueError if ``head`` is not beyond the one held.

        O(1), for a new author O(log n).
        """
        check_type("head", head, Head, "a Head")
        held = self.seq(author)
        if head.seq <= held:
            raise InvalidValueError(
                f"the clock is at seq {held} of this author: {head.seq} does not advance it"
            )
        self._put(author, head, held)

    def replace(self, author: bytes, head: Head) -> None:
        """Set an author's head wherever it was, back too: only for what a disk says.  O(log n)."""
        _check_head(head)
        self._put(author, head, self.seq(author))

    def set(self, author: bytes, head: Head | None) -> None:
        """As :meth:`replace`, or :meth:`discard` for ``None``.  O(log n)."""
        if head is None:
            self.discard(author)
        else:
            self.replace(author, head)

    def discard(self, author: bytes) -> None:
        """Forget an author, if it is known.  O(log n)."""
        self._total -= self.seq(author)
        self._heads.pop(author, None)

    def merge(self, other: Clock) -> None:
        """Take over every head of ``other`` with a higher seq.  O(len(other) log n)."""
        check_type("other", other, Clock, "a Clock")
        for author, head in other.items():
            held = self.seq(author)
            if head.seq > held:
                self._put(author, head, held)

    def compare(self, other: Clock) -> Order:
        """Say how we stand to ``other``, by seqs alone.  O(n), stops at the first sign of concurrency."""
        check_type("other", other, Clock, "a Clock")
        ahead = len(self) > len(other)
        behind = len(self) < len(other)
        for _, ours, theirs in self._pairs(other):
            ahead = ahead or ours > theirs
            behind = behind or ours < theirs
            if ahead and behind:
                return Order.CONCURRENT
        if ahead:
            return Order.AFTER
        return Order.BEFORE if behind else Order.EQUAL

    def difference(self, other: Clock) -> list[tuple[bytes, int, int]]:
        """Return (author, our seq, their seq) where they differ, sorted by author.  O(n), plus sorting what differs."""
        check_type("other", other, Clock, "a Clock")
        return sorted(found for found in self._pairs(other) if found[1] != found[2])

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head) with ``lower <= author < upper``; ``b""`` above means the end.  O(log n + found).

        As with every iteration over a clock, it may change meanwhile: each author comes at most once, in order, as it
        was shortly before; one that is new may be left out.
        """
        return _walk(self._heads, lower, upper)

    def items(self) -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head), sorted by author; safe as :meth:`range` is."""
        return _walk(self._heads)

    def total(self) -> int:
        """Return how many entries are held altogether.  O(1)."""
        return self._total

    def copy(self) -> Clock:
        """Return an independent clock with the same heads.  O(n)."""
        return Clock(self._heads)

    def dump(self) -> bytes:
        """Return the cursor of everything held as bytes; :meth:`Cursor.load` reads them.  O(n)."""
        return Cursor.of(self).dump()

    def _put(self, author: bytes, head: Head, held: int) -> None:
        self._heads[author] = head
        self._total += head.seq - held

    def _pairs(self, other: Clock) -> Iterator[tuple[bytes, int, int]]:
        for author, head in self._heads.items():
            yield author, head.seq, other.seq(author)
        for author, head in other.items():
            if author not in self._heads:
                yield author, 0, head.seq

    def __len__(self) -> int:
        return len(self._heads)

    def __iter__(self) -> Iterator[bytes]:
        return (author for author, _ in _walk(self._heads))

    def __contains__(self, author: object) -> bool:
        return author in self._heads

    def __eq__(self, other: object) -> bool:
        """Tell whether seqs and ids are the same."""
        return self._heads == other._heads if isinstance(other, Clock) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Clock of {len(self)} authors>"


def _check_head(head: Head) -> None:
    check_type("head", head, Head, "a Head")
    if head.seq < 1:
        raise InvalidValueError("a head in a clock has a seq from 1")


def _sorted(name: str, items: Any) -> SortedDict[Any, Any]:
    try:
        return SortedDict(as_dict(name, items))
    except TypeError as error:
        raise InvalidValueError(f"{name} has authors for keys: {error}") from error


def _walk(heads: SortedDict[bytes, V], lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, V]]:
    """Items from ``lower`` on and below ``upper``, some at a time, so that nothing breaks if they change meanwhile."""
    includes_lower = True
    while True:
        authors = heads.irange(lower or None, upper or None, (includes_lower, False))
        some = [(author, heads[author]) for author in islice(authors, _SOME)]
        yield from some
        if len(some) < _SOME:
            return
        lower, includes_lower = some[-1][0], False
