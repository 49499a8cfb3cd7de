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
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.testing.sim.cluster import PATIENCE_SECONDS, QUIET_SECONDS, held
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.simulator import tight_limits
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import World
from tests.claims import Claims, Histories, check_caught_up, prefix
from tests.stepping import SteppedNode, Wire, drain, links

COUNT = 4
ALL = 1 << 30
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 0))

PAIRS = tuple(combinations(range(COUNT), 2))
NODES = st.integers(0, COUNT - 1)
STEPS = st.sampled_from((0, 5, 20, 60))
PICKS = st.integers(0, 23)


class GossipMachine(RuleBasedStateMachine):
    """Four nodes: three have an author each, and the first two have one in common."""

    rested = 0

    @initialize(
        seed=st.integers(0, 1 << 32),
        tight=st.booleans(),
        picky=st.booleans(),
        pairs=st.sets(st.sampled_from(PAIRS), min_size=2),
        entries=st.lists(st.integers(0, 6), min_size=COUNT, max_size=COUNT),
        steps=STEPS,
    )
    def begin(
        self,
        seed: int,
        tight: bool,
        picky: bool,
        pairs: set[tuple[int, int]],
        entries: list[int],
        steps: int,
    ) -> None:
        """Some have entries of their own; some are connected, one pair after the other."""
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
                backend.secrets.create_seed("own", self.random.randbytes(32))
            if number < 2:
                backend.secrets.create_seed("shared", common)
            self.nodes.append(SteppedNode(self.world, net, f"n{number}", backend, self.checker))
        if picky:
            self.nodes[-1].only_followed()
        for node in self.nodes:
            node.start()
        self.authors = sorted({author for node in self.nodes for author in node.local})
        self.appended = 0
        self.may_heal = False
        for number, count in enumerate(entries):
            for n in range(count):
                self.append(number, n, 1, 1)
        drain(self.nodes, self.random)
        for pair in sorted(pairs):
            self.connect(*pair)
            drain(self.nodes, self.random, steps)

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
        if a is not b and len(self.between(a, b)) < 2:
            Wire(self.world, a, b)

    @rule(number=NODES)
    def meet(self, number: int) -> None:
        """A node dials everybody that it is not connected with."""
        for other in range(COUNT):
            if not self.between(self.nodes[number], self.nodes[other]):
                self.connect(number, other)

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

    @rule(steps=STEPS)
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

    @rule(number=NODES, silent=st.booleans(), steps=STEPS)
    def restart(self, number: int, silent: bool, steps: int) -> None:
        """A node crashes, others go on, and it starts on what its disk holds."""
        node = self.nodes[number]
        node.crash(silent=silent)
        drain(self.nodes, self.random, steps)
        node.start()

    @rule(number=NODES, steps=STEPS)
    def fill(self, number: int, steps: int) -> None:
        """A disk is full for a while, amid news."""
        self.may_heal = True
        node = self.nodes[number]
        node.disk.full = True
        self.append_everywhere()
        drain(self.nodes, self.random, steps)
        node.disk.full = False

    @rule(number=NODES, fault=st.sampled_from((DiskFault.LOST, DiskFault.KEPT)), steps=STEPS)
    def fail(self, number: int, fault: DiskFault, steps: int) -> None:
        """The next sync fails, and the process gives up after a while."""
        self.may_heal = True
        self.nodes[number].disk.fails = fault
        self.append_everywhere()
        drain(self.nodes, self.random, steps)
        self.restart(number, False, steps)

    @rule(
        number=NODES,
        pick=PICKS,
        follows=st.booleans(),
        delete=st.booleans(),
        back=st.none() | STEPS,
    )
    def choose(self, number: int, pick: int, follows: bool, delete: bool, back: int | None) -> None:
        """Follow who is not followed and the reverse, or block (and delete) or unblock; and perhaps take it back."""
        node = self.nodes[number]
        others = [author for author in self.authors if author not in node.local]
        author = others[pick % len(others)]
        choices = node.choices
        if author in choices.blocked:
            change = Choices.unblock
        elif follows:
            change = Choices.unfollow if choices.wants(author) else Choices.follow
        else:
            change = Choices.block
        for wire in links(self.nodes):
            if node in (wire.ends[0].party, wire.ends[1].party):
                for end in wire.ends:
                    end.heard.exempt.add(author)
        delete = delete and change is Choices.block
        if delete:
            self.checker.deleted.add((node.name, author))
        node.choose(change, author, delete=delete)
        if back is not None:
            drain(self.nodes, self.random, back)
            self.choose(number, pick, follows, False, None)

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
        durable, shown = self.checker.durable, self.checker.shown
        for node in self.nodes:
            for author in self.authors:
                key = node.name, author
                seq = len(self.log(node, author))
                assert seq >= durable.get(key, 0), f"{node.name} lost what was durable"
                durable[key] = seq
                clock = node.heads.clock.seq(author)
                assert clock >= shown.get(key, 0), f"the clock of {node.name} went back"
                assert clock <= seq or key in self.checker.deleted, f"{node.name} shows what is not durable"
                shown[key] = clock

    @invariant()
    def who_is_caught_up_holds_what_it_was_told_of(self) -> None:
        for node in self.nodes:
            if node.replica.caught_up:
                for session in node.replica.core.open_sessions():
                    check_caught_up(node, session.number)

    # -- and in the end

    def teardown(self) -> None:
        if not hasattr(self, "appended"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.come_to_rest()
                self.agree()
                self.one_copy_per_link()
                type(self).rested += 1
        finally:
            self.limits.close()

    def come_to_rest(self) -> None:
        """Connect everyone with everyone until nothing but PING and PONG is left to say.

        What is left over is found by a PING, and only what a disk lost, or what was deleted, may be.
        """
        begun = connect_at = self.world.now
        healed = self.figures.healed
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
        assert self.may_heal or self.figures.healed == healed, "a difference was left for a PING to find"

    def agree(self) -> None:
        """Who wants the same holds the same, everything acknowledged, and a proof of every fork."""
        self.disks_hold_what_was_signed()
        self.nothing_goes_back()
        for node in self.nodes:
            assert node.replica.caught_up, f"{node.name} does not know that it is caught up"
            assert node.heads.clock == node.disk.logs.clock
            assert not node.heads.ahead
            assert node.disk.logs.verify().ok
            assert set(node.peers.values()) == {other.id for other in self.nodes} - {node.id}
        for a, b in combinations(self.nodes, 2):
            assert held(a, b) == held(b, a), f"{a.name} and {b.name} hold other things"
        for author in self.authors:
            wanting = [node for node in self.nodes if node.replica.core.wanted.wants(author)]
            logs = [self.log(node, author) for node in wanting]
            forked = any(not prefix(a, b) and not prefix(b, a) for a, b in combinations(logs, 2))
            for node in wanting:
                if forked:
                    assert author in node.heads.forks, f"{node.name} has no proof of a fork"
                elif author not in node.heads.forks:
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

    def append_everywhere(self) -> None:
        for number in range(COUNT):
            self.append(number, self.appended, 1, 1)

    def between(self, a: SteppedNode, b: SteppedNode) -> list[Wire]:
        return [wire for wire in links(self.nodes) if {a, b} == {wire.ends[0].party, wire.ends[1].party}]

    def log(self, node: SteppedNode, author: bytes) -> list[bytes]:
        """The ids on a disk."""
        segments = node.backend.segments(author, 1, ALL)
        return [entry_id for segment in segments for entry_id in chain_ids(segment)]


class ModelTests(SynchronousTestCase):
    """trial does not collect Hypothesis' own test cases."""

    def test_gossip(self) -> None:
        examples = EXAMPLES or 40
        GossipMachine.rested = 0
        try:
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
        except AssertionError as error:
            steps: list[str] = getattr(error, "__notes__", [])  # trial does not print them
            raise AssertionError("\n".join([str(error), *steps])) from error
        self.assertGreaterEqual(GossipMachine.rested, examples)
