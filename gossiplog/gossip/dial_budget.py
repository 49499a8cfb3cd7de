"""How often a node may dial what it found.

Responsible for: ``DIALS_PER_SECOND`` in all, ``GROUP_DIALS_PER_MINUTE`` for each address group.
Must not know: what is dialled, and why.
Invariant: whatever peers say, nobody is dialled more often by us.
"""

from __future__ import annotations

from gossiplog import limits

_BURST = 4.0
"""Dials that may be made at once after a rest."""


class DialBudget:
    """I count dials."""

    def __init__(self) -> None:
        self._tokens = _BURST
        self._at = 0.0
        self._groups: dict[bytes, tuple[float, float]] = {}

    def ready_at(self, now: float) -> float:
        """When anything may be dialled."""
        self._fill(now)
        return now if self._tokens >= 1.0 else now + (1.0 - self._tokens) / limits.DIALS_PER_SECOND

    def wait(self, group: bytes, now: float) -> float:
        """How long nothing of ``group`` may be dialled."""
        tokens, at = self._groups.get(group, (limits.GROUP_DIALS_PER_MINUTE, now))
        tokens += (now - at) * limits.GROUP_DIALS_PER_MINUTE / 60
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) * 60 / limits.GROUP_DIALS_PER_MINUTE

    def take(self, group: bytes, now: float) -> None:
        """Something of ``group`` is dialled."""
        self._fill(now)
        self._tokens -= 1.0
        most = limits.GROUP_DIALS_PER_MINUTE
        tokens, at = self._groups.get(group, (most, now))
        self._groups[group] = min(most, tokens + (now - at) * most / 60) - 1.0, now
        if len(self._groups) > limits.MAX_BOOK:
            self._groups = {key: each for key, each in self._groups.items() if now - each[1] < 60.0}

    def refill(self, now: float) -> None:
        """All may be dialled again: the network is another one."""
        self._tokens, self._at = _BURST, now
        self._groups.clear()

    def _fill(self, now: float) -> None:
        self._tokens = min(_BURST, self._tokens + max(0.0, now - self._at) * limits.DIALS_PER_SECOND)
        self._at = now
