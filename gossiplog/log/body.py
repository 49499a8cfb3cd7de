"""The body of an entry: when, what, and after what.

Responsible for: making the bytes of one entry and reading them when an application asks.
Must not know: ids, signatures, segments.  Replication never calls this module: to it a body is opaque bytes.
Invariant: whatever the bytes, :func:`decode_body` returns a :class:`Body` or raises MalformedBodyError, in time and
memory proportional to the body.

>>> decode_body(encode_body(1700000000000, b"hello"))
Body(timestamp_ms=1700000000000, payload=b'hello', after=())
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgpack

from gossiplog.arguments import wrong
from gossiplog.errors import InvalidValueError, MalformedBodyError, PayloadTooLargeError
from gossiplog.limits import MAX_BODY_BYTES, MAX_ITEM_ELEMENTS, MAX_REFERENCES, MAX_SEQ

MAX_TIMESTAMP_MS: Final = 2**53 - 1
"""Every language with doubles can hold it exactly; 285,000 years."""

ID16_BYTES: Final = 16
_AUTHOR_BYTES: Final = 32
_NEEDED: Final = 3

_PLAIN: Final = b"\x92\xcf"
"""How most bodies begin: an array of two, of which the first is a number of eight bytes."""

_START_BYTES: Final = 10
"""With that number."""

_LIMITS: Final[dict[str, int]] = {
    "max_array_len": MAX_REFERENCES,
    "max_map_len": 0,
    "max_str_len": 0,
    "max_ext_len": 0,
}
"""What the elements that mean something need; bounds what nested arrays allocate before they are refused."""

_UNPACK_ERRORS: Final = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


class Reference(NamedTuple):
    """An entry the writer had read: author, seq and the first 16 bytes of its id."""

    author: bytes
    seq: int
    id16: bytes


class Body(NamedTuple):
    """What one entry says: writer's clock in milliseconds since 1970, payload, and what the writer had read."""

    timestamp_ms: int
    payload: bytes
    after: tuple[Reference, ...] = ()


def encode_body(timestamp_ms: int, payload: bytes, after: Iterable[Reference] = ()) -> bytes:
    """Return the bytes of one entry.

    PayloadTooLargeError above ``limits.MAX_BODY_BYTES``; InvalidValueError for a wrong type, a timestamp that is not
    from 0 to 2^53-1, or ``after`` that is not at most 64 references to entries.
    """
    _check_timestamp(timestamp_ms)
    if type(payload) is not bytes:
        raise InvalidValueError(f"a payload is bytes, not {type(payload).__name__}")
    if isinstance(after, str | bytes | Mapping) or not isinstance(after, Iterable):
        raise wrong("after", "a list of references to entries", after)
    references = [check_reference(reference) for reference in after]
    if len(references) > MAX_REFERENCES:
        raise InvalidValueError(f"after names at most {MAX_REFERENCES} entries, not {len(references)}")
    elements: list[object] = [timestamp_ms, payload]
    if references:
        elements.append(references)
    body: bytes = msgpack.packb(elements)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(len(payload))
    return body


def encode_bodies(timestamp_ms: int, payloads: Sequence[bytes]) -> list[bytes]:
    """Return the bytes of many entries of one moment, as :func:`encode_body` would make them one by one.  O(n)."""
    _check_timestamp(timestamp_ms)
    if not payloads:
        return []
    kinds = set(map(type, payloads))
    if kinds != {bytes}:
        wrong = (kinds - {bytes}).pop()
        raise InvalidValueError(f"a payload is bytes, not {wrong.__name__}")
    prefix: bytes = b"\x92" + msgpack.packb(timestamp_ms)
    largest = max(map(len, payloads))
    if len(prefix) + 5 + largest > MAX_BODY_BYTES:
        raise _too_large(largest)
    starts = {size: prefix + _bin_header(size) for size in set(map(len, payloads))}
    return [starts[len(payload)] + payload for payload in payloads]


def decode_body(body: bytes) -> Body:
    """Return what a body says; MalformedBodyError if it says nothing.

    Elements after ``after`` are ignored; so are references to authors of a length other than 32 (reserved), of which
    nothing but the number of their elements is looked at.
    """
    if type(body) is not bytes or len(body) > MAX_BODY_BYTES:
        raise MalformedBodyError(f"a body is at most {MAX_BODY_BYTES} bytes")
    try:
        elements = msgpack.unpackb(body, **_LIMITS)
    except _UNPACK_ERRORS:
        elements = _needed_elements(body)
    if type(elements) is not list or len(elements) < 2:
        raise MalformedBodyError("a body is a msgpack array of at least a timestamp and a payload")
    timestamp_ms, payload = elements[:2]
    if type(timestamp_ms) is not int or not 0 <= timestamp_ms <= MAX_TIMESTAMP_MS:
        raise MalformedBodyError("a timestamp is an integer from 0 to 2^53-1")
    if type(payload) is not bytes:
        raise MalformedBodyError("a payload is msgpack bin")
    return Body(timestamp_ms, payload, _references(elements[2]) if len(elements) > 2 else ())


