"""Rings 1 and 5: tables of very many authors."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from random import Random
from sys import getsizeof
from time import thread_time

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.claims import BURIED_AT_ONCE
from gossiplog.gossip.messages import Have, HaveItem, Want
from gossiplog.gossip.plumtree import LOOK_ON_SECONDS, LOOKED_AT_ONCE
from gossiplog.gossip.pull_scheduler import PullScheduler
from gossiplog.gossip.sharded_tables import BLOCK, SPREAD, Line, Table
from tests.replicacase import ReplicaCase

STEP_SECONDS = 0.02
"""What no step may take, of time that this thread works; a table in one piece took 60 ms and more."""


def names(count: int) -> list[bytes]:
    """Authors that anybody can think of."""
    random = Random(7)
    return [random.randbytes(32) for _ in range(count)]


class TableTests(SynchronousTestCase):
    """As a dictionary, in many pieces."""

    def test_as_a_dictionary(self) -> None:
        """Small and large, growing and shrinking; it knows how large it is."""
        random = Random(1)
        for count in (5, SPREAD * 3):
            authors = names(count)
            table: Table[int] = Table()
            model: dict[bytes, int] = {}
            for step in range(6 * count):
                author = random.choice(authors)
                if random.random() < (0.8 if step < 3 * count else 0.2):
                    table[author] = model[author] = step + 1
                else:
                    self.assertEqual(table.pop(author), model.pop(author, None))
                self.assertEqual(
                    (table.get(author, 0), author in table), (model.get(author, 0), author in model)
                )
            self.assertEqual((dict(table.items()), {*table}, len(table)), (model, {*model}, len(model)))
            self.assertEqual(table.size_bytes, sum(map(getsizeof, table._parts)))
            full_bytes = table.size_bytes
            for author in authors:
                table.pop(author)
            self.assertEqual((len(table), [*table]), (0, []))
            self.assertLessEqual(table.size_bytes, full_bytes)
            self.assertLess(table.size_bytes, 1024)

    def test_taken_out(self) -> None:
        """Each once; what is left can be asked for."""
        for count in (5, 2 * SPREAD):
            table: Table[int] = Table()
            for number, author in enumerate(names(count), 1):
                table[author] = number
            left = {author: number for number, author in enumerate(names(count), 1)}
            while (item := table.take()) is not None:
                self.assertEqual(left.pop(item[0]), item[1])
                author = next(iter(left), b"")
                self.assertEqual((len(table), table.get(author, 0)), (len(left), left.get(author, 0)))
            self.assertEqual(left, {})

    def test_nothing_takes_long(self) -> None:
        """Neither to grow nor to be emptied."""
        self.addCleanup(gc.enable)
        gc.disable()
        authors = names(200_000)
        table: Table[int] = Table()
        line = Line()
        steps = [lambda author: table.__setitem__(author, 1), line.put, line.put_first, line.discard]
        for step in steps:
            self.assertLess(self.longest(step, iter(authors)), STEP_SECONDS)
            self.assertLess(max(map(len, [*table._parts, *line._block_of._parts])), SPREAD)
            self.assertLessEqual(max(map(len, line._blocks.values()), default=0), BLOCK)
        self.assertLess(self.longest(lambda _: table.take(), iter(authors)), STEP_SECONDS)
        self.assertEqual((table.take(), [*line]), (None, []))

    def longest(self, step: object, over: Iterator[object]) -> float:
        """The longest step; the second longest, since this thread is not alone with its core."""
        times = []
        for each in over:
            began = thread_time()
            step(each)  # type: ignore[operator]
            times.append(thread_time() - began)
        return sorted(times)[-2]

    def test_no_search_for_cycles_looks_into_them(self) -> None:
        """Claims of very many authors, by some peers."""
        schedule = PullScheduler()
        for session in (1, 2, 3):
            schedule.add(session)
            for author in names(3 * SPREAD):
                schedule.claim(session, author, 1)
        gc.collect()
        seen = [each for each in gc.get_objects() if isinstance(each, dict) and len(each) > BLOCK // 2]
        ours = {*names(3 * SPREAD)}
        self.assertEqual([len(each) for each in seen if not ours.isdisjoint(each)], [])


class LineTests(SynchronousTestCase):
    """Who is next."""

    def test_order(self) -> None:
        """First come, first served, behind those that were put first; each once."""
        line = Line()
        authors = names(4 * BLOCK)
        for author in [*authors, *authors]:
            line.put(author)
        self.assertEqual([*line], authors)
        urgent = authors[::3]
        for author in urgent[:BLOCK]:
            line.put_first(author)
        rest = [author for author in authors if author not in {*urgent[:BLOCK]}]
        self.assertEqual([*line], urgent[:BLOCK] + rest)
        for author in rest[::2]:
            line.discard(author)
            line.discard(author)
        left = urgent[:BLOCK] + rest[1::2]
        self.assertEqual((len(line), [line.pop() for _ in left], len(line)), (len(left), left, 0))
        line.put(authors[0])
        self.assertEqual([*line], authors[:1])

    def test_small_again(self) -> None:
        """What is taken out leaves no room that is counted nowhere."""
        line = Line()
        for author in names(4 * BLOCK):
            line.put(author)
        full_bytes = sum(map(getsizeof, line._blocks.values()))
        for number, author in enumerate(names(4 * BLOCK)):
            if number % BLOCK:
                line.discard(author)
        left_bytes = sum(map(getsizeof, line._blocks.values()))
        self.assertLess(left_bytes, full_bytes / 20)
        self.assertLess(line.size_bytes, full_bytes / 2)


class ReplicaTests(ReplicaCase):
    """What a replica does with time."""

    def test_claims_of_who_is_gone(self) -> None:
        """Are forgotten some at a time, and at once when nobody is left."""
        schedule = self.replica.pulls.schedule
        authors = names(4 * BURIED_AT_ONCE)
        for author in authors:
            schedule.claim(0, author, 1)
            schedule.claim(1, author, 1)
        self.do(events.Closed(0))
        lefts = []
        while schedule.buries:
            lefts.append(sum(len(schedule._claimants[author]) > 8 for author in authors))
            self.do(events.Tick(), after=0.01)
        self.assertEqual(
            [left for left in lefts if left], [3 * BURIED_AT_ONCE, 2 * BURIED_AT_ONCE, BURIED_AT_ONCE]
        )
        self.do(events.Closed(1))
        self.do(events.Closed(2))
        self.assertEqual((schedule.buries, [*schedule.claimed], self.replica.deadline), (False, [], None))

    def test_what_was_announced_and_did_not_come(self) -> None:
        """Of very many, some are looked at at a time."""
        authors = names(3 * LOOKED_AT_ONCE)
        for start in range(0, len(authors), limits.MAX_HAVE_ITEMS):
            some = enumerate(authors[start : start + limits.MAX_HAVE_ITEMS], start)
            self.hear(0, Have(tuple(HaveItem(handle, 1, author) for handle, author in some)))
        expected = self.replica.plumtree.of[self.replica.core.sessions[0]].expected
        self.assertEqual(len(expected), len(authors))
        lefts = []
        self.now += limits.GRAFT_SECONDS
        for _ in range(3):
            asked = self.sent(self.do(events.Tick()), Want)
            lefts.append(len(expected))
            self.now += 2 * LOOK_ON_SECONDS
        self.assertEqual(lefts, [2 * LOOKED_AT_ONCE, LOOKED_AT_ONCE, 0])
        self.assertEqual((len(asked), expected.get(authors[-1], 0.0)), (0, 0.0))
        self.assertEqual(len(self.replica.pulls.schedule.sources[0].open), limits.OPEN_WANTS_PER_PEER)
