"""``python -m bench all`` and ``python -m bench plots``: the table and the pictures of docs/benchmarks.rst."""

from __future__ import annotations

import json
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import peers, start, system, workloads
from bench.measure import percentile
from bench.workloads import Fields
from gossiplog.testing.sim import plot

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"

SIDES = ("gossiplog", "theirs")

Row = tuple[str, Callable[[Path], Fields], tuple[tuple[str, str, str], ...]]

ROWS: tuple[Row, ...] = (
    # (workload, how it runs, (field, what it is, bar as text))
    (
        "catch-up, 100k x 100 B",
        lambda work: _median(work, 5, "entries_per_s", lambda d: workloads.catchup(d, 100_000, 100)),
        (
            ("entries_per_s", "entries/s", ""),
            ("hash_ratio", "of the bare hash chain", ">= 0.28"),
            ("wire_bytes_per_entry", "wire bytes per entry", "<= 116"),
            ("disk_bytes_per_entry", "disk bytes per entry, closed", "<= 120"),
            ("rss_mb", "receiver's peak MB", "<= 70"),
        ),
    ),
    (
        "catch-up, 1M x 100 B",
        lambda work: _median(work, 3, "entries_per_s", lambda d: workloads.catchup(d, 1_000_000, 100)),
        (
            ("entries_per_s", "entries/s", "within 15 % of 100k"),
            ("hash_ratio", "of the bare hash chain", ">= 0.28"),
            ("disk_bytes_per_entry_running", "disk bytes per entry, running", "<= 135"),
            ("rss_mb", "receiver's peak MB", "<= 70"),
        ),
    ),
    (
        "append",
        lambda work: _median(work, 3, "batch_per_s", lambda d: workloads.append(d, 200_000, 100, 4)),
        (
            ("single_ratio", "awaited one at a time, of a bare SQLite loop", ">= 0.5"),
            ("in_flight_64_ratio", "64 in flight, of the same loop", ">= 4"),
            ("batch_per_s", "entries/s in batches of 1,000, four in flight", ""),
            ("hash_ratio", "of the bare hash chain", ">= 0.28"),
            ("disk_bytes_per_entry_running", "disk bytes per entry, running", "<= 135"),
            ("disk_bytes_per_entry", "disk bytes per entry, closed", "<= 120"),
        ),
    ),
    (
        "1,000 authors x 10",
        lambda work: _median(work, 5, "entries_per_s", lambda d: workloads.catchup(d, 10, 100, 1000)),
        (("entries_per_s", "entries/s", ">= 15 x corestore"),),
    ),
    (
        "1,000 authors x 10, one at a time",
        lambda work: _median(
            work, 3, "entries_per_s", lambda d: workloads.catchup(d, 10, 100, 1000, single=True)
        ),
        (("entries_per_s", "entries/s", ">= 10 x corestore"),),
    ),
    (
        "2,000 x 64 KiB",
        lambda work: _median(work, 5, "mb_per_s", lambda d: workloads.catchup(d, 2000, 65_536)),
        (("mb_per_s", "MB/s", ">= 1.6 x hypercore"),),
    ),
    (
        "live",
        lambda work: _median(work, 3, "p50_ms", lambda d: workloads.live(d, 1000, 100, 0.005)),
        (
            ("p50_ms", "p50 ms", "<= 1.2"),
            ("p99_ms", "p99 ms", "<= 4"),
            ("bare_commit_ms", "ms for a bare SQLite commit after such a pause", ""),
            ("bare_commits", "p50, in bare commits (two are needed)", ""),
        ),
    ),
    (
        "live under a 1M catch-up",
        lambda work: workloads.live(work, 200, 100, 0.005, load=1_000_000),
        (("p50_ms", "p50 ms", ""), ("p99_ms", "p99 ms", "<= 20")),
    ),
    (
        "open",
        lambda work: system.opening(work, 1_000_000, 100_000),
        (
            ("open_entries_s", "s, 1M entries", "<= 0.3"),
            ("open_authors_s", "s, 100,000 authors", "<= 1.5"),
            ("bytes_per_author", "bytes per author held", "<= 1024"),
        ),
    ),
    (
        "starting, ms of CPU",
        lambda work: start.start(work, 7),
        (
            ("python_ms", "Python alone", ""),
            ("deferred_ms", "import twisted.internet.defer", ""),
            ("gossiplog_ms", "import gossiplog", ""),
            ("version_ms", "gossiplog --version", ""),
            ("blocking_ms", "import gossiplog.blocking", "<= 200"),
            ("script_ms", "a script that appends and reads with it", ""),
        ),
    ),
    (
        "idle",
        lambda work: system.idle(work, 500, 10.0),
        (
            ("kb_per_connection", "KB per connection (500)", "<= 60"),
            ("cpu_percent_idle", "% of a core while nothing happens", "0"),
        ),
    ),
    (
        "merging, 20,000 x 100 B",
        lambda work: workloads.merging(work, 20_000, 100),
        (("step_p99_ms", "p99 ms of a step, which an append may wait for", "<= 5"),),
    ),
    (
        "cursor saved after each entry, 5,000 authors",
        lambda work: _median(work, 3, "ratio", lambda d: workloads.cursors(d, 5000, 10_000)),
        (
            ("ratio", "of as many saves for one author, and reading", "<= 2"),
            ("kb_per_save", "KB written for each", "<= 40"),
        ),
    ),
    (
        "reading, 1M of 100 authors",
        lambda work: workloads.reading(work, 1_000_000, 100),
        (
            ("bytes_per_s", "entries/s as bytes", ">= 300,000"),
            ("first_per_s", "entries/s just after opening, verified", ""),
            ("json_per_s", "entries/s as JSON", ""),
            ("batches_per_s", "entries/s in batches of 1,000", ""),
            ("reverse_per_s", "entries/s in reverse", ""),
            ("blocking_per_s", "entries/s through gossiplog.blocking", ""),
            ("newest_ms", "ms for the newest 100 of one log", "<= 2"),
            ("entry_ms", "ms for one entry", ""),
            ("page_first_ms", "ms for the latest 50 of all logs, just after opening", "<= 60"),
            ("page_next_ms", "ms for the next 50", "<= 25"),
            ("index_per_s", "entries/s into the index of places", ">= 2,000,000"),
            ("index_bytes_per_entry", "bytes of that index for each entry", "<= 1"),
        ),
    ),
    (
        "views, 1M of 100 authors",
        lambda work: workloads.views(work, 1_000_000, 100),
        (
            ("counts_per_s", "entries/s, counts", ""),
            ("table_per_s", "entries/s, a table with an index, while appends go on", ""),
            ("search_per_s", "entries/s, a search", ""),
            ("append_p99_ms", "ms of an append, p99, otherwise", ""),
            ("rebuild_p50_ms", "ms of an append, p50, while a view is built", ""),
            ("rebuild_p99_ms", "the same, p99", "<= 15"),
            ("told_p50_ms", "ms from durable to told, p50", ""),
        ),
    ),
    (
        "fan-out",
        lambda work: system.fanout(work, 100, 3),
        (("last_peer_ms", "ms to the last of 100 peers", "<= 60"),),
    ),
)


