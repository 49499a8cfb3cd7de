"""The file of a view: its tables, and how far the entries of each author are in them.

Responsible for: entries into tables, each once; deleting what became of those that are gone.
Must not know: the store, threads, who asks.
Invariant: rows, skipped entries and the cursor are one transaction.  An entry is applied when its payload is there,
once for as long as its log is the one that was read; of another log of that author nothing is added to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from gossiplog.errors import SearchUnavailableError, ViewError, ViewFailedError
from gossiplog.limits import MAX_SKIPPED
from gossiplog.log.cursor import ID8_BYTES, Cursor
from gossiplog.log.cursor import Place as Read
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.segment import Segment, id_at
from gossiplog.views.answering import Answering, file_name
from gossiplog.views.derived import is_damage
from gossiplog.views.owed import TABLE, Debt, absent, cut, owe, owed
from gossiplog.views.place import Place
from gossiplog.views.ranges import ranges, without
from gossiplog.views.user_code import Guard, Skip, UserCode, in_words
from gossiplog.views.view import Change, View

T = TypeVar("T")

TABLES: Final = """
CREATE TABLE _cursor (author BLOB PRIMARY KEY, seq INTEGER NOT NULL, id8 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE _skipped (author BLOB, seq INTEGER, error TEXT, PRIMARY KEY (author, seq)) WITHOUT ROWID;
CREATE TABLE _missing (author BLOB, first INTEGER, last INTEGER, PRIMARY KEY (author, first)) WITHOUT ROWID;
CREATE TABLE _forked (author BLOB PRIMARY KEY) WITHOUT ROWID;
"""

SKIPPED: Final = "skipped"
MOVED: Final = "moved"


class Piece(NamedTuple):
    """Entries ``first`` to ``last`` of ``author``, to be applied next: of a ``segment``, or ``entries`` themselves;
    without either they cannot be read."""

    author: bytes
    first: int
    last: int
    segment: Segment | None
    entries: Sequence[Entry] = ()


class Start(NamedTuple):
    """What a view had when it was opened: how far it is, how many entries that are, whether it is complete, authors
    whose payloads it lacks; whether entries in it have other places now, and which entries that come move others."""

    cursor: Cursor
    applied: int
    built: bool
    missing: Mapping[bytes, int]
    moved: bool = False
    owed: Mapping[bytes, int] = MappingProxyType({})


class Step(NamedTuple):
    """What came of applying some pieces; ``changed`` is an author whose log is not the one that was read, because of
    whom nothing was done; ``rebuilt``: all begins anew."""

    changes: Sequence[Change] = ()
    skipped: Sequence[Skip] = ()
    changed: bytes | None = None
    rebuilt: bool = False


class Rebuilt(ViewError):
    """What was asked for was in a file that is damaged."""


class ViewFile:
    """I am the file of one view, in the views thread."""

    def __init__(self, view: View, place: Place) -> None:
        """Open it, made if it is not there.

        :raises ViewError: it cannot be: the schema is no SQL, or does not have what is ``owned``.
        """
        self._view = view
        self._place = place
        self._encoding = encoding(view.encoding)
        self._guard = Guard()
        self._code = UserCode(view, self._guard)
        self._cursor = Cursor()
        self._skipped = 0
        self._rebuilds = 0
        schema = f"-- {view.encoding}\n{TABLES}{TABLE}{view.schema}"
        try:
            self._derived = place.open(file_name(view.name, view.version), schema, self._guard)
        except sqlite3.Error as error:
            raise _unmade(view, error) from error
        try:
            self._require_owned()
            self._load()
            self._answering = Answering(view, place, self._derived)
        except BaseException:
            self._derived.close()
            raise

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return self._derived.path

    def start(self) -> Start:
        """Return what is in it; nothing if that cannot be read."""
        try:
            return self._look()
        except sqlite3.DatabaseError:
            self._rebuild()
            return self._look()

    def _look(self) -> Start:
        db = self._derived.db
        [applied] = db.execute("SELECT coalesce(sum(seq), 0) FROM _cursor").fetchone()
        missing: dict[bytes, int] = dict(
            db.execute("SELECT author, sum(last - first + 1) FROM _missing GROUP BY author").fetchall()
        )
        moved = bool(self._derived.value(MOVED))
        return Start(self._cursor.copy(), applied, self._answering.is_settled, missing, moved, owed(db))

    def apply(self, pieces: Sequence[Piece]) -> Step:
        """Apply what continues what was applied.

        :raises ViewFailedError: the view is not to go on; nothing was done.
        """
        entries: list[Entry] = []
        skipped: list[Skip] = []
        missing: list[tuple[bytes, int, int]] = []
        moved: dict[bytes, Read] = {}
        debts: list[Debt] = []
        for author, first, last, segment, placed in pieces:
            if segment is None and not placed:
                missing.append((author, first, last))
                moved[author] = last, b""
                continue
            seq, id8 = moved.get(author) or (self._cursor.seq(author), self._cursor.id8(author))
            if seq != first - 1 or (segment and id8 and id8 != _id_before(segment, first)):
                return Step(changed=author)
            read = placed if segment is None else read_entries(segment, self._encoding, first, last)
            debts += absent(placed, lambda named: (moved.get(named) or (self._cursor.seq(named),))[0])
            moved[author] = last, read[-1].id[:ID8_BYTES]
            fit = [entry for entry in read if not (entry.dropped or entry.malformed)]
            entries += fit
            if len(fit) < len(read):
                skipped += [Skip(author, each.seq, each.malformed, True) for each in read if each.malformed]
                missing += [(author, *each) for each in ranges([each.seq for each in read if each.dropped])]

        def work(db: sqlite3.Connection) -> Step:
            changes = self._apply(db, entries, skipped)
            db.executemany("INSERT OR REPLACE INTO _missing VALUES (?, ?, ?)", missing)
            db.executemany(
                "INSERT OR REPLACE INTO _cursor VALUES (?, ?, ?)",
                [(author, *read) for author, read in moved.items()],
            )
            if self._view.order == "causal" and owe(
                db, debts, {author: seq for author, (seq, _) in moved.items()}
            ):
                self._derived.keep(MOVED, 1)
            return Step(changes, skipped)

        step = self._commit(work)
        if not step.rebuilt:
            self._cursor.apply(moved)
        return step

    def missing(self, author: bytes) -> list[tuple[int, int]]:
        """Return the entries of ``author`` that were not applied for want of their payload, as ranges."""
        return self._derived.db.execute(
            "SELECT first, last FROM _missing WHERE author = ? ORDER BY first", (author,)
        ).fetchall()

    def apply_late(self, author: bytes, segments: Iterable[Segment]) -> Step:
        """Apply those entries of ``author`` that were missing and are in ``segments``."""
        lacking = self.missing(author)
        entries: list[Entry] = []
        skipped: list[Skip] = []
        left: list[int] = []
        seen: list[tuple[int, int]] = []
        for segment in segments:
            for first, last in lacking:
                begin, end = max(first, segment.first), min(last, segment.last)
                if begin > end:
                    continue
                seen.append((begin, end))
                for entry in read_entries(segment, self._encoding, begin, end):
                    if entry.dropped:
                        left.append(entry.seq)
                    elif entry.malformed:
                        skipped.append(Skip(author, entry.seq, entry.malformed, True))
                    else:
                        entries.append(entry)
        if not entries and not skipped:
            return Step()

        def work(db: sqlite3.Connection) -> Step:
            changes = self._apply(db, entries, skipped)
            db.execute("DELETE FROM _missing WHERE author = ?", (author,))
            still = [*without(lacking, seen), *ranges(left)]
            db.executemany("INSERT INTO _missing VALUES (?, ?, ?)", [(author, *each) for each in still])
            return Step(changes, skipped)

        return self._commit(work)

    def cut(self, kept: Mapping[bytes, int], is_moved: bool = False) -> Step:
        """Take back what was applied of these authors behind a seq; without tables that are owned all begins anew.

        ``is_moved``: that is all that had another place.
        """
        if not self._view.owned:
            self._rebuild()
            return Step(rebuilt=True)

        def work(db: sqlite3.Connection) -> Step:
            for author, seq in kept.items():
                for table in (*self._view.owned, "_skipped"):
                    db.execute(f'DELETE FROM "{table}" WHERE author = ? AND seq > ?', (author, seq))
                cut(db, author, seq)
                db.execute("DELETE FROM _missing WHERE author = ? AND first > ?", (author, seq))
                db.execute("UPDATE _missing SET last = ? WHERE author = ? AND last > ?", (seq, author, seq))
                db.execute(
                    "UPDATE _cursor SET seq = ?, id8 = x'' WHERE author = ? AND seq > ?", (seq, author, seq)
                )
                if not seq:
                    for table in ("_cursor", "_forked"):
                        db.execute(f"DELETE FROM {table} WHERE author = ?", (author,))
            if is_moved:
                self._derived.keep(MOVED, 0)
            return Step()

        step = self._commit(work)
        if not step.rebuilt:
            self._cursor.apply(
                {
                    author: (seq, b"") if seq else None
                    for author, seq in kept.items()
                    if seq < self._cursor.seq(author) or not seq
                }
            )
        return step

    def forked(self, authors: Iterable[bytes]) -> Step:
        """These authors are known to have forked their logs; tell the view of those it was not told of."""

        def work(db: sqlite3.Connection) -> Step:
            skipped: list[Skip] = []
            for author in authors:
                if db.execute("SELECT 1 FROM _forked WHERE author = ?", (author,)).fetchone() is None:
                    if (skip := self._code.forked(db, author)) is not None:
                        skipped.append(skip)
                    db.execute("INSERT INTO _forked VALUES (?)", (author,))
            self._note(db, skipped)
            return Step((), skipped)

        return self._commit(work)

    def settle(self) -> bool:
        """All that there is was applied: from now on this file is asked.  Tell whether that is new."""
        if self._answering.is_settled:
            return False
        try:
            self._answering.settle()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return True

    def read(self, ask: Callable[[sqlite3.Connection], T], seconds: float) -> T:
        """Return what ``ask`` finds, which can change nothing.

        :raises ViewQueryError: it cannot be asked that, or takes longer.
        :raises Rebuilt: the file was damaged; all begins anew.
        """
        try:
            return self._answering.read(ask, seconds)
        except sqlite3.DatabaseError as error:
            if self._rebuilds:
                raise self._failed(error) from error
            self._rebuilds += 1
            self._rebuild()
            raise Rebuilt(
                f"view {self._view.name} was damaged ({in_words(error)}), and is built again: ask once it is ready()"
            ) from error

    def close(self) -> None:
        """Close it."""
        self._answering.close()
        self._derived.close()

    def _apply(self, db: sqlite3.Connection, entries: Sequence[Entry], skipped: list[Skip]) -> list[Change]:
        changes: list[Change] = []
        if entries:
            changes, poisoned = self._code.apply(db, entries)
            skipped += poisoned
        self._note(db, skipped)
        return changes

    def _note(self, db: sqlite3.Connection, skipped: Sequence[Skip]) -> None:
        """Keep what was skipped; stop when it is too much.  Of what does not decode no more is kept than that."""
        if not skipped:
            return
        room = MAX_SKIPPED - db.execute("SELECT count(*) FROM _skipped").fetchone()[0]
        poisoned = [skip for skip in skipped if not skip.malformed]
        kept = [*poisoned, *(skip for skip in skipped if skip.malformed)][: max(room, len(poisoned))]
        db.executemany(
            "INSERT OR REPLACE INTO _skipped VALUES (?, ?, ?)",
            [(skip.author, skip.seq, skip.reason) for skip in kept],
        )
        if poisoned:
            count = (self._derived.value(SKIPPED) or 0) + len(poisoned)
            if count > MAX_SKIPPED:
                last = poisoned[-1]
                raise ViewFailedError(
                    self._view.name,
                    f"apply failed for more than {MAX_SKIPPED} entries, the last time with {last.reason}",
                    last.author,
                    last.seq,
                )
            self._derived.keep(SKIPPED, count)

    def _commit(self, work: Callable[[sqlite3.Connection], Step]) -> Step:
        """Do ``work`` in a transaction; a file that is found to be damaged is built again."""
        try:
            with self._derived.transaction() as db:
                return work(db)
        except sqlite3.Error as error:
            if is_damage(error) and not self._rebuilds:
                self._rebuilds += 1
                self._rebuild()
                return Step(rebuilt=True)
            raise self._failed(error) from error

    def _rebuild(self) -> None:
        try:
            self._derived.rebuild()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._cursor = Cursor()

    def _load(self) -> None:
        """Read how far it is; a file of which that is not to be read is built again."""
        try:
            rows = self._derived.db.execute("SELECT author, seq, id8 FROM _cursor").fetchall()
            self._cursor = Cursor({author: (seq, id8) for author, seq, id8 in rows})
        except (sqlite3.DatabaseError, ValueError, TypeError):
            self._rebuild()

    def _require_owned(self) -> None:
        for table in self._view.owned:
            columns = {name for _, name, *_ in self._derived.db.execute(f'PRAGMA table_xinfo("{table}")')}
            if not {"author", "seq"} <= columns:
                self._derived.rebuild()
                raise ViewError(
                    f"view {self._view.name}: its schema makes no table {table} with columns author and seq, which "
                    "what is in owned needs"
                )

    def _failed(self, error: sqlite3.Error) -> ViewFailedError:
        return ViewFailedError(self._view.name, f"{self.path}: {in_words(error)}")


def _unmade(view: View, error: sqlite3.Error) -> ViewError:
    if str(error) == "no such module: fts5":
        return SearchUnavailableError(
            f"view {view.name}: the SQLite of this Python ({sqlite3.sqlite_version}) has no full-text search (FTS5)"
        )
    if (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR
    ):
        return ViewError(f"view {view.name}: its schema cannot be made: {in_words(error)}")
    return ViewFailedError(view.name, in_words(error))


def _id_before(segment: Segment, first: int) -> bytes:
    return (segment.previous if first == segment.first else id_at(segment, first - 1))[:ID8_BYTES]
