"""Power loss: what was written and not synced is on disk, or not, or half; what was acknowledged is there."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.store.logs import open_logs
from tests.lives import Life, held, use_both_journals
from tests.shims import Fault, Point, between, usable

SECTOR = 512
"""What a disk writes whole."""


class Power:
    """I know what of each file is synced, and can say what is left of a directory when the power goes now."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._draw = random.Random(seed)
        self._synced: dict[int, bytes] = {}

    def sync(self, name: str) -> None:
        """Everything in the file of that name is on disk from now on."""
        for file in self._files():
            if file.name == name:
                self._synced[file.stat().st_ino] = file.read_bytes()

    def cut(self, into: Path) -> None:
        """Make a directory of what is left; names are kept, since each sync of a directory comes before its use."""
        for file in self._files():
            target = into / file.relative_to(self.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self._left(self._synced.get(file.stat().st_ino, b""), file.read_bytes()))

    def _files(self) -> list[Path]:
        return [file for file in self.path.rglob("*") if file.is_file()]

    def _left(self, old: bytes, new: bytes) -> bytes:
        size = len(self._draw.choice((old, new)))
        length = max(len(old), len(new))
        sectors = []
        for place in range(0, size, SECTOR):
            part = old if self._draw.random() < 0.5 else new
            sectors.append(part.ljust(length, b"\0")[place : place + SECTOR])
        return b"".join(sectors)[:size]


class PowerTests(SynchronousTestCase):
    """The power goes before each call that changes something, several times in different ways."""

    if not usable():
        skip = "this sqlite3 cannot be given another VFS"

    def cut_at_each(self, calls: frozenset[str], seed: int) -> int:
        """Live once; at each of the calls make what would be left; open all of it in the end."""
        place = Path(self.mktemp()).absolute()
        life = Life(place / "store")
        power = Power(place / "store", seed)
        left: list[tuple[Path, dict[bytes, int]]] = []

        def hook(point: Point) -> Fault | None:
            if point.call in calls and life.path.exists():
                here = place / str(len(left))
                power.cut(here)
                left.append((here, {author: len(ids) for author, ids in life.acknowledged.items()}))
            if point.call in ("sync", "fsync"):
                power.sync(point.file)
            return None

        with between(hook):
            life.run()
        self.assertEqual(life.errors, [])
        for path, acknowledged in left:
            if not path.exists():  # nothing but directories was there
                continue
            logs = open_logs(path)
            self.assertEqual(logs.verify().damages, [], path)
            for author, ids in life.acknowledged.items():
                found = held(logs, author)
                self.assertEqual(found, ids[: len(found)], path)
                self.assertGreaterEqual(len(found), acknowledged.get(author, 0), path)
            logs.close()
        return len(left)

    def test_at_every_sync(self) -> None:
        """When most is at stake."""
        for seed in range(2):
            self.assertGreater(self.cut_at_each(frozenset({"sync", "fsync"}), seed), 20)

    def test_at_every_change(self) -> None:
        self.assertGreater(
            self.cut_at_each(frozenset({"write", "sync", "fsync", "truncate", "pwrite", "rename"}), 9), 100
        )


class BulkPowerTests(PowerTests):
    """The same while the store goes from one journal to the other and back."""

    def setUp(self) -> None:
        use_both_journals(self.patch)
