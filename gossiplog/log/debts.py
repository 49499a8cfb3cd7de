"""What entries were placed without.

Responsible for: remembering it, so that it is noticed when it comes; which seqs of a log something is known for.
Must not know: how places are computed.
Invariant: at most ``limits.MAX_OWED_REFERENCES`` are remembered, and who names many pushes out nobody's but its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from sortedcontainers import SortedDict, SortedSet

from gossiplog.limits import MAX_OWED_REFERENCES
from gossiplog.log.body import Reference
from gossiplog.log.place import EARLIEST, Moment

V = TypeVar("V")


class Late(NamedTuple):
    """Entry ``seq`` of ``author``, placed at ``moment`` without an entry that it names, belongs behind that one now."""

    author: bytes
    seq: int
    moment: Moment


Debt: TypeAlias = tuple[Reference, Late]
"""What is missed, and by whom."""


class SeqMap(Generic[V]):
    """I map author and seq to something, and find what there is for a run of seqs however much I have."""

    def __init__(self) -> None:
        self._authors: dict[bytes, SortedDict[int, V]] = {}

    def at(self, author: bytes, seq: int, make: Callable[[], V]) -> V:
        """What there is, made if there is nothing.  O(log n)."""
        seqs = self._authors.get(author)
        if seqs is None:
            seqs = self._authors[author] = SortedDict()
        if seq not in seqs:
            seqs[seq] = make()
        return seqs[seq]

    def between(self, author: bytes, first: int, last: int) -> list[int]:
        """The seqs from ``first`` to ``last`` for which there is something, ascending.  O(those)."""
        return list(self._authors[author].irange(first, last)) if author in self._authors else []

    def discard(self, author: bytes, seq: int) -> None:
        """Drop what there is.  O(log n)."""
        seqs = self._authors.get(author)
        if seqs is not None:
            seqs.pop(seq, None)
            if not seqs:
                del self._authors[author]


class Debts:
    """I remember what entries were placed without, so that it is noticed when it comes."""

    def __init__(self) -> None:
        self._by_named: SeqMap[dict[Debt, None]] = SeqMap()
        self._by_namer: dict[bytes, dict[Debt, None]] = {}
        self._sizes: SortedSet[tuple[int, bytes]] = SortedSet()  # who is owed how many
        self._count = 0

    def owe(self, namer: Late, references: Iterable[Reference]) -> None:
        """``namer`` was placed without these."""
        for reference in references:
            debt = reference, namer
            self._by_named.at(reference.author, reference.seq, dict)[debt] = None
            self._resize(namer.author, {debt: None})
            if (
                self._count > MAX_OWED_REFERENCES
            ):  # forget one of who has most, so that nobody pushes others out
                self._forget(next(iter(self._by_namer[self._sizes[-1][1]])))

    def seqs(self, author: bytes, first: int, last: int) -> list[int]:
        """Which entries of a log were missed.  O(those)."""
        return self._by_named.between(author, first, last)

    def pay(self, author: bytes, seq: int) -> list[Debt]:
        """An entry that was missed is placed: return by whom; they are forgotten."""
        debts = [*self._by_named.at(author, seq, dict)]
        for debt in debts:
            self._forget(debt)
        return debts

    def go_back(self, placed: Mapping[bytes, tuple[int, Moment]]) -> None:
        """Forget who has no place any more.  O(all)."""
        for author, debts in [*self._by_namer.items()]:
            last, _ = placed.get(author, (0, EARLIEST))
            for debt in [each for each in debts if each[1].seq > last]:
                self._forget(debt)

    def _forget(self, debt: Debt) -> None:
        (named, seq, _), namer = debt
        here = self._by_named.at(named, seq, dict)
        here.pop(debt, None)
        if not here:
            self._by_named.discard(named, seq)
        self._resize(namer.author, {}, debt)

    def _resize(self, namer: bytes, more: Mapping[Debt, None], less: Debt | None = None) -> None:
        debts = self._by_namer.pop(namer, {})
        self._sizes.discard((len(debts), namer))
        self._count -= len(debts)
        debts |= more
        if less is not None:
            debts.pop(less, None)
        if debts:
            self._by_namer[namer] = debts
            self._sizes.add((len(debts), namer))
            self._count += len(debts)
