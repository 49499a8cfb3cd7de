"""Writes made into one transaction: heads by compare and set, rows, and the lane that tells of it.

Responsible for: the statements of a commit, in an order in which nobody waits for who waits for him.
Must not know: who reads the lane.
Invariant: a head is moved only from the one that the segment names, and not that of a forked log; the lane tells of
every author that was touched; where its end is not as we left it, the database went back and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gossiplog.errors import InvalidValueError, LostRaceError, StoreWentBackError
from gossiplog.log.fork import encode_proof
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head
from gossiplog.store.interface import (
    Cut,
    DeleteAuthor,
    Mend,
    PutCursor,
    PutFork,
    PutMeta,
    PutSegment,
    Replace,
    RowWrite,
    check_cut,
    check_mend,
    check_name,
    check_put,
    check_replace,
    check_value,
)
from gossiplog.store.postgres.connection import Connection
from gossiplog.store.postgres.feed import packed
from gossiplog.store.row_form import row_of
from gossiplog.store.shared.interface import Stand

if TYPE_CHECKING:
    from psycopg import Cursor

LANE_BYTES: Final = 8

_ADD: Final = """
    INSERT INTO heads (author, seq, id) SELECT a, s, i FROM unnest(%b::bytea[], %b::int8[], %b::bytea[]) AS t(a, s, i)
    ORDER BY a ON CONFLICT (author) DO NOTHING RETURNING author"""

_MOVE: Final = """
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b::bytea[], %b::int8[], %b::bytea[], %b::int8[], %b::bytea[]) AS t(a, s, i, ns, ni)),
    mine AS MATERIALIZED (
        SELECT h.author FROM asked JOIN heads h ON h.author = a AND h.seq = s AND h.id = i WHERE NOT h.forked
        ORDER BY h.author FOR UPDATE OF h SKIP LOCKED)
    UPDATE heads h SET seq = ns, id = ni FROM asked, mine WHERE mine.author = a AND h.author = a RETURNING h.author"""

_PUT: Final = """
    INSERT INTO segments (author, first, count, holes, crc, id, previous, signature, bodies)
    SELECT * FROM unnest(%b::bytea[], %b::int8[], %b::int4[], %b::int4[], %b::int8[], %b::bytea[], %b::bytea[],
        %b::bytea[], %b::bytea[])"""


class LaneWriter:
    """I commit, each time one row further in a lane of mine."""

    def __init__(self, connection: Connection, relay: str) -> None:
        """``relay``: what others see the lane is of."""
        self._connection = connection
        self._relay = relay
        self._pos = 0
        self.name = b""

    def begin(self) -> None:
        """Begin a lane: at the start, and when it is not known what became of the last commit of one."""
        name = os.urandom(LANE_BYTES)
        with self._connection.transaction(()) as cursor:
            cursor.execute("INSERT INTO lanes (lane, pos, relay) VALUES (%b, 0, %b)", (name, self._relay))
        self.name, self._pos = name, 0

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all ``writes`` in order, or none of them."""
        if not self.name:
            self.begin()
        name, self.name = self.name, b""  # until it is known where the lane ends
        changes: list[Stand] = []
        tells = any(isinstance(write, PutSegment | PutFork | DeleteAuthor | Cut) for write in writes)
        try:
            with self._connection.transaction(_authors(writes)) as cursor:
                if tells:
                    self._move(cursor, name)
                self._do_all(cursor, writes, changes)
                if tells:
                    cursor.execute(
                        "INSERT INTO feed (lane, pos, changes) VALUES (%b, %b, %b)",
                        (name, self._pos + 1, packed(changes)),
                    )
        except LostRaceError as lost:
            if lost.__cause__ is None:  # nothing was done
                self.name = name
            raise
        except (InvalidValueError, StoreWentBackError):
            self.name = name
            raise
        self.name = name
        self._pos += tells

    def _move(self, cursor: Cursor[Any], name: bytes) -> None:
        """Go one further in the lane, before anything else: what is then found is of no database that went back."""
        cursor.execute(
            "UPDATE lanes SET pos = %b, seen = now() WHERE lane = %b AND pos = %b",
            (self._pos + 1, name, self._pos),
        )
        if cursor.rowcount != 1:
            raise StoreWentBackError(
                f"{self._connection.path} was put back to a state before the last commit"
            )

    def _do_all(self, cursor: Cursor[Any], writes: Sequence[RowWrite], changes: list[Stand]) -> None:
        run: list[PutSegment] = []
        for write in writes:
            if isinstance(write, PutSegment):
                run.append(check_put(write))
                continue
            if run:
                _put(cursor, run, changes)
                run = []
            _do(cursor, write, changes)
        if run:
            _put(cursor, run, changes)


def _authors(writes: Sequence[RowWrite]) -> list[bytes]:
    """Whom to look at when it is not known whether these were done."""
    found = [write.segment.author for write in writes if isinstance(write, PutSegment)]
    found += [write.proof.author for write in writes if isinstance(write, PutFork)]
    return [*dict.fromkeys(found)]


