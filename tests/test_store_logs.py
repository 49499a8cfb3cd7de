"""Logs over both backends: requests, results, and a clock that moves only when something is durable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import (
    AppendOutcomeUnknown,
    ForkedWriterError,
    InvalidValueError,
    NetworkMismatchError,
    PayloadTooLargeError,
    StoreDamagedError,
    StoreFailedError,
    StoreFullError,
    UnknownWriterError,
)
from gossiplog.limits import MAX_BODY_BYTES, MAX_SEQ, SEGMENT_TARGET_BYTES
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import build_proof, verify_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, entries, signed_head, verify
from gossiplog.store.interface import Backend, PutMeta, PutSegment, RowWrite
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import (
    Accept,
    Accepted,
    AddFork,
    Append,
    Appended,
    Done,
    Forget,
    SetCursor,
    SetMeta,
    Stale,
)
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.chain import Chain

ALL = 1 << 30


def accept(write: PutSegment) -> Accept:
    return Accept(write.segment, write.head)


def bodies_of(logs: Logs, author: bytes) -> list[bytes | None]:
    return [body for segment in logs.segments(author, 1, ALL) for _, _, body in entries(segment)]


class Counting:
    """A backend that counts commits; those of the store about itself (its generation, its writers) do not count."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.commits = 0

    def commit(self, writes: Sequence[RowWrite]) -> None:
        self.commits += any(not isinstance(write, PutMeta) for write in writes)
        self.backend.commit(writes)

    def __getattr__(self, name: str) -> object:
        return getattr(self.backend, name)


