"""Segments: building, verifying, cutting and joining."""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from msgpack import ExtType
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import BadSegmentError, BadSignatureError, InvalidValueError, PayloadTooLargeError
from gossiplog.limits import (
    MAX_BODY_BYTES,
    MAX_SEGMENT_BYTES,
    MAX_SEGMENT_ENTRIES,
    MAX_SEQ,
    SEGMENT_TARGET_BYTES,
)
from gossiplog.log import items
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import (
    Head,
    Segment,
    build,
    chain_ids,
    check_shape,
    count_holes,
    drop_payloads,
    entries,
    has_holes,
    id_at,
    merge,
    segment_bytes,
    signed_head,
    split_items,
    tail_after,
    verify,
)

PAIR = Keypair(bytes(32))
START = Head(0, genesis_id(PAIR.author))


def ids_of(bodies: list[bytes]) -> list[bytes]:
    """The rule of the specification, by itself: id(0), id(1), ..."""
    ids = [START.id]
    for body in bodies:
        ids.append(sha256(ids[-1] + sha256(body).digest()).digest())
    return ids


def one(bodies: list[bytes]) -> Segment:
    [segment], _ = build(PAIR, START, bodies)
    return segment


bodies_of_a_log = st.lists(st.binary(max_size=300), min_size=1, max_size=12)
anything = settings(derandomize=True, deadline=None)


class Building(SynchronousTestCase):
    @anything
    @given(bodies_of_a_log)
    def test_what_is_built_verifies(self, bodies: list[bytes]) -> None:
        [segment], head = build(PAIR, START, bodies)
        ids = ids_of(bodies)
        self.assertEqual(head, Head(len(bodies), ids[-1]))
        self.assertEqual(verify(segment), head)
        self.assertEqual(split_items(segment), bodies)
        self.assertEqual(chain_ids(segment), ids[1:])
        self.assertEqual(entries(segment), list(zip(range(1, len(ids)), ids[1:], bodies, strict=True)))
        self.assertEqual([id_at(segment, seq) for seq in range(len(ids))], ids)
        self.assertFalse(has_holes(segment))

    def test_splits_by_count(self) -> None:
        segments, head = build(PAIR, START, [b""] * (2 * MAX_SEGMENT_ENTRIES + 1))
        self.assertEqual(
            [segment.count for segment in segments], [MAX_SEGMENT_ENTRIES, MAX_SEGMENT_ENTRIES, 1]
        )
        self.assertEqual(head.seq, 2 * MAX_SEGMENT_ENTRIES + 1)
        self.assert_one_log(segments, head)

    def test_splits_by_size(self) -> None:
        half = SEGMENT_TARGET_BYTES // 2 - 5
        small, large, largest = b"s" * 100, b"l" * SEGMENT_TARGET_BYTES, b"x" * MAX_BODY_BYTES
        for bodies, counts in (
            ([b"a" * half, b"b" * half], [2]),
            ([b"a" * half, b"b" * (half + 1)], [1, 1]),
            ([b"a" * half, b"b" * half, b""], [2, 1]),
            ([b"a" * (SEGMENT_TARGET_BYTES - 5)], [1]),
            ([small, large, small, small], [1, 1, 2]),
            ([largest, largest], [1, 1]),
            ([small, largest], [1, 1]),
            ([largest, small], [1, 1]),
            ([b"m" * 253] * 600, [514, 86]),
            ([encode_body(2**42, bytes(65_536))] * 4, [2, 2]),
        ):
            segments, head = build(PAIR, START, bodies)
            self.assertEqual([segment.count for segment in segments], counts)
            for segment in segments:
                self.assertTrue(segment.count == 1 or len(segment.bodies) <= SEGMENT_TARGET_BYTES)
            self.assert_one_log(segments, head)
            self.assertEqual([item for segment in segments for item in split_items(segment)], bodies)

    def assert_one_log(self, segments: list[Segment], head: Head) -> None:
        before = START
        for segment in segments:
            self.assertEqual((segment.first, segment.previous), (before.seq + 1, before.id))
            before = verify(segment)
        self.assertEqual(before, head)

    def test_continues_anywhere(self) -> None:
        head = Head(MAX_SEQ - 2, b"\5" * 32)
        [segment], last = build(PAIR, head, [b"a", b"b"])
        self.assertEqual((segment.last, last.seq), (MAX_SEQ, MAX_SEQ))
        self.assertEqual(verify(segment), last)
        self.assertRaises(InvalidValueError, build, PAIR, head, [b"a", b"b", b"c"])
        self.assertRaises(InvalidValueError, build, PAIR, Head(-1, head.id), [b"a", b"b", b"c"])

    def test_what_is_not_built(self) -> None:
        self.assertRaises(InvalidValueError, build, PAIR, START, [])
        for wrong in ("text", bytearray(b"x"), None, ExtType(1, bytes(32)), 5):
            self.assertRaises(InvalidValueError, build, PAIR, START, [b"fine", wrong])
        self.assertRaises(PayloadTooLargeError, build, PAIR, START, [b"fine", bytes(MAX_BODY_BYTES + 1)])

    def test_signed_head(self) -> None:
        head = Head(9, b"\5" * 32)
        segment = signed_head(PAIR, head)
        self.assertEqual((segment.first, segment.count, segment.last), (10, 0, 9))
        self.assertEqual(verify(segment), head)
        self.assertEqual((chain_ids(segment), entries(segment), id_at(segment, 9)), ([], [], head.id))
        self.assertRaises(InvalidValueError, signed_head, PAIR, START)

    def test_size(self) -> None:
        self.assertEqual(segment_bytes(one([b"x" * 100])), 102 + 144)


