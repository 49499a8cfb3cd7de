"""Making the tables of a store on PostgreSQL, bringing older ones up to date, refusing what this program cannot use.

Responsible for: these, and who may do it when.
Must not know: what is in the tables (``tables``).
Invariant: tables are made or changed whole or not at all, by one of those who try it at the same moment, and not while
a relay runs that could not use them then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import ProgrammingError
from psycopg.errors import DuplicateObject, DuplicateTable, InsufficientPrivilege, UniqueViolation

from gossiplog.errors import StoreFormatError, StoreInUseError, StoreNotFoundError
from gossiplog.store.postgres.tables import LEAST, RELAYS, STEPS, VERSION, VERSION_KEY, Step, statements

if TYPE_CHECKING:
    from psycopg import Connection

ABSENT_SECONDS: Final = 60
"""A relay that was not seen for so long does not run: it says every few seconds that it does."""


class Version(NamedTuple):
    """Of the tables that are there, and the least ones of programs that may read and write them."""

    version: int
    reader: int
    writer: int


def create(connection: Connection[Any]) -> bool:
    """Make the tables of a new store, unless they are there; return whether they were made."""
    if version(connection) is not None:
        return False
    try:
        with connection.transaction():
            for step in STEPS:
                _do(connection, step)
    except (DuplicateTable, DuplicateObject, UniqueViolation):
        if version(connection) is None:
            raise StoreFormatError("tables of the names that gossiplog's have are there") from None
        return False  # another one was first
    return True


def migrate(connection: Connection[Any], path: str) -> list[int]:
    """Bring the tables up to date, step by step; return the versions that were reached.

    :raises StoreNotFoundError: there are none.
    :raises StoreFormatError: they are newer than this program.
    :raises StoreInUseError: relays run that are too old for a step; those before it were done.
    """
    done = []
    for step in STEPS:
        with connection.transaction():
            found = _require_any(connection, path)
            if found.writer > VERSION:
                raise _too_new(found, path)
            connection.execute("SELECT value FROM meta WHERE key = %s FOR UPDATE", (VERSION_KEY,))
            found = _require_any(connection, path)  # whoever was first has done it
            if found.version < step.version:
                _require_able(connection, found, step)
                _do(connection, step)
                done.append(step.version)
    return done


def _do(connection: Connection[Any], step: Step) -> None:
    for statement in statements(step):
        connection.execute(statement.encode())


def _require_able(connection: Connection[Any], found: Version, step: Step) -> None:
    if found.version < RELAYS:
        return
    rows = connection.execute(
        "SELECT host FROM relays WHERE program < %s AND seen > now() - make_interval(secs => %s) ORDER BY host",
        (step.writer, ABSENT_SECONDS),
    ).fetchall()
    if rows:
        raise StoreInUseError(
            f"relays run that cannot use tables of version {step.version}, at {', '.join(row[0] for row in rows)}: "
            "upgrade gossiplog there first"
        )


def version(connection: Connection[Any]) -> Version | None:
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
        found, *least = map(int, row[0].split() if row is not None else ())
        reader, writer = least or (found, found)
    except InsufficientPrivilege:
        raise
    except (ValueError, TypeError, AttributeError, ProgrammingError) as error:
        raise StoreFormatError("the table meta of this database is not gossiplog's") from error
    return Version(found, reader, writer)


def require(connection: Connection[Any], path: str, *, reads: bool = False) -> Version:
    """Return the version of the tables; raise unless this program may use them, to write or only ``reads``."""
    found = _require_any(connection, path)
    if found.version < LEAST:
        raise StoreFormatError(
            f"{path} has tables of version {found.version}, and this program uses those from {LEAST} on: "
            "bring them up to date with `gossiplog fleet migrate`"
        )
    if (found.reader if reads else found.writer) > VERSION:
        raise _too_new(found, path)
    return found


def _require_any(connection: Connection[Any], path: str) -> Version:
    found = version(connection)
    if found is None:
        raise StoreNotFoundError(f"no store in {path}: make one with `gossiplog fleet init`")
    return found


def _too_new(found: Version, path: str) -> StoreFormatError:
    return StoreFormatError(
        f"{path} has tables of version {found.version}, and this program knows those up to {VERSION}: "
        "upgrade gossiplog here"
    )
