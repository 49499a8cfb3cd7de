"""Nodes that find each other, in virtual time: what graph comes of it, and what is left when half die or lie."""

from __future__ import annotations

import statistics
import time
from random import Random

from gossiplog.testing.sim import memo
from gossiplog.testing.sim.steady import Steady, build
from gossiplog.testing.sim.swarms import HABITS, deliver, grow, grow_with_liars, honest_links

SETTLED_SECONDS = 90.0
"""More until half die: the last that came have found their links by then, and are known."""

MEETING_SECONDS = 900.0
"""After which two networks that met by one link are looked at."""

LIARS_SECONDS = 600.0
"""After the last came; by then who came early and knew few has chosen anew."""


LOGS_NODES, LOGS_AUTHORS = 30, 5
LOGS_ENTRIES = 60, 200, 600
"""Of whole logs, with what is flooded at first, while there is no tree, and after the 8th, 64th and 512th entry."""


def swarm(count: int, seed: int, *, only_growth: bool) -> dict[str, object]:
    """Let ``count`` nodes join, in 500 seconds or two a second, each by the address of one that is there; kill half.

    Unless ``only_growth``: the same with two networks that meet by one link, with half of all lying, with entries of
    twenty authors, and with a few whole logs at fewer nodes.
    """
    began = time.perf_counter()
    nodes = grow(count, seed)
    nodes.run(30.0)
    degrees, parts, dials = nodes.degrees(), nodes.components(), nodes.dials
    figures: dict[str, object] = {}
    if not only_growth:
        cost = deliver(nodes, seed, 20)
        figures = {"copies": round(cost.figures.copies, 3), "undelivered": cost.delivery.undelivered}
        figures |= _logs(seed) | _meeting(count, seed) | _liars(count, seed)
    nodes.run(SETTLED_SECONDS)
    nodes.kill(Random(seed).sample(nodes.members, count // 2))
    broken = nodes.components()
    nodes.run(60.0)
    mended = nodes.components()
    return {
        "nodes": count,
        "largest_part": parts[0] / count,
        "links_mean": round(statistics.mean(degrees), 2),
        "links_max": max(degrees),
        "dials_per_node": round(dials / count, 1),
        "largest_part_after_half_died": round(broken[0] / sum(broken), 4),
        "and_a_minute_later": round(mended[0] / sum(mended), 4),
        **figures,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _logs(seed: int) -> dict[str, object]:
    """How often an entry is received, on average over logs of so many entries, one a second."""
    nodes = grow(LOGS_NODES, seed)
    nodes.run(30.0)
    most = max(LOGS_ENTRIES)
    with memo.shared():
        steady = Steady(nodes=LOGS_NODES, authors=LOGS_AUTHORS, warm_up=0.0, window=float(most))
        cluster = build(steady, seed, nodes.edges())
        figures: dict[str, object] = {}
        for entries in LOGS_ENTRIES:
            cluster.run(entries - cluster.world.now)
            figures[f"copies_of_{entries}"] = round(cluster.figures.copies, 2)
    return figures


def _meeting(count: int, seed: int) -> dict[str, object]:
    nodes = grow(count, seed, islands=2)
    nodes.meet(nodes.members[0], nodes.members[1])
    nodes.run(MEETING_SECONDS)
    edges = nodes.edges()
    crossing = sum((a - b) % 2 for a, b in edges) / len(edges)
    return {"two_that_met": nodes.components()[0] / count, "crossing_links": round(crossing, 3)}


def _liars(count: int, seed: int) -> dict[str, object]:
    """With how many of the honest an honest node has links, at least and on average, by what the others do."""
    found: dict[str, object] = {}
    for habit in HABITS:
        nodes, honest = grow_with_liars(count, seed, habit)
        nodes.run(LIARS_SECONDS)
        links = honest_links(honest)
        found[f"honest_links_{habit}"] = f"{min(links)}, {statistics.mean(links):.1f}"
    return found