class CuttingAndJoining(SynchronousTestCase):
    @anything
    @given(bodies_of_a_log, st.data())
    def test_tail_after(self, bodies: list[bytes], data: st.DataObject) -> None:
        segment = one(bodies)
        holes = data.draw(st.sets(st.integers(1, len(bodies))))
        segment = drop_payloads(segment, holes)
        seq = data.draw(st.integers(0, len(bodies)))
        tail = tail_after(segment, seq, id_at(segment, seq))
        self.assertEqual((tail.first, tail.last), (seq + 1, segment.last))
        self.assertEqual(split_items(tail), split_items(segment)[seq:])
        self.assertEqual(entries(tail), entries(segment)[seq:])
        if seq or bodies:
            self.assertEqual(verify(tail), verify(segment))

    @anything
    @given(st.lists(bodies_of_a_log, min_size=1, max_size=5))
    def test_merge(self, batches: list[list[bytes]]) -> None:
        head, segments = START, []
        for batch in batches:
            [segment], head = build(PAIR, head, batch)
            segments.append(segment)
        merged = merge(segments)
        self.assertEqual(verify(merged), head)
        self.assertEqual(merged.bodies, one([body for batch in batches for body in batch]).bodies)
        self.assertEqual(merged.signature, segments[-1].signature)
        again = merged
        for segment in segments[:-1]:
            again = tail_after(again, segment.last, id_at(again, segment.last))
        self.assertEqual(again, segments[-1])

    def test_merging_a_signed_head_moves_nothing(self) -> None:
        segment = one([b"a", b"b"])
        self.assertEqual(merge([segment, signed_head(PAIR, verify(segment))]), segment)

    def test_what_is_not_merged(self) -> None:
        [first], head = build(PAIR, START, [b"a", b"b"])
        [second], last = build(PAIR, head, [b"c"])
        [third], _ = build(PAIR, last, [b"d"])
        self.assertEqual(merge([first]), first)
        for segments in ([], [first, third], [second, first], [first, first]):
            self.assertRaises(InvalidValueError, merge, segments)
        self.assertRaises(
            InvalidValueError, merge, [first, second._replace(author=Keypair.generate().author)]
        )

    def test_merge_keeps_the_limits(self) -> None:
        [most], head = build(PAIR, START, [b""] * (MAX_SEGMENT_ENTRIES - 1))
        [last], end = build(PAIR, head, [b""])
        [more], _ = build(PAIR, end, [b""])
        self.assertEqual(verify(merge([most, last])), end)
        self.assertRaises(InvalidValueError, merge, [most, last, more])
        [full], head = build(PAIR, START, [b"x" * (SEGMENT_TARGET_BYTES - 5)])
        room = MAX_SEGMENT_BYTES - SEGMENT_TARGET_BYTES
        [fits], end = build(PAIR, head, [b"x" * (room - 3)])
        [above], _ = build(PAIR, head, [b"x" * (room - 2)])
        self.assertEqual(verify(merge([full, fits])), end)
        self.assertRaises(InvalidValueError, merge, [full, above])

    def test_outside(self) -> None:
        segment = tail_after(one([b"a", b"b", b"c"]), 1, b"\1" * 32)
        for seq in (-1, 0, 4, 2**53):
            self.assertRaises(InvalidValueError, id_at, segment, seq)
            self.assertRaises(InvalidValueError, tail_after, segment, seq, b"\1" * 32)

    def test_entries_of_a_range(self) -> None:
        segment = one([b"a", b"b", b"c", b"d"])
        segment = tail_after(segment, 1, id_at(segment, 1))
        for first, last, expected in (
            (None, None, [2, 3, 4]),
            (3, None, [3, 4]),
            (None, 3, [2, 3]),
            (3, 3, [3]),
            (1, 9, [2, 3, 4]),
            (5, None, []),
            (None, 1, []),
            (4, 3, []),
            (-5, 0, []),
        ):
            found = entries(segment, first, last)
            self.assertEqual([seq for seq, _, _ in found], expected)
            self.assertEqual(found, [entry for entry in entries(segment) if entry[0] in expected])


