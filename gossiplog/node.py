"""What an application holds: one node.

Responsible for: :class:`Node`: listening, dialling, events, orderly stop.
Must not know: how replication works (``gossip``), what is on the wire (``wire``) or on disk (``store``).
Invariant: a stopped node has no connection, no port, no timer and no write under way; its store stays open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from twisted.internet.defer import DeferredList, maybeDeferred

from gossiplog.arguments import check_flags
from gossiplog.control.server import serve
from gossiplog.errors import (
    ByeCode,
    NodeStoppedError,
    StoreCopiedError,
)
from gossiplog.gossip.events import Lightened
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.quotas import Quota, QuotaLedger, Quotas, Usage
from gossiplog.live.machine import machine_of, wall_ms
from gossiplog.live.memory_size import default_authors, default_memory, part_large
from gossiplog.live.monotonic import steady
from gossiplog.live.noticing import Noticing
from gossiplog.live.results import Ending, Result, crash_of
from gossiplog.live.store import Store
from gossiplog.live.subscriptions import Subscribers
from gossiplog.log.keys import check_node_id
from gossiplog.log.network import Network
from gossiplog.net.bans import OPERATOR, Ban, check_ban
from gossiplog.net.dialer import Dialer
from gossiplog.net.disk_room import DiskRoom
from gossiplog.net.driver import Driver
from gossiplog.net.endpoints import ClientEndpoint, ServerEndpoint
from gossiplog.net.hanging_up import hang_up
from gossiplog.net.in_sync import failed, in_sync
from gossiplog.net.joining import Joined
from gossiplog.net.listeners import Listeners
from gossiplog.net.meeting import Found, Meeting
from gossiplog.net.own_logs import check_nothing_lost, require_gives, require_shown
from gossiplog.net.progress import Meter
from gossiplog.net.settings import Settings, check_settings
from gossiplog.net.shared_bans import share_bans
from gossiplog.net.ways import Way
from gossiplog.notices import Banned, InSync, Notice, Peer, Progress, QuotaExceeded, TimelineProgress
from gossiplog.status import Status, status_of
from gossiplog.store.requests import Delivery
from gossiplog.ticket import Ticket
from gossiplog.troubles import Troubles


class Node(Noticing):
    """I replicate a store with peers of one network.

    ``network`` is a :class:`Network`, or text as :meth:`Network.parse` takes it: a network key, the id of an author,
    or a name; or a :class:`Ticket`, or its text, whose addresses are dialled.  Raises :class:`NetworkMismatchError`
    when the store belongs to another network, and :class:`StoreInUseError` when another node runs on it.

    ``only_followed``: want nobody but the authors followed, or (False) everybody but those unfollowed; None is as the
    store remembers, at first the latter.  ``quotas`` bound what is taken from peers.

    ``max_memory``: bytes that all peers together may make the node keep; None is a quarter of the machine's memory, at
    most 512 MiB.

    ``mode`` "pull": no entry leaves this node, "push": it takes none.  Peers know, and neither send nor ask in vain.

    ``agent`` is what peers are told about our software, at most 64 characters; ``random`` gives numbers in [0, 1) for
    the jitter of reconnections.
    """

    def __init__(
        self,
        reactor: Any,
        store: Store,
        *,
        network: Network | Ticket | str,
        agent: str = "gossiplog",
        random: Callable[[], float] | None = None,
        only_followed: bool | None = None,
        quotas: Quotas | None = None,
        max_memory: int | None = None,
        mode: str = "both",
    ) -> None:
        machine = machine_of(reactor)
        random = machine.chance if random is None else random
        check_settings(reactor, store, agent, random, only_followed, quotas, max_memory, mode)
        self.mode = mode
        self.agent = agent
        ticket = Ticket.of(network)
        self.network = ticket.network
        self.store = store
        self._core = core = store._core
        self.reactor = reactor
        max_memory = default_memory() if max_memory is None else max_memory
        self._subscribers = Subscribers(reactor)
        self._stopping = False
        self._stopped = Ending(reactor)
        self._began_at = reactor.seconds()
        self._troubles = Troubles()
        core.check_open()
        steady(reactor)
        part_large()
        self._detach = core.attach(self.stop)
        try:
            core.thread.now(lambda logs: logs.bind_network(self.network.discovery_id))
            secret = core.thread.now(lambda logs: logs.node_key())
            if only_followed is not None:
                core.interest.only_followed(only_followed)
            weights = core.weigh()
            bounds = (quotas or Quotas()).or_else(default_authors())
            self._ledger = QuotaLedger(bounds, weights, core.local)
            raised = partial(core.interest.tell, Lightened(None))
            self._room = DiskRoom(reactor, core.disk, self._ledger, raised)
            settings = Settings(machine.entropy(16), agent, random, max_memory, Mode(mode))
            self._driver = Driver(reactor, core, self.network, secret, settings, self._tell, self._ledger)
            self._listeners = Listeners(reactor, self._driver)
            self._control = serve(reactor, self)
            self._meeting = Meeting(reactor, core, self._driver, self._listeners, self.network, self._tell)
            self.id = self._driver.id
            self._meter = Meter(core.clock.total, self._driver.replica.pulls.schedule)
            self._ends = [
                core.listen(self._count),
                core.timeline.listen(lambda *counts: self._tell(TimelineProgress(*counts))),
                core.views.listen(self._tell),
                core.notices.listen(self._tell),
                core.sharing.listen(self._tell, self.stop),
                share_bans(core, self._driver),
                self._detach,
            ]
        except BaseException:
            self._detach()
            raise
        for address in ticket.addresses:
            self.connect(address)

    # -- connections

    def listen(self, endpoint: ServerEndpoint) -> Result[str]:
        """Accept peers on a server endpoint (``tcp:4000``); fires with the address that is bound.

        The endpoint is a string or an ``IStreamServerEndpoint``.  A unix socket is for its owner alone (mode 600),
        unless the string says ``mode=``.

        Fails with :class:`EndpointError` when the string or the address is of no use.
        """
        self._check_running()
        listening = self._listeners.add(endpoint, self._driver.dialers.reaching)
        return listening.addCallback(self._meeting.listening)  # type: ignore[return-value]

    def connect(self, endpoint: ClientEndpoint) -> Dialer:
        """Keep a connection to a client endpoint (``tcp:HOST:PORT``), dialled until it answers and when it is lost.

        The endpoint is a string, of whose host every address is tried, or an ``IStreamClientEndpoint``.

        Raises :class:`EndpointError` for a string that is none.  ``stop()`` of what is returned ends the dialling,
        ``dial()`` tries at once: for when the network changed.
        """
        self._check_running()
        return self._driver.dialers.add(endpoint)

    def join(self, *ways: Way, links: int = 8, max_links: int = 64, tell_peers: bool = True) -> Joined:
        """Find the other nodes of the network, and keep sessions with about ``links`` of them.

        Peers tell each other of the nodes they met, unless ``tell_peers`` is false; ``ways`` find more.  What
        :meth:`connect` dials counts among the links, and is kept in any case; of all others ``max_links`` are.
        """
        self._check_running()
        check_flags(tell_peers=tell_peers)
        return self._meeting.join(ways, links, max_links, tells=tell_peers)

    def connect_to(self, node: bytes) -> Dialer:
        """As :meth:`connect`, to where the node of this id was met last, or is said to be.

        Raises :class:`EndpointError` when nobody said where; :meth:`join` finds out.
        """
        self._check_running()
        return self.connect(self._meeting.endpoint_of(node))

    @property
    def found(self) -> list[Found]:
        """Where other nodes are known to be, or said to be."""
        return self._meeting.found

    @property
    def addresses(self) -> list[str]:
        """Where others may reach this node, as endpoints: each address of the machine with each port it listens on."""
        return [address.endpoint for address in self._meeting.addresses]

    @property
    def reachable(self) -> bool | None:
        """Whether others, beyond the local network, can dial this node; None while nobody came and few were asked to.

        :class:`~gossiplog.notices.Reachability` tells when it changes.
        """
        return self._driver.peering.reachable

    def forget(self, endpoint: str) -> bool:
        """Do not dial a node found there again unless it is found anew; False if nothing was known of it."""
        self._core.check_caller()
        return self._meeting.forget(endpoint)

    @property
    def peers(self) -> list[Peer]:
        """The peers with an open session."""
        return list(self._driver.peers.values())

    @property
    def caught_up(self) -> bool:
        """Whether all that any of the peers told us of is on our disk; False while there is none that sends entries."""
        return self._driver.replica.caught_up

    @property
    def progress(self) -> Progress:
        """How far catching up is: entries held and known to exist, the rate, the time left."""
        return self._meter.read(self._driver.peers)

    def status(self, *, authors: bool = True) -> Status:
        """What the node is behind on, what it owes its peers, what it keeps and where it waits.

        O(peers), and O(authors) unless without ``authors``.
        """
        check_flags(authors=authors)
        self._core.check_caller()
        return status_of(self, authors=authors)

    # -- interest

    def follow(self, *authors: bytes) -> Result[None]:
        """Want these authors, at once; :class:`BlockedAuthorError` for one that is blocked.

        As with the three methods below, the store remembers; the result fires when that is on disk.
        """
        return self._core.interest.follow(*authors)

    def unfollow(self, *authors: bytes) -> Result[None]:
        """Take nothing more of these authors, and pass nothing on.

        :class:`LocalAuthorError` for one that writes here.
        """
        return self._core.interest.unfollow(*authors)

    def block(self, *authors: bytes, delete: bool = False) -> Result[None]:
        """As :meth:`unfollow`, and :meth:`follow` does not undo it; ``delete`` what is held of them."""
        return self._core.interest.block(*authors, delete=delete)

    def unblock(self, *authors: bytes) -> Result[None]:
        """Take back :meth:`block`."""
        return self._core.interest.unblock(*authors)

    @property
    def quotas(self) -> Quotas:
        """The bounds in force, with those that were not chosen."""
        return self._ledger.quotas

    @property
    def usage(self) -> Usage:
        """What is held, as the quotas count it."""
        weights = self._core.weigh()
        return Usage(weights.author_count, len(self.store.forks), weights.bytes)

    @property
    def over_quota(self) -> dict[bytes, Quota]:
        """The authors of whom nothing is taken now because of a quota, and which."""
        return dict(self._ledger.refused)

    def when_in_sync(self, peer: Peer) -> Result[InSync]:
        """Fire once this peer and we hold the same, both on disk.

        Where entries may go one way only: once who takes them has all that the other side holds on its disk.

        Fails with :class:`NodeStoppedError` when there is no session with the peer, or it ends before, and with
        :class:`OneWayError` when both only pull, or only push.
        """
        self._core.check_caller()
        return in_sync(self._driver, self._subscribers, peer, self.mode)

    def recover(self, peer: Peer) -> Result[None]:
        """Let the writers of a copied store append again, once we and this peer hold the same; see ``Store.copied``.

        Own entries that the peer has are on disk by then and are continued.  Recover with every peer that may have the
        newest: what none of them has, and another copy signed, would be signed a second time.

        Fails as :meth:`when_in_sync` does, and with :class:`StoreCopiedError` when an entry is known to have been
        signed here and did not come back, or could not; the store stays a copy then.
        """
        self._core.check_caller()
        try:
            require_gives(self._driver.replica, peer, self.store.path)
        except StoreCopiedError as error:
            return failed(self._driver, error)  # type: ignore[return-value]
        back = self.when_in_sync(peer).addCallback(lambda _: self._require_shown(peer))
        checked = back.addCallback(lambda _: self._core.run(lambda logs: logs.require_all_back()))
        return checked.addCallback(lambda _: self.store.recovered())  # type: ignore[return-value]

    def _check_nothing_lost(self, peer: Peer) -> None:
        """Raise :class:`StoreCopiedError` if this peer has own entries that are not here and may not come."""
        check_nothing_lost(self._driver.replica, peer, self.store.path)

    def _require_shown(self, peer: Peer) -> None:
        """Raise :class:`StoreCopiedError` if this peer does not want a log that is written here, and so shows none."""
        require_shown(self._driver.replica, peer, self.store.path)

    # -- who is kept out

    @property
    def bans(self) -> list[Ban]:
        """Nodes that are kept out, for offences against the protocol."""
        return self._driver.admission.bans.all(self.reactor.seconds())

    def ban(self, peer: bytes, *, seconds: float = inf, reason: str = OPERATOR) -> None:
        """Keep the node with the id ``peer`` out for so long, at most until this one stops; end its sessions.

        Its logs are passed on all the same, by others: :meth:`block` is about an author.  Relays that share a store all
        keep it out, however often they begin anew.
        """
        check_ban(peer, seconds, reason)
        self._check_running()
        now = self.reactor.seconds()
        self._tell(
            Banned(peer, reason, self._driver.admission.bans.keep_out(peer, reason, seconds, now).seconds)
        )
        hang_up(self._driver, peer, ByeCode.REFUSED, reason)

    def disconnect(self, peer: bytes) -> bool:
        """End the sessions with the node ``peer``, and dial what led to it no more; False if there was neither.

        It may come back by itself, and :meth:`join` may find it again: :meth:`ban` keeps it out.
        """
        check_node_id("peer", peer)
        self._check_running()
        return hang_up(self._driver, peer, ByeCode.NORMAL, "disconnected")

    def unban(self, peer: bytes) -> bool:
        """Let the node with the id ``peer`` come back at once, its offences forgotten; False if it had none.

        Raises :class:`InvalidKeyError` for what is no node id.
        """
        self._core.check_caller()
        check_node_id("peer", peer)
        forgiven = self._driver.admission.bans.lift(peer)
        self._driver.dialers.forgiven()
        return forgiven

    # -- the end

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    def stop(self) -> Result[None]:
        """Stop listening and dialling, say BYE, commit what was accepted; the store stays open.

        In a child of the process that made the node nothing is done: the connections are the parent's.
        """
        if not self._core.home.is_here or crash_of(self.reactor):
            self._stopped.come()
        elif not self._stopping:
            self._core.check_caller()
            self._stopping = True
            waits: list[Any] = [*self._meeting.stop(), *self._listeners.stop(), self._control.stop()]
            waits.append(maybeDeferred(self._driver.stop, ByeCode.STOPPING, "stopping"))
            closed = DeferredList(waits, consumeErrors=True)
            closed.addCallback(lambda _: self._over())
        return self._stopped.wait()

    def _over(self) -> None:
        for end in self._ends:
            end()
        self._room.stop()
        self._stopped.come()
        self._subscribers.close()

    def _check_running(self) -> None:
        self._core.check_caller()
        if self._stopping:
            raise NodeStoppedError("the node was stopped")

    def _tell(self, notice: Notice) -> None:
        self._troubles.note(notice, wall_ms(self.reactor))
        self._subscribers.tell(notice)
        if type(notice) is QuotaExceeded and notice.quota is Quota.BYTES:
            self._room.exceeded()

    def _count(self, delivery: Delivery) -> None:
        if (report := delivery.report) is None:
            return
        count = sum([segment.count for segment in report.segments])
        if report.forgotten:
            self._meter.forgot()  # and counted anew, with what is new
        elif count and self._meter.gained(count, self.reactor.seconds()):
            self._subscribers.tell(self.progress)