class LogsTests:
    """Everything that does not depend on the backend."""

    def make_backend(self) -> Backend:
        raise NotImplementedError

    def reopen(self, backend: Backend) -> Backend:
        raise NotImplementedError

    def setUp(self) -> None:
        self.backend = Counting(self.make_backend())
        self.logs = Logs(self.backend)  # type: ignore[arg-type]

    def reopened(self) -> Logs:
        """The logs as the next process finds them, with the clock of the last one."""
        self.backend = Counting(self.reopen(self.backend.backend))
        self.logs = Logs(self.backend)  # type: ignore[arg-type]
        return self.logs

    def now_and_reopened(self) -> Iterator[Logs]:
        yield self.logs
        yield self.reopened()

    # -- writers

    def test_a_writer_is_made_once(self) -> None:
        ann, bob = self.logs.writer("ann"), self.logs.writer("bob")
        self.assertNotEqual(ann.author, bob.author)
        self.assertIs(self.logs.writer("ann"), ann)
        self.assertEqual(self.logs.writers(), {"ann": ann.author, "bob": bob.author})
        self.assertEqual(set(self.logs.local), {ann.author, bob.author})
        self.reopened()
        self.assertEqual(self.logs.writer("ann").seed, ann.seed)
        self.assertEqual(self.logs.writers(), {"ann": ann.author, "bob": bob.author})

    def test_secrets_come_from_the_given_entropy(self) -> None:
        logs = Logs(self.backend, lambda size: b"e" * size)  # type: ignore[arg-type]
        self.assertEqual(logs.writer("ann").author, Keypair(b"e" * 32).author)
        self.assertEqual(logs.node_key(), b"e" * 32)

    def test_bad_names(self) -> None:
        for name in ("", "a/b", "..", "\x1b[2J"):
            with self.assertRaises(InvalidValueError):
                self.logs.writer(name)
        self.assertEqual(self.logs.writers(), {})

    def test_the_node_key_stays(self) -> None:
        key = self.logs.node_key()
        self.assertEqual(len(key), 32)
        self.assertEqual(self.logs.node_key(), key)
        self.assertEqual(self.reopened().node_key(), key)

    def test_a_store_belongs_to_one_network(self) -> None:
        self.logs.bind_network(b"d" * 32)
        self.logs.bind_network(b"d" * 32)
        self.reopened()
        self.logs.bind_network(b"d" * 32)
        with self.assertRaises(NetworkMismatchError):
            self.logs.bind_network(b"e" * 32)

    # -- appending

    def test_an_append(self) -> None:
        ann = self.logs.writer("ann")
        outcome = self.logs.process([Append(ann.author, [b"one", b"two"])])
        self.assertEqual(outcome.results, [Appended(1, 2)])
        [segment] = outcome.segments
        head = verify(segment)
        self.assertEqual(outcome.heads, {ann.author: head})
        for logs in self.now_and_reopened():
            self.assertEqual(list(logs.clock.items()), [(ann.author, head)])
            self.assertEqual(logs.segments(ann.author, 1, ALL), [segment])
            self.assertEqual(bodies_of(logs, ann.author), [b"one", b"two"])

    def test_appends_of_one_author_are_signed_once(self) -> None:
        ann, bob = self.logs.writer("ann"), self.logs.writer("bob")
        requests = [Append(ann.author, [b"%d" % number]) for number in range(50)]
        requests[20:20] = [Append(bob.author, [b"b", b"c"])]
        outcome = self.logs.process(requests)
        self.assertEqual([segment.count for segment in outcome.segments], [50, 2])
        self.assertEqual(outcome.results[:20], [Appended(seq, seq) for seq in range(1, 21)])
        self.assertEqual(outcome.results[20], Appended(1, 2))
        self.assertEqual(outcome.results[21:], [Appended(seq, seq) for seq in range(21, 51)])
        self.assertEqual(self.backend.commits, 1)
        self.assertEqual(bodies_of(self.logs, ann.author), [b"%d" % number for number in range(50)])

    def test_a_large_append_is_several_segments_in_one_commit(self) -> None:
        ann = self.logs.writer("ann")
        bodies = [b"x" * 1000] * 300 + [b"y" * MAX_BODY_BYTES] + [b""] * 5000
        outcome = self.logs.process([Append(ann.author, bodies), Append(ann.author, [b"last"])])
        self.assertEqual(outcome.results, [Appended(1, 5301), Appended(5302, 5302)])
        self.assertGreater(len(outcome.segments), 4)
        self.assertEqual(self.backend.commits, 1)
        before = Head(0, genesis_id(ann.author))
        for segment in outcome.segments:
            self.assertEqual((segment.first, segment.previous), (before.seq + 1, before.id))
            before = verify(segment)
        self.assertEqual(outcome.heads, {ann.author: before})
        self.assertEqual(bodies_of(self.reopened(), ann.author), [*bodies, b"last"])

    def test_appends_that_cannot_be_done_stop_no_others(self) -> None:
        ann = self.logs.writer("ann")
        stranger = Keypair(bytes(32)).author
        outcome = self.logs.process(
            [
                Append(ann.author, [b"one"]),
                Append(ann.author, [b"x" * (MAX_BODY_BYTES + 1)]),
                Append(stranger, [b"not mine"]),
                Append(ann.author, []),
                Append(ann.author, ["text"]),  # type: ignore[list-item]
                Append(ann.author, [b"two", b"three"]),
            ]
        )
        done, large, unknown, empty, text, last = outcome.results
        self.assertEqual((done, last), (Appended(1, 1), Appended(2, 3)))
        self.assertIsInstance(large, PayloadTooLargeError)
        self.assertIsInstance(unknown, UnknownWriterError)
        self.assertIsInstance(empty, InvalidValueError)
        self.assertIsInstance(text, InvalidValueError)
        self.assertEqual([segment.count for segment in outcome.segments], [3])
        self.assertEqual(bodies_of(self.logs, ann.author), [b"one", b"two", b"three"])

    def test_nothing_that_can_be_done_is_no_commit(self) -> None:
        ann = self.logs.writer("ann")
        outcome = self.logs.process([Append(ann.author, [b"x" * (MAX_BODY_BYTES + 1)])])
        self.assertIsInstance(outcome.results[0], PayloadTooLargeError)
        self.assertEqual(self.logs.process([]).results, [])
        self.assertEqual(self.backend.commits, 0)
        self.assertEqual(len(self.logs.clock), 0)

    def test_a_body_of_the_largest_size(self) -> None:
        ann = self.logs.writer("ann")
        body = b"x" * MAX_BODY_BYTES
        self.assertEqual(self.logs.process([Append(ann.author, [body])]).results, [Appended(1, 1)])
        self.assertEqual(bodies_of(self.reopened(), ann.author), [body])

    # -- receiving

    def test_a_segment_is_accepted(self) -> None:
        chain = Chain()
        first, second = chain.put(b"one", b"two"), chain.put(b"three")
        outcome = self.logs.process([accept(first), accept(second)])
        self.assertEqual(outcome.results, [Accepted(first.head), Accepted(second.head)])
        self.assertEqual(outcome.segments, chain.segments)
        self.assertEqual(outcome.heads, {chain.author: chain.head})
        self.assertEqual(self.backend.commits, 1)
        for logs in self.now_and_reopened():
            self.assertEqual(logs.clock.head(chain.author), chain.head)
            self.assertEqual(logs.segments(chain.author, 1, ALL), chain.segments)

    def test_what_does_not_continue_the_log_is_stale(self) -> None:
        chain = Chain()
        first, second, third = chain.put(b"one", b"two"), chain.put(b"three"), chain.put(b"four")
        none = Head(0, genesis_id(chain.author))
        self.assertEqual(self.logs.process([accept(second)]).results, [Stale(none)])
        outcome = self.logs.process([accept(first), accept(first), accept(third)])
        self.assertEqual(outcome.results, [Accepted(first.head), Stale(first.head), Stale(first.head)])
        [other], head = build(chain.keypair, Head(2, b"another id".ljust(32)), [b"three"])
        empty = signed_head(chain.keypair, first.head)
        outcome = self.logs.process([Accept(other, head), Accept(empty, first.head)])
        self.assertEqual(outcome.results, [Stale(first.head), Stale(first.head)])
        self.assertEqual(outcome.segments, [])
        self.assertEqual(self.logs.clock.head(chain.author), first.head)
        self.assertEqual(self.logs.segments(chain.author, 1, ALL), [first.segment])

    def test_own_entries_that_come_back_are_adopted_before_anything_is_appended(self) -> None:
        ann = self.logs.writer("ann")
        [segment], head = build(ann, Head(0, genesis_id(ann.author)), [b"signed before the disk was lost"])
        outcome = self.logs.process([Append(ann.author, [b"new"]), Accept(segment, head)])
        self.assertEqual(outcome.results, [Appended(2, 2), Accepted(head)])
        self.assertEqual([part.first for part in outcome.segments], [1, 2])
        self.assertEqual(bodies_of(self.reopened(), ann.author), [b"signed before the disk was lost", b"new"])
        self.assertTrue(self.logs.verify().ok)

    # -- forks

    def test_a_forked_log_stays_as_it_is(self) -> None:
        chain = Chain()
        first, second = chain.put(b"one"), chain.put(b"two")
        self.logs.process([accept(first)])
        outcome = self.logs.process([AddFork(chain.fork()), AddFork(chain.fork()), accept(second)])
        self.assertEqual(outcome.results, [Done(), Done(), Stale(first.head)])
        for logs in self.now_and_reopened():
            self.assertEqual((logs.forks, logs.fork_proof(chain.author)), ({chain.author}, chain.fork()))
            self.assertEqual(logs.process([accept(second)]).results, [Stale(first.head)])
            self.assertEqual(logs.clock.head(chain.author), first.head)

    def test_a_forked_writer_appends_nothing(self) -> None:
        ann = self.logs.writer("ann")
        before = Head(0, genesis_id(ann.author))
        [ours] = self.logs.process([Append(ann.author, [b"ours"])]).segments
        [theirs], _ = build(ann, before, [b"theirs"])
        proof = build_proof(ours, theirs)
        assert proof is not None
        bob = self.logs.writer("bob")
        requests = [
            Append(ann.author, [b"a"]),
            Append(bob.author, [b"b"]),
            AddFork(proof),
            Append(ann.author, [b"c"]),
        ]
        first, second, third, last = self.logs.process(requests).results
        self.assertIsInstance(first, ForkedWriterError)
        self.assertIsInstance(last, ForkedWriterError)
        self.assertEqual((second, third), (Appended(1, 1), Done()))
        [result] = self.reopened().process([Append(ann.author, [b"d"])]).results
        self.assertIsInstance(result, ForkedWriterError)
        self.assertEqual(self.logs.clock.seq(ann.author), 1)

    def test_examining_a_segment(self) -> None:
        chain = Chain()
        puts = [chain.put(b"a", b"b"), chain.put(b"c", b"d"), chain.put(b"e", b"f")]
        stranger = Chain(2).put(b"s").segment
        self.logs.process([accept(put) for put in puts[:2]])
        for put in puts:
            self.assertIsNone(self.logs.examine(put.segment))
        self.assertIsNone(self.logs.examine(stranger))
        other = Chain()
        branch = [other.put(b"a", b"b"), other.put(b"c"), other.put(b"x"), other.put(b"y", b"z")]
        for put in branch[:2]:
            self.assertIsNone(self.logs.examine(put.segment))
        for put in branch[2:]:
            proof = self.logs.examine(put.segment)
            assert proof is not None
            verify_proof(proof)
            self.assertEqual((proof.author, proof.seq), (chain.author, 4))
        [long], _ = build(chain.keypair, branch[1].head, [b"x", b"y", b"z"])
        proof = self.logs.examine(long)
        assert proof is not None
        verify_proof(proof)

    # -- forgetting and values

    def test_an_author_is_forgotten(self) -> None:
        chain = Chain()
        put = chain.put(b"one")
        self.logs.process([accept(put), AddFork(chain.fork())])
        self.assertEqual(
            self.logs.process([Forget(chain.author), Forget(bytes(32))]).results, [Done(), Done()]
        )
        for logs in self.now_and_reopened():
            self.assertEqual((len(logs.clock), logs.forks), (0, set()))
            self.assertEqual(logs.segments(chain.author, 1, ALL), [])
        self.assertEqual(self.logs.process([accept(put)]).results, [Accepted(put.head)])
        outcome = self.logs.process([Forget(chain.author), accept(put)])
        self.assertEqual(outcome.results, [Done(), Accepted(put.head)])
        self.assertEqual(self.logs.clock.head(chain.author), put.head)
        self.assertEqual(self.logs.process([AddFork(chain.fork()), Forget(chain.author)]).heads, {})
        self.assertEqual(self.reopened().forks, set())

    def test_a_local_writer_is_not_forgotten(self) -> None:
        ann = self.logs.writer("ann")
        self.logs.process([Append(ann.author, [b"one"])])
        [result] = self.logs.process([Forget(ann.author)]).results
        self.assertIsInstance(result, InvalidValueError)
        self.assertEqual(self.reopened().clock.seq(ann.author), 1)

    def test_values_and_cursors(self) -> None:
        two, three = Cursor({bytes(32): (2, b"")}), Cursor({bytes(32): (3, bytes(8))})
        done = self.logs.process([SetMeta("a", b"1"), SetCursor("a", two), SetCursor("b", three)])
        self.assertEqual(done.results, [Done()] * 3)
        self.logs.process([SetCursor("b", None)])
        for logs in self.now_and_reopened():
            self.assertEqual((logs.meta("a"), logs.cursor("a"), logs.cursor("b")), (b"1", two, Cursor()))
            self.assertEqual(logs.cursor_names(), ["a"])

    def test_a_damaged_head_of_our_own_is_not_signed_behind(self) -> None:
        ann = self.logs.writer("ann")
        [one] = self.logs.process([Append(ann.author, [b"one"])]).segments
        self.backend.backend.commit([PutSegment(one._replace(first=2), Head(2, b"not the id".ljust(32)))])
        self.reopened()
        for _ in range(2):
            [result] = self.logs.process([Append(ann.author, [b"two"])]).results
            self.assertIsInstance(result, StoreDamagedError)
        self.assertEqual(self.logs.clock.seq(ann.author), 2)

    def test_the_end_of_the_range_of_seqs(self) -> None:
        ann = self.logs.writer("ann")
        near = Head(MAX_SEQ - 3, b"id".ljust(32))
        [segment], head = build(ann, near, [b"the last but two"])
        self.logs.clock.advance(ann.author, head)
        self.backend.segments = lambda _, first, *rest: [segment] if first <= segment.last else []  # type: ignore[attr-defined]
        self.backend.commit = lambda writes: None  # type: ignore[method-assign]
        requests = [Append(ann.author, [b"1", b"2"]), Append(ann.author, [b"3"])]
        done, refused = self.logs.process(requests).results
        self.assertEqual(done, Appended(MAX_SEQ - 1, MAX_SEQ))
        self.assertIsInstance(refused, InvalidValueError)


