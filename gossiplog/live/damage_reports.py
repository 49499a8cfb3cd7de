"""Who is told that something of a store cannot be read.

Responsible for: passing on what was found when the store was opened, and what readers find.
Must not know: how it was found; what is done about it.
Invariant: nothing is lost for want of somebody who listens: then it is in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gossiplog.live.interrupts import call_each
from gossiplog.live.logger import NodeLog
from gossiplog.store.repair.verify import Damage, in_words

_log = NodeLog()

Listener = Callable[[Damage], object]


class DamageReports:
    """I pass on the damage of one store; ``known`` is what was found when it was opened."""

    def __init__(self, reactor: Any, path: str, known: Sequence[Damage]) -> None:
        self.known = known
        self._reactor = reactor
        self._path = path
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with what is known, soon, and then with what is found; returns how to stop that."""
        self._listeners.append(listener)
        if self.known:
            self._reactor.callLater(0, self._repeat, listener)
        return lambda: self._listeners.remove(listener)

    def found(self, damage: Damage) -> None:
        """Something cannot be read."""
        call_each(self._reactor, self._listeners, damage)
        if not self._listeners:
            _log.warn("{words}", words=in_words(damage, self._path), event="store_damaged")

    def _repeat(self, listener: Listener) -> None:
        if listener in self._listeners:
            for damage in self.known:
                call_each(self._reactor, [listener], damage)
