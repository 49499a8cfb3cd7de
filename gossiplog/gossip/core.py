"""What the parts of a replica share.

Responsible for: the time, what is held and wanted, the sessions and how they end, timers, effects, and the moments that
parts are told of: a session ends, a peer has room, an author is not to be sent any more.
Must not know: what any part does at such a moment.
Invariant: without sessions there is no timer; of a session that is over nothing is left here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gossiplog.errors import PeerError
from gossiplog.gossip import events
from gossiplog.gossip.budget import Budget
from gossiplog.gossip.events import Effect, End, Send
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Wanted
from gossiplog.gossip.messages import Fill, Message, Ping, Pong, Want
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.outbox import control_bytes
from gossiplog.gossip.quotas import QuotaLedger, Quotas
from gossiplog.gossip.session import Phase, Session
from gossiplog.gossip.wanted_heads import WantedHeads
from gossiplog.log.disk_cost import Weights


class Timer(NamedTuple):
    """At ``when`` do ``action`` with ``arguments``; of two at one time, the one with the lower number comes first."""

    when: float
    number: int
    action: Callable[..., None]
    arguments: tuple[Any, ...]


class Core:
    """I am what the parts of one replica have in common.

    ``on_over`` is told of every session that is over, ``on_left`` then of those that were open, ``on_rest`` when none
    is left; ``on_room``, in this order, that something may be sent to a peer; ``on_dropped`` that a peer is to be sent
    nothing more of an author.  ``mode`` is which way entries may go, ``wanted`` what we want, ``view`` what we hold of
    that, and ``ledger`` how much may be taken of whom.
    """

    def __init__(self, heads: Heads, budget: Budget | None = None, mode: Mode = Mode.BOTH) -> None:
        self.heads = heads
        self.mode = mode
        self.wanted = Wanted()
        self.view = WantedHeads(heads, self.wanted)
        self.ledger = QuotaLedger(Quotas(), Weights(), heads.local)
        self.budget = Budget() if budget is None else budget
        self.sessions: dict[int, Session] = {}
        self.now = 0.0
        self.is_read_only = False
        self.changed: list[Session] = []
        """Sessions of which more is kept, whatever session the event was of."""
        self.brought: dict[tuple[bytes, int], int] = {}
        """Which session brought what is on its way to the disk, by author and first seq."""
        self.told_all = 0
        """How often something was given to all sessions."""
        self.on_over: Sequence[Callable[[Session], None]] = ()
        self.on_left: Sequence[Callable[[Session], None]] = ()
        self.on_rest: Sequence[Callable[[], None]] = ()
        self.on_room: Sequence[Callable[[Session], None]] = ()
        self.on_dropped: Sequence[Callable[[Session, bytes], None]] = ()
        self._effects: list[Effect] = []
        self._timers: list[Timer] = []
        self._timer_count = 0

    def open_sessions(self) -> Iterator[Session]:
        """Sessions in which both said HELLO."""
        return (session for session in tuple(self.sessions.values()) if session.phase is Phase.OPEN)

    def open_session(self, number: int) -> Session | None:
        """The session of this number, None if it is not open."""
        session = self.sessions.get(number)
        return session if session is not None and session.phase is Phase.OPEN else None

    # -- effects

    def emit(self, effect: Effect) -> None:
        """Have this done."""
        self._effects.append(effect)

    def send(self, session: Session, message: Message) -> None:
        """Have this said to a peer."""
        if type(message) is not Ping and type(message) is not Pong:
            session.is_quiet = False
        session.sent_at = self.now
        session.outbox.control_credit_bytes -= control_bytes(message)
        session.answers.asked(message)
        if type(message) is Want or type(message) is Fill:
            self.changed.append(session)
        self._effects.append(Send(session.number, message))

    def take_effects(self) -> list[Effect]:
        """Return what is to be done, in order; it is not returned again."""
        effects, self._effects = self._effects, []
        return effects

    # -- time

    @property
    def deadline(self) -> float | None:
        """When the next :class:`~gossiplog.gossip.events.Tick` is due, None while nothing waits."""
        return self._timers[0].when if self._timers else None

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do ``action`` with these arguments at ``when``, unless no session is left by then."""
        self._timer_count += 1
        heapq.heappush(self._timers, Timer(when, self._timer_count, action, arguments))

    def tick(self) -> None:
        """Time has passed: do what is due."""
        while self._timers and self._timers[0].when <= self.now:
            timer = heapq.heappop(self._timers)
            timer.action(*timer.arguments)

    # -- moments

    def send_waiting(self, session: Session) -> None:
        """Send what waits for this peer and may go, and read ahead."""
        for step in self.on_room:
            step(session)

    def drop(self, session: Session, author: bytes) -> None:
        """Send nothing more of ``author``, whatever the peer asked for."""
        session.outbox.forget(author)
        session.outbox.withdraw(author)
        for told in self.on_dropped:
            told(session, author)

    def offend(self, number: int, error: PeerError) -> None:
        """The peer of a session did what it must not: that is its end."""
        session = self.sessions.get(number)
        if session is not None:
            self.emit(events.PeerRejected(number, session.peer, error))
            self.close(number, error.code, str(error))

    def close(self, number: int, code: int, reason: str, *, by_peer: bool = False) -> None:
        """End a session, if it is not over."""
        session = self.sessions.pop(number, None)
        if session is None:
            return
        was_open = session.phase is Phase.OPEN
        session.phase = Phase.ENDED
        session.view.close()
        self.budget.close(number)
        for over in self.on_over:
            over(session)
        if not self.sessions:
            self._timers.clear()
            for rest in self.on_rest:
                rest()
        self.emit(End(number, code, reason, by_peer))
        if was_open:
            self.emit(events.PeerDown(number, session.peer, code, reason))
            for left in self.on_left:
                left(session)
