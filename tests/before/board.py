"""What ``board.py`` of docs/howto/order.rst does, with an order that is computed by hand, in memory."""

import heapq
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from twisted.internet.task import react

from gossiplog import Entry, Reference, open_store

Key = tuple[bytes, int]


def in_order(entries: list[Entry]) -> Iterator[Entry]:
    """Yield entries by time, but none before the one before it in its log, nor before those that it names."""
    held = {(entry.author, entry.seq): entry for entry in entries}
    waits: dict[Key, set[Key]] = {}
    freed: dict[Key, list[Key]] = {}
    ready: list[tuple[int, Key]] = []
    for key, entry in held.items():
        behind = {(entry.author, entry.seq - 1)}
        for named in entry.after:
            there = held.get((named.author, named.seq))
            if there is not None and there.id[:16] == named.id16:
                behind.add((named.author, named.seq))
        waits[key] = behind & held.keys()
        for each in waits[key]:
            freed.setdefault(each, []).append(key)
        if not waits[key]:
            heapq.heappush(ready, (entry.timestamp_ms, key))
    while ready:
        ms, key = heapq.heappop(ready)
        yield held[key]
        for each in freed.get(key, ()):
            waits[each].discard(key)
            if not waits[each]:
                heapq.heappush(ready, (max(ms, held[each].timestamp_ms), each))


async def main(reactor: Any) -> None:
    async with open_store("board", reactor) as store:
        ann = await store.writer("ann", encoding="json")
        bob = await store.writer("bob", encoding="json")
        await ann.append({"ask": "who has seen the heron?"})
        [question] = [entry async for entry in store.read(ann.author, encoding="json")]

        with patch(
            "time.time", return_value=question.timestamp_ms / 1000 - 3600
        ):  # bob's clock is an hour behind
            named = Reference(question.author, question.seq, question.id[:16])
            await bob.append({"say": "at the weir, at six"}, after=[named])

        entries = [entry async for entry in store.read(encoding="json")]
        print([entry.payload for entry in sorted(entries, key=lambda entry: entry.time)])
        for entry in in_order(entries):
            print(entry.payload)


react(main)
