"""Whom the news of each author comes from: one copy, not a flood.

Responsible for: epidemic broadcast trees after Leitao, Pereira and Rodrigues, "Epidemic Broadcast Trees" (SRDS 2007),
one for each author: who brought an entry first goes on sending, who brought it again is told LAZY and only announces;
what was announced and does not come is asked for (specification, "One copy").
Must not know: how segments are accepted, read or sent.
Invariant: an announcement is answered by the entry, from whomever, or by a WANT after ``GRAFT_SECONDS``, or, while
whoever should send it is in the middle of something, after ``STALL_SECONDS``.  To forget anything here costs a
duplicate or a delay, never an entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gossiplog import limits
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Lazy, Want, WantItem
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.session import Phase, Service, Session

VAIN_PUSHES = 8
"""So many duplicates of a peer, each of another author since it is told LAZY for each, and neither pushes any more what
it was not asked for: with 16 cycles are left over, with 4 the tree falls apart and has to be mended."""

NEW_OUTWEIGHS = 2
"""So many duplicates count no more after something new: a link that is first with a third of what it brings stays."""

MISSED_PUSHES = 4
"""So many entries that such a peer announced and nobody sent, and both push again: with 2 that happens without need."""

LOOKED_AT_ONCE = 1024
LOOK_ON_SECONDS = 0.001
"""Authors that one look for what was announced goes through, 2 ms, and when the next one begins if that was not all."""

BUSY_SECONDS = 1.5
"""A peer of which part of a frame came so lately is in the middle of it: what it should send may come after that."""


def explored_seq(seq: int) -> int:
    """The last entry up to ``seq`` at which everyone looks for the shortest path from its author: 8, 64, 512, ...

    Paths in the common tree are twice as long, and links change.  Each such entry costs a flood of the next one.

    >>> [explored_seq(seq) for seq in (7, 8, 63, 64, 2**53 - 1)]
    [0, 8, 8, 64, 2251799813685248]
    """
    return 1 << (seq.bit_length() - 1) // 3 * 3 if seq >= 8 else 0


class Plumtree(Sender):
    """I choose who sends one replica its news."""

    def __init__(self, holdings: Heads) -> None:
        super().__init__(holdings)
        self._parents: dict[bytes, int] = {}
        self._eager_sources = 0
        self._expected: deque[tuple[float, int, dict[bytes, None]]] = deque()
        self._looks_later = False

    # -- who sends

    def _joined(self) -> None:
        """A session is open: its peer pushes everything until it is told otherwise."""
        self._eager_sources += 1

    def _left(self, session: Session) -> None:
        """A session that was open is over: somebody has to push what nobody was asked for."""
        self._eager_sources -= not session.is_lazy
        for other in self.open_sessions():
            if self._eager_sources:
                break
            self._take_all(other)

    def _brought(self, session: Session, author: bytes, *, pushed: bool) -> None:
        """``session`` was the first with an entry of ``author``: its next ones are to come from there too."""
        self._remember(author, session)
        if pushed:
            session.vain_pushes = max(0, session.vain_pushes - NEW_OUTWEIGHS)

    def _remember(self, author: bytes, session: Session) -> None:
        self._parents.pop(author, None)
        if len(self._parents) >= limits.MAX_PARENTS:
            del self._parents[next(iter(self._parents))]
        self._parents[author] = session.number

    def _brought_again(self, session: Session, author: bytes) -> None:
        """``session`` pushed an entry of ``author`` that we hold: it need not, if another peer does."""
        session.knows(author)
        parent = self._parents.get(author)
        if parent == session.number or self.schedule.pulls(session.number, author):
            return
        if parent not in self.sessions and author not in self.holdings.local:
            self._remember(author, session)
            return
        self._advise(session, Lazy((author,)))
        session.vain_pushes += 1
        if session.vain_pushes >= VAIN_PUSHES and not session.is_lazy and self._eager_sources > 1:
            self._send(session, Lazy((None,)))
            self._take_none(session)

    def _part(self, author: bytes, session: Session | None = None) -> None:
        """``author`` does not come from ``session`` (None: from anybody) any more."""
        if session is None or self._parents.get(author) == session.number:
            self._parents.pop(author, None)

    def _explore(self, author: bytes) -> None:
        """``author`` writes often: let everyone push its next entry, to find out who is first.

        All nodes do so at the same entries, so that they find the shortest paths together.  Who is asked may be given
        the same by others at the same time, as we are: the questions of a moment go together.
        """
        for session in self.open_sessions():
            if self._may_explore(session, author):
                session.explores[author] = None
                if len(session.explores) >= limits.MAX_WANT_ITEMS:
                    self._explore_with(session)
        self._flush_within(limits.ANNOUNCE_SECONDS)

    def _may_explore(self, session: Session, author: bytes) -> bool:
        is_wanted = self.wanted.wants(author) and session.wanted.wants(author)
        return is_wanted and self._parents.get(author) != session.number and author not in self.holdings.forks

    def _explore_with(self, session: Session) -> None:
        """Ask the peer to push the next entries of those that are to be explored; it need not be said twice."""
        authors = [author for author in session.explores if self._may_explore(session, author)]
        session.explores.clear()
        self._want_on(session, authors)

    # -- what nobody asked for: one tree for all authors that write seldom

    def _take_none(self, session: Session) -> None:
        """From now on both sides of ``session`` only announce what they were not asked for."""
        session.serve(None, Service.LAZY)
        if not session.is_lazy:
            session.is_lazy = True
            session.missed_pushes = 0
            self._eager_sources -= 1
            for other in self.sessions.values():
                other.vain_pushes = 0  # what they bring may be needed now
            mine = [author for author, parent in self._parents.items() if parent == session.number]
            self._want_on(session, mine[-limits.MAX_WANT_ITEMS :])

    def _take_all(self, session: Session) -> None:
        """Push each other again what was not asked for."""
        self._send(session, Want((WantItem(None, 1),)))
        self._given_all(session)

    def _given_all(self, session: Session) -> None:
        """From now on both sides of ``session`` push what they were not told otherwise."""
        session.serve(None, Service.EAGER)
        if session.is_lazy:
            session.is_lazy = False
            session.vain_pushes = 0
            self._eager_sources += 1

    def _given_none(self, session: Session) -> None:
        """The peer pushes us only what we ask for, and wants the same; somebody else has to push."""
        self._take_none(session)
        if not self._eager_sources:
            others = [other for other in self.open_sessions() if other is not session]
            self._take_all(others[0] if others else session)

    def _pull(self, session: Session, authors: Sequence[bytes], most: int, holes: bool = False) -> None:
        """Ask for these, and for no more of each than is going to be taken."""
        items = []
        for author in authors:
            seq = self.holdings.accepted_seq(author)
            items.append(WantItem(author, seq + 1, holes))
            if most:
                self.ledger.asked(author, seq + most)
        self._send(session, Want(tuple(items), most))
        self._watch_stalls()

    def _want_on(self, session: Session, authors: Sequence[bytes]) -> None:
        """Let the peer go on pushing these; it does so with what we pull from it."""
        authors = [author for author in authors if not self.schedule.pulls(session.number, author)]
        if authors and session.phase is Phase.OPEN:
            items = [WantItem(author, self.holdings.accepted_seq(author) + 1) for author in authors]
            bounds = [self.ledger.most(author, self.now) for author in authors]
            self._advise(session, Want(tuple(items), min(filter(None, bounds), default=0)))

    # -- what was announced

    def _comes_otherwise(self, session: Session, author: bytes) -> bool:
        """Whether another peer is going to push what ``session`` announced of ``author``."""
        parent = self._parents.get(author)
        if parent in self.sessions:
            return parent != session.number
        return self._eager_sources > (0 if session.is_lazy else 1)

    def _expect(self, session: Session, author: bytes) -> None:
        """Give another peer the time to send what ``session`` announced."""
        if author not in session.expected:
            session.expected[author] = self.now
            self._look_later(session, author)

    def _look_later(self, session: Session, author: bytes) -> None:
        when, number = self.now + limits.GRAFT_SECONDS, session.number
        last = self._expected[-1] if self._expected else None
        if last is None or (last[0], last[1]) != (when, number) or len(last[2]) >= LOOKED_AT_ONCE:
            self._expected.append((when, number, {author: None}))
        else:
            last[2][author] = None
        if not self._looks_later:
            self._looks_later = True
            self._at(self._expected[0][0], self._look_for_expected)

    def _rest(self) -> None:
        super()._rest()
        self._expected.clear()
        self._looks_later = False

    def _look_for_expected(self) -> None:
        """Ask those who announced what did not come."""
        self._looks_later = True  # not before the end of the loop
        looked_at = 0
        while self._expected and self._expected[0][0] <= self.now and looked_at < LOOKED_AT_ONCE:
            _, number, authors = self._expected.popleft()
            looked_at += len(authors)
            session = self.sessions.get(number)
            if session is not None:
                for author in authors:
                    self._look_for(session, author)
        self._looks_later = bool(self._expected)
        if self._expected:
            self._at(max(self._expected[0][0], self.now + LOOK_ON_SECONDS), self._look_for_expected)
        self._ask()

    def _look_for(self, session: Session, author: bytes) -> None:
        since = session.expected.get(author, -1.0)
        if since < 0:
            return
        is_missing = self.schedule.missing(session.number).get(author, 0) > self.holdings.accepted_seq(author)
        has_time = self.now - since < limits.STALL_SECONDS
        parent = self._parents.get(author, -1)
        if is_missing and has_time and self.schedule.trickles(parent, self.now, BUSY_SECONDS):
            self._look_later(session, author)
            return
        session.expected.pop(author)
        if is_missing:
            self._miss(session, author)

    def _miss(self, session: Session, author: bytes) -> None:
        self.schedule.want(session.number, author)
        if session.is_lazy and session.phase is Phase.OPEN:
            session.missed_pushes += 1
            if session.missed_pushes >= MISSED_PUSHES:
                self._take_all(session)
