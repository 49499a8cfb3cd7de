"""Segment: a run of one author's log that ends at a signed head.

Responsible for: making segments from bodies, and deciding whether one that somebody sent is what its author signed.
Must not know: what this node already holds, where segments are kept, how they travel.
Invariant: :func:`verify` returns only when every byte of the segment is bound to the author's signature; what is
received is what is stored is what is sent.  Shape and limits are settled before the first hash.

>>> from gossiplog.log.keys import Keypair, genesis_id
>>> pair = Keypair(bytes(32))
>>> [segment], head = build(pair, Head(0, genesis_id(pair.author)), [b"one", b"two"])
>>> (segment.first, segment.last) == (1, head.seq) and verify(segment) == head
True
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, TypeAlias

from msgpack import ExtType

from gossiplog.errors import BadSegmentError, InvalidValueError
from gossiplog.limits import MAX_SEGMENT_ENTRIES, MAX_SEQ, SEGMENT_TARGET_BYTES
from gossiplog.log import items
from gossiplog.log.keys import (
    ID_BYTES,
    KEY_BYTES,
    SIGNATURE_BYTES,
    HeadSigner,
    genesis_id,
    short_key,
    verify_head,
)

_FIXED_BYTES: Final = KEY_BYTES + ID_BYTES + SIGNATURE_BYTES + 16
"""Author, previous, signature, first and count."""

ROW_TOIL_BYTES: Final = 8 * 1024
_ENTRY_TOIL_BYTES: Final = 64
"""What a row and an entry count beside their bytes where work is bounded: to find a row and to verify its signature
takes an eighth of a millisecond, to unpack and hash an entry twice a thousandth."""


class Head(NamedTuple):
    """The seq and id of a log's last entry; ``Head(0, genesis_id(author))`` before the first."""

    seq: int
    id: bytes

    def __repr__(self) -> str:
        return f"<Head {self.seq} {self.id.hex()[:16]}>"


class Segment(NamedTuple):
    """Entries ``first`` to ``first + count - 1`` of one log, and its signed head there.

    ``previous`` is id(first - 1).  ``bodies`` is the bare concatenation of ``count`` items, see
    :mod:`gossiplog.log.items`.  With ``count`` 0 it is the signed head of ``first - 1`` and nothing else.
    """

    author: bytes
    first: int
    count: int  # type: ignore[assignment]  # the specification's word; nobody needs tuple.count here
    previous: bytes
    signature: bytes
    bodies: bytes

    @property
    def last(self) -> int:
        """The seq of the signed head."""
        return self.first + self.count - 1

    def __repr__(self) -> str:
        return f"<Segment {short_key(self.author)} {self.first}-{self.last}, {len(self.bodies)} bytes>"


Unfolded: TypeAlias = tuple[Sequence[items.Item], Sequence[bytes]]
"""The items of a segment, and the id of each."""


class HoledRow(NamedTuple):
    """A stored segment with holes: whose it is, its first seq, its entries, and how many of them lack their body."""

    author: bytes
    first: int
    count: int  # type: ignore[assignment]  # the specification's word
    holes: int

    @property
    def last(self) -> int:
        """The seq of its last entry."""
        return self.first + self.count - 1


# -- making ------------------------------------------------------------------------------------------------------


def build(keypair: HeadSigner, head: Head, bodies: Sequence[bytes]) -> tuple[list[Segment], Head]:
    """Continue the log at ``head`` with bodies: return the signed segments in order and the new head.  O(n).

    As few segments as the limits allow, one signature each; a body larger than ``limits.SEGMENT_TARGET_BYTES`` has one
    to itself.  InvalidValueError for no bodies, wrong types or a seq above 2^53-1; PayloadTooLargeError above 1 MiB.
    """
    if not bodies:
        raise InvalidValueError("a segment is built from at least one body")
    sizes = items.check_bodies(bodies)
    if not 0 <= head.seq <= MAX_SEQ - len(bodies):
        raise InvalidValueError(f"seq would leave the range of 1 to {MAX_SEQ}")
    ends = list(accumulate(sizes))
    segments = []
    start = 0
    while start < len(bodies):
        room = SEGMENT_TARGET_BYTES + (ends[start - 1] if start else 0)
        stop = min(max(bisect_right(ends, room, start), start + 1), start + MAX_SEGMENT_ENTRIES)
        part = bodies[start:stop]
        last = Head(head.seq + len(part), _chain(head.id, part))
        signature = keypair.sign_head(last.seq, last.id)
        joined = items.join(part)
        segments.append(Segment(keypair.author, head.seq + 1, len(part), head.id, signature, joined))
        head, start = last, stop
    return segments, head


def signed_head(keypair: HeadSigner, head: Head) -> Segment:
    """Return a segment with no entries: the signed statement that the log reaches ``head``."""
    signature = keypair.sign_head(head.seq, head.id)
    return Segment(keypair.author, head.seq + 1, 0, head.id, signature, b"")


