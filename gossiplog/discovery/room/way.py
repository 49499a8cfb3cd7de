"""Finding peers in a room.

Responsible for: :class:`Room`: a seat in the room, and connections to who is met there, past the room if that works.
Must not know: what is said on the connections.
Invariant: once stopped, no seat, no timer and no attempt is left; sessions stay.  Whoever the room connects us with has
to show in the handshake of the session that it is the node that was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog import limits
from gossiplog.arguments import check_flags, check_type
from gossiplog.back_off import back_off
from gossiplog.discovery.room.crossings import Crossings
from gossiplog.discovery.room.key import RoomKey
from gossiplog.discovery.room.meetings import Meeting, Meetings
from gossiplog.discovery.room.messages import Message, Paired
from gossiplog.discovery.room.sitting import Sitting
from gossiplog.errors import EndpointError, InvalidKeyError
from gossiplog.live.forked_reactor import let_go
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog
from gossiplog.live.machine import machine_of
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.net import endpoints
from gossiplog.net.happy_eyeballs import reaching
from gossiplog.net.ways import Finder, require_ended
from gossiplog.store.owning_process import hold

_log = NodeLog()

KEY_MARK = "#"
"""Behind the endpoint of a room: its key follows."""


def parse_room(text: str) -> tuple[str, RoomKey]:
    """Return endpoint and key of ``ENDPOINT#KEY``, without a key of an open room; EndpointError, InvalidKeyError."""
    endpoint, mark, key = text.partition(KEY_MARK)
    if mark and not key:
        raise InvalidKeyError(f"behind {KEY_MARK} there is the key of the room; an open room has neither")
    return endpoints.check_client(endpoint), RoomKey.parse(key) if key else RoomKey()


