"""Whether peers are there, and hold what we hold.

Responsible for: PING and PONG: silent peers are asked and given up, root fingerprints compared; "in sync".
Must not know: how segments are accepted or sent.
Invariant: whoever is silent for too long is closed; a difference that no message tells of is found by the second PING.
"""

from __future__ import annotations

from collections.abc import Callable

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.messages import Ping, Pong, Unknown
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import Phase, Session, Slot


class Pulse:
    """What was asked of one peer, and what it is to answer.

    ``token`` and ``root``: what our last PING said; ``answer_by``: when the peer has to have said anything.  ``owed``:
    its PING that was not answered yet.  ``is_probed``: the application waits for both sides to hold the same.
    ``news_at``: when it last brought something new.
    """

    __slots__ = (
        "answer_by",
        "heard_at",
        "is_probed",
        "look_at",
        "mismatch_at",
        "mismatch_patience",
        "news_at",
        "owed",
        "probe_interval",
        "root",
        "token",
    )

    def __init__(self, session: Session) -> None:
        self.heard_at = session.began_at
        self.news_at = float("-inf")
        self.answer_by: float | None = None
        self.look_at: float | None = None
        self.token: int | None = None
        self.root = b""
        self.owed: Ping | None = None
        self.is_probed = False
        self.probe_interval = 0.0
        self.mismatch_at: float | None = None
        self.mismatch_patience = limits.MISMATCH_SECONDS


