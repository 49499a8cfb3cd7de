"""Payloads that were dropped: asking peers for them.

Responsible for: FILL as it is said, and what comes of it (specification, "Filling holes").
Must not know: how a body is compared with the hash that stands for it, or where; the store does both.
Invariant: one peer at a time is asked, for a bounded number of rows, and each for everything once after every reconcile
with it; who does not answer gets its next turn later than who does, and after some in vain none.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import ENTRIES_PER_POINT, TOIL_BYTES_PER_POINT, hashed
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.holed_pulls import HoledPulls
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.messages import Fill
from gossiplog.gossip.missing_payloads import Lacking
from gossiplog.gossip.payload_giving import PayloadGiving
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import AUTHOR_BYTES, Session, Slot, table_bytes
from gossiplog.gossip.write_queue import WriteQueue
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.segment import Segment, segment_bytes

MOST_LOOKED_AT = 4
"""Segments of one session that are compared with what is missing, if they were not asked for: each may take seconds,
where thousands of rows lack a payload, and nobody who brings entries is read from while these wait."""


class HoleFilling:
    """I see to it that one replica gets the payloads it lacks."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        interest: InterestExchange,
        holed_pulls: HoledPulls,
        giving: PayloadGiving,
        writes: WriteQueue,
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._interest = interest
        self._holed_pulls = holed_pulls
        self._giving = giving
        self._writes = writes
        self.of = Slot(lambda session: Lacking())
        self._fresh: dict[bytes, None] = {}
        self._turn: int | None = None
        self._turns = 0
        self._turn_ends = 0.0
        self._fills_pending = 0

    def rest(self) -> None:
        """No session is left."""
        self._turn = None

    def left(self, session: Session) -> None:
        """A session that was open is over: it is the next one's turn."""
        if self._turn == session.number:
            self._turn = None
        self._next_turn()
        self.seek_fresh()

    def was_asked(self, session: Session, author: bytes) -> bool:
        """Whether the peer was asked for payloads of ``author``, and has not answered."""
        return author in self.of[session].open

    # -- what is missing

    def seek(self, session: Session) -> None:
        """Ask the peer for everything that we lack: it may have what we did not get elsewhere."""
        self.of[session].begin()
        self._next_turn()

    def seek_of(self, author: bytes) -> None:
        """Ask everybody for the payloads of an author: they just came to be missing."""
        for session in self._core.open_sessions():
            self.of[session].ask_also(author)
        self._next_turn()

    def note_fresh(self, author: bytes) -> None:
        """Entries of ``author`` were just taken without their payloads."""
        self._fresh[author] = None

    def seek_fresh(self, authors: Iterable[bytes] | None = None) -> None:
        """Ask for the payloads of those (None: of all) that were taken without, as soon as no more of them comes."""
        if self._fresh:
            for author in tuple(self._fresh) if authors is None else authors:
                if author in self._fresh and author not in self._pulls.schedule.pulled_from:
                    del self._fresh[author]
                    self.seek_of(author)

    # -- asking in turns

    def _next_turn(self) -> None:
        """Ask the next peer, unless one is being asked."""
        core, of, standing = self._core, self.of, self._catch_up.of
        if self._turn is not None or self._fills_pending or core.is_read_only or not core.heads.holed:
            return
        due = [
            session
            for session in core.open_sessions()
            if of[session].due and session.takes and standing[session].is_settled
        ]
        ready = [session for session in due if self.of[session].not_before <= self._core.now]
        if ready:
            session = min(ready, key=lambda session: (self.of[session].vain_turns, self.of[session].turn))
            self._turns += 1
            self._turn = session.number
            self.of[session].turn = self._turns
            self._core.emit(events.FindHoles(session.number, self.of[session].after, limits.FILL_ROWS))
        elif due:
            core.at(min(of[session].not_before for session in due), self._next_turn)

    def holes_found(self, event: events.HolesFound) -> None:
        """The store found what we lack: ask the peer whose turn it is."""
        session = self._core.sessions.get(event.session)
        if session is None or self._turn != event.session:
            return
        lacking = self.of[session]
        if not event.rows:
            if lacking.after is None:
                self._core.heads.holed.clear()
            lacking.due = False
        lacking.began = lacking.after
        lacking.has_progress = False
        for author, rows in groupby(event.rows, attrgetter("author")):
            self._core.heads.lacks(author)
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
                self._holed_pulls.let_lack(session, author)
                self._core.send(session, Fill(author, tuple(ranges)))
        if lacking.open:
            self._turn_ends = self._core.now + limits.STALL_MOST_SECONDS
            self._wait_for(session, self._core.now + lacking.patience)
        else:
            self._end_turn()

    def _may_fill(self, session: Session, author: bytes) -> bool:
        only = self.of[session].only
        return self._giving.may_give(session, author) and (only is None or author in only)

    def _wait_for(self, session: Session, until: float) -> None:
        lacking = self.of[session]
        lacking.answers_by = min(until, self._turn_ends)
        if not lacking.is_watched:
            lacking.is_watched = True
            self._core.at(lacking.answers_by, self._look_for_answers, session)

    def _look_for_answers(self, session: Session) -> None:
        lacking = self.of[session]
        lacking.is_watched = False
        if self._turn != session.number or not lacking.open:
            return
        if self._core.now < lacking.answers_by:
            self._wait_for(session, lacking.answers_by)
        else:
            lacking.was_late(self._core.now)
            self._end_turn()

    def _end_turn(self) -> None:
        self._turn = None
        self._next_turn()

    def filled_up(self, session: Session, author: bytes) -> None:
        """That was all the peer has of what it was asked for."""
        lacking = self.of[session]
        if author in lacking.open:
            lacking.answered(author, self._core.now)
            if not lacking.open and self._turn == session.number:
                self._end_turn()

    def has_more(self, session: Session, author: bytes, seq: int) -> None:
        """A HAVE came: the peer holds nothing, or it may have got what it lacked when it was asked."""
        if not seq:
            self.filled_up(session, author)
        elif author in self._core.heads.holed and self.of[session].hope(author, self._core.now):
            self._next_turn()

    def fill_from(self, session: Session, segment: Segment) -> None:
        """A segment goes by that may have what we lack; what was asked for costs the peer nothing."""
        unasked = session.answers.unasked / ENTRIES_PER_POINT
        session.allowance.spend(unasked if session.is_answer else hashed(segment))
        size = row_bytes(len(segment.bodies))
        lacking = self.of[session]
        if self._core.ledger.full(segment.author, size) is not None:
            return  # it goes on being a hole
        if lacking.looked_at >= MOST_LOOKED_AT and not session.is_answer:
            return  # it will be asked for
        lacking.looked_at += 1
        self._core.ledger.filling(segment.author, size)
        self._fills_pending += 1
        self._core.emit(events.FillHoles(session.number, segment, session.is_answer))
        self._writes.add(session, segment_bytes(segment))

    def filled(self, event: events.HolesFilled) -> None:
        """The store compared what came with what we lack."""
        number, author, first, last, count, is_left, vain_bytes = event
        self._fills_pending -= 1
        if not self._fills_pending:
            self._core.ledger.filled()
        session = self._core.sessions.get(number)
        if count:
            if not is_left:
                self._core.heads.holed.discard(author)
            self._core.emit(events.PayloadsFilled(author, first, last))
            self._giving.got(author)
        if session is not None:
            session.allowance.spend(vain_bytes / TOIL_BYTES_PER_POINT)
            lacking = self.of[session]
            lacking.looked_at -= 1
        if session is not None and count:
            session.allowance.earn(1 + count / ENTRIES_PER_POINT)
            lacking.has_progress = lacking.gave = True
            if self._turn == number:
                self._wait_for(session, self._core.now + lacking.patience)
        self._next_turn()

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        return table_bytes(AUTHOR_BYTES, self.of[session].hopes, self.of[session].open)
