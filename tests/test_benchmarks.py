"""Benchmarks and attacks that nobody runs every day still run: sizes here are tiny, figures are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.audit.__main__ import cases

TESTS = Path(__file__).resolve().parent.parent
SOURCE = Path(os.environ.get("GOSSIPLOG_SOURCE", TESTS))


class RunningTests(SynchronousTestCase):
    def test_every_benchmark(self) -> None:
        """To its end, with its figures; of one that is new the size is to be said."""
        path = os.pathsep.join([str(TESTS), str(SOURCE)])
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        )
        told = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((done.returncode, [each for each in told if "error" in each]), (0, []), done.stderr)
        self.assertGreater(len(told), 15)

    def test_attacks(self) -> None:
        """All of them can be asked for."""
        self.assertGreater(len(cases()), 20)
