"""Random scenarios: a topology, writers, appends and faults, all from one seed.

Responsible for: drawing them.
Must not know: how they are run, what is checked.
Invariant: a seed always gives the same scenario, and a scenario is all there is to say about what will happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from gossiplog.testing.sim.faults import KINDS, ON_GROUPS, ON_LINKS, Fault
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.topologies import TOPOLOGIES, Edge, regular

ACTIVE_SECONDS = 20.0
"""Appends and faults begin within so long."""

MAX_AUTHORS = 20

CONNECTED_SECONDS = 2.0
"""In a large network appends begin when connections are made."""


class Appends(NamedTuple):
    """An append of payloads of these sizes to a writer of a node."""

    at: float
    node: int
    writer: int
    sizes: tuple[int, ...]


class Scenario(NamedTuple):
    """Everything that is going to happen.

    Of each edge the first node dials the second.  ``writers`` are so many per node; the nodes ``shared`` have one more
    in common, whose log may fork.  ``clocks`` are offset and rate of each node's clock.
    """

    seed: int
    topology: str
    edges: tuple[Edge, ...]
    writers: tuple[int, ...]
    shared: tuple[int, ...]
    starts: tuple[float, ...]
    qualities: tuple[Quality, ...]
    tight: bool
    clocks: tuple[tuple[float, float], ...]
    writes: tuple[Appends, ...]
    faults: tuple[Fault, ...]


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    count = random.choice((3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 12))
    topology = random.choice(tuple(TOPOLOGIES))
    edges = tuple(
        edge if random.random() < 0.5 else edge[::-1] for edge in TOPOLOGIES[topology](count, random)
    )
    edges += tuple(edge[::-1] for edge in edges if random.random() < 0.1)
    writers = [0] * count
    for _ in range(random.randint(1, min(MAX_AUTHORS, 2 * count))):
        writers[random.randrange(count)] += 1
    shared = tuple(random.sample(range(count), 2)) if random.random() < 0.2 else ()
    writing = [number for number in range(count) if writers[number] or number in shared]
    writes = [
        Appends(
            random.uniform(0.0, ACTIVE_SECONDS),
            node := random.choice(writing),
            random.randrange(writers[node] + (node in shared)),
            tuple(_size(random) for _ in range(random.choice((1, 1, 1, 1, 2, 5, 20)))),
        )
        for _ in range(random.randint(5, 40))
    ]
    starts = tuple(random.choice((0.0, 0.0, 0.0, random.uniform(0.0, ACTIVE_SECONDS))) for _ in range(count))
    qualities = tuple(
        Quality(
            10 ** random.uniform(-3, -0.7),
            10 ** random.uniform(-3, -1.3),
            10 ** random.uniform(4.3, 7),
            random.choice((0.0, 0.0, 0.0, 0.2)),
        )
        for _ in edges
    )
    skewed = random.random() < 0.3
    clocks = tuple(
        (random.uniform(0.0, 1e6), random.uniform(0.9, 1.1)) if skewed else (0.0, 1.0) for _ in range(count)
    )
    tight = random.random() < 0.5
    number = random.choice((0, 1, 1, 2, 3, 4, 6))
    faults = [_fault(random, count, edges, tuple(KINDS), ACTIVE_SECONDS) for _ in range(number)]
    return Scenario(
        seed,
        topology,
        edges,
        tuple(writers),
        shared,
        starts,
        qualities,
        tight,
        clocks,
        tuple(writes),
        tuple(faults),
    )


def draw_large(
    seed: int,
    *,
    nodes: int,
    authors: int,
    links: int = 6,
    topology: str = "regular",
    entries: int = 1,
    rate: float = 1.0,
    size: int = 100,
    kinds: Sequence[str] = (),
    faults: int = 0,
) -> Scenario:
    """A network of any size that appends at an even pace: ``entries`` of each author, ``rate`` a second.

    ``links`` are those of each node in a regular topology.  So many ``faults`` of these ``kinds`` happen meanwhile.
    """
    random = Random(seed)
    edges = tuple(
        regular(nodes, links, random) if topology == "regular" else TOPOLOGIES[topology](nodes, random)
    )
    writers = tuple(len(range(number, authors, nodes)) for number in range(nodes))
    writes = [
        Appends(at, node, writer, (size,))
        for node, count in enumerate(writers)
        for writer in range(count)
        for at in _pace(random, entries, rate)
    ]
    delays = [random.uniform(0.005, 0.05) for _ in edges]
    last = max((write.at for write in writes), default=0.0)
    return Scenario(
        seed,
        topology,
        edges,
        writers,
        (),
        (0.0,) * nodes,
        tuple(Quality(delay, delay / 10, 1e7) for delay in delays),
        False,
        ((0.0, 1.0),) * nodes,
        tuple(sorted(writes)),
        tuple(_fault(random, nodes, edges, tuple(kinds), last) for _ in range(faults)),
    )


def _pace(random: Random, entries: int, rate: float) -> Iterator[float]:
    """Times of appends, the first when everyone is connected."""
    at = CONNECTED_SECONDS
    for _ in range(entries):
        at += random.expovariate(rate)
        yield at


def _size(random: Random) -> int:
    return int(10 ** random.uniform(0.3, random.choice((2, 2, 2, 3, 4))))


def _fault(random: Random, count: int, edges: Sequence[Edge], kinds: Sequence[str], until: float) -> Fault:
    kind = random.choice(kinds)
    nodes: tuple[int, ...]
    if kind in ON_LINKS:
        nodes = random.choice(edges)
    elif kind in ON_GROUPS:
        nodes = tuple(random.sample(range(count), random.randint(1, count - 1)))
    else:
        nodes = (random.randrange(count),)
    return Fault(kind, random.uniform(0.0, until), nodes, 10 ** random.uniform(-1, 1.5))
