"""The keys of a network in a distributed hash table.

Responsible for: :func:`day_key`, and which days' keys are looked up.
Must not know: who keeps what under a key.
Invariant: a key gives away neither the network nor the keys of other days.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from gossiplog.log.keys import tag_for

KEY_BYTES: Final = 20
"""Of a BitTorrent infohash."""

DAY_SECONDS: Final = 86_400
_TAG: Final = tag_for("dht")


def day_of(unix_seconds: float) -> int:
    """The number of the day, in UTC, since 1970, which is the first one that there is.

    >>> day_of(86_399.9), day_of(86_400), day_of(-1)
    (0, 1, 0)
    """
    return max(0, int(unix_seconds // DAY_SECONDS))


def day_key(discovery_id: bytes, day: int) -> bytes:
    """Where nodes of a network announce themselves on a day; 20 bytes that only its members can compute."""
    return hmac.digest(discovery_id, _TAG + day.to_bytes(8, "big"), sha256)[:KEY_BYTES]


def keys_to_ask(discovery_id: bytes, unix_seconds: float) -> tuple[bytes, bytes]:
    """Today's key, and yesterday's: whose clock is slow is there, and who announced itself before midnight."""
    day = day_of(unix_seconds)
    return day_key(discovery_id, day), day_key(discovery_id, max(0, day - 1))


def keys_of_others(discovery_id: bytes, unix_seconds: float) -> set[bytes]:
    """Under which others may announce themselves, whose clocks are a day slow or fast at most."""
    day = day_of(unix_seconds)
    return {day_key(discovery_id, each) for each in range(max(0, day - 1), day + 2)}
