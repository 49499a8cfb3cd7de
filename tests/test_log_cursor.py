"""Cursors: their bytes, copies that share what did not move, and what moved between two."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import msgpack
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_SEQ
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from tests.test_log_clock import ANN, BOB, CAT, anything, authors, clock, clocks
from tests.test_store_sqlite import environment

places = st.dictionaries(authors, st.tuples(st.integers(1, 3), st.sampled_from([b"", bytes(8), b"\1" * 8])))


class Cursors(SynchronousTestCase):
    def test_advance(self) -> None:
        cursor = Cursor()
        cursor.advance(BOB, 5, b"\7" * 32)
        cursor.advance(ANN, 2)
        self.assertEqual((cursor.seq(BOB), cursor.id8(BOB)), (5, b"\7" * 8))
        self.assertEqual((cursor.seq(ANN), cursor.id8(ANN)), (2, b""))
        self.assertEqual((cursor.seq(CAT), cursor.id8(CAT)), (0, b""))
        self.assertEqual(list(cursor.items()), [(ANN, (2, b"")), (BOB, (5, b"\7" * 8))])
        self.assertEqual((len(cursor), ANN in cursor, CAT in cursor), (2, True, False))

    def test_never_back(self) -> None:
        cursor = Cursor({ANN: (5, bytes(8))})
        cursor.advance(ANN, 5, b"\1" * 8)
        self.assertRaises(InvalidValueError, cursor.advance, ANN, 4)
        self.assertEqual(list(cursor.items()), [(ANN, (5, b"\1" * 8))])

    def test_what_is_refused(self) -> None:
        cursor = Cursor()
        for arguments in (
            (ANN[1:], 1),
            (None, 1),
            (ANN, 0),
            (ANN, MAX_SEQ + 1),
            (ANN, True),
            (ANN, 1.0),
            (ANN, 1, b"\1" * 7),
            (ANN, 1, None),
        ):
            self.assertRaises(InvalidValueError, cursor.advance, *arguments)
        self.assertEqual(len(cursor), 0)

    @anything
    @given(st.binary(max_size=100))
    def test_any_bytes(self, noise: bytes) -> None:
        for dumped in (noise, b"\x91" + noise, b"\x94\x01" + noise):
            try:
                cursor = Cursor.load(dumped)
            except InvalidValueError:
                continue
            self.assertEqual(cursor.dump(), dumped)

    def test_cut_anywhere(self) -> None:
        dumped = clock({ANN: 1, BOB: 300, CAT: 2**40}).dump()
        for end in range(len(dumped)):
            self.assertRaises(InvalidValueError, Cursor.load, dumped[:end])
        self.assertRaises(InvalidValueError, Cursor.load, dumped + b"\0")
        self.assertRaises(InvalidValueError, Cursor.load, None)

    def test_texts(self) -> None:
        self.assertEqual(repr(Cursor.of(clock({ANN: 1}))), "<Cursor over 1 authors>")

    def test_size(self) -> None:
        """47 bytes per author while seqs are below 65,536: author, seq, 8 bytes of the id and their msgpack headers."""
        many = clock({n.to_bytes(32, "big"): 1000 for n in range(1000)})
        self.assertEqual(len(many.dump()), 1000 * (34 + 3 + 10) + 4)
        self.assertEqual(msgpack.unpackb(many.dump())[0], 1)

    def test_changes_while_it_is_looped_over(self) -> None:
        """What was there at the beginning comes, each author once."""
        names = [number.to_bytes(32, "big") for number in range(1000)]
        for loop in (iter, Cursor.items):
            cursor = Cursor(dict.fromkeys(names[::2], (1, b"")))
            seen = []
            for number, found in enumerate(loop(cursor)):
                seen.append(found if isinstance(found, bytes) else found[0])
                cursor.discard(names[number])
                cursor.advance(names[number * 2 + 1], 1)
            self.assertEqual(seen, names[::2])

    @anything
    @given(clocks)
    def test_survives_its_bytes(self, held: Clock) -> None:
        cursor = Cursor.load(held.dump())
        self.assertEqual(cursor, Cursor.of(held))
        self.assertEqual(list(cursor), list(held))
        self.assertEqual([cursor.seq(author) for author in held], [held.seq(author) for author in held])
        self.assertEqual(cursor.dump(), held.dump())

    def test_survives_another_process(self) -> None:
        """Where hashes are others."""
        cursor = Cursor({bytes([number]) * 32: (number, b"") for number in range(1, 200)})
        program = """