def plain_bodies(bodies: Iterable[bytes | None]) -> Iterator[tuple[int, bytes] | None]:
    """Yield timestamp and payload of each body that has nothing else, as :func:`decode_body` reads them.

    None for every other one, and for what has to be looked at closer.  A sixth of the time: most bodies have the
    timestamp of the one before, and payloads below 64 KiB.
    """
    start, timestamp_ms = b"", 0
    for body in bodies:
        if body is None:
            yield None
            continue
        if body[:_START_BYTES] != start:
            timestamp_ms = int.from_bytes(body[2:_START_BYTES], "big")
            plain = len(body) >= _START_BYTES and body.startswith(_PLAIN) and timestamp_ms <= MAX_TIMESTAMP_MS
            start = body[:_START_BYTES] if plain else b""
        size = len(body) - _START_BYTES - 2
        if not start:
            yield None
        elif 0 <= size < 256 and body[_START_BYTES:12] == _SHORT_HEADERS[size]:
            yield timestamp_ms, body[12:]
        elif 256 < size <= 65536 and body[_START_BYTES:13] == _bin_header(size - 1):
            yield timestamp_ms, body[13:]
        else:
            yield None


def _needed_elements(body: bytes) -> list[object]:
    """Unpack only what means something; skip the rest unbuilt, whatever msgpack it is.  O(n)."""
    unpacker = msgpack.Unpacker(read_size=len(body) + 1, max_buffer_size=len(body) + 1, **_LIMITS)
    unpacker.feed(body)
    try:
        count = unpacker.read_array_header()
        found = [unpacker.unpack() for _ in range(min(count, 2))]
        if count > 2:
            found.append(_unpack_references(unpacker))
        for _ in range(count - _NEEDED):
            unpacker.skip()
    except _UNPACK_ERRORS as error:
        raise MalformedBodyError("an element of a body does not unpack") from error
    if unpacker.tell() != len(body):
        raise MalformedBodyError("bytes follow the body's array")
    return found


def _unpack_references(unpacker: msgpack.Unpacker) -> list[list[object]]:
    """Unpack ``after``; of references to authors of reserved lengths, the author alone."""
    count = unpacker.read_array_header()
    if count > MAX_REFERENCES:
        raise MalformedBodyError(f"after names at most {MAX_REFERENCES} entries")
    found: list[list[object]] = []
    for _ in range(count):
        size = unpacker.read_array_header()
        if not 1 <= size <= MAX_ITEM_ELEMENTS:
            raise MalformedBodyError("a reference is author, seq and id")
        author = unpacker.unpack()
        if _is_reserved(author):
            found.append([author])
            for _ in range(size - 1):
                unpacker.skip()
        else:
            found.append([author, *[unpacker.unpack() for _ in range(size - 1)]])
    return found


def _is_reserved(author: object) -> bool:
    return type(author) is bytes and len(author) != _AUTHOR_BYTES


def _bin_header(size: int) -> bytes:
    """What msgpack puts before so many bytes."""
    if size < 256:
        return bytes((0xC4, size))
    return b"\xc5" + size.to_bytes(2, "big") if size < 65536 else b"\xc6" + size.to_bytes(4, "big")


_SHORT_HEADERS: Final = [_bin_header(size) for size in range(256)]


def _references(after: object) -> tuple[Reference, ...]:
    if type(after) is not list or len(after) > MAX_REFERENCES:
        raise MalformedBodyError(f"after is an array of at most {MAX_REFERENCES} references")
    found = []
    for triple in after:
        if type(triple) is not list or not 1 <= len(triple) <= MAX_ITEM_ELEMENTS:
            raise MalformedBodyError("a reference is author, seq and id")
        if _is_reserved(triple[0]):
            continue
        if len(triple) != 3 or not _well_formed(Reference(*triple)):
            raise MalformedBodyError("a reference is author, seq and the first 16 bytes of the id")
        found.append(Reference(*triple))
    return tuple(found)


def _well_formed(reference: Reference) -> bool:
    author, seq, id16 = reference
    return (
        type(author) is bytes
        and type(seq) is int
        and 1 <= seq <= MAX_SEQ
        and type(id16) is bytes
        and len(id16) == ID16_BYTES
    )


def check_reference(reference: Reference) -> Reference:
    """Return a reference that a body can have; InvalidValueError for any other."""
    if (
        not isinstance(reference, Reference)
        or not _well_formed(reference)
        or len(reference.author) != _AUTHOR_BYTES
    ):
        raise InvalidValueError("after takes references: author (32 bytes), seq from 1, id16 (16 bytes)")
    return reference


def _check_timestamp(timestamp_ms: int) -> None:
    if type(timestamp_ms) is not int or not 0 <= timestamp_ms <= MAX_TIMESTAMP_MS:
        raise InvalidValueError(
            f"timestamp_ms is an int from 0 to 2^53-1, not {timestamp_ms!r:.80}; if the system clock says so, set it: "
            "an entry cannot be of a time before 1970"
        )


def _too_large(payload_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"a payload of {payload_bytes} bytes is too large: an entry has at most {MAX_BODY_BYTES} bytes"
    )