def _put(cursor: Cursor[Any], run: Sequence[PutSegment], changes: list[Stand]) -> None:
    """Move heads, then add the rows."""
    moves: dict[bytes, list[Head]] = {}
    for segment, head in run:
        before = Head(segment.first - 1, segment.previous)
        heads = moves.setdefault(segment.author, [before, before])
        if heads[1] != before:
            raise LostRaceError((segment.author,))
        heads[1] = head
    new = sorted(author for author, (before, _) in moves.items() if not before.seq)
    old = sorted(author for author, (before, _) in moves.items() if before.seq)
    won: set[bytes] = {author for author in new if moves[author][0].id != genesis_id(author)}
    if won:
        raise LostRaceError(tuple(won))
    if new:
        after = [moves[author][1] for author in new]
        cursor.execute(_ADD, (new, [head.seq for head in after], [head.id for head in after]))
        won.update(row[0] for row in cursor.fetchall())
    if old:
        pairs = [moves[author] for author in old]
        columns = [[getattr(pair[side], name) for pair in pairs] for side in (0, 1) for name in ("seq", "id")]
        cursor.execute(_MOVE, (old, *columns))
        won.update(row[0] for row in cursor.fetchall())
    if lost := [author for author in moves if author not in won]:
        raise LostRaceError(tuple(lost))
    cursor.execute(_PUT, _columns(run))
    changes += [Stand(segment.author, head, segment) for segment, head in run]


def _columns(run: Sequence[PutSegment]) -> list[list[Any]]:
    rows = [(segment.author, *row_of(segment, head.id)) for segment, head in run]
    return [list(column) for column in zip(*rows, strict=True)]


def _do(cursor: Cursor[Any], write: RowWrite, changes: list[Stand]) -> None:
    ask = cursor.execute
    match write:
        case PutFork(proof):
            author = proof.author
            ask(
                "INSERT INTO forks (author, proof) VALUES (%b, %b) ON CONFLICT DO NOTHING",
                (author, encode_proof(proof)),
            )
            if cursor.rowcount == 1:  # marked in the row that is compared, so that no move overlooks it
                row = ask(
                    "INSERT INTO heads (author, seq, id, forked) VALUES (%b, 0, %b, true) "
                    "ON CONFLICT (author) DO UPDATE SET forked = true RETURNING seq, id",
                    (author, genesis_id(author)),
                ).fetchone()
                assert row is not None
                changes.append(Stand(author, Head(*row) if row[0] else None, None, proof))
        case PutMeta():
            key, value = check_value(write)
            if value is None:
                ask("DELETE FROM meta WHERE key = %b", (_key(key),))
            else:
                ask(
                    "INSERT INTO meta (key, value) VALUES (%b, %b) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    (_key(key), value),
                )
        case PutCursor(name, places, anew):
            key = _key(check_name(name))
            if anew:
                ask("DELETE FROM cursors WHERE name = %b", (key,))
            gone = [author for author, place in places.items() if place is None]
            if gone and not anew:
                ask("DELETE FROM cursors WHERE name = %b AND author = ANY(%b)", (key, gone))
            kept = sorted((author, *place) for author, place in places.items() if place is not None)
            if kept:
                ask(
                    "INSERT INTO cursors SELECT %b, * FROM unnest(%b::bytea[], %b::int8[], %b::bytea[]) "
                    "ON CONFLICT (name, author) DO UPDATE SET seq = excluded.seq, id = excluded.id",
                    (key, *([row[place] for row in kept] for place in range(3))),
                )
        case DeleteAuthor(author):
            for table in ("segments", "heads", "forks"):
                ask(f"DELETE FROM {table} WHERE author = %b", (author,))
            changes.append(Stand(author, None))
        case Replace():
            _replace(cursor, write)
        case Cut():
            _cut(cursor, write, changes)
        case Mend():
            _mend(cursor, write)


def _replace(cursor: Cursor[Any], write: Replace) -> None:
    author, first, last, segment = check_replace(write)
    found = cursor.execute(
        "SELECT first, count, id FROM segments WHERE author = %b AND first BETWEEN %b AND %b ORDER BY first FOR UPDATE",
        (author, first, last),
    ).fetchall()
    ends = [row[0] + row[1] - 1 for row in found]
    if not found or (found[0][0], ends[-1]) != (first, last):
        raise InvalidValueError(f"no rows hold exactly {first} to {last} of this author")
    cursor.execute(
        "DELETE FROM segments WHERE author = %b AND first BETWEEN %b AND %b", (author, first, last)
    )
    cursor.execute(_PUT, _columns([PutSegment(segment, Head(last, found[-1][2]))]))


def _cut(cursor: Cursor[Any], write: Cut, changes: list[Stand]) -> None:
    author, first, head = check_cut(write)
    if head is not None:
        count = head.seq - first + 1
        row = cursor.execute(
            "SELECT 1 FROM segments WHERE author = %b AND first = %b AND count = %b", (author, first, count)
        ).fetchone()
        if row is None:
            raise InvalidValueError(f"no row holds exactly {first} to {head.seq} of this author")
    cursor.execute("DELETE FROM segments WHERE author = %b AND NOT first BETWEEN 1 AND %b", (author, first))
    seq, entry_id = head or (0, genesis_id(author))
    cursor.execute("UPDATE heads SET seq = %b, id = %b WHERE author = %b", (seq, entry_id, author))
    cursor.execute("DELETE FROM heads WHERE author = %b AND seq = 0 AND NOT forked", (author,))
    changes.append(Stand(author, head))


def _mend(cursor: Cursor[Any], write: Mend) -> None:
    author, first, last = check_mend(write)
    cursor.execute(
        "DELETE FROM segments WHERE author = %b AND first BETWEEN %b AND %b", (author, first, last)
    )
    row = cursor.execute(
        "SELECT seq, EXISTS (SELECT 1 FROM segments s WHERE s.author = h.author AND first < %b AND first + count > %b) "
        "FROM heads h WHERE author = %b FOR UPDATE",
        (first, first, author),
    ).fetchone()
    if row is None or row[1] or last > row[0]:
        raise InvalidValueError(f"rows of this author overlap {first} to {last}, or it ends before")
    cursor.execute(_PUT, _columns(write.rows))


def _key(name: str) -> str:
    """Return a name as text that PostgreSQL keeps, which has no place for NUL."""
    return name.encode().hex()