# -- checking ----------------------------------------------------------------------------------------------------


def check_shape(segment: Segment) -> None:
    """Check types, lengths, ranges and limits without looking into ``bodies``; BadSegmentError.  O(1)."""
    author, first, count, previous, signature, bodies = segment
    if type(author) is not bytes or len(author) != KEY_BYTES:
        raise BadSegmentError(f"an author is {KEY_BYTES} bytes")
    if type(first) is not int or type(count) is not int or first < 1 or count < 0:
        raise BadSegmentError("first and count are integers, from 1 and from 0")
    if not 1 <= first + count - 1 <= MAX_SEQ:
        raise BadSegmentError(f"a segment ends at a seq from 1 to {MAX_SEQ}")
    if type(previous) is not bytes or len(previous) != ID_BYTES:
        raise BadSegmentError(f"previous is an id of {ID_BYTES} bytes")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise BadSegmentError(f"a signature is {SIGNATURE_BYTES} bytes")
    if type(bodies) is not bytes:
        raise BadSegmentError("bodies are bytes")
    refusal = items.check_limits(count, len(bodies))
    if refusal is not None:
        raise BadSegmentError(refusal)
    if first == 1 and previous != genesis_id(author):
        raise BadSegmentError("the first entry does not continue id(0) of its author")


def split_items(segment: Segment) -> list[items.Item]:
    """Return the items of a segment: bytes, or ExtType for a hole; BadSegmentError if they break the format.  O(n)."""
    return items.split(segment.count, segment.bodies)


def check_whole(segment: Segment) -> None:
    """Raise UnaskedHolesError if a payload was dropped, BadSegmentError for other items.  O(n), without hashing."""
    items.split(segment.count, segment.bodies, holes=False)


def verify(segment: Segment) -> Head:
    """Return the head that a segment proves; BadSegmentError or BadSignatureError if it proves none.  O(n).

    Holes are welcome, as in what is stored.
    """
    check_shape(segment)
    return _verified(segment, split_items(segment))


def verify_unfolded(segment: Segment) -> tuple[Head, Unfolded]:
    """As :func:`verify`; return its items and ids, too, which were there for a moment anyway."""
    check_shape(segment)
    found, ids = unfold(segment)
    head = Head(segment.last, ids[-1] if ids else segment.previous)
    verify_head(segment.author, head.seq, head.id, segment.signature)
    return head, (found, ids)


def verify_whole(segment: Segment) -> Head:
    """As :func:`verify`, with no payload dropped; UnaskedHolesError before anything is hashed if one is.

    The bulk path of everything received: 0.75 us per entry of 114 bytes, of which 0.67 are the two hashes, plus 55 us.
    """
    check_shape(segment)
    return _verified(segment, items.split(segment.count, segment.bodies, holes=False))


def _verified(segment: Segment, found: Sequence[items.Item]) -> Head:
    head_id = _chain(segment.previous, found)
    last = segment.first + segment.count - 1
    verify_head(segment.author, last, head_id, segment.signature)
    return Head(last, head_id)


def count_holes(segment: Segment) -> int:
    """Return how many payloads were dropped in a valid segment; 40 us for a full one with none or all, else O(n)."""
    if not items.may_have_holes(segment.bodies):
        return 0
    if items.are_holes(segment.count, segment.bodies):
        return segment.count
    return sum(not isinstance(item, bytes) for item in split_items(segment))


def has_payload(segment: Segment, first: int, last: int) -> bool:
    """Tell whether any entry from ``first`` to ``last`` is not a hole.  O(n)."""
    begin, end = max(first, segment.first) - segment.first, min(last, segment.last) - segment.first + 1
    return any(isinstance(item, bytes) for item in split_items(segment)[begin:end])


def has_holes(segment: Segment) -> bool:
    """Tell whether a payload was dropped.  O(n), without hashing."""
    return any(not isinstance(item, bytes) for item in split_items(segment))


# -- reading -----------------------------------------------------------------------------------------------------


def chain_ids(segment: Segment) -> list[bytes]:
    """Return the ids of first to last.  O(n)."""
    return _ids(segment.previous, split_items(segment))


def unfold(segment: Segment) -> Unfolded:
    """Return the items and ids of a segment.  O(n)."""
    found = split_items(segment)
    return found, _ids(segment.previous, found)


def id_at(segment: Segment, seq: int) -> bytes:
    """Return the id at a seq from first - 1 to last; InvalidValueError outside.  O(seq - first)."""
    if not segment.first - 1 <= seq <= segment.last:
        raise InvalidValueError(f"seq {seq} is not from {segment.first - 1} to {segment.last}")
    if seq == segment.first - 1:
        return segment.previous
    return _chain(segment.previous, split_items(segment)[: seq - segment.first + 1])


