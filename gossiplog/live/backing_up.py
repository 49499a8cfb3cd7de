"""Backing a store up into another directory, and making a store of such a backup again.

Responsible for: what of a store belongs to a backup, bringing one up to date, and checking it.
Must not know: who uses the store meanwhile; when a copy may append (``store/copy_guard``).
Invariant: a backup is a store at every moment, whatever is killed or full: of each log it has a verified beginning, and
once it was brought up to date all that was in the store when that began.  It never appends for a writer of that store,
nor does what is made of it, before ``recover``.  Nothing is written to what is no backup of this store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from gossiplog.errors import (
    BadSegmentError,
    BadSignatureError,
    GossiplogError,
    NotABackupError,
    StoreDamagedError,
    StoreError,
)
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.gossip.saved_book import KEPT_AS as BOOK
from gossiplog.limits import FILL_ROWS
from gossiplog.live.hands import Hands, OwnHands, node_of
from gossiplog.live.reading_logs import LOGS_AT_ONCE, READ_BYTES, Stretch, heads_of, read_logs
from gossiplog.log.cursor import Cursor
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.fork import ForkProof
from gossiplog.log.kept_key import load
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, HoledRow, Segment
from gossiplog.paths import AnyPath
from gossiplog.store.door import directory_of, require_another
from gossiplog.store.logs import NETWORK, Logs, open_logs
from gossiplog.store.repair.verify import VerifyReport
from gossiplog.store.requests import Accept, AddFork, FillRow, Forget, Request, SetCursor, SetMeta, Stale

LINEAGE: Final = "lineage"
"""Sixteen bytes that a store and its backups share, and what is made of these."""

MARK: Final = "backup"
"""Set in what is a backup, or a store that is not restored as a whole yet."""

_BACKUP: Final = b"backup"
_RESTORING: Final = b"restoring"
_COPIED: Final = "copied"

_VALUES: Final = (NETWORK, KEPT_AS, BOOK)
"""What of a store's own values is the same in a backup."""

COMMIT_BYTES: Final = 1 << 20
_ANOTHER: Final = "the backup holds another log of this author"
_MERGE_BYTES: Final = 1 << 20


class BackedUp(NamedTuple):
    """What went into a backup that was not in it: so many entries of so many authors; and what it holds now, if that
    was checked.

    ``left_out`` says why something of an author is not in it, and of ``None`` why something else is not.
    """

    entries: int
    authors: int
    left_out: dict[bytes | None, str]
    report: VerifyReport | None


def back_up(
    hands: Hands, source: str, target: AnyPath, *, seeds: bool = True, check: bool = True
) -> BackedUp:
    """Bring the backup of the store at ``source`` in the directory ``target`` up to date; make it if there is none.

    :raises NotABackupError: something else is there, or the backup of another store.
    :raises StoreError: one of the two fails; what is there is whole, and another time goes on from there.
    """
    if node_of(hands):
        return hands.read(lambda logs: logs.backup(directory_of(target), seeds, check))  # type: ignore[attr-defined,no-any-return]
    require_another(source, target, "a backup is another one")
    lineage = hands.read(lambda logs: logs.meta(LINEAGE))
    if lineage is None:
        lineage = os.urandom(16)
        [done] = hands.write([SetMeta(LINEAGE, lineage)])
        if isinstance(done, BaseException):
            raise done
    with closing(open_logs(directory_of(target))) as logs:
        _claim(logs, lineage, _BACKUP, f"a backup of {source}")
        return _Copying(hands, logs).run(seeds, check)


def restore_store(backup: AnyPath, target: AnyPath) -> BackedUp:
    """Make a store of a backup, in a directory that is empty or not there; its writers append after ``recover``.

    :raises NotABackupError: there is none, or something is where the store is to be.
    """
    require_another(backup, target, "a store is restored to another place")
    with closing(open_logs(directory_of(backup), init=False, read_only=True)) as saved:
        lineage = saved.meta(LINEAGE)
        if saved.meta(MARK) != _BACKUP or lineage is None:
            raise NotABackupError(
                f"{saved.path} is no backup: gossiplog backup makes one, import takes from any store"
            )
        with closing(open_logs(directory_of(target))) as logs:
            _claim(logs, lineage, _RESTORING, f"restored from {saved.path}")
            done = _Copying(OwnHands(saved), logs).run(True, True)
            if done.report is not None and done.report.ok:
                logs.process([SetMeta(MARK, None)])
            return done


def _claim(logs: Logs, lineage: bytes, mark: bytes, words: str) -> None:
    """Mark a store that holds nothing; any other has to have the mark."""
    if logs.meta(MARK) == mark and logs.meta(LINEAGE) == lineage and (logs.copied or not logs.local):
        return
    if logs.clock or logs.local or logs.forks or logs.meta(NETWORK) or logs.meta(LINEAGE):
        raise NotABackupError(
            f"{logs.path} is another store, or a backup of another one: name a new directory, or the one that was "
            "made by this for this store"
        )
    why = f"it is {words}".encode(errors="replace")
    logs.process([SetMeta(LINEAGE, lineage), SetMeta(MARK, mark), SetMeta(_COPIED, why)])


