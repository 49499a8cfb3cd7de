"""How much a store holds, where its heads are not in memory.

Responsible for: how many logs and entries there are, as heads move.
Must not know: where heads are.
Invariant: the figures are those that were there in the beginning and all moves since; of no author anything is said.

>>> figures = Figures(2, 10)
>>> figures.move(b"ann", None, Head(3, b"id"))
>>> len(figures), figures.total()
(3, 13)
"""

from __future__ import annotations

from collections.abc import Iterator

from gossiplog.log.leaf_sums import Away
from gossiplog.log.paged_clock import alone
from gossiplog.log.segment import Head


class Figures:
    """I am a clock of so many logs and entries, and raise :class:`Away` for who asks for a head."""

    is_whole = False

    def __init__(self, logs: int, entries: int) -> None:
        self._logs = logs
        self._entries = entries

    def move(self, author: bytes, before: Head | None, after: Head | None) -> None:
        """An author's head was one and is another now; None: nothing is held of it."""
        self._logs += (after is not None) - (before is not None)
        self._entries += (after.seq if after else 0) - (before.seq if before else 0)

    def total(self) -> int:
        """Return how many entries are held altogether."""
        return self._entries

    def __len__(self) -> int:
        return self._logs

    def head(self, author: bytes) -> Head | None:
        """Not here."""
        raise Away([alone(author)])

    def seq(self, author: bytes) -> int:
        """Not here."""
        raise Away([alone(author)])

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        """Not here."""
        raise Away([(lower, upper)])

    def __contains__(self, author: object) -> bool:
        raise Away([alone(author)] if isinstance(author, bytes) else [])
