"""A store's threads without a thread.

Responsible for: giving a store's jobs to a simulated disk, as :class:`gossiplog.live.store_thread.StoreThread` gives
them to a thread, and deriving from it.
Must not know: what a job means; how a disk works.
Invariant: jobs are handed over, and their results handed back, as by the real thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gossiplog.errors import InvalidValueError, StoreClosedError
from gossiplog.live.job_queue import Job, WriteJob
from gossiplog.live.store_thread import StoreThread
from gossiplog.store.logs import Logs
from gossiplog.store.owning_process import Home
from gossiplog.store.requests import CommitReport
from gossiplog.testing.sim.disk import AT_ONCE, Disk, Speed
from gossiplog.views.place import Place
from gossiplog.views.thread import Answer, ViewsThread, Work


class VirtualViews(ViewsThread):
    """I derive in virtual time, which is none."""

    def __init__(self, place: Place, tell: Callable[..., object], name: str) -> None:
        self._place = place
        self._tell = tell
        self._name = name
        self._home = Home(name)
        self._closed = False

    def call(self, work: Work, answer: Answer) -> None:
        """Do ``work`` soon."""
        if self._closed:
            raise StoreClosedError(f"{self._name} is closed")
        self._tell(self._do, (work, answer))

    def close(self, answer: Answer) -> None:
        """Finish what is queued and close the place."""
        if not self._closed:
            self._closed = True
            self._tell(self._do, (lambda place: place.close(), answer))

    def end(self, seconds: float) -> bool:
        """Close the place at once."""
        self._closed = True
        self._place.close()
        return True

    def _do(self, job: tuple[Work, Answer]) -> None:
        work, answer = job
        value: Any
        try:
            value = work(self._place)
        except BaseException as error:
            value = error
        answer(value)


class VirtualThread(StoreThread):
    """I do a store's work on a simulated ``disk``, of this ``speed``.

    For ``Store(opener, reactor, thread=VirtualThread)``, with a :class:`VirtualReactor`.
    """

    views = VirtualViews

    def __init__(
        self,
        open_logs: Callable[[], Logs],
        reactor: Any,
        delivered: Callable[..., None],
        name: str,
        speed: Speed = AT_ONCE,
        committed: Callable[..., None] = lambda *_: None,
    ) -> None:
        self._reactor = reactor
        self._delivered = delivered
        self._home = Home(name)
        self._closed = False
        world, logs = reactor.world, open_logs()

        def counted(jobs: Sequence[WriteJob], report: CommitReport) -> None:
            self.commits = self.commits.and_one(report, 0.0)
            committed(jobs, report)

        self.disk = Disk(world, world.child(), logs, speed, counted, self._deliver, BaseException)

    def now(self, work: Callable[[Logs], Any]) -> Any:
        """Do ``work`` at once."""
        if self._closed:
            raise StoreClosedError("the store is closed")
        return work(self.disk.logs)

    def beside(self, work: Callable[[], None]) -> None:
        """Refuse: what waits for virtual time needs real threads."""
        raise InvalidValueError(
            "in virtual time there are no threads, and no files: do this with a store of its own"
        )

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self.disk.jobs)

    def close(self, answer: Answer) -> None:
        """Finish what is queued and close the Logs."""
        self._hand_over()
        self._closed = True
        self.disk.close(answer)

    def end(self) -> None:
        """Close the Logs at once."""
        self._closed = True
        self.disk.logs.close()

    def _take(self, jobs: Sequence[Job]) -> None:
        self.disk.put(*jobs)
