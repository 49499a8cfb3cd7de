"""Dialling peers that nobody named, and what becomes of it.

Responsible for: carrying out what the topology decides, on links of its own; telling it of every session.
Must not know: how addresses are found; why one is dialled.
Invariant: before the node joins, nothing is dialled from here and nothing told of others; once stopped, no timer and no
attempt is left.  An attempt is made once: whether there is another one is the topology's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred

from gossiplog import limits
from gossiplog.addresses import Address, parse_ip
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.links import Action, Dial, Drop, Tell
from gossiplog.gossip.messages import Peers
from gossiplog.gossip.neighbour import Neighbour
from gossiplog.gossip.peers_exchange import FEATURE
from gossiplog.gossip.reachability import Reachability
from gossiplog.gossip.topology import Topology
from gossiplog.live.interrupts import pass_on
from gossiplog.net import endpoints
from gossiplog.net.deadline_timer import DeadlineTimer
from gossiplog.net.link import Link
from gossiplog.net.link_factory import LinkFactory
from gossiplog.net.roaming import is_stranded
from gossiplog.net.sockets import address_of


class _Attempt:
    """I am one dial, and the link that came of it."""

    def __init__(self, dial: Dial) -> None:
        self.dial = dial
        self.factory: LinkFactory | None = None
        self.connecting: Deferred[Any] | None = None
        self.link: Link | None = None
        self.is_reached = False


class _Carried(NamedTuple):
    """Who should be at the other end of a link over a connection that a way made.

    Whether nobody is between, and whether the owner named it.
    """

    node: bytes
    is_direct: bool
    is_chosen: bool


class Peering:
    """I am the peers of one node that were found.

    ``reaching`` is the reactor for endpoints, ``owner`` the driver whose links they are, and ``handle`` takes events of
    sessions.  ``found`` hears of every node that peers tell of, ``met`` where each peer is, ``changed`` whenever
    something ended or began.
    """

    def __init__(
        self,
        reactor: Any,
        owner: Any,
        reaching: Any,
        random: Random,
        handle: Callable[..., None],
    ) -> None:
        self.topology = Topology(owner.id, random)
        self.changed: Callable[[], None] = lambda: None
        self.found: Callable[[bytes, Address], None] = lambda node, address: None
        self.met: Callable[[Address | None], None] = lambda at: None
        self.reachability = Reachability()
        self.reachable: bool | None = None
        self.reaches: Callable[[bool | None], None] = lambda reachable: None
        self._reactor = reactor
        self._owner = owner
        self._reaching = reaching
        self._handle = handle
        self._attempts: dict[Address, _Attempt] = {}
        self._links: dict[int, Link] = {}
        self._carried: dict[Link, _Carried] = {}
        self._alarm = DeadlineTimer(reactor, self.step)
        self._is_stepping = self._is_stopped = False

    @property
    def _now(self) -> float:
        return float(self._reactor.seconds())

    # -- the node asks

    def step(self) -> None:
        """Do what is to be done now."""
        if self._is_stopped or self._is_stepping:
            return
        self._is_stepping = True
        try:
            news_at = self._owner.replica.liveness.news_at
            for neighbour in self.topology.neighbours:
                neighbour.news_at = news_at(neighbour.session)
            for action in self.topology.step(self._now):
                self._do(action)
        finally:
            self._is_stepping = False
        times = [self.topology.deadline(self._now)]
        if self.reachable is None:
            times.append(self.reachability.due)
        self._alarm.set(min((at for at in times if at is not None), default=None))
        self._judge()
        self.changed()

    def moved(self, addresses: frozenset[str]) -> None:
        """This machine has other addresses, or slept: look after every session, and dial anew."""
        for session, link in tuple(self._links.items()):
            if is_stranded(link, addresses):
                link.abort()
            else:
                self._handle(events.Doubted(session))
        self.topology.moved(self._now)
        self.reachability.moved()
        self.step()

    def stop(self) -> None:
        """Dial no more; links stay."""
        self._is_stopped = True
        self._alarm.cancel()
        for attempt in tuple(self._attempts.values()):
            if attempt.connecting is not None and attempt.link is None:
                self._give_up(attempt)
                attempt.connecting.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether somebody is being dialled who may become a peer."""
        return any(not attempt.is_reached for attempt in self._attempts.values()) or self._pending > 0

    # -- a way that makes connections of its own

    @property
    def _pending(self) -> int:
        """Of its connections, those that are no session yet."""
        return sum(link.session is None for link in self._carried)

    def wants(self, node: bytes, pending: int) -> bool:
        """Whether one with ``node`` is wanted, beside so many that are being made."""
        is_pending = any(carried.node == node for carried in self._carried.values())
        return not (self._is_stopped or is_pending) and self.topology.wants(node, pending + self._pending)

    def takes(self, node: bytes) -> bool:
        """Whether one is taken that ``node`` wants."""
        return not self._is_stopped and self.topology.takes(node)

    def may_dial(self, address: Address, teller: str) -> bool:
        """Whether to dial there because somebody said so; that counts as if it was done."""
        return self.topology.may_try(address, parse_ip(teller), self._now)

    def carry(self, node: bytes, name: str, *, dials: bool, is_direct: bool, is_chosen: bool) -> Link | None:
        """Make a link for one; None when nobody wants it any more."""
        if self._is_stopped:
            return None
        link = Link(self._owner, dials, name)
        self._carried[link] = _Carried(node, is_direct, is_chosen)
        return link

    # -- the driver reports

    def reached(self, link: Link, peer: bytes) -> None:
        """The handshake on ``link`` shows who is there."""
        carried = self._carried.get(link)
        if carried is not None and carried.node != peer:
            link.say_bye(ByeCode.REFUSED, "another node is meant", by_peer=False)
        if carried is None and not link.initiator and (at := address_of(link)) is not None:
            self.reachability.came(at.ip)
            self._judge()
        attempt = self._of(link)
        if attempt is None:
            return
        attempt.is_reached = True
        self.topology.dialled(attempt.dial.address, peer, self._now)
        if attempt.dial.is_check:
            link.say_bye(ByeCode.DUPLICATE, "only to see who is here", by_peer=False)

    def opened(self, link: Link, session: int, peer: bytes, features: tuple[str, ...]) -> None:
        """A session is open."""
        self._links[session] = link
        attempt = self._of(link)
        carried = self._carried.get(link)
        at = address_of(link) if attempt is None else attempt.dial.address
        if carried is not None and not carried.is_direct:
            at = None
        neighbour = Neighbour(
            session,
            peer,
            at,
            at if link.initiator and carried is None else None,
            is_chosen=link.initiator and attempt is None if carried is None else carried.is_chosen,
            takes_peers=FEATURE in features,
            now=self._now,
        )
        self.topology.opened(neighbour, self._now)
        self.met(at)
        self._soon()

    def closed(self, session: int, code: int) -> None:
        """A session is over."""
        self._links.pop(session, None)
        self.topology.closed(session, self._now, is_full=code == ByeCode.FULL)
        self._soon()

    def heard(self, session: int, peers: Peers) -> None:
        """A peer tells of others."""
        for contact in self.topology.heard(session, peers, self._now):
            for address in contact.addresses:
                self.found(contact.node, address)
        self._soon()

    def lost(self, link: Link) -> None:
        """``link`` is gone."""
        self._carried.pop(link, None)
        attempt = self._of(link)
        if attempt is not None:
            self._over(attempt)

    # --

    def _soon(self) -> None:
        """Act once the event that is being handled is through."""
        if self.topology.wanted and not self._is_stopped:
            self._alarm.set(self._now)

    def _of(self, link: Link) -> _Attempt | None:
        return next((attempt for attempt in self._attempts.values() if attempt.link is link), None)

    def _do(self, action: Action) -> None:
        if isinstance(action, Dial):
            self._dial(action)
        elif isinstance(action, Tell):
            self._handle(events.TellPeers(action.session, action.message))
            told = next((n for n in self.topology.neighbours if n.session == action.session), None)
            if told is not None and told.address is not None and self.topology.own:
                self.reachability.told(told.address.ip, told.address.group, self._now)
        elif isinstance(action, Drop):
            code, why = (
                (ByeCode.FULL, "full") if action.is_full else (ByeCode.NORMAL, "others have their turn")
            )
            self._handle(events.Closed(action.session, code, why))

    def _judge(self) -> None:
        """Tell whether others can dial us, if that is another answer than before."""
        reachable = self.reachability.at(self._now)
        if reachable is not self.reachable:
            self.reachable = reachable
            self.reaches(reachable)

    def _dial(self, dial: Dial) -> None:
        attempt = self._attempts[dial.address] = _Attempt(dial)
        attempt.factory = LinkFactory(self._owner, dial.address.endpoint)
        endpoint = endpoints.client(self._reaching, dial.address.endpoint)
        attempt.connecting = maybeDeferred(endpoint.connect, attempt.factory)
        attempt.connecting.addTimeout(limits.FIND_DIAL_SECONDS, self._reactor)
        attempt.connecting.addCallback(self._connected, attempt)
        attempt.connecting.addErrback(self._failed, attempt)

    def _connected(self, link: Link, attempt: _Attempt) -> None:
        attempt.connecting, attempt.link = None, link
        if link.closing:
            self._over(attempt)

    def _failed(self, reason: Any, attempt: _Attempt) -> None:
        pass_on(self._reactor, reason.value)
        self._give_up(attempt)
        self._over(attempt)

    def _give_up(self, attempt: _Attempt) -> None:
        if attempt.factory is not None:
            attempt.factory.given_up = True

    def _over(self, attempt: _Attempt) -> None:
        if self._attempts.get(attempt.dial.address) is attempt:
            del self._attempts[attempt.dial.address]
        if not attempt.is_reached:
            self.topology.dialled(attempt.dial.address, None, self._now)
        self._soon()
