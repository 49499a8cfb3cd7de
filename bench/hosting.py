"""What many idle networks in one process cost.

Responsible for: hosting them in a process of its own, and looking at it.
Must not know: how they are hosted.
Invariant: what is measured is what ``gossiplog host`` runs; the stores are there, as at every start but the first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.workloads import Fields


def hosting(work: Path, networks: int, seconds: float) -> Fields:
    """Memory, threads and descriptors of each network beyond one, start-up, CPU while nothing happens, the end."""
    _run(work, networks, 0.0)  # makes the stores
    one, many = _run(work, 1, 0.0), _run(work, networks, seconds)
    more = networks - 1

    def each(name: str) -> float:
        return round((many[name] - one[name]) / more, 2)

    return {
        "networks": networks,
        "kb_per_network": each("kb"),
        "threads_per_network": each("threads"),
        "descriptors_per_network": each("descriptors"),
        "sqlite_per_network": each("sqlite"),
        "start_s": round(many["start"], 2),
        "start_cpu_s": round(many["start_cpu"], 2),
        "idle_cpu_percent": round(many["idle"], 2),
        "end_s": round(many["end"], 2),
    }


def _run(work: Path, networks: int, seconds: float) -> dict[str, float]:
    path = work / f"{networks}.toml"
    about = (
        f'[network.n{n}]\nstore = "n{n}"\nnetwork = "{n:064x}"\nlisten = ["tcp:0:interface=127.0.0.1"]\n'
        for n in range(networks)
    )
    path.touch(0o600)
    path.write_text("".join(about))
    began = time.monotonic()
    command = [sys.executable, "-m", "gossiplog.app.cli", "host", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline().removeprefix("gossiplog ready "))
        found = {"start": time.monotonic() - began, "start_cpu": _cpu(process.pid)}
        failed = [about["error"] for about in ready["networks"].values() if "error" in about]
        assert not failed, failed[0]
        time.sleep(2)  # merging and whatever else follows a start
        before, at = _cpu(process.pid), time.monotonic()
        time.sleep(seconds)
        found["idle"] = 100 * (_cpu(process.pid) - before) / max(time.monotonic() - at, 1e-9)
        found |= _looked(process.pid)
        ends = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait()
        return {**found, "end": time.monotonic() - ends}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _looked(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
    opened = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return {
        "kb": private,
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "descriptors": len(opened),
        "sqlite": sum("log.sqlite" in each for each in opened),
    }
