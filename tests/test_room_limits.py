"""What a room gives to whom, and that whoever wants more, or says nonsense, gets nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.discovery.room import messages, pairs
from gossiplog.discovery.room.bounds import RoomBounds
from gossiplog.discovery.room.key import RoomKey, open_card, seal_card, tag_of
from gossiplog.discovery.room.messages import (
    Alive,
    Asked,
    Left,
    Meet,
    Paired,
    Refused,
    Seats,
    Sit,
    decode,
    encode,
)
from gossiplog.discovery.room.pairs import GO
from gossiplog.discovery.room.rates import Days, Rate
from gossiplog.discovery.room.visitor import TICKET_MARK
from gossiplog.errors import InvalidValueError, MalformedMessageError
from gossiplog.log.network import Network
from gossiplog.net import admission
from gossiplog.wire.fields import pack
from tests.netcase import Raw
from tests.roomcase import TAG, Carried, RoomCase, Stub


class Far(RoomCase):
    """All places are as others; there is only the one of this machine."""

    def setUp(self) -> None:
        for module in (admission, pairs):
            self.patch(module, "is_local", lambda host: False)
        super().setUp()


class SeatTests(RoomCase):
    bounds = RoomBounds(seats=4)

    def test_seats(self) -> None:
        """On this machine half of them, for behind it may be a proxy, and everybody."""
        stubs = [self.stub() for _ in range(3)]
        self.assertEqual([stub.is_lost for stub in stubs], [False, False, True])
        self.assertEqual(len(self.room), 2)
        self.assertIn("have room", str(self.told[-1].error))
        stubs[0].transport.loseConnection()
        self.world.run()
        self.assertFalse(self.stub().is_lost)

    def test_defaults(self) -> None:
        self.assertEqual(RoomBounds()[:6], (1024, 32, 64, 256, 8, 16))


class PlaceTests(Far):
    bounds = RoomBounds(seats_per_place=3, seats_per_tag=2)

    def test_seats_per_place(self) -> None:
        stubs = [self.stub(tag=bytes([number]) * 32) for number in range(4)]
        self.assertEqual([stub.is_lost for stub in stubs], [False, False, False, True])

    def test_seats_per_tag(self) -> None:
        """Who comes gets the seat of who sat longest, and all are told."""
        one, two = self.stub(), self.stub()
        three = self.stub()
        self.assertEqual([one.is_lost, two.is_lost, three.is_lost], [True, False, False])
        self.assertEqual(len(three.seats), 1)
        self.assertEqual((len(two.seats), len(two.of(Left))), (2, 1))
        self.assertFalse(self.stub(tag=b"x" * 32).is_lost)


class PairLimitTests(Far):
    bounds = RoomBounds(pairs=5, pairs_per_seat=2, pairs_per_place=4)

    def test_pairs_per_seat(self) -> None:
        one, *others = [self.stub() for _ in range(4)]
        for other in others[:2]:
            other.say(Meet(next(iter(other.seats)), False))
            self.world.run(0.1)
            one.say(Meet(one.of(Asked)[-1].seat, False))
            self.world.run(0.1)
            self.assertEqual(len(other.of(Paired)), 1)
        others[2].say(Meet(next(iter(others[2].seats)), False))
        self.world.run(0.1)
        self.assertEqual([refused.code for refused in others[2].of(Refused)], [messages.FULL])
        self.assertEqual(len(one.of(Asked)), 2)

    def pairs(self, count: int) -> list[Any]:
        found = []
        for number in range(count):
            one, other = self.stub(tag=bytes([number]) * 32), self.stub(tag=bytes([number]) * 32)
            found.append(self.meet(other, one))
        return found

    def test_pairs_per_place(self) -> None:
        self.assertEqual([pair is None for pair in self.pairs(5)], [False] * 4 + [True])

    def test_pairs(self) -> None:
        """In all; those of which nobody came are over soon."""
        self.room.pairs._bounds = self.bounds._replace(pairs_per_place=99)
        self.assertEqual([pair is None for pair in self.pairs(6)], [False] * 5 + [True])
        self.world.run(limits.ROOM_TICKET_SECONDS)
        self.assertEqual((len(self.room.pairs), dict(self.room.pairs._counts)), (0, {}))
        self.assertIsNotNone(self.pairs(1)[0])


class CrowdTests(RoomCase):
    bounds = RoomBounds(pairs=6, pairs_per_place=5)

    def test_a_crowded_place(self) -> None:
        """When there are too many pairs, one of the place with the most goes for one of a place with few."""
        pairs = self.room.pairs

        def make(number: int, where: str) -> bool:
            seats, places = (bytes([number]), bytes([number, 1])), (where, where)
            if pairs.is_room(seats, places):
                pairs.make(TAG, seats, places)
                return True
            return False

        self.assertEqual([make(number, "192.0.2.1") for number in range(6)], [True] * 5 + [False])
        self.assertEqual([make(number, f"192.0.2.{number}") for number in range(10, 15)], [True] * 5)
        self.assertEqual((len(pairs), pairs._counts["192.0.2.1"], pairs._counts["192.0.2.13"]), (6, 1, 1))
        self.assertFalse(make(20, "192.0.2.20"))
        self.assertFalse(make(21, "192.0.2.1"))


class CarryTests(RoomCase):
    bounds = RoomBounds(
        pair_bytes_per_second=100_000, pair_burst_bytes=500_000, bytes_per_second=200_000, day_bytes=5_000_000
    )

    def test_both_ways(self) -> None:
        """What one says the other gets, and nothing else; when one goes the other hears the rest, and goes."""
        one, other = self.pair()
        one.transport.write(b"abc")
        other.transport.write(b"xyz")
        self.world.run()
        self.assertEqual((one.raw, other.raw), (GO + b"xyz", GO + b"abc"))
        one.transport.write(b"end")
        one.transport.loseConnection()
        self.world.run()
        self.assertEqual((other.raw, other.is_lost, len(self.room.pairs)), (GO + b"abcend", True, 0))

    def seconds(self, size: int, *sides: Carried) -> float:
        """How long it takes to carry so many bytes from each of these."""
        began = self.world.reactor.seconds()
        self.room.pairs.carried = 0
        for at in range(0, 100 * size, 50_000):
            for side in sides if at < size else ():
                side.transport.write(bytes(50_000))
            self.world.run(0.1)
            if self.room.pairs.carried == size * len(sides):
                break
        return self.world.reactor.seconds() - began

    def free(self, *rates: Rate) -> None:
        """Let these not matter."""
        for rate in rates:
            rate._left = rate._burst = 1e12

    def test_pair_bytes_per_second(self) -> None:
        """After the burst, as fast as it may."""
        one, _ = self.pair()
        self.free(self.room.pairs._rate)
        self.assertLess(self.seconds(500_000, one), 1.2)
        self.assertTrue(13.0 < self.seconds(1_500_000, one) < 17.0)

    def test_bytes_per_second(self) -> None:
        """All pairs together: each gets a share."""
        many = [self.pair(self.stub(), self.stub()) for _ in range(4)]
        self.free(*[pair.rate for pair in self.room.pairs._pairs])
        self.assertTrue(13.0 < self.seconds(800_000, *[one for one, _ in many]) < 18.0)

    def test_day_bytes(self) -> None:
        """Then the pair is over, and there is no other one until tomorrow; other networks have theirs."""
        one, other = self.pair()
        self.free(self.room.pairs._rate, *[pair.rate for pair in self.room.pairs._pairs])
        one.transport.write(bytes(5_000_001))
        self.world.run()
        self.assertEqual((one.is_lost, other.is_lost, len(self.room.pairs)), (True, True, 0))
        member, partner = self.stub(), self.stub()
        self.assertIsNone(self.meet(partner, member))
        self.assertEqual([refused.code for refused in partner.of(Refused)], [messages.SPENT])
        others = self.stub(tag=b"x" * 32), self.stub(tag=b"x" * 32)
        self.assertIsNotNone(self.meet(others[1], others[0]))
        self.assertFalse(self.room.pairs._days.is_spent(TAG, self.world.reactor.seconds() + 86_400.0))

    def test_days(self) -> None:
        """Of so many networks; the one that came first is forgotten."""
        days = Days(100)
        for number in range(limits.ROOM_DAYS + 1):
            days.spend(number.to_bytes(4, "big"), 100, 0.0)
        self.assertEqual(len(days._days), limits.ROOM_DAYS)
        self.assertFalse(days.is_spent(bytes(4), 1.0))
        self.assertTrue(days.is_spent((1).to_bytes(4, "big"), 1.0))

    def test_who_does_not_read(self) -> None:
        """Of a pair no more waits than two pieces; the other side waits, and the pair is over when it is idle."""
        one, other = self.pair()
        other.transport.pauseProducing()
        self.free(self.room.pairs._rate, *[pair.rate for pair in self.room.pairs._pairs])
        one.transport.write(bytes(1_000_000))
        self.world.run(10.0)
        self.assertLess(self.room.pairs.carried, 400_000)
        self.world.run(limits.ROOM_IDLE_SECONDS + limits.CLOSE_SECONDS + 1)
        self.assertEqual((one.is_lost, len(self.room.pairs)), (True, 0))


class TimeTests(RoomCase):
    bounds = RoomBounds(life_seconds=300.0)

    def test_idle(self) -> None:
        one, other = self.pair()
        self.world.run(limits.ROOM_IDLE_SECONDS - 5.0)
        one.transport.write(b".")
        self.world.run(limits.ROOM_IDLE_SECONDS - 5.0)
        self.assertFalse(other.is_lost)
        self.world.run(10.0)
        self.assertTrue(other.is_lost)

    def test_life(self) -> None:
        one, other = self.pair()
        for _ in range(29):
            one.transport.write(b".")
            self.world.run(10.0)
        self.assertFalse(other.is_lost)
        one.transport.write(b".")
        self.world.run(11.0)
        self.assertTrue(other.is_lost)

    def test_tickets(self) -> None:
        """Good once, and not for long; whoever does not wait for the other has to go."""
        paired = self.meet(self.stub(), self.stub()) or self.meet(self.stub(), self.stub())
        one, other = self.stub(tag=b"t" * 32), self.stub(tag=b"t" * 32)
        paired = self.meet(other, one)
        assert paired is not None
        self.assertFalse(self.connect(Carried(paired[0].ticket)).is_lost)
        self.assertTrue(self.connect(Carried(paired[0].ticket)).is_lost)
        self.assertTrue(self.connect(Carried(bytes(32))).is_lost)
        self.world.run(limits.ROOM_TICKET_SECONDS)
        self.assertTrue(self.connect(Carried(paired[1].ticket)).is_lost)
        paired = self.meet(other, one)
        assert paired is not None
        eager = self.connect(Raw(TICKET_MARK + paired[0].ticket + b"x"))
        self.assertIsNotNone(eager.reason)

    def test_half_a_ticket(self) -> None:
        """And who says nothing, half a handshake, or enters and does not sit: gone in time."""
        halves = [
            self.connect(Raw(data)) for data in (b"", b"\0", b"\0" + bytes(31), b"\1", b"\1" + bytes(20))
        ]
        entered = self.connect(Stub())
        self.world.run(limits.HANDSHAKE_SECONDS)
        self.assertEqual([half.raw for half in halves], [b""] * 5)
        self.assertNotIn(None, [half.reason for half in halves])
        self.assertTrue(entered.is_lost)
        self.assertEqual(len(self.room._visitors), 0)

    def test_who_shows_no_life(self) -> None:
        quiet, lively = self.stub(), self.stub()
        for _ in range(13):
            lively.say(Alive())
            self.world.run(10.0)
        self.assertEqual((quiet.is_lost, lively.is_lost), (True, False))
        self.assertEqual(len(lively.of(Alive)), 13)


class HostileTests(RoomCase):
    """Who knows the key of the room."""

    def test_nonsense(self) -> None:
        """It ends the connection that it came on, and no other."""
        honest = self.stub()
        for frame in (
            b"",
            b"\xc1",
            pack((1,)),
            pack((1, bytes(31), b"")),
            pack((1, TAG, bytes(limits.ROOM_CARD_BYTES + 1))),
            pack((3, bytes(8), 1)),
            pack((6, bytes(8), bytes(32), True, None)),
            pack((0,)),
            pack("x"),
            encode(Left(bytes(8))),
            encode(Seats(())),
        ):
            stub = self.connect(Stub())
            stub.frame(frame)
            self.world.run(0.1)
            self.assertTrue(stub.is_lost, frame)
        twice = self.stub()
        twice.say(Sit(TAG, b""))
        self.world.run(0.1)
        self.assertTrue(twice.is_lost)
        self.assertFalse(honest.is_lost)

    def test_what_is_not_known_is_passed_over(self) -> None:
        stub = self.stub()
        stub.frame(pack((64, {}, [1, 2])))
        stub.frame(pack((0, "more", [1])))
        self.world.run(0.1)
        self.assertEqual((stub.is_lost, len(stub.of(Alive))), (False, 1))

    def test_flood(self) -> None:
        """More than a few messages a second: gone, and the others got no more than those."""
        honest, flood = self.stub(), self.stub()
        for _ in range(1000):
            flood.say(Meet(next(iter(flood.seats)), False))
        self.world.run()
        self.assertTrue(flood.is_lost)
        self.assertLess(len(honest.of(Asked)), limits.ROOM_MESSAGES)
        self.assertFalse(honest.is_lost)
        slow = self.stub()
        for _ in range(300):
            slow.say(Alive())
            self.world.run(2.0 / limits.ROOM_MESSAGES_PER_SECOND)
        self.assertFalse(slow.is_lost)

    def test_large(self) -> None:
        """A frame that is announced, or a record that does not end, is not kept."""
        stub = self.stub()
        sender = stub.channel._sender
        assert sender is not None
        record = sender.encrypt((limits.ROOM_FRAME_BYTES + 1).to_bytes(4, "big"))
        stub.transport.write(len(record).to_bytes(2, "big") + record)
        self.world.run()
        self.assertTrue(stub.is_lost)
        stub = self.stub()
        stub.transport.write(b"\xff\xff" + bytes(40_000))
        self.world.run()
        self.assertTrue(stub.is_lost)

    def test_who_does_not_read(self) -> None:
        """It has to go."""
        deaf, chatty = self.stub(), self.stub()
        deaf.transport.pauseProducing()
        seat = next(iter(chatty.seats))
        visitor = next(visitor for visitor in self.room.seated if visitor.seat == seat)
        for _ in range(6000):
            visitor.say(Asked(bytes(8)))
            if visitor.transport._producer is None:
                break
        self.world.run()
        self.assertEqual(len(self.room), 1)

    def test_ids_of_others(self) -> None:
        """Of another network, made up, one's own: nobody is there."""
        one, other = self.stub(), self.stub(tag=b"x" * 32)
        seat = next(visitor.seat for visitor in self.room.seated if visitor.tag != TAG)
        own = next(visitor.seat for visitor in self.room.seated if visitor.tag == TAG)
        one.say(Meet(seat, True), Meet(bytes(8), True), Meet(own, True))
        self.world.run()
        self.assertEqual([refused.code for refused in one.of(Refused)], [messages.GONE] * 3)
        self.assertEqual((one.seats, other.got), ({}, [Seats(())]))

    def test_only_who_asked(self) -> None:
        """Nobody is paired, or told where another comes from, without having asked."""
        one, other = self.stub(), self.stub()
        for _ in range(5):
            other.say(Meet(next(iter(other.seats)), True))
        self.world.run()
        self.assertEqual((other.of(Paired), one.of(Paired), len(self.room.pairs)), ([], [], 0))
        one.say(Meet(one.of(Asked)[-1].seat, False))
        self.world.run()
        self.assertEqual([paired.address for paired in (*one.of(Paired), *other.of(Paired))], [None, None])
        self.assertEqual([paired.dials for paired in (*other.of(Paired), *one.of(Paired))], [True, False])

    def test_addresses(self) -> None:
        """Each is told where the other comes from, if both would try the direct way."""
        one, other = self.stub(), self.stub()
        paired = self.meet(other, one, punches=True)
        assert paired is not None
        ports = [stub.transport.getHost().port for stub in (one, other)]
        self.assertEqual([each.address.port for each in paired if each.address], ports)

    def test_replay(self) -> None:
        """The first message of a handshake, recorded: no answer the second time, and no seat the first."""
        first = self.connect(Recorder())
        self.world.run()
        again = self.connect(Raw(first.said))
        self.assertEqual((again.raw, again.reason is None), (b"", False))

    def test_without_the_key(self) -> None:
        """Not a byte, whatever one says; of another protocol, another room, an open one."""
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(100),
            b"\x01" + bytes(48),
            b"\x00" + bytes(32),
            b"\x02",
        ):
            stranger = self.connect(Raw(data))
            self.assertEqual((stranger.raw, stranger.reason is None), (b"", False))
        for key in (RoomKey(), RoomKey(bytes(32))):
            stub = self.connect(Stub(key=key))
            self.assertEqual((stub.raw, stub.is_lost), (b"", True))

    def test_strangers(self) -> None:
        """Thousands that say nothing take no place of members."""
        for _ in range(limits.MAX_STRANGERS + 50):
            self.connect(Raw())
        self.assertLessEqual(len(self.room._visitors), limits.MAX_STRANGERS)
        self.assertFalse(self.stub().is_lost)


