"""A web server beside a node.

Responsible for: bounds of its requests and connections, and where it listens.
Must not know: what it answers.
Invariant: a request is bounded before it is read, whoever sends it; where nobody says on which address, only this
machine reaches it.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from gossiplog import limits
from gossiplog.errors import EndpointError, GossiplogError
from gossiplog.net.endpoints import check_server, parts, server
from gossiplog.net.token_bucket import Bucket


class BoundedRequest(Request):
    """I am a request that takes no more than it may."""

    _taken = 0

    def gotLength(self, length: int | None) -> None:
        """So much is to come, or nobody says how much."""
        if length is not None and length > limits.WEB_REQUEST_BYTES:
            self._refuse()
        self.content = BytesIO()  # Twisted would make a file of one that is long

    def handleContentChunk(self, data: bytes) -> None:
        """More of it came."""
        self._taken += len(data)
        if self._taken > limits.WEB_REQUEST_BYTES:
            self._refuse()
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        """It is whole; another one needs another connection, so that none is held open by a request that never ends."""
        channel: Any = self.channel
        channel.persistent = False
        channel.site.came(channel.transport)
        self.setHeader("Connection", "close")  # type: ignore[no-untyped-call]
        super().process()  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        channel: Any = self.channel
        channel.transport.abortConnection()


class BoundedSite(Site):
    """I am a site of few connections, and log none of them."""

    requestFactory = BoundedRequest
    displayTracebacks = False

    def __init__(self, resource: Resource, reactor: Any) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource, timeout=limits.WEB_IDLE_SECONDS, reactor=reactor
        )
        self._rate = Bucket(limits.MAX_WEB_CONNECTIONS, limits.WEB_CONNECTION_RATE, reactor.seconds())
        self._open: dict[Any, Any] = {}  # with their transports
        self._late: dict[
            Any, Any
        ] = {}  # transports of those from which no request came, with when it is to be there

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """One more, or none."""
        now = self.reactor.seconds()
        if len(self._open) >= limits.MAX_WEB_CONNECTIONS or self._rate.wait(now) > 0:
            return None
        self._rate.take()
        made: Any = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        self._open[made] = None
        begin, lost = made.makeConnection, made.connectionLost

        def begun(transport: Any) -> None:
            self._open[made] = transport
            self._late[transport] = self.reactor.callLater(limits.WEB_IDLE_SECONDS, transport.abortConnection)
            begin(transport)

        def gone(reason: Failure) -> None:
            self.came(self._open.pop(made))
            lost(reason)

        made.makeConnection, made.connectionLost = begun, gone
        return made

    def came(self, transport: Any) -> None:
        """A request is there, or will not come."""
        call = self._late.pop(transport, None)
        if call is not None and call.active():
            call.cancel()

    async def close(self, port: Any) -> None:
        """Listen no more, and end what is open."""
        await maybeDeferred(port.stopListening)
        for transport in tuple(self._open.values()):
            if transport is not None:
                transport.abortConnection()

    def log(self, request: HTTPRequest) -> None:
        """Nobody reads that."""


def near(endpoint: str) -> str:
    """Return where to listen: on this machine alone, unless the endpoint says where; raises EndpointError."""
    check_server(endpoint)
    found = parts(endpoint)
    if found.kind not in ("tcp", "tcp6") or found.get("interface", 1) is not None:
        return endpoint
    return f"{endpoint}:interface={'127.0.0.1' if found.kind == 'tcp' else '[::1]'}"


async def listen(reactor: Any, endpoint: str, site: BoundedSite) -> Any:
    """Listen; return the port.  Raises EndpointError."""
    try:
        return await server(reactor, endpoint).listen(site)
    except GossiplogError:
        raise
    except Exception as error:
        raise EndpointError(f"cannot listen on {endpoint!r}: {error}") from None
