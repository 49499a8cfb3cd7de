"""Targets: what authors sign: items, segments and fork proofs.

The fuzzer has no seed of anybody, so what is accepted must be what was signed.
"""

from __future__ import annotations

from base64 import encodebytes
from itertools import pairwise, product

from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    InvalidValueError,
    MalformedMessageError,
)
from gossiplog.gossip.acceptance import Extends, judge
from gossiplog.limits import MAX_SEGMENT_BYTES
from gossiplog.log import items
from gossiplog.log.fork import FILE_MAGIC, ForkProof, build_proof, decode_proof, encode_proof, verify_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import (
    Head,
    Segment,
    build,
    chain_ids,
    drop_payloads,
    entries,
    has_holes,
    merge,
    split_items,
    tail_after,
    verify,
)
from gossiplog.wire.codec import decode, encode
from tests.fuzz.people import ANN, BOB, CAT, DAN, fork_of_cat, ids_of, log_of, made, vectors
from tests.fuzz.target import Consumer, Target

_NOT_SENT = (MalformedMessageError, ValueError, TypeError, OverflowError, AttributeError)
"""What becomes of a segment that has no frame."""

SEQS = (0, 1, 2, 3, 4, 5, 8, 9, 2**32, 2**53 - 1, 2**53, 2**64, -1)


def check_items(data: bytes) -> None:
    """Items have one encoding, and nothing else is one."""
    consumer = Consumer(data)
    count = consumer.number(6)
    encoded = consumer.rest()
    try:
        found = items.split(count, encoded)
    except BadSegmentError:
        return
    assert len(found) == count and items.join(found) == encoded == b"".join(map(items.encode, found))
    assert items.minimal_size(found) == len(encoded) == sum(map(items.encoded_size, found))


def check_segment(data: bytes) -> None:
    """A segment that verifies says of each seq what its author signed, whatever was altered."""
    consumer = Consumer(data)
    pair = consumer.choose((ANN, BOB, CAT))
    honest = consumer.choose(log_of(pair))
    segment = altered(consumer, honest)
    ours = Head(seq := consumer.number(9), ids_of(pair)[min(seq, len(ids_of(pair)) - 1)])
    try:
        verdict = judge(decode(encode(segment)), ours)  # the codec has checked types and ranges
    except (BadSegmentError, BadSignatureError, *_NOT_SENT):
        verdict = None
    try:
        head = verify(segment)
    except (BadSegmentError, BadSignatureError):
        assert not isinstance(verdict, Extends)
        return
    signed = ids_of(next(who for who in (ANN, BOB, CAT, DAN) if who.author == segment.author))
    known = signed[segment.first - 1 : segment.last + 1]
    assert (segment.previous, *chain_ids(segment)) == known, "the author never signed this"
    assert head == Head(segment.last, known[-1])
    if isinstance(verdict, Extends):
        assert verdict.segment.previous == ours.id and verify(verdict.segment) == verdict.head


def altered(consumer: Consumer, segment: Segment) -> Segment:
    for _ in range(consumer.number(4)):
        kind = consumer.number(9)
        other = consumer.choose((*log_of(ANN), *log_of(CAT), *log_of(DAN)))
        if kind < 2:
            name = ("bodies", "signature")[kind]
            value = getattr(segment, name)
            segment = segment._replace(**{name: consumer.spoil(value if type(value) is bytes else b"")})
        elif kind == 2:
            segment = segment._replace(previous=consumer.choose((other.previous, consumer.take(32))))
        elif kind == 3:
            segment = segment._replace(first=consumer.choose(SEQS))
        elif kind == 4:
            segment = segment._replace(count=consumer.choose(SEQS))
        elif kind == 5:
            segment = segment._replace(author=consumer.choose((other.author, consumer.some(40))))
        elif kind == 6:
            segment = segment._replace(bodies=other.bodies, signature=other.signature)
        elif kind == 7:
            name = consumer.choose(Segment._fields)
            value = consumer.choose((None, True, 1.0, "text", b"", 2, [], bytearray(32), {}))
            segment = segment._replace(**{name: value})
        elif type(segment.first) is int and type(segment.count) is int and segment.count < 9:
            try:
                seq = segment.first - 1 + consumer.number(segment.count + 2)
                segment = tail_after(segment, seq, ids_of(ANN)[min(max(seq, 0), 8)])
            except (BadSegmentError, InvalidValueError, TypeError):
                pass  # what was not verified may not be cut either
    return segment


def check_cutting(data: bytes) -> None:
    """Cut anywhere, with payloads dropped, and joined again a log is what it was."""
    consumer = Consumer(data)
    pair = Keypair(consumer.take(1) * 32)
    head = Head(0, genesis_id(pair.author))
    sizes = [consumer.choose((0, 1, 31, 32, 33, 254, 255, 256, 300)) for _ in range(1 + consumer.number(12))]
    bodies = [consumer.take(size) for size in sizes]
    [whole], head = build(pair, head, bodies)
    ids = [whole.previous, *chain_ids(whole)]
    assert verify(whole) == head and [body for _, _, body in entries(whole)] == bodies
    seq = consumer.number(whole.last + 1)
    tail = tail_after(whole, seq, ids[seq])
    assert verify(tail) == head if tail.last else True
    dropped = [1 + consumer.number(whole.last) for _ in range(consumer.number(6))]
    holed = drop_payloads(whole, dropped)
    assert verify(holed) == head and chain_ids(holed) == ids[1:] and has_holes(holed) == bool(dropped)
    assert drop_payloads(holed, dropped) == holed
    front = tail_after(holed, 0, ids[0])._replace(count=seq)
    cut = items.minimal_size(split_items(holed)[:seq])
    front = front._replace(bodies=holed.bodies[:cut])
    assert merge([front, tail_after(holed, seq, ids[seq])]) == holed
    at = consumer.number(whole.last + 1)
    part = entries(whole, at, at + 2)
    assert [number for number, _, _ in part] == list(range(max(1, at), min(whole.last, at + 2) + 1))


