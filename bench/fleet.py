"""Relays over one database: what it costs that they share it.

Every figure is a ratio to plain SQL that puts the same rows into tables of the same kind, in the same processes, in
turns; the server is a private one that syncs each commit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.measure import child, fill, percentile
from bench.workloads import Fields
from gossiplog.log.segment import verify
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.postgres import schema
from gossiplog.store.requests import Accept
from tests.postgres import Cluster

RELAYS = 4
WRITERS = 2
COPY_BYTES = 1 << 20


def fleet(work: Path, rounds: int, count: int) -> Fields:
    """Appends from several relays, full segments, the way from one relay to another, a peer that catches up."""
    cluster = Cluster()
    try:
        place = _place(cluster)
        small = _writing(place, work, RELAYS, "small", rounds)
        full = _writing(place, work, WRITERS, "full", rounds)
        ages = _ages(place, work)
        through, direct = _catching_up(_place(cluster), work, count)
    finally:
        cluster.remove()
    return {
        "relays": RELAYS,
        "appends_per_s": round(small[0]),
        "append_ratio": round(small[1], 2),
        "full_mb_per_s": round(full[0] / 1e6, 1),
        "full_ratio": round(full[1], 2),
        "feed_p50_ms": round(percentile(ages, 50), 1),
        "feed_p99_ms": round(percentile(ages, 99), 1),
        "catchup_entries": count,
        "catchup_per_s": round(count / through),
        "catchup_ratio": round(direct / through, 2),
    }


def _place(cluster: Cluster) -> str:
    place = cluster.database()
    with psycopg.connect(place, autocommit=True) as connection:
        schema.create(connection)
        connection.execute(
            "CREATE TABLE bare_heads (author bytea PRIMARY KEY, seq int8 NOT NULL, id bytea NOT NULL) "
            "WITH (fillfactor = 80)"
        )
        connection.execute(
            "CREATE TABLE bare_segments (LIKE segments INCLUDING STORAGE, PRIMARY KEY (author, first))"
        )
        connection.execute("ALTER TABLE bare_segments ALTER bodies SET STORAGE EXTERNAL")
    return place


class _Process:
    """I am a process of ``bench.fleeting``, which does a piece of work each time it is told to."""

    def __init__(self, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.fleeting", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def say(self, what: str) -> None:
        """Tell it to."""
        print(what, file=self._in, flush=True)

    def hear(self) -> dict[str, Any]:
        """What it says when it is done."""
        line = self._out.readline()
        if not line:
            raise SystemExit("bench: a relay failed")
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        """End it."""
        self._in.close()
        self._out.close()
        self._process.wait()


def _writing(place: str, work: Path, count: int, kind: str, rounds: int) -> tuple[float, float]:
    """What relays write in a second, segments or, of full ones, bytes; and its ratio to plain SQL."""
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    with ExitStack() as stack:
        writers = [_Process(kind, place, work / f"{kind}{number}", number, rounds) for number in range(count)]
        for writer in writers:
            stack.enter_context(closing(writer))
            writer.hear()
        for number in range(2 * rounds):
            turn = ("ours", "bare")[(number + number // 2) % 2]  # ours, bare, bare, ours
            for writer in writers:
                writer.say(turn)
            said = [writer.hear() for writer in writers]
            seconds = max(each["end"] for each in said) - min(each["begin"] for each in said)
            rates[turn].append(sum(each["done"] for each in said) / seconds)
    return median(rates["ours"]), median(rates["ours"]) / median(rates["bare"])


def _ages(place: str, work: Path) -> list[float]:
    """Milliseconds from the end of one relay's commit until another relay tells of it."""
    with closing(_Process("watch", place, work / "watching", 0, 0)) as watcher:
        watcher.hear()
        with closing(_Process("say", place, work / "saying", 100, 0)) as writer:
            writer.hear()
            writer.say("ours")
            committed = writer.hear()["ends"]
        watcher.say("")
        seen = watcher.hear()["seen"]
    assert isinstance(committed, list) and isinstance(seen, list)
    return [max(0.0, (there - here) * 1e3) for here, there in zip(committed, seen, strict=True)]


def _catching_up(place: str, work: Path, count: int) -> tuple[float, float]:
    """Seconds that a new peer needs, from a relay and from a node with a store on SQLite."""
    sender = work / "sender"
    fill(sender, count, 100)
    copying = closing(open_logs(place, state=work / "relay"))
    with closing(open_logs(sender, init=False)) as source, copying as target:
        _copy(source, target)
    stores = {"relay": ("--store", place, "--state", str(work / "relay")), "sqlite": ("--store", str(sender))}
    seconds: dict[str, list[float]] = {name: [] for name in stores}
    for number, name in enumerate(("relay", "sqlite", "sqlite", "relay")):
        with child("serve", *stores[name]) as server:
            peer = ("--peer", server.read()["address"], "--expect", str(count))
            with child("fetch", "--store", str(work / f"fetched{number}"), *peer) as fetcher:
                fetcher.read()
                fetcher.say("go")
                seconds[name].append(fetcher.read()["seconds"])
    return min(seconds["relay"]), min(seconds["sqlite"])


def _copy(source: Logs, target: Logs) -> None:
    for author in source.clock:
        seq = 0
        while segments := source.segments(author, seq + 1, COPY_BYTES):
            target.process([Accept(segment, verify(segment)) for segment in segments])
            seq = segments[-1].last
