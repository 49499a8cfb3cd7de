"""Rings 6 and 7: slow and stalled disks, senders that are faster: memory stays bounded and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Node, Store, limits, open_store
from gossiplog.live.job_queue import WriteJob
from gossiplog.notices import CaughtUp, NewEntries, PeerDown
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.network import WINDOW_BYTES
from gossiplog.testing.sim.disk import steady
from tests.netcase import LISTEN, LOCAL, NETWORK, Author, Site, World

ENTRY_BYTES = 60_000
PENDING_BYTES = 1024 * 1024
OUTPUT_BYTES = 256 * 1024
SLACK_BYTES = OUTPUT_BYTES + limits.MAX_SEGMENT_BYTES
"""What may come in between: one read of a transport, and the segment that crosses the limit."""


def fix_limits(case: SynchronousTestCase) -> None:
    """What these tests count on, whatever the limits are tuned to."""
    case.patch(limits, "PENDING_WRITE_BYTES", PENDING_BYTES)
    case.patch(limits, "PENDING_WRITE_LOW_BYTES", PENDING_BYTES // 2)
    case.patch(limits, "OUTPUT_WINDOW_BYTES", OUTPUT_BYTES)


def queued_bytes(site: Site) -> int:
    """Bytes that a node accepted and its disk has not."""
    jobs = [*site.disk.jobs._news, *site.disk.jobs._rest]
    return sum(job.size for job in jobs if isinstance(job, WriteJob))


class VirtualTests(SynchronousTestCase):
    """Disks that stall in virtual time."""

    def setUp(self) -> None:
        fix_limits(self)
        self.world = World()

    def tearDown(self) -> None:
        for site in self.world.sites:
            site.disk.resume()
        self.assertEqual(self.world.close(), [])

    def fill(self, site: Site, entries: int, name: str = "default") -> bytes:
        writer = self.world.result(site.store.writer(name))
        for number in range(entries):
            self.world.result(writer.append(number.to_bytes(4, "big") * (ENTRY_BYTES // 4)))
        author: bytes = writer.author
        return author

    def test_disk_that_stalls_for_minutes(self) -> None:
        """Reading stops at the limit, the connection lives, and everything comes once the disk goes on."""
        a, b = self.world.site("a"), self.world.site("b")
        author = self.fill(a, 100)
        b.node.connect(a.listen())
        self.world.run(0.03)
        b.disk.stall()
        most = 0
        for _ in range(300):
            self.world.run(1)
            most = max(most, queued_bytes(b))
        self.assertGreater(most, PENDING_BYTES / 2)
        self.assertLess(most, PENDING_BYTES + SLACK_BYTES)
        [ours] = [side for side in self.world.reactor.sides if side.getPeer().port == a.port]
        self.assertFalse(ours.reading, "the transport is paused")
        self.assertEqual(b.of(PeerDown), [])
        b.disk.resume()
        self.world.run(30)
        self.assertTrue(ours.reading)
        self.assertEqual(b.store.clock.seq(author), 100)
        self.assertEqual(self.world.result(b.store.verify()).damages, [])
        self.assertEqual(b.of(PeerDown), [])

    def test_slow_disk(self) -> None:
        """A sender that is always faster: bounded all the time, not only when it stalls."""
        a, b = self.world.site("a"), self.world.site("b")
        author = self.fill(a, 100)
        b.disk.speed = steady(0.3)
        b.node.connect(a.listen())
        most = 0
        while b.store.clock.seq(author) < 100 and self.world.reactor.seconds() < 120:
            self.world.run(0.01)
            most = max(most, queued_bytes(b))
        self.assertEqual(b.store.clock.seq(author), 100)
        self.assertLess(most, PENDING_BYTES + SLACK_BYTES)

    def test_several_senders(self) -> None:
        """The limit is for all of them together; each may add what it read in that moment."""
        sites = [self.world.site(name) for name in "abc"]
        node = self.world.site("node")
        authors = [self.fill(site, 50) for site in sites]
        for site in sites:
            node.node.connect(site.listen())
        self.world.run(0.03)
        node.disk.stall()
        self.world.run(60)
        self.assertLess(queued_bytes(node), PENDING_BYTES + 3 * SLACK_BYTES)
        node.disk.resume()
        self.world.run(60)
        self.assertEqual([node.store.clock.seq(author) for author in authors], [50] * 3)

    def test_news_while_the_disk_stalls(self) -> None:
        """What cannot be taken now is asked for later."""
        a, b = self.world.site("a"), self.world.site("b")
        b.node.connect(a.listen())
        self.world.run(1)
        b.disk.stall()
        author = self.fill(a, 100)
        self.world.run(60)
        self.assertLess(queued_bytes(b), PENDING_BYTES + SLACK_BYTES)
        b.disk.resume()
        self.world.run(60)
        self.assertEqual(b.store.clock.seq(author), 100)
        self.assertEqual(len(b.of(NewEntries)), 100)

    def test_two_bulk_senders_do_not_wait_for_each_other(self) -> None:
        """Each sends more than all the buffers between them hold: nobody stops reading because nobody reads it."""
        a, b = self.world.site("a"), self.world.site("b")
        authors = self.fill(a, 60), self.fill(b, 60)
        self.assertGreater(60 * ENTRY_BYTES, 2 * OUTPUT_BYTES + 2 * WINDOW_BYTES)
        b.node.connect(a.listen())
        self.world.run(20)
        self.assertEqual([a.store.clock.seq(authors[1]), b.store.clock.seq(authors[0])], [60, 60])

    def test_peer_that_pushes_without_being_asked(self) -> None:
        """It is held up like any other."""
        node = self.world.site("node")
        node.listen()
        peer = self.world.peer(node)
        peer.hello()
        author = Author()
        node.disk.stall()
        for _ in range(100):
            peer.send(*author.write(bytes(ENTRY_BYTES)))
        self.world.run(60)
        self.assertLess(queued_bytes(node), PENDING_BYTES + SLACK_BYTES)
        self.assertGreater(peer.transport.unsent_bytes, 100 * ENTRY_BYTES // 2)
        node.disk.resume()
        self.world.run(60)
        self.assertEqual(node.store.clock.seq(author.key), 100)

    def test_new_connection_while_the_disk_stalls(self) -> None:
        """It is set up, and then waits as well."""
        a, b, c = (self.world.site(name) for name in "abc")
        authors = self.fill(a, 100), self.fill(c, 100)
        b.node.connect(a.listen())
        self.world.run(0.03)
        b.disk.stall()
        self.world.run(10)
        b.node.connect(c.listen())
        self.world.run(8)
        self.assertLess(queued_bytes(b), PENDING_BYTES + SLACK_BYTES)
        b.disk.resume()
        self.world.run(90)
        self.assertEqual([b.store.clock.seq(author) for author in authors], [100, 100])

    def test_stalled_sender(self) -> None:
        """The disk that cannot read for its peers holds up nobody else."""
        a, b, c = (self.world.site(name) for name in "abc")
        author = self.fill(a, 10)
        b.node.connect(a.listen())
        c.node.connect(a.listen() if not a.port else LOCAL.format(a.port))
        c.node.connect(b.listen())
        self.world.run(5)
        a.disk.stall()
        own = self.fill(b, 10)
        self.world.run(5)
        self.assertEqual(c.store.clock.seq(own), 10)
        self.assertEqual(c.store.clock.seq(author), 10)


class StallingBackend(MemoryBackend):
    """A disk whose commits wait for an event while it is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def commit(self, writes: Sequence[Any]) -> None:
        self.go.wait()
        super().commit(writes)


