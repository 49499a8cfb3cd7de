"""How a store's commits go.

Responsible for: counting them, their entries and bytes, and how long they took.
Must not know: what was committed; clocks.
Invariant: a commit costs one step here, however many entries it has.
"""

from __future__ import annotations

from dataclasses import dataclass

from gossiplog.store.requests import CommitReport


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """All commits since the store was opened: how many, of how many entries and bytes of items, how long they took
    together, the longest one and the last one."""

    count: int = 0
    entries: int = 0
    bytes: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    last_seconds: float = 0.0

    def and_one(self, report: CommitReport, seconds: float) -> CommitStatus:
        """Return these and one more, which took so long.  O(segments)."""
        return CommitStatus(
            self.count + 1,
            self.entries + sum([segment.count for segment in report.segments]),
            self.bytes + sum([len(segment.bodies) for segment in report.segments]),
            self.seconds + seconds,
            max(self.longest_seconds, seconds),
            seconds,
        )
