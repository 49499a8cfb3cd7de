"""The end of a soak: are all equal, is everything there that was acknowledged, is all quiet?

Responsible for: reading clocks from the files of nodes that run, comparing, checking closed stores against the record.
Must not know: what was done to them.
Invariant: nothing is changed, and no node is disturbed.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gossiplog.errors import GossiplogError
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import read_entries
from gossiplog.store.logs import open_logs
from tests.chaos.party import Party, Record

ALL = 1 << 30


HEADS = (
    "SELECT authors.author, s.first + s.count - 1, s.id FROM authors JOIN segments AS s "
    "ON s.author = authors.number AND s.first = "
    "(SELECT max(first) FROM segments WHERE author = authors.number)"
)
SIZES = (
    "SELECT authors.author, sum(length(bodies)) FROM segments JOIN authors "
    "ON segments.author = authors.number GROUP BY segments.author"
)


def _ask(party: Party, question: str) -> list[Any] | None:
    """Return what is in the database of a store, in use or not; ``None`` if it could not be read just now."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as place:
        for suffix in ("", "-wal", "-journal"):
            file = Path(f"{party.store / 'log.sqlite'}{suffix}")
            if file.exists():
                shutil.copyfile(file, Path(place, file.name))
        try:
            with closing(sqlite3.connect(Path(place, "log.sqlite"))) as connection:
                return connection.execute(question).fetchall()
        except sqlite3.Error:
            return None


def clock_of(party: Party) -> dict[str, tuple[int, str]] | None:
    """Return the clock on disk of a store, ``None`` if that could not be read just now."""
    rows = _ask(party, HEADS)
    return None if rows is None else {author.hex(): (seq, entry_id.hex()) for author, seq, entry_id in rows}


def held_bytes(party: Party) -> int:
    """Return how many bytes of entries of others are in a store."""
    rows = _ask(party, SIZES) or ()
    return sum(size for author, size in rows if author.hex() not in party.authors)


def differences(parties: Sequence[Party]) -> list[str]:
    """Return in words which clocks differ from the most that anybody has."""
    clocks = {party.name: clock_of(party) for party in parties}
    most: dict[str, tuple[int, str]] = {}
    for clock in clocks.values():
        for author, head in (clock or {}).items():
            most[author] = max(most.get(author, (0, "")), head)
    said = []
    for name, clock in clocks.items():
        if clock is None:
            said.append(f"{name} cannot be read")
            continue
        for author, head in most.items():
            if clock.get(author) != head:
                said.append(f"{name} has {clock.get(author, (0, ''))[0]} of {author[:8]}, others {head[0]}")
    return said


def check_store(party: Party, record: Record) -> int:
    """Compare a closed store with the record; return how many doubtful entries are gone.

    Of an own log whose disk was changed some may be damaged for good: nobody else had them yet.
    """
    raw = encoding("bytes")
    held: dict[tuple[str, int], str] = {}
    try:
        with closing(open_logs(party.store, init=False)) as logs:
            report = logs.verify()
            for damage in report.damages:
                author = (damage.author or b"").hex()
                if any((author, seq) not in record.doubtful for seq in range(damage.first, damage.last + 1)):
                    record.found(f"{party.name} is damaged: {damage}")
            for author in logs.forks:
                record.found(f"{party.name} knows a fork of {author.hex()[:8]}")
            for author in logs.clock:
                for segment in logs.segments(author, 1, ALL):
                    for entry in read_entries(segment, raw):
                        held[author.hex(), entry.seq] = (entry.payload or b"?").split(b" ")[0].decode()
    except GossiplogError as error:
        record.found(f"{party.name} cannot be read: {error}")
        return 0
    wrong = {key: name for key, name in record.names.items() if held.get(key) != name}
    certain = sorted(wrong.keys() - record.doubtful)
    for author, seq in certain[:1]:
        record.found(
            f"{party.name} has {held.get((author, seq))} as {author[:8]} {seq}, acknowledged was "
            f"{wrong[author, seq]}; and {len(certain) - 1} more"
        )
    return len(wrong) - len(certain)
