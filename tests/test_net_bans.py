"""Ring 1 and 6: offences, scores, bans, and who may be connected at all."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits, notices
from gossiplog.app.happenings import describe
from gossiplog.errors import (
    BadSignatureError,
    ByeCode,
    ChannelError,
    GossiplogError,
    HandshakeError,
    LimitExceededError,
    MalformedMessageError,
    PeerError,
    PeerTimeoutError,
    VersionMismatchError,
    WrongNetworkError,
)
from gossiplog.gossip.messages import Hello, Ping
from gossiplog.net.bans import BAN_SCORE, HALVED_SECONDS, Bans, points_of
from gossiplog.net.places import is_local, place
from tests.netcase import LISTEN, LOCAL, Author, Peer, Raw, answer
from tests.test_net_protocol import OneNode

KEY, OTHER = b"\x01" * 32, b"\x02" * 32
HOST = "192.0.2.7"
WORST = BadSignatureError("no signature")


class ScoreTests(SynchronousTestCase):
    """What counts, how much, and for how long."""

    def setUp(self) -> None:
        """Nobody did anything yet."""
        self.bans = Bans()

    def times(self, error: GossiplogError) -> int:
        """How often in a row ``error`` is forgiven before a ban begins; 100 for always."""
        return next((n for n in range(100) if self.bans.offence(KEY, error, 0.0)), 100)

    def test_reasons(self) -> None:
        """What cannot be an accident is a ban at once; what is nobody's fault never is."""
        cases = [
            (WORST, 0),
            (MalformedMessageError(""), 1),
            (LimitExceededError(""), 3),
            (PeerTimeoutError(""), 100),
            (ChannelError(""), 100),
            (VersionMismatchError(""), 100),
            (WrongNetworkError(""), 100),
        ]
        for error, forgiven in cases:
            with self.subTest(type(error).__name__):
                self.bans = Bans()
                self.assertEqual(self.times(error), forgiven)

    def test_every_kind(self) -> None:
        """As the specification has it by codes, for whatever kind of error there is."""
        counts = {5: 0.5, 6: 0.5, 7: 0.5, 8: 1.0, 9: 1.0, 10: 1.0, 11: 0.25}
        kinds = [PeerError]
        for kind in kinds:
            kinds += kind.__subclasses__()
        for kind in kinds[1:]:
            before_or_below = issubclass(kind, HandshakeError | ChannelError)
            expected = 0.0 if before_or_below else counts.get(kind.code, 0.0)
            self.assertEqual((kind, points_of(kind("why"))), (kind, expected))
        self.assertEqual((BAN_SCORE, HALVED_SECONDS), (0.9, 600.0))

    def test_scores_fade(self) -> None:
        """Twice in a day is not twice in a minute."""
        for number in range(20):
            self.assertIsNone(self.bans.offence(KEY, MalformedMessageError(""), number * 5 * HALVED_SECONDS))

    def test_back_off(self) -> None:
        """Each ban is twice as long, up to a limit, and after a quiet day it begins anew."""
        now, lengths = 0.0, []
        for _ in range(12):
            ban = self.bans.offence(KEY, WORST, now)
            assert ban is not None
            lengths.append(ban.seconds)
            self.assertIsNotNone(self.bans.banned(KEY, now + ban.seconds - 0.1))
            self.assertIsNone(self.bans.banned(KEY, now + ban.seconds))
            now += ban.seconds
        self.assertEqual(lengths[:3], [limits.BAN_FIRST_SECONDS * factor for factor in (1, 2, 4)])
        self.assertEqual(lengths[-1], limits.BAN_MOST_SECONDS)
        ban = self.bans.offence(KEY, WORST, now + limits.BAN_FORGIVEN_SECONDS + 1)
        assert ban is not None
        self.assertEqual(ban.seconds, limits.BAN_FIRST_SECONDS)

    def test_offences_during_a_ban(self) -> None:
        """What was under way when it began does not prolong it."""
        self.bans.offence(KEY, WORST, 0.0)
        self.assertIsNone(self.bans.offence(KEY, WORST, 1.0))
        self.assertEqual([ban.seconds for ban in self.bans.all(1.0)], [limits.BAN_FIRST_SECONDS - 1.0])

    def test_lifted(self) -> None:
        """With everything that led to it."""
        self.bans.offence(KEY, WORST, 0.0)
        self.assertEqual((self.bans.lift(KEY), self.bans.lift(KEY)), (True, False))
        self.assertEqual(self.bans.all(0.0), [])

    def test_bounded(self) -> None:
        """New keys cost an offender nothing, and us no more than this."""
        with patch.object(limits, "MAX_SCORES", 3):
            for number in range(10):
                self.bans.offence(bytes([number]) * 32, WORST, 0.0)
        self.assertEqual([ban.peer for ban in self.bans.all(0.0)], [bytes([n]) * 32 for n in (7, 8, 9)])

    def test_bans_are_forgotten_last(self) -> None:
        """Many keys with an offence that is no ban yet set nobody free."""
        with patch.object(limits, "MAX_SCORES", 3):
            self.bans.offence(KEY, WORST, 0.0)
            for number in range(10):
                self.bans.offence(bytes([number + 10]) * 32, LimitExceededError(""), 1.0)
            self.assertIsNotNone(self.bans.banned(KEY, 2.0))
            after = limits.BAN_FIRST_SECONDS + 1.0
            for number in range(3):
                self.bans.offence(bytes([number + 10]) * 32, LimitExceededError(""), after)
            self.assertFalse(self.bans.lift(KEY))

    def test_time_that_goes_back(self) -> None:
        """No score grows by it, and no ban lasts longer than it said."""
        self.bans.offence(KEY, MalformedMessageError(""), 1000.0)
        ban = self.bans.offence(KEY, MalformedMessageError(""), 0.0)
        assert ban is not None
        self.assertEqual(ban.seconds, limits.BAN_FIRST_SECONDS)
        self.assertIsNone(self.bans.banned(KEY, limits.BAN_FIRST_SECONDS))
        self.bans = Bans()
        for now in (2000.0, 0.0):
            self.assertIsNone(self.bans.offence(KEY, LimitExceededError(""), now))


