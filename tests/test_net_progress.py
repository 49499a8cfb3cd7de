"""Ring 1 and 6: how far a catch-up is, in figures, in words, and as notices."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip.pull_scheduler import PullScheduler
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head
from gossiplog.net.progress import INTERVAL_SECONDS, Meter, in_words
from gossiplog.notices import Peer, PeerProgress, Progress
from tests.netcase import World

ANN, BOB = b"a" * 32, b"b" * 32


class MeterTests(SynchronousTestCase):
    """The figures."""

    def test_known_is_what_the_best_informed_peer_claims(self) -> None:
        """Two peers' claims of one author are not added up; each peer has its own figure."""
        clock = Clock({ANN: Head(10, bytes(32))})
        schedule = PullScheduler(clock.seq)
        peers = {}
        for session, claims in enumerate(({ANN: 110}, {ANN: 60, BOB: 5})):
            schedule.add(session)
            peers[session] = Peer(bytes([session]) * 32, "tcp:x:1", "test", True)
            for author, seq in claims.items():
                schedule.claim(session, author, seq)
        meter = Meter(clock.total, schedule)
        progress = meter.read(peers)
        self.assertEqual((progress.held, progress.known, progress.seconds_left), (10, 115, None))
        self.assertEqual(progress.peers, (PeerProgress(peers[0], 100), PeerProgress(peers[1], 55)))
        self.assertTrue(meter.gained(20, 1.0))
        self.assertFalse(meter.gained(20, 1.0 + INTERVAL_SECONDS / 2))
        clock.replace(ANN, Head(110, bytes(32)))
        schedule.durable(ANN, 110)
        self.assertTrue(meter.gained(60, 2.0))
        progress = meter.read(peers)
        self.assertEqual((progress.held, progress.known), (110, 115))
        self.assertAlmostEqual(progress.rate, 100.0)
        self.assertAlmostEqual(progress.seconds_left or 0.0, 0.05)

    def test_words(self) -> None:
        """The progress line."""
        self.assertEqual(in_words(Progress(5, 5, 0.0, 0.0, ())), "all 5 known entries held")
        self.assertEqual(in_words(Progress(0, 8, 0.0, None, ())), "held 0 of 8 entries (0 %)")
        self.assertEqual(
            in_words(Progress(250_000, 1_000_000, 5000.0, 150.0, ())),
            "held 250,000 of 1,000,000 entries (25 %), 5,000/s, 150 s left",
        )


class NoticeTests(SynchronousTestCase):
    """What an application is told."""

    def test_told_until_everything_is_held(self) -> None:
        """The last notice of a catch-up says that nothing is to come; news afterwards is no progress."""
        world = World()
        a, b = world.site("a"), world.site("b")
        for number in range(30):
            a.append(bytes([number]) * 20_000)
        b.node.connect(a.listen())
        world.run(5)
        told = b.of(Progress)
        self.assertGreater(len(told), 0)
        self.assertEqual((told[-1].held, told[-1].known, told[-1].seconds_left), (30, 30, 0.0))
        self.assertTrue(all(0 < each.held <= each.known <= 30 for each in told))
        self.assertEqual(b.node.progress.peers, (PeerProgress(b.node.peers[0], 0),))
        a.append(b"news")
        world.run(1)
        self.assertEqual(len(b.of(Progress)), len(told))
        self.assertEqual(world.close(), [])
