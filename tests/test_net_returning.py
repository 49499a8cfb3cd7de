"""Rings 1 and 6: own entries that peers hold come back before the next append is signed."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock as Reactor
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreClosedError
from gossiplog.gossip.messages import Item, Want
from gossiplog.gossip.schedule import Schedule
from gossiplog.limits import OPEN_WANTS_PER_PEER, OWN_ENTRIES_SECONDS, OWN_REST_SECONDS
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head, Segment
from gossiplog.net.notices import AuthorForked
from gossiplog.net.returning import Returning
from gossiplog.store.requests import Append
from tests.netcase import Peer, World

ANN, BOB = b"a" * 32, b"b" * 32


class ReturningTests(SynchronousTestCase):
    """When appends go on to the store."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.clock = Clock()
        self.written: list[str] = []
        self.answers: list[Any] = []
        self.returning = Returning(self.reactor, self.clock, self.write)

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


class AskingTests(SynchronousTestCase):
    """What is asked for first."""

    def test_own_entries_come_before_all_others(self) -> None:
        schedule = Schedule()
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

    def test_two_nodes(self) -> None:
        """An append at any moment after they compared clocks continues what comes back; nobody sees a fork."""
        b = self.world.site("b")
        b.node.connect(self.a.listen())
        self.world.run(2)
        self.put_back()
        self.a.listen()
        while not self.a.store.returning._holds:
            self.world.reactor.advance(0.001)
        done = self.start_append(b"6")
        self.world.run(2)
        self.assertEqual(done, [6])
        for site in (self.a, b):
            self.assertEqual(site.payloads(self.author), [b"1", b"2", b"3", b"4", b"5", b"6"])
            self.assertEqual(site.of(AuthorForked), [])
