"""Ring 1: whose turn it is."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip.fair_order import FairOrder, Share


class OrderTests(SynchronousTestCase):
    """Of some who always wait, and one who does as the test says."""

    def setUp(self) -> None:
        self.order: FairOrder[str] = FairOrder(1.0)
        self.shares = {name: Share() for name in "abcde"}
        self.mine = Share()
        for name in self.shares:
            self.order.put(name, self.shares[name])

    def turns(self, count: int, amount: float = 1.0) -> str:
        """So many, in which each takes so much and waits again; I, who am "m", do not."""
        taken = ""
        for _ in range(count):
            who = self.order.take()
            taken += who
            if who in self.shares:
                self.order.took(self.shares[who], amount)
                self.order.put(who, self.shares[who])
            else:
                self.order.took(self.mine, amount)
        return taken

    def test_each_as_much(self) -> None:
        """Whatever one turn takes."""
        taken: Counter[str] = Counter()
        for turn in range(1000):
            who = self.order.take()
            amount = 1.0 if who in "ab" else 2.0 + turn % 3
            taken[who] += amount  # type: ignore[assignment]
            self.order.took(self.shares[who], amount)
            self.order.put(who, self.shares[who])
        self.assertLess(max(taken.values()) - min(taken.values()), 6.0)

    def test_who_took_nothing_saves_up_a_turn(self) -> None:
        """However long it was silent, it then takes as much as the others."""
        self.order.put("m", self.mine)
        self.turns(6)
        self.turns(500)
        taken = ""
        for _ in range(60):
            self.order.put("m", self.mine)
            taken += self.turns(1)
            while taken[-1] != "m":
                taken += self.turns(1)
        self.assertEqual(taken[0], "m")
        self.assertLessEqual(taken[:60].count("m"), 12)

    def test_what_is_taken_without_a_turn(self) -> None:
        """Counts; while nobody waits it is taken from nobody, and is no reason to wait later."""
        self.order = FairOrder(1.0)
        for _ in range(100):
            self.order.took(self.mine, 1.0)
        self.shares = {name: Share() for name in "abcde"}
        for name, share in self.shares.items():
            self.order.put(name, share)
        self.order.put("m", self.mine)
        self.assertIn("m", self.turns(2))
        for _ in range(10):
            self.order.took(self.mine, 1.0)
        self.order.put("m", self.mine)
        self.assertNotIn("m", self.turns(45))

    def test_one_at_a_time_is_new(self) -> None:
        """The others wait as who had a turn, and so does the next until that is so long ago."""
        self.turns(50)
        for name in "xyz":
            self.shares[name] = Share()
            self.order.enter(self.shares[name])
            self.order.put(name, self.shares[name])
        taken = self.turns(9)
        self.assertLessEqual(taken.index("x"), 1)
        self.assertGreaterEqual(min(taken.index("y"), taken.index("z")), 5)
        self.turns(20)
        self.shares["w"] = Share()
        self.order.put("w", self.shares["w"])
        taken = self.turns(9)
        self.assertLess(taken.index("w"), taken.index("b"))

    def test_removed(self) -> None:
        """Who goes has no turn any more."""
        self.order.remove("c")
        self.assertEqual(sorted(self.turns(4)), [*"abde"])
        self.assertEqual(len(self.order), 4)