class PlaceTests(SynchronousTestCase):
    """What an address stands for."""

    def test_cases(self) -> None:
        """Whoever has one IPv6 address has a /64; on a link that would be all neighbours."""
        cases = [
            (HOST, HOST),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:DB8:0:0:1:2:3:4", "2001:db8::/64"),
            ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("::ffff:192.0.2.7", HOST),
            ("64:ff9b::192.0.2.7", HOST),
            ("fe80::7%eth0", "fe80::7"),
            ("fe80::7%2", "fe80::7"),
            ("fe80::8", "fe80::8"),
            ("fd00::7%eth0", "fd00::/64"),
            ("::1", "::1"),
            ("::2", "::/64"),
            ("", ""),
            ("/run/socket", "/run/socket"),
            ("fe80::7%", "fe80::7"),
            ("%eth0", "%eth0"),
            ("2001:db8::/x", "2001:db8::/64"),
        ]
        for host, where in cases:
            with self.subTest(host):
                self.assertEqual(place(host), where)

    def test_of_this_machine(self) -> None:
        """Loopback addresses, and what is no address."""
        for host in ("127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1", "", "/run/socket"):
            self.assertTrue(is_local(host))
        self.assertFalse(is_local(HOST))


class NodeTests(OneNode):
    """A node that keeps an offender out."""

    def come_with(self, secret: bytes) -> Peer:
        """A peer with this node key, through the handshake and greeting."""
        peer = self.come(Peer(True, secret))
        self.world.run(0.1)
        if peer.bye is None:
            peer.hello()
            self.world.run(0.1)
        assert isinstance(peer, Peer)
        return peer

    def test_banned_key(self) -> None:
        """Told why, once the handshake shows who it is; others come in, and after a while it does too."""
        [segment] = Author().write(b"one")
        offender = self.come_with(KEY)
        offender.send(segment._replace(signature=bytes(64)))
        self.world.run(1)
        [banned] = self.site.of(notices.Banned)
        [ban] = self.site.node.bans
        self.assertEqual(ban.peer, banned.peer)
        self.assertIn("not signed by its author", ban.reason)
        self.assertIn("is kept out for 60 s", describe(banned) or "")
        again = self.come_with(KEY)
        assert again.bye is not None
        self.assertEqual(again.bye.code, ByeCode.REFUSED)
        self.assertIn("banned for", again.bye.reason)
        self.assertEqual(again.of(Hello), [])
        self.assertIsNone(self.come_with(OTHER).bye)
        self.world.run(limits.BAN_FIRST_SECONDS)
        self.assertEqual(self.site.node.bans, [])
        self.assertIsNone(self.come_with(KEY).bye)

    def test_unban(self) -> None:
        """The application may know better."""
        offender = self.come_with(KEY)
        for _ in range(2):
            offender.frame(b"\xc1")
            self.world.run(1)
            offender = self.come_with(KEY)
        assert offender.bye is not None
        [ban] = self.site.node.bans
        self.assertTrue(self.site.node.unban(ban.peer))
        self.assertFalse(self.site.node.unban(ban.peer))
        self.assertIsNone(self.come_with(KEY).bye)

    def test_strangers(self) -> None:
        """Bring no ban about, however many come, of whatever kind: members may be behind the same address."""
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", bytes(100), b"\x01" + bytes(48)):
            for _ in range(40):
                self.come(Raw(data))
        self.world.run(1)
        self.assertEqual(self.site.node.bans, [])
        self.assertIsNone(self.come_with(KEY).bye)

    def test_honest_end(self) -> None:
        """Whoever goes without an offence may come back."""
        for _ in range(10):
            peer = self.come_with(KEY)
            peer.send(Ping(1))
            peer.transport.loseConnection()
            self.world.run(1)
        self.assertEqual(self.site.node.bans, [])


