"""A port that a router passes on.

Responsible for: :class:`PortMapping`: which ports a router is asked to pass on, when, and where others reach us then.
Must not know: how a router is asked.
Invariant: only ports that the node listens on are passed on, only by a router near by with a private address; when the
node leaves, none is, and if it is killed, none after ``MAPPING_LEASE_SECONDS``.  Between the questions there is no
socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed

from gossiplog import limits
from gossiplog.addresses import is_private, is_public, parse_ip
from gossiplog.discovery.nat_pmp import NatPmp
from gossiplog.discovery.upnp import Upnp
from gossiplog.errors import EndpointError, GossiplogError
from gossiplog.live.logger import NodeLog
from gossiplog.net.interfaces import addresses as interface_addresses
from gossiplog.net.interfaces import gateway, source
from gossiplog.net.ways import Finder, require_ended
from gossiplog.store.owning_process import hold

_log = NodeLog()

_FAR = "192.0.2.1"
"""Stands for the Internet (RFC 5737)."""


class Router(Protocol):
    """Somebody who can be asked to pass connections on; fails with an :class:`EndpointError`."""

    name: str

    async def external(self) -> str:
        """The address of the router on its other side."""

    async def map(self, port: int, seconds: int) -> int:
        """Pass connections on to ``port`` of this machine; returns the port on the other side."""

    async def unmap(self, port: int, external: int) -> None:
        """No longer."""


class PortMapping:
    """I have a router pass connections on to the node, so that others far away can dial it.

    The router is asked with NAT-PMP, then with UPnP.  Others learn the address by what finds peers: peers, a DHT.
    """

    name = "mapping"

    def __init__(self) -> None:
        self._addresses: list[tuple[str, int]] = []
        self._asking: _Asking | None = None

    def start(self, finder: Finder) -> None:
        """Be ready."""
        require_ended(self, self._asking is None)
        self._asking = _Asking(finder)
        self._asking.want(self._addresses)

    def announce(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Have these ports passed on, as far as they are behind a router."""
        self._addresses = list(addresses)
        if self._asking is not None:
            self._asking.want(self._addresses)

    def look(self) -> None:
        """Nobody is found in this way; a router that did not answer is asked again."""
        if self._asking is not None:
            self._asking.retry()

    def stop(self) -> Deferred[None]:
        """Have nothing passed on any more; fires when the router says so, or did not in time."""
        asking, self._asking = self._asking, None
        return succeed(None) if asking is None else asking.end()


class _Asking:
    """I ask routers for one node, as long as it looks for peers."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._reactor = finder.reactor
        self._addresses: Sequence[tuple[str, int]] = ()
        self._router: Router | None = None
        self._here = ""
        self._mapped: dict[int, int] = {}
        self._at: tuple[str, tuple[int, ...]] | None = None
        self._working: Deferred[None] | None = None
        self._again: Any = None
        self._is_over = False
        hold(self)

    def want(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Ask a router, if something else is wanted than the last time."""
        self._addresses = addresses
        if self._wanted() != self._at:
            self._work()

    def retry(self) -> None:
        """Ask again, if nobody does it."""
        if self._router is None and self._at is not None:
            self._work()

    def end(self) -> Deferred[None]:
        """Ask for no more, and have nothing passed on."""
        self.give_up()
        ending = Deferred.fromCoroutine(self._end())
        return ending.addTimeout(limits.MAPPING_CLOSE_SECONDS, self._reactor).addErrback(lambda _: None)

    def give_up(self) -> None:
        """In a child by fork: the router is its parent's."""
        self._is_over = True
        if self._again is not None and self._again.active():
            self._again.cancel()

    # --

    def _wanted(self) -> tuple[str, tuple[int, ...]] | None:
        """Our address behind a router, and the ports that are to be passed on; None where there is no router."""
        here = source(_FAR)
        if here is None or not is_private(parse_ip(here) or bytes(4)):
            return None
        ports = dict.fromkeys(port for host, port in self._addresses if host == here)
        return (here, tuple(ports)[: limits.MAX_MAPPED_PORTS]) if ports else None

    def _work(self) -> None:
        """Ask, unless that is under way: then it is seen at its end whether something else is wanted."""
        if self._is_over or self._working is not None:
            return
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._at = self._wanted()
        working = self._working = Deferred.fromCoroutine(self._map(self._at))
        working.addTimeout(limits.MAPPING_SECONDS * 2, self._reactor)
        working.addErrback(self._failed)
        working.addCallback(self._worked)

    def _worked(self, _: Any) -> None:
        self._working = None
        if self._is_over:
            return
        if self._wanted() != self._at:
            self._work()
        elif self._at is not None:
            wait = limits.MAPPING_LEASE_SECONDS / 2 if self._mapped else limits.MAPPING_RETRY_SECONDS
            self._again = self._reactor.callLater(wait, self._work)

    def _failed(self, failure: Any) -> None:
        """No router does it, at least now."""
        if not failure.check(GossiplogError, OSError, CancelledError, TimeoutError):
            _log.failure("asking a router failed", failure, event="router_failed")
        self._router, self._mapped = None, {}
        if not self._is_over:
            self._finder.reachable([])
            self._finder.failed(failure.getErrorMessage() or "no router here answers in time")

    async def _map(self, at: tuple[str, tuple[int, ...]] | None) -> None:
        here, ports = at or ("", ())
        if here not in ("", self._here):
            self._router, self._mapped, self._here = (
                None,
                {},
                here,
            )  # what was passed on elsewhere is forgotten there
        if self._router is not None:
            await self._unmap([port for port in self._mapped if port not in ports])
        if not ports:
            self._router = None
            self._finder.reachable([])
            return
        said = []
        for router in self._routers(here):
            try:
                host = await router.external()
                if not is_public(parse_ip(host) or bytes(4)):
                    raise EndpointError(f"the router is itself behind another one, at {host}")
                self._router = router
                for port in ports:
                    self._mapped[port] = await router.map(port, limits.MAPPING_LEASE_SECONDS)
            except (GossiplogError, OSError) as error:
                said.append(f"{router.name}: {error}")
                await self._unmap(tuple(self._mapped))
                self._router = None
                continue
            if not self._is_over:
                self._finder.reachable([(host, external) for external in self._mapped.values()])
            return
        raise EndpointError(f"no router here passes connections on ({'; '.join(said)})")

    def _routers(self, here: str) -> list[Router]:
        """Whom to ask, in this order."""
        found: list[Router] = [] if self._router is None else [self._router]
        at = gateway()
        if at is not None and is_private(parse_ip(at) or bytes(4)):
            found.append(NatPmp(self._reactor, here, at))
        return [*found, Upnp(self._reactor, here, sorted(interface_addresses()))]

    async def _unmap(self, ports: Sequence[int]) -> None:
        for port in ports:
            external = self._mapped.pop(port)
            if self._router is not None:
                with suppress(GossiplogError, OSError):  # it is another router by now, or gone
                    await self._router.unmap(port, external)

    async def _end(self) -> None:
        if self._working is not None:
            await self._working
        await self._unmap(tuple(self._mapped))
