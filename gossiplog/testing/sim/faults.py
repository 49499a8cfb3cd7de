"""What goes wrong: faults as values, and how they are done to a cluster.

Responsible for: every kind of fault, when it begins and how it ends.
Must not know: what the nodes are supposed to make of it.
Invariant: a fault is done with after ``seconds``; when all are, every node runs, every disk takes writes and every
connection can be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gossiplog.store.memory.faults import DiskFault
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.liars import LIES, Liar
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import PipeEnd, Quality

REORDERED_SECONDS = 0.5
"""By how much a frame is late, at most, when frames are reordered."""

SLOW = Quality(0.2, 0.1, 6000.0)
"""A link on which a few entries take seconds."""

NARROW = Quality(0.02, 0.0, 1500.0)
"""A link on which a HELLO takes a twentieth of a second, and a full segment more than a minute."""

LONG_TAIL = Quality(0.02, 0.01, 2e6, 1.0)
"""A link that is quick, but for one frame in twenty, which holds up all behind it."""

HELLO, BYE = 0, 12


class Fault(NamedTuple):
    """``kind`` happens to ``nodes`` (numbers; two for a link) at ``at`` for ``seconds``."""

    kind: str
    at: float
    nodes: tuple[int, ...]
    seconds: float


class Faults:
    """I do faults to one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.random = cluster.world.child()
        self._rules: dict[frozenset[str], set[str]] = {}
        cluster.net.tamper = self._tamper

    def plan(self, fault: Fault) -> None:
        """Let ``fault`` happen when it is due."""
        do = KINDS[fault.kind]
        nodes = [self.cluster.nodes[number] for number in fault.nodes]

        def happen() -> None:
            self.cluster.world.note(f"fault {fault.kind} {fault.nodes} {fault.seconds:.2f}")
            do(self, nodes, fault.seconds)

        self.cluster.world.at(fault.at, happen)

    def _cut(self, nodes: list[SimNode], seconds: float, hears: tuple[bool, bool] = (True, True)) -> None:
        for link in self.cluster.net.between(nodes[0], nodes[1]):
            link.cut(hears=hears)

    def _crash(self, nodes: list[SimNode], seconds: float, *, silent: bool = False) -> None:
        for node in nodes:
            node.crash(silent=silent)
            self.cluster.world.after(seconds, lambda node=node: None if node.up else node.start())  # type: ignore[misc]

    def _freeze(self, nodes: list[SimNode], seconds: float) -> None:
        for node in nodes:
            node.freeze(seconds)

    def _partition(self, nodes: list[SimNode], seconds: float, *, silent: bool = False) -> None:
        others = [node for node in self.cluster.nodes if node not in nodes]
        self.cluster.partition(nodes, others, silent=silent)
        self.cluster.world.after(seconds, self.cluster.heal)

    def _full(self, nodes: list[SimNode], seconds: float) -> None:
        for node in nodes:
            if node.up:
                disk = node.disk
                disk.full = True
                self.cluster.world.after(seconds, lambda disk=disk: setattr(disk, "full", False))  # type: ignore[misc]

    def _fail(self, nodes: list[SimNode], seconds: float) -> None:
        """A disk that fails stays so until the node is started again."""
        for node in nodes:
            if node.up:
                node.disk.fails = self.random.choice((DiskFault.LOST, DiskFault.KEPT))
                self.cluster.world.after(seconds, lambda node=node: self._crash([node], 1.0))  # type: ignore[misc]

    def _become(self, nodes: list[SimNode], seconds: float, quality: Quality, *, both: bool = True) -> None:
        """The link is like this for a while, in both directions or only from the first node to the second."""
        for link in self.cluster.net.between(nodes[0], nodes[1]):
            for end in link.ends:
                if both or end.party is nodes[0]:
                    end.way.quality = quality
                    self.cluster.world.after(seconds, partial(setattr, end.way, "quality", end.link.quality))

    def _close_way(self, nodes: list[SimNode], seconds: float, *, back: bool) -> None:
        """A router forgets one direction."""
        here, there = reversed(nodes) if back else nodes
        self.cluster.net.close_way(here, there, seconds)

    def _jump(self, nodes: list[SimNode], seconds: float) -> None:
        """A clock is set, and set right again: it goes forward and back, or back and forward."""
        step = self.random.choice((-1.0, 1.0)) * 10 * seconds
        for node in nodes:
            node.jump(step)
            self.cluster.world.after(seconds, partial(node.jump, -step))

    def _lie(self, nodes: list[SimNode], seconds: float, lie: type[Liar]) -> None:
        """Somebody comes who does not mean well, and goes."""
        for node in nodes:
            liar = lie(self.cluster, self.random)
            liar.meet(node)
            self.cluster.world.after(seconds, liar.leave)

    # -- frames that do not arrive as they were sent

    def _tampering(self, rule: str) -> Callable[[list[SimNode], float], None]:
        def do(nodes: list[SimNode], seconds: float) -> None:
            pair = frozenset(node.name for node in nodes)
            self._rules.setdefault(pair, set()).add(rule)
            self.cluster.world.after(seconds, lambda: self._rules[pair].discard(rule))

        return do

    def _tamper(self, end: PipeEnd, frame: bytes) -> list[tuple[float, bytes]]:
        if not self._rules:
            return [(0.0, frame)]
        rules = self._rules.get(frozenset((end.party.name, end.other.party.name)))
        if not rules or frame[1] in (HELLO, BYE):
            return [(0.0, frame)]
        draw = self.random.random
        if "lose" in rules and draw() < 0.2:
            return []
        copies = [(0.0, frame)]
        if "duplicate" in rules and draw() < 0.4:
            copies.append((REORDERED_SECONDS * draw(), frame))
        if "reorder" in rules and draw() < 0.4:
            copies[0] = (REORDERED_SECONDS * draw(), frame)
        return copies


