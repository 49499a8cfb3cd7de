"""How long programs take to start, beside what they stand on.

Responsible for: CPU time of a fresh Python that imports something, or does a little, and ends.
Must not know: what is imported.
Invariant: the least of several runs counts, each in a process of its own; what the machine does besides adds to none.
Modules are compiled by then, as those of a package that pip installed are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.workloads import Fields

SCRIPT: Final = """
from gossiplog import blocking
with blocking.Store({path!r}) as store:
    store.writer(encoding="json").append({{"n": 1}})
    assert sum(1 for entry in store.read(encoding="json"))
"""

TOLD: Final = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""


def start(work: Path, runs: int) -> Fields:
    """Milliseconds of CPU: Python alone, Twisted's Deferred, our imports, the command, a script that stays local."""
    version = "import sys; sys.argv = ['gossiplog', '--version']\nfrom gossiplog.app.cli import main; main()"
    programs = {
        "python_ms": "",
        "deferred_ms": "import twisted.internet.defer",
        "gossiplog_ms": "import gossiplog",
        "version_ms": version,
        "blocking_ms": "import gossiplog.blocking",
        "script_ms": SCRIPT.format(path=str(work / "store")),
    }
    compiled = {name: said for name, said in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    compiled["PYTHONPYCACHEPREFIX"] = str(work / "compiled")
    for code in programs.values():
        _milliseconds(code, compiled)
    least = {name: min(_milliseconds(code, compiled) for _ in range(runs)) for name, code in programs.items()}
    return {**least, "blocking_per_deferred": round(least["blocking_ms"] / least["deferred_ms"], 2)}


def _milliseconds(code: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", code + TOLD]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return round(float(done.stdout.split()[-1]) * 1000, 1)
