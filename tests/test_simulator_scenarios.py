"""Ring 4: named scenarios, each a story that once went wrong somewhere, or could."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.session import Phase
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.memory.faults import DiskFault
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.faults import Fault, Faults
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.simulator import tight_limits
from gossiplog.testing.sim.wires import HANDSHAKE_SIZES

SLOW_DISK = Speed(commit=5.0, read=0.001, stall_chance=0.0)
QUICK_DISK = Speed(commit=0.002, read=0.001, stall_chance=0.0)
EVEN = Quality(0.02, 0.0, 1e7)


def line(cluster: Cluster, count: int) -> list[SimNode]:
    """So many running nodes in a row, each with a writer."""
    nodes = [cluster.add() for _ in range(count)]
    for left, right in pairwise(nodes):
        cluster.connect(left, right)
    cluster.start()
    return nodes


def write(node: SimNode, entries: int = 1, size: int = 40, writer: int = 0) -> None:
    """Append entries one by one, each a segment unless the disk groups them."""
    for number in range(entries):
        node.append(node.local[writer], [number.to_bytes(4, "big") + bytes(size)])


def seq(node: SimNode, other: SimNode, writer: int = 0) -> int:
    """How far ``node`` has a writer of ``other``."""
    return node.heads.clock.seq(other.local[writer])


FORKER = Keypair(b"f" * 32)


class TopologyTests(SynchronousTestCase):
    """Entries reach everyone, and cost what they should."""

    def test_chain_of_five_with_only_the_ends_writing(self) -> None:
        """Three relays that write nothing carry everything, each entry once per link."""
        cluster = Cluster(1)
        nodes = line(cluster, 5)
        cluster.run(1.0)
        for _ in range(20):
            write(nodes[0])
            write(nodes[4])
            cluster.run(0.3)
        cluster.settle()
        self.assertEqual([node.heads.clock.total() for node in nodes], [40] * 5)
        self.assertEqual(cluster.figures.copies, 1.0)

    def test_loop(self) -> None:
        """In a ring each entry comes from two sides at most, and does not run in circles."""
        cluster = Cluster(2)
        nodes = line(cluster, 6)
        cluster.connect(nodes[5], nodes[0])
        cluster.run(1.0)
        for node in nodes:
            write(node, 5)
        cluster.settle()
        self.assertEqual([node.heads.clock.total() for node in nodes], [30] * 6)
        self.assertLessEqual(cluster.figures.copies, 7 / 5)

    def test_late_joiner_pulls_each_entry_once_from_all_who_have_it(self) -> None:
        """A newcomer that knows four full nodes gets one copy, and something from each."""
        cluster = Cluster(3)
        nodes = [cluster.add(5, speed=QUICK_DISK) for _ in range(4)]
        for left in range(4):
            for right in range(left):
                cluster.connect(nodes[left], nodes[right], EVEN)
        cluster.start()
        for node in nodes:
            for writer in range(5):
                write(node, 10, 5000, writer)
                cluster.run(0.2)
        cluster.settle()
        late = cluster.add(0, speed=QUICK_DISK)
        for node in nodes:
            cluster.connect(late, node, EVEN)
        before = cluster.figures.entries_received, cluster.figures.entries_new
        cluster.start()
        cluster.settle()
        self.assertEqual(late.heads.clock.total(), 200)
        self.assertEqual(cluster.figures.entries_received - before[0], 200)

    def test_caught_up_is_exact(self) -> None:
        """Not before the peer's clock was compared, not before the last entry is on disk, and not without a peer."""
        cluster = Cluster(34)
        ann, bob = cluster.add(3), cluster.add(0, speed=SLOW_DISK)
        for writer in range(3):
            cluster.world.at(0.5, lambda writer=writer: write(ann, 20, writer=writer))  # type: ignore[misc]
        ann.start()
        cluster.run(2.0)
        cluster.connect(bob, ann)
        bob.start()
        for _ in range(3000):
            self.assertEqual(bob.replica.caught_up, bool(bob.peers) and bob.heads.clock == ann.heads.clock)
            cluster.run(0.01)
        self.assertTrue(bob.replica.caught_up)
        ann.crash()
        cluster.run(1.0)
        self.assertFalse(bob.replica.caught_up)

    def test_partition_and_heal(self) -> None:
        """Both sides go on writing; afterwards everyone has both."""
        for silent in (False, True):
            cluster = Cluster(4)
            nodes = line(cluster, 4)
            cluster.run(1.0)
            cluster.partition(nodes[:2], nodes[2:], silent=silent)
            for node in nodes:
                write(node, 3)
            cluster.run(20.0)
            self.assertEqual(seq(nodes[0], nodes[1]), 3)
            self.assertEqual(seq(nodes[0], nodes[3]), 0)
            cluster.heal()
            cluster.settle()
            self.assertEqual([node.heads.clock.total() for node in nodes], [12] * 4)


