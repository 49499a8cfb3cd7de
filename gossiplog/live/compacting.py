"""Compacting: what merging and reclaiming do when there is time, done now and to the end.

Responsible for: going through all logs, and saying what came of it.
Must not know: which rows are worth merging; pages.
Invariant: each step takes some milliseconds and is whole; whatever is killed, the store is as before or smaller.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from gossiplog.live.hands import Hands, node_of
from gossiplog.live.reading_logs import heads_of
from gossiplog.store.logs import Logs

MERGE_BYTES: Final = 256 * 1024
"""Prepared or committed in one step."""

AUTHORS_AT_ONCE: Final = 1024


class Compacted(NamedTuple):
    """How many bytes the store's files took before and after, where they are files."""

    before: int
    after: int


def compact(hands: Hands) -> Compacted:
    """Make a store as small as it can be.

    :raises StoreError: there is not even room for a small step, or something is damaged; what was done stays.
    """
    if node_of(hands):
        return hands.read(lambda logs: logs.compact())  # type: ignore[attr-defined,no-any-return]
    before = hands.read(_size)
    authors = (author for author, _ in heads_of(hands))
    while some := [*islice(authors, AUTHORS_AT_ONCE)]:
        hands.read(partial(_look_at, some))
        while hands.read(_merge):
            pass
    while hands.read(_reclaim):
        pass
    return Compacted(before, hands.read(_size))


def _look_at(authors: list[bytes], logs: Logs) -> None:
    logs.look_at(authors)


def _merge(logs: Logs) -> bool:
    return logs.merge_some(MERGE_BYTES)


def _reclaim(logs: Logs) -> bool:
    return logs.reclaim(thorough=True)


def _size(logs: Logs) -> int:
    """Return what the files of a store in a directory take; 0 for another one."""
    if logs.disk is None or not os.path.isdir(logs.disk):
        return 0
    return sum(
        found.stat(follow_symlinks=False).st_size for found in os.scandir(logs.disk) if found.is_file()
    )
