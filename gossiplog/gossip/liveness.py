"""What a replica does because time passes, and how its sessions end.

Responsible for: timers, PING and PONG, stalls, "caught up" and "in sync", closing.
Must not know: how segments are accepted or sent.
Invariant: without sessions there is no timer; a session that is over leaves nothing behind.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from gossiplog import limits
from gossiplog.errors import ByeCode, PeerError
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowances
from gossiplog.gossip.budget import Budget
from gossiplog.gossip.events import Effect, End, Send
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Fill, Message, Ping, Pong, Want
from gossiplog.gossip.outbox import control_bytes
from gossiplog.gossip.pull_scheduler import PullScheduler
from gossiplog.gossip.session import Pause, Phase, Session
from gossiplog.gossip.withdrawn_claims import WithdrawnClaims

BURY_SECONDS = 0.005
"""Between two parts of what is forgotten of very many claims: of a million, for five seconds."""


class Liveness:
    """I keep the sessions of one replica alive, and bury them."""

    def __init__(self, holdings: Heads) -> None:
        self.holdings = holdings
        self.schedule = PullScheduler(holdings.clock.seq)
        self.withdrawn = WithdrawnClaims(self.schedule)
        self.budget = Budget()
        self.allowances = Allowances()
        self.sessions: dict[int, Session] = {}
        self.now = 0.0
        self._effects: list[Effect] = []
        self._asked: list[Session] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._watching_stalls = self._burying = False
        self._token = 0
        self._reading = True

    def open_sessions(self) -> Iterator[Session]:
        """Sessions in which both said HELLO."""
        return (session for session in tuple(self.sessions.values()) if session.phase is Phase.OPEN)

    @property
    def caught_up(self) -> bool:
        """Whether all that the peers told us of is on our disk; False while there is none, or one has not said yet."""
        sessions = list(self.open_sessions())
        return bool(sessions) and all(s.settled and not self._is_behind(s) for s in sessions)

    def _is_behind(self, session: Session) -> bool:
        """Whether the peer has something for us, with payloads or without."""
        return bool(self.schedule.missing(session.number)) or self.withdrawn.has(session.number)

    @property
    def deadline(self) -> float | None:
        """When the next :class:`~gossiplog.gossip.events.Tick` is due, None while nothing waits."""
        return self._timers[0][0] if self._timers else None

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _send(self, session: Session, message: Message) -> None:
        if type(message) is not Ping and type(message) is not Pong:
            session.quiet = False
        session.sent_at = self.now
        session.outbox.control_credit_bytes -= control_bytes(message)
        session.answers.asked(message)
        if type(message) is Want or type(message) is Fill:
            self._asked.append(session)
        self._effects.append(Send(session.number, message))

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, action))

    def _rest(self) -> None:
        """Nobody is left to do anything for."""
        self._timers.clear()
        self._watching_stalls = self._burying = False

    def _tick(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    # -- is the peer there?

    def _watch(self, session: Session, when: float) -> None:
        """Look after ``session`` at ``when`` at the latest."""
        if session.watch_at is None or when < session.watch_at:
            session.watch_at = when
            self._at(when, lambda: self._look_after(session, when))

    def _look_after(self, session: Session, when: float) -> None:
        """Ping a silent peer, close one that stays silent."""
        if session.phase is Phase.ENDED or session.watch_at != when:
            return
        session.watch_at = None
        if session.phase is Phase.GREETING:
            self._close(session.number, ByeCode.TIMEOUT, "no HELLO in time")
            return
        if not session.is_read:
            self._heard(session)  # or would have, had we listened
        # a peer that has much to send hears from us only if we speak: its own PING would be stuck behind all that
        silent_since = min(session.heard_at, session.sent_at)
        if session.answer_by is None and self.now >= silent_since + limits.PING_SECONDS:
            self._ask_alive(session, limits.PING_DEADLINE_SECONDS)
        if session.answer_by is None:
            self._watch(session, silent_since + limits.PING_SECONDS)
        elif self.now >= session.answer_by:
            self._close(session.number, ByeCode.TIMEOUT, "no answer to PING")
        else:
            self._watch(session, session.answer_by)

    def _heard(self, session: Session) -> None:
        """The peer is there."""
        session.heard_at = self.now
        session.answer_by = None

    def _ask_alive(self, session: Session, within: float) -> None:
        if session.answer_by is None:
            session.answer_by = self.now + within
            self._watch(session, session.answer_by)
        session.quiet = True
        session.root_said = session.view.root(session.salt)
        self._token += 1
        session.asked = self._token
        self._send(session, Ping(self._token, session.root_said))

    def _ping(self, session: Session, ping: Ping) -> None:
        """Answer at once, or, while the peer does not read, the last one when it does: only that answer counts."""
        if session.outbox.control_credit_bytes > 0:
            session.ping = None
            self._send(session, Pong(ping.token, session.view.root(session.salt)))
        else:
            session.ping = ping

    def _pong(self, session: Session, pong: Pong) -> None:
        """Compare root fingerprints: no lost message may need a restart.  An empty one says nothing."""
        if pong.token != session.asked:
            return  # nobody asked, or we asked again since
        session.asked = None
        root = session.view.root(session.salt)
        same = pong.root == root
        if (
            session.probing
            and same
            and session.caught_up
            and session.outbox.idle
            and not self.holdings.pending
        ):
            session.probing = False
            self._emit(events.InSync(session.number, session.peer))
        if same or not pong.root or not session.quiet or session.root_said != root:
            session.mismatch_at = None
        elif session.mismatch_at is None:
            session.mismatch_at = self.now
        elif self.now - session.mismatch_at >= session.mismatch_patience:
            session.mismatch_at = None
            session.mismatch_patience = min(2 * session.mismatch_patience, limits.MISMATCH_MOST_SECONDS)
            self._start_reconcile(session)
        if session.probing:
            self._at(self.now + session.probe_interval, lambda: self._probe_again(session))
            session.probe_interval = min(session.probe_interval * 2, 1.0)

    def _probe(self, number: int) -> None:
        session = self.sessions.get(number)
        if session is not None and session.phase is Phase.OPEN and not session.probing:
            session.probing = True
            session.probe_interval = 0.01
            self._ask_alive(session, limits.PING_DEADLINE_SECONDS)

    def _probe_again(self, session: Session) -> None:
        if session.probing and session.phase is Phase.OPEN:
            self._ask_alive(session, limits.PING_DEADLINE_SECONDS)

    def _progressed(self, session: Session, points: float) -> None:
        """The peer brought something new, it was verified, and to find out cost so many points."""
        session.allowance.earn(points)
        session.mismatch_patience = limits.MISMATCH_SECONDS

    # -- what it costs

    def _pause(self, session: Session, why: Pause) -> None:
        """Read nothing more from the peer."""
        if session.is_read:
            self._emit(events.Reading(session.number, False))
        session.pauses.add(why)

    def _read_on(self, session: Session, why: Pause) -> None:
        """That is no reason any more to read nothing."""
        if why in session.pauses:
            session.pauses.remove(why)
            if session.is_read:
                self._heard(session)
                self._emit(events.Reading(session.number, True))

    def _may_cost(self, session: Session) -> bool:
        """Whether there is anything left of what the peer may cost; if not, let it wait for some."""
        if session.allowance.leaves(0, self.now):
            return True
        if Pause.COST not in session.pauses and session.phase is Phase.OPEN:
            self._pause(session, Pause.COST)
            self._wait_for_points(session)
        return False

    def _wait_for_points(self, session: Session) -> None:
        points = limits.PAUSE_SECONDS * limits.ALLOWANCE_POINTS_PER_SECOND
        seconds = session.allowance.seconds_to(points, self.now)
        self._at(self.now + max(limits.PAUSE_SECONDS, seconds), lambda: self._go_on(session))

    def _go_on(self, session: Session) -> None:
        if session.phase is Phase.ENDED:
            return
        if session.allowance.leaves(0, self.now):
            self._read_on(session, Pause.COST)
            self._pump(session)
        else:
            self._wait_for_points(session)

    # -- reconcile and catching up

    def _start_reconcile(self, session: Session, *, by_fingerprint: bool = False) -> None:
        """Begin one when there is room; one that has not begun yet will say all that another would."""
        session.owed_by_fingerprint = by_fingerprint
        session.reconcile_owed = True
        self._pump(session)

    def _check_caught_up(self, session: Session) -> None:
        if session.settled and self.schedule.claimed_more(session.number):
            session.settled = False
            self._start_reconcile(session)
        elif session.settled and not session.caught_up and not self._is_behind(session):
            session.caught_up = True
            self._emit(events.CaughtUp(session.number, session.peer))

    def _watch_stalls(self) -> None:
        if not self._watching_stalls:
            self._watching_stalls = True
            self._at(self.now + limits.STALL_SECONDS / 2, self._look_for_stalls)

    def _look_for_stalls(self) -> None:
        self._watching_stalls = False
        if not self._reading:
            self.schedule.resume(self.now)
        if self.schedule.stalled(self.now):
            self._ask()
        if self.schedule.pulled_from:
            self._watch_stalls()

    def _bury_later(self) -> None:
        """Forget who claimed what, some at a time, if that are very many."""
        if self.schedule.buries and not self._burying:
            self._burying = True
            self._at(self.now + BURY_SECONDS, self._bury)

    def _bury(self) -> None:
        self._burying = False
        self.schedule.bury()
        self._bury_later()

    def _ask(self) -> None:
        raise NotImplementedError

    def _pump(self, session: Session) -> None:
        raise NotImplementedError

    def _left(self, session: Session) -> None:
        raise NotImplementedError

    # -- ends

    def _offence(self, number: int, error: PeerError) -> None:
        session = self.sessions.get(number)
        if session is None:
            return
        self._emit(events.PeerRejected(number, session.peer, error))
        self._close(number, error.code, str(error))

    def _close(self, number: int, code: int, reason: str, *, by_peer: bool = False) -> None:
        session = self.sessions.pop(number, None)
        if session is None:
            return
        was_open = session.phase is Phase.OPEN
        session.phase = Phase.ENDED
        session.view.close()
        self.schedule.remove(number)
        self.withdrawn.remove(number)
        self.budget.close(number)
        self.allowances.close(session.peer, self.now)
        if self.sessions:
            self._bury_later()
        else:
            self.schedule.bury_all()
            self._rest()
        self._emit(End(number, code, reason, by_peer))
        if was_open:
            self._emit(events.PeerDown(number, session.peer, code, reason))
            self._left(session)
            self._ask()