class RealTests(TestCase):
    """A disk that blocks its real thread, TCP between."""

    def setUp(self) -> None:
        fix_limits(self)
        self.stores: list[Store] = []
        self.nodes: list[Node] = []
        self.backend = StallingBackend()

    async def end(self) -> None:
        self.backend.go.set()
        for node in self.nodes:
            await node.stop()
        for store in self.stores:
            await store.close()

    def site(self, store: Store) -> Node:
        node = Node(reactor, store, network=NETWORK)
        self.stores.append(store)
        self.nodes.append(node)
        return node

    async def turns(self, count: int) -> None:
        """Let the reactor turn."""
        for _ in range(count):
            await deferLater(reactor, 0)  # type: ignore[arg-type]

    async def test_stall_in_the_middle_of_a_catch_up(self) -> None:
        source = open_store(self.mktemp(), reactor)
        a, b = self.site(source), self.site(Store(lambda: Logs(self.backend), reactor))
        try:
            writer = await source.writer()
            for _ in range(4):
                await writer.append_many([bytes(ENTRY_BYTES)] * 40)
            self.backend.go.clear()
            caught = b.when(CaughtUp)
            b.connect(await a.listen(LISTEN))
            driver = b._driver
            while not driver.replica.writes.is_full:
                await self.turns(10)
            await self.turns(300)
            pending = driver.loop.disk.pending_bytes
            self.assertGreater(pending, PENDING_BYTES)
            self.assertLess(pending, PENDING_BYTES + SLACK_BYTES)
            [link] = driver._open
            self.assertNotIn(link.transport, reactor.getReaders())  # type: ignore[attr-defined]
            self.assertFalse(caught.called)
            self.backend.go.set()
            await caught
            self.assertEqual(b.store.clock.seq(writer.author), 160)
            self.assertEqual((await b.store.verify()).damages, [])
        finally:
            await self.end()

    async def test_stop_while_the_disk_stalls(self) -> None:
        """It waits for the disk, and what was accepted is kept."""
        source = open_store(self.mktemp(), reactor)
        a, b = self.site(source), self.site(Store(lambda: Logs(self.backend), reactor))
        try:
            writer = await source.writer()
            up = b.when(CaughtUp)
            b.connect(await a.listen(LISTEN))
            await up
            self.backend.go.clear()
            await writer.append(b"accepted")
            while not b._driver._heads.pending:
                await self.turns(1)
            stopped = b.stop()
            await self.turns(100)
            self.assertFalse(stopped.called)
            self.backend.go.set()
            await stopped
            self.assertEqual(b.store.clock.seq(writer.author), 1)
        finally:
            await self.end()
