"""What is known of one log while it is merged with others.

Responsible for: up to where it is held, handed over and placed; since when what came.
Must not know: other logs.
Invariant: it takes little, however long the log is.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gossiplog import limits
from gossiplog.log.opened import Opened
from gossiplog.log.zone_list import ZoneList

BEFORE: Final = -1.0
"""When what was there came."""


class LogState:
    """I am what is known of one log: up to where it is held, handed over and placed, and since when what came."""

    __slots__ = ("deadline", "expires", "handed", "held", "lookups", "marks", "opened", "told", "zones")

    def __init__(self, handed: int) -> None:
        self.held = 0
        self.handed = handed
        self.lookups = 0
        self.told = 0  # up to where it was told that entries are ahead of our clock
        self.zones = ZoneList()
        self.opened: Opened | None = None
        self.marks: deque[tuple[int, float]] | None = None
        self.deadline: float | None = None  # when its next entry is settled, if that has a place
        self.expires: float | None = None  # when its next entry is placed without what is missing

    def came(self, seq: int) -> float:
        """When an entry came."""
        if self.marks is not None:
            for last, came in self.marks:
                if seq <= last:
                    return came
        return BEFORE

    def mark(self, last: int, now: float, together: float) -> None:
        """Entries up to ``last`` came now, or with others that did so within ``together`` seconds."""
        self.marks = deque() if self.marks is None else self.marks
        if self.marks and (self.marks[-1][1] > now - together or len(self.marks) >= limits.ORDER_MARKS):
            self.marks[-1] = last, self.marks[-1][1]
        else:
            self.marks.append((last, now))

    def hand_over(self, seq: int) -> None:
        """An entry was handed over."""
        self.handed = seq
        while self.marks and self.marks[0][0] <= seq:
            self.marks.popleft()
