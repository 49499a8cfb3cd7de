"""Payloads that are made to be slow to read."""

from __future__ import annotations

import time
from random import Random

from gossiplog.limits import MAX_BODY_BYTES, MAX_OTHER_KEYS
from gossiplog.log.encodings import DECODE_ERRORS, ENCODINGS
from tests.audit.case import Case, Outcome
from tests.collisions import payload, times

BOUND_SECONDS = 0.25
SIZE = MAX_BODY_BYTES - 64


def _filled(unit: bytes, start: bytes = b"", end: bytes = b"", between: bytes = b"") -> bytes:
    count = (SIZE - len(start) - len(end)) // (len(unit) + len(between))
    return start + between.join([unit] * count) + end


def _map_of_numbers() -> bytes:
    """As many keys as there may be, each chosen to be compared with most before it (CPython, Objects/dictobject.c)."""
    random = Random(1)
    size = 512
    taken: set[int] = set()
    keys: list[int] = []
    while len(keys) < MAX_OTHER_KEYS:
        walks = [(_walk(key, taken, size), key) for key in (random.getrandbits(60) for _ in range(200))]
        (_, slot), key = max(walks)
        taken.add(slot)
        keys.append(key)
    return (
        b"\xde"
        + len(keys).to_bytes(2, "big")
        + b"".join(b"\xcf" + key.to_bytes(8, "big") + b"\xc0" for key in keys)
    )


def _walk(key: int, taken: set[int], size: int) -> tuple[int, int]:
    """How many places a key finds taken, and the free one that it gets."""
    slot, perturb, steps = key % size, key, 0
    while slot in taken:
        steps += 1
        perturb >>= 5
        slot = (slot * 5 + perturb + 1) % size
    return steps, slot


SLOW: dict[str, list[bytes]] = {
    "utf-8": [_filled(b"\xf0\x9f\x98\x80"), _filled(b"a", end=b"\xff")],
    "json": [
        _filled(b"1" * 4300, b"[", b"]", b","),
        _filled(b"1" * 400 + b"e-300", b"[", b"]", b","),
        _filled(b"1", end=b".5"),
        _filled(b"1e9", b"[", b"]", b","),
        _filled(b"{}", b"[", b"]", b","),
        _filled(b"["),
        _filled(b"\\ud800", b'"', b'"'),
        b"{" + b",".join(b'"%x":0' % number for number in range(100_000)) + b"}",
    ],
    "msgpack": [
        payload(times(65_000)),
        payload(times(1024)),
        _map_of_numbers(),
        b"\xdd" + (SIZE - 5).to_bytes(4, "big") + _filled(b"\x80", end=b"\x80" * 5)[: SIZE - 5],
        _filled(b"\xdc\xff\xff"),
        _filled(b"\x81\x01"),
    ],
}


def run(seconds: float) -> Outcome:
    """Decode each so often that it makes a MiB, as a reader does that comes to such entries."""
    slowest = (0.0, "")
    for name, payloads in SLOW.items():
        for number, made in enumerate(payloads):
            times_over = max(1, MAX_BODY_BYTES // len(made))
            begun = time.perf_counter()
            for _ in range(times_over):
                try:
                    ENCODINGS[name].decode(made)
                except DECODE_ERRORS:
                    pass
            took = time.perf_counter() - begun
            slowest = max(slowest, (took, f"{name} {number}"))
            print(f"    {name} {number}: {times_over} of {len(made):,} bytes, {took * 1000:.1f} ms")
    return Outcome(f"{slowest[0] * 1000:.0f} ms ({slowest[1]})", slowest[0] <= BOUND_SECONDS)


CASES = (Case("payloads", "a MiB of payloads that are slow to decode", "250 ms", run),)
