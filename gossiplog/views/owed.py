"""Entries that others in a view name, and that were not there when these were applied.

Responsible for: remembering them in the view's file, and that one came, so that places are other ones now.
Must not know: places, what is in the view's own tables.
Invariant: it changes in the transaction of what is applied: what came while nobody looked is noticed at the next start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from gossiplog.log.entry import Entry

TABLE: Final = """
CREATE TABLE _owed
    (author BLOB, seq INTEGER, by BLOB, number INTEGER, PRIMARY KEY (author, seq, by, number)) WITHOUT ROWID;
CREATE INDEX _owed_by ON _owed (by, number);
"""

_BY_ONE: Final = 1024
"""Entries that are named by those of one author: of more it is not noticed, after a restart, that they came."""

Debt: TypeAlias = tuple[bytes, int, bytes, int]
"""Author and seq of what is named, and of the entry that names it."""


def absent(entries: Sequence[Entry], applied: Callable[[bytes], int]) -> list[Debt]:
    """Return what these entries name of other logs behind what is ``applied`` of those."""
    return [
        (named.author, named.seq, entry.author, entry.seq)
        for entry in entries
        for named in entry.after
        if named.author != entry.author and named.seq > applied(named.author)
    ]


def owe(db: sqlite3.Connection, debts: Iterable[Debt], reached: Mapping[bytes, int]) -> bool:
    """Remember what is absent; logs are applied up to what they ``reached``: tell whether anything came with that."""
    for debt in debts:
        db.execute(
            "INSERT OR IGNORE INTO _owed SELECT ?, ?, ?, ? WHERE (SELECT count(*) FROM _owed WHERE by = ?) < ?",
            (*debt, debt[2], _BY_ONE),
        )
    gone = [
        db.execute("DELETE FROM _owed WHERE author = ? AND seq <= ?", (author, seq)).rowcount
        for author, seq in reached.items()
    ]
    return any(gone)


def cut(db: sqlite3.Connection, author: bytes, seq: int) -> None:
    """Forget what entries of ``author`` behind ``seq`` name: they are taken back."""
    db.execute("DELETE FROM _owed WHERE by = ? AND number > ?", (author, seq))


def owed(db: sqlite3.Connection) -> dict[bytes, int]:
    """Return the first absent entry of each author."""
    return dict(db.execute("SELECT author, min(seq) FROM _owed GROUP BY author").fetchall())
