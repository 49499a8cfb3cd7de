"""Calling what an application wrote for a view, within the transaction of what it does.

Responsible for: what it may do with the connection that it is given; taking back what it did when it raises; finding,
among many entries, those that it raises for.
Must not know: which entries are next; files.
Invariant: whatever it does, the transaction is ours: it is neither ended nor left half done, and our own tables say
what we wrote.  Either all of a call stays, or nothing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from gossiplog.errors import ViewFailedError
from gossiplog.limits import MAX_REASON_CHARS
from gossiplog.log.entry import Entry
from gossiplog.log.keys import short_key
from gossiplog.printable import brief
from gossiplog.views.derived import is_of_machine, ours
from gossiplog.views.view import Change, View

_ENDING: Final = frozenset(
    {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
)

_CHANGING: Final = frozenset(
    {
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_CREATE_INDEX,
    }
)

_ABOUT_VALUES: Final = re.compile(
    r"malformed JSON|JSON path|integer overflow|pattern too complex|fts5: |unterminated string"
)
"""What SQLite finds wrong with a value, as an OperationalError like those about tables and disks."""

_PREFIX: Final = "_"
"""Of the names of our own tables."""


class Skip(NamedTuple):
    """An entry that a view passes over: ``reason`` is what was raised, or why it does not decode (``malformed``)."""

    author: bytes
    seq: int
    reason: str
    malformed: bool = False


class _UnfitError(Exception):
    """What a method of a view does is none of an entry."""


class Guard:
    """I am asked by SQLite what a statement may do; while an application's code runs, not everything."""

    def __init__(self) -> None:
        self._among_users = False

    def __call__(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """Tell SQLite whether it may."""
        if not self._among_users:
            return sqlite3.SQLITE_OK
        if action in _ENDING or (action == sqlite3.SQLITE_PRAGMA and second is not None):
            return sqlite3.SQLITE_DENY
        if action in _CHANGING and (first or "").startswith(_PREFIX):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    @contextmanager
    def watching(self) -> Iterator[None]:
        """What is prepared meanwhile is an application's."""
        self._among_users = True
        try:
            yield
        finally:
            self._among_users = False


class UserCode:
    """I call the methods of one view."""

    def __init__(self, view: View, guard: Guard) -> None:
        self._view = view
        self._guard = guard

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> tuple[list[Change], list[Skip]]:
        """Apply ``entries``; return the changes, and which were skipped.

        :raises ViewFailedError: the view is not to go on.
        :raises sqlite3.Error: the file is not to be used.
        """
        changes: list[Change] = []
        skipped: list[Skip] = []
        self._apply(db, entries, changes, skipped)
        return changes, skipped

    def forked(self, db: sqlite3.Connection, author: bytes) -> Skip | None:
        """Tell the view of a fork; return that it was skipped, if it was."""
        error = self._call(db, lambda: self._view.forked(db, author), [], 0)
        if error is None:
            return None
        return self._judge(error, author, 0, f"the fork of {short_key(author)}")

    def _apply(
        self, db: sqlite3.Connection, entries: Sequence[Entry], changes: list[Change], skipped: list[Skip]
    ) -> None:
        error = self._call(db, lambda: self._view.apply(db, entries), changes, len(entries))
        if error is None:
            return
        if len(entries) > 1 and not _is_final(error):
            middle = len(entries) // 2
            self._apply(db, entries[:middle], changes, skipped)
            self._apply(db, entries[middle:], changes, skipped)
            return
        entry = entries[0]
        what = f"entry {entry.seq} of {short_key(entry.author)}" if len(entries) == 1 else ""
        skipped.append(self._judge(error, entry.author, entry.seq, what))

    def _call(
        self, db: sqlite3.Connection, method: Callable[[], object], changes: list[Change], entries: int
    ) -> BaseException | None:
        """Call a method; return what it raised, all that it did taken back."""
        db.execute(ours("SAVEPOINT one_call"))
        try:
            with self._guard.watching():
                value = _refuse_coroutine(method())
        except BaseException as error:
            if not db.in_transaction:
                raise
            db.execute(ours("ROLLBACK TO one_call"))
            db.execute(ours("RELEASE one_call"))
            return error
        db.execute(ours("RELEASE one_call"))
        if entries:
            changes.append(Change(entries, value))
        return None

    def _judge(self, error: BaseException, author: bytes, seq: int, what: str) -> Skip:
        """Return what is skipped for an error, unless the view is to stop for it."""
        if is_of_machine(error):
            raise error
        reason = in_words(error)
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_AUTH:
            reason += (
                ": apply does not end the transaction (no commit, no 'with db'), attach files, or change tables whose "
                "names begin with _"
            )
        elif not _is_final(error) and self._view.on_error == "skip":
            return Skip(author, seq, reason)
        about = f" at {what}" if what else ""
        failed = ViewFailedError(
            self._view.name, f"{reason}{about}", author if what else None, seq if what else 0
        )
        raise failed from error


def in_words(error: BaseException) -> str:
    """Return what was raised in one short line, whatever it says of itself."""
    try:
        said = str(error)
    except Exception:
        said = ""
    return brief(f"{type(error).__name__}: {said}" if said else type(error).__name__)[:MAX_REASON_CHARS]


def _is_final(error: BaseException) -> bool:
    """Tell whether an error is none about an entry: of the database, of this machine, or to end the program."""
    if isinstance(error, sqlite3.OperationalError):
        return not _ABOUT_VALUES.search(str(error))
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code == sqlite3.SQLITE_AUTH or is_of_machine(error)
    return isinstance(error, MemoryError | _UnfitError) or not isinstance(error, Exception)


def _refuse_coroutine(value: Any) -> Any:
    """Return what a method gave, unless that is a coroutine, which nobody would run."""
    if isinstance(value, Coroutine):
        value.close()
        raise _UnfitError("it returned a coroutine, which nobody would run")
    return value
