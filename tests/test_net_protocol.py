"""Ring 6: one connection of a node: strangers, offences, the end, and back-pressure, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import (
    BadSegmentError,
    BadSignatureError,
    ByeCode,
    ChannelError,
    FrameTooLargeError,
    HandshakeError,
    LimitExceededError,
    MalformedMessageError,
    PeerTimeoutError,
    ReplayError,
    UnexpectedMessageError,
    VersionMismatchError,
    WrongNetworkError,
    WrongProtocolError,
)
from gossiplog.gossip.messages import Have, HaveItem, Hello, Ping, Pong, Want, WantItem
from gossiplog.log.segment import Segment
from gossiplog.net.endpoints import describe
from gossiplog.notices import DialFailed, NewEntries, PeerDown, PeerRejected, PeerUp
from gossiplog.testing.network import Side
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import encode
from tests.netcase import LOCAL, NETWORK, OTHER_NETWORK, Author, Peer, Raw, World, answer, dial, factory

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)
WINDOW_BYTES = 64 * 1024
CONTROL_BYTES = 128 * 1024
"""Smaller limits than the real ones: filling those takes seconds."""

HTTP = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


class OneNode(SynchronousTestCase):
    """A node that listens, and whoever comes."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("node")
        self.site.listen()
        self.address = LOCAL.format(self.site.port)

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def come(self, protocol: Any) -> Any:
        self.world.result(dial(self.world.reactor, self.address, protocol))
        return protocol

    def rejected(self) -> Any:
        """The one PeerRejected that was told."""
        [notice] = self.site.of(PeerRejected)
        return notice


