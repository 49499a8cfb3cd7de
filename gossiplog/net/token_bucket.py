"""How often something may happen.

Responsible for: token buckets, one or one for each place.
Must not know: what happens; it is told the time.
Invariant: at most ``MAX_PLACES`` places are remembered, and forgetting one gives it no more than a full bucket.
"""

from __future__ import annotations

from collections import OrderedDict

from gossiplog import limits

_ROUNDING = 1e-6
"""Whoever comes back after just the time it was told to wait finds a token."""


class Bucket:
    """I allow ``burst`` things at once, and ``per_second`` more with time."""

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._at = now

    def wait(self, now: float, count: float = 1.0) -> float:
        """How many seconds until one thing is allowed, or so many at once; 0.0 if that is now."""
        elapsed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._burst, self._tokens + elapsed * self._per_second)
        missing = count - self._tokens
        return missing / self._per_second if missing > _ROUNDING else 0.0

    def take(self, count: float = 1.0) -> None:
        """So many things happened; what was not there to take is forgiven."""
        self._tokens = max(0.0, self._tokens - count)


class PlaceRates:
    """I am a bucket for each place."""

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait(self, where: str, now: float) -> float:
        """As :meth:`Bucket.wait`."""
        return self._of(where, now).wait(now)

    def take(self, where: str, now: float, count: float = 1.0) -> None:
        """As :meth:`Bucket.take`."""
        self._of(where, now).take(count)

    def _of(self, where: str, now: float) -> Bucket:
        bucket = self._buckets.pop(where, None)
        if bucket is None:
            bucket = Bucket(self._burst, self._per_second, now)
            if len(self._buckets) >= limits.MAX_PLACES:
                self._buckets.popitem(last=False)
        self._buckets[where] = bucket
        return bucket
