"""What peers pay for.

Responsible for: which messages cost a peer something, and taking that from what it may cost.
Must not know: what becomes of a message; what happens when nothing is left.
Invariant: what we asked for, and what is new whatever it says, costs a peer nothing.
"""

from __future__ import annotations

from gossiplog.gossip import events
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.core import Core
from gossiplog.gossip.messages import Fork, Message
from gossiplog.gossip.session import Session
from gossiplog.log.segment import Segment


class Charging:
    """I charge the peers of one replica."""

    def __init__(self, core: Core, announcements: Announcements) -> None:
        self._core = core
        self._announcements = announcements

    def charge(self, session: Session, message: Message, points: float) -> None:
        """``message``, whose price is ``points``, came."""
        is_free = self._is_free(session, message, points)
        session.allowance.charge(0.0 if is_free else points, self._core.now)

    def _is_free(self, session: Session, message: Message, points: float) -> bool:
        """Whether we asked for this, or it is new whatever it says."""
        core = self._core
        session.is_answer = False
        if type(message) is Fork:
            author = message.proof.author
            if core.wanted.wants(author) and author not in core.heads.forks:
                return True  # new, or an offence
            if session.outbox.is_owed(author):
                session.outbox.forget(author)  # it knows
                return True
        session.is_answer = session.answers.answer(
            message, points, core.heads.accepted_seq, lambda have: self._announcements.named(session, have)
        )
        if session.is_answer:
            return True
        return core.is_read_only and type(message) is Segment  # it may be new, if not for our disk

    def toiled(self, event: events.Toiled) -> None:
        """To read what came cost something, whatever is in it."""
        session = self._core.sessions.get(event.session)
        if session is not None:
            session.allowance.charge(event.points, self._core.now)
