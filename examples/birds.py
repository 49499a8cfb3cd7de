"""Note birds that you saw; count them, and find what was written about them.

    python birds.py see heron "at the weir, with young"
    python birds.py counts
    python birds.py find "weir NOT swan"

The sightings of everybody whose logs are in the store count: ``gossiplog sync --store birds ...`` brings them.  Counts
and search are views: tables made from the entries, in birds/views, which are computed again if you delete them.
"""

import argparse
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gossiplog import Entry, Search, View, blocking, short_key
from gossiplog.app.printing import say


def sighting(entry: Entry) -> tuple[str, str]:
    """The bird and the note; ValueError for an entry that is none of a bird: anybody may write what he likes."""
    seen = entry.payload
    if isinstance(seen, dict) and isinstance(seen.get("bird"), str) and isinstance(seen.get("note"), str):
        return seen["bird"], seen["note"]
    raise ValueError("not a sighting")


class Counts(View):
    """How often each bird was seen, and by whom."""

    name, version, encoding = "counts", 1, "json"
    schema = "CREATE TABLE seen (bird TEXT, author BLOB, seq INT); CREATE INDEX seen_by_bird ON seen (bird)"
    owned = ("seen",)

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        rows = []
        for entry in entries:
            try:
                rows.append((sighting(entry)[0], entry.author, entry.seq))
            except ValueError:
                pass  # others may write about something else
        return db.executemany("INSERT INTO seen VALUES (?, ?, ?)", rows).rowcount


def text(entry: Entry) -> str:
    bird, note = sighting(entry) if isinstance(entry.payload, dict) else ("", "")
    return f"{bird}: {note}"


def see(store: blocking.Store, bird: str, note: str) -> None:
    seq = store.writer(encoding="json").append({"bird": bird, "note": note})
    say(f"entry {seq} is on disk")


def counts(store: blocking.Store) -> None:
    view = store.view(Counts())
    view.ready()
    for bird, count, people in view.query(
        "SELECT bird, count(*) AS n, count(DISTINCT author) FROM seen GROUP BY bird ORDER BY n DESC, bird"
    ):
        say(f"{count:5} {bird}, seen by {people}")


def find(store: blocking.Store, words: str) -> None:
    notes = store.view(Search(text))
    notes.ready()
    for hit in notes.find(words):
        say(f"{hit.time:%Y-%m-%d} {short_key(hit.author)} {hit.snippet}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Note birds, count them, find them.")
    parser.add_argument("--store", type=Path, default="birds", help="default: birds")
    verbs = parser.add_subparsers(dest="verb", required=True)
    seeing = verbs.add_parser("see")
    seeing.add_argument("bird")
    seeing.add_argument("note", nargs="?", default="")
    verbs.add_parser("counts")
    verbs.add_parser("find").add_argument("words")
    given = parser.parse_args()
    with blocking.Store(given.store, wait=10) as store:
        if given.verb == "see":
            see(store, given.bird, given.note)
        elif given.verb == "counts":
            counts(store)
        else:
            find(store, given.words)
