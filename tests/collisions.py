"""Values whose hashes are all the same, which anybody can make: the hash of two numbers in a tuple has no secret in it.

Source: CPython, Objects/tupleobject.c (xxHash with fixed constants); a msgpack time hashes as (seconds, nanoseconds).
"""

from __future__ import annotations

import msgpack

_MODULUS = 1 << 64
_PRIME_1, _PRIME_2, _PRIME_5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
_INVERSE_1, _INVERSE_2 = pow(_PRIME_1, -1, _MODULUS), pow(_PRIME_2, -1, _MODULUS)
_LARGEST_HASH = (1 << 61) - 1


def times(count: int) -> list[msgpack.Timestamp]:
    """So many different times of one hash."""
    found: list[msgpack.Timestamp] = []
    nanoseconds = 0
    while len(found) < count:
        state = (
            12345678901234567 - nanoseconds * _PRIME_2
        ) % _MODULUS  # the same after the second number is added
        mixed = state * _INVERSE_1 % _MODULUS
        turned = (mixed >> 31) | (mixed << 33) % _MODULUS
        seconds = (turned - _PRIME_5) * _INVERSE_2 % _MODULUS
        seconds -= _MODULUS if seconds >= _MODULUS // 2 else 0
        if abs(seconds) < _LARGEST_HASH and seconds != -1:  # an int of that size is its own hash
            found.append(msgpack.Timestamp(seconds, nanoseconds))
        nanoseconds += 1
    return found


def payload(keys: list[msgpack.Timestamp]) -> bytes:
    """A msgpack map of these keys."""
    header = b"\xdf" + len(keys).to_bytes(4, "big")
    return header + b"".join(msgpack.packb(key) + b"\xc0" for key in keys)
