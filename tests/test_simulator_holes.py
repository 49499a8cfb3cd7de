"""Ring 4: payloads that somebody dropped come back wherever one honest path is left."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import events
from gossiplog.gossip.messages import Fill, Segment
from gossiplog.log.segment import drop_payloads
from gossiplog.store.interface import PutSegment
from gossiplog.testing.cluster import Cluster
from gossiplog.testing.conformance_rows import Chain
from gossiplog.testing.node import Node


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


def lacking(node: Node) -> int:
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

    def assertFilled(self, *nodes: Node) -> None:
        """No payload is missing, and nobody was sent away."""
        self.cluster.settle()
        for node in nodes or self.cluster.nodes:
            self.assertEqual(lacking(node), 0, node.name)
            self.assertEqual(node.holdings.holed, set())
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
        self.assertTrue(issubclass(Fill, tuple) and issubclass(Segment, tuple))