class StrangerTests(OneNode):
    """Who is no node of our network learns nothing, and is told nothing."""

    def assert_nothing_said(self, stranger: Raw, error: type[Exception]) -> str:
        self.assertEqual(stranger.raw, b"")
        self.assertIsNotNone(stranger.reason)
        notice = self.rejected()
        self.assertIs(type(notice.error), error)
        host = stranger.transport.getHost()
        self.assertEqual(notice.address, f"tcp:127.0.0.1:{host.port}")
        self.assertEqual(self.site.of(PeerUp), [])
        return str(notice.error)

    def test_http(self) -> None:
        stranger = self.come(Raw(HTTP))
        self.world.run(1)
        self.assertIn("HTTP", self.assert_nothing_said(stranger, WrongProtocolError))

    def test_tls(self) -> None:
        stranger = self.come(Raw(TLS_HELLO))
        self.world.run(1)
        self.assertIn("TLS", self.assert_nothing_said(stranger, WrongProtocolError))

    def test_random_bytes(self) -> None:
        stranger = self.come(Raw(bytes([7]) + self.world.random.randbytes(4000)))
        self.world.run(1)
        self.assertIn("version", self.assert_nothing_said(stranger, WrongProtocolError))

    def test_another_handshake_version(self) -> None:
        first = Channel(True, b"\x01" * 32, NETWORK.key).start()
        stranger = self.come(Raw(bytes([2]) + first[1:]))
        self.world.run(1)
        self.assertIn("2", self.assert_nothing_said(stranger, WrongProtocolError))

    def test_right_version_and_garbage(self) -> None:
        stranger = self.come(Raw(bytes([1]) + self.world.random.randbytes(48)))
        self.world.run(1)
        self.assert_nothing_said(stranger, WrongNetworkError)

    def test_another_network(self) -> None:
        stranger = self.come(Raw(Channel(True, b"\x01" * 32, OTHER_NETWORK.key).start()))
        self.world.run(1)
        self.assert_nothing_said(stranger, WrongNetworkError)

    def test_slow_loris(self) -> None:
        """Byte by byte does not help: there is one deadline for the handshake."""
        stranger = self.come(Raw())
        hello = Channel(True, b"\x01" * 32, NETWORK.key).start()
        for byte in hello[:9]:
            stranger.transport.write(bytes([byte]))
            self.world.run(1)
        self.assertIsNone(stranger.reason)
        self.world.run(limits.HANDSHAKE_SECONDS - 8.9)
        self.assert_nothing_said(stranger, PeerTimeoutError)

    def test_one_that_says_nothing(self) -> None:
        stranger = self.come(Raw())
        self.world.run(limits.HANDSHAKE_SECONDS + 1)
        self.assert_nothing_said(stranger, PeerTimeoutError)

    def test_port_scan_is_no_news(self) -> None:
        stranger = self.come(Raw())
        stranger.transport.loseConnection()
        self.world.run(1)
        self.assertEqual(self.site.told, [])

    def test_replayed_first_message(self) -> None:
        """The first one to come gets an answer and nothing more: whoever recorded it cannot go on.  Others get none."""
        first = Channel(True, b"\x01" * 32, NETWORK.key).start()
        stranger = self.come(Raw(first))
        self.world.run(1)
        for _ in range(3):
            again = self.come(Raw(first))
            self.world.run(1)
            self.assertEqual(again.raw, b"")
            self.assertIsNotNone(again.reason)
            self.assertIsInstance(self.site.of(PeerRejected)[-1].error, ReplayError)
        self.site.told.clear()
        self.assertEqual(len(stranger.raw), 96)
        stranger.transport.write(bytes(64))
        self.world.run(1)
        self.assertEqual(len(stranger.raw), 96)
        self.assertIsNotNone(stranger.reason)
        self.assertIsInstance(self.rejected().error, HandshakeError)

    def test_many_that_say_nothing_keep_nobody_out(self) -> None:
        """Over the limit the oldest has to go."""
        self.patch(limits, "MAX_STRANGERS", 64)
        crowd = [self.come(Raw()) for _ in range(limits.MAX_STRANGERS)]
        self.world.run(0.5)
        self.assertEqual(self.site.told, [])
        member = self.come(Peer(True))
        self.world.run(1)
        self.assertEqual(len(member.of(Hello)), 1)
        self.assertEqual([stranger.reason is None for stranger in crowd], [False] + [True] * (len(crowd) - 1))
        self.assertIsInstance(self.rejected().error, LimitExceededError)

    def test_silent_after_the_handshake(self) -> None:
        """HELLO has its own deadline, kept by the replica."""
        member = self.come(Peer(True))
        self.world.run(limits.HANDSHAKE_SECONDS + 1)
        assert member.bye is not None
        self.assertEqual(member.bye.code, ByeCode.TIMEOUT)
        self.assertIsNotNone(member.reason)


