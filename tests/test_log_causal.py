"""Merging logs into one order: in the order of places, each entry once, and nobody is held up by what others name."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.log.body import Reference, encode_body
from gossiplog.log.causal import Causal
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.opened import Ready
from gossiplog.log.place import Place
from gossiplog.log.segment import Head, Segment, build, drop_payloads, merge
from gossiplog.log.waiting import Read

PAIRS = sorted((Keypair(bytes([number]) * 32) for number in range(1, 8)), key=lambda pair: pair.author)
ANN, BOB, CAT, DAN = (pair.author for pair in PAIRS[:4])
BY_AUTHOR = {pair.author: pair for pair in PAIRS}

Key = tuple[bytes, int]


class Logs:
    """I am real logs, of which some entries are held: who merges them reads from me."""

    def __init__(self) -> None:
        self.ids: dict[Key, bytes] = {}
        self.said: dict[Key, tuple[int, Sequence[Reference]]] = {}
        self.segments: dict[bytes, list[Segment]] = {}
        self.heads: dict[bytes, Head] = {}
        self.held: dict[bytes, int] = {}
        self.reads = 0
        self.holes: set[Key] = set()
        self.damaged: dict[bytes, tuple[int, int]] = {}

    def write(self, author: bytes, clock: int, names: Iterable[Key | Reference] = ()) -> Key:
        """Append an entry; nobody has it yet."""
        after = [each if isinstance(each, Reference) else self.name(*each) for each in names]
        head = self.heads.get(author) or Head(0, genesis_id(author))
        [segment], self.heads[author] = build(BY_AUTHOR[author], head, [encode_body(clock, b"x", after)])
        key = author, segment.last
        self.ids[key] = self.heads[author].id
        self.said[key] = clock, after
        self.segments.setdefault(author, []).append(segment)
        return key

    def name(self, author: bytes, seq: int) -> Reference:
        return Reference(author, seq, self.ids[author, seq][:16])

    def compact(self, author: bytes, size: int) -> None:
        """Merge rows, ``size`` at a time."""
        rows = self.segments[author]
        self.segments[author] = [merge(rows[at : at + size]) for at in range(0, len(rows), size)]

    def answer(self, read: Read) -> tuple[list[Segment], int]:
        self.reads += 1
        begin, end = self.damaged.get(read.author, (0, 0))
        if begin <= read.first <= end:
            return [], end
        rows = [
            drop_payloads(each, [seq for author, seq in self.holes if author == each.author])
            for each in self.segments[read.author]
            if each.first <= read.first <= each.last
        ]
        return rows, 0

    def places(self) -> dict[Key, Place]:
        """Return the places of what is held, as the specification defines them."""
        moments: dict[Key, tuple[int, int]] = {}

        def moment(author: bytes, seq: int) -> tuple[int, int]:
            if seq == 0:
                return (0, 0)
            if (author, seq) not in moments:
                clock, after = self.said[author, seq]
                if (author, seq) in self.holes:
                    clock, after = 0, ()
                behind = [
                    moment(each.author, each.seq)
                    for each in after
                    if each.seq <= self.held.get(each.author, 0)
                    and self.ids[each[:2]].startswith(each.id16)
                    and not (each.author == author and each.seq >= seq)
                ]
                moments[author, seq] = max(
                    (clock, 0), moment(author, seq - 1), *[(ms, count + 1) for ms, count in behind]
                )
            return moments[author, seq]

        for author, last in self.held.items():
            for seq in range(1, last + 1):
                moment(author, seq)
        return {key: Place(*value, *key) for key, value in moments.items()}


class Merge:
    """I read logs in their order, at a time of my own."""

    def __init__(
        self, logs: Logs, live: bool = False, settle: float = 2.0, after: Mapping[bytes, int] | None = None
    ) -> None:
        self.logs = logs
        self.live = live
        self.now = 1000.0
        self.wall_ms = 1_000_000_000
        self.got: list[Ready] = []
        self.reordered: list[Place] = []
        self.unwanted: set[bytes] = set()
        read = after or {}
        self.causal = Causal(
            lambda author: read.get(author, 0),
            (lambda author: author not in self.unwanted) if live else None,
            settle if live else 0.0,
        )
        self.causal.tick(self.now, self.wall_ms)
        for author, last in logs.held.items():
            self.causal.hold(author, last)

    def come(self, *keys: Key) -> None:
        """Entries up to these are held now."""
        for author, last in keys:
            self.logs.held[author] = max(last, self.logs.held.get(author, 0))
            self.causal.hold(author, self.logs.held[author], came=self.now)
        self.run()

    def run(self) -> list[Key]:
        """Do what can be done now; return what was handed over."""
        before = len(self.got)
        for _ in range(100_000):
            place = self.causal.tick(self.now, self.wall_ms)
            if place is not None:
                self.reordered.append(place)
            reads = self.causal.ask()
            for read in reads:
                self.causal.told(read, *self.logs.answer(read))
            took = self.causal.take(7)
            self.got += took
            assert all(ready.id == self.logs.ids[ready.place[2:]] for ready in took)
            if not took and self.causal.is_idle and (self.live or not self.causal.untangle()):
                return [each.place[2:] for each in self.got[before:]]
        raise AssertionError("it has no end")

    def wait(self, seconds: float) -> list[Key]:
        """Let time pass, and look whenever somebody should."""
        before = len(self.got)
        end = self.now + seconds
        self.run()
        while (wakes := self.causal.wakes) is not None and wakes <= end:
            self.pass_to(max(wakes, self.now + 0.001))
            self.run()
        self.pass_to(max(end, self.now))
        self.run()
        return [each.place[2:] for each in self.got[before:]]

    def pass_to(self, now: float) -> None:
        self.wall_ms += round((now - self.now) * 1000)
        self.now = now


def make_logs(chance: random.Random, lies: bool = False) -> Logs:
    """Return logs of some authors with clocks that are off, each naming what its author had seen."""
    authors = [pair.author for pair in PAIRS[: chance.randint(2, 6)]]
    skew = chance.choice((0, 3, 400))
    off = {author: chance.randint(-skew, skew) for author in authors}
    seen: dict[bytes, dict[bytes, int]] = {author: {} for author in authors}
    often = chance.random()
    logs = Logs()
    for step in range(chance.randint(4, 50)):
        author, other = chance.choice(authors), chance.choice(authors)
        if chance.random() < 0.4:
            for each, seq in seen[other].items():
                seen[author][each] = max(seq, seen[author].get(each, 0))
        names: list[Key | Reference] = [
            (each, seq) for each, seq in sorted(seen[author].items()) if chance.random() < often
        ]
        if lies and chance.random() < 0.2:
            names.append(Reference(chance.choice(authors), chance.randint(1, 15), bytes(16)))
        clock = max(0, 500 + 10 * step + off[author] - (300 if chance.random() < 0.1 else 0))
        seen[author][author] = logs.write(author, clock, names)[1]
    for author in logs.segments:
        logs.compact(author, chance.choice((1, 3, 100)))
    return logs


class Stored(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_in_the_order_of_places(self, seed: int) -> None:
        """All of what is held, from the beginning or from a cursor, with what names what is not held or is not so."""
        chance = random.Random(seed)
        logs = make_logs(chance, lies=True)
        for author, head in logs.heads.items():
            logs.held[author] = chance.choice((head.seq, chance.randint(1, head.seq)))
        if chance.random() < 0.3:
            logs.holes = {key for key in logs.said if chance.random() < 0.2}
        wanted = sorted(logs.places().values())
        with patch.object(limits, "ORDER_MEMORY_BYTES", chance.choice((1, 1 << 25))):
            merge = Merge(logs)
            merge.run()
            self.assertEqual([each.place for each in merge.got], wanted)
            self.assertFalse(any(each.late for each in merge.got))
            half = {author: chance.randint(0, last) for author, last in logs.held.items()}
            rest = Merge(logs, after=half)
            rest.run()
        self.assertEqual(
            [each.place for each in rest.got], [each for each in wanted if each.seq > half[each.author]]
        )


class Live(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_whatever_the_order_of_arrival(self, seed: int) -> None:
        """Each entry once, in its log's order; what is out of order is marked; at the end the places are the right ones
        for everything that came after the last one that was late."""
        chance = random.Random(seed)
        logs = make_logs(chance, lies=chance.random() < 0.5)
        merge = Merge(logs, live=True, settle=chance.choice((0.0, 2.0)))
        left = dict.fromkeys(logs.heads, 1)
        while left:
            author = chance.choice(sorted(left))
            merge.come((author, left[author]))
            left[author] += chance.choice((1, 1, 3))
            if left[author] > logs.heads[author].seq:
                merge.come((author, logs.heads[author].seq))
                del left[author]
            merge.wait(chance.choice((0.0, 0.5, 3.0, 40.0)))
        merge.wait(1000.0)
        self.assertEqual(dict(merge.causal._placer.waits), {})
        keys = [each.place[2:] for each in merge.got]
        self.assertEqual(sorted(keys), sorted(logs.said))
        for author in logs.heads:
            self.assertEqual(
                [seq for each, seq in keys if each == author], list(range(1, logs.heads[author].seq + 1))
            )
        reached = Place(-1, 0, b"", 0)
        for each in merge.got:
            self.assertEqual(each.late, each.place < reached)
            reached = max(reached, each.place)
        again = Merge(logs)
        again.run()
        self.assertEqual([each.place for each in again.got], sorted(logs.places().values()))
        if not merge.reordered:
            self.assertEqual({each.place for each in merge.got}, set(logs.places().values()))
        placed = {
            (author, seq): log.zones.containing(author, seq).high
            for author, log in merge.causal._logs.items()
            for seq in [log.held]
        }
        wanted = logs.places()
        self.assertEqual(placed, {key: wanted[key][:2] for key in placed})

    def test_a_reply_waits_for_its_question(self) -> None:
        logs = Logs()
        question = logs.write(ANN, 5000)
        reply = logs.write(BOB, 1000, [question])
        other = logs.write(CAT, 2000)
        merge = Merge(logs, live=True)
        merge.come(reply, other)
        self.assertEqual(merge.wait(10.0), [other])
        merge.come(question)
        self.assertEqual([each.place[2:] for each in merge.got], [other, question, reply])
        self.assertEqual([each.late for each in merge.got], [False] * 3)
        self.assertEqual(merge.reordered, [])

    def test_settle(self) -> None:
        """What comes within that time of another one is put in order with it."""
        logs = Logs()
        first, second = logs.write(ANN, 2000), logs.write(BOB, 1000)
        merge = Merge(logs, live=True)
        merge.come(first)
        self.assertEqual(merge.wait(1.9), [])
        merge.come(second)
        self.assertEqual(merge.wait(0.2), [second, first])

    def test_who_writes_without_end_holds_nobody_up(self) -> None:
        """An entry is handed over when it is settled, whatever belongs before it and came just now."""
        logs = Logs()
        first = logs.write(ANN, 5000)
        merge = Merge(logs, live=True)
        merge.come(first)
        for number in range(1, 5):
            merge.come(logs.write(BOB, number))
            merge.wait(0.5)
        self.assertIn(first, [each.place[2:] for each in merge.got])

    def test_late(self) -> None:
        logs = Logs()
        first, second = logs.write(ANN, 2000), logs.write(BOB, 1000)
        merge = Merge(logs, live=True)
        merge.come(first)
        merge.wait(2.0)
        merge.come(second)
        merge.wait(2.0)
        self.assertEqual(
            [(each.place[2:], each.late) for each in merge.got], [(first, False), (second, True)]
        )

    def test_patience(self) -> None:
        """After its time an entry is placed without what does not come; if that is late, the order is another one."""
        logs = Logs()
        question = logs.write(ANN, 5000)
        reply = logs.write(BOB, 1000, [question])
        more = logs.write(BOB, 1001)
        merge = Merge(logs, live=True)
        merge.come(reply)
        self.assertEqual(merge.wait(limits.PATIENCE_SECONDS - 0.1), [])
        self.assertEqual(merge.wait(0.2), [reply])
        merge.come(more)
        merge.wait(3.0)
        merge.come(question)
        merge.wait(3.0)
        self.assertEqual(merge.reordered, [Place(1000, 0, *reply)])
        self.assertEqual([each.place[2:] for each in merge.got], [reply, more, question])
        follows = logs.write(BOB, 1002)
        merge.come(follows)
        merge.wait(3.0)
        self.assertEqual(merge.got[-1].place, logs.places()[follows])
        self.assertEqual(merge.got[-1].place, Place(5000, 1, *follows))

    def test_given_up_at_once(self) -> None:
        """Nobody waits for an author who is not wanted, nor for another entry than there is."""
        logs = Logs()
        question = logs.write(ANN, 5000)
        there = logs.write(CAT, 100)
        reply = logs.write(BOB, 1000, [question, Reference(*there, bytes(16))])
        merge = Merge(logs, live=True)
        merge.unwanted.add(ANN)
        merge.come(there, reply)
        self.assertEqual(merge.wait(2.1), [there, reply])

    def test_what_was_handed_over_before_is_not_waited_for(self) -> None:
        logs = Logs()
        question = logs.write(ANN, 5000)
        logs.write(BOB, 1000, [question])
        follows = logs.write(BOB, 1001)
        logs.held[BOB] = 2
        merge = Merge(logs, live=True, after={BOB: 1})
        self.assertEqual(merge.wait(0.1), [follows])

    def test_what_was_there_is_waited_for_from_now_on(self) -> None:
        logs = Logs()
        question = logs.write(ANN, 5000)
        reply = logs.write(BOB, 1000, [question])
        logs.held[BOB] = 1
        merge = Merge(logs, live=True)
        self.assertEqual(merge.wait(limits.PATIENCE_SECONDS - 1), [])
        merge.come(question)
        self.assertEqual([each.place[2:] for each in merge.got], [question, reply])

    def test_ahead_of_our_clock(self) -> None:
        logs = Logs()
        merge = Merge(logs, live=True)
        near = logs.write(ANN, merge.wall_ms + limits.MAX_AHEAD_MS)
        far = logs.write(ANN, merge.wall_ms + limits.MAX_AHEAD_MS + 60_000)
        reply = logs.write(BOB, merge.wall_ms, [far])
        other = logs.write(BOB, merge.wall_ms + 1)
        merge.come(near, far, reply, other)
        self.assertEqual(merge.wait(3.0), [near])
        self.assertEqual(merge.causal.ahead, [(*far, logs.said[far][0])])
        self.assertEqual(merge.wait(28.0), [reply, other])  # nobody waits for a year
        self.assertEqual(merge.wait(40.0), [far])
        self.assertEqual(merge.reordered, [Place(logs.said[reply][0], 0, *reply)])

    def test_a_forgotten_log(self) -> None:
        logs = Logs()
        first, second = logs.write(ANN, 1), logs.write(ANN, 2)
        reply = logs.write(BOB, 3, [second])
        merge = Merge(logs, live=True)
        merge.come(first)
        merge.come(reply)
        merge.causal.forget(ANN)
        del logs.held[ANN]
        self.assertEqual(merge.wait(40.0), [reply])

    def test_damage_is_passed_over(self) -> None:
        logs = Logs()
        keys = [logs.write(ANN, number) for number in range(1, 6)]
        logs.damaged[ANN] = 2, 3
        logs.held[ANN] = 5
        self.assertEqual(Merge(logs).run(), [keys[0], *keys[3:]])
        self.assertEqual(Merge(logs, live=True).wait(1.0), [keys[0], *keys[3:]])


class Bounds(SynchronousTestCase):
    def test_rows_in_memory(self) -> None:
        """Of many logs whose entries take turns, only so much is open at once; the order is the same."""
        logs = Logs()
        for number in range(20):
            for pair in PAIRS:
                logs.held[pair.author] = logs.write(pair.author, number)[1]
        for pair in PAIRS:
            logs.compact(pair.author, 20)
        with patch.object(limits, "ORDER_MEMORY_BYTES", 15_000):
            merge = Merge(logs)
            most = 0
            take = merge.causal.take

            def watch(count: int) -> list[Ready]:
                nonlocal most
                most = max(most, merge.causal._row_bytes)
                return take(count)

            with patch.object(merge.causal, "take", watch):
                merge.run()
        self.assertGreater(most, 7_500)
        self.assertLessEqual(most, 15_000)
        self.assertEqual([each.place for each in merge.got], sorted(logs.places().values()))

    def test_times_that_are_remembered(self) -> None:
        logs = Logs()
        merge = Merge(logs, live=True)
        first = logs.write(ANN, 1, [Reference(BOB, 1, bytes(16))])  # what follows waits, too
        with patch.object(limits, "PATIENCE_SECONDS", 10**6):
            merge.come(first)
            for _ in range(3 * limits.ORDER_MARKS):
                merge.pass_to(merge.now + 1.0)
                merge.come(logs.write(ANN, 1))
        marks = merge.causal._logs[ANN].marks
        assert marks is not None
        self.assertEqual(len(marks), limits.ORDER_MARKS)

    def test_what_is_remembered_of_old_entries(self) -> None:
        """A log that comes entry by entry has as few zones as one that comes at once."""
        logs = Logs()
        merge = Merge(logs, live=True, settle=0.0)
        for number in range(2100):
            merge.come(logs.write(ANN, number))
        self.assertEqual(len(merge.got), 2100)
        self.assertEqual(len(merge.causal._logs[ANN].zones._zones), 3)


class Hostile(SynchronousTestCase):
    def test_a_chain_that_waits_holds_a_reply_no_longer_than_its_time(self) -> None:
        """Each of a hundred entries names another one that never comes; an honest author replies to the last."""
        logs = Logs()
        chain = [logs.write(ANN, 1, [Reference(CAT, 5 + number, bytes(16))]) for number in range(100)]
        reply, other = logs.write(BOB, 10, [chain[-1]]), logs.write(DAN, 5)
        merge = Merge(logs, live=True)
        merge.come(*chain, reply, other)
        self.assertEqual(merge.wait(2.1), [other])
        self.assertEqual(merge.wait(29.0), [*chain, reply])

    def test_claimed_cycles(self) -> None:
        """Two name each other, which no hash allows, and a third one replies."""
        logs = Logs()
        one = logs.write(ANN, 1, [Reference(BOB, 1, bytes(16))])
        two = logs.write(BOB, 1, [one])
        reply = logs.write(CAT, 1, [two])
        merge = Merge(logs, live=True)
        merge.come(one, two, reply)
        for _ in range(36):  # others go on meanwhile, all the time
            merge.come(logs.write(DAN, 1000))
            merge.wait(1.0)
        got = [each.place[2:] for each in merge.got]
        self.assertEqual([each for each in got if each[0] != DAN], [one, two, reply])
        self.assertEqual(len(got), 3 + 35)
        self.assertEqual(merge.reordered, [])

    def test_who_is_told_of_one_by_one(self) -> None:
        """What an entry waits for waits for another one that comes just in time, and so on: nobody else waits so."""
        logs = Logs()
        chain: list[Key] = []
        for number in range(3):
            chain.append(logs.write(PAIRS[4 + number].author, 1, chain[-1:]))
        reply = logs.write(BOB, 10, [chain[-1]])
        merge = Merge(logs, live=True)
        merge.come(reply, chain[2])
        merge.wait(29.0)
        merge.come(chain[1])  # that comes behind chain[0], and waits as long again
        self.assertEqual(merge.wait(4.0), [chain[2], reply])

    def test_a_flood_of_what_is_late(self) -> None:
        """Whoever lets entries come late again and again makes us place all anew for a part of the time only."""
        logs = Logs()
        merge = Merge(logs, live=True, settle=0.0)
        for author in (CAT, DAN):
            for number in range(50):
                logs.write(author, 1000 + number)
            merge.come((author, 50))
        backs = 0
        for number in range(30):
            named = logs.write(ANN, 500 + number)
            merge.come(logs.write(BOB, 0, [named]))
            merge.wait(31.0)
            before = len(merge.reordered)
            merge.causal._back_since = merge.now - 20.0  # it took that long
            merge.come(named)
            backs += len(merge.reordered) - before
        self.assertLess(backs, 10)
        merge.wait(1000.0)
        self.assertEqual(dict(merge.causal._placer.waits), {})
        self.assertEqual(merge.causal._late, [])

    def test_who_looks_up_long_is_not_waited_for(self) -> None:
        """An entry names an old one of each of six logs; others go on before all these are read."""
        logs = Logs()
        for number in (1, 10**6):
            for pair in PAIRS[:6]:
                logs.held[pair.author] = logs.write(pair.author, number)[1]
        for pair in PAIRS[:6]:
            logs.compact(pair.author, 2)
        merge = Merge(logs, live=True, settle=0.0)
        merge.run()
        asker = PAIRS[6].author
        names: list[Key | Reference] = [(pair.author, 1) for pair in PAIRS[:6]]
        for limit, fewest, most in ((2, 2, 4), (8, 6, 9)):
            with (
                patch("gossiplog.log.waiting._LOOKED_UP", limit),
                patch("gossiplog.log.waiting._FREE_LOOKUPS", 10**9),
            ):
                merge.causal._waiting._looked.clear()
                for log in merge.causal._logs.values():
                    log.lookups = 0
                written = logs.write(asker, 0, names), logs.write(ANN, 10**6)
                looked = []
                answer = logs.answer

                def watch(
                    read: Read, looked: list[bool] = looked, answer: Any = answer, other: Key = written[1]
                ) -> tuple[list[Segment], int]:
                    given = other in [each.place[2:] for each in merge.got]
                    looked.append(read.named is not None and not given)
                    found: tuple[list[Segment], int] = answer(read)
                    return found

                with patch.object(logs, "answer", watch):
                    for author, last in written:
                        logs.held[author] = last
                        merge.causal.hold(author, last, came=merge.now)
                    merge.run()
                self.assertTrue(fewest <= sum(looked) <= most, (limit, sum(looked)))
                self.assertIn(written[0], [each.place[2:] for each in merge.got])

    def test_who_names_old_entries_by_the_dozen(self) -> None:
        """An entry without a clock names one of each of many rows: few are read, and others go on meanwhile."""
        logs = Logs()
        for number in range(500):
            logs.write(CAT, 100 + 1000 * number)
        logs.compact(CAT, 5)
        logs.held[CAT] = 500
        names: list[Key | Reference] = [(CAT, 5 * number + 1) for number in range(64)]
        merge = Merge(logs, live=True)
        with patch("gossiplog.log.zone_list._ENTRIES", 5):
            merge.wait(1.0)
            logs.reads = 0
            merge.come(logs.write(ANN, 0, names))
            merge.wait(3.0)
        self.assertLess(logs.reads, 10)
