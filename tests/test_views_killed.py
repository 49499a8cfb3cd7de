"""``kill -9`` amid the life of views; ``python -m tests.killing_views`` does it two hundred times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import environment


class KillTests(SynchronousTestCase):
    """Afterwards each entry is in each view once, and only the newest version has a file."""

    def test_killed_at_twenty_points(self) -> None:
        killed = subprocess.run(
            [sys.executable, "-m", "tests.killing_views", "20"],
            cwd=Path(__file__).resolve().parent.parent,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        self.assertEqual((killed.returncode, killed.stderr), (0, ""))
        self.assertIn("20 processes were killed", killed.stdout)
