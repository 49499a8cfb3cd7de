"""Rings 6 and 7: stores that have not all heads in memory: who reads all does so some at a time, or is told why not."""

from __future__ import annotations

from functools import partial
from random import Random
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Quota, Quotas, Store, format_author, limits
from gossiplog.app.commands.authors import find_author, named
from gossiplog.app.commands.log import held
from gossiplog.control.answers import ANSWERS
from gossiplog.control.attached import NodeThread
from gossiplog.control.desk import Desk
from gossiplog.control.line import Line
from gossiplog.control.logs import NodeLogs
from gossiplog.control.messages import Asked, decode, encode
from gossiplog.control.server import Control
from gossiplog.errors import CursorMismatchError, EntryNotHeldError, InvalidValueError, SharedStoreError
from gossiplog.gossip.heads import Heads
from gossiplog.live import reading_logs
from gossiplog.live.exporting import Export, Exported
from gossiplog.live.hands import OwnHands
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from gossiplog.log.keys import author_span
from gossiplog.log.paged_clock import PagedClock
from gossiplog.log.segment import Head
from gossiplog.net import driver
from gossiplog.store.held import Held
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Accept
from gossiplog.testing.chain import Chain
from gossiplog.testing.network import VirtualThread
from tests.netcase import LOCAL, World
from tests.refusing import RefusingBackend, StoreSide
from tests.test_reading import Consumer
from tests.viewcase import Counts

PAGE = 4


def exported(logs: Logs) -> Exported:
    export = Export(OwnHands(logs), None)
    b"".join(export.pieces())
    return export.outcome


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
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
        new, page = Chain(77), core.thread.now(partial(reading_logs.some_heads, b"", b""))
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


