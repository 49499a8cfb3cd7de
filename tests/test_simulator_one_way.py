"""Ring 4: nodes that only pull, or only push; ``gossiplog.testing.sim.one_way`` watches every message."""

from __future__ import annotations

import os
from contextlib import nullcontext
from itertools import pairwise, product
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import events
from gossiplog.gossip.modes import Mode
from gossiplog.log.segment import verify
from gossiplog.store.interface import PutSegment
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.faults import KINDS, ON_LINKS, Fault, Faults
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.one_way import OneWay
from gossiplog.testing.sim.simulator import tight_limits
from tests.test_simulator_forks import author, branch
from tests.test_simulator_scenarios import seq, write

MODES = (Mode.BOTH, Mode.PULL, Mode.PUSH)
BOTH, PULL, PUSH = MODES


def told(node: SimNode, kind: type[Any]) -> int:
    """How often the application of ``node`` was told so."""
    return sum(isinstance(notice, kind) for notice in node.notices)


def probe(*nodes: SimNode) -> None:
    """Ask every node when it is in sync with each of its peers."""
    for node in nodes:
        for session in tuple(node.peers):
            node.handle(events.Probe(session))


def goes(giver: SimNode, taker: SimNode) -> bool:
    """Whether entries may go this way."""
    return giver.mode.gives and taker.mode.takes


class OneWayCase(SynchronousTestCase):
    """Nodes in a row, the left one dialling."""

    def row(self, *modes: Mode, seed: int = 1) -> tuple[Cluster, list[SimNode]]:
        """So many nodes with a writer each, started."""
        cluster = Cluster(seed)
        nodes = [cluster.add() for _ in modes]
        for node, mode in zip(nodes, modes, strict=True):
            node.mode = mode
        for left, right in pairwise(nodes):
            cluster.connect(left, right)
        cluster.start()
        return cluster, nodes


class PairTests(OneWayCase):
    """Every mode against every mode."""

    def test_what_goes(self) -> None:
        """Backlog and news go where one gives and the other takes, and nowhere else; the session stays."""
        for modes in product(MODES, MODES):
            cluster, (ann, bob) = self.row(*modes)
            for node in (ann, bob):
                write(node, 3)
            cluster.settle()
            for node in (ann, bob):
                write(node, 2)
            cluster.settle()
            self.assertEqual(seq(bob, ann), 5 * goes(ann, bob), modes)
            self.assertEqual(seq(ann, bob), 5 * goes(bob, ann), modes)
            self.assertEqual([told(node, events.PeerDown) for node in (ann, bob)], [0, 0], modes)

    def test_notices(self) -> None:
        """Caught up is who takes; in sync are both sides wherever anything goes, and neither where nothing does."""
        for modes in product(MODES, MODES):
            cluster, (ann, bob) = self.row(*modes)
            for node in (ann, bob):
                write(node, 3)
            cluster.run(1.0)
            probe(ann, bob)
            cluster.run(5.0)
            caught_up = [told(node, events.CaughtUp) > 0 for node in (ann, bob)]
            self.assertEqual(caught_up, [goes(bob, ann), goes(ann, bob)], modes)
            self.assertEqual([node.replica.caught_up for node in (ann, bob)], caught_up, modes)
            in_sync = goes(ann, bob) or goes(bob, ann)
            self.assertEqual([told(node, events.InSync) for node in (ann, bob)], [in_sync] * 2, modes)

    def test_in_sync_at_once(self) -> None:
        """It is asked for as soon as the session is open, as ``sync`` does: not before all has come."""
        for modes in product(MODES, MODES):
            cluster, (ann, bob) = self.row(*modes)
            for node in (ann, bob):
                write(node, 40, 2000)
            while not (ann.peers and bob.peers):
                cluster.run(0.01)
            probe(ann, bob)
            for _ in range(3):
                write(ann), write(bob)
                cluster.run(0.3)
            cluster.run(10.0)
            in_sync = goes(ann, bob) or goes(bob, ann)
            self.assertEqual([told(node, events.InSync) for node in (ann, bob)], [in_sync] * 2, modes)

    def test_nothing_goes(self) -> None:
        """Two that only pull, or only push, say no more than HELLO: what either holds is nothing to the other."""
        for mode in (PULL, PUSH):
            cluster, (ann, bob) = self.row(mode, mode)
            write(ann), write(bob)
            cluster.settle()
            cluster.run(600.0)
            self.assertEqual({*cluster.figures.messages}, {"Hello", "Ping", "Pong"})

    def test_what_is_told(self) -> None:
        """Who only pulls says what it holds in RANGES and nowhere else."""
        cluster, (ann, bob) = self.row(PULL, BOTH)
        write(ann, 3), write(bob, 3)
        cluster.settle()
        write(ann, 3), write(bob, 3)
        cluster.settle()
        self.assertEqual(cluster.figures.messages["Have"] + cluster.figures.messages["Fork"], 0)
        self.assertEqual(seq(ann, bob), 6)

    def test_more_than_the_giver_has(self) -> None:
        """A difference that stays is compared ever more seldom, and then nothing but PING and PONG is said."""
        cluster, (ann, bob) = self.row(PULL, BOTH)
        write(ann), write(bob)
        cluster.settle()
        before = cluster.figures.messages.copy()
        cluster.run(6000.0)
        self.assertLess((cluster.figures.messages - before)["Ranges"], 50)


