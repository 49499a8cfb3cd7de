"""What goes out to peers: news, announcements, backlog, and answers to what they ask.

Responsible for: who is given a new segment, and when what waits for a peer is read from disk and sent.
Must not know: how segments are accepted; what we ask of others.
Invariant: a segment with holes goes to nobody but in answer to a WANT that allows them.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import READ_BYTES_PER_POINT, TOIL_BYTES_PER_POINT, echo
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.messages import Fork, Interest, Lazy, Refuse, Want
from gossiplog.gossip.outbox import PROOF
from gossiplog.gossip.pacing import Pacing
from gossiplog.gossip.payload_giving import PayloadGiving
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.reconciler import Reconciler
from gossiplog.gossip.session import AUTHOR_BYTES, SERVICES, Phase, Service, Session, Slot, table_bytes
from gossiplog.log.segment import Segment


class Sender:
    """I serve the peers of one replica."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        pacing: Pacing,
        announcer: Announcer,
        plumtree: Plumtree,
        interest: InterestExchange,
        giving: PayloadGiving,
        reconciler: Reconciler,
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._pacing = pacing
        self._announcer = announcer
        self._plumtree = plumtree
        self._interest = interest
        self._giving = giving
        self._reconciler = reconciler
        self.of: Slot[set[bytes]] = Slot(lambda session: set())

    # -- news

    def relay(self, segment: Segment, source: Session | None, backlog: bool, holed: bool = False) -> None:
        """Give a segment to everyone who may not have it: news is pushed, backlog announced unless asked for.

        One with holes is only announced: who lacks it may find somebody who has it whole.
        """
        author, echoed = segment.author, echo(segment)
        self._core.told_all += 1
        for session in self._core.sessions.values():
            if session is source:
                continue
            service = session.serves(author)
            if service is Service.REFUSED:
                continue
            session.allowance.echo(echoed)
            if not session.gives:
                continue
            if session.phase is Phase.GREETING and (backlog or holed):
                self._announcer.announce(session, author)
            elif session.phase is Phase.GREETING:
                session.outbox.owe(author, segment.first)  # it comes after the root we said in HELLO
            elif self._pulls.schedule.missing(session.number).get(author, 0) >= segment.last:
                continue  # it told us that it holds this
            elif service is Service.LAZY:
                self._announcer.announce(session, author, limits.LAZY_ANNOUNCE_SECONDS)
            elif holed or (backlog and author not in session.service):
                self._announcer.announce(session, author)
            elif not self._catch_up.may_have(session, author):
                session.outbox.owe(author, segment.first)
            elif session.outbox.push(segment):
                self._core.send(session, segment)

    # -- requests

    def want(self, session: Session, want: Want) -> None:
        """A peer asks for entries, and to be sent what follows them."""
        for author, first, holes in want.items:
            if author is not None and not self._core.wanted.wants(author):
                self._announcer.owe(session, author)  # as if nothing were held
                continue
            if author in self._core.heads.forks:
                session.outbox.prove(author)
                continue
            session.serve(author, SERVICES[Want])
            if author is None:
                self._plumtree.push_again(session)
                continue
            self._welcome_holes(session, author, holes)
            if session.gives and self._core.heads.accepted_seq(author) >= first:
                self._charge_waste(session, session.outbox.want(author, first, want.most))
            else:
                self._announcer.owe(session, author)
        self._announcer.make_due(session)
        self._core.send_waiting(session)

    def serve(self, session: Session, message: Lazy | Refuse) -> None:
        """A peer wants authors only announced, or not at all; or says on what HELLO began to."""
        service, authors = SERVICES[type(message)], message.authors
        names_refused = session.wanted.mode is Interest.ALL
        if not self._interest.of[session].is_whole and names_refused == (service is Service.REFUSED):
            is_last = len(authors) + message.reserved < limits.MAX_WANT_ITEMS
            self._interest.hear_names(session, authors, is_last=is_last)
            self._reconciler.begin(session)
            return
        for author in authors:
            wanted = author is None or session.wanted.wants(author)
            session.serve(author, service)
            if author is None and service is Service.LAZY:
                self._plumtree.stopped_pushing(session)
            elif author is not None:
                if service is Service.LAZY and session.outbox.owes(author):
                    self._announcer.announce(session, author)  # instead of what it is not sent now
                self._charge_waste(session, session.outbox.forget(author))
                if service is Service.REFUSED:
                    self._interest.refused(session, author)
                elif not wanted or self._interest.of[session].forgot_refused:
                    self._interest.wanted_again(session, author)
        self._core.send_waiting(session)
        self._pulls.ask()
        self._catch_up.check(session)

    def _charge_waste(self, session: Session, read_bytes: int) -> None:
        """The peer had us read what it does not want any more."""
        session.allowance.spend(read_bytes / READ_BYTES_PER_POINT)

    def _welcome_holes(self, session: Session, author: bytes, holes: bool) -> None:
        """The peer's WANT for ``author`` says whether it takes entries without their bodies; forgotten, it does not."""
        self._announcer.withhold_no_more(session, author)
        takes_holes = self.of[session]
        if not holes:
            takes_holes.discard(author)
            return
        if len(takes_holes) >= limits.MAX_OWED_AUTHORS:
            takes_holes.clear()
        takes_holes.add(author)

    # -- the transport and the disk

    def send(self, session: Session) -> None:
        """Send what is ready and may go, and read ahead."""
        if session.phase is not Phase.OPEN or self._announcer.has_names(session):
            return
        core, outbox = self._core, session.outbox
        for sent in outbox.take():
            core.send(session, sent if isinstance(sent, Segment) else Fork(sent))
        if self._giving.of[session].is_reading or not self._pacing.may_cost(session):
            return
        is_short = core.budget.is_short
        wants: tuple[tuple[bytes, int], ...] = ()
        if not is_short or outbox.is_taking:
            wants = outbox.next_load(lambda author, first: self._readable(session, author, first))
        if wants:
            takes_holes = self.of[session]
            holes = frozenset(a for a, _ in wants if a in takes_holes and a in outbox.backlog)
            limit_bytes = limits.SHORT_READ_BYTES if is_short else limits.READ_AHEAD_BYTES
            core.emit(events.Load(session.number, wants, limit_bytes, holes))
        elif outbox.overflowed and outbox.idle:
            outbox.overflowed = False
            self._catch_up.start(session)

    def _readable(self, session: Session, author: bytes, first: int) -> bool:
        """Whether disk holds ``author`` from ``first`` on, and this peer may have it yet."""
        if first == PROOF:
            return author in self._core.heads.forks
        return first <= self._core.heads.clock.seq(author) and self._catch_up.may_have(session, author)

    def has_all(self, author: bytes, first: int) -> bool:
        """Whether who was sent ``author`` up to before ``first`` was sent all that we accepted."""
        return first > (PROOF if author in self._core.heads.forks else self._core.heads.accepted_seq(author))

    def writable(self, event: events.Writable) -> None:
        """A transport takes another window."""
        session = self._core.sessions.get(event.session)
        if session is not None:
            session.outbox.refill()
            self._core.send_waiting(session)

    def loaded(self, event: events.Loaded) -> None:
        """Something was read for a peer."""
        session = self._core.open_session(event.session)
        if session is not None:
            self._giving.of[session].is_next = True
            session.allowance.spend(event.vain_bytes / TOIL_BYTES_PER_POINT)
            refused = session.outbox.loaded(event.segments, self.has_all, event.withheld)
            for author, first in refused.items():
                self._announcer.withhold(session, author, first - 1)
            self._charge_waste(session, session.outbox.skipped_bytes)
            for author in session.outbox.ended:
                session.serve(author, Service.LAZY)
                self._announcer.announce(session, author, limits.LAZY_ANNOUNCE_SECONDS)
            self._core.send_waiting(session)

    # -- memory

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        return table_bytes(AUTHOR_BYTES, self.of[session])

    def forget_holes(self, session: Session) -> None:
        """Whose entries the peer takes without their bodies: it asks again."""
        self.of[session].clear()
