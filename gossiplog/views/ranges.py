"""Seqs as ranges.

Responsible for: making ranges of seqs, and taking some away.
Must not know: what the seqs are of.
Invariant: ranges are pairs of first and last seq, ascending, none of them empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]


def ranges(seqs: Sequence[int]) -> list[Range]:
    """Return ascending seqs as ranges.

    >>> ranges([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[Range] = []
    for seq in seqs:
        if found and found[-1][1] == seq - 1:
            found[-1] = found[-1][0], seq
        else:
            found.append((seq, seq))
    return found


def without(some: Iterable[Range], seen: Iterable[Range]) -> list[Range]:
    """Return ``some`` without those parts of them that were ``seen``.

    >>> without([(1, 9)], [(2, 3), (9, 12)])
    [(1, 1), (4, 8)]
    """
    left = [*some]
    for begin, end in seen:
        cut: list[Range] = []
        for first, last in left:
            if end < first or last < begin:
                cut.append((first, last))
                continue
            if first < begin:
                cut.append((first, begin - 1))
            if end < last:
                cut.append((end + 1, last))
        left = cut
    return left
