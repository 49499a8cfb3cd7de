"""The workloads: each function runs one benchmark and returns the fields of its JSON line."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.measure import HashRate, child, disk_bytes, fill, merge_all, pauses, payloads, percentile
from gossiplog.live.store_thread import MERGE_BYTES
from gossiplog.log.body import encode_bodies
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append

Fields = dict[str, Any]


def catchup(work: Path, count: int, size: int, authors: int = 1, *, single: bool = False) -> Fields:
    """Cold catch-up between two processes over TCP: encrypted, verified, committed with full sync."""
    sender, receiver = work / "sender", work / "receiver"
    fill(sender, count, size, authors=authors, single=single)
    entries = count * authors
    hashes = HashRate(entries, size)
    with child("serve", "--store", str(sender)) as server:
        address = server.read()["address"]
        with child("fetch", "--store", str(receiver), "--peer", address, "--expect", str(entries)) as fetcher:
            fetcher.read()
            fetcher.say("go")
            told = fetcher.read()
            server.say("rss")
            served = server.read()
    hash_per_s = hashes.measured()
    logs = open_logs(receiver)
    held = logs.clock.total()
    merge_all(logs)
    logs.close()
    if held != entries:
        raise SystemExit(f"bench: the receiver holds {held} of {entries} entries")
    rate = entries / told["seconds"]
    return {
        "entries": entries,
        "authors": authors,
        "size": size,
        "seconds": round(told["seconds"], 4),
        "entries_per_s": round(rate),
        "mb_per_s": round(rate * size / 1e6, 1),
        "hash_per_s": round(hash_per_s),
        "hash_ratio": round(rate / hash_per_s, 3),
        "rss_mb": round(told["rss_mb"], 1),
        "sender_rss_mb": round(served["rss_mb"], 1),
        "disk_bytes_per_entry": round(disk_bytes(receiver) / entries, 1),
        "disk_bytes_per_entry_running": round(told["disk_bytes_running"] / entries, 1),
        "wire_bytes_per_entry": round(told["wire_bytes"] / entries, 2),
    }


def append(work: Path, count: int, size: int, in_flight: int) -> Fields:
    """Appends through the public API: awaited one at a time, many in flight, and in batches of 1,000."""
    return _process("bench.appending", work, count, size, in_flight)


def cursors(work: Path, authors: int, entries: int) -> Fields:
    """A cursor saved after each entry, against once; both through the public API."""
    return _process("bench.cursors", work, authors, entries)


def reading(work: Path, entries: int, authors: int) -> Fields:
    """Stored entries, in each way that there is; through the public API."""
    return _process("bench.reading", work, entries, authors)


def views(work: Path, entries: int, authors: int) -> Fields:
    """Views built from nothing, and what appends and readers of changes wait; through the public API."""
    return _process("bench.viewing", work, entries, authors)


def _process(module: str, work: Path, *numbers: int) -> Fields:
    """Run a benchmark that has a reactor of its own."""
    finished = subprocess.run(
        [sys.executable, "-m", module, str(work), *map(str, numbers)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    if finished.returncode:
        raise SystemExit(f"bench: {module} failed:\n{finished.stderr}")
    fields: Fields = json.loads(finished.stdout)
    return fields


def live(work: Path, count: int, size: int, interval: float, *, load: int = 0) -> Fields:
    """From before ``append`` in one process to the reader of another; ``load``: while that many entries catch up."""
    ages, held = _live(work, count, size, interval, load)
    fields = {
        "entries": count,
        "size": size,
        "load": load,
        "held_at_end": held,
        "p50_ms": round(percentile(ages, 50), 3),
        "p90_ms": round(percentile(ages, 90), 3),
        "p99_ms": round(percentile(ages, 99), 3),
        "max_ms": round(max(ages), 3),
    }
    if not load:
        bare_ms = percentile(bare_sqlite(work / "bare.sqlite", count, size, interval), 50) * 1e3
        fields["bare_commit_ms"] = round(bare_ms, 3)
        fields["bare_commits"] = round(percentile(ages, 50) / bare_ms, 2)
    return fields


def live_ages(work: Path, count: int, size: int, interval: float) -> list[float]:
    """The single latencies of :func:`live`, in ms."""
    return _live(work, count, size, interval, 0)[0]


def _live(work: Path, count: int, size: int, interval: float, load: int) -> tuple[list[float], int]:
    sender, receiver = work / "sender", work / "receiver"
    if load:
        fill(sender, load, size)
    common = ("--count", str(count), "--size", str(size), "--interval", str(interval))
    with child("write", "--store", str(sender), *common) as writer:
        told = writer.read()
        extra = ("--peer", told["address"], "--author", told["author"], *(("--loaded",) if load else ()))
        with child("watch", "--store", str(receiver), *common, *extra) as watcher:
            watcher.read()
            writer.say("go")
            seen = watcher.read()
    return seen["ages_ms"], seen["held"]


def merging(work: Path, count: int, size: int) -> Fields:
    """How long the store's thread is busy with one step of merging ``count`` entries written one at a time.

    An append that comes meanwhile waits for that step and no other (the thread looks for jobs between two).
    """
    logs = open_logs(work / "store")
    author = logs.writer("bench").author
    for batch in payloads(count, size):
        for body in encode_bodies(int(time.time() * 1000), batch):
            logs.process([Append(author, [body])])
    steps = []
    more = True
    while more:
        started = time.perf_counter()
        more = logs.merge_some(MERGE_BYTES)
        steps.append((time.perf_counter() - started) * 1e3)
    report = logs.verify()
    logs.close()
    if not report.ok:
        raise SystemExit("bench: merging damaged the store")
    return {
        "entries": count,
        "size": size,
        "segments": report.segments,
        "steps": len(steps),
        "step_ms": round(percentile(steps, 50), 3),
        "step_p99_ms": round(percentile(steps, 99), 3),
        "step_max_ms": round(max(steps), 3),
    }


def bare_sqlite(path: Path, count: int, size: int, interval: float = 0.0) -> list[float]:
    """Seconds of each insert of a plain SQLite loop, committed with full sync: what one append can cost at least.

    With pauses of ``interval`` seconds on average, as in :func:`live`: a disk and a core that had nothing to do take
    longer.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size=16384")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB)")
    body = bytes(size)
    seconds = []
    for pause in pauses(count, interval):
        if pause:
            time.sleep(pause)
        started = time.perf_counter()
        connection.execute("INSERT INTO entries (body) VALUES (?)", (body,))
        seconds.append(time.perf_counter() - started)
    connection.close()
    return seconds
