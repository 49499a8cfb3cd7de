"""The reading benchmark's process: ``python -m bench.reading WORK ENTRIES AUTHORS`` prints one JSON line.

Each part is a function of an open store that returns fields; rates are of one log in five, so that a run takes seconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from bench.measure import HashRate, merge_all
from bench.workloads import Fields
from gossiplog import Store, blocking, open_store
from gossiplog.log.body import encode_bodies
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append

SIZE = 100
STARTED_MS = 1_790_000_000_000
ROUND = 100
"""Entries of one author at once, and then of the next: their times lie between those of the others."""


def fill(path: Path, entries: int, authors: int) -> None:
    """Write ``entries`` of ``SIZE`` bytes of JSON into the logs of ``authors`` writers, in turn."""
    logs = open_logs(path)
    writers = [logs.writer(f"bench-{number}").author for number in range(authors)]
    written = 0
    while written < entries:
        appends = []
        for author in writers:
            now_ms = STARTED_MS + written
            payloads = [f'{{"n":{written + n:010},"text":"'.encode() for n in range(ROUND)]
            bodies = encode_bodies(
                now_ms, [each + b"x" * (SIZE - len(each) - 2) + b'"}' for each in payloads]
            )
            appends.append(Append(author, bodies))
            written += ROUND
        logs.process(appends)
    merge_all(logs)
    logs.close()


async def _rate(store: Store, **how: Any) -> int:
    """Entries per second, one by one."""
    count = 0
    started = time.perf_counter()
    for author in list(store.clock)[::5]:
        async for _ in store.read(author, **how):
            count += 1
    return round(count / (time.perf_counter() - started))


async def rates(store: Store) -> Fields:
    """Whole entries: just after opening, when each row is verified as well, and then in several ways."""
    fields: Fields = {"first_per_s": await _rate(store), "bytes_per_s": await _rate(store)}
    fields["json_per_s"] = await _rate(store, encoding="json")
    fields["reverse_per_s"] = await _rate(store, reverse=True)
    fields["where_per_s"] = await _rate(store, where=lambda entry: entry.seq)
    count = 0
    started = time.perf_counter()
    for author in list(store.clock)[::5]:
        async for batch in store.read(author).batches(1000):
            count += len(batch.entries)
    fields["batches_per_s"] = round(count / (time.perf_counter() - started))
    return fields


async def _each(store: Store, ask: Callable[[bytes], Awaitable[object]]) -> float:
    """Milliseconds to ask something of one log, the median over all of them."""
    spent = []
    for author in list(store.clock):
        started = time.perf_counter()
        await ask(author)
        spent.append(time.perf_counter() - started)
    return round(1000 * statistics.median(spent), 2)


async def ends(store: Store) -> Fields:
    """The newest 100 of one log and one entry of its middle: of rows not read before, and again."""

    async def newest(author: bytes) -> None:
        count = 0
        async for _ in store.read(author, newest=100):
            count += 1
        assert count == 100

    async def entry(author: bytes) -> None:
        await store.entry(author, store.clock.seq(author) // 2)

    fields: Fields = {}
    for name, ask in (("newest", newest), ("entry", entry)):
        fields[f"{name}_ms"] = await _each(store, ask)
        fields[f"{name}_again_ms"] = await _each(store, ask)
    return fields


async def building(store: Store) -> Fields:
    """The index of places, made for the first page that somebody asks for."""
    started = time.perf_counter()
    await store.timeline(1)
    return {"index_per_s": round(store.clock.total() / (time.perf_counter() - started))}


async def pages(store: Store) -> Fields:
    """Pages of 50 entries with the index there: the first of a process, and those that follow, while rows are verified;
    then the first one again."""
    size = (Path(store.path) / "views" / "_places.sqlite").stat().st_size
    spent = []
    older: str | None = None
    for _ in range(20):
        started = time.perf_counter()
        older = (await store.timeline(50, older=older, encoding="json")).older
        spent.append(1000 * (time.perf_counter() - started))
        if older is None:
            break
    started = time.perf_counter()
    await store.timeline(50, encoding="json")
    return {
        "index_bytes_per_entry": round(size / store.clock.total(), 2),
        "page_first_ms": round(spent[0], 1),
        "page_next_ms": round(statistics.median(spent[1:] or spent), 1),
        "page_next_max_ms": round(max(spent[1:] or spent), 1),
        "page_again_ms": round(1000 * (time.perf_counter() - started), 1),
    }


def waiting(path: Path) -> Fields:
    """The same through ``gossiplog.blocking``."""
    count = 0
    with blocking.Store(path) as store:
        authors = list(store.clock)[::5]
        started = time.perf_counter()
        for author in authors:
            for _ in store.read(author):
                count += 1
        return {"blocking_per_s": round(count / (time.perf_counter() - started))}


PARTS = (building, pages, ends, rates)
"""In this order: what reads little first, while no row is verified."""


async def main(reactor: Any, work: Path, entries: int, authors: int) -> None:
    path = work / "store"
    hashes = HashRate(entries, SIZE)
    fill(path, entries, authors)
    fields: Fields = {"entries": entries, "authors": authors}
    for part in PARTS:
        store = open_store(path, reactor)
        fields |= await part(store)
        await store.close()
    fields |= waiting(path)
    fields["hash_per_s"] = round(hashes.measured())
    print(json.dumps(fields))


if __name__ == "__main__":
    react(main, (Path(sys.argv[1]), *map(int, sys.argv[2:4])))
