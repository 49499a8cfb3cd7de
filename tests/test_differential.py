"""Ring 3: a second decoder, which knows only the specification, reads the same as ours in the same bytes.

A long run is ``python -m tests.differential`` (CONTRIBUTING, "Fuzzing").
"""

from __future__ import annotations

from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog import limits
from tests.differential import __main__ as runner
from tests.differential import verdicts
from tests.differential.inputs import mutations, seeds
from tests.differential.verdicts import KINDS, Difference, differences, why_not

MUTATED = 600


class DifferentialTests(SynchronousTestCase):
    """Both are asked."""

    def setUp(self) -> None:
        """There has to be a second one."""
        reason = why_not()
        if reason:
            raise SkipTest(reason)

    def test_vectors_and_mutations_of_them(self) -> None:
        """What is accepted, what was read, and the code of a refusal are the same."""
        given = [*seeds(), *islice(mutations(1), MUTATED)]
        accepted, found = differences(given)
        self.assertEqual([(each.kind, each.data.hex(), each.ours, each.theirs) for each in found], [])
        self.assertGreater(accepted, len(given) // 5)

    def test_a_difference_is_found(self) -> None:
        """If we read more than the specification allows."""
        with patch.object(limits, "MAX_SEQ", 2**60):
            _, found = differences(seeds())
        self.assertIn("message", {each.kind for each in found})

    def test_a_second_decoder_that_breaks_is_no_agreement(self) -> None:
        """It has to give a verdict on everything."""
        self.assertRaises(AssertionError, differences, [("nothing that it knows", b"")])


class InputTests(SynchronousTestCase):
    """What both are given."""

    def test_every_kind(self) -> None:
        """There are vectors of each, and mutations."""
        self.assertEqual({kind for kind, _ in seeds()}, KINDS.keys())
        self.assertEqual(Counter(kind for kind, _ in islice(mutations(1), 2000)).keys(), KINDS.keys())

    def test_same_seed_same_inputs(self) -> None:
        """So that what was found can be found again."""
        self.assertEqual([*islice(mutations(5), 100)], [*islice(mutations(5), 100)])
        self.assertNotEqual([*islice(mutations(5), 100)], [*islice(mutations(6), 100)])


class RunnerTests(SynchronousTestCase):
    """``python -m tests.differential``."""

    def run_with(
        self, *arguments: str, found: tuple[Difference, ...] = (), reason: str = ""
    ) -> tuple[int, str]:
        """Run it without a second decoder."""
        printed = StringIO()
        with (
            patch.object(runner, "why_not", lambda: reason),
            patch.object(runner, "differences", lambda inputs: (len(inputs), list(found))),
            patch("sys.argv", ["tests.differential", *arguments]),
            redirect_stdout(printed),
        ):
            return runner.main(), printed.getvalue()

    def test_agreement(self) -> None:
        """As many inputs as were asked for."""
        status, printed = self.run_with("--inputs", "5000")
        self.assertEqual(
            (status, printed), (0, "5000 inputs, 5000 accepted by both, 0 understood differently\n")
        )

    def test_a_difference_is_shown_and_fails(self) -> None:
        """With all that is needed to look at it."""
        status, printed = self.run_with("--inputs", "1", found=(Difference("body", b"\x92", 1, 2),))
        self.assertEqual(status, 1)
        self.assertIn("body 92\n  ours    1\n  theirs  2\n", printed)

    def test_without_node(self) -> None:
        """It says why it does nothing."""
        self.assertEqual(self.run_with(reason="no node"), (2, "no node\n"))
        with patch.object(verdicts.shutil, "which", lambda name: None):
            self.assertIn("no node", why_not())
