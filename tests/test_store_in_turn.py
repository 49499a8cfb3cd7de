"""Ring 8: one error of the disk after another, between small and large commits, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from gossiplog.log.encodings import encoding
from gossiplog.log.entry import read_entries
from gossiplog.store.logs import open_logs
from tests.in_turn import MOUNTED
from tests.mounts import MountCase
from tests.processes import environment

ALL = 1 << 30
SEEDS = 8


class InTurnTests(MountCase):
    """Each is the end of nothing: the store says what there is too little of, and goes on once there is enough."""

    def live(self, store: Path, seed: int, *mount: Path) -> dict[str, int]:
        """Live once; check that what was acknowledged is there, and nothing else."""
        child = subprocess.run(
            [sys.executable, "-m", "tests.in_turn", store, str(seed), *mount],
            env=environment(),
            cwd=Path(__file__).resolve().parents[1],
            capture_output=True,
            text=True,
        )
        self.assertIn(child.returncode, (0, -9), child.stderr)
        told: dict[str, int] = json.loads(child.stdout)
        self.assertEqual(told["wrong"], [], f"seed {seed}")
        logs = open_logs(store, init=False)
        try:
            [author] = logs.local
            self.assertEqual((logs.clock.seq(author), logs.copied), (told["seq"], ""), f"seed {seed}")
            self.assertEqual(dict(logs.cursor("me").items()), {author: (told["seq"], bytes(8))})
            self.assertTrue(logs.verify().ok)
            for segment in logs.segments(author, 1, ALL):
                for entry in read_entries(segment, encoding("bytes")):
                    self.assertEqual(entry.payload.split(b" ")[0], b"%d" % entry.seq)
        finally:
            logs.close()
        return told

    def test_without_descriptors(self) -> None:
        errors = 0
        for seed in range(SEEDS):
            errors += self.live(Path(self.mktemp()).absolute() / "store", seed)["errors"]
        self.assertGreater(errors, SEEDS)

    def test_without_inodes_room_or_descriptors(self) -> None:
        place = self.mount(MOUNTED)
        errors = 0
        for seed in range(SEEDS):
            errors += self.live(place / f"store{seed}", 100 + seed, place)["errors"]
        self.assertGreater(errors, SEEDS)
