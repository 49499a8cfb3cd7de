"""A store's thread: blocking :class:`~gossiplog.store.logs.Logs` on one side, the reactor on the other.

Responsible for: running jobs in order in one thread, grouping writes into one commit, handing results back.
Must not know: sessions, entries, encodings.
Invariant: only this thread touches the Logs; results reach the reactor in the order of their jobs.  Nobody waits for a
thread that is gone: when it ends, for whatever reason, the Logs are closed and every job that is left fails.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads

from gossiplog.errors import AppendOutcomeUnknown, StoreClosedError, StoreError
from gossiplog.live.commits import CommitStatus
from gossiplog.live.forked_reactor import separate
from gossiplog.live.interrupts import call_each
from gossiplog.live.job_queue import Answer, CallJob, Job, JobQueue, WriteJob
from gossiplog.live.results import check_reactor
from gossiplog.live.store_work import do_batch, failed
from gossiplog.store.logs import Logs
from gossiplog.store.owning_process import Home
from gossiplog.store.requests import Delivery
from gossiplog.views.thread import ViewsThread

MERGE_BYTES = 256 * 1024
"""Prepared or committed in one go when idle, or 128 rows of few bytes: one or two milliseconds, seldom four or five
(``python -m bench merging``), during which an append would wait."""

IDLE_SECONDS = 0.02
"""Nothing to do for so long, and small segments are merged."""

PAUSE_SECONDS = 0.005
"""Between two steps of merging, for the rest of the machine."""

CALLS_SECONDS = 0.01
"""Of other work, at least one piece of it, between two looks at what is to be written: as long as a commit."""

TOGETHER_BYTES = 64 * 1024
"""Bodies that wait for what comes with them; more is handed over at once, to be written while the rest is looked at."""

ARENA_BYTES = 4 * 1024 * 1024
"""Freeing one block of this size lifts glibc's threshold for mmap above every frame and row: without it each is mapped
and unmapped, and half of a sender's time at 64 KiB entries goes to page faults."""

LOOK_SECONDS = 0.2
"""Between two looks at whether the thread that is waited for is there."""


