"""A reactor whose TCP is memory, on a machine of a simulated network.

Responsible for: what Twisted's ``tcp:`` endpoints ask of a reactor, and the time on it.
Must not know: how a connection carries bytes (``sockets``), stores.
Invariant: nothing happens but while the world's time passes; once the machine crashed, nothing at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, NoReturn

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    AlreadyCalled,
    AlreadyCancelled,
    CannotListenError,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog.live.machine import Machine
from gossiplog.testing.network.sockets import Cable, Side
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import LocalCall, LocalClock, LocalTimers, World

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
        return IPv4Address("TCP", self.reactor.address, self.number)


@implementer(IConnector)
class Connector:
    """I am one attempt to connect."""

    def __init__(self, reactor: VirtualReactor, host: str, port: int, factory: Any, timeout: float) -> None:
        self.reactor = reactor
        self.host = host
        self.port = port
        self.factory = factory
        self.timeout = timeout
        self._call: Any = None

    def connect(self) -> None:
        """Try."""
        self.factory.doStart()
        self.factory.startedConnecting(self)
        reactor, net = self.reactor, self.reactor.net
        there = reactor.find(self.host)
        if there is None or self.port in reactor.unreachable or not net.reachable(reactor, there):
            self._call = reactor.callLater(self.timeout, self._fail, TimeoutError())
        else:
            self._call = reactor.callLater(net.quality(reactor, there).draw(net.random), self._answered)

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
        return IPv4Address("TCP", self.host, self.port)

    def _answered(self) -> None:
        there = self.reactor.find(self.host)
        if there is not None and not self.reactor.net.reachable(self.reactor, there):  # since a moment ago
            self._call = self.reactor.callLater(self.timeout, self._fail, TimeoutError())
            return
        port = None if there is None else there.ports.get(self.port)
        if port is None:
            self._fail(ConnectionRefusedError())
            return
        self._call = None
        self.reactor.join(self.factory, port)

    def _fail(self, reason: Exception) -> None:
        self._call = None
        self.factory.clientConnectionFailed(self, Failure(reason))
        self.factory.doStop()


@implementer(IDelayedCall)
class DelayedCall(LocalCall):
    """I am a call as Twisted's own: what was made or cancelled cannot be changed."""

    def __init__(self, reactor: VirtualReactor, delay: float, call: Callable[[], None]) -> None:
        self._reactor = reactor
        self._cancelled = False
        super().__init__(reactor.world, delay, call)

    def getTime(self) -> float:
        """When it is made."""
        return self._timer.when

    def delay(self, seconds: float) -> None:
        """Call so much later than was said."""
        self.reset(self.getTime() + seconds - self._reactor.seconds())

    def reset(self, delay: float) -> None:
        """Call so much later than now instead."""
        self._require_active()
        super().reset(delay)

    def cancel(self) -> None:
        """Do not."""
        self._require_active()
        self._cancelled = True
        self._reactor.forget(self)
        super().cancel()

    def _require_active(self) -> None:
        if not self.active():
            raise AlreadyCancelled if self._cancelled else AlreadyCalled


