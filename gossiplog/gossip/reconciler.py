"""Comparing what both sides of a session hold.

Responsible for: when a reconcile begins and goes on, RANGES as they come, and who is told what they say.
Must not know: what is in a range and how it is answered.
Invariant: nothing is compared before both sides have said what they want; what the peer cannot take waits here, as
something to be said, not as what was to be said.
"""

from __future__ import annotations

from collections import deque

from gossiplog import limits
from gossiplog.errors import UnexpectedMessageError
from gossiplog.gossip import events
from gossiplog.gossip.allowance import ranges_price
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.forks import Forks
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.messages import Ranges
from gossiplog.gossip.pacing import Pacing
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.reconcile import NOTHING, Reconcile, Saying
from gossiplog.gossip.session import REPLY_BYTES, Phase, Session, Slot
from gossiplog.log.leaf_sums import Away, Span

_RANGE_BYTES = 128
_ITEM_BYTES = 48
"""What a range and an item of it count against the window; a range more than its bytes, for the time it takes."""


class Comparison:
    """What one session compares: ``replies`` wait to be said, with ``is_waiting`` for heads that are not in memory, of
    which ``awaited`` are kept; ``their_root`` is what HELLO said."""

    def __init__(self, session: Session) -> None:
        self.reconcile = Reconcile(session.salt, starts_even=session.dialled)
        self.replies: deque[Saying] = deque()
        self.their_root = b""
        self.awaited: set[Span] = set()
        self.is_waiting = False


class Reconciler:
    """I compare what one replica holds with what its peers do."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        pacing: Pacing,
        announcer: Announcer,
        interest: InterestExchange,
        hole_filling: HoleFilling,
        announcements: Announcements,
        forks: Forks,
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._pacing = pacing
        self._announcer = announcer
        self._interest = interest
        self._hole_filling = hole_filling
        self._announcements = announcements
        self._forks = forks
        self.of = Slot(Comparison)

    def begin(self, session: Session) -> None:
        """Compare what both want, as soon as both have said what that is."""
        said = self._interest.of[session]
        if said.is_whole:
            same_interest = session.wanted == self._core.wanted
            if same_interest and said.root and said.root == self.of[session].their_root:
                self._catch_up.of[session].is_settled = True  # what was news since then is owed
                self._catch_up.check(session)
                self._hole_filling.seek(session)
            elif session.dialled or not said.root:
                # a dialler that read our HELLO may see no difference when our interest changed since
                self._catch_up.start(session, by_fingerprint=not same_interest)
        self._core.send_waiting(session)

    def ranges(self, session: Session, message: Ranges) -> None:
        """The peer says what it holds, of some ranges of authors."""
        if not self._interest.of[session].is_whole:
            raise UnexpectedMessageError("RANGES before the last of the names that HELLO began")
        self._interest.heed_items(session, message)
        step = self.of[session].reconcile.receive(message, session.view)
        if step.replies is not NOTHING:
            self.of[session].replies.append(step.replies)
        for author, seq in step.ahead:
            self._announcements.learn(session, author, seq)
        self._forks.disagree(session, step.conflicts)
        if step.finished:
            self._catch_up.of[session].is_settled = True
            self._hole_filling.seek(session)
        self._core.send_waiting(session)
        self._pulls.ask()
        self._catch_up.check(session)

    def reply(self, session: Session) -> None:
        """Say what is to be said, as far as the peer takes it and it has points for it."""
        if session.phase is not Phase.OPEN or self._announcer.has_names(session):
            return
        outbox, comparison, standing = session.outbox, self.of[session], self._catch_up.of[session]
        may_begin = session.answers.reconciles < limits.MAX_STEPS // 2  # the peer begins some too
        if standing.owes and may_begin and outbox.credit_bytes > 0:
            standing.owes = False
            opening = comparison.reconcile.start(session.view, by_fingerprint=standing.by_fingerprint)
            comparison.replies.append(opening)
        while (
            comparison.replies
            and not comparison.is_waiting
            and outbox.credit_bytes > 0
            and self._pacing.may_cost(session)
        ):
            message = next(comparison.replies[0], None)
            if message is None:
                comparison.replies.popleft()
            elif isinstance(message, Away):
                comparison.is_waiting = True
                comparison.awaited |= message.spans
                self._core.emit(events.Bring(session.number, tuple(sorted(message.spans))))
            else:
                comparison.awaited.clear()
                outbox.credit_bytes -= _size(message)
                if not session.answers.spend(message, points := ranges_price(message)):
                    session.allowance.spend(points)  # an empty list is answered with all we hold
                self._core.send(session, message)

    def look_at(self, session: Session, message: Ranges) -> None:
        """Raise :class:`Away` for what :meth:`ranges` would ask of heads that are not in memory."""
        self.of[session].reconcile.look_at(message, session.view)

    def go_on(self, session: Session) -> None:
        """Heads came: what was to be said may be said now."""
        self.of[session].is_waiting = False
        self._core.send_waiting(session)

    # -- memory

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of one session.  O(1)."""
        comparison = self.of[session]
        return REPLY_BYTES * len(comparison.replies) + comparison.reconcile.kept_bytes

    def shorten(self, session: Session) -> None:
        """Keep next to nothing of what is to be answered: it is said again."""
        self.of[session].reconcile.shorten()


def _size(message: Ranges) -> int:
    return sum(_RANGE_BYTES + _ITEM_BYTES * len(part.items) for part in message.ranges)
