"""Ring 1: what waits for one peer, and in which order it goes."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import StoreDamagedError
from gossiplog.gossip import backlog
from gossiplog.gossip.outbox import HEADER_BYTES, READS_AT_ONCE, Outbox, size_bytes
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, merge, toil_bytes, verify

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))


def segment(author: bytes, first: int, last: int, size: int = 10) -> Segment:
    """One that only looks like a segment."""
    return Segment(author, first, last - first + 1, bytes(32), bytes(64), bytes(size))


def anything(author: bytes, first: int) -> bool:
    """All is on disk."""
    return True


def nothing(author: bytes, first: int) -> bool:
    """Nothing is all."""
    return False


class OrderTests(SynchronousTestCase):
    """Per author ascending; news before backlog; backlog in turns."""

    def setUp(self) -> None:
        """An empty outbox with an open window."""
        self.outbox = Outbox()

    def test_news_go_at_once(self) -> None:
        """While the transport takes them."""
        self.assertTrue(self.outbox.push(segment(A, 1, 2)))
        self.assertTrue(self.outbox.idle)

    def test_news_wait_for_the_window(self) -> None:
        """As one seq per author: the first that was not sent; small ones have a window of their own behind it."""
        self.assertTrue(self.outbox.push(segment(A, 1, 1, limits.OUTPUT_WINDOW_BYTES)))
        self.assertTrue(self.outbox.push(segment(C, 1, 1, limits.NEWS_WINDOW_BYTES - 500)))
        self.assertFalse(self.outbox.push(segment(C, 2, 2, 1000)))
        self.outbox.forget(C)
        self.outbox.news_credit_bytes = 0
        self.assertFalse(self.outbox.push(segment(A, 2, 2)))
        self.assertFalse(self.outbox.push(segment(A, 3, 3)))
        self.assertFalse(self.outbox.push(segment(B, 7, 7)))
        self.assertEqual(self.outbox.news, {A: 2, B: 7})

    def test_news_of_a_waiting_author_waits_too(self) -> None:
        """Even when the window is open again."""
        self.outbox.owe(A, 2)
        self.assertFalse(self.outbox.push(segment(A, 3, 3)))
        self.outbox.want(B, 1)
        self.assertFalse(self.outbox.push(segment(B, 9, 9)))
        self.assertTrue(self.outbox.push(segment(C, 1, 1)))

    def test_news_come_first_and_backlog_in_turns(self) -> None:
        """Each author goes to the end of its queue when it had its part."""
        for author in (A, B):
            self.outbox.want(author, 1)
        self.outbox.owe(C, 5)
        self.assertEqual(self.outbox.next_load(anything), ((C, 5), (A, 1), (B, 1)))
        self.assertEqual(self.outbox.next_load(anything), ())
        self.outbox.loaded((segment(C, 5, 5), segment(A, 1, 3)), lambda author, first: author == C)
        self.assertEqual([s.author for s in self.outbox.take()], [C, A])
        self.assertEqual(self.outbox.next_load(anything), ((B, 1), (A, 4)))

    def test_only_what_can_be_read(self) -> None:
        """What is not on disk yet, or may not be sent yet, waits."""
        self.outbox.want(A, 1)
        self.outbox.want(B, 1)
        self.assertEqual(self.outbox.next_load(lambda author, first: author == B), ((B, 1),))

    def test_later_question_replaces_the_earlier(self) -> None:
        """Also what lies ready for it, and what is being read for it."""
        self.outbox.credit_bytes = 0
        self.outbox.want(A, 1)
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(A, 1, 3), segment(A, 4, 6)), nothing)
        self.outbox.next_load(anything)
        self.outbox.want(A, 3)
        self.assertEqual((len(self.outbox.ready), self.outbox.ready_bytes), (0, 0))
        self.outbox.loaded((segment(A, 7, 9),), nothing)
        self.assertEqual(len(self.outbox.ready), 0)
        self.assertEqual(self.outbox.next_load(anything), ((A, 3),))

    def test_forgotten_authors_send_nothing_more(self) -> None:
        """Neither what waits, nor what is ready, nor what is being read."""
        self.outbox.credit_bytes = 0
        self.outbox.want(A, 1)
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(A, 1, 3),), nothing)
        self.outbox.next_load(anything)
        self.outbox.forget(A)
        self.outbox.loaded((segment(A, 4, 6),), nothing)
        self.assertTrue(self.outbox.idle)

    def test_done_when_all_that_was_accepted_is_ready(self) -> None:
        """Then news go directly again, behind what is ready."""
        self.outbox.want(A, 1)
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(A, 1, 3),), lambda author, first: first == 4)
        self.assertFalse(self.outbox.owes(A))
        self.assertEqual([s.last for s in self.outbox.take()], [3])
        self.assertTrue(self.outbox.push(segment(A, 4, 4)))

    def test_news_do_not_overtake_the_end_of_their_backlog(self) -> None:
        """Neither through the window that is only for news, nor when they are read from disk."""
        self.outbox.credit_bytes = 0
        for author in (A, B):
            self.outbox.want(author, 1)
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(A, 1, 3), segment(B, 1, 3)), lambda author, first: author == A)
        self.assertFalse(self.outbox.owes(A))
        self.assertFalse(self.outbox.push(segment(A, 4, 4)))
        self.assertTrue(self.outbox.push(segment(C, 1, 1)))
        self.outbox.owe(C, 2)
        self.outbox.next_load(lambda author, first: author != B)
        self.outbox.loaded((segment(A, 4, 4), segment(C, 2, 2)), nothing)
        self.outbox.credit_bytes = 10_000
        order = [(s.author, s.last) for s in self.outbox.take()]
        self.assertEqual(order, [(C, 2), (A, 3), (B, 3), (A, 4)])

    def test_no_more_than_was_asked_for(self) -> None:
        """And what is left of the last segment; what was read beyond is told, and nothing is owed."""
        self.outbox.want(A, 1, 5)
        self.outbox.want(B, 1)
        self.outbox.next_load(anything)
        rest = segment(A, 7, 9)
        self.outbox.loaded((segment(A, 1, 3), segment(A, 4, 6), rest, segment(B, 1, 3)), nothing)
        self.assertEqual((self.outbox.ended, self.outbox.skipped_bytes), ([A], size_bytes(rest)))
        self.assertEqual([(s.author, s.last) for s in self.outbox.take()], [(A, 3), (A, 6), (B, 3)])
        self.assertEqual([self.outbox.owes(author) for author in (A, B)], [False, True])
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(B, 4, 6),), nothing)
        self.assertEqual((self.outbox.ended, self.outbox.skipped_bytes), ([], 0))

    def test_a_bound_is_of_one_question(self) -> None:
        """Of less than that there is an end all the same; what is asked next has no bound, or its own."""
        self.outbox.want(A, 1, 7)
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(A, 1, 3),), lambda author, first: first == 4)
        self.assertEqual((self.outbox.ended, self.outbox.owes(A)), ([], False))
        self.outbox.take()
        for most, count in ((0, 3), (3, 1)):
            self.outbox.want(A, 4, most)
            self.outbox.next_load(anything)
            self.outbox.loaded((segment(A, 4, 6), segment(A, 7, 9), segment(A, 10, 12)), nothing)
            self.assertEqual(len(self.outbox.take()), count)
        self.assertEqual(self.outbox._left, {})

    def test_what_is_put_back_is_not_sent_yet(self) -> None:
        """It counts again when it is read again."""
        self.outbox.credit_bytes = 0
        segments = segment(A, 1, 3), segment(A, 4, 6), segment(A, 7, 9)
        self.outbox.want(A, 1, 5)
        for _ in range(2):
            self.outbox.next_load(anything)
            self.outbox.loaded(segments, nothing)
            self.assertEqual((self.outbox.ended, len(self.outbox.ready)), ([A], 2))
            self.outbox.put_back()
            self.assertEqual(self.outbox.backlog, {A: 1})

    def test_what_cannot_be_read_is_given_up(self) -> None:
        """An author that gave nothing though one behind it did; the others are tried again."""
        for author in (A, B, C):
            self.outbox.want(author, 1)
        self.outbox.next_load(anything)
        self.outbox.loaded((segment(B, 1, 3),), nothing)
        self.assertEqual([self.outbox.owes(author) for author in (A, B, C)], [False, True, True])
        self.assertEqual(len(self.outbox.take()), 1)
        self.assertEqual(self.outbox.next_load(anything), ((C, 1), (B, 4)))
        self.outbox.loaded((), nothing)
        self.assertEqual(self.outbox.next_load(anything), ((B, 4),))
        self.outbox.loaded((), nothing)
        self.assertTrue(self.outbox.idle)

    def test_sweep(self) -> None:
        """After a failed commit there may be nothing more to come."""
        self.outbox.want(A, 5)
        self.outbox.owe(B, 5)
        self.outbox.sweep(lambda author, first: author == A)
        self.assertEqual((self.outbox.backlog, self.outbox.news), ({}, {B: 5}))


class BoundTests(SynchronousTestCase):
    """Memory does not grow with what a peer leaves unread."""

    def test_reading_ahead(self) -> None:
        """Nothing is read while enough lies ready."""
        outbox = Outbox()
        outbox.credit_bytes = 0
        outbox.want(A, 1)
        outbox.next_load(anything)
        half = limits.READ_AHEAD_BYTES // 2
        outbox.loaded((segment(A, 1, 1, half),), nothing)
        self.assertEqual(outbox.next_load(anything), ())
        outbox.credit_bytes = 1
        self.assertEqual(len(outbox.take()), 1)
        self.assertEqual(outbox.credit_bytes, 1 - half - HEADER_BYTES)
        self.assertEqual(outbox.ready_bytes, 0)
        self.assertEqual(outbox.next_load(anything), ((A, 2),))

    def test_authors_of_one_read(self) -> None:
        """As many as a peer may ask at once."""
        outbox = Outbox()
        for number in range(2 * READS_AT_ONCE):
            outbox.want(number.to_bytes(32, "big"), 1)
        self.assertEqual(len(outbox.next_load(anything)), READS_AT_ONCE)

    def test_owed_news(self) -> None:
        """Above the limit they become one bit."""
        with patch.object(limits, "MAX_OWED_AUTHORS", 2):
            outbox = Outbox()
            for author in (A, B):
                outbox.owe(author, 1)
            self.assertFalse(outbox.overflowed)
            outbox.owe(A, 9)
            self.assertEqual(outbox.news, {A: 1, B: 1})
            outbox.owe(C, 1)
            self.assertEqual((outbox.news, outbox.overflowed), ({}, True))


class BacklogTests(SynchronousTestCase):
    """Reading for a peer."""

    def setUp(self) -> None:
        """Two logs of ten segments with three entries each; the first as one row."""
        self.logs: dict[bytes, list[Segment]] = {}
        for seed in (1, 2):
            pair = Keypair(bytes([seed]) * 32)
            head = Head(0, genesis_id(pair.author))
            self.logs[pair.author] = []
            for _ in range(10):
                made, head = build(pair, head, [encode_body(0, bytes(30))] * 3)
                self.logs[pair.author] += made
        self.one, self.two = self.logs
        self.logs[self.one] = [merge(self.logs[self.one])]
        self.asked: list[int] = []

    def stored(self, author: bytes, first: int, limit_bytes: int) -> list[Segment]:
        """As a store does."""
        self.asked.append(limit_bytes)
        found = []
        for row in self.logs[author]:
            if row.last >= first and sum(map(toil_bytes, found)) < limit_bytes:
                found.append(row)
        return found

    def test_the_front_of_a_row_is_cut_off(self) -> None:
        """Only what was asked for is sent, however large the row."""
        [cut] = backlog.read([(self.one, 29)], 10_000, self.stored, {}.get).segments
        self.assertEqual((cut.first, cut.last), (29, 30))
        self.assertEqual(verify(cut), verify(self.logs[self.one][0]))

    def test_fair_shares(self) -> None:
        """In the order asked for, and not more than the limit and one row."""
        limit = 3 * toil_bytes(self.logs[self.two][0])
        found = backlog.read([(self.two, 1), (self.one, 1)], limit, self.stored, {}.get).segments
        self.assertEqual(self.asked, [limit // 2, limit // 3])
        self.assertEqual([(s.author, s.first) for s in found], [(self.two, 1), (self.two, 4), (self.one, 1)])

    def test_the_limit_holds_for_all_together(self) -> None:
        """Authors at the end are left for the next time."""
        found = backlog.read([(self.one, 1), (self.two, 1)], 400, self.stored, {}.get).segments
        self.assertEqual([s.author for s in found], [self.one])

    def test_a_damaged_log_does_not_hide_the_others(self) -> None:
        """It is left out."""

        def stored(author: bytes, first: int, limit_bytes: int) -> list[Segment]:
            if author == self.one:
                raise StoreDamagedError("damaged")
            return self.stored(author, first, limit_bytes)

        found = backlog.read([(self.one, 1), (self.two, 28)], 10_000, stored, {}.get).segments
        self.assertEqual([(s.author, s.first) for s in found], [(self.two, 28)])
