"""File systems of a few megabytes, mounted for a test; for root only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase


class MountCase(SynchronousTestCase):
    """Tests on file systems that are really full, or really read-only."""

    def mount(self, options: str) -> Path:
        """Mount a small file system in memory, if that is allowed here."""
        if sys.platform != "linux" or os.geteuid() or shutil.which("mount") is None:
            raise SkipTest("to mount a file system takes root on Linux")
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True)
        if mounted.returncode:
            raise SkipTest("mounting is not allowed here")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
        return place
