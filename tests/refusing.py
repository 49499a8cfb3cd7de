"""Stores of which nobody gets all heads at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from gossiplog.log.clock import Clock
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

    __iter__ = dump = copy = items  # type: ignore[assignment]

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        for count, found in enumerate(super().range(lower, upper), 1):
            self.most = max(self.most, count)
            yield found


class RefusingBackend(MemoryBackend):
    """I keep a store in memory, and give nobody all heads."""

    def clock(self) -> StoreSide:
        self.side = StoreSide(self.heads())
        return self.side
