"""What others may rely on in a clock, wherever its heads are.

Responsible for: the protocols :class:`HeadView`, for who asks for some authors, :class:`ClockView`, for who reads all,
and :class:`MovingClock`, for its one owner.
Must not know: where heads are kept; :class:`gossiplog.log.clock.Clock` has them all in memory, and
:class:`gossiplog.log.paged_clock.PagedClock` those that are asked for.
Invariant: what :class:`gossiplog.log.clock.Clock` says in a method of the same name holds for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gossiplog.log.segment import Head


class HeadView(Protocol):
    """Which entries are held of some authors, who may be of too many to read all."""

    def seq(self, author: bytes) -> int:
        """Return the seq held of an author, 0 if nothing is."""

    def head(self, author: bytes) -> Head | None:
        """Return the head held of an author, None if nothing is."""

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head) with ``lower <= author < upper``; ``b""`` above means the end."""

    def __contains__(self, author: object) -> bool: ...


class ClockView(HeadView, Protocol):
    """Which entries are held: author -> head of its log, sorted by author."""

    def items(self) -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head)."""

    def total(self) -> int:
        """Return how many entries are held altogether."""

    def dump(self) -> bytes:
        """Return the cursor of everything held as bytes."""

    def copy(self) -> MovingClock:
        """Return another one that begins with the same heads, of whoever asks: another thread, or who compares."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class MovingClock(ClockView, Protocol):
    """A clock whose owner is the caller of these methods, and nobody else."""

    def advance(self, author: bytes, head: Head) -> None:
        """Move an author forward; InvalidValueError if ``head`` is not beyond the one held."""

    def set(self, author: bytes, head: Head | None) -> None:
        """Set an author's head wherever it was, back too, or forget it: only for what a disk says."""

    def discard(self, author: bytes) -> None:
        """Forget an author, if it is known."""


class FollowingClock(HeadView, Protocol):
    """A clock that is told how the heads of another one move."""

    def move(self, author: bytes, before: Head | None, after: Head | None) -> None:
        """An author's head was one and is another now; None: nothing is held of it."""
