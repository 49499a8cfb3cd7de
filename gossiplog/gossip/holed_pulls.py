"""Asking for entries whose payloads nobody has.

Responsible for: what peers took back because they have it with holes only, and asking for it all the same in the end.
Must not know: how a segment with holes is accepted; how holes are filled.
Invariant: entries are asked for with holes only when nobody who claims them gave them whole; a peer that was asked so
may send them so, and no other.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import AUTHOR_BYTES, Session, Slot, table_bytes


class Allowed:
    """Of which authors one peer may send entries without their payloads; of too many, of all."""

    def __init__(self, session: Session) -> None:
        self.authors: set[bytes] = set()
        self.is_any = False


class HoledPulls:
    """I ask the peers of one replica for entries with holes, when there is no other way."""

    def __init__(self, core: Core, pulls: Pulls, catch_up: CatchUp, interest: InterestExchange) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._interest = interest
        self.of = Slot(Allowed)
        self._looks = False

    def rest(self) -> None:
        """No session is left."""
        self._looks = False

    def withdraw(self, session: Session, author: bytes, seq: int) -> None:
        """The peer takes back that it has ``author`` up to ``seq``: ask for it with holes when nobody else has it."""
        if not self._pulls.schedule.pulls_holes(
            session.number, author
        ):  # else it was asked so, and has nothing at all
            self._pulls.withdrawn.note(session.number, author, seq, self._core.now)
            self._look_later()
        self._pulls.schedule.drop(session.number, author)

    def _look_later(self) -> None:
        if self._pulls.withdrawn and not self._looks:
            self._looks = True
            self._core.at(self._core.now + limits.STALL_SECONDS, self._look)

    def _look(self) -> None:
        self._looks = False
        core = self._core
        if not core.is_read_only:
            for number, author in self._pulls.withdrawn.open(self._is_welcome, core.now):
                session = core.sessions[number]
                self.let_lack(session, author)
                self._pulls.ask_with_holes(session, author)
        for session in core.open_sessions():
            self._catch_up.check(session)
        self._look_later()

    def _is_welcome(self, number: int, author: bytes) -> bool:
        """Whether entries of ``author`` are welcome from this peer without their payloads."""
        wanted = self._interest.takes(author) and self._core.sessions[number].wanted.wants(author)
        return wanted and author not in self._core.heads.forks

    # -- who may send holes

    def let_lack(self, session: Session, author: bytes) -> None:
        """We said that entries of ``author`` may come without their payloads: that is no offence from now on."""
        allowed = self.of[session]
        if len(allowed.authors) >= limits.MAX_OWED_AUTHORS:
            allowed.authors = set()
            allowed.is_any = True
        allowed.authors.add(author)

    def may_lack(self, session: Session, author: bytes) -> bool:
        """Whether an honest peer may send entries of ``author`` without their payloads."""
        allowed = self.of[session]
        return allowed.is_any or author in allowed.authors

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        return table_bytes(AUTHOR_BYTES, self.of[session].authors)
