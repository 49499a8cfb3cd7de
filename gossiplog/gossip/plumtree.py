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
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.core import Core
from gossiplog.gossip.messages import Lazy, Want, WantItem
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import AUTHOR_BYTES, Phase, Service, Session, Slot, table_bytes
from gossiplog.gossip.sharded_tables import Table

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

EXPECTED_BYTES = 160
"""What is kept for an announcement that may come otherwise, beside its place in a table."""


def explored_seq(seq: int) -> int:
    """The last entry up to ``seq`` at which everyone looks for the shortest path from its author: 8, 64, 512, ...

    Paths in the common tree are twice as long, and links change.  Each such entry costs a flood of the next one.

    >>> [explored_seq(seq) for seq in (7, 8, 63, 64, 2**53 - 1)]
    [0, 8, 8, 64, 2251799813685248]
    """
    return 1 << (seq.bit_length() - 1) // 3 * 3 if seq >= 8 else 0


class Branch:
    """What the tree knows of one session.

    ``is_lazy``: both sides only announce what they were not asked for.  ``vain_pushes``: duplicates that it pushed of
    late; ``missed_pushes``: entries that it announced and nobody sent; ``asked_at``: when one side last asked for all.
    ``explores``: authors of whom it is to push the next entry; ``expected``: since when what it announced is to come
    from another.
    """

    def __init__(self, session: Session) -> None:
        self.is_lazy = False
        self.vain_pushes = 0
        self.missed_pushes = 0
        self.asked_at = float("-inf")
        self.explores: dict[bytes, None] = {}
        self.expected: Table[float] = Table()


