"""Bodies: what is written is read, what is hostile is malformed."""

from __future__ import annotations

import tracemalloc

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError, MalformedBodyError, PayloadTooLargeError
from gossiplog.limits import MAX_BODY_BYTES, MAX_SEQ
from gossiplog.log.body import Body, Reference, decode_body, encode_bodies, encode_body

NOW = 1_700_000_000_000
REFERENCE = Reference(b"\1" * 32, 7, b"\2" * 16)

references = st.builds(
    Reference,
    st.binary(min_size=32, max_size=32),
    st.integers(1, MAX_SEQ),
    st.binary(min_size=16, max_size=16),
)
timestamps = st.integers(0, 2**53 - 1)


class Bytes(bytes):
    """What some callers pass instead of bytes."""


class Encoding(SynchronousTestCase):
    @settings(derandomize=True)
    @given(timestamps, st.binary(max_size=300), st.lists(references, max_size=64))
    def test_round_trip(self, timestamp_ms: int, payload: bytes, after: list[Reference]) -> None:
        body = encode_body(timestamp_ms, payload, after)
        self.assertEqual(decode_body(body), Body(timestamp_ms, payload, tuple(after)))

    @settings(derandomize=True)
    @given(timestamps, st.lists(st.binary(max_size=300)))
    def test_many_are_the_same_as_one_by_one(self, timestamp_ms: int, payloads: list[bytes]) -> None:
        expected = [encode_body(timestamp_ms, payload) for payload in payloads]
        self.assertEqual(encode_bodies(timestamp_ms, payloads), expected)

    def test_the_largest(self) -> None:
        room = MAX_BODY_BYTES - len(encode_body(NOW, b"")) - 3
        largest = b"x" * room
        self.assertEqual(len(encode_body(NOW, largest)), MAX_BODY_BYTES)
        self.assertEqual(encode_bodies(NOW, [largest]), [encode_body(NOW, largest)])
        self.assertEqual(decode_body(encode_body(NOW, largest)).payload, largest)
        self.assertRaises(PayloadTooLargeError, encode_body, NOW, largest + b"x")
        self.assertRaises(PayloadTooLargeError, encode_bodies, NOW, [b"", largest + b"x"])
        self.assertRaises(PayloadTooLargeError, encode_body, NOW, largest, [REFERENCE])

    def test_timestamps(self) -> None:
        for timestamp_ms in (0, 2**53 - 1):
            self.assertEqual(decode_body(encode_body(timestamp_ms, b"")).timestamp_ms, timestamp_ms)
        for wrong in (-1, 2**53, True, 1.0, "1", None):
            self.assertRaises(InvalidValueError, encode_body, wrong, b"")
            self.assertRaises(InvalidValueError, encode_bodies, wrong, [b""])

    def test_payloads(self) -> None:
        for wrong in ("text", bytearray(b"x"), memoryview(b"x"), Bytes(b"x"), None, 5):
            self.assertRaises(InvalidValueError, encode_body, NOW, wrong)
            self.assertRaises(InvalidValueError, encode_bodies, NOW, [b"fine", wrong])

    def test_references(self) -> None:
        encode_body(NOW, b"", [REFERENCE] * 64)
        self.assertRaises(InvalidValueError, encode_body, NOW, b"", [REFERENCE] * 65)
        for wrong in (
            tuple(REFERENCE),
            REFERENCE._replace(author=b"\1" * 31),
            REFERENCE._replace(author=None),
            REFERENCE._replace(seq=0),
            REFERENCE._replace(seq=MAX_SEQ + 1),
            REFERENCE._replace(seq=True),
            REFERENCE._replace(id16=b"\2" * 32),
            None,
        ):
            self.assertRaises(InvalidValueError, encode_body, NOW, b"", [wrong])


class Decoding(SynchronousTestCase):
    @settings(derandomize=True)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, noise: bytes) -> None:
        for body in (
            noise,
            b"\x92\x01" + noise,
            b"\x93\x01\xc4\x00" + noise,
            b"\x94\x01\xc4\x00\x90" + noise,
        ):
            try:
                found = decode_body(body)
            except MalformedBodyError:
                continue
            self.assertIsInstance(found, Body)

    def test_cut_anywhere(self) -> None:
        body = encode_body(NOW, b"payload", [REFERENCE])
        for end in range(len(body)):
            self.assertRaises(MalformedBodyError, decode_body, body[:end])
        self.assertRaises(MalformedBodyError, decode_body, body + b"\0")

    def test_not_bytes(self) -> None:
        for wrong in (None, "text", bytearray(b"\x92\x01\xc4\x00"), Bytes(b"\x92\x01\xc4\x00"), [1, b""]):
            self.assertRaises(MalformedBodyError, decode_body, wrong)
        self.assertRaises(MalformedBodyError, decode_body, b"\x92\x01\xc6\x00\x10\x00\x00" + bytes(2**20))

    def test_whatever_follows_after_is_ignored(self) -> None:
        for further in (
            {"a": {1: None}},
            [[1.5]] * 500,
            "é",
            -5,
            msgpack.ExtType(9, b"x" * 50),
            "x" * 70_000,
        ):
            self.assertEqual(decode_body(msgpack.packb([5, b"a", [], further])), Body(5, b"a"))
        self.assertEqual(
            decode_body(msgpack.packb([5, b"a", [REFERENCE]] + [None] * 70_000)).after, (REFERENCE,)
        )

    def test_reserved_authors_are_skipped(self) -> None:
        for author in (b"", b"\1" * 31, b"\1" * 33, b"\1" * 64):
            body = msgpack.packb([5, b"a", [[author, 1, bytes(16)], REFERENCE]])
            self.assertEqual(decode_body(body).after, (REFERENCE,))

    def test_nested_arrays_take_little_memory(self) -> None:
        widest = b"\xdd\x00\x00\x00\x40" * 100_000
        for start in (
            b"",
            b"\x92",
            b"\x92\x01",
            b"\x93\x01\xc4\x00",
            b"\x94\x01\xc4\x00\x90",
            b"\xdd\xff\xff\xff\xff",
        ):
            for bomb in (
                widest,
                b"\xdd\x00\x0f\xff\xff" * 100_000,
                b"\x91" * 500_000,
                b"\xdf\x00\x0f\xff\xff" * 1000,
            ):
                tracemalloc.start()
                self.assertRaises(MalformedBodyError, decode_body, start + bomb)
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                self.assertLess(peak, 4 * 2**20)
