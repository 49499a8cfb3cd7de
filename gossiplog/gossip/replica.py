"""The replication of one node: events in, effects out.

Responsible for: how sessions begin, comparing clocks, and who deals with each event and message.
Must not know: sockets, files, threads, the time (it is told ``now``), logging.
Invariant: what a peer does wrong ends its session and no other.

Reading order: :meth:`Replica.handle`, then ``intake.py`` (segments come), ``tree.py`` (from whom), ``sending.py``
(segments go), ``upkeep.py`` (time passes, sessions end) and ``shedding.py`` (memory runs short).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gossiplog import limits
from gossiplog.errors import ByeCode, PeerError, UnexpectedMessageError, VersionMismatchError
from gossiplog.gossip import events
from gossiplog.gossip.allowance import price
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.memory_pressure import MemoryPressure
from gossiplog.gossip.messages import (
    Bye,
    Fill,
    Fork,
    Have,
    Hello,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Ranges,
    Refuse,
    Unknown,
    Want,
)
from gossiplog.gossip.reconcile import NOTHING
from gossiplog.gossip.session import Phase, Session
from gossiplog.gossip.wanted_heads import WantedHeads
from gossiplog.log.segment import Segment

VERSION = 1
"""The protocol version spoken; HELLO names the lowest and the highest."""


class Replica(MemoryPressure):
    """I am the gossip of one node.  ``effects = replica.handle(event, now)``."""

    def __init__(self, node: bytes, instance: bytes, holdings: Heads, *, agent: str = "gossiplog") -> None:
        super().__init__(holdings)
        self.node = node
        self.hello = Hello(VERSION, VERSION, (), agent, instance)
        self._on_event: dict[type[Any], Callable[[Any], None]] = {
            events.Opened: self._opened,
            events.Received: self._received,
            events.Heard: self._trickled,
            events.Buffered: lambda event: self._buffered(event.session, event.size_bytes),
            events.Toiled: self._toiled,
            events.Offended: lambda event: self._offence(event.session, event.error),
            events.Closed: lambda event: self._close(event.session, event.code, event.reason),
            events.Writable: self._writable,
            events.Loaded: self._loaded,
            events.Committed: self._committed,
            events.CommitFailed: self._commit_failed,
            events.HolesFilled: self._filled,
            events.HolesFound: self._holes_found,
            events.PayloadsLoaded: self._payloads_loaded,
            events.Examined: self._examined,
            events.InterestChanged: self._interest_changed,
            events.Forgotten: self._forgotten,
            events.Lightened: self._lightened,
            events.ForkFound: lambda event: self._freeze(event.proof, None),
            events.ForkWritten: self._fork_written,
            events.Probe: lambda event: self._probe(event.session),
            events.Tick: lambda event: self._tick(),
        }
        self._on_message: dict[type[Any], Callable[[Session, Any], None]] = {
            Hello: self._greeted,
            Ranges: self._ranges,
            Want: self._want,
            Lazy: self._serve,
            Refuse: self._serve,
            Segment: self._segment,
            Have: self._have,
            Fill: self._fill,
            Fork: self._fork,
            Peers: self._skip,
            Ping: self._ping,
            Pong: self._pong,
            Bye: lambda session, m: self._close(session.number, m.code, m.reason, by_peer=True),
            Unknown: self._skip,
        }

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; returns what is to be done, in order."""
        self.now = now
        self._on_event[type(event)](event)
        self._say_names()
        number = getattr(event, "session", None)
        if number in self.sessions:
            self._may_cost(self.sessions[number])
        self._balance(number)
        effects, self._effects = self._effects, []
        return effects

    # -- sessions come and go

    def _opened(self, event: events.Opened) -> None:
        if not event.dialled and not self.budget.has_place():
            self._emit(events.End(event.session, ByeCode.LIMIT, "no memory is left for more sessions"))
            return
        if not self.sessions:
            self._resume_quotas()
        self.budget.open(event.session, self.now)
        allowance = self.allowances.open(event.peer, self.now)
        session = Session(event.session, event.peer, event.salt, event.dialled, allowance, self.now)
        self.sessions[event.session] = session
        session.view = WantedHeads(self._our_view, session.wanted)
        if len(self.sessions) == 1:
            self._look_at(self.ledger.rests_until)
        session.root_in_hello = self._our_view.root(session.salt)
        session.announce.update(dict.fromkeys(self.holdings.ahead))  # what the root does not know yet
        names, session.introduction = self._interest()
        hello = self.hello._replace(interest=self.wanted.mode, exceptions=names, root=session.root_in_hello)
        self._send(session, hello)
        self._tell(session)
        self._watch(session, self.now + limits.HANDSHAKE_SECONDS)

    def _received(self, event: events.Received) -> None:
        session = self.sessions.get(event.session)
        if session is None:
            return
        message = event.message
        self._heard(session)
        self._limit_claims(session)
        if type(message) is not Ping and type(message) is not Pong:
            session.quiet = False
        try:
            session.check(message)
            points = price(message)
            if self._is_free(session, message, points):
                points = 0.0
            session.allowance.charge(points, self.now)
            self._on_message[type(message)](session, message)
        except PeerError as error:
            self._offence(session.number, error)

    def _is_free(self, session: Session, message: Message, points: float) -> bool:
        """Whether we asked for this, or it is new whatever it says."""
        session.is_answer = False
        if type(message) is Fork:
            author = message.proof.author
            if self.wanted.wants(author) and author not in self.holdings.forks:
                return True  # new, or an offence
            if session.outbox.is_owed(author):
                session.outbox.forget(author)  # it knows
                return True
        session.is_answer = session.answers.answer(message, points, self.holdings.accepted_seq, session.named)
        if session.is_answer:
            return True
        return self.read_only and type(message) is Segment  # it may be new, if not for our disk

    def _trickled(self, event: events.Heard) -> None:
        session = self.sessions.get(event.session)
        if session is not None:
            self._heard(session)
            self.schedule.trickled(session.number, self.now)

    def _toiled(self, event: events.Toiled) -> None:
        session = self.sessions.get(event.session)
        if session is not None:
            session.allowance.charge(event.points, self.now)

    def _skip(self, session: Session, message: Peers | Unknown) -> None:
        """Allowed, and of no use to this node."""
        session.unknown_messages += 1

    def _greeted(self, session: Session, hello: Hello) -> None:
        if hello.low > VERSION or hello.high < VERSION:
            raise VersionMismatchError(
                f"peer speaks protocol versions {hello.low} to {hello.high}, we speak {VERSION}"
            )
        if session.peer == self.node:
            self._close(session.number, ByeCode.SELF, "this is our own address")
            return
        session.instance = hello.instance
        session.agent = hello.agent
        if not self._survives(session):
            self._close(session.number, ByeCode.DUPLICATE, "already connected")
            return
        session.phase = Phase.OPEN
        session.their_root = hello.root
        session.wanted.mode = hello.interest
        is_last = len(hello.exceptions) + hello.reserved < limits.MAX_EXCEPTIONS
        self._introduce(session, hello.exceptions, is_last=is_last)
        self.schedule.add(session.number)
        self._joined()
        self._emit(events.PeerUp(session.number, session.peer, session.agent))
        session.announces = True
        self._begin(session)

    def _begin(self, session: Session) -> None:
        """Compare what both want, as soon as both have said what that is."""
        if session.introduced:
            same_interest = session.wanted == self.wanted
            if same_interest and session.root_in_hello and session.root_in_hello == session.their_root:
                session.settled = True  # what was news since then is owed
                self._check_caught_up(session)
                self._seek_payloads(session)
            elif session.dialled or not session.root_in_hello:
                # a dialler that read our HELLO may see no difference when our interest changed since
                self._start_reconcile(session, by_fingerprint=not same_interest)
        self._pump(session)

    def _survives(self, fresh: Session) -> bool:
        """One connection per pair of nodes: close the other one, or say that ``fresh`` has to go."""
        for other in tuple(self.sessions.values()):
            if other.peer != fresh.peer or other.phase is not Phase.OPEN:
                continue
            two_diallers = other.instance == fresh.instance and other.dialled != fresh.dialled
            if two_diallers and other.dialled == (self.node < fresh.peer):
                # of their connections the one dialled by the lower node id lives
                self._ask_alive(other, limits.SURVIVOR_SECONDS)
                return False
            self._close(other.number, ByeCode.DUPLICATE, "replaced by a newer connection")
        return True

    # -- clocks

    def _ranges(self, session: Session, message: Ranges) -> None:
        if not session.introduced:
            raise UnexpectedMessageError("RANGES before the last of the names that HELLO began")
        self._heed_items(session, message)
        step = session.reconcile.receive(message, session.view)
        if step.replies is not NOTHING:
            session.ranges.append(step.replies)
        for author, seq in step.ahead:
            self._learn(session, author, seq)
        self._disagree(session, step.conflicts)
        if step.finished:
            session.settled = True
            self._seek_payloads(session)
        self._pump(session)
        self._ask()
        self._check_caught_up(session)
