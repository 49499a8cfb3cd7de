"""Ring 1: messages are values."""

from __future__ import annotations

from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import messages
from gossiplog.gossip.messages import (
    FORKED_CHECK,
    Bye,
    Have,
    HaveItem,
    Hello,
    Interest,
    Item,
    Message,
    Ping,
    Range,
    RangeKind,
    Ranges,
    Segment,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.log import segment

AUTHOR = bytes(range(32))


class Values(SynchronousTestCase):
    def test_segment_is_the_one_of_the_log(self) -> None:
        self.assertIs(Segment, segment.Segment)
        self.assertIn(Segment, get_args(Message))

    def test_all_fourteen_are_messages(self) -> None:
        self.assertEqual(len(get_args(Message)), 14)
        for kind in get_args(Message):
            self.assertTrue(issubclass(kind, tuple), kind)
            self.assertIn(kind.__name__, messages.__all__)

    def test_nested_values_are_hashable_and_equal_by_content(self) -> None:
        def make() -> list[Message]:
            return [
                Hello(1, 1, ("a",), "agent", bytes(16), Interest.WANTED, (AUTHOR,)),
                Ranges(0, (Range(b"", RangeKind.LIST, items=(Item(AUTHOR, 0, FORKED_CHECK),)),)),
                Want((WantItem(AUTHOR, 1), WantItem(None, 1, True))),
                Have((HaveItem(0, 1, AUTHOR), HaveItem(0, 2))),
                Segment(AUTHOR, 1, 0, bytes(32), bytes(64), b""),
                Unknown(64),
            ]

        self.assertEqual(make(), make())
        self.assertEqual(len(set(make() + make())), 6)

    def test_what_may_be_left_out(self) -> None:
        self.assertEqual(Ping(7), Ping(7, b""))
        self.assertEqual(Bye(0), Bye(0, ""))
        self.assertEqual(WantItem(AUTHOR, 3), WantItem(AUTHOR, 3, False))
        self.assertEqual(HaveItem(0, 3), HaveItem(0, 3, None))
        self.assertEqual(Range(b"\1", RangeKind.SKIP), Range(b"\1", RangeKind.SKIP, b"", ()))
        self.assertEqual(Hello(1, 2, (), "", bytes(16))[5:], (Interest.ALL, (), b"", 0))
        self.assertEqual(Ranges(1, ()), Ranges(1, (), False))

    def test_forked_check_has_the_length_of_any_check(self) -> None:
        self.assertEqual(FORKED_CHECK, bytes(8))
