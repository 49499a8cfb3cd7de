"""A store on disk to be altered, and everything that may be asked of it afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gossiplog.errors import GossiplogError, InvalidValueError, StoreError
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.limits import MAX_SEQ
from gossiplog.log.body import encode_body
from gossiplog.log.cursor import Cursor
from gossiplog.log.segment import chain_ids, verify
from gossiplog.store.copy_guard import guard as custody
from gossiplog.store.copy_guard.identity import Signs
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import (
    Accept,
    AddFork,
    Append,
    Appended,
    Done,
    Forget,
    Request,
    SetCursor,
    SetMeta,
)
from gossiplog.store.sqlite.backend import SQLiteBackend
from tests.fuzz.people import ANN, BOB, CAT, EVE, fork_of_cat, ids_of, log_of

READ_BYTES = 1 << 20
NETWORK = b"d" * 32
AFTER = Cursor({BOB.author: (1, b"")})


class Known:
    """A store on disk, what is in it, and the columns of its rows."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="gossiplog-fuzz-", dir=fast()))
        store = self.path / "store"
        with closing(SQLiteBackend(store)) as backend:
            backend.secrets.create_seed("me", BOB.seed)
        with closing(open_logs(store)) as logs:
            logs.node_key()
            logs.bind_network(NETWORK)
            requests: list[Request] = [
                Accept(segment, verify(segment)) for pair in (ANN, BOB, CAT) for segment in log_of(pair)
            ]
            choices = Choices({BOB.author})
            choices.follow([ANN.author])
            requests += [
                AddFork(fork_of_cat()),
                SetMeta(KEPT_AS, choices.dump()),
                SetCursor("reader", Cursor.of(logs.clock)),
            ]
            logs.process(
                [*requests[:2], Forget(EVE.author)]
            )  # a deletion brings the table of authors up to date
            logs.process(requests[2:])
            logs.recovered()
            self.cursor = Cursor.of(logs.clock)
        self.ids = {pair.author: ids_of(pair) for pair in (ANN, BOB, CAT)}
        with closing(sqlite3.connect(store / "log.sqlite")) as connection:
            tables = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            self.cells = [
                (table, column[1])
                for table in sorted(tables)
                for column in connection.execute(f"PRAGMA table_info({table})")
            ]

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """A copy to be altered."""
        with tempfile.TemporaryDirectory(dir=self.path) as place:
            store = Path(place) / "store"
            shutil.copytree(self.path / "store", store)
            yield store


@contextmanager
def bearing_any_value(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a database of which NOT NULL is taken away meanwhile: a byte in a row's header makes a NULL,
    which SQL would refuse to write."""
    definitions = "SELECT sql, name FROM sqlite_master WHERE sql IS NOT NULL"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        before = connection.execute(definitions).fetchall()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection
        connection.execute("PRAGMA writable_schema = ON")
        connection.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", before)


def fast() -> str | None:
    """A directory in memory, where there is one: each input opens a store several times."""
    return "/dev/shm" if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK) else None


def unmoved() -> Any:
    """Let inodes and marks say nothing: what is altered, not that it was copied, decides who may append."""
    return patch.object(custody, "read_signs", lambda database: Signs(1, 2, b"", None))


@cache
def known() -> Known:
    with unmoved():
        made = Known()
    atexit.register(shutil.rmtree, made.path, ignore_errors=True)
    return made


def survey(store: Path, *, may_lack: bool = False) -> None:
    """Use a store in every way: what it says is what was put in, or an error of the kind that is documented.

    ``may_lack``: logs may have lost their ends, as after a rebuilding.
    """
    try:
        logs = open_logs(store, init=False)
    except StoreError:
        return
    with closing(logs):
        _read(logs)
        if logs.verify().ok:
            for author, ids in known().ids.items():
                seq = logs.clock.seq(author) if may_lack else len(ids) - 1
                assert logs.clock.head(author) == ((seq, ids[seq]) if seq else None), (
                    "not whole, and said to be"
                )
        for upkeep in (
            _append,
            _save,
            *[lambda logs: logs.merge_some(READ_BYTES)] * 3,
            lambda logs: logs.repair(),
        ):
            try:
                upkeep(logs)
            except StoreError:
                pass
        _read(logs)


def _read(logs: Logs) -> None:
    assert all(head.seq <= MAX_SEQ for _, head in logs.clock.items()), "a head that no message can name"
    for author in [*logs.clock, *known().ids]:
        ids = [*known().ids.get(author, ())]
        for first in (1, 4, logs.clock.seq(author)):
            try:
                segments = logs.segments(author, first, READ_BYTES)
            except StoreError:
                continue
            for segment in segments:
                if author == BOB.author and segment.last == len(ids):
                    ids.append(chain_ids(segment)[-1])  # what we appended
                found = [segment.previous, *chain_ids(segment)]
                assert found == ids[segment.first - 1 : segment.last + 1], "entries that nobody wrote"
    for author in logs.forks:
        try:
            assert logs.fork_proof(author).author == author, "a proof of another author"
        except StoreError:
            pass
    for read in (logs.weighing.weights, logs.cursor_names, logs.node_key, lambda: logs.bind_network(NETWORK)):
        try:
            read()
        except StoreError:
            pass
    try:
        value = logs.meta(KEPT_AS)
        assert value is None or type(value) is bytes, "a value of another type"
        if value is not None:
            Choices.load(value, logs.local)
    except (StoreError, InvalidValueError):
        pass
    try:
        places = set(logs.cursor("reader").items())
        assert places <= {*known().cursor.items(), *AFTER.items()}, "a place that no reader reached"
    except StoreError:
        pass


def _save(logs: Logs) -> None:
    """A cursor is kept whole, whatever is damaged of the one before, or not at all."""
    if logs.process([SetCursor("reader", AFTER)]).results == [Done()]:
        assert logs.cursor("reader") == AFTER, "not what was saved"


def _append(logs: Logs) -> None:
    """A writer goes on behind its last entry or not at all."""
    ids = known().ids[BOB.author]
    assert logs.writers() in ({"me": BOB.author}, {}), "another writer"
    outcome = logs.process([Append(BOB.author, [encode_body(7, b"more")])])
    if isinstance(outcome.results[0], Appended):
        assert outcome.results[0] == (len(ids), len(ids)), "a seq was signed twice"
        assert outcome.segments[0].previous == ids[-1], "the log was forked"
    else:
        assert isinstance(outcome.results[0], GossiplogError)