class _Copying:
    """I bring ``logs`` up to date with what ``hands`` hold."""

    def __init__(self, hands: Hands, logs: Logs) -> None:
        self._hands = hands
        self._logs = logs
        self._entries = 0
        self._authors: set[bytes] = set()
        self._left_out: dict[bytes | None, str] = {}

    def run(self, seeds: bool, check: bool) -> BackedUp:
        self._copy_values()
        forks, choices = self._hands.read(self._look)
        self._forget(choices)
        self._copy_logs()
        for author in forks:
            if author not in self._logs.forks:
                self._do([AddFork(self._hands.read(partial(_proof, author)))])
        self._fill()
        while self._logs.merge_some(_MERGE_BYTES):
            pass
        if seeds:
            self._copy_seeds()
        report = self._logs.verify() if check else None
        return BackedUp(self._entries, len(self._authors), self._left_out, report)

    @staticmethod
    def _look(logs: Logs) -> tuple[list[bytes], Choices]:
        return sorted(logs.forks), Choices.load(logs.meta(KEPT_AS), frozenset(logs.local))

    def _copy_values(self) -> None:
        """Copy what is said of logs before they are copied, so that no cursor is beyond its log."""
        values, names = self._hands.read(
            lambda logs: ({key: logs.meta(key) for key in _VALUES}, logs.cursor_names())
        )
        requests: list[Request] = [
            SetMeta(key, value) for key, value in values.items() if value != self._logs.meta(key)
        ]
        for name in names:
            try:
                cursor = self._hands.read(partial(_cursor, name))
            except StoreDamagedError as error:
                self._left_out[None] = str(error)
                continue
            requests.append(SetCursor(name, cursor))
        requests += [SetCursor(name, None) for name in {*self._logs.cursor_names()} - {*names}]
        self._do(requests)

    def _forget(self, choices: Choices) -> None:
        """Delete what was blocked and deleted in the store."""
        unwanted = (author for author, _ in self._logs.clock.range() if not choices.wants(author))
        gone: list[bytes] = []
        while some := [*islice(unwanted, LOGS_AT_ONCE)]:
            gone += self._hands.read(partial(_not_held, some))
        self._do([Forget(author) for author in gone if author not in self._logs.local])
        while gone and self._logs.reclaim():
            pass

    def _wanted(self) -> Iterator[Stretch]:
        for author, end in heads_of(self._hands):
            ours = self._logs.clock.head(author)
            if ours is not None and ours.seq == end.seq and ours.id != end.id:
                self._left_out[author] = _ANOTHER
            else:
                yield Stretch(author, 1 if ours is None else ours.seq + 1, end.seq)

    def _copy_logs(self) -> None:
        requests: list[Request] = []
        coming: dict[bytes, Head] = {}
        size = 0
        for author, rows in read_logs(self._hands, self._wanted()):
            if isinstance(rows, StoreError):
                self._left_out[author] = str(rows)
                continue
            for row in rows if author not in self._left_out else ():
                ours = coming.get(author) or self._logs.clock.head(author) or Head(0, genesis_id(author))
                try:
                    verdict = judge(row, ours, holes=True)
                except (BadSegmentError, BadSignatureError) as error:
                    self._left_out[author] = str(error)
                    break
                if verdict is Verdict.SUSPECT:
                    self._left_out[author] = _ANOTHER
                    break
                if isinstance(verdict, Extends):
                    requests.append(Accept(verdict.segment, verdict.head))
                    coming[author] = verdict.head
                    size += row_bytes(len(row.bodies))
            if size >= COMMIT_BYTES:
                self._do(requests)
                requests, size = [], 0
                coming.clear()
        self._do(requests)

    def _fill(self) -> None:
        """Put payloads in the place of those that are missing in the backup, where the store has them."""
        row: HoledRow | None = None
        while rows := self._logs.holed_after(row, FILL_ROWS):
            for row in rows:
                try:
                    found = self._hands.read(partial(_segments, row.author, row.first, row.last))
                except StoreDamagedError as error:
                    self._left_out[row.author] = str(error)
                else:
                    self._do([FillRow(segment) for segment in found])

    def _copy_seeds(self) -> None:
        """Copy the secrets of writers, last: without a log they are refused."""
        seeds = self._hands.read(_seeds)
        secrets = self._logs.secrets
        for name, seed in seeds.items():
            there = secrets.seed(name)
            if there is None:
                secrets.create_seed(name, seed)
            elif load(there).author == load(seed).author:
                if there != seed:  # put under a passphrase, or another one, since
                    secrets.replace_seed(name, seed)
            else:
                self._left_out[None] = f"the backup has another writer {name!r}: its secret is not copied"

    def _do(self, requests: list[Request]) -> None:
        if not requests:
            return
        left = requests
        while left:
            results = self._logs.process(left).results
            again: list[Request] = []
            for request, result in zip(left, results, strict=True):
                if isinstance(result, FillRow):
                    again.append(result)
                elif isinstance(request, Accept):
                    if isinstance(result, Stale):
                        self._left_out[request.segment.author] = _ANOTHER
                    else:
                        self._entries += request.segment.count
                        self._authors.add(request.segment.author)
                if isinstance(result, GossiplogError):
                    raise result
            left = again


def _not_held(authors: list[bytes], logs: Logs) -> list[bytes]:
    return [author for author in authors if author not in logs.clock]


def _proof(author: bytes, logs: Logs) -> ForkProof:
    return logs.fork_proof(author)


def _cursor(name: str, logs: Logs) -> Cursor:
    return logs.cursor(name)


def _seeds(logs: Logs) -> dict[str, bytes]:
    found = {name: logs.secrets.seed(name) for name in logs.secrets.seed_names()}
    return {name: seed for name, seed in found.items() if seed is not None}


def _segments(author: bytes, first: int, end: int, logs: Logs) -> list[Segment]:
    return logs.segments(author, first, READ_BYTES, end)
