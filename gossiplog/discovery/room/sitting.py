"""A member's connection to a room, over which it hears who else is there.

Responsible for: the handshake, sitting down, frames in and out, staying alive.
Must not know: whom to meet.
Invariant: a room that says too much, or nothing, is left; nothing of what it says is believed but by who checks it.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.discovery.room.key import CARD_NONCE_BYTES, RoomKey, seal_card, tag_of
from gossiplog.discovery.room.messages import Alive, Message, Sit, decode, encode
from gossiplog.discovery.room.rates import UNIT_BYTES, Rate
from gossiplog.errors import LimitExceededError, PeerError
from gossiplog.live.machine import fresh_key, machine_of
from gossiplog.log.network import Network
from gossiplog.net.sockets import failing, tune
from gossiplog.wire.channel import Channel


class Member(Interface):
    """Who sits."""

    reactor: Any
    network: Network
    node: bytes
    key: RoomKey

    def sat_down(self, sitting: Sitting) -> None:
        """The room knows us."""

    def told(self, sitting: Sitting, message: Message) -> None:
        """The room says something."""

    def stood_up(self, sitting: Sitting, reason: str) -> None:
        """The connection is gone."""


class Sitting(Protocol):
    """I am one connection to a room, with a key of my own: nothing on it is the same as on the next one."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._reactor = reactor = member.reactor
        self._channel = Channel(
            True,
            fresh_key(reactor),
            member.key.psk,
            ephemeral=fresh_key(reactor),
            ceiling=limits.ROOM_FRAME_BYTES,
        )
        self._told = Rate(limits.ROOM_TOLD_MESSAGES, limits.ROOM_TOLD_MESSAGES_PER_SECOND, reactor.seconds())
        self._timer: Any = None
        self.is_closing = False
        self._is_asking = False
        self._why = ""

    # -- Twisted calls

    def connectionMade(self) -> None:
        """Show that we have the key."""
        tune(self.transport)
        self._write(self._channel.start())
        self._timer = self._reactor.callLater(limits.HANDSHAKE_SECONDS, self._silent)

    def dataReceived(self, data: bytes) -> None:
        """Go on with the handshake, then hear what the room says."""
        if self.is_closing:
            return
        try:
            self._take(data)
        except PeerError as error:
            self._why = str(error)
            self.leave()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self.is_closing = True
        self._cancel()
        why = self._why or failing(reason)
        if not why:
            up = self._channel.established
            why = (
                "the room hung up"
                if up
                else "it hung up in the handshake: no room, or its key is another one"
            )
        self._member.stood_up(self, why)

    # -- the member calls

    def say(self, message: Message) -> None:
        """Tell the room something."""
        if not self.is_closing and self._channel.established:
            self._write(self._channel.send(encode(message)))

    def leave(self) -> None:
        """End it at once."""
        self.is_closing = True
        self._cancel()
        transport: Any = self.transport
        transport.abortConnection()

    def give_up(self) -> None:
        """In a child by fork: do nothing any more."""
        self.is_closing = True
        self._cancel()

    def doubt(self) -> None:
        """It may be gone: leave it unless it answers soon."""
        if self._channel.established and not self.is_closing:
            self._cancel()
            self._is_asking = True
            self.say(Alive())
            self._timer = self._reactor.callLater(limits.ROAMING_PING_SECONDS, self._silent)

    @property
    def room(self) -> bytes:
        """The id of the room."""
        return self._channel.peer

    # --

    def _take(self, data: bytes) -> None:
        channel, was_up = self._channel, self._channel.established
        frames = channel.receive(data)
        if self._told.spend(len(frames) + len(data) / UNIT_BYTES, self._reactor.seconds()) > 0.0:
            raise LimitExceededError("the room says more than it has a reason to")
        if not was_up and channel.established:
            self._write(channel.outgoing())
            network, node = self._member.network, self._member.node
            nonce = machine_of(self._reactor).entropy(CARD_NONCE_BYTES)
            card = seal_card(network, self.room, node, nonce)
            self.say(Sit(tag_of(network, self.room), card))
            self._member.sat_down(self)
        if channel.established:
            self._heard()
        for frame in frames:
            if self.is_closing:
                return
            message = decode(frame)
            if message is not None and not isinstance(message, Alive):
                self._member.told(self, message)

    def _heard(self) -> None:
        """It lives: ask again after a while."""
        self._is_asking = False
        self._cancel()
        if not self.is_closing:
            self._timer = self._reactor.callLater(limits.PING_SECONDS, self._silent)

    def _silent(self) -> None:
        """Ask whether it lives; it did not answer the last time, or never."""
        self._timer = None
        if self._is_asking or not self._channel.established:
            self._why = "the room does not answer"
            self.leave()
            return
        self._is_asking = True
        self.say(Alive())
        self._timer = self._reactor.callLater(limits.PING_DEADLINE_SECONDS, self._silent)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