class Recorder(Protocol):
    """Somebody's first message, kept."""

    said = b""

    def connectionMade(self) -> None:
        from gossiplog.wire.channel import Channel
        from tests.roomcase import KEY

        self.said = Channel(True, bytes(32), KEY.psk).start()
        self.transport.write(self.said)

    def dataReceived(self, data: bytes) -> None:
        self.transport.abortConnection()


class VectorTests(SynchronousTestCase):
    """Keys, tags, cards and messages are what they were (docs/protocol/rooms.rst)."""

    vectors = json.loads((Path(__file__).parent / "vectors" / "room.json").read_text())

    def test_keys(self) -> None:
        for case in self.vectors["keys"]:
            key = None if case["key"] is None else bytes.fromhex(case["key"])
            self.assertEqual(RoomKey(key).psk.hex(), case["psk"])

    def test_members(self) -> None:
        for case in self.vectors["members"]:
            network, room, node, nonce = (
                bytes.fromhex(case[name]) for name in ("network", "room", "node", "nonce")
            )
            found = Network(network)
            self.assertEqual(tag_of(found, room).hex(), case["tag"])
            self.assertEqual(seal_card(found, room, node, nonce).hex(), case["card"])
            card = bytes.fromhex(case["card"])
            self.assertEqual(open_card(found, room, card), node)
            for bad in (card[:-1], card[:-1] + b"x", b"", card + b"x"):
                self.assertIsNone(open_card(found, room, bad))
            self.assertIsNone(open_card(found, bytes(31) + b"x", card))

    def test_messages(self) -> None:
        for case in self.vectors["messages"]:
            message = decode(bytes.fromhex(case["frame"]))
            self.assertEqual(type(message).__name__.upper(), case["name"])
            assert message is not None
            self.assertEqual(encode(message).hex(), case["frame"])
        for frame in self.vectors["passed_over"]:
            decode(bytes.fromhex(frame))
        for frame in self.vectors["malformed"]:
            self.assertRaises(MalformedMessageError, decode, bytes.fromhex(frame))