class TreeTests(SynchronousTestCase):
    """One copy, not a flood; and the tree mends itself."""

    def network(self, seed: int) -> tuple[Cluster, list[SimNode]]:
        """Twelve nodes, each with a writer, in a ring with two chords at each node."""
        cluster = Cluster(seed)
        nodes = [cluster.add(speed=QUICK_DISK) for _ in range(12)]
        for number, node in enumerate(nodes):
            cluster.connect(node, nodes[(number + 1) % 12], EVEN)
            cluster.connect(node, nodes[(number + 5) % 12], EVEN)
        cluster.start()
        cluster.run(2.0)
        return cluster, nodes

    def test_one_copy_once_it_is_learned(self) -> None:
        """A flood would be nearly three copies of each entry."""
        cluster, nodes = self.network(31)
        for _ in range(12):
            for node in nodes:
                write(node)
                cluster.run(0.1)
        before = cluster.figures.entries_received, cluster.figures.entries_new
        for _ in range(10):
            for node in nodes:
                write(node)
                cluster.run(0.1)
        cluster.settle()
        received, new = cluster.figures.entries_received - before[0], cluster.figures.entries_new - before[1]
        self.assertEqual(new, 10 * 12 * 11)
        self.assertLessEqual(received / new, 1.05)

    def test_many_authors_that_write_once(self) -> None:
        """They share a tree that others taught: no flood for each first entry."""
        cluster = Cluster(32)
        nodes = [cluster.add(24, speed=QUICK_DISK) for _ in range(12)]
        for number, node in enumerate(nodes):
            cluster.connect(node, nodes[(number + 1) % 12])
            cluster.connect(node, nodes[(number + 5) % 12])
        cluster.start()
        cluster.run(2.0)
        before = (0, 0)
        for writer in range(24):
            if writer == 16:
                before = cluster.figures.entries_received, cluster.figures.entries_new
            for node in cluster.random.sample(nodes, 12):
                write(node, writer=writer)
                cluster.run(0.2)
        cluster.settle()
        received, new = cluster.figures.entries_received - before[0], cluster.figures.entries_new - before[1]
        self.assertLessEqual(received / new, 1.2)

    def test_nodes_of_the_tree_vanish(self) -> None:
        """Without a word, so that nobody can know: the others' next entries come within the announcement's time."""
        cluster, nodes = self.network(33)
        for _ in range(12):
            for node in nodes:
                write(node)
            cluster.run(1.0)
        dead, alive = nodes[3::4], [node for number, node in enumerate(nodes) if number % 4 != 3]
        for node in dead:
            node.crash(silent=True)
        for _ in range(3):
            for node in alive:
                write(node)
            cluster.run(6 * EVEN.delay + 2 * (limits.LAZY_ANNOUNCE_SECONDS + limits.GRAFT_SECONDS))
            for node in alive:
                self.assertEqual({seq(node, other) for other in alive}, {seq(node, node)})
        for node in dead:
            node.start()
        cluster.settle()
        self.assertEqual({node.heads.clock.total() for node in nodes}, {12 * 12 + 3 * 9})


