"""The tables of a store on PostgreSQL, as SQL: those of each version, and what leads from one to the next.

Responsible for: the statements; which versions of this program use which versions of the tables.
Must not know: connections.
Invariant: a step that an older program would not notice lets it go on (it *expands*); one that takes something away, or
gives it another meaning, lets only those use the tables that know it (it *contracts*), and is a version of its own,
later than the one that made the old needless.  So a program uses the tables of its version and of the one before, and
of later ones as long as these let it: relays are upgraded one after the other.  No statement needs an extension, a
trigger, a function, a sequence, an advisory lock or NOTIFY, nor more rights than those of who owns the database.

``heads.bytes`` is what the rows of the log take (``log.disk_cost``), ``heads.deletions`` how often the log was
deleted: the row of one that was stays, with seq 0.  ``heads`` and ``segments`` are parted by the first byte of the
author: public keys are uniform, and ranges stay together.  ``gone`` has the lanes that are not in ``lanes`` any more,
and where they ended, so that one that is missing there and here shows that the database was put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

PARTS: Final = 8
"""Partitions of a new store; one table each is vacuumed, and grows, on its own."""

VERSION_KEY: Final = "schema"
"""Of the row in ``meta`` that says the version, and the least ones of programs that may read and write: "2 1 1"."""


class Step(NamedTuple):
    """How the tables get to ``version``; then programs from ``reader`` on may read, and from ``writer`` on write."""

    version: int
    statements: tuple[str, ...]
    reader: int
    writer: int

    @property
    def said(self) -> str:
        """What ``meta`` has to say of it."""
        return f"{self.version} {self.reader} {self.writer}"


def _parts() -> Iterator[str]:
    for number in range(PARTS):
        lower = "MINVALUE" if not number else f"'\\x{number * 256 // PARTS:02x}'"
        upper = "MAXVALUE" if number == PARTS - 1 else f"'\\x{(number + 1) * 256 // PARTS:02x}'"
        part = f"FOR VALUES FROM ({lower}) TO ({upper})"
        yield f"CREATE TABLE heads_{number} PARTITION OF heads {part} WITH (fillfactor = 80)"
        yield f"CREATE TABLE segments_{number} PARTITION OF segments {part}"
        yield f"ALTER TABLE segments_{number} ALTER bodies SET STORAGE EXTERNAL"


STEPS: Final = (
    Step(
        1,
        (
            "CREATE TABLE meta (key text PRIMARY KEY, value bytea NOT NULL)",
            """CREATE TABLE heads (
                author bytea PRIMARY KEY, seq int8 NOT NULL, id bytea NOT NULL, bytes int8 NOT NULL DEFAULT 0,
                forked bool NOT NULL DEFAULT false, deletions int8 NOT NULL DEFAULT 0)
                PARTITION BY RANGE (author)""",
            """CREATE TABLE segments (
                author bytea NOT NULL, first int8 NOT NULL, count int4 NOT NULL, holes int4 NOT NULL,
                crc int8 NOT NULL, id bytea NOT NULL, previous bytea NOT NULL, signature bytea NOT NULL,
                bodies bytea NOT NULL, PRIMARY KEY (author, first)) PARTITION BY RANGE (author)""",
            "CREATE INDEX segments_with_holes ON segments (author, first) INCLUDE (count, holes) WHERE holes > 0",
            "CREATE TABLE forks (author bytea PRIMARY KEY, proof bytea NOT NULL)",
            """CREATE TABLE cursors (
                name text, author bytea, seq int8 NOT NULL, id bytea NOT NULL, PRIMARY KEY (name, author))""",
            """CREATE TABLE lanes (
                lane bytea PRIMARY KEY, pos int8 NOT NULL, relay text NOT NULL,
                seen timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 50)""",
            """CREATE TABLE feed (
                lane bytea, pos int8, at timestamptz NOT NULL DEFAULT now(), changes bytea NOT NULL,
                PRIMARY KEY (lane, pos))""",
            "ALTER TABLE feed ALTER changes SET STORAGE EXTERNAL",
            *_parts(),
        ),
        1,
        1,
    ),
    Step(
        2,
        (
            """CREATE TABLE relays (
                relay text PRIMARY KEY, host text NOT NULL, program int4 NOT NULL, seen timestamptz NOT NULL,
                behind int8 NOT NULL, delay float8 NOT NULL)""",
            "CREATE TABLE gone (lane bytea PRIMARY KEY, pos int8 NOT NULL)",
        ),
        1,
        1,
    ),
)

VERSION: Final = STEPS[-1].version
"""Of the tables that this program makes, and knows all of."""

LEAST: Final = VERSION - 1
"""Of those that it uses at all."""

RELAYS: Final = 2
"""From this version on relays say that they are there, and lanes of those that are gone are removed."""


def statements(step: Step) -> list[str]:
    """Return what a step does, all in one transaction."""
    said = f"VALUES ('{VERSION_KEY}', '{step.said}') ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    return [*(" ".join(each.split()) for each in step.statements), f"INSERT INTO meta (key, value) {said}"]
