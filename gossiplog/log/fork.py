"""Fork proofs: two signed statements of one author that cannot both be true of one log.

Responsible for: making a proof from any two segments that disagree, checking one that somebody sent, and its forms on
disk and as a file.
Must not know: which branch this node keeps, who is told.
Invariant: :func:`verify_proof` accepts only what the author alone could have signed, so nobody can frame an author; and
a proof can always be made from what a node holds, in at most 129 KiB and 200 bytes.
"""

from __future__ import annotations

from base64 import b64decode, encodebytes
from binascii import Error as _Base64Error
from typing import Final, NamedTuple

import msgpack

from gossiplog.errors import BadForkProofError, BadSegmentError, BadSignatureError, InvalidValueError
from gossiplog.limits import MAX_PROOF_FILE_BYTES, MAX_SEGMENT_BYTES
from gossiplog.log import items
from gossiplog.log.keys import format_author, short_key, verify_head
from gossiplog.log.segment import Segment, check_shape, drop_payloads, id_at, split_items, tail_after, verify

FILE_MAGIC: Final = b"gossiplog/1 fork proof"
"""The first line of a proof as a file, with the version of the format."""

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

    def __repr__(self) -> str:
        return f"<ForkProof {short_key(self.author)} at {self.seq}>"

    def dump(self) -> bytes:
        """Return the proof as a file: text that survives a mail (specification, "Fork proof as a file").  O(n)."""
        about = f"{format_author(self.author)} {self.seq}".encode()
        return b"\n".join((FILE_MAGIC, about, encodebytes(encode_proof(self))))

    @classmethod
    def load(cls, content: bytes) -> ForkProof:
        """Return the proof in a file, verified; BadForkProofError for anything that :meth:`dump` did not write.  O(n).

        >>> ForkProof.load(b"hello")
        Traceback (most recent call last):
            ...
        gossiplog.errors.BadForkProofError: this is no fork proof: its first line is not 'gossiplog/1 fork proof'
        """
        if type(content) is not bytes:
            raise BadForkProofError(f"the content of a proof's file is bytes, not {type(content).__name__}")
        if len(content) > MAX_PROOF_FILE_BYTES:
            raise BadForkProofError(f"this is no fork proof: it is longer than {MAX_PROOF_FILE_BYTES} bytes")
        lines = content.splitlines()
        if lines[:1] != [FILE_MAGIC]:
            raise BadForkProofError(f"this is no fork proof: its first line is not {FILE_MAGIC.decode()!r}")
        try:
            proof = decode_proof(b64decode(b"".join(lines[2:]), validate=True))
        except _Base64Error as error:
            raise BadForkProofError("the fork proof is cut or damaged: it is not Base64") from error
        if proof.dump().splitlines() != lines:
            raise BadForkProofError("the fork proof was changed: its lines are not as they were written")
        verify_proof(proof)
        return proof


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
    if not (isinstance(proof, ForkProof) and isinstance(proof.segment, Segment)):
        raise BadForkProofError(f"a proof is a ForkProof with a Segment, not {type(proof).__name__}")
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
