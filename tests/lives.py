"""A store that is used in every way on a disk that fails, and what it acknowledged.

Responsible for: one fixed course of opening, writing, merging, reading and closing; taking errors that are typed.
Must not know: how the disk fails.
Invariant: after each error everything that was acknowledged before can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossiplog.errors import AppendOutcomeUnknown, StoreError
from gossiplog.log.segment import Segment, chain_ids
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append, Request
from gossiplog.store.sqlite import journal as sqlite_journal
from gossiplog.testing.chain import Chain

ALL = 1 << 30

BOTH_JOURNALS = {"BULK_BYTES": 2000, "LARGE": 1, "MOST": 2}
"""With these two large commits in a row change the journal, and two small ones change it back."""


def use_both_journals(set_to: Callable[[Any, str, int], Any]) -> None:
    """Make a short life, or a process that is to die, go through both journals; ``set_to`` as ``setattr``."""
    for name, value in BOTH_JOURNALS.items():
        set_to(sqlite_journal, name, value)


class Life:
    """I use a store in every way, take every error that is typed, and know what was acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[StoreError] = []
        self.acknowledged: dict[bytes, list[bytes]] = {}
        self.unknown: dict[bytes, list[bytes]] = {}
        self.chain = Chain(1)

    def run(self) -> None:
        """From the first opening to the last closing."""
        logs = self.tried(lambda: open_logs(self.path))
        if logs is None:
            return
        ann = self.tried(lambda: logs.writer("ann").author)
        self.tried(logs.node_key)
        for number in range(9):
            if ann is not None:
                self.commit(logs, Append(ann, [b"%d" % number * (3000 if number == 5 else 1)] * 2))
        while self.chain.head.seq < 3:
            put = self.chain.put(bytes(20_000))
            if not self.commit(logs, Accept(*put)):
                self.chain = Chain(1)
                break
        while self.tried(lambda: logs.merge_some(ALL)):
            pass
        for number in range(3):
            if ann is not None:
                self.commit(logs, Append(ann, [b"%d" % number]))
        self.read(logs)
        logs.close()

    def commit(self, logs: Logs, request: Request) -> bool:
        """One request in one commit; after each error everything acknowledged can be read."""
        before = len(self.errors)
        outcome = self.tried(lambda: logs.process([request]))
        if outcome is None:
            error = self.errors[-1]
            self.read(logs)  # may end with another one
            if isinstance(error, AppendOutcomeUnknown):
                author = request.author if isinstance(request, Append) else self.chain.author
                self.unknown[author] = []
            return False
        for result in outcome.results:
            if isinstance(result, StoreError):
                self.errors.append(result)
        for segment in outcome.segments:
            self.acknowledged.setdefault(segment.author, []).extend(chain_ids(segment))
        return len(self.errors) == before

    def read(self, logs: Logs) -> None:
        """What was acknowledged is there."""
        for author, ids in self.acknowledged.items():
            assert held(logs, author)[: len(ids)] == ids

    def tried(self, step: Callable[[], Any]) -> Any:
        """Do a step of which only a StoreError may come."""
        try:
            return step()
        except StoreError as error:
            self.errors.append(error)
            return None


def held(logs: Logs, author: bytes) -> list[bytes]:
    """The ids on disk."""
    segments: list[Segment] = logs.segments(author, 1, ALL)
    while segments and segments[-1].last < logs.clock.seq(author):  # what is behind could not be read
        segments += logs.segments(author, segments[-1].last + 1, ALL)
    return [entry_id for segment in segments for entry_id in chain_ids(segment)]