class Liveness:
    """I ask the peers of one replica whether they are there.

    ``has_told_all`` says of a session whether the peer knows all that it is to be told.
    """

    def __init__(self, core: Core, pulls: Pulls, catch_up: CatchUp) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self.of = Slot(Pulse)
        self.has_told_all: Callable[[Session], bool] = lambda session: True
        self._token = 0

    # -- is the peer there?

    def look_after(self, session: Session, when: float) -> None:
        """See at ``when`` at the latest whether the peer is there."""
        pulse = self.of[session]
        if pulse.look_at is None or when < pulse.look_at:
            pulse.look_at = when
            self._core.at(when, self._look, session, when)

    def _look(self, session: Session, when: float) -> None:
        """Ping a silent peer, close one that stays silent."""
        core, pulse = self._core, self.of[session]
        if session.phase is Phase.ENDED or pulse.look_at != when:
            return
        pulse.look_at = None
        if session.phase is Phase.GREETING:
            core.close(session.number, ByeCode.TIMEOUT, "no HELLO in time")
            return
        if not session.is_read:
            self.heard(session)  # or would have, had we listened
        # a peer that has much to send hears from us only if we speak: its own PING would be stuck behind all that
        silent_since = min(pulse.heard_at, session.sent_at)
        if pulse.answer_by is None and core.now >= silent_since + limits.PING_SECONDS:
            self.ask(session, limits.PING_DEADLINE_SECONDS)
        if pulse.answer_by is None:
            self.look_after(session, silent_since + limits.PING_SECONDS)
        elif core.now >= pulse.answer_by:
            core.close(session.number, ByeCode.TIMEOUT, "no answer to PING")
        else:
            self.look_after(session, pulse.answer_by)

    def heard(self, session: Session) -> None:
        """The peer is there."""
        pulse = self.of[session]
        pulse.heard_at = self._core.now
        pulse.answer_by = None

    def is_waiting(self, session: Session) -> bool:
        """Whether the peer was asked, and said nothing since."""
        return self.of[session].answer_by is not None

    def ask(self, session: Session, within: float) -> None:
        """Ask the peer whether it is there, and what it holds; it has to answer within so many seconds."""
        pulse = self.of[session]
        answer_by = self._core.now + within
        if pulse.answer_by is None or answer_by < pulse.answer_by:
            pulse.answer_by = answer_by
            self.look_after(session, answer_by)
        session.is_quiet = True
        pulse.root = session.view.root(session.salt)
        self._token += 1
        pulse.token = self._token
        self._core.send(session, Ping(self._token, pulse.root))

    def doubted(self, event: events.Doubted) -> None:
        """Ask the peer of a session, which has to answer soon."""
        session = self._core.open_session(event.session)
        if session is not None:
            self.of[session].answer_by = None
            self.ask(session, limits.ROAMING_PING_SECONDS)

    def trickled(self, event: events.Heard) -> None:
        """Part of a message is here."""
        session = self._core.sessions.get(event.session)
        if session is not None:
            self.heard(session)
            self._pulls.schedule.trickled(session.number, self._core.now)

    def pass_over(self, session: Session, message: Unknown) -> None:
        """Allowed, and of no use to this node, but as a sign of life."""

    # -- does it hold what we hold?

    def ping(self, session: Session, ping: Ping) -> None:
        """Answer at once, or, while the peer does not read, the last one when it does: only that answer counts."""
        self.of[session].owed = ping
        self.answer(session)

    def answer(self, session: Session) -> None:
        """Answer the peer's last PING, if it was not and there is room."""
        pulse = self.of[session]
        if pulse.owed is not None and session.outbox.control_credit_bytes > 0:
            token, pulse.owed = pulse.owed.token, None
            done = self._has_gone(session)
            self._core.send(session, Pong(token, session.view.root(session.salt), done))

    def pong(self, session: Session, pong: Pong) -> None:
        """Compare root fingerprints: no lost message may need a restart.  An empty one says nothing."""
        core, pulse = self._core, self.of[session]
        if pong.token != pulse.token:
            return  # nobody asked, or we asked again since
        pulse.token = None
        root = session.view.root(session.salt)
        same = pong.root == root
        if pulse.is_probed and (
            (same and self._is_at_rest(session)) or (pong.done and self._arrived(session, root))
        ):
            pulse.is_probed = False
            core.emit(events.InSync(session.number, session.peer))
        if same or not pong.root or not session.takes or not session.is_quiet or pulse.root != root:
            pulse.mismatch_at = None
        elif pulse.mismatch_at is None:
            pulse.mismatch_at = core.now
        elif core.now - pulse.mismatch_at >= pulse.mismatch_patience:
            pulse.mismatch_at = None
            pulse.mismatch_patience = min(2 * pulse.mismatch_patience, limits.MISMATCH_MOST_SECONDS)
            self._catch_up.start(session)
        if pulse.is_probed:
            core.at(core.now + pulse.probe_interval, self._probe_again, session)
            pulse.probe_interval = min(pulse.probe_interval * 2, 1.0)

    def _is_at_rest(self, session: Session) -> bool:
        """Whether all that is held is on disk, here, and nothing is on its way to the peer."""
        standing = self._catch_up.of[session]
        is_caught_up = standing.is_caught_up and not self._catch_up.lost_of(session)
        return is_caught_up and session.outbox.idle and not self._core.heads.pending

    def _has_gone(self, session: Session) -> bool:
        """Whether, where entries go one way only, all of them have, as far as we know: what came is on our disk."""
        is_one_way = session.gives != session.takes
        is_told = is_one_way and not (session.gives and not self.has_told_all(session))
        if self._pulls.is_behind(session) or self._core.is_read_only:  # what was pushed may be lost
            return False
        return is_told and self._is_at_rest(session)

    def _arrived(self, session: Session, root: bytes) -> bool:
        """Whether the answer of a peer that all has gone means that it is where it goes.

        What we give may be new since we asked: then it says nothing.
        """
        is_same = session.takes or (session.is_quiet and self.of[session].root == root)
        return is_same and self._has_gone(session)

    def probe(self, event: events.Probe) -> None:
        """Find out when both sides of a session hold the same, or what may go one way has gone; if anything may."""
        session = self._core.open_session(event.session)
        if session is None or not (session.gives or session.takes):
            return
        if not self.of[session].is_probed:
            self.of[session].is_probed = True
            self.of[session].probe_interval = 0.01
            self.ask(session, limits.PING_DEADLINE_SECONDS)

    def _probe_again(self, session: Session) -> None:
        if self.of[session].is_probed and session.phase is Phase.OPEN:
            self.ask(session, limits.PING_DEADLINE_SECONDS)

    def news_at(self, number: int) -> float:
        """When the peer of a session last brought something new; before all times if it never did."""
        session = self._core.sessions.get(number)
        return float("-inf") if session is None else self.of[session].news_at

    def progressed(self, session: Session, points: float) -> None:
        """The peer brought something new, it was verified, and to find out cost so many points."""
        session.allowance.earn(points)
        self.of[session].news_at = self._core.now
        self.of[session].mismatch_patience = limits.MISMATCH_SECONDS