class Holes(SynchronousTestCase):
    @anything
    @given(bodies_of_a_log, st.sets(st.integers(0, 14)))
    def test_the_chain_still_verifies(self, bodies: list[bytes], seqs: set[int]) -> None:
        segment = one(bodies)
        holed = drop_payloads(segment, seqs)
        self.assertEqual(verify(holed), verify(segment))
        self.assertEqual(chain_ids(holed), chain_ids(segment))
        self.assertEqual(has_holes(holed), any(seq in seqs for seq in range(1, len(bodies) + 1)))
        self.assertEqual(drop_payloads(holed, seqs), holed)
        for seq, _, body in entries(holed):
            self.assertEqual(body, None if seq in seqs else bodies[seq - 1])

    def test_form(self) -> None:
        holed = drop_payloads(one([b"a", b"b"]), {1})
        self.assertEqual(holed.bodies, b"\xc7\x20\x01" + sha256(b"a").digest() + b"\xc4\x01b")

    def test_a_full_segment_of_tiny_bodies_stays_within_its_limit(self) -> None:
        bodies = [b"%d" % n for n in range(MAX_SEGMENT_ENTRIES - 1)] + [b"x" * 10_000]
        segment = one(bodies)
        holed = drop_payloads(segment, range(1, segment.last + 1))
        self.assertLessEqual(len(holed.bodies), MAX_SEGMENT_BYTES)
        self.assertEqual(verify(holed), verify(segment))
        found = entries(holed)
        self.assertEqual(found[0][2], b"0")
        self.assertIsNone(found[-1][2])


