"""What became of one seed, the bars it is held against, and all seeds together.

Responsible for: running a scenario to an :class:`SeedOutcome`, and the words and numbers for one or many of them.
Must not know: files, terminals, which command asked.
Invariant: an outcome with an empty ``faults`` kept every invariant and every bar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gossiplog.testing.sim import simulator
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.scenario import Scenario
from gossiplog.testing.sim.spread import Delivery
from gossiplog.testing.sim.steady import Steady, measure

LATE_SHARE = 0.99
"""Lateness is said, and held against its bar, for this share of the entries: the rest is the tail of the jitter."""


class Bars(NamedTuple):
    """What a run may cost at most; None is no bar.  ``late`` is a multiple of the shortest-path time."""

    copies: float | None = None
    control: float | None = None
    late: float | None = None
    hops: float | None = None
    converged: float | None = None


class SeedOutcome(NamedTuple):
    """One run.  ``faults`` says what did not hold; without an invariant broken there are figures."""

    seed: int
    faults: tuple[str, ...]
    figures: Figures | None = None
    delivery: Delivery | None = None
    converged: float = 0.0
    curve: tuple[tuple[float, int, float, int], ...] = ()

    @property
    def numbers(self) -> dict[str, float]:
        """The figures that bars are for, by the names of the bars."""
        if self.figures is None or self.delivery is None:
            return {}
        return {
            "copies": self.figures.copies,
            "control": self.figures.control_share,
            "late": self.delivery.late_within(LATE_SHARE),
            "hops": float(self.delivery.hops_max),
            "converged": self.converged,
        }

    def against(self, bars: Bars) -> SeedOutcome:
        """The same, with a fault for each bar it is above."""
        above = [
            f"{name} is {self.numbers[name]:.3f}, above {bar:g}"
            for name, bar in bars._asdict().items()
            if bar is not None and self.numbers and self.numbers[name] > bar
        ]
        return self._replace(faults=(*self.faults, *above))

    def __str__(self) -> str:
        """One line."""
        if self.figures is None or self.delivery is None:
            return f"seed {self.seed}: FAILED"
        return (
            f"seed {self.seed}: {'FAILED' if self.faults else 'ok'}, "
            f"{self.figures.entries_new} entries received, {self.figures.copies:.3f} copies of each, "
            f"control {100 * self.figures.control_share:.1f} %, hops {self.delivery.hops_mean:.1f} to "
            f"{self.delivery.hops_max}, last delivery {self.delivery.late_within(LATE_SHARE):.2f} x the shortest path, "
            f"converged after {self.converged:.2f} s"
        )


def of_scenario(scenario: Scenario) -> SeedOutcome:
    """Run ``scenario``; never raises InvariantError."""
    try:
        cluster = simulator.run(scenario)
    except InvariantError as error:
        return SeedOutcome(scenario.seed, (str(error),))
    spread = cluster.figures.spread
    assert spread is not None
    spread.sample(spread.last_new)
    return SeedOutcome(
        scenario.seed,
        (),
        cluster.figures,
        spread.report(cluster.net, len(cluster.nodes)),
        max(0.0, spread.last_new - last_change(scenario)),
        tuple(spread.curve),
    )


def of_steady(steady: Steady, seed: int) -> SeedOutcome:
    """Measure a steady state; entries of the window that some node never got are a fault."""
    try:
        figures, delivery = measure(steady, seed)
    except InvariantError as error:
        return SeedOutcome(seed, (str(error),))
    missing = (f"{delivery.undelivered} entries did not reach every node",) if delivery.undelivered else ()
    return SeedOutcome(seed, missing, figures, delivery)


def last_change(scenario: Scenario) -> float:
    """When the last entry was appended, the last fault over and the last node started."""
    ends = [fault.at + fault.seconds for fault in scenario.faults]
    return max([*scenario.starts, *ends, *[write.at for write in scenario.writes]])


def summary(outcomes: Sequence[SeedOutcome]) -> list[str]:
    """All runs as lines of a table: mean and worst of each figure, then the messages by type."""
    numbers = [outcome.numbers for outcome in outcomes if outcome.numbers]
    if not numbers:
        return []
    lines = [f"{'':34}{'mean':>10}{'worst':>10}"]
    for name, (label, scale) in _ROWS.items():
        values = [one[name] * scale for one in numbers]
        lines.append(f"{label:34}{sum(values) / len(values):>10.3f}{max(values):>10.3f}")
    hops = [outcome.delivery.hops_mean for outcome in outcomes if outcome.delivery is not None]
    lines.append(f"{'hops on average':34}{sum(hops) / len(hops):>10.3f}{max(hops):>10.3f}")
    count, size = _total(outcomes, lambda f: f.messages), _total(outcomes, lambda f: f.bytes)
    lines.append(f"{'message':34}{'number':>10}{'bytes':>14}")
    lines += [f"{name.upper():34}{count[name]:>10}{bytes_:>14}" for name, bytes_ in size.most_common()]
    return lines


_ROWS = {
    "copies": ("copies per entry and node", 1.0),
    "control": ("control bytes / entry bytes, %", 100.0),
    "late": ("last delivery / shortest path", 1.0),
    "hops": ("hops at most", 1.0),
    "converged": ("convergence, s", 1.0),
}


def _total(outcomes: Sequence[SeedOutcome], part: Callable[[Figures], Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.figures is not None:
            total.update(part(outcome.figures))
    return total
