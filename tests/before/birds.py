"""What examples/birds.py does, with tables that are kept up by hand.

Nothing takes back what a blocked author wrote, or builds the tables anew when this file changes.
"""

import argparse
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from gossiplog import Cursor, Entry, Store, open_store, short_key

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (bird TEXT, author BLOB, seq INT);
CREATE INDEX IF NOT EXISTS seen_by_bird ON seen (bird);
CREATE VIRTUAL TABLE IF NOT EXISTS notes USING fts5 (text, author UNINDEXED, time UNINDEXED);
CREATE TABLE IF NOT EXISTS read (cursor BLOB);
"""


def sighting(entry: Entry) -> tuple[str, str]:
    """The bird and the note; ValueError for an entry that is none of a bird: anybody may write what he likes."""
    seen = entry.payload
    if isinstance(seen, dict) and isinstance(seen.get("bird"), str) and isinstance(seen.get("note"), str):
        return seen["bird"], seen["note"]
    raise ValueError("not a sighting")


def add(db: sqlite3.Connection, entry: Entry) -> None:
    try:
        bird, note = sighting(entry)
    except ValueError:
        return
    db.execute("INSERT INTO seen VALUES (?, ?, ?)", (bird, entry.author, entry.seq))
    db.execute(
        "INSERT INTO notes VALUES (?, ?, ?)", (f"{bird}: {note}", entry.author, f"{entry.time:%Y-%m-%d}")
    )


async def keep_up(db: sqlite3.Connection, store: Store) -> None:
    db.executescript(SCHEMA)
    found = db.execute("SELECT cursor FROM read").fetchone()
    reader = store.read(after=Cursor.load(found[0]) if found else None, encoding="json")
    with db:
        async for entry in reader:
            if not (entry.dropped or entry.malformed):
                add(db, entry)
        db.execute("DELETE FROM read")
        db.execute("INSERT INTO read VALUES (?)", (reader.cursor().dump(),))


async def see(store: Store, bird: str, note: str) -> None:
    writer = await store.writer(encoding="json")
    print(f"entry {await writer.append({'bird': bird, 'note': note})} is on disk")


def counts(db: sqlite3.Connection) -> None:
    for bird, count, people in db.execute(
        "SELECT bird, count(*) AS n, count(DISTINCT author) FROM seen GROUP BY bird ORDER BY n DESC, bird"
    ):
        print(f"{count:5} {bird}, seen by {people}")


def find(db: sqlite3.Connection, words: str) -> None:
    for author, day, snippet in db.execute(
        "SELECT author, time, snippet(notes, 0, '[', ']', '...', 20) FROM notes WHERE notes MATCH ? ORDER BY rank",
        (words,),
    ):
        print(day, short_key(author), snippet)


async def main(reactor: Any, given: argparse.Namespace) -> None:
    async with open_store(given.store, reactor, wait=10) as store:
        if given.verb == "see":
            await see(store, given.bird, given.note)
            return
        with closing(sqlite3.connect(given.store / "birds.sqlite")) as db:
            await keep_up(db, store)
            if given.verb == "counts":
                counts(db)
            else:
                find(db, given.words)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Note birds, count them, find them.")
    parser.add_argument("--store", type=Path, default="birds", help="default: birds")
    verbs = parser.add_subparsers(dest="verb", required=True)
    seeing = verbs.add_parser("see")
    seeing.add_argument("bird")
    seeing.add_argument("note", nargs="?", default="")
    verbs.add_parser("counts")
    verbs.add_parser("find").add_argument("words")
    react(main, [parser.parse_args()])
