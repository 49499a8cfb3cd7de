"""Ring 3: entries as a reader gets them, whatever their payload is."""

from __future__ import annotations

import pickle
import pydoc
import tracemalloc
from copy import copy
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from random import Random

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.log.body import (
    MAX_TIMESTAMP_MS,
    Body,
    Reference,
    decode_body,
    encode_body,
    plain_bodies,
)
from gossiplog.log.encodings import ENCODINGS
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build

PAIR = Keypair(bytes(32))

BOMBS = {
    "arrays of 65,536 in one another": b"\xdd\x00\x01\x00\x00" * 500,
    "arrays of 65,535 in one another": b"\xdc\xff\xff" * 900,
    "deeper than anything": b"\xdd\x00\x01\x00\x00" * 5000,
    "an array of four billion": b"\xdd\xff\xff\xff\xff",
    "maps in one another": b"\xdf\x00\x01\x00\x00\xc0" * 500,
    "a text of four billion": b"\xdb\xff\xff\xff\xff",
}


def read(payload: bytes, encoding: str) -> Entry:
    """The one entry of a log with this payload."""
    [segment], _ = build(PAIR, Head(0, genesis_id(PAIR.author)), [encode_body(7, payload)])
    [entry] = read_entries(segment, ENCODINGS[encoding])
    return entry


class PayloadTests(SynchronousTestCase):
    def test_a_few_bytes_claim_no_memory(self) -> None:
        for name, payload in BOMBS.items():
            tracemalloc.start()
            try:
                entry = read(payload, "msgpack")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertEqual((entry.payload, bool(entry.malformed)), (payload, True), name)
            self.assertLess(peak, 1_000_000, name)

    def test_what_is_there_is_read(self) -> None:
        for value in (
            list(range(100_000)),
            {"a": [1, None, b"x", 2.5]},
            {1: 2},
            "text",
            [[[]]],
            msgpack.Timestamp(1),
        ):
            self.assertEqual(read(msgpack.packb(value), "msgpack").payload, value)

    def test_what_does_not_decode_is_delivered(self) -> None:
        for encoding, payload in (
            ("utf-8", b"\xff"),
            ("json", b"\xff\xfe\x00"),
            ("json", b"[" * 100_000),
            ("json", b"1" * 5000),
            ("msgpack", b""),
            ("msgpack", b"\xc1"),
            ("msgpack", b"\x81\x90\x00"),
            ("msgpack", b"\x01\x02"),
            ("msgpack", b"\xd7\xff" + b"\xff" * 8),
        ):
            entry = read(payload, encoding)
            self.assertEqual((entry.payload, entry.timestamp_ms), (payload, 7))
            self.assertIn(f"payload is not {encoding}", entry.malformed)


class PlainTests(SynchronousTestCase):
    """Most bodies are read by a shorter way: nobody can tell."""

    def test_the_same_entries(self) -> None:
        """Of bodies in all their forms, beside each other."""
        random = Random(1)
        stamps = [0, 7, 2**32 - 1, 2**32, 1_790_000_000_000, MAX_TIMESTAMP_MS]
        bodies = [b"", b"\x92", b"\x92\xcf", b"\x92\xcf" + bytes(8), b"\x92\xcf" + bytes(8) + b"\xc4"]
        for size in (0, 1, 12, 255, 256, 257, 65_535, 65_536, 70_000):
            for stamp in stamps:
                payload = random.randbytes(size)
                body = encode_body(stamp, payload)
                reference = Reference(bytes(32), 1, bytes(16))
                bodies += [body, body + b"\xc0", body[:-1], encode_body(stamp, payload, [reference])]
                start = b"\x92\xcf" + stamp.to_bytes(8, "big")
                bodies += [  # longer than they have to be
                    start + b"\xc5" + (size & 0xFFFF).to_bytes(2, "big") + payload,
                    start + b"\xc6" + size.to_bytes(4, "big") + payload,
                    b"\xdc\x00" + start + b"\xc6" + size.to_bytes(4, "big") + payload,
                    start[:2] + b"\xff" + start[3:] + b"\xc4\x00",
                    start + b"\xd9\x00",
                ]
        random.shuffle(bodies)
        for chosen in (bodies, sorted(bodies)):
            plain = list(plain_bodies(chosen))
            self.assertGreater(sum(each is not None for each in plain), 30)
            for body, found in zip(chosen, plain, strict=True):
                if found is not None:
                    self.assertEqual(decode_body(body), Body(*found))

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(st.binary(max_size=20), max_size=8))
    def test_any_bytes(self, bodies: list[bytes]) -> None:
        bodies += [b"\x92\xcf\0\0\x01" + body for body in bodies]
        for body, found in zip(bodies, plain_bodies(bodies), strict=True):
            if found is not None:
                self.assertEqual(decode_body(body), Body(*found))

    def test_what_becomes_of_them_is_an_entry(self) -> None:
        """As if it had been made in the usual way: equal, of one hash, frozen, to be pickled, copied and matched."""
        [segment], _ = build(PAIR, Head(0, genesis_id(PAIR.author)), [encode_body(1_790_000_000_000, b"1")])
        [entry] = read_entries(segment, ENCODINGS["bytes"])
        made = Entry(entry.author, 1, entry.id, 1_790_000_000_000, b"1")
        self.assertIs(type(entry), Entry)
        self.assertEqual((entry, hash(entry), repr(entry)), (made, hash(made), repr(made)))
        self.assertEqual(entry.time, datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC))
        self.assertRaises(FrozenInstanceError, setattr, entry, "seq", 2)
        self.assertEqual(pickle.loads(pickle.dumps(entry)), made)
        self.assertEqual((copy(entry), replace(entry, seq=2).seq), (made, 2))
        match entry:
            case Entry(author, seq, payload=payload):
                self.assertEqual((author, seq, payload), (PAIR.author, 1, b"1"))
        self.assertIn("One entry of one author's log", pydoc.render_doc(entry))
