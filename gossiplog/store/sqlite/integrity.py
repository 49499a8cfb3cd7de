"""What is wrong with a database file below the rows of logs.

Responsible for: asking SQLite whether its pages hang together, and whether each value is the one that was written.
Must not know: logs; what is done about it.
Invariant: nothing is changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from gossiplog.store.sqlite.rows import unsealed

_FINE = ("ok", "*** in database main ***")


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is found, in words; reads the whole file."""
    for [words] in connection.execute("PRAGMA integrity_check").fetchall():
        yield from (line for line in words.decode(errors="replace").splitlines() if line not in _FINE)
    nobody = connection.execute(
        "SELECT 1 FROM segments WHERE (author IN (SELECT number FROM authors)) IS NOT TRUE LIMIT 1"  # NULL is nobody's
    )
    if nobody.fetchone() is not None:
        yield "a row of segments is of no author"
    values = connection.execute("SELECT key, value FROM meta")
    if any(unsealed("meta", key, value) is None for key, value in values):
        yield "a value of meta is not what was written"
