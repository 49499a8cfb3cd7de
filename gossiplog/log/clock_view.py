"""What others may rely on in a clock, wherever its heads are.

Responsible for: the protocols :class:`HeadView`, for who asks for some authors, :class:`CountedView`, for who wants to
know how much there is too, :class:`ClockView`, for who reads all, and :class:`MovingClock`, for its one owner.
Must not know: where heads are kept; :class:`gossiplog.log.clock.Clock` has them all in memory, and
:class:`gossiplog.log.paged_clock.PagedClock` those that are asked for.
Invariant: what :class:`gossiplog.log.clock.Clock` says in a method of the same name holds for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

from gossiplog.errors import SharedStoreError
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


class CountedView(HeadView, Protocol):
    """Which entries are held of some authors, and how much it is altogether: figures that are kept, not added up."""

    @property
    def is_whole(self) -> bool:
        """Whether it is a :class:`ClockView`: all heads are in memory."""

    def total(self) -> int:
        """Return how many entries are held altogether."""

    def __len__(self) -> int: ...


class ClockView(CountedView, Protocol):
    """Which entries are held: author -> head of its log, sorted by author."""

    def items(self) -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head)."""

    def dump(self) -> bytes:
        """Return the cursor of everything held as bytes."""

    def copy(self) -> MovingClock:
        """Return another one that begins with the same heads, of whoever asks: another thread, or who compares."""

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


def whole_of(clock: CountedView, path: str, what: str) -> ClockView:
    """Return the clock of the store at ``path`` for ``what`` needs all heads of it in memory.

    Raises :class:`SharedStoreError` where they are not.
    """
    found = whole(clock)
    if found is None:
        raise SharedStoreError(
            f"store {path} is a relay's, which has not every author in memory: {what} is not done there, but by a node "
            "with a store of its own that is a peer of the relay (gossiplog run --peer)"
        )
    return found


def whole(clock: CountedView) -> ClockView | None:
    """Return a clock of which all heads are in memory as that; None for another one."""
    return cast(ClockView, clock) if clock.is_whole else None
