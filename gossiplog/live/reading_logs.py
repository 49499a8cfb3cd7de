"""Reading many logs in steps that each take little, however many and however long they are.

Responsible for: what is read in one step, and going on behind it.
Must not know: what the rows are for.
Invariant: for each log the rows come in order and without a gap, up to its end or to what cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from gossiplog.errors import StoreError
from gossiplog.live.hands import Hands
from gossiplog.log.clock_view import whole
from gossiplog.log.segment import Head, Segment, toil_bytes
from gossiplog.store.logs import Logs

READ_BYTES: Final = 1 << 18
"""Read in one step, during which an append to the store would wait: some milliseconds."""

LOGS_AT_ONCE: Final = 256
"""Looked at in one step, that of most nothing is to be read."""

HEADS_AT_ONCE: Final = 1024
"""Read in one step, where they are not in memory."""


class Stretch(NamedTuple):
    """Of this log the entries from ``first`` to ``end`` are wanted."""

    author: bytes
    first: int
    end: int


def heads_of(hands: Hands) -> Iterator[tuple[bytes, Head]]:
    """Yield the heads of all logs, by author, as they are now; where not all are in memory, ``HEADS_AT_ONCE`` as of
    when they are wanted."""
    begin, is_last = b"", False
    while not is_last:
        found, is_last = hands.read(partial(_heads, begin))
        yield from found
        begin = found[-1][0] + b"\0" if found else b""


def _heads(begin: bytes, logs: Logs) -> tuple[list[tuple[bytes, Head]], bool]:
    clock = whole(logs.clock)
    if clock is not None:
        return [*clock.items()], True
    found = some_heads(begin, b"", logs)
    return found, len(found) < HEADS_AT_ONCE


def some_heads(begin: bytes, end: bytes, logs: Logs) -> list[tuple[bytes, Head]]:
    """Return the first ``HEADS_AT_ONCE`` heads with ``begin <= author < end``; ``b""`` as end means the last author."""
    return [*islice(logs.clock.range(begin, end), HEADS_AT_ONCE)]


def read_logs(hands: Hands, wanted: Iterable[Stretch]) -> Iterator[tuple[bytes, list[Segment] | StoreError]]:
    """Yield rows of each log, or why there are no more of it; nothing of one that was deleted meanwhile."""
    waiting = iter(wanted)
    begun: list[Stretch] = []
    while some := [*begun, *islice(waiting, LOGS_AT_ONCE - len(begun))]:
        found, begun = hands.read(partial(_step, some))
        yield from found


def _step(
    wanted: list[Stretch], logs: Logs
) -> tuple[list[tuple[bytes, list[Segment] | StoreError]], list[Stretch]]:
    found: list[tuple[bytes, list[Segment] | StoreError]] = []
    size = 0
    for place, (author, first, end) in enumerate(wanted):
        while first <= end:
            if size >= READ_BYTES:
                return found, [Stretch(author, first, end), *wanted[place + 1 :]]
            try:
                rows = logs.segments(author, first, READ_BYTES - size, end)
            except StoreError as error:
                if author in logs.clock:
                    found.append((author, error))
                break
            if not rows:
                break
            found.append((author, rows))
            size += sum(map(toil_bytes, rows))
            first = rows[-1].last + 1
    return found, []