class MessageTests(SynchronousTestCase):
    EACH = (
        Alive(),
        Sit(bytes(32), b"card"),
        Seats(((bytes(8), b"a"), (b"12345678", b""))),
        Meet(bytes(8), True),
        Left(bytes(8)),
        Asked(bytes(8)),
        Paired(bytes(8), bytes(32), False, messages.Address(bytes(4), 443)),
        Paired(bytes(8), bytes(32), True, None),
        Refused(bytes(8), messages.SPENT),
    )

    def test_round_trip(self) -> None:
        for message in self.EACH:
            self.assertEqual(decode(encode(message)), message)
            self.assertEqual(decode(pack((*_list(message), "later", 7))), message)
            frame = encode(message)
            for end in range(len(frame)):
                self.assertRaises(MalformedMessageError, decode, frame[:end])
            self.assertRaises(MalformedMessageError, decode, frame + b"\0")

    def test_known(self) -> None:
        """A room names no more than a member takes."""
        seats = tuple((number.to_bytes(8, "big"), b"") for number in range(limits.ROOM_KNOWN + 1))
        self.assertRaises(InvalidValueError, encode, Seats(seats))
        decode(pack((2, seats[:-1])))
        self.assertRaises(MalformedMessageError, decode, pack((2, seats)))

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.binary(max_size=200))
    def test_anything(self, frame: bytes) -> None:
        try:
            decode(frame)
        except MalformedMessageError:
            pass

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.lists(st.none() | st.booleans() | st.integers(0, 300) | st.binary(max_size=40), max_size=6))
    def test_any_array(self, items: list[Any]) -> None:
        for kind in range(8):
            try:
                decode(pack((kind, *items)))
            except MalformedMessageError:
                pass


def _list(message: Any) -> list[Any]:
    return [messages._TYPES[type(message)], *message]


class BoundTests(SynchronousTestCase):
    def test_texts(self) -> None:
        self.assertEqual(RoomBounds.parse(["pairs = 3", "idle-seconds=1.5"])[3::7], (3, 1.5))
        for text in ("pairs", "pairs=", "pairs=0", "pairs=-1", "pairs=1.5", "life_seconds=nan", "x=1", "=1",
                     "life_seconds=inf", f"seats_per_tag={limits.ROOM_KNOWN}"):  # fmt: skip
            self.assertRaises(InvalidValueError, RoomBounds.parse, [text])
