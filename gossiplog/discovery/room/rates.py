"""How many bytes may be carried.

Responsible for: :class:`Rate`, which says how long to rest; :class:`Days`, what each network had today.
Must not know: connections; it is told the time.
Invariant: over any time no more is spent than the burst, the rate times that time, and one piece.
"""

from __future__ import annotations

from typing import Final

from gossiplog import limits

DAY_SECONDS: Final = 86_400.0

UNIT_BYTES: Final = 256
"""On the way between a room and a member so many bytes count as a message: to decrypt them costs as much."""


class Rate:
    """I allow ``burst`` at once, and ``per_second`` more with time.  What is spent beyond that is owed.

    >>> rate = Rate(100.0, 10.0, now=0.0)
    >>> rate.spend(90, 0.0), rate.spend(30, 0.0), rate.spend(10, 2.0)
    (0.0, 2.0, 1.0)
    """

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = self._left = burst
        self._per_second = per_second
        self._at = now

    def spend(self, count: float, now: float) -> float:
        """So many were spent; returns how long to rest."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second) - count
        self._at = now
        return max(0.0, -self._left / self._per_second)


class Days:
    """I count for each tag what was carried since its day began; of ``ROOM_DAYS`` tags."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._days: dict[bytes, tuple[float, int]] = {}

    def is_spent(self, tag: bytes, now: float) -> bool:
        """Whether a tag had its share of today."""
        since, spent = self._days.get(tag, (now, 0))
        return spent >= self._most and now - since < DAY_SECONDS

    def spend(self, tag: bytes, count: int, now: float) -> None:
        """So many bytes were carried."""
        since, spent = self._days.get(tag, (now, 0))
        if now - since >= DAY_SECONDS:
            since, spent = now, 0
        elif tag not in self._days and len(self._days) >= limits.ROOM_DAYS:
            del self._days[next(iter(self._days))]
        self._days[tag] = since, spent + count
