"""Scenarios as JSON, so that one that failed can be run again later.

Responsible for: writing and reading them.
Must not know: what they mean.
Invariant: what is read is what was written; a file that is no scenario is an InvalidValueError.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from gossiplog.app.printing import as_json
from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_BODY_BYTES
from gossiplog.testing.sim.faults import KINDS, ON_LINKS, Fault
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.scenario import Appends, Scenario

ROOM_BYTES = 64
"""For the number, the time and the headers around a payload."""


def save(path: Path, scenario: Scenario, about: str = "") -> None:
    """Write a scenario, with a line ``about`` it for people."""
    fields = {
        **scenario._asdict(),
        "qualities": [list(quality) for quality in scenario.qualities],
        "writes": [list(write) for write in scenario.writes],
        "faults": [list(fault) for fault in scenario.faults],
    }
    lines = ",\n".join(f" {as_json(name)}: {as_json(value)}" for name, value in fields.items())
    path.write_text(f'{{\n "about": {as_json(about)},\n{lines}\n}}\n')


def load(path: Path) -> Scenario:
    """Read a scenario; InvalidValueError if it is none, OSError if it cannot be read."""
    try:
        fields = json.loads(path.read_bytes())
        del fields["about"]
        scenario = Scenario(**{name: _frozen(value) for name, value in fields.items()})
        scenario = scenario._replace(
            qualities=tuple(Quality(*quality) for quality in scenario.qualities),
            writes=tuple(Appends(*write) for write in scenario.writes),
            faults=tuple(Fault(*fault) for fault in scenario.faults),
        )
        _check(scenario)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise InvalidValueError(f"{path} is not a scenario: {error}") from None
    return scenario


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, down to the last number."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            return type(value) is tuple and all(_fits(part, kinds[0]) for part in value)
        return type(value) is tuple and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hasattr(kind, "_fields"):
        return isinstance(value, kind) and all(map(_fits, value, get_type_hints(kind).values()))
    return type(value) is kind


def _check(scenario: Scenario) -> None:
    for name, kind in get_type_hints(Scenario).items():
        if not _fits(getattr(scenario, name), kind):
            raise ValueError(f"{name} is not of its kind")
    count = len(scenario.writers)
    numbers = [number for edge in scenario.edges for number in edge] + [w.node for w in scenario.writes]
    numbers += [number for fault in scenario.faults for number in fault.nodes] + [*scenario.shared]
    if not all(0 <= number < count for number in numbers) or min(scenario.writers, default=0) < 0:
        raise ValueError("it names a node that it does not have")
    if not len(scenario.starts) == len(scenario.clocks) == count:
        raise ValueError("every node needs a start and a clock")
    if len(scenario.qualities) != len(scenario.edges):
        raise ValueError("every edge needs a quality")
    for write in scenario.writes:
        if not 0 <= write.writer < scenario.writers[write.node] + (write.node in scenario.shared):
            raise ValueError("it names a writer that it does not have")
        if not all(0 <= size <= MAX_BODY_BYTES - ROOM_BYTES for size in write.sizes):
            raise ValueError("it has a payload of a size that no entry has")
    if any(len(fault.nodes) != 2 if fault.kind in ON_LINKS else not fault.nodes for fault in scenario.faults):
        raise ValueError("it has a fault of another number of nodes")
    unknown = {fault.kind for fault in scenario.faults} - KINDS.keys()
    if unknown:
        raise ValueError(f"there is no fault {', '.join(sorted(map(str, unknown)))}")
