"""Rings 6 and 7: stores that have not all heads in memory: who reads all does so some at a time, or is told why not."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Store, format_author
from gossiplog.app.commands.authors import find_author, named
from gossiplog.errors import CursorMismatchError, EntryNotHeldError, InvalidValueError, SharedStoreError
from gossiplog.live import reading_logs, source
from gossiplog.live.exporting import Export, Exported
from gossiplog.live.hands import OwnHands
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from gossiplog.log.keys import author_span
from gossiplog.log.segment import Head
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Accept
from gossiplog.testing.chain import Chain
from gossiplog.testing.network import VirtualThread
from tests.netcase import World
from tests.refusing import RefusingBackend
from tests.test_reading import Consumer
from tests.viewcase import Counts

PAGE = 4


def exported(logs: Logs) -> Exported:
    export = Export(OwnHands(logs), None)
    b"".join(export.pieces())
    return export.outcome


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(source, "LOGS_AT_ONCE", PAGE)
        self.patch(reading_logs, "HEADS_AT_ONCE", PAGE)
        self.world = World()
        self.backend = RefusingBackend()
        self.store = Store(lambda: Logs(self.backend), self.world.reactor, thread=VirtualThread)
        self.addCleanup(lambda: self.world.result(self.store.close()))
        self.chains = sorted(map(Chain, range(11)), key=lambda each: each.author)
        for chain in self.chains:
            self.put(chain, 2)

    def put(self, chain: Chain, count: int, *, settle: bool = True) -> None:
        """Take ``count`` more entries of an author."""
        [segment] = chain.write(*[b"x"] * count)
        self.store._core.thread.write(Accept(segment, chain.head), lambda _: None)
        if settle:
            self.world.reactor.settle()

    def consume(self, *arguments: Any, **keywords: Any) -> Consumer:
        consumer = Consumer(self.store.read(*arguments, **keywords))
        self.world.reactor.settle()
        return consumer

    def got(self, consumer: Consumer) -> dict[bytes, list[int]]:
        """What seqs came of each author, none twice and in order."""
        found: dict[bytes, list[int]] = {}
        for entry in consumer.got:
            found.setdefault(entry.author, []).append(entry.seq)
        return found

    def test_all_logs_come_by_pages(self) -> None:
        reader = self.consume()
        self.assertEqual(self.got(reader), {chain.author: [1, 2] for chain in self.chains})
        self.assertEqual(self.backend.side.most, PAGE)
        self.assertTrue(reader.done.called)

    def one(self, reader: Any) -> Any:
        """The next entry of a reader, None if there is none now."""
        waiting: Any = Deferred.fromCoroutine(reader.__anext__())
        self.world.reactor.settle()
        if waiting.called:
            return self.world.result(waiting)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        return None

    def test_what_is_committed_meanwhile_is_neither_missed_nor_doubled(self) -> None:
        for seed in range(20):
            random = Random(seed)
            reader, found = self.store.read(live=True), dict[bytes, list[int]]()
            for turn in range(60):
                if random.random() < 0.4:
                    chain = random.choice(self.chains)
                    if random.random() < 0.1:
                        self.chains.append(chain := Chain(1000 * (seed + 1) + turn))
                    self.put(chain, 1, settle=random.random() < 0.5)
                elif (entry := self.one(reader)) is not None:
                    found.setdefault(entry.author, []).append(entry.seq)
            while (entry := self.one(reader)) is not None:
                found.setdefault(entry.author, []).append(entry.seq)
            everything = {chain.author: [*range(1, chain.head.seq + 1)] for chain in self.chains}
            self.assertEqual(found, everything, seed)
            reader.close()

    def test_a_page_that_was_read_before_a_commit_of_which_we_heard_first(self) -> None:
        core, told = self.store._core, Deferred[Any]()
        new, page = Chain(77), core.thread.now(partial(source._heads, b"", b""))
        with patch.object(core, "run", lambda work: told):
            consumer = self.consume(live=True)
        for chain in (new, self.chains[1], self.chains[-1]):
            self.put(chain, 1)
        told.callback(page)
        self.world.reactor.settle()
        expected = {chain.author: [*range(1, chain.head.seq + 1)] for chain in [*self.chains, new]}
        self.assertEqual(self.got(consumer), expected)

    def test_the_newest_of_each_and_what_comes(self) -> None:
        consumer = self.consume(newest=1, live=True)
        self.put(self.chains[3], 2)
        expected = {chain.author: [2] for chain in self.chains} | {self.chains[3].author: [2, 3, 4]}
        self.assertEqual(self.got(consumer), expected)
        backwards = self.consume(newest=2, reverse=True)
        self.assertEqual(self.got(backwards)[self.chains[3].author], [4, 3])
        self.assertEqual(
            self.got(self.consume(newest=1, where=lambda entry: entry.seq < 2))[self.chains[0].author], [1]
        )

    def test_a_tail_begins_with_what_comes(self) -> None:
        consumer, chosen = self.consume(tail=True), self.consume(self.chains[0].author, tail=True)
        for chain in (self.chains[0], self.chains[5], self.chains[0]):
            self.put(chain, 1)
        self.put(Chain(99), 2)
        expected = {self.chains[0].author: [3, 4], self.chains[5].author: [3], Chain(99).author: [1, 2]}
        self.assertEqual(self.got(consumer), expected)
        self.assertEqual(self.got(chosen), {self.chains[0].author: [3, 4]})

    def test_one_log(self) -> None:
        ann = self.chains[6].author
        self.assertEqual(self.got(self.consume(ann)), {ann: [1, 2]})
        self.assertEqual(self.got(self.consume(ann, first=2, last=9)), {ann: [2]})
        self.assertEqual(self.got(self.consume(Chain(50).author)), {})
        self.assertLessEqual(self.backend.side.most, 1)

    def test_cursors_are_compared(self) -> None:
        last = self.chains[-1]
        behind = Cursor({chain.author: (1, chain.segments[0].previous[:0]) for chain in self.chains})
        self.assertEqual(self.got(self.consume(after=behind)), {chain.author: [2] for chain in self.chains})
        other = Cursor({last.author: (2, b"another8")})
        consumer = Consumer(self.store.read(after=other))
        self.world.reactor.settle()
        self.failureResultOf(consumer.done, CursorMismatchError)

    def test_one_entry(self) -> None:
        author = self.chains[2].author
        self.assertEqual(self.world.result(self.store.entry(author, 2)).seq, 2)
        with self.assertRaises(EntryNotHeldError) as raised:
            self.world.result(self.store.entry(author, 3))
        self.assertIn("2", str(raised.exception))

    def test_an_export_has_all(self) -> None:
        outcome = self.store._core.thread.now(exported)
        self.assertEqual((outcome.entries, outcome.authors), (22, 11))
        self.assertEqual(self.backend.side.most, PAGE)

    def test_who_needs_all_at_once_is_told_what_to_do(self) -> None:
        store: Any = self.store
        refused = [
            lambda: store.clock,
            lambda: store.read(order="causal"),
            lambda: store.timeline(),
            lambda: store.view(Counts()),
            lambda: store.heads(),
        ]
        for ask in refused:
            with self.assertRaises(SharedStoreError) as raised:
                ask()
            self.assertIn("a node with a store of its own", str(raised.exception))

    def test_figures_are_kept(self) -> None:
        clock = self.store._core.clock
        self.assertEqual((len(clock), clock.total()), (11, 22))
        self.put(self.chains[0], 5)
        self.put(Chain(60), 1)
        self.assertEqual((len(clock), clock.total()), (12, 28))


class FindingTests(SynchronousTestCase):
    """An author is found by the beginning of its id, and nobody else is looked at."""

    def setUp(self) -> None:
        self.authors = [Random(seed).randbytes(32) for seed in range(300)]
        self.authors += [bytes(32), b"\xff" * 32, bytes(31) + b"\1"]
        self.clock = Clock((author, Head(1, bytes(32))) for author in self.authors)

    def test_each_by_every_beginning(self) -> None:
        for author in self.authors[:20] + self.authors[-3:]:
            text = format_author(author).partition("_")[2]
            for size in (0, 1, 4, 7, 8, 30, 50, 51, 52, 54, 55):
                alike = sorted(
                    one
                    for one in self.authors
                    if format_author(one).partition("_")[2].startswith(text[:size])
                )
                self.assertEqual(named(self.clock, text[:size]), alike[:2], (text, size))
            self.assertEqual(named(self.clock, format_author(author)), [author])
            self.assertEqual(find_author(named(self.clock, author.hex()), author.hex()), author)

    def test_what_is_none(self) -> None:
        for text in ("ABCD", "a1", "zzzzzz", "", "a" * 60):
            with self.assertRaises(InvalidValueError):
                find_author(named(self.clock, text), text)
        self.assertIsNone(author_span("ABCD"))
