"""``python -m bench NAME``: one JSON line; ``--repeat N`` gives the median run of N."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import compare, heads, hosting, peers, reconcile, report, start, swarm, system, workloads
from bench.workloads import Fields

Run = Callable[[Path, argparse.Namespace], Fields]

BENCHMARKS: dict[str, tuple[Run, str, dict[str, object], str]] = {
    # name: (function, the field repeated runs are ordered by, options with their defaults, help)
    "catchup": (
        lambda work, o: workloads.catchup(work, o.count, o.size, o.authors, single=o.single),
        "entries_per_s",
        {"count": 100_000, "size": 100, "authors": 1, "single": False},
        "cold catch-up of --count entries of each of --authors between two processes",
    ),
    "append": (
        lambda work, o: workloads.append(work, o.count, o.size, o.in_flight),
        "batch_per_s",
        {"count": 200_000, "size": 100, "in_flight": 4},
        "appends: awaited one at a time, 64 in flight, batches of 1,000",
    ),
    "swarm": (
        lambda work, o: swarm.swarm(o.nodes, o.seed, only_growth=o.only_growth),
        "seconds",
        {"nodes": 200, "seed": 1, "only_growth": False},
        "--nodes that find each other by one address each, in virtual time; half of them die, half of them lie",
    ),
    "cursors": (
        lambda work, o: workloads.cursors(work, o.authors, o.entries),
        "each_s",
        {"authors": 5000, "entries": 10_000},
        "a cursor of --authors saved after each of --entries, against one of one author, and once",
    ),
    "reading": (
        lambda work, o: workloads.reading(work, o.entries, o.authors),
        "bytes_per_s",
        {"entries": 1_000_000, "authors": 100},
        "stored entries one by one, in batches, the newest, in reverse, and one",
    ),
    "authors": (
        lambda work, o: workloads.catchup(work, o.count, o.size, o.authors, single=o.single),
        "entries_per_s",
        {"count": 10, "size": 100, "authors": 1000, "single": False},
        "catch-up of many short logs; --single: written one entry at a time, then merged",
    ),
    "views": (
        lambda work, o: workloads.views(work, o.entries, o.authors),
        "rebuild_p99_ms",
        {"entries": 1_000_000, "authors": 100},
        "views built from --entries of --authors: counts, a table, a search; and what live appends wait meanwhile",
    ),
    "payload": (
        lambda work, o: workloads.catchup(work, o.count, o.size),
        "mb_per_s",
        {"count": 2000, "size": 65_536},
        "catch-up of large entries",
    ),
    "live": (
        lambda work, o: workloads.live(work, o.count, o.size, o.interval),
        "p50_ms",
        {"count": 1000, "size": 100, "interval": 0.005},
        "latency from append to the peer's reader",
    ),
    "live-under-load": (
        lambda work, o: workloads.live(work, o.count, o.size, o.interval, load=o.load),
        "p99_ms",
        {"count": 200, "size": 100, "interval": 0.005, "load": 1_000_000},
        "the same while --load entries catch up on the same connection",
    ),
    "merging": (
        lambda work, o: workloads.merging(work, o.count, o.size),
        "step_max_ms",
        {"count": 20_000, "size": 100},
        "what an append may wait for while small segments are merged",
    ),
    "memory": (
        lambda work, o: system.memory(work, [int(c) for c in o.counts.split(",")], o.size),
        "size",
        {"counts": "100000,1000000", "size": 100},
        "peak memory of a catch-up at several sizes",
    ),
    "start": (
        lambda work, o: start.start(work, o.runs),
        "blocking_ms",
        {"runs": 7},
        "CPU until a program has imported what it needs, or did a little",
    ),
    "open": (
        lambda work, o: system.opening(work, o.count, o.authors),
        "open_entries_s",
        {"count": 1_000_000, "authors": 100_000},
        "opening a store of many entries, of many authors",
    ),
    "idle": (
        lambda work, o: system.idle(work, o.connections, o.seconds),
        "kb_per_connection",
        {"connections": 500, "seconds": 10.0},
        "memory and CPU of idle connections",
    ),
    "hosting": (
        lambda work, o: hosting.hosting(work, o.networks, o.seconds),
        "idle_cpu_percent",
        {"networks": 200, "seconds": 10.0},
        "memory, threads, descriptors, start-up and CPU of --networks idle networks in one process",
    ),
    "fanout": (
        lambda work, o: system.fanout(work, o.peers, o.rounds),
        "last_peer_ms",
        {"peers": 100, "rounds": 3},
        "one append to many connected peers",
    ),
    "fleet": (
        lambda work, o: _fleet(work, o.rounds, o.count),
        "append_ratio",
        {"rounds": 4, "count": 100_000},
        "relays over one PostgreSQL, against plain SQL of the same rows: appends, full segments, catch-up, delay",
    ),
    "heads": (
        lambda work, o: heads.heads(o.authors),
        "rss_mb",
        {"authors": 1_000_000},
        "memory and comparing of --authors of whom few heads are in memory",
    ),
    "reconcile": (
        lambda work, o: reconcile.reconcile(o.authors, o.different),
        "bytes",
        {"authors": 100_000, "different": 100},
        "bytes and round trips until two clocks of --authors know the --different ones",
    ),
}


def _fleet(work: Path, rounds: int, count: int) -> Fields:
    """What needs the extra ``postgres``, and a server."""
    from bench.fleet import fleet

    return fleet(work, rounds, count)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for name, (_, _, options, text) in BENCHMARKS.items():
        command = commands.add_parser(name, help=text, description=text)
        for option, default in options.items():
            flag = "--" + option.replace("_", "-")
            if default is False:
                command.add_argument(flag, action="store_true")
            else:
                command.add_argument(flag, type=type(default), default=default, help=f"default {default}")
        command.add_argument("--repeat", type=int, default=1, help="print the median of so many runs")
        command.add_argument("--dir", type=Path, help="where the stores go (default: a temporary directory)")
    command = commands.add_parser("all", help="every row of docs/benchmarks.rst, in about ten minutes")
    command.add_argument("--dir", type=Path)
    command = commands.add_parser("plots", help="draw the plots of docs/benchmarks.rst")
    command.add_argument("--dir", type=Path)
    command.add_argument("--most", type=int, default=10_000_000, help="entries of the largest log")
    command.add_argument(
        "--theirs-most", type=int, default=100_000, help="of hypercore's; 1,000,000 take minutes"
    )
    command = commands.add_parser("compare", help="ours and another system's, interleaved")
    command.add_argument("peer", choices=peers.PEERS)
    command.add_argument("--workload", choices=compare.DEFAULTS, default="catchup")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--count", type=int, help="entries in all")
    command.add_argument("--size", type=int, help="payload bytes")
    command.add_argument("--authors", type=int)
    command.add_argument(
        "--single", action="store_true", help="ours written one entry at a time, then merged"
    )
    command.add_argument("--dir", type=Path)
    command.add_argument("--record", action="store_true", help="keep the result in docs/benchmarks/")
    return parser.parse_args()


def tell(line: str) -> None:
    """For people, while it runs: the JSON lines go to standard output."""
    print(line, file=sys.stderr, flush=True)


def run(name: str, options: argparse.Namespace) -> Fields:
    """The median of ``options.repeat`` runs, each in a fresh directory."""
    function, key, _, _ = BENCHMARKS[name]
    runs = []
    for _ in range(options.repeat):
        work = Path(tempfile.mkdtemp(prefix="gossiplog-bench-", dir=options.dir))
        try:
            runs.append(function(work, options))
        finally:
            shutil.rmtree(work)
    runs.sort(key=lambda fields: fields[key])
    return {"benchmark": name, "runs": len(runs), **runs[len(runs) // 2]}


if __name__ == "__main__":
    chosen = parse()
    if chosen.benchmark == "all":
        report.everything(chosen.dir, tell)
    elif chosen.benchmark == "plots":
        report.plots(chosen.dir, chosen.most, chosen.theirs_most, tell)
    elif chosen.benchmark == "compare":
        fields = compare.compare(
            chosen.peer,
            chosen.workload,
            rounds=chosen.rounds,
            count=chosen.count,
            size=chosen.size,
            authors=chosen.authors,
            single=chosen.single,
            root=chosen.dir,
            tell=tell,
        )
        if chosen.record:
            report.record(fields)
        print(json.dumps(fields))
    else:
        print(json.dumps(run(chosen.benchmark, chosen)))
