"""Rooms: members that meet there, what the room sees, and whoever is hostile."""

from __future__ import annotations

from gossiplog.discovery.room.key import RoomKey
from gossiplog.discovery.room.passage import Passage
from gossiplog.discovery.room.way import Room
from gossiplog.errors import EndpointError, InvalidKeyError, InvalidValueError
from gossiplog.notices import PeerDown, PeerUp, WayFailed
from tests.netcase import OTHER_NETWORK
from tests.roomcase import KEY, RoomCase


class MeetingTests(RoomCase):
    def test_two(self) -> None:
        """They meet, replicate, and stay connected; a look is over when that is done."""
        a, b = self.members("ab")
        self.world.run(5.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])
        self.assertEqual([peer.address for peer in a.node.peers], [f"{self.endpoint} (a room)"])
        a.append(b"hello")
        self.world.run()
        self.assertEqual(b.payloads(a.author()), [b"hello"])
        self.world.run(600.0)
        self.assertEqual([len(site.of(PeerUp)) for site in (a, b)], [1, 1])
        self.assertEqual(len(self.room), 2)
        self.assertEqual([*a.of(PeerDown), *a.of(WayFailed), *self.told], [])

    def test_many(self) -> None:
        """Everyone is in one network, with one session for each two of them."""
        sites = self.members("abcdef")
        self.world.run(60.0)
        for site in sites:
            ids = [peer.id for peer in site.node.peers]
            self.assertEqual(len(ids), len(set(ids)))
            self.assertEqual(len(ids), 5)
            site.told.clear()
        self.world.run(600.0)
        for site in sites:
            self.assertEqual([*site.of(PeerUp), *site.of(PeerDown)], [])

    def test_no_more_links_than_wanted(self) -> None:
        sites = [self.member(name, links=2) for name in "abcdefgh"]
        self.world.run(120.0)
        degrees = [len(site.node.peers) for site in sites]
        self.assertGreaterEqual(min(degrees), 2)
        self.assertLessEqual(sum(degrees) / len(degrees), 4)

    def test_another_network(self) -> None:
        """It shares the room, and nobody notices."""
        self.member("a")
        other = self.member("b", OTHER_NETWORK)
        self.world.run(30.0)
        self.assertEqual((len(self.room), other.told), (2, []))

    def test_another_key(self) -> None:
        """Who has not the key of the room gets no answer, and is told why."""
        a = self.world.site("a")
        way = Room(f"{self.endpoint}#{RoomKey(bytes(32)).text}")
        self.world.result(a.node.join(way).flush())
        [failed] = a.of(WayFailed)
        self.assertIn("its key is another one", failed.reason)
        self.assertEqual(len(self.room), 0)

    def test_no_room(self) -> None:
        """It is told once, flush fires; when the room is there they meet."""
        self.world.result(self.room.stop())
        a, b = self.member("a"), self.member("b")
        flushed = self.world.result(a.joined.flush())  # type: ignore[attr-defined]
        self.assertEqual((flushed.connected, len(flushed.failed)), (0, 1))
        self.world.run(100.0)
        self.assertEqual(len(a.of(WayFailed)), 1)
        self.start_room(self.port)
        self.world.run(90.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])

    def test_the_room_starts_anew(self) -> None:
        """Its sessions are over; soon there are others, and the room does not know its members again."""
        a, b = self.members("ab")
        self.world.run(5.0)
        cards = {visitor.card for visitor in self.room.seated}
        tags = {visitor.tag for visitor in self.room.seated}
        self.world.result(self.room.stop())
        self.start_room(self.port)
        self.world.run(60.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])
        self.assertEqual(len(cards | {visitor.card for visitor in self.room.seated}), 4)
        self.assertEqual(len(tags | {visitor.tag for visitor in self.room.seated}), 2)

    def test_leave(self) -> None:
        """Nobody sits any more, and nothing is left of the way but the sessions."""
        a, b = self.members("ab")
        self.world.run(5.0)
        for site in (a, b):
            self.world.result(site.joined.leave())  # type: ignore[attr-defined]
        self.world.run(60.0)
        self.assertEqual(len(self.room), 0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])
        self.assertEqual([*a.of(PeerDown), *b.of(PeerDown)], [])

    def test_a_session_that_ended(self) -> None:
        """They meet again, after a while; a member that is gone is not asked."""
        a, b = self.members("ab")
        self.world.run(5.0)
        b.stop()
        self.world.run(120.0)
        self.assertEqual((a.node.peers, len(self.room)), ([], 1))
        b.start()
        b.node.join(self.way())
        self.world.run(30.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])

    def test_a_member_that_can_be_dialled_too(self) -> None:
        """One session, by whichever way."""
        a, b = self.members("ab")
        address = b.listen()
        a.node.connect(address)
        self.world.run(60.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])
        self.assertEqual([peer.id for peer in b.node.peers], [a.node.id])

    def test_through_a_room_is_no_address(self) -> None:
        """Where the room is, nobody of the network is: it gets into no address book, and is told to nobody."""
        a, b = self.members("ab")
        self.world.run(5.0)
        self.assertEqual([*a.node.found, *b.node.found], [])
        self.assertNotIn(self.endpoint, [*a.node.addresses, *b.node.addresses])
        places = [each.at for site in (a, b) for each in site.node._driver.peering.topology.neighbours]
        self.assertEqual(places, [None, None])

    def test_past_a_room_is_no_address(self) -> None:
        """Where a router let one through once, nobody can dial: it is where the peer is, and gets into no book."""
        self.patch(Passage, "is_direct", property(lambda passage: True))
        a, b = self.members("ab")
        self.world.run(5.0)
        self.assertEqual([*a.node.found, *b.node.found], [])
        places = [each.at for site in (a, b) for each in site.node._driver.peering.topology.neighbours]
        self.assertNotIn(None, places)
        self.assertEqual([site.node.peers[0].address.endswith("(a room)") for site in (a, b)], [False, False])

    def test_leave_in_the_middle(self) -> None:
        """At every moment of a meeting: nothing is left."""
        self.member("b")
        self.world.run(1.0)
        for number in range(8, 30):
            way = self.way()
            site = self.world.site(f"a{number}")
            joined = site.node.join(way)
            self.world.run(0.006 * number)
            self.world.result(joined.leave())
            self.world.run(0.2)
            self.assertEqual([len(way._crossings._under_way), len(way._meetings._under_way)], [0, 0])
            self.assertEqual(
                [passage.is_handed_over for passage in way._crossings.passages if passage],
                [True] * len(way._crossings.passages),
            )
            self.world.result(site.node.stop())

    def test_one_for_each_node(self) -> None:
        """The first one keeps its seat, whatever the second does."""
        way = self.way()
        a, b = self.world.site("a"), self.world.site("b")
        self.world.result(a.node.join(way).flush())
        self.assertRaises(InvalidValueError, b.node.join, way)
        self.world.result(b.node.stop())
        c = self.member("c")
        self.world.run(30.0)
        self.assertEqual([peer.id for peer in a.node.peers], [c.node.id])

    def test_joined_again(self) -> None:
        """With the same object."""
        way = self.way()
        a, b = self.world.site("a"), self.member("b")
        joined = a.node.join(way)
        self.world.result(joined.flush())
        self.world.result(joined.leave())
        a.node.join(way)
        self.world.run(30.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])
        self.assertEqual(len(a.of(PeerUp)), 1)

    def test_connect_to(self) -> None:
        """A node in the room by its id, beyond the links that are wanted; again when the session is lost."""
        sites = [self.member(name, links=1) for name in "abc"]
        self.world.run(20.0)
        a = next(site for site in sites if len(site.node.peers) == 1)
        [peer] = a.node.peers
        other = next(site for site in sites if site.node.id not in (a.node.id, peer.id))
        dialer = a.node.connect_to(other.node.id)
        self.assertIn("in room", dialer.endpoint)
        self.world.run(5.0)
        self.assertEqual({each.id for each in a.node.peers}, {peer.id, other.node.id})
        assert dialer.link is not None
        dialer.link.abort()
        self.world.run(20.0)
        self.assertEqual({each.id for each in a.node.peers}, {peer.id, other.node.id})
        self.assertRaises(EndpointError, a.node.connect_to, bytes(31) + b"x")

    def test_texts(self) -> None:
        for text in (
            "",
            "room",
            "tcp:here:1#",
            "tcp:here:1#room_x",
            f"tcp:here:1#{'0' * 63}",
            "tcp:here:99999#",
        ):
            self.assertRaises((EndpointError, InvalidKeyError), Room, text)
        self.assertRaises(InvalidKeyError, Room, f"tcp:here:1#{KEY.text}", KEY.text)
        self.assertEqual(Room("tcp:here:1", KEY.text).key, KEY)
        self.assertTrue(Room("tcp:here:1").key.is_open)


class OpenRoomTests(RoomCase):
    key = RoomKey()

    def test_open(self) -> None:
        a, b = self.members("ab")
        self.world.run(5.0)
        self.assertEqual([peer.id for peer in a.node.peers], [b.node.id])
