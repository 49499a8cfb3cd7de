"""How sessions begin, and end in good order.

Responsible for: HELLO in both directions, BYE, and which of two connections to one peer survives.
Must not know: what is compared then.
Invariant: at most one session with a peer is open.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.errors import ByeCode, VersionMismatchError
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowances
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.core import Core
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import Bye, Hello
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.reconciler import Reconciler
from gossiplog.gossip.session import Phase, Session

VERSION = 1
"""The protocol version spoken; HELLO names the lowest and the highest."""


class Greeting:
    """I begin the sessions of the replica of ``node``, with the HELLO ``ours``."""

    def __init__(
        self,
        node: bytes,
        ours: Hello,
        core: Core,
        pulls: Pulls,
        liveness: Liveness,
        announcer: Announcer,
        plumtree: Plumtree,
        interest: InterestExchange,
        reconciler: Reconciler,
    ) -> None:
        self.node = node
        self.ours = ours
        self._core = core
        self._pulls = pulls
        self._liveness = liveness
        self._announcer = announcer
        self._plumtree = plumtree
        self._interest = interest
        self._reconciler = reconciler
        self.allowances = Allowances()
        self._mute: dict[bytes, None] = {}  # what we dialled there last ended without HELLO

    def over(self, session: Session) -> None:
        """A session is over."""
        self.allowances.close(session.peer, self._core.now)
        if session.dialled and not session.instance:
            self._mute[session.peer] = None
            if len(self._mute) > limits.MAX_ALLOWANCES:
                del self._mute[next(iter(self._mute))]

    def opened(self, event: events.Opened) -> None:
        """A channel is up: say HELLO, unless there is a session already."""
        core = self._core
        if event.dialled and self._is_met(event.peer):
            core.emit(events.End(event.session, ByeCode.DUPLICATE, "already connected"))
            return
        if not event.dialled and not core.budget.has_place():
            core.emit(events.End(event.session, ByeCode.LIMIT, "no memory is left for more sessions"))
            return
        if not core.sessions:
            self._interest.resume_quotas()
        core.budget.open(event.session, core.now)
        allowance = self.allowances.open(event.peer, core.now)
        session = Session(
            event.session, event.peer, event.salt, event.dialled, allowance, core.view, core.now, core.mode
        )
        core.sessions[event.session] = session
        if len(core.sessions) == 1:
            self._interest.lift_rested_at(self._core.ledger.rests_until)
        root = self._interest.of[session].root = core.view.root(session.salt)
        self._announcer.owe_all(session, [*core.heads.ahead])  # what the root does not know yet
        names, rest = self._interest.introduction()
        self._announcer.introduce(session, rest)
        core.send(session, self.ours._replace(interest=core.wanted.mode, exceptions=names, root=root))
        self._announcer.tell(session)
        self._liveness.look_after(session, core.now + limits.HANDSHAKE_SECONDS)

    def hello(self, session: Session, hello: Hello) -> None:
        """The peer says HELLO: the session is open."""
        core = self._core
        if hello.low > VERSION or hello.high < VERSION:
            raise VersionMismatchError(
                f"peer speaks protocol versions {hello.low} to {hello.high}, we speak {VERSION}"
            )
        if session.peer == self.node:
            core.close(session.number, ByeCode.SELF, "this is our own address")
            return
        session.instance = hello.instance
        session.agent = hello.agent
        session.features = hello.features
        if not self._survives(session):
            core.close(session.number, ByeCode.DUPLICATE, "already connected")
            return
        session.phase = Phase.OPEN
        self._mute.pop(session.peer, None)
        mode = Mode.heard(hello.features)
        session.meet(mode)
        if not session.gives:
            session.outbox.keep_proofs()
            self._announcer.forget_owed(session)
        self._reconciler.of[session].their_root = hello.root
        session.wanted.mode = hello.interest
        is_last = len(hello.exceptions) + hello.reserved < limits.MAX_EXCEPTIONS
        self._interest.hear_names(session, hello.exceptions, is_last=is_last)
        self._pulls.schedule.add(session.number)
        self._plumtree.joined(session)
        core.emit(events.PeerUp(session.number, session.peer, session.agent, mode.value, session.features))
        self._announcer.make_due(session)
        self._reconciler.begin(session)

    def bye(self, session: Session, bye: Bye) -> None:
        """The peer says that the session is over."""
        self._core.close(session.number, bye.code, bye.reason, by_peer=True)

    def _is_met(self, peer: bytes) -> bool:
        """Whether a connection with ``peer`` is good, as far as we know: who just dialled it gives that up."""
        for other in self._of(peer):
            if self._is_awaited(other) and self._is_young(other):
                return True
            if other.phase is Phase.OPEN and not self._liveness.is_waiting(other):
                self._liveness.ask(other, limits.SURVIVOR_SECONDS)
                return True
        return False

    def _of(self, peer: bytes) -> list[Session]:
        return [session for session in self._core.sessions.values() if session.peer == peer]

    def _is_awaited(self, session: Session) -> bool:
        """Whether HELLO is likely to come on a connection that we dialled: whoever leads ours elsewhere and swallows
        what comes then, one after another, is not to keep us from those that lead to the same peer."""
        return session.phase is Phase.GREETING and session.dialled and session.peer not in self._mute

    def _is_young(self, session: Session) -> bool:
        return self._core.now - session.began_at < limits.HANDSHAKE_SECONDS

    def _survives(self, fresh: Session) -> bool:
        """One connection per pair of nodes: close the other one, or say that ``fresh`` has to go."""
        core = self._core
        for other in self._of(fresh.peer):
            if other is fresh:
                continue
            # when both dial at once the connection lives that the lower node id dialled; later, whoever dials again
            # has lost the other one
            is_crossing = other.dialled != fresh.dialled and self._is_young(other)
            is_first = is_crossing and other.dialled == (self.node < fresh.peer)
            if other.phase is Phase.GREETING:
                if is_first and self._is_awaited(other):
                    return False  # the peer has shown who it is, and its HELLO is on the way
            elif is_first and other.instance == fresh.instance:
                self._liveness.ask(other, limits.SURVIVOR_SECONDS)
                return False
            elif other.phase is Phase.OPEN:
                core.close(other.number, ByeCode.DUPLICATE, "replaced by a newer connection")
        return True
