"""Hostile segments cost no more than honest ones: neither memory nor hashing before the shape is settled."""

from __future__ import annotations

import tracemalloc
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import BadSegmentError
from gossiplog.limits import MAX_SEGMENT_BYTES
from gossiplog.log import segment as segments
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment, verify

AUTHOR = Keypair(bytes(32)).author

BOMBS = {
    "arrays of 4,096 in one another": b"\xdd\x00\x00\x10\x00",
    "arrays of two in one another": b"\x92",
    "arrays that announce four billion": b"\xdd\xff\xff\xff\xff",
    "maps that announce four billion": b"\xdf\xff\xff\xff\xff",
    "maps": b"\x81\xc0",
    "empty arrays": b"\x90",
    "empty maps": b"\x80",
    "empty strings": b"\xa0",
    "strings that announce four billion": b"\xdb\xff\xff\xff\xff",
    "bodies that announce four billion": b"\xc6\xff\xff\xff\xff",
    "extensions that announce four billion": b"\xc9\xff\xff\xff\xff\x01",
    "integers": b"\x00",
    "floats": b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00",
    "nils": b"\xc0",
    "timestamps": b"\xd6\xff\x00\x00\x00\x00",
    "timestamps of a wrong size": b"\xd4\xff\x00",
    "empty bodies": b"\xc4\x00",
    "bodies with a long header": b"\xc6\x00\x00\x00\x00",
    "a byte that is never used": b"\xc1",
}


class Bombs(SynchronousTestCase):
    def test_memory(self) -> None:
        for name, part in BOMBS.items():
            encoded = (part * (MAX_SEGMENT_BYTES // len(part)))[:MAX_SEGMENT_BYTES]
            for count in (1, 2, 4096):
                hostile = Segment(AUTHOR, 5, count, bytes(32), bytes(64), encoded)
                tracemalloc.start()
                try:
                    self.assertRaises(BadSegmentError, verify, hostile)
                    _, peak = tracemalloc.get_traced_memory()
                finally:
                    tracemalloc.stop()
                self.assertLess(peak, 4 * MAX_SEGMENT_BYTES, name)

    def test_nothing_is_hashed(self) -> None:
        def refuse(*_: object) -> bytes:
            raise AssertionError("hashed before the shape was settled")

        for part in BOMBS.values():
            encoded = part * (MAX_SEGMENT_BYTES // len(part))
            with patch.object(segments, "sha256", refuse):
                for count in (1, 4096, 4097, 2**31, 2**63):
                    hostile = Segment(AUTHOR, 5, count, bytes(32), bytes(64), encoded)
                    self.assertRaises(BadSegmentError, verify, hostile)
