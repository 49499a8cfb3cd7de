"""The replication of one node: events in, effects out.

Responsible for: which parts a replica is made of, and which of them deals with each event and message.
Must not know: sockets, files, threads, the time (it is told ``now``), logging.
Invariant: what a peer does wrong ends its session and no other.

Reading order: :meth:`Replica.handle`; ``core.py``, what all parts share; ``greeting.py`` (sessions begin),
``reconciler.py`` (clocks are compared), ``pulls.py`` and ``receiver.py`` (segments come), ``plumtree.py`` (from whom),
``sender.py`` (segments go), ``liveness.py`` (time passes), ``memory_pressure.py`` (memory runs short).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gossiplog.errors import PeerError
from gossiplog.gossip import events, message_table
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.bringing import Bringing
from gossiplog.gossip.budget import Budget
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.charging import Charging
from gossiplog.gossip.commits import Commits
from gossiplog.gossip.core import Core
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.forks import Forks
from gossiplog.gossip.greeting import VERSION, Greeting
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.holed_pulls import HoledPulls
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.memory_pressure import MemoryPressure
from gossiplog.gossip.messages import Hello, Message, Ping, Pong
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.pacing import Pacing
from gossiplog.gossip.payload_giving import PayloadGiving
from gossiplog.gossip.peers_exchange import PeersExchange
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.quotas import QuotaLedger
from gossiplog.gossip.receiver import Receiver
from gossiplog.gossip.reconciler import Reconciler
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.write_queue import WriteQueue
from gossiplog.log.segment import Head, Segment, verify_whole


class Replica:
    """I am the gossip of one node.  ``effects = replica.handle(event, now)``.

    ``verify`` is :func:`~gossiplog.log.segment.verify_whole`, or says the same.
    """

    def __init__(
        self,
        node: bytes,
        instance: bytes,
        heads: Heads,
        *,
        agent: str = "gossiplog",
        budget: Budget | None = None,
        verify: Callable[[Segment], Head] | None = None,
        mode: Mode = Mode.BOTH,
    ) -> None:
        self.core = core = Core(heads, budget, mode)
        self.pulls = pulls = Pulls(core)
        self.catch_up = catch_up = CatchUp(core, pulls)
        self.liveness = liveness = Liveness(core, pulls, catch_up)
        self.pacing = pacing = Pacing(core, liveness)
        self.writes = writes = WriteQueue(core, pulls, pacing)
        self.announcer = announcer = Announcer(core, liveness)
        self.plumtree = tree = Plumtree(core, pulls, announcer)
        self.interest = interest = InterestExchange(core, pulls, catch_up, announcer, tree)
        self.holed_pulls = holed = HoledPulls(core, pulls, catch_up, interest)
        self.giving = giving = PayloadGiving(core, catch_up, announcer)
        self.hole_filling = filling = HoleFilling(core, pulls, catch_up, interest, holed, giving, writes)
        self.announcements = heard = Announcements(
            core, pulls, catch_up, announcer, tree, interest, holed, filling
        )
        self.forks = forks = Forks(core, pulls, catch_up, liveness, announcer, interest, filling, writes)
        self.reconciler = reconciler = Reconciler(
            core, pulls, catch_up, pacing, announcer, interest, filling, heard, forks
        )
        self.sender = sender = Sender(
            core, pulls, catch_up, pacing, announcer, tree, interest, giving, reconciler
        )
        self.receiver = Receiver(
            core,
            pulls,
            liveness,
            tree,
            interest,
            holed,
            filling,
            heard,
            forks,
            sender,
            writes,
            verify or verify_whole,
        )
        self.commits = Commits(core, pulls, catch_up, interest, filling, sender, writes)
        self.greeting = Greeting(
            node,
            Hello(VERSION, VERSION, mode.features, agent, instance),
            core,
            pulls,
            liveness,
            announcer,
            tree,
            interest,
            reconciler,
        )
        self.peers_exchange = PeersExchange(core, self.greeting)
        self.bringing = Bringing(core, pulls, self.pacing, announcer, tree, heard, reconciler, self._take)
        self.charging = Charging(core, heard)
        keeping = (announcer, tree, holed, giving, filling, heard, reconciler, sender)
        self.memory_pressure = MemoryPressure(
            core, pulls, catch_up, announcer, tree, interest, heard, reconciler, sender, writes, keeping
        )
        core.on_over = (pulls.over, self.greeting.over, self.bringing.over)
        core.on_left = (tree.left, filling.left, pulls.left)
        core.on_rest = (pulls.rest, announcer.rest, tree.rest, holed.rest, filling.rest)
        core.on_room = (giving.read_in_turn, announcer.tell, reconciler.reply, sender.send, giving.read)
        core.on_dropped = (announcer.forget, giving.drop)
        announcer.on_flush = (tree.explore_with,)
        liveness.has_told_all = announcer.has_told_all
        self._on_event: dict[type[Any], Callable[[Any], None]] = {
            events.Opened: self.greeting.opened,
            events.Received: self._received,
            events.Heard: liveness.trickled,
            events.Buffered: self.memory_pressure.buffered,
            events.Toiled: self.charging.toiled,
            events.Offended: lambda event: core.offend(event.session, event.error),
            events.Closed: lambda event: core.close(event.session, event.code, event.reason),
            events.Writable: sender.writable,
            events.Loaded: sender.loaded,
            events.Committed: self.commits.committed,
            events.CommitFailed: self.commits.failed,
            events.HolesFilled: filling.filled,
            events.HolesFound: filling.holes_found,
            events.PayloadsLoaded: giving.loaded,
            events.Examined: forks.examined,
            events.Brought: self.bringing.brought,
            events.InterestChanged: interest.interest_changed,
            events.Forgotten: interest.forgotten,
            events.Lightened: interest.lightened,
            events.ForkFound: forks.found,
            events.ForkWritten: forks.written,
            events.Probe: liveness.probe,
            events.Doubted: liveness.doubted,
            events.TellPeers: self.peers_exchange.tell,
            events.Tick: lambda event: core.tick(),
        }
        self._on_message = message_table.takers(
            (
                self.greeting,
                reconciler,
                sender,
                self.receiver,
                heard,
                giving,
                forks,
                self.peers_exchange,
                liveness,
            )
        )

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; returns what is to be done, in order."""
        core = self.core
        core.now = now
        paged = core.heads.paged
        if paged is None or not self.bringing.takes(event):
            self._take(event)
        self.interest.say_names()
        number = getattr(event, "session", None)
        if number in core.sessions:
            self.pacing.may_cost(core.sessions[number])
        self.memory_pressure.balance(number)
        if paged is not None:
            self.bringing.trim(paged)
        return core.take_effects()

    def _take(self, event: Event) -> None:
        self._on_event[type(event)](event)

    def _received(self, event: events.Received) -> None:
        """A message came: who may say it, what it costs, and then who takes it."""
        session, message = self.core.sessions.get(event.session), event.message
        if session is None:
            return
        self.liveness.heard(session)
        self.memory_pressure.limit_claims(session)
        if type(message) is not Ping and type(message) is not Pong:
            session.is_quiet = False
            session.heard_at = self.core.now
        try:
            message_table.check(message, session.phase)
            self.charging.charge(session, message, message_table.price(message))
            self._on_message[type(message)](session, message)
        except PeerError as error:
            self.core.offend(session.number, error)

    # -- what others may ask

    @property
    def deadline(self) -> float | None:
        """When the next :class:`~gossiplog.gossip.events.Tick` is due, None while nothing waits."""
        return self.core.deadline

    @property
    def caught_up(self) -> bool:
        """Whether all that the peers told us of is on our disk; False while there is none, or one has not said yet."""
        return self.catch_up.is_complete

    def limit_to(self, choices: Choices, ledger: QuotaLedger) -> None:
        """Want what ``choices`` say and ``ledger`` allows; before there are sessions."""
        self.interest.limit_to(choices, ledger)

    def awaited(self, number: int, messages: Iterable[Message]) -> list[Segment]:
        """The segments among ``messages`` of one session that are going to be verified, as it looks now.  O(n)."""
        return self.receiver.awaited(number, messages)
