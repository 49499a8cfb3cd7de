"""Ring 1 and 2: who comes back goes on with the allowance that it had left."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowances
from gossiplog.gossip.messages import Item, Message, Ping, Range, RangeKind, Ranges
from gossiplog.log.segment import Head
from tests.test_replica_exchange import ANN, ReplicaCase, log

A, B = b"a" * 32, b"b" * 32


class AllowancesTests(SynchronousTestCase):
    """The allowances of all peers."""

    def test_who_comes_back(self) -> None:
        """Has what it had left, and what time brought; until it is whole, and then nothing is remembered."""
        allowances = Allowances()
        allowances.open(A, 0.0).spend(20_000)
        allowances.open(B, 0.0)
        allowances.close(A, 1.0)
        allowances.close(B, 1.0)
        self.assertEqual(len(allowances), 1)
        again = allowances.open(A, 2.0)
        self.assertTrue(again.is_worn and again.leaves(11_000, 2.0))
        self.assertFalse(again.leaves(11_001, 2.0))
        self.assertFalse(allowances.open(B, 2.0).is_worn)
        allowances.close(A, 2.0 + 20_000 / limits.ALLOWANCE_POINTS_PER_SECOND)
        allowances.close(B, 2.0)
        self.assertEqual(len(allowances), 0)

    def test_two_sessions_at_once(self) -> None:
        """Have one allowance, whichever ends first."""
        allowances = Allowances()
        first, second = allowances.open(A, 0.0), allowances.open(A, 0.0)
        self.assertIs(first, second)
        allowances.close(A, 0.0)
        first.spend(limits.ALLOWANCE_POINTS)
        self.assertIs(allowances.open(A, 0.0), first)
        allowances.close(A, 0.0)
        allowances.close(A, 0.0)
        self.assertFalse(allowances.open(A, 0.0).leaves(1, 0.0))

    def test_bound(self) -> None:
        """Beyond, the one is forgotten that was left for longest; none that has a session."""
        allowances = Allowances()
        with patch.object(limits, "MAX_ALLOWANCES", 2):
            for number in range(4):
                allowances.open(bytes([number]), 0.0).spend(20_000)
            for number in (1, 2, 3):
                allowances.close(bytes([number]), 0.0)
        self.assertEqual(len(allowances), 3)
        worn = [allowances.open(bytes([number]), 0.0).is_worn for number in range(4)]
        self.assertEqual(worn, [True, False, True, True])


class ReturningTests(ReplicaCase):
    """Peer 0 costs much, goes, and comes back."""

    sessions = 1

    def back(self, after: float = 0.0) -> None:
        """It comes back, with the same key."""
        self.now += after
        if 0 in self.replica.sessions:
            self.do(events.Closed(0))
        self.open(0)

    def flood(self, most: int) -> tuple[int, list[events.Effect]]:
        """Lists without end; how many were taken, and what came of the last."""
        items = tuple(Item(number.to_bytes(32, "big"), 1, bytes(8)) for number in range(1024))
        for count in range(most):
            lists = Ranges(2 * count + 1, (Range(b"", RangeKind.DIFFERENCES, items=items),))
            effects = self.hear(0, lists)
            if any(isinstance(effect, events.End) for effect in effects):
                return count, effects
        return most, []

    def test_no_fresh_allowance(self) -> None:
        """However often; what time brings is all there is."""
        patch.object(limits, "ALLOWANCE_POINTS", 3000).start()
        self.addCleanup(patch.stopall)
        self.replica.sessions[0].allowance._points = 3000.0
        first, _ = self.flood(4000)
        self.assertLess(first, 600)
        again = []
        for _ in range(5):
            self.back(after=1.0)
            again.append(self.flood(4000)[0])
        self.assertLess(sum(again), 5 * limits.ALLOWANCE_POINTS_PER_SECOND / 8)

    def test_it_may_be_the_line(self) -> None:
        """Who has none left at once is sent away, and nothing is held against it; garbage is garbage."""
        patch.object(limits, "ALLOWANCE_POINTS", 3000).start()
        self.addCleanup(patch.stopall)
        self.replica.sessions[0].allowance._points = 3000.0
        _, whole = self.flood(4000)
        self.back(after=2.0)
        _, worn = self.flood(4000)
        for effects, offences in ((whole, 1), (worn, 0)):
            self.assertEqual([e.code for e in effects if isinstance(e, events.End)], [ByeCode.LIMIT])
            self.assertEqual(sum(isinstance(e, events.PeerRejected) for e in effects), offences)
        self.back(after=2.0)
        bad = log(ANN, 1)[0]._replace(signature=bytes(64))
        effects = self.hear(0, bad)
        self.assertEqual(sum(isinstance(e, events.PeerRejected) for e in effects), 1)

    def test_lists_at_the_pace_of_the_allowance(self) -> None:
        """A peer with a line that is cut again and again is told all the same what we hold."""
        for number in range(1, 20_000):
            self.clock.replace(number.to_bytes(32, "big"), Head(1, bytes(32)))
        self.replica.sessions[0].allowance._points = 100.0
        self.back()
        said: list[Message] = [
            m for _, m in self.sent(self.hear(0, Ranges(1, (Range(b"", RangeKind.LIST),))), Ranges)
        ]
        self.assertEqual(said, [])
        self.assertIn(0, self.replica.sessions)
        listed = 0
        for _ in range(60):
            effects = self.tick(1.0) + self.do(events.Writable(0)) + self.hear(0, Ping(1))
            listed += sum(len(p.items) for _, m in self.sent(effects, Ranges) for p in m.ranges)  # type: ignore[union-attr]
        self.assertIn(0, self.replica.sessions)
        self.assertEqual(listed, 19_999)