class Plumtree:
    """I choose who sends one replica its news."""

    def __init__(self, core: Core, pulls: Pulls, announcer: Announcer) -> None:
        self._core = core
        self._pulls = pulls
        self._announcer = announcer
        self.of = Slot(Branch)
        self.parents: dict[bytes, int] = {}
        self.eager_sources = 0
        self._expected: deque[tuple[float, int, dict[bytes, None]]] = deque()
        self._looks_later = False

    def rest(self) -> None:
        """No session is left."""
        self._expected.clear()
        self._looks_later = False

    # -- who sends

    def joined(self, session: Session) -> None:
        """A session is open: its peer pushes everything until it is told otherwise, if anything may come from it."""
        self.eager_sources += session.takes

    def left(self, session: Session) -> None:
        """A session that was open is over: somebody has to push what nobody was asked for."""
        self.eager_sources -= session.takes and not self.of[session].is_lazy
        for other in self._core.open_sessions():
            if self.eager_sources:
                break
            if other.takes:
                self.ask_to_push(other)

    def brought(self, session: Session, author: bytes, *, pushed: bool) -> None:
        """``session`` was the first with an entry of ``author``: its next ones are to come from there too."""
        self._remember(author, session)
        if pushed:
            branch = self.of[session]
            branch.vain_pushes = max(0, branch.vain_pushes - NEW_OUTWEIGHS)

    def _remember(self, author: bytes, session: Session) -> None:
        self.parents.pop(author, None)
        if len(self.parents) >= limits.MAX_PARENTS:
            del self.parents[next(iter(self.parents))]
        self.parents[author] = session.number

    def brought_again(self, session: Session, author: bytes) -> None:
        """``session`` pushed an entry of ``author`` that we hold: it need not, if another peer does."""
        self._announcer.forget_known(session, author)
        parent = self.parents.get(author)
        if parent == session.number or self._pulls.schedule.pulls(session.number, author):
            return
        if parent not in self._core.sessions and author not in self._core.heads.local:
            self._remember(author, session)
            return
        self._announcer.advise(session, Lazy((author,)))
        branch = self.of[session]
        branch.vain_pushes += 1
        rested = self._core.now - branch.asked_at >= limits.PUSHING_SECONDS
        if branch.vain_pushes >= VAIN_PUSHES and rested and not branch.is_lazy and self.eager_sources > 1:
            self._core.send(session, Lazy((None,)))
            self.stop_pushing(session)

    def forget_parent(self, author: bytes, session: Session | None = None) -> None:
        """``author`` does not come from ``session`` (None: from anybody) any more."""
        if session is None or self.parents.get(author) == session.number:
            self.parents.pop(author, None)

    def forget_expected(self, session: Session, author: bytes) -> None:
        """What ``session`` announced of ``author`` is not waited for any more."""
        self.of[session].expected.pop(author)

    def explore(self, author: bytes) -> None:
        """``author`` writes often: let everyone push its next entry, to find out who is first.

        All nodes do so at the same entries, so that they find the shortest paths together.  Who is asked may be given
        the same by others at the same time, as we are: the questions of a moment go together.
        """
        for session in self._core.open_sessions():
            if self._may_explore(session, author):
                explores = self.of[session].explores
                explores[author] = None
                if len(explores) >= limits.MAX_WANT_ITEMS:
                    self.explore_with(session)
        self._announcer.flush_within(limits.ANNOUNCE_SECONDS)

    def _may_explore(self, session: Session, author: bytes) -> bool:
        is_wanted = self._core.wanted.wants(author) and session.wanted.wants(author)
        return (
            session.takes
            and is_wanted
            and self.parents.get(author) != session.number
            and author not in self._core.heads.forks
        )

    def explore_with(self, session: Session) -> None:
        """Ask the peer to push the next entries of those that are to be explored; it need not be said twice."""
        explores = self.of[session].explores
        authors = [author for author in explores if self._may_explore(session, author)]
        explores.clear()
        self._keep_pushing(session, authors)

    # -- what nobody asked for: one tree for all authors that write seldom

    def stop_pushing(self, session: Session) -> None:
        """From now on both sides of ``session`` only announce what they were not asked for."""
        session.serve(None, Service.LAZY)
        branch = self.of[session]
        if not branch.is_lazy:
            branch.is_lazy = True
            branch.missed_pushes = 0
            self.eager_sources -= session.takes
            for other in self._core.sessions.values():
                self.of[other].vain_pushes = 0  # what they bring may be needed now
            mine = [author for author, parent in self.parents.items() if parent == session.number]
            self._keep_pushing(session, mine[-limits.MAX_WANT_ITEMS :])

    def ask_to_push(self, session: Session) -> None:
        """Push each other again what was not asked for."""
        self._core.send(session, Want((WantItem(None, 1),)))
        self.push_again(session)

    def push_again(self, session: Session) -> None:
        """From now on both sides of ``session`` push what they were not told otherwise."""
        session.serve(None, Service.EAGER)
        branch = self.of[session]
        if branch.is_lazy:
            branch.is_lazy = False
            branch.vain_pushes = 0
            branch.asked_at = self._core.now
            self.eager_sources += session.takes

    def stopped_pushing(self, session: Session) -> None:
        """The peer pushes us only what we ask for, and wants the same; somebody else has to push."""
        self.stop_pushing(session)
        if not self.eager_sources:
            sources = [other for other in self._core.open_sessions() if other.takes]
            if sources:
                self.ask_to_push(next((other for other in sources if other is not session), session))

    def _keep_pushing(self, session: Session, authors: Sequence[bytes]) -> None:
        """Let the peer go on pushing these; it does so with what we pull from it."""
        core, schedule = self._core, self._pulls.schedule
        authors = [author for author in authors if not schedule.pulls(session.number, author)]
        if authors and session.phase is Phase.OPEN:
            items = [WantItem(author, core.heads.accepted_seq(author) + 1) for author in authors]
            bounds = [core.ledger.most(author, core.now) for author in authors]
            self._announcer.advise(session, Want(tuple(items), min(filter(None, bounds), default=0)))

    # -- what was announced

    def comes_otherwise(self, session: Session, author: bytes) -> bool:
        """Whether another peer is going to push what ``session`` announced of ``author``."""
        parent = self.parents.get(author)
        if parent in self._core.sessions:
            return parent != session.number
        return self.eager_sources > (0 if self.of[session].is_lazy else 1)

    def expect(self, session: Session, author: bytes) -> None:
        """Give another peer the time to send what ``session`` announced."""
        if author not in self.of[session].expected:
            self.of[session].expected[author] = self._core.now
            self._look_later(session, author)

    def _look_later(self, session: Session, author: bytes) -> None:
        when, number = self._core.now + limits.GRAFT_SECONDS, session.number
        last = self._expected[-1] if self._expected else None
        if last is None or (last[0], last[1]) != (when, number) or len(last[2]) >= LOOKED_AT_ONCE:
            self._expected.append((when, number, {author: None}))
        else:
            last[2][author] = None
        if not self._looks_later:
            self._looks_later = True
            self._core.at(self._expected[0][0], self._look_for_expected)

    def _look_for_expected(self) -> None:
        """Ask those who announced what did not come."""
        self._looks_later = True  # not before the end of the loop
        looked_at = 0
        while self._expected and self._expected[0][0] <= self._core.now and looked_at < LOOKED_AT_ONCE:
            _, number, authors = self._expected.popleft()
            looked_at += len(authors)
            session = self._core.sessions.get(number)
            if session is not None:
                for author in authors:
                    self._look_for(session, author)
        self._looks_later = bool(self._expected)
        if self._expected:
            self._core.at(
                max(self._expected[0][0], self._core.now + LOOK_ON_SECONDS), self._look_for_expected
            )
        self._pulls.ask()

    def _look_for(self, session: Session, author: bytes) -> None:
        expected, schedule, now = self.of[session].expected, self._pulls.schedule, self._core.now
        if author not in expected:
            return
        since = expected[author]
        is_missing = schedule.missing(session.number).get(author, 0) > self._core.heads.accepted_seq(author)
        has_time = now - since < limits.STALL_SECONDS
        parent = self.parents.get(author, -1)
        if is_missing and has_time and schedule.trickles(parent, now, BUSY_SECONDS):
            self._look_later(session, author)
            return
        expected.pop(author)
        if is_missing:
            self._missed(session, author)

    def _missed(self, session: Session, author: bytes) -> None:
        """What ``session`` announced of ``author`` did not come from anybody."""
        self._pulls.schedule.want(session.number, author)
        branch = self.of[session]
        if branch.is_lazy and session.phase is Phase.OPEN:
            branch.missed_pushes += 1
            if branch.missed_pushes >= MISSED_PUSHES:
                self.ask_to_push(session)

    # -- memory

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        branch = self.of[session]
        expected_bytes = branch.expected.size_bytes + EXPECTED_BYTES * len(branch.expected)
        return table_bytes(AUTHOR_BYTES, branch.explores) + expected_bytes

    def expect_nothing(self, session: Session) -> None:
        """What is left of the claims of a session is asked for, whoever else might send it."""
        self.of[session].expected = Table()
