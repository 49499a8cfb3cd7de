"""A TCP connection between two who are both behind routers.

Responsible for: connecting from the port that a room sees us at, at the same moment as the other side does (RFC 9293,
section 3.5; RFC 5382, section 4.3).
Must not know: who the other is, who said where it is.
Invariant: after ``ROOM_PUNCH_SECONDS`` there is a connection, or no attempt is left.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.discovery.room.passage import Passage
from gossiplog.errors import EndpointError

AGAIN_SECONDS = 0.05
"""A router that refuses what it does not know yet does so at once: the other side needs a moment."""


def share_port(transport: Any) -> tuple[str, int] | None:
    """Let others connect from the port of ``transport`` too; returns it, None where that is not possible."""
    sock = getattr(transport, "socket", None)
    if not (isinstance(sock, socket.socket) and hasattr(socket, "SO_REUSEPORT")):
        return None
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    _share(sock)
    host, port = sock.getsockname()[:2]
    return host, port


def _share(sock: socket.socket) -> None:
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        sock.setsockopt(socket.SOL_SOCKET, option, 1)


class _Client(tcp.Client):
    """I connect from a port that is taken."""

    def createInternetSocket(self) -> socket.socket:
        """A socket that shares its port."""
        sock: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        _share(sock)
        return sock


class _Connector(tcp.Connector):
    """I make such connections."""

    def _makeTransport(self) -> _Client:
        return _Client(  # type: ignore[no-untyped-call]
            self.host, self.port, self.bindAddress, self, self.reactor
        )


class Punch(ClientFactory):
    """I try again and again to connect to ``address`` from the port ``local``; ``done`` fires, or fails."""

    noisy = False

    def __init__(self, reactor: Any, local: tuple[str, int], address: Address) -> None:
        self.passage = Passage()
        self.passage.ready.addCallback(self._up)
        self.done: Deferred[Passage] = Deferred()
        self._reactor = reactor
        self._local = local
        self._address = address
        self._connector: Any = None
        self._again: Any = None
        self._late = reactor.callLater(limits.ROOM_PUNCH_SECONDS, self._too_late)
        self._try()

    def cancel(self) -> None:
        """Try no more."""
        self._too_late()

    # -- Twisted calls

    def buildProtocol(self, addr: Any) -> Passage:
        """It is coming up."""
        return self.passage

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Not now."""
        if not self.done.called and self._late.active():
            self._again = self._reactor.callLater(AGAIN_SECONDS, self._try)

    # --

    def _up(self, passage: Passage) -> None:
        if self._late.active():
            self._late.cancel()
            self.done.callback(passage)
        else:
            passage.abort()

    def _try(self) -> None:
        self._again = None
        connector = _Connector(
            self._address.host,
            self._address.port,
            self,
            limits.ROOM_PUNCH_SECONDS,
            self._local,
            self._reactor,
        )
        self._connector = connector
        connector.connect()

    def _too_late(self) -> None:
        if self.done.called:
            return
        for call in (self._late, self._again):
            if call is not None and call.active():
                call.cancel()
        connector, self._connector = self._connector, None
        self.done.errback(EndpointError("no direct way"))
        if connector is not None and connector.state == "connecting":
            connector.stopConnecting()
