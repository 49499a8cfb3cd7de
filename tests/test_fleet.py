"""Ring 2 and 4: a store that relays share, in memory: compare and set, lanes, and relays over it in the simulator."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.commands import follow
from gossiplog.errors import (
    LostRaceError,
    SharedStoreError,
    StoreFullError,
    StoreInUseError,
    StoreUnreachableError,
    StoreWentBackError,
    UnknownWriterError,
)
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.gossip.quotas import Quotas
from gossiplog.live.sharing import POLL_SECONDS, QUIET_LOOKS, QUIET_SECONDS, Sharing
from gossiplog.log.segment import Segment, verify
from gossiplog.store.interface import Backend
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import (
    INTEREST,
    Accept,
    Accepted,
    Append,
    Done,
    Forget,
    Learn,
    Moved,
    SetMeta,
    Stale,
)
from gossiplog.store.shared.interface import Change, Kept, Position, Stand
from gossiplog.store.shared.learning import Learning
from gossiplog.store.shared.memory import SharedMemory
from gossiplog.testing.chain import Chain
from gossiplog.testing.conformance.fleet import FleetConformance
from gossiplog.testing.conformance.suite import BackendConformance
from gossiplog.testing.sim import fleet
from gossiplog.testing.sim.fleet import Fleet
from gossiplog.testing.sim.node import SimNode
from tests.test_simulator_scenarios import seq, write

ALL = 1 << 30

SEEDS = int(os.environ.get("GOSSIPLOG_FLEET_SEEDS", "12"))


class MemoryFleetTests(FleetConformance, SynchronousTestCase):
    """A shared store in memory does what is asked of one."""

    def make_fleet(self, count: int) -> list[Backend]:
        """All of one database."""
        database = SharedMemory()
        return [MemoryBackend(f"m{number}").join(database) for number in range(count)]


class LaneTests(SynchronousTestCase):
    """What only a database in memory can be made to do."""

    def setUp(self) -> None:
        self.database = SharedMemory()
        self.ann, self.bob = (MemoryBackend(name).join(self.database) for name in "ab")

    def test_put_back(self) -> None:
        """Who committed since, and who heard of it, is told before it writes or hears anything."""
        chain = Chain(1)
        self.ann.commit([chain.put(b"1")])
        backup = self.database.backup()
        assert self.bob.shared is not None and self.ann.shared is not None
        self.ann.commit([chain.put(b"2")])
        position = self.bob.shared.start()
        self.database.put_back(backup)
        with self.assertRaises(StoreWentBackError):
            self.ann.commit([Chain(2).put(b"1")])
        with self.assertRaises(StoreWentBackError):
            self.bob.shared.poll(position, ALL)
        with self.assertRaises(StoreWentBackError):  # whoever wrote it need not have read its own lane
            self.ann.shared.poll({}, ALL)
        self.assertEqual([row.last for row in self.bob.segments(chain.author, 1, ALL)], [1])
        self.assertEqual(len([*self.bob.heads()]), 1)

    def test_an_unknown_outcome(self) -> None:
        """Ends the lane; what was done is heard by the others, and the writer goes on in another one."""
        for fault in (DiskFault.KEPT, DiskFault.LOST):
            assert self.bob.shared is not None
            position = self.bob.shared.start()
            chain = Chain(1 if fault is DiskFault.KEPT else 2)
            first = chain.put(b"1")
            self.ann.fault = lambda _, fault=fault: fault  # type: ignore[misc]
            with self.assertRaises(LostRaceError):
                self.ann.commit([first])
            self.ann.fault = None
            if fault is DiskFault.LOST:
                self.ann.commit([first])
            self.ann.commit([chain.put(b"2")])
            changes, _ = self.bob.shared.poll(position, ALL)
            self.assertEqual([change.head and change.head.seq for change in changes], [1, 2])


class LogsTests(SynchronousTestCase):
    """What a relay makes of what others did."""

    def setUp(self) -> None:
        self.database = SharedMemory()
        self.ann, self.bob = (Logs(MemoryBackend(name).join(self.database)) for name in "ab")

    def test_a_lost_race(self) -> None:
        """Is told as what the other one wrote; what continues that is taken all the same."""
        chain = Chain(1)
        segments = chain.write_each(3)
        self.ann.process([_accept(segment) for segment in segments[:2]])
        report = self.bob.process([_accept(segment) for segment in segments])
        self.assertEqual([type(result) for result in report.results], [Stale, Stale, Accepted])
        self.assertEqual(report.segments, segments)
        self.assertEqual(
            (report.heads, self.bob.clock.head(chain.author)), ({chain.author: chain.head}, chain.head)
        )
        self.assertEqual((report.proofs, self.bob.forks), ((), set()))

    def test_two_branches(self) -> None:
        """Who comes second has the proof, keeps it, and says so; the log is whole."""
        chain, branch = Chain(1), Chain(1)
        [ours], [theirs] = chain.write(b"ours"), branch.write(b"theirs")
        self.ann.process([_accept(ours)])
        report = self.bob.process([_accept(theirs)])
        [proof] = report.proofs
        self.assertEqual((report.forked, self.bob.forks), ((chain.author,), {chain.author}))
        self.assertEqual((report.segments, type(report.results[0])), ([ours], Stale))
        self.assertEqual(self.ann.fork_proof(chain.author), proof)
        report = self.ann.process([_accept(*chain.write(b"more"))])  # which has not heard of it
        self.assertEqual((report.proofs, report.segments), ((proof,), []))
        self.assertIsInstance(report.results[0], Stale)

    def test_heard_twice(self) -> None:
        """By the lane and by a lost race, in any order: it counts once, and weighs what it weighs."""
        chain = Chain(1)
        segments = chain.write_each(4)
        assert self.bob._mine.shared is not None
        start = self.bob._mine.shared.start()
        weights = self.bob.weighing.begin()
        for segment in segments:
            self.ann.process([_accept(segment)])
        changes, _ = self.bob._mine.shared.poll(start, ALL)
        seen: Counter[int] = Counter()
        late = [changes[2], changes[0], changes[3], changes[1]]
        for piece in (
            [_accept(segments[0])],
            [Learn((late[0],))],
            [Learn(tuple(late))],
            [Learn(tuple(changes))],
        ):
            report = self.bob.process(piece)
            weights.change(*report.weighed)
            seen.update(segment.first for segment in report.segments)
        self.assertEqual(seen, Counter({1: 1, 2: 1, 3: 1, 4: 1}))
        self.assertEqual(self.bob.clock.head(chain.author), chain.head)
        self.assertEqual(weights.authors, self.bob.weighing.weights())

    def test_more_than_is_read_at_once(self) -> None:
        """Is learned as far as it was read, to a head that is one; the rest follows."""
        chain = Chain(1)
        segments = chain.write_each(10)
        for segment in segments:
            self.ann.process([_accept(segment)])
        change = Stand(chain.author, chain.head)
        with patch("gossiplog.store.shared.learning.READ_BYTES", 1):
            for count in range(1, 11):
                report = self.bob.process([Learn((change,))])
                self.assertEqual(report.segments, [segments[count - 1]])
                self.assertEqual(self.bob.clock.head(chain.author), verify(segments[count - 1]))

    def test_a_store_that_went_back(self) -> None:
        """Is noticed by a lost race too, and nothing is done on top of what is not there."""
        chain = Chain(1)
        segments = chain.write_each(3)
        backup = self.database.backup()
        self.ann.process([_accept(segment) for segment in segments[:2]])
        learning = Learning(self.ann._mine, self.ann._mine.shared, self.ann.clock)  # type: ignore[arg-type]
        self.database.put_back(backup)
        with self.assertRaises(StoreWentBackError):
            learning.look(LostRaceError((chain.author,)), [])
        with self.assertRaises(StoreWentBackError):
            self.ann.process([_accept(segments[2])])
        self.assertEqual(self.ann.clock.seq(chain.author), 2)
        self.assertEqual([*self.ann._mine.heads()], [])

    def test_no_writers(self) -> None:
        """A shared store signs nothing."""
        with self.assertRaises(SharedStoreError) as refused:
            self.ann.writer("default")
        self.assertIn("write with a store of your own", str(refused.exception))
        backend = MemoryBackend().join(self.database)
        backend.secrets.create_seed("ann", bytes(32))  # that somebody copied there
        with self.assertRaises(SharedStoreError):
            Logs(backend)
        [result] = self.ann.process([Append(Chain(1).author, [b"1"])]).results
        self.assertIsInstance(result, UnknownWriterError)

    def test_a_log_that_one_deletes(self) -> None:
        """Is gone for the other too, however it hears of that; what came since is taken in, whatever comes first."""
        chain = Chain(1)
        segments = chain.write_each(4)
        for heard in ("lost", "lane", "late lane"):
            start = self.listen(self.bob)
            self.ann.process([_accept(segment) for segment in segments[:3]])
            self.bob.process([Learn(tuple(self.news(self.bob, start)))])
            self.ann.process([Forget(chain.author)])
            if heard == "lost":
                report = self.bob.process([_accept(segments[3])])
                self.assertIsInstance(report.results[0], Stale)
                self.assertEqual((report.forgotten, report.heads), ((chain.author,), {}))
            else:
                changes = self.news(self.bob, start)
                if heard == "late lane":
                    cyn = Logs(MemoryBackend("c").join(self.database))
                    cyn.process([_accept(segment) for segment in segments[:2]])
                    changes = changes[:1] + self.news(self.bob, start)[:0:-1] + changes
                report = self.bob.process([Learn(tuple(changes))])
                self.assertEqual(report.forgotten, (chain.author,))
            held = 2 * (heard == "late lane")
            self.assertEqual((self.bob.clock.seq(chain.author), report.segments), (held, segments[:held]))
            report = self.bob.process([Learn(tuple(self.news(self.bob, start)))])
            self.assertEqual((report.forgotten, report.segments), ((), []))
            self.ann.process([Forget(chain.author)])
            self.bob.process([Learn(tuple(self.news(self.bob, start)))])
            self.assertEqual(self.bob.clock.seq(chain.author), 0)

    def test_what_was_deleted_does_not_come_back_by_who_has_not_heard(self) -> None:
        """Whoever learns of that by a lost race takes nothing of it in the same commit, and hears who is blocked."""
        chain = Chain(1)
        first = chain.write_each(1)
        self.ann.process([SetMeta(INTEREST, b"without it"), Forget(chain.author)])
        report = self.bob.process([_accept(first[0])])
        self.assertIsInstance(report.results[0], Stale)
        self.assertEqual((report.segments, report.values), ([], {INTEREST: b"without it"}))
        self.assertEqual([*self.ann._mine.heads()], [])
        self.assertIsInstance(self.bob.process([_accept(first[0])]).results[0], Accepted)  # now it knows

    def test_a_failed_commit_after_a_deletion(self) -> None:
        """Leaves everything as it was known: the next look is not taken for a store that went back."""
        chain = Chain(1)
        segments = chain.write_each(2)
        start = self.listen(self.bob)
        self.ann.process([_accept(segments[0])])
        self.bob.process([Learn(tuple(self.news(self.bob, start)))])
        self.ann.process([Forget(chain.author)])
        self.bob._mine.fault = lambda _: DiskFault.FULL  # type: ignore[attr-defined]
        other = Chain(2).write_each(1)
        with self.assertRaises(StoreFullError):
            self.bob.process([Learn(tuple(self.news(self.bob, start))), _accept(other[0])])
        self.bob._mine.fault = None  # type: ignore[attr-defined]
        self.assertEqual(self.bob.clock.seq(chain.author), 1)
        self.assertIsInstance(self.bob.process([_accept(segments[1])]).results[0], Stale)
        self.assertEqual(self.bob.clock.seq(chain.author), 0)

    def test_a_value_in_the_place_of_another(self) -> None:
        """Who comes second hears what is there, and nothing of it is written; the rest of the batch is."""
        self.ann.process([SetMeta("m", b"1", (None,))])
        chain = Chain(1)
        report = self.bob.process([SetMeta("m", b"2", (None,)), _accept(*chain.write(b"1"))])
        self.assertEqual((report.results[0], report.values), (Moved(b"1"), {"m": b"1"}))
        self.assertIsInstance(report.results[1], Accepted)
        report = self.bob.process([SetMeta("m", b"2", (b"1",)), SetMeta("m", b"3", (b"2",))])
        self.assertEqual((report.results, self.ann.meta("m")), ([Done(), Done()], b"3"))

    def test_choices_without_a_node(self) -> None:
        """Are not written over those of others, and nothing is deleted for them."""
        chain = Chain(1)
        self.bob.process([_accept(*chain.write(b"1"))])
        kept = self.bob.meta(KEPT_AS)
        self.ann.process([SetMeta(KEPT_AS, b"others", (None,))])
        with self.assertRaises(StoreInUseError):
            follow._keep(self.bob, Choices(()), kept, [chain.author])
        self.assertEqual((self.ann.meta(KEPT_AS), self.bob.clock.seq(chain.author)), (b"others", 1))

    def test_in_vain(self) -> None:
        """A database that never says what became of a commit is one that is away: nobody waits for it for ever."""
        chain = Chain(1)
        segments = chain.write_each(2)
        self.ann._mine.fault = lambda _: DiskFault.LOST  # type: ignore[attr-defined]
        with self.assertRaises(StoreUnreachableError):
            self.ann.process([_accept(segments[0])])
        self.ann._mine.fault = None  # type: ignore[attr-defined]
        self.assertIsInstance(self.ann.process([_accept(segments[0])]).results[0], Accepted)

    def test_what_others_wrote_is_read_once_it_is_known(self) -> None:
        """A relay shows no more than its clock says: else it would send entries that it is told of as news."""
        chain = Chain(1)
        segments = chain.write_each(3)
        start = self.listen(self.bob)
        self.ann.process([_accept(segments[0])])
        changes = self.news(self.bob, start)
        self.ann.process([_accept(segment) for segment in segments[1:]])
        self.bob.process([Learn(tuple(changes))])
        self.assertEqual(self.bob.segments(chain.author, 1, ALL), segments[:1])
        self.assertEqual(self.bob.segments(chain.author, 2, ALL), [])
        self.assertEqual(self.ann.segments(chain.author, 1, ALL), segments)

    def test_no_merging(self) -> None:
        """Rows stay as they came: inside of a merged one there are no signatures for who knows of its beginning."""
        chain = Chain(1)
        for segment in chain.write_each(40):
            self.ann.process([_accept(segment)])
        self.ann.look_at([chain.author])
        self.assertFalse(self.ann.merge_some(ALL))
        self.assertEqual(len(self.ann.segments(chain.author, 1, ALL)), 40)

    def listen(self, logs: Logs) -> Position:
        assert logs._mine.shared is not None
        return logs._mine.shared.start()

    def news(self, logs: Logs, start: Position) -> list[Change]:
        assert logs._mine.shared is not None
        return [*logs._mine.shared.poll(start, ALL)[0]]


class LookTests(SynchronousTestCase):
    """How often a relay looks at what others did."""

    def test_seldom_while_nothing_comes(self) -> None:
        """A relay that waits for others costs little; as soon as something comes it looks often again."""
        pauses: list[float] = []
        ended = SimpleNamespace(wait=lambda pause: pauses.append(pause) or len(pauses) > 3 * QUIET_LOOKS)
        news = iter([[]] * 2 * QUIET_LOOKS + [[Kept("m")]] + [[]] * QUIET_LOOKS)
        shared = SimpleNamespace(poll=lambda *_: (next(news), {}), beat=lambda: None)
        sharing = Sharing(lambda error: None, Clock())
        sharing._ended = ended  # type: ignore[assignment]
        sharing._take = lambda *_: None  # type: ignore[method-assign]
        sharing._follow(shared, {}, lambda *_: None)  # type: ignore[arg-type]
        often, seldom = [POLL_SECONDS], [QUIET_SECONDS]
        self.assertEqual(pauses[: QUIET_LOOKS + 1], often * QUIET_LOOKS + seldom)
        self.assertEqual(pauses[2 * QUIET_LOOKS : 2 * QUIET_LOOKS + 2], seldom + often)


class RelayTests(SynchronousTestCase):
    """Relays over one store, as peers see them."""

    def setUp(self) -> None:
        self.fleet = Fleet(1)
        self.relays = [self.fleet.relay(), self.fleet.relay()]
        self.ann, self.bob = (self.fleet.peer(relay) for relay in self.relays)

    def begin(self) -> None:
        self.fleet.cluster.start()
        self.fleet.cluster.run(1.0)

    def test_what_one_took_all_serve(self) -> None:
        """News goes on within a moment, over a relay that nobody sent it to."""
        self.begin()
        for number in range(1, 6):
            write(self.ann)
            write(self.bob)
            self.fleet.cluster.run(4.0)
            self.assertEqual((seq(self.bob, self.ann), seq(self.ann, self.bob)), (number, number))
        self.fleet.settle()

    def test_a_relay_that_goes(self) -> None:
        """Its peers get everything from another one, which has what they gave to the first."""
        self.fleet.cluster.connect(self.ann, self.relays[1])
        self.begin()
        write(self.ann, 3)
        self.fleet.cluster.run(1.0)
        self.relays[0].crash(silent=True)
        write(self.bob, 2)
        write(self.ann, 2)
        self.fleet.cluster.run(30.0)
        self.assertEqual((seq(self.bob, self.ann), seq(self.ann, self.bob)), (5, 2))
        self.relays[0].start()
        self.fleet.settle()

    def test_two_branches_at_once(self) -> None:
        """One at each relay: everybody has the proof, and nobody is sent away."""
        seed = self.fleet.cluster.shared_seed()
        left, right = (self.fleet.peer(relay, writers=[seed]) for relay in self.relays)
        self.begin()
        for peer in (left, right):
            peer.append(peer.local[0], [b"in " + peer.name.encode()])
        self.fleet.settle()
        for node in self.fleet.cluster.nodes:
            self.assertEqual(node.heads.forks, {left.local[0]})
        self.assertEqual([_down(node) for node in self.fleet.cluster.nodes], [[]] * 6)

    def test_blocked_at_one(self) -> None:
        """What one relay blocks and deletes is gone at all within a moment, and no peer brings it to any of them."""
        self.fleet.cluster.connect(self.ann, self.relays[1])
        self.begin()
        write(self.ann, 3)
        write(self.bob, 1)
        self.fleet.cluster.run(3.0)
        self.relays[0].choose(Choices.block, self.ann.local[0], delete=True)
        self.fleet.cluster.run(2.0)
        write(self.ann, 3)
        self.fleet.settle()
        for relay in self.relays:
            self.assertEqual((seq(relay, self.ann), seq(relay, self.bob)), (0, 1))
            self.assertEqual([*relay.backend.rows(self.ann.local[0])], [])
        self.relays[1].choose(Choices.unblock, self.ann.local[0])
        self.fleet.settle()
        self.assertEqual([seq(relay, self.ann) for relay in self.relays], [6, 6])

    def test_two_choose_at_once(self) -> None:
        """Neither is written over, and both relays know all of it."""
        self.begin()
        authors = [bytes([number]) * 32 for number in range(8)]
        for number in range(4):
            self.relays[0].choose(Choices.block, authors[number])
            self.relays[1].choose(Choices.unfollow, authors[number + 4])
        self.fleet.cluster.run(2.0)
        for relay in self.relays:
            self.assertEqual(relay.choices.blocked, {*authors[:4]})
            self.assertEqual(relay.choices.chosen, dict.fromkeys(authors[4:], False))

    def test_a_quota_is_of_all_relays(self) -> None:
        """An author who gives to two at once gets no more room than at one."""
        self.fleet.cluster.connect(self.ann, self.relays[1])
        for relay in self.relays:
            relay.quotas = Quotas(bytes_per_author=6000)
        self.begin()
        for _ in range(20):
            self.ann.append(self.ann.local[0], [bytes(1000)])
            self.fleet.cluster.run(0.05)
        self.fleet.cluster.run(60.0)
        [weight] = self.relays[0].disk.logs.weighing.weights().values()
        self.assertLessEqual(weight, 6000)
        self.assertGreater(weight, 4000)
        self.assertEqual(seq(self.relays[0], self.ann), seq(self.relays[1], self.ann))

    def test_the_database_goes_back(self) -> None:
        """What it lost comes back from the peers, and no relay stays with what is not there."""
        self.begin()
        write(self.ann, 2)
        self.fleet.cluster.run(2.0)
        backup = self.fleet.database.backup()
        write(self.ann, 3)
        write(self.bob, 4)
        self.fleet.cluster.run(2.0)
        self.assertEqual((seq(self.bob, self.ann), seq(self.ann, self.bob)), (5, 4))
        self.fleet.put_back(backup)
        self.fleet.cluster.run(1.0)
        self.assertEqual([relay.went_back for relay in self.relays], [1, 1])
        self.fleet.settle()
        self.assertEqual([seq(relay, self.ann) for relay in self.relays], [5, 5])
        self.assertEqual([seq(relay, self.bob) for relay in self.relays], [4, 4])

    def test_seeds(self) -> None:
        """Races, unknown outcomes, late lanes, forks, crashes, a store that goes back (GOSSIPLOG_FLEET_SEEDS)."""
        went_back = forks = 0
        for seed in range(SEEDS):
            done = fleet.run(seed)
            went_back += sum(relay.went_back for relay in done.relays)
            forks += len(done.relays[0].heads.forks)
        self.assertGreater(went_back * forks, 0)


class MemberTests(BackendConformance, SynchronousTestCase):
    """A member of a fleet that is alone is a backend as any other, but for what relays do not do to shared rows."""

    def make_backend(self) -> MemoryBackend:
        """Alone."""
        return MemoryBackend().join(SharedMemory())

    def reopen(self, backend: Backend) -> MemoryBackend:
        """The same database."""
        assert isinstance(backend, MemoryBackend)
        return backend.reopen()


def _accept(segment: Segment) -> Accept:
    return Accept(segment, verify(segment))


def _down(node: SimNode) -> list[object]:
    return [notice for notice in node.notices if type(notice).__name__ in ("PeerDown", "PeerRejected")]
