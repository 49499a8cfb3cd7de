"""A replica with few heads in memory says and does what one with all of them does, as soon as they came."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.events import NOBODY, Bring, Brought, Effect, End, Reading
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    HaveItem,
    Item,
    Lazy,
    Message,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.gossip.replica import Replica
from gossiplog.gossip.store_effects import StoreEffects
from gossiplog.log import leaf_sums
from gossiplog.log.keys import Keypair
from gossiplog.log.paged_clock import PagedClock, alone
from gossiplog.log.segment import verify
from gossiplog.testing.sim import fleet, simulator
from gossiplog.testing.sim.paging import Paging
from gossiplog.testing.sim.scenario import draw
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of

SEEDS = int(os.environ.get("GOSSIPLOG_PAGED_SEEDS", "0"))
FEW = 6
"""Heads that stay: less than one message may speak of."""


class SeedTests(SynchronousTestCase):
    """What the simulator draws, with next to nothing in memory."""

    def setUp(self) -> None:
        small = patch.object(leaf_sums, "LEAF_AUTHORS", 4)
        small.start()
        self.addCleanup(small.stop)

    def test_the_same_messages_and_effects(self) -> None:
        """Heads are there when they are asked for: nothing in the trace shows that they were not before."""
        for seed in range(SEEDS) if SEEDS else (2, 7, 79):
            whole = simulator.run(draw(seed))
            paged = simulator.run(draw(seed), Paging(FEW, at_once=True))
            self.assertEqual(paged.world.trace, whole.world.trace, f"seed {seed}")

    def test_heads_that_come_later(self) -> None:
        """All that the simulator checks holds, and nothing is asked for that was not waited for."""
        with patch.object(StoreEffects, "bring", autospec=True, side_effect=StoreEffects.bring) as bring:
            for seed in range(SEEDS) if SEEDS else (3, 24):
                simulator.run(draw(seed), Paging(FEW))
        self.assertGreater(bring.call_count, 50)

    def test_relays_that_share_a_store(self) -> None:
        for seed in range(SEEDS // 4) if SEEDS else (2,):
            fleet.run(seed, Paging(FEW))


class WaitingTests(ReplicaCase):
    """Peers 0 to 2; of ANN and BOB the store holds five entries each, and nothing is in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.logs = {pair.author: log(pair, 9) for pair in (ANN, BOB)}
        for segments in self.logs.values():
            self.clock.replace(segments[4].author, verify(segments[4]))
        self.pages = PagedClock(FEW)
        self.heads = Heads(self.pages, set(), {OWN.author})
        self.heads.sum_up(self.pages, self.clock.range())
        self.pages.bring(alone(OWN.author), [])
        self.replica = Replica(bytes(32), bytes(16), self.heads)
        for number in range(self.sessions):
            self.open(number)

    def bring(self, effects: list[Effect]) -> list[Effect]:
        """What was asked for comes."""
        found: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Bring):
                spans = tuple((span, tuple(self.clock.range(*span))) for span in effect.spans)
                found += self.do(Brought(effect.session, spans))
        return found

    def kinds(self, effects: list[Effect]) -> list[type[Any]]:
        return [type(effect) for effect in effects]

    def test_a_segment_waits_for_the_head_that_it_continues(self) -> None:
        effects = self.hear(0, self.logs[ANN.author][5])
        self.assertEqual(effects, [Bring(0, (alone(ANN.author),)), Reading(0, False)])
        came = self.bring(effects)
        self.assertIn(events.StoreSegment, self.kinds(came))
        self.assertIn(Reading(0, True), came)

    def test_what_a_session_says_stays_in_order(self) -> None:
        ann, bob = (self.logs[pair.author] for pair in (ANN, BOB))
        first = self.hear(0, ann[5])
        self.assertEqual(self.hear(0, ann[6], bob[5], ann[7]), [])
        came = self.bring(first)
        self.assertEqual(self.kinds(came)[-1], Bring)
        came += self.bring(came)
        stored = [effect.segment for effect in came if isinstance(effect, events.StoreSegment)]
        self.assertEqual(stored, [ann[5], ann[6], bob[5], ann[7]])

    def test_others_need_not_wait(self) -> None:
        self.hear(0, self.logs[ANN.author][5])
        self.bring(self.hear(1, self.logs[BOB.author][5]))
        self.assertEqual(self.heads.accepted_seq(BOB.author), 6)

    def test_every_message_that_names_an_author_waits(self) -> None:
        bob = BOB.author
        messages: list[Message] = [
            Want((WantItem(bob, 1),)),
            Have((HaveItem(0, 7, bob),)),
            Lazy((bob,)),
            Refuse((bob,)),
            Fill(bob, ((1, 2),)),
            Fork(proof_of(BOB)),
            Ranges(0, (Range(b"", RangeKind.DIFFERENCES, items=(Item(bob, 7, bytes(8)),)),)),
            self.logs[bob][6],
        ]
        for message in messages:
            self.setUp()
            self.assertIn(Bring(0, (alone(bob),)), self.hear(0, message))
        self.setUp()
        for event in (events.InterestChanged((bob,)), events.ForkFound(proof_of(BOB))):
            self.assertEqual(self.do(event), [Bring(NOBODY, (alone(bob),))])
            self.setUp()

    def test_a_handle_that_a_message_before_it_names(self) -> None:
        effects = self.hear(0, Have((HaveItem(4, 7, ANN.author),)))
        self.assertEqual(self.hear(0, Have((HaveItem(4, 8),))), [])
        self.bring(effects)
        self.assertEqual(self.replica.pulls.schedule.missing(0)[ANN.author], 8)

    def test_what_cannot_be_read_ends_the_session_that_asked(self) -> None:
        self.hear(0, self.logs[ANN.author][5])
        effects = self.do(Brought(0, ()))
        self.assertIn(End, self.kinds(effects))
        self.assertEqual([e.code for e in effects if isinstance(e, End)], [ByeCode.INTERNAL])
        self.assertEqual(sorted(self.replica.core.sessions), [1, 2])

    def test_nothing_waits_for_a_session_that_is_over(self) -> None:
        effects = self.hear(0, self.logs[ANN.author][5])
        self.do(events.Closed(0))
        self.assertEqual(self.bring(effects), [])
        self.assertEqual(self.heads.ahead, {})

    def test_heads_in_use_stay(self) -> None:
        """Of authors that a peer claims more of, whatever else comes."""
        self.bring(self.hear(0, Have((HaveItem(0, 9, ANN.author),))))
        for number in range(40):
            other = Keypair(bytes([100 + number]) * 32).author
            self.bring(self.hear(1, Want((WantItem(other, 1),))))
        self.assertEqual(self.heads.accepted_seq(ANN.author), 5)
        self.assertLess(self.pages.kept_heads, 40)

    def test_a_reconcile_waits_for_what_it_says(self) -> None:
        """The peer lists nothing: what we hold is listed when it came."""
        effects = self.hear(0, Ranges(0, (Range(b"", RangeKind.LIST),)))
        self.assertEqual((self.sent(effects, Ranges), self.kinds(effects).count(Bring)), ([], 1))
        [(_, ranges)] = self.sent(self.bring(effects), Ranges)
        assert isinstance(ranges, Ranges)
        listed = [(item.author, item.seq) for part in ranges.ranges for item in part.items]
        self.assertEqual(listed, [(author, head.seq) for author, head in self.clock.items()])
