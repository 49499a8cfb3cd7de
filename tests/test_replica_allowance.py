"""Ring 1 and 2: what a peer may cost that brings nothing."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode, LimitExceededError
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowance, price
from gossiplog.gossip.messages import (
    Fork,
    Have,
    HaveItem,
    Item,
    Lazy,
    Message,
    Ping,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.log.segment import Segment
from tests.test_replica_exchange import ANN, BOB, ReplicaCase, log, proof_of

AUTHOR = bytes(32)


def everything(items: int) -> Ranges:
    """One list over the whole space."""
    listed = tuple(Item(number.to_bytes(32, "big"), 1, bytes(8)) for number in range(items))
    return Ranges(0, (Range(b"", RangeKind.LIST, items=listed),))


class PriceTests(SynchronousTestCase):
    """What each message costs."""

    def test_grows_with_what_it_makes_us_do(self) -> None:
        """And with nothing else."""
        cases: list[tuple[Message, int]] = [
            (Ping(1), 1),
            (Unknown(70), 1),
            (Segment(AUTHOR, 1, 1, AUTHOR, bytes(64), bytes(100)), 1),
            (Segment(AUTHOR, 1, 4096, AUTHOR, bytes(64), bytes(128 * 1024)), 1 + 16 + 8),
            (Have(tuple(HaveItem(number, 1) for number in range(4096))), 17),
            (Want((WantItem(AUTHOR, 1),) * 1024), 5),
            (Lazy((AUTHOR,) * 1024), 5),
            (Refuse((AUTHOR,) * 255), 1),
            (everything(1023), 1 + 4),
            (Fork(proof_of(ANN)), 10),
        ]
        for message, points in cases:
            with self.subTest(type(message).__name__):
                self.assertEqual(price(message), points)

    def test_lists_of_ten_million_authors(self) -> None:
        """A peer that is behind in all of them may say so."""
        self.assertLess(10_000_000 / 1024 * price(everything(1023)), limits.ALLOWANCE_POINTS)


class AllowanceTests(SynchronousTestCase):
    """Points go and come back."""

    def test_at_the_limit_and_above(self) -> None:
        """The last point is there to be used."""
        allowance = Allowance(5.0)
        for _ in range(limits.ALLOWANCE_POINTS):
            allowance.charge(Ping(1), 5.0)
        self.assertRaises(LimitExceededError, allowance.charge, Ping(1), 5.0)

    def test_time_brings_it_back(self) -> None:
        """So much and no more."""
        allowance = Allowance(0.0)
        for _ in range(limits.ALLOWANCE_POINTS):
            allowance.charge(Ping(1), 0.0)
        for _ in range(limits.ALLOWANCE_POINTS_PER_SECOND):
            allowance.charge(Ping(1), 1.0)
        self.assertRaises(LimitExceededError, allowance.charge, Ping(1), 1.0)
        for _ in range(limits.ALLOWANCE_POINTS):
            allowance.charge(Ping(1), 1e9)
        self.assertRaises(LimitExceededError, allowance.charge, Ping(1), 1e9)

    def test_time_that_goes_back(self) -> None:
        """Brings nothing and takes nothing."""
        allowance = Allowance(1000.0)
        for _ in range(limits.ALLOWANCE_POINTS):
            allowance.charge(Ping(1), 0.0)
        self.assertRaises(LimitExceededError, allowance.charge, Ping(1), -5.0)


class SessionTests(ReplicaCase):
    """A session that gets nowhere ends; one that gets somewhere does not."""

    def flood(self, *messages: Message, most: int = 200) -> int:
        """Let session 0 send these again and again; returns after how many it was ended, with LIMIT."""
        with patch.object(limits, "ALLOWANCE_POINTS", 100):
            self.open(7)
            for count in range(most):
                effects = self.hear(7, messages[count % len(messages)])
                ends = [effect for effect in effects if isinstance(effect, events.End)]
                if ends:
                    self.assertEqual(ends[0].code, ByeCode.LIMIT)
                    self.assertEqual(len(self.replica.sessions), self.sessions)
                    return count
        return most

    def test_each_kind_without_end(self) -> None:
        """Nothing that a peer may say is free."""
        [one] = log(ANN, 1)
        self.hear(0, one)
        cases: list[tuple[Message, ...]] = [
            (Ping(1),),
            (Unknown(99),),
            (one,),
            (Want((WantItem(BOB.author, 1),)),),
            (Lazy((None,)), Want((WantItem(None, 1),))),
            (Have((HaveItem(0, 1, ANN.author),)),),
            (Refuse((BOB.author,)),),
            (Ranges(0, (Range(b"", RangeKind.SKIP),)),),
        ]
        for messages in cases:
            with self.subTest(type(messages[0]).__name__):
                self.assertEqual(self.flood(*messages), 99)  # HELLO was one

    def test_entries_that_are_new(self) -> None:
        """Any number of them."""
        with patch.object(limits, "ALLOWANCE_POINTS", 10):
            self.open(7)
            for entry in log(BOB, 50):
                self.hear(7, entry)
        self.assertIn(7, self.replica.sessions)

    def test_proofs_that_are_known(self) -> None:
        """One is news, the same again is not."""
        self.assertEqual(self.flood(Fork(proof_of(ANN))), 11)
