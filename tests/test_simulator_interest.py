"""Ring 4: nodes that want different authors, change their mind, and are offered more than they take."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from functools import partial
from itertools import cycle, pairwise
from random import Random
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import BlockedAuthorError
from gossiplog.gossip import budget, core, events
from gossiplog.gossip.budget import Budget
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.messages import Message, RangeKind, Ranges
from gossiplog.gossip.quotas import Quota, Quotas
from gossiplog.gossip.session import Session
from gossiplog.log.segment import Segment
from gossiplog.testing.sim.cluster import Cluster, held
from gossiplog.testing.sim.faults import ON_LINKS, Fault, Faults
from gossiplog.testing.sim.loop import Carrier
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.simulator import tight_limits
from tests.test_simulator_scenarios import QUICK_DISK, SLOW_DISK, line, seq, write


def _note(got: Counter[str], node: SimNode, to: Carrier, sender: str, message: Message, size: int) -> None:
    """Count the entries that come to ``node``, taken or not."""
    if to is node and type(message) is Segment:
        got["all"] += message.count


def down(node: SimNode) -> list[events.Notice]:
    """Sessions that ended."""
    return [notice for notice in node.notices if isinstance(notice, events.PeerDown)]


def sessions(node: SimNode) -> list[Session]:
    """Those of a node."""
    return [*node.replica.core.sessions.values()]


class LittleMemory(Budget):
    """I have room for some thirty names of each session, until there is more."""

    each = 14_000

    @property
    def most_bytes(self) -> int:
        """Beside empty tables."""
        return self.common_bytes + self.each * len(self._accounts)


class ChangeTests(SynchronousTestCase):
    """A change of mind is in force at once, in both directions, and ends no session."""

    def test_block_while_connected(self) -> None:
        """Nothing more is taken, sent or passed on; others get the author elsewhere, and nobody asks again."""
        cluster = Cluster(1)
        ann, bob, cyn = line(cluster, 3)
        write(ann, 3)
        cluster.settle()
        bob.choose(Choices.block, ann.local[0])
        write(ann, 2)
        write(bob, 2)
        cluster.settle()
        self.assertEqual([seq(node, ann) for node in (ann, bob, cyn)], [5, 3, 3])
        self.assertEqual([seq(node, bob) for node in (ann, bob, cyn)], [2, 2, 2])
        before = cluster.figures.messages.copy()
        cluster.run(600.0)
        self.assertEqual(set(cluster.figures.messages - before), {"Ping", "Pong"})
        self.assertEqual(down(bob), [])
        bob.choose(Choices.unblock, ann.local[0])
        cluster.run(2.0)
        self.assertEqual([seq(node, ann) for node in (ann, bob, cyn)], [5, 5, 5])
        cluster.settle()

    def test_blocked_and_deleted(self) -> None:
        """What was held is gone, on disk too, and comes again when the block is taken back."""
        for restarts in (False, True):
            cluster = Cluster(2)
            ann, bob = line(cluster, 2)
            author = ann.local[0]
            write(ann, 4)
            cluster.settle()
            bob.choose(Choices.block, author, delete=True)
            write(ann)
            cluster.settle()
            self.assertEqual(seq(bob, ann), 0)
            self.assertEqual(bob.disk.logs.segments(author, 1, 1000), [])
            if restarts:
                bob.crash()
                bob.start()
                cluster.settle()
                self.assertEqual((seq(bob, ann), bob.choices.blocked), (0, {author}))
            bob.choose(Choices.unblock, author)
            write(ann)
            cluster.run(2.0)
            self.assertEqual(seq(bob, ann), 6)
            cluster.settle()

    def test_wanted_again_before_it_is_gone(self) -> None:
        """It is gone all the same, and comes again at once from a peer who believes that it is held."""
        for seed in range(6):
            cluster = Cluster(seed)
            ann, bob = cluster.add(), cluster.add(speed=SLOW_DISK)
            cluster.connect(ann, bob)
            ann.start()
            bob.start()
            write(ann, 4)
            cluster.settle()
            bob.choose(Choices.block, ann.local[0], delete=True)
            bob.choose(Choices.unblock, ann.local[0])
            cluster.run(25.0)
            self.assertEqual(seq(bob, ann), 4)
            cluster.settle()

    def test_what_a_peer_kept_while_it_blocked(self) -> None:
        """Comes from it at once when it wants the author again: it says what it holds before it says that."""
        for held_before in (0, 1):
            cluster = Cluster(held_before)
            ann, bob, cyn = line(cluster, 3)
            write(ann, held_before)
            cluster.settle()
            cluster.partition([ann, bob], [cyn])
            write(ann, 3)
            cluster.run(2.0)
            bob.choose(Choices.block, ann.local[0])
            cluster.heal()
            cluster.settle()
            self.assertEqual([seq(node, ann) for node in (bob, cyn)], [held_before + 3, held_before])
            bob.choose(Choices.unblock, ann.local[0])
            cluster.run(2.0)
            self.assertEqual(seq(cyn, ann), held_before + 3)

    def test_blocked_and_deleted_in_mid_transfer(self) -> None:
        """Segments accepted and not yet on disk do not come back after the deletion; nor does what is in flight."""
        for seed in range(12):
            cluster = Cluster(seed)
            ann, bob = cluster.add(2, speed=QUICK_DISK), cluster.add()
            cluster.connect(bob, ann, Quality(0.02, 0.0, 200_000.0))
            ann.start()
            for writer in range(2):
                write(ann, 60, 2000, writer)
                cluster.run(5.0)
            bob.start()
            cluster.run(0.3 + 0.05 * seed)
            self.assertGreater(bob.heads.accepted_seq(ann.local[0]) + bob.heads.accepted_seq(ann.local[1]), 0)
            bob.choose(Choices.block, ann.local[0], delete=True)
            bob.choose(Choices.unblock, ann.local[0])
            bob.choose(Choices.block, ann.local[1], delete=True)
            cluster.settle()
            self.assertEqual([seq(bob, ann, writer) for writer in range(2)], [60, 0])

    def test_unfollow_in_mid_stream(self) -> None:
        """The rest of a long log does not come, and the others are not held up."""
        cluster = Cluster(3)
        ann, bob = cluster.add(2, speed=QUICK_DISK), cluster.add(speed=QUICK_DISK)
        cluster.connect(bob, ann, Quality(0.02, 0.0, 100_000.0))
        ann.start()
        write(ann, 100, 5000)
        cluster.run(10.0)
        bob.start()
        cluster.run(2.0)
        got = seq(bob, ann)
        self.assertTrue(0 < got < 100, got)
        bob.choose(Choices.unfollow, ann.local[0])
        write(ann, 1, 40, 1)
        before = cluster.figures.bytes["Segment"]
        cluster.settle()
        self.assertLess(seq(bob, ann), 100)
        self.assertEqual(seq(bob, ann, 1), 1)
        in_flight = limits.OUTPUT_WINDOW_BYTES + limits.SOCKET_BUFFER_BYTES
        self.assertLess(cluster.figures.bytes["Segment"] - before, in_flight)
        bob.choose(Choices.follow, ann.local[0])
        cluster.settle()
        self.assertEqual(seq(bob, ann), 100)
        self.assertEqual(down(bob), [])

    def test_follow_in_mid_session(self) -> None:
        """An author that only a peer's peer knows of comes along the path as soon as all on it want it."""
        cluster = Cluster(4)
        ann, bob, cyn = (cluster.add() for _ in range(3))
        for left, right in pairwise((ann, bob, cyn)):
            cluster.connect(left, right)
        for node in (bob, cyn):
            node.only_followed()
        cluster.start()
        write(ann, 3)
        cluster.settle()
        self.assertEqual([seq(node, ann) for node in (bob, cyn)], [0, 0])
        cyn.choose(Choices.follow, ann.local[0])
        cluster.run(2.0)
        self.assertEqual([seq(node, ann) for node in (bob, cyn)], [0, 0])
        bob.choose(Choices.follow, ann.local[0])
        cluster.run(2.0)
        self.assertEqual([seq(node, ann) for node in (bob, cyn)], [3, 3])
        write(ann)
        cluster.run(1.0)
        self.assertEqual([seq(node, ann) for node in (bob, cyn)], [4, 4])
        cluster.settle()

    def test_follower_of_an_author_that_lost_entries(self) -> None:
        """Who follows again says what it holds: the author does not continue its log before that has come back."""
        cluster = Cluster(5)
        ann, bob = line(cluster, 2)
        write(ann, 2)
        cluster.settle()
        backup = ann.backend.snapshot()
        write(ann, 3)
        cluster.settle()
        bob.choose(Choices.unfollow, ann.local[0])
        ann.crash()
        ann.backend = backup
        cluster.checker.restored(ann)
        ann.start()
        cluster.settle()
        self.assertEqual(seq(ann, ann), 2)
        bob.choose(Choices.follow, ann.local[0])
        cluster.settle()
        self.assertEqual(seq(ann, ann), 5)
        write(ann)
        cluster.settle()
        self.assertEqual((seq(bob, ann), bob.heads.forks), (6, set()))

    def test_fork_proven_while_refused(self) -> None:
        """Who refuses an author hears of its fork when it wants it again, in either direction."""
        cluster = Cluster(6)
        seed = cluster.shared_seed()
        nodes = [cluster.add([seed]), cluster.add(), cluster.add([seed])]
        cluster.connect(nodes[0], nodes[1])
        cluster.start()
        author = nodes[0].local[0]
        nodes[1].choose(Choices.block, author)
        write(nodes[0], 1, 5)
        write(nodes[2], 1, 6)
        cluster.settle()
        cluster.connect(nodes[0], nodes[2])
        cluster.settle()
        self.assertEqual([len(node.heads.forks) for node in nodes], [1, 0, 1])
        nodes[1].choose(Choices.unblock, author)
        cluster.run(1.0)
        self.assertEqual([len(node.heads.forks) for node in nodes], [1, 1, 1])
        cluster.settle()


