"""How a node grew: figures of the last hour.

Responsible for: keeping them, a point every few seconds, and rates out of totals.
Must not know: where they come from.
Invariant: the same room whatever happens; a total that goes back is no rate below 0.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gossiplog import limits


class Point(NamedTuple):
    """At ``time``, seconds since 1970: so many entries were held, and so many bytes per second came and went."""

    time: int
    entries: int
    bytes_in: int
    bytes_out: int


class Growth:
    """I keep the points."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=limits.WEB_POINTS)
        self._totals = 0, 0
        self._at = 0.0

    def add(self, now: float, entries: int, bytes_in: int, bytes_out: int) -> Point:
        """Take totals; return the point they make."""
        seconds = max(now - self._at, 1e-3)
        rates = [
            max(0, int((total - before) / seconds))
            for total, before in zip((bytes_in, bytes_out), self._totals, strict=True)
        ]
        if not self.points:
            rates = [0, 0]  # nobody knows since when
        self._totals, self._at = (bytes_in, bytes_out), now
        point = Point(int(now), entries, *rates)
        self.points.append(point)
        return point
