"""Rings 1 and 6: the order of a store's work, its thread, and what comes back to the reactor."""

from __future__ import annotations

import threading
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog.errors import AppendOutcomeUnknown, StoreClosedError, StoreNotFoundError
from gossiplog.live.job_queue import COMMIT_BYTES, JOB_BYTES, NEWS_BYTES, CallJob, JobQueue, WriteJob
from gossiplog.live.store_thread import TOGETHER_BYTES, StoreThread
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, Append, Appended, CommitReport, SetCursor
from tests.netcase import Author

A, B = b"a" * 32, b"b" * 32


def nothing(_: Any) -> None:
    """An answer nobody waits for."""


def append(author: bytes, size: int = 1) -> WriteJob:
    return WriteJob(Append(author, [bytes(size)]), nothing)


class LanesTests(SynchronousTestCase):
    """Which of the queued jobs is next."""

    def test_news_overtakes_a_catch_up(self) -> None:
        lanes = JobQueue()
        bulk = [append(A, NEWS_BYTES + 1) for _ in range(100)]
        for job in bulk:
            lanes.put(job)
        news = append(B)
        lanes.put(news)
        self.assertEqual(lanes.take(), [news])

    def test_the_lanes_take_turns(self) -> None:
        lanes = JobQueue()
        bulk = append(A, NEWS_BYTES + 1)
        lanes.put(bulk)
        for _ in range(3):
            lanes.put(append(B))
            lanes.take()
        self.assertFalse(lanes)

    def test_news_goes_together(self) -> None:
        lanes = JobQueue()
        news = [append(author) for author in (A, B, A, A)]
        for job in news:
            lanes.put(job)
        self.assertEqual(lanes.take(), news)

    def test_a_commit_of_the_slow_lane_is_bounded(self) -> None:
        lanes = JobQueue()
        for _ in range(40):
            lanes.put(append(A, 100_000))
        while lanes:
            self.assertLess(
                sum(job.size for job in lanes.take() if isinstance(job, WriteJob)), COMMIT_BYTES + 100_000
            )

    def test_small_jobs_count(self) -> None:
        """Neither lane makes one commit of thousands of entries, nor tells of them all at once."""
        most = COMMIT_BYTES // JOB_BYTES + 1
        for large in (0, 1):
            lanes = JobQueue()
            jobs = [append(A, NEWS_BYTES + 1)] * large  # what follows it goes to the slow lane
            jobs += [append(A if large else number.to_bytes(32, "big")) for number in range(2000)]
            for job in jobs:
                lanes.put(job)
            taken = []
            while lanes:
                taken.append(lanes.take())
                self.assertLessEqual(len(taken[-1]), most)
            self.assertEqual([job for batch in taken for job in batch], jobs)

    def test_large_write_after_small_ones_of_the_same_author(self) -> None:
        """It must not overtake them when it is the slow lane's turn."""
        lanes = JobQueue()
        lanes.put(append(B))
        lanes.take()  # the slow lane is next
        small, large = append(A), append(A, NEWS_BYTES + 1)
        lanes.put(small)
        lanes.put(large)
        self.assertEqual(lanes.take(), [small, large])

    def test_order_per_author_whatever_comes(self) -> None:
        for seed in range(200):
            random = Random(seed)
            lanes = JobQueue()
            authors = [bytes([number]) * 32 for number in range(4)]
            put: dict[bytes | None, list[Any]] = {}
            taken: dict[bytes | None, list[Any]] = {}
            for _ in range(random.randrange(200)):
                if random.random() < 0.3:
                    for job in lanes.take():
                        taken.setdefault(getattr(job, "author", None), []).append(job)
                    continue
                kind = random.random()
                if kind < 0.1:
                    job: Any = CallJob(nothing, nothing)
                elif kind < 0.2:
                    job = WriteJob(SetCursor("x", None), nothing)
                elif kind < 0.5:
                    segment = Author(random.randrange(1, 4)).write(bytes(10))[0]
                    job = WriteJob(Accept(segment, segment), nothing)  # type: ignore[arg-type]
                else:
                    job = append(random.choice(authors), random.choice([1, NEWS_BYTES + 1, COMMIT_BYTES]))
                lanes.put(job)
                put.setdefault(getattr(job, "author", None), []).append(job)
            while lanes:
                for job in lanes.take():
                    taken.setdefault(getattr(job, "author", None), []).append(job)
            self.assertEqual(taken, put, seed)


