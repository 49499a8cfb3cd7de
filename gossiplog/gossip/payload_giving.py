"""Payloads that peers lack, and we have.

Responsible for: FILL as it comes (specification, "Filling holes"): what a peer asks for is read and sent, and the peer
is told later when we got what we did not have.
Must not know: how a body is compared with the hash that stands for it; what we lack ourselves.
Invariant: what a peer asks for waits within a bound, and is read no faster than its allowance grows.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import TOIL_BYTES_PER_POINT
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.messages import Fill
from gossiplog.gossip.missing_payloads import Giving
from gossiplog.gossip.session import AUTHOR_BYTES, REPLY_BYTES, Phase, Session, Slot, table_bytes


class PayloadGiving:
    """I give the peers of one replica the payloads they lack."""

    def __init__(self, core: Core, catch_up: CatchUp, announcer: Announcer) -> None:
        self._core = core
        self._catch_up = catch_up
        self._announcer = announcer
        self.of = Slot(lambda session: Giving())

    def may_give(self, session: Session, author: bytes) -> bool:
        """Whether payloads of ``author`` may go from one side to the other at all."""
        wanted = self._core.wanted.wants(author) and session.wanted.wants(author)
        return wanted and author not in self._core.heads.forks

    def fill(self, session: Session, message: Fill) -> None:
        """A peer asks for payloads."""
        core, author = self._core, message.author
        if not session.wanted.wants(author):
            session.unwanted_items += 1
        elif not (core.wanted.wants(author) and core.heads.accepted_seq(author)):
            self._announcer.owe_now(session, author)  # as if nothing were held
        elif author in core.heads.forks:
            session.outbox.prove(author)
        elif not session.gives:
            self._announcer.owe_now(session, author)  # as if nothing were held, too
        else:
            self.of[session].ask(author, message.ranges)
        core.send_waiting(session)

    def drop(self, session: Session, author: bytes) -> None:
        """The peer is to be sent nothing more of ``author``."""
        self.of[session].forget(author)

    def got(self, author: bytes) -> None:
        """We have payloads of ``author`` that we did not have before: tell those that asked for them in vain."""
        for session in self._core.open_sessions():
            if self.of[session].short.pop(author, False) is None:
                self._announcer.insist(session, author)
                self._announcer.announce(session, author)

    def read_in_turn(self, session: Session) -> None:
        """Something else was read for the peer last: it is the turn of what it lacks."""
        if self.of[session].is_next:
            self.read(session)

    def read(self, session: Session) -> None:
        """Read some of what a peer lacks, if there is room for it."""
        core, outbox, giving = self._core, session.outbox, self.of[session]
        if session.phase is not Phase.OPEN or not giving.asked or giving.is_reading:
            return
        is_short = core.budget.is_short
        if outbox.loading or outbox.payloads or (is_short and not outbox.is_taking):
            return
        if not session.allowance.leaves(limits.ALLOWANCE_POINTS / 2, core.now):
            if not giving.waits:
                giving.waits = True
                core.at(core.now + limits.GIVE_SECONDS, self._read_later, session)
            return
        author = next((author for author in giving.asked if self._catch_up.may_have(session, author)), None)
        if author is not None:
            giving.is_reading = True
            ranges = giving.forget(author)
            limit_bytes = limits.SHORT_READ_BYTES if is_short else limits.READ_AHEAD_BYTES // 2
            core.emit(events.LoadPayloads(session.number, author, ranges, limit_bytes))

    def _read_later(self, session: Session) -> None:
        self.of[session].waits = False
        if session.phase is Phase.OPEN:
            self._core.send_waiting(session)

    def loaded(self, event: events.PayloadsLoaded) -> None:
        """Some of what a peer lacks was read."""
        number, author, (segments, left, is_whole, work_bytes) = event
        session = self._core.open_session(number)
        if session is None:
            return
        giving = self.of[session]
        giving.is_reading = giving.is_next = False
        session.allowance.spend(work_bytes / TOIL_BYTES_PER_POINT)
        if not self.may_give(session, author):
            segments = left = ()
        session.outbox.give(segments)
        if left and author not in giving.asked:
            giving.ask(author, left)
        if not is_whole:
            giving.fell_short(author)
        self._core.send_waiting(session)

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        giving = self.of[session]
        return table_bytes(AUTHOR_BYTES, giving.short, giving.asked) + REPLY_BYTES * giving.ranges
