"""Writes made into one transaction: heads by compare and set, rows, and the lane that tells of it.

Responsible for: the statements of a commit, in an order in which nobody waits for who waits for him.
Must not know: who reads the lane.
Invariant: a head is moved only from the one that the segment names, and not that of a forked log; the lane tells of
every author that was touched; where its end is not as we left it, the database went back and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gossiplog.errors import InvalidValueError, LostRaceError, StoreWentBackError
from gossiplog.log.disk_cost import Changes, row_bytes
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
from gossiplog.store.postgres.feed import gone, packed
from gossiplog.store.row_form import row_of
from gossiplog.store.shared.interface import Change, Kept, Stand

if TYPE_CHECKING:
    from psycopg import Cursor

LANE_BYTES: Final = 8

_ADD: Final = """
    INSERT INTO heads (author, seq, id, bytes)
    SELECT a, s, i, b FROM unnest(%b::bytea[], %b::int8[], %b::bytea[], %b::int8[]) AS t(a, s, i, b)
    ORDER BY a ON CONFLICT (author) DO NOTHING RETURNING author"""

_MOVE: Final = """
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b::bytea[], %b::int8[], %b::bytea[], %b::int8[], %b::int8[], %b::bytea[], %b::int8[])
        AS t(a, s, i, d, ns, ni, b)),
    mine AS MATERIALIZED (
        SELECT h.author FROM asked JOIN heads h ON h.author = a AND h.seq = s AND h.id = i AND h.deletions = d
        WHERE NOT h.forked ORDER BY h.author FOR UPDATE OF h SKIP LOCKED)
    UPDATE heads h SET seq = ns, id = ni, bytes = h.bytes + b FROM asked, mine
    WHERE mine.author = a AND h.author = a RETURNING h.author"""

_DELETE: Final = """
    INSERT INTO heads (author, seq, id, deletions) VALUES (%b, 0, %b, 1) ON CONFLICT (author) DO UPDATE
    SET seq = 0, id = excluded.id, bytes = 0, forked = false, deletions = heads.deletions + 1 RETURNING deletions"""

_PUT: Final = """
    INSERT INTO segments (author, first, count, holes, crc, id, previous, signature, bodies)
    SELECT * FROM unnest(%b::bytea[], %b::int8[], %b::int4[], %b::int4[], %b::int8[], %b::bytea[], %b::bytea[],
        %b::bytea[], %b::bytea[])"""


class LaneWriter:
    """I commit, each time one row further in a lane of mine: ``name``, up to ``pos``; b"" while I have none."""

    def __init__(self, connection: Connection, relay: str, known: dict[bytes, int]) -> None:
        """``relay``: what others see the lane is of; ``known`` are the deletions that it knows, and does."""
        self._connection = connection
        self._relay = relay
        self._known = known
        self.pos = 0
        self.name = b""

    def begin(self) -> None:
        """Begin a lane: at the start, and when it is not known what became of the last commit of one."""
        name = os.urandom(LANE_BYTES)
        with self._connection.transaction() as cursor:
            cursor.execute("INSERT INTO lanes (lane, pos, relay) VALUES (%b, 0, %b)", (name, self._relay))
        self.name, self.pos = name, 0

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all ``writes`` in order, or none of them."""
        if not self.name:
            self.begin()
        name, self.name = self.name, b""  # until it is known where the lane ends
        work = _Work(self._known)
        tells = any(isinstance(write, _TOLD) for write in writes)
        try:
            with self._connection.transaction(*_touched(writes)) as cursor:
                if tells:
                    self._move(cursor, name)
                work.do_all(cursor, writes)
                if tells:
                    cursor.execute(
                        "INSERT INTO feed (lane, pos, changes) VALUES (%b, %b, %b)",
                        (name, self.pos + 1, packed(work.changes)),
                    )
        except LostRaceError as lost:
            if lost.__cause__ is None:  # nothing was done
                self.name = name
            raise
        except StoreWentBackError:
            if gone(self._connection, [name]) == {name: self.pos}:  # nothing was said for long
                raise LostRaceError(()) from None
            self.name = name
            raise
        except InvalidValueError:
            self.name = name
            raise
        self.name = name
        self.pos += tells
        self._known.update(work.deletions)

    def _move(self, cursor: Cursor[Any], name: bytes) -> None:
        """Go one further in the lane, before anything else: what is then found is of no database that went back."""
        cursor.execute(
            "UPDATE lanes SET pos = %b, seen = now() WHERE lane = %b AND pos = %b",
            (self.pos + 1, name, self.pos),
        )
        if cursor.rowcount != 1:
            raise StoreWentBackError(
                f"{self._connection.path} was put back to a state before the last commit"
            )


