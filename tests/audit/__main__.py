"""Attack real processes, and print what came of it.

    python -m tests.audit [--seconds N] [NAME ...]

runs all attacks, or those named, for about N seconds each (20 if not said).  The exit status is 1 when a bound did not
hold.
"""

from __future__ import annotations

import argparse
import pkgutil
import sys
from importlib import import_module

from tests import audit
from tests.audit.case import Case, Outcome


def cases() -> dict[str, Case]:
    """Return all attacks by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(audit.__path__))
    modules = [import_module(f"tests.audit.{name}") for name in names if name not in ("__main__", "case")]
    return {case.name: case for module in modules for case in module.CASES}


def main(arguments: list[str]) -> int:
    """Run the attacks asked for."""
    known = cases()
    parser = argparse.ArgumentParser(prog="python -m tests.audit")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("name", nargs="*", metavar="NAME", help=", ".join(known))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.name if name not in known]
    if unknown:
        parser.error(f"no attack is called {unknown[0]!r}; there are {', '.join(known)}")
    held = True
    for case in [known[name] for name in options.name or known]:
        outcome: Outcome = case.run(options.seconds)
        held = held and outcome.held
        verdict = "held" if outcome.held else "NOT HELD"
        print(
            f"{case.name:24} {verdict:9} {outcome.figure} (bound: {case.bound}) -- {case.attack}", flush=True
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
