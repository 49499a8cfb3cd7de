"""Authors, logs and proofs that targets alter; all the same in every run."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from gossiplog.log.body import Reference, encode_body
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, chain_ids

VECTORS = Path(__file__).parent.parent / "vectors"

ANN, BOB, CAT, DAN, EVE = (Keypair(bytes((number,)) * 32) for number in range(1, 6))
"""Cat forked her log; nobody here has anything of Eve."""


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


def made(pair: Keypair, runs: list[int], text: bytes = b"entry") -> list[Segment]:
    """A log of segments with so many entries each."""
    head = Head(0, genesis_id(pair.author))
    segments = []
    for run in runs:
        bodies = []
        for number in range(run):
            seq = head.seq + 1 + number
            after = [Reference(BOB.author, seq, bytes(16))] if seq % 3 == 0 else []
            bodies.append(encode_body(1_700_000_000_000 + seq, text * (seq % 7), after))
        [segment], head = build(pair, head, bodies)
        segments.append(segment)
    return segments


@cache
def log_of(pair: Keypair) -> tuple[Segment, ...]:
    """What is known of an author."""
    return tuple(made(pair, {ANN: [3, 1, 4], BOB: [2, 5], CAT: [2, 2], DAN: [1, 2, 1], EVE: [2, 3]}[pair]))


@cache
def ids_of(pair: Keypair) -> tuple[bytes, ...]:
    """The ids from seq 0 on."""
    segments = log_of(pair)
    return (segments[0].previous, *(entry_id for segment in segments for entry_id in chain_ids(segment)))


@cache
def fork_of_cat() -> ForkProof:
    proof = build_proof(log_of(CAT)[0], made(CAT, [1, 4], b"other")[0])
    assert proof is not None
    return proof
