"""Transactions on the SQLite file: each write as statements, and what is known after an error.

Responsible for: doing a list of writes whole or not at all, and knowing whether there may be another one.
Must not know: how rows are read, or when the file is opened and closed.
Invariant: what :meth:`SQLiteWriter.commit` returned from survives power loss.  After an error of the disk nothing is
written until the store is opened again, because what that commit left behind is only known then.  No row is added
that does not continue its author's head.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from gossiplog.errors import (
    AppendOutcomeUnknown,
    InvalidValueError,
    StoreDamagedError,
    StoreError,
    StoreFailedError,
    StoreFullError,
)
from gossiplog.log.fork import encode_proof
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Head
from gossiplog.store.interface import (
    Cut,
    DeleteAuthor,
    Mend,
    PutCursor,
    PutFork,
    PutMeta,
    PutSegment,
    Replace,
    RowWrite,
    check_cut,
    check_mend,
    check_put,
    check_replace,
    check_value,
)
from gossiplog.store.sqlite.cursors import CursorRows
from gossiplog.store.sqlite.journal import Journal
from gossiplog.store.sqlite.opening import large_values
from gossiplog.store.sqlite.rows import NUMBER, Rows, head_columns, leaving, sealed, unsealed
from gossiplog.store.sqlite.schema import DAMAGE, SQLITE_ERRORS, primary, read_error

_SETTLED_BYTES: Final = 8
"""Of the value with the key ``x''``: the number of the last row of segments that the heads in the table of authors
count.  No key of PutMeta is a blob."""

_ROWS_AHEAD: Final = 1024
"""Rows that the heads in the table of authors may be behind; read again at each opening, in some milliseconds."""

_NOT_NOW: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_LOCKED)
"""Why no write-ahead log is copied this time, though the disk is well: there is no room, or SQLite is still in a
transaction of its own, since a change of the journal found no room; it ends with our next one."""


class SQLiteWriter:
    """I do transactions on one connection, one at a time, until the disk fails.

    ``ahead`` holds the heads that the table of authors does not have yet.  A page less for each commit of a few
    entries: the rows have the ids too, and the table is brought up to date every ``_ROWS_AHEAD`` rows, and in each
    transaction that takes rows away (whose numbers may be used again).
    """

    def __init__(self, connection: sqlite3.Connection, file: str) -> None:
        """Write to ``file`` through ``connection``, which nobody else writes with."""
        self.poison = ""
        self._file = file
        self._connection = connection
        self.cursors = CursorRows(connection, file)
        self._writers: dict[type[RowWrite], Callable[[Any], None]] = {
            PutSegment: self._put_segment,
            Replace: self._replace,
            PutFork: self._put_fork,
            PutMeta: self._put_meta,
            PutCursor: self.cursors.put,
            DeleteAuthor: self._delete_author,
            Cut: self._cut,
            Mend: self._mend,
        }
        self.journal = Journal(connection)
        self._rows = Rows(connection)
        self._stored: dict[bytes, int] = {}
        self._staged: dict[bytes, Head | None] = {}
        self._settle = False
        rows = connection.execute(
            "SELECT authors.author, first + count - 1, segments.id FROM segments "
            "CROSS JOIN authors ON authors.number = segments.author "  # deleted ones too, which are in no clock
            f"WHERE segments.number > ? ORDER BY segments.number LIMIT {_ROWS_AHEAD + 1}",
            (self._settled_number(),),
        ).fetchall()
        if len(rows) > _ROWS_AHEAD:
            raise StoreDamagedError(f"{file} is damaged: its heads are too far behind its rows")
        self._rows_ahead = len(rows)
        self.ahead: dict[bytes, Head] = {author: Head(seq, entry_id) for author, seq, entry_id in rows}

    def _settled_number(self) -> int:
        rows = self._connection.execute("SELECT value FROM meta WHERE key = x''").fetchall()
        if not rows:
            return 0
        value = unsealed("meta", b"", rows[0][0])
        if value is None:
            raise StoreDamagedError(f"{self._file} is damaged: how many rows its heads count is not said")
        return int.from_bytes(value, "big")

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all writes in one transaction; see :meth:`gossiplog.store.interface.Backend.commit`."""
        puts = [write.segment for write in writes if type(write) is PutSegment]
        rows = self._rows_ahead + len(puts)
        self._staged, self._settle = {}, False
        self._rows.clear()

        def work() -> None:
            self._stored = self._rows.seqs(
                {segment.author for segment in puts if segment.author not in self.ahead}
            )
            for write in writes:
                if type(write) is not PutSegment:
                    self._rows.flush()
                self._writers[type(write)](write)
            self._rows.flush()
            if self._settle or rows >= _ROWS_AHEAD:
                self.settle_heads()

        try:
            self.transaction(work, sum(len(segment.bodies) for segment in puts))
        finally:
            staged, self._staged = self._staged, {}  # what was not committed is nobody's head
        if self._settle:
            self.settled()
            return
        self._rows_ahead = rows
        for author, head in staged.items():
            if head is None:
                self.ahead.pop(author, None)
            else:
                self.ahead[author] = head

    def transaction(self, work: Callable[[], object], size: int = 0, *, spoils: bool = True) -> None:
        """Do ``work``, which adds ``size`` bytes of bodies, whole or not at all; raises what :meth:`commit` does.

        With ``spoils`` damage that it meets ends writing; otherwise it is undone and that is all.
        """
        if self.poison:
            raise StoreFailedError(
                f"{self._file} takes no more writes until it is opened again: {self.poison}"
            )
        execute = self._connection.execute
        try:
            self.journal.choose(size)
            execute("BEGIN IMMEDIATE")
            work()
        except BaseException as error:
            self._rollback()
            if isinstance(error, SQLITE_ERRORS):
                raise self._error_before_commit(error, spoils) from error
            raise
        try:
            execute("COMMIT")
        except SQLITE_ERRORS as error:
            self._rollback()
            if primary(error) == sqlite3.SQLITE_FULL:  # no room for the frames, and so no commit frame
                raise self._error_before_commit(error) from error
            self.poison = self.poison or str(error)
            raise AppendOutcomeUnknown(f"{self._file}: the disk failed during a commit: {error}") from error

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file, unless the disk failed before; if it fails now, nothing is written
        any more: what a failed sync left in the file is not known."""
        if self.poison:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except SQLITE_ERRORS as error:
            if primary(error) not in _NOT_NOW:
                self.poison = str(error)

    def _error_before_commit(self, error: Exception, spoils: bool = True) -> StoreError:
        kind = primary(error)
        if kind == sqlite3.SQLITE_IOERR or (kind in DAMAGE and spoils):
            self.poison = self.poison or str(error)
            if kind == sqlite3.SQLITE_IOERR:
                return StoreFailedError(f"{self._file}: the disk failed before a commit: {error}")
        if self.poison and kind == sqlite3.SQLITE_FULL:
            return StoreFailedError(f"{self._file}: no space left, and rolling back failed: {self.poison}")
        if kind == sqlite3.SQLITE_CANTOPEN and not self.poison:
            return StoreFullError(
                f"{self._file}: its journal cannot be opened (is a file descriptor left, and an inode?); nothing was "
                "written"
            )
        return read_error(error, self._file)

    def _rollback(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except SQLITE_ERRORS as error:
            self.poison = self.poison or str(error)

    def settled(self) -> None:
        """The table of authors has all heads, durably."""
        self.ahead, self._rows_ahead = {}, 0

    def some_heads(self, most: int) -> dict[bytes, Head]:
        """Return heads that the table of authors does not have yet."""
        return dict(islice(self.ahead.items(), most))

    def write_heads(self, heads: Mapping[bytes, Head | None]) -> None:
        """Bring some rows of the table of authors up to date, in a transaction."""
        self._connection.executemany(
            "UPDATE authors SET seq = ?, id = ? WHERE author = ?",
            [(*head_columns(author, head), author) for author, head in heads.items() if head is not None],
        )

    def settle_heads(self) -> None:
        """Bring the table of authors up to date, in a transaction; then say :meth:`settled`."""
        self._settle = True
        self.write_heads({**self.ahead, **self._staged})
        [[number]] = self._connection.execute("SELECT coalesce(max(number), 0) FROM segments")
        self._put_value(b"", number.to_bytes(_SETTLED_BYTES, "big"))

    def _put_segment(self, write: PutSegment) -> None:
        segment, head = check_put(write)
        author = segment.author
        before = self._seq(author)
        if segment.first != before + 1:
            raise InvalidValueError(f"entry {segment.first} does not continue the log of {short_key(author)}")
        if not before:
            self._rows.add_author(author, head)
        self._staged[author] = head
        self._rows.add_segment(segment, head.id)

    def _seq(self, author: bytes) -> int:
        """Return the seq of an author's last row, in this transaction."""
        if author in self._staged:
            head = self._staged[author]
            return 0 if head is None else head.seq
        if author in self.ahead:
            return self.ahead[author].seq
        if author not in self._stored:
            self._stored.update(self._rows.seqs([author]))
        return self._stored[author]

    def _replace(self, write: Replace) -> None:
        author, first, last, segment = check_replace(write)
        row = f"FROM segments WHERE author = {NUMBER} AND first >= ? AND first <= ?"
        covered = self._connection.execute(
            f"SELECT min(first), max(first + count - 1), sum(count) {row}", (author, first, last)
        ).fetchone()
        if covered != (first, last, segment.count):
            raise InvalidValueError(f"no rows hold exactly {first} to {last} of {short_key(author)}")
        entry_id = self._connection.execute(
            f"SELECT id {row} ORDER BY first DESC", (author, first, last)
        ).fetchone()[0]
        self._connection.execute(f"DELETE {row}", (author, first, last))
        self._settle = True
        self._rows.add_segment(segment, entry_id)

    def _put_fork(self, write: PutFork) -> None:
        self._connection.execute(
            "INSERT INTO forks (author, proof) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (write.proof.author, encode_proof(write.proof)),
        )

    def _put_meta(self, write: PutMeta) -> None:
        self._put_value(*check_value(write))

    def _put_value(self, key: str | bytes, value: bytes | None) -> None:
        if value is None:
            self._connection.execute("DELETE FROM meta WHERE key = ?", (key,))
            return
        name = key if isinstance(key, bytes) else key.encode()
        with large_values(self._connection):
            self._connection.execute(
                "INSERT INTO meta (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, sealed("meta", name, value)),
            )

    def _delete_author(self, write: DeleteAuthor) -> None:
        """Take an author's name from its rows, which are removed later, in steps for which there is room."""
        row = self._connection.execute(
            "SELECT number FROM authors WHERE author = ?", (write.author,)
        ).fetchone()
        if row is not None:
            self._connection.execute("UPDATE authors SET author = ? WHERE number = ?", (leaving(*row), *row))
        self._connection.execute("DELETE FROM forks WHERE author = ?", (write.author,))
        self._staged[write.author] = None

    def _cut(self, write: Cut) -> None:
        author, first, head = check_cut(write)
        execute, number = self._connection.execute, f"author = {NUMBER}"
        if (
            head is not None
            and execute(
                f"SELECT 1 FROM segments WHERE {number} AND first = ? AND count = ?",
                (author, first, head.seq - first + 1),
            ).fetchone()
            is None
        ):
            raise InvalidValueError(f"no row holds exactly {first} to {head.seq} of {short_key(author)}")
        execute(
            f"DELETE FROM segments WHERE {number} AND (first BETWEEN 1 AND ?) IS NOT TRUE", (author, first)
        )
        if head is None:
            execute("DELETE FROM authors WHERE author = ?", (author,))
        self._staged[author] = head
        self._settle = True

    def _mend(self, write: Mend) -> None:
        author, first, last = check_mend(write)
        execute, number = self._connection.execute, f"author = {NUMBER}"
        execute(f"DELETE FROM segments WHERE {number} AND first BETWEEN ? AND ?", (author, first, last))
        overlapping = execute(
            f"SELECT 1 FROM segments WHERE {number} AND first < ? AND first + count > ?",
            (author, first, first),
        ).fetchone()
        if overlapping is not None or last > self._seq(author):
            raise InvalidValueError(
                f"rows of {short_key(author)} overlap {first} to {last}, or it ends before"
            )
        self._settle = True
        for segment, head in write.rows:
            self._rows.add_segment(segment, head.id)
