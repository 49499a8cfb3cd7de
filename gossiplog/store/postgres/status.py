"""How a store on PostgreSQL is: its tables, the relays on it, the standbys of its database.

Responsible for: asking the database, in one look; nothing is changed.
Must not know: who asks.
Invariant: what takes long to count is as the database estimates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossiplog.store.postgres import schema
from gossiplog.store.postgres.connection import Connection, named
from gossiplog.store.postgres.tables import RELAYS

_SIZES: Final = """
    SELECT name, coalesce(sum(pg_total_relation_size(part)), 0)::int8,
        coalesce(sum(greatest(reltuples, 0)), 0)::int8
    FROM unnest(%b::text[]) AS t(name) LEFT JOIN LATERAL (
        SELECT oid AS part, reltuples FROM pg_class WHERE oid = to_regclass(name) AND relkind = 'r' UNION ALL
        SELECT oid, reltuples FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = to_regclass(name)) p
        ON true
    GROUP BY 1"""

_DATABASE: Final = """
    SELECT current_setting('server_version'), pg_is_in_recovery(), pg_database_size(current_database()),
        current_setting('synchronous_standby_names'), current_setting('synchronous_commit')"""

_STANDBYS: Final = """
    SELECT coalesce(application_name, ''), coalesce(sync_state, ''),
        coalesce(pg_wal_lsn_diff(sent_lsn, replay_lsn), 0)::int8
    FROM pg_stat_replication ORDER BY 1"""

_RELAYS: Final = """
    SELECT relay, host, program, extract(epoch FROM now() - seen)::float8, behind, delay FROM relays
    ORDER BY seen DESC, relay"""

_LANES: Final = "SELECT count(*), extract(epoch FROM now() - max(seen))::float8 FROM lanes WHERE pos > 0"

TABLES: Final = ("heads", "segments", "feed", "forks", "cursors", "meta")


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """A relay: its node's id, its host, the version of tables that its program knows; how long ago it said that it is
    there, how many rows of the feed it had not read then, and after how many seconds at most it read the last ones."""

    relay: str
    host: str
    program: int
    seen_seconds: float
    behind: int
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class StandbyStatus:
    """A standby of the database: its name, whether commits wait for it (``sync``, ``quorum``), and how many bytes it
    has not replayed."""

    name: str
    sync: str
    behind_bytes: int


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """How a store that relays share is; ``authors`` and ``rows`` are estimates."""

    store: str
    version: int
    reader: int
    writer: int
    server: str
    is_standby: bool
    is_synchronous: bool
    database_bytes: int
    bytes: dict[str, int]
    authors: int
    rows: int
    lanes: int
    last_commit_seconds: float | None
    relays: list[RelayStatus]
    standbys: list[StandbyStatus]


def status_of(conninfo: str) -> FleetStatus:
    """Return how the store at ``conninfo`` is; raises what opening it does."""
    path = f"postgresql ({named(conninfo)})"
    connection = Connection(conninfo, path, to_any=True)
    try:
        with connection.itself() as itself:
            version = schema.require(itself, path, reads=True)
        [(server, is_standby, size, names, commit)] = connection.ask(_DATABASE)
        sizes = {name: (bytes_, rows) for name, bytes_, rows in connection.ask(_SIZES, ([*TABLES],))}
        [(lanes, last)] = connection.ask(_LANES)
        relays = connection.ask(_RELAYS) if version.version >= RELAYS else []
        return FleetStatus(
            store=path,
            **version._asdict(),
            server=server,
            is_standby=is_standby,
            is_synchronous=bool(names) and commit in ("on", "remote_apply", "remote_write"),
            database_bytes=size,
            bytes={name: sizes[name][0] for name in TABLES},
            authors=sizes["heads"][1],
            rows=sizes["segments"][1],
            lanes=lanes,
            last_commit_seconds=last,
            relays=[RelayStatus(*row) for row in relays],
            standbys=[StandbyStatus(*row) for row in connection.ask(_STANDBYS)],
        )
    finally:
        connection.close()