class OffenceTests(OneNode):
    """What a member does wrong: BYE says what, a notice says it here, and nothing has changed."""

    def offend(self, deed: Callable[[Peer], None], error: type[Exception], *, greet: bool = True) -> str:
        peer = self.come(Peer(True, self.world.random.randbytes(32)))
        self.world.run(0.1)
        if greet:
            peer.hello()
            self.world.run(0.1)
            self.assertEqual(len(self.site.of(PeerUp)), 1)
        before = self.site.store.clock.copy()
        deed(peer)
        self.world.run(1)
        code = ByeCode(error.code)  # type: ignore[attr-defined]
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, code)
        self.assertIsNotNone(peer.reason, "the connection is closed")
        notice = self.rejected()
        self.assertIs(type(notice.error), error)
        self.assertEqual(str(notice.error), peer.bye.reason)
        self.assertEqual([down.code for down in self.site.of(PeerDown)], [code] if greet else [])
        self.assertEqual(self.site.store.clock, before)
        self.assertEqual(self.site.of(NewEntries), [])
        return peer.bye.reason

    def test_no_common_version(self) -> None:
        reason = self.offend(lambda peer: peer.hello(low=2, high=9), VersionMismatchError, greet=False)
        self.assertIn("2 to 9", reason)

    def test_message_before_hello(self) -> None:
        self.offend(lambda peer: peer.send(Ping(1)), UnexpectedMessageError, greet=False)

    def test_second_hello(self) -> None:
        self.offend(lambda peer: peer.hello(), UnexpectedMessageError)

    def test_oversized_frame(self) -> None:
        """The length alone is enough: nothing of the body was sent."""

        def deed(peer: Peer) -> None:
            sender: Any = peer.channel._sender
            record = sender.encrypt((limits.MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
            peer.transport.write(len(record).to_bytes(2, "big") + record)

        self.offend(deed, FrameTooLargeError)

    def test_damaged_record(self) -> None:
        self.offend(lambda peer: peer.transport.write((20).to_bytes(2, "big") + bytes(20)), ChannelError)

    def test_no_message(self) -> None:
        self.offend(lambda peer: peer.frame(b"\xc1"), MalformedMessageError)

    def test_unknown_type_below_64(self) -> None:
        self.offend(lambda peer: peer.frame(b"\x91\x3f"), MalformedMessageError)

    def test_segment_over_its_count(self) -> None:
        [segment] = Author().write(b"one", b"two")
        self.offend(lambda peer: peer.send(segment._replace(count=3)), BadSegmentError)
        self.site.told.clear()
        self.offend(
            lambda peer: peer.send(segment._replace(count=limits.MAX_SEGMENT_ENTRIES + 1)),
            MalformedMessageError,
        )

    def test_wrong_previous(self) -> None:
        author = Author()
        [one], [two] = author.write(b"one"), author.write(b"two")
        self.offend(lambda peer: peer.send(one._replace(previous=bytes(32))), BadSegmentError)
        first = self.world.peer(self.site)
        first.hello()
        first.send(one)
        first.transport.loseConnection()
        self.world.run(1)
        self.site.told.clear()
        self.offend(lambda peer: peer.send(two._replace(previous=bytes(32))), BadSignatureError)

    def test_bad_signature(self) -> None:
        [segment] = Author().write(b"one")
        self.offend(lambda peer: peer.send(segment._replace(signature=bytes(64))), BadSignatureError)

    def test_item_that_is_not_minimal(self) -> None:
        [segment] = Author().write(b"one")
        body = segment.bodies[2:]
        longer = b"\xc5" + len(body).to_bytes(2, "big") + body
        self.offend(lambda peer: peer.send(segment._replace(bodies=longer)), BadSegmentError)

    def test_bad_segment_after_good_ones(self) -> None:
        """What came before it in the same instant is kept; nothing of it or after it is."""
        author = Author()
        good, bad, after = author.write(b"1")[0], author.write(b"2")[0], author.write(b"3")[0]
        peer = self.come(Peer(True))
        self.world.run(0.1)
        peer.hello()
        peer.send(good, bad._replace(signature=bytes(64)), after)
        self.world.run(1)
        self.assertEqual(self.site.payloads(author.key), [b"1"])
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.BAD_SIGNATURE)

    def test_claims_far_ahead_are_only_hints(self) -> None:
        """A clock that no entry backs moves nothing, and ends nothing."""
        peer = self.come(Peer(True))
        self.world.run(0.1)
        peer.hello()
        author = Author()
        peer.send(Have((HaveItem(0, limits.MAX_SEQ, author.key),)))
        self.world.run(600)
        self.assertEqual(self.site.store.clock.seq(author.key), 0)
        self.assertIsNone(peer.bye)
        self.assertEqual([item.author for want in peer.of(Want) for item in want.items][:1], [author.key])
        [segment] = author.write(b"real")
        peer.send(segment)
        self.world.run(1)
        self.assertEqual(self.site.payloads(author.key), [b"real"])


class EndTests(OneNode):
    """BYE arrives, and the connection is gone, whatever the peer does."""

    def member(self) -> Peer:
        peer: Peer = self.come(Peer(True))
        self.world.run(0.1)
        peer.hello()
        self.world.run(0.1)
        return peer

    def test_bye_arrives_although_the_peer_is_sending(self) -> None:
        """Closing with unread bytes would be a reset, which overtakes BYE: the test links do as TCP does."""
        peer = self.member()
        self.site.node.stop()
        for number in range(200):
            peer.send(Ping(number, bytes(16)))
        self.world.run(1)
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.STOPPING)

    def test_stop_waits_for_the_peer_to_close_but_not_for_ever(self) -> None:
        peer = self.member()
        peer.transport.pauseProducing()
        self.world.run(1)
        began = self.world.reactor.seconds()
        self.world.result(self.site.node.stop(), seconds=limits.CLOSE_SECONDS + 1)
        took = self.world.reactor.seconds() - began
        self.assertAlmostEqual(took, limits.CLOSE_SECONDS, delta=0.1)
        peer.transport.resumeProducing()
        self.world.run(1)
        self.assertIsNotNone(peer.reason)

    def test_peer_that_goes_on_sending_after_bye_is_cut_off(self) -> None:
        peer = self.member()
        stopped = self.site.node.stop()

        def again() -> None:
            if peer.reason is None:
                peer.transport.write(bytes(100))
                self.world.reactor.callLater(0.1, again)

        again()
        peer.dataReceived = lambda data: None  # type: ignore[method-assign]
        self.world.result(stopped, seconds=limits.CLOSE_SECONDS + 1)
        self.world.run(1)

    def test_bye_of_the_peer(self) -> None:
        peer = self.member()
        peer.frame(b"\x93\x0c\x40\xa4done")
        peer.transport.loseWriteConnection()
        self.world.run(1)
        self.assertEqual([(down.code, down.reason) for down in self.site.of(PeerDown)], [(64, "done")])
        self.assertIsNotNone(peer.reason)
        self.assertIsNone(peer.bye, "a BYE is not answered with another")

    def test_connection_that_comes_while_stopping(self) -> None:
        """Accepted by the kernel before the port was closed."""
        self.member()
        port = self.world.reactor.ports[self.site.port]
        stopped = self.site.node.stop()
        late = Raw()
        self.world.reactor.join(factory(late), port)
        self.world.result(stopped)
        self.world.run(1)
        self.assertIsNotNone(late.reason)
        self.assertEqual(late.raw, b"")

    def test_transport_without_half_close(self) -> None:
        """TLS has none; then the whole connection is closed once BYE is out."""
        half_close = Side.loseWriteConnection
        self.addCleanup(setattr, Side, "loseWriteConnection", half_close)
        del Side.loseWriteConnection
        peer = self.member()
        self.world.result(self.site.node.stop(), seconds=1)
        self.world.run(1)
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.STOPPING)

    def test_stop_during_a_handshake(self) -> None:
        """Strangers do not hold it up."""
        stranger = self.come(Raw())
        self.world.result(self.site.node.stop(), seconds=0.5)
        self.world.run(0.5)
        self.assertIsNotNone(stranger.reason)

    def test_stop_while_the_transport_is_full(self) -> None:
        """A peer that reads on gets the rest, BYE and the close, and nobody waits for a deadline."""
        self.patch(limits, "OUTPUT_WINDOW_BYTES", WINDOW_BYTES)
        self.site.append(*[bytes(100_000)] * 30)
        peer = self.member()
        peer.reconcile()
        peer.transport.pauseProducing()
        peer.send(Want((WantItem(self.site.author(), 1),)))
        self.world.run(1)
        self.assertGreater(peer.transport.other.unsent_bytes, 0)
        stopped = self.site.node.stop()
        self.world.run(1)
        peer.transport.resumeProducing()
        self.world.run(1)
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.STOPPING)
        self.successResultOf(stopped)

    def test_connection_that_breaks(self) -> None:
        peer = self.member()
        peer.transport.abortConnection()
        self.world.run(1)
        [down] = self.site.of(PeerDown)
        self.assertEqual(down.code, ByeCode.NORMAL)
        self.assertIn("connection lost", down.reason)

    def test_pulled_cable(self) -> None:
        """Half open: nothing comes any more and nobody said so; PING finds out."""
        peer = self.member()
        peer.transport.freeze()
        self.world.run(limits.PING_SECONDS + limits.PING_DEADLINE_SECONDS + 1)
        self.assertEqual([down.code for down in self.site.of(PeerDown)], [ByeCode.TIMEOUT])
        self.world.run(limits.CLOSE_SECONDS + 1)
        self.assertEqual([side for side in self.world.reactor.sides if side is not peer.transport], [])
        peer.transport.thaw()
        peer.transport.abortConnection()

    def test_slow_frame_is_a_sign_of_life(self) -> None:
        """On a slow link one entry may take longer than any deadline, as long as bytes come."""
        peer = self.member()
        peer.answers_pings = False
        [segment] = Author().write(bytes(60_000))
        sent = peer.channel.send(encode(segment))
        for start in range(0, len(sent), 600):
            peer.transport.write(sent[start : start + 600])
            self.world.run(2)
        self.assertEqual(self.site.of(PeerDown), [])
        self.assertEqual(len(self.site.of(NewEntries)), 1)


