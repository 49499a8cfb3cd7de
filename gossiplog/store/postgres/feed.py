"""Lanes: what each relay committed, as the others read it.

Responsible for: putting changes into bytes and back; reading what is new; where all lanes end.
Must not know: who reads; how heads are moved.
Invariant: a position that was reached is only behind the end of a lane, unless the database went back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from gossiplog.errors import StoreDamagedError, StoreWentBackError
from gossiplog.log.fork import decode_proof, encode_proof
from gossiplog.log.segment import Head, Segment
from gossiplog.store.postgres.connection import Connection
from gossiplog.store.shared.interface import Change, Kept, Position, Stand

INLINE_BYTES: Final = 16 * 1024
"""Bodies up to this size ride in the feed; larger ones are read from their table."""

_ROWS_OF_A_LANE: Final = 200
"""Read of one lane at once."""

_NEW: Final = """
    SELECT l.lane, f.pos, f.changes
    FROM lanes l LEFT JOIN unnest(%b::bytea[], %b::int8[]) AS at(lane, pos) ON at.lane = l.lane
    JOIN LATERAL (
        SELECT * FROM feed f WHERE f.lane = l.lane AND f.pos > coalesce(at.pos, 0) ORDER BY f.pos LIMIT %b) f ON true
    WHERE l.pos > coalesce(at.pos, 0) ORDER BY l.lane, f.pos"""


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


class Lanes:
    """I read all lanes but our own, by a connection of mine: I may be asked in a thread of my own."""

    def __init__(self, conninfo: str, path: str) -> None:
        self._conninfo = conninfo
        self._path = path
        self._connection: Connection | None = None
        self._ours: set[bytes] = set()

    def mine(self, lane: bytes) -> None:
        """What is written there we know."""
        self._ours.add(lane)

    def ends(self, connection: Connection) -> dict[bytes, int]:
        """Return where each lane ends."""
        return dict(connection.ask("SELECT lane, pos FROM lanes"))

    def poll(self, after: Position, limit_bytes: int) -> tuple[list[Change], Position]:
        """Return what others changed behind a position, and the one behind that."""
        if self._connection is None:
            self._connection = Connection(self._conninfo, self._path)
        ends = self.ends(self._connection)
        for lane, pos in after.items():
            if ends.get(lane, -1) < pos:
                raise StoreWentBackError(
                    f"{self._path} was put back to an earlier state: a lane is shorter than it was"
                )
        position = {**after, **{lane: pos for lane, pos in ends.items() if lane in self._ours}}
        if all(pos <= position.get(lane, 0) for lane, pos in ends.items()):
            return [], {**ends, **position}
        asked = [*position], [*position.values()], _ROWS_OF_A_LANE
        found: list[Change] = []
        size = 0
        for lane, pos, content in self._connection.ask(_NEW, asked):
            if size >= limit_bytes:
                break
            if pos != position.get(lane, 0) + 1:
                raise StoreWentBackError(
                    f"{self._path} does not have what a lane said any more: read it anew"
                )
            found += unpacked(bytes(content))
            position[lane] = pos
            size += len(content)
        return found, position

    def close(self) -> None:
        """Read nothing any more."""
        if self._connection is not None:
            self._connection.close()
