"""A kind of store as another package brings it: rows of its own, secrets in a file, and no clock in memory.

:func:`install` makes the package's metadata; ``tests.test_store_door`` opens such stores and gives them to the suite.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from gossiplog.errors import InvalidValueError, StoreNotFoundError
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.cursor import Cursor
from gossiplog.log.segment import Head
from gossiplog.store.copy_guard.guard import CopyGuard
from gossiplog.store.door import Opening
from gossiplog.store.interface import Guard, Secrets
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.secrets import MemorySecrets

KIND = "shelf"

SHELVES: dict[str, ShelfBackend] = {}
"""What is where, for as long as the process lives: a server would have it."""


class TableClock:
    """I am a clock that has no author in memory: each question goes to a database, also what asks for all."""

    is_whole = True

    def __init__(self, heads: Iterable[tuple[bytes, Head]] = ()) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._database.execute(
            "CREATE TABLE heads (author BLOB PRIMARY KEY, seq INTEGER, id BLOB) WITHOUT ROWID"
        )
        for author, head in heads:
            self.set(author, head)

    def head(self, author: bytes) -> Head | None:
        found = self._database.execute("SELECT seq, id FROM heads WHERE author = ?", (author,)).fetchone()
        return None if found is None else Head(*found)

    def seq(self, author: bytes) -> int:
        head = self.head(author)
        return 0 if head is None else head.seq

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        while True:
            found = self._database.execute(
                "SELECT author, seq, id FROM heads WHERE author >= ? AND (? = x'' OR author < ?) ORDER BY author",
                (lower, upper, upper),
            ).fetchone()
            if found is None:
                return
            yield found[0], Head(*found[1:])
            lower = found[0] + b"\0"

    def items(self) -> Iterator[tuple[bytes, Head]]:
        return self.range()

    def total(self) -> int:
        found: tuple[int | None] = self._database.execute("SELECT sum(seq) FROM heads").fetchone()
        return found[0] or 0

    def dump(self) -> bytes:
        return Cursor((author, (head.seq, head.id[:8])) for author, head in self.items()).dump()

    def advance(self, author: bytes, head: Head) -> None:
        if head.seq <= self.seq(author):
            raise InvalidValueError("that is no step forward")
        self.set(author, head)

    def set(self, author: bytes, head: Head | None) -> None:
        if head is None:
            self.discard(author)
        else:
            self._database.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (author, *head))

    def discard(self, author: bytes) -> None:
        self._database.execute("DELETE FROM heads WHERE author = ?", (author,))

    def copy(self) -> TableClock:
        return TableClock(self.items())

    def __len__(self) -> int:
        found: tuple[int] = self._database.execute("SELECT count(*) FROM heads").fetchone()
        return found[0]

    def __iter__(self) -> Iterator[bytes]:
        return (author for author, _ in self.range())

    def __contains__(self, author: object) -> bool:
        return isinstance(author, bytes) and self.head(author) is not None


class ShelfBackend(MemoryBackend):
    """I am rows on a shelf; who closes me leaves them there.  There is no file of mine that anybody could copy."""

    def __init__(self, path: str, how: Opening = Opening(), secrets: MemorySecrets | None = None) -> None:  # noqa: B008
        super().__init__(f"{KIND}:{path}")
        self.how = how
        self._apart = secrets or MemorySecrets()

    @property
    def secrets(self) -> Secrets:  # type: ignore[override]
        self._require_open()
        return self._apart

    def clock(self) -> MovingClock:  # type: ignore[override]
        return TableClock(self.heads())

    def guard(
        self, clock: MovingClock, writers: Mapping[str, bytes], entropy: Callable[[int], bytes]
    ) -> Guard:  # type: ignore[override]
        return CopyGuard(self, self.secrets, None, clock, writers, entropy)

    def again(self, how: Opening) -> ShelfBackend:
        """Return what is found by who opens it next."""
        self._closed = False
        after = ShelfBackend(self.path.partition(":")[2], how, self._apart)
        found = self.snapshot()
        after.content = found.content
        self.close()
        return after


def open_backend(place: str, how: Opening) -> ShelfBackend:
    """What the entry point names."""
    if place in SHELVES:
        SHELVES[place] = SHELVES[place].again(how)
    elif how.init:
        SHELVES[place] = ShelfBackend(place, how)
    else:
        raise StoreNotFoundError(f"nothing is on the shelf {place}")
    return SHELVES[place]


def install(directory: Path, kind: str = KIND, value: str = "tests.foreign_backend:open_backend") -> None:
    """Put a package's metadata into a directory of ``sys.path``."""
    metadata = directory / f"gossiplog_{kind}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gossiplog-{kind}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[gossiplog.stores]\n{kind} = {value}\n")
    (metadata / "direct_url.json").write_text(json.dumps({"url": "file:///", "dir_info": {}}))
