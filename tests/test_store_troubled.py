"""A disk that is in trouble for a while, whatever a store does then and next: once it is well, writing goes on.

Trouble is what passes: no room, no descriptor, another program that reads the database.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreError, StoreFullError
from gossiplog.log.cursor import Cursor
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append, Forget, SetCursor
from gossiplog.testing.chain import Chain
from tests.shims import Fault, Point, between, usable

SEEDS = int(os.environ.get("GOSSIPLOG_TROUBLES", "12"))
STEPS = 60
LARGE_BYTES = 200_000
"""Large enough for the other journal."""

FULL = {"write": Fault.FULL}
NO_DESCRIPTOR = {"open": Fault.FAILS}


class Troubled:
    """I am a store, what is done with it, and what its disk does."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = Random(seed)
        self.faults: dict[str, Fault] = {}
        self.reader: sqlite3.Connection | None = None
        self.seq = 0
        self.others = Chain()

    def hook(self, point: Point) -> Fault | None:
        """Do to a call what the disk does now."""
        return self.faults.get(point.call)

    def append(self, logs: Logs, size: int) -> None:
        """Append an entry, which is there when this returns."""
        [result] = logs.process([Append(logs.writer("w").author, [bytes(size)])]).results
        if isinstance(result, StoreError):
            raise result
        self.seq = result.last

    def accept(self, logs: Logs) -> None:
        """Take an entry of somebody else."""
        head, segments = self.others.head, [*self.others.segments]
        try:
            logs.process([Accept(*self.others.put(b"x"))])
        except StoreError:
            self.others.head, self.others.segments = head, segments
            raise

    def forget(self, logs: Logs) -> None:
        """Delete them."""
        logs.process([Forget(self.others.author)])
        self.others = Chain()

    def change(self) -> None:
        """Begin a trouble, or end it."""
        if self.faults or self.reader is not None:
            self.end()
        elif self.random.random() < 0.3:
            self.reader = sqlite3.connect(self.path / "log.sqlite", timeout=0, isolation_level=None)
            try:
                self.reader.execute("BEGIN")
                self.reader.execute("SELECT count(*) FROM authors").fetchone()
            except sqlite3.Error:  # it is locked just now
                pass
        else:
            self.faults = self.random.choice((FULL, NO_DESCRIPTOR))

    def end(self) -> None:
        """All is well."""
        self.faults = {}
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    @property
    def steps(self) -> list[Callable[[Logs], Any]]:
        """What a store does."""
        return [
            *[lambda logs: self.append(logs, 10)] * 3,
            *[lambda logs: self.append(logs, LARGE_BYTES)] * 2,
            self.accept,
            self.forget,
            lambda logs: logs.process([SetCursor("c", Cursor({bytes(32): (self.seq + 1, b"")}))]),
            lambda logs: logs.merge_some(1 << 18),
            Logs.reclaim,
            lambda logs: logs.weighing.settled(),
            lambda logs: logs._backend.checkpoint(),
            lambda logs: [*logs._backend.check()],
            lambda logs: logs.segments(logs.writer("w").author, 1, 1 << 20),
        ]


class TroubledTests(SynchronousTestCase):
    """One that was found, and random ones, by seed."""

    if not usable():
        skip = "this sqlite3 cannot be given another VFS"

    def test_heads_of_a_commit_that_failed(self) -> None:
        """Nobody takes them for heads that are there: not who gives room back, and settles heads."""
        path = Path(self.mktemp()).absolute()
        troubled = Troubled(path, 0)
        with between(troubled.hook), closing(open_logs(path)) as logs:
            author = logs.writer("w").author
            troubled.append(logs, 1)
            troubled.accept(logs)
            troubled.forget(logs)
            troubled.faults = FULL
            self.assertRaises(StoreFullError, troubled.append, logs, 1)
            troubled.end()
            while logs.reclaim():
                pass
            self.assertEqual(dict(logs._backend.heads())[author].seq, 1)
            troubled.append(logs, 1)
        with closing(open_logs(path)) as logs:
            self.assertEqual((logs.verify().damages, logs.clock.seq(author), logs.copied), ([], 2, ""))

    def test_writing_goes_on(self) -> None:
        """And nothing fails but by an error of ours, while there is trouble, nor is anything acknowledged lost."""
        path = Path(self.mktemp()).absolute()
        for seed in range(SEEDS):
            shutil.rmtree(path, ignore_errors=True)
            troubled = Troubled(path, seed)
            with between(troubled.hook), closing(open_logs(path)) as logs:
                logs.weighing.begin()
                logs.writer("w")
                for _ in range(STEPS):
                    if troubled.random.random() < 0.15:
                        troubled.change()
                    step = troubled.random.choice(troubled.steps)
                    try:
                        step(logs)
                    except StoreError as error:
                        is_well = not troubled.faults and troubled.reader is None
                        self.assertFalse(is_well, f"seed {seed}: {error!r}")
                troubled.end()
                troubled.append(logs, 1)
                author = logs.writer("w").author
            with closing(open_logs(path)) as logs:
                self.assertEqual((logs.verify().damages, logs.clock.seq(author)), ([], troubled.seq), seed)
