"""Fork proofs: two signed statements of one author that cannot both be true of one log.

Responsible for: making a proof from any two segments that disagree, and checking one that somebody sent.
Must not know: which branch this node keeps, who is told.
Invariant: :func:`verify_proof` accepts only what the author alone could have signed, so nobody can frame an author; and
a proof can always be made from what a node holds, in at most 128 KiB and 200 bytes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgpack

from gossiplog.errors import BadForkProofError, BadSegmentError, BadSignatureError, InvalidValueError
from gossiplog.limits import MAX_SEGMENT_BYTES
from gossiplog.log import items
from gossiplog.log.keys import verify_head
from gossiplog.log.segment import Segment, check_shape, drop_payloads, id_at, split_items, tail_after, verify

_UNPACK_ERRORS: Final = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


class ForkProof(NamedTuple):
    """The signed head (seq, id), and a segment of the same author that says another id was there.

    ``segment.first == seq + 1`` and ``segment.previous != id``; without entries it is a second signed head of ``seq``.
    """

    author: bytes
    seq: int
    id: bytes
    signature: bytes
    segment: Segment


def build_proof(ours: Segment, theirs: Segment) -> ForkProof | None:
    """Return the proof that two verified segments of one author are of different logs, None if they show no such thing.

    They are compared at the last seq that both know the id of (first - 1 to last): whatever they disagree about before
    it, the chain makes them disagree there.  One of them is signed there, the other is cut behind it.  O(n).
    """
    if ours.author != theirs.author:
        raise InvalidValueError("a fork is between two segments of one author")
    signed, other = (ours, theirs) if ours.last <= theirs.last else (theirs, ours)
    seq = signed.last
    if seq < other.first - 1:
        return None
    signed_id, other_id = id_at(signed, seq), id_at(other, seq)
    if signed_id == other_id:
        return None
    tail = tail_after(other, seq, other_id)
    hashes = drop_payloads(tail, range(tail.first, tail.last + 1))
    return ForkProof(ours.author, seq, signed_id, signed.signature, hashes)


def verify_proof(proof: ForkProof) -> None:
    """Check that a proof proves a fork; BadForkProofError if not.  O(n), about 110 us and 0.4 us per entry."""
    author, seq, entry_id, signature, segment = proof
    try:
        check_shape(segment)
        if segment.author != author or segment.first - 1 != seq:
            raise BadForkProofError("the two statements are not about the same author and seq")
        if segment.previous == entry_id:
            raise BadForkProofError("the two statements agree")
        if len(segment.bodies) > MAX_SEGMENT_BYTES or any(
            items.encoded_size(item) > items.HASH_ITEM_BYTES for item in split_items(segment)
        ):
            raise BadForkProofError("a fork proof carries hashes, and no body that is larger than one")
        verify_head(author, seq, entry_id, signature)
        verify(segment)
    except (BadSegmentError, BadSignatureError) as error:
        raise BadForkProofError(f"one of the two statements is none: {error}") from error


def encode_proof(proof: ForkProof) -> bytes:
    """Return a proof as bytes for a disk: the elements of FORK (specification, "Messages")."""
    author, seq, entry_id, signature, segment = proof
    encoded: bytes = msgpack.packb([author, seq, entry_id, signature, segment[1:]])
    return encoded


def decode_proof(encoded: bytes) -> ForkProof:
    """Return the proof that :func:`encode_proof` wrote, not yet verified; BadForkProofError for any other bytes."""
    try:
        author, seq, entry_id, signature, statement = msgpack.unpackb(
            encoded, max_array_len=5, max_map_len=0, max_str_len=0, max_ext_len=0
        )
        first, count, previous, last_signature, bodies = statement
        segment = Segment(author, first, count, previous, last_signature, bodies)
        check_shape(segment)
    except _UNPACK_ERRORS as error:
        raise BadForkProofError("these bytes are not a fork proof") from error
    except BadSegmentError as error:
        raise BadForkProofError(f"these bytes are not a fork proof: {error}") from error
    if type(seq) is not int or type(entry_id) is not bytes or type(signature) is not bytes:
        raise BadForkProofError("these bytes are not a fork proof")
    return ForkProof(author, seq, entry_id, signature, segment)
