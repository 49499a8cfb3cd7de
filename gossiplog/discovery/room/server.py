"""A room.

Responsible for: who sits there, who wants to meet whom, what each is told of others.
Must not know: networks, nodes, entries: of all these it sees random bytes.
Invariant: it dials nobody and writes nothing to disk; two are paired only when both asked; who has not the key of the
room is told nothing, not even that there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nacl.bindings import crypto_scalarmult_base
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from gossiplog import limits
from gossiplog.discovery.room import messages
from gossiplog.discovery.room.bounds import RoomBounds
from gossiplog.discovery.room.key import RoomKey
from gossiplog.discovery.room.messages import Message
from gossiplog.discovery.room.pairs import Pairs, Side
from gossiplog.discovery.room.visitor import Visitor
from gossiplog.errors import (
    EndpointError,
    LimitExceededError,
    PeerError,
    UnexpectedMessageError,
)
from gossiplog.live.machine import fresh_key, machine_of
from gossiplog.live.monotonic import steady
from gossiplog.net import endpoints
from gossiplog.net.admission import Admission
from gossiplog.net.connection_counts import ConnectionCounts
from gossiplog.net.happy_eyeballs import reaching
from gossiplog.net.link_factory import Closed
from gossiplog.net.places import place
from gossiplog.net.sockets import address_of, lengthen
from gossiplog.notices import Notice
from gossiplog.wire.channel import Channel


class RoomServer:
    """I am a room, for those who have its ``key``.  ``tell`` hears of who was turned away.

    My id is new each time I start, and with it what members show.
    """

    def __init__(
        self,
        reactor: Any,
        key: RoomKey,
        bounds: RoomBounds | None = None,
        tell: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        steady(reactor)
        self.reactor = reactor
        self._key = key
        self._bounds = bounds or RoomBounds()
        self._secret = fresh_key(reactor)
        self.id = crypto_scalarmult_base(self._secret)
        self._entropy = machine_of(reactor).entropy
        self._admission = Admission(reactor, tell, self._bounds.seats, self._bounds.seats_per_place)
        self.pairs = Pairs(reactor, self._bounds, self._entropy)
        self._visitors: dict[Visitor, None] = {}
        self._seats: dict[bytes, Visitor] = {}
        self._tags: dict[bytes, ConnectionCounts[Visitor]] = {}
        self._ports: list[Any] = []
        self._stopped: Deferred[None] | None = None

    def __len__(self) -> int:
        """How many sit here."""
        return len(self._seats)

    @property
    def seated(self) -> Iterable[Visitor]:
        """Who sits here."""
        return self._seats.values()

    async def listen(self, endpoint: str) -> str:
        """Listen on an endpoint; returns the address that is bound.  Raises :class:`EndpointError`."""
        server = endpoints.server(reaching(self.reactor), endpoint)
        try:
            port = await server.listen(_Door(self))
        except Exception as error:
            raise EndpointError(f"cannot listen on {endpoint!r}: {error}") from error
        lengthen(port)
        self._ports.append(port)
        return endpoints.describe(port.getHost())

    def stop(self) -> Deferred[Any]:
        """End all; fires when nothing is left."""
        ports, self._ports = self._ports, []
        self._admission.stop()
        self.pairs.stop()
        self._stopped = Deferred()
        for visitor in tuple(self._visitors):
            visitor.abort()
        self._check_stopped()
        return gatherResults([self._stopped, *[maybeDeferred(port.stopListening) for port in ports]])

    # -- visitors report (gossiplog.discovery.room.visitor.Host)

    def admits(self, host: str) -> bool:
        """Whether a connection that somebody at ``host`` dialled is worth a look."""
        return self._stopped is None and self._admission.admits(host)

    def channel(self) -> Channel:
        """For a new connection."""
        ephemeral = fresh_key(self.reactor)
        return Channel(
            False, self._secret, self._key.psk, ephemeral=ephemeral, ceiling=limits.ROOM_FRAME_BYTES
        )

    def came(self, visitor: Visitor) -> None:
        """A connection came up."""
        self._visitors[visitor] = None
        self._admission.made(visitor)

    def located(self, visitor: Visitor) -> None:
        """It is not where the proxy is that it comes through."""
        self._admission.located(visitor)

    def asked(self, visitor: Visitor) -> None:
        """It knows the key of the room."""
        self._admission.asked(visitor)

    def entered(self, visitor: Visitor) -> None:
        """The handshake is done; a seat is for who says of which network it is."""
        visitor.seat = self._entropy(messages.SEAT_BYTES)
        refusal = self._admission.shaken(visitor, visitor.seat)
        if refusal is not None:
            visitor.refuse(LimitExceededError(refusal[1]))

    def claimed(self, visitor: Visitor, ticket: bytes) -> Side | None:
        """It has a ticket."""
        side = self.pairs.claim(ticket, visitor)
        if side is not None:
            self._admission.lost(visitor)  # it is no stranger any more, and no guest
        return side

    def received(self, visitor: Visitor, message: Message) -> None:
        """A member says something."""
        if isinstance(message, messages.Sit):
            self._sit(visitor, message)
        elif not visitor.tag:
            raise UnexpectedMessageError("whoever enters a room says first of which network it is")
        elif isinstance(message, messages.Alive):
            visitor.live()
            visitor.say(message)
        elif isinstance(message, messages.Meet):
            visitor.live()
            self._meet(visitor, message)
        else:
            raise UnexpectedMessageError(f"a {type(message).__name__} is what a room says")

    def refused(self, visitor: Visitor, error: PeerError) -> None:
        """It did what it may not do."""
        if visitor.channel.established and not isinstance(error, LimitExceededError):
            self._admission.offence(visitor, visitor.seat, error)
        self._admission.refused(visitor, error)

    def lost(self, visitor: Visitor) -> None:
        """It is gone."""
        self._visitors.pop(visitor, None)
        self._admission.lost(visitor)
        self._stand_up(visitor)
        self._check_stopped()

    # --

    def _check_stopped(self) -> None:
        if self._stopped is not None and not self._visitors and not self._stopped.called:
            self._stopped.callback(None)

    def _sit(self, visitor: Visitor, message: messages.Sit) -> None:
        if visitor.tag:
            raise UnexpectedMessageError("a member sits once")
        visitor.tag, visitor.card = message.tag, message.card
        others = self._tags.setdefault(visitor.tag, ConnectionCounts())
        if len(others) >= self._bounds.seats_per_tag:
            oldest = others.fullest()
            oldest.abort()
            self._stand_up(oldest)
            self._tags[visitor.tag] = others
        seated = others.everyone()
        others.add(visitor, place(visitor.host))
        self._seats[visitor.seat] = visitor
        visitor.sat()
        shown = [(other.seat, other.card) for other in seated]
        parts = range(0, len(shown) or 1, limits.ROOM_SEATS_PER_TAG)
        visitor.say(*[messages.Seats(tuple(shown[at : at + limits.ROOM_SEATS_PER_TAG])) for at in parts])
        for other in seated:
            other.say(messages.Seats(((visitor.seat, visitor.card),)))

    def _stand_up(self, visitor: Visitor) -> None:
        """Its seat is free; the others are told."""
        if self._seats.pop(visitor.seat, None) is None:
            return
        others = self._tags[visitor.tag]
        others.remove(visitor)
        if not others:
            del self._tags[visitor.tag]
        for other in others.everyone():
            other.asked.pop(visitor.seat, None)
            other.say(messages.Left(visitor.seat))

    def _meet(self, visitor: Visitor, message: messages.Meet) -> None:
        other = self._seats.get(message.seat)
        if other is None or other is visitor or other.tag != visitor.tag:
            visitor.say(messages.Refused(message.seat, messages.GONE))
            return
        seats, places = (other.seat, visitor.seat), (place(other.host), place(visitor.host))
        if not self.pairs.is_room(seats, places):
            visitor.say(messages.Refused(message.seat, messages.FULL))
        elif self.pairs.is_spent(visitor.tag):
            visitor.say(messages.Refused(message.seat, messages.SPENT))
        elif visitor.seat in other.asked:
            punches = other.asked.pop(visitor.seat) and message.punches
            visitor.asked.pop(other.seat, None)
            tickets = self.pairs.make(visitor.tag, seats, places)
            for each, partner, ticket in ((other, visitor, tickets[0]), (visitor, other, tickets[1])):
                at = address_of(partner) if punches else None
                each.say(messages.Paired(partner.seat, ticket, each is other, at))
        else:
            visitor.asked[other.seat] = message.punches
            other.say(messages.Asked(visitor.seat))


class _Door(Factory):
    """I make the connections of a room."""

    noisy = False

    def __init__(self, room: RoomServer) -> None:
        self._room = room

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """One more, if it is worth a look."""
        return Visitor(self._room) if self._room.admits(getattr(addr, "host", "")) else Closed()
