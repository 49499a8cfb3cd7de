"""Ring 4: what honest nodes do to each other when a third party gave them what contradicts.

    HYPOTHESIS_EXAMPLES=2000 python -m twisted.trial tests.test_simulator_forks.FedTests

draws other networks each time, and so many.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from itertools import cycle, pairwise
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.messages import Fork, Have, HaveItem, Item, Message, Range, RangeKind, Ranges
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment, verify
from gossiplog.store.interface import PutFork, PutSegment
from gossiplog.testing.chain import Chain
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.patching import patched
from gossiplog.testing.sim.stranger import Stranger

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 0))


def branch(pair: Keypair, text: bytes, *sizes: int, common: int = 0) -> list[Segment]:
    """One log of an author: segments of so many entries; the first ``common`` entries are those of every branch."""
    chain = Chain(pair)
    for size in sizes:
        seqs = range(chain.head.seq, chain.head.seq + size)
        chain.extend([encode_body(seq, b"" if seq < common else text) for seq in seqs])
    return chain.segments


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

    def give(self, node: SimNode, segments: Sequence[Segment]) -> None:
        """The disk of ``node`` holds these."""
        self.known(segments)
        node.backend.commit([PutSegment(segment, verify(segment)) for segment in segments])

    def settle(self) -> None:
        """Until all is said; no honest node sent another away, or waited for it."""
        self.cluster.start()
        self.cluster.settle()
        honest = {node.id for node in self.cluster.nodes}
        for node in self.cluster.nodes:
            for session in node.replica.core.sessions.values():
                self.assertFalse(session.peer in honest and session.pauses, node.name)
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
        with patched({(limits, "ALLOWANCE_POINTS"): len(pairs) // 3}):  # who asks for a proof has a row read
            self.settle()
        for node in (a, b, late):
            self.assertEqual(len(node.heads.forks), len(pairs))
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
            self.assertEqual(sorted(node.heads.forks), sorted(expected))


class Kind(Enum):
    """What a node is given of an author."""

    NOTHING = "nothing"
    PROOF = "the proof that it forked"
    CLAIM = "that its log goes on"
    LIST = "what a list says of it"
    DIFFERENCES = "the same, as an answer"
    BOTH = "both branches"
    LEFT = "parts of one branch"
    RIGHT = "parts of the other"


class Feed(NamedTuple):
    """What one node is given: of a branch the segments up to one, and those from another on; in a claim, a seq."""

    kind: Kind
    until: int
    since: int
    seq: int


class Fate(NamedTuple):
    """What befalls so many authors: the segments of their branches, how much of these is common, who is given what."""

    times: int
    shape: list[int]
    common: int
    feeds: list[Feed]


FEEDS = st.builds(
    Feed,
    st.sampled_from((*Kind, Kind.LEFT, Kind.RIGHT, Kind.LEFT, Kind.RIGHT)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from((0, 1, 3, 9, 2**40)),
)
FATES = st.lists(
    st.builds(
        Fate,
        st.sampled_from((1, 10, 100)),
        st.lists(st.integers(1, 3), min_size=1, max_size=3),
        st.integers(0, 2),
        st.lists(FEEDS, min_size=3, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


class Pace(NamedTuple):
    """So many messages to each, then a pause."""

    messages: int
    seconds: float


PACES = st.builds(Pace, st.sampled_from((1, 5, 100)), st.sampled_from((0.0, 0.001, 0.1, 1.0)))


class FedTests(HonestCase):
    """A third party gives each of them what it likes to."""

    points = 120

    def said(self, fate: Fate, number: int, feed: Feed) -> list[Message]:
        """What one node is given of the author with this number, true or not."""
        pair = author(number)
        left, right = (branch(pair, text, *fate.shape, common=fate.common) for text in (b"left", b"right"))
        self.known([*left, *right])
        made = right if feed.kind is Kind.RIGHT else left
        item = Range(b"", RangeKind.LIST, items=(Item(pair.author, min(feed.seq, 9), bytes(8)),))
        if feed.kind is Kind.NOTHING:
            return []
        if feed.kind is Kind.PROOF:
            proof = build_proof(left[-1], right[0]) or build_proof(left[-1], right[-1])
            return [] if proof is None else [Fork(proof)]
        if feed.kind is Kind.CLAIM:
            return [Have((HaveItem(number, feed.seq, pair.author),))]
        if feed.kind is Kind.LIST:
            return [Ranges(2 * number, (item,))]
        if feed.kind is Kind.DIFFERENCES:
            return [Ranges(2 * number, (item._replace(kind=RangeKind.DIFFERENCES),))]
        if feed.kind is Kind.BOTH:
            return [*left, *right]
        return [*made[: feed.until], *made[feed.since :]]

    def play(
        self,
        seed: int,
        writers: list[int],
        absent: set[int],
        fates: list[Fate],
        mixed: bool,
        paces: list[Pace],
    ) -> None:
        """Each node is given its part of it by a member of its own, unless that is absent."""
        random = Random(seed)
        self.cluster = Cluster(seed, every=10)
        nodes = [self.cluster.add(count) for count in writers]
        for one, other in pairwise(nodes):
            self.cluster.connect(one, other)
        members = [Stranger(self.cluster, f"member{place}") for place in range(len(nodes))]
        self.cluster.start()
        authors = [fate for fate in fates for _ in range(fate.times)]
        said = [
            [m for number, fate in enumerate(authors, 1) for m in self.said(fate, number, fate.feeds[place])]
            for place in range(len(nodes))
        ]
        for place, (member, node) in enumerate(zip(members, nodes, strict=True)):
            if place not in absent:
                member.dial(node)
        self.cluster.run(paces[0].seconds)
        if mixed:
            for to in said:
                random.shuffle(to)
        for pace in cycle(paces):
            if not any(said):
                break
            for member, to in zip(members, said, strict=True):
                if member.connected:
                    member.say(*to[: pace.messages])
                del to[: pace.messages]
            self.cluster.run(pace.seconds)
        for member in members:
            member.hang_up()

    def test_honest_nodes_never_send_each_other_away(self) -> None:
        """Whatever it is; and they hold the same in the end, with a proof of each fork that both saw a side of."""

        @settings(
            max_examples=EXAMPLES or 20,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            seed=st.integers(0, 1 << 32),
            writers=st.lists(st.integers(0, 1), min_size=2, max_size=3),
            absent=st.sets(st.integers(0, 2), max_size=1),
            fates=FATES,
            mixed=st.booleans(),
            paces=st.lists(PACES, min_size=1, max_size=4),
        )
        def fed(**drawn: Any) -> None:
            self.play(**drawn)
            self.settle()

        fed()