_TOLD: Final = PutSegment | PutFork | PutMeta | DeleteAuthor | Cut
"""What others have to hear of."""


def _touched(writes: Sequence[RowWrite]) -> tuple[list[bytes], list[str]]:
    """What to look at when it is not known whether these were done: authors, and keys of values."""
    authors: dict[bytes, None] = {}
    for write in writes:
        if isinstance(write, PutSegment):
            authors[write.segment.author] = None
        elif isinstance(write, PutFork):
            authors[write.proof.author] = None
        elif isinstance(write, DeleteAuthor):
            authors[write.author] = None
    return [*authors], [write.key for write in writes if isinstance(write, PutMeta)]


def _changed_logs(writes: Sequence[RowWrite]) -> list[bytes]:
    """Whose rows are changed, not only added to; ascending."""
    found = {write.author for write in writes if isinstance(write, Replace | DeleteAuthor | Cut)}
    found |= {write.proof.author for write in writes if isinstance(write, PutFork)}
    found |= {write.rows[0].segment.author for write in writes if isinstance(write, Mend) and write.rows}
    return sorted(found)


class _Work:
    """I am what one transaction does: what the lane tells of it, and the deletions in it."""

    def __init__(self, known: Mapping[bytes, int]) -> None:
        self.changes: list[Change] = []
        self.deletions: dict[bytes, int] = {}
        self._known = known

    def do_all(self, cursor: Cursor[Any], writes: Sequence[RowWrite]) -> None:
        """Do all in order."""
        if locked := _changed_logs(writes):  # its rows stay as they are for whoever holds the head
            cursor.execute(
                "SELECT h.author FROM unnest(%b::bytea[]) AS a(author) JOIN heads h USING (author) "
                "ORDER BY h.author FOR UPDATE OF h",
                (locked,),
            )
        run: list[PutSegment] = []
        for write in writes:
            if isinstance(write, PutSegment):
                run.append(check_put(write))
                continue
            if run:
                self._put(cursor, run)
                run = []
            self._do(cursor, write)
        if run:
            self._put(cursor, run)

    def _deletions(self, author: bytes) -> int:
        return self.deletions.get(author, self._known.get(author, 0))

    def _put(self, cursor: Cursor[Any], run: Sequence[PutSegment]) -> None:
        """Move heads, then add the rows."""
        moves: dict[bytes, list[Head]] = {}
        sizes = Changes()
        for segment, head in run:
            before = Head(segment.first - 1, segment.previous)
            heads = moves.setdefault(segment.author, [before, before])
            if heads[1] != before:
                raise LostRaceError((segment.author,))
            heads[1] = head
            sizes.row(segment.author, len(segment.bodies))
        new = sorted(author for author, (before, _) in moves.items() if not before.seq)
        if wrong := [author for author in new if moves[author][0].id != genesis_id(author)]:
            raise LostRaceError(tuple(wrong))
        new = [author for author in new if not self._deletions(author)]
        old = sorted(moves.keys() - {*new})
        won: set[bytes] = set()
        if new:
            after = [moves[author][1] for author in new]
            columns: list[list[Any]] = [[head.seq for head in after], [head.id for head in after]]
            cursor.execute(_ADD, (new, *columns, [sizes[author] for author in new]))
            won.update(row[0] for row in cursor.fetchall())
        if old:
            befores, afters = ([moves[author][side] for author in old] for side in (0, 1))
            columns = [
                [head.seq for head in befores],
                [head.id for head in befores],
                [*map(self._deletions, old)],
            ]
            columns += [[head.seq for head in afters], [head.id for head in afters]]
            cursor.execute(_MOVE, (old, *columns, [sizes[author] for author in old]))
            won.update(row[0] for row in cursor.fetchall())
        if lost := [author for author in moves if author not in won]:
            raise LostRaceError(tuple(lost))
        cursor.execute(_PUT, _columns(run))
        for segment, head in run:
            author = segment.author
            self.changes.append(Stand(author, head, segment, deletions=self._deletions(author)))

    def _do(self, cursor: Cursor[Any], write: RowWrite) -> None:
        match write:
            case PutFork():
                self._fork(cursor, write)
            case PutMeta():
                self._value(cursor, write)
            case PutCursor():
                _save_cursor(cursor, write)
            case DeleteAuthor(author):
                row = cursor.execute(_DELETE, (author, genesis_id(author))).fetchone()
                assert row is not None
                for table in ("segments", "forks"):
                    cursor.execute(f"DELETE FROM {table} WHERE author = %b", (author,))
                self.deletions[author] = row[0]
                self.changes.append(Stand(author, None, deletions=row[0]))
            case Replace():
                _replace(cursor, write)
            case Cut():
                _cut(cursor, write)
                self.changes.append(Stand(write.author, write.head, deletions=self._deletions(write.author)))
            case Mend():
                _mend(cursor, write)

    def _fork(self, cursor: Cursor[Any], write: PutFork) -> None:
        """Mark it in the row that is compared, so that no move overlooks it."""
        author = write.proof.author
        cursor.execute(
            "INSERT INTO forks (author, proof) VALUES (%b, %b) ON CONFLICT DO NOTHING",
            (author, encode_proof(write.proof)),
        )
        if cursor.rowcount == 1:
            row = cursor.execute(
                "INSERT INTO heads (author, seq, id, forked) VALUES (%b, 0, %b, true) "
                "ON CONFLICT (author) DO UPDATE SET forked = true RETURNING seq, id, deletions",
                (author, genesis_id(author)),
            ).fetchone()
            assert row is not None
            head = Head(*row[:2]) if row[0] else None
            self.changes.append(Stand(author, head, None, write.proof, row[2]))

    def _value(self, cursor: Cursor[Any], write: PutMeta) -> None:
        key, value = check_value(write)
        name = _key(key)
        if write.instead_of:  # two that find none cannot both add one
            cursor.execute("INSERT INTO meta VALUES (%b, '') ON CONFLICT DO NOTHING", (name,))
            is_new = cursor.rowcount == 1
            [(kept,)] = cursor.execute(
                "SELECT value FROM meta WHERE key = %b FOR UPDATE", (name,)
            ).fetchall() or [(None,)]
            if (None if is_new else kept) not in write.instead_of:
                raise LostRaceError((), (key,))
        if value is None:
            cursor.execute("DELETE FROM meta WHERE key = %b", (name,))
        else:
            cursor.execute(
                "INSERT INTO meta (key, value) VALUES (%b, %b) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (name, value),
            )
        self.changes.append(Kept(key))


