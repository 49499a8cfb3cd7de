"""Whom a member meets in a room.

Responsible for: who is there, whom to ask, what becomes of each meeting, when to try again.
Must not know: how the room is reached, how a connection is made.
Invariant: whoever the room says is there is asked only if a session with that node is wanted, at most
``ROOM_MEETINGS_AT_ONCE`` at a time, and after each meeting in vain later and later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gossiplog import limits
from gossiplog.discovery.room import messages
from gossiplog.discovery.room.key import open_card
from gossiplog.discovery.room.sitting import Sitting
from gossiplog.live.machine import machine_of
from gossiplog.net.joining import Finder
from gossiplog.net.token_bucket import Bucket

STEADY_SECONDS = 60.0
"""A session that lasted so long starts the back-off over."""


class Meeting:
    """I am one attempt to have a session with ``node``, who sits at ``seat``."""

    def __init__(self, seat: bytes, node: bytes) -> None:
        self.seat = seat
        self.node = node
        self.late: Any = None
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
        self._failures: dict[bytes, int] = {}
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
        if isinstance(message, messages.Seats):
            self._came(message)
        elif isinstance(message, messages.Left):
            self._left(message.seat)
        elif isinstance(message, messages.Asked):
            self._asked(message.seat)
        elif isinstance(message, messages.Paired):
            self._paired(message)
        elif isinstance(message, messages.Refused):
            meeting = self._at(message.seat)
            if meeting is not None and not meeting.is_paired:
                self.over(meeting, lasted=0.0)

    def look(self) -> None:
        """Meet who is wanted."""
        if self._sitting is None:
            return
        now = self._now
        newest = {node: seat for seat, node in self._seats.items()}
        waiting = [node for node in newest if self._retry_at.get(node, now) <= now]
        chance = machine_of(self._reactor).chance
        for node in sorted(waiting, key=lambda _: chance()):
            if len(self._under_way) >= limits.ROOM_MEETINGS_AT_ONCE or self._meets.wait(now) > 0.0:
                return
            pending = sum(not meeting.is_paired for meeting in self._under_way.values())
            if node not in self._under_way and self._finder.wants(node, pending):
                self._begin(newest[node], node)

    def over(self, meeting: Meeting, lasted: float) -> None:
        """A meeting is over; what came of it ``lasted`` so many seconds."""
        self._forget(meeting)
        node = meeting.node
        failures = 0 if lasted >= STEADY_SECONDS else self._failures.get(node, 0)
        delay = min(limits.FIND_FIRST_SECONDS * 2.0 ** min(failures, 16), limits.FIND_MOST_SECONDS)
        if len(self._failures) >= limits.ROOM_KNOWN and node not in self._failures:
            forgotten = next(iter(self._failures))
            del self._failures[forgotten], self._retry_at[forgotten]
        self._failures[node] = failures + 1
        self._retry_at[node] = self._now + delay * (0.5 + machine_of(self._reactor).chance() / 2)
        self.look()

    def met(self, meeting: Meeting) -> None:
        """There is a connection, and a link on it."""
        self._forget(meeting)

    def forgive(self) -> None:
        """The network is another one: try them all, and soon again."""
        self._failures.clear()
        self._retry_at.clear()

    # --

    @property
    def _now(self) -> float:
        return float(self._reactor.seconds())

    def _tick(self) -> None:
        self._again = self._reactor.callLater(limits.ROOM_LOOK_SECONDS, self._tick)
        self.look()

    def _at(self, seat: bytes) -> Meeting | None:
        return next((meeting for meeting in self._under_way.values() if meeting.seat == seat), None)

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
        meeting = self._at(seat)
        if meeting is not None and not meeting.is_paired:
            self._forget(meeting)
            self.look()

    def _asked(self, seat: bytes) -> None:
        node = self._seats.get(seat)
        if node is None or node in self._under_way or not self._finder.takes(node):
            return
        if len(self._under_way) < 2 * limits.ROOM_MEETINGS_AT_ONCE and self._meets.wait(self._now) == 0.0:
            self._begin(seat, node)

    def _begin(self, seat: bytes, node: bytes) -> None:
        assert self._sitting is not None
        self._meets.take()
        meeting = self._under_way[node] = Meeting(seat, node)
        meeting.late = self._reactor.callLater(limits.ROOM_MEETING_SECONDS, self.over, meeting, 0.0)
        self._sitting.say(messages.Meet(seat, self._punches(node)))

    def _paired(self, message: messages.Paired) -> None:
        meeting = self._at(message.seat)
        if meeting is not None and not meeting.is_paired:
            meeting.is_paired = True
            meeting.late.cancel()
            self._connect(meeting, message)

    def _forget(self, meeting: Meeting) -> None:
        if self._under_way.get(meeting.node) is meeting:
            del self._under_way[meeting.node]
        if meeting.late is not None and meeting.late.active():
            meeting.late.cancel()
