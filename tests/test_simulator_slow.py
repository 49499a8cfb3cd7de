"""Ring 4: an honest peer on a slow line, while a member makes us pass on much.

    SLOW_PROOFS=4096 SLOW_AUTHORS=1000000 python -m twisted.trial tests.test_simulator_slow

takes an hour and a gigabyte; ``python -m tests.audit slow-proofs slow-announcements`` does so with real connections.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.messages import Fork, Lazy, Segment
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.patching import patched
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.stranger import Stranger
from tests.test_simulator_forks import author, branch
from tests.test_slow_peers import large_proof

PROOFS = int(os.environ.get("SLOW_PROOFS", 60))
AUTHORS = int(os.environ.get("SLOW_AUTHORS", 3000))
BYTES_PER_SECOND = 1e6
SLOW = Quality(delay=0.05, jitter=0.0, bytes_per_second=BYTES_PER_SECOND)
FAST = Quality(delay=0.001, jitter=0.0, bytes_per_second=1e8)


class SlowTests(SynchronousTestCase):
    """1 MB/s, 100 ms from here and back."""

    def setUp(self) -> None:
        """The hub has the slow peer and the member, and all are at rest."""
        self.cluster = Cluster(1, every=500)
        self.hub, self.slow = self.cluster.add(1), self.cluster.add(0)
        self.cluster.connect(self.slow, self.hub, SLOW)
        self.cluster.net.default = FAST
        self.cluster.start()
        self.member = Stranger(self.cluster, "member")
        self.member.dial(self.hub)
        self.cluster.run(2.0)

    def until_equal(self, most: float) -> None:
        """Both hold the same within so many seconds."""
        end = self.cluster.world.now + most
        while self.hub.heads.clock != self.slow.heads.clock or self.hub.heads.forks != self.slow.heads.forks:
            self.assertLess(self.cluster.world.now, end, "the slow peer does not get on")
            self.cluster.run(1.0)

    def check(self) -> None:
        """No honest node sent another away, or holds anything against it."""
        for node, other in ((self.hub, self.slow), (self.slow, self.hub)):
            held = [
                notice
                for notice in node.notices
                if isinstance(notice, events.PeerRejected | events.PeerDown) and notice.peer == other.id
            ]
            self.assertEqual([n for n in held if getattr(n, "code", None) != ByeCode.DUPLICATE], [])

    def test_proofs(self) -> None:
        """As large as they get: they come at the pace of the line, and news does not wait for them."""
        for number in range(PROOFS):
            proof = large_proof(number)
            self.cluster.checker.may_fork.add(proof.author)
            self.member.say(Fork(proof))
        self.cluster.run(1.0)
        self.hub.append(self.hub.local[0], [b"news"])
        self.cluster.run(5.0)
        self.assertEqual(self.slow.heads.clock.total(), 1)
        self.assertLess(len(self.slow.heads.forks), PROOFS)
        self.until_equal(1.5 * PROOFS * 128e3 / BYTES_PER_SECOND + 10)
        self.assertEqual(len(self.slow.heads.forks), PROOFS)
        self.check()

    def test_announcements(self) -> None:
        """Of more authors than are remembered, to a peer that asked for announcements only."""
        narrow = {(limits, "MAX_OWED_AUTHORS"): 200, (limits, "CONTROL_WINDOW_BYTES"): 2048}
        with patched({} if AUTHORS > limits.MAX_OWED_AUTHORS else narrow):
            [session] = [s for s in self.hub.replica.core.sessions.values() if s.peer == self.slow.id]
            self.hub.replica._on_message[Lazy](session, Lazy((None,)))
            for number in range(1, AUTHORS + 1):
                [entry] = branch(author(number), b"", 1)
                assert isinstance(entry, Segment)
                self.cluster.checker.sign(entry)
                self.member.say(entry)
            self.cluster.run(1.0)
            self.until_equal(300.0 + AUTHORS / 100)
        self.assertEqual(len(self.slow.heads.clock), AUTHORS)
        self.check()