class Gate:
    """I hold a store's thread until told to let it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, logs: Logs) -> None:
        self.entered.set()
        self.open.wait()


class Deaf:
    """A reactor whose loop is closed."""

    def callFromThread(self, *_: Any) -> None:
        raise RuntimeError("Event loop is closed")


class StoreThreadTests(TestCase):
    """The thread itself, with the real reactor."""

    def begin(self) -> StoreThread:
        self.outcomes: list[CommitReport] = []
        self.backend = MemoryBackend()
        thread = StoreThread(
            lambda: Logs(self.backend),
            reactor,
            lambda delivery: self.outcomes.append(delivery.report),
            "test store",  # type: ignore[arg-type]
        )
        self.addCleanup(thread._thread.join)
        return thread

    def test_opening_fails_where_it_was_asked_for(self) -> None:
        with self.assertRaises(StoreNotFoundError):
            StoreThread(lambda: open_logs(self.mktemp(), init=False), reactor, nothing, "none")  # type: ignore[arg-type]

    async def test_writes_that_queue_are_one_commit_and_one_signature(self) -> None:
        thread = self.begin()
        author = thread.now(lambda logs: logs.writer("w").author)
        gate = Gate()
        thread.call(gate, nothing)
        gate.entered.wait()
        answers: list[Any] = []
        done: Deferred[None] = Deferred()
        for number in range(100):
            thread.write(Append(author, [bytes([number])]), answers.append)
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        gate.open.set()
        await closed
        self.assertEqual(answers, [Appended(seq, seq) for seq in range(1, 101)])
        [outcome] = self.outcomes
        self.assertEqual([segment.count for segment in outcome.segments], [100])
        self.assertFalse(done.called)

    async def test_the_thread_is_gone_when_closing_is_told(self) -> None:
        thread = self.begin()
        told: Deferred[bool] = Deferred()
        thread.close(lambda value: told.callback(thread._thread.is_alive()))
        self.assertFalse(await told)

    async def test_what_is_queued_together_is_handed_over_at_the_end(self) -> None:
        """Or as soon as it is much; other work keeps its place; one within another ends with the outer one."""
        thread = self.begin()
        author = thread.now(lambda logs: logs.writer("w").author)
        answers: list[Any] = []
        with thread.together():
            for number in range(10):
                thread.write(Append(author, [bytes([number])]), answers.append)
            with thread.together():
                thread.call(lambda logs: logs.clock.seq(author), answers.append)
            self.assertTrue(thread._jobs.empty())
            self.assertEqual(thread.now(lambda logs: logs.clock.seq(author)), 10)
            thread.write(Append(author, [bytes(TOGETHER_BYTES)]), answers.append)
            thread.write(Append(author, [b"x"]), answers.append)
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        await closed
        self.assertEqual(
            answers, [*[Appended(seq, seq) for seq in range(1, 11)], 10, *map(Appended, (11, 12), (11, 12))]
        )
        self.assertEqual(sum(segment.count for outcome in self.outcomes for segment in outcome.segments), 12)
        self.assertEqual(self.outcomes[0].segments[0].count, 10)

    async def test_close_finishes_what_is_queued_and_takes_nothing_more(self) -> None:
        thread = self.begin()
        author = thread.now(lambda logs: logs.writer("w").author)
        answers: list[Any] = []
        thread.write(Append(author, [bytes(NEWS_BYTES + 1)]), answers.append)
        thread.write(Append(author, [b"x"]), answers.append)
        thread.call(lambda logs: logs.clock.seq(author), answers.append)
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        for refused in (thread.write, thread.call):
            with self.assertRaises(StoreClosedError):
                refused(None, nothing)  # type: ignore[arg-type]
        with self.assertRaises(StoreClosedError):
            thread.now(nothing)
        await closed
        self.assertEqual(answers, [Appended(1, 1), Appended(2, 2), 2])
        with self.assertRaises(StoreClosedError):
            self.backend.heads()

    async def test_what_raises_in_the_thread_fails_its_own_job(self) -> None:
        thread = self.begin()
        values: list[Any] = []
        thread.call(lambda logs: 1 // 0, values.append)
        closed: Deferred[Any] = Deferred()
        thread.call(lambda logs: "next", values.append)
        thread.close(closed.callback)
        await closed
        self.assertIsInstance(values[0], ZeroDivisionError)
        self.assertEqual(values[1], "next")

    async def test_an_answer_that_raises_takes_nothing_from_the_others(self) -> None:
        thread = self.begin()
        gate = Gate()
        thread.call(gate, nothing)
        gate.entered.wait()
        closed: Deferred[Any] = Deferred()
        thread.call(lambda logs: 0, lambda value: 1 // value)  # type: ignore[arg-type,return-value]
        heard: list[Any] = []
        thread.call(lambda logs: "heard", heard.append)
        thread.close(closed.callback)
        gate.open.set()
        await closed
        self.assertEqual(heard, ["heard"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_thread_that_ends(self) -> None:
        """What it was at and what is queued fails, what comes later is refused, and the Logs are closed."""
        thread = self.begin()
        gate = Gate()
        thread.call(gate, nothing)
        gate.entered.wait()

        def die(*_: Any) -> None:
            raise MemoryError("none left")

        self.patch(thread, "_work", die)
        answers: list[Any] = []
        last: Deferred[Any] = Deferred()
        thread.write(Append(A, [b"x"]), answers.append)
        thread.call(nothing, answers.append)
        thread.close(last.callback)
        gate.open.set()
        self.assertIsNone(await last)
        self.assertEqual([type(answer) for answer in answers], [AppendOutcomeUnknown, StoreClosedError])
        with self.assertRaises(StoreClosedError):
            self.backend.heads()

    async def test_nobody_waits_for_a_thread_that_is_gone(self) -> None:
        thread = self.begin()
        self.patch(thread, "_queue", lambda *_: 1 // 0)
        with self.assertRaises(StoreClosedError):
            thread.now(nothing)
        thread._thread.join()
        for call in (thread.write, thread.call):
            with self.assertRaises(StoreClosedError):
                call(None, nothing)  # type: ignore[arg-type]
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        self.assertIsNone(await closed)

    def test_a_reactor_that_takes_nothing(self) -> None:
        """What was queued is on disk all the same."""
        thread = self.begin()
        author = thread.now(lambda logs: logs.writer("w").author)
        gate = Gate()
        thread.call(gate, nothing)
        gate.entered.wait()
        self.patch(thread, "_reactor", Deaf())
        for number in range(3):
            thread.write(Append(author, [bytes([number])]), nothing)
        kept: list[int] = []
        thread.call(lambda logs: kept.append(logs.clock.seq(author)), nothing)
        gate.open.set()
        thread._thread.join()
        self.assertEqual(kept, [3])
        with self.assertRaises(StoreClosedError):
            self.backend.heads()

    async def test_who_is_told_of_commits_raises(self) -> None:
        """It is logged as a failure of its own, not as one of the reactor, and the answers are given."""
        thread = self.begin()
        self.patch(thread, "_delivered", lambda *_: 1 // 0)
        author = thread.now(lambda logs: logs.writer("w").author)
        answers: list[Any] = []
        thread.write(Append(author, [b"x"]), answers.append)
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        await closed
        self.assertEqual(answers, [Appended(1, 1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
