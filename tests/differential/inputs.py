"""What both decoders are given: the vectors, and mutations of them.

Responsible for: one stream of (kind, bytes) for each seed.
Must not know: what a decoder makes of them.
Invariant: the same seed gives the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Any

import msgpack

from gossiplog.wire.frames import frame
from tests.fuzz.people import vectors

Input = tuple[str, bytes]
"""A kind of :data:`tests.differential.verdicts.KINDS`, and bytes that may be one."""

MUTATED_BYTES = 6000
"""Larger ones are only given as they are."""

SNIPPETS = [
    bytes.fromhex(text)
    for text in [
        "c0",
        "c2",
        "c3",
        "00",
        "01",
        "7f",
        "ff",
        "cc80",
        "cc05",
        "cdffff",
        "ce00010000",
        "cf001fffffffffffff",
        "cf0020000000000000",
        "cf0020000000000001",
        "cfffffffffffffffff",
        "d0ff",
        "d005",
        "d3ffffffffffffffff",
        "d30000000000000005",
        "ca3f800000",
        "cb3ff0000000000000",
        "a0",
        "a161",
        "d90161",
        "da000161",
        "a1ff",
        "c400",
        "c40161",
        "c5000161",
        "c600000000",
        "c41000000000000000000000000000000000",
        "c4080000000000000000",
        "90",
        "91c0",
        "dc0000",
        "dc0001c0",
        "80",
        "81a16101",
        "d4ff00",
        "d60100000000",
        "c70001",
        "c1",
        "c8000001",
        "920005",
        "93c001c2",
    ]
]
SNIPPETS += [b"\xc4" + bytes((size,)) + bytes((size,)) * size for size in (31, 32, 33)]
SNIPPETS += [b"\x93\xc4\x20" + b"\x0e" * 32 + b"\x01\xc4\x08" + b"\x01" * 8, b"\x92\xc4\x00\xc0"]
SNIPPETS += [head * count + b"\xc0" for head in (b"\x91", b"\x81\x00") for count in (1023, 1024, 1025)]
"""Elements of every type, at the ends of what is allowed."""


def seeds() -> list[Input]:
    """Return every vector that is bytes of one of the kinds."""
    found = [("message", bytes.fromhex(case["hex"])) for case in chain(*vectors("wire_messages").values())]
    for case in vectors("session_answers")["cases"]:
        found += [("message", bytes.fromhex(said)) for said in case["says"] + case["answers"]]
    said = [
        bytes.fromhex(step["frame"]) for step in vectors("session_transcript")["steps"] if "frame" in step
    ]
    found += [("message", each) for each in said]
    found.append(("frames", bytes.fromhex(vectors("wire_frames")["stream"])))
    found.append(("frames", b"".join(map(frame, said))))
    found += [("body", bytes.fromhex(case["body"])) for case in chain(*vectors("log_bodies").values())]
    clocks = vectors("log_clocks")
    cursors = [case["cursor"] for case in clocks["pairs"]] + list(clocks["not_cursors"].values())
    found += [("cursor", bytes.fromhex(cursor)) for cursor in cursors]
    for case in vectors("log_signatures"):
        author, id_, signature = (bytes.fromhex(case[name]) for name in ("author", "id", "signature"))
        found.append(("signature", author + case["seq"].to_bytes(8, "big") + id_ + signature))
    segments = vectors("log_segments")
    for case in segments["valid"] + segments["invalid"] + segments["hashed"]:
        found.append(("segment", msgpack.packb([5, *_elements(case["segment"])])))
    proofs = vectors("log_fork_proofs")
    for case in proofs["built"] + proofs["invalid"]:
        if case["proof"] is not None:
            found.append(("fork", msgpack.packb([8, *_proof(case["proof"])])))
    files = [case["text"] for case in proofs["files"]] + list(proofs["not_files"].values())
    return found + [("file", text.encode()) for text in files]


def _elements(segment: dict[str, Any]) -> list[Any]:
    bodies = segment["bodies"]
    runs = [[bodies, 1]] if isinstance(bodies, str) else bodies
    joined = b"".join(bytes.fromhex(part) * times for part, times in runs)
    author, previous, signature = (
        bytes.fromhex(segment[name]) for name in ("author", "previous", "signature")
    )
    return [author, segment["first"], segment["count"], previous, signature, joined]


def _proof(proof: dict[str, Any]) -> list[Any]:
    author, id_, signature = (bytes.fromhex(proof[name]) for name in ("author", "id", "signature"))
    return [author, proof["seq"], id_, signature, _elements(proof["segment"])[1:]]


def mutations(seed: int) -> Iterator[Input]:
    """Yield mutations of the vectors without end."""
    random = Random(seed)
    by_kind: dict[str, list[bytes]] = {}
    for kind, data in seeds():
        if len(data) <= MUTATED_BYTES:
            by_kind.setdefault(kind, []).append(data)
    kinds = [*by_kind] + ["message"] * 8 + ["body"]
    while True:
        kind = random.choice(kinds)
        data = random.choice(by_kind[kind])
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            data = _mutated(random, data)
        yield kind, data


def _mutated(random: Random, data: bytes) -> bytes:
    """Return data with one place altered."""
    at = random.randint(0, len(data))
    match random.randrange(8):
        case 0 if at < len(data):
            return data[:at] + random.randbytes(1) + data[at + 1 :]
        case 1 if at < len(data):
            return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
        case 2:
            return data[:at] + data[at + random.randint(1, 4) :]
        case 3:
            return data[:at] + random.choice(SNIPPETS) + data[at:]
        case 4:
            return data[:at] + random.choice(SNIPPETS) + data[at + random.randint(1, 35) :]
        case 5:
            more = bytes((data[0] + 1 & 255,)) if data and random.random() < 0.8 else b"\x94"
            return more + data[1:] + random.choice(SNIPPETS)
        case 6:
            start = random.randint(0, len(data))
            return data[:at] + data[start : start + random.randint(1, 40)] + data[at:]
        case _:
            return data[:at]
