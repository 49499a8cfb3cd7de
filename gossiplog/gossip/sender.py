"""What goes out to peers: news, announcements, backlog, and answers to what they ask.

Responsible for: who is given a new segment, and when what waits for a peer is read from disk and sent.
Must not know: how segments are accepted; what we ask of others.
Invariant: nothing of a local writer goes to a peer before reconcile has settled that writer with this peer, or while
the peer claims more of it than we hold.  A segment with holes goes to nobody but in answer to a WANT that allows them.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import READ_BYTES_PER_POINT, TOIL_BYTES_PER_POINT, echo, price
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.messages import Fork, Interest, Lazy, Ranges, Refuse, Want
from gossiplog.gossip.outbox import PROOF
from gossiplog.gossip.session import SERVICES, Phase, Service, Session
from gossiplog.log.segment import Segment

_RANGE_BYTES = 128
_ITEM_BYTES = 48
"""What a range and an item of it count against the window; a range more than its bytes, for the time it takes."""


class Sender(InterestExchange):
    """I serve the peers of one replica."""

    # -- news

    def _relay(self, segment: Segment, source: Session | None, backlog: bool, holed: bool = False) -> None:
        """Give a segment to everyone who may not have it: news is pushed, backlog announced unless asked for.

        One with holes is only announced: who lacks it may find somebody who has it whole.
        """
        author, echoed = segment.author, echo(segment)
        self._relayed += 1
        for session in self.sessions.values():
            if session is source:
                continue
            service = session.serves(author)
            if service is Service.REFUSED:
                continue
            session.allowance.echo(echoed)
            if session.phase is Phase.GREETING and (backlog or holed):
                self._announce(session, author)
            elif session.phase is Phase.GREETING:
                session.outbox.owe(author, segment.first)  # it comes after the root we said in HELLO
            elif self.schedule.missing(session.number).get(author, 0) >= segment.last:
                continue  # it told us that it holds this
            elif service is Service.LAZY:
                self._announce(session, author, limits.LAZY_ANNOUNCE_SECONDS)
            elif holed or (backlog and author not in session.service):
                self._announce(session, author)
            elif not self._may_have(session, author):
                session.outbox.owe(author, segment.first)
            elif session.outbox.push(segment):
                self._send(session, segment)

    def _may_have(self, session: Session, author: bytes) -> bool:
        """Whether entries of ``author`` may go to this peer yet: ours only when it does not know more of them."""
        if author not in self.holdings.local:
            return True
        return session.settled and author not in self.schedule.missing(session.number)

    # -- requests

    def _want(self, session: Session, want: Want) -> None:
        for author, first, holes in want.items:
            if author is not None and not self.wanted.wants(author):
                session.owe(session.announce, author)  # as if nothing were held
                continue
            if author in self.holdings.forks:
                session.outbox.prove(author)
                continue
            session.serve(author, SERVICES[Want])
            if author is None:
                self._given_all(session)
                continue
            session.welcome_holes(author, holes)
            if self.holdings.accepted_seq(author) >= first:
                self._wasted(session, session.outbox.want(author, first, want.most))
            else:
                session.owe(session.announce, author)
        session.announces = True
        self._pump(session)

    def _serve(self, session: Session, message: Lazy | Refuse) -> None:
        service, authors = SERVICES[type(message)], message.authors
        names_refused = session.wanted.mode is Interest.ALL
        if not session.introduced and names_refused == (service is Service.REFUSED):
            is_last = len(authors) + message.reserved < limits.MAX_WANT_ITEMS
            self._introduce(session, authors, is_last=is_last)
            self._begin(session)
            return
        for author in authors:
            wanted = author is None or session.wanted.wants(author)
            session.serve(author, service)
            if author is None and service is Service.LAZY:
                self._given_none(session)
            elif author is not None:
                if service is Service.LAZY and session.outbox.owes(author):
                    self._announce(session, author)  # instead of what it is not sent now
                self._wasted(session, session.outbox.forget(author))
                if service is Service.REFUSED:
                    self._refused(session, author)
                elif not wanted:
                    self._wanted_again(session, author)
        self._pump(session)
        self._ask()
        self._check_caught_up(session)

    def _wasted(self, session: Session, read_bytes: int) -> None:
        """The peer had us read what it does not want any more."""
        session.allowance.spend(read_bytes / READ_BYTES_PER_POINT)

    def _begin(self, session: Session) -> None:
        raise NotImplementedError

    def _given_all(self, session: Session) -> None:
        raise NotImplementedError

    def _given_none(self, session: Session) -> None:
        raise NotImplementedError

    # -- the transport and the disk

    def _pump(self, session: Session) -> None:
        """Send what is ready and may go, and read ahead."""
        self._tell(session)
        if session.phase is not Phase.OPEN:
            return
        outbox = session.outbox
        if session.names or session.introduction is not None:  # what is compared depends on what both want
            return
        may_begin = session.answers.reconciles < limits.MAX_STEPS // 2  # the peer begins some too
        if session.reconcile_owed and may_begin and outbox.credit_bytes > 0:
            session.reconcile_owed = False
            by_fingerprint = session.owed_by_fingerprint
            session.ranges.append(session.reconcile.start(session.view, by_fingerprint=by_fingerprint))
        while session.ranges and outbox.credit_bytes > 0 and self._may_cost(session):
            message = next(session.ranges[0], None)
            if message is None:
                session.ranges.popleft()
            else:
                outbox.credit_bytes -= _size(message)
                if not session.answers.spend(message, points := price(message)):
                    session.allowance.spend(points)  # an empty list is answered with all we hold
                self._send(session, message)
        for sent in outbox.take():
            self._send(session, sent if isinstance(sent, Segment) else Fork(sent))
        if session.giving.is_reading or not self._may_cost(session):
            return
        is_short = self.budget.is_short
        wants: tuple[tuple[bytes, int], ...] = ()
        if not is_short or outbox.is_taking:
            wants = outbox.next_load(lambda author, first: self._readable(session, author, first))
        if wants:
            holes = frozenset(a for a, _ in wants if a in session.takes_holes and a in outbox.backlog)
            limit_bytes = limits.SHORT_READ_BYTES if is_short else limits.READ_AHEAD_BYTES
            self._emit(events.Load(session.number, wants, limit_bytes, holes))
        elif outbox.overflowed and outbox.idle:
            outbox.overflowed = False
            self._start_reconcile(session)

    def _readable(self, session: Session, author: bytes, first: int) -> bool:
        """Whether disk holds ``author`` from ``first`` on, and this peer may have it yet."""
        if first == PROOF:
            return author in self.holdings.forks
        return first <= self.holdings.clock.seq(author) and self._may_have(session, author)

    def _sent_all(self, author: bytes, first: int) -> bool:
        return first > (PROOF if author in self.holdings.forks else self.holdings.accepted_seq(author))

    def _writable(self, event: events.Writable) -> None:
        session = self.sessions.get(event.session)
        if session is not None:
            session.outbox.refill()
            self._pump(session)

    def _loaded(self, event: events.Loaded) -> None:
        session = self.sessions.get(event.session)
        if session is not None and session.phase is Phase.OPEN:
            session.giving.is_next = True
            session.allowance.spend(event.vain_bytes / TOIL_BYTES_PER_POINT)
            refused = session.outbox.loaded(event.segments, self._sent_all, event.withheld)
            for author, first in refused.items():
                session.withhold(author, first - 1)
            self._wasted(session, session.outbox.skipped_bytes)
            for author in session.outbox.ended:
                session.serve(author, Service.LAZY)
                self._announce(session, author, limits.LAZY_ANNOUNCE_SECONDS)
            self._pump(session)


def _size(message: Ranges) -> int:
    return sum(_RANGE_BYTES + _ITEM_BYTES * len(part.items) for part in message.ranges)
