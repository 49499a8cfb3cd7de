"""``python -m tests.fuzz TARGET|all --seconds N [--seed S] [--place DIR] [--plain]``

Runs one target, or all of them for N seconds together, each in a process of its own.  What atheris found to reach new
code is kept in DIR for the next time.  Exit status 1 when something was found: its bytes, shrunk, as hex, belong into
``tests/fuzz/regressions/TARGET-ABOUT.hex`` once it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.running import Outcome, guided, plain, regressions

ROOT = Path(__file__).resolve().parent.parent.parent
"""Where the processes find these modules, wherever this one was started."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target", help="the name of one, all, or list")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all that are run together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", type=Path, help="where inputs are kept from run to run")
    parser.add_argument("--plain", action="store_true", help="mutate without atheris even if it is there")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    is_guided = not options.plain and find_spec("atheris") is not None
    if options.inside:
        return _inside(options, is_guided)
    from tests.fuzz.targets import TARGETS

    if options.target == "list":
        print("\n".join(TARGETS))
        return 0
    names = [*TARGETS] if options.target == "all" else [options.target]
    if not TARGETS.keys() >= {*names}:
        parser.error(f"there is no target {options.target}; there are {', '.join(TARGETS)}")
    print(f"inputs by {'atheris' if is_guided else 'plain mutation'}, seed {options.seed}", flush=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as temporary:
        # where the processes leave what they have no time to remove
        environment = {**os.environ, "TMPDIR": temporary}
        place = (options.place or Path(temporary)).resolve()
        return _run_all(names, options, place, is_guided, environment)


def _run_all(
    names: list[str], options: argparse.Namespace, place: Path, is_guided: bool, environment: dict[str, str]
) -> int:
    total = findings = 0
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--seed", str(options.seed)]
        command += ["--seconds", str(options.seconds / len(names)), "--place", str(place)]
        command += [] if is_guided else ["--plain"]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, cwd=ROOT
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            print(
                f"{name}: the process ended with {done.returncode}\n{done.stdout}\n{done.stderr}", flush=True
            )
            findings += 1
            continue
        outcome = json.loads(lines[-1])
        total += outcome["executions"]
        print(f"{name}: {outcome['executions']} executions", flush=True)
        if outcome["finding"] is not None:
            findings += 1
            print(
                f"FINDING in {name}, seed {options.seed}: {outcome['finding']!r}\n{outcome['trace']}",
                flush=True,
            )
    print(f"total: {total} executions of {len(names)} targets, new findings: {findings}", flush=True)
    return 1 if findings else 0


def _inside(options: argparse.Namespace, is_guided: bool) -> int:
    """Run one target and say what came of it as a line of JSON."""
    if is_guided:
        import atheris

        with atheris.instrument_imports(include=["gossiplog"]):
            from tests.fuzz.targets import TARGETS
    else:
        from tests.fuzz.targets import TARGETS
    target = TARGETS[options.target]
    seeds = [*target.seeds, *regressions(target.name)]
    if not is_guided:
        _tell(plain(target, options.seconds, options.seed, seeds))
        return 0
    place = options.place / target.name
    place.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (place / f"seed-{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)

    def ended(outcome: Outcome) -> None:
        _tell(outcome)
        os._exit(0)

    guided(target, options.seconds, options.seed, place, ended)
    return 1


def _tell(outcome: Outcome) -> None:
    finding = None if outcome.finding is None else outcome.finding.hex()
    line = json.dumps({"executions": outcome.executions, "finding": finding, "trace": outcome.trace})
    print(f"\n{line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
