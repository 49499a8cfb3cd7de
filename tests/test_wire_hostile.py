"""Ring 3: whatever a peer sends as a frame, only MalformedMessageError comes out, and soon."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode, MalformedMessageError
from gossiplog.gossip.messages import (
    RESERVED,
    Bye,
    Have,
    HaveItem,
    Hello,
    Item,
    Lazy,
    Ping,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.wire.codec import decode

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))
ID, SIGNATURE, CHECK = bytes(32), bytes(64), bytes(8)
ODD_AUTHORS = [b"", b"x", bytes(31), bytes(33), bytes(64), bytes(1000)]
TOP = limits.MAX_SEQ
U64 = 2**64 - 1

HERE = [bytes(4), 4000]

VALID: dict[str, list[Any]] = {
    "hello": [0, 1, 1, ["a"], "agent", bytes(16), 0, [A], bytes(16)],
    "ranges": [
        1,
        0,
        False,
        [[A, 0, None], [B, 1, bytes(16)], [C, 2, [[B, 1, CHECK]]], [b"", 3, [[C, 0, CHECK]]]],
    ],
    "want": [2, [[A, 1, False], [None, TOP, True]]],
    "lazy": [3, [A, None]],
    "refuse": [4, [A, None]],
    "segment": [5, A, 1, 1, ID, SIGNATURE, b"\xc4\0"],
    "have": [6, [[0, 1, A], [0, 2]]],
    "fill": [7, A, [[1, 1], [2, TOP]]],
    "fork": [8, A, 1, ID, SIGNATURE, [2, 0, ID, SIGNATURE, b""]],
    "peers": [9, [[A, 7, [[bytes(4), 4000], [bytes(16), 443]]]], [bytes(4), 1]],
    "ping": [10, 0, bytes(16)],
    "pong": [11, U64, b""],
    "bye": [12, 0, "reason"],
}


def ranges(*parts: list[Any]) -> list[Any]:
    """Return the document of a RANGES."""
    return [1, 0, False, list(parts)]


def items(count: int) -> list[list[Any]]:
    """Return so many ascending items."""
    return [[n.to_bytes(32, "big"), 1, CHECK] for n in range(count)]


def bounds(count: int) -> list[list[Any]]:
    """Return so many adjacent ranges."""
    return [[n.to_bytes(3, "big"), 0, None] for n in range(1, count + 1)]


def put(document: list[Any], path: tuple[int, ...], value: Any) -> list[Any]:
    """Return a copy of a document with another value at a path."""
    copy = list(document)
    copy[path[0]] = value if len(path) == 1 else put(copy[path[0]], path[1:], value)
    return copy


def scalars(document: list[Any], path: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Any]]:
    """Return every scalar of a document with its path."""
    found = []
    for index, value in enumerate(document):
        here = (*path, index)
        found += scalars(value, here) if isinstance(value, list) else [(here, value)]
    return found


LIMITS: list[tuple[str, list[Any], list[Any]]] = [
    ("version", put(VALID["hello"], (2,), 65_535), put(VALID["hello"], (2,), 65_536)),
    ("low above high", put(VALID["hello"], (2,), 1), put(VALID["hello"], (1,), 2)),
    *(
        (f"hello {index}", put(VALID["hello"], (index,), most), put(VALID["hello"], (index,), more))
        for index, most, more in [
            (3, ["f"] * limits.MAX_FEATURES, ["f"] * (limits.MAX_FEATURES + 1)),
            (3, ["f" * 256], ["f" * 257]),
            (4, "ä" * 128, "ä" * 128 + "x"),
            (5, bytes(16), bytes(15)),
            (5, bytes(16), bytes(17)),
            (6, 1, 2),
            (7, [A] * limits.MAX_EXCEPTIONS, [A] * (limits.MAX_EXCEPTIONS + 1)),
            (8, b"", bytes(17)),
        ]
    ),
    ("exchange", [1, U64, True, []], [1, -1, True, []]),
    ("ranges", ranges(*bounds(limits.MAX_RANGES)), ranges(*bounds(limits.MAX_RANGES + 1))),
    (
        "items",
        ranges([b"", 2, items(limits.MAX_LIST_ITEMS)]),
        ranges([b"", 2, items(limits.MAX_LIST_ITEMS + 1)]),
    ),
    (
        "items of all lists",
        ranges([b"\xff", 2, items(limits.MAX_LIST_ITEMS - 1)], [b"", 3, [[b"\xff" * 32, 1, CHECK]]]),
        ranges([b"\xff", 2, items(limits.MAX_LIST_ITEMS)], [b"", 3, [[b"\xff" * 32, 1, CHECK]]]),
    ),
    (
        "items of all lists, left out",
        ranges([b"\xff", 2, [[b"", 1]] * (limits.MAX_LIST_ITEMS - 1)], [b"", 3, [[b""]]]),
        ranges([b"\xff", 2, [[b"", 1]] * limits.MAX_LIST_ITEMS], [b"", 3, [[b""]]]),
    ),
    ("kind without a value", ranges([b"", 0, None]), ranges([b"", 4, None])),
    ("bound", ranges([bytes(32), 0, None]), ranges([bytes(33), 0, None])),
    ("kind", ranges([b"", 3, []]), ranges([b"", 4, []])),
    ("fingerprint", ranges([b"", 1, bytes(16)]), ranges([b"", 1, bytes(17)])),
    ("check", ranges([b"", 2, [[A, 1, bytes(8)]]]), ranges([b"", 2, [[A, 1, bytes(9)]]])),
    ("item seq", ranges([b"", 2, [[A, TOP, CHECK]]]), ranges([b"", 2, [[A, TOP + 1, CHECK]]])),
    ("item seq below", ranges([b"", 2, [[A, 0, CHECK]]]), ranges([b"", 2, [[A, -1, CHECK]]])),
    ("ascending bounds", ranges([A, 0, None], [B, 0, None]), ranges([A, 0, None], [A, 0, None])),
    ("descending bounds", ranges([A, 0, None], [b"", 0, None]), ranges([B, 0, None], [A, 0, None])),
    ("nothing after the end", ranges([b"", 0, None]), ranges([b"", 0, None], [A, 0, None])),
    ("one end", ranges([b"", 0, None]), ranges([b"", 0, None], [b"", 0, None])),
    (
        "ascending items",
        ranges([b"", 2, [[A, 1, CHECK], [B, 1, CHECK]]]),
        ranges([b"", 2, [[A, 1, CHECK], [A, 1, CHECK]]]),
    ),
    ("items inside, above", ranges([B, 2, [[A, 1, CHECK]]]), ranges([B, 2, [[B, 1, CHECK]]])),
    (
        "items inside, below",
        ranges([B, 0, None], [C, 2, [[B, 1, CHECK]]]),
        ranges([B, 0, None], [C, 2, [[A, 1, CHECK]]]),
    ),
    ("wants", [2, [[A, 1, True]] * limits.MAX_WANT_ITEMS], [2, [[A, 1, True]] * (limits.MAX_WANT_ITEMS + 1)]),
    ("want first", [2, [[A, TOP, True]]], [2, [[A, TOP + 1, True]]]),
    ("want first below", [2, [[A, 1, True]]], [2, [[A, 0, True]]]),
    ("lazy", [3, [A] * limits.MAX_WANT_ITEMS], [3, [A] * (limits.MAX_WANT_ITEMS + 1)]),
    ("refuse", [4, [None] * limits.MAX_WANT_ITEMS], [4, [None] * (limits.MAX_WANT_ITEMS + 1)]),
    ("segment count", [5, A, 1, 4096, ID, SIGNATURE, b""], [5, A, 1, 4097, ID, SIGNATURE, b""]),
    ("segment first", [5, A, TOP, 1, ID, SIGNATURE, b""], [5, A, TOP, 2, ID, SIGNATURE, b""]),
    ("segment head", [5, A, TOP + 1, 0, ID, SIGNATURE, b""], [5, A, TOP + 2, 0, ID, SIGNATURE, b""]),
    ("segment first below", [5, A, 1, 1, ID, SIGNATURE, b""], [5, A, 0, 1, ID, SIGNATURE, b""]),
    ("segment first of many", [5, A, 1, 2, ID, SIGNATURE, b""], [5, A, 0, 2, ID, SIGNATURE, b""]),
    ("segment count below", [5, A, 5, 0, ID, SIGNATURE, b""], [5, A, 5, -1, ID, SIGNATURE, b""]),
    ("segment last below", [5, A, 2, 0, ID, SIGNATURE, b""], [5, A, 1, 0, ID, SIGNATURE, b""]),
    ("segment previous", VALID["segment"], [5, A, 1, 1, bytes(31), SIGNATURE, b""]),
    ("segment signature", VALID["segment"], [5, A, 1, 1, ID, bytes(63), b""]),
    ("haves", [6, [[0, 1]] * limits.MAX_HAVE_ITEMS], [6, [[0, 1]] * (limits.MAX_HAVE_ITEMS + 1)]),
    ("have seq", [6, [[0, TOP]]], [6, [[0, TOP + 1]]]),
    ("have handle", [6, [[0, 0]]], [6, [[-1, 0]]]),
    ("have handle above", [6, [[U64, 0]]], [6, [[U64, 0, A, 0]]]),
    (
        "fill ranges",
        [7, A, [[1, 1]] * limits.MAX_FILL_RANGES],
        [7, A, [[1, 1]] * (limits.MAX_FILL_RANGES + 1)],
    ),
    ("fill order", [7, A, [[2, 2]]], [7, A, [[2, 1]]]),
    ("fill first", [7, A, [[1, 2]]], [7, A, [[0, 2]]]),
    ("fill last", [7, A, [[1, TOP]]], [7, A, [[1, TOP + 1]]]),
    ("fork seq", put(VALID["fork"], (2,), TOP), put(VALID["fork"], (2,), TOP + 1)),
    ("fork seq below", VALID["fork"], put(VALID["fork"], (2,), 0)),
    ("fork segment", VALID["fork"], put(VALID["fork"], (5,), [2, 0, ID, SIGNATURE])),
    ("fork segment longer", VALID["fork"], put(VALID["fork"], (5,), [2, 0, ID, SIGNATURE, b"", 1])),
    ("peers", [9, [[A, 0, []]] * limits.MAX_PEERS, None], [9, [[A, 0, []]] * (limits.MAX_PEERS + 1), None]),
    ("contact", [9, [[A, 0, []]], None], [9, [[A, 0]], None]),
    ("contact longer", [9, [[A, 0, []]], None], [9, [[A, 0, [], 1]], None]),
    ("age", [9, [[A, U64, []]], None], [9, [[A, -1, []]], None]),
    (
        "addresses",
        [9, [[A, 0, [HERE] * limits.MAX_CONTACT_ADDRESSES]], None],
        [9, [[A, 0, [HERE] * (limits.MAX_CONTACT_ADDRESSES + 1)]], None],
    ),
    ("port", [9, [], [bytes(4), 65_535]], [9, [], [bytes(4), 65_536]]),
    ("port below", [9, [], [bytes(4), 1]], [9, [], [bytes(4), 0]]),
    ("address of a text", [9, [], HERE], [9, [], ["127.0.0.1", 1]]),
    ("address longer", [9, [], HERE], [9, [], [bytes(4), 1, 1]]),
    ("no address", [9, [], None], [9, [], True]),
    ("token", [10, U64, b""], [10, -1, b""]),
    ("root", [10, 0, bytes(16)], [10, 0, bytes(15)]),
    ("bye code", [12, limits.MAX_CODE, ""], [12, limits.MAX_CODE + 1, ""]),
    ("bye reason", [12, 0, "r" * 256], [12, 0, "r" * 257]),
    ("elements", [12, 0, "", *[0] * 61], [12, 0, "", *[0] * 62]),
    ("type", [64], [63]),
]

GARBAGE = [
    b"",
    b"\xc1",
    b"\x80",
    b"\xc0",
    b"\x05",
    b"\x90",
    b"\x91",
    b"\x91\xc0",
    b"\x91\xa1\x0c",
    b"\x91\x0d",
    b"\x91\x3f",
    b"\x91\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff\x0a",
    b"\x93\x09\xdd\xff\xff\xff\xff",
    b"\x93\x09\xdc\xff\xff",
    b"\x93\x0c\x00\xdb\xff\xff\xff\xff",
    b"\x93\x0a\x00\xc6\xff\xff\xff\xff",
    b"\x93\x0a\x00\xc7\x00\xff",
    b"\x93\x0a\x00\xd6\xff\0\0\0\0",
    b"\x93\x0c\x00\xa1\xff",
    b"\x93\x0c\x00\xa2\xc0\x80",
    b"\x93\x0c\x00\xa3\xed\xa0\x80",
    b"\xc4\x03\x93\x0a\x00",
]


class Limits(SynchronousTestCase):
    def test_at_the_limit_and_one_beyond(self) -> None:
        for name, allowed, refused in LIMITS:
            decode(msgpack.packb(allowed))
            with self.assertRaises(MalformedMessageError, msg=name) as caught:
                decode(msgpack.packb(refused))
            self.assertEqual(caught.exception.code, ByeCode.MALFORMED)

    def test_a_frame_of_the_largest_size(self) -> None:
        size = limits.MAX_FRAME_BYTES - 150
        self.assertEqual(len(decode(msgpack.packb([5, A, 1, 1, ID, SIGNATURE, bytes(size)])).bodies), size)


class Types(SynchronousTestCase):
    def test_valid(self) -> None:
        for name, document in VALID.items():
            message = decode(msgpack.packb(document))
            self.assertEqual(type(message).__name__.lower(), name)

    def test_fewer_elements(self) -> None:
        for document in VALID.values():
            for size in range(1, len(document)):
                self.assertRaises(MalformedMessageError, decode, msgpack.packb(document[:size]))

    def test_only_the_exact_type_of_every_scalar(self) -> None:
        others: list[Any] = [True, False, 1.0, 0.0, "s", b"byte", None, {}, [], [[]], {1: 2}]
        others += [-1, msgpack.ExtType(1, b""), msgpack.ExtType(5, b"12"), msgpack.Timestamp(1)]
        for name, document in VALID.items():
            for path, value in scalars(document):
                if name == "ranges" and value is None:
                    kept: list[Any] = [None]
                else:
                    kept = [other for other in others if type(other) is type(value)]
                kept += self.also_allowed(name, path)
                for other in others:
                    if any(type(other) is type(k) and other == k for k in kept):
                        continue
                    with self.assertRaises(MalformedMessageError, msg=f"{name} {path} {other!r}"):
                        decode(msgpack.packb(put(document, path, other)))

    def also_allowed(self, name: str, path: tuple[int, ...]) -> list[Any]:
        """Return what else may stand at a place: nil for all authors, and authors of reserved lengths."""
        if name in ("lazy", "refuse"):
            return [None, b"byte"] if len(path) == 2 else []
        if name == "want" and path[-1] == 0 and len(path) == 3:
            return [None, b"byte"]
        return []

    def test_true_and_floats_are_no_integers(self) -> None:
        for document in (
            [True, 0, ""],
            [12.0, 0, ""],
            [12, True, ""],
            [12, 0.0, ""],
            [10, 1.0, b""],
            [10, False, b""],
        ):
            self.assertRaises(MalformedMessageError, decode, msgpack.packb(document))

    def test_holes_are_booleans(self) -> None:
        for holes in (0, 1, None, "yes"):
            self.assertRaises(MalformedMessageError, decode, msgpack.packb([2, [[A, 1, holes]]]))

    def test_text_is_not_bytes(self) -> None:
        self.assertRaises(MalformedMessageError, decode, msgpack.packb([12, 0, b"reason"]))
        self.assertRaises(MalformedMessageError, decode, msgpack.packb([10, 0, "x" * 16]))
        self.assertRaises(MalformedMessageError, decode, msgpack.packb([3, ["a" * 32]]))

    def test_longer_than_minimal_is_tolerated_in_envelopes(self) -> None:
        self.assertEqual(decode(bytes.fromhex("dd00000003 cf000000000000000c cd0001 d90161")), Bye(1, "a"))
        self.assertEqual(decode(bytes.fromhex("dc0003 d3000000000000000a cc07 c600000000")), Ping(7))


LEFT_OUT: dict[str, list[Any]] = {"want": [0], "pong": [False]}
"""Elements that may be left out, as if they said this."""


class Growing(SynchronousTestCase):
    def test_unknown_types(self) -> None:
        for number in (64, 65, 127, 128, 65_536, U64):
            for rest in ([], [1], [{"a": [1, 2.5]}, "x" * 300, msgpack.ExtType(9, bytes(50)), [[[[]]]]]):
                self.assertEqual(decode(msgpack.packb([number, *rest])), Unknown(number))
        for number in range(13, 64):
            self.assertRaises(MalformedMessageError, decode, msgpack.packb([number, 1, 2]))
        self.assertRaises(MalformedMessageError, decode, msgpack.packb([-1]))

    def test_unknown_types_are_msgpack_all_the_same(self) -> None:
        for bad in (b"\x92\x40", b"\x92\x40\xc1", b"\x91\x40\x00", b"\x92\x40\xc4\x05abc"):
            self.assertRaises(MalformedMessageError, decode, bad)

    def test_trailing_elements(self) -> None:
        rest = [
            1,
            None,
            {"map": {1: [2]}},
            "long " * 100,
            msgpack.ExtType(3, bytes(99)),
            list(range(20_000)),
            1.5,
        ]
        for name, document in VALID.items():
            known = [*document, *LEFT_OUT.get(name, [])]
            self.assertEqual(decode(msgpack.packb(known + rest)), decode(msgpack.packb(document)))

    def test_trailing_elements_are_msgpack_all_the_same(self) -> None:
        for document in VALID.values():
            frame = msgpack.packb([*document, 0])
            self.assertRaises(MalformedMessageError, decode, frame[:-1])
            self.assertRaises(MalformedMessageError, decode, frame[:-1] + b"\xc1")

    def test_authors_of_reserved_lengths_are_left_out_of_lists(self) -> None:
        for odd in ODD_AUTHORS:
            hello = decode(msgpack.packb([0, 1, 1, [], "", bytes(16), 1, [odd, A, odd], b""]))
            assert isinstance(hello, Hello)
            self.assertEqual((hello.exceptions, hello.reserved), ((A,), 2))
            for other in ([odd, "any", None], [odd], [odd, {"a": [[1.5]]}, "x" * 999, 4, 5, 6, 7, 8]):
                part = [b"", 2, [other, [A, 1, CHECK], other]]
                expected = Range(b"", RangeKind.LIST, items=(Item(A, 1, CHECK),))
                self.assertEqual(decode(msgpack.packb(ranges(part))), Ranges(0, (expected,)))
                want = [2, [other, [A, 1, True]]]
                self.assertEqual(decode(msgpack.packb(want)), Want((WantItem(A, 1, True),)))
            self.assertEqual(decode(msgpack.packb([3, [odd, None, A]])), Lazy((None, A), 1))
            self.assertEqual(decode(msgpack.packb([4, [odd, None, A]])), Refuse((None, A), 1))
            have = [6, [[0, 1, odd, [], {}, 6, 7, 8], [1, 1, A], [1, 2]]]
            expected_items = HaveItem(0, 1, RESERVED), HaveItem(1, 1, A), HaveItem(1, 2)
            self.assertEqual(decode(msgpack.packb(have)), Have(expected_items))

    def test_items_of_authors_of_reserved_lengths_are_short(self) -> None:
        for item in ([bytes(31), *range(limits.MAX_ITEM_ELEMENTS)], []):
            for document in (ranges([b"", 2, [item]]), [2, [item]]):
                self.assertRaises(MalformedMessageError, decode, msgpack.packb(document))
        for item in ([0, 1, bytes(31), *range(limits.MAX_ITEM_ELEMENTS - 2)], [0]):
            self.assertRaises(MalformedMessageError, decode, msgpack.packb([6, [item]]))

    def test_items_of_other_authors_are_exact(self) -> None:
        for document in (
            ranges([b"", 2, [[A, 1]]]),
            ranges([b"", 2, [[A, 1, CHECK, 0]]]),
            ranges([b"", 2, [[None, 1, CHECK]]]),
            [2, [[A, 1]]],
            [2, [[A, 1, True, 0]]],
            [2, [[None, 1, True, 0]]],
            [6, [[0, 1, A, 0]]],
            [6, [[0, 1, None]]],
        ):
            self.assertRaises(MalformedMessageError, decode, msgpack.packb(document))

    def test_messages_about_such_an_author_are_unknown(self) -> None:
        for odd in ODD_AUTHORS:
            for name in ("segment", "fill", "fork"):
                document = put(VALID[name], (1,), odd)
                # Nothing is known of their other elements, so nothing is demanded of them.
                strange = [document[0], odd, *["?" * 300 for _ in document[2:]], {}]
                for frame in map(msgpack.packb, (document, strange, document[:2], document[:3])):
                    self.assertEqual(decode(frame), Unknown(document[0], len(frame) // 1024))

    def test_what_is_passed_over_is_nested_no_deeper_than_said(self) -> None:
        starts = {
            "another type": b"\x92\x40",
            "an element more": b"\x94\x0a\x01\xc4\x00",
            "a segment": b"\x93\x05\xc4\x00",
            "an item of RANGES": b"\x94\x01\x00\xc2\x91\x93\xc4\x00\x02\x91\x92\xc4\x00",
            "an item of WANT": b"\x92\x02\x91\x92\xc4\x00",
            "an item of HAVE": b"\x92\x06\x91\x94\x00\x00\xc4\x00",
        }
        for name, start in starts.items():
            for inner in (b"\x91", b"\x81\x00", b"\xdd\x00\x00\x00\x01"):
                decode(start + inner * limits.MAX_NESTING + b"\xc0")
                with self.assertRaises(MalformedMessageError, msg=name):
                    decode(start + inner * (limits.MAX_NESTING + 1) + b"\xc0")

    def test_of_reserved_length_is_not_of_another_type(self) -> None:
        for name in ("segment", "fill", "fork"):
            self.assertRaises(MalformedMessageError, decode, msgpack.packb(put(VALID[name], (1,), "x" * 31)))


class UsualSegments(SynchronousTestCase):
    """A SEGMENT in its usual form is read in another way, with the same outcome."""

    def test_same_outcome(self) -> None:
        documents = [
            VALID["segment"],
            *(allowed for name, allowed, _ in LIMITS if name.startswith("segment")),
        ]
        documents += [refused for name, _, refused in LIMITS if name.startswith("segment")]
        documents += [put(VALID["segment"], (1,), odd) for odd in ODD_AUTHORS]
        documents += [
            put(VALID["segment"], (index,), other)
            for index in range(1, 7)
            for other in (True, 1.0, None, "s", b"", [1], {}, [[]] * 8, -1, U64, "s" * 257)
        ]
        for document in documents:
            frame = msgpack.packb(document)
            self.assertEqual(frame[0], 0x97)
            self.assertEqual(self.outcome(frame), self.outcome(b"\xdc\0\x07" + frame[1:]), document)
        for frame in (b"\x97\x05", b"\x97\x05" + b"\x97" * 5000, msgpack.packb(VALID["segment"])[:-1]):
            self.assertEqual(self.outcome(frame), self.outcome(b"\xdc\0\x07" + frame[1:]))

    def test_every_flipped_byte(self) -> None:
        frame = bytearray(msgpack.packb([5, A, 300, 2, ID, SIGNATURE, b"\xc4\1a\xc4\1b"]))
        for index in range(2, len(frame)):
            for bit in range(8):
                frame[index] ^= 1 << bit
                other = b"\xdc\0\x07" + bytes(frame[1:])
                self.assertEqual(self.outcome(bytes(frame)), self.outcome(other), index)
                frame[index] ^= 1 << bit

    def outcome(self, frame: bytes) -> Any:
        try:
            return decode(frame)
        except MalformedMessageError:
            return MalformedMessageError


class InnerArrays(SynchronousTestCase):
    def test_an_element_belongs_to_its_own_array(self) -> None:
        """What the array inside a FORK has too much is not the element that the outer one lacks."""
        outer = msgpack.packb(VALID["fork"])
        inner = msgpack.packb(VALID["fork"][-1])
        self.assertTrue(outer.endswith(inner))
        shifted = b"\x97" + outer[1 : -len(inner)] + b"\x96" + inner[1:] + b"\xc0"
        self.assertRaises(MalformedMessageError, decode, shifted)


class Garbage(SynchronousTestCase):
    def test_known(self) -> None:
        for frame in GARBAGE:
            with self.assertRaises(MalformedMessageError, msg=frame.hex()):
                decode(frame)

    @settings(derandomize=True, deadline=None, max_examples=500, database=None)
    @given(st.binary(max_size=200))
    def test_random(self, frame: bytes) -> None:
        self.survive(frame)

    @settings(derandomize=True, deadline=None, max_examples=1000, database=None)
    @given(st.integers(0, 70), st.binary(max_size=120), st.integers(1, 15))
    def test_random_after_a_type(self, number: int, rest: bytes, elements: int) -> None:
        self.survive(bytes([0x90 | elements]) + msgpack.packb(number) + rest)

    @settings(derandomize=True, deadline=None, max_examples=200, database=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), U64)
            | st.floats()
            | st.text(max_size=9)
            | st.binary(),
            lambda inner: (
                st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
            ),
            max_leaves=20,
        )
    )
    def test_random_documents(self, document: Any) -> None:
        self.survive(msgpack.packb(document))
        self.survive(msgpack.packb([1, 0, False, document]))

    def test_every_flipped_byte(self) -> None:
        for document in VALID.values():
            frame = bytearray(msgpack.packb(document))
            for index in range(len(frame)):
                for bit in (1, 0x10, 0x80, 0xFF):
                    frame[index] ^= bit
                    self.survive(bytes(frame))
                    frame[index] ^= bit

    def survive(self, frame: bytes) -> None:
        try:
            message = decode(frame)
        except MalformedMessageError:
            return
        self.assertIsInstance(message, tuple)


class Bombs(SynchronousTestCase):
    """A frame costs a small multiple of its size, however it is nested."""

    def cost(self, frame: bytes) -> int:
        """Return the most memory, in bytes, that refusing or skipping a frame took."""
        tracemalloc.start()
        try:
            decode(frame)
        except MalformedMessageError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    def test_nesting(self) -> None:
        for inner in (
            b"\x91",
            b"\x93",
            b"\x9f",
            b"\xdc\x40\x00",
            b"\xdc\xff\xff",
            b"\xdd\x00\x10\x00\x00",
            b"\x81\x00",
        ):
            for start in (
                b"",
                b"\x94\x02",
                b"\x94\x01\x00\xc2",
                b"\x94\x01\x00\xc2\x91\x93\xc4\x00\x02",
                b"\x92\x40",
                b"\x92\x06\x91",
                b"\x93",  # in the place of a type, of a number, of a text, of an author
                b"\x93\x0a",
                b"\x93\x0c\x00",
                b"\x92\x03\x91",
            ):
                frame = start + inner * (65_536 // len(inner))
                self.assertLess(self.cost(frame), len(frame) + 300_000, (inner, start))

    def test_width(self) -> None:
        for number, inner in (
            (1, b"\x90"),
            (2, b"\x90"),
            (64, b"\x90"),
            (6, b"\x93\x90\x90\x90"),
            (3, b"\xc0"),
        ):
            count = limits.MAX_FRAME_BYTES // len(inner) - 8
            frame = b"\x93" + bytes([number]) + b"\xdd" + count.to_bytes(4, "big") + inner * count + b"\x00"
            self.assertLess(self.cost(frame), len(frame) + 300_000, number)

    def test_announced_lengths(self) -> None:
        for start in (b"\x93\x0a\x00", b"\x97\x05", b"\x92\x09\x91", b"\x92\x40", b"\x94\x0c\x00\xa0"):
            for header in ("c6ffffffff", "dbffffffff", "ddffffffff", "dfffffffff", "c9ffffffff01"):
                self.assertLess(self.cost(start + bytes.fromhex(header)), 300_000, header)
