"""What examples/field_office.py does, with batches made by hand, on a reactor."""

import argparse
import sqlite3
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from gossiplog import Cursor, CursorMismatchError, Entry, GossiplogError, format_author, open_store, short_key

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


async def run(reactor: Any, path: Path, database: sqlite3.Connection) -> None:
    database.executescript(SCHEMA)
    loaded = 0
    async with open_store(path, reactor, init=False, wait=60) as store:
        known = {author: (seq, id8) for author, seq, id8 in database.execute("SELECT * FROM loaded")}
        reader = store.read(after=Cursor(known), encoding="json")
        batch: list[Entry] = []
        async for entry in reader:
            batch.append(entry)
            if len(batch) == BATCH:
                load(database, batch, reader.cursor())
                loaded += len(batch)
                batch = []
        load(database, batch, reader.cursor())
    print(f"loaded {loaded + len(batch)} entries")


async def main(reactor: Any, path: Path, database: sqlite3.Connection) -> None:
    try:
        await run(reactor, path, database)
    except CursorMismatchError as error:  # a store that was put back, or an author's other log
        raise SystemExit(f"field_office: {short_key(error.author)} is not who was loaded: {error}") from None
    except GossiplogError as error:  # a node has it open, or there is none
        raise SystemExit(f"field_office: {error}") from None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Load new readings into a database.")
    parser.add_argument("store", type=Path)
    parser.add_argument("database", type=Path)
    given = parser.parse_args()
    with closing(sqlite3.connect(given.database)) as opened:
        react(main, [given.store, opened])
