"""Rings 1 and 3: the stream is cut at its lengths, however it arrives."""

from __future__ import annotations

from itertools import pairwise
from struct import pack

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import ByeCode, FrameTooLargeError
from gossiplog.limits import MAX_FRAME_BYTES
from gossiplog.wire.frames import RECORD_HEADER, FrameReader, frame

BODIES = [b"", b"a", b"", b"bc" * 40, bytes(300), b"end"]
STREAM = b"".join(map(frame, BODIES))


def read(pieces: list[bytes], reader: FrameReader | None = None) -> list[bytes]:
    """Feed the pieces to one reader and return all that came out."""
    reader = reader or FrameReader()
    return [body for piece in pieces for body in reader.feed(piece)]


class Cutting(SynchronousTestCase):
    def test_whole(self) -> None:
        self.assertEqual(read([STREAM]), BODIES)

    def test_byte_by_byte(self) -> None:
        self.assertEqual(read([STREAM[i : i + 1] for i in range(len(STREAM))]), BODIES)

    def test_cut_once_anywhere(self) -> None:
        for cut in range(len(STREAM) + 1):
            self.assertEqual(read([STREAM[:cut], STREAM[cut:]]), BODIES, cut)

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(
        st.lists(st.binary(max_size=40), max_size=12),
        st.lists(st.integers(0, 500), max_size=12),
    )
    def test_cut_many_times(self, bodies: list[bytes], cuts: list[int]) -> None:
        stream = b"".join(map(frame, bodies))
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        pieces = [stream[a:b] for a, b in pairwise(edges)]
        self.assertEqual(read(pieces), bodies)

    def test_pieces_are_bytes(self) -> None:
        # PyNaCl refuses bytearray: what goes on to the cipher must not depend on where the stream was cut.
        for cut in range(len(STREAM)):
            for body in read([STREAM[:cut], STREAM[cut:]]):
                self.assertIs(type(body), bytes)

    def test_nothing_in_nothing_out(self) -> None:
        reader = FrameReader()
        self.assertEqual(reader.feed(b""), [])
        self.assertEqual(reader.feed(STREAM[:2]), [])
        self.assertEqual(reader.feed(b""), [])
        self.assertEqual(reader.feed(STREAM[2:]), BODIES)

    def test_large_frame_in_records(self) -> None:
        body = bytes(range(256)) * 4096
        stream = frame(body) + frame(b"next")
        self.assertEqual(
            read([stream[i : i + 65_519] for i in range(0, len(stream), 65_519)]), [body, b"next"]
        )

    def test_record_header(self) -> None:
        stream = b"".join(RECORD_HEADER.pack(len(body)) + body for body in BODIES)
        for cut in range(len(stream) + 1):
            reader = FrameReader(65_535, RECORD_HEADER)
            self.assertEqual(read([stream[:cut], stream[cut:]], reader), BODIES, cut)

    def test_frame(self) -> None:
        self.assertEqual(frame(b"xyz"), b"\0\0\0\3xyz")


class Ceiling(SynchronousTestCase):
    def test_at_the_limit_and_one_above(self) -> None:
        for ceiling in (0, 1, 10, MAX_FRAME_BYTES):
            body = bytes(ceiling)
            self.assertEqual(FrameReader(ceiling).feed(frame(body)), [body])
            with self.assertRaises(FrameTooLargeError) as caught:
                FrameReader(ceiling).feed(pack(">I", ceiling + 1))
            self.assertEqual(caught.exception.code, ByeCode.TOO_LARGE)

    def test_default_is_the_limit_of_frames(self) -> None:
        self.assertEqual(FrameReader().feed(pack(">I", MAX_FRAME_BYTES)), [])
        self.assertRaises(FrameTooLargeError, FrameReader().feed, pack(">I", MAX_FRAME_BYTES + 1))

    def test_checked_before_anything_is_kept(self) -> None:
        header = pack(">I", 11) + bytes(11)
        for cut in range(1, 4):
            reader = FrameReader(10)
            self.assertEqual(reader.feed(header[:cut]), [])
            self.assertRaises(FrameTooLargeError, reader.feed, header[cut:])
            self.assertLessEqual(reader.buffered_bytes, 4)

    def test_largest_length_there_is(self) -> None:
        self.assertRaises(FrameTooLargeError, FrameReader().feed, b"\xff\xff\xff\xff")

    def test_announcing_costs_nothing(self) -> None:
        reader = FrameReader()
        reader.feed(pack(">I", MAX_FRAME_BYTES))
        self.assertEqual(reader.buffered_bytes, 0)
        reader.feed(bytes(100))
        self.assertEqual(reader.buffered_bytes, 100)
