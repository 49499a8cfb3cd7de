"""What ``screen.py`` of docs/howto/reading.rst does: the newest entries of all, then what comes; without pages."""

import heapq
from typing import Any

from twisted.internet.task import react

from gossiplog import Entry, open_store


async def main(reactor: Any) -> None:
    async with open_store("square", reactor) as store:
        newest: list[tuple[int, bytes, int, Entry]] = []
        past = store.read(encoding="json")
        async for entry in past:  # all that there is, to show the last two
            heapq.heappush(newest, (entry.timestamp_ms, entry.author, entry.seq, entry))
            if len(newest) > 2:
                heapq.heappop(newest)
        for *_, entry in sorted(newest):
            print(entry.payload["said"])
        writer = await store.writer("ann", encoding="json")
        await writer.append({"said": "more", "loud": True})
        async for entry in store.read(after=past.cursor(), encoding="json"):
            print(entry.payload["said"])


react(main)
