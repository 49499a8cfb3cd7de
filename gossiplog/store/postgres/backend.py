"""A store on PostgreSQL that several relays share.

Responsible for: reading rows, heads, forks, values and cursors; putting connection, lanes and secrets together.
Must not know: how a commit is done (``writing``), peers, threads.
Invariant: what is read is as some commit left it; rows have the checksums that the other stores have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from nacl.bindings import crypto_scalarmult_base

from gossiplog.errors import InvalidValueError, StoreDamagedError, StoreError, StoreFullError
from gossiplog.limits import MAX_SEGMENT_ENTRIES
from gossiplog.log.clock import Clock
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import KeyKind, format_key, short_key
from gossiplog.log.segment import Head, HoledRow, Segment, toil_bytes
from gossiplog.paths import AnyPath
from gossiplog.store.interface import Guard, PutMeta, Row, RowWrite, SavedCursor, Secrets
from gossiplog.store.postgres import schema
from gossiplog.store.postgres.connection import Connection, named
from gossiplog.store.postgres.feed import Lanes
from gossiplog.store.postgres.upkeep import Upkeep
from gossiplog.store.postgres.writing import LaneWriter, _key
from gossiplog.store.row_form import proof_of, segment_of
from gossiplog.store.shared.interface import RELAY_OF, Change, Position, Stand
from gossiplog.store.sqlite.backend import SQLiteBackend

_ROWS_AT_ONCE: Final = 8
"""Full ones are a megabyte."""

_OUTLINES_AT_ONCE: Final = 1000
"""Rows of which only the outline is read."""

_ENDS: Final = """
    SELECT h.author, (h.seq, h.id) IS DISTINCT FROM (s.last, s.id) AND (h.seq > 0 OR s.last IS NOT NULL)
    FROM (SELECT author, seq, id FROM heads WHERE author > %b ORDER BY author LIMIT %b) h LEFT JOIN LATERAL (
        SELECT first + count - 1 AS last, id FROM segments s WHERE s.author = h.author
        ORDER BY first DESC LIMIT 1) s ON true
    ORDER BY h.author"""

_OWN: Final = frozenset({"book"})
"""Values that each relay has for itself, in its directory."""

_COLUMNS: Final = "first, count, holes, crc, id, previous, signature, bodies"


class PostgresBackend:
    """I am one relay's part in a store on PostgreSQL.

    ``state`` is a directory of this machine with what is this relay's alone, its node's key and address book: a store
    without logs, so that a copy of it is noticed, and is another node.
    """

    damage = ""
    read_only = False

    def __init__(self, conninfo: str, state: AnyPath, *, init: bool = False, wait: float = 0.0) -> None:
        """Connect; with ``init`` tables are made in a database without any.

        :raises StoreUnreachableError: nobody answers.
        :raises StoreError: the subclass says what else is wrong.
        """
        name = named(conninfo)
        self.path = f"postgresql ({name})"
        self._own = SQLiteBackend(state, wait=wait)
        try:
            self._take_directory()
            lanes = Lanes(conninfo, self.path)
            self._node: str | None = None
            self._connection = Connection(conninfo, self.path, lanes.reach)
            try:
                with self._connection.itself() as connection:
                    if init:
                        schema.create(connection)
                    found = schema.require(connection, self.path)
                lanes.upkeep = Upkeep(os.uname().nodename, self._called, found.version)
                self.shared = _Fleet(self._connection, lanes, self._own.path)
                relay = f"{os.uname().nodename} {os.getpid()}"
                self._writer = LaneWriter(self._connection, relay, self.shared.deletions)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._own.close()
            raise

    def _take_directory(self) -> None:
        """Make the directory one of a relay, or see that it is."""
        own = self._own
        if own.read_only:
            raise StoreError(f"{own.path} takes no writes, and is to be the state of a relay of {self.path}")
        before = own.meta(RELAY_OF)
        if before is None and (own.secrets.seed_names() or next(iter(own.heads()), None) is not None):
            raise InvalidValueError(
                f"{own.path} is a store with logs of its own: name another directory as the state of a relay"
            )
        said = self.path.encode()
        if before != said:
            own.commit([PutMeta(RELAY_OF, said)])

    def _called(self) -> str | None:
        """What this relay is called: as its node is, once there was one."""
        if self._node is None and (secret := self._own.secrets.node_key()) is not None:
            self._node = format_key(KeyKind.NODE, crypto_scalarmult_base(secret))
        return self._node

    @property
    def disk(self) -> None:
        """Another machine's."""
        return

    # -- reading ---------------------------------------------------------------------------------------------

    def heads(self) -> Iterable[tuple[bytes, Head]]:
        """Return every author's head."""
        rows = self._connection.ask("SELECT author, seq, id FROM heads WHERE seq > 0")
        return [(author, Head(seq, entry_id)) for author, seq, entry_id in rows]

    def forks(self) -> dict[bytes, int]:
        """Return the bytes of the fork proofs by author."""
        return dict(self._connection.ask("SELECT author, length(proof) FROM forks"))

    def fork(self, author: bytes) -> ForkProof | None:
        """Return the fork proof of an author."""
        rows = self._connection.ask("SELECT proof FROM forks WHERE author = %b", (author,))
        return proof_of(author, rows[0][0], self.path) if rows else None

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return neighbouring rows from the one with ``first`` on; some at a time."""
        found: list[Segment] = []
        at, size = first, 0
        while True:
            rows = self._connection.ask(
                f"SELECT {_COLUMNS} FROM segments WHERE author = %b AND first >= "
                "(SELECT max(first) FROM segments WHERE author = %b AND first <= %b) ORDER BY first LIMIT %b",
                (author, author, at, _ROWS_AT_ONCE),
            )
            for row in rows:
                if found and (row[0] != at or (last is not None and at > last)):
                    return found
                try:
                    segment = segment_of(author, row, self.path)
                except StoreDamagedError:
                    if not found:
                        raise
                    return found
                if not found and segment.last < first:
                    return found
                found.append(segment)
                at = segment.last + 1
                size += toil_bytes(segment)
                if size >= limit_bytes:
                    return found
            if len(rows) < _ROWS_AT_ONCE:
                return found

    def search(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """There is nowhere else to look."""
        return self.segments(author, first, limit_bytes, last)

    def starts(self, author: bytes, first: int, limit: int) -> list[int]:
        """Return where an author's next rows begin."""
        rows = self._connection.ask(
            "SELECT first FROM segments WHERE author = %b AND first >= %b ORDER BY first LIMIT %b",
            (author, first, limit),
        )
        return [row[0] for row in rows]

    def rows(self, author: bytes, first: int = 1) -> Iterator[Row]:
        """Yield the outlines of an author's rows."""
        while True:
            found = self._connection.ask(
                "SELECT first, count, length(bodies) FROM segments WHERE author = %b AND first >= %b "
                "ORDER BY first LIMIT %b",
                (author, first, _OUTLINES_AT_ONCE),
            )
            for row in found:
                yield Row(*row)
            if len(found) < _OUTLINES_AT_ONCE:
                return
            first = found[-1][0] + 1

    def weights(self) -> dict[bytes, int]:
        """Return what the rows of each author take."""
        return dict(self._connection.ask("SELECT author, bytes FROM heads WHERE seq > 0"))

    def used_bytes(self) -> int:
        """Nothing is left free between rows, as far as quotas go."""
        self._connection.require_open()
        return 0

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their body."""
        rows = self._connection.ask(
            "SELECT author, sum(holes)::int8 FROM segments WHERE holes > 0 GROUP BY 1"
        )
        return dict(sorted(rows))

    def holed(self, author: bytes, first: int, last: int, limit: int | None = None) -> list[HoledRow]:
        """Return an author's rows with holes that hold anything from ``first`` to ``last``."""
        return self._holed(
            "author = %b AND first BETWEEN %b AND %b AND first + count > %b",
            (author, first - MAX_SEGMENT_ENTRIES + 1, last, first),
            limit,
        )

    def holed_after(self, row: HoledRow | None, limit: int) -> list[HoledRow]:
        """Return the next rows with holes, authors ascending."""
        if row is None:
            return self._holed("true", (), limit)
        return self._holed("(author, first) > (%b, %b)", row[:2], limit)

    def _holed(self, where: str, parameters: Sequence[object], limit: int | None) -> list[HoledRow]:
        rows = self._connection.ask(
            f"SELECT author, first, count, holes FROM segments WHERE holes > 0 AND {where} "
            "ORDER BY author, first LIMIT %b",
            (*parameters, limit),
        )
        return [HoledRow(*row) for row in rows]

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store, or one that is this relay's."""
        if key in _OWN:
            return self._own.meta(key)
        rows = self._connection.ask("SELECT value FROM meta WHERE key = %b", (_key(key),))
        return rows[0][0] if rows else None

    def cursor(self, name: str) -> SavedCursor:
        """Return a reader's cursor."""
        rows = self._connection.ask("SELECT author, seq, id FROM cursors WHERE name = %b", (_key(name),))
        cursor = Cursor()
        cursor.apply({author: (seq, id8) for author, seq, id8 in rows})
        return SavedCursor(cursor)

    def cursor_names(self) -> list[str]:
        """Return the names of all cursors, sorted."""
        rows = self._connection.ask("SELECT DISTINCT name FROM cursors")
        return sorted(bytes.fromhex(row[0]).decode() for row in rows)

    def check(self) -> Iterator[str]:
        """Yield heads that are not those of their last rows; some at a time, so that an answer never takes long."""
        after = b""
        while True:
            rows = self._connection.ask(_ENDS, (after, _OUTLINES_AT_ONCE))
            for author, is_wrong in rows:
                if is_wrong:
                    yield f"the head of {short_key(author)} is not that of its last row"
            if len(rows) < _OUTLINES_AT_ONCE:
                return
            after = rows[-1][0]

    # -- writing ---------------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all writes in one transaction; see :meth:`gossiplog.store.interface.Backend.commit`."""
        self._connection.require_open()
        own = [write for write in writes if isinstance(write, PutMeta) and write.key in _OWN]
        if own:
            writes = [write for write in writes if write not in own]
            try:
                self._own.commit(own)
            except StoreError as error:  # whatever it is: the store itself has no fault
                raise StoreFullError(str(error)) from error
        if writes:
            try:
                self._writer.commit(writes)
            finally:
                self.shared.lanes.mine(self._writer.name, self._writer.pos)

    def checkpoint(self) -> None:
        """Do nothing: the database does that itself."""

    def reclaim(self, thorough: bool = False) -> bool:
        """Do nothing: the database does that itself."""
        self._connection.require_open()
        return False

    # -- secrets and the end ---------------------------------------------------------------------------------

    @property
    def secrets(self) -> Secrets:
        """Files of this machine: each relay is a node of its own."""
        return self._own.secrets

    def clock(self) -> Clock:
        """Return the heads, all in memory."""
        return Clock(self.heads())

    def guard(
        self, clock: MovingClock, writers: Mapping[str, bytes], entropy: Callable[[int], bytes]
    ) -> Guard:
        """Guard the key: nobody writes here."""
        return self._own.guard(clock, {}, entropy)

    def close(self) -> None:
        """Give connections and the directory back."""
        self._connection.close()
        self.shared.lanes.close()
        self._own.close()


