"""Rings 1 and 6: honest peers on slow lines, while a third one makes us pass on much."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.messages import (
    Fork,
    Have,
    HaveItem,
    Interest,
    Item,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
)
from gossiplog.gossip.outbox import CONTROL_ITEM_BYTES
from gossiplog.gossip.session import Service
from gossiplog.log.body import encode_body
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from gossiplog.notices import PeerDown, PeerRejected
from tests.netcase import LOCAL, Peer, Site, World
from tests.replicacase import ANN, log
from tests.test_following import FollowingCase


def large_proof(number: int) -> ForkProof:
    """As large as proofs are: 127 KB, of an author who made it in a moment."""
    pair = Keypair(number.to_bytes(32, "big"))
    start = Head(0, genesis_id(pair.author))
    left = build(pair, start, [encode_body(0, b"left")])[0]
    right = build(pair, start, [encode_body(0, b"right"), *[encode_body(0, b"")] * 3700])[0]
    proof = build_proof(left[0], right[0])
    assert proof is not None
    return proof


def author(number: int) -> bytes:
    """One of many."""
    return number.to_bytes(32, "big")


class WindowTests(FollowingCase):
    """Of control messages so much goes out before the transport took it; the rest when it did."""

    most = limits.CONTROL_WINDOW_BYTES // CONTROL_ITEM_BYTES + 1

    def drained(self, number: int, kind: type[Message], times: int = 50) -> list[Any]:
        """What goes out when the transport takes everything again and again."""
        return [m for _ in range(times) for _, m in self.sent(self.do(events.Writable(number)), kind)]

    def test_announcements(self) -> None:
        """As of then."""
        for number in range(3000):
            self.replica.announcer.announce(self.replica.core.sessions[1], author(number))
        effects = self.tick(1.0)
        first = [item for _, have in self.sent(effects, Have) for item in have.items]  # type: ignore[union-attr]
        self.assertLessEqual(len(first), self.most)
        self.assertGreater(len(first), self.most // 2)
        self.hear(0, Have((HaveItem(0, 7, author(2999)),)))
        rest = [item for have in self.drained(1, Have) for item in have.items]
        self.assertEqual([item.author for item in first + rest], [author(number) for number in range(3000)])

    def test_names(self) -> None:
        """Nothing is compared before they are said."""
        names = [author(number) for number in range(3000)]
        effects = self.choose("block", *names)
        said = [m for n, m in self.sent(effects, Refuse) if n == 1]
        self.assertLessEqual(sum(len(m.authors) for m in said), self.most)  # type: ignore[union-attr]
        self.assertEqual(self.sent(self.choose("unblock", names[-1]), Lazy), [])
        self.replica.catch_up.start(self.replica.core.sessions[1])
        self.assertEqual(self.sent(self.do(events.Tick()), Ranges), [])
        said += (rest := self.drained(1, Refuse, 4))
        self.assertEqual([name for m in said for name in m.authors], names[:-1])  # type: ignore[union-attr]
        self.assertGreater(len(rest), 1)
        self.assertEqual(self.replica.catch_up.of[self.replica.core.sessions[1]].owes, False)

    def test_names_unsaid(self) -> None:
        """That an author is not wanted need not be said before the peer shows something of it."""
        with patch.object(limits, "MAX_NAMED_AUTHORS", 900):
            self.choose("block", *(author(number) for number in range(500)))
            self.drained(1, Refuse)
            self.replica.core.sessions[1].outbox.control_credit_bytes = 0
            self.choose("unblock", *(author(number) for number in range(500)))
            self.choose("block", *(author(number) for number in range(500, 900)))
            names = self.replica.announcer.of[self.replica.core.sessions[1]].names
            self.assertEqual(len(names), 900)
            effects = self.choose("block", author(900)) + self.tick(0.0)
        self.assertEqual([e for e in effects if isinstance(e, events.End)], [])
        self.assertEqual(sum(len(m.authors) for m in self.drained(1, Refuse)), 0)

    def test_too_many_names_unsaid(self) -> None:
        """Who cannot be told what we want is given up, and nothing is held against it."""
        self.begin(Choices(self.heads.local, Interest.WANTED))
        for number in range(3):
            self.open(number)
        with patch.object(limits, "MAX_NAMED_AUTHORS", 900):
            self.choose("follow", *(author(number) for number in range(500)))
            self.drained(1, Lazy)
            self.replica.core.sessions[1].outbox.control_credit_bytes = 0
            self.choose("unfollow", *(author(number) for number in range(500)))
            self.choose("follow", *(author(number) for number in range(500, 900)))
            self.tick(0.0)
            self.assertIn(1, self.replica.core.sessions)
            effects = self.choose("follow", author(900)) + self.tick(0.0)
        self.assertEqual([e.code for e in effects if isinstance(e, events.End)], [ByeCode.LIMIT])
        self.assertEqual([e for e in effects if isinstance(e, events.PeerRejected)], [])
        self.assertEqual([*self.replica.core.sessions], [0, 2])

    def test_names_taken_back(self) -> None:
        """Of what changed back before it was said nothing is said, or kept: others may make it do so for ever."""
        self.replica.core.sessions[1].outbox.control_credit_bytes = 0
        for number in range(50):
            self.choose("block", author(number))
            self.choose("unblock", author(number))
        self.choose("block", author(50))
        self.assertEqual(len(self.replica.announcer.of[self.replica.core.sessions[1]].names), 1)
        self.assertEqual(self.drained(1, Refuse), [Refuse((author(50),))])
        self.replica.core.sessions[1].outbox.control_credit_bytes = 0
        self.choose("unblock", author(50))
        self.assertEqual(self.drained(1, Lazy), [Lazy((author(50),))])

    def test_questions(self) -> None:
        """About authors of whom the peer holds another entry."""
        items = []
        for number in range(3000):
            self.clock.replace(author(number), Head(1, bytes(32)))
            items.append(Item(author(number), 1, b"another!"))
        differences = Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=tuple(items)),))
        wants: list[Any] = [m for _, m in self.sent(self.hear(1, differences), Want)]
        self.assertLessEqual(sum(len(want.items) for want in wants), self.most)
        wants += self.drained(1, Want)
        self.assertEqual([item.author for want in wants for item in want.items], [i.author for i in items])

    def test_pings(self) -> None:
        """The last one is answered."""
        self.replica.core.sessions[1].outbox.control_credit_bytes = 32
        effects = self.hear(1, Ping(1), Ping(2), Ping(3))
        self.assertEqual([m.token for _, m in self.sent(effects, Pong)], [1])  # type: ignore[union-attr]
        self.assertEqual([m.token for m in self.drained(1, Pong)], [3])

    def test_what_saves_a_copy(self) -> None:
        """Is not said to who does not read."""
        [one] = log(ANN, 1)
        self.hear(0, one)
        self.assertEqual(len(self.sent(self.hear(1, one), Lazy)), 1)
        self.replica.core.sessions[1].outbox.control_credit_bytes = 0
        self.assertEqual(self.sent(self.hear(1, one), Lazy), [])
        self.assertEqual(self.drained(1, Lazy), [])

    def test_more_than_is_remembered(self) -> None:
        """A reconcile finds it."""
        with patch.object(limits, "MAX_OWED_AUTHORS", 2):
            for number in range(3):
                self.replica.announcer.announce(self.replica.core.sessions[1], author(number))
        self.assertEqual(len(self.drained(1, Ranges, 1)), 1)


class SlowCase(SynchronousTestCase):
    """A node, an honest peer on a slow line, and a member with a fast one."""

    rate = 64_000.0

    def setUp(self) -> None:
        """All are connected, and in sync."""
        self.world = World(latency=0.005)
        self.hub, self.slow = self.world.site("hub"), self.world.site("slow")
        self.hub.append(b"something")
        self.hub.listen()
        self.slow.node.connect(LOCAL.format(self.hub.port))
        self.world.run(1)
        [self.link] = self.hub.node._driver.links.values()
        self.side: Any = self.link.transport
        self.side.way.quality = self.side.way.quality._replace(bytes_per_second=self.rate)
        self.member: Peer = self.world.peer(self.hub, secret=b"\x09" * 32)
        self.member.hello()
        self.world.run(1)

    def tearDown(self) -> None:
        """Nothing is left."""
        self.assertEqual(self.world.close(), [])

    def flood(self, *messages: Message, seconds: float) -> None:
        """The member sends all of these, and so much time passes."""
        for start in range(0, len(messages), 50):
            self.member.send(*messages[start : start + 50])
            self.world.run(0.1)
        self.world.run(seconds)

    def check(self, sites: tuple[Site, ...]) -> None:
        """Nobody was sent away, and both hold the same."""
        for site in sites:
            self.assertEqual(site.of(PeerDown), [])
            self.assertEqual(site.of(PeerRejected), [])
            self.assertEqual(site.node.bans, [])
        self.assertEqual(self.hub.store.clock, self.slow.store.clock)
        self.assertEqual(self.hub.store.forks, self.slow.store.forks)


class ProofTests(SlowCase):
    """Somebody forks many authors."""

    def test_many_large_ones(self) -> None:
        """They take two minutes on the line, and the peer hears of everything else meanwhile."""
        proofs = [large_proof(number) for number in range(60)]
        self.flood(*map(Fork, proofs), seconds=5)
        self.assertEqual(len(self.hub.store.forks), 60)
        self.assertLess(len(self.slow.store.forks), 10)
        self.hub.append(b"news")
        self.world.run(10)
        self.assertEqual(self.slow.store.clock.seq(self.hub.author()), 2)
        self.world.run(60 * 127_000 / self.rate + 10)
        self.assertEqual(len(self.slow.store.forks), 60)
        self.check((self.hub, self.slow))
        self.assertLess(self.side.largest_unsent_bytes, 4 * limits.OUTPUT_WINDOW_BYTES)


class AnnouncementTests(SlowCase):
    """Somebody makes up many authors."""

    rate = 2_000.0

    def entries(self, count: int) -> list[Segment]:
        """One of each of so many authors."""
        pairs = [Keypair(number.to_bytes(32, "big")) for number in range(1, count + 1)]
        return [build(pair, Head(0, genesis_id(pair.author)), [encode_body(0, b"")])[0][0] for pair in pairs]

    def test_more_than_are_remembered(self) -> None:
        """What is announced, and forgotten before it could be, is found by comparing."""
        entries = self.entries(1500)
        with (
            patch.object(limits, "MAX_OWED_AUTHORS", 100),
            patch.object(limits, "CONTROL_WINDOW_BYTES", 4096),
        ):
            replica = self.hub.node._driver.replica
            session = replica.core.sessions[self.link.session or 0]
            session.serve(None, Service.LAZY)
            self.flood(*entries, seconds=1)
            self.assertEqual(len(self.hub.store.clock), 1501)
            self.assertLess(len(self.slow.store.clock), 1000)
            self.assertLessEqual(len(replica.announcer.owed(session)), 100)
            self.world.run(300)
        self.check((self.hub, self.slow))
