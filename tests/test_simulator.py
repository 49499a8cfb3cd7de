"""Ring 4: random networks with random faults; one seed reproduces any failure.

Run one by hand: ``python -m gossiplog.testing.sim.simulator SEED``.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError
from gossiplog.testing.sim import faults, scenario, simulator
from gossiplog.testing.sim import saved as saving
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.topologies import TOPOLOGIES

REGRESSIONS = Path(__file__).parent / "regressions"

SEEDS = 200
PARTS = 8


class RandomTests(SynchronousTestCase):
    """Nothing that always holds is ever broken, and every network comes to rest in agreement."""

    def check(self, part: int) -> None:
        """Run every so manieth seed."""
        for seed in range(part, SEEDS, PARTS):
            done = simulator.check(seed)
            self.assertGreater(done.world.events, 50)
            if seed < PARTS:
                again = simulator.run(scenario.draw(seed))
                self.assertEqual(again.world.trace, done.world.trace, f"seed {seed} gives two traces")

    def test_clocks_below_zero(self) -> None:
        """A clock may begin anywhere, and be set back."""
        for seed in range(6):
            drawn = scenario.draw(seed)
            simulator.run(drawn._replace(clocks=((-1000.0, 1.0),) * len(drawn.writers)))

    def test_seeds_0(self) -> None:
        """Seeds 0, 8, 16, ..."""
        self.check(0)

    def test_seeds_1(self) -> None:
        """Seeds 1, 9, 17, ..."""
        self.check(1)

    def test_seeds_2(self) -> None:
        """Seeds 2, 10, 18, ..."""
        self.check(2)

    def test_seeds_3(self) -> None:
        """Seeds 3, 11, 19, ..."""
        self.check(3)

    def test_seeds_4(self) -> None:
        """Seeds 4, 12, 20, ..."""
        self.check(4)

    def test_seeds_5(self) -> None:
        """Seeds 5, 13, 21, ..."""
        self.check(5)

    def test_seeds_6(self) -> None:
        """Seeds 6, 14, 22, ..."""
        self.check(6)

    def test_seeds_7(self) -> None:
        """Seeds 7, 15, 23, ..."""
        self.check(7)


class RegressionTests(SynchronousTestCase):
    """Scenarios that failed once, or that fail when a rule is taken away; each file says which."""

    def test_all(self) -> None:
        """Everything holds in every one."""
        paths = sorted(REGRESSIONS.glob("*.json"))
        self.assertGreaterEqual(len(paths), 3)
        for path in paths:
            try:
                simulator.run(saving.load(path))
            except InvariantError as error:
                self.fail(f"{path.name}: {error}")

    def test_saved_and_loaded(self) -> None:
        """What is read is what was written."""
        path = Path(self.mktemp())
        for seed in range(20):
            saving.save(path, scenario.draw(seed), "a line")
            self.assertEqual(saving.load(path), scenario.draw(seed))

    def test_files_that_are_no_scenario(self) -> None:
        """One typed error, whatever is wrong."""
        path = Path(self.mktemp())
        saving.save(path, scenario.draw(0))
        good = json.loads(path.read_text())
        wrong = [
            {"edges": [[0, 99]]},
            {"faults": [["no such kind", 0, [0], 1]]},
            {"writes": [[0.0, 0, 99, [1]]]},
            {"writes": [[0.0]]},
            {"clocks": []},
            {"qualities": []},
            {"writers": 3},
            {"surplus": 1},
            {"seed": "1"},
            {"tight": 1},
            {"shared": [0, 99]},
            {"writers": [-1, *good["writers"][1:]]},
            {"starts": [[], *good["starts"][1:]]},
            {"starts": [float("inf"), *good["starts"][1:]]},
            {"writes": [[float("nan"), *good["writes"][0][1:]]]},
            {"writes": [[*good["writes"][0][:3], ["1"]]]},
            {"writes": [[*good["writes"][0][:3], [-1]]]},
            {"writes": [[*good["writes"][0][:3], [1 << 20]]]},
            {"faults": [["cut", 0.0, [0], 1.0]]},
            {"faults": [["crash", 0.0, [], 1.0]]},
            {"faults": [[[], 0.0, [0], 1.0]]},
        ]
        for text in ("", "[]", "{}", "null", *[json.dumps({**good, **change}) for change in wrong]):
            path.write_text(text)
            self.assertRaises(InvalidValueError, saving.load, path)
        path.write_text(json.dumps(good))
        self.assertEqual(saving.load(path), scenario.draw(0))


class LargeTests(SynchronousTestCase):
    """Networks of any size, at an even pace."""

    def test_every_topology(self) -> None:
        """Each comes to rest, with checks sampled and verification shared above a size."""
        for topology in ("regular", *TOPOLOGIES):
            drawn = scenario.draw_large(
                1, nodes=simulator.LARGE_NODES + 4, authors=8, topology=topology, links=4
            )
            cluster = simulator.run(drawn)
            self.assertEqual({node.heads.clock.total() for node in cluster.nodes}, {8}, topology)

    def test_with_faults(self) -> None:
        """Named kinds happen, as many as asked for."""
        kinds = ("crash", "lose", "equivocator")
        drawn = scenario.draw_large(2, nodes=30, authors=30, entries=3, kinds=kinds, faults=6)
        self.assertEqual(len(drawn.faults), 6)
        self.assertLessEqual({fault.kind for fault in drawn.faults}, set(kinds))
        simulator.run(drawn)


class ScenarioTests(SynchronousTestCase):
    """What the seeds cover, and how a failure is told."""

    def test_variety(self) -> None:
        """Every topology, fault, size and kind of limit is drawn."""
        drawn = [scenario.draw(seed) for seed in range(SEEDS)]
        self.assertEqual({one.topology for one in drawn}, set(scenario.TOPOLOGIES))
        self.assertEqual({fault.kind for one in drawn for fault in one.faults}, set(faults.KINDS))
        self.assertEqual({one.tight for one in drawn}, {True, False})
        self.assertEqual({len(one.writers) for one in drawn} & {3, 12}, {3, 12})
        self.assertGreaterEqual(max(sum(one.writers) for one in drawn), 18)
        self.assertTrue(any(one.shared for one in drawn))

    def test_failure_names_the_seed_and_the_smallest_scenario(self) -> None:
        """And the last events."""
        seed = next(seed for seed in range(SEEDS) if len(scenario.draw(seed).faults) > 2)
        run = simulator.run

        def broken(one: scenario.Scenario) -> object:
            run(one._replace(writes=()))
            if len(one.faults) > 1 and one.writes:
                raise InvariantError("broken on purpose")
            return None

        self.patch(simulator, "run", broken)
        error = self.assertRaises(InvariantError, simulator.check, seed)
        self.assertIn(f"seed {seed}: InvariantError: broken on purpose", str(error))
        smaller, _ = simulator.shrink(scenario.draw(seed), attempts=100)
        self.assertEqual((len(smaller.faults), len(smaller.writes)), (2, 1))

    def test_tight_limits_are_put_back(self) -> None:
        """Also after a failure."""
        before = [getattr(module, name) for module, name in simulator.TIGHT]
        with self.assertRaises(InvariantError), simulator.tight_limits():
            raise InvariantError
        self.assertEqual([getattr(module, name) for module, name in simulator.TIGHT], before)
