"""Ring 5: gossip against a model, with every message and every commit in an order that Hypothesis chooses.

    HYPOTHESIS_EXAMPLES=2000 python -m twisted.trial tests.test_gossip_model

runs other examples each time, and so many.  A failure prints the steps that lead to it, as few as were found.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from itertools import combinations
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import events
from gossiplog.gossip.interest import Choices
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import chain_ids
from gossiplog.store.memory import Fault, MemoryBackend
from gossiplog.testing.cluster import PATIENCE_SECONDS, QUIET_SECONDS, held
from gossiplog.testing.figures import Figures
from gossiplog.testing.network import Net
from gossiplog.testing.simulator import tight_limits
from gossiplog.testing.world import World
from tests.claims import Claims, Histories, check_caught_up, prefix
from tests.stepping import SteppedNode, Wire, drain, links

COUNT = 4
ALL = 1 << 30
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 0))

PAIRS = tuple(combinations(range(COUNT), 2))
NODES = st.integers(0, COUNT - 1)
PICKS = st.integers(0, 23)


class GossipMachine(RuleBasedStateMachine):
    """Four nodes: three have an author each, and the first two have one in common."""

    rested = 0

    @initialize(
        seed=st.integers(0, 1 << 32),
        tight=st.booleans(),
        picky=st.booleans(),
        pairs=st.sets(st.sampled_from(PAIRS)),
        entries=st.lists(st.integers(0, 6), min_size=COUNT, max_size=COUNT),
    )
    def begin(
        self, seed: int, tight: bool, picky: bool, pairs: set[tuple[int, int]], entries: list[int]
    ) -> None:
        """Some have entries of their own, some are connected; what they are going to say is not said yet."""
        self.limits = ExitStack()
        if tight:
            self.limits.enter_context(tight_limits())
        self.random = Random(seed)
        self.world = World(seed)
        self.figures = Figures()
        self.checker = Claims(self.figures)
        net = Net(self.world)
        common = self.random.randbytes(32)
        self.checker.may_fork.add(Keypair(common).author)
        self.histories = Histories(self.checker.may_fork)
        self.nodes: list[SteppedNode] = []
        for number in range(COUNT):
            backend = MemoryBackend(f"n{number}")
            if number < COUNT - 1:
                backend.create_seed("own", self.random.randbytes(32))
            if number < 2:
                backend.create_seed("shared", common)
            self.nodes.append(SteppedNode(self.world, net, f"n{number}", backend, self.checker))
        if picky:
            self.nodes[-1].only_followed()
        for node in self.nodes:
            node.start()
        self.authors = sorted({author for node in self.nodes for author in node.local})
        self.deleted: set[tuple[str, bytes]] = set()
        self.durable: dict[tuple[str, bytes], int] = {}
        self.shown: dict[tuple[str, bytes], int] = {}
        self.appended = 0
        for number, count in enumerate(entries):
            for n in range(count):
                self.append(number, n, 1, 1)
        drain(self.nodes, self.random)
        for pair in sorted(pairs):
            self.connect(*pair)

    # -- what happens

    @rule(
        number=NODES,
        which=st.integers(0, 1),
        count=st.sampled_from((1, 1, 1, 3)),
        size=st.sampled_from((1, 900)),
    )
    def append(self, number: int, which: int, count: int, size: int) -> None:
        node = self.nodes[number]
        if node.local:
            payloads = [(self.appended + n).to_bytes(2, "big") + bytes(size) for n in range(count)]
            self.appended += count
            node.append(node.local[which % len(node.local)], payloads)

    @rule(caller=NODES, called=NODES)
    def connect(self, caller: int, called: int) -> None:
        """Perhaps once more, and in the other direction."""
        a, b = self.nodes[caller], self.nodes[called]
        if a is not b and a.up and b.up and len(self.between(a, b)) < 2:
            Wire(self.world, a, b)

    @rule(pick=PICKS, count=st.integers(1, 8))
    def deliver(self, pick: int, count: int) -> None:
        """Some frames of one direction of one connection."""
        for _ in range(count):
            ends = [end for wire in links(self.nodes) for end in wire.ends if end.can_take]
            if not ends:
                return
            ends[pick % len(ends)].take()

    @rule(number=NODES, count=st.integers(1, 4))
    def work(self, number: int, count: int) -> None:
        """A disk commits, reads, or has told what it did."""
        for _ in range(count):
            if self.nodes[number].busy_disk:
                self.nodes[number].steps.step()

    @rule(steps=st.sampled_from((5, 20, 60)))
    def mingle(self, steps: int) -> None:
        """So many of these things, anywhere."""
        drain(self.nodes, self.random, steps)

    @rule(number=NODES, seconds=st.sampled_from((0.06, 0.5, 6.0)))
    def calm(self, number: int, seconds: float) -> None:
        """Everything that is under way happens, once more after a while, and somebody appends meanwhile."""
        drain(self.nodes, self.random)
        self.append(number, number, 1, 1)
        self.tick(seconds)
        drain(self.nodes, self.random)

    @rule(pick=PICKS, hears=st.tuples(st.booleans(), st.booleans()))
    def cut(self, pick: int, hears: tuple[bool, bool]) -> None:
        """A connection breaks, in whatever is being said; a side may not notice."""
        if wires := links(self.nodes):
            wires[pick % len(wires)].cut(hears=hears)

    @rule(seconds=st.sampled_from((0.06, 0.5, 2.0, 6.0, 31.0)))
    def tick(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    @rule(number=NODES, silent=st.booleans())
    def crash_or_start(self, number: int, silent: bool) -> None:
        node = self.nodes[number]
        if node.up:
            node.crash(silent=silent)
            self.shown = {key: seq for key, seq in self.shown.items() if key[0] != node.name}
        else:
            node.start()

    @rule(number=NODES, fault=st.sampled_from((None, *Fault)))
    def disk(self, number: int, fault: Fault | None) -> None:
        """From now on commits fail in this way; a full disk may get room."""
        node = self.nodes[number]
        if node.up:
            node.disk.full = fault is Fault.FULL
            if fault in (Fault.LOST, Fault.KEPT):
                node.disk.fails = fault

    @rule(
        number=NODES,
        pick=PICKS,
        change=st.sampled_from((Choices.follow, Choices.unfollow, Choices.block, Choices.unblock)),
        delete=st.booleans(),
    )
    def choose(self, number: int, pick: int, change: object, delete: bool) -> None:
        """Follow, unfollow, block (and delete), unblock."""
        node, author = self.nodes[number], self.authors[pick % len(self.authors)]
        if (
            not node.up
            or author in node.local
            or (change is Choices.follow and author in node.choices.blocked)
        ):
            return
        for wire in links(self.nodes):
            if node in (wire.ends[0].party, wire.ends[1].party):
                for end in wire.ends:
                    end.heard.exempt.add(author)
        delete = delete and change is Choices.block
        if delete:
            self.deleted.add((node.name, author))
        node.choose(change, author, delete=delete)  # type: ignore[arg-type]

    @rule(number=NODES)
    def probe(self, number: int) -> None:
        """The application asks when both sides hold the same."""
        node = self.nodes[number]
        for session in tuple(node.peers):
            node.handle(events.Probe(session))

    # -- what holds after each step

    @invariant()
    def disks_hold_what_was_signed(self) -> None:
        for author in self.authors:
            for node in self.nodes:
                if author in node.local:
                    self.histories.signed(author, self.log(node, author))
            for node in self.nodes:
                self.histories.check(author, self.log(node, author))

    @invariant()
    def nothing_goes_back(self) -> None:
        for node in self.nodes:
            for author in self.authors:
                key = node.name, author
                seq = len(self.log(node, author))
                gone = not seq and key in self.deleted
                assert seq >= self.durable.get(key, 0) or gone, f"{node.name} lost what was durable"
                self.durable[key] = seq
                if node.up:
                    shown = node.holdings.clock.seq(author)
                    gone = not shown and key in self.deleted
                    assert shown >= self.shown.get(key, 0) or gone, f"the clock of {node.name} went back"
                    assert shown <= seq or gone or key in self.deleted, (
                        f"{node.name} shows what is not durable"
                    )
                    self.shown[key] = shown

    @invariant()
    def who_is_caught_up_holds_what_it_was_told_of(self) -> None:
        for node in self.nodes:
            if node.up and node.replica.caught_up:
                for session in node.replica.open_sessions():
                    check_caught_up(node, session.number)

    # -- and in the end

    def teardown(self) -> None:
        if not hasattr(self, "appended"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.end_faults()
                self.come_to_rest()
                self.agree()
                self.one_copy_per_link()
                type(self).rested += 1
        finally:
            self.limits.close()

    def end_faults(self) -> None:
        for node in self.nodes:
            if node.up and node.disk.fails is not None:
                node.crash()
            if node.up:
                node.disk.full = False
            else:
                node.start()
        self.shown.clear()

    def come_to_rest(self) -> None:
        """Connect everyone with everyone until nothing but PING and PONG is left to say."""
        begun = connect_at = self.world.now
        while self.world.now - max(self.figures.last_busy, begun) < QUIET_SECONDS:
            assert self.world.now < begun + PATIENCE_SECONDS, "it does not come to rest"
            if self.world.now >= connect_at:
                connect_at = self.world.now + 1.0
                for a, b in combinations(self.nodes, 2):
                    if not any(
                        end.party is a and not end.gone and not end.other.gone
                        for w in self.between(a, b)
                        for end in w.ends
                    ):
                        Wire(self.world, *self.random.sample((a, b), 2))
            drain(self.nodes, self.random)
            timers = self.world._queue
            self.world.run(min(connect_at, timers[0][0]) if timers else connect_at)

    def agree(self) -> None:
        """Who wants the same holds the same, everything acknowledged, and a proof of every fork."""
        self.disks_hold_what_was_signed()
        self.nothing_goes_back()
        for node in self.nodes:
            assert node.replica.caught_up, f"{node.name} does not know that it is caught up"
            assert node.holdings.clock == node.disk.logs.clock
            assert not node.holdings.ahead
            assert node.disk.logs.verify().ok
            assert set(node.peers.values()) == {other.id for other in self.nodes} - {node.id}
        for a, b in combinations(self.nodes, 2):
            assert held(a, b) == held(b, a), f"{a.name} and {b.name} hold other things"
        for author in self.authors:
            wanting = [node for node in self.nodes if node.replica.wanted.wants(author)]
            logs = [self.log(node, author) for node in wanting]
            forked = any(not prefix(a, b) and not prefix(b, a) for a, b in combinations(logs, 2))
            for node in wanting:
                if forked:
                    assert author in node.holdings.forks, f"{node.name} has no proof of a fork"
                elif author not in node.holdings.forks:
                    assert len(self.log(node, author)) >= self.checker.acked.get(author, 0)
                else:
                    assert len(self.histories.branches[author]) > 1, "a fork that is none"

    def one_copy_per_link(self) -> None:
        """News at rest passes each connection at most once each way."""
        ends = [end for wire in links(self.nodes) for end in wire.ends]
        for end in ends:
            end.heard.copies.clear()
        for node in self.nodes:
            for author in node.local:
                node.append(author, [b"at rest"])
                drain(self.nodes, self.random)
        self.come_to_rest()
        self.agree()
        for end in ends:
            assert not end.gone
            assert max(end.heard.copies.values(), default=0) <= 1, "the same came twice on one connection"

    # --

    def between(self, a: SteppedNode, b: SteppedNode) -> list[Wire]:
        return [wire for wire in links(self.nodes) if {a, b} == {wire.ends[0].party, wire.ends[1].party}]

    def log(self, node: SteppedNode, author: bytes) -> list[bytes]:
        """The ids on a disk."""
        segments = node.backend.segments(author, 1, ALL)
        return [entry_id for segment in segments for entry_id in chain_ids(segment)]


class ModelTests(SynchronousTestCase):
    """trial does not collect Hypothesis' own test cases."""

    def test_gossip(self) -> None:
        examples = EXAMPLES or 60
        GossipMachine.rested = 0
        run_state_machine_as_test(
            GossipMachine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=60,
                derandomize=not EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )
        self.assertGreaterEqual(GossipMachine.rested, examples)
