"""What peers say they hold.

Responsible for: HAVE as it comes, and every other claim: whether it is worth to be asked for, and when.
Must not know: segments; how a claim of a reconcile is found.
Invariant: a claim is a hint where to ask, nothing more; it changes nothing that is held.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.errors import LimitExceededError
from gossiplog.gossip import events
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.holed_pulls import HoledPulls
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.messages import RESERVED, Have
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import HANDLE_BYTES, Session, Slot, table_bytes


class Heard:
    """How the announcements of one peer are to be read.

    ``handles``: which authors they stand for; ``forgot_some`` of them.  ``lost_own``: local writers of whom the peer
    has entries that cannot come back.
    """

    def __init__(self, session: Session) -> None:
        self.handles: dict[int, bytes] = {}
        self.forgot_some = False
        self.lost_own: set[bytes] = set()


class Announcements:
    """I hear what the peers of one replica say they hold."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        announcer: Announcer,
        plumtree: Plumtree,
        interest: InterestExchange,
        holed_pulls: HoledPulls,
        hole_filling: HoleFilling,
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._announcer = announcer
        self._plumtree = plumtree
        self._interest = interest
        self._holed_pulls = holed_pulls
        self._hole_filling = hole_filling
        self.of = Slot(Heard)

    def learn(self, session: Session, author: bytes, seq: int, *, may_wait: bool = False) -> None:
        """The peer says that it holds ``author`` up to ``seq``: a hint where to ask, nothing more.

        ``may_wait``: it is news, which another peer may be about to send.
        """
        core, schedule = self._core, self._pulls.schedule
        if not (core.wanted.wants(author) and session.wanted.wants(author)):
            self._interest.pass_over(session, author)
            return
        if not session.takes:
            self._catch_up.hold_back(session, author, seq)
            return
        behind = seq > core.heads.clock.seq(author) and author not in core.heads.forks
        if behind and author not in self.of[session].lost_own and self._interest.takes(author):
            own = author in core.heads.local
            self._catch_up.of[session].is_caught_up = False
            if may_wait and not own and self._plumtree.comes_otherwise(session, author):
                if schedule.hold(session.number, author, seq):
                    self._plumtree.expect(session, author)
                return
            schedule.claim(session.number, author, seq, first=own)
            if own:
                core.emit(events.OwnAhead(author, seq))

    def lost_own(self, session: Session, seq: int, author: bytes) -> None:
        """We signed entries that nobody has whole: never taken, and proof that the log cannot be continued here."""
        self._pulls.schedule.drop(session.number, author)
        self.of[session].lost_own.add(author)
        self._core.emit(events.OwnAhead(author, seq, proven=True))
        self._catch_up.check(session)

    def have(self, session: Session, have: Have) -> None:
        """A peer announces what it holds."""
        has_withdrawn = False
        schedule = self._pulls.schedule
        known = self.read(session, have)
        for author, seq in known:
            claimed = schedule.missing(session.number).get(author, 0)
            if seq < claimed:  # it had more, or said so, or has it with holes only
                self._holed_pulls.withdraw(session, author, claimed)
                has_withdrawn = True
            if seq >= self._core.heads.accepted_seq(author):
                self._announcer.forget_known(session, author)
            self._hole_filling.has_more(session, author, seq)
            if seq:
                self._interest.shown(session, author)
            self.learn(session, author, seq, may_wait=True)
        if has_withdrawn:
            self._core.send_waiting(session)  # of a local writer it may have asked for what waited for that
        if session.takes and self.of[session].forgot_some and len(known) < len(have.items):
            schedule.sources[session.number].claims_more = True
        self._pulls.ask()
        self._catch_up.check(session)

    # -- handles

    def named(self, session: Session, have: Have) -> list[tuple[bytes, int]]:
        """What an announcement says: (author, seq) each, as far as their handles are known."""
        handles = self.of[session].handles
        said = [(item.author or handles.get(item.handle), item.seq) for item in have.items]
        return [(author, seq) for author, seq in said if author is not None]

    def read(self, session: Session, have: Have) -> list[tuple[bytes, int]]:
        """Resolve the handles of an announcement: (author, seq) each.

        A handle that is named again stands for another author from then on; one that we do not know is passed over,
        because an author of reserved length may have it.
        """
        handles = self.of[session].handles
        known = []
        for handle, seq, author in have.items:
            if handle >= limits.MAX_HANDLES:
                raise LimitExceededError(f"HAVE has handle {handle}; there are {limits.MAX_HANDLES}")
            if author == RESERVED:
                handles.pop(handle, None)
                continue
            if author is not None:
                handles[handle] = author
            else:
                author = handles.get(handle)
            if author is not None:
                known.append((author, seq))
        return known

    # -- memory

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        return table_bytes(HANDLE_BYTES, self.of[session].handles)

    def forget_handles(self, session: Session) -> None:
        """Which authors the peer's handles stand for: an announcement that only has one says no more than "more"."""
        self.of[session].handles = {}
        self.of[session].forgot_some = True
