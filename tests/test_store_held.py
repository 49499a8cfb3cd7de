"""Rings 1 and 6: what is known of a store has one owner, and one node at a time uses it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Node
from gossiplog.errors import InvalidValueError, NetworkMismatchError, StoreFullError, StoreInUseError
from gossiplog.gossip import events
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.replica import Replica
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head
from gossiplog.store.held import Held
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import Accept, AddFork, Append, Forget, SetMeta
from gossiplog.testing.chain import Chain
from tests.netcase import NETWORK, OTHER_NETWORK, World


class Follower(Clock):
    """A clock that is told how another one moves, from where it was to where it is."""

    def move(self, author: bytes, before: Head | None, after: Head | None) -> None:
        assert self.head(author) == before
        self.set(author, after)


class HeldTests(SynchronousTestCase):
    """What a commit reports makes it what the disk holds, whatever was in it."""

    def setUp(self) -> None:
        self.logs = Logs(MemoryBackend())
        self.held = Held.of(self.logs)
        self.follower = Follower()
        self.held.follow(self.follower)
        self.chain = Chain()

    def do(self, *requests: Any) -> None:
        """Commit, report, compare."""
        self.held.committed(self.logs.process(requests))
        self.assertEqual(list(self.held.clock.items()), list(self.logs.clock.items()))
        self.assertEqual(self.held.forks, self.logs.forks)
        self.assertEqual(self.follower, self.held.clock)

    def test_whatever_order_forks_and_deletions_have(self) -> None:
        """The last word in one commit counts, and the next one may begin anew."""
        author = self.chain.author
        put = Accept(*self.chain.put(b"one"))
        proof = AddFork(self.chain.fork())
        for requests, forked in (
            ([put], False),
            ([proof, proof], True),
            ([Forget(author)], False),
            ([proof, Forget(author)], False),
            ([Forget(author), proof], True),
            ([Forget(author), put], False),
            ([put, proof, Forget(author), put, proof], True),
            ([Forget(author)], False),
        ):
            self.do(*requests)
            self.assertEqual(author in self.held.forks, forked, requests)

    def test_a_proof_on_its_way(self) -> None:
        """It counts from when it is known, until it is written, deleted or lost."""
        author, proof = self.chain.author, AddFork(self.proof())
        for last, forked in (
            (lambda: self.do(proof), True),
            (lambda: self.held.committed(self.logs.process([proof, Forget(author)])), False),
            (lambda: self.held.lost_proof(author), False),
        ):
            self.held.proven(proof.proof)
            self.assertEqual((set(self.held.forks), [*self.held.unwritten]), ({author}, [author]))
            last()
            self.assertEqual((author in self.held.forks, [*self.held.unwritten]), (forked, []))
            self.do(Forget(author))
        self.do(proof)
        self.held.proven(proof.proof)
        self.held.lost_proof(author)
        self.assertEqual((set(self.held.forks), [*self.held.unwritten]), ({author}, []))

    def proof(self) -> Any:
        """A proof that the chain forked."""
        self.chain.put(b"one")
        return self.chain.fork()

    def test_writers_and_repairs(self) -> None:
        """A new writer is told of; heads go back only by a repair."""
        author = self.logs.writer("ann").author
        self.assertEqual(self.held.local, set())
        self.held.joined(author)
        self.assertEqual(self.held.local, self.logs.local)
        self.do(Append(author, [encode_body(0, b"x")] * 3), SetMeta("a", b"b"))
        self.held.weigh(self.logs.weighing.begin())
        self.held.repaired({author: None})
        self.assertEqual((list(self.held.clock), self.held.weights), ([], None))
        self.assertEqual(list(self.follower), [])


class CoreTests(SynchronousTestCase):
    """The core changes nothing that the store owns."""

    def test_it_takes_what_cannot_be_changed(self) -> None:
        """Forks and holes are its own from the beginning, the clock and the writers are read."""
        chain = Chain()
        chain.put(b"one")
        held = Held.of(Logs(MemoryBackend()))
        forks, holed = frozenset([b"f" * 32]), frozenset([b"h" * 32])
        heads = Heads(held.clock, forks, frozenset(), holed)
        replica = Replica(b"n" * 32, bytes(16), heads)
        effects = replica.handle(events.ForkFound(chain.fork()), 0.0)
        self.assertEqual(
            [effect.proof for effect in effects if isinstance(effect, events.StoreFork)], [chain.fork()]
        )
        self.assertEqual(heads.forks, {b"f" * 32, chain.author})
        heads.lacks(chain.author)
        replica.handle(events.Forgotten((b"h" * 32, chain.author, b"f" * 32)), 0.0)
        self.assertEqual((heads.forks, heads.holed), (set(), set()))
        self.assertEqual((forks, holed), ({b"f" * 32}, {b"h" * 32}))

    def test_a_proof_that_was_written_after_a_deletion(self) -> None:
        """The store says so, and the core knows it again."""
        chain = Chain()
        chain.put(b"one")
        heads = Heads(Held.of(Logs(MemoryBackend())).clock, (), frozenset())
        replica = Replica(b"n" * 32, bytes(16), heads)
        replica.handle(events.ForkFound(chain.fork()), 0.0)
        replica.handle(events.Forgotten((chain.author,)), 0.0)
        self.assertEqual(heads.forks, set())
        replica.handle(events.ForkWritten(chain.author, True), 0.0)
        self.assertEqual(heads.forks, {chain.author})
        replica.handle(events.ForkWritten(chain.author, False), 0.0)
        self.assertEqual(heads.forks, set())


class UseTests(SynchronousTestCase):
    """One node at a time has a store."""

    def setUp(self) -> None:
        self.world = World()
        self.a = self.world.site("a")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_a_second_node_is_refused(self) -> None:
        """Before anything changes; after the first there may be another, and one whose start fails is none."""
        store = self.a.store
        choices = store.interest.choices.dump()
        listeners = (
            len(store._core._listeners),
            len(store.interest._listeners),
            len(store.damage._listeners),
        )
        for network in (NETWORK, OTHER_NETWORK):
            with self.assertRaises(StoreInUseError):
                Node(self.world.reactor, store, network=network, only_followed=True)
        self.assertEqual(store.interest.choices.dump(), choices)
        self.assertEqual(
            (len(store._core._listeners), len(store.interest._listeners), len(store.damage._listeners)),
            listeners,
        )
        self.a.append(b"goes on")
        self.world.result(self.a.node.stop())
        with self.assertRaises(NetworkMismatchError):
            Node(self.world.reactor, store, network=OTHER_NETWORK)
        with self.assertRaises(InvalidValueError):
            Node(self.world.reactor, store, network=NETWORK, max_memory=1)
        second = Node(self.world.reactor, store, network=NETWORK)
        with self.assertRaises(StoreInUseError):
            store.repair()
        self.world.result(second.stop())

    def test_no_node_begins_during_a_repair(self) -> None:
        """The clock may go back under it."""
        store = self.a.store
        self.world.result(self.a.node.stop())
        done = store.repair()
        with self.assertRaises(StoreInUseError):
            Node(self.world.reactor, store, network=NETWORK)
        with self.assertRaises(StoreInUseError):
            store.repair()
        self.world.result(done)
        third = Node(self.world.reactor, store, network=NETWORK)
        self.world.result(third.stop())

    def test_a_fork_that_is_deleted_while_it_is_written(self) -> None:
        """Store, node and disk agree in the end, in whatever order they hear of it."""
        chain = Chain()
        chain.put(b"one")
        proof = chain.fork()
        node, store = self.a.node, self.a.store
        for add_first in (True, False):
            steps = [lambda: store.add_fork(proof), lambda: node.block(chain.author, delete=True)]
            for step in steps if add_first else reversed(steps):
                self.world.result(node.unblock(chain.author))
                step()
            self.world.run(2)
            on_disk = store._core.thread.now(lambda logs: set(logs.forks))
            self.assertEqual(set(store.forks), on_disk)
            self.assertEqual(node._driver.replica.core.heads.forks, on_disk)

    def test_a_proof_that_finds_no_room(self) -> None:
        """It is kept, shown, and written as soon as something else is."""
        chain = Chain()
        chain.put(b"one")
        store = self.a.store
        self.a.backend.fault = lambda writes: DiskFault.FULL
        result = store.add_fork(chain.fork())
        self.world.run(1)
        self.failureResultOf(result, StoreFullError)
        self.assertEqual((set(store.forks), [*store._core.held.unwritten]), ({chain.author}, [chain.author]))
        self.a.backend.fault = None
        self.a.append(b"room")
        self.world.run(1)
        self.assertEqual([*store._core.held.unwritten], [])

    def test_a_proof_that_a_node_before_had_no_room_for(self) -> None:
        """The next node on the store has it written."""
        chain = Chain()
        chain.put(b"one")
        store = self.a.store
        self.a.backend.fault = lambda writes: DiskFault.FULL
        self.failureResultOf(self.done(store.add_fork(chain.fork())), StoreFullError)
        self.world.result(self.a.node.stop())
        self.a.backend.fault = None
        second = Node(self.world.reactor, store, network=NETWORK)
        self.a.append(b"room")
        self.world.run(1)
        self.assertEqual(([*store._core.held.unwritten], set(store.forks)), ([], {chain.author}))
        self.world.result(second.stop())

    def done(self, result: Any) -> Any:
        """The result, after a while."""
        self.world.run(1)
        return result

    def test_a_commit_is_one_event(self) -> None:
        """However much was in it, and whether it was done or failed."""
        b = self.world.site("b")
        b.node.connect(self.a.listen())
        self.world.run(1)
        heard: list[Any] = []
        handle = b.node._driver.replica.handle

        def note(event: Any, now: float) -> Any:
            heard.append(event)
            return handle(event, now)

        b.node._driver.loop.replica.handle = note  # type: ignore[method-assign]
        for fault in (None, DiskFault.FULL):
            b.backend.fault = lambda writes, fault=fault: fault  # type: ignore[misc]
            b.disk.stall()
            for number in range(5):
                self.a.append(b"%d" % number, name=f"writer {number}")
            self.world.run(0.3)
            heard.clear()
            b.disk.resume()
            self.world.run(0.05)
            done = [event for event in heard if isinstance(event, events.Committed | events.CommitFailed)]
            self.assertEqual(len(done), 1 if fault is None else 2, done)
            self.assertEqual(len({segment.author for segment in done[-1].segments}), 0 if fault else 5)
            self.assertGreater(done[-1].done_bytes, 0)
        b.backend.fault = None
        del b.node._driver.loop.replica.handle
        self.world.run(70)
        self.assertEqual(list(b.store.clock.items()), list(self.a.store.clock.items()))
