"""Ring 4: payloads that somebody dropped come back wherever one honest path is left."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import events
from gossiplog.log.segment import drop_payloads, verify
from gossiplog.store.interface import PutSegment
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.chain import Chain
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.strippers import Forgetter, Stripper


def written(cluster: Cluster, number: int, rows: Iterable[int]) -> list[PutSegment]:
    """A log of somebody who is not there, in rows of so many entries."""
    chain = Chain(number)
    puts = [chain.put(*[b"%d: entry %d" % (number, place) * 3 for place in range(count)]) for count in rows]
    for put in puts:
        cluster.checker.sign(put.segment)
    return puts


def without(put: PutSegment, seqs: Iterable[int]) -> PutSegment:
    """The same row without these payloads."""
    return PutSegment(drop_payloads(put.segment, seqs), put.head)


def lacking(node: SimNode) -> int:
    """Payloads that are not on a node's disk."""
    return sum(node.disk.logs.holes().values())


class PoisonedStoreTests(SynchronousTestCase):
    """Stores that hold entries without their payloads already."""

    def setUp(self) -> None:
        """Three nodes in a row."""
        self.cluster = Cluster(7)
        self.ann, self.bob, self.cat = (self.cluster.add() for _ in range(3))
        self.cluster.connect(self.ann, self.bob)
        self.cluster.connect(self.bob, self.cat)

    def assertFilled(self, *nodes: SimNode) -> None:
        """No payload is missing, and nobody was sent away."""
        self.cluster.settle()
        for node in nodes or self.cluster.nodes:
            self.assertEqual(lacking(node), 0, node.name)
            self.assertEqual(node.heads.holed, set())
            self.assertFalse([n for n in node.notices if isinstance(n, events.PeerRejected)])

    def test_a_peer_has_them(self) -> None:
        """They come with the first reconcile, are told, and go on to who lacks them behind us."""
        whole = written(self.cluster, 1, [5, 1, 90])
        self.ann.backend.commit(whole)
        for node in (self.bob, self.cat):
            node.backend.commit([without(put, range(put.segment.first, put.head.seq + 1)) for put in whole])
        self.cluster.start()
        self.assertFilled()
        self.assertEqual(self.cat.backend.segments(whole[0].segment.author, 1, 1 << 20)[0], whole[0].segment)
        told = [notice for notice in self.cat.notices if isinstance(notice, events.PayloadsFilled)]
        self.assertEqual({notice.author for notice in told}, {whole[0].segment.author})
        self.assertEqual((min(t.first for t in told), max(t.last for t in told)), (1, 96))

    def test_everybody_has_something(self) -> None:
        """No node has all of a row; together they have."""
        draw = Random(3)
        for number in range(1, 6):
            whole = written(self.cluster, number, [draw.randint(1, 30) for _ in range(8)])
            parts = [set() for _ in range(3)]  # type: ignore[var-annotated]
            for seq in range(1, whole[-1].head.seq + 1):
                for part in draw.sample(parts, 2):
                    part.add(seq)
            for node, part in zip(self.cluster.nodes, parts, strict=True):
                node.backend.commit([without(put, part) for put in whole])
        self.cluster.start()
        self.assertFilled()

    def test_rows_that_are_longer_with_their_payloads(self) -> None:
        """Who joined more hashes than bodies fit gets them all the same."""
        for number, entries in ((1, [40] * 40), (2, [1] * 600)):
            chain = Chain(number)
            whole = [chain.put(*[bytes([place]) * 1000 for place in range(count)]) for count in entries]
            for put in whole:
                self.cluster.checker.sign(put.segment)
            bare = b"".join(drop_payloads(put.segment, range(1, put.head.seq + 1)).bodies for put in whole)
            count = whole[-1].head.seq
            joined = whole[0].segment._replace(
                count=count, bodies=bare, signature=whole[-1].segment.signature
            )
            self.ann.backend.commit(whole)
            self.bob.backend.commit([PutSegment(joined, whole[-1].head)])
        self.cluster.start()
        self.assertFilled()

    def test_nobody_has_them(self) -> None:
        """Everybody is asked once, and then there is rest."""
        whole = written(self.cluster, 1, [3, 3])
        for node in self.cluster.nodes:
            node.backend.commit([without(put, [1, 2, 5]) for put in whole])
        self.cluster.start()
        self.cluster.settle()
        self.assertEqual([lacking(node) for node in self.cluster.nodes], [3, 3, 3])
        self.assertLess(self.cluster.figures.messages["fill"], 9)


