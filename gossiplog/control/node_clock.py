"""The clock of a node in another process, of which nothing is kept here.

Responsible for: asking the node for heads, those of one author or page by page.
Must not know: where the node has them.
Invariant: no more than a page of heads is in memory; each is as the node had it when it was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gossiplog import limits
from gossiplog.control.line import Line
from gossiplog.control.messages import content, key_of
from gossiplog.log.segment import Head


class NodeClock:
    """I say how far each log is on the disk of a node."""

    is_whole = False

    def __init__(self, line: Line) -> None:
        """``line`` is who asks the node."""
        self._line = line

    def head(self, author: bytes) -> Head | None:
        """Return the head held of an author, None if nothing is."""
        return next((head for _, head in self.range(author, author + b"\0")), None)

    def seq(self, author: bytes) -> int:
        """Return the seq held of an author, 0 if nothing is."""
        head = self.head(author)
        return 0 if head is None else head.seq

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head) with ``lower <= author < upper``; ``b""`` above means the end."""
        while True:
            bounds: dict[str, Any] = {"from": content(lower), "below": content(upper)}
            page = self._line.ask("clock", **bounds)
            for author, seq, head in page:
                yield key_of(author), Head(seq, key_of(head))
            if len(page) < limits.CONTROL_PAGE:
                return
            lower = key_of(page[-1][0]) + b"\0"

    def total(self) -> int:
        """Return how many entries are held altogether."""
        return int(self._line.ask("status")["entries"])

    def __len__(self) -> int:
        return int(self._line.ask("status")["log_count"])

    def __contains__(self, author: object) -> bool:
        return isinstance(author, bytes) and self.head(author) is not None
