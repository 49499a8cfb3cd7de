"""Catching up with one peer, or with all that are found, once.

Responsible for: dialling, waiting until both sides hold the same, giving up on silence, counting what moved; doing so
with several before a store that was copied is appended to.
Must not know: the command line, what shows the progress, how peers are found.
Invariant: it ends: in sync, or with an error once nothing moved for the time allowed.  What stops replication on our
side is what the error says.  A node that runs on is connected and dials afterwards as it was and did before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError

from gossiplog.arguments import check_seconds
from gossiplog.errors import ByeCode, GossiplogError, NodeError, NodeStoppedError, StoreDamagedError
from gossiplog.gossip.quotas import Quota
from gossiplog.live.results import Result
from gossiplog.live.store import Store
from gossiplog.log.keys import short_key
from gossiplog.net.bans import Ban
from gossiplog.net.driver import Driver
from gossiplog.net.flow import Flow
from gossiplog.net.hanging_up import let_go
from gossiplog.net.joining import Joined
from gossiplog.net.own_logs import require_gives
from gossiplog.net.progress import in_words
from gossiplog.notices import (
    DialFailed,
    InSync,
    NewEntries,
    Notice,
    Peer,
    PeerDown,
    PeerRejected,
    PeerUp,
    Progress,
    StoreDamaged,
    StoreFailing,
)

LOOK_SECONDS: Final = 0.2
"""How often silence is noticed and progress is shown."""

FAILED_SECONDS: Final = 1.0
"""A store that writes nothing any more may still send what it has; once nothing moved for so long, that is over."""


class Moved(NamedTuple):
    """What a sync did."""

    received: int
    sent: int
    seconds: float


class Meeting(Protocol):
    """A node, as far as it catches up."""

    reactor: Any
    store: Store
    _driver: Driver

    @property
    def peers(self) -> list[Peer]:
        """With an open session."""

    @property
    def bans(self) -> list[Ban]:
        """Who is kept out."""

    @property
    def progress(self) -> Progress:
        """How far it is."""

    @property
    def over_quota(self) -> dict[bytes, Quota]:
        """Of whom nothing is taken."""

    def connect(self, endpoint: str) -> Any:
        """Keep a connection."""

    def subscribe(self, listener: Callable[[Notice], object]) -> Callable[[], None]:
        """Hear of what happens."""

    def when_in_sync(self, peer: Peer) -> Result[InSync]:
        """Wait until both hold the same."""

    def _check_nothing_lost(self, peer: Peer) -> None:
        """Raise if own entries are there that may not come."""

    def _require_shown(self, peer: Peer) -> None:
        """Raise if own entries may be there that are not shown."""


class CatchUp:
    """I make a node and one peer hold the same, or, where entries may go one way only, see that all have gone.

    ``whom``: the endpoint where it answers, or a peer with an open session, of which all counts that it brought.
    """

    def __init__(
        self, node: Meeting, whom: str | Peer, patience: float, show: Callable[[str], None] | None = None
    ) -> None:
        """``patience``: seconds in which something has to move; ``show`` is told how it goes."""
        check_seconds("timeout", patience)
        self._reactor = reactor = node.reactor
        self._node = node
        self._known = None if isinstance(whom, str) else whom
        self._endpoint = whom if isinstance(whom, str) else whom.address
        self._patience = patience
        self._show = show
        self._flow = Flow(node._driver, also_before=not isinstance(whom, str))
        self._reason = ""
        self._refused: GossiplogError | None = None
        self._hindrance: GossiplogError | None = None
        self._up = False
        self._started_at = self._moved_at = reactor.seconds()
        self._task: Deferred[None] | None = None
        self.peer: Peer | None = None
        self._met: Deferred[Peer] = Deferred()
        self._dialer: Any = None
        self._is_ours = False  # and was begun for this
        self._is_replaced = False  # of two connections with the peer the other one stays

    async def run(self) -> Moved:
        """Do it; raises NodeError when the peer does not answer, falls silent or goes away.

        Raises StoreError when our own store is why nothing goes on.
        """
        unsubscribe = self._node.subscribe(self._told)
        self._dial()
        self._task = Deferred.fromCoroutine(self._catch_up())
        self._see()
        self._next_look = self._reactor.callLater(LOOK_SECONDS, self._look)
        try:
            await self._task
        except CancelledError:
            if self._refused is not None:
                raise self._refused from None
            if not self._silent():
                raise
            raise self._complaint() from None
        except NodeStoppedError:
            if self._hindrance is not None:
                raise self._hindrance from None
            raise
        finally:
            self._next_look.cancel()
            unsubscribe()
        return self.moved

    def _dial(self) -> None:
        driver = self._node._driver
        if self._known is not None:
            return
        known = [each for each in driver.dialers.active if each.endpoint == self._endpoint]
        self._is_ours = not known
        if known:
            self._dialer = known[0]
            self._dialer.dial()
        else:
            self._dialer = self._node.connect(self._endpoint)

    @property
    def _who(self) -> bytes | None:
        """The node that is meant, once that is known."""
        if self._known is not None:
            return self._known.id
        return None if self._dialer is None else self._dialer.peer

    def _is_there(self, address: str) -> bool:
        """Whether something is said of where it is dialled."""
        return self._dialer is not None and address == self._dialer.endpoint

    def leave(self) -> None:
        """Of a node that runs on: end the connection, if it was made for this."""
        if self._is_ours:
            let_go(self._node._driver, self._dialer)

    def require_back(self) -> None:
        """Raise :class:`StoreCopiedError` if the peer, now in sync, may have more of what is written here."""
        if self.peer is not None:
            require_gives(self._node._driver.replica, self.peer, self._node.store.path)
            self._node._require_shown(self.peer)

    async def _catch_up(self) -> None:
        while True:
            peer = await self._met
            try:
                await self._node.when_in_sync(peer)
                break
            except NodeStoppedError:
                if not self._is_replaced:
                    raise
            self._is_replaced, self.peer, self._met = False, None, Deferred()
            self._see()
        self._count()

    def _told(self, notice: Notice) -> None:
        match notice:
            case NewEntries():
                if not isinstance(self._hindrance, StoreDamagedError):
                    self._hindrance = None  # there is room again
            case PeerUp():
                self._see()
            case PeerDown(peer, code) if peer == self.peer:
                self._is_replaced = code == ByeCode.DUPLICATE
            case DialFailed(address, reason) if self._is_there(address):
                self._reason = reason
            case StoreFailing(error, final):
                self._hindrance = error
                if final:
                    self._patience = min(self._patience, FAILED_SECONDS)
            case StoreDamaged(author, error):
                what = "the store" if author is None else f"the log of {short_key(author)}"
                self._hindrance = StoreDamagedError(
                    f"{what} is damaged, and the peer lacks it: {error}; see gossiplog verify --repair"
                )
            case PeerRejected(address, error) if self._is_there(address):
                self._refuse(NodeError(f"{self._endpoint}: {error}"))

    def _see(self) -> None:
        """It may be there: who answers at the endpoint, and nobody else that a way of finding peers brings."""
        if self.peer is None:
            self.peer = next((peer for peer in self._node.peers if peer.id == self._who), None)
            if self.peer is not None:
                self._up = True
                self._moved_at = self._reactor.seconds()
                self._met.callback(self.peer)
        self._count()  # of a session that may be over by the next look

    def _refuse(self, error: GossiplogError) -> None:
        """There is no point in going on."""
        self._refused = error
        if self._task is not None:
            self._task.cancel()

    def _check_nothing_lost(self) -> None:
        if self.peer is not None:
            self._node._check_nothing_lost(self.peer)

    def _check_not_banned(self) -> None:
        for ban in self._node.bans:
            if ban.peer == self._who:
                who = short_key(ban.peer)
                raise NodeError(
                    f"{self._endpoint}: node {who} is banned here ({ban.reason}): gossiplog unban {who} lets it in"
                )

    def _count(self) -> None:
        if self.peer is not None and self._flow.look(self.peer.id):
            self._moved_at = self._reactor.seconds()

    def _look(self) -> None:
        self._next_look = self._reactor.callLater(LOOK_SECONDS, self._look)
        self._see()
        self._count()
        if self._show is not None:
            moved = self.moved
            words = f"dialling {self._endpoint}"
            if self._up:
                words = f"received {moved.received:,}, sent {moved.sent:,}; {in_words(self._node.progress)}"
            self._show(f"{words}, {moved.seconds:.0f} s")
        try:
            self._check_nothing_lost()
            self._check_not_banned()
        except GossiplogError as error:
            self._refuse(error)
        if self._silent() and self._task is not None:
            self._task.cancel()

    def _silent(self) -> bool:
        return bool(self._reactor.seconds() - self._moved_at >= self._patience)

    def _complaint(self) -> GossiplogError:
        if self._hindrance is not None:
            return self._hindrance
        if self._up:
            return NodeError(
                f"{self._endpoint}: nothing moved for {self._patience:g} s, and it is not in sync"
            )
        if name := self._dialer.looks_up:
            self._reason = f"{name} is still being looked up"
        because = f": {self._reason}" if self._reason else ""
        return NodeError(f"no answer from {self._endpoint} within {self._patience:g} s{because}")

    @property
    def moved(self) -> Moved:
        """What it did so far."""
        seconds = round(self._reactor.seconds() - self._started_at, 3)
        return Moved(self._flow.received, self._flow.sent, seconds)


async def catch_up_with_all(
    node: Meeting, joined: Joined, patience: float, show: Callable[[str], None] | None = None
) -> tuple[Moved, list[Peer]]:
    """Catch up with all who are there when the first look is over, or else with the first who comes.

    Half of the time is for the look.  Returns what moved, and with whom: those who left meanwhile are left out, unless
    all did.  Raises NodeError when nobody was there, and what :meth:`CatchUp.run` raises of one who stayed.
    """
    began_at = node.reactor.seconds()
    waiting: list[Deferred[None]] = []

    def told(notice: Notice) -> None:
        if isinstance(notice, PeerUp) and waiting:
            waiting.pop().callback(None)

    unsubscribe = node.subscribe(told)
    try:
        if show is not None:
            show("looking for peers")
        flushed = await joined.flush(patience / 2)
        try:
            if not node.peers:
                waiting.append(Deferred())
                rest = patience - (node.reactor.seconds() - began_at)
                await waiting[0].addTimeout(rest, node.reactor)
        except TimeoutError:
            why = "".join(f"; {way}: {reason}" for way, reason in flushed.failed.items())
            raise NodeError(f"no peer was found that answers within {patience:g} s{why}") from None
        peers = list(node.peers)
        each = [CatchUp(node, peer, patience, show if peer is peers[0] else None) for peer in peers]
        done = await DeferredList([Deferred.fromCoroutine(one.run()) for one in each], consumeErrors=True)
    finally:
        unsubscribe()
    failures: list[Any] = [failure for worked, failure in done if not worked]
    for failure in failures:
        if len(failures) == len(done) or not failure.check(NodeStoppedError):
            raise failure.value
    stayed = [peer for peer, (worked, _) in zip(peers, done, strict=True) if worked]
    flows = [one.moved for one in each]
    seconds = round(node.reactor.seconds() - began_at, 3)
    return Moved(sum(flow.received for flow in flows), sum(flow.sent for flow in flows), seconds), stayed


async def bring_back(
    node: Meeting, endpoint: str, patience: float, show: Callable[[str], None] | None = None
) -> None:
    """Get back what one peer has of the logs that are written here.

    Raises :class:`StoreCopiedError` when it may have more than it shows, and what :meth:`CatchUp.run` raises.
    """
    catching_up = CatchUp(node, endpoint, patience, show)
    try:
        await catching_up.run()
        catching_up.require_back()
    finally:
        catching_up.leave()


async def recovered(store: Store) -> None:
    """Let the writers of a copy append again, if all is back that is known to have been signed here."""
    await store._core.run(lambda logs: logs.require_all_back())
    await store.recovered()