class _Fleet:
    """I am what a relay knows of the others (:class:`gossiplog.store.shared.interface.Shared`)."""

    def __init__(self, connection: Connection, lanes: Lanes, directory: str) -> None:
        self._connection = connection
        self.lanes = lanes
        self.directory = directory
        self.deletions: dict[bytes, int] = {}

    def stands(self, authors: Iterable[bytes]) -> list[Stand]:
        """Return these authors as they are now; whoever is moving one is waited for."""
        asked = sorted({*authors})
        rows = self._connection.ask(
            "SELECT h.author, seq, id, deletions, proof FROM unnest(%b::bytea[]) AS a(author) "
            "JOIN heads h USING (author) LEFT JOIN forks f USING (author) ORDER BY h.author FOR SHARE OF h",
            (asked,),
        )
        return [
            Stand(
                author,
                Head(seq, id_) if seq else None,
                None,
                None if proof is None else proof_of(author, proof, self._connection.path),
                deletions,
            )
            for author, seq, id_, deletions, proof in rows
        ]

    def weights(self, authors: Collection[bytes]) -> dict[bytes, int]:
        """Return what the rows of these authors take."""
        return dict(
            self._connection.ask(
                "SELECT author, bytes FROM unnest(%b::bytea[]) AS a(author) JOIN heads USING (author) WHERE seq > 0",
                (sorted(authors),),
            )
        )

    def rows_bytes(self) -> int:
        """Return what the rows of all logs take together; O(authors), in the database."""
        [(size,)] = self._connection.ask("SELECT coalesce(sum(bytes), 0)::int8 FROM heads WHERE seq > 0")
        return int(size)

    def start(self) -> Position:
        """Lanes, then deletions, then (:meth:`PostgresBackend.clock`) heads: what comes in between is heard again, and
        changes nothing."""
        ends = self.lanes.ends(self._connection)
        self.deletions.clear()
        self.deletions.update(self._connection.ask("SELECT author, deletions FROM heads WHERE deletions > 0"))
        return ends

    def beat(self) -> None:
        """Say that we are there."""
        self.lanes.beat()

    def poll(self, after: Position, limit_bytes: int) -> tuple[list[Change], Position]:
        """Return what others changed after a position; from one thread at a time, and any."""
        return self.lanes.poll(after, limit_bytes)
