"""Vectors of order: three logs that name each other, and the place of each entry that is held.

The places are computed here by the formula of the specification, and not by the code that places entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from gossiplog.log.body import Reference, encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build, drop_payloads

NOW = 1_700_000_000_000


def order() -> dict[str, Any]:
    """Return the logs as segments, and the places in their order."""
    names = ("ann", "bob", "cleo")
    pairs = [Keypair(sha256(f"gossiplog vectors {name}".encode()).digest()) for name in names]
    ann, bob, cleo = (pair.author for pair in pairs)
    heads = {pair.author: Head(0, genesis_id(pair.author)) for pair in pairs}
    ids: dict[tuple[bytes, int], bytes] = {}
    said: dict[tuple[bytes, int], tuple[int, Sequence[Reference]]] = {}
    bodies: dict[bytes, list[bytes]] = {pair.author: [] for pair in pairs}

    def write(pair: Keypair, clock: int, after: Sequence[Reference] = (), body: bytes | None = None) -> None:
        body = encode_body(clock, b"", after) if body is None else body
        _, heads[pair.author] = build(pair, heads[pair.author], [body])
        key = pair.author, heads[pair.author].seq
        ids[key], said[key] = heads[pair.author].id, (clock, after)
        bodies[pair.author].append(body)

    def name(author: bytes, seq: int) -> Reference:
        return Reference(author, seq, ids[author, seq][:16])

    write(pairs[0], NOW)
    write(pairs[1], NOW - 3_600_000, [name(ann, 1)])  # a clock that is behind
    write(pairs[1], NOW - 3_599_000)  # as late as the entry before it
    write(pairs[0], NOW + 1_000, [name(bob, 2)])  # its own clock is later
    write(pairs[2], NOW - 1_000, [name(bob, 1), name(ann, 1)])  # the latest of two
    write(pairs[2], NOW - 1_000, [name(cleo, 1)])  # its own log
    write(pairs[1], NOW - 3_598_000, [Reference(ann, 2, bytes(16))])  # another entry than that one
    write(pairs[1], NOW - 3_597_000, [Reference(ann, 9, bytes(16))])  # not held
    write(pairs[1], NOW - 3_596_000, [Reference(bob, 6, bytes(16))])  # a later one of its own log
    write(pairs[0], 0, (), b"no body")  # says nothing
    write(pairs[2], NOW + 5_000, [name(ann, 2)])  # dropped: says nothing either
    write(pairs[2], NOW, [name(cleo, 3), name(ann, 3)])
    write(pairs[1], NOW + 1_000)  # the same clock as ann's
    said[cleo, 3] = 0, ()

    moments: dict[tuple[bytes, int], tuple[int, int]] = {}

    def moment(author: bytes, seq: int) -> tuple[int, int]:
        if seq == 0:
            return (0, 0)
        if (author, seq) not in moments:
            clock, after = said[author, seq]
            named = [
                moment(each.author, each.seq)
                for each in after
                if each[:2] in ids and ids[each[:2]].startswith(each.id16) and each[:2] != (author, seq)
            ]
            behind = [(ms, count + 1) for ms, count in named]
            moments[author, seq] = max([(clock, 0), moment(author, seq - 1), *behind])
        return moments[author, seq]

    places = sorted((*moment(*key), *key) for key in said)
    segments = []
    for pair in pairs:
        [segment], _ = build(pair, Head(0, genesis_id(pair.author)), bodies[pair.author])
        segments.append(drop_payloads(segment, [3]) if pair.author == cleo else segment)
    return {
        "segments": [segment._asdict() for segment in segments],
        "places": [
            {
                "author": author,
                "seq": seq,
                "ms": ms,
                "n": count,
                "place": ms.to_bytes(8, "big") + count.to_bytes(8, "big") + author + seq.to_bytes(8, "big"),
            }
            for ms, count, author, seq in places
        ],
    }