class StoreThread:
    """I own the Logs and the thread that uses them.  ``views`` makes the one for what is derived from them."""

    views: Callable[..., ViewsThread] = ViewsThread
    _clock = staticmethod(monotonic)
    commits = CommitStatus()
    _held: list[Job] | None = None
    _held_bytes = 0
    _over: StoreError | None = None
    died: Callable[[StoreError], None] | None = None
    """Hears on the reactor that the thread is gone though nobody closed the store."""

    def __init__(
        self,
        open_logs: Callable[[], Logs],
        reactor: IReactorFromThreads,
        delivered: Callable[[Delivery], None],
        name: str,
        begin: Callable[[Callable[[], None]], threading.Thread] | None = None,
    ) -> None:
        """Start the thread and open the Logs in it; raises what ``open_logs`` raises.

        ``begin`` has a thread do something and returns it: the one that opened the Logs already.
        """
        bytearray(ARENA_BYTES)  # allocated and freed
        self._reactor = reactor
        self._delivered = delivered
        self._jobs: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        self._opened: queue.SimpleQueue[Logs | BaseException] = queue.SimpleQueue()
        self._home = Home(name)
        check_reactor(reactor)
        separate(reactor)
        self._name = name
        self._closed = False
        self._closing: CallJob | None = None
        self._lanes = JobQueue()
        self._batch: Sequence[Job] = ()
        self._thread = (begin or self._begin)(lambda: self._run(open_logs))
        try:
            opened = self._opened.get()
        except BaseException:  # Ctrl-C
            self.end()
            raise
        if isinstance(opened, BaseException):
            self._thread.join()
            raise opened

    def _begin(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name=self._name, daemon=True)
        thread.start()
        return thread

    def write(self, request: Any, answer: Answer, brings: int = 0) -> None:
        """Queue a request for the next commit; peers brought so much of it."""
        self._put(WriteJob(request, answer, brings))

    def call(self, work: Callable[[Logs], Any], answer: Answer) -> None:
        """Queue any other work."""
        self._put(CallJob(work, answer))

    def hear(self, request: Any, answer: Answer) -> None:
        """Queue a request from another thread; its answer comes on the reactor, or never if this one ends."""
        self._home.check()
        self._jobs.put([WriteJob(request, answer)])

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is queued meanwhile is handed over at the end, as one commit if it can be.

        Otherwise the thread would begin with the first of fifty entries that one read brought, and its commits, each a
        few entries, would take the interpreter from whoever looks at the rest.
        """
        if self._held is not None:  # what reading led to another read
            yield
            return
        self._held = []
        try:
            yield
        finally:
            self._hand_over()
            self._held = None

    def now(self, work: Callable[[Logs], Any]) -> Any:
        """Do ``work`` in the thread and wait for it here: for starting up only."""
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def run(logs: Logs) -> None:
            try:
                done.put((True, work(logs)))
            except BaseException as error:
                done.put((False, error))

        self._put(CallJob(run, lambda _: None))
        self._hand_over()
        while True:
            try:
                succeeded, value = done.get(timeout=LOOK_SECONDS)
                break
            except queue.Empty:
                if not self._thread.is_alive() and done.empty():
                    raise self._gone() from None
        if not succeeded:
            raise value
        return value

    def beside(self, work: Callable[[], None]) -> None:
        """Do ``work``, which takes long and uses this thread for steps of it, in another one."""
        self._home.check()
        threading.Thread(target=work, name=f"{self._name} beside", daemon=True).start()

    @property
    def waiting(self) -> int:
        """About how many jobs wait."""
        return self._jobs.qsize() + len(self._lanes)

    def close(self, answer: Answer) -> None:
        """Finish what is queued, close the Logs, end the thread: it is gone when ``answer`` is called."""

        def ended(value: Any) -> None:
            self._thread.join()  # it has nothing left to do
            answer(value)

        self._hand_over()
        self._closed = True
        self._closing = CallJob(lambda logs: logs.close(), ended)
        self._jobs.put(None)
        if self._over is not None:
            answer(None)

    def end(self) -> None:
        """Close the Logs, and wait for that here: for a start that failed, and when the reactor is gone."""
        self._closed = True
        if self._home.is_here:
            self._jobs.put(None)
            self._thread.join()

    def _put(self, job: Job) -> None:
        self._home.check()
        if self._closed:
            raise StoreClosedError("the store is closed")
        if self._over is not None:
            raise self._over
        if self._held is None:
            self._take([job])
            return
        self._held.append(job)
        self._held_bytes += job.size if isinstance(job, WriteJob) else 0
        if self._held_bytes >= TOGETHER_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            self._take(held)

    def _take(self, jobs: Sequence[Job]) -> None:
        self._jobs.put(jobs)
        if self._over is not None:  # since a moment ago
            self._deliver(failed(self._left(), self._gone()))

    def _gone(self) -> StoreError:
        return self._over or StoreClosedError(f"{self._name} is closed: its thread is gone")

    def _left(self) -> list[Job]:
        """Take what nobody will do any more."""
        left: list[Job] = []
        with suppress(queue.Empty):
            while True:
                left.extend(self._jobs.get_nowait() or ())
        return left

    # -- in the thread

    def _run(self, open_logs: Callable[[], Logs]) -> None:
        try:
            logs = open_logs()
        except BaseException as error:
            self._opened.put(error)
            return
        self._opened.put(logs)
        try:
            self._serve(logs)
        except BaseException as error:  # a bug, or no memory
            self._over = StoreClosedError(
                f"{self._name} is closed: its thread ended, {type(error).__name__}: {error}"
            )
        with suppress(Exception):
            logs.close()
        if self._over is not None:
            unknown = AppendOutcomeUnknown(str(self._over))
            left: list[Job] = []
            while self._lanes:
                left += self._lanes.take()
            with suppress(RuntimeError):
                begun = failed(self._batch, unknown)
                self._reactor.callFromThread(self._give_up, begun, left, self._closing)

    def _serve(self, logs: Logs) -> None:
        lanes = self._lanes
        merging = True
        pause = IDLE_SECONDS
        closing = False
        while lanes or not closing:
            if not lanes:
                try:
                    jobs = self._jobs.get(timeout=pause if merging else None)
                except queue.Empty:
                    merging, pause = self._merge(logs), PAUSE_SECONDS
                    if (report := logs.weighing.settled()) is not None:
                        self._tell(Delivery(report))
                    continue
                merging, pause = True, IDLE_SECONDS
                closing = self._queue(lanes, jobs)
            while not self._jobs.empty():
                closing = self._queue(lanes, self._jobs.get()) or closing
            if lanes:
                self._batch = lanes.take()
                self._work(logs, self._batch)
                self._batch = ()
        if self._closing is not None:
            self._work(logs, [self._closing])

    @staticmethod
    def _queue(lanes: JobQueue, jobs: Sequence[Job] | None) -> bool:
        """Queue jobs; True for the mark that ends the thread."""
        for job in jobs or ():
            lanes.put(job)
        return jobs is None

    @staticmethod
    def _merge(logs: Logs) -> bool:
        """Merge a little, or make some room; False when there is nothing (more) to do, or it can't be done."""
        with suppress(Exception):  # a failing disk tells the next append, which has somebody waiting
            if logs.merge_some(MERGE_BYTES):
                return True
        with suppress(Exception):
            return logs.reclaim()
        return False

    def _work(self, logs: Logs, batch: Sequence[Job]) -> None:
        """Do what there is time for; one hop to the reactor."""
        began = self._clock()
        ends_at = began + CALLS_SECONDS
        delivery, left = do_batch(logs, batch, self._lanes, lambda: self._clock() >= ends_at)
        if delivery.report is not None:
            self.commits = self.commits.and_one(delivery.report, self._clock() - began)
        self._batch = [job for job in batch if job not in left] if left else batch
        self._tell(delivery)

    def _tell(self, delivery: Delivery) -> None:
        try:
            self._reactor.callFromThread(self._deliver, delivery)
        except RuntimeError as error:  # its loop is closed: what is queued is done, and that is all
            self._over = StoreClosedError(f"{self._name} is closed: nobody hears of it, {error}")
            self._jobs.put(None)

    # -- on the reactor

    def _give_up(self, begun: Delivery, left: Sequence[Job], closing: CallJob | None) -> None:
        """The thread is gone: say so of what it had begun, and of what nobody will do."""
        self._deliver(begun)
        self._deliver(failed([*left, *self._left()], self._gone()))
        if self.died is not None and not self._closed:
            call_each(self._reactor, [self.died], self._gone())
        if closing is not None:
            call_each(self._reactor, [closing.answer], None)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.report is not None or delivery.brought_bytes:
            for part in delivery.parts():
                call_each(self._reactor, [self._delivered], part)
        for answer, value in delivery.answers:
            call_each(self._reactor, [answer], value)  # the others must hear all the same
