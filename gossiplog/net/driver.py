"""Between the replica and the world.

Responsible for: turning what links, the store and the clock report into events, and carrying out effects.
Must not know: why the replica asks for what it asks.
Invariant: events are handled one at a time, in the order they came; effects of one are carried out before the next;
once stopped, no link, no timer and no errand is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from nacl.bindings import crypto_scalarmult_base
from twisted.python.failure import Failure

from gossiplog import notices
from gossiplog.errors import (
    ByeCode,
    EndpointError,
    LimitExceededError,
    PeerError,
    StoreDamagedError,
    StoreError,
)
from gossiplog.gossip import events
from gossiplog.gossip.budget import Budget
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.loop import Loop
from gossiplog.gossip.messages import Message
from gossiplog.gossip.quotas import QuotaLedger
from gossiplog.gossip.replica import Replica
from gossiplog.live.core import StoreCore
from gossiplog.live.forked_reactor import let_go
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog
from gossiplog.live.machine import fresh_key
from gossiplog.live.monotonic import worked
from gossiplog.live.results import Ending, Result
from gossiplog.log.network import Network
from gossiplog.net.admission import Admission
from gossiplog.net.deadline_timer import DeadlineTimer
from gossiplog.net.dialer import Dialers
from gossiplog.net.effect_notices import tell_failed, told
from gossiplog.net.fair_turns import FairTurns
from gossiplog.net.link import Link
from gossiplog.net.open_links import OpenLinks
from gossiplog.net.peering import Peering
from gossiplog.net.settings import Settings
from gossiplog.net.signature_checks import SignatureChecks
from gossiplog.notices import Notice, Peer
from gossiplog.store.owning_process import hold
from gossiplog.store.requests import Delivery
from gossiplog.wire.channel import Channel

_log = NodeLog()

WEIGHED_BYTES = 8 * 1024
"""What a connection may keep more than the replica was told: an event for each segment would cost too much."""


class Driver:
    """I run one replica on a reactor, with a store.

    ``secret`` is the node's X25519 key; ``tell`` takes the notices and must not raise; ``ledger`` keeps the quotas.
    """

    def __init__(
        self,
        reactor: Any,
        store: StoreCore,
        network: Network,
        secret: bytes,
        settings: Settings,
        tell: Callable[[Notice], None],
        ledger: QuotaLedger,
    ) -> None:
        self.reactor = reactor
        self.id = crypto_scalarmult_base(secret)
        self.peers: dict[int, Peer] = {}
        self.turns = FairTurns(reactor, worked(reactor))
        self.admission = Admission(reactor, tell)
        told_of = self.admission.wait, partial(tell_failed, tell), store.home
        self.dialers = Dialers(reactor, self, settings.random, self._connected, *told_of)
        self._network = network
        self._secret = secret
        self._tell = tell
        self.links: dict[int, Link] = {}
        self._open = OpenLinks()
        self._next_session = 0
        self._sent: dict[Link, None] = {}
        self._alarm = DeadlineTimer(reactor, lambda: self._handle(events.Tick()))
        self._stopping = False
        self._stopped = Ending()
        holed = store.thread.now(lambda logs: logs.holed_authors())
        self._heads = Heads(store.clock, store.forks, store.local, holed)
        self._checker = SignatureChecks()
        self.replica = Replica(
            self.id,
            settings.instance,
            self._heads,
            agent=settings.agent,
            budget=Budget(settings.max_memory),
            verify=self._checker.verify,
            mode=settings.mode,
        )
        self.replica.limit_to(store.interest.choices, ledger)
        self.loop = Loop(self.replica, store.front, self, self._check_stopped)
        self._handle = self.loop.handle
        self._together = store.thread.together
        self.peering = Peering(reactor, self, self.dialers.reaching, Random(settings.instance), self._handle)
        self._listening = [
            store.listen(self._delivered),
            store.interest.listen(self._handle),
            store.damage.listen(lambda damage: self.loop.disk.found_damage([damage])),
        ]
        self._do: dict[type[Any], Callable[[Any], None]] = {
            events.Send: self._send,
            events.End: self._end,
            events.Reading: self._read,
            events.PeerUp: self._peer_up,
            events.PeerDown: self._peer_down,
            events.PeerRejected: self._peer_rejected,
            events.PeersHeard: lambda e: self.peering.heard(*e),
            **told(self.peers, tell),
        }
        hold(self)

    # -- the node asks

    def probe(self, peer: Peer) -> None:
        """Find out when ``peer`` and we hold the same."""
        self._handle(*[events.Probe(session) for session, known in self.peers.items() if known == peer])

    def stop(self, code: int, reason: str) -> Result[None]:
        """Dial no more, say BYE to everyone; fires when every link is closed and every errand is done."""
        self._stopping = True
        self.dialers.stop()
        self.peering.stop()
        self.admission.stop()
        for link in tuple(self._open):
            if link.session is not None:
                self._handle(events.Closed(link.session, code, reason))
            link.say_bye(code, reason, by_peer=False)
        self._check_stopped()
        return self._stopped.wait()

    def give_up(self) -> None:
        """In a child by fork: let go of the connections, and do nothing any more, without a word."""
        let_go(self.reactor, [*[link.transport for link in self._open], *self.dialers.sockets])
        self._stopped.over = True
        self.loop.end()
        self._alarm.cancel()
        self.admission.stop()
        self.dialers.give_up()
        self.peering.stop()
        for link in self._open:
            link.give_up()

    # -- links report (gossiplog.net.link.Owner)

    def channel(self, initiator: bool) -> Channel:
        """A fresh channel for a new connection."""
        return Channel(initiator, self._secret, self._network.key, ephemeral=fresh_key(self.reactor))

    def connection_made(self, link: Link) -> bool:
        """A connection came up; False when it cannot stay."""
        self._open[link] = None
        if self._stopping:
            return False
        if not link.initiator:
            self.admission.made(link)
        return True

    def admits(self, host: str) -> bool:
        """Whether a connection that somebody at ``host`` dialled is worth a look."""
        return self.admission.admits(host)

    def located(self, link: Link) -> None:
        """Who dialled is behind a proxy."""
        self.admission.located(link)

    def asked(self, link: Link) -> None:
        """Who dialled knows the network key."""
        self.admission.asked(link)

    def established(self, link: Link) -> None:
        """The handshake is done: a session begins."""
        peer = link.channel.peer
        refusal = self.admission.shaken(link, peer)
        changed = self.dialers.reached(link, peer)
        self.peering.reached(link, peer)
        if peer == self.id:
            if changed:
                error = EndpointError(f"{link.address} is our own address, at least now; it is tried again")
                self._tell(notices.PeerRejected(link.address, error))
            refusal = ByeCode.SELF, "this is our own address"
        if refusal is not None:
            code, reason = refusal
            if not link.initiator and code == ByeCode.LIMIT:
                self.admission.refused(link, LimitExceededError(reason))
            link.say_bye(code, reason, by_peer=False)
            return
        if not link.closing:  # by whom the handshake was enough for
            link.session, self._next_session = self._next_session, self._next_session + 1
            self.links[link.session] = link
            self._handle(events.Opened(link.session, peer, link.channel.handshake_hash, link.initiator))

    def received(self, link: Link, messages: Sequence[Message]) -> None:
        """Messages came, all at once."""
        session = link.session
        if session is not None:
            awaited = self.replica.awaited(session, messages)
            with self._together(), self._checker.ahead(awaited):
                self._handle(*[events.Received(session, message) for message in messages])
            self._weigh(link)

    def toiled(self, link: Link, points: float) -> None:
        """What came had to be decrypted, whatever it was."""
        if link.session is not None:
            self._handle(events.Toiled(link.session, points))

    def heard(self, link: Link) -> None:
        """Part of a message came."""
        if link.session is not None:
            self._handle(events.Heard(link.session))
            self._weigh(link)

    def offended(self, link: Link, error: PeerError) -> None:
        """The peer's bytes made no sense."""
        if link.session is not None:
            self._handle(events.Offended(link.session, error))
        elif link.initiator:
            self._tell(notices.PeerRejected(link.address, error))
        else:
            self.admission.refused(link, error)

    def writable(self, link: Link) -> None:
        """The transport wants more."""
        if link.session is not None:
            self._weigh(link)
            self._handle(events.Writable(link.session))

    def unread(self, link: Link, size: int) -> None:
        """The peer is too slow for what goes on here, or wants to hurt us; no offence: others may have caused it."""
        if link.session is not None:
            self._handle(events.Closed(link.session, ByeCode.LIMIT, f"{size} bytes were left unread"))

    def connection_lost(self, link: Link, reason: str) -> None:
        """It is gone."""
        self._open.over(link)
        self.admission.lost(link)
        self._sent.pop(link, None)
        if link.session is not None:
            self._handle(events.Closed(link.session, ByeCode.NORMAL, f"connection lost: {reason}"))
            self.loop.gone(link.session)
            self.replica.core.budget.gone(link.session)
        self.dialers.lost(link)
        self.peering.lost(link)
        self._check_stopped()

    # -- the store and the dialers report

    def _delivered(self, delivery: Delivery) -> None:
        for segment in () if delivery.report is None else delivery.report.segments:
            self._tell(notices.NewEntries(segment.author, segment.first, segment.last))
        self.loop.disk.delivered(delivery)

    def _connected(self, peer: bytes) -> bool:
        return any(known.id == peer for known in self.peers.values())

    # -- the loop runs here (gossiplog.gossip.loop.Surroundings)

    def seconds(self) -> float:
        """Return the time."""
        return float(self.reactor.seconds())

    def carry_out(self, effect: Any) -> None:
        """Do what an effect says of links, or tell the application."""
        self._do[type(effect)](effect)

    def answered(self, event: Event) -> None:
        """Something was read; for a peer it goes out when it is that peer's turn."""
        link = (
            self.links.get(event.session)
            if isinstance(event, events.Loaded | events.PayloadsLoaded)
            else None
        )
        if link is None:
            self._handle(event)
        else:
            link.chores.put(partial(self._handle, event))

    def handled(self, event: Event, effects: Sequence[Effect]) -> None:
        """Nobody watches."""

    def flush(self) -> None:
        """Write what was sent; tell the replica which transports took all of what they were given."""
        sent, self._sent = self._sent, {}
        for link in sent:
            try:
                if link.flush():
                    link.chores.put(partial(self.writable, link))
                self._weigh(link)
            except BaseException:
                self.failed(link)

    def failed(self, culprit: Event | Effect | Link) -> None:
        """A fault ends the session that provoked it and no other."""
        if not pass_on(self.reactor):
            _log.failure("{name} was not handled", event="not_handled", name=type(culprit).__name__)
        session = getattr(culprit, "session", None)
        if session in self.links and type(culprit) is not events.Closed:
            self._handle(events.Closed(session, ByeCode.INTERNAL, "internal error"))

    def interrupted(self) -> None:
        """Go on in a turn of the reactor of its own."""
        self.reactor.callLater(0, self._handle)

    def rested(self, deadline: float | None) -> None:
        """Be there when it is time."""
        self._alarm.set(deadline)
        self._check_stopped()

    def failing(self, error: BaseException, final: bool) -> None:
        """A commit failed."""
        if not isinstance(error, StoreError):
            _log.failure("a commit failed", Failure(error), event="commit_failed")
            error = StoreError(f"internal error: {error}")
        self._tell(notices.StoreFailing(error, final))

    def broke(self, error: BaseException) -> None:
        """A read failed, and the disk is not why."""
        _log.failure("a read for a peer failed", Failure(error), event="read_failed")

    def damaged(self, author: bytes | None, first: int, last: int, reason: str) -> None:
        """Entries cannot be read."""
        self._tell(notices.StoreDamaged(author, StoreDamagedError(reason), first, last))

    def _weigh(self, link: Link) -> None:
        """Tell the replica what a connection keeps, when that is much more or less than what it was told."""
        kept_bytes = link.kept_bytes
        if link.session is not None and abs(kept_bytes - link.told_bytes) >= WEIGHED_BYTES:
            link.told_bytes = kept_bytes
            self._handle(events.Buffered(link.session, kept_bytes))

    def _check_stopped(self) -> None:
        is_busy = self._open or self.loop.busy or self.loop.disk.pending
        if not self._stopping or self._stopped.over or is_busy:
            return
        self.loop.end()
        self._alarm.cancel()
        self._checker.close()
        for stop_listening in self._listening:
            stop_listening()
        self._stopped.come()

    # -- effects

    def _send(self, effect: events.Send) -> None:
        link = self.links.get(effect.session)
        if link is not None:
            link.send(effect.message)
            self._sent[link] = None

    def _end(self, effect: events.End) -> None:
        link = self.links.pop(effect.session, None)
        if link is not None and effect.code == ByeCode.LIMIT and link.kept_bytes > WEIGHED_BYTES:
            link.abort()  # BYE would wait behind what it does not take
        elif link is not None:
            link.say_bye(effect.code, effect.reason, by_peer=effect.by_peer)

    def _read(self, effect: events.Reading) -> None:
        link = self.links.get(effect.session)
        if link is not None:
            link.read(effect.allowed)

    def _peer_up(self, effect: events.PeerUp) -> None:
        link = self.links[effect.session]
        peer = Peer(effect.peer, link.address, effect.agent, link.initiator, effect.mode)
        self.peers[effect.session] = peer
        self.dialers.opened(link)
        self._tell(notices.PeerUp(peer))
        self.peering.opened(link, effect.session, effect.peer, effect.features)

    def _peer_down(self, effect: events.PeerDown) -> None:
        peer = self.peers.pop(effect.session)
        self._tell(notices.PeerDown(peer, effect.code, effect.reason))
        self.dialers.freed(peer.id)
        self.peering.closed(effect.session, effect.code)

    def _peer_rejected(self, effect: events.PeerRejected) -> None:
        link = self.links.get(effect.session)
        if link is not None:
            link.offended = True
            self._tell(notices.PeerRejected(link.address, effect.error))
            self.admission.offence(link, effect.peer, effect.error)