class Greeter(Peer):
    """A peer that greets as soon as it can."""

    greeted = False

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.channel.established and not self.greeted:
            self.greeted = True
            self.hello()


class DialTests(OneNode):
    """A node does not dial whom it keeps out, and does again afterwards."""

    def setUp(self) -> None:
        """Somebody listens, whose secrets are taken from a list; the node dials."""
        super().setUp()
        self.secrets = [KEY]
        self.came: list[Peer] = []
        port = self.world.result(answer(self.world.reactor, LISTEN, self.make))
        self.addCleanup(port.stopListening)
        self.dialer = self.site.node.connect(LOCAL.format(port.getHost().port))
        self.world.run(0.1)

    def make(self) -> Peer:
        """The next one at this address."""
        self.came.append(Greeter(False, self.secrets[min(len(self.came), len(self.secrets) - 1)]))
        return self.came[-1]

    def offend(self, peer: Peer) -> None:
        """What cannot be an accident."""
        [segment] = Author().write(b"one")
        peer.send(segment._replace(signature=bytes(64)))
        self.world.run(0.1)

    def assert_dialled_after(self, seconds: float) -> None:
        """Before, there are a few looks at who is there; soon after, it comes in."""
        before = len(self.came)
        self.world.run(seconds - 1)
        looks = self.came[before:]
        self.assertLessEqual(len(looks), 1 + seconds / limits.RECHECK_FIRST_SECONDS)
        self.assertTrue(all(look.bye is not None and look.bye.code == ByeCode.REFUSED for look in looks))
        self.world.run(2 + limits.RECHECK_FIRST_SECONDS)
        self.assertIsNone(self.came[-1].bye)
        self.assertEqual([peer.dialled for peer in self.site.node.peers], [True])

    def test_banned_node(self) -> None:
        """By its key: looked for now and then, and let in when the ban is over."""
        self.offend(self.came[-1])
        self.assert_dialled_after(limits.BAN_FIRST_SECONDS)
        self.offend(self.came[-1])
        self.assert_dialled_after(2 * limits.BAN_FIRST_SECONDS)

    def test_led_to_a_banned_node(self) -> None:
        """By whoever is on the path: who is really there is not kept waiting until that ban is over."""
        for _ in range(8):
            self.offend(self.came[-1])
            for ban in self.site.node.bans:
                self.world.run(ban.seconds + limits.RECHECK_SECONDS)
        self.offend(self.came[-1])
        [ban] = self.site.node.bans
        self.assertGreater(ban.seconds, 10 * limits.RECHECK_SECONDS)
        self.world.run(2 * limits.RECHECK_SECONDS)
        self.secrets = [OTHER]
        self.world.run(limits.RECHECK_SECONDS + 1)
        self.assertEqual([peer.dialled for peer in self.site.node.peers], [True])

    def test_address_found_to_be_banned(self) -> None:
        """Where a name leads to is known only once it is dialled; then it waits, and says why."""
        self.offend(self.came[-1])
        port = self.world.result(answer(self.world.reactor, LISTEN, self.make))
        self.addCleanup(port.stopListening)
        self.site.node.connect(LOCAL.format(port.getHost().port))
        self.world.run(0.1)
        self.assertEqual(len(self.came), 2)
        self.assertIn("banned for 60 s", self.site.of(notices.DialFailed)[-1].reason)
        self.world.run(limits.BAN_FIRST_SECONDS - 2)
        self.assertLessEqual(len(self.came), 2 + 2)
        self.world.run(2 + limits.RECHECK_FIRST_SECONDS)
        self.assertEqual(len(self.site.node.peers), 1)

    def test_banned_while_it_waits(self) -> None:
        """It had gone, came back from its side, and did it there."""
        self.came[-1].transport.loseConnection()
        self.world.run(0.1)
        offender = self.come(Greeter(True, KEY))
        self.world.run(0.1)
        self.offend(offender)
        [ban] = self.site.node.bans
        self.assert_dialled_after(ban.seconds)

    def test_lifted(self) -> None:
        """Is dialled at once; nobody else is dialled twice."""
        self.offend(self.came[-1])
        self.world.run(5)
        [ban] = self.site.node.bans
        self.assertTrue(self.site.node.unban(ban.peer))
        self.world.run(1)
        self.assertEqual(len(self.came), 2)
        self.world.run(2 * limits.BAN_FIRST_SECONDS)
        self.assertEqual(len(self.came), 2)
