"""Asking for what we are behind on.

Responsible for: when WANT is sent, to whom the pull scheduler says; what stalls is asked for elsewhere.
Must not know: how a claim comes about; what becomes of segments.
Invariant: nothing is asked for while the disk has no room, or we do not read; what is forgotten of very many claims
takes no longer than a moment at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossiplog import limits
from gossiplog.gossip.core import Core
from gossiplog.gossip.messages import Want, WantItem
from gossiplog.gossip.pull_scheduler import PullScheduler
from gossiplog.gossip.session import Session
from gossiplog.gossip.withdrawn_claims import WithdrawnClaims

BURY_SECONDS = 0.005
"""Between two parts of what is forgotten of very many claims: of a million, for five seconds."""


class Pulls:
    """I ask the peers of one replica for what they have and we do not."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.schedule = PullScheduler(core.heads.clock.seq)
        self.withdrawn = WithdrawnClaims(self.schedule)
        self._paused = False
        self._ask_after = float("-inf")
        self._asks_later = False
        self._watching_stalls = self._burying = False

    def over(self, session: Session) -> None:
        """A session is over; what it claimed is forgotten, some at a time."""
        self.schedule.remove(session.number)
        self.withdrawn.remove(session.number)
        if self._core.sessions:
            self.bury_later()

    def left(self, session: Session) -> None:
        """Others may be asked for what was pulled from a session that is over."""
        self.ask()

    def rest(self) -> None:
        """No session is left."""
        self.schedule.bury_all()
        self._asks_later = self._watching_stalls = self._burying = False

    def is_behind(self, session: Session) -> bool:
        """Whether the peer has something for us, with payloads or without."""
        return bool(self.schedule.missing(session.number)) or self.withdrawn.has(session.number)

    # -- asking

    def ask(self) -> None:
        """Send WANT for every author that has a free place with a peer ahead of us."""
        core = self._core
        if core.is_read_only:
            return
        if core.now < self._ask_after:
            self._ask_later()
            return
        for number, authors in self.schedule.next_wants(core.heads.accepted_seq, core.now):
            by_most: dict[int, list[bytes]] = {}
            for author in authors:
                by_most.setdefault(core.ledger.most(author, core.now), []).append(author)
            for most, some in by_most.items():
                self._want(core.sessions[number], some, most)

    def ask_with_holes(self, session: Session, author: bytes) -> None:
        """Ask for ``author``, payloads or not."""
        self._want(session, (author,), self._core.ledger.most(author, self._core.now), holes=True)

    def _want(self, session: Session, authors: Sequence[bytes], most: int, *, holes: bool = False) -> None:
        """Ask for these, and for no more of each than is going to be taken."""
        items = []
        for author in authors:
            seq = self._core.heads.accepted_seq(author)
            items.append(WantItem(author, seq + 1, holes))
            if most:
                self.schedule.ends[author] = seq + most
        self._core.send(session, Want(tuple(items), most))
        self._watch_stalls()

    def rest_until(self, when: float) -> None:
        """Ask for nothing before ``when``."""
        self._ask_after = when

    def _ask_later(self) -> None:
        """Ask when the disk had its time; it may fail once more until then."""
        if self._core.sessions and not self._asks_later:
            self._asks_later = True
            self._core.at(self._ask_after, self._ask_now)

    def _ask_now(self) -> None:
        self._asks_later = False
        self.ask()

    # -- stalls

    def pause(self) -> None:
        """We read no more entries for a while: nobody is late meanwhile."""
        self._paused = True

    def resume(self) -> None:
        """We read again."""
        self._paused = False
        self.schedule.resume(self._core.now)

    def _watch_stalls(self) -> None:
        """Look in a while who does not send what was asked for."""
        if not self._watching_stalls:
            self._watching_stalls = True
            self._core.at(self._core.now + limits.STALL_SECONDS / 2, self._look_for_stalls)

    def _look_for_stalls(self) -> None:
        self._watching_stalls = False
        if self._paused:
            self.schedule.resume(self._core.now)
        if self.schedule.stalled(self._core.now):
            self.ask()
        if self.schedule.pulled_from:
            self._watch_stalls()

    # -- forgetting

    def bury_later(self) -> None:
        """Forget who claimed what, some at a time, if that are very many."""
        if self.schedule.buries and not self._burying:
            self._burying = True
            self._core.at(self._core.now + BURY_SECONDS, self._bury)

    def _bury(self) -> None:
        self._burying = False
        self.schedule.bury()
        self.bury_later()