class MemoryLogsTests(LogsTests, SynchronousTestCase):
    def make_backend(self) -> Backend:
        return MemoryBackend()

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, MemoryBackend)
        return backend.reopen()


class SQLiteLogsTests(LogsTests, SynchronousTestCase):
    def make_backend(self) -> Backend:
        self.place = self.mktemp()
        return self._open()

    def reopen(self, backend: Backend) -> Backend:
        backend.close()
        return self._open()

    def _open(self) -> Backend:
        backend = SQLiteBackend(self.place)
        self.addCleanup(backend.close)
        return backend


class FaultTests(SynchronousTestCase):
    """A failing disk, by the memory backend; the SQLite one has its own tests for what the system says."""

    def setUp(self) -> None:
        self.backend = MemoryBackend()
        self.logs = Logs(self.backend)
        self.ann = self.logs.writer("ann")
        self.chain = Chain()
        self.logs.process([Append(self.ann.author, [b"before"]), accept(self.chain.put(b"before"))])
        self.before = self.logs.clock.copy()
        self.requests = [
            Append(self.ann.author, [b"x" * SEGMENT_TARGET_BYTES, b"y"]),
            accept(self.chain.put(b"more")),
            accept(Chain(2).put(b"new")),
            AddFork(self.chain.fork()),
            SetMeta("a", b"1"),
        ]

    def break_disk(self, fault: DiskFault) -> None:
        self.backend.fault = lambda writes: fault

    def assertUnchanged(self, logs: Logs) -> None:
        self.assertEqual(logs.clock, self.before)
        self.assertEqual(logs.forks, set())
        self.assertIsNone(logs.meta("a"))
        self.assertEqual(bodies_of(logs, self.ann.author), [b"before"])

    def test_a_full_disk_does_nothing_and_goes_on(self) -> None:
        self.break_disk(DiskFault.FULL)
        for _ in range(2):
            with self.assertRaises(StoreFullError):
                self.logs.process(self.requests)
            self.assertUnchanged(self.logs)
        self.backend.fault = None
        outcome = self.logs.process(self.requests)
        self.assertEqual(outcome.results[0], Appended(2, 3))
        self.assertTrue(self.logs.verify().ok)

    def test_after_an_interrupt_nothing_is_written(self) -> None:
        """Ctrl-C between the commit and the clock: what is signed next could have a seq that is taken."""
        commit = self.backend.commit

        def interrupted(writes: Sequence[RowWrite]) -> None:
            commit(writes)
            raise KeyboardInterrupt

        self.patch(self.backend, "commit", interrupted)
        with self.assertRaises(KeyboardInterrupt):
            self.logs.process(self.requests)
        self.patch(self.backend, "commit", commit)
        for request in (self.requests[0], SetMeta("a", b"2")):
            with self.assertRaises(StoreFailedError):
                self.logs.process([request])
        again = Logs(self.backend)
        self.assertEqual(again.clock.seq(self.ann.author), 3)
        self.assertEqual(again.process([Append(self.ann.author, [b"z"])]).results, [Appended(4, 4)])
        self.assertTrue(again.verify().ok)

    def test_after_a_failed_sync_nothing_is_written(self) -> None:
        self.break_disk(DiskFault.LOST)
        with self.assertRaises(AppendOutcomeUnknown):
            self.logs.process(self.requests)
        self.backend.fault = None
        with self.assertRaises(StoreFailedError) as caught:
            self.logs.process([SetMeta("a", b"1")])
        self.assertNotIsInstance(caught.exception, AppendOutcomeUnknown)
        self.assertUnchanged(self.logs)
        logs = Logs(self.backend.reopen())
        self.assertUnchanged(logs)
        self.assertEqual(logs.process(self.requests).results[0], Appended(2, 3))

    def test_a_failed_sync_may_have_kept_everything(self) -> None:
        self.break_disk(DiskFault.KEPT)
        with self.assertRaises(AppendOutcomeUnknown):
            self.logs.process(self.requests)
        self.assertUnchanged(self.logs)
        logs = Logs(self.backend.reopen())
        self.assertEqual(logs.clock.seq(self.ann.author), 3)
        self.assertEqual((len(logs.clock), logs.meta("a")), (3, b"1"))
        self.assertEqual(logs.process([Append(self.ann.author, [b"z"])]).results, [Appended(4, 4)])
        self.assertTrue(logs.verify().ok)

    def test_a_snapshot_lives_its_own_life(self) -> None:
        copy = Logs(self.backend.snapshot())
        copy.process(self.requests)
        self.assertUnchanged(self.logs)
        self.assertEqual(copy.writers(), self.logs.writers())
        self.logs.process([Append(self.ann.author, [b"another second entry"])])
        ours: Segment = self.logs.segments(self.ann.author, 2, 1)[0]
        proof = copy.examine(ours)
        assert proof is not None
        verify_proof(proof)
