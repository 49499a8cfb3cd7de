"""The benchmark of views' process: ``python -m bench.viewing WORK ENTRIES AUTHORS`` prints one JSON line."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from gossiplog import Entry, LiveView, Search, Store, View, Writer, open_store
from gossiplog.app.foreground import SWITCH_SECONDS
from gossiplog.log.body import encode_bodies
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept

SECONDS = 8.0
"""Of live appends, each awaited, a hundredth of a second apart."""

TOLD = 300
ROWS = 1000


class Counts(View):
    """How many entries there are in each room."""

    name, encoding = "counts", "json"
    schema = "CREATE TABLE counts (room INT PRIMARY KEY, n INT)"

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Count."""
        counted = Counter(entry.payload["room"] for entry in entries).items()
        return db.executemany(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", counted
        )


class Rooms(View):
    """What was said in each room, by time."""

    name, encoding, owned = "rooms", "json", ("said",)
    schema = (
        "CREATE TABLE said (room INT, ms INT, author BLOB, seq INT, text TEXT); "
        "CREATE INDEX said_by_room ON said (room, ms)"
    )

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Note all."""
        rows = [(e.payload["room"], e.timestamp_ms, e.author, e.seq, e.payload["text"]) for e in entries]
        return db.executemany("INSERT INTO said VALUES (?, ?, ?, ?, ?)", rows)


def fill(path: Path, entries: int, authors: int) -> None:
    """Write logs of 82 bytes an entry, as JSON, in rows of a thousand."""
    draw = Random(1)
    words = [f"word{int(draw.paretovariate(1.0)) % 30_000}" for _ in range(100_000)]
    logs = open_logs(path)
    pairs = [Keypair(number.to_bytes(32, "big")) for number in range(authors)]
    heads = [Head(0, genesis_id(pair.author)) for pair in pairs]
    for _ in range(max(1, entries // authors // ROWS)):
        for number, pair in enumerate(pairs):
            payloads = []
            for _ in range(min(ROWS, entries // authors)):
                at = draw.randrange(len(words) - 8)
                payloads.append(json.dumps({"room": at % 100, "text": " ".join(words[at : at + 8])}).encode())
            segments, heads[number] = build(pair, heads[number], encode_bodies(1_790_000_000_000, payloads))
            for segment in segments[:-1]:
                raise SystemExit(f"bench: {segment.count} entries are no row of their own")
            logs.process([Accept(segments[0], heads[number])])
    logs.close()


async def rate(store: Store, view: View) -> int:
    """Entries per second from nothing until it is ready."""
    started = time.perf_counter()
    live = await store.view(view)
    await live.ready()
    seconds = time.perf_counter() - started
    await live.close()
    return round(store.clock.total() / seconds)


async def appends(reactor: Any, writer: Writer, seconds: float) -> list[float]:
    """How long each of some appends took, in milliseconds, sorted."""
    took = []
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        began = time.perf_counter()
        await writer.append({"room": 1, "text": "live"})
        took.append((time.perf_counter() - began) * 1000)
        await deferLater(reactor, 0.01)
    return sorted(took)


async def told(writer: Writer, live: LiveView, count: int) -> list[float]:
    """From when an append is durable until the view says that it has it, in milliseconds, sorted."""
    changes = live.changes()
    took = []
    for _ in range(count):
        waiting = Deferred.fromCoroutine(changes.__anext__())
        await writer.append({"room": 1, "text": "told"})
        durable = time.perf_counter()
        await waiting
        took.append((time.perf_counter() - durable) * 1000)
    changes.close()
    return sorted(took)


def at(took: Sequence[float], share: float) -> float:
    """A quantile."""
    return round(took[min(len(took) - 1, int(len(took) * share))], 2)


async def main(reactor: Any, work: Path, entries: int, authors: int) -> None:
    """Fill a store, and measure."""
    sys.setswitchinterval(SWITCH_SECONDS)
    fill(work / "store", entries, authors)
    store = open_store(work / "store", reactor)
    writer = await store.writer("live", encoding="json")
    counts = await rate(store, Counts())
    found = await rate(store, Search(lambda entry: entry.payload["text"]))
    alone = await appends(reactor, writer, min(SECONDS, entries / 1000) / 2)
    began = time.perf_counter()
    rooms = await store.view(Rooms())
    ready = rooms.ready()
    during: list[float] = []
    while not ready.called:
        during += await appends(reactor, writer, 0.1)
    table = store.clock.total() / (time.perf_counter() - began)
    during.sort()
    latency = await told(writer, rooms, min(TOLD, entries))
    await store.close()
    fields = {
        "entries": entries,
        "authors": authors,
        "counts_per_s": counts,
        "table_per_s": round(table),
        "search_per_s": found,
        "append_p50_ms": at(alone, 0.5),
        "append_p99_ms": at(alone, 0.99),
        "rebuild_p50_ms": at(during, 0.5),
        "rebuild_p99_ms": at(during, 0.99),
        "rebuild_appends": len(during),
        "told_p50_ms": at(latency, 0.5),
        "told_p99_ms": at(latency, 0.99),
        "search_bytes_per_entry": round((work / "store/views/search.1.sqlite").stat().st_size / entries),
    }
    print(json.dumps(fields))


if __name__ == "__main__":
    react(main, (Path(sys.argv[1]), *map(int, sys.argv[2:4])))
