"""What every benchmark needs: stores with known content, child processes, and honest figures.

Each figure of ours is printed beside a limit measured in the same run, because machines are noisy: ``hash_per_s`` is
a plain loop of the id chain (specification, "Id") over the same entries, both hashes, nothing else.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from gossiplog.limits import MAX_WRITERS
from gossiplog.log.body import encode_bodies
from gossiplog.log.keys import KEY_BYTES, Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append

NETWORK = "ab" * 32
"""A network key: deriving one from a name costs 0.1 s that no workload should count."""

BATCH = 1000


def payloads(count: int, size: int, seed: int = 1) -> Iterator[list[bytes]]:
    """``count`` random payloads of ``size`` bytes, in batches of :data:`BATCH` (fewer when they are large)."""
    source = random.Random(seed)
    batch = max(1, min(BATCH, (8 << 20) // max(1, size)))
    for start in range(0, count, batch):
        yield [source.randbytes(size) for _ in range(min(batch, count - start))]


def pauses(count: int, mean: float) -> Iterator[float]:
    """``count`` pauses of ``mean`` seconds on average, the same ones each time."""
    jitter = random.Random(1)
    for _ in range(count):
        yield mean * (0.5 + jitter.random())


def fill(path: Path, count: int, size: int, *, authors: int = 1, single: bool = False) -> None:
    """Write ``authors`` logs of ``count`` entries each; ``single``: one entry per append, merged afterwards."""
    logs = open_logs(path)
    now_ms = int(time.time() * 1000)
    if authors > MAX_WRITERS:
        receive(logs, count, size, authors, now_ms)
        authors = 0
    for number in range(authors):
        author = logs.writer(f"bench-{number}").author
        for batch in payloads(count, size, seed=number):
            bodies = encode_bodies(now_ms, batch)
            if single:
                for body in bodies:
                    logs.process([Append(author, [body])])
            else:
                logs.process([Append(author, bodies)])
    merge_all(logs)
    logs.close()


def receive(logs: Logs, count: int, size: int, authors: int, now_ms: int) -> None:
    """Put the logs of ``authors`` others into a store, one segment of ``count`` entries each."""
    for start in range(0, authors, BATCH):
        accepted = []
        for number in range(start, min(start + BATCH, authors)):
            pair = Keypair(number.to_bytes(KEY_BYTES, "big"))
            [batch] = payloads(count, size, seed=number)
            [segment], head = build(pair, Head(0, genesis_id(pair.author)), encode_bodies(now_ms, batch))
            accepted.append(Accept(segment, head))
        logs.process(accepted)


def merge_all(logs: Logs) -> None:
    """Let the background merging finish."""
    while logs.merge_some(1 << 20):
        pass


class HashRate:
    """Entries per second of the bare id chain over bodies of ``size``-byte payloads, measured around a workload.

    The machine may be twice as fast a moment later, so it is taken before and after: a median of three each time.
    """

    def __init__(self, count: int, size: int) -> None:
        """Measure over ``count`` bodies, at most 50,000 or 8 MB, before the workload."""
        self._bodies = [
            body
            for batch in payloads(min(count, 50_000, max(1, 8_000_000 // size)), size)
            for body in encode_bodies(1_790_000_000_000, batch)
        ]
        self._before = self._measure()

    def measured(self) -> float:
        """The mean of before and now, after the workload."""
        return (self._before + self._measure()) / 2

    def _measure(self) -> float:
        rates = []
        for _ in range(3):
            entry_id = bytes(32)
            started = time.perf_counter()
            for body in self._bodies:
                entry_id = sha256(entry_id + sha256(body).digest()).digest()
            rates.append(len(self._bodies) / (time.perf_counter() - started))
        return statistics.median(rates)


def peak_rss_mb() -> float:
    """The most memory this process held so far, in MB (``ru_maxrss`` would count the parent's at the fork)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def disk_bytes(path: Path) -> int:
    """Bytes of everything in a store's directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def percentile(values: list[float], percent: float) -> float:
    """The value below which ``percent`` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@contextmanager
def child(*arguments: str) -> Iterator[Child]:
    """``python -m bench.child ...`` for the duration of the block."""
    process = Child(arguments)
    try:
        yield process
    finally:
        process.end()


class Child:
    """I am another process of a benchmark; it prints one JSON object per line."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def say(self, text: str) -> None:
        """One line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: a child process ended early with status {self._process.wait()}")
        value: dict[str, Any] = json.loads(line)
        return value

    def end(self) -> None:
        """Close its standard input, which stops it, and wait."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
