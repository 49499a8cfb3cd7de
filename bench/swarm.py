"""Nodes that find each other, in virtual time: what graph comes of it, and what is left when half of them die."""

from __future__ import annotations

import statistics
import time
from random import Random

from gossiplog.addresses import Address
from gossiplog.testing.sim.swarm import Swarm


def swarm(count: int, seed: int = 1) -> dict[str, object]:
    """Let ``count`` nodes join, two a second, each by the address of one that is there; then kill half of them."""
    began = time.perf_counter()
    random, nodes = Random(seed), Swarm(seed)
    for number in range(count):
        high, low = divmod(number, 250)
        address = Address(bytes([20 + high % 100, low, high // 100, 1]), 4000)
        nodes.add(address, [random.choice(nodes.members)] if nodes.members else [])
        nodes.run(0.5)
    nodes.run(30.0)
    degrees, parts = nodes.degrees(), nodes.components()
    dials = nodes.dials
    nodes.kill(random.sample(nodes.members, count // 2))
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
        "seconds": round(time.perf_counter() - began, 1),
    }
