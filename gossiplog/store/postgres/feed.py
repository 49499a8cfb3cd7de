"""Lanes: what each relay committed, as the others read it.

Responsible for: putting changes into bytes and back; reading what is new; where all lanes end.
Must not know: who reads; how heads are moved.
Invariant: a position that was reached is only behind the end of a lane, unless the database went back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from gossiplog.errors import StoreDamagedError, StoreUnreachableError, StoreWentBackError
from gossiplog.log.fork import decode_proof, encode_proof
from gossiplog.log.segment import Head, Segment
from gossiplog.store.postgres.connection import Connection, Reach
from gossiplog.store.postgres.upkeep import Upkeep
from gossiplog.store.shared.interface import Change, Kept, Position, Stand

INLINE_BYTES: Final = 16 * 1024
"""Bodies up to this size ride in the feed; larger ones are read from their table."""

_ROWS_OF_A_LANE: Final = 200
"""Read of one lane at once."""

_NEW: Final = """
    SELECT lane, pos, changes, age FROM (
        SELECT at.lane, f.pos, f.changes, f.pos - at.pos AS place,
            extract(epoch FROM clock_timestamp() - f.at)::float8 AS age,
            sum(length(f.changes)) OVER (ORDER BY f.pos - at.pos, at.lane) - length(f.changes) AS before
        FROM unnest(%b::bytea[], %b::int8[]) AS at(lane, pos) JOIN LATERAL (
            SELECT * FROM feed f WHERE f.lane = at.lane AND f.pos > at.pos ORDER BY f.pos LIMIT %b) f ON true) rows
    WHERE before < %b ORDER BY place, lane"""
"""The first row of each lane, then the second ones: no lane waits for another that has much."""


def packed(changes: Sequence[Change]) -> bytes:
    """Return a row of the feed: an array of what was changed, a value by its key."""
    content: bytes = msgpack.packb([_packed(change) for change in changes])
    return content


def _packed(change: Change) -> object:
    if isinstance(change, Kept):
        return change.key
    author, head, segment, proof, deletions = change
    is_small = segment is not None and len(segment.bodies) <= INLINE_BYTES
    said = segment[1:] if segment is not None and is_small else None
    return author, head, said, None if proof is None else encode_proof(proof), deletions


def unpacked(content: bytes) -> list[Change]:
    """Return what :func:`packed` put there; :class:`StoreDamagedError` for anything else."""
    try:
        return [Kept(each) if type(each) is str else _unpacked(*each) for each in msgpack.unpackb(content)]
    except Exception as error:
        raise StoreDamagedError("a row of the feed is not one") from error


def _unpacked(author: Any, head: Any, segment: Any, proof: Any, deletions: Any) -> Stand:
    return Stand(
        author,
        None if head is None else Head(*head),
        None if segment is None else Segment(author, *segment),
        None if proof is None else decode_proof(proof),
        deletions,
    )


def gone(connection: Connection, lanes: Sequence[bytes]) -> dict[bytes, int]:
    """Return those of these lanes that were removed since nothing was said there for long, with where they ended."""
    if connection.ask("SELECT to_regclass('gone') IS NULL") == [(True,)]:
        return {}
    return dict(connection.ask("SELECT lane, pos FROM gone WHERE lane = ANY(%b)", (lanes,)))


class Lanes:
    """I read all lanes but our own, by a connection of mine: I may be asked in a thread of my own.

    Of our own I read what we do not know to be there: of a lane that ended with a commit nobody heard the outcome of.
    """

    def __init__(self, conninfo: str, path: str, upkeep: Upkeep | None = None) -> None:
        self.reach = Reach()
        self.upkeep = upkeep
        self._ends: Position = {}
        self._behind = 0
        self._delay = 0.0
        self._conninfo = conninfo
        self._path = path
        self._connection: Connection | None = None
        self._ours: dict[bytes, int] = {}
        self._current = b""
        self._busy = False
        self._closed = False

    def mine(self, lane: bytes, pos: int) -> None:
        """We write this one now, up to ``pos`` so far; b"": none."""
        self._current = lane
        if lane:
            self._ours[lane] = pos

    def ends(self, connection: Connection) -> dict[bytes, int]:
        """Return where each lane ends."""
        return dict(connection.ask("SELECT lane, pos FROM lanes"))

    def poll(self, after: Position, limit_bytes: int) -> tuple[list[Change], Position]:
        """Return what others changed behind a position, and the one behind that."""
        self._busy = True
        try:
            if self._connection is None:
                self._connection = Connection(self._conninfo, self._path)
            found = self._poll(self._connection, after, limit_bytes)
        except StoreUnreachableError as error:
            self.reach.lost = error
            raise
        finally:
            self._busy = False
            if self._closed:
                self.close()
        self.reach.lost = None
        return found

    def _poll(
        self, connection: Connection, after: Position, limit_bytes: int
    ) -> tuple[list[Change], Position]:
        if self.upkeep is not None:
            self.upkeep.clear(connection)
        current, ours = self._current, self._ours.copy()  # before the ends are looked at
        ends = self.ends(connection)
        position = dict.fromkeys(ends, 0) | dict(self._present(connection, after, ends))
        for lane in ours.keys() & ends.keys():
            position[lane] = max(position[lane], ours[lane])
        self._ends, self._behind = ends, sum(ends.values()) - sum(position.values())
        behind = {lane: pos for lane, pos in position.items() if pos < ends.get(lane, 0) and lane != current}
        if not behind:
            return [], position
        found: list[Change] = []
        asked = [*behind], [*behind.values()], _ROWS_OF_A_LANE, limit_bytes
        size = 0
        for lane, pos, content, age in connection.ask(_NEW, asked):
            if pos != position[lane] + 1:
                raise self._pruned()
            found += unpacked(bytes(content))
            position[lane] = pos
            size += len(content)
            self._delay = max(self._delay, age)
        if size < limit_bytes and any(position[lane] == pos for lane, pos in behind.items()):
            raise self._pruned()  # a first row of each lane was to be among them
        return found, position

    def _pruned(self) -> StoreWentBackError:
        return StoreWentBackError(f"{self._path} does not have what a lane said any more: read it anew")

    def beat(self) -> None:
        """Say that we are there; in the thread of :meth:`poll`."""
        if self.upkeep is not None and self._connection is not None:
            delay, self._delay = self._delay, 0.0
            self.upkeep.beat(self._connection, self._ends, self._behind, delay)

    def _present(self, connection: Connection, after: Position, ends: Position) -> Position:
        """Return a position without lanes that are gone; raise for one that is missing, or shorter than it was."""
        if all(ends.get(lane, -1) >= pos for lane, pos in after.items()):
            return after
        missing = [lane for lane in after if lane not in ends]
        removed = gone(connection, missing) if missing else {}
        if any(after[lane] < pos for lane, pos in removed.items()):
            raise self._pruned()
        position = {lane: pos for lane, pos in after.items() if removed.get(lane) != pos}
        if any(ends.get(lane, -1) < pos for lane, pos in position.items()):
            raise StoreWentBackError(
                f"{self._path} was put back to an earlier state: a lane is shorter than it was"
            )
        return position

    def close(self) -> None:
        """Read nothing any more, once what is being read is."""
        self._closed = True
        if self._connection is not None and not self._busy:
            self._connection.close()