import pickle, sys
cursor = pickle.loads(sys.stdin.buffer.read())
assert all(cursor.seq(bytes([number]) * 32) == number for number in range(1, 200))
cursor.advance(bytes([7]) * 32, 8)
sys.stdout.buffer.write(pickle.dumps(cursor))
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(cursor),
            env={**environment(), "PYTHONHASHSEED": "1"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        self.assertEqual(done.stderr.decode(), "")
        back = pickle.loads(done.stdout)
        self.assertEqual(back.difference(cursor), {bytes([7]) * 32: (8, b"")})


class Copies(SynchronousTestCase):
    @anything
    @given(places, st.lists(st.tuples(st.booleans(), authors, st.integers(0, 3))))
    def test_copies_are_independent(
        self, read: dict[bytes, tuple[int, bytes]], moves: list[tuple[bool, bytes, int]]
    ) -> None:
        """And the difference of two takes the one to the other, whatever became of both."""
        cursors = [Cursor(read), Cursor()]
        cursors[1] = cursors[0].copy()
        models = [dict(read), dict(read)]
        for which, author, seq in moves:
            cursor, model = cursors[which], models[which]
            cursor.discard(author)
            model.pop(author, None)
            if seq:
                cursor.advance(author, seq)
                model[author] = (seq, b"")
            if seq == 3:
                cursors.append(cursor.copy())
                models.append(dict(model))
        for cursor, model in zip(cursors, models, strict=True):
            self.assertEqual(dict(cursor.items()), model)
            self.assertEqual((list(cursor), len(cursor)), (sorted(model), len(model)))
            for other in cursors:
                changes = cursor.difference(other)
                self.assertEqual(cursor == other, not changes)
                taken = other.copy()
                taken.apply(changes)
                self.assertEqual(taken, cursor)

    def test_every_kind_of_copy(self) -> None:
        cursor = Cursor({ANN: (1, b"")})
        for made in (cursor.copy(), copy.copy(cursor), copy.deepcopy(cursor)):
            self.assertEqual(made, cursor)
            made.advance(ANN, 2)
            self.assertEqual(cursor.seq(ANN), 1)

    def test_a_copy_and_a_move_cost_a_small_part(self) -> None:
        """However many authors there are: a 256th of them is copied, once, and compared."""
        cursor = Cursor({number.to_bytes(32, "big"): (1, b"") for number in range(20_000)})
        author = (7).to_bytes(32, "big")
        before = cursor.copy()
        cursor.advance(author, 2)
        self.assertEqual(sum(ours is not theirs for ours, theirs in parts(cursor, before)), 1)
        [[ours, _]] = [pair for pair in parts(cursor, before) if pair[0] is not pair[1]]
        self.assertLess(len(ours), 200)
        cursor.advance(author, 3)
        self.assertTrue(any(part is ours for part in cursor._parts))  # it is our own now
        self.assertEqual(cursor.difference(before), {author: (3, b"")})

    def test_nobody_can_choose_who_shares_a_part(self) -> None:
        """Authors that begin or end alike are spread as others are."""
        for name in (lambda number: bytes(28) + number, lambda number: number + bytes(28)):
            cursor = Cursor({name(number.to_bytes(4, "big")): (1, b"") for number in range(10_000)})
            self.assertLess(max(map(len, cursor._parts)), 120)
            self.assertGreater(min(map(len, cursor._parts)), 5)


def parts(one: Cursor, other: Cursor) -> list[tuple[object, object]]:
    return list(zip(one._parts, other._parts, strict=True))
