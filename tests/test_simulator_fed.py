"""Ring 4: what honest nodes cost each other when others give them entries, the same or not, at whatever pace.

    HYPOTHESIS_EXAMPLES=2000 python -m twisted.trial tests.test_simulator_fed.RandomTests

draws other feeds each time, and so many.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossiplog import limits
from gossiplog.gossip import allowance
from gossiplog.gossip.messages import Have, HaveItem, Lazy, Message, Segment, Want, WantItem
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.quotas import Quotas
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.patching import patched
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.stranger import Stranger
from tests.test_holes import stripped
from tests.test_simulator_forks import HonestCase, author, branch

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 0))


class FedCase(HonestCase):
    """Two honest nodes, which time brings no points, and a member at each."""

    points = 150

    def pair(self, quality: Quality | None = None) -> list[SimNode]:
        """The two, connected and at rest."""
        nodes = [self.cluster.add(0), self.cluster.add(0)]
        self.cluster.connect(*nodes, quality)
        self.members = [Stranger(self.cluster, f"member{number}") for number in range(2)]
        self.cluster.start()
        for member, node in zip(self.members, nodes, strict=True):
            member.dial(node)
        self.cluster.run(1.0)
        return nodes

    def feed(self, said: list[list[Message]], at_once: int, seconds: float) -> None:
        """Each member says its part, some messages at once."""
        while any(said):
            for member, part in zip(self.members, said, strict=True):
                member.say(*part[:at_once])
                del part[:at_once]
            self.cluster.run(seconds)

    def logs(self, count: int, *sizes: int, first: int = 1) -> list[list[Segment]]:
        """So many authors with segments of so many entries."""
        made = [branch(author(first + number), b"", *sizes) for number in range(count)]
        self.known([segment for log in made for segment in log])
        return made


class PairTests(FedCase):
    """What a member can give both."""

    def test_the_same_to_both(self) -> None:
        """At the entries at which paths are explored, and as large as a segment may be."""
        for count, sizes in ((1000, (8,)), (200, (8, 56)), (100, (512,)), (60, (4096,)), (300, (7, 1, 1, 1))):
            with self.subTest(sizes=sizes):
                self.setUp()
                self.pair()
                made = [segment for log in self.logs(count, *sizes) for segment in log]
                self.feed([[*made], [*made]], 20, 0.02)
                self.settle()

    def test_large_branches(self) -> None:
        """One to each: what shows a fork costs nothing, however long it takes to look into."""
        self.pair()
        sides = [[branch(author(n), text, 4096)[0] for n in range(1, 60)] for text in (b"l", b"r")]
        for side in sides:
            self.known(side)
        self.feed([[*side] for side in sides], 5, 0.02)
        nodes = self.cluster.nodes
        self.settle()
        self.assertEqual([len(node.heads.forks) for node in nodes], [59, 59])

    def test_one_after_the_other(self) -> None:
        """What one node has for long, and what it announces only, comes to the other from elsewhere."""
        for large in (1, 4096):
            with self.subTest(large=large):
                self.setUp()
                self.pair()
                for turn in range(12):
                    some = [log[0] for log in self.logs(10, large, first=1 + 10 * turn)]
                    self.feed([[*some], []] if turn % 2 else [[], [*some]], 10, 0.01)
                    self.feed([[], [*some]] if turn % 2 else [[*some], []], 10, 1.0)
                self.settle()

    def test_payloads_that_nobody_has(self) -> None:
        """Both nodes ask each other for them, and in vain."""
        self.pair()
        rows = {log[0].author: stripped(log[0]) for log in self.logs(300, 1)}

        def answer(member: Stranger) -> Callable[[Want], None]:
            def wanted(want: Want) -> None:
                known = [item for item in want.items if item.author in rows]
                member.say(*[rows[item.author] for item in known if item.author and item.holes])
                none = [HaveItem(place, 0, item.author) for place, item in enumerate(known) if not item.holes]
                member.say(Have(tuple(none)))

            return wanted

        for member in self.members:
            member.answers[Want] = answer(member)
            member.say(Have(tuple(HaveItem(place, 1, name) for place, name in enumerate(rows))))
        self.cluster.run(600.0)
        for node in self.cluster.nodes:
            self.assertEqual(len(node.disk.logs.holed_authors()), len(rows))
        self.settle()

    def test_authors_that_write_too_fast(self) -> None:
        """They are refused and taken again, and both say so."""
        nodes = self.pair()
        for node in nodes:
            node.crash()
            node.quotas = Quotas(entries_per_second=1.0)
            node.start()
        self.cluster.run(5.0)
        for member, node in zip(self.members, nodes, strict=True):
            member.dial(node)
        self.cluster.run(1.0)
        logs = self.logs(40, *[12] * 6)
        for turn in range(6):
            some = [log[turn] for log in logs]
            self.feed([[*some], [*some]], 40, 20.0)
        self.settle()


class TreeTests(FedCase):
    """Members that may do as they like."""

    points = 100_000

    def test_members_that_push_and_stop(self) -> None:
        """Each makes its node need the other's pushes, and then gives both the same: the two change little."""
        nodes = self.pair()
        said: Counter[bool] = Counter()
        count_all = {
            (Plumtree, "stopped_pushing"): lambda tree, session: (
                said.update([session.peer in {node.id for node in nodes}]),
                stopped(tree, session),
            )
        }
        stopped = Plumtree.stopped_pushing
        logs = self.logs(8 * 60, 1)
        with patched(count_all):
            for turn in range(60):
                some = [log[0] for log in logs[8 * turn : 8 * turn + 8]]
                self.feed([[*some], [*some]], 8, 0.02)
                self.feed([[Lazy((None,))], [Lazy((None,))]], 1, 0.01)
                self.feed([[Want((WantItem(None, 1),))], [Want((WantItem(None, 1),))]], 1, 0.01)
        self.assertGreater(said[False], 100)
        self.assertLessEqual(said[True], 4)  # one from each side, and another one after some seconds
        self.settle()