def _save_cursor(cursor: Cursor[Any], write: PutCursor) -> None:
    name, places, anew = write
    key = _key(check_name(name))
    if anew:
        cursor.execute("DELETE FROM cursors WHERE name = %b", (key,))
    gone = [author for author, place in places.items() if place is None]
    if gone and not anew:
        cursor.execute("DELETE FROM cursors WHERE name = %b AND author = ANY(%b)", (key, gone))
    kept = sorted((author, *place) for author, place in places.items() if place is not None)
    if kept:
        cursor.execute(
            "INSERT INTO cursors SELECT %b, * FROM unnest(%b::bytea[], %b::int8[], %b::bytea[]) "
            "ON CONFLICT (name, author) DO UPDATE SET seq = excluded.seq, id = excluded.id",
            (key, *([row[place] for row in kept] for place in range(3))),
        )


def _weigh(cursor: Cursor[Any], author: bytes) -> None:
    """Say in the head what the rows of an author take now."""
    rows = cursor.execute(
        "SELECT length(bodies), count(*) FROM segments WHERE author = %b GROUP BY 1", (author,)
    ).fetchall()
    size = sum(row_bytes(length) * count for length, count in rows)
    cursor.execute("UPDATE heads SET bytes = %b WHERE author = %b", (size, author))


def _columns(run: Sequence[PutSegment]) -> list[list[Any]]:
    rows = [(segment.author, *row_of(segment, head.id)) for segment, head in run]
    return [list(column) for column in zip(*rows, strict=True)]


def _replace(cursor: Cursor[Any], write: Replace) -> None:
    author, first, last, segment = check_replace(write)
    found = cursor.execute(
        "SELECT first, count, id, length(bodies) FROM segments "
        "WHERE author = %b AND first BETWEEN %b AND %b ORDER BY first",
        (author, first, last),
    ).fetchall()
    ends = [row[0] + row[1] - 1 for row in found]
    if not found or (found[0][0], ends[-1]) != (first, last):
        raise InvalidValueError(f"no rows hold exactly {first} to {last} of this author")
    cursor.execute(
        "DELETE FROM segments WHERE author = %b AND first BETWEEN %b AND %b", (author, first, last)
    )
    cursor.execute(_PUT, _columns([PutSegment(segment, Head(last, found[-1][2]))]))
    change = row_bytes(len(segment.bodies)) - sum(row_bytes(row[3]) for row in found)
    cursor.execute("UPDATE heads SET bytes = bytes + %b WHERE author = %b", (change, author))


def _cut(cursor: Cursor[Any], write: Cut) -> None:
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
    cursor.execute(
        "DELETE FROM heads WHERE author = %b AND seq = 0 AND NOT forked AND deletions = 0", (author,)
    )
    _weigh(cursor, author)


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
    _weigh(cursor, author)


def _key(name: str) -> str:
    """Return a name as text that PostgreSQL keeps, which has no place for NUL."""
    return name.encode().hex()
