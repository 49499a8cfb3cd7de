"""Rooms that read, rewrite, mislead or flood their members; members that pretend to be others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv4Address
from twisted.internet.defer import fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.discovery.room import crossings as crossings_module
from gossiplog.discovery.room import sitting as sitting_module
from gossiplog.discovery.room import visitor as visitor_module
from gossiplog.discovery.room.key import open_card, seal_card
from gossiplog.discovery.room.messages import Alive, Asked, Left, Meet, Paired, Seats
from gossiplog.discovery.room.pairs import GO
from gossiplog.discovery.room.passage import Passage
from gossiplog.discovery.room.punch import Punch, share_port
from gossiplog.errors import EndpointError
from gossiplog.gossip import topology as topology_module
from gossiplog.notices import PeerDown, PeerUp, WayFailed
from gossiplog.wire.channel import Channel
from tests.netcase import NETWORK, OTHER_NETWORK, Site
from tests.roomcase import KEY, Carried, RoomCase

SECRET_WORDS = b"nobody but members may read this"


def node(number: int) -> bytes:
    """The id of a node that is not there."""
    return number.to_bytes(32, "little")


class SeeingTests(RoomCase):
    """What an operator who looks at everything sees."""

    def setUp(self) -> None:
        super().setUp()
        self.seen = bytearray()
        received = visitor_module.Visitor.dataReceived

        def record(visitor: Any, data: bytes) -> None:
            self.seen += data
            received(visitor, data)

        self.patch(visitor_module.Visitor, "dataReceived", record)
        receive = visitor_module.Channel.receive

        def decrypted(channel: Any, data: bytes, most: int | None = None) -> list[bytes]:
            frames: list[bytes] = receive(channel, data, most)
            if channel.initiator is False and channel._ceiling == limits.ROOM_FRAME_BYTES:
                self.seen += b"".join(frames)
            return frames

        self.patch(visitor_module.Channel, "receive", decrypted)

    def test_nothing_of_a_session(self) -> None:
        """Neither entries, nor authors, nor which nodes and network they are; only sizes and times."""
        a, b = self.members("ab")
        a.append(SECRET_WORDS)
        b.append(SECRET_WORDS * 100)
        self.world.run(30.0)
        self.assertEqual(b.payloads(a.author()), [SECRET_WORDS])
        self.assertGreater(len(self.seen), 4000)
        network = (NETWORK.key, NETWORK.discovery_id)
        for secret in (SECRET_WORDS, a.author(), b.author(), a.node.id, b.node.id, *network, b"gossiplog"):
            self.assertNotIn(secret, bytes(self.seen))

    def test_it_cannot_join(self) -> None:
        """It knows its own key, and the card of a member that is gone; without the network key that is nothing."""
        a, gone = self.members("ab")
        self.world.run(5.0)
        tag = next(iter(self.room.seated)).tag
        card = next(
            visitor.card
            for visitor in self.room.seated
            if open_card(NETWORK, self.room.id, visitor.card) == gone.node.id
        )
        gone.stop()
        self.assertIsNone(open_card(OTHER_NETWORK, self.room.id, card))
        for number, key in enumerate((KEY.psk, bytes(32), tag, self.room.id)):
            self.world.run(400.0)
            stub = self.stub(tag=tag, card=card)
            if number % 2:
                stub.say(Meet(next(iter(stub.seats)), False))
            while not stub.of(Paired):
                self.world.run(0.5)
                if stub.of(Asked) and not number % 2:
                    stub.say(Meet(stub.of(Asked)[-1].seat, False))
            [paired] = stub.of(Paired)
            spy = Channel(True, b"s" * 32, key)
            carried = self.connect(Carried(paired.ticket))
            self.assertTrue(carried.raw.startswith(GO))
            carried.transport.write(spy.start())
            self.world.run(20.0)
            self.assertEqual(len(carried.raw), 1 if paired.dials else 1 + 49)
            stub.transport.loseConnection()
        self.assertEqual(a.node.peers, [])
        gone.start()


class TamperingTests(RoomCase):
    """What is carried arrives as it was said, or the session ends; nothing else ever gets into a store."""

    def tamper(self, change: Callable[[bytes], list[bytes]]) -> None:
        carry = self.room.pairs._carry

        def carried(pair: Any, index: int, data: bytes) -> None:
            for piece in change(data):
                carry(pair, index, piece)

        self.patch(self.room.pairs, "_carry", carried)

    def check(self, change: Callable[[bytes], list[bytes]], *, later: bool, arrives: int = 0) -> None:
        a, b = self.members("ab") if later else (None, None)
        if later:
            self.world.run(10.0)
        self.tamper(change)
        if a is None or b is None:
            a, b = self.members("ab")
        a.append(SECRET_WORDS)
        self.world.run(100.0)
        self.assertEqual(b.payloads(a.author()), [SECRET_WORDS] * arrives)
        self.assertEqual((a.node.peers, b.node.peers), ([], []))
        self.assertEqual([*a.node.bans, *b.node.bans], [])

    def test_rewritten(self) -> None:
        self.check(lambda data: [data[:-1] + bytes([data[-1] ^ 1])], later=False)

    def test_rewritten_later(self) -> None:
        self.check(lambda data: [data[:-1] + bytes([data[-1] ^ 1])], later=True)

    def test_repeated(self) -> None:
        self.check(lambda data: [data, data], later=True, arrives=1)

    def test_dropped(self) -> None:
        """Not a byte: they notice, and try again ever more rarely."""
        self.check(lambda data: [], later=False)

    def test_cut(self) -> None:
        """The beginning of each piece alone."""
        self.check(lambda data: [data[: len(data) // 2]], later=True)

    def test_delayed(self) -> None:
        """Everything arrives."""
        carry = self.room.pairs._carry
        self.patch(self.room.pairs, "_carry", lambda *what: self.world.reactor.callLater(2.0, carry, *what))
        a, b = self.members("ab")
        a.append(SECRET_WORDS)
        self.world.run(60.0)
        self.assertEqual(b.payloads(a.author()), [SECRET_WORDS])
        self.assertEqual(a.of(PeerDown), [])
        for site in (a, b):
            self.world.result(site.node.stop())
        self.world.run(3.0)


class MisleadingTests(RoomCase):
    """A room, or somebody in it, that says what is not so."""

    def say(self, site: Site, *messages: Any) -> None:
        """Let the room say something to the one member it has."""
        [visitor] = self.room.seated
        visitor.say(*messages)
        self.world.run(0.2)

    def alone(self) -> tuple[Site, Any]:
        """A member, and its way."""
        way = self.way()
        site = self.world.site("a")
        site.node.join(way)
        self.world.run(1.0)
        return site, way

    def cards(self, count: int, first: int = 1) -> Seats:
        room = self.room.id
        return Seats(
            tuple(
                (number.to_bytes(8, "big"), seal_card(NETWORK, room, node(number), bytes(24)))
                for number in range(first, first + count)
            )
        )

    def test_another_peer(self) -> None:
        """Who is met and turns out to be somebody else is no peer, though it is a member."""
        a = self.member("a")
        meant = self.world.site("meant").node.id
        self.patch(sitting_module, "seal_card", lambda n, room, me, nonce: seal_card(n, room, meant, nonce))
        c = self.member("c")
        self.world.run(100.0)
        self.assertEqual((a.node.peers, c.node.peers), ([], []))
        self.assertEqual([*a.of(PeerUp), *c.of(PeerUp)], [])

    def test_a_card_of_another(self) -> None:
        """Whoever shows it keeps nobody from meeting whose it is, with however many seats: each has its turn."""
        way = self.way()
        b = self.world.site("b")
        b.node.join(way)
        self.world.run(1.0)
        self.patch(way._meetings, "look", lambda: None)  # b asks nobody
        [visitor] = self.room.seated
        stubs = [self.stub(tag=visitor.tag, card=visitor.card) for _ in range(4)]
        a = self.member("a")
        for _ in range(4):
            for stub in stubs:
                stub.say(Meet([*stub.seats][-1], False), Alive())
            self.world.run(90.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])

    def test_members_that_are_nobody(self) -> None:
        """Sixty who ask without end take no place of who is asked."""
        a = self.member("a")
        self.world.run(1.0)
        stubs = [self.insider(node(number)) for number in range(1, 50)]
        for _ in range(10):
            for stub in stubs:
                stub.say(Meet(next(iter(stub.seats)), False))
            self.world.run(1.0)
        b = self.member("b")
        for _ in range(45):  # 50 members, four at a time, ten seconds for each
            for stub in stubs:
                stub.say(Meet(next(iter(stub.seats)), False))
            self.world.run(5.0)
        self.assertIn(b.node.id, [peer.id for peer in a.node.peers])

    def test_too_much_is_said(self) -> None:
        a, _ = self.alone()
        self.say(a, *[Left(bytes(8))] * (limits.ROOM_TOLD_MESSAGES + 1))
        [failed] = a.of(WayFailed)
        self.assertIn("more than it has a reason", failed.reason)

    def test_busy_but_honest(self) -> None:
        """Many who come and go are not too much."""
        a, _ = self.alone()
        for _ in range(60):
            self.say(a, *[Left(bytes(8))] * int(limits.ROOM_TOLD_MESSAGES_PER_SECOND // 8))
        self.assertEqual(a.of(WayFailed), [])

    def test_many_are_there(self) -> None:
        """Of 512 it knows so many, and meets few at once."""
        a, way = self.alone()
        meetings = way._meetings
        for first in range(1, 512, 64):
            self.say(a, self.cards(64, first))
        self.assertEqual(len(meetings._seats), limits.ROOM_KNOWN)
        self.patch(self.room, "_meet", lambda visitor, message: None)
        self.world.run(limits.ROOM_MEETING_SECONDS + limits.ROOM_LOOK_SECONDS)
        self.assertEqual(len(meetings._under_way), limits.ROOM_MEETINGS_AT_ONCE)
        before = set(meetings._under_way)
        self.world.run(limits.ROOM_MEETING_SECONDS)
        self.assertEqual(len(meetings._under_way), limits.ROOM_MEETINGS_AT_ONCE)
        self.assertFalse(before & set(meetings._under_way))
        self.world.run(1000.0)
        self.assertLessEqual(len(meetings._failures), limits.ROOM_KNOWN)

    def test_asked_by_nobody(self) -> None:
        """Pairs that were not asked for, seats that are not there, cards that are none."""
        a, way = self.alone()
        self.say(
            a, Seats(((bytes(8), b"card"), (b"12345678", bytes(72)))), Paired(bytes(8), bytes(32), True, None)
        )
        self.say(a, Paired(b"12345678", bytes(32), False, Address(bytes(4), 443)), Left(b"87654321"))
        self.say(a, self.cards(1), Paired((1).to_bytes(8, "big"), bytes(32), True, None))
        self.world.run(60.0)
        self.assertEqual((a.of(WayFailed), a.node.peers, len(way._crossings.passages)), ([], [], 0))

    def test_a_look_is_over_all_the_same(self) -> None:
        """Nobody who is said to be there answers."""
        way = self.way()
        site = self.world.site("a")
        joined = site.node.join(way)
        self.world.run(0.2)
        self.say(site, self.cards(64))
        began = self.world.reactor.seconds()
        self.world.result(joined.flush())
        self.assertLess(self.world.reactor.seconds() - began, limits.ROOM_LOOK_SECONDS + 1.0)

    def test_a_silent_room(self) -> None:
        """It is left, and told."""
        a, _ = self.alone()
        [visitor] = self.room.seated
        self.patch(visitor, "say", lambda *messages: None)
        self.world.run(limits.PING_SECONDS + limits.PING_DEADLINE_SECONDS + 1)
        [failed] = a.of(WayFailed)
        self.assertEqual(failed.reason, "the room does not answer")

    def test_a_machine_that_moved(self) -> None:
        """Whether the seat is still there is asked at once; who gets no answer sits down anew."""
        way = self.way()
        site = self.world.site("a")
        site.node.join(way)
        self.world.run(1.0)
        [visitor] = self.room.seated
        self.patch(visitor, "say", lambda *messages: None)
        way.look()
        self.world.run(limits.ROAMING_PING_SECONDS + 2.0)
        self.assertEqual([each is visitor for each in self.room.seated], [False])

    def test_addresses(self) -> None:
        """What a room says of addresses is dialled only as what a peer says would be, and as rarely."""
        _, way = self.alone()
        may = way._finder.may_dial
        for host in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "224.0.0.1", "0.0.0.0"):
            self.assertFalse(may(host, 4000, "198.41.0.4"), host)
        self.assertFalse(may("8.8.8.8", 53, "198.41.0.4"))
        self.assertTrue(may("8.8.8.8", 4000, "198.41.0.4"))
        for _ in range(100):
            may("8.8.4.4", 4000, "198.41.0.4")
            self.world.run(1.0)
        allowed = sum(may("8.8.9.9", 4000 + number, "198.41.0.4") for number in range(100))
        self.assertLessEqual(allowed, limits.GROUP_DIALS_PER_MINUTE)


class DirectTests(RoomCase):
    """When the direct way is tried, and what comes of it that it fails."""

    def setUp(self) -> None:
        super().setUp()
        self.tried: list[Address] = []
        self.patch(crossings_module, "share_port", lambda transport: ("127.0.0.1", 1))

        def punch(reactor: Any, local: Any, address: Address) -> Any:
            self.tried.append(address)
            return Mock(done=fail(EndpointError("no direct way")))

        self.patch(crossings_module, "Punch", punch)

    def allow(self) -> None:
        """Loopback addresses may be dialled, as others may."""
        self.patch(topology_module, "may_dial", lambda *about: True)

    def test_only_where_one_may(self) -> None:
        """Here both are at a loopback address, which the room says as it is."""
        a, b = self.members("ab")
        self.world.run(5.0)
        self.assertEqual((self.tried, [peer.id for peer in a.node.peers]), ([], [b.node.id]))

    def test_then_the_room(self) -> None:
        self.allow()
        a, b = self.members("ab")
        self.world.run(5.0)
        self.assertEqual(len(self.tried), 2)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])

    def test_not_if_one_does_not_want_to(self) -> None:
        self.allow()
        a, b = self.member("a"), self.world.site("b")
        b.node.join(self.way(punch=False))
        self.world.run(5.0)
        self.assertEqual((self.tried, [peer.id for peer in a.node.peers]), ([], [b.node.id]))

    def test_in_vain(self) -> None:
        """After three it is no use, until the network is another one; and never too many at once."""
        self.allow()
        crossings = crossings_module.Crossings(
            Mock(reactor=self.world.reactor, may_dial=lambda *at: True), self.endpoint
        )
        crossings.sat_down(Mock(), punches=True)
        paired = Paired(bytes(8), bytes(32), True, Address(bytes(4), 4000))
        for wanted in (True, True, True, False):
            self.assertEqual(crossings.punches(node(1)), wanted)
            crossings._direct(node(1), paired).addErrback(lambda _: None)
        crossings.forgive()
        for _ in range(crossings_module.PUNCHES):
            self.world.run(0.01)
            crossings.in_vain = 0
            crossings._direct(node(1), paired).addErrback(lambda _: None)
        crossings.in_vain = 0
        self.assertFalse(crossings.punches(node(1)))
        self.assertEqual(len(self.tried), crossings_module.PUNCHES)
        self.world.run(crossings_module.PUNCH_EVERY_SECONDS)
        self.assertTrue(crossings.punches(node(1)))


class PunchTests(TestCase):
    """The sockets of a direct way."""

    async def sharing(self, host: str = "127.0.0.1") -> Any:
        """A connection, to share its port."""
        from twisted.internet import reactor

        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface=host)
        self.addCleanup(port.stopListening)
        endpoint = HostnameEndpoint(reactor, host, port.getHost().port)
        protocol = await endpoint.connect(Factory.forProtocol(Protocol))
        self.addCleanup(protocol.transport.abortConnection)
        return protocol.transport

    async def test_from_the_same_port(self) -> None:
        """It comes from the port at which the room sees us."""
        await self.connect("127.0.0.1")

    async def test_from_the_same_port_by_ipv6(self) -> None:
        try:
            await self.connect("::1")
        except OSError as error:
            raise SkipTest(f"no IPv6 here: {error}") from error

    async def connect(self, host: str) -> None:
        from twisted.internet import reactor

        transport = await self.sharing(host)
        local = share_port(transport)
        assert local is not None
        got: list[Any] = []

        class Other(Protocol):
            def connectionMade(self) -> None:
                got.append(self.transport)

        port = reactor.listenTCP(0, Factory.forProtocol(Other), interface=host)
        self.addCleanup(port.stopListening)
        passage = await Punch(reactor, local, Address.of(host, port.getHost().port)).done
        self.assertIsInstance(passage, Passage)
        self.assertTrue(passage.is_direct)
        while not got:
            await deferLater(reactor, 0.001)
        self.assertEqual(got[0].getPeer().port, local[1])
        for each in (passage.transport, got[0]):
            each.abortConnection()
        await deferLater(reactor, 0.01)

    async def test_nobody_there(self) -> None:
        """It is over after a while, and nothing is left."""
        from twisted.internet import reactor

        self.patch(limits, "ROOM_PUNCH_SECONDS", 0.2)
        transport = await self.sharing()
        local = share_port(transport)
        assert local is not None
        began = reactor.seconds()
        await self.assertFailure(Punch(reactor, local, Address.of("127.0.0.1", 9)).done, EndpointError)
        self.assertLess(reactor.seconds() - began, 2.0)

    def test_where_it_cannot_be(self) -> None:
        """A wrapper, a tunnel, a test: no direct way, and no error."""
        transport = Mock(getHost=lambda: IPv4Address("TCP", "127.0.0.1", 1))
        transport.socket = None
        self.assertIsNone(share_port(transport))
        self.assertIsNone(share_port(object()))
