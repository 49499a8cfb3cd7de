"""What a peer is to be told beside entries, as far as it reads.

Responsible for: announcements, the names of our interest, questions about authors that disagree: one bit per author
each until there is room, and then what is true at that moment.
Must not know: entries; what a transport is.
Invariant: whatever others do, what waits for a peer that reads slowly is bounded, and nothing that a third party caused
is given to its transport beyond a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Wanted
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import Lazy, Message, Refuse, Want, WantItem
from gossiplog.gossip.outbox import CONTROL_ITEM_BYTES
from gossiplog.gossip.session import Phase, Session


class Announcer(Liveness):
    """I say what is owed to the peers of one replica, when they can take it."""

    wanted: Wanted

    def __init__(self, holdings: Heads) -> None:
        super().__init__(holdings)
        self._announce_at: float | None = None

    def _rest(self) -> None:
        super()._rest()
        self._announce_at = None

    # -- what is owed

    def _announce(self, session: Session, author: bytes, within: float = limits.ANNOUNCE_SECONDS) -> None:
        session.owe(session.announce, author)
        self._flush_within(within)

    def _flush_within(self, within: float) -> None:
        when = self.now + within
        if self._announce_at is None or when < self._announce_at:
            self._announce_at = when
            self._at(when, self._flush_announcements)

    def _flush_announcements(self) -> None:
        if self._announce_at is None or self.now < self._announce_at:
            return  # it was due earlier, and is done
        self._announce_at = None
        for session in self.open_sessions():
            session.announces = True
            self._tell(session)
            self._explore_with(session)

    def _name(self, session: Session, authors: Sequence[bytes]) -> None:
        """Say of these whether we want them; one that does not read what it wants to be told is given up."""
        session.announces = session.announces or bool(authors)
        for author in authors:
            wants = self.wanted.wants(author)
            if session.names.setdefault(author, not wants) == wants:
                del session.names[author]  # it changed back, and the peer never knew
        if len(session.names) > limits.MAX_NAMED_AUTHORS:
            reason = f"left unread what we want of {len(session.names)} authors"
            self._at(self.now, lambda: self._close(session.number, ByeCode.LIMIT, reason))

    def _explore_with(self, session: Session) -> None:
        raise NotImplementedError

    def _advise(self, session: Session, message: Message) -> None:
        """Say what only saves a copy or a delay: to a peer that reads slowly, nothing."""
        if session.outbox.control_credit_bytes > 0:
            self._send(session, message)

    # -- when there is room

    def _tell(self, session: Session) -> None:
        """Say what is owed, as far as there is room.

        What we hold of an author comes before that we want it, or the peer may send more of our own log than it should.
        """
        outbox = session.outbox
        if session.ping is not None and outbox.control_credit_bytes > 0:
            self._ping(session, session.ping)
        while outbox.control_credit_bytes > 0:
            message = self._introduction(session)
            if message is None and session.phase is Phase.OPEN:
                message = self._announcement(session) or self._names(session) or self._doubts(session)
            elif message is None:
                message = self._names(session)
            if message is None:
                return
            self._send(session, message)

    @staticmethod
    def _introduction(session: Session) -> Message | None:
        message = None if session.introduction is None else next(session.introduction, None)
        if message is None:
            session.introduction = None
        return message

    def _announcement(self, session: Session) -> Message | None:
        session.announces = session.announces and bool(session.announce)
        return session.announcement(self._shown_seq, _room(session)) if session.announces else None

    def _names(self, session: Session) -> Message | None:
        """Our interest in the first of those that are to be named, and in as many after it that we want likewise."""
        first = next(iter(session.names), None)
        if first is None:
            return None
        wants = self.wanted.wants(first)
        found = []
        for author in islice(session.names, min(_room(session), limits.MAX_WANT_ITEMS)):
            if self.wanted.wants(author) is not wants:
                break
            found.append(author)
        for author in found:
            del session.names[author]
        return (Lazy if wants else Refuse)(tuple(found))

    def _doubts(self, session: Session) -> Message | None:
        """Questions about authors of whom the peer holds another entry: a proof is the answer, or is made of it."""
        items = []
        for author in [*islice(session.doubts, min(_room(session), limits.MAX_WANT_ITEMS))]:
            del session.doubts[author]
            if author not in self.holdings.forks and self.wanted.wants(author):
                items.append(WantItem(author, max(1, self.holdings.clock.seq(author))))
        return Want(tuple(items)) if items else None

    def _shown_seq(self, author: bytes) -> int:
        """What a HAVE says: nothing is held of who is not wanted."""
        return self.holdings.accepted_seq(author) if self.wanted.wants(author) else 0


def _room(session: Session) -> int:
    """How many authors the next control message may speak of."""
    return session.outbox.control_credit_bytes // CONTROL_ITEM_BYTES + 1
