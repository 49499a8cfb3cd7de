"""The ports of one node: where it is dialled.

Responsible for: binding server endpoints, and letting go of them, also of those that are only being bound.
Must not know: what becomes of a connection.
Invariant: once stopped, no port is open and none is going to be.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.errors import EndpointError, NodeStoppedError
from gossiplog.live.forked_reactor import let_go
from gossiplog.live.interrupts import pass_on
from gossiplog.live.results import Result, fail_quietly
from gossiplog.net import endpoints
from gossiplog.net.endpoints import AtName, ServerEndpoint
from gossiplog.net.link import Owner
from gossiplog.net.link_factory import LinkFactory
from gossiplog.net.sockets import lengthen
from gossiplog.store.owning_process import hold


class Listeners:
    """I am where others reach a node, whose links belong to ``owner``."""

    def __init__(self, reactor: Any, owner: Owner) -> None:
        self._reactor = reactor
        self._owner = owner
        self.ports: list[Any] = []
        self._names: dict[Any, str] = {}
        self._binding: dict[Deferred[Any], Any] = {}
        self._stopping = False
        hold(self)

    def add(self, endpoint: ServerEndpoint, reaching: Any) -> Result[str]:
        """Listen on an endpoint; fires with the address that is bound.  ``reaching`` is the reactor for strings."""
        result: Result[str] = Result(reactor=self._reactor)
        server = endpoints.server(reaching, endpoint)
        name = endpoints.name(endpoint)
        factory = LinkFactory(self._owner)
        listening = maybeDeferred(server.listen, factory)

        def bound(port: Any) -> Any:
            self._binding.pop(listening, None)
            if self._stopping:
                fail_quietly(result, NodeStoppedError("the node was stopped"))
                return port.stopListening()
            self.ports.append(port)
            self._names[port] = name
            lengthen(port)
            if getattr(port, "factory", None) is factory:
                factory.port = port
            result.callback(endpoints.describe(port.getHost()))
            return None

        def failed(failure: Failure) -> None:
            self._binding.pop(listening, None)
            if self._stopping:
                fail_quietly(result, NodeStoppedError("the node was stopped"))
            elif not isinstance(failure.value, Exception):
                result.errback(failure)
            else:
                result.errback(EndpointError(f"cannot listen on {name!r}: {failure.getErrorMessage()}"))

        def late(_: Any, seconds: float) -> None:
            raise EndpointError(f"it did not within {seconds:g} s")

        self._binding[listening] = server
        listening.addTimeout(limits.BIND_SECONDS, self._reactor, late)
        listening.addCallbacks(bound, failed)
        return result

    def drop(self, name: str) -> Deferred[Any]:
        """Listen no more at what was said as ``name``; connections stay.  Fires when the port is closed."""
        gone = [port for port in self.ports if self._names[port] == name]
        self.ports = [port for port in self.ports if port not in gone]
        closing = [maybeDeferred(port.stopListening) for port in gone]
        return DeferredList(closing, consumeErrors=True).addTimeout(limits.CLOSE_SECONDS, self._reactor)

    @property
    def bound(self) -> list[str]:
        """The addresses that are bound, as endpoints."""
        return [endpoints.describe(port.getHost()) for port in self.ports]

    def stop(self) -> list[Deferred[Any]]:
        """Listen no more; each of these fires when one port is closed, or what was being bound is."""
        self._stopping = True
        waits: list[Deferred[Any]] = [
            maybeDeferred(port.stopListening)
            .addTimeout(limits.CLOSE_SECONDS, self._reactor)
            .addErrback(lambda failure: pass_on(self._reactor, failure.value))
            for port in self.ports
        ]
        waits += self._binding
        for binding, server in tuple(self._binding.items()):
            if isinstance(server, AtName):
                binding.cancel()
            else:  # it may have a port any moment, which is to be closed
                binding.addTimeout(limits.CLOSE_SECONDS, self._reactor)
        return waits

    def give_up(self) -> None:
        """In a child by fork: let go of the ports, without a word."""
        let_go(self._reactor, self.ports)
