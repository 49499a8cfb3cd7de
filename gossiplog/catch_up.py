"""Catching up with one peer, once.

Responsible for: dialling, waiting until both sides hold the same, giving up on silence, counting what moved.
Must not know: the command line, or what shows the progress.
Invariant: it ends: in sync, or with an error once nothing moved for the time allowed.  What stops replication on our
side is what the error says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred

from gossiplog.arguments import check_seconds
from gossiplog.errors import GossiplogError, NodeError, NodeStoppedError, StoreCopiedError, StoreDamagedError
from gossiplog.log.keys import short_key
from gossiplog.net.progress import in_words
from gossiplog.node import Node
from gossiplog.notices import (
    DialFailed,
    NewEntries,
    Notice,
    Peer,
    PeerRejected,
    PeerUp,
    StoreDamaged,
    StoreFailing,
)

LOOK_SECONDS: Final = 0.2
"""How often silence is noticed and progress is shown."""

FAILED_SECONDS: Final = 1.0
"""A store that writes nothing any more may still send what it has; once nothing moved for so long, that is over."""


class Moved(NamedTuple):
    """What a sync did."""

    received: int
    sent: int
    seconds: float


class CatchUp:
    """I make a node and one ``peer`` hold the same, or, where entries may go one way only, see that all have gone."""

    def __init__(
        self, node: Node, endpoint: str, patience: float, show: Callable[[str], None] | None = None
    ) -> None:
        """``patience``: seconds in which something has to move; ``show`` is told how it goes."""
        check_seconds("timeout", patience)
        self._reactor = reactor = node.reactor
        self._node = node
        self._endpoint = endpoint
        self._patience = patience
        self._show = show
        self._received = 0
        self._sent = 0
        self._reason = ""
        self._refused: GossiplogError | None = None
        self._hindrance: GossiplogError | None = None
        self._up = False
        self._started_at = self._moved_at = reactor.seconds()
        self._task: Deferred[None] | None = None
        self.peer: Peer | None = None
        self._met: Deferred[Peer] = Deferred()
        self._dialer: Any = None

    async def run(self) -> Moved:
        """Do it; raises NodeError when the peer does not answer, falls silent or goes away.

        Raises StoreError when our own store is why nothing goes on.
        """
        unsubscribe = self._node.subscribe(self._told)
        self._dialer = self._node.connect(self._endpoint)
        self._task = Deferred.fromCoroutine(self._catch_up())
        self._next_look = self._reactor.callLater(LOOK_SECONDS, self._look)
        try:
            await self._task
        except CancelledError:
            if self._refused is not None:
                raise self._refused from None
            if not self._silent():
                raise
            raise self._complaint() from None
        except NodeStoppedError:
            if self._hindrance is not None:
                raise self._hindrance from None
            raise
        finally:
            self._next_look.cancel()
            unsubscribe()
        return self._moved()

    def require_shown(self) -> None:
        """Raise :class:`StoreCopiedError` if the peer, now in sync, shows nothing of a log that is written here."""
        if self.peer is not None:
            self._node._require_shown(self.peer)

    async def _catch_up(self) -> None:
        peer = await self._met
        await self._node.when_in_sync(peer)
        self._count()

    def _told(self, notice: Notice) -> None:
        match notice:
            case NewEntries(_, first, last):
                self._received += last - first + 1
                self._moved_at = self._reactor.seconds()
                if not isinstance(self._hindrance, StoreDamagedError):
                    self._hindrance = None  # there is room again
            case PeerUp():
                self._see()
            case DialFailed(_, reason):
                self._reason = reason
            case StoreFailing(error, final):
                self._hindrance = error
                if final:
                    self._patience = min(self._patience, FAILED_SECONDS)
            case StoreDamaged(author, error):
                what = "the store" if author is None else f"the log of {short_key(author)}"
                self._hindrance = StoreDamagedError(
                    f"{what} is damaged, and the peer lacks it: {error}; see gossiplog verify --repair"
                )
            case PeerRejected(_, error):
                self._refuse(NodeError(f"{self._endpoint}: {error}"))

    def _see(self) -> None:
        """It may be there: who answers at the endpoint, and nobody else that a way of finding peers brings."""
        if self.peer is None and self._dialer is not None:
            self.peer = next((peer for peer in self._node.peers if peer.id == self._dialer.peer), None)
            if self.peer is not None:
                self._up = True
                self._moved_at = self._reactor.seconds()
                self._met.callback(self.peer)

    def _refuse(self, error: GossiplogError) -> None:
        """There is no point in going on."""
        self._refused = error
        if self._task is not None:
            self._task.cancel()

    def _check_nothing_lost(self) -> None:
        if self.peer is not None:
            self._node._check_nothing_lost(self.peer)

    def _count(self) -> None:
        link = self._dialer.link
        if link is not None and link.entries_out != self._sent:
            self._sent = link.entries_out
            self._moved_at = self._reactor.seconds()

    def _look(self) -> None:
        self._next_look = self._reactor.callLater(LOOK_SECONDS, self._look)
        self._see()
        self._count()
        if self._show is not None:
            moved = self._moved()
            words = f"dialling {self._endpoint}"
            if self._up:
                words = f"received {moved.received:,}, sent {moved.sent:,}; {in_words(self._node.progress)}"
            self._show(f"{words}, {moved.seconds:.0f} s")
        try:
            self._check_nothing_lost()
        except StoreCopiedError as error:
            self._refuse(error)
        if self._silent() and self._task is not None:
            self._task.cancel()

    def _silent(self) -> bool:
        return bool(self._reactor.seconds() - self._moved_at >= self._patience)

    def _complaint(self) -> GossiplogError:
        if self._hindrance is not None:
            return self._hindrance
        if self._up:
            return NodeError(
                f"{self._endpoint}: nothing moved for {self._patience:g} s, and it is not in sync"
            )
        if name := self._dialer.looks_up:
            self._reason = f"{name} is still being looked up"
        because = f": {self._reason}" if self._reason else ""
        return NodeError(f"no answer from {self._endpoint} within {self._patience:g} s{because}")

    def _moved(self) -> Moved:
        return Moved(self._received, self._sent, round(self._reactor.seconds() - self._started_at, 3))
