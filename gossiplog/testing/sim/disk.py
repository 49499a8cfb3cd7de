"""A store's thread and disk, in virtual time.

Responsible for: doing what is queued, batch by batch, each after a random delay; losing what was
not committed in a crash; a full and a failing disk.
Must not know: replicas, sessions, what is written.
Invariant: batches and what is done with one are those of the real thread (``live/job_queue.py``,
``live/store_work.py``), and results come back in the order of their jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from gossiplog.errors import StoreError
from gossiplog.live.job_queue import Answer, CallJob, Job, JobQueue, WriteJob
from gossiplog.live.store_work import do_batch
from gossiplog.store.interface import RowWrite
from gossiplog.store.logs import Logs
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import Append, CommitReport, Delivery, Request
from gossiplog.testing.sim.world import World

MERGE_BYTES = 64 * 1024
"""Merged in one go."""

LATE_CHANCE = 0.1
"""After each piece of other work, that writes are looked at before the next."""


class Speed(NamedTuple):
    """How long a batch takes, at most, and how often it takes ``stall`` seconds more.

    ``hop``: from the store's thread to the node's, at most; ``merge_chance``: of merging something when nothing is
    queued.
    """

    commit: float = 0.01
    read: float = 0.003
    stall: float = 0.2
    stall_chance: float = 0.02
    hop: float = 0.001
    merge_chance: float = 0.2


AT_ONCE = Speed(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""What is queued is done at the same instant, and nothing else."""


def steady(seconds: float) -> Speed:
    """A disk on which every batch takes so long."""
    return AT_ONCE._replace(stall=seconds, stall_chance=1.0)


class Disk:
    """I am what works on the logs of one run of a node; after :meth:`crash` nothing more is done or answered."""

    def __init__(
        self,
        world: World,
        random: Random,
        logs: Logs,
        speed: Speed,
        committed: Callable[[Sequence[WriteJob], CommitReport], None],
        delivered: Callable[[Delivery], None],
        caught: type[BaseException] = StoreError,
    ) -> None:
        """``committed`` is called when a batch is durable, ``delivered`` when the node may know, which is later.

        What is no ``caught`` error ends the simulation.
        """
        self.random = random
        self.logs = logs
        self.full = False
        self.fails: DiskFault | None = None
        self.stalled = False
        self._world = world
        self.speed = speed
        self._committed = committed
        self._delivered = delivered
        self._caught = caught
        self.jobs = JobQueue()
        self._last: CallJob | None = None
        self._closing = False
        self._busy = False
        self.dead = False
        self._delivers_at = 0.0

    def write(self, request: Request, answer: Answer, brings: int = 0) -> None:
        """Queue a request for a commit; peers brought so much of it."""
        self.put(WriteJob(request, answer, brings))

    def call(self, work: Callable[[Logs], Any], answer: Answer) -> None:
        """Queue other work."""
        self.put(CallJob(work, answer))

    def put(self, *jobs: Job) -> None:
        """Queue what can be done together."""
        for job in jobs:
            self.jobs.put(job)
        self._begin()

    def close(self, answer: Answer) -> None:
        """Close the Logs, when all that is queued is done."""
        self._closing = True
        self._last = CallJob(lambda logs: logs.close(), answer)
        self._begin()

    def fault(self, writes: Sequence[RowWrite]) -> DiskFault | None:
        """What the next commit meets."""
        return DiskFault.FULL if self.full else self.fails

    def stall(self) -> None:
        """Begin nothing until :meth:`resume`."""
        self.stalled = True

    def resume(self) -> None:
        """Go on."""
        self.stalled = False
        self._begin()

    def crash(self) -> None:
        """End without warning."""
        self.dead = True

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or under way."""
        return not (self._busy or self.jobs or self._last)

    def _begin(self) -> None:
        if self._busy or self.stalled or self.idle:
            return
        self._busy = True
        batch = self.jobs.take()
        if not batch and self._last is not None:
            batch, self._last = [self._last], None
        speed, draw = self.speed, self.random.random
        delay = draw() * (speed.commit if any(isinstance(job, WriteJob) for job in batch) else speed.read)
        if draw() < speed.stall_chance:
            delay += speed.stall
        self._world.after(delay, lambda: self._do(batch))

    def _do(self, batch: list[Job]) -> None:
        if self.dead:
            return
        late = lambda: self.random.random() < LATE_CHANCE  # noqa: E731
        delivery, _ = do_batch(self.logs, batch, self.jobs, late, self._caught)
        if delivery.report is not None:
            self._committed([job for job in batch if isinstance(job, WriteJob)], delivery.report)
        self._tell(delivery, self.speed.hop * self.random.random())
        self._busy = False
        self._begin()
        if self._busy or self._closing or self.stalled:
            return
        if self.fault(()) is None and self.random.random() < self.speed.merge_chance:
            self.logs.merge_some(MERGE_BYTES)
            if (report := self.logs.weighing.settled()) is not None:
                self._tell(Delivery(report), 0.0)

    def _tell(self, delivery: Delivery, seconds: float) -> None:
        self._delivers_at = max(self._delivers_at, self._world.now + seconds)
        self._world.at(self._delivers_at, lambda: None if self.dead else self._delivered(delivery))


def appended(writes: Sequence[WriteJob]) -> set[bytes]:
    """The authors that a batch appended to."""
    return {job.request.author for job in writes if isinstance(job.request, Append)}
