"""Who is connected with whom.

Responsible for: drawing the edges of a network of so many nodes.
Must not know: nodes; edges are pairs of numbers, of which the first dials.
Invariant: everyone is connected with everyone over some path, and no edge is there twice.
"""

from __future__ import annotations

from random import Random

Edge = tuple[int, int]


DENSE = 4
"""Below so many nodes for each link, edges drawn at random would collide for ever."""


def regular(count: int, links: int, random: Random) -> list[Edge]:
    """Edges with which each of ``count`` nodes has ``links`` neighbours, drawn at random; ValueError if none can be.

    Rings through all nodes, each in another order, and for an odd number a last round of pairs.  A dense network is
    one ring, each node connected with the nearest on both sides, and for an odd number with the opposite one.
    """
    if not 2 <= links < count or count * links % 2:
        raise ValueError(f"{count} nodes cannot have {links} links each")
    edges: dict[frozenset[int], Edge] = {}
    if count < links * DENSE:
        order = random.sample(range(count), count)
        for near in (*range(1, links // 2 + 1), *[count // 2] * (links % 2)):
            pairs = ((order[at], order[(at + near) % count]) for at in range(count))
            edges.update((frozenset(pair), pair) for pair in pairs)
    else:
        for step in (*[1] * (links // 2), *[2] * (links % 2)):
            edges.update(_round(count, random, edges, step))
    return [edge if random.random() < 0.5 else edge[::-1] for edge in edges.values()]


def _round(
    count: int, random: Random, taken: dict[frozenset[int], Edge], step: int
) -> dict[frozenset[int], Edge]:
    """Every node with the next in a random order (or every other with its next), none of these edges taken yet."""
    order = random.sample(range(count), count)

    def edge(at: int) -> Edge:
        return order[at], order[(at + 1) % count]

    while bad := [at for at in range(0, count, step) if frozenset(edge(at)) in taken]:
        for at in bad:
            other = random.randrange(count)
            order[at], order[other] = order[other], order[at]
    return {frozenset(edge(at)): edge(at) for at in range(0, count, step)}


def _line(count: int, random: Random) -> list[Edge]:
    return [(number, number + 1) for number in range(count - 1)]


def _ring(count: int, random: Random) -> list[Edge]:
    return [(number, (number + 1) % count) for number in range(count)]


def _star(count: int, random: Random) -> list[Edge]:
    return [(0, number) for number in range(1, count)]


def _complete(count: int, random: Random) -> list[Edge]:
    size = min(count, 7)
    inner = [(a, b) for a in range(size) for b in range(a)]
    return inner + [(number, random.randrange(size)) for number in range(size, count)]


def _random(count: int, random: Random) -> list[Edge]:
    tree = {(number, random.randrange(number)) for number in range(1, count)}
    more = {(a, b) for a in range(count) for b in range(a) if random.random() < 1.5 / count}
    return sorted(tree | more)


TOPOLOGIES = {"line": _line, "ring": _ring, "star": _star, "complete": _complete, "random": _random}
"""Edges of so many nodes, by name; the first of each pair dials."""