class RelayTests(OneWayCase):
    """One way is a matter of a node and its neighbours: relays pass on what they may."""

    def test_chains(self) -> None:
        """What the first writes comes as far as every step gives and takes."""
        for modes in product(MODES, MODES, MODES):
            cluster, nodes = self.row(*modes)
            for node in nodes:
                write(node, 3)
            cluster.settle()
            for node in nodes:
                write(node)
            cluster.settle()
            probe(*nodes)
            cluster.run(5.0)
            ann, relay, cyn = nodes
            self.assertEqual(seq(cyn, ann), 4 * (goes(ann, relay) and goes(relay, cyn)), modes)
            self.assertEqual(seq(ann, cyn), 4 * (goes(cyn, relay) and goes(relay, ann)), modes)

    def test_two_sources(self) -> None:
        """Who only pulls is told by several peers, and learns one tree: news comes about once."""
        cluster, nodes = self.row(BOTH, BOTH, BOTH)
        mirror = cluster.add()
        mirror.mode = PULL
        for node in nodes:
            cluster.connect(mirror, node)
        cluster.start()
        for node in nodes:
            write(node, 2)
        cluster.settle()
        cluster.figures.clear()
        for _ in range(50):
            for node in nodes:
                write(node)
            cluster.run(1.0)
        cluster.settle()
        self.assertEqual([seq(mirror, node) for node in nodes], [52] * 3)
        self.assertLess(cluster.figures.copies, 1.5)


class TroubleTests(OneWayCase):
    """Forks and lost logs."""

    def forked(self, ours: Mode, theirs: Mode) -> tuple[Cluster, SimNode, SimNode]:
        """Two nodes with two branches of one log."""
        cluster = Cluster(1)
        pair = author(7)
        cluster.checker.may_fork.add(pair.author)
        nodes = [cluster.add(), cluster.add()]
        for node, mode, text in zip(nodes, (ours, theirs), (b"x", b"y"), strict=True):
            node.mode = mode
            made = branch(pair, text, 3, common=1)
            for segment in made:
                cluster.checker.sign(segment)
            node.backend.commit([PutSegment(segment, verify(segment)) for segment in made])
        cluster.connect(*nodes)
        cluster.start()
        cluster.run(10.0)
        return cluster, nodes[0], nodes[1]

    def test_forks(self) -> None:
        """A proof goes both ways wherever anything goes: who only pulls tells of it, who only pushes hears of it."""
        for modes in product(MODES, MODES):
            _, ann, bob = self.forked(*modes)
            found = goes(ann, bob) or goes(bob, ann)
            self.assertEqual([len(node.heads.forks) for node in (ann, bob)], [found] * 2, modes)

    def test_a_proof_that_was_known(self) -> None:
        """It goes on over a node of any mode."""
        for mode in MODES:
            _, ann, bob = self.forked(BOTH, BOTH)
            del ann
            cluster = Cluster(2)
            cluster.checker.may_fork.add(author(7).author)
            knows, hears = cluster.add(), cluster.add()
            knows.backend, knows.mode = bob.backend.snapshot(), mode
            for segment in branch(author(7), b"z", 2, common=1):
                cluster.checker.sign(segment)
                hears.backend.commit([PutSegment(segment, verify(segment))])
            cluster.connect(hears, knows)
            cluster.start()
            cluster.run(10.0)
            self.assertEqual(len(hears.heads.forks), 1, mode)

    def restored(self, ours: Mode, theirs: Mode) -> tuple[Cluster, SimNode, SimNode]:
        """A writer whose disk was put back, and a peer that has what it lost."""
        cluster, (ann, bob) = self.row(BOTH, BOTH)
        write(ann, 2)
        cluster.settle()
        backup = ann.backend.snapshot()
        write(ann, 3)
        cluster.settle()
        ann.crash(), bob.crash()
        ann.backend = backup
        cluster.checker.restored(ann)
        ann.mode, bob.mode = ours, theirs
        ann.start(), bob.start()
        cluster.run(10.0)
        probe(ann, bob)
        cluster.run(10.0)
        return cluster, ann, bob

    def test_entries_that_do_not_come_back(self) -> None:
        """Who lost own entries that cannot come is never in sync, and gives nothing of that log to who has more."""
        for modes in ((PUSH, BOTH), (BOTH, PULL), (PUSH, PULL)):
            _, ann, bob = self.restored(*modes)
            self.assertEqual((seq(ann, ann), told(ann, events.InSync)), (2, 0), modes)
            (session,) = ann.replica.core.sessions.values()
            self.assertEqual(ann.replica.catch_up.lost_of(session), [*ann.local], modes)
            self.assertFalse(ann.replica.catch_up.may_have(session, ann.local[0]))
            self.assertEqual(bob.heads.forks, set())

    def test_entries_that_come_back(self) -> None:
        """Who takes gets them."""
        for modes in ((PULL, BOTH), (PULL, PUSH), (BOTH, BOTH), (BOTH, PUSH)):
            _, ann, _ = self.restored(*modes)
            self.assertEqual((seq(ann, ann), told(ann, events.InSync)), (5, 1), modes)


