"""Ring 6: following, blocking, deleting and quotas through the public API, on stores that are closed and opened."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Entry, Node, Quota, Quotas, limits
from gossiplog.errors import (
    BlockedAuthorError,
    InvalidValueError,
    LocalAuthorError,
    StoreDamagedError,
    StoreFullError,
)
from gossiplog.gossip.interest import KEPT_AS
from gossiplog.live import memory_size
from gossiplog.live.memory_size import default_authors
from gossiplog.live.store import Store
from gossiplog.log.disk_cost import proof_bytes
from gossiplog.notices import InSync, QuotaExceeded, QuotaLifted
from gossiplog.store.interface import PutMeta
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.testing.network import VirtualThread
from tests.netcase import NETWORK, Site, World
from tests.replicacase import ANN, proof_of


class InterestCase(SynchronousTestCase):
    """Two nodes, a and b; b dials a."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.site("a"), self.world.site("b")
        self.addCleanup(lambda: self.assertEqual(self.world.close(), []))
        self.address = self.a.listen()
        self.b.node.connect(self.address)
        self.world.run(1)

    def restart(self, site: Site, **options: Any) -> None:
        """Close and open a site; ``options`` are those of its node."""
        site.stop()
        site.start()
        if options:
            self.world.result(site.node.stop())
            site.node = Node(self.world.reactor, site.store, network=NETWORK, **options)
            site.told = []
            site.node.subscribe(site.told.append)
        if site is self.a:
            site.listen()
        else:
            site.node.connect(self.address)
        self.world.run(2)


class NodeTests(InterestCase):
    """What a node can be told."""

    def test_block_and_unblock(self) -> None:
        """At once, and it survives a restart; what came before stays readable."""
        self.a.append(b"1")
        self.world.run(1)
        author = self.a.author()
        blocked = self.b.node.block(author)
        self.a.append(b"2")
        self.world.run(1)
        self.successResultOf(blocked)
        self.assertEqual(self.b.payloads(author), [b"1"])
        self.restart(self.b)
        self.assertEqual(self.b.payloads(author), [b"1"])
        self.world.result(self.b.node.unblock(author))
        self.world.run(1)
        self.assertEqual(self.b.payloads(author), [b"1", b"2"])

    def test_delete(self) -> None:
        """What was held is gone, and counted no more; readers and cursors live on."""
        self.a.append(b"1", b"2")
        self.world.run(1)
        author = self.a.author()
        read: list[Entry] = []
        reader = self.b.store.read(live=True)

        async def follow() -> None:
            async for entry in reader:
                read.append(entry)

        following = Deferred.fromCoroutine(follow())
        self.world.run(1)
        cursor = reader.cursor()
        self.world.result(self.b.node.block(author, delete=True))
        self.assertEqual(self.b.payloads(author), [])
        self.assertEqual((len(self.b.store.clock), self.b.node.progress.held), (0, 0))
        self.world.result(self.b.store.save_cursor("app", cursor))
        self.world.result(self.b.node.unblock(author))
        self.a.append(b"3")
        self.world.run(1)
        self.assertEqual(self.b.payloads(author), [b"1", b"2", b"3"])
        self.assertEqual([entry.payload for entry in read], [b"1", b"2", b"3"])
        self.assertEqual(self.world.result(self.b.store.cursor("app")), cursor)
        self.assertTrue(self.world.result(self.b.store.verify()).ok)
        reader.close()
        self.successResultOf(following)

    def test_refusals(self) -> None:
        """At once, and nothing changes."""
        own, other = self.b.author(), self.a.author()
        for call in (self.b.node.block, self.b.node.unfollow):
            self.assertRaises(LocalAuthorError, call, other, own)
        self.assertRaises(InvalidValueError, self.b.node.follow, "author_x")
        self.world.result(self.b.node.block(other))
        self.assertRaises(BlockedAuthorError, self.b.node.follow, other)
        self.assertRaises(InvalidValueError, self.b.store.interest.only_followed, True)
        self.assertTrue(self.b.store.interest.choices.wants(own))

    def test_only_followed(self) -> None:
        """Nobody else is taken; the store remembers; own entries go out, of writers made later too."""
        self.restart(self.b, only_followed=True)
        self.a.append(b"1")
        self.a.append(b"other", name="other")
        self.b.append(b"mine")
        self.world.run(1)
        author, other = self.a.author(), self.a.author("other")
        self.assertEqual((self.b.payloads(author), self.b.payloads(other)), ([], []))
        self.assertEqual(self.a.payloads(self.b.author()), [b"mine"])
        self.world.result(self.b.node.follow(author))
        self.world.run(1)
        self.restart(self.b)
        self.a.append(b"2")
        self.world.run(1)
        self.assertEqual((self.b.payloads(author), self.b.payloads(other)), ([b"1", b"2"], []))
        self.b.append(b"later", name="later")
        self.world.run(1)
        self.assertEqual(self.a.payloads(self.b.author("later")), [b"later"])
        [peer] = self.b.node.peers
        self.assertIsInstance(self.world.result(self.b.node.when_in_sync(peer)), InSync)
        self.restart(self.b, only_followed=False)
        self.assertEqual(self.b.payloads(other), [b"other"])

    def test_a_disk_that_refuses(self) -> None:
        """The change is in force; that it is not on disk is said."""
        author = self.a.author()
        self.b.backend.fault = lambda writes: DiskFault.FULL
        self.assertRaises(StoreFullError, self.world.result, self.b.node.block(author, delete=True))
        self.b.backend.fault = lambda writes: None
        self.a.append(b"1")
        self.world.run(1)
        self.assertEqual(self.b.payloads(author), [])


