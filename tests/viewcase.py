"""What the tests of views share: a store on disk in virtual time, and some views.

Responsible for: opening, closing and crashing that store; entries of others in it.
Must not know: what a test is about.
Invariant: nothing happens but when a test asks for a result, so each run is the same.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Entry, LiveView, Store, View, Writer
from gossiplog.log.body import encode_body
from gossiplog.log.segment import Segment
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, AddFork, Forget
from gossiplog.testing.network import VirtualThread
from tests.netcase import Author, World

COUNT = "INSERT INTO counts VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"


class Birds(View):
    """A row for each entry, which goes with it."""

    name, encoding = "birds", "json"
    schema = (
        "CREATE TABLE seen (bird TEXT NOT NULL, author BLOB, seq INT); CREATE INDEX seen_bird ON seen (bird)"
    )
    owned = ("seen",)

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Note the birds; return them."""
        db.executemany(
            "INSERT INTO seen VALUES (?, ?, ?)", [(e.payload["bird"], e.author, e.seq) for e in entries]
        )
        return sorted(e.payload["bird"] for e in entries)


class Counts(View):
    """A row for each bird: nothing of it belongs to one entry."""

    name, encoding = "counts", "json"
    schema = "CREATE TABLE counts (bird TEXT PRIMARY KEY, n INT)"

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Count the birds."""
        db.executemany(COUNT, Counter(e.payload["bird"] for e in entries).items())
        return None


class ViewCase(SynchronousTestCase):
    """A store on disk, in virtual time."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.world = World()
        self.open()
        self.addCleanup(self.close)

    def open(self) -> None:
        self.told: list[Any] = []
        self.store = Store(lambda: open_logs(self.path), self.world.reactor, str(self.path), VirtualThread)
        self.store._core.views.listen(self.told.append)

    @property
    def disk(self) -> Any:
        """The disk of the logs."""
        thread = self.store._core.thread
        assert isinstance(thread, VirtualThread)
        return thread.disk

    def close(self) -> None:
        self.world.result(self.store.close())

    def again(self) -> None:
        """Close the store and open it."""
        self.close()
        self.open()

    def of(self, kind: type[Any]) -> list[Any]:
        """What views told of one kind."""
        return [notice for notice in self.told if isinstance(notice, kind)]

    def writer(self, name: str = "default", encoding: str = "json") -> Writer:
        writer: Writer = self.world.result(self.store.writer(name, encoding=encoding))
        return writer

    def append(self, *birds: str, name: str = "default") -> None:
        """Append an entry for each bird."""
        self.world.result(self.writer(name).append_many([{"bird": bird} for bird in birds]))

    def accept(self, author: Author, *payloads: bytes) -> Segment:
        """Take entries of somebody else."""
        [segment] = author.write(*payloads)
        self.take(segment, author)
        return segment

    def take(self, segment: Segment, author: Author) -> None:
        self.world.result(self.store._core.write(Accept(segment, author.head), lambda _: None))

    def forget(self, author: bytes) -> None:
        self.world.result(self.store._core.set(Forget(author)))

    def fork(self, proof: Any) -> None:
        self.world.result(self.store._core.set(AddFork(proof)))

    def view(self, view: View) -> Any:
        """Open a view, and wait until it is ready."""
        live: LiveView = self.world.result(self.store.view(view))
        self.world.result(live.ready())
        return live

    def rows(self, live: LiveView, sql: str, *parameters: Any) -> list[Any]:
        rows = self.world.result(live.query(sql, parameters))
        return [row[0] if len(row) == 1 else row for row in rows]

    def birds(self, live: LiveView) -> list[Any]:
        """What is in a view of ``Birds`` or ``Counts``: how often each bird."""
        table = "seen" if live.name == "birds" else "counts"
        value = "count(*)" if live.name == "birds" else "sum(n)"
        return self.rows(live, f"SELECT bird, {value} FROM {table} GROUP BY bird ORDER BY bird")

    def file(self, live: LiveView) -> Path:
        return self.path / "views" / f"{live.name}.{live.version}.sqlite"

    def look(self, live: LiveView, sql: str) -> list[Any]:
        """Ask the file, as any other program may."""
        with closing(sqlite3.connect(self.file(live))) as other:
            return other.execute(sql).fetchall()

    def wait(self, coroutine: Any) -> Any:
        return self.world.result(Deferred.fromCoroutine(coroutine))


def body(payload: bytes) -> bytes:
    """An entry as it is in a segment."""
    return encode_body(1_000, payload)
