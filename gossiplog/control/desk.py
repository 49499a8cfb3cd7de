"""Who asks over a control socket, and what is asked about.

Responsible for: their types.
Must not know: sockets; requests.
Invariant: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from gossiplog.control.messages import Asked
from gossiplog.errors import NodeStoppedError
from gossiplog.gossip.quotas import Quotas
from gossiplog.log.network import Network
from gossiplog.net.catching_up import Meeting
from gossiplog.status import Status


class Asker(Protocol):
    """Who asks: one connection."""

    def progress(self, done: int, total: int) -> None:
        """So much of what was asked is done."""

    @property
    def is_gone(self) -> bool:
        """Whether it does not ask any more."""

    def watch(self) -> None:
        """Tell it what is new from now on."""


class Served(Meeting, Protocol):
    """A node, as far as others ask it something."""

    id: bytes
    network: Network

    @property
    def quotas(self) -> Quotas:
        """What bounds what is taken."""

    def status(self, *, authors: bool) -> Status:
        """How it is."""

    def disconnect(self, peer: bytes) -> bool:
        """End it."""

    def ban(self, peer: bytes, *, seconds: float, reason: str) -> None:
        """Keep a node out."""

    def unban(self, peer: bytes) -> bool:
        """Let it in."""


class Desk:
    """I am the store that is asked about, and the node on it."""

    def __init__(self, node: Served) -> None:
        self.store = node.store
        self.node = node
        self.core = node.store._core
        self._long: dict[Deferred[Any], None] = {}

    def begin(self, work: Deferred[Any]) -> Deferred[Any]:
        """Something was begun that may take long; it ends when the node stops."""
        self._long[work] = None

        def over(value: Any) -> Any:
            del self._long[work]
            if isinstance(value, Failure) and value.check(CancelledError):
                raise NodeStoppedError(
                    "the node stops; what was done stays, and the same again goes on from there"
                )
            return value

        return work.addBoth(over)

    def stop(self) -> None:
        """End what takes long."""
        for work in tuple(self._long):
            work.cancel()


Answer: TypeAlias = Callable[[Desk, Asked, Asker], Any]
"""Returns what is answered, as JSON, or a Deferred of it; raises what is told instead."""
