"""A store's thread and disk, in virtual time.

Responsible for: doing what is queued in order, many writes in one commit, each after a random delay; losing what was
not committed in a crash; a full and a failing disk.
Must not know: replicas, sessions, what is written.
Invariant: as in :mod:`gossiplog.live.store_thread`, the writes of a batch come before its other work, and results come
back in the order of their jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gossiplog.errors import StoreError
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import DiskFault, MemoryBackend
from gossiplog.store.requests import Append, CommitReport, FillRow, Request
from gossiplog.testing.sim.world import World

HOP_SECONDS = 0.001
"""From the store's thread to the node's, at most."""

MERGE_BYTES = 64 * 1024
MERGE_CHANCE = 0.2
"""Of merging something when nothing is queued."""

Answer = Callable[[Any], None]
"""Called with a job's result, or the exception it raised."""


class Speed(NamedTuple):
    """How long a batch takes, at most, and how often it takes ``stall`` seconds more."""

    commit: float = 0.01
    read: float = 0.003
    stall: float = 0.2
    stall_chance: float = 0.02


class Job(NamedTuple):
    """A write, or any other work, and who waits for it."""

    request: Request | None
    work: Callable[[Logs], Any] | None
    answer: Answer


class Disk:
    """I am the store of one run of a node; after :meth:`crash` nothing more is done or answered."""

    def __init__(
        self,
        world: World,
        backend: MemoryBackend,
        speed: Speed,
        committed: Callable[[Sequence[Job], CommitReport], None],
        told: Callable[[Sequence[Job], CommitReport], None],
    ) -> None:
        """``committed`` is called when a batch is durable, ``told`` when the node may know, which is later."""
        self.backend = backend
        self.random = world.child()
        self.logs = Logs(backend, self.random.randbytes)
        self.full = False
        self.fails: DiskFault | None = None
        backend.fault = lambda writes: DiskFault.FULL if self.full else self.fails
        self._world = world
        self._speed = speed
        self._committed = committed
        self._told = told
        self._jobs: list[Job] = []
        self._busy = False
        self._dead = False
        self._delivers_at = 0.0

    def write(self, request: Request, answer: Answer) -> None:
        """Queue a request for the next commit."""
        self._put(Job(request, None, answer))

    def call(self, work: Callable[[Logs], Any], answer: Answer) -> None:
        """Queue other work."""
        self._put(Job(None, work, answer))

    def crash(self) -> MemoryBackend:
        """End without warning; returns what the next run finds."""
        self._dead = True
        return self.backend.reopen()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or under way."""
        return not self._busy and not self._jobs

    def _put(self, job: Job) -> None:
        self._jobs.append(job)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        batch, self._jobs = self._jobs, []
        speed, draw = self._speed, self.random.random
        delay = draw() * (speed.commit if any(job.request is not None for job in batch) else speed.read)
        if draw() < speed.stall_chance:
            delay += speed.stall
        self._world.after(delay, lambda: self._do(batch))

    def _do(self, batch: list[Job]) -> None:
        if self._dead:
            return
        writes = [job for job in batch if job.request is not None]
        answers: list[tuple[Answer, Any]] = []
        outcome = CommitReport([], [], {})
        if writes:
            try:
                outcome = self.logs.process([job.request for job in writes if job.request is not None])
                for job, result in zip(writes, outcome.results, strict=True):
                    if isinstance(result, FillRow):
                        self._jobs.append(job._replace(request=result))
                    else:
                        answers.append((job.answer, result))
                self._committed(writes, outcome)
            except StoreError as error:
                answers.extend((job.answer, error) for job in writes)
        for job in batch:
            if job.work is not None:
                try:
                    answers.append((job.answer, job.work(self.logs)))
                except StoreError as error:
                    answers.append((job.answer, error))
        self._delivers_at = max(self._delivers_at, self._world.now + HOP_SECONDS * self.random.random())
        self._world.at(self._delivers_at, lambda: self._deliver(writes, outcome, answers))
        if self._jobs:
            self._begin()
            return
        self._busy = False
        if not (self.full or self.fails) and self.random.random() < MERGE_CHANCE:
            self.logs.merge_some(MERGE_BYTES)
            if (report := self.logs.weighing.settled()) is not None:
                self._world.at(self._delivers_at, lambda: self._deliver([], report, []))

    def _deliver(self, writes: list[Job], outcome: CommitReport, answers: list[tuple[Answer, Any]]) -> None:
        if self._dead:
            return
        self._told(writes, outcome)
        for answer, value in answers:
            if self._dead:
                return
            answer(value)


def appended(writes: Sequence[Job]) -> set[bytes]:
    """The authors that a batch appended to."""
    return {job.request.author for job in writes if isinstance(job.request, Append)}