class WaitingTests(FedCase):
    """If all that is said counted, and next to nothing were free."""

    points = 3

    def test_nobody_is_sent_away(self) -> None:
        """Nodes that wait for each other all the time hold the same in the end, in the session they began with."""
        few = {
            (limits, "ALLOWANCE_POINTS_PER_SECOND"): 10,
            (limits, "MAX_ECHO_POINTS"): 0,
            (allowance, "ECHO_POINTS"): 0,
        }
        with patched(few):
            nodes = self.pair()
            made = [segment for log in self.logs(80, 8, 56, 1000) for segment in log]
            left, right = (
                [branch(author(n), text, 500)[0] for n in range(500, 540)] for text in (b"l", b"r")
            )
            self.known([*left, *right])
            self.feed([[*made, *left], [*made, *right]], 20, 0.05)
            waits = 0
            while any(node.heads.clock.total() < 80 * 1064 or len(node.heads.forks) < 40 for node in nodes):
                self.cluster.run(0.05)
                waits += sum(bool(s.pauses) for node in nodes for s in node.replica.core.sessions.values())
                self.assertLess(self.cluster.world.now, 3000.0)
            self.assertGreater(waits, 10)
            self.cluster.run(60.0)
            self.settle()


class Feed(NamedTuple):
    """So many authors with such segments; which part of them each node is given, and after how many others."""

    authors: int
    sizes: list[int]
    parts: tuple[int, int]
    late: int


FEEDS = st.lists(
    st.builds(
        Feed,
        st.sampled_from((1, 5, 30)),
        st.lists(st.sampled_from((1, 1, 7, 8, 64, 1000)), min_size=1, max_size=4),
        st.tuples(st.integers(0, 4), st.integers(0, 4)),
        st.sampled_from((0, 0, 50, 500)),
    ),
    min_size=1,
    max_size=5,
)
PACES = st.lists(
    st.tuples(st.sampled_from((1, 5, 50)), st.sampled_from((0.0, 0.001, 0.05, 1.0))), min_size=1, max_size=4
)


class RandomTests(FedCase):
    """Whatever members give them, in whatever order and at whatever pace."""

    def play(
        self, seed: int, feeds: list[Feed], paces: list[tuple[int, float]], mixed: bool, slow: bool
    ) -> None:
        """Each node is given its part."""
        random = Random(seed)
        self.pair(Quality(bytes_per_second=20_000.0) if slow else None)
        said: list[list[Message]] = [[], []]
        later: list[list[Message]] = [[], []]
        first = 1
        for feed in feeds:
            logs = self.logs(feed.authors, *feed.sizes, first=first)
            first += feed.authors
            for place, part in enumerate(feed.parts):
                queue = (later if place and feed.late else said)[place]
                queue += [segment for log in logs for segment in log[:part]]
        for place in range(2):
            said[place] += later[place]
            if mixed:
                random.shuffle(said[place])
        for at_once, seconds in cycle(paces):
            if not any(said):
                break
            self.feed([part[:at_once] for part in said], at_once, seconds)
            said = [part[at_once:] for part in said]
        for member in self.members:
            member.hang_up()
        self.settle()

    def test_nobody_is_waited_for(self) -> None:
        """And both hold the same in the end."""

        @settings(
            max_examples=EXAMPLES or 25,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            seed=st.integers(0, 1 << 32),
            feeds=FEEDS,
            paces=PACES,
            mixed=st.booleans(),
            slow=st.booleans(),
        )
        def fed(**drawn: Any) -> None:
            self.setUp()
            self.play(**drawn)

        fed()
