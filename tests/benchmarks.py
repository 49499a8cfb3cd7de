"""Every benchmark, small, in forks of one process: ``python -m tests.benchmarks`` prints a JSON line for each.

Responsible for: running what is in ``bench`` without waiting for Python to start again and again.
Must not know: what figures are good.
Invariant: a benchmark of which no size is known is told, as one that fails is.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import time
import traceback
import warnings
from typing import Any

import bench.__main__ as program
import bench.child  # noqa: F401  (as those below, for the forks)
import gossiplog.aio
import gossiplog.app.cli
import gossiplog.blocking
import gossiplog.views  # noqa: F401

SMALL: dict[str, dict[str, Any]] = {
    "append": {"count": 20},
    "authors": {"count": 2, "authors": 3},
    "catchup": {"count": 100},
    "cursors": {"authors": 3, "entries": 6},
    "fanout": {"peers": 4, "rounds": 1},
    "heads": {"authors": 2000},
    "hosting": {"networks": 2, "seconds": 0.0},
    "idle": {"connections": 1, "seconds": 0.1},
    "live": {"count": 3},
    "live-under-load": {"count": 3, "load": 100},
    "memory": {"counts": "50"},
    "merging": {"count": 200},
    "open": {"count": 100, "authors": 5},
    "payload": {"count": 3},
    "reading": {"entries": 500, "authors": 2},
    "reconcile": {"authors": 50, "different": 5},
    "start": {"runs": 1},
    "swarm": {"nodes": 10, "only_growth": True},
    "views": {"entries": 50, "authors": 2},
}

NEED_MORE = {"fleet": "a PostgreSQL server"}
"""Those that cannot run everywhere, and what they need."""


class Forked(subprocess.Popen[Any]):
    """I run a Python program in a fork of this process, which has imported already what it needs."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        cwd, env = rest[4:6]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            self._child_created = True
            for mine in (p2cread, c2pwrite, errwrite):
                if mine > 2 and mine not in (p2cwrite, c2pread, errread):
                    os.close(mine)
            return
        for mine, number in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2)):
            if mine != -1:
                os.dup2(mine, number)
        os.closerange(3, 1024)
        os.environ.update(env or {})
        os.chdir(cwd or ".")
        os._exit(_run(args[1:]))


def _run(arguments: list[str]) -> int:
    status: int | str | None = 0
    sys.argv = arguments[1:]
    try:
        if arguments[0] == "-m":
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv[0] = "-c"
            exec(arguments[1], {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    return status if isinstance(status, int) else int(status is not None)


def main() -> int:
    """Run those named, or all; returns how many failed."""
    warnings.simplefilter("ignore")
    subprocess.Popen = Forked  # type: ignore[misc]
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.05))
    failed = 0
    for name, (_, _, options, _) in program.BENCHMARKS.items():
        if name in NEED_MORE or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        began = time.perf_counter()
        try:
            chosen = argparse.Namespace(repeat=1, dir=None, **{**options, **SMALL[name]})
            fields = program.run(name, chosen)
        except BaseException as error:
            traceback.print_exc()
            fields, failed = {"benchmark": name, "error": repr(error)}, failed + 1
        print(json.dumps({**fields, "took_s": round(time.perf_counter() - began, 2)}), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
