"""What is told of strangers.

Responsible for: a notice for the first few connections that were turned away, and one for all others of that minute.
Must not know: who is a stranger, and why.
Invariant: at most ``TOLD_ONE_BY_ONE`` notices and one more in ``TOLD_SECONDS``, however many come, from wherever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from gossiplog import limits
from gossiplog.errors import PeerError
from gossiplog.net.places import place
from gossiplog.notices import Notice, PeerRejected, StrangersTurnedAway

TOLD_SECONDS = 60.0
TOLD_ONE_BY_ONE = 4
"""One stranger or two are told as they come: who sets a node up wants to know why it is turned away.  Of thousands a
second a count for each minute is enough: with it a log grows by less than 2 MB a day."""


class Refusals:
    """I count who was turned away."""

    def __init__(self, reactor: Any, tell: Callable[[Notice], None]) -> None:
        self._reactor = reactor
        self._tell = tell
        self._told = 0
        self._places: Counter[str] = Counter()
        self._others = 0
        self._reason = ""
        self._timer: Any = None

    def add(self, address: str, host: str, error: PeerError) -> None:
        """One more: ``address`` for people, ``host`` for where it is."""
        if self._timer is None:
            self._timer = self._reactor.callLater(TOLD_SECONDS, self._over)
        if self._told < TOLD_ONE_BY_ONE:
            self._told += 1
            self._tell(PeerRejected(address, error))
            return
        self._reason = str(error)
        where = place(host)
        if where in self._places or len(self._places) < limits.MAX_PLACES:
            self._places[where] += 1
        else:
            self._others += 1

    def stop(self) -> None:
        """Tell no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _over(self) -> None:
        self._timer = None
        places, self._places = self._places, Counter()
        others, self._others = self._others, 0
        self._told = 0
        if places:
            [(where, most)] = places.most_common(1)
            count = places.total() + others
            self._tell(StrangersTurnedAway(count, len(places) + others, where, most, self._reason))
