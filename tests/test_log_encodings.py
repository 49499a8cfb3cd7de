"""Ring 3: payload encodings give back what they took, refuse what they cannot, and are slowed down by nobody."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import msgpack
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import EncodingError
from gossiplog.limits import MAX_OTHER_KEYS
from gossiplog.log.encodings import DECODE_ERRORS, ENCODINGS, encode_payloads
from tests.collisions import payload, times

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text()
    | st.binary()
    | st.characters(codec=None, categories=["Cs"])
    | st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9 - 1))
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary())
)
KEYS = (
    st.text() | st.integers() | st.none() | st.booleans() | st.floats() | st.tuples(st.integers(), st.text())
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(KEYS, inner)
        | st.tuples(inner, inner)
        | st.sets(st.integers())
        | st.builds(bytearray, st.binary())
        | st.builds(
            lambda content, step: memoryview(content)[::step], st.binary(), st.sampled_from((1, 2, -1))
        )
    ),
    max_leaves=10,
)


def encoded(value: Any, encoding: str) -> bytes:
    """One payload."""
    [made] = encode_payloads([value], ENCODINGS[encoding])
    return made


class RoundTripTests(SynchronousTestCase):
    """What can be appended is read as it was."""

    @given(VALUES)
    def test_given_back_or_refused(self, value: object) -> None:
        """Of any value, in each encoding."""
        for encoding in ENCODINGS.values():
            try:
                made = encoded(value, encoding.name)
            except EncodingError:
                continue
            assert type(made) is bytes
            assert encoding.decode(made) == value

    def test_what_changes_is_refused(self) -> None:
        """An append cannot be taken back."""
        for encoding, value in (
            ("json", {1: "a", "1": "b"}),
            ("json", {None: 1}),
            ("json", {True: 1}),
            ("json", {1.5: 1}),
            ("json", (1, 2)),
            ("json", {"deep": [{"deeper": (1,)}]}),
            ("json", float("nan")),
            ("json", float("inf")),
            ("json", "\ud800"),
            ("json", 10**5000),
            ("msgpack", {(1, 2): "t"}),
            ("msgpack", (1, 2)),
            ("msgpack", [float("nan")]),
            ("msgpack", "\ud800"),
            ("msgpack", 2**64),
            ("msgpack", dict.fromkeys(range(MAX_OTHER_KEYS + 1))),
            ("msgpack", {msgpack.Timestamp(1): 1}),
            ("msgpack", memoryview(b"abcd")[::2]),
            ("utf-8", "\ud800"),
            ("utf-8", b"text"),
            ("bytes", "text"),
            ("bytes", memoryview(b"\1\2\3\4").cast("i")),
        ):
            with self.subTest(encoding=encoding, kind=type(value)):
                error = self.assertRaises(EncodingError, encoded, value, encoding)
                self.assertIn(encoding, str(error))

    def test_what_is_taken(self) -> None:
        """Nothing is refused that comes back."""
        for encoding, value in (
            ("json", {"a": [1, 2.5, None, True, "\u2028é"]}),
            ("json", -0.0),
            ("json", [1.7976931348623157e308, 5e-324]),
            ("msgpack", {1: "a", "1": "b", b"1": None, 2.5: 3}),
            ("msgpack", dict.fromkeys(range(MAX_OTHER_KEYS))),
            ("msgpack", float("inf")),
            ("msgpack", bytearray(b"x")),
            ("bytes", bytearray(b"x")),
            ("bytes", memoryview(b"abcd")[::2]),
        ):
            self.assertEqual(ENCODINGS[encoding].decode(encoded(value, encoding)), value)


class ForeignTests(SynchronousTestCase):
    """What others wrote is what the standard says, or malformed."""

    def test_no_json(self) -> None:
        """RFC 8259 knows UTF-8 and finite numbers."""
        for made in (
            b"NaN",
            b"[Infinity]",
            b"-Infinity",
            b"1e999",
            b'{"a": [-1e400]}',
            b"9" * 400 + b".0",
            '{"a": 1}'.encode("utf-16"),
            "[1]".encode("utf-16-le"),
            "[1]".encode("utf-32"),
            b"\xef\xbb\xbf1",
            b'"\xed\xa0\x80"',
            b'"\xc0\xaf"',
            b"[1,]",
            b"'a'",
            b"",
            b"[" * 100_000,
            b"1" * 5000,
        ):
            with self.subTest(made=made[:20]):
                self.assertRaises(DECODE_ERRORS, ENCODINGS["json"].decode, made)

    def test_the_same_json_as_ever(self) -> None:
        """With space around it or without, whole and broken."""
        decoder = json.JSONDecoder(parse_constant=lambda name: int(name))
        texts = [
            "1",
            '"a"',
            "[1,2]",
            '{"a":[null,true]}',
            "-0.5e3",
            '{"a":1,"a":2}',
            "",
            "1 2",
            "[1",
            '"a',
            "{}}",
            "nul",
            "NaN",
            "[-Infinity]",
            "\ufeff1",
            "\x0b1",
            "]",
        ]
        for text in [
            before + text + behind
            for text in texts
            for before in ("", " ", "\n")
            for behind in ("", " ", "\t\n", "x")
        ]:
            try:
                wanted: Any = decoder.decode(text)
            except ValueError:
                wanted = ValueError
            try:
                found: Any = ENCODINGS["json"].decode(text.encode())
            except DECODE_ERRORS as error:
                self.assertIsInstance(error, ValueError)
                found = ValueError
            self.assertEqual((type(found), found), (type(wanted), wanted), text)

    def test_json(self) -> None:
        """Everything else is read, escapes of half a character too."""
        for made in (b' {"a": [1e3, -0, "\\ud800", "\\u0000"]}\r\n', b'"\xf0\x9f\x98\x80"', b'{"a":1,"a":2}'):
            self.assertEqual(ENCODINGS["json"].decode(made), json.loads(made))

    @given(st.binary())
    def test_any_bytes(self, made: bytes) -> None:
        """A value or one of the errors that mean malformed."""
        for encoding in ENCODINGS.values():
            try:
                encoding.decode(made)
            except DECODE_ERRORS:
                pass


class WorkTests(SynchronousTestCase):
    """What a payload may cost its readers; ``python -m tests.audit payloads`` has the time."""

    def test_keys_of_one_hash(self) -> None:
        """Times, which anybody can make collide, are no keys; none is compared with another."""
        more = times(1000)
        self.assertEqual(len({hash(time) for time in more}), 1)
        with patch.object(msgpack.Timestamp, "__eq__", side_effect=AssertionError("compared")):
            self.assertRaises(DECODE_ERRORS, ENCODINGS["msgpack"].decode, payload(more))

    def test_keys_in_all_maps(self) -> None:
        """Numbers are counted over the whole payload."""
        half = dict.fromkeys(range(MAX_OTHER_KEYS // 2))
        self.assertEqual(ENCODINGS["msgpack"].decode(msgpack.packb([half, half])), [half, half])
        self.assertRaises(DECODE_ERRORS, ENCODINGS["msgpack"].decode, msgpack.packb([half, half, {1: 1}]))

    def test_keys_of_text_are_not_counted(self) -> None:
        """Their hashes have a secret in them."""
        large = {str(number): number for number in range(5 * MAX_OTHER_KEYS)}
        self.assertEqual(ENCODINGS["msgpack"].decode(msgpack.packb(large)), large)
        self.assertEqual(ENCODINGS["msgpack"].decode(msgpack.packb({**large, 1: 1})), {**large, 1: 1})