class SilenceTests(SynchronousTestCase):
    """Who has nothing to say says nothing."""

    def test_idle_nodes_only_ping(self) -> None:
        """Ten minutes of rest: one PING in thirty seconds on a link, no reconcile."""
        cluster = Cluster(5)
        ann = line(cluster, 2)[0]
        write(ann, 3)
        cluster.settle()
        before = cluster.figures.messages.copy()
        cluster.run(600.0)
        spent = cluster.figures.messages - before
        self.assertEqual(set(spent), {"Ping", "Pong"})
        self.assertLessEqual(spent["Ping"], 2 * 600 / limits.PING_SECONDS)

    def test_reconnecting_with_nothing_new_costs_one_greeting(self) -> None:
        """Equal root fingerprints in HELLO: no RANGES, no SEGMENT."""
        cluster = Cluster(6)
        ann = line(cluster, 2)[0]
        write(ann, 50)
        cluster.settle()
        before, bytes_before = cluster.figures.messages.copy(), cluster.figures.bytes.copy()
        cluster.net.links[0].cut()
        cluster.settle()
        spent = cluster.figures.messages - before
        self.assertEqual(set(spent), {"Hello", "Ping", "Pong"})
        self.assertEqual(spent["Hello"], 2)
        hellos = (cluster.figures.bytes - bytes_before)["Hello"]
        self.assertLessEqual(1 + sum(HANDSHAKE_SIZES) + hellos, 500)

    def test_ended_sessions_leave_no_timer(self) -> None:
        """A node that is alone does not wake up."""
        cluster = Cluster(7)
        ann, bob = line(cluster, 2)
        cluster.run(1.0)
        ann.dialers.clear()
        bob.crash()
        cluster.run(1.0)
        self.assertEqual(len(ann.replica.core.sessions), 0)
        self.assertIsNone(ann.replica.deadline)


class ConnectionTests(SynchronousTestCase):
    """One connection per pair, whoever dials."""

    def test_both_dial_at_once(self) -> None:
        """One session survives, the same on both sides, and nobody dials again."""
        for seed in range(20):
            cluster = Cluster(seed)
            ann, bob = cluster.add(), cluster.add()
            diallers = [cluster.connect(ann, bob), cluster.connect(bob, ann)]
            cluster.start()
            cluster.run(120.0)
            [ours] = [s for s in ann.replica.core.sessions.values() if s.phase is Phase.OPEN]
            [theirs] = [s for s in bob.replica.core.sessions.values() if s.phase is Phase.OPEN]
            self.assertEqual(ours.salt, theirs.salt)
            self.assertLessEqual(max(dialler.dials for dialler in diallers), 2)

    def test_half_open_survivor_is_found_dead_soon(self) -> None:
        """A connection that only one side still believes in does not keep the peer out for long."""
        cluster = Cluster(8)
        ann, bob = sorted((cluster.add(), cluster.add()), key=lambda node: node.id)
        cluster.connect(ann, bob)
        cluster.start()
        cluster.run(1.0)
        cluster.net.links[0].cut(hears=(False, True))  # ann, the lower id, dialled and does not know
        cluster.connect(bob, ann)
        write(bob)
        cluster.run(limits.SURVIVOR_SECONDS + 5.0)
        self.assertEqual(seq(ann, bob), 1)

    def test_path_that_passes_in_one_direction(self) -> None:
        """Both sides find it, whoever dialled; news goes around it meanwhile, and nothing is lost."""
        most = limits.PING_SECONDS + limits.PING_DEADLINE_SECONDS + limits.CLOSE_SECONDS + 5.0
        for kind in ("one way", "one way back"):
            cluster = Cluster(8)
            ann, bob = line(cluster, 2)
            cluster.run(1.0)
            Faults(cluster).plan(Fault(kind, 1.0, (0, 1), 600.0))
            cluster.run(1.0)
            write(ann)
            write(bob)
            cluster.run(most)
            self.assertEqual((ann.peers, bob.peers), ({}, {}), kind)
            cyn = cluster.add()
            cyn.start()
            cluster.connect(cyn, ann).begin()
            cluster.connect(cyn, bob).begin()
            cluster.run(20.0)
            self.assertEqual([seq(node, by) for node in (ann, bob) for by in (ann, bob)], [1, 1, 1, 1], kind)
            cluster.run(600.0 + limits.RECONNECT_MOST_SECONDS)
            cluster.settle()
            self.assertIn(bob.id, ann.peers.values(), kind)

    def test_path_that_passes_in_one_direction_for_a_moment(self) -> None:
        """What waited for it arrives, over the same connection."""
        for kind in ("one way", "one way back"):
            cluster = Cluster(8)
            ann, bob = line(cluster, 2)
            cluster.run(1.0)
            Faults(cluster).plan(Fault(kind, 1.0, (0, 1), limits.PING_SECONDS / 2))
            write(ann)
            write(bob)
            cluster.run(limits.PING_SECONDS)
            self.assertEqual((seq(ann, bob), seq(bob, ann)), (1, 1), kind)
            self.assertEqual([n for n in ann.notices + bob.notices if isinstance(n, events.PeerDown)], [])

    def test_restarted_peer_replaces_its_old_connection(self) -> None:
        """Another instance number makes the old connection dead at once."""
        cluster = Cluster(9)
        ann, bob = line(cluster, 2)
        cluster.run(1.0)
        ann.crash(silent=True)
        cluster.run(0.1)
        ann.start()
        write(bob)
        cluster.run(2.0)
        self.assertEqual(seq(ann, bob), 1)
        self.assertEqual(len(bob.replica.core.sessions), 1)

    def test_own_address(self) -> None:
        """Dialling oneself ends with SELF."""
        cluster = Cluster(10)
        ann = cluster.add()
        cluster.start()
        cluster.net.dial(ann, ann)
        cluster.run(1.0)
        self.assertEqual(ann.replica.core.sessions, {})
        self.assertEqual(ann.peers, {})

    def test_entries_accepted_but_not_durable_when_a_peer_arrives(self) -> None:
        """What the root in HELLO did not cover yet is announced, not left to the next PING."""
        cluster = Cluster(11)
        ann, bob, cyn = cluster.add(), cluster.add(speed=SLOW_DISK), cluster.add()
        cluster.connect(ann, bob)
        cluster.start()
        cluster.run(1.0)
        write(ann)
        cluster.run(0.5)
        self.assertEqual(len(bob.heads.ahead), 1)
        cluster.connect(cyn, bob)
        cluster.run(12.0)
        self.assertEqual(seq(cyn, ann), 1)


