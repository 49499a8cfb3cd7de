"""Entries as an application reads them, and payload encodings.

Responsible for: turning a stored segment into :class:`Entry` values; the encodings bytes, utf-8, json, msgpack.
Must not know: where segments come from.
Invariant: foreign bytes never raise here: what does not decode is delivered, marked as malformed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from gossiplog.errors import EncodingError, InvalidValueError, MalformedBodyError
from gossiplog.log.body import Reference, decode_body
from gossiplog.log.segment import Segment, entries


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of one author's log.

    ``payload`` is decoded with the reader's encoding; ``None`` when it was dropped (``dropped``).  When a body or
    payload does not decode, ``malformed`` says why and ``payload`` holds the raw bytes.
    """

    author: bytes
    seq: int
    id: bytes
    timestamp_ms: int
    payload: Any
    after: tuple[Reference, ...] = ()
    dropped: bool = False
    malformed: str = ""


class Encoding(NamedTuple):
    """How payloads become bytes and back; both raise ``ValueError`` or ``TypeError`` for what does not fit."""

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _as_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"expected bytes, got {type(value).__name__}; choose an encoding for other values")
    return bytes(value)


_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _to_json(value: Any) -> bytes:
    return _encode_json(value).encode()


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"expected str, got {type(value).__name__}")
    return value.encode()


def _from_msgpack(payload: bytes) -> Any:
    """Unpack only what is there: msgpack allocates what each array claims, and a few bytes can nest many claims."""
    unpacker = msgpack.Unpacker(read_size=len(payload) + 1, max_buffer_size=len(payload) + 1)
    unpacker.feed(payload)
    unpacker.skip()
    return msgpack.unpackb(payload, strict_map_key=False)


ENCODINGS: dict[str, Encoding] = {
    encoding.name: encoding
    for encoding in (
        Encoding("bytes", _as_bytes, lambda payload: payload),
        Encoding("utf-8", _text, lambda payload: payload.decode()),
        Encoding("json", _to_json, json.loads),
        Encoding("msgpack", msgpack.packb, _from_msgpack),
    )
}


def encoding(name: str) -> Encoding:
    """The encoding called ``name``; :class:`InvalidValueError` lists the known ones."""
    try:
        return ENCODINGS[name]
    except KeyError:
        raise InvalidValueError(f"unknown encoding {name!r}; known are {', '.join(ENCODINGS)}") from None


def encode_payloads(values: Iterable[Any], chosen: Encoding) -> list[bytes]:
    """``values`` as payload bytes; :class:`EncodingError` says what does not fit.  O(n)."""
    try:
        return list(map(chosen.encode, values))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodingError(f"payload does not fit the encoding {chosen.name}: {error}") from error


def read_entries(
    segment: Segment, chosen: Encoding, first: int | None = None, last: int | None = None
) -> list[Entry]:
    """The entries of ``segment`` with ``first <= seq <= last``, ascending."""
    author = segment.author
    decode = chosen.decode
    read = []
    for seq, entry_id, body in entries(segment, first, last):
        if body is None:
            read.append(Entry(author, seq, entry_id, 0, None, dropped=True))
            continue
        try:
            timestamp_ms, payload, after = decode_body(body)
        except MalformedBodyError as error:
            read.append(Entry(author, seq, entry_id, 0, body, malformed=str(error)))
            continue
        try:
            read.append(Entry(author, seq, entry_id, timestamp_ms, decode(payload), after))
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            problem = f"payload is not {chosen.name}: {error}"
            read.append(Entry(author, seq, entry_id, timestamp_ms, payload, after, malformed=problem))
    return read
