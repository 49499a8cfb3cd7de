"""The order of a store's work: news does not wait behind a catch-up.

Responsible for: which of the queued jobs the store's thread does next.
Must not know: threads, disks, what a job means.
Invariant: the writes of one author stay in the order they came, so an append never overtakes an entry of its own log.
What peers bring, however much, is no reason for an append to wait longer than for what is being done.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeAlias

from gossiplog.store.requests import Accept, AddFork, Append, FillRow, Forget

NEWS_BYTES = 16 * 1024
"""A write up to this size is news: an append, or the live push of one."""

COMMIT_BYTES = 640 * 1024
"""Bodies of one commit of the slow lane: about ten milliseconds, which is what news may have to wait."""

JOB_BYTES = 2 * 1024
"""Counted for each job besides: so long does a small one take in the commit, and when it is told of."""

Answer: TypeAlias = Callable[[Any], None]
"""Called on the reactor with the job's result, or what it raised."""


class WriteJob:
    """A request of :meth:`Logs.process` and who waits for its result; a peer brought so many bytes of it."""

    __slots__ = ("answer", "author", "brings", "request", "size")

    def __init__(self, request: Any, answer: Answer, brings: int = 0) -> None:
        self.request = request
        self.answer = answer
        self.brings = brings
        self.author: bytes | None = None
        self.size = 0
        if isinstance(request, Append):
            self.author, self.size = request.author, sum(map(len, request.bodies))
        elif isinstance(request, Accept | FillRow):
            self.author, self.size = request.segment.author, len(request.segment.bodies)
        elif isinstance(request, AddFork):
            self.author, self.size = request.proof.author, len(request.proof.segment.bodies)
        elif isinstance(request, Forget):
            self.author = request.author


class CallJob:
    """Any other work; it sees every write whose result was there when it was queued."""

    __slots__ = ("answer", "work")

    def __init__(self, work: Callable[[Any], Any], answer: Answer) -> None:
        self.work = work
        self.answer = answer


Job: TypeAlias = WriteJob | CallJob


class JobQueue:
    """I am two queues: small writes of authors with nothing else queued, our own appends first; and the rest."""

    def __init__(self) -> None:
        self._own: dict[int, WriteJob] = {}
        self._news: dict[int, WriteJob] = {}
        self._fresh: dict[bytes, dict[int, dict[int, WriteJob]]] = {}
        self._count = 0
        self._rest: deque[Job] = deque()
        self._waiting: Counter[bytes] = Counter()
        self._news_was_last = False

    def put(self, job: Job) -> None:
        """Queue a job."""
        if isinstance(job, WriteJob) and job.author is not None:
            if job.size <= NEWS_BYTES and job.author not in self._waiting:
                fresh = self._fresh.setdefault(job.author, {})
                is_own = isinstance(job.request, Append) and all(q is self._own for q in fresh.values())
                queue = self._own if is_own else self._news
                self._count += 1
                queue[self._count] = job
                fresh[self._count] = queue
                return
            # news goes before what follows it, and so along with it
            for number, queue in self._fresh.pop(job.author, {}).items():
                self._rest.append(queue.pop(number))
                self._waiting[job.author] += 1
            self._waiting[job.author] += 1
        self._rest.append(job)

    def put_back(self, calls: Iterable[CallJob]) -> None:
        """There was no time for these: they are next, when it is the turn of the rest."""
        self._rest.extendleft(reversed([*calls]))

    def take(self) -> list[Job]:
        """What to do next, empty when nothing is queued; the lanes take turns while both have work."""
        if (self._own or self._news) and not (self._news_was_last and self._rest):
            self._news_was_last = True
            return self._take_news()
        self._news_was_last = False
        batch: list[Job] = []
        size = 0
        while self._rest and size < COMMIT_BYTES:
            job = self._rest.popleft()
            batch.append(job)
            size += JOB_BYTES
            if isinstance(job, WriteJob):
                size += job.size
                if job.author is not None:
                    self._waiting[job.author] -= 1
                    if not self._waiting[job.author]:
                        del self._waiting[job.author]
        return batch

    def _take_news(self) -> list[Job]:
        news: list[Job] = []
        size = 0
        own_bytes = COMMIT_BYTES // 2 if self._news else COMMIT_BYTES
        for queue, most in ((self._own, own_bytes), (self._news, COMMIT_BYTES)):
            for number in [*islice(queue, COMMIT_BYTES // JOB_BYTES)]:
                if size >= most:
                    break
                write = queue.pop(number)
                news.append(write)
                size += write.size + JOB_BYTES
                if write.author is not None:
                    fresh = self._fresh[write.author]
                    del fresh[number]
                    if not fresh:
                        del self._fresh[write.author]
        return news

    def __len__(self) -> int:
        return len(self._own) + len(self._news) + len(self._rest)
