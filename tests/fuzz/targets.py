"""All targets by name."""

from __future__ import annotations

from tests.fuzz import connections, keys, payloads, sessions, signed, stores, values, wire
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (values, wire, signed, sessions, payloads, connections, stores, keys)
    for target in module.TARGETS
}