class DiskTests(SynchronousTestCase):
    """What a crash or a bad disk may do, and what not."""

    def test_crash_loses_what_was_not_acknowledged_and_nothing_else(self) -> None:
        """Nobody ever saw the lost entries: their seqs are used again without a fork."""
        cluster = Cluster(12)
        ann, bob = cluster.add(), cluster.add()
        cluster.connect(ann, bob)
        cluster.start()
        write(ann, 3)
        cluster.run(1.0)
        ann.disk.speed = SLOW_DISK
        write(ann, 2, 99)
        cluster.run(0.001)
        ann.crash()
        cluster.run(1.0)
        ann.start()
        self.assertEqual(ann.heads.clock.seq(ann.local[0]), 3)
        write(ann, 1, 7)
        cluster.settle()
        self.assertEqual(seq(bob, ann), 4)
        self.assertEqual(bob.heads.forks, set())

    def test_failed_sync(self) -> None:
        """Kept or lost, the outcome of a failed sync forks nobody, and what came in between is fetched again."""
        for fault in (DiskFault.KEPT, DiskFault.LOST):
            cluster = Cluster(13)
            ann, bob = line(cluster, 2)
            cluster.run(1.0)
            bob.disk.fails = fault
            write(bob)
            write(ann, 3)
            cluster.run(1.0)
            self.assertTrue(bob.replica.core.is_read_only)
            self.assertEqual(seq(bob, ann), 0)
            bob.crash()
            bob.start()
            write(bob)
            cluster.settle()
            self.assertEqual(seq(bob, ann), 3)
            self.assertEqual(ann.heads.forks, set())

    def test_full_disk_then_space_again(self) -> None:
        """While it is full it is not tried at the pace of the network; then everything comes, soon."""
        cluster = Cluster(14)
        ann, bob = line(cluster, 2)
        cluster.run(1.0)
        bob.disk.full = True
        write(ann, 3)
        cluster.run(60.0)
        self.assertEqual(seq(bob, ann), 0)
        self.assertGreaterEqual(bob.replica.writes.pending_bytes, 0)
        self.assertLessEqual(cluster.figures.messages["Want"], 60.0 / limits.RETRY_WRITE_SECONDS + 1)
        bob.disk.full = False
        cluster.run(2 * limits.RETRY_WRITE_SECONDS)
        self.assertEqual(seq(bob, ann), 3)
        cluster.settle()

    def test_news_lost_in_a_failed_commit_is_asked_for(self) -> None:
        """It was pushed, so nobody claimed it: the sender is remembered until it is durable."""
        cluster = Cluster(15)
        ann, bob = line(cluster, 2)
        cluster.run(1.0)
        bob.disk.full = True
        write(ann)
        cluster.run(0.5)
        self.assertEqual([type(e) for e in bob.notices if isinstance(e, events.PeerDown)], [])
        bob.disk.full = False
        cluster.run(limits.RETRY_WRITE_SECONDS + 1.0)
        self.assertEqual(seq(bob, ann), 1)

    def test_store_restored_from_an_older_backup(self) -> None:
        """Its own later entries come back from peers before it writes: nothing forks."""
        cluster = Cluster(16)
        ann, bob = line(cluster, 2)
        write(ann, 3)
        cluster.settle()
        backup = ann.backend.snapshot()
        write(ann, 4)
        cluster.settle()
        ann.crash()
        ann.backend = backup
        cluster.checker.restored(ann)
        ann.start()
        self.assertEqual(seq(ann, ann), 3)
        cluster.settle()
        self.assertEqual(seq(ann, ann), 7)
        write(ann)
        cluster.settle()
        self.assertEqual(seq(bob, ann), 8)
        self.assertEqual(bob.heads.forks, set())

    def test_appends_to_a_restored_store_wait_for_what_comes_back(self) -> None:
        """A peer says that it has more: what is appended then continues that, although nothing of it is here yet."""
        cluster = Cluster(16)
        ann, bob = line(cluster, 2)
        author = ann.local[0]
        write(ann, 3)
        cluster.settle()
        backup = ann.backend.snapshot()
        write(ann, 4)
        cluster.settle()
        ann.crash()
        ann.backend = backup
        cluster.checker.restored(ann)
        ann.start()
        while not ann.front.gate._holds:
            cluster.run(0.001)
        self.assertEqual(seq(ann, ann), 3)
        write(ann)
        cluster.settle()
        self.assertEqual([seq(node, ann) for node in (ann, bob)], [8, 8])
        self.assertEqual((set(bob.heads.forks), author in ann.heads.forks), (set(), False))

    def test_a_proof_that_finds_a_full_disk(self) -> None:
        """It is known, and served, and written with the next commit that succeeds, whoever's that is."""
        cluster = Cluster(18)
        ann, bob, cat = line(cluster, 3)
        [left], [right] = (
            build(FORKER, Head(0, genesis_id(FORKER.author)), [body])[0] for body in (b"l", b"r")
        )
        proof = build_proof(left, right)
        assert proof is not None
        for segment in (left, right):
            cluster.checker.may_fork.add(segment.author)
            cluster.checker.sign(segment)
        cluster.settle()
        bob.disk.full = True
        ann.handle(events.ForkFound(proof))
        cluster.run(5)
        for node in (ann, bob, cat):
            self.assertEqual(node.heads.forks, {FORKER.author})
        self.assertEqual((bob.disk.logs.forks, [*bob.front.held.unwritten]), (set(), [FORKER.author]))
        bob.disk.full = False
        write(bob)
        cluster.settle()
        self.assertEqual((bob.disk.logs.forks, [*bob.front.held.unwritten]), ({FORKER.author}, []))

    def test_restored_store_that_already_wrote(self) -> None:
        """That is a fork: proven to everyone, frozen, and its writer writes no more; however long the new branch."""
        for more in (1, 4, 9):
            cluster = Cluster(17)
            nodes = line(cluster, 3)
            ann = nodes[0]
            author = ann.local[0]
            write(ann, 3)
            cluster.settle()
            backup = ann.backend.snapshot()
            for _ in range(4):
                write(ann)
                cluster.run(0.5)
            cluster.settle()
            ann.crash()
            ann.backend = backup
            cluster.checker.restored(ann)
            cluster.checker.may_fork.add(author)
            ann.start()
            write(ann, more, 77)
            cluster.settle()
            self.assertEqual([set(node.heads.forks) for node in nodes], [{author}] * 3)
            self.assertEqual([seq(node, ann) for node in nodes[1:]], [7, 7])
            write(ann)
            cluster.settle()
            self.assertEqual(seq(ann, ann), 3 + more)