class Refusals(SynchronousTestCase):
    """What JSON cannot say; every other refusal is in the vectors."""

    good: ClassVar[Segment] = one([b"one", b"two"])

    def test_types(self) -> None:
        class Bytes(bytes):
            pass

        class Int(int):
            pass

        good = self.good
        for changes in (
            *({name: Bytes(getattr(good, name))} for name in ("author", "previous", "signature", "bodies")),
            *(
                {name: bytearray(getattr(good, name))}
                for name in ("author", "previous", "signature", "bodies")
            ),
            *({name: None} for name in Segment._fields),
            *({name: "x" * 32} for name in Segment._fields),
            {"first": 1.0},
            {"first": True},
            {"first": Int(1)},
            {"count": 2.0},
            {"count": Int(2)},
            {"count": True, "bodies": b"\xc4\x03one"},
            {"bodies": memoryview(good.bodies)},
            {"bodies": [b"one", b"two"]},
        ):
            for check in (check_shape, verify):
                self.assertRaises(BadSegmentError, check, good._replace(**changes))

    def test_shape_is_settled_before_anything_is_hashed(self) -> None:
        """Whatever is wrong with the shape, the signature is not what is complained about."""
        for changes in ({"count": 4097}, {"bodies": self.good.bodies + b"\xc0"}, {"first": 2**53}):
            self.assertRaises(BadSegmentError, verify, self.good._replace(signature=bytes(64), **changes))

    def test_shapes_that_the_items_would_show_too(self) -> None:
        """Proofs are kept by their shape alone before they are verified."""
        for changes in ({"first": 5, "count": -1}, {"count": 4097}, {"first": 0}, {"bodies": bytes(1 << 21)}):
            self.assertRaises(BadSegmentError, check_shape, self.good._replace(**changes))

    def test_one_item_too_short_and_one_too_long(self) -> None:
        """A hole of 31 bytes and a body with a header that is too long: together as many bytes as they should be."""
        short_hole, long_header = b"\xc7\x1f\x01" + bytes(31), b"\xc5\x00\x01x"
        hole, body = b"\xc7\x20\x01" + bytes(32), b"\xc4\x01x"
        self.assertEqual(len(split_items(self.good._replace(count=2, bodies=hole + body))), 2)
        segment = self.good._replace(count=2, bodies=short_hole + long_header)
        self.assertEqual(len(segment.bodies), len(hole + body))
        self.assertRaises(BadSegmentError, split_items, segment)

    def test_holes_are_counted(self) -> None:
        """Also where nothing else is, and where bodies take as much as holes would, or look like them."""
        hole = items.encode(ExtType(1, bytes(32)))
        body, posing = (items.join([text]) for text in (bytes(33), hole[:33]))
        for found, holes in (
            ([hole] * 9, 9),
            ([body] * 9, 0),
            ([posing] * 9, 0),
            ([hole, body, hole], 2),
            ([body, hole], 1),
            ([hole, items.join([bytes(10)]), items.join([bytes(56)])], 1),
        ):
            segment = self.good._replace(count=len(found), bodies=b"".join(found))
            self.assertEqual(count_holes(segment), holes)
            self.assertEqual(items.are_holes(segment.count, segment.bodies), holes == len(found))

    def test_limits_hold_without_verify_too(self) -> None:
        for changes in (
            {"count": 4097, "bodies": b"\xc4\x00" * 4097},
            {"bodies": bytes(MAX_SEGMENT_BYTES + 1)},
        ):
            for read in (split_items, chain_ids, entries, has_holes):
                self.assertRaises(BadSegmentError, read, self.good._replace(**changes))

    @anything
    @given(st.binary(max_size=200), st.integers(0, 9))
    def test_any_bytes(self, noise: bytes, count: int) -> None:
        segment = Segment(PAIR.author, 5, count, bytes(32), bytes(64), noise)
        try:
            found = split_items(segment)
        except BadSegmentError:
            self.assertRaises(BadSegmentError, verify, segment)
            for cut in (chain_ids, entries, has_holes):
                self.assertRaises(BadSegmentError, cut, segment)
            return
        self.assertEqual(len(found), count)
        self.assertRaises(BadSignatureError, verify, segment)

    @anything
    @given(bodies_of_a_log, st.data())
    def test_any_change_is_noticed(self, bodies: list[bytes], data: st.DataObject) -> None:
        segment = drop_payloads(one(bodies), data.draw(st.sets(st.integers(1, len(bodies)), max_size=2)))
        changed = bytearray(segment.bodies)
        bit = data.draw(st.integers(0, 8 * len(changed) - 1))
        changed[bit // 8] ^= 1 << bit % 8
        damaged = segment._replace(bodies=bytes(changed))
        try:
            verify(damaged)
        except (BadSegmentError, BadSignatureError):
            return
        self.fail("a changed segment was verified")

    @anything
    @given(bodies_of_a_log)
    def test_cut_anywhere(self, bodies: list[bytes]) -> None:
        segment = one(bodies)
        for end in range(len(segment.bodies)):
            self.assertRaises(BadSegmentError, verify, segment._replace(bodies=segment.bodies[:end]))
