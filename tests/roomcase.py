"""What the tests of rooms share: a room in virtual time, sites that nobody can dial, members that do as told."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.discovery.room.bounds import RoomBounds
from gossiplog.discovery.room.key import RoomKey, seal_card, tag_of
from gossiplog.discovery.room.messages import (
    Asked,
    Meet,
    Message,
    Paired,
    Refused,
    Seats,
    Sit,
    decode,
    encode,
)
from gossiplog.discovery.room.pairs import GO
from gossiplog.discovery.room.server import RoomServer
from gossiplog.discovery.room.visitor import TICKET_MARK
from gossiplog.discovery.room.way import Room
from gossiplog.live.machine import RealMachine
from gossiplog.wire.channel import Channel
from tests.netcase import NETWORK, Site, World, dial

KEY = RoomKey(bytes(range(32)))
TAG = bytes(32)


class Stub(Protocol):
    """A member of a room that says only what it is told to."""

    def __init__(self, key: RoomKey = KEY, secret: bytes = b"\x07" * 32) -> None:
        self.channel = Channel(True, secret, key.psk)
        self.got: list[Message] = []
        self.raw = b""
        self.is_lost = False

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.got if isinstance(message, kind)]

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.transport.write(self.channel.send(encode(message)))

    def frame(self, body: bytes) -> None:
        self.transport.write(self.channel.send(body))

    @property
    def seats(self) -> dict[bytes, bytes]:
        """Who sits there too: seat to card."""
        return dict(pair for message in self.of(Seats) for pair in message.seats)

    def connectionMade(self) -> None:
        self.transport.write(self.channel.start())

    def dataReceived(self, data: bytes) -> None:
        self.raw += data
        frames = self.channel.receive(data)
        self.transport.write(self.channel.outgoing())
        self.got += [message for frame in frames if (message := decode(frame)) is not None]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.is_lost = True


class Carried(Protocol):
    """A connection with a ticket; reads nothing while ``is_deaf``."""

    def __init__(self, ticket: bytes) -> None:
        self.ticket = ticket
        self.raw = b""
        self.is_lost = False

    def connectionMade(self) -> None:
        self.transport.write(TICKET_MARK + self.ticket)

    def dataReceived(self, data: bytes) -> None:
        self.raw += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.is_lost = True


class Seeded(RealMachine):
    """A machine of which every run is as the last one."""

    def __init__(self) -> None:
        random = Random(1)
        self.entropy = random.randbytes  # type: ignore[method-assign]
        self.chance = random.random  # type: ignore[method-assign]


class RoomCase(SynchronousTestCase):
    """A room, with sites and stubs."""

    bounds = RoomBounds()
    key = KEY

    def setUp(self) -> None:
        self.world = World()
        self.world.reactor.machine = Seeded()  # type: ignore[assignment]
        self.told: list[Any] = []
        self.start_room()
        self.addCleanup(self.close)

    def start_room(self, port: int = 0) -> None:
        self.room = RoomServer(self.world.reactor, self.key, self.bounds, self.told.append)
        listening = Deferred.fromCoroutine(self.room.listen(f"tcp:{port}:interface=127.0.0.1"))
        self.endpoint = self.world.result(listening)
        self.port = int(self.endpoint.rpartition(":")[2])

    def close(self) -> None:
        for site in self.world.sites:
            self.world.result(site.node.stop())
        self.world.result(self.room.stop())
        self.assertEqual(self.world.close(), [])

    # -- sites

    def way(self, **how: Any) -> Room:
        return Room(f"{self.endpoint}#{self.key.text}" if self.key.text else self.endpoint, **how)

    def member(self, name: str, network: Any = NETWORK, **how: Any) -> Site:
        """A node that joins by the room alone."""
        site = self.world.site(name, network)
        site.joined = site.node.join(self.way(), **how)  # type: ignore[attr-defined]
        return site

    def members(self, names: str) -> list[Site]:
        sites = [self.member(name) for name in names]
        for site in sites:
            self.world.result(site.joined.flush())  # type: ignore[attr-defined]
        return sites

    # -- stubs

    def connect(self, protocol: Any) -> Any:
        """Connect a protocol to the room."""
        self.world.result(dial(self.world.reactor, self.endpoint, protocol))
        self.world.run(0.1)
        return protocol

    def stub(self, tag: bytes = TAG, card: bytes = b"card", **how: Any) -> Stub:
        """Somebody who sits."""
        stub: Stub = self.connect(Stub(**how))
        stub.say(Sit(tag, card))
        self.world.run(0.1)
        return stub

    def insider(self, node: bytes) -> Stub:
        """A stub that shows the card of a node of the network."""
        stub: Stub = self.connect(Stub())
        room = stub.channel.peer
        stub.say(Sit(tag_of(NETWORK, room), seal_card(NETWORK, room, node, bytes(24))))
        self.world.run(0.1)
        return stub

    def meet(self, one: Stub, other: Stub, *, punches: bool = False) -> tuple[Paired, Paired] | None:
        """Let one ask for the other, who agrees; None when the room does not pair them."""
        seat = [*one.seats][-1]
        one.say(Meet(seat, punches))
        self.world.run(0.1)
        if not other.of(Asked):
            return None
        other.say(Meet(other.of(Asked)[-1].seat, punches))
        self.world.run(0.1)
        if other.of(Refused):
            return None
        return one.of(Paired)[-1], other.of(Paired)[-1]

    def pair(self, one: Stub | None = None, other: Stub | None = None) -> tuple[Carried, Carried]:
        """Two connections that hear each other."""
        one, other = one or self.stub(), other or self.stub()
        paired = self.meet(one, other)
        assert paired is not None
        sides = self.connect(Carried(paired[0].ticket)), self.connect(Carried(paired[1].ticket))
        self.assertEqual([side.raw for side in sides], [GO, GO])
        return sides