def entries(
    segment: Segment, first: int | None = None, last: int | None = None
) -> list[tuple[int, bytes, bytes | None]]:
    """Return (seq, id, body) of each entry from ``first`` to ``last``, None as body of a hole; hashes up to there."""
    found = split_items(segment)
    start = max(0, first - segment.first) if first is not None else 0
    stop = max(0, last - segment.first + 1) if last is not None else len(found)
    ids = _ids(segment.previous, found[:stop])
    bodies = [item if isinstance(item, bytes) else None for item in found[start:stop]]
    seqs = range(segment.first + start, segment.last + 1)
    return list(zip(seqs, ids[start:stop], bodies, strict=False))


def toil_bytes(segment: Segment) -> int:
    """Return what it costs to read and verify a row, as if all were bytes: 64 KiB take about a millisecond.  O(1)."""
    return len(segment.bodies) + ROW_TOIL_BYTES + _ENTRY_TOIL_BYTES * segment.count


def cut_toil_bytes(segment: Segment, seq: int) -> int:
    """Return what it costs to cut off everything up to ``seq``, which is hashed for that.  O(1)."""
    return _ENTRY_TOIL_BYTES * max(0, seq - segment.first + 1)


def segment_bytes(segment: Segment) -> int:
    """Return about how many bytes a segment takes anywhere.  O(1)."""
    return _FIXED_BYTES + len(segment.bodies)


# -- cutting and joining -----------------------------------------------------------------------------------------


def tail_after(segment: Segment, seq: int, id_at_seq: bytes) -> Segment:
    """Return the part of a segment after ``seq``, whose id the caller knows; nothing is hashed.  O(n) at C speed.

    ``seq`` from first - 1 (the segment itself) to last (its signed head); InvalidValueError outside.
    """
    if not segment.first - 1 <= seq <= segment.last:
        raise InvalidValueError(f"seq {seq} is not from {segment.first - 1} to {segment.last}")
    cut = seq - segment.first + 1
    if not cut and id_at_seq == segment.previous:
        return segment  # as it comes in a catch-up: not unpacked a second time
    skipped = items.minimal_size(split_items(segment)[:cut])
    return segment._replace(
        first=seq + 1, count=segment.count - cut, previous=id_at_seq, bodies=segment.bodies[skipped:]
    )


def merge(segments: Sequence[Segment]) -> Segment:
    """Join neighbouring segments of one log; the inner signatures go, the last one commits to everything.  O(n).

    Ids are not computed again: only verified segments are joined.  InvalidValueError if they are not neighbours or
    the result would be over the limits of a segment.
    """
    if not segments:
        raise InvalidValueError("at least one segment is merged")
    for left, right in pairwise(segments):
        if left.author != right.author or right.first != left.last + 1:
            raise InvalidValueError("only segments that follow each other in one log are merged")
    count = sum(segment.count for segment in segments)
    bodies = b"".join([segment.bodies for segment in segments])
    refusal = items.check_limits(count, len(bodies))
    if refusal is not None:
        raise InvalidValueError(refusal)
    return segments[0]._replace(count=count, bodies=bodies, signature=segments[-1].signature)


def drop_payloads(segment: Segment, seqs: Iterable[int]) -> Segment:
    """Return the segment with holes at those of ``seqs`` that are in it; its chain and signature stay valid.  O(n).

    A hash takes 35 bytes: where holes for tiny bodies would bring the segment over its limit, bodies of up to 33
    bytes are kept, so that the result never is larger than the format allows.
    """
    found = split_items(segment)
    places = {seq - segment.first for seq in seqs if segment.first <= seq <= segment.last}
    dropped = [_drop(item) if place in places else item for place, item in enumerate(found)]
    if items.check_limits(segment.count, items.minimal_size(dropped)) is not None:
        dropped = [min(pair, key=items.encoded_size) for pair in zip(found, dropped, strict=True)]
    return segment._replace(bodies=items.join(dropped))


def _drop(item: items.Item) -> items.Item:
    return ExtType(items.HASH_TYPE, sha256(item).digest()) if isinstance(item, bytes) else item


# -- the chain ---------------------------------------------------------------------------------------------------


def _chain(entry_id: bytes, found: Sequence[items.Item]) -> bytes:
    for digest in _digests(found):
        entry_id = sha256(entry_id + digest).digest()
    return entry_id


def _ids(entry_id: bytes, found: Sequence[items.Item]) -> list[bytes]:
    return [entry_id := sha256(entry_id + digest).digest() for digest in _digests(found)]


def _digests(found: Sequence[items.Item]) -> list[bytes]:
    """Hash each body; a hole is its hash already.

    sha256 itself refuses a hole with TypeError, so that the common segment takes no branch per entry.
    """
    try:
        return [sha256(item).digest() for item in found]
    except TypeError:
        return [sha256(item).digest() if isinstance(item, bytes) else item.data for item in found]
