"""The append benchmark's process: ``python -m bench.appending WORK COUNT SIZE IN_FLIGHT`` prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.task import Cooperator, react

from bench.measure import BATCH, HashRate, disk_bytes, merge_all, payloads, peak_rss_mb
from bench.workloads import bare_sqlite
from gossiplog import Writer, open_store

SINGLES = 2000


async def one_at_a_time(writer: Writer, count: int, size: int) -> float:
    """Appends per second, each awaited before the next."""
    started = time.perf_counter()
    for batch in payloads(count, size, seed=2):
        for payload in batch:
            await writer.append(payload)
    return count / (time.perf_counter() - started)


async def many_in_flight(writer: Writer, reactor: Any, work: list[Any], width: int, batches: bool) -> float:
    """Items per second with ``width`` calls under way at once."""

    def calls() -> Any:
        for item in work:
            yield writer.append_many(item) if batches else writer.append(item)

    cooperator = Cooperator(scheduler=lambda call: reactor.callLater(0, call))
    todo = calls()
    started = time.perf_counter()
    await gatherResults([cooperator.coiterate(todo) for _ in range(width)])
    total = sum(map(len, work)) if batches else len(work)
    return total / (time.perf_counter() - started)


async def main(reactor: Any, work: Path, count: int, size: int, in_flight: int) -> None:
    bare, single = [], []
    store = open_store(work / "store", reactor)
    writer = await store.writer()
    alone = min(SINGLES, count)
    for turn in range(3):
        bare.append(alone / sum(bare_sqlite(work / f"bare-{turn}.sqlite", alone, size)))
        single.append(await one_at_a_time(writer, alone, size))
    singles = [payload for batch in payloads(16 * alone, size, seed=3) for payload in batch]
    flying = await many_in_flight(writer, reactor, singles, 64, batches=False)
    del singles
    batches = list(payloads(count, size, seed=4))
    started = len(store.clock) and store.clock.total()
    hashes = HashRate(count, size)
    rate = await many_in_flight(writer, reactor, batches, in_flight, batches=True)
    hash_per_s = hashes.measured()
    if store.clock.total() - started != count:
        raise SystemExit("bench: not every batch is on disk")
    running = disk_bytes(work / "store")
    total = store.clock.total()
    await store._core.run(merge_all)  # what was written one at a time; it happens when nothing else does
    await store.close()
    bare_rate, single_rate = sorted(bare)[1], sorted(single)[1]
    fields = {
        "entries": count,
        "size": size,
        "single_per_s": round(single_rate),
        "bare_sqlite_per_s": round(bare_rate),
        "single_ratio": round(single_rate / bare_rate, 2),
        "in_flight_64_per_s": round(flying),
        "in_flight_64_ratio": round(flying / bare_rate, 2),
        "batch": BATCH,
        "batches_in_flight": in_flight,
        "batch_per_s": round(rate),
        "seconds": round(count / rate, 4),
        "hash_per_s": round(hash_per_s),
        "hash_ratio": round(rate / hash_per_s, 3),
        "rss_mb": round(peak_rss_mb(), 1),
        "disk_bytes_per_entry_running": round(running / total, 1),
        "disk_bytes_per_entry": round(disk_bytes(work / "store") / total, 1),
    }
    print(json.dumps(fields))


if __name__ == "__main__":
    react(main, (Path(sys.argv[1]), *map(int, sys.argv[2:5])))
