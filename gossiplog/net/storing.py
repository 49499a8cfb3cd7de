"""A store's thread: blocking :class:`~gossiplog.store.logs.Logs` on one side, the reactor on the other.

Responsible for: running jobs in order in one thread, grouping writes into one commit, handing results back.
Must not know: sessions, entries, encodings.
Invariant: only this thread touches the Logs; results reach the reactor in the order of their jobs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from gossiplog.errors import StoreClosedError
from gossiplog.net.interrupts import pass_on
from gossiplog.net.lanes import Answer, Call, Job, Lanes, Write
from gossiplog.net.logger import Log
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Outcome, Stale

MERGE_BYTES = 256 * 1024
"""Prepared or committed in one go when idle, or 128 rows of few bytes: one or two milliseconds, seldom four or five
(``python -m bench merging``), during which an append would wait."""

IDLE_SECONDS = 0.02
"""Nothing to do for so long, and small segments are merged."""

PAUSE_SECONDS = 0.005
"""Between two steps of merging, for the rest of the machine."""

TOGETHER_BYTES = 64 * 1024
"""Bodies that wait for what comes with them; more is handed over at once, to be written while the rest is looked at."""

ARENA_BYTES = 4 * 1024 * 1024
"""Freeing one block of this size lifts glibc's threshold for mmap above every frame and row: without it each is mapped
and unmapped, and half of a sender's time at 64 KiB entries goes to page faults."""

_log = Log()


class StoreThread:
    """I own the Logs and the thread that uses them."""

    _held: list[Job] | None = None
    _held_bytes = 0

    def __init__(
        self,
        open_logs: Callable[[], Logs],
        reactor: IReactorFromThreads,
        committed: Callable[[Outcome, Sequence[bytes]], None],
        name: str,
    ) -> None:
        """Start the thread and open the Logs in it; raises what ``open_logs`` raises."""
        bytearray(ARENA_BYTES)  # allocated and freed
        self._reactor = reactor
        self._committed = committed
        self._jobs: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        self._opened: queue.SimpleQueue[Logs | BaseException] = queue.SimpleQueue()
        self._closed = False
        self._closing: Call | None = None
        self._thread = threading.Thread(target=self._run, args=(open_logs,), name=name, daemon=True)
        self._thread.start()
        opened = self._opened.get()
        if isinstance(opened, BaseException):
            self._thread.join()
            raise opened

    def write(self, request: Any, answer: Answer) -> None:
        """Queue a request for the next commit."""
        self._put(Write(request, answer))

    def call(self, work: Callable[[Logs], Any], answer: Answer) -> None:
        """Queue any other work."""
        self._put(Call(work, answer))

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

        self._put(Call(run, lambda _: None))
        self._hand_over()
        succeeded, value = done.get()
        if not succeeded:
            raise value
        return value

    def close(self, answer: Answer) -> None:
        """Finish what is queued, close the Logs, end the thread."""
        self._hand_over()
        self._closed = True
        self._closing = Call(lambda logs: logs.close(), answer)
        self._jobs.put(None)

    def _put(self, job: Job) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")
        if self._held is None:
            self._take([job])
            return
        self._held.append(job)
        self._held_bytes += job.size if isinstance(job, Write) else 0
        if self._held_bytes >= TOGETHER_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            self._take(held)

    def _take(self, jobs: Sequence[Job]) -> None:
        self._jobs.put(jobs)

    # -- in the thread

    def _run(self, open_logs: Callable[[], Logs]) -> None:
        try:
            logs = open_logs()
        except BaseException as error:
            self._opened.put(error)
            return
        self._opened.put(logs)
        lanes = Lanes()
        merging = True
        pause = IDLE_SECONDS
        closing = False
        while lanes or not closing:
            if not lanes:
                try:
                    jobs = self._jobs.get(timeout=pause if merging else None)
                except queue.Empty:
                    merging, pause = self._merge(logs), PAUSE_SECONDS
                    continue
                merging, pause = True, IDLE_SECONDS
                closing = self._queue(lanes, jobs)
            while not self._jobs.empty():
                closing = self._queue(lanes, self._jobs.get()) or closing
            if lanes:
                self._work(logs, lanes.take())
        if self._closing is not None:
            self._work(logs, [self._closing])

    @staticmethod
    def _queue(lanes: Lanes, jobs: Sequence[Job] | None) -> bool:
        """Queue jobs; True for the mark that ends the thread."""
        for job in jobs or ():
            lanes.put(job)
        return jobs is None

    @staticmethod
    def _merge(logs: Logs) -> bool:
        """Merge a little; False when there is nothing (more) to do, or it can't be done."""
        try:
            return logs.merge_some(MERGE_BYTES)
        except Exception:  # a failing disk tells the next append, which has somebody waiting
            return False

    def _work(self, logs: Logs, batch: list[Job]) -> None:
        """Commit the writes together, then do the rest in order; one hop to the reactor for all."""
        writes = [job for job in batch if isinstance(job, Write)]
        answers: list[tuple[Answer, Any]] = []
        outcome: Outcome | None = None
        if writes:
            try:
                outcome = logs.process([job.request for job in writes])
                answers.extend(zip([job.answer for job in writes], outcome.results, strict=True))
            except BaseException:
                failure = Failure()
                answers.extend((job.answer, failure) for job in writes)
        for job in batch:
            if isinstance(job, Call):
                try:
                    answers.append((job.answer, job.work(logs)))
                except BaseException:
                    answers.append((job.answer, Failure()))
        stale: list[bytes] = []
        if outcome is not None:
            stale = [
                job.request.segment.author
                for job, result in zip(writes, outcome.results, strict=True)
                if isinstance(result, Stale)
            ]
        self._reactor.callFromThread(self._deliver, outcome, stale, answers)

    # -- on the reactor

    def _deliver(
        self, outcome: Outcome | None, stale: Sequence[bytes], answers: list[tuple[Answer, Any]]
    ) -> None:
        if outcome is not None:
            self._committed(outcome, stale)
        for answer, value in answers:
            try:
                answer(value)
            except BaseException:  # the others must hear all the same
                if not pass_on(self._reactor):
                    _log.failure("an answer of the store was not taken")
