"""Whom a member meets in a room.

Responsible for: who is there, whom to ask, what becomes of each meeting, when to try again.
Must not know: how the room is reached, how a connection is made.
Invariant: whoever the room says is there is asked only if a session with that node is wanted, at most
``ROOM_MEETINGS_AT_ONCE`` at a time, and after each meeting in vain later and later.  Those who ask take no place of
those who are asked, and of several who show one card each has its turn: the room cannot tell whose it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from gossiplog import limits
from gossiplog.back_off import back_off
from gossiplog.discovery.room import messages
from gossiplog.discovery.room.key import open_card
from gossiplog.discovery.room.sitting import Sitting
from gossiplog.errors import EndpointError
from gossiplog.live.machine import machine_of
from gossiplog.net.token_bucket import Bucket
from gossiplog.net.ways import Finder

STEADY_SECONDS = 60.0
"""A session that lasted so long starts the back-off over."""


class Meeting:
    """I am one attempt to have a session with ``node``, who sits at ``seat``; ``is_asked``: that is what it wants."""

    def __init__(self, seat: bytes, node: bytes, *, is_asked: bool) -> None:
        self.seat = seat
        self.node = node
        self.is_asked = is_asked
        self.late: Any = None
        self.waiting: Deferred[Any] | None = None
        """Fires with the link, for whoever named the node."""
        self.is_paired = False


class Meetings:
    """I am the meetings of one node in one room.

    ``connect(meeting, paired)`` makes the connection, and says with :meth:`over` how that ended.
    """

    def __init__(
        self,
        finder: Finder,
        punches: Callable[[bytes], bool],
        connect: Callable[[Meeting, messages.Paired], None],
    ) -> None:
        self._finder = finder
        self._reactor = finder.reactor
        self._punches = punches
        self._connect = connect
        self._sitting: Sitting | None = None
        self._seats: dict[bytes, bytes] = {}
        self._under_way: dict[bytes, Meeting] = {}
        self._failed: dict[bytes, int] = {}  # by seat: a card can be shown by others too
        self._failures: dict[bytes, int] = {}  # by node
        self._retry_at: dict[bytes, float] = {}
        self._again: Any = None
        most, per_second = limits.ROOM_MESSAGES / 4, limits.ROOM_MESSAGES_PER_SECOND / 2
        self._meets = Bucket(most, per_second, self._now)  # the room takes more, and other messages too
        self.is_looking = False
        """Whether the room has not said yet who is there."""

    def sat_down(self, sitting: Sitting) -> None:
        """We sit, and hear soon who else does."""
        self._sitting, self.is_looking = sitting, True
        self._tick()

    def stood_up(self) -> None:
        """We do not sit any more; who is being connected goes on without the room."""
        self._sitting, self.is_looking = None, False
        self._seats.clear()
        self._failed.clear()
        for meeting in tuple(self._under_way.values()):
            if not meeting.is_paired:
                self._forget(meeting)
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    @property
    def is_busy(self) -> bool:
        """Whether somebody may be met yet."""
        return self.is_looking or bool(self._under_way)

    def told(self, message: messages.Message) -> None:
        """The room says something."""
        meeting = self._under_way.get(getattr(message, "seat", b""))
        if isinstance(message, messages.Seats):
            self._came(message)
        elif isinstance(message, messages.Left):
            self._left(message.seat)
        elif isinstance(message, messages.Asked):
            self._asked(message.seat)
        elif meeting is None or meeting.is_paired:
            return
        elif isinstance(message, messages.Paired):
            meeting.is_paired = True
            meeting.late.cancel()
            self._connect(meeting, message)
        elif isinstance(message, messages.Refused):
            self.over(meeting, lasted=0.0)

    def look(self) -> None:
        """Meet who is wanted."""
        if self._sitting is None:
            return
        now, chance = self._now, machine_of(self._reactor).chance
        waiting = [each for each in self._seats.items() if self._retry_at.get(each[1], now) <= now]
        for seat, node in sorted(waiting, key=lambda each: (self._failed.get(each[0], 0), chance())):
            if self._count(is_asked=False) >= limits.ROOM_MEETINGS_AT_ONCE or self._meets.wait(now) > 0.0:
                return
            if any(meeting.node == node for meeting in self._under_way.values()):
                continue
            pending = sum(not meeting.is_paired for meeting in self._under_way.values())
            if self._finder.wants(node, pending):
                self._begin(seat, node, is_asked=False)

    def meet(self, node: bytes) -> Deferred[Any]:
        """Meet a node that somebody named; fires with the link that we dial on, or fails."""
        seats = [seat for seat, there in self._seats.items() if there == node and seat not in self._under_way]
        if self._sitting is None or not seats:
            return fail(EndpointError("it is not in the room now, or is being met"))
        if not self._finder.takes(node) or self._meets.wait(self._now) > 0.0:
            return fail(EndpointError("it is connected already, or asked too often"))
        seat = min(seats, key=lambda seat: self._failed.get(seat, 0))
        meeting = self._begin(seat, node, is_asked=False)
        meeting.waiting = Deferred(lambda _: self.over(meeting, 0.0))
        return meeting.waiting

    def knows(self, node: bytes) -> bool:
        """Whether somebody in the room says to be this node."""
        return node in self._seats.values()

    def over(self, meeting: Meeting, lasted: float) -> None:
        """A meeting is over; what came of it ``lasted`` so many seconds."""
        self._forget(meeting)
        node = meeting.node
        if meeting.seat in self._seats:
            self._failed[meeting.seat] = self._failed.get(meeting.seat, 0) + 1
        failures = 0 if lasted >= STEADY_SECONDS else self._failures.get(node, 0)
        chance = machine_of(self._reactor).chance
        delay = back_off(failures, limits.FIND_FIRST_SECONDS, limits.FIND_MOST_SECONDS, chance)
        if len(self._failures) >= limits.ROOM_KNOWN and node not in self._failures:
            forgotten = next(iter(self._failures))
            del self._failures[forgotten], self._retry_at[forgotten]
        self._failures[node] = failures + 1
        self._retry_at[node] = self._now + delay
        self.look()

    def met(self, meeting: Meeting, link: Any) -> None:
        """There is a connection; ``link`` is for who waits for it, None if the other side dials."""
        waiting = meeting.waiting
        if link is not None and waiting is not None and not waiting.called:
            meeting.waiting = None
            waiting.callback(link)
        self._forget(meeting)

    def forgive(self) -> None:
        """The network is another one: try them all, and soon again."""
        self._failures.clear()
        self._retry_at.clear()
        self._failed.clear()

    # --

    @property
    def _now(self) -> float:
        return float(self._reactor.seconds())

    def _tick(self) -> None:
        self._again = self._reactor.callLater(limits.ROOM_LOOK_SECONDS, self._tick)
        self.look()

    def _count(self, *, is_asked: bool) -> int:
        return sum(meeting.is_asked == is_asked for meeting in self._under_way.values())

    def _came(self, message: messages.Seats) -> None:
        self.is_looking = False
        if self._sitting is None:
            return
        for seat, card in message.seats:
            node = open_card(self._finder.network, self._sitting.room, card)
            if node is not None and node != self._finder.node and len(self._seats) < limits.ROOM_KNOWN:
                self._seats[seat] = node
        self.look()

    def _left(self, seat: bytes) -> None:
        self._seats.pop(seat, None)
        self._failed.pop(seat, None)
        meeting = self._under_way.get(seat)
        if meeting is not None and not meeting.is_paired:
            self._forget(meeting)
            self.look()

    def _asked(self, seat: bytes) -> None:
        node = self._seats.get(seat)
        if node is None or seat in self._under_way or not self._finder.takes(node):
            return
        if self._count(is_asked=True) < limits.ROOM_MEETINGS_AT_ONCE and self._meets.wait(self._now) == 0.0:
            self._begin(seat, node, is_asked=True)

    def _begin(self, seat: bytes, node: bytes, *, is_asked: bool) -> Meeting:
        assert self._sitting is not None
        self._meets.take()
        meeting = self._under_way[seat] = Meeting(seat, node, is_asked=is_asked)
        meeting.late = self._reactor.callLater(limits.ROOM_MEETING_SECONDS, self.over, meeting, 0.0)
        self._sitting.say(messages.Meet(seat, self._punches(node)))
        return meeting

    def _forget(self, meeting: Meeting) -> None:
        if self._under_way.get(meeting.seat) is meeting:
            del self._under_way[meeting.seat]
        if meeting.late is not None and meeting.late.active():
            meeting.late.cancel()
        waiting, meeting.waiting = meeting.waiting, None
        if waiting is not None and not waiting.called:
            waiting.errback(EndpointError("it did not come, or dials us"))
