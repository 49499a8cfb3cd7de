"""Ring 1: what was asked for is told from what nobody asked for."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip.answers import Answers
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    HaveItem,
    Item,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Want,
    WantItem,
)
from gossiplog.log.segment import Segment
from tests.replicacase import ANN, BOB, proof_of

AUTHOR = ANN.author
LIST = (Range(b"", RangeKind.LIST),)
NOTHING = (Range(b"", RangeKind.DIFFERENCES),)


def segment(first: int, last: int) -> Segment:
    """Nobody looks at what is in it."""
    return Segment(AUTHOR, first, last - first + 1, bytes(32), bytes(64), b"")


class AnswersTests(SynchronousTestCase):
    """Each answer is free, once."""

    def setUp(self) -> None:
        """We hold ten entries."""
        self.answers = Answers(starts_even=True)
        self.held = 10

    def is_free(self, message: Message, points: float = 1.0) -> bool:
        """Whether the peer owed us this."""
        return self.answers.answer(
            message,
            points,
            lambda _: self.held,
            lambda have: [(item.author or b"", item.seq) for item in have.items],
        )

    def ask(self, first: int) -> None:
        """A WANT goes out."""
        self.answers.asked(Want((WantItem(AUTHOR, first),)))

    def test_nothing_was_asked(self) -> None:
        """Then nothing is free."""
        for message in (
            segment(1, 10),
            Fork(proof_of(ANN)),
            Have((HaveItem(0, 1, AUTHOR),)),
            Pong(0),
            Ranges(0, LIST),
            Want((WantItem(AUTHOR, 1),)),
        ):
            self.assertFalse(self.is_free(message), message)

    def test_entries_once_each(self) -> None:
        """In order, from where they were asked for, up to what is held; not again, and not before or beyond."""
        self.ask(3)
        free = [(3, 4), (5, 9), (10, 10)]
        for first, last in [(1, 4), (12, 13), *free]:
            self.assertEqual(self.is_free(segment(first, last)), (first, last) in free, (first, last))
        for first, last in free:
            self.assertFalse(self.is_free(segment(first, last)))

    def test_what_contradicts(self) -> None:
        """A WANT from our head is answered by a segment that covers it, and two can do so."""
        self.ask(10)
        said = [self.is_free(segment(*span)) for span in ((10, 12), (10, 12), (13, 14), (11, 20))]
        self.assertEqual(said, [True, False, False, False])
        self.ask(10)
        said = [self.is_free(segment(*span)) for span in ((10, 10), (10, 10), (11, 20))]
        self.assertEqual(said, [True, False, False])

    def test_a_head_is_no_entry(self) -> None:
        """A segment without any would be free for ever."""
        self.ask(11)
        self.assertFalse(self.is_free(segment(11, 10)))

    def test_other_answers_to_a_want(self) -> None:
        """A proof, or an announcement of those asked for and of no other; each once."""
        for answer in (Fork(proof_of(ANN)), Have((HaveItem(0, 0, AUTHOR),))):
            self.ask(11)
            self.assertEqual([self.is_free(answer), self.is_free(answer)], [True, False])
        self.ask(11)
        self.assertFalse(self.is_free(Have((HaveItem(0, 0, AUTHOR), HaveItem(1, 0, BOB.author)))))

    def test_taken_back(self) -> None:
        """After LAZY nothing is owed."""
        self.ask(1)
        self.answers.asked(Lazy((None, AUTHOR)))
        self.assertFalse(self.is_free(segment(1, 1)))

    def test_rows_to_fill(self) -> None:
        """Whatever has some of the ranges that it was asked to fill, ascending, each of these once; and the end."""
        self.answers.asked(Fill(AUTHOR, ((3, 4), (9, 20))))
        said = [(1, 2), (1, 3), (1, 4), (3, 4), (5, 8), (8, 12), (9, 12), (13, 13), (14, 30), (20, 20)]
        free = [(1, 3), (1, 4), (8, 12), (13, 13), (14, 30)]
        unasked = []
        for span in said:
            self.assertEqual(self.is_free(segment(*span)), span in free, span)
            unasked += [self.answers.unasked] if span in free else []
        self.assertEqual(unasked, [2, 3, 1, 0, 10])
        self.assertEqual(self.answers.fill_ranges, 0)
        head = segment(31, 30)
        self.answers.asked(Fill(AUTHOR, ((1, 9),)))
        self.assertEqual([self.is_free(each) for each in (head, head)], [True, False])

    def test_other_answers_to_a_fill(self) -> None:
        """A proof, or that nothing is held; an announcement is none, and the rows may come behind it."""
        for answer in (Fork(proof_of(ANN)), Have((HaveItem(0, 0, AUTHOR),))):
            self.answers.asked(Fill(AUTHOR, ((1, 9),)))
            self.assertFalse(self.is_free(Have((HaveItem(0, 5, AUTHOR),))))
            self.assertEqual([self.is_free(answer), self.is_free(answer)], [True, False])

    def test_fills_are_bounded(self) -> None:
        """The oldest is forgotten."""
        with patch.object(limits, "MAX_ASKED_RANGES", 3):
            for pair in (ANN, BOB):
                self.answers.asked(Fill(pair.author, ((1, 1), (3, 3))))
        self.assertEqual(self.answers.fill_ranges, 2)
        self.assertFalse(self.is_free(segment(1, 1)))

    def test_questions_are_bounded(self) -> None:
        """The oldest is forgotten, as the peer may forget it."""
        with patch.object(limits, "MAX_OWED_AUTHORS", 2):
            for number in range(3):
                self.answers.asked(Want((WantItem(bytes([number]) * 32, 1),)))
        have = [Have((HaveItem(0, 0, bytes([number]) * 32),)) for number in range(3)]
        self.assertEqual([self.is_free(each) for each in have], [False, True, True])

    def test_pong(self) -> None:
        """To the last PING."""
        self.answers.asked(Ping(1))
        self.answers.asked(Ping(2))
        self.assertEqual([self.is_free(Pong(token)) for token in (1, 2, 2)], [False, True, False])

    def test_reconcile(self) -> None:
        """Those that we began, until they are over, and no more of each than an honest one takes."""
        self.answers.asked(Ranges(0, LIST))
        self.answers.asked(Ranges(1, LIST))  # answers one of theirs
        self.assertFalse(self.is_free(Ranges(1, LIST)))
        self.assertFalse(self.is_free(Ranges(2, LIST)))
        self.assertEqual(self.answers.reconciles, 1)
        self.assertTrue(self.is_free(Ranges(0, LIST, more=True), limits.ALLOWANCE_POINTS - 2.0))
        self.assertTrue(self.answers.spend(Ranges(0, NOTHING), 1.0))
        self.assertFalse(self.is_free(Ranges(0, NOTHING, more=True), 2.0))
        self.assertTrue(self.is_free(Ranges(0, NOTHING), 1.0))
        self.assertEqual(self.answers.reconciles, 1)  # a part of that step asked for more
        self.answers.asked(Ranges(0, NOTHING))
        self.assertEqual(self.answers.reconciles, 0)
        self.assertFalse(self.is_free(Ranges(0, NOTHING)))
        self.answers.asked(Ranges(0, LIST))  # nor is it begun again
        self.assertFalse(self.is_free(Ranges(0, NOTHING)))

    def test_reconcile_that_they_end(self) -> None:
        """Their last step asks for nothing."""
        for number in (0, 2):
            self.answers.asked(Ranges(number, LIST, more=True))
            self.answers.asked(Ranges(number, NOTHING))
            items = (Item(AUTHOR, 1, bytes(8)),)
            self.assertTrue(self.is_free(Ranges(number, (Range(b"", RangeKind.DIFFERENCES, items=items),))))
            self.assertEqual(self.answers.reconciles, 0)
