"""Reconcile: whatever two nodes hold, each finds exactly what the other holds beyond it, at a bounded cost."""

from __future__ import annotations

import tracemalloc
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import accumulate, pairwise
from random import Random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import LimitExceededError
from gossiplog.gossip import range_splitting as splitting
from gossiplog.gossip import reconcile
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import FORKED_CHECK, Item, Range, RangeKind, Ranges
from gossiplog.gossip.reconcile import Reconcile, Step
from gossiplog.log.clock import Clock
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Head, Segment
from gossiplog.wire.codec import decode, encode

SALT = bytes(range(32))
Known = tuple[dict[bytes, int], set[bytes]]
"""What one side has to learn: author -> seq where the other is ahead, and authors in conflict."""


def author(number: int) -> bytes:
    return sha256(b"author %d" % number).digest()


def entry_id(seq: int, branch: int = 0) -> bytes:
    return sha256(b"%d on branch %d" % (seq, branch)).digest()


def proof(of: bytes) -> ForkProof:
    """What stands for a fork here; nobody verifies it."""
    return ForkProof(of, 1, bytes(32), bytes(64), Segment(of, 2, 0, bytes(32), bytes(64), b""))


def holdings(
    heads: dict[bytes, tuple[int, bytes]], forked: set[bytes] | frozenset[bytes] = frozenset()
) -> Heads:
    clock = Clock({author: Head(*head) for author, head in heads.items()})
    return Heads(clock, set(forked), set())


def advance(held: Heads, of: bytes, seq: int, branch: int = 0) -> None:
    held.clock.advance(of, Head(seq, entry_id(seq, branch)))
    held.settle(of)


def to_learn(ours: Heads, theirs: Heads) -> Known:
    """Said by the definition, author by author."""
    ahead: dict[bytes, int] = {}
    conflicts = set()
    for each in {*theirs.clock, *theirs.forks}:
        their = theirs.clock.head(each)
        our = ours.clock.head(each)
        if each in ours.forks or each in theirs.forks:
            if (each in ours.forks) != (each in theirs.forks):
                conflicts.add(each)
        elif their and (our is None or their.seq > our.seq):
            ahead[each] = their.seq
        elif their and our and their.seq == our.seq and their.id != our.id:
            conflicts.add(each)
    return ahead, conflicts


