"""Ring 4: the stories of two other suites, EBT's and hyperswarm's, that ``test_simulator_scenarios`` does not tell."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import Quality

QUICK_DISK = Speed(commit=0.002, read=0.001, stall_chance=0.0)


def write(node: SimNode, entries: int = 1, size: int = 40) -> None:
    """Append entries one by one."""
    for number in range(entries):
        node.append(node.local[0], [number.to_bytes(4, "big") + bytes(size)])


class RelayTests(SynchronousTestCase):
    """Epidemic broadcast trees: a relay that stalls, forgets, or has only a part."""

    def test_live_stall(self) -> None:
        """A relay hangs in the middle of the news, connected and silent: news comes over another at once."""
        cluster = Cluster(1)
        ann, bob, cyn, dan = (cluster.add(speed=QUICK_DISK) for _ in range(4))
        for relay, delay in ((bob, 0.01), (cyn, 0.02)):
            for end in (ann, dan):
                cluster.connect(end, relay, Quality(delay, 0.0, 1e7))
        cluster.start()
        for _ in range(20):
            write(ann)
            cluster.run(0.5)
        bob.freeze(60.0)
        for _ in range(5):
            write(ann)
            cluster.run(1.0)
        self.assertEqual(dan.heads.clock.seq(ann.local[0]), 25)
        self.assertIn(bob.id, dan.peers.values())
        cluster.settle()

    def test_lost_state(self) -> None:
        """A store that is gone, but for its secrets: everything comes back, its own log before it goes on."""
        cluster = Cluster(2)
        ann, bob, cyn = cluster.add(), cluster.add(), cluster.add()
        cluster.connect(ann, bob)
        cluster.connect(bob, cyn)
        cluster.start()
        for node in (ann, bob, cyn):
            write(node, 5)
        cluster.settle()
        bob.crash()
        empty = MemoryBackend(bob.name)
        empty.secrets.create_seed("writer0", bob.backend.secrets.seed("writer0") or b"")
        bob.backend = empty
        cluster.checker.restored(bob)
        bob.start()
        self.assertEqual(bob.heads.clock.total(), 0)
        cluster.settle()
        self.assertEqual(bob.heads.clock.total(), 15)
        write(bob)
        cluster.settle()
        self.assertEqual([node.heads.clock.total() for node in cluster.nodes], [16] * 3)
        self.assertEqual([set(node.heads.forks) for node in cluster.nodes], [set()] * 3)

    def test_partial(self) -> None:
        """Three nodes hold other parts of three logs; together they have all, and each gets what it lacks, once."""
        cluster = Cluster(3)
        writers = [cluster.add() for _ in range(3)]
        holders = [cluster.add(0) for _ in range(3)]
        cluster.start()
        for turn in range(3):
            for number, holder in enumerate(holders):
                dialler = cluster.connect(holder, writers[(number + turn) % 3])
                write(writers[(number + turn) % 3], 4)
                cluster.run(5.0)
                dialler.end()
                holder.dialers.clear()
                for link in tuple(cluster.net.links):
                    link.cut()
                cluster.run(1.0)
        clocks = [dict(holder.heads.clock.items()) for holder in holders]
        self.assertEqual(len({frozenset(clock.items()) for clock in clocks}), 3)
        for writer in writers:
            writer.crash()
        most = {author: max(clock.get(author, (0, b""))[0] for clock in clocks) for author in clocks[0]}
        before = cluster.figures.entries_received
        lacking = sum(sum(most.values()) - holder.heads.clock.total() for holder in holders)
        cluster.connect(holders[0], holders[1])
        cluster.connect(holders[1], holders[2])
        cluster.settle()
        for holder in holders:
            self.assertEqual({author: head.seq for author, head in holder.heads.clock.items()}, most)
        self.assertEqual(cluster.figures.entries_received - before, lacking)

    def test_reconnect_in_mid_transfer(self) -> None:
        """The connection breaks again and again: what arrived counts, and the transfer goes on from there."""
        cluster = Cluster(4)
        ann, bob = cluster.add(speed=QUICK_DISK), cluster.add(0, speed=QUICK_DISK)
        ann.start()
        for _ in range(60):
            write(ann, 1, 10_000)
            cluster.run(0.05)
        cluster.connect(bob, ann, Quality(0.02, 0.0, 100_000.0))
        bob.start()
        reached = [0]
        for _ in range(3):
            cluster.run(2.0)
            reached.append(bob.heads.clock.total())
            for link in tuple(cluster.net.links):
                link.cut()
        self.assertEqual(reached, sorted(set(reached)))
        self.assertLess(reached[-1], 60)
        cluster.settle()
        self.assertEqual(bob.heads.clock.total(), 60)
        self.assertLessEqual(cluster.figures.copies, 1.6)


class ConnectionTests(SynchronousTestCase):
    """Hyperswarm: connections that come and go."""

    def test_chaos_of_disconnects(self) -> None:
        """For a minute some connection breaks four times a second, half of them unnoticed, while everyone writes."""
        for seed in range(3):
            cluster = Cluster(seed)
            nodes = [cluster.add(speed=QUICK_DISK) for _ in range(8)]
            for left in range(8):
                for right in range(left):
                    cluster.connect(*cluster.random.sample((nodes[left], nodes[right]), 2))
            cluster.start()
            for turn in range(240):
                cluster.run(0.25)
                if cluster.net.links:
                    silent = cluster.random.random() < 0.5
                    cluster.random.choice(cluster.net.links).cut(hears=(True, not silent))
                write(nodes[turn % 8])
            cluster.settle()
            self.assertEqual([node.heads.clock.total() for node in nodes], [240] * 8)
            for node in nodes:
                self.assertEqual(set(node.peers.values()), {other.id for other in nodes} - {node.id})
                self.assertEqual(len(node.peers), 7)

    def test_nobody_flaps(self) -> None:
        """Eight nodes that all dial each other at once: one connection for each pair, and no other attempt later."""
        cluster = Cluster(5)
        nodes = [cluster.add() for _ in range(8)]
        dialers = [cluster.connect(a, b) for a in nodes for b in nodes if a is not b]
        cluster.start()
        cluster.run(60.0)
        dials = sum(dialer.dials for dialer in dialers)
        cluster.run(600.0)
        self.assertEqual(sum(dialer.dials for dialer in dialers), dials)
        self.assertEqual([len(node.peers) for node in nodes], [7] * 8)
        lost = [notice for node in nodes for notice in node.notices if isinstance(notice, events.PeerDown)]
        self.assertLessEqual(len(lost), 2 * 28)
        self.assertEqual(len(cluster.net.links), 28)


class ClockTests(SynchronousTestCase):
    """Nobody's idea of the time matters to anyone else."""

    def test_clocks_that_run_differently(self) -> None:
        """Years apart and a tenth faster or slower: no session ends, and everything arrives."""
        cluster = Cluster(6)
        ann, bob = cluster.add(), cluster.add()
        ann.clock.offset, ann.clock.rate = 1e9, 1.1
        bob.clock.rate = 0.9
        cluster.connect(ann, bob)
        cluster.start()
        for _ in range(20):
            write(ann)
            write(bob)
            cluster.run(limits.PING_SECONDS / 2)
        cluster.settle()
        self.assertEqual([node.heads.clock.total() for node in (ann, bob)], [40, 40])
        self.assertEqual(
            [n for node in (ann, bob) for n in node.notices if isinstance(n, events.PeerDown)], []
        )

    def test_clock_that_is_set_back(self) -> None:
        """An hour back: what is due waits no longer than that, and nothing is lost."""
        cluster = Cluster(7)
        ann, bob = cluster.add(), cluster.add()
        cluster.connect(ann, bob)
        cluster.start()
        cluster.run(1.0)
        ann.jump(-3600.0)
        write(ann)
        write(bob)
        cluster.run(5.0)
        self.assertEqual([node.heads.clock.total() for node in (ann, bob)], [2, 2])
        cluster.settle()
