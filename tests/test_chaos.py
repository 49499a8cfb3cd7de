"""Ring 8: a short soak of real processes in every trouble; a long one is ``python -m tests.chaos``."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.plan import GAP_SECONDS, KINDS, draw
from tests.chaos.soak import Soak
from tests.processes import ProcessTestCase

SECONDS = 12.0
PARTIES = 6
SEED = 4


class PlanTests(SynchronousTestCase):
    """What a seed stands for."""

    def test_a_seed_is_a_plan(self) -> None:
        """The same again, and another one for another seed; troubles keep their pace and their place."""
        plan = draw(1, 300, 10)
        self.assertEqual(draw(1, 300, 10), plan)
        self.assertNotEqual(draw(2, 300, 10).steps, plan.steps)
        self.assertEqual({step.kind for step in plan.steps}, set(KINDS))
        self.assertAlmostEqual(len(plan.steps) / (300 / GAP_SECONDS), 1, 0)
        for step in plan.steps:
            among = plan.wires if step.kind in ("slow", "cut", "hole") else plan.kinds
            self.assertTrue(0 <= step.whom < len(among) and 2 <= step.at < 299)

    def test_everybody_is_connected(self) -> None:
        for seed in range(5):
            plan = draw(seed, 10, 8)
            self.assertTrue({(one, (one + 1) % 8) for one in range(8)} <= set(plan.wires))


class SoakTests(ProcessTestCase):
    """All are equal and quiet in the end, and hold what was acknowledged."""

    def test_short(self) -> None:
        plan = draw(SEED, SECONDS, PARTIES)
        soak = Soak(plan, Path(self.place))
        figures = soak.play()
        self.assertEqual(soak.record.findings, [], f"{figures}\n" + "\n".join(map(str, plan.steps)))
        self.assertGreater(len(soak.record.names), 100)
