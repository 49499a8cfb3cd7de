"""A store's threads without a thread.

Responsible for: doing a store's jobs in virtual time, as :class:`gossiplog.live.store_thread.StoreThread` does in a
thread, and what is derived from it; slow and stalled disks.
Must not know: what a job means.
Invariant: jobs are done in the order, and with the grouping, of the real thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gossiplog.errors import StoreClosedError
from gossiplog.live.job_queue import CallJob, Job, JobQueue
from gossiplog.live.store_thread import StoreThread
from gossiplog.store.logs import Logs
from gossiplog.store.owning_process import Home
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
    """I do a store's work in virtual time: a round of it takes ``seconds``, and none begins while ``stalled``.

    For ``Store(opener, reactor, thread=VirtualThread)``, with a :class:`VirtualReactor`.
    """

    seconds = 0.0
    views = VirtualViews

    def __init__(
        self, open_logs: Callable[[], Logs], reactor: Any, delivered: Callable[..., None], name: str
    ) -> None:
        self.stalled = False
        self.rounds = 0
        self._reactor: Any = reactor
        self._clock = reactor.seconds
        self._delivered = delivered
        self._home = Home(name)
        self._closed = False
        self._lanes = JobQueue()
        self._last: CallJob | None = None
        self._working = False
        self._logs = open_logs()

    def now(self, work: Callable[[Logs], Any]) -> Any:
        """Do ``work`` at once."""
        if self._closed:
            raise StoreClosedError("the store is closed")
        return work(self._logs)

    def close(self, answer: Answer) -> None:
        """Finish what is queued and close the Logs."""
        self._hand_over()
        self._closed = True
        self._last = CallJob(lambda logs: logs.close(), answer)
        self._soon()

    def end(self) -> None:
        """Close the Logs at once."""
        self._closed = True
        self._logs.close()

    def stall(self) -> None:
        """The disk does nothing until :meth:`resume`."""
        self.stalled = True

    def resume(self) -> None:
        """The disk goes on."""
        self.stalled = False
        self._soon()

    def _take(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._lanes.put(job)
        self._soon()

    def _soon(self) -> None:
        if not self._working and not self.stalled:
            self._working = True
            self._reactor.callLater(self.seconds, self._round)

    def _round(self) -> None:
        self._working = False
        if self.stalled:
            return
        if self._lanes:
            self.rounds += 1
            self._work(self._logs, self._lanes.take())
            self._soon()
        elif self._last is not None:
            last, self._last = self._last, None
            self._work(self._logs, [last])
