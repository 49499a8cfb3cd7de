"""Ring 4: what honest nodes do to each other when a third party gave them what contradicts."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, verify
from gossiplog.store.interface import PutFork, PutSegment
from gossiplog.testing.cluster import Cluster
from gossiplog.testing.node import Node


def branch(pair: Keypair, text: bytes, *sizes: int, common: int = 0) -> list[Segment]:
    """One log of an author: segments of so many entries; the first ``common`` entries are those of every branch."""
    head = Head(0, genesis_id(pair.author))
    made: list[Segment] = []
    seq = 0
    for size in sizes:
        bodies = [encode_body(seq + n, b"" if seq + n < common else text) for n in range(size)]
        found, head = build(pair, head, bodies)
        made += found
        seq += size
    return made


def author(number: int) -> Keypair:
    """One of many."""
    return Keypair(number.to_bytes(32, "big"))


class HonestCase(SynchronousTestCase):
    """Nodes that are all honest."""

    def setUp(self) -> None:
        """None yet."""
        self.cluster = Cluster(1, every=50)

    def give(self, node: Node, segments: Sequence[Segment]) -> None:
        """The disk of ``node`` holds these."""
        for segment in segments:
            self.cluster.checker.may_fork.add(segment.author)
            self.cluster.checker.sign(segment)
        node.backend.commit([PutSegment(segment, verify(segment)) for segment in segments])

    def settle(self) -> None:
        """Until all is said; nobody sent anybody away."""
        self.cluster.start()
        self.cluster.settle()
        for node in self.cluster.nodes:
            told = [n for n in node.notices if isinstance(n, events.PeerRejected | events.PeerDown)]
            self.assertEqual(
                [n for n in told if getattr(n, "code", None) != ByeCode.DUPLICATE], [], node.name
            )


class ManyForksTests(HonestCase):
    """Forks of many authors."""

    def test_one_branch_to_each(self) -> None:
        """Of one entry each: both nodes come to know all forks, and so does one that comes later."""
        a, b = self.cluster.add(0), self.cluster.add(0)
        pairs = [author(number) for number in range(1, 300)]
        for node, text in ((a, b"left"), (b, b"right")):
            self.give(node, [segment for pair in pairs for segment in branch(pair, text, 1)])
        self.cluster.connect(a, b)
        self.settle()
        late = self.cluster.add(0)
        self.cluster.connect(late, a)
        self.settle()
        for node in (a, b, late):
            self.assertEqual(len(node.holdings.forks), len(pairs))
            self.assertEqual(len(node.disk.logs.forks), len(pairs))

    def test_every_combination(self) -> None:
        """Of branches of any length, proofs without a log, logs without a proof, and nothing."""
        pair_of = iter(range(1, 1000))
        nodes = [self.cluster.add(0) for _ in range(3)]
        kinds: list[list[Segment] | str] = []
        expected = []
        for one in range(7):
            for two in range(7):
                for three in (0, 3, 6):
                    pair = author(next(pair_of))
                    left, right = (branch(pair, text, 2, 1, 2, common=1) for text in (b"left", b"right"))
                    proof = build_proof(left[0], right[0])
                    assert proof is not None
                    kinds = [left[:1], left, right[:1], right, [], "proof", "proof and log"]
                    chosen = [kinds[place] for place in (one, two, three)]
                    for node, kind in zip(nodes, chosen, strict=True):
                        if isinstance(kind, str):
                            node.backend.commit([PutFork(proof)])
                        if kind:
                            self.give(
                                node, [] if kind == "proof" else left if isinstance(kind, str) else kind
                            )
                    sides = {0: 1, 1: 1, 2: 2, 3: 2, 4: 0, 5: 3, 6: 3}
                    if {sides[one], sides[two], sides[three]} & {3} or {1, 2} <= {
                        sides[one],
                        sides[two],
                        sides[three],
                    }:
                        expected.append(pair.author)
        self.cluster.connect(nodes[0], nodes[1])
        self.cluster.connect(nodes[1], nodes[2])
        self.settle()
        for node in nodes:
            self.assertEqual(sorted(node.holdings.forks), sorted(expected))
