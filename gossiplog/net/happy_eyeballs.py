"""The reactor as endpoints see it: every address of a name is tried.

Responsible for: connections to names, over IPv4 and IPv6 alike (RFC 8305), for whichever kind of endpoint.
Must not know: what endpoints are for.
Invariant: nobody else's reactor is changed; a resolver that somebody installed on it is the one that is asked.

Twisted has no public way to ask whether somebody installed one: the class that its reactors begin with is private, and
is known here by its name.  Where that is another one day, it is asked as one that somebody installed, and
``test_net_names`` fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any
from weakref import WeakSet

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError, UserError
from twisted.internet.interfaces import IConnector, IReactorPluggableNameResolver, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from gossiplog import limits
from gossiplog.net.name_lookup import Address, Names, Near

_FIRST_RESOLVER = "GAIResolver"
"""The class that looks names up for a reactor of Twisted until somebody installs another."""


def reaching(reactor: Any) -> Any:
    """Return what to give to endpoints in the place of ``reactor``: itself, if it looks up no names."""
    return Reaching(reactor) if IReactorPluggableNameResolver.providedBy(reactor) else reactor


def ask_first(reaching: Any, near: Near | None) -> None:
    """Let ``near`` be asked first for names that end in ``.local``; None: the system alone, as before."""
    if isinstance(reaching, Reaching):
        reaching.names.near = near


class Reaching:
    """I am a reactor, but for how names are dialled."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.names = Names(reactor)
        self._under_way: WeakSet[Any] = WeakSet()
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def nameResolver(self) -> Any:
        """Who is asked for names: ours, in the place of the one that every reactor of Twisted begins with."""
        theirs = self._reactor.nameResolver
        return self.names if type(theirs).__name__ == _FIRST_RESOLVER else theirs

    @property
    def looking_up(self) -> Collection[str]:
        """The names of which the system did not say anything yet."""
        return self.names.under_way

    @property
    def sockets(self) -> Iterator[Any]:
        """Those that connections are made with, or were."""
        return (transport for one in tuple(self._under_way) if (transport := getattr(one, "transport", None)))

    def give_up(self) -> None:
        """In a child by fork: go on with nothing."""
        for one in tuple(self._under_way):
            if isinstance(one, Reach):
                one.give_up()

    def resolve(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        """The first IPv4 address of a name, for who wants no more."""
        first = FirstAddress(name)
        self.nameResolver.resolveHostName(first, name, 0, [IPv4Address])
        return first.found

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        """Connect to a name, or to an address as reactors do."""
        if isIPAddress(host) or isIPv6Address(host):
            connector = self._reactor.connectTCP(host, port, factory, timeout, bindAddress)
            self._under_way.add(connector)
            return connector
        reach = Reach(self, self.nameResolver, host, port, factory, timeout, bindAddress)
        self._under_way.add(reach)
        reach.connect()
        return reach

    def connectSSL(
        self,
        host: str,
        port: int,
        factory: Any,
        contextFactory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> Any:
        """The same with TLS."""
        from twisted.protocols.tls import TLSMemoryBIOFactory

        wrapped = TLSMemoryBIOFactory(contextFactory, True, factory)
        return self.connectTCP(host, port, wrapped, timeout, bindAddress)


@implementer(IResolutionReceiver)
class FirstAddress:
    """I take the first address of a name: ``found`` fires with it, or fails."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._look_up: Any = None
        self.found: Deferred[str] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """This is where it says what went wrong."""
        self._look_up = resolutionInProgress

    def addressResolved(self, address: Any) -> None:
        """One more."""
        if not self.found.called:
            self.found.callback(address.host)

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self.found.called:
            self.found.errback(_no_address(self._name, self._look_up))


@implementer(IConnector, IResolutionReceiver)
class Reach:
    """I dial the addresses of one name, one more every ``ATTEMPT_SECONDS`` and when one fails, until one answers."""

    def __init__(
        self, reactor: Any, resolver: Any, host: str, port: int, factory: Any, timeout: float, bind: Any
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._host = host
        self._port = port
        self._factory = factory
        self._timeout = timeout
        self._bind = bind
        self._look_up: Any = None
        self._addresses: list[Address] = []
        self._attempts: list[Any] = []
        self._link: Any = None
        self._next: Any = None
        self._over = False

    # -- the factory's endpoint calls

    def connect(self) -> None:
        """Begin."""
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._resolver.resolveHostName(self, self._host, self._port)

    def stopConnecting(self) -> None:
        """Dial no more."""
        self._end(Failure(UserError()))

    def disconnect(self) -> None:
        """Close the connection, or dial no more."""
        if self._link is not None:
            self._link.transport.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> HostnameAddress:
        """The name."""
        return HostnameAddress(self._host.encode("ascii", "backslashreplace"), self._port)

    # -- the resolver calls

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """This is how to stop it, and where it says what went wrong."""
        self._look_up = resolutionInProgress

    def addressResolved(self, address: Any) -> None:
        """One more."""
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        if self._over:
            return
        self._addresses = interleaved(self._addresses)[: limits.MAX_ADDRESSES]
        if self._addresses:
            self._dial()
        else:
            self._end(_no_address(self._host, self._look_up))

    # --

    def _dial(self) -> None:
        self._next = None
        address = self._addresses.pop(0)
        kind = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
        endpoint = kind(self._reactor, address.host, self._port, self._timeout, self._bind)
        attempt = endpoint.connect(self._factory)
        self._attempts.append(attempt)
        attempt.addCallbacks(self._connected, self._failed, errbackArgs=(attempt,))
        if self._addresses and self._next is None and not self._over:
            self._next = self._reactor.callLater(limits.ATTEMPT_SECONDS, self._dial)

    def _connected(self, link: Any) -> None:
        self._link = link
        self._stop()

    def _failed(self, failure: Failure, attempt: Any) -> None:
        if self._over:
            return
        self._attempts.remove(attempt)
        if self._addresses:
            self._cancel_next()
            self._dial()
        elif not self._attempts:
            self._end(failure)

    def _end(self, failure: Failure) -> None:
        if not self._over:
            self._stop()
            self._factory.clientConnectionFailed(self, failure)
            self._factory.doStop()

    def _stop(self) -> None:
        """Nothing more is dialled or waited for."""
        self._over = True
        self._cancel_next()
        attempts, self._attempts, self._addresses = self._attempts, [], []
        for attempt in attempts:
            attempt.cancel()

    def give_up(self) -> None:
        """In a child by fork: dial no more; what is under way is the parent's."""
        self._over = True
        self._cancel_next()

    def _cancel_next(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.cancel()


def _no_address(name: str, look_up: Any) -> Failure:
    problem = getattr(look_up, "problem", "") or "it has no address"
    return Failure(DNSLookupError(f"{name}: {problem}"))


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Let the two families take turns, the first one's first (RFC 8305, section 4): one of them may not get through."""
    once = dict.fromkeys(addresses)
    first = [address for address in once if type(address) is type(addresses[0])]
    others = [address for address in once if type(address) is not type(addresses[0])]
    return [address for address in chain(*zip_longest(first, others)) if address is not None]
