"""A connection between two members, through the room or past it.

Responsible for: the ticket, waiting for the other side, handing over to a link.
Must not know: which member the other is, what a link says.
Invariant: not a byte of a link is written before the connection is one to the other member, as far as the room says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from gossiplog.discovery.room.pairs import GO
from gossiplog.discovery.room.visitor import TICKET_MARK
from gossiplog.errors import HandshakeError


class Passage(Protocol):
    """I am the connection: with a ``ticket`` through a room, without one straight to the other member."""

    def __init__(self, ticket: bytes = b"") -> None:
        self._ticket = ticket
        self._link: Any = None
        self.ready: Deferred[Passage] = Deferred()
        self.ended: Callable[[], None] = lambda: None
        """Called once the connection is gone that was handed over."""

    @property
    def is_direct(self) -> bool:
        """Whether no room is between us."""
        return not self._ticket

    @property
    def is_handed_over(self) -> bool:
        """Whether it is the connection of a link."""
        return self._link is not None

    def connectionMade(self) -> None:
        """Show the ticket."""
        if self._ticket:
            transport: Any = self.transport
            transport.write(TICKET_MARK + self._ticket)
        else:
            self._is_ready()

    def dataReceived(self, data: bytes) -> None:
        """The room says that the other is there; then the other is heard."""
        if self._link is not None:
            self._link.dataReceived(data)
        elif self.ready.called or not data.startswith(GO):
            self.abort()
        else:
            self._is_ready()
            if self._link is not None and len(data) > len(GO):
                self._link.dataReceived(data[len(GO) :])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        if self._link is not None:
            self._link.connectionLost(reason)
            self.ended()
        elif not self.ready.called:
            self.ready.errback(HandshakeError("the other member did not come"))

    def hand_over(self, link: IProtocol) -> None:
        """From now on it is the connection of ``link``."""
        self._link = link
        transport: Any = self.transport
        link.makeConnection(transport)

    def abort(self) -> None:
        """End it at once."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def _is_ready(self) -> None:
        if not self.ready.called:
            self.ready.callback(self)


class Passages(Factory):
    """I make one passage."""

    noisy = False

    def __init__(self, ticket: bytes = b"") -> None:
        self.passage = Passage(ticket)

    def buildProtocol(self, addr: Any) -> Passage:
        """The one."""
        return self.passage
