"""Write the vectors of exports: ``python -m tests.vectors.generate_export`` in a checkout; frozen, as all are."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from gossiplog.gossip.messages import Ping
from gossiplog.limits import MAX_FRAME_BYTES
from gossiplog.log.body import encode_body
from gossiplog.log.fork import ForkProof, build_proof, encode_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from gossiplog.wire.codec import encode
from gossiplog.wire.export import MAGIC, ExportWriter
from gossiplog.wire.frames import frame
from tests.vectors.generate import write

ANN, BOB = (Keypair(sha256(f"export {name}".encode()).digest()) for name in ("ann", "bob"))
NETWORK = sha256(b"some network").digest()


def rows(pair: Keypair, *words: bytes) -> list[Segment]:
    head, made = Head(0, genesis_id(pair.author)), []
    for word in words:
        [row], head = build(pair, head, [encode_body(1_700_000_000_000, word)])
        made.append(row)
    return made


def export(network: bytes | None, *parts: Segment | ForkProof | bytes) -> bytes:
    writer = ExportWriter()
    pieces = [writer.begin(network)]
    for part in parts:
        if isinstance(part, Segment):
            pieces.append(writer.segment(part))
        elif isinstance(part, ForkProof):
            pieces.append(writer.proof(part))
        else:
            pieces.append(writer._frame(part))
    return b"".join([*pieces, writer.end()])


def exports() -> dict[str, Any]:
    ann, bob, other = rows(ANN, b"one", b"two", b"three"), rows(BOB, b"1"), rows(BOB, b"2")
    proof = build_proof(bob[0], other[0])
    assert proof is not None
    passed_over = b"\x92\x40\xa3new"
    good: dict[str, tuple[bytes | None, list[Any]]] = {
        "nothing": (None, []),
        "one log": (None, ann),
        "a log from its second entry on, of a network": (NETWORK, ann[1:]),
        "two logs, mixed": (NETWORK, [ann[0], bob[0], *ann[1:]]),
        "a fork proof": (None, [*ann, bob[0], proof]),
        "a frame that is passed over": (None, [ann[0], passed_over, ann[1]]),
    }
    whole = [
        {
            "name": name,
            "export": export(network, *parts),
            "network": network,
            "segments": [part._asdict() for part in parts if isinstance(part, Segment)],
            "proofs": [encode_proof(part) for part in parts if isinstance(part, ForkProof)],
        }
        for name, (network, parts) in good.items()
    ]
    one = export(None, *ann)
    first = len(MAGIC) + 4 + 3 + 4 + len(encode(ann[0]))
    bad: dict[str, tuple[bytes, int]] = {
        "empty": (b"", 0),
        "half a magic": (MAGIC[:7], 0),
        "another version": (b"gossiplog/2 logs" + one[len(MAGIC) :], 0),
        "no beginning": (MAGIC + one[len(MAGIC) + 7 :], 0),
        "a network that is too short": (MAGIC + frame(b"\x92\x00\xc4\x1f" + bytes(31)), 0),
        "a longer form of nil": (MAGIC + frame(b"\xdc\x00\x02\x00\xc0"), 0),
        "a second beginning": (one[:first] + frame(b"\x92\x00\xc0"), 1),
        "cut behind the first segment": (one[:first], 1),
        "cut in the second segment": (one[: first + 40], 1),
        "no end": (one[: -4 - 36], 3),
        "half an end": (one[:-1], 3),
        "the end of another": (one[:-1] + bytes([one[-1] ^ 1]), 3),
        "a segment was taken out": (one[: len(MAGIC) + 7] + one[first:], 2),
        "something behind the end": (one + b"\0", 3),
        "a frame that is too long": (one[:first] + (MAX_FRAME_BYTES + 1).to_bytes(4, "big"), 1),
        "no message": (one[:first] + frame(b"\xc1"), 1),
        "an empty frame": (one[:first] + frame(b""), 1),
        "a message that is not for files": (one[:first] + frame(encode(Ping(1, bytes(16)))), 1),
        "a type that is not given": (one[:first] + frame(b"\x91\x3f"), 1),
    }
    return {
        "whole": whole,
        "not_whole": [
            {"name": name, "export": data, "segments": count} for name, (data, count) in bad.items()
        ],
    }


if __name__ == "__main__":
    write("exports", exports())
