"""Segments that come from peers.

Responsible for: which of them are verified, and what each is worth: accepted, known already, ahead, suspicious.
Must not know: sockets, files; how what we pass on is sent; what becomes of it on our disk.
Invariant: an unverified byte changes nothing but counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gossiplog import limits
from gossiplog.errors import UnaskedHolesError
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.allowance import hashed, segment_price
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.core import Core
from gossiplog.gossip.events import StoreSegment
from gossiplog.gossip.forks import Forks
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.holed_pulls import HoledPulls
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import Message
from gossiplog.gossip.plumtree import Plumtree, explored_seq
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.quotas import Quota
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.session import Session
from gossiplog.gossip.write_queue import WriteQueue
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.leaf_sums import Away
from gossiplog.log.segment import Head, Segment, segment_bytes


class Receiver:
    """I take what the peers of one replica bring.  ``verify`` is as in :class:`~gossiplog.gossip.replica.Replica`."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        liveness: Liveness,
        plumtree: Plumtree,
        interest: InterestExchange,
        holed_pulls: HoledPulls,
        hole_filling: HoleFilling,
        announcements: Announcements,
        forks: Forks,
        sender: Sender,
        writes: WriteQueue,
        verify: Callable[[Segment], Head],
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._liveness = liveness
        self._plumtree = plumtree
        self._interest = interest
        self._holed_pulls = holed_pulls
        self._hole_filling = hole_filling
        self._announcements = announcements
        self._forks = forks
        self._sender = sender
        self._writes = writes
        self._verify = verify

    def awaited(self, number: int, messages: Iterable[Message]) -> list[Segment]:
        """The segments among ``messages`` of one session that are going to be verified, as it looks now.  O(n)."""
        core = self._core
        session = core.open_session(number)
        if session is None or not session.takes or core.is_read_only:
            return []
        found: list[Segment] = []
        following: dict[bytes, int] = {}
        for message in messages:
            if type(message) is Segment:
                author = message.author
                try:
                    first = following.get(author) or core.heads.accepted_seq(author) + 1
                except Away:
                    continue
                is_wanted = core.wanted.wants(author) and author not in core.heads.forks
                is_beyond = self._interest.is_beyond
                if message.first == first and is_wanted and not is_beyond(author, len(message.bodies)):
                    following[author] = message.last + 1
                    found.append(message)
        return found

    def segment(self, session: Session, segment: Segment) -> None:
        """A peer brings entries."""
        core, schedule, author = self._core, self._pulls.schedule, segment.author
        if core.is_read_only or author in core.heads.forks:
            return
        if not session.takes:
            session.unwanted_items += 1
            return
        if not core.wanted.wants(author):
            self._interest.pass_over(session, author)
            return
        if self._interest.is_beyond(author, row_bytes(len(segment.bodies))):
            session.unwanted_items += 1
            schedule.drop(session.number, author)
            return
        ours = core.heads.accepted(author)
        asked = self._hole_filling.was_asked(session, author)
        if author in core.heads.holed and segment.count and segment.first <= ours.seq:
            self._hole_filling.fill_from(session, segment)
        if not segment.count:
            self._hole_filling.filled_up(session, author)
        holes = schedule.pulls_holes(session.number, author)
        try:
            verdict = judge(segment, ours, self._verify, holes=holes)
        except UnaskedHolesError:
            if not self._holed_pulls.may_lack(session, author):
                raise
            if not asked:
                session.allowance.spend(hashed(segment))
            self._announcements.learn(
                session, author, segment.last
            )  # it was asked for such, if not for these
            self._pulls.ask()
            return
        if isinstance(verdict, Extends):
            if verdict.holed and author in core.heads.local:
                self._announcements.lost_own(session, verdict.head.seq, author)
            else:
                self._accept(session, verdict)
            return
        if segment.first <= ours.seq + 1 and segment.last >= ours.seq and not (asked or session.is_answer):
            session.allowance.spend(hashed(segment))
        if verdict is Verdict.AHEAD:
            self._announcements.learn(session, author, segment.last)
            self._pulls.ask()
            if segment.count and not asked and not schedule.pulls(session.number, author):
                self._plumtree.brought_again(session, author)
        elif verdict is Verdict.DUPLICATE:
            if segment.count and not asked:
                self._plumtree.brought_again(session, author)
        elif verdict is Verdict.SUSPECT:
            self._forks.suspect(session, segment)

    def _accept(self, session: Session, news: Extends) -> None:
        """Verified, and it continues the log: store it and pass it on."""
        core, schedule, number = self._core, self._pulls.schedule, session.number
        segment, head, holed = news
        author = segment.author
        if not self._interest.takes(author, row_bytes(len(segment.bodies))):
            session.unwanted_items += 1
            return
        self._core.ledger.accepted(segment, core.now)
        if session.wanted.wants(author):
            schedule.hold(number, author, head.seq)
        backlog = schedule.pulls(number, author)
        self._plumtree.brought(session, author, pushed=not backlog)
        core.heads.accept(author, head)
        if holed:
            core.heads.lacks(author)
            self._hole_filling.note_fresh(author)
        # the signature, and all it leads to
        self._liveness.progressed(session, 1 + segment_price(segment) + hashed(segment))
        core.emit(StoreSegment(segment, head))
        core.brought[author, segment.first] = number
        self._writes.add(session, segment_bytes(segment))
        schedule.accepted(number, author, head.seq, core.now)
        if backlog and not schedule.pulls(number, author):
            session.answers.done(author)
        self._sender.relay(segment, session, backlog, holed)
        if not backlog and segment.first <= explored_seq(head.seq):
            self._plumtree.explore(author)
        if head.seq >= schedule.ends.get(author, limits.MAX_SEQ + 1):
            self._interest.refuse(author, Quota.RATE)  # no more was asked for
        self._pulls.ask()
