"""Keeping what peers make a replica remember within its budget.

Responsible for: charging each session with what is kept for it, and, when there is no more, what the greediest forgets.
Must not know: how much memory there is; sockets.
Invariant: after every event no more is kept than the budget has, but for what the event itself brought; what is
forgotten costs time, never an entry; who has no more than its fair share loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import getsizeof

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip.claims import CLAIM_BYTES
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.receiver import Receiver
from gossiplog.gossip.session import HANDLE_BYTES, Phase, Session
from gossiplog.gossip.sharded_tables import Table

RELAYED_AT_ONCE = 32
"""Segments after whose passing on all sessions are charged anew: each may have made some of them remember an author."""

CLAIM_WITH_TABLES_BYTES = CLAIM_BYTES + 200
"""What room for one more claim is."""

NAME_BYTES = 8
"""What each name of our interest takes up that a peer is still to be told at the beginning: a place in a list."""

PENDING_FACTOR = 4
"""What a small segment on its way to the disk takes up, by what it counts."""


class MemoryPressure(Receiver):
    """I forget for one replica what it can do without."""

    def __init__(self, holdings: Heads) -> None:
        super().__init__(holdings)
        self._sheds: tuple[Callable[[Session], None], ...] = (
            self._forget_claims,
            lambda session: session.reconcile.shorten(),
            lambda session: session.outbox.put_back(),
            lambda session: session.forget_services(),
            lambda session: session.forget_owed(),
            lambda session: session.forget_handles(),
        )

    def _buffered(self, number: int, size_bytes: int) -> None:
        self.budget.charge(number, link_bytes=size_bytes, now=self.now)

    def _limit_claims(self, session: Session) -> None:
        """The peer may be about to claim something."""
        source = self.schedule.sources.get(session.number)
        if source is not None:
            room = len(source.claims) + self.budget.room_bytes(session.number) // CLAIM_WITH_TABLES_BYTES
            source.room_claims = min(limits.MAX_CLAIMS, max(limits.MIN_CLAIMS, room))

    def _balance(self, number: int | None) -> None:
        """An event (of session ``number``) was handled: charge for what is kept now, and shed what is too much."""
        touched = self.sessions.get(-1 if number is None else number)
        self._relayed += touched is None
        if self._relayed >= RELAYED_AT_ONCE:
            self._relayed = 0
            for session in self.sessions.values():
                self._charge(session)
        elif touched is not None:
            self._charge(touched)
        if self._asked:  # whatever happened, whom we asked we remember what for
            asked, self._asked = self._asked, []
            for session in asked:
                if session is not touched and session.phase is not Phase.ENDED:
                    self._charge(session)
        self.budget.common_bytes = (
            getsizeof(self._parents)
            + HANDLE_BYTES * len(self._parents)
            + self.schedule.table_bytes
            + PENDING_FACTOR * self.pending_bytes
        )
        while (greediest := self.budget.greediest(self.now)) is not None:
            self._shed(self.sessions[greediest])

    def _charge(self, session: Session) -> None:
        kept_bytes = session.kept_bytes
        if session.phase is Phase.OPEN:
            kept_bytes += self.schedule.held_bytes(session.number)
            kept_bytes += self.withdrawn.held_bytes(session.number)
        if session.introduction is not None:
            kept_bytes += NAME_BYTES * len(self.wanted.authors)
        self.budget.charge(session.number, kept_bytes, now=self.now)

    def _shed(self, session: Session) -> None:
        """Forget what is kept for one peer, first what costs least, until it is enough; or end its session."""
        budget, number = self.budget, session.number
        for shed in self._sheds:
            shed(session)
            self._charge(session)
            if (
                budget.held_bytes(number) <= budget.share_bytes
                or budget.used_bytes <= budget.most_bytes // 8 * 7
            ):
                break
        else:
            self._close(number, ByeCode.LIMIT, "no memory is left for so much")
            budget.gone(number)  # what its connection keeps goes with it, at once
            return
        if session.phase is Phase.OPEN:
            self._pump(session)
            self._ask()
            self._check_caught_up(session)
            self._charge(session)

    def _forget_claims(self, session: Session) -> None:
        """Remember only as many claims as a quarter of a share has room for; another reconcile finds the rest."""
        if session.phase is not Phase.OPEN:
            return
        most = max(limits.MIN_CLAIMS, self.budget.share_bytes // 4 // CLAIM_WITH_TABLES_BYTES)
        if self.schedule.forget(session.number, most, self.holdings.local):
            session.expected = Table()  # what is left is asked for, whoever else might send it
        self._bury_later()
