"""What gossip costs in steady state: everyone is connected, and authors append at an even pace.

Responsible for: one network, a warm-up, a window in which everything is counted.
Must not know: how nodes decide whom to send what.
Invariant: only what is sent in the window is counted, and only entries appended in it are followed, to the last node.

>>> cost = measure(Steady(nodes=6, links=3, authors=4, warm_up=2.0, window=4.0), seed=1)
>>> cost.delivery.undelivered, cost.figures.copies >= 1.0
(0, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gossiplog.testing.sim import memo
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.spread import Delivery, Spread
from gossiplog.testing.sim.topologies import Edge, regular

DRAIN_SECONDS = 10.0
"""For the entries of the window to reach the last node."""

GOING_ON_SECONDS = 2.0
"""So long authors go on after the window: what ends with it is not in steady state."""

CHECKED_EVERY = 100
"""Events after which the bounds of a node are looked at: always would be half of the time."""


class Steady(NamedTuple):
    """A network in steady state.  The defaults are the ones that the bars of the project are set for.

    ``rate`` is appends per author and second, ``size`` the bytes of a payload.  Links are drawn with one-way delays
    from ``delays[0]`` to ``delays[1]`` and a tenth of it as jitter.
    """

    nodes: int = 50
    links: int = 6
    authors: int = 100
    rate: float = 1.0
    size: int = 100
    warm_up: float = 20.0
    window: float = 10.0
    delays: tuple[float, float] = (0.005, 0.05)


class Cost(NamedTuple):
    """What the window cost: ``figures`` of all that was sent in it, ``delivery`` of the entries appended in it."""

    figures: Figures
    delivery: Delivery


def measure(
    steady: Steady = Steady(),  # noqa: B008
    seed: int = 0,
    edges: Sequence[Edge] | None = None,
) -> Cost:
    """Run a network to steady state and say what it costs there; raises InvariantError as every simulation does.

    ``edges`` is who is connected with whom, instead of ``steady.links`` each, drawn at random.
    """
    with memo.shared():
        cluster = build(steady, seed, edges)
        cluster.run(steady.warm_up)
        spread = cluster.figures.spread = Spread()
        cluster.figures.clear()
        cluster.run(steady.window)
        figures = cluster.figures.copy()
        spread.following = False
        cluster.run(DRAIN_SECONDS)
    return Cost(figures, spread.report(cluster.net, steady.nodes))


def build(steady: Steady, seed: int, edges: Sequence[Edge] | None = None) -> Cluster:
    """The network of ``steady``, started, with all its appends to come."""
    cluster = Cluster(seed, every=CHECKED_EVERY)
    random = cluster.world.child()
    for number in range(steady.nodes):
        writers = len(range(number, steady.authors, steady.nodes))
        cluster.add(writers, speed=Speed(stall_chance=0.0))
    for caller, target in regular(steady.nodes, steady.links, random) if edges is None else edges:
        delay = random.uniform(*steady.delays)
        cluster.connect(cluster.nodes[caller], cluster.nodes[target], Quality(delay, delay / 10, 1e7))
    cluster.start()
    until = steady.warm_up + steady.window + GOING_ON_SECONDS

    def append(node: SimNode, author: bytes) -> None:
        node.append(author, [random.randbytes(steady.size)])
        pause = random.expovariate(steady.rate)
        if cluster.world.now + pause < until:
            cluster.world.after(pause, lambda: append(node, author))

    for node in cluster.nodes:
        for author in node.local:
            cluster.world.after(
                random.expovariate(steady.rate),
                lambda node=node, author=author: append(node, author),  # type: ignore[misc]
            )
    return cluster