@implementer(IHostResolution)
class LookUp:
    """I am a name that was looked up."""

    problem = "there is no such machine"

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It is done already."""


@implementer(IReactorTCP, IReactorTime, IReactorFromThreads, IReactorPluggableNameResolver, IHostnameResolver)
class VirtualReactor(LocalTimers):
    """I am a reactor in whose world TCP is memory: the machine ``name`` at ``address`` of a ``net``.

    ``machine`` is what stores and nodes on me have of it.  Without a net I am alone in a world with ``latency`` on
    every line.  ``cut(size)`` says how many of ``size`` bytes are read at once.
    """

    def __init__(
        self,
        latency: float = 0.0,
        cut: Callable[[int], int] = lambda size: size,
        *,
        net: Net | None = None,
        name: str = "localhost",
        address: str = HOST,
        machines: Mapping[str, VirtualReactor] = MappingProxyType({}),
        machine: Machine | None = None,
    ) -> None:
        self.net = Net(World(0)) if net is None else net
        if net is None:
            self.net.default = Quality(latency, 0.0, inf)
        self.world = self.net.world
        super().__init__(self.world, LocalClock(self.world))
        self.name = name
        self.address = address
        self.cut = cut
        self.ports: dict[int, Port] = {}
        self.sides: set[Side] = set()
        self.unreachable: set[int] = set()
        self.crashed = ""
        self.thread = threading.get_ident()
        if machine is not None:
            self.machine = machine
        self._machines = machines
        self._calls: dict[DelayedCall, None] = {}
        self._last_port = 40_000

    # -- what Twisted asks of a reactor

    def callLater(self, delay: float, callable: Callable[..., Any], *about: Any, **named: Any) -> DelayedCall:
        """Call later."""
        later: DelayedCall

        def make() -> None:
            self.forget(later)
            if not self.crashed:
                callable(*about, **named)

        later = DelayedCall(self, delay, make)
        self._calls[later] = None
        return later

    def getDelayedCalls(self) -> list[DelayedCall]:
        """What is going to be called."""
        return list(self._calls)

    def forget(self, call: DelayedCall) -> None:
        """It is made, or cancelled."""
        self._calls.pop(call, None)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """Listen; port 0 takes a free one."""
        listening = Port(self, port or self._free_port(), factory)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Connector:
        """Connect to whoever listens on ``port`` of ``host``, which is ourselves if no other machine is called so."""
        connector = Connector(self, host, port, factory, timeout)
        connector.connect()
        return connector

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call soon; there is only this thread."""
        self.callLater(0, callable, *args, **kwargs)

    # -- what Twisted asks of who looks names up

    @property
    def nameResolver(self) -> VirtualReactor:
        """Who knows the machines by name."""
        return self

    def installNameResolver(self, resolver: Any) -> NoReturn:
        """Refuse: names are those of machines."""
        raise NotImplementedError("names are those of the machines")

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> LookUp:
        """Tell the address of a machine."""
        found = self.find(hostName)
        resolution = LookUp(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if found is not None:
            resolutionReceiver.addressResolved(IPv4Address("TCP", found.address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution

    # -- what a test asks

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now + seconds)

    def settle(self) -> None:
        """Do what is due now, until nothing is."""
        self.run(0.0)

    def crash(self, why: str, *, silent: bool = False) -> None:
        """Do nothing more, and say ``why`` to who still asks; ``silent``: the machine is gone, and nobody is told."""
        self.crashed = why
        for call in self.getDelayedCalls():
            call.cancel()
        self.ports.clear()
        for side in [end for line in self.net.links for end in line.ends if end in self.sides]:
            side.die(hears=False)
            ours, theirs = (end is not side and not silent for end in side.line.ends)
            side.line.cut(hears=(ours, theirs))

    # -- the machines

    def find(self, host: str) -> VirtualReactor | None:
        """The machine that is called so, or has this address; None if there is none."""
        if not self._machines or host in (self.name, self.address, HOST, "localhost"):
            return self
        return self._machines.get(host)

    def note(self, line: str) -> None:
        """Write a line of the trace."""
        self.world.note(f"{self.name} {line}")

    def join(self, dialler: Any, port: Port) -> tuple[Side, Side]:
        """Make a connection between protocols of two factories; returns the dialler's side first."""
        host, there = IPv4Address("TCP", self.address, self._free_port()), port.getHost()
        ours, theirs = Cable(self.net, (self, port.reactor), (host, there)).ends
        self.note(f"connects to {port.reactor.name}:{port.number}")
        protocols = port.factory.buildProtocol(host), dialler.buildProtocol(there)
        for side, protocol in zip((theirs, ours), protocols, strict=True):
            side.protocol = Protocol() if protocol is None else protocol
        for side in (theirs, ours):
            side.protocol.makeConnection(side)
        return ours, theirs

    def _free_port(self) -> int:
        self._last_port += 1
        return self._last_port
