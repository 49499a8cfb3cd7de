"""Clocks: the laws of a vector clock."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError
from gossiplog.log.clock import Clock, Order
from gossiplog.log.segment import Head

ANN, BOB, CAT = (bytes([n]) * 32 for n in (0x10, 0x20, 0x30))


def head(author: bytes, seq: int) -> Head:
    """Honest logs: one id per author and seq."""
    return Head(seq, sha256(author + seq.to_bytes(8, "big")).digest())


def clock(seqs: dict[bytes, int]) -> Clock:
    return Clock((author, head(author, seq)) for author, seq in seqs.items())


authors = st.sampled_from([bytes([n]) * 32 for n in range(6)])
clocks = st.dictionaries(authors, st.integers(1, 4)).map(clock)
anything = settings(derandomize=True, deadline=None)


def merged(*several: Clock) -> Clock:
    result = Clock()
    for one in several:
        result.merge(one)
    return result


class Clocks(SynchronousTestCase):
    def test_empty(self) -> None:
        empty = Clock()
        self.assertEqual((len(empty), empty.total(), empty.seq(ANN), empty.head(ANN)), (0, 0, 0, None))
        self.assertNotIn(ANN, empty)
        self.assertEqual(list(empty.range()), [])

    def test_advance(self) -> None:
        moving = Clock()
        moving.advance(BOB, head(BOB, 3))
        moving.advance(ANN, head(ANN, 1))
        moving.advance(BOB, head(BOB, 4))
        self.assertEqual(list(moving), [ANN, BOB])
        self.assertEqual((moving.seq(BOB), moving.head(BOB)), (4, head(BOB, 4)))
        self.assertEqual((moving.total(), len(moving)), (5, 2))

    def test_never_back(self) -> None:
        moving = clock({ANN: 3})
        for back in (Head(3, bytes(32)), head(ANN, 3), head(ANN, 2), Head(0, bytes(32)), Head(-1, bytes(32))):
            self.assertRaises(InvalidValueError, moving.advance, ANN, back)
        self.assertRaises(InvalidValueError, moving.advance, BOB, Head(0, bytes(32)))
        self.assertEqual(moving, clock({ANN: 3}))

    def test_replace_and_discard(self) -> None:
        moving = clock({ANN: 3})
        moving.replace(ANN, head(ANN, 1))
        self.assertEqual(moving.seq(ANN), 1)
        self.assertRaises(InvalidValueError, moving.replace, ANN, Head(0, bytes(32)))
        moving.discard(ANN)
        moving.discard(ANN)
        self.assertEqual(moving, Clock())

    def test_no_head_without_entries(self) -> None:
        self.assertRaises(InvalidValueError, Clock, {ANN: Head(0, bytes(32))})

    def test_changes_while_it_is_looped_over(self) -> None:
        """Each author comes at most once, in order, and those that stay come; nothing is raised."""
        for loop in (iter, Clock.range, Clock.items):
            held = clock({number.to_bytes(32, "big"): 1 for number in range(0, 4000, 2)})
            seen = []
            for number, found in enumerate(loop(held)):
                author = found if isinstance(found, bytes) else found[0]
                seen.append(author)
                held.discard((2 * number - 1000).to_bytes(32, "big", signed=True))
                held.discard((2 * number + 700).to_bytes(32, "big"))
                held.advance((number * 2 + 1).to_bytes(32, "big"), Head(1, bytes(32)))
            self.assertEqual(seen, sorted(set(seen)))
            self.assertTrue({number.to_bytes(32, "big") for number in range(0, 700, 2)} <= set(seen))

    def test_range(self) -> None:
        held = clock({ANN: 1, BOB: 2, CAT: 3})
        for lower, upper, expected in (
            (b"", b"", [ANN, BOB, CAT]),
            (BOB, b"", [BOB, CAT]),
            (b"", BOB, [ANN]),
            (ANN, CAT, [ANN, BOB]),
            (ANN, ANN, []),
            (b"\x11", b"\x21", [BOB]),
            (b"\x31", b"", []),
        ):
            self.assertEqual([author for author, _ in held.range(lower, upper)], expected)

    def test_copy_is_independent(self) -> None:
        held = clock({ANN: 1})
        copy = held.copy()
        copy.advance(BOB, head(BOB, 1))
        self.assertEqual(held, clock({ANN: 1}))
        self.assertNotEqual(held, copy)
        self.assertNotEqual(held, {ANN: head(ANN, 1)})

    def test_equality_is_of_ids_too_order_is_not(self) -> None:
        ours, theirs = Clock({ANN: Head(1, bytes(32))}), Clock({ANN: Head(1, b"\1" * 32)})
        self.assertNotEqual(ours, theirs)
        self.assertIs(ours.compare(theirs), Order.EQUAL)
        self.assertEqual(ours.difference(theirs), [])


class Laws(SynchronousTestCase):
    @anything
    @given(clocks, clocks, clocks)
    def test_merge(self, a: Clock, b: Clock, c: Clock) -> None:
        self.assertEqual(merged(a, b), merged(b, a))
        self.assertEqual(merged(merged(a, b), c), merged(a, merged(b, c)))
        self.assertEqual(merged(a, a), a)
        self.assertIn(a.compare(merged(a, b)), (Order.BEFORE, Order.EQUAL))
        self.assertEqual(merged(a, b).seq(ANN), max(a.seq(ANN), b.seq(ANN)))

    @anything
    @given(clocks, clocks)
    def test_compare(self, a: Clock, b: Clock) -> None:
        everyone = {*a, *b}
        not_after = all(a.seq(author) <= b.seq(author) for author in everyone)
        not_before = all(a.seq(author) >= b.seq(author) for author in everyone)
        expected = {
            (True, True): Order.EQUAL,
            (True, False): Order.BEFORE,
            (False, True): Order.AFTER,
            (False, False): Order.CONCURRENT,
        }[not_after, not_before]
        self.assertIs(a.compare(b), expected)
        mirrored = {Order.BEFORE: Order.AFTER, Order.AFTER: Order.BEFORE}
        self.assertIs(b.compare(a), mirrored.get(expected, expected))

    @anything
    @given(clocks, clocks)
    def test_difference(self, a: Clock, b: Clock) -> None:
        found = a.difference(b)
        everyone = sorted({*a, *b})
        self.assertEqual(found, [(x, a.seq(x), b.seq(x)) for x in everyone if a.seq(x) != b.seq(x)])
        self.assertEqual([(x, theirs, ours) for x, ours, theirs in found], b.difference(a))
        self.assertEqual(not found, a.compare(b) is Order.EQUAL)


class Texts(SynchronousTestCase):
    def test_repr(self) -> None:
        self.assertEqual(repr(clock({ANN: 1})), "<Clock of 1 authors>")