class StoreTests(SynchronousTestCase):
    """What a store keeps."""

    def test_damaged_choices(self) -> None:
        """Nobody is let in because it cannot be read who is blocked."""
        backend = MemoryBackend("damaged")
        backend.commit([PutMeta(KEPT_AS, b"garbage")])
        world = World()
        make = lambda: Store(lambda: Logs(backend), world.reactor, "x", thread=VirtualThread)  # noqa: E731
        self.assertRaises(StoreDamagedError, make)


class QuotaTests(InterestCase):
    """How much a node takes."""

    def test_visible_and_lifted(self) -> None:
        """A notice, a property, and the end of it."""
        self.restart(self.b, quotas=Quotas(entries_per_second=1.0))
        author = self.a.author()
        for number in range(20):
            self.a.append(b"%d" % number)
            self.world.run(0.01)
        self.assertEqual(self.b.node.over_quota, {author: Quota.RATE})
        self.assertEqual(self.b.of(QuotaExceeded), [QuotaExceeded(author, Quota.RATE)])
        self.assertLess(len(self.b.payloads(author)), 20)
        self.world.run(60)
        self.assertEqual(self.b.node.over_quota, {})
        self.assertEqual(self.b.of(QuotaLifted)[0], QuotaLifted(author))
        self.assertEqual(len(self.b.payloads(author)), 20)

    def test_what_is_on_disk_counts(self) -> None:
        """Also after a restart, and until it is deleted."""
        self.a.append(bytes(500))
        self.world.run(1)
        self.restart(self.b, quotas=Quotas(bytes=1000))
        author, other = self.a.author(), self.a.author("other")
        self.a.append(bytes(600), name="other")
        self.world.run(1)
        self.assertEqual(self.b.node.over_quota, {other: Quota.BYTES})
        self.world.result(self.b.node.block(author, delete=True))
        self.world.run(1)
        self.assertEqual(self.b.node.over_quota, {})
        self.assertEqual(self.b.payloads(other), [bytes(600)])

    def test_what_is_used_can_be_seen(self) -> None:
        """The same number while running, by the next node on the store, and after a restart; proofs count."""
        author, other = self.a.author(), self.a.author("other")
        for _ in range(20):
            self.a.append(bytes(500))
        self.world.run(1)
        used = self.b.node.usage
        self.assertEqual(used.authors, 1)
        self.assertTrue(20 * 500 < used.disk_bytes < 20 * 800)
        self.assertEqual((used.forked, used.memory_bytes), (0, limits.AUTHOR_MEMORY_BYTES))
        proof = proof_of(ANN)
        self.world.result(self.b.store.add_fork(proof))
        self.a.append(bytes(500), name="other")
        self.world.run(1)
        used = self.b.node.usage
        self.assertEqual((used.authors, used.forked), (3, 1))
        self.assertEqual(used.memory_bytes, 3 * limits.AUTHOR_MEMORY_BYTES + limits.FORK_MEMORY_BYTES)
        self.assertEqual(self.b.store._core.weigh().authors[proof.author], proof_bytes(proof))
        self.world.result(self.b.node.stop())
        second = Node(self.world.reactor, self.b.store, network=NETWORK)
        self.assertEqual(second.usage, used)
        self.restart(self.b)
        self.assertEqual(self.b.node.usage, used)
        self.world.result(self.b.node.block(author, other, proof.author, delete=True))
        self.assertEqual(self.b.node.usage, (0, 0, 0))

    def disk(self, free: int) -> None:
        """So much is free on the disk of everybody from now on."""
        self.patch(MemoryBackend, "disk", "here")
        self.patch(memory_size, "disk_usage", lambda path: SimpleNamespace(free=free))

    def test_room_that_was_made_later(self) -> None:
        """The disk was full at the start: what was refused comes once there is room, without a new start."""
        self.disk(0)
        self.restart(self.b)
        author = self.a.author()
        for number in range(20):
            self.a.append(b"%d" % number + bytes(900))
        self.world.run(5)
        self.assertEqual(self.b.node.over_quota, {author: Quota.BYTES})
        self.disk(1000)  # not enough to go on with
        self.world.run(2 * limits.DISK_LOOK_SECONDS)
        self.assertEqual(self.b.node.over_quota, {author: Quota.BYTES})
        self.disk(1 << 30)
        self.world.run(limits.DISK_LOOK_SECONDS + 5)
        self.assertEqual(self.b.node.over_quota, {})
        self.assertEqual(self.b.store.clock.seq(author), 20)
        self.assertEqual(self.b.node.quotas.bytes, int(limits.DISK_SHARE * (1 << 30)))

    def test_what_it_takes_itself_is_no_new_bound(self) -> None:
        """A bound is of the disk as it was: the less is free since, the more of it is ours.  Looked at only in need."""
        free = 100_000
        looked = []

        def usage(path: str) -> SimpleNamespace:
            looked.append(path)
            return SimpleNamespace(free=free - self.b.node.usage.disk_bytes)

        self.disk(free)
        self.restart(self.b)
        bound = self.b.node.quotas.bytes
        self.patch(memory_size, "disk_usage", usage)
        for number in range(200):
            self.a.append(b"%d" % number + bytes(900))
            if number == 20:
                self.world.run(60)
                self.assertEqual(looked, [])
        self.world.run(60)
        self.assertTrue(2 <= len(looked) <= 8, looked)
        self.assertEqual(self.b.node.quotas.bytes, bound)
        assert bound is not None
        self.assertTrue(bound - 5000 < self.b.node.usage.disk_bytes <= bound)

    def test_bounds_that_nobody_chose(self) -> None:
        """What the machine has room for; what was chosen is in force as it is."""
        self.assertEqual(self.b.node.quotas.authors, default_authors())
        self.disk(1 << 30)
        self.restart(self.b, quotas=Quotas(authors=3, bytes=10_000))
        self.assertEqual(self.b.node.quotas, Quotas(authors=3, bytes=10_000))
        for number in range(5):
            self.a.append(b"x", name=str(number))
        self.world.run(5)
        self.assertEqual(self.b.node.usage.authors, 3)
