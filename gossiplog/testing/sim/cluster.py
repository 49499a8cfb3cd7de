"""Several nodes, the connections between them, and the question whether they came to rest.

Responsible for: putting together world, net, nodes and checker; partitions; running until nothing is left to say; what
must hold then (``docs/security.rst``, "What always holds", 5).
Must not know: which faults a scenario has in store.
Invariant: everything in a cluster follows from its seed and what is called on it.

>>> cluster = Cluster(seed=1)
>>> ann, bob = cluster.add(), cluster.add()
>>> dialer = cluster.connect(ann, bob)
>>> cluster.start()
>>> ann.append(ann.local[0], [b"hello"])
>>> seconds = cluster.settle()
>>> bob.heads.clock.seq(ann.local[0]), cluster.figures.copies
(1, 1.0)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gossiplog.gossip.modes import Mode
from gossiplog.log.fingerprint import FORKED_SEQ
from gossiplog.log.keys import Keypair
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.sim.dialer import SimDialer
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.invariants import InvariantError, Invariants
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import Party, Quality
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import World

QUIET_SECONDS = 130.0
"""Nothing but PING and PONG for so long is rest: two PINGs, and a reconcile they would have started, fit in."""

PATIENCE_SECONDS = 4000.0
"""Virtual time in which a cluster must come to rest once faults stopped; back-off and stalls fit in many times."""


class Cluster:
    """I am a simulated network of nodes.  ``every``: see :class:`~gossiplog.testing.sim.invariants.Invariants`."""

    def __init__(self, seed: int, *, every: int = 1) -> None:
        self.world = World(seed)
        self.random = self.world.child()
        self.net = Net(self.world)
        self.figures = Figures()
        self.checker = Invariants(self.figures, every)
        self.nodes: list[SimNode] = []

    # -- building

    def add(
        self, writers: int | Sequence[bytes] = 1, *, speed: Speed | None = None, kind: type[SimNode] = SimNode
    ) -> SimNode:
        """A node with so many local writers, or with writers of these seeds; it runs after :meth:`start`."""
        name = f"n{len(self.nodes)}"
        backend = MemoryBackend(name)
        seeds = [self.random.randbytes(32) for _ in range(writers)] if isinstance(writers, int) else writers
        for number, seed in enumerate(seeds):
            backend.secrets.create_seed(f"writer{number}", seed)
        node = kind(self.world, self.net, name, backend, self.checker, speed)
        self.nodes.append(node)
        return node

    def connect(self, caller: SimNode, target: Party, quality: Quality | None = None) -> SimDialer:
        """Let ``caller`` keep a connection to ``target``."""
        if quality is not None:
            self.net.qualities[frozenset((caller.name, target.name))] = quality
        dialer = SimDialer(
            self.net, caller, target, self.world.child(), lambda peer: peer in caller.peers.values()
        )
        caller.dialers.append(dialer)
        if caller.up:
            dialer.begin()
        return dialer

    def start(self) -> None:
        """Start every node that does not run."""
        for node in self.nodes:
            if not node.up:
                node.start()

    def shared_seed(self) -> bytes:
        """The seed of a writer that more than one node is going to have: an author that will fork."""
        seed = self.random.randbytes(32)
        self.checker.may_fork.add(Keypair(seed).author)
        return seed

    # -- time passes

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now + seconds)

    def partition(self, *groups: Collection[Party], silent: bool = False) -> None:
        """Parties of different groups cannot reach each other; who is in none reaches everyone."""
        self.net.partition(*groups, silent=silent)

    def heal(self) -> None:
        """Everyone reaches everyone."""
        self.net.heal()

    def settle(self) -> float:
        """Run until nothing but PING and PONG is sent, check agreement; returns when the last other message was."""
        deadline = self.world.now + PATIENCE_SECONDS
        begun = self.world.now
        while self.world.now - max(self.figures.last_busy, begun) < QUIET_SECONDS:
            if self.world.now > deadline:
                raise InvariantError(f"still busy after {PATIENCE_SECONDS} seconds without faults")
            self.run(10.0)
        self.check_agreement()
        return self.figures.last_busy

    # -- what must hold at rest

    def check_agreement(self) -> None:
        """Nodes that are connected hold the same, on disks that verify, with everything that was acknowledged."""
        running = [node for node in self.nodes if node.up]
        for group in components(running):
            first = group[0]
            for node in group:
                self._require(node.heads.clock == node.disk.logs.clock, node, "does not know its own disk")
                self._require(not node.heads.ahead, node, "holds accepted entries that never became durable")
                weights, ledger = node.disk.logs.weighing.weights(), node.replica.core.ledger
                self._require(
                    node.weights.authors == weights, node, "does not know what its disk holds takes"
                )
                self._require(node.weights.bytes == sum(weights.values()), node, "adds up wrongly")
                self._require(ledger.is_idle, node, "counts what is not on its way")
                report = node.disk.logs.verify()
                self._require(not report.damages, node, f"has damage: {report.damages}")
            self._check_neighbours(group)
            if len(group) == len(self.nodes):
                for author, seq in self.checker.acked.items():
                    everyone = all(
                        node.replica.core.wanted.wants(author) and node.mode is Mode.BOTH for node in group
                    )
                    if everyone and author not in first.heads.forks:
                        self._require(first.heads.clock.seq(author) >= seq, first, f"never got entry {seq}")

    def _check_neighbours(self, group: Sequence[SimNode]) -> None:
        """Who has a session with another node holds the same as that one, of the authors that both want.

        Where entries go one way only, who takes them holds at least as much; where they go none, anything.
        """
        by_id = {node.id: node for node in group}
        for node in group:
            for peer in node.peers.values():
                other = by_id.get(peer)
                if other is None or not (node.mode.gives and other.mode.takes):
                    continue
                ours, theirs = held(node, other), held(other, node)
                if other.mode.gives and node.mode.takes:
                    self._require(ours == theirs, node, f"holds, or knows as forked, other than {other.name}")
                lacks = [author for author, found in ours.items() if not covers(theirs.get(author), found)]
                self._require(not lacks, node, f"holds, or knows as forked, what {other.name} does not")

    def _require(self, holds: bool, node: SimNode, fault: str) -> None:
        if not holds:
            raise InvariantError(f"at rest, {node.name} {fault}")


def held(node: SimNode, other: SimNode) -> dict[bytes, tuple[int, bytes] | None]:
    """What a node holds of the authors that another one wants as well; of forked ones, what stands for a fork."""
    heads, ours, theirs = node.heads, node.replica.core.wanted, other.replica.core.wanted
    return {
        author: heads.stands_for(author)
        for author in heads.authors()
        if ours.wants(author) and theirs.wants(author)
    }


def covers(more: tuple[int, bytes] | None, held: tuple[int, bytes] | None) -> bool:
    """Whether what stands for an author here (None: nothing) is no less than it is there; a fork is known to both."""
    if more is None or held is None or FORKED_SEQ in (more[0], held[0]) or more[0] == held[0]:
        return more == held
    return more[0] > held[0]


def components(nodes: Sequence[SimNode]) -> list[list[SimNode]]:
    """Nodes grouped by whether they are connected, over any number of sessions."""
    by_id = {node.id: node for node in nodes}
    groups = []
    left = set(by_id)
    for node in nodes:
        if node.id in left:
            group, reached = [], [node.id]
            left.discard(node.id)
            while reached:
                found = by_id[reached.pop()]
                group.append(found)
                near = left.intersection(found.peers.values())
                left -= near
                reached.extend(sorted(near))
            groups.append(group)
    return groups
