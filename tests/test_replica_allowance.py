"""Ring 1 and 2: what a peer may cost that brings nothing."""

from __future__ import annotations

import tracemalloc
from collections import deque
from random import Random
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import (
    NIL_POINTS,
    READ_BYTES_PER_POINT,
    Allowance,
    Allowances,
    hashed,
    toil,
)
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.message_table import price
from gossiplog.gossip.messages import (
    Address,
    Contact,
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Item,
    Lazy,
    Message,
    Peers,
    Ping,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.gossip.replica import Replica
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from gossiplog.wire.codec import decode, encode
from tests.replicacase import ANN, BOB, ReplicaCase, log, proof_of

AUTHOR = bytes(32)
OTHER = Keypair(bytes([77]) * 32)


def everything(items: int) -> Ranges:
    """One list over the whole space."""
    listed = tuple(Item(number.to_bytes(32, "big"), 1, bytes(8)) for number in range(items))
    return Ranges(0, (Range(b"", RangeKind.LIST, items=listed),))


class PriceTests(SynchronousTestCase):
    """What each message costs."""

    def test_grows_with_what_it_makes_us_do(self) -> None:
        """And with nothing else."""
        cases: list[tuple[Message, float]] = [
            (Ping(1), 1),
            (Unknown(70), 0.1),
            (Segment(AUTHOR, 1, 1, AUTHOR, bytes(64), bytes(100)), 0.1),
            (Unknown(70, 1024), 0.1 + 16),
            (Segment(AUTHOR, 1, 4096, AUTHOR, bytes(64), bytes(128 * 1024)), 0.1 + 2),
            (Have(tuple(HaveItem(number, 1) for number in range(4096))), 0.1 + 32),
            (Want((WantItem(AUTHOR, 1),) * 1024), 9),
            (Lazy((AUTHOR,) * 1024), 0.1 + 16),
            (Lazy((None, AUTHOR, None)), 0.1 + 2 * NIL_POINTS),
            (Refuse((AUTHOR,) * 64), 1.1),
            (everything(1023), 1 + 8),
            (Ranges(0, (Range(b"", RangeKind.FINGERPRINT, bytes(16)),) * 510), 1 + 4 + 51),
            (Fork(proof_of(ANN)), 0.1),
            (Fill(AUTHOR, ((1, 9),) * 64), 0.1 + 0.5),
        ]
        for message, points in cases:
            with self.subTest(type(message).__name__):
                self.assertAlmostEqual(price(message), points, 1)

    def test_numbers_of_the_specification(self) -> None:
        """Of what other tests take as it is."""
        self.assertEqual((NIL_POINTS, READ_BYTES_PER_POINT), (50, 256 * 1024))

    def test_looking_into_a_segment(self) -> None:
        """Takes the time that hashing takes."""
        self.assertAlmostEqual(hashed(Segment(AUTHOR, 1, 1, AUTHOR, bytes(64), bytes(100))), 0.01, 3)
        self.assertEqual(hashed(Segment(AUTHOR, 1, 4096, AUTHOR, bytes(64), bytes(128 * 1024))), 16 + 8)

    def test_lists_of_three_million_authors(self) -> None:
        """A peer that is behind in all of them may say so."""
        self.assertLess(3_000_000 / 1024 * price(everything(1023)), limits.ALLOWANCE_POINTS)


class AllowanceTests(SynchronousTestCase):
    """Points go and come back."""

    def left(self, allowance: Allowance, now: float) -> float:
        """How many points there are: as many can be spent one by one."""
        count = -1
        while allowance.leaves(0, now):
            allowance.charge(1, now)
            count += 1
        return count

    def test_at_the_limit_and_above(self) -> None:
        """The last point is there to be used."""
        self.assertEqual(self.left(Allowance(5.0), 5.0), limits.ALLOWANCE_POINTS)

    def test_time_brings_it_back(self) -> None:
        """So much and no more."""
        allowance = Allowance(0.0)
        allowance.spend(limits.ALLOWANCE_POINTS)
        self.assertEqual(self.left(allowance, 1.0), limits.ALLOWANCE_POINTS_PER_SECOND)
        self.assertEqual(self.left(allowance, 1e9), limits.ALLOWANCE_POINTS)

    def test_how_long_that_takes(self) -> None:
        """Until there are so many; nothing has to be waited for that is there."""
        allowance = Allowance(0.0)
        allowance.spend(limits.ALLOWANCE_POINTS + limits.ALLOWANCE_POINTS_PER_SECOND)
        self.assertEqual([allowance.seconds_to(0, now) for now in (0.0, 0.25, 5.0)], [1.0, 0.75, 0.0])
        self.assertEqual(allowance.seconds_to(limits.ALLOWANCE_POINTS_PER_SECOND, 0.0), 2.0)

    def test_time_that_goes_back(self) -> None:
        """Brings nothing and takes nothing."""
        allowance = Allowance(1000.0)
        allowance.charge(limits.ALLOWANCE_POINTS, 0.0)
        self.assertEqual(self.left(allowance, -5.0), 0)

    def test_what_others_bring(self) -> None:
        """Is spent first, has a bound of its own, and is no more because of time."""
        allowance = Allowance(0.0)
        allowance.echo(5)
        allowance.spend(7)
        self.assertTrue(allowance.leaves(limits.ALLOWANCE_POINTS - 2, 0.0))
        allowance.echo(1e9)
        allowance.charge(0, 1e9)
        self.assertEqual(self.left(allowance, 1e9), limits.ALLOWANCE_POINTS + limits.MAX_ECHO_POINTS)

    def test_progress_brings_back_twice_what_it_cost(self) -> None:
        """And not the whole; no more than there was at first."""
        allowance = Allowance(0.0)
        allowance.spend(limits.ALLOWANCE_POINTS)
        allowance.earn(3)
        self.assertEqual(self.left(allowance, 0.0), 6)
        allowance.earn(1e9)
        self.assertEqual(self.left(allowance, 0.0), limits.ALLOWANCE_POINTS)


class SessionTests(ReplicaCase):
    """A session that gets nowhere is waited for; one that gets somewhere is not."""

    def exhausts(self, *messages: Message, extra: float = 0.0) -> None:
        """These, again and again, are read until they have cost what there was; each costs ``extra`` more."""
        count = self.flood(*messages)
        told = [messages[number % len(messages)] for number in range(count)]
        self.assertTrue(89 <= sum(map(price, told)) + extra * count <= 99, count)  # HELLO was one

    def flood(self, *messages: Message, most: int = 1100) -> int:
        """Let session 7 send these again and again; returns after how many it was not read any more."""
        if 7 in self.replica.core.sessions:
            self.do(events.Closed(7))
        self.replica.greeting.allowances = Allowances()  # nothing is left of the last time
        with patch.object(limits, "ALLOWANCE_POINTS", 100):
            self.open(7)
            for count in range(most):
                effects = self.hear(7, messages[count % len(messages)])
                self.assertFalse(any(isinstance(effect, events.End) for effect in effects))
                if events.Reading(7, False) in effects:
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
            (Lazy((BOB.author,)), Want((WantItem(None, 1),))),
            (Have((HaveItem(0, 1, ANN.author),)),),
            (Refuse((BOB.author,)),),
            (Ranges(0, (Range(b"", RangeKind.SKIP),)),),
            (Fill(ANN.author, ((1, 9),) * 256),),
            (Peers((Contact(bytes(32), 1, (Address(bytes(4), 4000),)),) * 64),),
        ]
        for messages in cases:
            with self.subTest(type(messages[0]).__name__):
                self.exhausts(*messages)

    def test_entries_that_are_new(self) -> None:
        """Any number of them."""
        with patch.object(limits, "ALLOWANCE_POINTS", 10):
            self.open(7)
            for entry in log(BOB, 50):
                self.hear(7, entry)
        self.assertIn(7, self.replica.core.sessions)

    def test_something_new_now_and_then(self) -> None:
        """Pays for as much that leads nowhere, and no more."""
        pairs = [Keypair(number.to_bytes(32, "big")) for number in range(1, 100)]
        for known, lasts in ((1, True), (3, False)):
            with self.subTest(known), patch.object(limits, "ALLOWANCE_POINTS", 30):
                self.open(7)
                for pair in pairs:
                    [entry] = log(pair, 1, bytes([known]))
                    self.hear(7, entry, *[Ping(1)] * known)
                self.assertEqual(not self.is_waited_for(7), lasts)
                self.setUp()

    def test_what_it_comes_in(self) -> None:
        """Records without anything in them, single bytes: not free either."""
        self.assertEqual(toil(16, 64, 512 * 1024), 3)
        with patch.object(limits, "ALLOWANCE_POINTS", 100):
            self.open(7)
            for _ in range(3):
                self.assertEqual(self.do(events.Toiled(7, 33)), [])
            self.assertEqual(self.do(events.Toiled(7, 33), after=1.0), [])
            self.assertEqual(self.do(events.Toiled(7, 101)), [events.Reading(7, False)])

    def test_claims(self) -> None:
        """Are not progress, however much is claimed: what backs them is."""
        authors = [bytes([number % 250, number // 250]) * 16 for number in range(1100)]
        listed = [
            Ranges(2 * number, (Range(b"", RangeKind.DIFFERENCES, items=(Item(author, 9, bytes(8)),)),))
            for number, author in enumerate(authors)
        ]
        announced = [Have((HaveItem(0, number + 1, BOB.author),)) for number in range(1100)]
        beyond = [
            Segment(author, 9, 1, bytes(32), bytes(64), b"\xc4\x00") for number, author in enumerate(authors)
        ]
        for messages in (listed, announced, beyond):
            with self.subTest(type(messages[0]).__name__):
                self.exhausts(*messages)

    def test_proofs_that_are_known(self) -> None:
        """One is news, the same again is not."""
        self.hear(0, Fork(proof_of(ANN)))
        self.exhausts(Fork(proof_of(ANN)))

    def test_lists_on_request(self) -> None:
        """A list of nothing is answered with all we hold: that counts like one that comes."""
        for number in range(4000):
            self.clock.replace(number.to_bytes(32, "big"), Head(1, bytes(32)))
        with patch.object(limits, "ALLOWANCE_POINTS", 500):
            self.open(7)
            heard = listed = 0
            while heard < 500 and not self.is_waited_for(7):
                effects = self.hear(7, Ranges(2 * heard, (Range(b"", RangeKind.LIST),)))
                heard += 1
                while not self.is_waited_for(7) and any(isinstance(e, events.Send) for e in effects):
                    listed += sum(len(r.ranges[0].items) for _, r in self.sent(effects, Ranges))  # type: ignore[union-attr]
                    effects = self.do(events.Writable(7))
        self.assertGreater(listed, 4000)
        self.assertLess(listed, 500 * 128 + 4000)

    def test_proofs_on_request(self) -> None:
        """A few bytes ask for 128 KiB: they go as the window allows, and are not free."""
        large = build_proof(
            build(ANN, Head(0, genesis_id(ANN.author)), [bytes(40_000)] * 3)[0][0],
            build(ANN, Head(0, genesis_id(ANN.author)), [bytes(40_001)] * 3)[0][0],
        )
        assert large is not None
        large = large._replace(segment=large.segment._replace(bodies=bytes(100_000)))
        self.freeze(large)
        want = Want((WantItem(ANN.author, 1),))
        effects = self.hear(0, Want(want.items * 1000))
        self.assertEqual(len(self.sent(effects, Fork)), 1)
        effects = self.hear(0, *[want] * 1000)
        self.assertEqual(len(self.sent(effects, Fork)), 1)
        self.assertEqual(len(self.sent(self.do(events.Writable(0)), Fork)), 1)
        with patch.object(limits, "ALLOWANCE_POINTS", 1000):
            self.open(7)
            heard = 0
            while heard < 5000 and not self.is_waited_for(7):
                self.hear(7, Refuse((ANN.author,)), Lazy((ANN.author,)))
                heard += 1
            self.assertLess(heard, 2500)

    def test_forks_without_end(self) -> None:
        """Whoever makes up authors can make up forks of them: all are frozen, and no proof stays in memory."""
        entries = [encode_body(number, b"") for number in range(3000)]
        frames = []
        for number in range(40, 60):
            pair = Keypair(bytes([number]) * 32)
            start = Head(0, genesis_id(pair.author))
            proof = build_proof(
                build(pair, start, entries[:1])[0][0], build(pair, start, entries[::-1])[0][0]
            )
            assert proof is not None
            frames.append(encode(Fork(proof)))
        del proof
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for frame in frames:
            message = decode(frame)
            assert isinstance(message, Fork)
            effects = self.replica.handle(events.Received(0, message), self.now)
            [write] = [effect for effect in effects if isinstance(effect, events.StoreFork)]
            self.assertEqual(write.proof, message.proof)
            self.replica.handle(events.Committed((), write.size_bytes), self.now)
        del message, effects, write
        self.assertEqual(len(self.heads.forks), len(frames))
        self.assertLess(tracemalloc.get_traced_memory()[0], sum(map(len, frames)) / 10)

    def test_a_large_segment_again_and_again(self) -> None:
        """Of our head: it is hashed to see whether the author forked.  Of what is before our head: it is not."""
        [large], head = build(ANN, Head(0, genesis_id(ANN.author)), [bytes(64 * 1024)])
        self.hear(0, large)
        self.exhausts(large, extra=hashed(large))
        [more], _ = build(ANN, head, [encode_body(1, b"")])
        self.hear(0, more)
        self.exhausts(large)

    def test_who_wants_all_announced_and_then_pushed(self) -> None:
        """Again and again: each time we look for the authors that it is to go on pushing."""
        with patch.object(limits, "ALLOWANCE_POINTS", 10 * NIL_POINTS):
            self.open(7)
            heard = 0
            while heard < 5000 and not self.is_waited_for(7):
                self.hear(7, Lazy((None,)), Want((WantItem(None, 1),)))
                heard += 1
        self.assertEqual(heard, 10)

    def test_what_is_read_in_vain(self) -> None:
        """A log from its beginning, again before it is sent; and by a peer that does not read."""
        entries = log(ANN, 2, bytes(30_000))
        self.commit(*entries, done=False)
        points = 1000
        with patch.object(limits, "ALLOWANCE_POINTS", points):
            self.open(7)
            loads = 0
            while loads < 5000 and not self.is_waited_for(7):
                effects = self.hear(7, Want((WantItem(ANN.author, 1),)))
                loads += sum(isinstance(effect, events.Load) for effect in effects)
                if any(isinstance(effect, events.Load) for effect in effects):
                    self.do(events.Loaded(7, tuple(entries)))
        self.assertLess(loads * 60_000, points * READ_BYTES_PER_POINT * 1.2)
        with patch.object(limits, "ALLOWANCE_POINTS", points):
            self.open(7)
            heard = 0
            while heard < 5000 and not self.is_waited_for(7):
                effects = self.hear(7, *[Want((WantItem(ANN.author, 1),))] * 2)
                if any(isinstance(effect, events.Load) for effect in effects):
                    self.do(events.Loaded(7, ()))  # what was read is not wanted any more when it comes
                heard += 1
        self.assertLess(heard * limits.READ_AHEAD_BYTES, points * READ_BYTES_PER_POINT * 1.2)


class HonestTests(ReplicaCase):
    """Who is far ahead, and who cannot keep what it is given, is no offender."""

    sessions = 0

    def test_a_first_reconcile(self) -> None:
        """With a million authors that we do not hold, or hold another entry of: tested with a part of both."""
        authors = 5_000
        points = limits.ALLOWANCE_POINTS * authors // 1_000_000
        for held_by_both in (0, authors):
            with self.subTest(held_by_both), patch.object(limits, "ALLOWANCE_POINTS", points):
                ours, theirs = Random(1), Random(1)
                sides = [
                    Replica(bytes([number]) * 32, bytes([number]) * 16, _holdings(random, count, seq))
                    for number, random, count, seq in ((1, ours, held_by_both, 1), (2, theirs, authors, 2))
                ]
                _talk(sides, self)
                [behind] = sides[0].core.sessions.values()
                [ahead] = sides[1].core.sessions.values()
                self.assertEqual(len(sides[0].pulls.schedule.missing(0)), authors)
                self.assertTrue(
                    sides[0].catch_up.of[behind].is_settled and sides[1].catch_up.of[ahead].is_settled
                )
                for session in (behind, ahead):
                    self.assertTrue(session.allowance.leaves(points / 4, 0.0))

    def test_a_disk_that_is_full(self) -> None:
        """What we accept is lost again and again, and what follows it comes all the same, at the speed of the line."""
        entries = log(ANN, 40)
        with patch.object(limits, "ALLOWANCE_POINTS", 50):
            self.open(0)
            self.hear(0, Have((HaveItem(0, 40, ANN.author),)))
            for _ in range(10):
                wants = self.sent(self.tick(limits.RETRY_WRITE_SECONDS), Want)
                self.assertEqual([want.items[0].first for _, want in wants], [1])  # type: ignore[union-attr]
                self.hear(0, *entries[:20])
                self.do(events.CommitFailed(final=False))
                self.hear(0, *entries[20:])
        self.assertFalse(self.is_waited_for(0))

    def test_a_disk_that_takes_no_more(self) -> None:
        """Others go on sending what is new."""
        with patch.object(limits, "ALLOWANCE_POINTS", 10):
            self.open(0)
            self.do(events.CommitFailed(final=True))
            self.hear(0, *log(ANN, 40))
        self.assertFalse(self.is_waited_for(0))

    def test_answers(self) -> None:
        """Large segments of the other branch, asked for since both list another entry: none of them costs anything."""
        pairs = [Keypair(bytes([number]) * 32) for number in range(40, 60)]
        ours, theirs = (
            [build(pair, Head(0, genesis_id(pair.author)), [text * 60_000])[0][0] for pair in pairs]
            for text in (b"o", b"t")
        )
        self.commit(*ours, done=False)
        items = tuple(sorted(Item(pair.author, 1, bytes(8)) for pair in pairs))
        with patch.object(limits, "ALLOWANCE_POINTS", 13):
            self.open(0)
            effects = self.hear(0, Ranges(0, (Range(b"", RangeKind.LIST, items=items),)))
            [(_, want)] = self.sent(effects, Want)
            self.assertEqual(len(want.items), len(pairs))  # type: ignore[union-attr]
            effects = self.hear(0, *theirs)
            self.assertEqual(sum(isinstance(effect, events.Examine) for effect in effects), len(pairs))
            self.assertFalse(self.is_waited_for(0))
            self.hear(0, *theirs[:2])
            self.assertFalse(self.is_waited_for(0))
            self.hear(0, *theirs[2:4])  # nobody asked again
            self.assertTrue(self.is_waited_for(0))

    def test_a_reconcile_that_we_began(self) -> None:
        """Is answered by a list as long as it may be, and what we answer to that is ours to pay as well."""
        for number in range(2000):
            self.clock.replace(bytes([1 + number % 250, number // 250]) * 16, Head(1, bytes(32)))
        with patch.object(limits, "ALLOWANCE_POINTS", 40):
            self.do(events.Opened(0, bytes([9]) * 32, bytes(32), dialled=True))
            effects = self.hear(0, Hello(1, 1, (), "test", bytes(16), root=bytes(16)))
            self.assertEqual([message.exchange for _, message in self.sent(effects, Ranges)], [0])  # type: ignore[union-attr]
            self.hear(0, everything(2000))
            self.assertFalse(self.is_waited_for(0))
            self.hear(0, everything(1000)._replace(exchange=1), Ping(1))
            self.assertFalse(self.is_waited_for(0))
            self.hear(0, everything(1000)._replace(exchange=3), Ping(1))
            self.assertTrue(self.is_waited_for(0))

    def test_what_crosses(self) -> None:
        """Somebody gave both the same: whatever the peer says of that, and however large it is.

        Once; and nothing is free because of what we brought ourselves, or what the peer does not want.
        """
        for number, kind in enumerate((Segment, Have, Lazy, Want, Fork)):
            pairs = [Keypair(bytes([number + 1, other]) * 16) for other in range(40)]
            bodies = [encode_body(seq, b"") for seq in range(1000)]
            pushed: list[Message] = [
                build(pair, Head(0, genesis_id(pair.author)), bodies)[0][0] for pair in pairs
            ]
            said: dict[type[Message], list[Message]] = {
                Segment: pushed,
                Have: [Have((HaveItem(place, 1000, pair.author),)) for place, pair in enumerate(pairs)],
                Lazy: [Lazy((pair.author,)) for pair in pairs],
                Want: [Want((WantItem(pair.author, 1001),)) for pair in pairs],
                Fork: [Fork(proof_of(pair)) for pair in pairs],
            }
            with self.subTest(kind.__name__):
                self.replica.greeting.allowances = Allowances()  # nothing is left of the last time
                with patch.object(limits, "ALLOWANCE_POINTS", 1.5):
                    self.open(0)
                    self.open(1)
                self.hear(1, *(said[Fork] if kind is Fork else pushed))
                self.do(events.Writable(0))
                self.hear(0, *said[kind])
                self.assertFalse(self.is_waited_for(0))
                self.assertTrue(self.replica.core.sessions[1].allowance._echo == 0)
                self.hear(0, *said[Segment if kind is Segment else Want] * 9)
                self.assertTrue(self.is_waited_for(0))

    def test_who_asks_again_and_again(self) -> None:
        """Its disk is full: everything it has room for is asked for every few seconds, for hours."""
        entries = log(ANN, 2)
        self.commit(*entries, done=False)
        with patch.object(limits, "ALLOWANCE_POINTS", 50):
            self.open(0)
            for _ in range(1000):
                self.hear(0, Want((WantItem(ANN.author, 1),) * limits.OPEN_WANTS_PER_PEER))
                self.do(events.Loaded(0, tuple(entries)), after=limits.RETRY_WRITE_SECONDS)
        self.assertFalse(self.is_waited_for(0))


def _holdings(random: Random, authors: int, seq: int) -> Heads:
    clock = Clock()
    for _ in range(authors):
        clock.replace(random.randbytes(32), Head(seq, bytes([seq]) * 32))
    return Heads(clock, set(), set())


def _talk(sides: list[Replica], test: SynchronousTestCase) -> None:
    """Connect both, and carry messages until nobody says anything but what it wants; no time passes."""
    queues: list[deque[events.Event]] = [
        deque([events.Opened(0, sides[1 - side].greeting.node, bytes(32), dialled=side == 0)])
        for side in (0, 1)
    ]
    while any(queues):
        for side, queue in enumerate(queues):
            if not queue:
                continue
            for effect in sides[side].handle(queue.popleft(), 0.0):
                test.assertNotIsInstance(effect, events.End)
                if isinstance(effect, events.Send) and not isinstance(effect.message, Want):
                    queues[1 - side].append(events.Received(0, effect.message))
                    if isinstance(effect.message, Ranges) and not any(
                        isinstance(event, events.Writable) for event in queue
                    ):
                        queue.append(events.Writable(0))
