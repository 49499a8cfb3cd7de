"""The verb fleet: making the tables of a store that relays share, bringing them up to date, showing how it is.

Responsible for: what is printed.
Must not know: SQL.
Invariant: what is printed as done is done by then.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gossiplog.app.commands.operate import duration, short_of, size
from gossiplog.app.printing import as_json, say
from gossiplog.errors import InvalidValueError
from gossiplog.store.door import POSTGRESQL, place_of
from gossiplog.store.postgres.tables import STEPS, VERSION, statements

if TYPE_CHECKING:
    from gossiplog.store.postgres.connection import Connection


def fleet(arguments: Namespace) -> int:
    """Do what is asked."""
    if arguments.action == "status":
        return _status(arguments)
    if arguments.sql and arguments.action == "init":
        _say_sql(0)
        return 0
    with closing(_connect(arguments)) as connection:
        (_init if arguments.action == "init" else _migrate)(connection, arguments)
    return 0


def _place(arguments: Namespace) -> str:
    place = place_of(arguments.store)
    if not place.startswith(f"{POSTGRESQL}:"):
        raise InvalidValueError(
            f"{place} is not shared by relays: fleet is about --store 'postgresql:///?service=NAME'"
        )
    return place


def _connect(arguments: Namespace) -> Connection:
    place = _place(arguments)
    from gossiplog.store.postgres.connection import Connection, named

    return Connection(place, f"postgresql ({named(place)})")


def _say_sql(version: int) -> None:
    for step in STEPS:
        if step.version > version:
            for statement in ("BEGIN", *statements(step), "COMMIT"):
                say(f"{statement};")


def _init(connection: Connection, arguments: Namespace) -> None:
    from gossiplog.store.postgres import schema

    with connection.itself() as itself:
        found = None if schema.create(itself) else schema.require(itself, connection.path)
    if found is None:
        say(f"made the tables of version {VERSION} in {connection.path}")
    else:
        say(f"tables of version {found.version} are in {connection.path}, as they were")


def _migrate(connection: Connection, arguments: Namespace) -> None:
    from gossiplog.store.postgres import schema

    if arguments.sql:
        with connection.itself() as itself:
            found = schema.version(itself)
        _say_sql(0 if found is None else found.version)
        return
    with connection.itself() as itself:
        done = schema.migrate(itself, connection.path)
    for version in done:
        say(f"tables of version {version} are in {connection.path} now")
    if not done:
        say(f"tables of version {VERSION} are in {connection.path}: there is nothing to do")


def _status(arguments: Namespace) -> int:
    place = _place(arguments)
    from gossiplog.store.postgres.status import status_of

    said = asdict(status_of(place))
    for line in [as_json(said)] if arguments.json else in_words(said):
        say(line)
    return 0


def in_words(said: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of :class:`gossiplog.store.postgres.status.FleetStatus`, as a dict, for people."""
    newer = " (gossiplog fleet migrate brings them up to date)" if said["version"] < VERSION else ""
    yield f"store {said['store']}, tables of version {said['version']}{newer}, PostgreSQL {said['server']}"
    tables = ", ".join(f"{name} {size(count)}" for name, count in said["bytes"].items())
    yield f"about {said['authors']:,} authors, {said['rows']:,} rows; {tables}; {size(said['database_bytes'])} in all"
    last = said["last_commit_seconds"]
    when = "nothing was committed" if last is None else f"the last commit was {duration(last)} ago"
    yield f"{said['lanes']:,} lanes, {when}"
    for relay in said["relays"]:
        yield (
            f"relay {short_of(relay['relay'])} at {relay['host']}, seen {duration(relay['seen_seconds'])} ago: "
            f"{relay['behind']:,} commits of others to read, read after {relay['delay_seconds'] * 1000:.0f} ms at most"
        )
    for standby in said["standbys"]:
        yield f"standby {standby['name']} ({standby['sync']}): {size(standby['behind_bytes'])} behind"
    if said["is_standby"]:
        yield "this is a standby: relays write to the primary"
    elif not said["is_synchronous"]:
        yield "no commit waits for a standby: a failover loses the last ones, until peers bring them back"
