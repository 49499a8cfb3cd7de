"""What is computed from logs, in steps, by who has none.

Responsible for: what is asked for between two steps, and what is told.
Must not know: where logs are, threads, what is computed.
Invariant: a computation asks for little at a time, and goes on only with all that it asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from gossiplog.log.segment import Segment, Unfolded

T = TypeVar("T")


class Ask(NamedTuple):
    """Entries ``first`` to ``last`` of a log: those of one stored row at least, with ``signed`` of one whose signature
    was looked at."""

    author: bytes
    first: int
    last: int
    signed: bool = True


class Told(NamedTuple):
    """Neighbouring rows, of which the first has the entry that was asked for, or that behind ``passed``.

    What is up to there cannot be read, for this ``reason``.  Nothing at all, if the log ends before.  Of ``signed``
    rows there are items and ids, too.
    """

    segments: Sequence[Segment]
    passed: int = 0
    unfolded: Sequence[Unfolded] = ()
    reason: str = ""


Steps: TypeAlias = Generator[Sequence[Ask], Sequence[Told], T]
"""A computation: it yields what it asks for, and is sent what is told, in the same order."""


def finish(steps: Steps[T], tell: Callable[[Ask], Told]) -> T:
    """Return what a computation does, telling it here and now."""
    told: Sequence[Told] | None = None
    while True:
        try:
            asks = next(steps) if told is None else steps.send(told)
        except StopIteration as end:
            value: T = end.value
            return value
        told = [tell(ask) for ask in asks]