class SourceTests(SynchronousTestCase):
    """Backlog is pulled from one peer, and from another when that one fails."""

    def start(self, seed: int, size: int) -> tuple[Cluster, list[SimNode], SimNode]:
        """Two full nodes with much in store, and one that is going to join."""
        cluster = Cluster(seed)
        full = [cluster.add(speed=QUICK_DISK), cluster.add(speed=QUICK_DISK)]
        late = cluster.add(0, speed=QUICK_DISK)
        cluster.connect(full[0], full[1], EVEN)
        for node in full:
            node.start()
        for _ in range(40):
            write(full[0], 1, size)
            cluster.run(0.1)
        cluster.run(10.0)
        return cluster, full, late

    def test_source_dies_in_mid_transfer(self) -> None:
        """The other one goes on where it stopped."""
        for silent in (False, True):
            cluster, full, late = self.start(18, 20_000)
            quality = Quality(0.02, 0.0, 100_000.0)
            cluster.connect(late, full[0], quality)
            late.start()
            cluster.run(2.0)
            cluster.connect(late, full[1], quality)
            cluster.run(2.0)
            got = seq(late, full[0])
            self.assertTrue(0 < got < 40, got)
            full[0].crash(silent=silent)
            cluster.run(30.0)
            self.assertEqual(seq(late, full[0]), 40)

    def test_slow_link_carries_each_entry_once(self) -> None:
        """Frames that take longer than a stall or a PING's deadline are neither repeated for ever nor cut off."""
        cluster, full, late = self.start(19, 900_000)
        before = cluster.figures.entries_received
        cluster.connect(late, full[0], Quality(0.1, 0.0, 12_000.0))  # 75 s for each
        late.start()
        cluster.run(60 * 75.0)
        self.assertEqual(seq(late, full[0]), 40)
        self.assertEqual([n for n in late.notices if isinstance(n, events.PeerDown)], [])
        self.assertEqual(cluster.figures.entries_received - before, 40)

    def test_slow_reader_with_many_authors(self) -> None:
        """Its news becomes one seq per author, then one bit; then it catches up."""
        with tight_limits():
            cluster = Cluster(20)
            ann, bob = cluster.add(20), cluster.add()
            cluster.connect(bob, ann, Quality(0.1, 0.0, 2000.0))
            cluster.start()
            cluster.run(1.0)
            overflowed = False
            for turn in range(200):
                write(ann, 1, 300, turn % 20)
                cluster.run(0.05)
                overflowed |= any(s.outbox.overflowed for s in ann.replica.core.sessions.values())
            self.assertTrue(overflowed)
            cluster.settle()
            self.assertEqual(bob.heads.clock.total(), 200)


