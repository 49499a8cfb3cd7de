"""Merging: what is chosen, what it costs, and what can stop it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreDamagedError, StoreFailedError, StoreFullError
from gossiplog.limits import MAX_SEGMENT_ENTRIES, SEGMENT_TARGET_BYTES
from gossiplog.log.segment import Head, Segment, drop_payloads, entries
from gossiplog.store.interface import PutSegment, Replace, Row, RowWrite
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.merging import FAN_IN, Merger, is_full, plan
from gossiplog.store.requests import Accept, Append, Forget
from gossiplog.testing.chain import Chain

STEP = 256 * 1024
ALL = 1 << 30


class Watched(MemoryBackend):
    """A memory backend that counts what merging does."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.read_bytes = 0
        self.rewritten_bytes = 0
        self.commits = 0
        self.rows_read = 0

    def rows(self, author: bytes, first: int = 1) -> Iterator[Row]:
        self.calls += 1
        return super().rows(author, first)

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        found = super().segments(author, first, limit_bytes, last)
        self.calls += 1
        self.rows_read += len(found)
        self.read_bytes += sum(len(segment.bodies) for segment in found)
        return found

    def commit(self, writes: Sequence[RowWrite]) -> None:
        super().commit(writes)
        self.commits += 1
        for write in writes:
            if isinstance(write, Replace):
                self.rewritten_bytes += len(write.segment.bodies)


def rows_of(*sizes: int) -> list[Row]:
    return [Row(seq, 1, size) for seq, size in enumerate(sizes, 1)]


