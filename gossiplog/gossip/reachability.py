"""Whether others can dial us.

Responsible for: what follows from who came and who did not.
Must not know: connections, how anybody learned of us.
Invariant: it says yes only because somebody from elsewhere came, and no only because peers in two places were told
where to come and none did; until then, and after a move, it says nothing.

A peer that we dialled, and told where we listen, dials that once before it passes it on (specification, "Finding
peers").  So whoever nobody comes to is behind a router or a firewall.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.addresses import is_public


class Reachability:
    """I am asked with the time: :meth:`at`."""

    def __init__(self) -> None:
        self._came = False
        self._told: dict[bytes, float] = {}

    def told(self, ip: bytes, group: bytes, now: float) -> None:
        """A peer that we dialled at ``ip`` was told where we listen."""
        if is_public(ip) and len(self._told) < limits.REACHABLE_PLACES:
            self._told.setdefault(group, now)

    def came(self, ip: bytes) -> None:
        """Somebody of the network dialled us from ``ip``."""
        self._came = self._came or is_public(ip)

    def moved(self) -> None:
        """This machine is somewhere else: nothing is known of that."""
        self._came = False
        self._told.clear()

    def at(self, now: float) -> bool | None:
        """Whether somebody from elsewhere can dial us; None while that is not known."""
        if self._came:
            return True
        due = self.due
        return False if due is not None and due <= now else None

    @property
    def due(self) -> float | None:
        """When silence means no, if nobody comes before; None while too few were told, or somebody came."""
        if self._came or len(self._told) < limits.REACHABLE_PLACES:
            return None
        return max(self._told.values()) + limits.REACHABLE_SECONDS