def _median(work: Path, runs: int, key: str, run: Callable[[Path], Fields]) -> Fields:
    done = []
    for number in range(runs):
        done.append(run(work / f"run-{number}"))
        shutil.rmtree(work / f"run-{number}", ignore_errors=True)
    return sorted(done, key=lambda fields: fields[key])[runs // 2]


def machine() -> str:
    """What the figures were measured on."""
    described = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in described if line.startswith("model name")]
    cpu, cores = models[0], len(models)
    packages = ", ".join(f"{name} {version(name)}" for name in ("gossiplog", "twisted", "pynacl", "msgpack"))
    return f"{cores} cores ({cpu}), Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"


def everything(root: Path | None, tell: Callable[[str], None]) -> None:
    """Run every row and write the table to docs/benchmarks/table.rst and the figures beside it."""
    lines = [
        ".. list-table:: " + machine(),
        "   :header-rows: 1",
        "",
        "   * - workload",
        "     - figure",
        "     - measured",
        "     - bar",
    ]
    figures: dict[str, Any] = {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
    for name, run, columns in ROWS:
        work = Path(tempfile.mkdtemp(prefix="gossiplog-bench-", dir=root))
        try:
            fields = figures[name] = run(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        for field, what, bar in columns:
            value = fields[field]
            text = (
                f"{value:,}"
                if isinstance(value, int)
                else f"{value:,.3g}"
                if value < 1000
                else f"{value:,.0f}"
            )
            lines += [f"   * - {name}", f"     - {what}", f"     - {text}", f"     - {bar}"]
            tell(f"{name:36} {text:>12} {what:50} {bar}")
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "table.rst").write_text("\n".join(lines) + "\n")
    (DOCS / "figures.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def record(fields: dict[str, Any]) -> None:
    """Keep a comparison in docs/benchmarks/compare.json and write the table of all of them."""
    DOCS.mkdir(parents=True, exist_ok=True)
    kept = DOCS / "compare.json"
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    known[f"{fields['peer']} {fields['work']}"] = fields
    kept.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    lines = [".. list-table::", "   :header-rows: 1", ""]
    heads = ("workload", "figure", "gossiplog", "the other", "ratio (each pair)")
    rows = [heads]
    for each in known.values():
        package, number = next(iter(each["versions"].items()))
        ratios = ", ".join(f"{ratio:g}" for ratio in each["ratios"])
        ours, theirs = (f"{each[side]:,.4g}" if each[side] < 1000 else f"{each[side]:,.0f}" for side in SIDES)
        other = f"{theirs} ({package} {number})"
        rows.append((each["work"], each["figure"], ours, other, f"{each['ratio']:g} ({ratios})"))
    for row in rows:
        lines += [f"   {'* -' if place == 0 else '  -'} {cell}" for place, cell in enumerate(row)]
    (DOCS / "compare.rst").write_text("\n".join(lines) + "\n")


def plots(root: Path | None, most: int, theirs_most: int, tell: Callable[[str], None]) -> None:
    """Draw growth from 10,000 to ``most`` entries (hypercore's to ``theirs_most``), and the live latencies."""
    DOCS.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="gossiplog-plots-", dir=root))
    ours, theirs = [], []
    try:
        ages = workloads.live_ages(work / "live", 2000, 100, 0.005)  # before the disk is busy with large logs
        count = 10_000
        while count <= most:
            fields = workloads.catchup(work / "ours", count, 100)
            shutil.rmtree(work / "ours")
            ours.append((float(count), float(fields["seconds"])))
            tell(f"gossiplog {count:>10,} entries: {fields['seconds']:8.2f} s  {fields['rss_mb']} MB")
            if count <= theirs_most:
                other = peers.run("hypercore", "catchup", count=count, size=100, workdir=work / "hypercore")
                theirs.append((float(count), float(other["seconds"])))
                tell(f"hypercore {count:>10,} entries: {other['seconds']:8.2f} s  {other['rss_mb']} MB")
            count *= 10
        plot.lines(
            DOCS / "growth.svg",
            "Cold catch-up of one log, 100-byte entries",
            "entries",
            "seconds",
            {"gossiplog": ours, "hypercore 11": theirs},
        )
        spread = [(percent / 10, percentile(ages, percent / 10)) for percent in range(1, 1000)]
        plot.lines(
            DOCS / "live.svg",
            "From append to the peer's reader",
            "percent of 2,000 entries",
            "ms",
            {"gossiplog": spread},
            log_x=False,
            log_y=False,
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
