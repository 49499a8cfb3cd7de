"""The cursor benchmark's process: ``python -m bench.cursors WORK AUTHORS ENTRIES`` prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from bench.system import fill_authors
from gossiplog import Cursor, Store, open_store


async def read(store: Store, entries: int, each: bool) -> float:
    """Seconds to read ``entries``, the cursor saved after each of them or once at the end.

    It begins with the first entry of each author, and so knows them all.
    """
    await store.save_cursor(f"each {each}", Cursor(dict.fromkeys(store.clock, (1, b""))))
    started = time.perf_counter()
    reader = store.read(after=await store.cursor(f"each {each}"))
    count = 0
    async for _ in reader:
        count += 1
        if each or count == entries:
            await store.save_cursor(f"each {each}", reader.cursor())
        if count == entries:
            return time.perf_counter() - started
    raise SystemExit(f"bench: the store has {count} of {entries} entries")


async def commits(store: Store, count: int) -> float:
    """Seconds for so many durable saves of a cursor of one author: what each save costs at least."""
    cursor = Cursor()
    author = next(iter(store.clock))
    started = time.perf_counter()
    for seq in range(1, count + 1):
        cursor.advance(author, seq)
        await store.save_cursor("one author", cursor)
    return time.perf_counter() - started


def written_kb() -> float:
    """What this process has given the system to write."""
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0]) / 1024


async def main(reactor: Any, work: Path, authors: int, entries: int) -> None:
    fill_authors(work / "store", authors, 1 - -entries // authors)
    store = open_store(work / "store", reactor)
    once = await read(store, entries, each=False)
    least = await commits(store, entries)
    before = written_kb()
    each = await read(store, entries, each=True)
    kb = (written_kb() - before) / entries
    await store.close()
    fields = {
        "authors": authors,
        "entries": entries,
        "once_s": round(once, 3),
        "each_s": round(each, 3),
        "commits_s": round(least, 3),
        "ratio": round(each / (once + least), 2),
        "kb_per_save": round(kb, 1),
    }
    print(json.dumps(fields))


if __name__ == "__main__":
    react(main, (Path(sys.argv[1]), *map(int, sys.argv[2:4])))
