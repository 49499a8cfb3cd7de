"""The RANGES message: adjacent ranges of authors, each with a fingerprint or a list.

Responsible for: that ranges are adjacent and ascending, and that their lists ascend and lie inside them.
Must not know: what the fingerprints and checks stand for.
Invariant: whoever reads a decoded message may walk its ranges beside a sorted clock without looking back.
"""

from __future__ import annotations

from typing import Any, Final

from gossiplog import limits
from gossiplog.errors import InvalidValueError, MalformedMessageError
from gossiplog.gossip.messages import Item, Range, RangeKind, Ranges
from gossiplog.wire.fields import AUTHOR_BYTES, MAX_UINT, Fields, counted, pack

FINGERPRINT_BYTES: Final = 16
CHECK_BYTES: Final = 8

_SKIP, _FINGERPRINT, _LIST, _DIFFERENCES = RangeKind


def pack_ranges(m: Ranges) -> bytes:
    """Return the frame of RANGES."""
    items = sum([len(part.items) for part in m.ranges])
    if items > limits.MAX_LIST_ITEMS:
        raise InvalidValueError(f"{items} items in one message; at most {limits.MAX_LIST_ITEMS} are allowed")
    ranges = counted(m.ranges, limits.MAX_RANGES)
    return pack((1, m.exchange, m.more, [(part.upper, part.kind, _value(part)) for part in ranges]))


def _value(part: Range) -> Any:
    if part.kind == _SKIP:
        return None
    return part.fingerprint if part.kind == _FINGERPRINT else part.items


def read_ranges(fields: Fields) -> Ranges:
    """Read the elements of RANGES; O(ranges + items)."""
    exchange = fields.uint("exchange", 0, MAX_UINT)
    more = fields.flag("more")
    ranges: list[Range] = []
    lower = b""
    room = limits.MAX_LIST_ITEMS
    for left in range(fields.array("ranges", limits.MAX_RANGES) - 1, -1, -1):
        fields.array("range", 3, 3)
        upper = fields.binary("upper")
        if len(upper) > AUTHOR_BYTES or (upper <= lower and (upper or left)):
            raise MalformedMessageError("upper: bounds are not ascending strings of at most 32 bytes")
        kind = RangeKind(fields.uint("kind", 0, _DIFFERENCES))
        if kind is _SKIP:
            if fields.next() is not None:
                raise MalformedMessageError("range: one that is skipped has no value")
            ranges.append(Range(upper, kind))
        elif kind is _FINGERPRINT:
            ranges.append(Range(upper, kind, fields.binary("fingerprint", FINGERPRINT_BYTES)))
        else:
            count = fields.array("list", room)
            room -= count
            ranges.append(Range(upper, kind, items=_read_items(fields, count, lower, upper)))
        lower = upper
    return Ranges(exchange, tuple(ranges), more)


def _read_items(fields: Fields, count: int, lower: bytes, upper: bytes) -> tuple[Item, ...]:
    items: list[Item] = []
    floor = lower
    for _ in range(count):
        item = fields.authored_item("item")
        if item is None:
            continue
        author, seq, check = item
        if type(author) is not bytes:
            raise MalformedMessageError("item: not an author")
        if type(seq) is not int or not 0 <= seq <= limits.MAX_SEQ:
            raise MalformedMessageError("item: not a seq")
        if type(check) is not bytes or len(check) != CHECK_BYTES:
            raise MalformedMessageError("item: not a check")
        if author < floor or (upper and author >= upper):
            raise MalformedMessageError("item: authors do not ascend inside their range")
        floor = author + b"\0"
        items.append(Item(author, seq, check))
    return tuple(items)