class StripperTests(SynchronousTestCase):
    """Members that relay everything but the payloads of others, any share of them."""

    def network(self, seed: int, kind: type[Stripper], honest: int, strippers: int) -> Cluster:
        """A ring of honest nodes, of which one link is missing, and strippers that are connected to most of them."""
        cluster = Cluster(seed)
        draw = Random(seed)
        self.honest = [cluster.add() for _ in range(honest)]
        self.strippers = [cluster.add(kind=kind) for _ in range(strippers)]
        cluster.checker.dishonest.update(node.name for node in self.strippers)
        for one, other in pairwise(self.honest):
            cluster.connect(one, other)
        for place, stripper in enumerate(self.strippers):
            for node in self.honest:
                if draw.random() < 0.7:
                    cluster.connect(*draw.sample([node, stripper], 2))
            for other in self.strippers[:place]:
                cluster.connect(stripper, other)
        for number in range(40):
            node = draw.choice(cluster.nodes)
            payloads = [
                draw.randbytes(draw.choice((0, 10, 40, 900))) for _ in range(draw.choice((1, 1, 5, 60)))
            ]
            cluster.world.at(
                draw.uniform(0.0, 20.0) if number else 0.0,
                lambda node=node, payloads=payloads: node.up and node.append(node.local[0], payloads),  # type: ignore[misc]
            )
        for node in cluster.nodes:
            cluster.world.at(draw.choice((0.0, 0.0, draw.uniform(0.0, 30.0))), node.start)
        return cluster

    def whole(self) -> bool:
        """Whether every honest node has everything that honest nodes wrote, with its payloads."""
        heads = {node.local[0]: node.heads.clock.seq(node.local[0]) for node in self.honest if node.up}
        return all(
            node.up
            and not heads.keys() & node.disk.logs.holes().keys()
            and all(node.heads.clock.seq(author) == seq for author, seq in heads.items())
            for node in self.honest
        )

    def assertArrives(self, cluster: Cluster, seconds: float = 1000.0) -> None:
        """Every payload, at every honest node, of which none sends another one away."""
        cluster.run(31.0)
        until = cluster.world.now + seconds
        while not self.whole() and cluster.world.now < until:
            cluster.run(5.0)
        self.assertTrue(self.whole(), [(node.name, lacking(node)) for node in self.honest])
        ids = {node.id for node in self.honest}
        for node in self.honest:
            rejected = [n for n in node.notices if isinstance(n, events.PeerRejected)]
            self.assertEqual([n for n in rejected if n.peer in ids], [], node.name)

    def test_openly(self) -> None:
        """Whoever strips what nobody asked to be stripped is sent away, and what it has comes from others."""
        for seed, honest, strippers in ((1, 3, 1), (2, 2, 4), (3, 5, 3)):
            self.assertArrives(self.network(seed, Stripper, honest, strippers))

    def test_by_the_rules(self) -> None:
        """Whoever never has payloads is asked for entries without when nobody else has them; they come later."""
        for seed, honest, strippers in ((4, 3, 1), (5, 2, 4), (6, 5, 3), (7, 4, 8)):
            cluster = self.network(seed, Forgetter, honest, strippers)
            self.assertArrives(cluster)
            cluster.settle()
            self.assertTrue(self.whole())

    def test_an_honest_holder_that_is_made_late(self) -> None:
        """Somebody keeps its disk busy, and offers hashes meanwhile: the payloads come as soon as it gets to it."""
        late, taken = Speed(stall=8.0, stall_chance=1.0), 0
        for seed in range(4):
            cluster = Cluster(seed)
            ann, cat = cluster.add(speed=late), cluster.add()
            mallory = cluster.add(kind=Forgetter)
            cluster.checker.dishonest.add(mallory.name)
            self.honest = [ann, cat]
            cluster.connect(mallory, ann)
            ann.start()
            mallory.start()
            for number in range(5):
                ann.append(ann.local[0], [bytes([number]) * 50] * 4)
            cluster.run(60.0)
            cluster.connect(cat, mallory)
            cluster.connect(cat, ann)
            cat.start()
            for _ in range(60):
                cluster.run(1.0)
                taken += lacking(cat) > 0
            self.assertArrives(cluster)
            self.assertFalse([n for n in cat.notices if isinstance(n, events.PeerRejected)])
        self.assertGreater(taken, 0)  # it came to that

    def alone(self, kind: type[Stripper]) -> tuple[Cluster, SimNode, SimNode, SimNode]:
        """Ann wrote, Mallory relays to Bob; Cat has everything and is not there yet."""
        cluster = Cluster(9)
        ann, bob, cat = cluster.add(), cluster.add(), cluster.add()
        mallory = cluster.add(kind=kind)
        cluster.checker.dishonest.add(mallory.name)
        cluster.connect(mallory, ann)
        cluster.connect(mallory, bob)
        cluster.connect(cat, ann)
        cluster.start()
        for number in range(30):
            ann.append(ann.local[0], [b"%d: a payload" % number] * 20)
            cluster.run(1.0)
        cluster.run(100.0)
        return cluster, ann, bob, cat

    def test_a_stripper_alone(self) -> None:
        """What nobody else has comes without its payloads, and with them as soon as somebody honest comes."""
        cluster, ann, bob, cat = self.alone(Forgetter)
        self.assertEqual(bob.heads.clock.seq(ann.local[0]), 600)
        self.assertGreater(lacking(bob), 300)
        bob.crash()
        bob.start()
        cluster.connect(bob, cat)
        cluster.settle()
        self.assertEqual([lacking(node) for node in (ann, bob, cat)], [0, 0, 0])
        told = [notice for notice in bob.notices if isinstance(notice, events.PayloadsFilled)]
        self.assertEqual(max(notice.last for notice in told), 600)

    def test_a_restored_backup(self) -> None:
        """Own entries come back whole or not at all, and appends go on behind them."""
        for kind in (Stripper, Forgetter):
            cluster, ann, _, cat = self.alone(kind)
            cat.crash()
            ann.crash()
            cluster.run(10.0)
            author = ann.local[0]
            backup = MemoryBackend(ann.name)
            backup.secrets.create_seed("writer0", ann.backend.secrets.seed("writer0") or b"")
            [first] = ann.backend.segments(author, 1, 1)
            backup.commit([PutSegment(first, verify(first))])
            ann.backend = backup
            cluster.checker.restored(ann)
            ann.start()
            cluster.run(100.0)
            self.assertEqual(lacking(ann), 0)
            self.assertLess(ann.heads.clock.seq(author), 600)
            cat.start()
            cluster.run(100.0)
            self.assertEqual((ann.heads.clock.seq(author), lacking(ann)), (600, 0))
            self.assertFalse(ann.heads.forks)
