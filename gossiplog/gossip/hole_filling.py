"""Payloads that were dropped: asking peers for them, and giving them to peers that ask.

Responsible for: FILL, in both directions (specification, "Filling holes").
Must not know: how a body is compared with the hash that stands for it, or where; the store does both.
Invariant: one peer at a time is asked, for a bounded number of rows, and each for everything once after every reconcile
with it; who does not answer gets its next turn later than who does, and after some in vain none.  What a peer asks for
waits within a bound, and is read no faster than its allowance grows.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import ENTRIES_PER_POINT, TOIL_BYTES_PER_POINT, hashed
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Fill
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.session import Phase, Session
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.segment import Segment, segment_bytes


class HoleFilling(Plumtree):
    """I see to it that one replica, and the peers of it, get the payloads they lack."""

    read_only: bool
    pending_bytes: int

    def __init__(self, holdings: Heads) -> None:
        super().__init__(holdings)
        self._turn: int | None = None
        self._turns = 0
        self._turn_ends = 0.0
        self._fills_pending = 0

    def _rest(self) -> None:
        super()._rest()
        self._turn = None

    def _left(self, session: Session) -> None:
        super()._left(session)
        if self._turn == session.number:
            self._turn = None
        self._next_turn()

    # -- we ask

    def _seek_payloads(self, session: Session) -> None:
        """Ask the peer for everything that we lack: it may have what we did not get elsewhere."""
        session.lacking.begin()
        self._next_turn()

    def _seek_payloads_of(self, author: bytes) -> None:
        """Ask everybody for the payloads of an author: they just came to be missing."""
        for session in self.open_sessions():
            session.lacking.ask_also(author)
        self._next_turn()

    def _next_turn(self) -> None:
        """Ask the next peer, unless one is being asked."""
        if self._turn is not None or self._fills_pending or self.read_only or not self.holdings.holed:
            return
        due = [session for session in self.open_sessions() if session.lacking.due and session.settled]
        ready = [session for session in due if session.lacking.not_before <= self.now]
        if ready:
            session = min(ready, key=lambda session: (session.lacking.vain_turns, session.lacking.turn))
            self._turns += 1
            self._turn = session.number
            session.lacking.turn = self._turns
            self._emit(events.FindHoles(session.number, session.lacking.after, limits.FILL_ROWS))
        elif due:
            self._at(min(session.lacking.not_before for session in due), self._next_turn)

    def _holes_found(self, event: events.HolesFound) -> None:
        session = self.sessions.get(event.session)
        if session is None or self._turn != event.session:
            return
        lacking = session.lacking
        if not event.rows:
            if lacking.after is None:
                self.holdings.holed.clear()
            lacking.due = False
        lacking.began = lacking.after
        lacking.has_progress = False
        for author, rows in groupby(event.rows, attrgetter("author")):
            self.holdings.lacks(author)
            ranges: list[tuple[int, int]] = []
            for row in rows:
                lacking.after = row
                if ranges and ranges[-1][1] + 1 == row.first:
                    ranges[-1] = ranges[-1][0], row.last
                else:
                    ranges.append((row.first, row.last))
                if len(ranges) > limits.MAX_FILL_RANGES:  # a gap is cheaper than another message
                    ranges[-2:] = [(ranges[-2][0], row.last)]
            if self._may_fill(session, author):
                lacking.open[author] = None
                session.let_lack(author)
                self._send(session, Fill(author, tuple(ranges)))
        if lacking.open:
            self._turn_ends = self.now + limits.STALL_MOST_SECONDS
            self._wait_for(session, self.now + lacking.patience)
        else:
            self._end_turn()

    def _may_fill(self, session: Session, author: bytes) -> bool:
        only = session.lacking.only
        return self._may_give(session, author) and (only is None or author in only)

    def _wait_for(self, session: Session, until: float) -> None:
        lacking = session.lacking
        lacking.answers_by = min(until, self._turn_ends)
        if not lacking.is_watched:
            lacking.is_watched = True
            self._at(lacking.answers_by, lambda: self._look_for_answers(session))

    def _look_for_answers(self, session: Session) -> None:
        lacking = session.lacking
        lacking.is_watched = False
        if self._turn != session.number or not lacking.open:
            return
        if self.now < lacking.answers_by:
            self._wait_for(session, lacking.answers_by)
        else:
            lacking.was_late(self.now)
            self._end_turn()

    def _end_turn(self) -> None:
        self._turn = None
        self._next_turn()

    def _filled_up(self, session: Session, author: bytes) -> None:
        """That was all the peer has of what it was asked for."""
        lacking = session.lacking
        if author in lacking.open:
            lacking.answered(author, self.now)
            if not lacking.open and self._turn == session.number:
                self._end_turn()

    def _has_more(self, session: Session, author: bytes, seq: int) -> None:
        """A HAVE came: the peer holds nothing, or it may have got what it lacked when it was asked."""
        if not seq:
            self._filled_up(session, author)
        elif author in self.holdings.holed and session.lacking.hope(author, self.now):
            self._next_turn()

    def _fill_from(self, session: Session, segment: Segment) -> None:
        """A segment goes by that may have what we lack; what was asked for costs the peer nothing."""
        unasked = session.answers.unasked / ENTRIES_PER_POINT
        session.allowance.spend(unasked if session.is_answer else hashed(segment))
        size = row_bytes(len(segment.bodies))
        if self.ledger.full(segment.author, size) is not None:
            return  # it goes on being a hole
        self.ledger.filling(segment.author, size)
        self._fills_pending += 1
        self._emit(events.FillHoles(session.number, segment, session.is_answer))
        self._bring(session, segment_bytes(segment))

    def _filled(self, event: events.HolesFilled) -> None:
        number, author, first, last, count, is_left, vain_bytes = event
        self._fills_pending -= 1
        if not self._fills_pending:
            self.ledger.filled()
        session = self.sessions.get(number)
        if count:
            if not is_left:
                self.holdings.holed.discard(author)
            self._emit(events.PayloadsFilled(author, first, last))
            for other in self.open_sessions():
                if other.giving.short.pop(author, False) is None:
                    other.giving.got(author)
                    self._announce(other, author)
        if session is not None:
            session.allowance.spend(vain_bytes / TOIL_BYTES_PER_POINT)
        if session is not None and count:
            session.allowance.earn(1 + count / ENTRIES_PER_POINT)
            session.lacking.has_progress = session.lacking.gave = True
            if self._turn == number:
                self._wait_for(session, self.now + session.lacking.patience)
        self._next_turn()

    def _bring(self, session: Session | None, size: int) -> None:
        raise NotImplementedError

    # -- a peer asks

    def _fill(self, session: Session, message: Fill) -> None:
        author = message.author
        if not session.wanted.wants(author):
            session.unwanted_items += 1
        elif not (self.wanted.wants(author) and self.holdings.accepted_seq(author)):
            session.owe(session.announce, author)  # as if nothing were held
            session.announces = True
        elif author in self.holdings.forks:
            session.outbox.prove(author)
        else:
            session.giving.ask(author, message.ranges)
        self._pump(session)

    def _pump(self, session: Session) -> None:
        if session.giving.is_next:
            self._give(session)
        super()._pump(session)
        self._give(session)

    def _give(self, session: Session) -> None:
        """Read some of what a peer lacks, if there is room for it."""
        outbox, giving = session.outbox, session.giving
        if session.phase is not Phase.OPEN or not giving.asked or giving.is_reading:
            return
        is_short = self.budget.is_short
        if outbox.loading or outbox.payloads or (is_short and not outbox.is_taking):
            return
        if not session.allowance.leaves(limits.ALLOWANCE_POINTS / 2, self.now):
            if not giving.waits:
                giving.waits = True
                self._at(self.now + limits.GIVE_SECONDS, lambda: self._give_later(session))
            return
        author = next((author for author in giving.asked if self._may_have(session, author)), None)
        if author is not None:
            giving.is_reading = True
            ranges = giving.forget(author)
            limit_bytes = limits.SHORT_READ_BYTES if is_short else limits.READ_AHEAD_BYTES // 2
            self._emit(events.LoadPayloads(session.number, author, ranges, limit_bytes))

    def _may_give(self, session: Session, author: bytes) -> bool:
        wanted = self.wanted.wants(author) and session.wanted.wants(author)
        return wanted and author not in self.holdings.forks

    def _give_later(self, session: Session) -> None:
        session.giving.waits = False
        if session.phase is Phase.OPEN:
            self._pump(session)

    def _payloads_loaded(self, event: events.PayloadsLoaded) -> None:
        number, author, (segments, left, is_whole, work_bytes) = event
        session = self.sessions.get(number)
        if session is None or session.phase is not Phase.OPEN:
            return
        giving = session.giving
        giving.is_reading = giving.is_next = False
        session.allowance.spend(work_bytes / TOIL_BYTES_PER_POINT)
        if not self._may_give(session, author):
            segments = left = ()
        session.outbox.give(segments)
        if left and author not in giving.asked:
            giving.ask(author, left)
        if not is_whole:
            giving.fell_short(author)
        self._pump(session)
