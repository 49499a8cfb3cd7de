"""How far two nodes have got in comparing what they hold.

Responsible for: which sessions are settled and caught up, when a reconcile is owed, and whether a peer may be sent what
our own writers wrote.
Must not know: what RANGES say; how anything is asked for.
Invariant: nothing of a local writer goes to a peer before a reconcile has settled that writer with this peer, or while
the peer claims more of it than we hold.
"""

from __future__ import annotations

from gossiplog.gossip import events
from gossiplog.gossip.core import Core
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import Session, Slot


class Standing:
    """How one session stands.

    ``is_settled``: we know all that the peer could tell when it last did.  ``is_caught_up``: and have it on disk, and
    the application knows, if anything may come from it.  ``owes``: a reconcile is to begin, ``by_fingerprint`` when it
    may find nothing.  ``lost``: up to where the peer holds logs that are written here, and more of them than we do, if
    nothing of it may come.
    """

    __slots__ = ("by_fingerprint", "is_caught_up", "is_settled", "lost", "owes")

    def __init__(self, session: Session) -> None:
        self.is_settled = False
        self.is_caught_up = False
        self.owes = False
        self.by_fingerprint = False
        self.lost: dict[bytes, int] = {}


class CatchUp:
    """I know which peers of one replica have told it everything, and of what it has all."""

    def __init__(self, core: Core, pulls: Pulls) -> None:
        self._core = core
        self._pulls = pulls
        self.of = Slot(Standing)

    @property
    def is_complete(self) -> bool:
        """Whether all that the peers told us of is on our disk; False while there is none, or one has not said yet.

        Peers of which nothing may come do not count.
        """
        sessions = [session for session in self._core.open_sessions() if session.takes]
        return bool(sessions) and all(
            self.of[s].is_settled and not self._pulls.is_behind(s) for s in sessions
        )

    def start(self, session: Session, *, by_fingerprint: bool = False) -> None:
        """Begin a reconcile when there is room; one that has not begun yet will say all that another would.

        Where no entry may go either way nothing is compared.
        """
        standing = self.of[session]
        if not (session.gives or session.takes):
            return  # whatever differs
        standing.by_fingerprint = by_fingerprint
        standing.owes = True
        self._core.send_waiting(session)

    def check(self, session: Session) -> None:
        """Say so if the session has just caught up; compare again if the peer claims more than we remember."""
        standing = self.of[session]
        if not standing.is_settled:
            return
        if self._pulls.schedule.claimed_more(session.number):
            standing.is_settled = False
            self.start(session)
        elif not standing.is_caught_up and not self._pulls.is_behind(session):
            standing.is_caught_up = True
            if session.takes:
                self._core.emit(events.CaughtUp(session.number, session.peer))

    # -- our own logs

    def may_have(self, session: Session, author: bytes) -> bool:
        """Whether entries of ``author`` may go to this peer yet: ours only when it does not know more of them."""
        if author not in self._core.heads.local:
            return True
        is_settled = self.of[session].is_settled and author not in self._pulls.schedule.missing(
            session.number
        )
        return is_settled and author not in self.lost_of(session)

    def hold_back(self, session: Session, author: bytes, seq: int) -> None:
        """The peer, of which nothing may come, holds ``author`` up to ``seq``: of interest if we write it."""
        if author in self._core.heads.local:
            self.of[session].lost[author] = seq

    def lost_of(self, session: Session) -> list[bytes]:
        """The local writers of whom the peer holds entries that are not here and do not come.  O(these)."""
        lost = self.of[session].lost
        for author in [author for author, seq in lost.items() if seq <= self._core.heads.clock.seq(author)]:
            del lost[author]
        return [*lost]
