"""The tables of a store on PostgreSQL, and which versions of them there are.

Responsible for: making them, bringing older ones up to date, refusing what this program cannot use.
Must not know: what the rows mean.
Invariant: tables are made or changed whole or not at all.  The SQL needs no extension, trigger, function, sequence,
advisory lock or NOTIFY.

``heads.bytes`` is what the rows of the log take (``log.disk_cost``), ``heads.deletions`` how often the log was deleted:
the row of one that was stays, with seq 0.

``heads`` and ``segments`` are parted by the first byte of the author: public keys are uniform, and ranges stay
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import ProgrammingError

from gossiplog.errors import StoreFormatError, StoreNotFoundError

if TYPE_CHECKING:
    from psycopg import Connection

VERSION: Final = 1
"""Of the tables that this program makes, and the only ones it uses."""

PARTS: Final = 8
"""Partitions of a new store; one table each is vacuumed, and grows, on its own."""

VERSION_KEY: Final = "schema"

_TABLES: Final = (
    "CREATE TABLE meta (key text PRIMARY KEY, value bytea NOT NULL)",
    """CREATE TABLE heads (
        author bytea PRIMARY KEY, seq int8 NOT NULL, id bytea NOT NULL, bytes int8 NOT NULL DEFAULT 0,
        forked bool NOT NULL DEFAULT false, deletions int8 NOT NULL DEFAULT 0)
        PARTITION BY RANGE (author)""",
    """CREATE TABLE segments (
        author bytea NOT NULL, first int8 NOT NULL, count int4 NOT NULL, holes int4 NOT NULL, crc int8 NOT NULL,
        id bytea NOT NULL, previous bytea NOT NULL, signature bytea NOT NULL, bodies bytea NOT NULL,
        PRIMARY KEY (author, first)) PARTITION BY RANGE (author)""",
    "CREATE INDEX segments_with_holes ON segments (author, first) INCLUDE (count, holes) WHERE holes > 0",
    "CREATE TABLE forks (author bytea PRIMARY KEY, proof bytea NOT NULL)",
    """CREATE TABLE cursors (
        name text, author bytea, seq int8 NOT NULL, id bytea NOT NULL, PRIMARY KEY (name, author))""",
    """CREATE TABLE lanes (
        lane bytea PRIMARY KEY, pos int8 NOT NULL, relay text NOT NULL, seen timestamptz NOT NULL DEFAULT now())
        WITH (fillfactor = 50)""",
    """CREATE TABLE feed (
        lane bytea, pos int8, at timestamptz NOT NULL DEFAULT now(), changes bytea NOT NULL,
        PRIMARY KEY (lane, pos))""",
    "ALTER TABLE feed ALTER changes SET STORAGE EXTERNAL",
)


def create(connection: Connection[Any]) -> None:
    """Make the tables of a new store, unless they are there."""
    with connection.transaction():
        connection.execute(
            "LOCK TABLE pg_catalog.pg_namespace IN SHARE ROW EXCLUSIVE MODE"
        )  # one of two is second
        if version(connection) is not None:
            return
        for statement in _TABLES:
            connection.execute(statement)
        for number in range(PARTS):
            lower = "MINVALUE" if not number else f"'\\x{number * 256 // PARTS:02x}'"
            upper = "MAXVALUE" if number == PARTS - 1 else f"'\\x{(number + 1) * 256 // PARTS:02x}'"
            part = f"FOR VALUES FROM ({lower}) TO ({upper})"
            connection.execute(
                f"CREATE TABLE heads_{number} PARTITION OF heads {part} WITH (fillfactor = 80)"
            )
            connection.execute(f"CREATE TABLE segments_{number} PARTITION OF segments {part}")
            connection.execute(f"ALTER TABLE segments_{number} ALTER bodies SET STORAGE EXTERNAL")
        connection.execute("INSERT INTO meta VALUES (%s, %s)", (VERSION_KEY, str(VERSION).encode()))


def version(connection: Connection[Any]) -> int | None:
    """Return the version of the tables that are there, ``None`` if there are none.

    :raises StoreFormatError: tables of the same names are there, and they are not ours.
    """
    if connection.execute("SELECT to_regclass('meta') IS NULL").fetchone() == (True,):
        return None
    try:
        with connection.transaction():
            row = connection.execute(
                "SELECT value FROM meta WHERE key = %s", (VERSION_KEY,), binary=True
            ).fetchone()
            return int(row[0]) if row is not None else _none()
    except (ValueError, TypeError, LookupError, ProgrammingError) as error:
        raise StoreFormatError("the table meta of this database is not gossiplog's") from error


def require(connection: Connection[Any], path: str) -> None:
    """Raise unless the tables are those that this program uses."""
    found = version(connection)
    if found is None:
        raise StoreNotFoundError(f"no store in {path}: make one with `gossiplog fleet init`")
    if found != VERSION:
        raise StoreFormatError(f"{path} has tables of version {found}; this program uses version {VERSION}")


def _none() -> int:
    raise LookupError(VERSION_KEY)