class NodeTests(SynchronousTestCase):
    """A node that catches up, serves and is asked, all of which with no clock of all heads."""

    def setUp(self) -> None:
        self.patch(limits, "CONTROL_PAGE", PAGE)
        self.patch(reading_logs, "HEADS_AT_ONCE", PAGE)
        self.patch(driver, "Heads", self.heads)
        self.world = World()
        self.bob = self.world.site("bob")
        self.backend = RefusingBackend()
        with patch("tests.netcase.MemoryBackend", lambda name: self.backend):
            self.relay = self.world.site("relay")
        self.relay.store._core.held.follow(self.paged)
        self.addCleanup(self.end)
        self.authors = sorted(self.bob.author(name) for name in "abcdefghi")
        for number, name in enumerate("abcdefghi", 1):
            self.bob.append(*[b"x"] * number, name=name)
        self.bob.node.connect(LOCAL.format(self.relay.listen().rpartition(":")[2]))
        self.world.run()
        self.control = Control(self.world.reactor, Desk(self.relay.node))
        asked = SimpleNamespace(ask=self.ask, about=self.control.greeting["gossiplog"], path="relay")
        self.logs = NodeLogs(cast(Line, asked))

    def end(self) -> None:
        self.control.stop()
        for site in (self.bob, self.relay):
            self.world.result(site.node.stop())
            self.world.result(site.store.close())

    def heads(self, clock: Any, forks: Any, local: Any, holed: Any) -> Heads:
        """The heads of a node on this clock, of which few are in memory if it is the relay's."""
        if clock.is_whole:
            return Heads(clock, forks, local, holed)
        self.paged = PagedClock(PAGE)
        heads = Heads(self.paged, forks, local, holed)
        heads.sum_up(self.paged, self.backend.side.range())
        return heads

    def ask(self, do: str, **said: Any) -> Any:
        """Ask the node as a line of a control socket does."""
        asker = SimpleNamespace(progress=lambda done, total: None)
        request = decode(
            encode({"do": do, **{name: value for name, value in said.items() if value is not None}})
        )
        answer = ANSWERS[do](self.control.desk, Asked(request), cast(Any, asker))
        return self.world.result(answer) if isinstance(answer, Deferred) else answer

    def test_it_caught_up_and_serves(self) -> None:
        carl = self.world.site("carl")
        carl.node.connect(LOCAL.format(self.relay.port))
        self.world.run()
        self.assertEqual([*carl.store.clock.items()], [*self.bob.store.clock.items()])
        peer = self.relay.node.peers[0]
        self.assertEqual(self.world.result(self.relay.node.when_in_sync(peer)).peer, peer)
        self.bob.append(b"more", name="e")
        self.world.run()
        self.assertEqual([*carl.store.clock.items()], [*self.bob.store.clock.items()])
        self.assertLessEqual(self.backend.side.most, PAGE)
        self.world.result(carl.node.stop())
        self.world.result(carl.store.close())

    def test_status_and_progress(self) -> None:
        status, node = self.relay.node.status(authors=False), self.relay.node
        self.assertEqual((status.entries, status.log_count, status.to_come, status.to_send), (45, 9, 0, 0))
        self.assertEqual((len(status.peers), status.caught_up, status.authors), (1, True, ()))
        self.assertEqual((node.progress.held, node.progress.known, node.usage.authors), (45, 45, 9))
        with self.assertRaises(SharedStoreError):
            node.status()
        self.bob.append(b"more", name="e")
        self.world.run()
        self.assertEqual(node.status(authors=False).entries, 46)

    def test_what_is_asked_of_it(self) -> None:
        logs, clock = self.logs, self.bob.store.clock
        self.assertEqual([*logs.clock.range()], [*clock.items()])
        self.assertEqual((len(logs.clock), logs.clock.total()), (9, 45))
        said = logs.status(authors=True)
        self.assertEqual(
            [each["entries"] for each in said["authors"]], [head.seq for _, head in clock.items()]
        )
        for author in self.authors:
            text = format_author(author).partition("_")[2][:20]
            self.assertEqual(find_author(named(logs.clock, text), text), author)
            self.assertEqual([e.seq for e in held(logs, author, print)], [*range(1, clock.seq(author) + 1)])
        self.assertEqual(len([*held(logs, None, print)]), 45)
        self.assertLessEqual(self.backend.side.most, PAGE)
        report = logs.verify()
        self.assertEqual((report.ok, report.authors, report.entries), (True, 9, 45))

    def test_what_all_takes_is_kept(self) -> None:
        relay, bob = self.relay, self.bob
        self.assertEqual(relay.node.usage.disk_bytes, bob.node.usage.disk_bytes)
        bob.append(b"more" * 999, name="e")
        self.world.run()
        self.assertEqual(relay.node.usage.disk_bytes, relay.disk.logs.weighing._total())
        told = {each["author"]: each["bytes"] for each in self.logs.status(authors=True)["authors"]}
        self.assertEqual(told, {format_author(each.author): each.bytes for each in bob.node.status().authors})
        self.world.result(relay.node.block(self.authors[2], delete=True))
        self.world.run()
        self.assertEqual(relay.node.usage.disk_bytes, relay.disk.logs.weighing._total())
        self.assertEqual((relay.node.usage.authors, len(relay.store._core.clock)), (8, 8))

    def test_quotas(self) -> None:
        relay, bob = self.relay, self.bob
        with self.assertRaises(SharedStoreError) as raised:
            relay.node._room.choose(Quotas(bytes_per_author=1000))
        self.assertIn("entries_per_second", str(raised.exception))
        relay.node._room.choose(Quotas(authors=9))
        bob.append(b"one too many", name="z")
        bob.append(b"more", name="e")
        self.world.run()
        self.assertEqual((relay.node.usage.authors, relay.node.progress.held), (9, 46))
        self.assertEqual([*relay.node.over_quota.values()], [Quota.AUTHORS])
        relay.node._room.choose(Quotas(authors=20))
        self.world.run()
        self.assertEqual((relay.node.usage.authors, relay.node.progress.held), (10, 47))

    def test_forks_and_bans(self) -> None:
        ann = Chain(5)
        ann.write(b"one", b"two")
        self.world.result(self.relay.store.add_fork(ann.fork()))
        self.assertEqual(self.logs.forks, {ann.author})
        self.assertEqual(self.logs.fork_proof(ann.author).author, ann.author)
        self.relay.node.ban(self.bob.node.id, reason="enough")
        self.world.run()
        self.assertEqual(
            ([ban.reason for ban in self.relay.node.bans], self.relay.node.peers), (["enough"], [])
        )

    def test_news_say_from_where(self) -> None:
        connection, transport = self.control.greet(None), StringTransport()
        connection.makeConnection(transport)
        connection.watch()
        transport.clear()
        self.bob.append(b"more", b"more", name="e")
        self.world.run()
        [head] = decode(transport.value()[:-1])["news"]["heads"]
        self.assertEqual((head[0], head[1], head[3]), (self.bob.author("e").hex(), 7, 5))
        report = self.logs.report([], [head])
        self.assertEqual([(each.first, each.last) for each in report.segments], [(6, 7)])
        connection.connectionLost()

    def test_news_that_come_twice_say_from_where_the_first_did(self) -> None:
        thread = NodeThread.__new__(NodeThread)
        thread._lock, thread._heads, thread._forgotten, thread._forked = Lock(), {}, {}, {}
        thread._is_asked = True
        for head in (["ann", 7, "id", 5], ["ann", 9, "id", 7]):
            thread._heard({"heads": [head], "forgotten": [], "forked": []})
        self.assertEqual([*thread._heads.values()], [("ann", 9, "id", 5)])

    def test_an_attached_program_keeps_no_head(self) -> None:
        held = Held.of(cast(Logs, self.logs))
        self.assertEqual((len(held.clock), held.clock.total(), held.clock.is_whole), (9, 45, False))
        author = self.authors[0]
        held.committed(self.logs.report([], [[author.hex(), 99, bytes(32).hex(), 90]]))
        self.assertEqual((len(held.clock), held.clock.total()), (9, 54))
        held.committed(self.logs.report([], [[bytes(32).hex(), 2, bytes(32).hex(), 0]]))
        self.assertEqual((len(held.clock), held.clock.total()), (10, 56))


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

    def test_nobody_else_is_looked_at(self) -> None:
        side = StoreSide(self.clock.items())
        for author in self.authors[:20]:
            self.assertEqual(named(side, format_author(author).partition("_")[2][:12]), [author])
        self.assertEqual(side.most, 1)

    def test_what_is_none(self) -> None:
        for text in ("ABCD", "a1", "zzzzzz", "", "a" * 60):
            with self.assertRaises(InvalidValueError):
                find_author(named(self.clock, text), text)
        self.assertIsNone(author_span("ABCD"))
