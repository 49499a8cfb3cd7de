"""Ring 4: what gossip costs in steady state, and how it is measured."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.spread import Spread, distances
from gossiplog.testing.sim.steady import Steady, measure
from gossiplog.testing.sim.topologies import regular


class SteadyTests(SynchronousTestCase):
    """A small network at an even pace."""

    def test_everything_arrives_and_is_counted(self) -> None:
        """Every entry of the window reaches every node; no copy and no hop is missed."""
        figures, delivery = measure(Steady(nodes=12, links=4, authors=12, warm_up=10.0, window=10.0), seed=3)
        self.assertGreater(delivery.entries, 60)
        self.assertEqual(delivery.undelivered, 0)
        self.assertTrue(1.0 <= figures.copies <= 4.0, figures.copies)
        self.assertTrue(1.0 < delivery.hops_mean < delivery.hops_max < 12)
        self.assertTrue(0.9 < delivery.late_mean <= delivery.late_within(0.99), delivery.late_mean)
        self.assertAlmostEqual(
            figures.control_share * figures.new_bytes, sum(figures.bytes.values()) - figures.bytes["Segment"]
        )

    def test_the_bars(self) -> None:
        """One copy, little talk, nearly the shortest path; ``gossiplog simulate --steady`` is the larger network."""
        figures, delivery = measure(Steady(nodes=30, authors=40, warm_up=20.0, window=5.0), seed=1)
        self.assertGreater(delivery.entries, 150)
        self.assertEqual(delivery.undelivered, 0)
        self.assertLessEqual(figures.copies, 1.1)
        self.assertLessEqual(figures.control_share, 0.15)
        self.assertLessEqual(delivery.late_within(0.99), 2.0)

    def test_same_seed_same_figures(self) -> None:
        """Also with verification shared between the nodes."""
        steady = Steady(nodes=6, links=3, authors=3, warm_up=2.0, window=3.0)
        once, again = measure(steady, seed=4), measure(steady, seed=4)
        self.assertEqual((once.delivery, once.figures.bytes), (again.delivery, again.figures.bytes))


class SpreadTests(SynchronousTestCase):
    """A line of three, of which every figure can be worked out by hand."""

    def setUp(self) -> None:
        """Links of 10 and 30 ms, without jitter."""
        self.cluster = Cluster(1)
        self.nodes = [self.cluster.add() for _ in range(3)]
        for number, delay in enumerate((0.01, 0.03)):
            self.cluster.connect(*self.nodes[number : number + 2], Quality(delay, 0.0, 1e9))
        self.cluster.start()
        self.cluster.run(1.0)
        self.spread = self.cluster.figures.spread = Spread()

    def test_distances(self) -> None:
        """Sums of delays over the shortest path."""
        found = distances(self.cluster.net, "n0")
        self.assertEqual(
            {name: round(seconds, 6) for name, seconds in found.items()}, {"n0": 0, "n1": 0.01, "n2": 0.04}
        )

    def test_hops_and_lateness(self) -> None:
        """One hop and two; not later than the shortest path."""
        self.nodes[0].append(self.nodes[0].local[0], [b"one", b"two"])
        self.cluster.run(1.0)
        report = self.spread.report(self.cluster.net, 3)
        self.assertEqual(
            (report.entries, report.undelivered, report.hops_mean, report.hops_max), (2, 0, 1.5, 2)
        )
        self.assertAlmostEqual(report.late_mean, 1.0, places=3)
        self.assertAlmostEqual(report.seconds_mean, 0.04, places=3)

    def test_what_does_not_arrive(self) -> None:
        """It is said, and not averaged away."""
        self.cluster.partition(self.nodes[:2], self.nodes[2:])
        self.nodes[0].append(self.nodes[0].local[0], [b"one"])
        self.cluster.run(1.0)
        report = self.spread.report(self.cluster.net, 3)
        self.assertEqual((report.entries, report.undelivered, report.late), (1, 1, ()))


class TopologyTests(SynchronousTestCase):
    """Networks in which everyone has as many neighbours."""

    def test_regular(self) -> None:
        """Each node has its links, none twice, and everyone is reached."""
        for count, links in ((3, 2), (4, 3), (7, 6), (50, 6), (200, 5)):
            edges = regular(count, links, Random(count))
            self.assertEqual(len({frozenset(edge) for edge in edges}), count * links // 2)
            near: dict[int, set[int]] = {number: set() for number in range(count)}
            for a, b in edges:
                near[a].add(b)
                near[b].add(a)
            self.assertEqual({len(others) for others in near.values()}, {links})
            reached, todo = {0}, [0]
            while todo:
                new = near[todo.pop()] - reached
                reached |= new
                todo.extend(new)
            self.assertEqual(len(reached), count)

    def test_impossible(self) -> None:
        """More links than others, or half a link."""
        for count, links in ((3, 3), (5, 3), (5, 1)):
            self.assertRaises(ValueError, regular, count, links, Random(1))
