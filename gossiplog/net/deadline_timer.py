"""One timer for a deadline that moves all the time.

Responsible for: calling back at the deadline, or soon after one that was put off.
Must not know: what is due then.
Invariant: at most one delayed call is pending, and none after :meth:`DeadlineTimer.cancel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class DeadlineTimer:
    """I call ``ring`` when the deadline has come; too early once, where it was put off meanwhile."""

    def __init__(self, reactor: Any, ring: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ring = ring
        self._call: Any = None
        self._due = 0.0

    def set(self, deadline: float | None) -> None:
        """The deadline is this now, in ``reactor.seconds()``; None: there is none."""
        call = self._call
        if call is not None and call.active():
            if deadline is not None and deadline >= self._due:
                return  # who is called asks for the rest: setting it again for each event would cost more
            call.cancel()
        self._call = None
        if deadline is not None:
            self._due = deadline
            self._call = self._reactor.callLater(max(0.0, deadline - self._reactor.seconds()), self._ring)

    def cancel(self) -> None:
        """Nothing is due any more."""
        self.set(None)
