"""The store on disk: one SQLite file in one directory.

Responsible for: opening, reading, closing; what it reads is what was written, or an error.
Must not know: who signs, what verifies, when rows are merged.
Invariant: the store is mine alone from opening to closing, and no damaged row leaves it unnoticed.

One connection in one thread: SQLite before 3.51.3 can damage a write-ahead log under two writing connections.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from gossiplog.errors import StoreClosedError, StoreDamagedError, StoreError
from gossiplog.limits import DISK_PAGE_BYTES, MAX_SEGMENT_ENTRIES
from gossiplog.log.clock import Clock
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import KEY_BYTES, short_key
from gossiplog.log.segment import Head, HoledRow, Segment, toil_bytes
from gossiplog.paths import AnyPath
from gossiplog.store.copy_guard.guard import CopyGuard
from gossiplog.store.directory import StoreDirectory
from gossiplog.store.interface import Cut, DeleteAuthor, Mend, Row, RowWrite, SavedCursor, Secrets
from gossiplog.store.owning_process import hold, leak
from gossiplog.store.row_form import proof_of, segment_of
from gossiplog.store.sqlite.integrity import problems
from gossiplog.store.sqlite.opening import connect, forsake, large_values
from gossiplog.store.sqlite.rows import NUMBER, head_of, leaving, unsealed
from gossiplog.store.sqlite.schema import EMPTY_PAGES, SQLITE_ERRORS, read_error
from gossiplog.store.sqlite.space import CLOSING_STEPS, Space
from gossiplog.store.sqlite.transaction import SQLiteWriter

if TYPE_CHECKING:
    from gossiplog.store.sqlite.carved import Carved

_ROWS_AT_ONCE: Final = 512
"""As many as a step of merging looks at: more would be read in vain."""

_HOLED: Final = (
    "FROM segments INDEXED BY segments_with_holes CROSS JOIN authors ON authors.number = segments.author "
    f"WHERE holes > 0 AND length(authors.author) = {KEY_BYTES}"
)


class SQLiteBackend:
    """I keep a store in ``log.sqlite`` of a directory, alone, until I am closed."""

    damage = ""
    shared = None

    def __init__(
        self,
        path: AnyPath,
        init: bool = True,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
        read_only: bool = False,
        wait: float = 0.0,
    ) -> None:
        """Lock and open the store at ``path``, created if ``init``; a test breaks it by ``factory``.

        Blocks for up to ``wait`` seconds while others have it open.

        With ``read_only`` nothing at all is changed there, and it may be anybody's store; its secrets are not read.

        :raises StoreError: the subclass says why not; nothing is left open.
        """
        self._closed = False
        self._sound = True
        self._carved: Carved | None = None
        self._directory = StoreDirectory(path, init, read_only, wait)
        self._file = self._directory.database
        try:
            self._connection, self._effort = connect(self._directory, init and not read_only, factory)
            try:
                self._writer = SQLiteWriter(self._connection, self._file)
                self._space = Space(self._connection, self._writer)
                if self.read_only:
                    self._writer.poison = self._directory.why_read_only(asked=read_only)
            except BaseException as error:
                self._connection.close()
                if isinstance(error, SQLITE_ERRORS):
                    raise read_error(error, self._file) from error
                raise
        except BaseException:
            self._directory.close()
            raise
        self._busy = hold(self)

    @property
    def path(self) -> str:
        """The directory."""
        return self._directory.path

    @property
    def read_only(self) -> bool:
        """Whether that was asked for, or nothing can be written."""
        return self._directory.read_only

    @property
    def disk(self) -> str:
        """The directory too."""
        return self._directory.path

    # -- reading ---------------------------------------------------------------------------------------------

    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """Yield every author's head; O(authors), entries are not touched."""
        ahead = self._writer.ahead
        with self._reading():
            for number, author, seq, entry_id in self._connection.execute(
                "SELECT number, author, seq, id FROM authors"
            ):
                if author == leaving(number):
                    continue  # it was deleted
                head = head_of(author, seq, entry_id)
                if head is None or len(author) != KEY_BYTES:
                    raise StoreDamagedError(
                        f"{self._file} is damaged: a row of the table of authors is not one"
                    )
                yield author, ahead.get(author, head)

    def forks(self) -> dict[bytes, int]:
        """Return the bytes of the fork proofs by author; proofs in overflow pages are not read."""
        sizes = {}
        for author, size in self._all("SELECT author, length(proof) FROM forks"):
            if (type(author), type(size)) != (bytes, int) or len(author) != KEY_BYTES:
                raise StoreDamagedError(f"{self._file} is damaged: a fork proof is of no author")
            sizes[author] = size
        return sizes

    def fork(self, author: bytes) -> ForkProof | None:
        """Return the fork proof of an author."""
        rows = self._all("SELECT proof FROM forks WHERE author = ?", (author,))
        return proof_of(author, rows[0][0], self._file) if rows else None

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return neighbouring rows from the one with ``first`` on; O(rows returned), two index searches."""
        found: list[Segment] = []
        following = size = 0
        with self._reading():
            cursor = self._connection.execute(
                "SELECT first, count, holes, crc, id, previous, signature, bodies FROM segments "
                f"WHERE author = {NUMBER} AND first >= "
                f"(SELECT max(first) FROM segments WHERE author = {NUMBER} AND first <= ?) ORDER BY first",
                (author, author, first),
            )
            try:
                for row in cursor:
                    if found and (row[0] != following or (last is not None and following > last)):
                        break
                    segment = segment_of(author, row, self._file)
                    if not found and segment.last < first:
                        break
                    found.append(segment)
                    following = segment.last + 1
                    size += toil_bytes(segment)
                    if size >= limit_bytes:
                        break
            except (StoreDamagedError, *SQLITE_ERRORS):
                if not found:
                    raise  # else it is said when the damaged row is asked for
            finally:
                cursor.close()  # an open one would keep the write-ahead log from being copied
        return found

    def search(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return rows by looking at every page, the first time; O(pages) then, 20 us for each."""
        self._require_open()
        if self._carved is None:
            from gossiplog.store.sqlite.carved import Carved  # most stores are never looked through
            from gossiplog.store.sqlite.pages import Pages

            with self._busy:
                try:
                    self._carved = Carved(Pages(self._directory.folder), self._file)
                except OSError as error:
                    raise StoreDamagedError(f"{self._file} cannot be read: {error.strerror}") from error
        return self._carved.segments(author, first, limit_bytes, last)

    def starts(self, author: bytes, first: int, limit: int) -> list[int]:
        """Return where an author's next rows begin, from ``first`` on; the index alone is read."""
        found: list[Any] = []
        try:
            found = self._all(
                f"SELECT first FROM segments INDEXED BY segments_by_seq WHERE author = {NUMBER} AND first >= ? "
                "ORDER BY first LIMIT ?",
                (author, first, limit),
            )
        except StoreDamagedError:
            if self._carved is None:
                raise
        starts = {row[0] for row in found if type(row[0]) is int}
        if self._carved is not None:  # what the index does not know any more
            starts.update(self._carved.starts(author, first, limit))
        return sorted(starts)[:limit]

    def rows(self, author: bytes, first: int = 1) -> Iterator[Row]:
        """Yield the outlines of an author's rows; bodies in overflow pages are not read."""
        while True:
            found = self._all(
                f"SELECT first, count, length(bodies) FROM segments WHERE author = {NUMBER} AND first >= ? "
                "ORDER BY first LIMIT ?",
                (author, first, _ROWS_AT_ONCE),
            )
            for begin, count, size in found:
                if not (
                    type(begin) is type(count) is type(size) is int and begin >= 0 <= count and size >= 0
                ):
                    raise StoreDamagedError(
                        f"{self._file} is damaged: a row of {short_key(author)} is not one"
                    )
                yield Row(begin, count, size)
            if len(found) < _ROWS_AT_ONCE:
                return
            first = found[-1][0] + 1

    def weights(self) -> dict[bytes, int]:
        """Return what the rows of each author take; of large rows a page in nine is read."""
        by_number: dict[int, int] = {}
        with self._reading():
            for number, size in self._connection.execute(
                "SELECT author, length(bodies) FROM segments NOT INDEXED"
            ):
                if type(size) is not int:
                    raise StoreDamagedError(f"{self._file} is damaged: a row of segments is not one")
                by_number[number] = by_number.get(number, 0) + row_bytes(size)
            authors = self._connection.execute("SELECT number, author FROM authors").fetchall()
        return {
            author: by_number[number]
            for number, author in authors
            if number in by_number and author != leaving(number)
        }

    def used_bytes(self) -> int:
        """Return what the pages in use take, beyond those of an empty store."""
        [(pages,)], [(free,)] = self._all("PRAGMA page_count"), self._all("PRAGMA freelist_count")
        return max(0, int(pages) - int(free) - EMPTY_PAGES) * DISK_PAGE_BYTES

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their body; the index alone is read."""
        return dict(
            self._all(
                f"SELECT authors.author, sum(holes) {_HOLED} GROUP BY segments.author ORDER BY segments.author"
            )
        )

    def holed(self, author: bytes, first: int, last: int, limit: int | None = None) -> list[HoledRow]:
        """Return an author's rows with holes that hold anything from ``first`` to ``last``."""
        return self._holed(
            f"AND segments.author = {NUMBER} AND first BETWEEN ? AND ? AND first + count > ? ORDER BY first LIMIT ?",
            (author, first - MAX_SEGMENT_ENTRIES + 1, last, first, -1 if limit is None else limit),
        )

    def holed_after(self, row: HoledRow | None, limit: int) -> list[HoledRow]:
        """Return the next rows with holes, authors as they came; none when the author of ``row`` was deleted."""
        place = "" if row is None else f"AND (segments.author, first) > ({NUMBER}, ?) "
        parameters = (limit,) if row is None else (row.author, row.first, limit)
        return self._holed(f"{place}ORDER BY segments.author, first LIMIT ?", parameters)

    def _holed(self, condition: str, parameters: tuple[object, ...]) -> list[HoledRow]:
        found = self._all(f"SELECT authors.author, first, count, holes {_HOLED} {condition}", parameters)
        return [HoledRow(*row) for row in found]

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store."""
        self._require_open()
        with large_values(self._connection):
            rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        if not rows:
            return None
        value = unsealed("meta", key.encode(), rows[0][0])
        if value is None:
            raise StoreDamagedError(f"{self._file} is damaged: the value of {key} is not one")
        return value

    def cursor(self, name: str) -> SavedCursor:
        """Return what can be read of a reader's cursor."""
        with self._reading():
            return self._writer.cursors.read(name)

    def cursor_names(self) -> list[str]:
        """Return the names of all cursors, sorted."""
        with self._reading():
            return self._writer.cursors.names()

    def check(self) -> Iterator[str]:
        """Yield what is wrong below the rows; reads the whole file."""
        found: list[str] = []
        self._require_open()
        try:
            with self._reading():
                self._writer.cursors.require_small()
            with large_values(self._connection), self._reading():
                for words in problems(self._connection):
                    found.append(words)
        except StoreDamagedError as error:
            found.append(str(error))
        self._sound = self._sound and not found  # whoever rebuilds it finds it as it is
        yield from found

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all writes in one transaction; see :meth:`gossiplog.store.interface.Backend.commit`."""
        self._require_open()
        self._effort.begin()
        with self._busy:
            self._writer.commit(writes)
        if self._carved is not None and any(isinstance(write, DeleteAuthor | Cut | Mend) for write in writes):
            self._carved.close()  # what is gone must not turn up again
            self._carved = None

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file; what is not copied stays durable in it."""
        if not self._closed and self._directory.home.is_here:
            with self._busy:
                self._writer.checkpoint()

    def reclaim(self, thorough: bool = False) -> bool:
        """Give some room back; see :meth:`gossiplog.store.interface.Backend.reclaim`."""
        with self._reading():
            return self._space.step(thorough=thorough)

    # -- secrets and the end ---------------------------------------------------------------------------------

    @property
    def secrets(self) -> Secrets:
        """Files of their own, beside the database."""
        self._require_open()
        return self._directory.secrets

    def clock(self) -> Clock:
        """Return the heads, all in memory."""
        return Clock(self.heads())

    def guard(
        self, clock: MovingClock, writers: Mapping[str, bytes], entropy: Callable[[int], bytes]
    ) -> CopyGuard:
        """Look whether somebody copied the database, or put it back."""
        return CopyGuard(self, self.secrets, self._file, clock, writers, entropy)

    def close(self) -> None:
        """Copy the write-ahead log into the file, compact a small one, release the lock.  A child does nothing."""
        if self._closed or not self._directory.home.is_here:
            return
        self._closed = True
        with self._busy:
            with suppress(
                StoreError, *SQLITE_ERRORS
            ):  # what is not copied stays durable in the write-ahead log
                if self._sound and not self._writer.poison:
                    self._writer.journal.settle()
                    for _ in range(CLOSING_STEPS):
                        self._effort.begin()
                        if not self._space.step(closing=True):
                            break
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with suppress(*SQLITE_ERRORS):
                self._connection.close()
            if self._carved is not None:
                self._carved.close()
            self._directory.close()

    def give_up(self) -> None:
        """In a child: to close the connection would take the parent's journal away, whoever does it and when."""
        if not self._closed:
            leak(self._connection)
            forsake(self._file)

    # -- small things ----------------------------------------------------------------------------------------

    def _all(self, question: str, parameters: tuple[object, ...] = ()) -> list[Any]:
        with self._reading():
            return self._connection.execute(question, parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._require_open()
        self._effort.begin()
        try:
            with self._busy:
                yield
        except SQLITE_ERRORS as error:
            raise read_error(error, self._file) from error

    def _require_open(self) -> None:
        self._directory.home.check()
        if self._closed:
            raise StoreClosedError(f"store {self._directory.path} is closed")