class UnreadTests(OneNode):
    """A peer that does not read costs bounded memory, and no more than that."""

    def member(self) -> Peer:
        self.patch(limits, "OUTPUT_WINDOW_BYTES", WINDOW_BYTES)
        self.patch(limits, "MAX_UNSENT_BYTES", CONTROL_BYTES)
        peer: Peer = self.come(Peer(True))
        self.world.run(0.1)
        peer.hello()
        peer.reconcile()
        self.world.run(0.1)
        return peer

    def ours(self, peer: Peer) -> Any:
        """The node's side of the connection."""
        return peer.transport.other

    def test_control_messages_are_bounded(self) -> None:
        """Every PING wants a PONG, and every WANT an answer: the last one of each is remembered."""
        peer = self.member()
        peer.transport.pauseProducing()
        author = Author().key
        for number in range(10_000):
            peer.send(Ping(number, bytes(16)))
            if number % 16 == 0:
                peer.send(Want((WantItem(author, 1),)))
            if number % 100 == 0:
                self.world.run(0.1)
        self.assertLess(self.ours(peer).largest_unsent_bytes, 3 * WINDOW_BYTES)
        self.assertEqual(self.site.of(PeerDown), [])
        self.assertEqual(len(peer.of(Have)), 0)
        peer.transport.resumeProducing()
        self.world.run(10)
        pongs = [pong.token for pong in peer.of(Pong)]
        self.assertEqual(pongs[-1], 9_999)
        self.assertLess(len(pongs), 9_000)
        self.assertEqual(peer.of(Have)[-1].items[-1].seq, 0)

    def test_a_transport_that_takes_nothing(self) -> None:
        """More than may wait for it ends the session, and is held against nobody."""
        peer = self.member()
        self.patch(limits, "MAX_UNSENT_BYTES", 1000)
        peer.transport.pauseProducing()
        for _ in range(5):
            self.site.append(bytes(WINDOW_BYTES // 2))
        for _ in range(3):
            self.site.append(bytes(500))
        self.world.run(1)
        [down] = self.site.of(PeerDown)
        self.assertEqual(down.code, ByeCode.LIMIT)
        self.assertEqual(self.site.of(PeerRejected), [])
        self.assertEqual(self.site.node.bans, [])
        self.world.run(limits.CLOSE_SECONDS + 1)
        self.assertFalse(self.ours(peer).connected)
        peer.transport.resumeProducing()

    def test_backlog_waits_on_disk(self) -> None:
        """A peer that asks for everything and reads nothing is sent a window of it; when it reads, it gets the rest."""
        for _ in range(40):
            self.site.append(bytes(100_000))
        author = self.site.author()
        peer = self.member()
        peer.transport.pauseProducing()
        peer.send(Want((WantItem(author, 1),)))
        self.world.run(10)
        self.assertLess(self.ours(peer).largest_unsent_bytes, 2 * WINDOW_BYTES + limits.MAX_SEGMENT_BYTES)
        peer.transport.resumeProducing()
        self.world.run(10)
        came = [segment for segment in peer.got if isinstance(segment, Segment)]
        self.assertEqual([seq for s in came for seq in range(s.first, s.last + 1)], list(range(1, 41)))
        self.assertLess(self.ours(peer).largest_unsent_bytes, 2 * WINDOW_BYTES + limits.MAX_SEGMENT_BYTES)

    def test_news_for_a_slow_reader_becomes_a_number(self) -> None:
        """It gets all of it, in order, once it reads."""
        peer = self.member()
        self.site.append(b"first")
        self.world.run(1)
        peer.transport.pauseProducing()
        for _ in range(100):
            self.site.append(bytes(50_000))
        self.world.run(1)
        self.assertLess(self.ours(peer).largest_unsent_bytes, 2 * WINDOW_BYTES + limits.MAX_SEGMENT_BYTES)
        peer.transport.resumeProducing()
        self.world.run(20)
        came = [segment for segment in peer.got if isinstance(segment, Segment)]
        self.assertEqual([seq for s in came for seq in range(s.first, s.last + 1)], list(range(1, 102)))


class DialledTests(SynchronousTestCase):
    """What a dialler finds at an address, and what it says about it."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("node")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def find(self, make: Callable[[], Any]) -> list[Any]:
        """Dial whatever ``make`` makes, for a second; the notices."""
        port = self.world.result(answer(self.world.reactor, "tcp:0", make))
        self.address = LOCAL.format(port.getHost().port)
        self.site.node.connect(self.address)
        self.world.run(1)
        port.stopListening()
        return self.site.told

    def test_http_server(self) -> None:
        told = self.find(lambda: Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.assertIsInstance(told[0], PeerRejected)
        self.assertEqual(told[0].address, self.address)
        self.assertIn("HTTP", str(told[0].error))
        self.assertGreater(len(told), 1, "it is tried again")

    def test_garbage(self) -> None:
        told = self.find(lambda: Raw(bytes(range(96))))
        self.assertIsInstance(told[0], PeerRejected)
        self.assertIsInstance(told[0].error, HandshakeError)

    def test_hangs_up(self) -> None:
        """What a node of another network does; it cannot be told from one that is restarting."""

        class Closes(Raw):
            def dataReceived(self, data: bytes) -> None:
                self.transport.loseConnection()

        told = self.find(Closes)
        self.assertIsInstance(told[0], DialFailed)
        self.assertEqual(told[0].address, self.address)
        self.assertIn("handshake", told[0].reason)

    def test_says_nothing(self) -> None:
        self.find(Raw)
        self.world.run(limits.HANDSHAKE_SECONDS)
        rejected = self.site.told[0]
        self.assertIsInstance(rejected, PeerRejected)
        self.assertIsInstance(rejected.error, PeerTimeoutError)

    def test_nobody_is_there(self) -> None:
        self.site.node.connect("tcp:127.0.0.1:9")
        self.world.run(1)
        self.assertIsInstance(self.site.told[0], DialFailed)
        self.assertIn("refused", self.site.told[0].reason)

    def test_stop_while_dialling(self) -> None:
        self.world.reactor.unreachable.add(9)
        self.site.node.connect("tcp:127.0.0.1:9")
        self.world.run(1)
        self.world.result(self.site.node.stop(), seconds=0.1)
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])
        self.assertEqual(self.site.told, [])


class DescribeTests(SynchronousTestCase):
    """Addresses as endpoint strings."""

    def test_kinds(self) -> None:
        for address, text in [
            (IPv4Address("TCP", "127.0.0.1", 4000), "tcp:127.0.0.1:4000"),
            (IPv6Address("TCP", "::1", 4000), r"tcp:\:\:1:4000"),
            (UNIXAddress("/run/node"), "unix:/run/node"),
            (UNIXAddress("/run/a:b"), r"unix:/run/a\:b"),
            (UNIXAddress(None), "unix:"),
            (HostnameAddress(b"example.org", 1), str(HostnameAddress(b"example.org", 1))),
        ]:
            self.assertEqual(describe(address), text)
