"""Where a reader has its entries from.

Responsible for: what a reader, and the store that it reads, need of whoever brings entries.
Must not know: how they are brought.
Invariant: there is nothing here but this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from gossiplog.live.selection import Selection
from gossiplog.log.cursor import Cursor
from gossiplog.log.entry import Entry
from gossiplog.log.segment import Segment
from gossiplog.store.repair.verify import Damage


class Bringing(Protocol):
    """I bring ``entries``; who takes one of these says so in ``taken``, and the cursor follows."""

    store: Any
    selection: Selection
    entries: deque[Entry]
    taken: Entry | None
    damages: list[Damage]

    async def step(self) -> bool:
        """Do what brings the next entry nearer; False at the end."""

    def next(self) -> Entry | None:
        """The next of the decoded entries that is wanted; those before it are behind us then."""

    def take(self, found: list[Entry], size: int) -> None:
        """Add of the decoded entries those that are wanted, until ``found`` has ``size``."""

    def reached(self) -> Cursor:
        """How far we are."""

    def close(self) -> None:
        """There is nothing more; who waits in :meth:`step` goes on."""

    def wake(self) -> None:
        """Let who waits in :meth:`step` look again."""

    def committed(self, segments: Sequence[Segment]) -> None:
        """These are new on disk."""