class RandomTests(SynchronousTestCase):
    """Random networks of random modes, with faults."""

    def network(self, seed: int, kinds: tuple[str, ...]) -> None:
        """Run one to rest."""
        random = Random(seed)
        cluster = Cluster(seed)
        nodes = [cluster.add(random.randint(0, 2)) for _ in range(random.randint(3, 6))]
        edges = [(number, random.randrange(number)) for number in range(1, len(nodes))]
        edges += [(a, b) for a in range(len(nodes)) for b in range(a) if random.random() < 0.3]
        for caller, target in edges:
            cluster.connect(nodes[caller], nodes[target])
        for node in nodes:
            node.mode = random.choice((BOTH, PULL, PUSH))
        cluster.start()
        faults = Faults(cluster)
        for _ in range(random.randint(0, 3)):
            kind = random.choice(kinds)
            about = random.choice(edges) if kind in ON_LINKS else (random.randrange(len(nodes)),)
            faults.plan(Fault(kind, random.uniform(0.0, 10.0), about, random.uniform(0.5, 5.0)))
        for _ in range(20):
            node = random.choice(nodes)
            if node.up and node.local:
                node.append(random.choice(node.local), [random.randbytes(random.randrange(2000))])
            if random.random() < 0.3:
                probe(*(node for node in nodes if node.up))
            cluster.run(random.random())
        cluster.run(20.0)
        for node in nodes:
            if not node.up:
                node.start()
        cluster.settle()
        probe(*nodes)
        cluster.run(10.0)
        for node in nodes:
            by_id = {other.id: other for other in nodes}
            one_way = [by_id[peer] for peer in node.peers.values()]
            expected = {other.id for other in one_way if goes(node, other) or goes(other, node)}
            for session, peer in node.peers.items():
                in_sync = any(isinstance(n, events.InSync) and n.session == session for n in node.notices)
                self.assertEqual(in_sync, peer in expected)

    def test_networks(self) -> None:
        """Whatever breaks: what a mode forbids never crosses, and what may go arrives."""
        kinds = ("crash", "cut", "freeze", "full disk")
        self.assertLess({*kinds}, {*KINDS})
        for seed in range(int(os.environ.get("HYPOTHESIS_EXAMPLES", 24))):
            with tight_limits() if seed % 2 else nullcontext():
                try:
                    self.network(seed, kinds)
                except InvariantError as error:
                    raise InvariantError(f"seed {seed}: {error}") from error


class WatchTests(OneWayCase):
    """The invariant sees what it is there for."""

    def test_what_is_forbidden(self) -> None:
        """A node that gives in spite of its mode, or of the peer's, ends the simulation."""
        for modes in ((PULL, BOTH), (BOTH, PUSH)):
            cluster, (ann, _) = self.row(*modes)
            write(ann)
            cluster.run(1.0)
            for session in ann.replica.core.sessions.values():
                session.gives = True
            write(ann)
            self.assertRaises(InvariantError, cluster.run, 1.0)

    def test_who_watches(self) -> None:
        """Every simulation has it."""
        self.assertIsInstance(Cluster(1).checker._one_way, OneWay)
