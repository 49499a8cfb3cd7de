"""Load what came in from the field into a database of your own, each reading once.

    python field_office.py office readings.sqlite

Run it whenever you like, from cron for instance: it loads what is new since it ran last.  How far it is, is kept in
that database too, and changes in the same transaction as the readings: whatever happens to the program or the machine,
a reading is neither lost nor there twice.  The same works with every database that has transactions; pandas reads the
table with ``pandas.read_sql``.
"""

import argparse
import sqlite3
from contextlib import closing
from math import isfinite
from pathlib import Path

from gossiplog import Cursor, CursorMismatchError, Entry, GossiplogError, blocking, format_author, short_key
from gossiplog.app.printing import complain, say

SCHEMA = """
CREATE TABLE IF NOT EXISTS readings
    (station TEXT, seq INTEGER, at_ms INTEGER, celsius REAL, PRIMARY KEY (station, seq));
CREATE TABLE IF NOT EXISTS loaded (author BLOB PRIMARY KEY, seq INTEGER, id8 BLOB);
CREATE TABLE IF NOT EXISTS rejected (station TEXT, seq INTEGER, why TEXT);
"""

BATCH = 1000
"""Entries in one transaction."""


def load(database: sqlite3.Connection, entries: list[Entry], cursor: Cursor) -> None:
    """Put some entries into the database, and how far that is: all of it, or nothing."""
    with database:
        for entry in entries:
            station = format_author(entry.author)
            try:
                celsius = float(entry.payload["celsius"])
                if not isfinite(celsius):
                    raise ValueError(f"{celsius} is no temperature")
            except (
                ArithmeticError,
                LookupError,
                TypeError,
                ValueError,
            ) as error:  # anybody may have written it
                why = entry.malformed or f"{type(error).__name__}: {error}"
                database.execute("INSERT INTO rejected VALUES (?, ?, ?)", (station, entry.seq, why))
            else:
                row = station, entry.seq, entry.timestamp_ms, celsius
                database.execute("INSERT INTO readings VALUES (?, ?, ?, ?)", row)
        rows = [(author, cursor.seq(author), cursor.id8(author)) for author in {e.author for e in entries}]
        database.executemany("INSERT OR REPLACE INTO loaded VALUES (?, ?, ?)", rows)


def main(path: Path, database: sqlite3.Connection) -> int:
    database.executescript(SCHEMA)
    loaded = 0
    with blocking.Store(path, init=False, wait=60) as store:
        known = {author: (seq, id8) for author, seq, id8 in database.execute("SELECT * FROM loaded")}
        reader = store.read(after=Cursor(known), encoding="json")
        for batch in reader.batches(BATCH):
            load(database, list(batch.entries), batch.cursor)
            loaded += len(batch.entries)
    return loaded


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Load new readings into a database.")
    parser.add_argument("store", type=Path)
    parser.add_argument("database", type=Path)
    given = parser.parse_args()
    with closing(sqlite3.connect(given.database)) as opened:
        try:
            say(f"loaded {main(given.store, opened)} entries")
        except CursorMismatchError as error:  # a store that was put back, or an author's other log
            complain(f"{short_key(error.author)} is not who was loaded: {error}", name="field_office: ")
            raise SystemExit(1) from None
        except GossiplogError as error:  # a node has it open, or there is none
            complain(str(error), name="field_office: ")
            raise SystemExit(1) from None
