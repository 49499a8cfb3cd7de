"""How long work, in steps that each take little, gets at a store.

Responsible for: doing a step and waiting for it, on logs that nobody else uses.
Must not know: what the steps are; threads (``beside``).
Invariant: between two steps nothing is held, so whoever else uses the store may have its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

from gossiplog.log.disk_cost import Totals, TotalView, Weights
from gossiplog.log.segment import Head
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Reply, Request

T = TypeVar("T")


class Hands(Protocol):
    """Who does the steps of work on a store."""

    def head(self, author: bytes) -> Head | None:
        """The durable head of an author, None if nothing is held."""

    @property
    def forks(self) -> AbstractSet[bytes]:
        """Whose logs are known as forked."""

    def weights(self) -> TotalView:
        """What each author takes on disk, or all together, a live view."""

    def read(self, work: Callable[[Logs], T]) -> T:
        """Do ``work`` that writes nothing."""

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        """Do what is asked for; durable on return."""


def node_of(hands: Hands) -> bool:
    """Tell whether the logs are those that a node in another process shows: what takes long it does itself."""
    return hands.read(lambda logs: getattr(logs, "is_of_node", False))


class OwnHands:
    """I use logs that nobody else does."""

    def __init__(self, logs: Logs) -> None:
        self.forks: AbstractSet[bytes] = logs.forks
        self._logs = logs
        self._weights: Weights | Totals | None = None

    def head(self, author: bytes) -> Head | None:
        """The durable head of an author."""
        return self._logs.clock.head(author)

    def weights(self) -> TotalView:
        """What each author takes on disk, or all together."""
        if self._weights is None:
            found = self._logs.weighing.begin()
            self._weights = Totals(self._logs.clock, found) if isinstance(found, int) else found
        return self._weights

    def read(self, work: Callable[[Logs], T]) -> T:
        """Do ``work``."""
        return work(self._logs)

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        """Do what is asked for."""
        report = self._logs.process(requests)
        if self._weights is not None:
            self._weights.change(*report.weighed)
        return report.results
