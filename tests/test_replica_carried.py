"""Ring 1 and 2: who comes back goes on with the allowance that it had left."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowances
from gossiplog.gossip.messages import Item, Range, RangeKind, Ranges, Want, WantItem
from gossiplog.log.segment import Head
from tests.replicacase import ANN, ReplicaCase, log

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
        self.assertTrue(again.leaves(11_000, 2.0))
        self.assertFalse(again.leaves(11_001, 2.0))
        self.assertTrue(allowances.open(B, 2.0).leaves(limits.ALLOWANCE_POINTS, 2.0))
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
        again = [allowances.open(bytes([number]), 0.0) for number in range(4)]
        self.assertEqual([each.leaves(10_001, 0.0) for each in again], [False, True, False, False])


class ReturningTests(ReplicaCase):
    """Peer 0 costs much, goes, and comes back."""

    sessions = 1

    def back(self, after: float = 0.0) -> None:
        """It comes back, with the same key."""
        self.now += after
        if 0 in self.replica.core.sessions:
            self.do(events.Closed(0))
        self.open(0)

    def flood(self, seconds: float = 0.0) -> int:
        """Lists without end, whenever they are read; how many were, in so many seconds."""
        items = tuple(Item(number.to_bytes(32, "big"), 1, bytes(8)) for number in range(1024))
        count = 0
        until = self.now + seconds
        while count < 4000:
            while self.is_waited_for(0):
                if self.now >= until:
                    return count
                self.tick(limits.PAUSE_SECONDS)
            count += 1
            effects = self.hear(0, Ranges(2 * count + 1, (Range(b"", RangeKind.DIFFERENCES, items=items),)))
            self.assertFalse(any(isinstance(e, events.End | events.PeerRejected) for e in effects))
        return count

    def few_points(self) -> None:
        """It has 3,000 points."""
        patch.object(limits, "ALLOWANCE_POINTS", 3000).start()
        self.addCleanup(patch.stopall)
        self.replica.core.sessions[0].allowance._points = 3000.0

    def test_no_fresh_allowance(self) -> None:
        """However often; what time brings is all there is."""
        self.few_points()
        self.assertTrue(300 < self.flood() < 350)
        again = []
        for _ in range(5):
            self.back(after=1.0)
            again.append(self.flood())
        self.assertLess(sum(again), 5 * (limits.ALLOWANCE_POINTS_PER_SECOND / 9 + 1))

    def test_who_costs_too_much_is_read_at_the_pace_of_the_allowance(self) -> None:
        """For as long as it likes; it is never sent away, since a third party may be the cause; garbage is garbage."""
        self.few_points()
        self.flood()
        self.assertTrue(0.9 < self.flood(10.0) * 9 / (10 * limits.ALLOWANCE_POINTS_PER_SECOND) < 1.1)
        bad = log(ANN, 1)[0]._replace(signature=bytes(64))
        effects = self.hear(0, bad)
        self.assertEqual(sum(isinstance(e, events.PeerRejected) for e in effects), 1)

    def test_reading_goes_on(self) -> None:
        """When time has brought what was missing, and not if the store is behind; who is waited for is not silent."""
        self.do(events.Toiled(0, limits.ALLOWANCE_POINTS + limits.ALLOWANCE_POINTS_PER_SECOND))
        self.assertNotIn(events.Reading(0, True), self.tick(0.9))
        with patch.object(limits, "PENDING_WRITE_BYTES", 0):
            [one] = log(ANN, 1)
            self.assertNotIn(events.Reading(0, False), self.hear(0, one))
        self.assertNotIn(events.Reading(0, True), self.tick(5.0))
        self.assertIn(events.Reading(0, True), self.commit(one))
        allowance = self.replica.core.sessions[0].allowance
        allowance.spend(limits.ALLOWANCE_POINTS + limits.ALLOWANCE_POINTS_PER_SECOND * 500)
        self.do(events.Heard(0))
        effects = self.tick(400.0)
        self.assertFalse(any(isinstance(effect, events.End) for effect in effects))

    def test_nothing_is_done_for_who_is_waited_for(self) -> None:
        """Neither read from disk nor compared; it goes on when reading does."""
        [one] = log(ANN, 1)
        self.commit(one)
        for message, kind in (
            (Want((WantItem(ANN.author, 1),)), events.Load),
            (Ranges(1, (Range(b"", RangeKind.LIST),)), events.Send),
        ):
            with self.subTest(kind.__name__):
                self.replica.core.sessions[0].allowance.spend(limits.ALLOWANCE_POINTS * 1.1)
                effects = self.hear(0, message) + self.do(events.Writable(0))
                self.assertFalse(any(isinstance(effect, kind) for effect in effects))
                self.assertTrue(any(isinstance(effect, kind) for effect in self.tick(20.0)))

    def test_lists_at_the_pace_of_the_allowance(self) -> None:
        """A peer with a line that is cut again and again is told all the same what we hold."""
        for number in range(1, 20_000):
            self.clock.replace(number.to_bytes(32, "big"), Head(1, bytes(32)))
        self.replica.core.sessions[0].allowance._points = 2.0
        self.back()
        effects = self.hear(0, Ranges(1, (Range(b"", RangeKind.LIST),)))
        listed = 0
        for _ in range(60):
            said = self.sent(effects, Ranges)
            listed += sum(len(part.items) for _, m in said for part in m.ranges)  # type: ignore[union-attr]
            effects = self.tick(limits.PAUSE_SECONDS) + self.do(events.Writable(0))
        self.assertIn(0, self.replica.core.sessions)
        self.assertEqual(listed, 19_999)
