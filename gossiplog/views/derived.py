"""One SQLite file of derived state.

Responsible for: its settings, the tables it was made with, a connection that writes and one that only reads.
Must not know: where the file is; what is derived.
Invariant: a file that is damaged, or was made with other tables, is deleted and made anew; nothing of it is used.
After a power cut it is as it was at some commit, the last ones missing at most.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, TypeAlias

from gossiplog.errors import StoreClosedError

APPLICATION_ID: Final = 0x676C6476
"""``gldv``: in the header of each file."""

FORMAT: Final = 1
"""Of our own table in it."""

_ABOUT: Final = "CREATE TABLE _derived (key TEXT PRIMARY KEY, value) WITHOUT ROWID"

_SETTINGS: Final = (
    "trusted_schema = OFF",
    "cell_size_check = ON",  # damage is found when a page is read
    "mmap_size = 0",  # a file that gets shorter meanwhile is an error, not the end of the process
    "temp_store = MEMORY",  # no entry is ever written outside of the store
    "cache_size = -8192",  # KiB
    "journal_mode = WAL",
    "synchronous = NORMAL",  # rows and the place that they were derived up to go back together
    "journal_size_limit = 8388608",
    "busy_timeout = 1000",  # another program may be looking at it
)

_READING: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_MACHINE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What a machine does to a file that is as it should be."""


Guard: TypeAlias = Callable[[int, str | None, str | None, str | None, str | None], int]
"""SQLite's authorizer: called with an action and what it is about, it returns whether that may be."""


class File(Protocol):
    """What a file of derived state is to who uses it."""

    @property
    def path(self) -> str:
        """For people."""

    def connect(self, read_only: bool) -> sqlite3.Connection | None:
        """Return another connection; ``None`` if there is only one, since it is in memory."""

    def delete(self) -> None:
        """Delete what is there; nothing of it is open."""


def ours(statement: str) -> str:
    """Return a statement in words that nobody else uses: whoever used the same ones would get it as it was prepared for
    us, and no guard would be asked again."""
    return f"{statement} -- of gossiplog"


def is_of_machine(error: BaseException) -> bool:
    """Tell whether an error is about the disk, the file or this machine, and not about what was to be done."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return isinstance(error, sqlite3.Error) and code & 0xFF in _MACHINE | _DAMAGE


def is_damage(error: BaseException) -> bool:
    """Tell whether an error says that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.DatabaseError) and (code or 0) & 0xFF in _DAMAGE


def statements(schema: str) -> Iterator[str]:
    """Yield the statements of a text of SQL: ``executescript`` would commit before them."""
    rest = ""
    for part in schema.split(";"):
        rest += part
        if rest.strip():
            rest += ";"
            if sqlite3.complete_statement(rest):
                yield rest
                rest = ""
        else:
            rest = ""
    if rest.strip().removesuffix(";").strip():
        yield rest


