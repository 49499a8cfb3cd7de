"""``kill -9`` at the named phases of a store's life; ``python -m tests.killing`` does all of them, and many more."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.killing import Fate, Victim, scenario
from tests.shims import usable


class PhaseTests(SynchronousTestCase):
    """Afterwards the store is in order, nothing acknowledged is lost, and no seq has two ids."""

    if not usable():
        skip = "this sqlite3 cannot be given another VFS"

    def killed_at(self, *fates: tuple[str, int]) -> None:
        """Let each fate come over a store of its own."""
        draw = random.Random(len(fates))
        for number, (phase, count) in enumerate(fates):
            victim = Victim(Path(self.mktemp()).absolute() / str(number))
            self.assertTrue(scenario(victim, draw, Fate(phase, count)), phase)

    def test_first_opening(self) -> None:
        """The directory is there, the database, its tables, its mark; not all of them."""
        self.killed_at(
            ("opening: open lock", 1),
            ("opening: sync log.sqlite-wal", 1),
            ("opening: after COMMIT", 1),
            ("opening: rename .generation.new", 1),
        )

    def test_first_writer(self) -> None:
        """Its author is trusted; its seed is written, and in its place."""
        self.killed_at(
            ("first writer: before COMMIT", 1),
            ("first writer: fsync .ann.new", 1),
            ("first writer: rename .ann.new", 1),
            ("first writer: fsync seeds", 1),
        )

    def test_commit(self) -> None:
        """Before it, in it before and after its bytes are written, and before anybody is told."""
        self.killed_at(
            ("append: before BEGIN", 5),
            ("append: after INSERT segments", 5),
            ("append: before COMMIT", 5),
            ("append: write log.sqlite-wal", 9),
            ("append: sync log.sqlite-wal", 5),
            ("append: after COMMIT", 5),
            ("catch up: after COMMIT", 2),
        )

    def test_checkpoint(self) -> None:
        """The write-ahead log is copied into the file."""
        self.killed_at(
            ("append: write log.sqlite", 3), ("append: sync log.sqlite", 1), ("closing: before checkpoint", 1)
        )

    def test_large_commit(self) -> None:
        """It goes by a rollback journal: before that is synced, before the file is, before the journal is let go."""
        self.killed_at(
            ("catch up: write log.sqlite-journal", 5),
            ("catch up: sync log.sqlite-journal", 3),
            ("catch up: write log.sqlite", 4),
            ("catch up: sync log.sqlite", 2),
            ("catch up: sync log.sqlite-journal", 8),
            ("merge: sync log.sqlite-journal", 2),
        )

    def test_merge(self) -> None:
        """Rows are gone, the one in their place is there, neither is durable; and when it is."""
        self.killed_at(
            ("merge: before BEGIN", 1),
            ("merge: after DELETE segments", 1),
            ("merge: before COMMIT", 1),
            ("merge: after COMMIT", 1),
        )

    def test_recovery(self) -> None:
        """Own entries came back, or some of them; the writers may append again, or not yet."""
        self.killed_at(
            ("adopt: before COMMIT", 1),
            ("adopt: after COMMIT", 1),
            ("recover: before BEGIN", 1),
            ("recover: sync log.sqlite-journal", 1),
        )
