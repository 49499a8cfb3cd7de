"""A reactor whose TCP is memory.

Responsible for: what Twisted's ``tcp:`` endpoints ask of a reactor, and letting time pass.
Must not know: how a connection carries bytes (``sides``), stores.
Invariant: nothing happens but in :meth:`VirtualReactor.run` and :meth:`VirtualReactor.settle`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IReactorFromThreads,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog.testing.links.sides import Side

HOST = "127.0.0.1"


@implementer(IListeningPort)
class Port:
    """I listen."""

    def __init__(self, reactor: VirtualReactor, number: int, factory: Any) -> None:
        self.reactor = reactor
        self.number = number
        self.factory = factory

    def startListening(self) -> None:
        """Start; ``CannotListenError`` when somebody else has the port."""
        if self.number in self.reactor.ports:
            raise CannotListenError(HOST, self.number, OSError(98, "Address already in use"))
        self.reactor.ports[self.number] = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Stop."""
        if self.reactor.ports.get(self.number) is self:
            del self.reactor.ports[self.number]
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """The address that is bound."""
        return IPv4Address("TCP", HOST, self.number)


@implementer(IConnector)
class Connector:
    """I am one attempt to connect."""

    def __init__(self, reactor: VirtualReactor, port: int, factory: Any, timeout: float) -> None:
        self.reactor = reactor
        self.port = port
        self.factory = factory
        self.timeout = timeout
        self._call: Any = None

    def connect(self) -> None:
        """Try."""
        self.factory.doStart()
        self.factory.startedConnecting(self)
        if self.port in self.reactor.unreachable:
            self._call = self.reactor.callLater(self.timeout, self._fail, TimeoutError())
        else:
            self._call = self.reactor.callLater(self.reactor.latency, self._answered)

    def stopConnecting(self) -> None:
        """Try no more."""
        if self._call is not None:
            self._call.cancel()
            self._fail(UserError())

    def disconnect(self) -> None:
        """Try no more; a connection that is up is its transport's business."""
        self.stopConnecting()

    def getDestination(self) -> IPv4Address:
        """Where to."""
        return IPv4Address("TCP", HOST, self.port)

    def _answered(self) -> None:
        port = self.reactor.ports.get(self.port)
        if port is None:
            self._fail(ConnectionRefusedError())
            return
        self._call = None
        self.reactor.join(self.factory, port)

    def _fail(self, reason: Exception) -> None:
        self._call = None
        self.factory.clientConnectionFailed(self, Failure(reason))
        self.factory.doStop()


@implementer(IReactorTCP, IReactorTime, IReactorFromThreads)
class VirtualReactor(Clock):
    """I am a reactor in whose world TCP is memory.

    ``latency`` is added to everything that moves; ``cut(size)`` says how many of ``size`` bytes arrive at once.
    """

    def __init__(self, latency: float = 0.0, cut: Callable[[int], int] = lambda size: size) -> None:
        super().__init__()
        self.latency = latency
        self.cut = cut
        self.ports: dict[int, Port] = {}
        self.sides: set[Side] = set()
        self.unreachable: set[int] = set()
        self._last_port = 40_000

    # -- what Twisted asks of a reactor

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """Listen; port 0 takes a free one."""
        listening = Port(self, port or self._free_port(), factory)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Connector:
        """Connect to whoever listens on ``port``, whatever the host."""
        connector = Connector(self, port, factory, timeout)
        connector.connect()
        return connector

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call soon; there is only this thread."""
        self.callLater(0, callable, *args, **kwargs)

    # -- what a test asks

    def run(self, seconds: float) -> None:
        """Let time pass, stopping at everything that is due."""
        until = self.seconds() + seconds
        while self.calls and self.calls[0].getTime() <= until:
            self.advance(max(0.0, self.calls[0].getTime() - self.seconds()))
        self.advance(until - self.seconds())

    def settle(self) -> None:
        """Do what is due now, until nothing is."""
        self.advance(0.0)

    def join(self, dialler: Any, port: Port) -> tuple[Side, Side]:
        """Make a connection between protocols of two factories; returns the dialler's side first."""
        host = IPv4Address("TCP", HOST, self._free_port())
        there = port.getHost()
        ours, theirs = Side(self, host, there), Side(self, there, host)
        ours.other, theirs.other = theirs, ours
        protocols = port.factory.buildProtocol(host), dialler.buildProtocol(there)
        for side, protocol in zip((theirs, ours), protocols, strict=True):
            side.protocol = Protocol() if protocol is None else protocol
            self.sides.add(side)
        for side in (theirs, ours):
            side.protocol.makeConnection(side)
        return ours, theirs

    def _free_port(self) -> int:
        self._last_port += 1
        return self._last_port