KINDS: dict[str, Callable[[Faults, list[SimNode], float], None]] = {
    "cut": Faults._cut,
    "half-open": lambda faults, nodes, seconds: faults._cut(nodes, seconds, (True, False)),
    "half-open back": lambda faults, nodes, seconds: faults._cut(nodes, seconds, (False, True)),
    "black hole": lambda faults, nodes, seconds: faults._cut(nodes, seconds, (False, False)),
    "one way": lambda faults, nodes, seconds: faults._close_way(nodes, seconds, back=False),
    "one way back": lambda faults, nodes, seconds: faults._close_way(nodes, seconds, back=True),
    "crash": Faults._crash,
    "vanish": lambda faults, nodes, seconds: faults._crash(nodes, seconds, silent=True),
    "freeze": Faults._freeze,
    "partition": Faults._partition,
    "silent partition": lambda faults, nodes, seconds: faults._partition(nodes, seconds, silent=True),
    "full disk": Faults._full,
    "failing disk": Faults._fail,
    "slow": lambda faults, nodes, seconds: faults._become(nodes, seconds, SLOW),
    "slow one way": lambda faults, nodes, seconds: faults._become(nodes, seconds, SLOW, both=False),
    "narrow": lambda faults, nodes, seconds: faults._become(nodes, seconds, NARROW),
    "long tail": lambda faults, nodes, seconds: faults._become(nodes, seconds, LONG_TAIL),
    "clock": Faults._jump,
    "lose": lambda faults, nodes, seconds: faults._tampering("lose")(nodes, seconds),
    "duplicate": lambda faults, nodes, seconds: faults._tampering("duplicate")(nodes, seconds),
    "reorder": lambda faults, nodes, seconds: faults._tampering("reorder")(nodes, seconds),
    **{name: partial(Faults._lie, lie=lie) for name, lie in LIES.items()},
}
"""Every kind of fault, by its name in :class:`Fault`."""

ON_LINKS = {
    "cut",
    "half-open",
    "half-open back",
    "black hole",
    "one way",
    "one way back",
    "slow",
    "slow one way",
    "narrow",
    "long tail",
    "lose",
    "duplicate",
    "reorder",
}
"""Kinds that happen to a link."""

ON_GROUPS = {"partition", "silent partition"}
"""Kinds that happen to some of the nodes at once; the others happen to one node."""
