"""How far a view is.

Responsible for: counting what is in it, and how fast that grows; when people are told.
Must not know: who is told; what a view is.
Invariant: while a view catches up it is told at most every ``TELL_SECONDS``, and once when it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from gossiplog.log.clock_view import CountedView
from gossiplog.notices import ViewProgress

TELL_SECONDS: Final = 0.5

_LOOKS: Final = 10
"""Over so many of these a rate is found."""


class ViewMeter:
    """I count the entries of one view; ``complete``: it had all that there was, once."""

    def __init__(self, name: str, clock: CountedView, reactor: Any) -> None:
        self.applied = 0
        self.complete = False
        self._name = name
        self._clock = clock
        self._reactor = reactor
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)
        self._is_told = True

    def begin(self, applied: int, complete: bool) -> None:
        """So much was in it when it was opened."""
        self.applied = applied
        self.complete = complete
        self._looks.clear()
        self._look()
        self._is_told = False

    def begin_anew(self) -> None:
        """Nothing is in it any more."""
        self.begin(0, False)

    def read(self) -> ViewProgress:
        """Return how far it is now."""
        known = self._clock.total()
        since, before = self._looks[0] if self._looks else (0.0, 0)
        seconds = self._reactor.seconds() - since
        rate = max(0, self.applied - before) / seconds if seconds > 0 else 0.0
        left = max(0, known - self.applied)
        return ViewProgress(
            self._name,
            min(self.applied, known),
            known,
            rate,
            left / rate if rate else None if left else 0.0,
            self.complete,
        )

    def told(self, tell: Callable[[ViewProgress], None], is_done: bool) -> None:
        """Tell how far it is, if it is time; ``is_done``: it has caught up."""
        if is_done:
            if not self._is_told:
                self._is_told = True
                tell(self.read())
            return
        if not self._looks or self._reactor.seconds() - self._looks[-1][0] >= TELL_SECONDS:
            known = self._clock.total()
            self._look()
            if self.applied < known:
                self._is_told = False
                tell(self.read())

    def _look(self) -> None:
        self._looks.append((self._reactor.seconds(), self.applied))
