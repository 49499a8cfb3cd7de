"""Keeping what peers make a replica remember within its budget.

Responsible for: charging each session with what is kept for it, and, when there is no more, what the greediest forgets.
Must not know: how much memory there is; sockets.
Invariant: after every event no more is kept than the budget has, but for what the event itself brought; what is
forgotten costs time, never an entry; who has no more than its fair share loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Protocol

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.claims import CLAIM_BYTES
from gossiplog.gossip.core import Core
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.reconciler import Reconciler
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.session import HANDLE_BYTES, Phase, Session
from gossiplog.gossip.write_queue import WriteQueue

RELAYED_AT_ONCE = 32
"""Segments after whose passing on all sessions are charged anew: each may have made some of them remember an author."""

CLAIM_WITH_TABLES_BYTES = CLAIM_BYTES + 200
"""What room for one more claim is."""

PENDING_FACTOR = 4
"""What a small segment on its way to the disk takes up, by what it counts."""


class Keeping(Protocol):
    """A part that remembers something of each session."""

    def kept_bytes(self, session: Session) -> int:
        """About what that takes up.  O(1)."""


class MemoryPressure:
    """I forget for one replica what it can do without.  ``keeping`` are all parts that remember something."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        announcer: Announcer,
        plumtree: Plumtree,
        interest: InterestExchange,
        announcements: Announcements,
        reconciler: Reconciler,
        sender: Sender,
        writes: WriteQueue,
        keeping: Sequence[Keeping],
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._announcer = announcer
        self._interest = interest
        self._plumtree = plumtree
        self._announcements = announcements
        self._sender = sender
        self._writes = writes
        self._keeping = keeping
        self._forgets: tuple[Callable[[Session], None], ...] = (
            self._forget_claims,
            reconciler.shorten,
            lambda session: session.outbox.put_back(),
            self._forget_services,
            self._forget_owed,
            announcements.forget_handles,
            self._forget_refusals,
        )

    def buffered(self, event: events.Buffered) -> None:
        """A connection keeps something."""
        self._core.budget.charge(event.session, link_bytes=event.size_bytes, now=self._core.now)

    def limit_claims(self, session: Session) -> None:
        """The peer may be about to claim something."""
        source = self._pulls.schedule.sources.get(session.number)
        if source is not None:
            room_bytes = self._core.budget.room_bytes(session.number)
            room = len(source.claims) + room_bytes // CLAIM_WITH_TABLES_BYTES
            source.room_claims = min(limits.MAX_CLAIMS, max(limits.MIN_CLAIMS, room))

    def balance(self, number: int | None) -> None:
        """An event (of session ``number``) was handled: charge for what is kept now, and shed what is too much."""
        core = self._core
        touched = core.sessions.get(-1 if number is None else number)
        core.told_all += touched is None
        if core.told_all >= RELAYED_AT_ONCE:
            core.told_all = 0
            for session in core.sessions.values():
                self._charge(session)
        elif touched is not None:
            self._charge(touched)
        if core.changed:  # whatever happened, whom we asked we remember what for
            changed, core.changed = core.changed, []
            for session in changed:
                if session is not touched and session.phase is not Phase.ENDED:
                    self._charge(session)
        core.budget.common_bytes = (
            getsizeof(self._plumtree.parents)
            + HANDLE_BYTES * len(self._plumtree.parents)
            + self._pulls.schedule.table_bytes
            + PENDING_FACTOR * self._writes.pending_bytes
        )
        while (greediest := core.budget.greediest(core.now)) is not None:
            self._shed(core.sessions[greediest])

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of a session, but for claims."""
        return session.kept_bytes + sum([part.kept_bytes(session) for part in self._keeping])

    def _charge(self, session: Session) -> None:
        kept_bytes = self.kept_bytes(session)
        if session.phase is Phase.OPEN:
            kept_bytes += self._pulls.schedule.held_bytes(session.number)
            kept_bytes += self._pulls.withdrawn.held_bytes(session.number)
        self._core.budget.charge(session.number, kept_bytes, now=self._core.now)

    def _shed(self, session: Session) -> None:
        """Forget what is kept for one peer, first what costs least, until it is enough; or end its session."""
        budget, number = self._core.budget, session.number
        for forget in self._forgets:
            forget(session)
            self._charge(session)
            if (
                budget.held_bytes(number) <= budget.share_bytes
                or budget.used_bytes <= budget.most_bytes // 8 * 7
            ):
                break
        else:
            self._core.close(number, ByeCode.LIMIT, "no memory is left for so much")
            budget.gone(number)  # what its connection keeps goes with it, at once
            return
        if session.phase is Phase.OPEN:
            self._core.send_waiting(session)
            self._pulls.ask()
            self._catch_up.check(session)
            self._charge(session)

    def _forget_claims(self, session: Session) -> None:
        """Remember only as many claims as a quarter of a share has room for; another reconcile finds the rest."""
        if session.phase is not Phase.OPEN:
            return
        most = max(limits.MIN_CLAIMS, self._core.budget.share_bytes // 4 // CLAIM_WITH_TABLES_BYTES)
        if self._pulls.schedule.forget(session.number, most, self._core.heads.local):
            self._plumtree.expect_nothing(session)
        self._pulls.bury_later()

    def _forget_services(self, session: Session) -> None:
        """How single authors are served, and which handles they have: to go on costs duplicates and repetitions."""
        session.forget_services()
        self._sender.forget_holes(session)
        self._announcer.forget_handles(session)

    def _forget_owed(self, session: Session) -> None:
        """Owe a reconcile instead of news, announcements, questions and answers."""
        self._announcer.forget_owed(session)
        session.outbox.forget_all()

    def _forget_refusals(self, session: Session) -> None:
        """Whom the peer does not want, and whom we do not that it was not told: what comes in vain says it again.

        Last of all, since until then it costs both sides something, again and again.
        """
        self._interest.forget_refused(session)
        self._announcer.forget_refusals(session)
