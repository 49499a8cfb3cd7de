"""What a node costs beside throughput: opening, memory, idle connections, fan-out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.measure import child, fill, payloads
from bench.workloads import Fields, catchup
from gossiplog.log.body import encode_bodies
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept

OPENING = """
import json, sys, time
from gossiplog.store.logs import open_logs
import gossiplog
def held_kb():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
base = held_kb()
started = time.perf_counter()
logs = open_logs(sys.argv[1])
seconds = time.perf_counter() - started
grown = held_kb() - base
print(json.dumps({"seconds": seconds, "grown_kb": grown, "authors": len(logs.clock), "entries": logs.clock.total()}))
"""


def fill_authors(path: Path, authors: int, entries: int = 1, size: int = 100) -> None:
    """Write ``authors`` foreign logs of ``entries`` each, as if they had come from peers."""
    logs = open_logs(path)
    batch = next(payloads(entries, size))
    requests = []
    for number in range(authors):
        pair = Keypair(number.to_bytes(32, "big"))
        bodies = encode_bodies(1_790_000_000_000, batch)
        [segment], head = build(pair, Head(0, genesis_id(pair.author)), bodies)
        requests.append(Accept(segment, head))
        if len(requests) == 5000:
            logs.process(requests)
            requests = []
    logs.process(requests)
    logs.close()


def opening(work: Path, count: int, authors: int) -> Fields:
    """Time and memory to open a store: one of many entries, one of many authors."""
    fill(work / "entries", count, 100)
    fill_authors(work / "authors", authors)
    fields: Fields = {}
    for name in ("entries", "authors"):
        printed = subprocess.run(
            [sys.executable, "-c", OPENING, str(work / name)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent.parent,
        ).stdout
        told = json.loads(printed)
        fields[f"open_{name}_s"] = round(told["seconds"], 4)
        fields[name] = told[name]
        if name == "authors":
            fields["bytes_per_author"] = round(told["grown_kb"] * 1024 / authors)
    return fields


def memory(work: Path, counts: list[int], size: int) -> Fields:
    """Peak memory of both sides of a catch-up, at several sizes."""
    fields: Fields = {"size": size}
    for count in counts:
        told = catchup(work / str(count), count, size)
        fields[f"receiver_mb_{count}"] = told["rss_mb"]
        fields[f"sender_mb_{count}"] = told["sender_rss_mb"]
        fields[f"entries_per_s_{count}"] = told["entries_per_s"]
        fields[f"hash_ratio_{count}"] = told["hash_ratio"]
    return fields


def idle(work: Path, connections: int, seconds: float) -> Fields:
    """Memory per connection of a node with many, and its CPU time while nothing happens."""
    with child("serve", "--store", str(work / "hub")) as hub:
        address = hub.read()["address"]
        hub.say("before")
        before = hub.read()
        spokes_store = str(work / "spokes" / "fan-0")
        with child(
            "relay", "--store", spokes_store, "--peer", address, "--count", str(connections)
        ) as spokes:
            spokes.read()
            hub.say("connected")
            connected = hub.read()
            time.sleep(seconds)  # the measurement itself: nothing happens for so long
            hub.say("after")
            after = hub.read()
            os.kill(spokes.pid, signal.SIGTERM)
    return {
        "connections": connected["peers"],
        "kb_per_connection": round((connected["rss_now_mb"] - before["rss_now_mb"]) * 1000 / connections, 1),
        "idle_seconds": seconds,
        "cpu_percent_idle": round((after["cpu_s"] - connected["cpu_s"]) / seconds * 100, 3),
    }


def fanout(work: Path, peers: int, rounds: int) -> Fields:
    """From before ``append`` until the last of ``peers`` nodes (in four processes) has the entry on disk."""
    times: list[float] = []
    for turn in range(rounds):
        with child("write", "--store", str(work / f"hub-{turn}"), "--count", "1", "--interval", "0") as hub:
            address = hub.read()["address"]
            with ExitStack() as stack:
                processes = [
                    stack.enter_context(
                        child(
                            *("relay", "--store", str(work / f"spokes-{turn}-{number}" / "fan-0")),
                            *("--peer", address, "--count", str(peers // 4)),
                        )
                    )
                    for number in range(4)
                ]
                for process in processes:
                    process.read()
                started = time.monotonic_ns()
                hub.say("go")
                times.append((max(process.read()["last_ns"] for process in processes) - started) / 1e6)
    return {"peers": peers, "last_peer_ms": round(sorted(times)[len(times) // 2], 1), "rounds": rounds}


def report(benchmark: str, fields: dict[str, Any]) -> str:
    """The JSON line of one benchmark."""
    return json.dumps({"benchmark": benchmark, **fields})
