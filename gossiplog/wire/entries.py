"""Messages that carry entries or speak of them: SEGMENT, HAVE, FILL and FORK.

Responsible for: their elements, and the shape of a segment's header.
Must not know: what is inside the bodies, and whether a signature is one.
Invariant: a decoded segment's header is in range, so that arithmetic on it needs no checks.
"""

from __future__ import annotations

from typing import Any, Final

from msgpack import unpackb
from msgpack.exceptions import UnpackException

from gossiplog import limits
from gossiplog.errors import MalformedMessageError
from gossiplog.gossip.messages import RESERVED, Fill, Fork, Have, HaveItem, Segment
from gossiplog.log.fork import ForkProof
from gossiplog.wire.fields import AUTHOR_BYTES, MAX_UINT, Fields, counted, is_reserved, pack

USUAL_SEGMENT: Final = b"\x97\x05"
"""How a SEGMENT of exactly seven elements begins."""


def pack_segment(m: Segment) -> bytes:
    """Return the frame of SEGMENT."""
    # Only the head goes through the packer: the bodies are copied once, not twice.
    head = pack((5, m.author, m.first, m.count, m.previous, m.signature))
    size = len(m.bodies)
    if size < 1 << 8:
        header = b"\xc4" + size.to_bytes(1, "big")
    elif size < 1 << 16:
        header = b"\xc5" + size.to_bytes(2, "big")
    else:
        header = b"\xc6" + size.to_bytes(4, "big")
    return b"".join((b"\x97", memoryview(head)[1:], header, m.bodies))


def read_segment(fields: Fields, author: bytes) -> Segment:
    """Read the elements of SEGMENT after its author."""
    return _segment(author, *[fields.next() for _ in range(5)])


def read_usual_segment(frame: bytes) -> Segment | None:
    """Read a SEGMENT of exactly seven elements at once; ``None`` when it must be read one by one.

    The bulk of all bytes comes this way: :class:`Fields` would copy the bodies once more.
    """
    try:
        elements = unpackb(
            frame,
            use_list=False,
            max_bin_len=len(frame),
            max_str_len=0,
            max_array_len=7,
            max_map_len=0,
            max_ext_len=0,
        )
        author = elements[1]
        if type(author) is bytes and len(author) == AUTHOR_BYTES:
            return _segment(*elements[1:])
    except (ValueError, UnpackException, MalformedMessageError):
        pass  # what is wrong, or only unusual, is for the careful way to say
    return None


def _segment(author: bytes, first: Any, count: Any, previous: Any, signature: Any, bodies: Any) -> Segment:
    if type(first) is not int or type(count) is not int or not 0 <= count <= limits.MAX_SEGMENT_ENTRIES:
        raise MalformedMessageError("not a first seq and a count")
    if first < 1 or not 1 <= first + count - 1 <= limits.MAX_SEQ:
        raise MalformedMessageError("goes beyond the seqs there are")
    if type(previous) is not bytes or len(previous) != 32:
        raise MalformedMessageError("not a previous id")
    if type(signature) is not bytes or len(signature) != 64 or type(bodies) is not bytes:
        raise MalformedMessageError("not a signature and bodies")
    return Segment(author, first, count, previous, signature, bodies)


def pack_have(m: Have) -> bytes:
    """Return the frame of HAVE."""
    items = counted(m.items, limits.MAX_HAVE_ITEMS)
    return pack((6, [item if item.author is not None else item[:2] for item in items]))


def read_have(fields: Fields) -> Have:
    """Read the elements of HAVE."""
    items: list[HaveItem] = []
    for _ in range(fields.array("items", limits.MAX_HAVE_ITEMS)):
        size = fields.array("item", limits.MAX_ITEM_ELEMENTS, 2)
        handle = fields.uint("handle", 0, MAX_UINT)
        seq = fields.uint("seq", 0, limits.MAX_SEQ)
        author = fields.binary("author") if size > 2 else None
        if is_reserved(author):
            fields.skip(size - 3)
            author = RESERVED
        elif size > 3:
            raise MalformedMessageError(f"item: {size} elements instead of 2 or 3")
        items.append(HaveItem(handle, seq, author))
    return Have(tuple(items))


def pack_fill(m: Fill) -> bytes:
    """Return the frame of FILL."""
    return pack((7, m.author, counted(m.ranges, limits.MAX_FILL_RANGES)))


def read_fill(fields: Fields, author: bytes) -> Fill:
    """Read the elements of FILL after its author."""
    ranges: list[tuple[int, int]] = []
    for _ in range(fields.array("ranges", limits.MAX_FILL_RANGES)):
        first, last = fields.item("range", 2)
        if type(first) is not int or type(last) is not int or not 1 <= first <= last <= limits.MAX_SEQ:
            raise MalformedMessageError("range: not a first and a last seq")
        ranges.append((first, last))
    return Fill(author, tuple(ranges))


def pack_fork(m: Fork) -> bytes:
    """Return the frame of FORK."""
    proof = m.proof
    return pack((8, proof.author, proof.seq, proof.id, proof.signature, proof.segment[1:]))


def read_fork(fields: Fields, author: bytes) -> Fork:
    """Read the elements of FORK after its author."""
    seq = fields.uint("seq", 1, limits.MAX_SEQ)
    head = fields.binary("id", 32)
    signature = fields.binary("signature", 64)
    fields.array("segment", 5, 5)
    return Fork(ForkProof(author, seq, head, signature, read_segment(fields, author)))
