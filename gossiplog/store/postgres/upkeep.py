"""What each relay does for all from time to time: it says that it is there, and removes what nobody reads any more.

Responsible for: the rows of ``relays``, and how long those of ``feed`` and ``lanes`` stay.
Must not know: what is in a lane; clocks: it is called every ``BEAT_SECONDS``.
Invariant: a row of the feed stays for ``FEED_SECONDS`` at least, so that only who was away for longer has to read the
store anew.  A lane that is removed is known as gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from gossiplog.store.postgres.connection import Connection
from gossiplog.store.postgres.tables import RELAYS, VERSION
from gossiplog.store.shared.interface import BEAT_SECONDS

SAMPLE_BEATS: Final = 12
"""Once a minute it is noted where the lanes end."""

FEED_SECONDS: Final = 600.0
"""A relay that is away for longer, with its machine or its network, has to read all heads again."""

LANE_SECONDS: Final = 86_400.0
"""Of a lane in which nothing was said for so long, nothing is left but its name."""

ROWS_AT_ONCE: Final = 500
"""Removed in one go: some milliseconds, in which nothing is read."""

_BEAT: Final = """
    INSERT INTO relays (relay, host, program, seen, behind, delay) VALUES (%b, %b, %b, now(), %b, %b)
    ON CONFLICT (relay) DO UPDATE SET host = excluded.host, program = excluded.program, seen = excluded.seen,
        behind = excluded.behind, delay = excluded.delay"""

_FORGET_FEED: Final = """
    DELETE FROM feed WHERE (lane, pos) IN (
        SELECT f.lane, f.pos FROM unnest(%b::bytea[], %b::int8[]) AS old(lane, pos)
        JOIN feed f ON f.lane = old.lane AND f.pos <= old.pos LIMIT %b FOR UPDATE OF f SKIP LOCKED)"""

_FORGET_LANES: Final = """
    WITH old AS (DELETE FROM lanes l WHERE seen < now() - make_interval(secs => %b)
        AND NOT EXISTS (SELECT 1 FROM feed f WHERE f.lane = l.lane) RETURNING lane, pos)
    INSERT INTO gone SELECT lane, pos FROM old ON CONFLICT DO NOTHING"""

_FORGET_RELAYS: Final = "DELETE FROM relays WHERE seen < now() - make_interval(secs => %b)"


class Upkeep:
    """I do this for one relay; ``name`` returns what it is called, if that is known by now."""

    def __init__(self, host: str, name: Callable[[], str | None], version: int) -> None:
        self._host = host
        self._name = name
        self._version = version
        self._beats = 0
        self._samples: deque[Mapping[bytes, int]] = deque()
        self._old: dict[bytes, int] = {}

    def beat(self, connection: Connection, ends: Mapping[bytes, int], behind: int, delay: float) -> None:
        """Say that we are there, ``behind`` rows of the feed, of which the last ones came after ``delay`` seconds."""
        if self._version >= RELAYS and (name := self._name()) is not None:
            connection.do(_BEAT, (name, self._host, VERSION, behind, delay))
        if not self._beats % SAMPLE_BEATS:
            self._samples.append(dict(ends))
            if len(self._samples) > FEED_SECONDS / (BEAT_SECONDS * SAMPLE_BEATS):
                self._old.update(self._samples.popleft())
                if self._version >= RELAYS:
                    connection.do(_FORGET_LANES, (LANE_SECONDS,))
                    connection.do(_FORGET_RELAYS, (LANE_SECONDS,))
        self._beats += 1

    def clear(self, connection: Connection) -> None:
        """Remove a little of what nobody reads any more, if there is anything."""
        if self._old:
            asked = [*self._old], [*self._old.values()], ROWS_AT_ONCE
            if connection.do(_FORGET_FEED, asked) < ROWS_AT_ONCE:
                self._old.clear()