class SubsetTests(SynchronousTestCase):
    """Every node wants something else."""

    def subsets(self, seed: int, count: int) -> tuple[Cluster, list[SimNode]]:
        """A random network in which some want only a few authors and some all but a few."""
        cluster = Cluster(seed)
        random = Random(seed)
        nodes = [cluster.add(2) for _ in range(count)]
        for number in range(1, count):
            cluster.connect(nodes[number], nodes[random.randrange(number)])
        for _ in range(count // 2):
            one, other = random.sample(nodes, 2)
            cluster.connect(one, other)
        for node in nodes[: count // 2]:
            node.only_followed()
        cluster.start()
        authors = [author for node in nodes for author in node.local]
        for number, node in enumerate(nodes):
            some = [author for author in random.sample(authors, count) if author not in node.local]
            node.choose(Choices.follow if number < count // 2 else Choices.unfollow, *some)
        for node in nodes:
            for writer in range(2):
                write(node, random.randint(1, 4), 40, writer)
        return cluster, nodes

    def test_agreement_on_what_both_want(self) -> None:
        """Neighbours agree on the intersection, hold nothing they do not want, and fall silent."""
        for seed in range(8):
            cluster, nodes = self.subsets(seed, 8 + seed)
            cluster.settle()
            random = Random(seed)
            authors = [author for node in nodes for author in node.local]
            for _ in range(10):
                node = random.choice(nodes)
                others = [author for author in authors if author not in node.local]
                node.choose(random.choice((Choices.follow, Choices.unfollow)), random.choice(others))
                write(random.choice(nodes))
                cluster.run(random.random())
            cluster.settle()
            self.assertGreater(sum(len(held(a, b)) for a, b in pairwise(nodes)), 0)
            before = cluster.figures.messages.copy()
            cluster.run(600.0)
            self.assertEqual(set(cluster.figures.messages - before), {"Ping", "Pong"})

    def test_held_is_what_is_wanted(self) -> None:
        """Whatever was chosen before the first connection is all that is ever on disk."""
        cluster = Cluster(9)
        hub = cluster.add(6)
        hub.start()
        leaves = [cluster.add(0) for _ in range(8)]
        for number, leaf in enumerate(leaves):
            leaf.only_followed()
            cluster.connect(leaf, hub)
            leaf.start()
            leaf.choose(Choices.follow, hub.local[number % 6], hub.local[(number + 1) % 6])
        for writer in range(6):
            write(hub, 3, 40, writer)
        cluster.settle()
        for number, leaf in enumerate(leaves):
            wanted = {hub.local[number % 6], hub.local[(number + 1) % 6]}
            self.assertEqual({author for author, _ in leaf.heads.clock.items()}, wanted)

    def check_reconnect(self, cluster: Cluster, ann: SimNode, bob: SimNode) -> None:
        """Meeting again with nothing new costs at most 500 bytes beside the names, and no list."""
        cluster.settle()
        sent = cluster.figures.bytes.copy()
        counted = cluster.figures.messages.copy()
        said: list[Message] = []
        tell = cluster.checker.sent

        def note(node: Carrier, session: int, message: Message, size: int) -> None:
            said.append(message)
            tell(node, session, message, size)

        self.patch(cluster.checker, "sent", note)
        cluster.net.links[0].cut()
        cluster.run(5.0)
        spent = cluster.figures.bytes - sent
        counts = cluster.figures.messages - counted
        names = 34 * sum(len(node.replica.core.wanted.authors) for node in (ann, bob))
        self.assertEqual(counts["Hello"], 2)
        self.assertLessEqual(counts["Ranges"], 2)
        self.assertEqual(set(counts) - {"Hello", "Ranges", "Refuse", "Lazy"}, set())
        self.assertLessEqual(sum(spent.values()) - names, 500, spent)
        kinds = {part.kind for message in said if isinstance(message, Ranges) for part in message.ranges}
        self.assertLessEqual(kinds, {RangeKind.FINGERPRINT, RangeKind.SKIP})
        cluster.settle()

    def test_reconnecting_with_nothing_new(self) -> None:
        """However the two interests differ, and however much is held."""
        for number in range(5):
            cluster = Cluster(10)
            ann, bob = cluster.add(40), cluster.add(40)
            cluster.connect(ann, bob)
            if number >= 3:
                ann.only_followed()
            if number == 4:
                bob.only_followed()
            cluster.start()
            for writer in range(40):
                write(ann, 1, 40, writer)
                write(bob, 1, 40, writer)
            follow = Choices.follow if number >= 3 else Choices.block
            ann.choose(follow, *bob.local[10:30])
            if number:
                bob.choose(Choices.follow if number == 4 else Choices.block, *ann.local[: 10 * number])
            if number == 2:
                ann.choose(Choices.block, *(filler.to_bytes(32, "big") for filler in range(1100)))
            self.check_reconnect(cluster, ann, bob)


class RandomTests(SynchronousTestCase):
    """Choices, quotas and faults at random."""

    def run_seed(self, seed: int) -> None:
        """Whatever is chosen, refused, deleted and broken: neighbours agree on what both want when it is over."""
        cluster = Cluster(seed)
        random = Random(seed)
        nodes = [cluster.add(2) for _ in range(random.randint(3, 8))]
        edges = [(number, random.randrange(number)) for number in range(1, len(nodes))]
        edges += [tuple(random.sample(range(len(nodes)), 2)) for _ in range(len(nodes) // 2)]  # type: ignore[misc]
        for number, other in edges:
            cluster.connect(nodes[number], nodes[other])
        for node in nodes:
            if random.random() < 0.4:
                node.only_followed()
            node.quotas = random.choice(
                (
                    Quotas(),
                    Quotas(authors=random.randint(1, 6)),
                    Quotas(bytes_per_author=random.randint(400, 6000)),
                    Quotas(bytes=random.randint(3000, 60_000)),
                    Quotas(entries_per_second=random.choice((0.5, 1.0, 5.0))),
                )
            )
        cluster.start()
        faults = Faults(cluster)
        for kind in random.sample(("cut", "half-open", "crash", "vanish", "freeze", "slow", "full disk"), 2):
            hit = random.choice(edges) if kind in ON_LINKS else (random.randrange(len(nodes)),)
            faults.plan(Fault(kind, random.uniform(0.0, 20.0), hit, random.uniform(0.1, 20.0)))
        authors = [author for node in nodes for author in node.local]
        for _ in range(50):
            node = random.choice([node for node in nodes if node.up and not node.frozen])
            others = [author for author in authors if author not in node.local]
            some = random.sample(others, random.randint(1, 3))
            change = random.choice((Choices.follow, Choices.unfollow, Choices.block, Choices.unblock))
            try:
                node.choose(change, *some, delete=change is Choices.block and random.random() < 0.5)
            except BlockedAuthorError:
                pass
            write(node, random.randint(1, 3), random.randrange(500), random.randrange(2))
            cluster.run(random.random())
        cluster.settle()

    def test_seeds(self) -> None:
        """Half of them, and two that found something, with limits so low that all are reached."""
        for seed, is_tight in (*zip(range(22), cycle((True, False))), (36, True), (129, True)):
            with tight_limits() if is_tight else nullcontext():
                self.run_seed(seed)


class QuotaTests(SynchronousTestCase):
    """Peers offer more than a node takes."""

    def test_bytes_of_an_author(self) -> None:
        """The log stops at the quota; that is visible, costs nothing afterwards, and harms no other author."""
        cluster = Cluster(11)
        ann, bob = cluster.add(2), cluster.add()
        bob.quotas = Quotas(bytes_per_author=5700)
        cluster.connect(ann, bob)
        cluster.start()
        for _ in range(20):
            write(ann, 1, 900)
            write(ann, 1, 10, 1)
            cluster.run(0.5)
        cluster.settle()
        self.assertEqual((seq(bob, ann), seq(bob, ann, 1)), (5, 20))
        self.assertEqual(bob.replica.core.ledger.refused, {ann.local[0]: Quota.AUTHOR_BYTES})
        told = [notice for notice in bob.notices if isinstance(notice, events.QuotaExceeded)]
        self.assertEqual(told, [events.QuotaExceeded(ann.local[0], Quota.AUTHOR_BYTES)])
        self.assertEqual(down(bob), [])
        before = cluster.figures.messages.copy()
        write(ann, 5, 900)
        cluster.run(600.0)
        self.assertEqual(set(cluster.figures.messages - before), {"Ping", "Pong"})
        bob.crash()
        bob.start()
        cluster.settle()
        self.assertEqual(seq(bob, ann), 5)

    def test_number_of_authors(self) -> None:
        """Those that came first are kept; a deletion makes room for another."""
        cluster = Cluster(12)
        ann, bob = cluster.add(30), cluster.add(3)
        bob.quotas = Quotas(authors=10)
        cluster.connect(ann, bob)
        for node in (ann, bob):
            node.start()
            for writer in range(len(node.local)):
                write(node, 2, 40, writer)
        cluster.settle()
        held_there = [author for author in ann.local if bob.heads.clock.seq(author)]
        self.assertEqual(len(held_there), 10)
        self.assertEqual(len(bob.replica.core.ledger.refused), 20)
        bob.choose(Choices.block, held_there[0], delete=True)
        cluster.settle()
        held_now = [author for author in ann.local if bob.heads.clock.seq(author)]
        self.assertEqual(len(held_now), 10)
        self.assertNotIn(held_there[0], held_now)
        self.assertLessEqual(cluster.figures.messages["Refuse"], 2 * 20)

    def test_names_that_memory_has_no_room_for(self) -> None:
        """A third party fills one node's quota, and another one's memory: no session ends, and both agree at rest."""
        for seed, LittleMemory.each in enumerate((14_000, 9_000)):
            with (
                patch.object(core, "Budget", LittleMemory),
                patch.object(budget, "SESSION_BYTES", 0),
                patch.object(limits, "MIN_SHARE_BYTES", 0),
            ):
                cluster = Cluster(seed)
                ann, bob, mallory = cluster.add(2), cluster.add(2), cluster.add(60)
                cluster.connect(bob, ann)
                cluster.connect(ann, mallory)
                bob.quotas = Quotas(authors=5)
                cluster.start()
                for turn in range(3):
                    for writer in range(60):
                        write(mallory, 1, 40, writer)
                        if writer % 20 == 0:
                            write(bob, 1, 40, turn % 2)
                            write(ann, 1, 40, turn % 2)
                            cluster.run(0.3)
                cluster.run(600.0)
                before = cluster.figures.messages.copy()
                cluster.run(3600.0)
                said = cluster.figures.messages - before
                self.assertLessEqual(
                    said.total() - said["Ping"] - said["Pong"], 400
                )  # every ten minutes, all anew
                LittleMemory.each = 1 << 20
                cluster.settle()
                self.assertEqual([down(node) for node in (ann, bob)], [[], []])
                self.assertTrue(any(ann.replica.interest.of[s].forgot_refused for s in sessions(ann)), seed)
                self.assertEqual(
                    [seq(node, bob) + seq(node, bob, 1) for node in (ann, bob, mallory)], [9] * 3
                )
                self.assertEqual(seq(ann, mallory, 59), 3)

    def test_bytes_in_all(self) -> None:
        """The disk is filled up to the quota and no further, whoever writes; own appends go on."""
        cluster = Cluster(13)
        ann, bob, cyn = line(cluster, 3)
        bob.crash()
        bob.quotas = Quotas(bytes=20_000)
        bob.start()
        for _ in range(30):
            write(ann, 1, 900)
            write(cyn, 1, 900)
            cluster.run(0.5)
        cluster.settle()
        self.assertLessEqual(sum(bob.disk.logs.weighing.weights().values()), 20_000)
        self.assertEqual(set(bob.replica.core.ledger.refused.values()), {Quota.BYTES})
        write(bob, 3, 900)
        cluster.settle()
        self.assertEqual([seq(node, bob) for node in (ann, bob, cyn)], [3, 3, 3])

    def test_rate_of_an_author(self) -> None:
        """A burst is taken, then nothing until the author is within its rate; nothing is lost."""
        cluster = Cluster(14)
        ann, bob = cluster.add(2), cluster.add()
        bob.quotas = Quotas(entries_per_second=2.0)
        cluster.connect(ann, bob)
        cluster.start()
        cluster.run(1.0)
        for turn in range(100):
            write(ann)
            if turn % 10 == 0:
                write(ann, 1, 40, 1)
            cluster.run(0.05)
        cluster.run(1.0)
        got = seq(bob, ann)
        self.assertTrue(20 <= got < 40, got)
        self.assertEqual(seq(bob, ann, 1), 10)
        self.assertEqual(bob.replica.core.ledger.refused, {ann.local[0]: Quota.RATE})
        cluster.run(600.0)
        self.assertEqual(seq(bob, ann), 100)
        self.assertEqual(bob.replica.core.ledger.refused, {})
        self.assertTrue(any(isinstance(notice, events.QuotaLifted) for notice in bob.notices))
        cluster.settle()

    def test_over_its_rate_little_comes_in_vain(self) -> None:
        """Whoever writes ten times as fast as is taken, or has years to catch up with: what is sent is taken."""
        for peers, backlog, seed in ((1, 0, 1), (1, 2000, 2), (3, 0, 3), (3, 2000, 4)):
            cluster = Cluster(seed)
            others = [cluster.add() for _ in range(peers)]
            bob = cluster.add()
            bob.quotas = Quotas(entries_per_second=5.0)
            for other in others:
                cluster.connect(bob, other)
                other.start()
            for one, another in pairwise(others):
                cluster.connect(one, another)
            ann = others[0]
            write(ann, backlog)
            cluster.run(5.0)
            bob.start()
            got: Counter[str] = Counter()
            cluster.figures.received = partial(_note, got, bob)  # type: ignore[method-assign]
            for _ in range(600):
                write(ann)
                cluster.run(0.1)
            self.assertGreater(seq(bob, ann), 250)
            self.assertLess(got["all"], 1.15 * seq(bob, ann), (peers, backlog))
            self.assertLess(got["all"], 60 * 5 + 50 + max(250, backlog))

    def test_rate_rests_while_nobody_is_connected(self) -> None:
        """There are no timers then; the next session begins with what is in force."""
        cluster = Cluster(15)
        ann, bob = cluster.add(), cluster.add()
        bob.quotas = Quotas(entries_per_second=1.0)
        cluster.connect(ann, bob)
        cluster.start()
        cluster.run(1.0)
        write(ann, 60)
        for _ in range(10):
            cluster.run(0.2)
            write(ann)
        self.assertEqual(bob.replica.core.ledger.refused, {ann.local[0]: Quota.RATE})
        ann.crash()
        cluster.run(300.0)
        self.assertIsNone(bob.replica.deadline)
        ann.start()
        cluster.run(5.0)
        self.assertEqual(seq(bob, ann), seq(ann, ann))
        self.assertEqual(bob.replica.core.ledger.refused, {})
