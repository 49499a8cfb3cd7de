"""The verb simulate: run seeds, say what they cost, save what failed.

Responsible for: which scenario a seed stands for, what is printed, files of scenarios and the plot.
Must not know: how scenarios run; what bars are good.
Invariant: the exit status is 0 only when every invariant and every bar held in every run.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from gossiplog.app.printing import FAILURE, as_json, complain, say
from gossiplog.errors import InvalidValueError
from gossiplog.testing.sim import outcomes, plot, simulator
from gossiplog.testing.sim import saved as saving
from gossiplog.testing.sim.faults import KINDS
from gossiplog.testing.sim.outcomes import Bars, SeedOutcome
from gossiplog.testing.sim.scenario import Scenario, draw, draw_large
from gossiplog.testing.sim.steady import Steady
from gossiplog.testing.sim.topologies import TOPOLOGIES

SHRINK_ATTEMPTS = 60
LARGE_SHRINK_ATTEMPTS = 8
"""Runs that shrinking may cost; one of a large network takes minutes."""


def simulate(arguments: Namespace) -> int:
    """Run all that was asked for."""
    _check(arguments)
    bars = Bars(*(getattr(arguments, f"assert_{name}") for name in Bars._fields))
    done: list[SeedOutcome] = []
    for outcome, scenario in _run(arguments):
        outcome = outcome.against(bars)
        _report(arguments, outcome)
        if outcome.faults and scenario is not None:
            _save(arguments, outcome, scenario)
        if arguments.plot and not done and outcome.curve:
            _plot(Path(arguments.plot), outcome)
        done.append(outcome._replace(curve=()))
    if not arguments.json:
        for line in outcomes.summary(done):
            say(line)
    failed = [outcome.seed for outcome in done if outcome.faults]
    if failed:
        sys.stdout.flush()
        complain(f"{len(failed)} of {len(done)} runs failed: seeds {', '.join(map(str, failed))}")
        return FAILURE
    if not arguments.json:
        say(f"{len(done)} runs: everything held")
    return 0


def _check(arguments: Namespace) -> None:
    kinds = set(arguments.faults.split(",")) - {"none", "some", "all"}
    if kinds - KINDS.keys():
        arguments.wrong(
            f"there is no fault {', '.join(sorted(kinds - KINDS.keys()))}; there is: {', '.join(KINDS)}"
        )
    if arguments.topology not in {"regular", *TOPOLOGIES}:
        arguments.wrong(
            f"there is no topology {arguments.topology}; there is: regular, {', '.join(TOPOLOGIES)}"
        )
    regular = arguments.topology == "regular" and not (arguments.random or arguments.scenario)
    nodes, links = arguments.nodes, arguments.links
    if regular and (not 2 <= links < nodes or nodes * links % 2):
        arguments.wrong(f"{nodes} nodes cannot have {links} links each")
    if nodes < 2:
        arguments.wrong("a network is at least 2 nodes")


def _run(arguments: Namespace) -> Iterator[tuple[SeedOutcome, Scenario | None]]:
    """Each outcome, and the scenario it is of."""
    if arguments.scenario:
        scenario = saving.load(Path(arguments.scenario))
        yield outcomes.of_scenario(scenario), scenario
        return
    for seed in arguments.seeds:
        if arguments.steady:
            steady = Steady(
                arguments.nodes, arguments.links, arguments.authors, arguments.rate, arguments.size
            )
            yield outcomes.of_steady(steady, seed), None
        else:
            scenario = draw(seed) if arguments.random else _large(arguments, seed)
            yield outcomes.of_scenario(scenario), scenario


def _large(arguments: Namespace, seed: int) -> Scenario:
    said = arguments.faults
    kinds = tuple(KINDS) if said in ("some", "all") else () if said == "none" else tuple(said.split(","))
    count = {"none": 0, "some": arguments.nodes // 10 + 1}.get(said, 2 * len(kinds))
    return draw_large(
        seed,
        nodes=arguments.nodes,
        authors=arguments.authors,
        links=arguments.links,
        topology=arguments.topology,
        entries=arguments.entries,
        rate=arguments.rate,
        size=arguments.size,
        kinds=kinds,
        faults=count,
    )


def _report(arguments: Namespace, outcome: SeedOutcome) -> None:
    if arguments.json:
        about: dict[str, object] = {"seed": outcome.seed, "ok": not outcome.faults, **outcome.numbers}
        if outcome.figures is not None and outcome.delivery is not None:
            about["hops_mean"] = outcome.delivery.hops_mean
            about["entries"] = outcome.figures.entries_new
            about["messages"] = dict(outcome.figures.messages)
            about["bytes"] = dict(outcome.figures.bytes)
        if outcome.faults:
            about["faults"] = outcome.faults
        say(as_json(about))
    else:
        say(str(outcome))
        for fault in outcome.faults:
            for line in fault.splitlines():
                say(f"  {line}")
    sys.stdout.flush()


def _save(arguments: Namespace, outcome: SeedOutcome, scenario: Scenario) -> None:
    """Shrink what broke an invariant, print it, and save it if asked to."""
    failure = outcome.faults[0]
    if outcome.figures is None:
        large = len(scenario.writers) > simulator.LARGE_NODES
        scenario, failure = simulator.shrink(scenario, LARGE_SHRINK_ATTEMPTS if large else SHRINK_ATTEMPTS)
        if not arguments.json:
            say(f"  shrunk: {failure.splitlines()[0]}")
            say(f"  {scenario}")
    if arguments.save:
        directory = Path(arguments.save)
        directory.mkdir(0o700, parents=True, exist_ok=True)
        saving.save(directory / f"seed-{outcome.seed}.json", scenario, failure.splitlines()[0])


def _plot(path: Path, outcome: SeedOutcome) -> None:
    if not any(written for _, written, _, _ in outcome.curve):
        raise InvalidValueError("there is nothing to draw: nothing was written")
    total = max(written for _, written, _, _ in outcome.curve)
    series = {
        name: [(point[0], 100 * point[at] / total) for point in outcome.curve]
        for at, name in ((1, "written"), (2, "held on average"), (3, "held by the last"))
    }
    plot.lines(
        path,
        f"Convergence, seed {outcome.seed}",
        "seconds",
        "% of all entries",
        series,
        log_x=False,
        log_y=False,
    )