def check_proof(data: bytes) -> None:
    """Bytes are a proof with one form, and it convinces nobody of an author who did not fork."""
    try:
        proof = decode_proof(data)
    except BadForkProofError:
        return
    assert decode_proof(encode_proof(proof)) == proof and hash(proof) is not None
    try:
        verify_proof(proof)
    except BadForkProofError:
        return
    assert proof.author in _FORKED, "an author was framed"
    assert len(encode_proof(proof)) <= MAX_SEGMENT_BYTES + 200 + 32


def check_proof_file(data: bytes) -> None:
    """A file is a proof only as it was written, in whatever lines, and only a proof that proves something."""
    encoded = encodebytes(data)
    for content in (data, b"\n".join((FILE_MAGIC, b"author_x 1", encoded)), _FILE[: len(_FILE) // 2] + data):
        try:
            proof = ForkProof.load(content)
        except BadForkProofError:
            continue
        assert proof.author in _FORKED, "an author was framed"
        assert proof.dump().splitlines() == content.splitlines() and ForkProof.load(proof.dump()) == proof


def check_framing(data: bytes) -> None:
    """From pieces of honest logs, altered anyhow, no proof can be put together against those who did not fork."""
    consumer = Consumer(data)
    proof = fork_of_cat()
    pair = consumer.choose((ANN, BOB, CAT))
    left, right = consumer.choose(log_of(pair)), altered(consumer, consumer.choose(log_of(pair)))
    if consumer.chance(2):
        seq = consumer.choose((left.last, *SEQS))
        proof = ForkProof(left.author, seq, ids_of(pair)[left.last], left.signature, right)
    if consumer.chance(2):
        proof = proof._replace(segment=altered(consumer, proof.segment))
    if consumer.chance(2):
        name = consumer.choose(("author", "seq", "id", "signature"))
        value = consumer.choose(
            (None, 1, b"", True, "x", ANN.author, left.previous, left.last, consumer.take(32))
        )
        proof = proof._replace(**{name: value})
    try:
        verify_proof(proof)
    except BadForkProofError:
        return
    assert proof.author == CAT.author, "an author was framed"
    assert decode_proof(encode_proof(proof)) == proof


def check_branches(data: bytes) -> None:
    """Of any two branches a proof can be made exactly if they differ at a seq that both know, and it verifies."""
    consumer = Consumer(data)
    runs = [1 + consumer.number(4) for _ in range(1 + consumer.number(3))]
    others = [1 + consumer.number(4) for _ in range(1 + consumer.number(3))]
    mine = made(ANN, runs, b"mine")
    theirs = made(ANN, others, consumer.choose((b"mine", b"other")))
    ours, other = consumer.choose(mine), consumer.choose(theirs)
    low, high = max(ours.first, other.first) - 1, min(ours.last, other.last)
    proof = build_proof(ours, other)
    same = [_id(ours, seq) == _id(other, seq) for seq in range(low, high + 1)]
    assert (proof is not None) == (bool(same) and not same[-1])
    if proof is not None:
        verify_proof(proof)
        assert decode_proof(encode_proof(proof)) == proof


def _id(segment: Segment, seq: int) -> bytes:
    return [segment.previous, *chain_ids(segment)][seq - segment.first + 1]


def _proof(case: dict[str, object]) -> bytes:
    def value(part: object) -> object:
        return bytes.fromhex(part) if isinstance(part, str) else part

    fields = {name: value(part) for name, part in case.items() if name != "segment"}
    segment = Segment(**{name: value(part) for name, part in case["segment"].items()})  # type: ignore[attr-defined]
    return encode_proof(ForkProof(segment=segment, **fields))  # type: ignore[arg-type]


_VALID = [_proof(case["proof"]) for case in vectors("log_fork_proofs")["built"] if case["proof"]]
_FRAMED = [
    encode_proof(ForkProof(pair.author, left.last, bytes(32), left.signature, right))
    for pair in (ANN, BOB)
    for left, right in pairwise(log_of(pair))
]
_INVALID = [_proof(case["proof"]) for case in vectors("log_fork_proofs")["invalid"]]
_FORKED = {decode_proof(proof).author for proof in _VALID} | {CAT.author}
_ITEMS = [
    bytes((3,)) + b"\xc4\1a\xc4\0\xc5\1\0" + bytes(256),
    b"\1\xc7\x20\1" + bytes(32),
    b"\2\xc4\1a\xc4\1b",
]

_SEGMENTS = [bytes((who, which, 1, kind, 0, 3)) for who, which, kind in product(range(3), (0, 1), range(9))]
_FRAMINGS = [bytes((who, 0, 0, 1, kind, 0, 0, 0, 1, 1)) for who, kind in product(range(3), range(9))]

_FILE = fork_of_cat().dump()

TARGETS = [
    Target(
        "proof-file",
        check_proof_file,
        [_FILE, _FILE[len(_FILE) // 2 :], *_VALID[:3], _FILE.replace(b"\n", b"\r\n")],
    ),
    Target("items", check_items, _ITEMS),
    Target("segment", check_segment, _SEGMENTS),
    Target("cutting", check_cutting, [bytes(30), bytes(range(60)), bytes(range(99, 250))]),
    Target("proof", check_proof, [encode_proof(fork_of_cat()), *_VALID, *_FRAMED, *_INVALID]),
    Target("framing", check_framing, _FRAMINGS),
    Target("branches", check_branches, [bytes(range(9)), bytes((2, 1, 2, 3, 2, 0, 1, 2, 1, 2, 2))]),
]
