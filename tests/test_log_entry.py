"""Ring 3: entries as a reader gets them, whatever their payload is."""

from __future__ import annotations

import tracemalloc

import msgpack
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.log.body import encode_body
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
