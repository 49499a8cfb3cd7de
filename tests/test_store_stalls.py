"""What members make a store's thread do: bounded in one go, in turns, and not for nothing."""

from __future__ import annotations

import threading
from collections import Counter, deque
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import limits
from gossiplog.errors import StoreClosedError, StoreError
from gossiplog.gossip import backlog, events, forks
from gossiplog.gossip.allowance import TOIL_BYTES_PER_POINT
from gossiplog.gossip.fair_calls import FairCalls
from gossiplog.gossip.messages import Fork, Want, WantItem
from gossiplog.gossip.outbox import PROOF, READS_AT_ONCE
from gossiplog.gossip.quotas import QuotaLedger, Quotas
from gossiplog.gossip.store_effects import StoreEffects
from gossiplog.live import store_thread
from gossiplog.live.job_queue import COMMIT_BYTES, JOB_BYTES, CallJob, JobQueue, WriteJob
from gossiplog.live.store_thread import StoreThread
from gossiplog.log import segment as segments
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import ROW_TOIL_BYTES, Head, Segment, build, toil_bytes, verify
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, AddFork, Append, FillRow, RowFilled, SetCursor
from gossiplog.testing.network import VirtualReactor, VirtualThread
from tests.replicacase import ANN, BOB, ReplicaCase, log, proof_of

MOST_TOIL_BYTES = limits.READ_AHEAD_BYTES + (1 << 20)
"""Of one read: what it may take, and one row more, of which most is cut off."""


def nothing(_: Any) -> None:
    """An answer nobody waits for."""


def many(seed: int, rows: int, count: int, body: bytes = b"") -> list[Accept]:
    """A log of so many rows with so many entries each."""
    pair = Keypair(seed.to_bytes(32, "big"))
    head = Head(0, genesis_id(pair.author))
    found = []
    for _ in range(rows):
        [row], head = build(pair, head, [body] * count)
        found.append(Accept(row, head))
    return found