class Talk:
    """Two sides and the wire between them; every message is cut to bytes and read again.

    ``choose`` picks the next of the things that can happen: (side, "say") puts its next message on the wire,
    (side, "hear") takes one from it.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        ours: Heads,
        theirs: Heads,
        choose: Callable[[list[tuple[int, str]]], tuple[int, str]] = lambda possible: possible[0],
    ) -> None:
        self.test = test
        self.sides = ours, theirs
        self.speakers = Reconcile(SALT, starts_even=True), Reconcile(SALT, starts_even=False)
        self.choose = choose
        self.replies = deque[Iterator[Ranges]](), deque[Iterator[Ranges]]()
        self.wires = deque[bytes](), deque[bytes]()
        self.finished = Counter[tuple[int, int]]()
        self.learned: dict[tuple[int, int], Known] = {}
        self.messages = 0
        self.steps = 0
        self.size = 0
        self.on_message: Callable[[], None] = lambda: None
        self.on_finished: Callable[[int, int], None] = lambda side, exchange: None

    def start(self, side: int = 0) -> None:
        self.replies[side].append(self.speakers[side].start(self.sides[side]))

    def run(self, most: int = 2000) -> None:
        """Until nobody has anything to say, which has to come after at most so many messages."""
        while possible := self.possible():
            side, action = self.choose(possible)
            if action == "say":
                self.say(side)
                self.test.assertLess(self.messages, most, "it does not end")
            else:
                self.hear(side)
        for speaker in self.speakers:
            self.test.assertFalse(speaker._steps or speaker._coming, "something of an exchange is kept")

    def possible(self) -> list[tuple[int, str]]:
        hear = [(side, "hear") for side in (0, 1) if self.wires[1 - side]]
        return [*hear, *((side, "say") for side in (0, 1) if self.replies[side])]

    def say(self, side: int) -> None:
        message = next(self.replies[side][0], None)
        if message is None:
            self.replies[side].popleft()
            return
        frame = encode(message)
        self.test.assertLess(len(frame), 65_000, "a message does not fit one record")
        self.messages += 1
        self.steps += not message.more
        self.size += len(frame)
        self.wires[side].append(frame)

    def hear(self, side: int) -> None:
        message = decode(self.wires[1 - side].popleft())
        assert isinstance(message, Ranges)
        self.on_message()
        step = self.speakers[side].receive(message, self.sides[side])
        self.replies[side].append(step.replies)
        ahead, conflicts = self.learned.setdefault((side, message.exchange), ({}, set()))
        ahead.update(step.ahead)
        conflicts.update(step.conflicts)
        if step.finished:
            self.finished[side, message.exchange] += 1
            self.on_finished(side, message.exchange)


class ReconcileCase(SynchronousTestCase):
    def small(self) -> None:
        """Make everything small, so that a few dozen authors are a large clock."""
        sizes = {
            "LIST_AT_ONCE": 4,
            "FIRST_PARTS": 6,
            "PARTS": 2,
            "LEAF_AUTHORS": 2,
            "DENSE_LEAF_AUTHORS": 4,
            "FEW_AUTHORS": 3,
            "MESSAGE_RANGES": 4,
            "MESSAGE_ITEMS": 3,
        }
        for name, size in sizes.items():
            self.patch(splitting, name, size)
        self.patch(limits, "MAX_WAITING_ITEMS", 5)

    def agree(
        self, ours: Heads, theirs: Heads, talk: Talk | None = None, starters: tuple[int, ...] = (0,)
    ) -> Talk:
        """Carry exchanges through: both sides learn everything, and say so once, when it is true and not before."""
        talk = talk or Talk(self, ours, theirs)
        expected = to_learn(ours, theirs), to_learn(theirs, ours)

        def check(side: int, exchange: int) -> None:
            self.assertEqual(talk.learned[side, exchange], expected[side], "finished too early")

        talk.on_finished = check
        for side in starters:
            talk.start(side)
        talk.run()
        self.assertEqual(talk.finished, {(side, exchange): 1 for side in (0, 1) for exchange in starters})
        for (side, _), learned in talk.learned.items():
            self.assertEqual(learned, expected[side])
        return talk


class Sizes(ReconcileCase):
    def differing(self, random: Random, count: int, different: int) -> tuple[Heads, Heads]:
        """Two sides of ``count`` authors, ``different`` of which differ, in every possible way."""
        heads = {
            author(number): (seq, entry_id(seq))
            for number in range(count)
            if (seq := random.randrange(1, 999))
        }
        sides = dict(heads), dict(heads)
        forked: tuple[set[bytes], set[bytes]] = set(), set()
        for each in random.sample(sorted(heads), different):
            side = random.randrange(2)
            seq = heads[each][0]
            match random.randrange(7):
                case 0:
                    del sides[side][each]
                case 1 | 2:
                    sides[side][each] = seq + 1, entry_id(seq + 1, random.randrange(2))
                case 3:
                    sides[side][each] = seq, entry_id(seq, 1)
                case 4:
                    forked[side].add(each)
                case 5:
                    forked[side].add(each)
                    del sides[random.randrange(2)][each]
                case 6:
                    forked[0].add(each)
                    forked[1].add(each)
                    sides[side].pop(each)
        return holdings(sides[0], forked[0]), holdings(sides[1], forked[1])

    def test_thresholds(self) -> None:
        random = Random(1)
        for count in (0, 1, 2, 8, 12, 13, 32, 33, 256, 257, 1023, 1024, 1025, 1026, 5000):
            for different in {0, min(1, count), min(10, count), count // 3, count}:
                with patch("gossiplog.log.fingerprint_nodes.item", _cheap_item):
                    self.agree(*self.differing(random, count, different))

    def test_one_side_is_empty(self) -> None:
        for count in (1, 1024, 1025, 5000):
            full, _ = self.differing(Random(2), count, 0)
            self.agree(full, holdings({}))
            self.agree(holdings({}), full)

    def test_nothing_in_common(self) -> None:
        ours = holdings({author(number): (1, entry_id(1)) for number in range(0, 4000, 2)})
        theirs = holdings({author(number): (1, entry_id(1)) for number in range(1, 4000, 2)})
        self.agree(ours, theirs)

    def test_small_against_large(self) -> None:
        large = {author(number): (1, entry_id(1)) for number in range(6000)}
        small = {each: large[each] for each in sorted(large)[::50]}
        self.agree(holdings(large), holdings(small))
        self.agree(holdings(small), holdings(large))

    def test_small_clocks_take_one_round_trip(self) -> None:
        for count in (0, 1, 1000, 1024):
            for different in (0, min(10, count)):
                talk = self.agree(*self.differing(Random(3), count, different))
                self.assertEqual(talk.messages, 2)
                self.assertLess(talk.size, 47 * count + 48 * different + 3 * count + 50)

    def test_equal_large_clocks_take_one_round_trip(self) -> None:
        talk = self.agree(*self.differing(Random(4), 5000, 0))
        self.assertEqual(talk.messages, 2)
        self.assertLess(talk.size, 7000)

    def test_few_differences_cost_little(self) -> None:
        talk = self.agree(*self.differing(Random(5), 20_000, 20))
        self.assertLess(talk.size, 32_000)
        self.assertLessEqual(talk.steps, 5)

    def test_everything_different_costs_little_more_than_the_list(self) -> None:
        for count in (1025, 1500, 3000, 12_000):
            ours = holdings({author(number): (1, entry_id(1)) for number in range(count)})
            theirs = holdings({author(number): (2, entry_id(2)) for number in range(count)})
            sizes = sorted(self.agree(*sides).size for sides in ((ours, theirs), (theirs, ours)))
            self.assertLess(sizes[0], 1.1 * 46 * count)  # who is ahead lists
            self.assertLess(
                sizes[1], 1.1 * 46 * 2 * count
            )  # who is behind lists, and the other answers with as much

    def test_how_it_is_split(self) -> None:
        """The numbers of the specification: one list, or so many fingerprints; then eight parts, or lists."""
        authors = sorted(map(author, range(5000)))

        def said(count: int, *differing: int) -> list[Counter[RangeKind]]:
            """What is said of so many authors at first, or in answer to ranges with so many in each."""
            held = holdings({each: (1, entry_id(1)) for each in authors[:count]})
            splitter = splitting.Splitting(held, SALT)
            if not differing:
                return [Counter(part.kind for part in splitter.opening())]
            bounds = [0, *accumulate(differing)]
            answers = [
                splitting.Answer(authors[at], authors[at + n], n)
                for at, n in zip(bounds, differing, strict=False)
            ]
            parts = list(splitter.answer(splitting.Compared(1000, answers)))
            places = [bisect_right(authors, part.upper) for part in parts]
            ends = [bounds[place + 1] + 1 for place in range(len(differing))]
            return [
                Counter(
                    part.kind
                    for part, place in zip(parts, places, strict=True)
                    if begin < place <= end and part.kind is not RangeKind.SKIP
                )
                for begin, end in pairwise([1, *ends])
            ]

        listed, fingerprints = RangeKind.LIST, RangeKind.FINGERPRINT
        self.assertEqual(said(1024), [{listed: 1}])
        self.assertEqual(said(1025), [{fingerprints: 64}])
        self.assertEqual(said(5000), [{fingerprints: 256}])
        self.assertEqual(said(5000, 256), [{listed: 1}])
        self.assertEqual(said(5000, 128, 128), [{listed: 1}] * 2)
        self.assertEqual(said(5000, 257), [{fingerprints: 42}])
        self.assertEqual(said(5000, *[60] * 64), [{fingerprints: 8}] * 64)
        self.assertEqual(said(5000, 500, 12, 13), [{fingerprints: 83}, {listed: 1}, {fingerprints: 2}])

    def test_clustered_authors(self) -> None:
        """Bounds may be as long as authors."""
        heads = {bytes(30) + number.to_bytes(2, "big"): (1, entry_id(1)) for number in range(3000)}
        heads |= {number.to_bytes(2, "big") + b"\xff" * 30: (1, entry_id(1)) for number in range(3000)}
        other = dict(heads)
        for each in sorted(heads)[::7]:
            other[each] = 2, entry_id(2)
        self.agree(holdings(heads), holdings(other))


class Steps(ReconcileCase):
    def setUp(self) -> None:
        self.small()

    @staticmethod
    def sides(random: Random) -> tuple[Heads, Heads]:
        heads = {author(number): (5, entry_id(5)) for number in range(random.choice((0, 3, 5, 30, 90)))}
        sides = dict(heads), dict(heads)
        for each in random.sample(sorted(heads), random.randrange(len(heads) + 1)):
            side = sides[random.randrange(2)]
            if random.random() < 0.4:
                side.pop(each, None)
            else:
                seq = random.randrange(4, 8)
                side[each] = seq, entry_id(seq, random.randrange(2))
        everyone = [*heads, *map(author, range(100, 104))]
        forked = [set(random.sample(everyone, random.randrange(4))) for _ in sides]
        return holdings(sides[0], forked[0]), holdings(sides[1], forked[1])

    def test_any_order_of_saying_and_hearing(self) -> None:
        """Including a peer that says much and reads nothing for long, whose answers are cut short."""
        kept_late = 0
        for seed in range(200):
            random = Random(seed)
            ours, theirs = self.sides(random)
            hears_late = random.random() < 0.5

            def choose(
                possible: list[tuple[int, str]], random: Random = random, late: bool = hears_late
            ) -> tuple[int, str]:
                if late:  # side 0 says nothing while it can hear anything
                    possible = [each for each in possible if each != (0, "say")] or possible
                return random.choice(possible)

            with patch.object(splitting, "late", wraps=splitting.late) as late:
                self.patch(reconcile, "late", late)
                self.agree(ours, theirs, Talk(self, ours, theirs, choose), (random.randrange(2),))
                kept_late += late.call_count
        self.assertGreater(kept_late, 10)

    def test_exchanges_of_both_sides_at_once(self) -> None:
        for seed in range(200):
            random = Random(seed)
            ours, theirs = self.sides(random)
            talk = Talk(self, ours, theirs, random.choice)
            self.agree(ours, theirs, talk, (0, 1))

    def test_overlapping_exchanges_of_one_side(self) -> None:
        for seed in range(100):
            random = Random(seed)
            ours, theirs = self.sides(random)
            talk = Talk(self, ours, theirs, random.choice)
            expected = to_learn(ours, theirs), to_learn(theirs, ours)
            for _ in range(3):
                talk.start()
            talk.run()
            self.assertEqual(
                talk.finished, {(side, exchange): 1 for side in (0, 1) for exchange in (0, 2, 4)}
            )
            for (side, _), learned in talk.learned.items():
                self.assertEqual(learned, expected[side])

    def test_heads_that_move(self) -> None:
        """What does not move is found; what moves is never claimed beyond what is held; it ends all the same."""
        for seed in range(200):
            random = Random(seed)
            ours, theirs = self.sides(random)
            talk = Talk(self, ours, theirs, random.choice)
            expected = to_learn(ours, theirs), to_learn(theirs, ours)
            moved: set[bytes] = set()
            moves = iter(range(random.randrange(1, 60)))

            def move(
                random: Random = random, talk: Talk = talk, moved: set[bytes] = moved, moves=moves
            ) -> None:
                if next(moves, None) is None or random.random() < 0.3:
                    return
                side = random.choice(talk.sides)
                each = author(random.randrange(100))
                if random.random() < 0.1:
                    side.freeze(each)
                elif each not in side.forks:
                    advance(side, each, side.clock.seq(each) + random.randrange(1, 4))
                moved.add(each)

            talk.on_message = move
            talk.start(random.randrange(2))
            talk.run()
            self.assertGreaterEqual(len(talk.finished), 2)
            for (side, _), (ahead, conflicts) in talk.learned.items():
                other = talk.sides[1 - side]
                for each, seq in ahead.items():
                    self.assertLessEqual(seq, other.clock.seq(each))
                still = {each: seq for each, seq in ahead.items() if each not in moved}, conflicts - moved
                first = {each: seq for each, seq in expected[side][0].items() if each not in moved}
                self.assertEqual(still, (first, expected[side][1] - moved))

    def test_replies_are_made_when_they_are_sent(self) -> None:
        ours, theirs = holdings({author(1): (1, entry_id(1))}), holdings({})
        talk = Talk(self, ours, theirs)
        talk.start(1)
        talk.say(1)
        talk.hear(0)
        advance(ours, author(1), 7)
        talk.run()
        self.assertEqual(talk.learned[1, 1], ({author(1): 7}, set()))


HEADS = st.integers(1, 4).flatmap(
    lambda seq: st.tuples(st.just(seq), st.sampled_from([entry_id(seq), entry_id(seq, 1)]))
)
AUTHORS = st.one_of(
    st.integers(0, 60).map(author),
    st.binary(max_size=3).map(lambda start: start.ljust(32, b"\0")),
    st.binary(max_size=2).map(lambda end: end.rjust(32, b"\xff")),
)
CLOCKS = st.dictionaries(AUTHORS, HEADS, max_size=40)


class AnyClocks(ReconcileCase):
    def setUp(self) -> None:
        self.small()

    @settings(derandomize=True, max_examples=150, deadline=None)
    @given(CLOCKS, CLOCKS, CLOCKS, st.sets(AUTHORS, max_size=4), st.sets(AUTHORS, max_size=4), st.randoms())
    def test_any_two(
        self,
        common: dict[bytes, tuple[int, bytes]],
        ours: dict[bytes, tuple[int, bytes]],
        theirs: dict[bytes, tuple[int, bytes]],
        our_forks: set[bytes],
        their_forks: set[bytes],
        random: Random,
    ) -> None:
        sides = holdings(common | ours, our_forks), holdings(common | theirs, their_forks)
        self.agree(*sides, Talk(self, *sides, random.choice))


@st.composite
def any_ranges(draw: st.DrawFn) -> Ranges:
    """Anything that the codec lets through."""
    bounds = sorted(draw(st.sets(st.one_of(AUTHORS, st.binary(min_size=1, max_size=32)), max_size=6)))
    if draw(st.booleans()):
        bounds.append(b"")
    pool = draw(st.sets(AUTHORS, max_size=20))
    ranges = []
    lower = b""
    for upper in bounds:
        inside = sorted(each for each in pool if lower <= each and (not upper or each < upper))
        kind = draw(st.sampled_from(RangeKind))
        items: tuple[Item, ...] = ()
        if kind in (RangeKind.LIST, RangeKind.DIFFERENCES):
            seqs = st.sampled_from([0, 1, 2, 3, limits.MAX_SEQ])
            checks = st.sampled_from([FORKED_CHECK, b"8 bytes!", sha256(SALT + entry_id(1)).digest()[:8]])
            items = tuple(Item(each, draw(seqs), draw(checks)) for each in inside)
        ranges.append(Range(upper, kind, bytes(16) if kind is RangeKind.FINGERPRINT else b"", items))
        lower = upper
    message = Ranges(draw(st.integers(0, 9)), tuple(ranges), draw(st.booleans()))
    assert decode(encode(message)) == message
    return message


class Hostile(ReconcileCase):
    def setUp(self) -> None:
        self.reconcile = Reconcile(SALT, starts_even=True)

    def say(self, held: Heads, *ranges: Range, exchange: int = 1, more: bool = False) -> Step:
        message = decode(encode(Ranges(exchange, ranges, more)))
        assert isinstance(message, Ranges)
        return self.reconcile.receive(message, held)

    @settings(derandomize=True, max_examples=150, deadline=None)
    @given(st.lists(any_ranges(), max_size=12), CLOCKS, st.booleans())
    def test_anything_the_codec_lets_through(
        self, messages: list[Ranges], clock: dict[bytes, tuple[int, bytes]], reads: bool
    ) -> None:
        ours = Reconcile(SALT, starts_even=True)
        held = holdings(clock)
        waiting: list[Iterator[Ranges]] = []
        for message in messages:
            before = len(ours._steps), dict(ours._coming)
            try:
                step = ours.receive(message, held)
            except LimitExceededError:
                self.assertEqual(before, (limits.MAX_STEPS, ours._coming))
                continue
            self.assertFalse(step.finished and message.more)
            for each, seq in step.ahead:
                self.assertGreater(seq, held.clock.seq(each))
            waiting.append(step.replies)
            if reads:
                self.assertLess(sum(1 for reply in step.replies if encode(reply)), 20)
        for replies in waiting:
            for reply in replies:
                self.assertEqual(decode(encode(reply)), reply)
        self.assertTrue(all(not step.is_whole and not step.size for step in ours._steps))

    def test_a_list_of_strangers(self) -> None:
        """The longest list there is: all is learned, and hardly anything kept until the answer is read."""
        strangers = sorted(author(number) for number in range(limits.MAX_LIST_ITEMS))
        items = tuple(Item(each, 1, b"8 bytes!") for each in strangers)
        held = holdings({author(-number): (1, entry_id(1)) for number in range(1, 3000)})
        message = decode(encode(Ranges(1, (Range(b"", RangeKind.LIST, items=items),))))
        assert isinstance(message, Ranges)
        step = self.reconcile.receive(message, held)
        self.assertEqual(len(step.ahead), limits.MAX_LIST_ITEMS)
        self.assertTrue(step.finished)
        self.assertEqual(sum(each.size for each in self.reconcile._steps), 1)
        replies = list(step.replies)
        self.assertEqual(len(replies), 3)
        self.assertEqual(sum(len(part.items) for reply in replies for part in reply.ranges), 2999)
        self.assertEqual([reply.more for reply in replies], [True, True, False])

    def test_a_peer_that_does_not_read(self) -> None:
        """However much it asks in one step: what we keep is bounded, and then it gets all answers in one."""
        count = limits.MAX_LIST_ITEMS
        heads = {author(number): (1, entry_id(1)) for number in range(count)}
        held = holdings(heads)
        check = sha256(SALT + entry_id(1)).digest()[:8]
        step = self.say(held, Range(b"", RangeKind.LIST), more=True)
        answer = step.replies
        everyone = Range(b"", RangeKind.LIST, items=tuple(Item(each, 1, check) for each in sorted(heads)))
        message = Ranges(1, (everyone,), more=True)
        tracemalloc.start()
        for _ in range(8):
            self.assertEqual(list(self.reconcile.receive(message, held).replies), [])
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(grown, 2_000_000)
        self.assertLessEqual(sum(each.size for each in self.reconcile._steps), limits.MAX_WAITING_ITEMS + 2)
        last = self.say(held, Range(b"", RangeKind.SKIP))
        self.assertFalse(last.finished, "what was not answered is asked again")
        *_, said = answer
        self.assertEqual([part.kind for part in said.ranges], [RangeKind.FINGERPRINT])
        self.assertFalse(said.more)
        self.assertEqual(self.reconcile._steps, set())

    def test_many_exchanges(self) -> None:
        held = holdings({author(1): (1, entry_id(1))})
        first = self.say(held, Range(b"", RangeKind.LIST), exchange=1)
        for number in range(2, limits.MAX_STEPS + 1):
            self.say(held, Range(b"", RangeKind.LIST), exchange=number)
        for number in (limits.MAX_STEPS + 1, 1):
            with self.assertRaises(LimitExceededError):
                self.say(held, Range(b"", RangeKind.LIST), exchange=number)
        self.assertEqual(len(list(first.replies)), 1)
        self.assertEqual(len(list(self.say(held, Range(b"", RangeKind.LIST), exchange=1).replies)), 1)

    def test_more_that_never_ends(self) -> None:
        held = holdings({author(number): (1, entry_id(1)) for number in range(2000)})
        for number in range(limits.MAX_STEPS):
            self.say(held, Range(b"", RangeKind.SKIP), exchange=number, more=True)
        for _ in range(500):
            items = (Item(bytes(32), 1, b"8 bytes!"),)
            step = self.say(held, Range(b"", RangeKind.DIFFERENCES, items=items), exchange=3, more=True)
            self.assertEqual((step.finished, list(step.replies)), (False, []))
        self.assertEqual(len(self.reconcile._steps), limits.MAX_STEPS)
        self.assertEqual(sum(each.size for each in self.reconcile._steps), 0)
        with self.assertRaises(LimitExceededError):
            self.say(held, Range(b"", RangeKind.SKIP), exchange=99, more=True)

    def test_what_asks_for_nothing_is_not_kept(self) -> None:
        for number in range(1000):
            step = self.say(holdings({}), Range(b"", RangeKind.DIFFERENCES), exchange=number)
            self.assertEqual(list(step.replies), [])
        self.assertEqual(self.reconcile._steps, set())

    def test_no_ranges_at_all(self) -> None:
        step = self.say(holdings({author(1): (1, entry_id(1))}))
        self.assertEqual((list(step.replies), step.ahead, step.conflicts), ([], [], []))

    def test_what_is_not_spoken_of_is_skipped(self) -> None:
        low, high = sorted([author(1), author(2)])
        held = holdings({low: (1, entry_id(1)), high: (1, entry_id(1))})
        [reply] = self.say(held, Range(high, RangeKind.LIST)).replies
        [said, rest] = reply.ranges
        self.assertEqual([item.author for item in said.items], [low])
        self.assertEqual(rest, Range(b"", RangeKind.SKIP))

    def test_many_wrong_fingerprints(self) -> None:
        """Work for a message: one sum for each range, and eight for each in the answer, as that is read."""
        held = holdings({author(number): (1, entry_id(1)) for number in range(60_000)})
        bounds = [(100 * number).to_bytes(2, "big") for number in range(1, limits.MAX_RANGES)]
        wrong = [Range(bound, RangeKind.FINGERPRINT, bytes(16)) for bound in [*bounds, b""]]
        self.assertEqual(len(wrong), limits.MAX_RANGES)
        sums = []
        with patch.object(type(held.tree), "range", _counted(sums, held.tree.range)):
            replies = self.say(held, *wrong).replies
            self.assertEqual(len(sums), limits.MAX_RANGES)
            next(replies)
            self.assertLess(len(sums), limits.MAX_RANGES + 600)
            said = sum(len(encode(reply)) for reply in replies)
        self.assertLess(len(sums), limits.MAX_RANGES * 9)
        self.assertLess(said, 60_000 * 46)

    def test_forks_cost_what_is_found(self) -> None:
        """Anyone may make forked authors; they must not make every list slow."""
        strangers = {author(-number) for number in range(1, 5000)}
        held = holdings({author(number): (1, entry_id(1)) for number in range(10)}, strangers)
        inside = sorted([*strangers, *held.clock])
        self.assertEqual(list(held.authors()), inside)
        for at in range(0, len(inside) - 3, 701):
            with patch.object(held, "clock", wraps=held.clock) as clock:
                self.assertEqual(list(held.authors(inside[at], inside[at + 3])), inside[at : at + 3])
                self.assertLess(len(clock.mock_calls), 8)


class Roots(ReconcileCase):
    def test_equal_as_long_as_the_same_is_held(self) -> None:
        random = Random(7)
        held = holdings({})
        plain: dict[bytes, tuple[int, bytes]] = {}
        forked: set[bytes] = set()
        self.assertEqual(held.root(SALT), holdings({}).root(SALT))
        for _ in range(300):
            each = author(random.randrange(40))
            if random.random() < 0.05:
                held.freeze(each)
                forked.add(each)
            else:
                seq = held.clock.seq(each) + 1
                advance(held, each, seq)
                plain[each] = seq, entry_id(seq)
            if random.random() < 0.3:
                self.assertEqual(held.root(SALT), holdings(plain, forked).root(SALT))
                self.assertEqual(list(held.authors()), sorted({*plain, *forked}))
        self.assertNotEqual(held.root(SALT), held.root(bytes(32)))

    def test_forks_agree_on_any_branch(self) -> None:
        ours = holdings({author(1): (3, entry_id(3))}, {author(1)})
        theirs = holdings({author(1): (2, entry_id(2, 1))}, {author(1)})
        self.assertEqual(ours.root(SALT), theirs.root(SALT))
        self.assertEqual(ours.root(SALT), holdings({}, {author(1)}).root(SALT))

    def test_nothing_changed_nothing_hashed(self) -> None:
        held = holdings({author(number): (1, entry_id(1)) for number in range(3000)})
        held.root(SALT)
        hashed: list[object] = []
        with (
            patch("gossiplog.log.fingerprint_nodes.item", _counted(hashed, _cheap_item)),
            patch("gossiplog.log.fingerprint.item", _counted(hashed, _cheap_item)),
        ):
            held.root(SALT)
            self.assertEqual(len(hashed), 0)
            advance(held, author(5), 2)
            held.root(SALT)
            self.assertEqual(len(hashed), 2)
            advance(held, author(5), 3)
            advance(held, author(5), 4)
            held.root(SALT)
            held.root(bytes(32))
            self.assertEqual(len(hashed), 4)

    def test_no_tree_before_it_is_needed(self) -> None:
        held = holdings({})
        for number in range(2000):
            advance(held, author(number), 1)
        self.assertIsNone(held._tree)
        self.assertFalse(held._touched)
        self.assertEqual(len(held.tree), 2000)

    def test_a_catch_up_is_taken_in_bit_by_bit(self) -> None:
        """The root after it must not wait for all of it."""
        held = holdings({})
        held.root(SALT)
        for number in range(5000):
            advance(held, author(number), 1)
        self.assertLess(len(held._touched), 1024)
        heads = {author(number): (1, entry_id(1)) for number in range(5000)}
        self.assertEqual(held.root(SALT), holdings(heads).root(SALT))


def _cheap_item(of: bytes, seq: int, of_id: bytes) -> int:
    return int.from_bytes(sha256(b"%b%d %b" % (of, seq, of_id)).digest())


def _counted(calls: list[object], function: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        if len(arguments) == 3 and not isinstance(arguments[0], bytes):
            arguments = arguments[1:]  # a method
        calls.append(arguments)
        return function(*arguments)

    return call
