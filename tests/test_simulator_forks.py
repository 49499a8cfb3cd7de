"""Ring 4: what honest nodes do to each other when a third party gave them what contradicts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.messages import Fork, Have, HaveItem, Item, Message, Range, RangeKind, Ranges
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, verify
from gossiplog.store.interface import PutFork, PutSegment
from gossiplog.testing.cluster import Cluster
from gossiplog.testing.node import Node
from gossiplog.testing.patching import patched
from gossiplog.testing.stranger import Stranger

SEEDS = int(os.environ.get("GOSSIPLOG_SEEDS", 12))
"""Networks that are drawn."""


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

    points = 40

    def setUp(self) -> None:
        """They run with an allowance of a few points."""
        self.cluster = Cluster(1, every=50)
        context = patched(
            {(limits, "ALLOWANCE_POINTS"): self.points, (limits, "ALLOWANCE_POINTS_PER_SECOND"): 0}
        )
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def known(self, segments: Sequence[Segment]) -> None:
        """Somebody signed these."""
        for segment in segments:
            self.cluster.checker.may_fork.add(segment.author)
            self.cluster.checker.sign(segment)

    def give(self, node: Node, segments: Sequence[Segment]) -> None:
        """The disk of ``node`` holds these."""
        self.known(segments)
        node.backend.commit([PutSegment(segment, verify(segment)) for segment in segments])

    def settle(self) -> None:
        """Until all is said; no honest node sent another away."""
        self.cluster.start()
        self.cluster.settle()
        honest = {node.id for node in self.cluster.nodes}
        for node in self.cluster.nodes:
            told = [
                n
                for n in node.notices
                if isinstance(n, events.PeerRejected | events.PeerDown) and n.peer in honest
            ]
            self.assertEqual(
                [n for n in told if getattr(n, "code", None) != ByeCode.DUPLICATE], [], node.name
            )


class ManyForksTests(HonestCase):
    """Forks of more authors than the allowance has points."""

    def test_one_branch_to_each(self) -> None:
        """Of one entry each: both nodes come to know all forks, and so does one that comes later."""
        a, b = self.cluster.add(0), self.cluster.add(0)
        pairs = [author(number) for number in range(1, 1000)]
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


class FedTests(HonestCase):
    """A third party gives each of them what it likes to."""

    points = 120

    def drawn(self, seed: int) -> None:
        """Some authors, each with two branches; what of them, true or not, is said to whom is drawn."""
        random = Random(seed)
        self.cluster = Cluster(seed, every=10)
        nodes = [self.cluster.add(random.randrange(2)) for _ in range(random.choice((2, 2, 3)))]
        for one, other in pairwise(nodes):
            self.cluster.connect(one, other)
        members = [Stranger(self.cluster, f"member{number}") for number in range(len(nodes))]
        self.cluster.start()
        said: list[list[Message]] = [[] for _ in nodes]
        count = random.choice((3, 30, 300))
        shape = [random.randint(1, 3) for _ in range(random.randint(1, 3))]
        for number in range(1, count):
            pair = author(number)
            common = random.randrange(3)
            branches = [branch(pair, text, *shape, common=common) for text in (b"left", b"right")]
            for made in branches:
                self.known(made)
            proof = build_proof(branches[0][-1], branches[1][0]) or build_proof(
                branches[0][-1], branches[1][-1]
            )
            for to in said:
                made = random.choice(branches)
                kind = random.randrange(8)
                if kind == 0 and proof is not None:
                    to.append(Fork(proof))
                elif kind == 1:
                    to.append(Have((HaveItem(number, random.choice((1, 3, 2**40)), pair.author),)))
                elif kind == 2:
                    to += [*branches[0], *branches[1]]
                elif kind == 3:
                    items = (Item(pair.author, random.choice((0, 1, 9)), bytes(8)),)
                    kinds = random.choice((RangeKind.LIST, RangeKind.DIFFERENCES))
                    to.append(Ranges(2 * number, (Range(b"", kinds, items=items),)))
                else:
                    to += made[: random.randint(0, len(made))] + made[random.randint(0, len(made)) :]
        for member, node in zip(members, nodes, strict=True):
            if random.random() < 0.9:
                member.dial(node)
        self.cluster.run(random.choice((0.0, 0.01, 1.0)))
        for to in said:
            random.shuffle(to) if random.random() < 0.2 else None
        while any(said):
            for member, to in zip(members, said, strict=True):
                at_once = random.choice((1, 5, 100))
                if member.connected:
                    member.say(*to[:at_once])
                del to[:at_once]
            self.cluster.run(random.choice((0.0, 0.001, 0.1)))
        for member in members:
            if member.connected:
                member.hang_up()

    def test_honest_nodes_never_send_each_other_away(self) -> None:
        """Whatever it is; and they hold the same in the end, with a proof of each fork that both saw a side of."""
        for seed in range(SEEDS):
            try:
                self.drawn(seed)
                self.settle()
            except BaseException:
                print(f"seed {seed}")
                raise
