"""What is done with a batch of a store's work.

Responsible for: committing its writes together, then doing the rest in order; what came of it.
Must not know: threads, reactors, which batch is next (``job_queue``).
Invariant: every job of a batch has one answer, or is left over for the next one; the writes of a batch share one fate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gossiplog.live.job_queue import Answer, CallJob, Job, JobQueue, WriteJob
from gossiplog.store.logs import Logs
from gossiplog.store.requests import CommitReport, Delivery, FillRow, Stale


def do_batch(
    logs: Logs,
    batch: Sequence[Job],
    jobs: JobQueue,
    is_late: Callable[[], bool],
    caught: type[BaseException] = BaseException,
) -> tuple[Delivery, list[CallJob]]:
    """Do a batch of ``jobs``; return what came of it, and the calls for which it is too late, which are back there.

    ``is_late`` is asked after each call.  What is no ``caught`` error is raised.
    """
    writes = [job for job in batch if isinstance(job, WriteJob)]
    delivery = _commit(logs, writes, jobs, caught) if writes else Delivery(None)
    answers = [*delivery.answers]
    calls = deque(job for job in batch if isinstance(job, CallJob))
    while calls:
        call = calls.popleft()
        value: Any
        try:
            value = call.work(logs)
        except caught as error:
            value = error
        answers.append((call.answer, value))
        if is_late():
            break
    jobs.put_back(calls)
    return delivery._replace(answers=answers), [*calls]


def failed(jobs: Sequence[Job], error: BaseException) -> Delivery:
    """Return what is told of jobs that are not done."""
    brought_bytes = sum(job.brings for job in jobs if isinstance(job, WriteJob))
    return Delivery(None, error, brought_bytes, answers=[(job.answer, error) for job in jobs])


def _commit(logs: Logs, writes: Sequence[WriteJob], jobs: JobQueue, caught: type[BaseException]) -> Delivery:
    try:
        report: CommitReport = logs.process([job.request for job in writes])
    except caught as error:
        return failed(writes, error)
    stale = tuple(
        job.request.segment.author
        for job, result in zip(writes, report.results, strict=True)
        if isinstance(result, Stale)
    )
    answers: list[tuple[Answer, Any]] = []
    brought_bytes = 0
    for job, result in zip(writes, report.results, strict=True):
        if isinstance(result, FillRow):  # the rest of it, for the next time
            jobs.put(WriteJob(result, job.answer, job.brings))
        else:
            answers.append((job.answer, result))
            brought_bytes += job.brings
    return Delivery(report, None, brought_bytes, stale, answers=answers)
