"""One connection to a room.

Responsible for: the handshake, a ticket in its place, frames in and out, an end in time.
Must not know: who else is there.
Invariant: who knows neither the key of the room nor a ticket gets no byte; whoever sits does not make the room keep
more than one frame that is not complete and ``ROOM_UNSENT_BYTES``.
"""

from __future__ import annotations

from typing import Any, Final
from typing import Protocol as Interface

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog import limits
from gossiplog.discovery.room.messages import TICKET_BYTES, Message, decode, encode
from gossiplog.discovery.room.pairs import Side
from gossiplog.discovery.room.rates import UNIT_BYTES, Rate
from gossiplog.errors import HandshakeError, LimitExceededError, PeerError, PeerTimeoutError
from gossiplog.net.endpoints import describe
from gossiplog.net.sockets import tune
from gossiplog.wire.channel import Channel

TICKET_MARK: Final = b"\x00"
"""In the place of the version of the handshake: a ticket follows."""


class Host(Interface):
    """The room."""

    reactor: Any

    def channel(self) -> Channel:
        """For a new connection."""

    def came(self, visitor: Visitor) -> None:
        """A connection came up."""

    def located(self, visitor: Visitor) -> None:
        """It is not where the proxy is that it comes through."""

    def asked(self, visitor: Visitor) -> None:
        """It knows the key of the room: call :meth:`Visitor.answer` when its turn has come."""

    def entered(self, visitor: Visitor) -> None:
        """The handshake is done."""

    def claimed(self, visitor: Visitor, ticket: bytes) -> Side | None:
        """It has a ticket."""

    def received(self, visitor: Visitor, message: Message) -> None:
        """A member says something."""

    def refused(self, visitor: Visitor, error: PeerError) -> None:
        """It did what it may not do, before it sat down or after."""

    def lost(self, visitor: Visitor) -> None:
        """It is gone."""


@implementer(IPushProducer)
class Visitor(Protocol):
    """I am one connection to a room."""

    initiator = False

    def __init__(self, room: Host) -> None:
        self._room = room
        self.channel = room.channel()
        self.host = ""
        self.address = ""
        self.seat = b""
        self.tag = b""
        self.card = b""
        self.asked: dict[bytes, bool] = {}
        """Whom it wants to meet, and whether it would try the direct way."""
        self._begun = b""
        self._side: Side | None = None
        self._is_closing = self._is_full = False
        self._unread_bytes = 0
        self._deadline: Any = None
        self._messages = Rate(limits.ROOM_MESSAGES, limits.ROOM_MESSAGES_PER_SECOND, room.reactor.seconds())

    # -- Twisted calls

    def connectionMade(self) -> None:
        """Wait for a handshake or a ticket."""
        self.locate()
        self._deadline = self._room.reactor.callLater(limits.HANDSHAKE_SECONDS, self._too_late)
        self._room.came(self)

    def dataReceived(self, data: bytes) -> None:
        """A ticket, the handshake, or frames; or what is carried."""
        if self._side is not None:
            self._side.received(data)
            return
        if self._is_closing:
            return
        if not (self._begun or self.channel.bytes_in):
            if self.locate():
                self._room.located(self)
            if self._is_closing:
                return
        if self._begun or (not self.channel.bytes_in and data.startswith(TICKET_MARK)):
            self._take_ticket(data)
            return
        try:
            self._take_frames(data)
        except PeerError as error:
            self.refuse(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._is_closing = True
        self._cancel_deadline()
        if self._side is not None:
            self._side.lost()
        self._room.lost(self)

    def pauseProducing(self) -> None:
        """The transport holds as much as it should."""
        if not self._is_full:  # transports say so with every write
            self._is_full, self._unread_bytes = True, 0

    def resumeProducing(self) -> None:
        """The transport is empty."""
        self._is_full = False

    def stopProducing(self) -> None:
        """The transport takes nothing more."""

    # -- the room calls

    def locate(self) -> bool:
        """Look where the visitor is; True if that is somewhere else than before."""
        transport: Any = self.transport
        peer = transport.getPeer()
        host = getattr(peer, "host", "")
        is_new = host != self.host
        self.host, self.address = host, describe(peer)
        return is_new

    def answer(self) -> None:
        """Go on with the handshake."""
        try:
            answer = self.channel.outgoing()
        except PeerError as error:
            self.refuse(error)
            return
        tune(self.transport)
        self._write(answer)

    def say(self, *messages: Message) -> None:
        """Tell a member something; who does not read has to go."""
        if self._is_closing or not self.channel.established:
            return
        data = self.channel.send(*map(encode, messages))
        self._write(data)
        if self._is_full:
            self._unread_bytes += len(data)
            if self._unread_bytes > limits.ROOM_UNSENT_BYTES:
                self.refuse(LimitExceededError("what the room says is left unread"))

    def sat(self) -> None:
        """From now on it has to show that it lives."""
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._cancel_deadline()
        self.live()

    def live(self) -> None:
        """It does."""
        if self._deadline is None:
            self._deadline = self._room.reactor.callLater(limits.ROOM_IDLE_SECONDS, self._too_late)
        else:
            self._deadline.reset(limits.ROOM_IDLE_SECONDS)

    def refuse(self, error: PeerError) -> None:
        """It did what it may not do, or is one too many."""
        if not self._is_closing:
            self._room.refused(self, error)
            self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._is_closing = True
        self._cancel_deadline()
        transport: Any = self.transport
        transport.abortConnection()

    def hang_up(self) -> None:
        """End what is carried, once it is written; it may take a while until it was read."""
        if self._is_closing:
            return
        self._is_closing = True
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        transport.loseConnection()
        self._deadline = self._room.reactor.callLater(limits.CLOSE_SECONDS, transport.abortConnection)

    # --

    def _take_ticket(self, data: bytes) -> None:
        size = len(TICKET_MARK) + TICKET_BYTES
        self._begun += data[: size + 1]
        if len(self._begun) < size:
            return
        if len(self._begun) > size:
            self.refuse(HandshakeError("whoever has a ticket waits until the room says to go on"))
            return
        side = self._room.claimed(self, self._begun[len(TICKET_MARK) :])
        if side is None:
            self.refuse(HandshakeError("no such ticket"))
            return
        self._cancel_deadline()
        tune(self.transport)
        self._side = side

    def _take_frames(self, data: bytes) -> None:
        channel = self.channel
        was_up = channel.established
        frames = channel.receive(data)
        if self._messages.spend(len(frames) + len(data) / UNIT_BYTES, self._room.reactor.seconds()) > 0.0:
            raise LimitExceededError("more than a member has a reason to send")
        if channel.unanswered:
            self._room.asked(self)
            return
        if channel.established and not was_up:
            self._room.entered(self)
        for frame in frames:
            if self._is_closing:
                return
            message = decode(frame)
            if message is not None:
                self._room.received(self, message)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def _too_late(self) -> None:
        self._deadline = None
        self.refuse(PeerTimeoutError("silent for too long"))

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
