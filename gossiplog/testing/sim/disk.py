"""A store's thread and disk, in virtual time.

Responsible for: doing what is queued, batch by batch, each after a random delay; losing what was
not committed in a crash; a full and a failing disk.
Must not know: replicas, sessions, what is written.
Invariant: batches and what is done with one are those of the real thread (``live/job_queue.py``,
``live/store_work.py``), and results come back in the order of their jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gossiplog.errors import StoreError
from gossiplog.live.job_queue import Answer, CallJob, Job, JobQueue, WriteJob
from gossiplog.live.store_work import do_batch
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import DiskFault, MemoryBackend
from gossiplog.store.requests import Append, CommitReport, Delivery, Request
from gossiplog.testing.sim.world import World

HOP_SECONDS = 0.001
"""From the store's thread to the node's, at most."""

MERGE_BYTES = 64 * 1024
MERGE_CHANCE = 0.2
"""Of merging something when nothing is queued."""

LATE_CHANCE = 0.1
"""After each piece of other work, that writes are looked at before the next."""


class Speed(NamedTuple):
    """How long a batch takes, at most, and how often it takes ``stall`` seconds more."""

    commit: float = 0.01
    read: float = 0.003
    stall: float = 0.2
    stall_chance: float = 0.02


class Disk:
    """I am the store of one run of a node; after :meth:`crash` nothing more is done or answered."""

    def __init__(
        self,
        world: World,
        backend: MemoryBackend,
        speed: Speed,
        committed: Callable[[Sequence[WriteJob], CommitReport], None],
        delivered: Callable[[Delivery], None],
    ) -> None:
        """``committed`` is called when a batch is durable, ``delivered`` when the node may know, which is later."""
        self.backend = backend
        self.random = world.child()
        self.logs = Logs(backend, self.random.randbytes)
        self.full = False
        self.fails: DiskFault | None = None
        backend.fault = lambda writes: DiskFault.FULL if self.full else self.fails
        self._world = world
        self._speed = speed
        self._committed = committed
        self._delivered = delivered
        self._jobs = JobQueue()
        self._busy = False
        self._dead = False
        self._delivers_at = 0.0

    def write(self, request: Request, answer: Answer, brings: int = 0) -> None:
        """Queue a request for a commit; peers brought so much of it."""
        self._put(WriteJob(request, answer, brings))

    def call(self, work: Callable[[Logs], Any], answer: Answer) -> None:
        """Queue other work."""
        self._put(CallJob(work, answer))

    def crash(self) -> MemoryBackend:
        """End without warning; returns what the next run finds."""
        self._dead = True
        return self.backend.reopen()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or under way."""
        return not (self._busy or self._jobs)

    def _put(self, job: Job) -> None:
        self._jobs.put(job)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        batch = self._jobs.take()
        speed, draw = self._speed, self.random.random
        delay = draw() * (speed.commit if any(isinstance(job, WriteJob) for job in batch) else speed.read)
        if draw() < speed.stall_chance:
            delay += speed.stall
        self._world.after(delay, lambda: self._do(batch))

    def _do(self, batch: list[Job]) -> None:
        if self._dead:
            return
        late = lambda: self.random.random() < LATE_CHANCE  # noqa: E731
        delivery, _ = do_batch(self.logs, batch, self._jobs, late, StoreError)
        if delivery.report is not None:
            self._committed([job for job in batch if isinstance(job, WriteJob)], delivery.report)
        self._tell(delivery, HOP_SECONDS * self.random.random())
        if self._jobs:
            self._begin()
            return
        self._busy = False
        if not (self.full or self.fails) and self.random.random() < MERGE_CHANCE:
            self.logs.merge_some(MERGE_BYTES)
            if (report := self.logs.weighing.settled()) is not None:
                self._tell(Delivery(report), 0.0)

    def _tell(self, delivery: Delivery, seconds: float) -> None:
        self._delivers_at = max(self._delivers_at, self._world.now + seconds)
        self._world.at(self._delivers_at, lambda: self._deliver(delivery))

    def _deliver(self, delivery: Delivery) -> None:
        if self._dead:
            return
        if delivery.report is not None or delivery.brought_bytes:
            self._delivered(delivery)
        for answer, value in delivery.answers:
            if self._dead:
                return
            answer(value)


def appended(writes: Sequence[WriteJob]) -> set[bytes]:
    """The authors that a batch appended to."""
    return {job.request.author for job in writes if isinstance(job.request, Append)}