class PlanTests(SynchronousTestCase):
    def test_few_small_rows_stay(self) -> None:
        self.assertEqual(plan([]), [])
        self.assertEqual(plan(rows_of(*[100] * (FAN_IN - 1))), [])
        self.assertEqual(plan(rows_of(100, 100, 10_000, *[100] * (FAN_IN - 1))), [])

    def test_eight_of_a_tier_are_merged_with_the_smaller_ones_between(self) -> None:
        for size in (100, 3000, 15_000):
            rows = rows_of(*[size] * FAN_IN)
            self.assertEqual(plan(rows), [rows])
        rows = rows_of(9000, *[100, 3000] * FAN_IN, 9000)
        self.assertEqual(plan(rows), [rows[1:-1]])

    def test_full_rows_are_left_alone(self) -> None:
        half = SEGMENT_TARGET_BYTES // 2
        self.assertEqual(plan(rows_of(*[half] * 20)), [])
        many = [Row(1, MAX_SEGMENT_ENTRIES // 2, 4096), Row(2049, MAX_SEGMENT_ENTRIES // 2, 4096)] * 9
        self.assertEqual(plan(many), [])
        rows = rows_of(*[100] * 5, half, *[100] * 5)
        self.assertEqual(plan(rows), [])

    def test_what_fills_a_row_is_merged_at_once(self) -> None:
        rows = rows_of(60_000, 60_000, 60_000)
        self.assertEqual(plan(rows), [rows[:2]])
        rows = [Row(1 + 2000 * place, 2000, 4000) for place in range(3)]
        self.assertEqual(plan(rows), [rows[:2]])

    def test_every_run_fits_a_segment(self) -> None:
        rows = [Row(place * 7 + 1, 7, 37 * place % 50_000 + 1) for place in range(3000)]
        for run in plan(rows):
            self.assertGreaterEqual(len(run), 2)
            self.assertLessEqual(sum(row.size for row in run), SEGMENT_TARGET_BYTES)
            self.assertLessEqual(sum(row.count for row in run), MAX_SEGMENT_ENTRIES)


class MergingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = Watched()
        self.logs = Logs(self.backend)
        self.ann = self.logs.writer("ann").author

    def append(self, *bodies: bytes) -> None:
        for body in bodies:
            self.logs.process([Append(self.ann, [body])])

    def merge_all(self, logs: Logs | None = None) -> int:
        calls = 1
        while (logs or self.logs).merge_some(STEP):
            calls += 1
        return calls

    def rows(self, author: bytes | None = None) -> list[Row]:
        return list(self.backend.rows(author or self.ann))

    def assertWhole(self, bodies: Sequence[bytes]) -> None:
        found = [e for segment in self.logs.segments(self.ann, 1, ALL) for e in entries(segment)]
        self.assertEqual([body for _, _, body in found], list(bodies))
        report = self.logs.verify()
        self.assertEqual((report.damages, report.entries), ([], len(bodies)))

    def test_logs_of_one_row_are_not_remembered(self) -> None:
        """Whoever makes a million authors makes no table grow; from the second row on they are counted."""
        backend = MemoryBackend()
        merger, chains = Merger(backend), [Chain(number) for number in range(1, 20)]
        for row in range(FAN_IN):
            puts = [chain.put(b"x") for chain in chains]
            backend.commit(puts)
            for put in puts:
                merger.note(put.segment)
            self.assertEqual(len(merger._small), len(chains) if row else 0)
            self.assertEqual(len(merger._queue), len(chains) if row == FAN_IN - 1 else 0)

    def test_a_log_written_one_by_one_becomes_full_rows(self) -> None:
        bodies = [b"%d" % number * 20 for number in range(3000)]
        for number, body in enumerate(bodies):
            self.append(body)
            if number % 37 == 0:
                self.logs.merge_some(STEP)
        head = self.logs.clock.head(self.ann)
        self.merge_all()
        self.assertEqual(self.logs.clock.head(self.ann), head)
        small = [row for row in self.rows() if not is_full(row)]
        self.assertLess(len(small), 3 * FAN_IN)
        self.assertLess(len(self.rows()) - len(small), 8)
        self.assertWhole(bodies)
        total = sum(len(body) + 2 for body in bodies)
        self.assertLess(self.backend.rewritten_bytes, 6 * total)

    def test_tiny_entries_cost_no_more(self) -> None:
        self.append(*[b""] * 5000)
        self.merge_all()
        self.assertLess(len(self.rows()), 3 * FAN_IN)
        self.assertLess(self.backend.rewritten_bytes, 6 * 10_000)
        self.assertWhole([b""] * 5000)

    def test_nothing_to_do_costs_nothing(self) -> None:
        self.append(*[b"x"] * 100)
        self.logs.process([Accept(*Chain(number).put(b"one")) for number in range(1, 200)])
        self.merge_all()
        self.backend.calls = self.backend.commits = 0
        self.assertFalse(self.logs.merge_some(STEP))
        self.append(*[b"x"] * (FAN_IN - 2))
        self.assertFalse(self.logs.merge_some(STEP))
        self.assertEqual((self.backend.calls, self.backend.commits), (0, FAN_IN - 2))

    def test_a_call_does_a_bounded_amount(self) -> None:
        self.append(*[b"x" * 1000] * 3000)
        self.backend.read_bytes = self.backend.commits = 0
        done = []
        for _ in range(5):  # look, read and check, commit, and so on
            self.assertTrue(self.logs.merge_some(1))
            done.append((self.backend.read_bytes > 0, self.backend.commits))
            self.assertLessEqual(self.backend.read_bytes, SEGMENT_TARGET_BYTES)
            self.backend.read_bytes = 0
        self.assertEqual(done, [(False, 0), (True, 0), (False, 1), (False, 1), (True, 1)])
        calls = self.merge_all()
        self.assertGreater(calls, 3_000_000 // (STEP + SEGMENT_TARGET_BYTES) - 1)
        self.assertWhole([b"x" * 1000] * 3000)

    def test_many_tiny_rows_take_several_calls(self) -> None:
        """A row of some bytes costs what one of some KiB does."""
        self.append(*[b"x"] * 3000)
        before = 0
        most = 0
        while self.logs.merge_some(512 * 1024):
            most = max(most, self.backend.rows_read - before)
            before = self.backend.rows_read
        self.assertGreater(most, 0)
        self.assertLessEqual(most, 256)
        self.assertWhole([b"x"] * 3000)

    def test_many_logs_take_several_calls(self) -> None:
        chains = [Chain(number) for number in range(1, 101)]
        for _ in range(FAN_IN):
            self.logs.process([Accept(*chain.put(b"x")) for chain in chains])
        self.assertTrue(self.logs.merge_some(STEP))
        self.merge_all()
        for chain in chains:
            self.assertEqual([row.count for row in self.rows(chain.author)], [FAN_IN])

    def test_small_rows_of_an_earlier_process_are_found(self) -> None:
        self.append(*[b"x"] * 50)
        self.backend.__class__ = MemoryBackend  # what it counted ends with the process
        logs = Logs(self.backend.reopen())
        self.assertFalse(logs.merge_some(STEP))
        logs.process([Append(self.ann, [b"x"])])
        self.merge_all(logs)
        self.assertEqual([segment.count for segment in logs.segments(self.ann, 1, ALL)], [51])

    def test_a_failing_commit_leaves_the_work_for_later(self) -> None:
        self.append(*[b"x"] * 20)
        before = self.rows()
        self.backend.fault = lambda writes: DiskFault.FULL
        for _ in range(2):
            with self.assertRaises(StoreFullError):
                self.merge_all()
            self.assertEqual(self.rows(), before)
        self.backend.fault = None
        self.merge_all()
        self.assertEqual([row.count for row in self.rows()], [20])
        self.append(*[b"x"] * 20)
        self.backend.fault = lambda writes: DiskFault.KEPT
        with self.assertRaises(StoreFailedError):
            self.merge_all()
        logs = Logs(self.backend.reopen())
        self.assertEqual(logs.verify().entries, 40)
        self.assertTrue(logs.verify().ok)

    def test_a_forgotten_log_is_no_work(self) -> None:
        chain = Chain()
        for _ in range(20):
            self.logs.process([Accept(*chain.put(b"x"))])
        self.assertTrue(self.logs.merge_some(STEP))  # what it prepared is forgotten too
        self.logs.process([Forget(chain.author)])
        self.backend.calls = 0
        self.assertFalse(self.logs.merge_some(STEP))
        self.assertEqual(self.backend.calls, 0)

    def test_rows_with_holes_stay_alone(self) -> None:
        chain = Chain()
        puts = [chain.put(b"%d" % number * 40) for number in range(30)]
        for number in (9, 20):
            segment = drop_payloads(puts[number].segment, [number + 1])
            puts[number] = PutSegment(segment, puts[number].head)
        self.logs.process([Accept(*put) for put in puts])
        self.merge_all()
        counts = [row.count for row in self.rows(chain.author)]
        self.assertEqual((counts[:3], counts[3]), ([9, 1, 10], 1))
        self.assertTrue(self.logs.verify().ok)

    def test_damage_is_said_once_and_passed_over(self) -> None:
        chain = Chain()
        puts = [chain.put(b"%d" % number * 40) for number in range(20)]
        bad = puts[5].segment._replace(bodies=puts[6].segment.bodies)
        puts[5] = PutSegment(bad, puts[5].head)
        other = Chain(2)
        self.logs.process([Accept(*put) for put in puts] + [Accept(*other.put(b"x")) for _ in range(20)])
        before = self.rows(chain.author)
        with self.assertRaises(StoreDamagedError) as caught:
            self.merge_all()
        self.assertIn("from 1 to 20", str(caught.exception))
        self.assertEqual([row.count for row in self.rows(other.author)], [20])
        self.merge_all()
        self.assertEqual(self.rows(chain.author), before)
        [damage] = self.logs.verify().damages
        self.assertEqual((damage.author, damage.first), (chain.author, 6))
        for _ in range(20):
            self.logs.process([Accept(*chain.put(b"behind the damage"))])
        self.merge_all()
        self.assertEqual(self.rows(chain.author)[:20], before)
        self.assertEqual(self.rows(chain.author)[20:], [Row(21, 20, 20 * 19)])

    def test_what_does_not_fill_a_row_yet_waits(self) -> None:
        chain = Chain()
        puts = [chain.put(b"x" * 30_000) for _ in range(40)]
        self.logs.process([Accept(*put) for put in puts])
        self.merge_all()
        self.assertEqual([row.count for row in self.rows(chain.author)], [4] * 9 + [1] * 4)
        self.assertEqual(self.logs.clock.head(chain.author), Head(40, puts[-1].head.id))
