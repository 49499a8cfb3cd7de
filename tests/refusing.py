"""Stores of which nobody gets all heads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from gossiplog.log.clock import Clock
from gossiplog.log.leaf_sums import Away
from gossiplog.log.paged_clock import alone
from gossiplog.log.segment import Head
from gossiplog.store.memory.backend import MemoryBackend


class StoreSide(Clock):
    """I am how far logs are, in a store's thread: I answer for one author, or for some at a time.

    ``most`` is how many heads anybody took of one range.
    """

    is_whole = False
    most = 0

    def items(self) -> NoReturn:
        raise AssertionError("somebody reads all heads")

    __iter__ = dump = items  # type: ignore[assignment]

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        for count, found in enumerate(super().range(lower, upper), 1):
            self.most = max(self.most, count)
            yield found

    def copy(self) -> Any:
        return OutsideOfIt(self)


class OutsideOfIt:
    """I am the same outside of that thread: figures, and no head of anybody; ``hidden`` are those that I do not say."""

    is_whole = False

    def __init__(self, inside: StoreSide) -> None:
        self.hidden = Clock(super(StoreSide, inside).range())
        self.set, self.discard = self.hidden.set, self.hidden.discard
        self.total = self.hidden.total

    def __len__(self) -> int:
        return len(self.hidden)

    def head(self, author: bytes) -> Head | None:
        raise Away([alone(author)])

    seq: Callable[[bytes], int] = head  # type: ignore[assignment]
    __contains__: Callable[[Any], bool] = head  # type: ignore[assignment]

    def range(self, lower: bytes = b"", upper: bytes = b"") -> NoReturn:
        raise Away([(lower, upper)])


class RefusingBackend(MemoryBackend):
    """I keep a store in memory, and give nobody all heads."""

    def clock(self) -> StoreSide:
        self.side = StoreSide(self.heads())
        return self.side
