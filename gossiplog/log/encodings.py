"""How payloads become values: the encodings bytes, utf-8, json and msgpack.

Responsible for: encoding what an application gives, decoding what others wrote.
Must not know: entries, segments, where bytes come from.
Invariant: what is encoded is given back equal by the same encoding, or refused; decoding takes time in proportion to
the bytes, whoever made them (``docs/security.rst``, "What a payload can cost").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, NamedTuple

import msgpack

from gossiplog.errors import EncodingError, InvalidValueError
from gossiplog.limits import MAX_OTHER_KEYS

DECODE_ERRORS = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)
"""What :attr:`Encoding.decode` raises for bytes that are not of the encoding."""


class Encoding(NamedTuple):
    """How payloads become bytes and back."""

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _given_back(encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> Callable[[Any], bytes]:
    """``encode``, refusing what ``decode`` would not give back equal: an append cannot be taken back."""

    def encode_checked(value: Any) -> bytes:
        payload = encode(value)
        if not decode(payload) == value:
            raise ValueError("it would be read back as another value (a tuple as a list, a key as text, NaN)")
        return payload

    return encode_checked


def _as_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"expected bytes, got {type(value).__name__}; choose an encoding for other values")
    if isinstance(value, memoryview) and value.format not in ("B", "c", "b"):
        raise TypeError(f"expected bytes, got a memoryview of format {value.format!r}")
    return bytes(value)


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"expected str, got {type(value).__name__}")
    return value.encode()


_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _to_json(value: Any) -> bytes:
    return _encode_json(value).encode()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not isfinite(value):  # which could not be encoded again
        raise ValueError("a number is larger than any float")
    return value


_json = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)


def _from_json(payload: bytes) -> Any:
    """RFC 8259: UTF-8 and nothing else, without a byte order mark, NaN, Infinity, or a number that is read as that.

    Most payloads have no space around their value, and are then read in half of the time.
    """
    text = payload.decode()
    try:
        value, end = _json.raw_decode(text)
    except json.JSONDecodeError:
        end = -1
    return value if end == len(text) else _json.decode(text)


def _from_msgpack(payload: bytes) -> Any:
    """Unpack only what is there, with maps that nobody can make slow.

    msgpack allocates what each array claims, and a few bytes can nest many claims.  What numbers and times hash to is
    known to everybody: a map of such keys, chosen badly, takes time with the square of their number.
    """
    unpacker = msgpack.Unpacker(read_size=len(payload) + 1, max_buffer_size=len(payload) + 1)
    unpacker.feed(payload)
    unpacker.skip()
    try:
        return msgpack.unpackb(
            payload, strict_map_key=True
        )  # keys that are text or bytes, hashed with a secret
    except ValueError:
        return msgpack.unpackb(payload, strict_map_key=False, object_pairs_hook=_few_other_keys())


_OTHER_KEYS = {int, float, bool, type(None)}
"""And no times, whose comparison is Python code."""


def _few_other_keys() -> Callable[[list[tuple[Any, Any]]], dict[Any, Any]]:
    """Make maps with keys that are text, bytes or, ``MAX_OTHER_KEYS`` in all, numbers, booleans or nil."""
    left = MAX_OTHER_KEYS

    def make(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        nonlocal left
        for key, _ in pairs:
            kind = type(key)
            if kind is str or kind is bytes:
                continue
            if kind not in _OTHER_KEYS:
                raise ValueError(f"a key of a map is a {kind.__name__}")
            left -= 1
            if left < 0:
                raise ValueError(f"more than {MAX_OTHER_KEYS} keys of maps are neither text nor bytes")
        return dict(pairs)

    return make


ENCODINGS: dict[str, Encoding] = {
    encoding.name: encoding
    for encoding in (
        Encoding("bytes", _as_bytes, lambda payload: payload),
        Encoding("utf-8", _text, lambda payload: payload.decode()),
        Encoding("json", _given_back(_to_json, _from_json), _from_json),
        Encoding("msgpack", _given_back(msgpack.packb, _from_msgpack), _from_msgpack),
    )
}


def encoding(name: str) -> Encoding:
    """The encoding called ``name``; :class:`InvalidValueError` lists the known ones."""
    try:
        return ENCODINGS[name]
    except (KeyError, TypeError):
        raise InvalidValueError(f"unknown encoding {name!r}; known are {', '.join(ENCODINGS)}") from None


def encode_payloads(values: Iterable[Any], chosen: Encoding) -> list[bytes]:
    """``values`` as payload bytes; :class:`EncodingError` says what does not fit.  O(n)."""
    if not isinstance(values, list | tuple):
        values = list(values)  # what it raises itself is no matter of the encoding
    try:
        return list(map(chosen.encode, values))
    except (*DECODE_ERRORS, BufferError) as error:  # a memoryview with gaps
        raise EncodingError(f"payload does not fit the encoding {chosen.name}: {error}") from error
