"""A node among others: where it is, whom it found, what it does to find more.

Responsible for: joining and leaving, the addresses that others can reach it at, what happens when the machine moves.
Must not know: sessions, entries.
Invariant: a node that has not joined tells nobody of its addresses and dials only what its owner named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_interface
from math import inf
from typing import Any, NamedTuple

from gossiplog import limits, notices
from gossiplog.addresses import Address, is_private
from gossiplog.arguments import check_number, check_type
from gossiplog.errors import EndpointError, InvalidKeyError, InvalidValueError
from gossiplog.live.core import StoreCore
from gossiplog.live.results import Result
from gossiplog.log.keys import KeyKind, format_key, is_node_id
from gossiplog.log.network import Network
from gossiplog.net.driver import Driver
from gossiplog.net.endpoints import ClientEndpoint
from gossiplog.net.happy_eyeballs import ask_first
from gossiplog.net.joining import Joined, Search
from gossiplog.net.kept_book import KeptBook
from gossiplog.net.listeners import Listeners
from gossiplog.net.roaming import Roaming, is_here
from gossiplog.net.ways import Way
from gossiplog.notices import Notice
from gossiplog.store.owning_process import hold


class Found(NamedTuple):
    """Where a node is, or is said to be.

    ``node``: its id, None where nobody says; ``way``: how it was found, ``""`` when it was dialled by name or a peer
    told of it; ``verified``: seconds since it was met there by ourselves, None if never; ``failures``: dials in vain
    since.
    """

    endpoint: str
    node: bytes | None
    way: str
    verified: float | None
    failures: int


class Meeting:
    """I am what one node does to meet others."""

    def __init__(
        self,
        reactor: Any,
        core: StoreCore,
        driver: Driver,
        listeners: Listeners,
        network: Network,
        tell: Callable[[Notice], None],
    ) -> None:
        self._reactor = reactor
        self._driver = driver
        self._listeners = listeners
        self._network = network
        self._tell = tell
        self._roaming = Roaming(reactor, self._moved)
        self._core = core
        self._kept: KeptBook | None = None
        self._search: Search | None = None
        self._before: Search | None = None
        hold(self)
        driver.peering.changed = self._changed
        driver.peering.found = self._heard
        driver.peering.met = self._met
        driver.peering.reaches = lambda reachable: tell(notices.Reachability(reachable))

    def join(self, ways: Sequence[Way], links: int, max_links: int, *, tells: bool) -> Joined:
        """Find peers in these ways; raises :class:`InvalidValueError` if that is done already."""
        if self._search is not None:
            raise InvalidValueError("this node has joined already; leave() first")
        check_number("links", links, 1)
        if links > limits.MAX_FOUND_LINKS:
            raise InvalidValueError(f"links is at most {limits.MAX_FOUND_LINKS}, not {links}")
        check_number("max_links", max_links, links)
        if max_links > limits.MAX_CONNECTIONS:
            raise InvalidValueError(f"max_links is at most {limits.MAX_CONNECTIONS}, not {max_links}")
        peering = self._driver.peering
        us, check = self._driver.id, self._core.check_caller
        search = Search(self._reactor, peering, self._network, us, self._tell, self._leave, ways, check)
        self._search = search
        search.located = lambda: self.hosts
        near = next(filter(None, (getattr(way, "resolve", None) for way in ways)), None)
        ask_first(self._driver.dialers.reaching, near)
        self._roaming.watch()
        self._locate()
        peering.topology.tells = tells
        self._driver.replica.peers_exchange.name_feature(tells)
        peering.topology.join(links, float(self._reactor.seconds()), max_links)
        self._kept = KeptBook(self._reactor, self._core, peering.topology.book, peering.step)
        self._kept.read()
        before, self._before = self._before, None
        search.begin(before)
        peering.step()
        return Joined(search)

    def stop(self) -> list[Result[None]]:
        """Find nobody any more; each of these fires when something has ended."""
        self._roaming.stop()
        return [] if self._search is None else [self._search.leave()]

    def give_up(self) -> None:
        """In a child by fork: look for nobody, and write nothing."""
        self._roaming.stop()
        if self._kept is not None:
            self._kept.give_up()
        if self._search is not None:
            self._search.give_up()

    def listening(self, address: str) -> str:
        """There is another port, called ``address``."""
        self._locate()
        if self._search is not None:
            self._search.moved(self.hosts)
        return address

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where others may reach this node: each address of the machine with each port, and the one peers see."""
        self._locate()
        own: tuple[Address, ...] = self._driver.peering.topology.own
        return own

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """The same, as ways of finding peers take it; in no network, where others on this machine may."""
        here = [(address.host, address.port) for address in self.addresses]
        if here or self._roaming.addresses:
            return here
        bound = [port.getHost() for port in self._listeners.ports]
        numbers = dict.fromkeys(getattr(host, "port", 0) for host in bound)
        return [("127.0.0.1", number) for number in numbers if number]

    @property
    def found(self) -> list[Found]:
        """What the address book has, those met last first."""
        now = float(self._reactor.seconds())
        book = sorted(self._driver.peering.topology.book, key=lambda known: -(known.verified_at or 0.0))
        return [
            Found(
                known.address.endpoint,
                known.node,
                known.way,
                None if known.verified_at is None else now - known.verified_at,
                known.failures,
            )
            for known in book
        ]

    def endpoint_of(self, node: bytes) -> ClientEndpoint:
        """Where a node was met last; raises :class:`EndpointError` if nothing is known of it."""
        if not is_node_id(node):
            raise InvalidKeyError("node is the id of a node, 32 bytes")
        known = self._driver.peering.topology.book.of(node)
        if known:
            return known[0].address.endpoint
        reached: ClientEndpoint | None = None if self._search is None else self._search.reach(node)
        if reached is None:
            raise EndpointError(f"{format_key(KeyKind.NODE, node)} was not found yet; join() finds peers")
        return reached

    def forget(self, endpoint: str) -> bool:
        """Strike an endpoint from the address book."""
        check_type("endpoint", endpoint, str, "text such as tcp:192.0.2.7:4000")
        book = self._driver.peering.topology.book
        known = next((each for each in book if each.address.endpoint == endpoint), None)
        if known is not None:
            book.forget(known.address)
        return known is not None

    # --

    def _locate(self) -> None:
        """Say where we are to who dials and tells."""
        topology = self._driver.peering.topology
        here = sorted(self._roaming.addresses)
        topology.subnets = tuple(here)
        own = []
        for port in self._listeners.ports:
            bound = port.getHost()
            host, number = getattr(bound, "host", None), getattr(bound, "port", 0)
            if not isinstance(host, str) or not number:
                continue
            if host in ("0.0.0.0", "::", ""):
                version = 4 if host == "0.0.0.0" else 0
                ips = [ip_interface(text).ip for text in here]
                own += [Address(ip.packed, number) for ip in ips if version in (0, ip.version)]
                topology.ours |= {Address.of(ip, number): inf for ip in ("127.0.0.1", "::1")}
                if topology.public is not None:
                    own.append(Address(topology.public, number))
            elif is_here(host):
                topology.ours[Address.of(host, number)] = inf
            else:
                own.append(Address.of(host, number))
        if self._search is not None:
            own += self._search.reachable
        topology.own = tuple(dict.fromkeys(sorted(own, key=lambda each: (is_private(each.ip), each))))

    def _changed(self) -> None:
        if self._search is not None:
            self._search.active()

    def _heard(self, node: bytes, address: Address) -> None:
        if self._search is not None:
            self._search.heard_of(node, address)

    def _met(self, at: Address | None) -> None:
        """There is a session with a peer, whose connection comes from or goes to ``at``; None is no IP address."""
        if at is not None and not is_here(at.host):
            self._roaming.watch()

    def _leave(self) -> None:
        self._before, self._search = self._search, None
        ask_first(self._driver.dialers.reaching, None)
        if self._kept is not None:
            self._kept.close()
        self._driver.peering.topology.leave()
        self._driver.replica.peers_exchange.name_feature(False)

    def _moved(self, addresses: frozenset[str], slept: bool) -> None:
        self._tell(notices.NetworkChanged(tuple(sorted(addresses)), slept))
        self._locate()
        self._driver.peering.moved(addresses)
        self._driver.dialers.redial()
        if self._search is not None:
            self._search.moved(self.hosts)
