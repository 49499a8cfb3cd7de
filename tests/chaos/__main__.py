"""Run a soak, and say what was found.

    python -m tests.chaos --seed N --seconds N [--parties N] [--place DIR] [--plan]

plays the plan of that seed; ``--plan`` prints it and ends.  What was found is printed when it is found, figures at the
end; the exit status is 1 when there was something.  As root each store has a disk of its own (tmpfs), which is then
full at times; with libfaketime (or FAKETIME_LIBRARY) some clocks are wrong.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.plan import draw
from tests.chaos.soak import Soak


def main(arguments: list[str]) -> int:
    """Do it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--parties", type=int, default=9)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--plan", action="store_true")
    options = parser.parse_args(arguments)
    plan = draw(options.seed, options.seconds, options.parties)
    print(
        f"seed {plan.seed}, {plan.seconds:g} s: {', '.join(plan.kinds)}; wires {plan.wires}; clocks {plan.clocks}"
    )
    for step in plan.steps:
        print(step)
    if options.plan:
        return 0
    place = options.place or Path(tempfile.mkdtemp(prefix="chaos-"))
    soak = Soak(plan, place)
    figures = soak.play()
    print(", ".join(f"{name}: {value}" for name, value in figures.items()), flush=True)
    if soak.record.findings:
        print(f"{len(soak.record.findings)} findings; stores and logs are in {place}")
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
