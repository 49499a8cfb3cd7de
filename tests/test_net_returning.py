"""Rings 1 and 6: own entries that peers hold come back before the next append is signed."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.task import Clock as Reactor
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import ForkedWriterError, StoreClosedError, StoreCopiedError
from gossiplog.gossip.messages import Have, HaveItem, Item, Want
from gossiplog.gossip.pull_scheduler import PullScheduler
from gossiplog.limits import OPEN_WANTS_PER_PEER, OWN_ENTRIES_SECONDS, OWN_REST_SECONDS, STALL_SECONDS
from gossiplog.live.append_gate import AppendGate
from gossiplog.live.job_queue import COMMIT_BYTES, NEWS_BYTES, Job, JobQueue, WriteJob
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head, Segment, drop_payloads, verify
from gossiplog.notices import AuthorForked
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, Append, Appended
from tests.netcase import Peer, World

ANN, BOB = b"a" * 32, b"b" * 32


class ReturningTests(SynchronousTestCase):
    """When appends go on to the store."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.clock = Clock()
        self.forks: set[bytes] = set()
        self.written: list[str] = []
        self.answers: list[Any] = []
        self.returning = AppendGate(self.reactor, self.clock, self.forks, self.write)

    def write(self, request: Any, answer: Any) -> None:
        self.written += [body.decode() for body in request.bodies]

    def append(self, word: str, author: bytes = ANN) -> None:
        self.returning.append(Append(author, [word.encode()]), self.answers.append)

    def come(self, seq: int, author: bytes = ANN) -> None:
        """Entries up to ``seq`` are on disk."""
        self.clock.replace(author, Head(seq, bytes(32)))
        self.returning.moved([author])

    def test_nothing_is_claimed(self) -> None:
        self.append("one")
        self.come(1)
        self.append("two")
        self.assertEqual(self.written, ["one", "two"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_forked_log_is_not_continued(self) -> None:
        """Neither by what comes now nor by what waited; other logs are."""
        self.returning.claimed(ANN, 5)
        self.append("waits")
        self.forks.add(ANN)
        self.come(5)
        self.append("late")
        self.append("other", BOB)
        self.assertEqual(self.written, ["other"])
        self.assertEqual([type(answer) for answer in self.answers], [ForkedWriterError] * 2)

    def test_appends_wait_and_keep_their_order(self) -> None:
        self.returning.claimed(ANN, 5)
        for word in ("one", "two"):
            self.append(word)
        self.append("bob's", BOB)
        self.come(4)
        self.append("three")
        self.assertEqual(self.written, ["bob's"])
        self.come(5)
        self.assertEqual(self.written, ["bob's", "one", "two", "three"])
        self.append("four")
        self.assertEqual(self.written[-1], "four")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_highest_claim_counts(self) -> None:
        for seq in (5, 9, 7):
            self.returning.claimed(ANN, seq)
        self.append("one")
        self.come(8)
        self.assertEqual(self.written, [])
        self.come(9)
        self.assertEqual(self.written, ["one"])

    def test_as_long_as_entries_come(self) -> None:
        self.returning.claimed(ANN, 100)
        self.append("one")
        for seq in range(1, 100):
            self.reactor.advance(OWN_ENTRIES_SECONDS - 1)
            self.come(seq)
        self.assertEqual(self.written, [])
        self.come(100)
        self.assertEqual(self.written, ["one"])

    def test_other_logs_are_no_progress(self) -> None:
        self.returning.claimed(ANN, 5)
        self.append("one")
        self.reactor.advance(OWN_ENTRIES_SECONDS - 1)
        self.come(7, BOB)
        self.reactor.advance(1)
        self.assertEqual(self.written, ["one"])

    def test_a_claim_that_nothing_backs(self) -> None:
        """Further claims do not prolong it, and then there is a time without."""
        self.returning.claimed(ANN, 5)
        self.append("one")
        for seq in range(6, 6 + int(OWN_ENTRIES_SECONDS)):
            self.assertEqual(self.written, [])
            self.reactor.advance(1)
            self.returning.claimed(ANN, seq)
        self.assertEqual(self.written, ["one"])
        self.append("two")
        self.reactor.advance(OWN_REST_SECONDS - 1)
        self.returning.claimed(ANN, 1000)
        self.append("three")
        self.assertEqual(self.written, ["one", "two", "three"])
        self.reactor.advance(1)
        self.returning.claimed(ANN, 1001)
        self.append("four")
        self.assertEqual(self.written, ["one", "two", "three"])
        self.returning.close()

    def test_what_waits_when_the_store_is_closed_is_refused(self) -> None:
        self.returning.claimed(ANN, 5)
        self.append("one")
        self.returning.close()
        self.assertEqual([type(answer) for answer in self.answers], [StoreClosedError])
        self.assertEqual((self.written, self.reactor.getDelayedCalls()), ([], []))


class QueueTests(SynchronousTestCase):
    """In the store's queue, own entries and own appends keep the order in which they came, whatever their size."""

    def test_accepted_entries_and_appends(self) -> None:
        """Small writes overtake large ones, but never of the same author."""
        for seed in range(200):
            random = Random(seed)
            lanes = JobQueue()
            put: dict[bytes, list[WriteJob]] = {ANN: [], BOB: []}
            taken: dict[bytes, list[Job]] = {ANN: [], BOB: []}
            for _ in range(random.randrange(60)):
                author = random.choice([ANN, BOB])
                body = bytes(random.choice([1, NEWS_BYTES + 1, COMMIT_BYTES]))
                segment = Segment(author, 1, 1, bytes(32), bytes(64), body)
                request = random.choice([Append(author, [body]), Accept(segment, Head(1, bytes(32)))])
                job = WriteJob(request, self.fail)
                put[author].append(job)
                lanes.put(job)
                if random.random() < 0.3:
                    self.take(lanes, taken)
            while lanes:
                self.take(lanes, taken)
            self.assertEqual(taken, put, seed)

    def take(self, lanes: JobQueue, taken: dict[bytes, list[Job]]) -> None:
        for job in lanes.take():
            assert isinstance(job, WriteJob) and job.author is not None
            taken[job.author].append(job)

    def test_an_append_behind_entries_that_come_back(self) -> None:
        """What is queued is adopted first, and in one transaction too: nothing is signed twice."""
        backend = MemoryBackend()
        logs = Logs(backend)
        author = logs.writer("ann").author
        older = backend.snapshot()
        for size in (1, NEWS_BYTES, 100_000, 1, COMMIT_BYTES, 1):
            logs.process([Append(author, [encode_body(1, bytes(size))])])
        lost = logs.segments(author, 1, 1 << 30)
        for together in (1, 2, 6, 7):
            logs = Logs(older.snapshot())
            requests: list[Any] = [Accept(segment, verify(segment)) for segment in lost]
            requests.append(Append(author, [encode_body(2, b"new")]))
            results = []
            for at in range(0, len(requests), together):
                results += logs.process(requests[at : at + together]).results
            self.assertEqual(results[-1], Appended(7, 7))
            self.assertEqual(logs.segments(author, 1, 1 << 30)[:6], lost)


class AskingTests(SynchronousTestCase):
    """What is asked for first."""

    def test_own_entries_come_before_all_others(self) -> None:
        schedule = PullScheduler()
        schedule.add(1)
        for number in range(2 * OPEN_WANTS_PER_PEER):
            schedule.claim(1, number.to_bytes(32, "big"), 5)
        schedule.claim(1, ANN, 5, first=True)
        [(_, authors)] = schedule.next_wants(lambda author: 0, 0.0)
        self.assertEqual(authors[0], ANN)


class RestoredTests(SynchronousTestCase):
    """A node whose disk was put back, which nothing on that disk shows: a virtual machine set back to a snapshot."""

    def setUp(self) -> None:
        self.world = World()
        self.a = self.world.site("a")
        self.a.append(b"1", b"2")
        self.author = self.a.author()
        older = self.a.backend.snapshot()
        self.a.append(b"3", b"4", b"5")
        self.lost: list[Segment] = self.a.backend.segments(self.author, 3, 1 << 20)
        self.older = older

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def put_back(self) -> None:
        self.a.stop()
        self.a.backend = self.older
        self.a.start()

    def claim(self, seq: int) -> Peer:
        """Somebody comes who says to hold our own log up to ``seq``."""
        self.a.listen()
        peer = self.world.peer(self.a)
        peer.hello()
        peer.reconcile(Item(self.author, seq, bytes(8)))
        self.world.run(0.1)
        return peer

    def start_append(self, payload: bytes) -> list[Any]:
        writer = self.world.result(self.a.store.writer())
        done: list[Any] = []
        writer.append(payload).addBoth(done.append)
        self.world.run(0.1)
        return done

    def test_an_append_waits_for_what_was_claimed(self) -> None:
        self.put_back()
        peer = self.claim(5)
        done = self.start_append(b"6")
        self.assertEqual(done, [])
        self.assertEqual([item.first for want in peer.of(Want) for item in want.items], [3])
        peer.send(*self.lost)
        self.world.run(0.5)
        self.assertEqual(done, [6])
        self.assertEqual(self.a.payloads(self.author), [b"1", b"2", b"3", b"4", b"5", b"6"])
        self.assertEqual(self.a.of(AuthorForked), [])

    def test_a_claim_of_a_liar_delays_and_does_no_more(self) -> None:
        self.claim(99)
        done = self.start_append(b"6")
        self.world.run(OWN_ENTRIES_SECONDS - 1)
        self.assertEqual(done, [])
        self.world.run(2)
        self.assertEqual(done, [6])
        self.assertEqual(self.start_append(b"7"), [7])

    def test_nobody_has_them_whole(self) -> None:
        """Our signature is proof enough: nothing is signed for these seqs again."""
        self.put_back()
        peer = self.claim(5)
        waiting = self.start_append(b"6")
        peer.send(Have((HaveItem(0, 2, self.author),)))
        self.world.run(STALL_SECONDS + 1)
        self.assertEqual([item.holes for want in peer.of(Want) for item in want.items][-1:], [True])
        peer.send(*(drop_payloads(segment, [segment.first]) for segment in self.lost))
        self.world.run(0.5)
        for done in (waiting, self.start_append(b"7")):
            [failure] = done
            failure.trap(StoreCopiedError)
            self.assertIn("entries up to 5", str(failure.value))
        self.assertEqual(self.a.payloads(self.author), [b"1", b"2"])
        self.assertIn("without payloads", self.a.store.copied)
        self.a.store.recovered()
        self.world.run(0.1)
        self.assertEqual(self.start_append(b"8"), [3])  # whoever says so is believed

    def test_two_nodes(self) -> None:
        """An append at any moment after they compared clocks continues what comes back; nobody sees a fork."""
        b = self.world.site("b")
        b.node.connect(self.a.listen())
        self.world.run(2)
        self.put_back()
        self.a.listen()
        while not self.a.store._core.front.gate._holds:
            self.world.reactor.run(0.001)
        done = self.start_append(b"6")
        self.world.run(2)
        self.assertEqual(done, [6])
        for site in (self.a, b):
            self.assertEqual(site.payloads(self.author), [b"1", b"2", b"3", b"4", b"5", b"6"])
            self.assertEqual(site.of(AuthorForked), [])