class Room:
    """I am a way to meet those who nobody can dial: in a room, which ``gossiplog room`` runs somewhere all can reach.

    ``endpoint`` is where it is, with its key behind ``#`` if it is not given as ``key`` (``room_...``); an open room
    has none.  ``punch``: try to connect past the room, for which it tells others our address as it sees it.

    >>> Room("tcp:rooms.example.org:443").endpoint
    'tcp:rooms.example.org:443'
    """

    def __init__(self, endpoint: str, key: str | None = None, *, punch: bool = True) -> None:
        check_type("endpoint", endpoint, str, "text such as tcp:HOST:PORT#room_...")
        check_flags(punch=punch)
        self.endpoint, self.key = parse_room(endpoint)
        if key is not None:
            if not self.key.is_open:
                raise InvalidKeyError("the key of the room is given twice")
            self.key = RoomKey.parse(key)
        self.name = f"room {self.endpoint}"
        self._punch = punch
        self._stopped = True
        self._reset()

    def _reset(self) -> None:
        self._sitting: Sitting | None = None
        self._dialling: Deferred[Any] | None = None
        self._call: Any = None
        self._failures = 0
        self._sat_at = 0.0
        self._looks: list[tuple[Deferred[None], Any]] = []

    # -- the node calls (gossiplog.net.ways.Way)

    def start(self, finder: Finder) -> None:
        """Sit down in the room, and again whenever the seat is lost."""
        require_ended(self, self._stopped)
        self._reset()
        self._stopped = False
        self._finder = finder
        self.reactor, self.network, self.node = finder.reactor, finder.network, finder.node
        self._crossings = Crossings(finder, self.endpoint)
        self._meetings = Meetings(finder, self._crossings.punches, self._connect)
        hold(self)
        self._dial()

    def announce(self, addresses: Sequence[tuple[str, int]]) -> None:
        """A room tells others of no address but the one it sees."""

    def look(self) -> Deferred[None]:
        """Fire when who is there has been met; the network may be another one than before."""
        looked: Deferred[None] = Deferred()
        if self._stopped:
            looked.callback(None)
            return looked
        late = self.reactor.callLater(limits.ROOM_LOOK_SECONDS, self._looked, looked)
        self._looks.append((looked, late))
        self._crossings.forgive()
        self._meetings.forgive()
        if self._sitting is not None:
            self._sitting.doubt()
            self._meetings.look()
        elif self._call is not None:
            self._failures = 0
            self._dial()
        self._settle()
        return looked

    def reach(self, node: bytes) -> Seated | None:
        """An endpoint that leads to a node which is in the room; None for others."""
        return Seated(self, node) if not self._stopped and self._meetings.knows(node) else None

    def meet(self, node: bytes) -> Deferred[Any]:
        """Meet a node now; fires with the link on which we dialled it."""
        return fail(EndpointError("we left the room")) if self._stopped else self._meetings.meet(node)

    def stop(self) -> None:
        """Leave the room; sessions stay."""
        self._stopped = True
        self._cancel()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._sitting is not None:
            self._sitting.leave()
        self._crossings.stop()
        self._meetings.stood_up()
        self._settle()

    def give_up(self) -> None:
        """In a child by fork: let go of the connections, and do nothing any more."""
        self._stopped = True
        self._cancel()
        self._meetings.stood_up()
        if self._sitting is not None:
            self._sitting.give_up()
        held = [self._sitting, *self._crossings.passages]
        let_go(self.reactor, [each.transport for each in held if each is not None])

    # -- the seat reports (gossiplog.discovery.room.sitting.Member)

    def sat_down(self, sitting: Sitting) -> None:
        """The room knows us."""
        self._sat_at = self.reactor.seconds()
        self._meetings.sat_down(sitting)

    def told(self, sitting: Sitting, message: Message) -> None:
        """The room says something."""
        if sitting is self._sitting:
            self._meetings.told(message)
            self._settle()

    def stood_up(self, sitting: Sitting, reason: str) -> None:
        """The seat is lost: sit down again after a while."""
        if sitting is self._sitting:
            self._sitting = None
            self._crossings.stood_up()
            self._meetings.stood_up()
            if self._sat_at and self.reactor.seconds() - self._sat_at >= limits.RECONNECT_MOST_SECONDS:
                self._failures = 0
            self._sat_at = 0.0
            self._later(reason)

    # --

    def _dial(self) -> None:
        self._cancel()
        if self._stopped or self._sitting is not None or self._dialling is not None:
            return
        endpoint = endpoints.client(reaching(self.reactor), self.endpoint)
        factory = Factory.forProtocol(lambda: Sitting(self))
        factory.noisy = False
        dialling = self._dialling = maybeDeferred(endpoint.connect, factory)
        dialling.addTimeout(limits.FIND_DIAL_SECONDS, self.reactor)
        dialling.addCallbacks(self._reached, self._unreached)

    def _reached(self, sitting: Sitting) -> None:
        self._dialling = None
        self._sitting = sitting
        if self._stopped:
            sitting.leave()
            return
        self._crossings.sat_down(sitting.transport, self._punch)
        if sitting.is_closing:
            self.stood_up(sitting, "the room hung up")

    def _unreached(self, failure: Failure) -> None:
        pass_on(self.reactor, failure.value)
        self._dialling = None
        self._later(failure.getErrorMessage())

    def _later(self, reason: str) -> None:
        if self._stopped:
            return
        self._finder.failed(reason)
        delay = back_off(
            self._failures,
            limits.RECONNECT_FIRST_SECONDS,
            limits.RECONNECT_MOST_SECONDS,
            machine_of(self.reactor).chance,
        )
        self._failures += 1
        self._cancel()
        self._call = self.reactor.callLater(delay, self._dial)
        self._settle()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _settle(self) -> None:
        """See whether a look is over."""
        is_on_its_way = self._dialling is not None or (self._sitting is not None and not self._sat_at)
        if self._stopped or not (is_on_its_way or self._meetings.is_busy):
            for looked, _ in tuple(self._looks):
                self._looked(looked)

    def _looked(self, looked: Deferred[None]) -> None:
        for each, late in self._looks:
            if each is looked and late.active():
                late.cancel()
        self._looks = [each for each in self._looks if each[0] is not looked]
        looked.callback(None)

    def _connect(self, meeting: Meeting, paired: Paired) -> None:
        def ended(lasted: float) -> None:
            self._meetings.over(meeting, lasted)
            self._settle()

        is_chosen = meeting.waiting is not None and paired.dials
        crossing = self._crossings.connect(meeting.node, paired, ended, is_chosen=is_chosen)

        def crossed(link: Any) -> None:
            if link is None:
                self._meetings.over(meeting, 0.0)
            else:
                self._meetings.met(meeting, link if is_chosen else None)
            self._settle()

        crossing.addCallback(crossed)
        words = "meeting a member of a room failed"
        crossing.addErrback(lambda failure: _log.failure(words, failure, event="meeting_failed"))


@implementer(IStreamClientEndpoint)
class Seated:
    """I am a node in a room, as an endpoint to dial."""

    def __init__(self, room: Room, node: bytes) -> None:
        self._room = room
        self._node = node

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Meet the node; the protocol is a link that the room has made."""
        return self._room.meet(self._node)

    def __repr__(self) -> str:
        return f"{format_key(KeyKind.NODE, self._node)} in {self._room.name}"
