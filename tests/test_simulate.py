"""Ring 4: the verb simulate, from its arguments to its exit status."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.cli import main
from gossiplog.testing.sim import saved as saving
from gossiplog.testing.sim import simulator
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.scenario import Scenario

SMALL = ("--nodes", "6", "--links", "2", "--authors", "3", "--entries", "2")


class SimulateCase(SynchronousTestCase):
    """Runs the command in this process."""

    def simulate(self, *arguments: str, status: int = 0) -> tuple[list[str], str]:
        """Return the lines of its output, and what it said on standard error."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        self.assertEqual(main(["simulate", *arguments]), status, err.getvalue())
        return out.getvalue().splitlines(), err.getvalue()


class OutputTests(SimulateCase):
    """What is printed and drawn."""

    def test_line_per_seed_and_summary(self) -> None:
        """Each figure of the table, each message that was sent."""
        lines, err = self.simulate(*SMALL, "--seeds", "3..5")
        self.assertEqual([line[:10] for line in lines[:3]], ["seed 3: ok", "seed 4: ok", "seed 5: ok"])
        self.assertEqual((lines[-1], err), ("3 runs: everything held", ""))
        for words in (
            "copies per entry and node",
            "control bytes",
            "last delivery",
            "hops",
            "convergence",
            "SEGMENT",
        ):
            self.assertTrue(any(line.startswith(words) for line in lines[3:]), words)

    def test_json(self) -> None:
        """One object per seed and nothing else; 3 authors, 2 entries, 5 nodes that did not have them."""
        lines, _ = self.simulate(*SMALL, "--seeds", "2", "--json")
        found = [json.loads(line) for line in lines]
        self.assertEqual(
            [(one["seed"], one["ok"], one["entries"]) for one in found], [(0, True, 30), (1, True, 30)]
        )
        self.assertGreaterEqual(found[0]["bytes"]["Segment"], 30 * 200)

    def test_plot(self) -> None:
        """A picture with three lines, of which the last ends at the top."""
        path = self.mktemp()
        self.simulate(*SMALL, "--plot", path)
        lines = ElementTree.parse(path).findall("{http://www.w3.org/2000/svg}polyline")
        ends = [line.attrib["points"].split()[-1] for line in lines]
        self.assertEqual(len(ends), 3)
        self.assertEqual(len(set(ends)), 1)

    def test_random(self) -> None:
        """The scenarios of the test suite, by their seeds."""
        lines, _ = self.simulate("--random", "--seeds", "7..8")
        self.assertIn("seed 8: ok", lines[1])

    def test_steady(self) -> None:
        """A window in steady state."""
        lines, _ = self.simulate("--steady", "--nodes", "6", "--links", "2", "--authors", "6", "--json")
        self.assertEqual(json.loads(lines[0])["converged"], 0)


class FailureTests(SimulateCase):
    """Exit status 0 only when everything held."""

    def test_bars(self) -> None:
        """Each bar fails a run that is above it, and says by how much."""
        for bar, most in (
            ("copies", "0.9"),
            ("control", "0.0001"),
            ("late", "0.1"),
            ("hops", "1"),
            ("converged", "0.0001"),
        ):
            lines, err = self.simulate(*SMALL, f"--assert-{bar}", most, status=1)
            self.assertIn("seed 0: FAILED", lines[0])
            self.assertRegex(lines[1], rf"  {bar} is [0-9.]+, above {most}")
            self.assertEqual(err, "gossiplog: 1 of 1 runs failed: seeds 0\n")

    def test_broken_invariant_is_shrunk_saved_and_replayed(self) -> None:
        """The seed, what broke, and a smaller scenario that fails again from its file."""
        run = simulator.run

        def broken(scenario: Scenario) -> Cluster:
            if len(scenario.writes) > 1:
                raise InvariantError("broken on purpose")
            return run(scenario)

        self.patch(simulator, "run", broken)
        directory = Path(self.mktemp())
        lines, err = self.simulate(*SMALL, "--save", str(directory), status=1)
        self.assertEqual(lines[:2], ["seed 0: FAILED", "  broken on purpose"])
        self.assertEqual(err, "gossiplog: 1 of 1 runs failed: seeds 0\n")
        path = directory / "seed-0.json"
        self.assertEqual(len(saving.load(path).writes), 2)
        self.simulate("--scenario", str(path), status=1)
        self.patch(simulator, "run", run)
        self.simulate("--scenario", str(path))

    def test_wrong_usage(self) -> None:
        """Said in one line, before anything runs."""
        for arguments in (
            ("--nodes", "5", "--links", "3"),
            ("--nodes", "1", "--topology", "line"),
            ("--nodes", "0"),
            ("--faults", "earthquake"),
            ("--topology", "torus"),
            ("--seeds", "5..3"),
            ("--steady", "--plot", "x.svg"),
            ("--assert-copies", "-1"),
        ):
            lines, err = self.simulate(*arguments, status=2)
            self.assertEqual((lines, len(err.splitlines())), ([], 1), arguments)

    def test_no_scenario(self) -> None:
        """A file that is none, or is not there."""
        path = Path(self.mktemp())
        _, err = self.simulate("--scenario", str(path), status=1)
        self.assertIn(str(path), err)
        path.write_text("{}")
        _, err = self.simulate("--scenario", str(path), status=1)
        self.assertIn("is not a scenario", err)
