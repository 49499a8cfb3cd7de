"""Ring 1: what quotas count is what a store takes on disk, of whatever it is full; in small numbers.

``python -m tests.audit quotas-disk`` does so with large ones.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.disks import GAPS, KINDS, MERGED, sizes_of

SCALE = 10
BOUND = 0.2


class DiskTests(SynchronousTestCase):
    """Each kind of thing that a peer can make a node keep."""

    def test_every_kind(self) -> None:
        """Within 20 %, and the same number when the store is opened again."""
        wrong = {}
        for kind in KINDS:
            place = Path(self.mktemp()).resolve()
            sizes = sizes_of(KINDS[kind](SCALE), place, merge=kind == MERGED)
            self.assertEqual(sizes.counted, sizes.recounted, kind)
            if abs(sizes.error) > BOUND:
                wrong[kind] = f"{sizes.error:+.0%}"
        self.assertEqual(wrong, {})

    def test_gaps(self) -> None:
        """Deleting and merging leave pages partly empty: up to half of what is in use then does not count."""
        for kind in GAPS:
            sizes = sizes_of(GAPS[kind](SCALE), Path(self.mktemp()).resolve(), merge=True)
            self.assertEqual(sizes.counted, sizes.recounted, kind)
            self.assertLess(sizes.used, 2 * sizes.counted, kind)
