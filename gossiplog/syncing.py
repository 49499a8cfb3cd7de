"""Catching up with one peer, once.

Responsible for: dialling, waiting until both sides hold the same, giving up on silence, counting what moved.
Must not know: the command line.
Invariant: it ends: in sync, or with an error once nothing moved for the time allowed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from gossiplog.errors import NodeError
from gossiplog.net.progress import in_words
from gossiplog.node import Node
from gossiplog.notices import DialFailed, NewEntries, Notice, PeerRejected, PeerUp
from gossiplog.printing import StatusLine

LOOK_SECONDS: Final = 0.2
"""How often silence is noticed and progress is shown."""


class Moved(NamedTuple):
    """What a sync did."""

    received: int
    sent: int
    seconds: float


class Sync:
    """I make a node and one peer hold the same."""

    def __init__(self, reactor: Any, node: Node, endpoint: str, patience: float, show: StatusLine) -> None:
        """``patience``: seconds in which something has to move; ``show``: where the progress is shown."""
        self._reactor = reactor
        self._node = node
        self._endpoint = endpoint
        self._patience = patience
        self._show = show
        self._received = 0
        self._sent = 0
        self._reason = ""
        self._refused: Exception | None = None
        self._up = False
        self._started_at = self._moved_at = reactor.seconds()
        self._task: Deferred[None] | None = None

    async def run(self) -> Moved:
        """Do it; raises NodeError when the peer does not answer, falls silent or goes away."""
        unsubscribe = self._node.subscribe(self._told)
        self._dialer = self._node.connect(self._endpoint)
        look = LoopingCall(self._look)
        look.clock = self._reactor
        self._task = Deferred.fromCoroutine(self._catch_up())
        look.start(LOOK_SECONDS, now=False)
        try:
            await self._task
        except CancelledError:
            if self._refused is not None:
                raise NodeError(f"{self._endpoint}: {self._refused}") from None
            if not self._silent():
                raise
            raise NodeError(self._complaint()) from None
        finally:
            look.stop()
            unsubscribe()
            self._show.clear()
        return self._moved()

    async def _catch_up(self) -> None:
        up = await self._node.when(PeerUp)
        assert isinstance(up, PeerUp)
        await self._node.when_in_sync(up.peer)
        self._count()

    def _told(self, notice: Notice) -> None:
        match notice:
            case NewEntries(_, first, last):
                self._received += last - first + 1
                self._moved_at = self._reactor.seconds()
            case PeerUp():
                self._up = True
                self._moved_at = self._reactor.seconds()
            case DialFailed(_, reason):
                self._reason = reason
            case PeerRejected(_, error):
                self._refused = error
                if self._task is not None:
                    self._task.cancel()

    def _count(self) -> None:
        link = self._dialer.link
        if link is not None and link.entries_out != self._sent:
            self._sent = link.entries_out
            self._moved_at = self._reactor.seconds()

    def _look(self) -> None:
        self._count()
        if self._show.visible:
            moved = self._moved()
            words = f"dialling {self._endpoint}"
            if self._up:
                words = f"received {moved.received:,}, sent {moved.sent:,}; {in_words(self._node.progress)}"
            self._show.show(f"{words}, {moved.seconds:.0f} s")
        if self._silent() and self._task is not None:
            self._task.cancel()

    def _silent(self) -> bool:
        return bool(self._reactor.seconds() - self._moved_at >= self._patience)

    def _complaint(self) -> str:
        if self._up:
            return f"{self._endpoint}: nothing moved for {self._patience:g} s, and it is not in sync"
        if name := self._dialer.looks_up:
            self._reason = f"{name} is still being looked up"
        because = f": {self._reason}" if self._reason else ""
        return f"no answer from {self._endpoint} within {self._patience:g} s{because}"

    def _moved(self) -> Moved:
        return Moved(self._received, self._sent, round(self._reactor.seconds() - self._started_at, 3))
