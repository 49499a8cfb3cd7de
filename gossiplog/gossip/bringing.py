"""Heads that have to be in memory before an event can be handled.

Responsible for: which authors an event speaks of; keeping what a session said, in its order, until their heads came.
Must not know: how heads are read and which stay; what an event leads to.
Invariant: an event is handled when all that it asks of heads is there, and not in part; of authors in the tables of a
session the heads stay.  With a clock that is in memory nothing waits, and nothing is asked here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.core import Core
from gossiplog.gossip.events import NOBODY, Event
from gossiplog.gossip.messages import Fill, Fork, Have, Hello, Lazy, Ranges, Refuse, Want
from gossiplog.gossip.pacing import Pacing
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.reconciler import Reconciler
from gossiplog.gossip.session import Pause, Session
from gossiplog.log.leaf_sums import Away, Span, each_at_once
from gossiplog.log.paged_clock import Needed, PagedClock
from gossiplog.log.segment import Segment


class _Waiting:
    """What waits, the first of it for ``spans``; of these some may have come."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.spans: set[Span] = set()


class Bringing:
    """I let the events of one replica wait for heads; ``clock`` is where they are."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        pacing: Pacing,
        announcer: Announcer,
        plumtree: Plumtree,
        announcements: Announcements,
        reconciler: Reconciler,
        handle: Callable[[Event], None],
    ) -> None:
        """``handle`` takes events that need not wait any more."""
        self._core = core
        self._pulls = pulls
        self._pacing = pacing
        self._announcer = announcer
        self._plumtree = plumtree
        self._announcements = announcements
        self._reconciler = reconciler
        self._handle = handle
        self._waiting: dict[int, _Waiting] = {}
        self._speaks_of: dict[type[Any], Callable[[Any], Iterable[bytes]]] = {
            events.InterestChanged: lambda event: event.authors,
            events.Forgotten: lambda event: event.authors,
            events.Lightened: lambda event: event.authors or (),
            events.ForkFound: lambda event: (event.proof.author,),
            events.ForkWritten: lambda event: (event.author,),
            events.Examined: lambda event: (event.segment.author,),
            events.Received: self._said,
        }

    def takes(self, event: Event) -> bool:
        """Keep an event that has to wait; False if it has not."""
        if type(event) not in self._speaks_of:
            return False
        number = getattr(event, "session", NOBODY)
        if number in self._waiting:
            self._waiting[number].events.append(event)
            return True
        away = self._away(event)
        if not away:
            return False
        self._waiting[number] = waiting = _Waiting()
        waiting.events.append(event)
        self._ask(number, waiting, away)
        session = self._core.sessions.get(number)
        if session is not None:
            self._pacing.pause(session, Pause.HEADS)
        return True

    def brought(self, event: events.Brought) -> None:
        """Heads came: go on with what waited for them."""
        number, clock = event.session, self._core.heads.paged
        assert clock is not None
        for span, heads in event.found:
            clock.bring(span, heads)
        if not event.found:
            self._core.close(number, ByeCode.INTERNAL, "what is held cannot be read")
        waiting = self._waiting.pop(number, _Waiting())
        while waiting.events:
            away = self._away(waiting.events[0])
            if away:
                self._waiting[number] = waiting
                self._ask(number, waiting, away)
                return
            waiting.spans.clear()
            self._handle(waiting.events.popleft())
        session = self._core.sessions.get(number)
        if session is not None:
            self._pacing.read_on(session, Pause.HEADS)
            self._reconciler.go_on(session)

    def _ask(self, number: int, waiting: _Waiting, away: tuple[Span, ...]) -> None:
        waiting.spans.update(away)
        self._core.emit(events.Bring(number, away))

    def over(self, session: Session) -> None:
        """A session is over; nobody waits."""
        self._waiting.pop(session.number, None)

    def trim(self, clock: PagedClock) -> None:
        """An event was handled: let go of heads, but for those that may be asked for at any moment."""
        clock.trim(self._needed)

    def _needed(self) -> Needed:
        core = self._core
        needed = {
            *core.heads.local,
            *core.heads.ahead,
            *self._pulls.schedule.claimed,
            *self._plumtree.parents,
            *core.ledger.refused,
        }
        for session in core.sessions.values():
            needed |= session.outbox.authors
            needed |= self._announcer.of[session].authors
            needed.update(self._plumtree.of[session].explores, self._plumtree.of[session].expected)
        spans = {span for waiting in self._waiting.values() for span in waiting.spans}
        spans.update(*[self._reconciler.of[session].awaited for session in core.sessions.values()])
        return Needed(needed, spans)

    def _away(self, event: Event) -> tuple[Span, ...]:
        """What an event asks of heads that are not in memory."""
        away: set[Span] = set()
        message = event.message if isinstance(event, events.Received) else None
        session = self._core.sessions.get(getattr(event, "session", NOBODY))
        try:
            each_at_once(self._core.heads.accepted_seq, self._speaks_of[type(event)](event))
        except Away as error:
            away |= error.spans
        if isinstance(message, Ranges) and session is not None:
            try:
                self._reconciler.look_at(session, message)
            except Away as error:
                away |= error.spans
        return tuple(sorted(away))

    def _said(self, event: events.Received) -> Iterable[bytes]:
        message = event.message
        if isinstance(message, Segment | Fill):
            return (message.author,)
        if isinstance(message, Want):
            return [item.author for item in message.items if item.author is not None]
        if isinstance(message, Lazy | Refuse):
            return [author for author in message.authors if author is not None]
        if isinstance(message, Fork):
            return (message.proof.author,)
        if isinstance(message, Hello):
            return message.exceptions
        if isinstance(message, Ranges):
            return [item.author for part in message.ranges for item in part.items]
        session = self._core.sessions.get(event.session)
        if isinstance(message, Have) and session is not None:
            return [author for author, _ in self._announcements.named(session, message)]
        return ()
