"""Random scenarios: a topology, writers, appends and faults, all from one seed.

Responsible for: drawing a scenario, running it to rest, and, when something does not hold, saying which seed it was,
what happened last, and a smaller scenario that fails the same way.
Must not know: how nodes work, what is checked.
Invariant: ``run(scenario)`` gives the same trace every time; leaving a fault out changes nothing else that is drawn.

Run one by hand: ``python -m gossiplog.testing.scenario SEED``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

from gossiplog import limits
from gossiplog.gossip import splitting
from gossiplog.testing.cluster import Cluster
from gossiplog.testing.disk import Speed
from gossiplog.testing.faults import KINDS, ON_GROUPS, ON_LINKS, Fault, Faults
from gossiplog.testing.invariants import InvariantError
from gossiplog.testing.pipes import Quality

ACTIVE_SECONDS = 20.0
"""Appends and faults begin within so long."""

MAX_AUTHORS = 20

TIGHT: dict[tuple[Any, str], int] = {
    (limits, "OUTPUT_WINDOW_BYTES"): 3000,
    (limits, "NEWS_WINDOW_BYTES"): 800,
    (limits, "READ_AHEAD_BYTES"): 4000,
    (limits, "PENDING_WRITE_BYTES"): 3000,
    (limits, "PENDING_WRITE_LOW_BYTES"): 1500,
    (limits, "OPEN_WANTS_PER_PEER"): 4,
    (limits, "MAX_OWED_AUTHORS"): 4,
    (limits, "MAX_HAVE_ITEMS"): 3,
    (limits, "MAX_WANT_ITEMS"): 4,
    (splitting, "LIST_AT_ONCE"): 4,
    (splitting, "FIRST_PARTS"): 4,
    (splitting, "PARTS"): 2,
    (splitting, "LEAF_AUTHORS"): 1,
    (splitting, "DENSE_LEAF_AUTHORS"): 1,
    (splitting, "FEW_AUTHORS"): 2,
    (splitting, "MESSAGE_RANGES"): 3,
    (splitting, "MESSAGE_ITEMS"): 3,
}
"""Limits so low that a small scenario reaches all of them."""


LOSSY = {"lose", "reorder", "duplicate", "full disk", "failing disk"}
"""Faults after which a difference may be left until a PING finds it."""


class Write(NamedTuple):
    """An append of payloads of these sizes to a writer of a node."""

    at: float
    node: int
    writer: int
    sizes: tuple[int, ...]


class Scenario(NamedTuple):
    """Everything that is going to happen.

    Of each edge the first node dials the second.  ``writers`` are so many per node; the nodes ``shared`` have one more
    in common, whose log may fork.
    """

    seed: int
    topology: str
    edges: tuple[tuple[int, int], ...]
    writers: tuple[int, ...]
    shared: tuple[int, ...]
    starts: tuple[float, ...]
    qualities: tuple[Quality, ...]
    tight: bool
    writes: tuple[Write, ...]
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
        Write(
            random.uniform(0.0, ACTIVE_SECONDS),
            node := random.choice(writing),
            random.randrange(writers[node] + (node in shared)),
            tuple(_size(random) for _ in range(random.choice((1, 1, 1, 1, 2, 5, 20)))),
        )
        for _ in range(random.randint(5, 40))
    ]
    starts = tuple(random.choice((0.0, 0.0, 0.0, random.uniform(0.0, ACTIVE_SECONDS))) for _ in range(count))
    qualities = tuple(
        Quality(10 ** random.uniform(-3, -0.7), 10 ** random.uniform(-3, -1.3), 10 ** random.uniform(4.3, 7))
        for _ in edges
    )
    tight = random.random() < 0.5
    faults = [_fault(random, count, edges) for _ in range(random.choice((0, 1, 1, 2, 3, 4, 6)))]
    return Scenario(
        seed, topology, edges, tuple(writers), shared, starts, qualities, tight, tuple(writes), tuple(faults)
    )


def run(scenario: Scenario) -> Cluster:
    """Run ``scenario`` to rest; raises InvariantError."""
    with tight_limits() if scenario.tight else _as_they_are():
        cluster = Cluster(scenario.seed)
        speeds = cluster.world.child()
        common = cluster.shared_seed()
        for number, count in enumerate(scenario.writers):
            seeds = [cluster.random.randbytes(32) for _ in range(count)]
            speed = Speed(commit=10 ** speeds.uniform(-3, -1), read=10 ** speeds.uniform(-3.5, -2))
            cluster.add(seeds + [common] * (number in scenario.shared), speed=speed)
        for (caller, target), quality in zip(scenario.edges, scenario.qualities, strict=True):
            cluster.connect(cluster.nodes[caller], cluster.nodes[target], quality)
        for node, start in zip(cluster.nodes, scenario.starts, strict=True):
            cluster.world.at(start, lambda node=node: None if node.up else node.start())  # type: ignore[misc]
        for number, write in enumerate(scenario.writes):
            cluster.world.at(write.at, lambda write=write, n=number: _write(cluster, write, n))  # type: ignore[misc]
        faults = Faults(cluster)
        for fault in scenario.faults:
            faults.plan(fault)
        try:
            cluster.run(max((fault.at + fault.seconds for fault in scenario.faults), default=0.0))
            cluster.run(ACTIVE_SECONDS)
            cluster.settle()
            if cluster.figures.healed and not LOSSY.intersection(fault.kind for fault in scenario.faults):
                raise InvariantError("a difference was left for a PING to find, though no message was lost")
        except InvariantError as error:
            raise InvariantError(f"{error}\n  " + "\n  ".join(cluster.world.recent)) from error
    return cluster


def shrink(scenario: Scenario, attempts: int = 40) -> tuple[Scenario, str]:
    """Leave out what the failure of ``scenario`` does not need; returns what is left, and how that fails."""
    failure = _failure(scenario)
    for part in ("faults", "writes"):
        at = 0
        while at < len(items := getattr(scenario, part)) and attempts:
            attempts -= 1
            smaller = scenario._replace(**{part: items[:at] + items[at + 1 :]})
            found = _failure(smaller)
            if found:
                scenario, failure = smaller, found
            else:
                at += 1
    return scenario, failure


def check(seed: int) -> Cluster:
    """Run the scenario of ``seed``; a failure says all there is to know about it."""
    scenario = draw(seed)
    try:
        return run(scenario)
    except InvariantError:
        smaller, failure = shrink(scenario)
        raise InvariantError(f"seed {seed}: {failure}\nin {smaller}") from None


@contextmanager
def tight_limits() -> Iterator[None]:
    """Within it, limits are those of :data:`TIGHT`."""
    before = {(module, name): getattr(module, name) for module, name in TIGHT}
    try:
        for (module, name), value in TIGHT.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


@contextmanager
def _as_they_are() -> Iterator[None]:
    yield


def _failure(scenario: Scenario) -> str:
    try:
        run(scenario)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _write(cluster: Cluster, write: Write, number: int) -> None:
    node = cluster.nodes[write.node]
    if node.up:
        payloads = [number.to_bytes(2, "big") + bytes(size) for size in write.sizes]
        node.append(node.local[write.writer], payloads)


def _size(random: Random) -> int:
    return int(10 ** random.uniform(0.3, random.choice((2, 2, 2, 3, 4))))


def _fault(random: Random, count: int, edges: tuple[tuple[int, int], ...]) -> Fault:
    kind = random.choice(tuple(KINDS))
    nodes: tuple[int, ...]
    if kind in ON_LINKS:
        nodes = random.choice(edges)
    elif kind in ON_GROUPS:
        nodes = tuple(random.sample(range(count), random.randint(1, count - 1)))
    else:
        nodes = (random.randrange(count),)
    return Fault(kind, random.uniform(0.0, ACTIVE_SECONDS), nodes, 10 ** random.uniform(-1, 1.5))


def _line(count: int, random: Random) -> list[tuple[int, int]]:
    return [(number, number + 1) for number in range(count - 1)]


def _ring(count: int, random: Random) -> list[tuple[int, int]]:
    return [(number, (number + 1) % count) for number in range(count)]


def _star(count: int, random: Random) -> list[tuple[int, int]]:
    return [(0, number) for number in range(1, count)]


def _complete(count: int, random: Random) -> list[tuple[int, int]]:
    size = min(count, 7)
    inner = [(a, b) for a in range(size) for b in range(a)]
    return inner + [(number, random.randrange(size)) for number in range(size, count)]


def _random(count: int, random: Random) -> list[tuple[int, int]]:
    tree = {(number, random.randrange(number)) for number in range(1, count)}
    more = {(a, b) for a in range(count) for b in range(a) if random.random() < 1.5 / count}
    return sorted(tree | more)


TOPOLOGIES = {"line": _line, "ring": _ring, "star": _star, "complete": _complete, "random": _random}
"""Edges of so many nodes, by name; the first of each pair dials."""


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        done = check(int(argument))
        sys.stdout.write(f"{argument} {done.world.trace[:16]} {done.world.events} events, {done.figures}\n")
