"""What a room gives to whom, as its operator chooses.

Responsible for: :class:`RoomBounds`.
Must not know: where a bound is kept.
Invariant: each is a number above 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

from gossiplog import limits
from gossiplog.errors import InvalidValueError


class RoomBounds(NamedTuple):
    """The bounds of one room; each is explained where its default is (``gossiplog.limits``)."""

    seats: int = limits.ROOM_SEATS
    seats_per_place: int = limits.ROOM_SEATS_PER_PLACE
    seats_per_tag: int = limits.ROOM_SEATS_PER_TAG
    pairs: int = limits.ROOM_PAIRS
    pairs_per_seat: int = limits.ROOM_PAIRS_PER_SEAT
    pairs_per_place: int = limits.ROOM_PAIRS_PER_PLACE
    bytes_per_second: int = limits.ROOM_BYTES_PER_SECOND
    pair_bytes_per_second: int = limits.ROOM_PAIR_BYTES_PER_SECOND
    pair_burst_bytes: int = limits.ROOM_PAIR_BURST_BYTES
    day_bytes: int = limits.ROOM_DAY_BYTES
    idle_seconds: float = limits.ROOM_IDLE_SECONDS
    life_seconds: float = limits.ROOM_LIFE_SECONDS

    @classmethod
    def parse(cls, texts: Iterable[str]) -> RoomBounds:
        """Return the bounds that texts such as ``pairs=512`` choose; InvalidValueError says what is wrong with one.

        >>> RoomBounds.parse(["pairs=512", "life_seconds=60"])[3], RoomBounds.parse([])[3]
        (512, 256)
        """
        chosen: dict[str, float] = {}
        for text in texts:
            name, _, value = text.partition("=")
            name = name.strip().replace("-", "_")
            if name not in cls._fields:
                raise InvalidValueError(
                    f"no bound of a room is called {name!r:.40}; there are {', '.join(cls._fields)}"
                )
            seconds = name.endswith("_seconds")
            try:
                number = float(value) if seconds else int(value)
            except ValueError:
                number = 0
            if not (number > 0 and isfinite(number)):
                raise InvalidValueError(f"{name}: a number above 0, not {value!r:.40}")
            chosen[name] = number
        bounds = cls(**chosen)  # type: ignore[arg-type]
        if bounds.seats_per_tag >= limits.ROOM_KNOWN:
            raise InvalidValueError(
                f"seats_per_tag: less than {limits.ROOM_KNOWN}, or members do not take what a room says"
            )
        return bounds
