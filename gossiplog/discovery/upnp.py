"""UPnP: asking a router to pass connections on, over the network.

Responsible for: finding a router and asking it.
Must not know: which ports are wanted, and for how long.
Invariant: nobody but a neighbour with a private address is asked; what comes is at most ``MAX_ROUTER_BYTES``; there is
a socket only while an answer is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from gossiplog import limits
from gossiplog.addresses import in_subnets, is_private, parse_ip
from gossiplog.discovery import upnp_texts as texts
from gossiplog.discovery.upnp_texts import RouterError, Service, Url
from gossiplog.errors import EndpointError, InvalidValueError

_AGAIN_SECONDS: Final = (0.0, 0.5, 1.0)
_SEARCH_SECONDS: Final = 2.5
_PORTS_TRIED: Final = 4
_FREE_PORTS: Final = (49152, 65535)


class Upnp:
    """I ask a router of the network that ``source`` is in."""

    name = "UPnP"

    def __init__(self, reactor: Any, source: str, subnets: Sequence[str]) -> None:
        self._reactor = reactor
        self._source = source
        self._subnets = subnets
        self._random = Random()
        self._service: Service | None = None
        self._granted: dict[int, int] = {}

    async def external(self) -> str:
        """The address of the router on its other side."""
        return texts.external(await self._call("GetExternalIPAddress"))

    async def map(self, port: int, seconds: int) -> int:
        """Have TCP connections passed on to ``port`` here; returns the port on the other side."""
        external = self._granted.get(port, port)
        for _ in range(_PORTS_TRIED):
            try:
                await self._add(port, external, seconds)
            except RouterError as error:
                if error.code == texts.CONFLICT:
                    external = self._random.randint(*_FREE_PORTS)
                elif error.code == texts.ONLY_PERMANENT and seconds:
                    seconds = 0
                else:
                    raise
            else:
                self._granted[port] = external
                return external
        raise EndpointError("others have every port that was tried")

    async def unmap(self, port: int, external: int) -> None:
        """No longer."""
        await self._call("DeletePortMapping", NewRemoteHost="", NewExternalPort=external, NewProtocol="TCP")

    async def _add(self, port: int, external: int, seconds: int) -> None:
        await self._call(
            "AddPortMapping",
            NewRemoteHost="",
            NewExternalPort=external,
            NewProtocol="TCP",
            NewInternalPort=port,
            NewInternalClient=self._source,
            NewEnabled=1,
            NewPortMappingDescription="gossiplog",
            NewLeaseDuration=seconds,
        )

    async def _call(self, action: str, **arguments: object) -> bytes:
        if self._service is None:
            self._service = await self._find()
        return texts.body(await self._ask(self._service.url, texts.call(self._service, action, **arguments)))

    async def _find(self) -> Service:
        search = _Search(self._reactor, self._source, self._subnets)
        try:
            port = self._reactor.listenMulticast(0, search, interface=self._source)
        except CannotListenError as error:
            raise EndpointError(str(error)) from error
        why = EndpointError("no answer to UPnP")
        try:
            for _ in range(limits.MAX_ROUTERS):
                url = await search.next()
                if url is None:
                    break
                try:
                    return texts.service(texts.body(await self._ask(url, texts.get(url))), url)
                except (EndpointError, InvalidValueError) as error:
                    why = EndpointError(str(error))
        finally:
            search.stop()
            port.stopListening()
        raise why

    async def _ask(self, url: Url, request: bytes) -> bytes:
        endpoint = TCP4ClientEndpoint(
            self._reactor, url.host, url.port, timeout=limits.MAPPING_SECONDS, bindAddress=(self._source, 0)
        )
        answer = _Answer(request)
        try:
            await endpoint.connect(Factory.forProtocol(lambda: answer))
        except Exception as error:
            raise EndpointError(f"no connection to the router at {url.host}:{url.port}: {error}") from error
        late = self._reactor.callLater(limits.MAPPING_SECONDS, answer.abort)
        try:
            return await answer.whole
        finally:
            answer.abort()
            if late.active():
                late.cancel()


class _Search(DatagramProtocol):
    """I look for routers; each place where one describes itself is given once."""

    noisy = False
    transport: Any

    def __init__(self, reactor: Any, source: str, subnets: Sequence[str]) -> None:
        self._reactor = reactor
        self._source = source
        self._subnets = subnets
        self._found: list[Url] = []
        self._seen: set[str] = set()
        self._waiting: Deferred[None] | None = None
        self._is_over = False
        self._calls: list[Any] = []

    def startProtocol(self) -> None:
        """Ask everybody near by."""
        self.transport.setOutgoingInterface(self._source)
        self._calls = [self._reactor.callLater(wait, self._send) for wait in _AGAIN_SECONDS]
        self._calls.append(self._reactor.callLater(_SEARCH_SECONDS, self.stop))

    async def next(self) -> Url | None:
        """One more router, None when there is none."""
        if not (self._found or self._is_over):
            self._waiting = Deferred(lambda _: None)
            await self._waiting
        return self._found.pop(0) if self._found else None

    def stop(self) -> None:
        """Look no more."""
        self._is_over = True
        for call in self._calls:
            if call.active():
                call.cancel()
        self._wake()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Somebody says that he is a router: one of this network is believed, once."""
        host = addr[0]
        ip = parse_ip(host)
        if ip is None or not is_private(ip) or not in_subnets(ip, self._subnets):
            return
        if host in self._seen or len(self._seen) >= limits.MAX_ROUTERS:
            return
        try:
            url = texts.location(datagram, host)
        except (EndpointError, InvalidValueError):
            return
        self._seen.add(host)
        self._found.append(url)
        self._wake()

    def _send(self) -> None:
        for kind in texts.KINDS:
            try:
                self.transport.write(texts.search(kind), texts.GROUP)
            except OSError:
                return  # no multicast here; nobody answers

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


class _Answer(Protocol):
    """I say one thing to a router, and read what it answers until it hangs up."""

    transport: Any

    def __init__(self, request: bytes) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: None)
        self._request = request
        self._content = b""

    def connectionMade(self) -> None:
        """Ask."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """More."""
        self._content += data
        if len(self._content) > limits.MAX_ROUTER_BYTES:
            self.abort()
        elif texts.is_whole(self._content):
            self.connectionLost()

    def connectionLost(self, reason: Any = None) -> None:
        """That was all."""
        if not self.whole.called:
            self.whole.callback(self._content)

    def abort(self) -> None:
        """It is too much, or takes too long, or nobody waits for it."""
        if not self.whole.called:
            self.whole.errback(EndpointError("the router says too much, or does not come to an end"))
        self.transport.abortConnection()
