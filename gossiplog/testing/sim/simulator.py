"""Running scenarios to rest, and what to say when something does not hold.

Responsible for: :func:`check`: a seed's scenario is run; a failure names the seed, what happened last, and a smaller
scenario that fails too.
Must not know: how nodes work, what is checked.
Invariant: ``run(scenario)`` gives the same trace every time; leaving a fault out changes nothing else that is drawn.

Run one by hand: ``python -m gossiplog.testing.sim.simulator SEED``.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

from gossiplog import limits
from gossiplog.app.printing import say
from gossiplog.gossip import budget, core, session, wanted_heads
from gossiplog.gossip import memory_pressure as shedding
from gossiplog.gossip import range_splitting as splitting
from gossiplog.gossip.budget import Budget
from gossiplog.testing.sim import memo
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.faults import Faults
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.paging import Paging
from gossiplog.testing.sim.patching import patched
from gossiplog.testing.sim.scenario import ACTIVE_SECONDS, Appends, Scenario, draw
from gossiplog.testing.sim.spread import Spread
from gossiplog.testing.sim.world import LocalClock


class TightBudget(Budget):
    """I have so little memory that sessions have to forget something all the time, and enough to end none."""

    @property
    def most_bytes(self) -> int:
        """Empty tables take up half of it."""
        return self.common_bytes + TIGHT_SHARE_BYTES * len(self._accounts)


TIGHT_SHARE_BYTES = 5500

TIGHT: dict[tuple[ModuleType, str], Any] = {
    (core, "Budget"): TightBudget,
    (budget, "SESSION_BYTES"): 0,
    (
        session,
        "NAMED_BYTES",
    ): 0,  # what a peer wants is never forgotten, and could be more than there is room for
    (wanted_heads, "NAMED_BYTES"): 0,
    (shedding, "RELAYED_AT_ONCE"): 1,
    (limits, "MIN_SHARE_BYTES"): 0,
    (limits, "MIN_CLAIMS"): 1,
    (limits, "SHORT_READ_BYTES"): 800,
    (limits, "OUTPUT_WINDOW_BYTES"): 3000,
    (limits, "NEWS_WINDOW_BYTES"): 800,
    (limits, "READ_AHEAD_BYTES"): 4000,
    (limits, "PENDING_WRITE_BYTES"): 3000,
    (limits, "PENDING_WRITE_LOW_BYTES"): 1500,
    (limits, "OPEN_WANTS_PER_PEER"): 4,
    (limits, "MAX_OWED_AUTHORS"): 4,
    (limits, "MAX_CLAIMS"): 4,
    (limits, "MAX_HANDLES"): 4,
    (limits, "MAX_PARENTS"): 4,
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


LOSSY = {"lose", "reorder", "duplicate", "full disk", "failing disk", "misleader"}
"""Faults after which a difference may be left until a PING finds it, or seem to be."""


LARGE_NODES = 20
"""Above so many nodes, verification is shared between them, and bounds are looked at after every hundredth event."""


def run(scenario: Scenario, paging: Paging | None = None) -> Cluster:
    """Run ``scenario`` to rest, with so many heads in memory; raises InvariantError."""
    large = len(scenario.writers) > LARGE_NODES
    with tight_limits() if scenario.tight else nullcontext(), memo.shared() if large else nullcontext():
        cluster = Cluster(scenario.seed, every=100 if large else 1)
        cluster.figures.spread = Spread()
        speeds = cluster.world.child()
        common = cluster.shared_seed()
        for number, count in enumerate(scenario.writers):
            seeds = [cluster.random.randbytes(32) for _ in range(count)]
            speed = Speed(commit=10 ** speeds.uniform(-3, -1), read=10 ** speeds.uniform(-3.5, -2))
            cluster.add(seeds + [common] * (number in scenario.shared), speed=speed).paging = paging
        for (caller, target), quality in zip(scenario.edges, scenario.qualities, strict=True):
            cluster.connect(cluster.nodes[caller], cluster.nodes[target], quality)
        for node, (offset, rate) in zip(cluster.nodes, scenario.clocks, strict=True):
            node.clock = LocalClock(cluster.world, offset, rate)
        for node, start in zip(cluster.nodes, scenario.starts, strict=True):
            cluster.world.at(start, lambda node=node: None if node.up else node.start())  # type: ignore[misc]
        for number, write in enumerate(scenario.writes):
            cluster.world.at(write.at, lambda write=write, n=number: _write(cluster, write, n))  # type: ignore[misc]
        faults = Faults(cluster)
        for fault in scenario.faults:
            faults.plan(fault)
        try:
            cluster.run(active_until(scenario))
            cluster.settle()
            if cluster.figures.healed and not LOSSY.intersection(fault.kind for fault in scenario.faults):
                raise InvariantError("a difference was left for a PING to find, though no message was lost")
        except InvariantError as error:
            raise InvariantError(f"{error}\n  " + "\n  ".join(cluster.world.recent)) from error
    return cluster


def active_until(scenario: Scenario) -> float:
    """When the last append is made and the last fault is over."""
    ends = [fault.at + fault.seconds for fault in scenario.faults]
    return max(ACTIVE_SECONDS, *scenario.starts, *ends, *[write.at for write in scenario.writes])


def shrink(scenario: Scenario, attempts: int = 60) -> tuple[Scenario, str]:
    """Leave out what the failure of ``scenario`` does not need; returns what is left, and how that fails.

    Halves first, then quarters, down to single faults and appends.
    """
    failure = _failure(scenario)
    for part in ("faults", "writes"):
        step = len(getattr(scenario, part))
        while step:
            at = 0
            while at < len(items := getattr(scenario, part)) and attempts:
                attempts -= 1
                smaller = scenario._replace(**{part: items[:at] + items[at + step :]})
                found = _failure(smaller)
                if found:
                    scenario, failure = smaller, found
                else:
                    at += step
            step //= 2
    return scenario, failure


def check(seed: int) -> Cluster:
    """Run the scenario of ``seed``; a failure says all there is to know about it."""
    scenario = draw(seed)
    try:
        return run(scenario)
    except InvariantError:
        smaller, failure = shrink(scenario)
        raise InvariantError(f"seed {seed}: {failure}\nin {smaller}") from None


def tight_limits() -> AbstractContextManager[None]:
    """Within it, limits are those of :data:`TIGHT`."""
    return patched(TIGHT)


def _failure(scenario: Scenario) -> str:
    try:
        run(scenario)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _write(cluster: Cluster, write: Appends, number: int) -> None:
    node = cluster.nodes[write.node]
    if node.up:
        payloads = [number.to_bytes(2, "big") + bytes(size) for size in write.sizes]
        node.append(node.local[write.writer], payloads)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        done = check(int(argument))
        say(f"{argument} {done.world.trace[:16]} {done.world.events} events, {done.figures}")