class ReadTests(SynchronousTestCase):
    """One read of the store for a peer."""

    def setUp(self) -> None:
        """Every row that is read is noted."""
        self.logs = Logs(MemoryBackend())
        self.read: list[Segment] = []
        self.hashed = 0

    def keep(self, *logs: list[Accept]) -> list[bytes]:
        """These are on disk; returns their authors."""
        for accepts in logs:
            self.logs.process(accepts)
        return [accepts[0].segment.author for accepts in logs]

    def ask(self, *wants: tuple[bytes, int]) -> backlog.Backlog:
        """A peer wants these; what is hashed is counted."""
        chain, stored = segments._chain, self.logs.segments

        def counted(entry_id: bytes, found: Any) -> bytes:
            self.hashed += len(found)
            return chain(entry_id, found)

        def noted(author: bytes, first: int, limit_bytes: int) -> list[Segment]:
            rows = stored(author, first, limit_bytes)
            self.read += rows
            return rows

        with patch.object(segments, "_chain", counted):
            return backlog.read(wants, limits.READ_AHEAD_BYTES, noted, self.logs.fork_proof)

    def test_the_end_of_full_rows(self) -> None:
        """A WANT for the last entry of each of many full rows: each is hashed whole for it, so few are read at once."""
        authors = self.keep(*(many(seed, 1, 4096) for seed in range(1, 9)))
        found = self.ask(*[(author, 4096) for author in authors] * (READS_AT_ONCE // 8))
        self.assertEqual([s.seq if isinstance(s, ForkProof) else s.first for s in found.segments], [4096])
        self.assertLessEqual(self.hashed, 2 * 4096)  # to verify it, and to cut it
        self.assertLessEqual(found.vain_bytes, MOST_TOIL_BYTES)
        self.assertGreater(found.vain_bytes, 4095 * 64)

    def test_many_small_rows(self) -> None:
        """Of a log that was never merged: a signature is verified for each."""
        [author] = self.keep(many(1, 300, 1))
        found = self.ask((author, 1))
        self.assertLessEqual(len(self.read), limits.READ_AHEAD_BYTES // segments.ROW_TOIL_BYTES + 1)
        self.assertEqual(len(found.segments), len(self.read))
        self.assertEqual(found.vain_bytes, 0)

    def test_rows_of_many_entries_without_bytes(self) -> None:
        """Each takes as long to verify as one of 128 KiB."""
        authors = self.keep(*(many(seed, 1, 4096) for seed in range(1, 9)))
        self.ask(*[(author, 1) for author in authors])
        self.assertLessEqual(sum(map(toil_bytes, self.read)), MOST_TOIL_BYTES)

    def test_what_is_withheld(self) -> None:
        """Rows that lack a payload were read all the same."""
        rows = many(1, 1, 4096)
        holed = segments.drop_payloads(rows[0].segment, [4096])
        [author] = self.keep([Accept(holed, rows[0].head)])
        found = self.ask((author, 1))
        self.assertEqual((found.segments, found.withheld), ((), (author,)))
        self.assertEqual(found.vain_bytes, toil_bytes(holed))

    def test_proofs(self) -> None:
        """Are verified each time, and count like rows."""
        authors = []
        for seed in range(1, 9):
            [left], [right] = many(seed, 1, 1, b"l"), many(seed, 1, 3000, b"r")
            proof = build_proof(left.segment, right.segment)
            assert proof is not None
            self.logs.process([AddFork(proof)])
            authors.append(proof.author)
        found = self.ask(*[(author, PROOF) for author in authors])
        self.assertLess(len(found.segments), 4)
        self.assertGreater(found.vain_bytes, limits.READ_AHEAD_BYTES)


class ChargeTests(ReplicaCase):
    """What a peer pays for reads that give it little."""

    def setUp(self) -> None:
        super().setUp()
        self.entries = log(ANN, 3)
        self.hear(0, *self.entries)
        self.commit(*self.entries)
        self.allowance = self.replica.core.sessions[1].allowance

    def ask(self, number: int = 1) -> list[events.Load]:
        """A peer wants the last entry; returns what is to be read."""
        effects = self.hear(number, Want((WantItem(ANN.author, 3),)))
        return [effect for effect in effects if isinstance(effect, events.Load)]

    def test_points(self) -> None:
        """As many as the work took time."""
        [load] = self.ask()
        echo, self.allowance._echo = self.allowance._echo, 0.0
        self.assertGreater(echo, 0)
        before = self.allowance._points
        self.do(events.Loaded(load.session, (self.entries[2],), (), 100 * TOIL_BYTES_PER_POINT))
        self.assertEqual(before - self.allowance._points, 100)

    def test_numbers_of_the_specification(self) -> None:
        """Of a row, an entry, one that is cut off, and a point."""
        row = log(ANN, 1)[0]._replace(first=11, count=100, bodies=bytes(1000))
        self.assertEqual(toil_bytes(row), 8192 + 64 * 100 + 1000)
        self.assertEqual(segments.cut_toil_bytes(row, 60), 64 * 50)
        self.assertEqual(segments.cut_toil_bytes(row, 10), 0)
        self.assertEqual(TOIL_BYTES_PER_POINT, 65_536)

    def test_no_faster_than_its_allowance_grows(self) -> None:
        """When nothing is left nothing is read; it is no offence."""
        [load] = self.ask()
        vain = (limits.ALLOWANCE_POINTS + limits.MAX_ECHO_POINTS) * TOIL_BYTES_PER_POINT
        self.do(events.Loaded(load.session, (self.entries[2],), (), vain))
        self.assertEqual(self.ask(), [])
        self.assertEqual(len(self.ask(2)), 1)
        effects = self.tick(limits.MAX_ECHO_POINTS / limits.ALLOWANCE_POINTS_PER_SECOND + 1)
        self.assertEqual([e.session for e in effects if isinstance(e, events.Load)], [1])


class BeyondTests(ReplicaCase):
    """There is no room for more, nor for more names of whom there is none for."""

    def setUp(self) -> None:
        super().setUp()
        weights = self.replica.core.ledger._weights
        self.replica.limit_to(
            self.replica.interest.choices, QuotaLedger(Quotas(bytes=1), weights, self.heads.local)
        )
        self.replica.core.ledger.refused.update(
            (number.to_bytes(32, "big"), None)
            for number in range(limits.MAX_CHOSEN_AUTHORS)  # type: ignore[misc]
        )

    def test_nothing_is_verified(self) -> None:
        """Neither entries nor proofs: nothing could come of it."""
        [entry], proof = log(ANN, 1), proof_of(BOB)
        self.assertEqual(self.replica.awaited(0, [entry]), [])
        checked: list[Segment] = []
        self.replica.receiver._verify = lambda segment: checked.append(segment) or verify(segment)  # type: ignore[func-returns-value]
        self.patch(forks, "verify_proof", checked.append)
        self.assertEqual(self.hear(0, entry, Fork(proof)), [])
        self.assertEqual(checked, [])


class QueueTests(SynchronousTestCase):
    """What the thread does next."""

    def test_own_appends_first(self) -> None:
        """Whatever members brought before."""
        queue = JobQueue()
        for seed in range(1, 500):
            queue.put(WriteJob(many(seed, 1, 1)[0], nothing))
        own = WriteJob(Append(bytes(32), [b"x"]), nothing)
        queue.put(own)
        self.assertIs(queue.take()[0], own)

    def test_appends_without_end(self) -> None:
        """Leave half of each commit to what others wrote."""
        queue = JobQueue()
        own = [WriteJob(Append(bytes(32), [b"x"]), nothing) for _ in range(2000)]
        for job in own:
            queue.put(job)
        news = [WriteJob(many(seed, 1, 1)[0], nothing) for seed in range(1, 100)]
        for job in news:
            queue.put(job)
        taken = queue.take()
        self.assertEqual(taken[-len(news) :], news)
        self.assertEqual(taken[: -len(news)], own[: len(taken) - len(news)])
        self.assertGreaterEqual(len(taken), COMMIT_BYTES // JOB_BYTES // 2)

    def test_not_before_entries_of_their_own_log(self) -> None:
        """Which came before them, from elsewhere."""
        queue = JobQueue()
        first, *_ = many(1, 1, 1)
        jobs = [WriteJob(first, nothing), WriteJob(Append(first.segment.author, [b"x"]), nothing)]
        other = WriteJob(Append(bytes(32), [b"x"]), nothing)
        for job in (*jobs, other):
            queue.put(job)
        self.assertEqual(queue.take(), [other, *jobs])

    def test_in_the_order_they_came_when_large_ones_follow(self) -> None:
        """All of a log are in the other lane then."""
        queue = JobQueue()
        jobs = [WriteJob(Append(bytes(32), [bytes(size)]), nothing) for size in (1, 1, COMMIT_BYTES, 1)]
        for job in jobs:
            queue.put(job)
        self.assertEqual([*queue.take(), *queue.take()], jobs)

    def test_put_back(self) -> None:
        """What there was no time for keeps its place."""
        queue = JobQueue()
        calls = [CallJob(nothing, nothing) for _ in range(4)]
        for call in calls:
            queue.put(call)
        queue.take()
        queue.put(last := CallJob(nothing, nothing))
        queue.put_back(calls[1:])
        self.assertEqual(queue.take(), [*calls[1:], last])


class ThreadTests(TestCase):
    """A store's thread, with the real reactor."""

    async def test_appends_go_between_long_reads(self) -> None:
        """Each read takes all the time there is for one go."""
        thread = StoreThread(lambda: Logs(MemoryBackend()), reactor, lambda *_: None, "test store")  # type: ignore[arg-type]
        self.addCleanup(thread._thread.join)
        author = thread.now(lambda logs: logs.writer("w").author)
        now = 0.0
        seqs: list[int] = []
        entered, go = threading.Event(), threading.Event()

        def read(logs: Logs) -> None:
            nonlocal now
            now += store_thread.CALLS_SECONDS
            seqs.append(logs.clock.seq(author))
            entered.set()
            go.wait()

        self.patch(thread, "_clock", lambda: now)
        for _ in range(10):
            thread.call(read, nothing)
        entered.wait()
        thread.write(Append(author, [b"x"]), nothing)
        go.set()
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        await closed
        self.assertEqual(seqs[-1], 1)
        self.assertLessEqual(seqs.count(0), 2)
        self.assertEqual(len(seqs), 10)

    async def test_short_calls_are_told_of_together(self) -> None:
        """And in their order."""
        thread = StoreThread(lambda: Logs(MemoryBackend()), reactor, lambda *_: None, "test store")  # type: ignore[arg-type]
        self.addCleanup(thread._thread.join)
        self.patch(thread, "_clock", lambda: 0.0)
        heard: list[int] = []
        with thread.together():
            for number in range(50):
                thread.call(lambda logs, number=number: number, heard.append)  # type: ignore[misc]
        closed: Deferred[Any] = Deferred()
        thread.close(closed.callback)
        await closed
        self.assertEqual(heard, [*range(50)])


class Thread:
    """I do what is called when told to."""

    def __init__(self) -> None:
        self.queued: deque[tuple[Any, Any]] = deque()
        self.closed = False

    def call(self, work: Any, answer: Any) -> None:
        if self.closed:
            raise StoreClosedError("closed")
        self.queued.append((work, answer))

    def step(self) -> None:
        """One is done."""
        work, answer = self.queued.popleft()
        answer(work(None))


class TurnsTests(SynchronousTestCase):
    """Whose reads are done next."""

    def setUp(self) -> None:
        self.thread = Thread()
        self.calls = FairCalls(self.thread.call, lambda done: self.toils.get(done[0], 1))
        self.done: list[Any] = []
        self.toils: dict[int, float] = {}
        self.allowed: list[int] = []

    def put(self, session: int, count: int = 1) -> None:
        """A session asks for so much."""

        def work(most: int, _: Any, it: tuple[int, int]) -> tuple[int, int]:
            self.allowed.append(most)
            return it

        for number in range(count):
            self.calls.put(session, partial(work, it=(session, number)), self.done.append)

    def test_one_of_each_session_at_a_time(self) -> None:
        """In turns, if all make as much work."""
        for session in range(3):
            self.put(session, 100)
        self.put(9)
        while (9, 0) not in self.done:
            self.assertLessEqual(len(self.thread.queued), limits.LOADS_AT_ONCE)
            self.thread.step()
        self.assertLessEqual(len(self.done), 4)
        while self.thread.queued:
            self.thread.step()
        self.assertEqual(sorted(self.done), sorted([*((s, n) for s in range(3) for n in range(100)), (9, 0)]))
        self.assertEqual([n for s, n in self.done if s == 1], [*range(100)])

    def test_who_asks_for_little(self) -> None:
        """Waits for what is under way, however many sessions ask for how much, and again and again."""
        hostile = range(100, 124)
        for session in hostile:
            self.toils[session] = limits.READ_AHEAD_BYTES
            self.put(session, 40)
        for session in range(4):
            self.put(session)
            self.toils[session] = ROW_TOIL_BYTES
        for _ in range(4 * len(hostile)):
            self.thread.step()
        self.assertEqual(len([session for session, _ in self.done if session < 4]), 4)
        for session in range(20):  # so many that ask for a row each
            before = len(self.done)
            self.put(session % 4)
            while self.done[-1][0] != session % 4:
                self.thread.step()
            self.assertLessEqual(len(self.done) - before, limits.LOADS_AT_ONCE + 1)
        while self.thread.queued:
            self.thread.step()
        self.assertEqual(len(self.done), 40 * len(hostile) + 24)

    def test_who_makes_more_work_has_fewer_turns(self) -> None:
        for session in range(12):
            self.toils[session] = (1 + session % 2) * limits.READ_AHEAD_BYTES / 2
            self.put(session, 1000)
        for _ in range(900):
            self.thread.step()
        turns = Counter(session % 2 for session, _ in self.done)
        self.assertApproximates(turns[1] / turns[0], 0.5, 0.05)

    def test_less_at_once_while_others_wait(self) -> None:
        """All that are under way are then as long as one otherwise, which appends wait for."""
        for session in range(6):
            self.put(session)
        while self.thread.queued:
            self.thread.step()
        self.assertEqual(self.allowed[0], limits.READ_AHEAD_BYTES)
        self.assertEqual(self.allowed[4], limits.READ_AHEAD_BYTES // limits.LOADS_AT_ONCE)
        self.assertEqual(self.allowed[5], limits.READ_AHEAD_BYTES)

    def test_a_session_that_is_over(self) -> None:
        """Its reads are answered and not done; the one that is under way is."""
        for session in range(limits.LOADS_AT_ONCE + 1):
            self.put(session, 3)
        self.calls.forget(0)
        self.calls.forget(limits.LOADS_AT_ONCE)
        self.calls.forget(99)
        while self.thread.queued:
            self.thread.step()
        failures = [each for each in self.done if isinstance(each, StoreError)]
        self.assertEqual(len(failures), 2 + 3)
        self.assertEqual(len(self.done), 3 * (limits.LOADS_AT_ONCE + 1))

    def test_a_store_that_was_closed(self) -> None:
        """Everything is answered."""
        for session in range(10):
            self.put(session, 3)
        self.thread.closed = True
        while self.thread.queued:
            self.thread.step()
        self.assertEqual(
            len([each for each in self.done if isinstance(each, StoreError)]), 30 - limits.LOADS_AT_ONCE
        )


class LoadTests(SynchronousTestCase):
    """What sessions have read, through the effects of a replica."""

    def setUp(self) -> None:
        """What a read takes is what its session is said to take."""
        self.thread = Thread()
        self.toils: dict[bytes, int] = {}
        self.allowed: list[int] = []
        self.done: list[int] = []
        store: Any = SimpleNamespace(held=SimpleNamespace(unwritten={}), call=self.thread.call)
        teller: Any = None
        self.effects = StoreEffects(store, self.fail, self.answered, teller, lambda: None)
        self.patch(backlog, "read", self.read)

    def read(self, wants: Any, limit_bytes: int, *_: Any) -> backlog.Backlog:
        self.allowed.append(limit_bytes)
        return backlog.Backlog((), (), self.toils[wants[0][0]])

    def answered(self, event: Any) -> None:
        self.done.append(event.session)
        if event.session < 100:
            self.ask(event.session)

    def ask(self, session: int) -> None:
        self.effects.load(events.Load(session, ((bytes([session]), 1),), limits.READ_AHEAD_BYTES))

    def step(self) -> None:
        work, answer = self.thread.queued.popleft()
        logs: Any = SimpleNamespace(segments=None, fork_proof=None)
        answer(work(logs))

    def test_by_what_was_read(self) -> None:
        """Who had little read is next, and each is given less while others wait."""
        for session in range(20):
            self.toils[bytes([session])] = limits.READ_AHEAD_BYTES
            self.ask(session)
        self.toils[bytes([100])] = ROW_TOIL_BYTES
        self.ask(100)
        for _ in range(200):
            self.step()
        self.assertEqual(self.done.count(100), 1)
        before = len(self.done)
        self.ask(100)
        while self.done[-1] != 100:
            self.step()
        self.assertLessEqual(len(self.done) - before, limits.LOADS_AT_ONCE + 1)
        self.assertEqual(self.allowed[-1], limits.READ_AHEAD_BYTES // limits.LOADS_AT_ONCE)


class FillTests(SynchronousTestCase):
    """Segments that go by, where very many rows lack a payload."""

    rows = 300

    def setUp(self) -> None:
        """A log of which each entry has a row, and no payload."""
        self.backend = MemoryBackend()
        self.logs = Logs(self.backend)
        pair = Keypair(bytes([5]) * 32)
        start = Head(0, genesis_id(pair.author))
        bodies = [bytes([number % 256, number // 256]) for number in range(self.rows)]
        head, holed = start, []
        for body in bodies:
            [entry], head = build(pair, head, [body])
            holed.append(Accept(segments.drop_payloads(entry, [entry.first]), head))
        self.logs.process(holed)
        [self.whole], _ = build(pair, start, bodies)
        self.wrong = self.whole._replace(bodies=b"\xc4\x01x" * self.rows)
        self.read = 0
        stored = self.backend.segments

        def noted(*arguments: Any) -> list[Segment]:
            self.read += 1
            return stored(*arguments)

        self.patch(self.backend, "segments", noted)

    def fill(self, *requests: FillRow) -> list[Any]:
        """In one transaction, with as many rows looked at as that may take."""
        self.read = 0
        results = self.logs.process(requests).results
        self.assertLessEqual(self.read, 64)
        return results

    def test_in_steps(self) -> None:
        """Each about ten milliseconds, until everything is there."""
        [result] = self.fill(FillRow(self.whole))
        steps = 1
        while isinstance(result, FillRow):
            [result] = self.fill(result)
            steps += 1
        self.assertEqual(result, RowFilled(1, self.rows, self.rows, False, 0))
        self.assertGreaterEqual(steps, self.rows // 64)
        self.assertEqual(self.logs.holes(), {})

    def test_many_of_them(self) -> None:
        """A transaction is no longer for that."""
        results = self.fill(*[FillRow(self.wrong)] * 50)
        self.assertEqual(results[1:], [FillRow(self.wrong)] * 49)

    def test_what_brings_nothing(self) -> None:
        """Is counted, and goes on to the end."""
        [result] = self.fill(FillRow(self.wrong))
        while isinstance(result, FillRow):
            [result] = self.fill(result)
        rows = self.logs.segments(self.whole.author, 1, 1 << 30)
        self.assertEqual(result, RowFilled(vain_bytes=sum(map(toil_bytes, rows))))

    def test_through_a_thread(self) -> None:
        """What is left is queued again, behind what else is to be written; the answer comes at the end."""
        clock = VirtualReactor()
        thread = VirtualThread(lambda: self.logs, clock, lambda *_: None, "test store")
        answers: list[Any] = []
        thread.write(FillRow(self.whole), answers.append)
        thread.write(SetCursor("x", b"y"), lambda _: answers.append("cursor"))
        clock.run(1)
        self.assertEqual(answers, ["cursor", RowFilled(1, self.rows, self.rows)])

    def test_one_step_on_disk(self) -> None:
        """The rows of another place are not looked for among all rows before it."""
        logs = open_logs(self.mktemp())
        self.addCleanup(logs.close)
        logs.process(
            [Accept(each, verify(each)) for each in self.logs.segments(self.whole.author, 1, 1 << 30)]
        )
        [result] = logs.process([FillRow(self.whole, 250)]).results
        self.assertEqual(result, RowFilled(250, self.rows, self.rows - 249, True))


class VainFillTests(ReplicaCase):
    """Who pays for segments that bring no payload."""

    def test_points(self) -> None:
        """Who sent what nobody asked for."""
        self.hear(0, *(entries := log(ANN, 2)))
        self.commit(*entries)
        self.heads.lacks(ANN.author)
        allowance = self.replica.core.sessions[1].allowance
        effects = self.hear(1, entries[0])
        self.assertIn(events.FillHoles(1, entries[0], False), effects)
        allowance._echo, before = 0.0, allowance._points
        self.do(events.HolesFilled(1, ANN.author, vain_bytes=10 * TOIL_BYTES_PER_POINT))
        self.assertEqual(before - allowance._points, 10)

    def test_few_at_once(self) -> None:
        """Of what was not asked for: each may be compared with thousands of rows."""
        self.hear(0, *(entries := log(ANN, 2)))
        self.commit(*entries)
        self.heads.lacks(ANN.author)

        def fills(number: int) -> int:
            return sum(isinstance(effect, events.FillHoles) for effect in self.hear(number, entries[0]))

        self.assertEqual([fills(1) for _ in range(6)], [1, 1, 1, 1, 0, 0])
        self.assertEqual(fills(2), 1)
        self.do(events.HolesFilled(1, ANN.author))
        self.assertEqual([fills(1) for _ in range(2)], [1, 0])