class Derived:
    """I am one open file.  ``db`` is the connection that writes; ``is_new`` tells whether nothing is in it yet."""

    db: sqlite3.Connection

    def __init__(
        self, file: File, schema: str, closed: Callable[[], None], guard: Guard | None = None
    ) -> None:
        """``schema`` are the tables that it has; ``closed`` is called when it is not open any more.

        ``guard`` is asked what a statement may do, when it is prepared.
        """
        self._guard = guard
        self._file = file
        self._schema = schema
        self._closed = closed
        self._reader: sqlite3.Connection | None = None
        self.is_new = False
        self._abandoned = False

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return self._file.path

    def rebuild(self) -> None:
        """Delete all of it, and make it anew."""
        self._disconnect()
        self._file.delete()
        self.open()

    def value(self, key: str) -> Any:
        """Return what was kept as ``key``, beside the tables; None if nothing was."""
        row = self.db.execute("SELECT value FROM _derived WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def keep(self, key: str, value: object) -> None:
        """Keep ``value`` as ``key``, in the transaction that is open."""
        self.db.execute("INSERT OR REPLACE INTO _derived VALUES (?, ?)", (key, value))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done meanwhile, or nothing."""
        self.db.execute(ours("BEGIN IMMEDIATE"))
        try:
            yield self.db
            if self._abandoned:
                raise StoreClosedError(f"{self.path}: its store was closed meanwhile")
            self.db.execute(ours("COMMIT"))
        except BaseException:
            with suppress(sqlite3.Error):
                if self.db.in_transaction:
                    self.db.execute(ours("ROLLBACK"))
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection with which nothing can be changed; it sees what was committed."""
        if self._reader is None:
            self._reader = self._file.connect(read_only=True)
            if self._reader is not None:
                self._reader.execute("PRAGMA query_only = ON")
                self._reader.set_authorizer(_only_reads)
        if self._reader is not None:
            yield self._reader
            return
        self.db.set_authorizer(_only_reads)
        try:
            yield self.db
        finally:
            self.db.set_authorizer(self._guard)

    def look(self) -> bool:
        """Open a file that is there, whatever tables it has, only to read it; tell whether it is one of ours."""
        try:
            self._connect()
            mine = [self._ask("application_id"), self._ask("user_version")] == [APPLICATION_ID, FORMAT]
            if mine:
                self.db.execute("PRAGMA query_only = ON")
                self.db.set_authorizer(_only_reads)
                return True
        except sqlite3.Error:
            pass
        self.close()
        return False

    def abandon(self) -> None:
        """Nobody waits for what is being done with it any more: nothing of that is kept.  From any thread."""
        self._abandoned = True
        for connection in self.connections():
            with suppress(sqlite3.Error):
                connection.interrupt()

    def connections(self) -> list[sqlite3.Connection]:
        """Return all that is connected."""
        return [each for each in (self.__dict__.get("db"), self._reader) if each is not None]

    def close(self) -> None:
        """Copy the write-ahead log into the file and close it; never raises."""
        self._disconnect()
        self._closed()

    def open(self) -> None:
        """Open the file, made anew if it is not there or not to be used."""
        try:
            self.is_new = not self._is_usable()
            if self.is_new:
                self._disconnect()
                self._file.delete()
                try:
                    self._make()
                except BaseException:
                    self._disconnect()
                    self._file.delete()
                    raise
        except BaseException:
            self.close()
            raise

    def _is_usable(self) -> bool:
        """Connect; tell whether it was made by us, with these tables, and is not known to be damaged."""
        try:
            self._connect()
            return self._is_ours()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _MACHINE:
                raise
            return False

    def _is_ours(self) -> bool:
        if [self._ask("application_id"), self._ask("user_version")] != [APPLICATION_ID, FORMAT]:
            return False
        [kept] = self.db.execute("SELECT value FROM _derived WHERE key = 'schema'").fetchone() or (None,)
        return bool(kept == self._schema)

    def _make(self) -> None:
        self._connect()
        with self.transaction() as db:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute(_ABOUT)
            self.keep("schema", self._schema)
            for statement in statements(self._schema):
                db.execute(statement)

    def _connect(self) -> None:
        made = self._file.connect(read_only=False)
        assert made is not None
        self.db = made
        for setting in _SETTINGS:
            self.db.execute(f"PRAGMA {setting}").fetchall()
        self.db.set_authorizer(self._guard)

    def _ask(self, what: str) -> Any:
        return self.db.execute(f"PRAGMA {what}").fetchone()[0]

    def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        db = self.__dict__.pop("db", None)
        for connection in (reader, db):
            if connection is not None:
                with suppress(sqlite3.Error):  # what is not copied stays in the write-ahead log
                    connection.close()


def _only_reads(action: int, first: str | None, *_: object) -> int:
    """What SQLite may do for a query; FTS5 asks for the version of what it has read, and a table of it is made known to
    SQLite in words that would change the schema, which nothing can."""
    may = action in _READING or (action, first) in (
        (sqlite3.SQLITE_PRAGMA, "data_version"),
        (sqlite3.SQLITE_UPDATE, "sqlite_master"),
    )
    return sqlite3.SQLITE_OK if may else sqlite3.SQLITE_DENY