class ForkTests(SynchronousTestCase):
    """One seed in two stores."""

    def test_forked_author_with_equal_length(self) -> None:
        """Same seq, two ids: found by reconcile, proven to all, also to those who hold nothing of the author."""
        cluster = Cluster(21)
        seed = cluster.shared_seed()
        nodes = [cluster.add([seed]), cluster.add(0), cluster.add([seed])]
        author = None
        for node in nodes:
            node.start()
        for node, size in ((nodes[0], 5), (nodes[2], 6)):
            author = node.local[0]
            write(node, 1, size)
        cluster.run(1.0)
        cluster.connect(nodes[0], nodes[2])
        cluster.run(1.0)
        self.assertEqual([set(node.heads.forks) for node in nodes], [{author}, set(), {author}])
        cluster.connect(nodes[1], nodes[0])
        cluster.run(1.0)
        self.assertEqual(set(nodes[1].heads.forks), {author})
        cluster.settle()
        for node in nodes:
            node.crash()
            node.start()
            self.assertEqual(set(node.heads.forks), {author})
        cluster.settle()

    def test_relays_in_good_faith_are_not_punished(self) -> None:
        """No session ends because a fork passed through it."""
        cluster = Cluster(22)
        seed = cluster.shared_seed()
        nodes = [cluster.add([seed]), cluster.add(0), cluster.add(0), cluster.add([seed])]
        for left, right in pairwise(nodes):
            cluster.connect(left, right)
        cluster.start()
        cluster.run(1.0)
        write(nodes[0], 3, 5)
        write(nodes[3], 5, 6)
        cluster.settle()
        for node in nodes:
            self.assertEqual(len(node.heads.forks), 1)
            self.assertEqual([n for n in node.notices if isinstance(n, events.PeerDown)], [])


class FaultyLinkTests(SynchronousTestCase):
    """Frames that come twice, late or not at all."""

    def test_each_kind(self) -> None:
        """Whatever the link does, the nodes agree when it stops: no lost message needs a restart."""
        for kind in ("duplicate", "reorder", "lose"):
            for seed in range(5):
                cluster = Cluster(seed)
                nodes = line(cluster, 3)
                faults = Faults(cluster)
                faults.plan(Fault(kind, 0.0, (0, 1), 20.0))
                faults.plan(Fault(kind, 5.0, (1, 2), 20.0))
                for _ in range(20):
                    for node in nodes:
                        write(node, 2)
                    cluster.run(1.0)
                cluster.settle()
                self.assertEqual([node.heads.clock.total() for node in nodes], [120] * 3)
