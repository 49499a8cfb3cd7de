"""Cutting a stream of bytes into pieces that each say their length first.

Responsible for: frames (32-bit length) and, with the other header, records of the channel (16-bit length).
Must not know: what is in a piece.
Invariant: a length above the ceiling is refused before one byte of its piece is kept, and at most one
unfinished piece is held; every byte is copied a fixed number of times however the stream was cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from gossiplog.errors import FrameTooLargeError
from gossiplog.limits import MAX_FRAME_BYTES

FRAME_HEADER: Final = Struct(">I")
RECORD_HEADER: Final = Struct(">H")


def frame(body: bytes) -> bytes:
    """Return ``body`` with its length in front.

    >>> frame(b"ab").hex()
    '000000026162'
    """
    return FRAME_HEADER.pack(len(body)) + body


def cut(parts: Sequence[bytes], limit: int) -> Iterator[bytes]:
    """Yield all of ``parts`` in pieces of ``limit`` bytes, the last of what is left; each byte is copied once.

    >>> list(cut([b"ab", b"cdefg", b"h"], 3))
    [b'abc', b'def', b'gh']
    """
    piece: list[bytes | memoryview] = []
    room = limit
    for part in parts:
        rest = memoryview(part)
        while len(rest) > room:
            piece.append(rest[:room])
            yield b"".join(piece)
            rest, piece, room = rest[room:], [], limit
        piece.append(rest)
        room -= len(rest)
    yield b"".join(piece)


class FrameReader:
    """I am the inverse of :func:`frame`, fed with whatever pieces the stream arrives in.

    >>> reader = FrameReader()
    >>> reader.feed(bytes.fromhex("0000000261")), reader.feed(bytes.fromhex("6200000000"))
    ([], [b'ab', b''])
    """

    __slots__ = ("_begun", "_ceiling", "_header", "_size")

    def __init__(self, ceiling: int = MAX_FRAME_BYTES, header: Struct = FRAME_HEADER) -> None:
        self._ceiling = ceiling
        self._header = header
        self._begun = bytearray()
        self._size = -1

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished piece (or of its length) is held."""
        return len(self._begun)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces that end in ``data``; O(len(data)).

        :raises FrameTooLargeError: a piece is announced above the ceiling.  The stream is useless from then
            on, and pieces that ended in the same ``data`` are lost: do not feed more.
        """
        pieces: list[bytes] = []
        position = self._resume(data, pieces) if self._begun or self._size >= 0 else 0
        end = len(data)
        width = self._header.size
        while end - position >= width:
            size = self._checked_size(data, position)
            start = position + width
            position = start + size
            if position > end:
                self._size = size
                self._begun += memoryview(data)[start:]
                return pieces
            pieces.append(data[start:position])
        self._begun += memoryview(data)[position:]
        return pieces

    def _resume(self, data: bytes, pieces: list[bytes]) -> int:
        """Go on with the unfinished piece; return where in ``data`` the next one starts."""
        position = 0
        if self._size < 0:
            position = self._header.size - len(self._begun)
            self._begun += data[:position]
            if len(self._begun) < self._header.size:
                return len(data)
            self._size = self._checked_size(self._begun, 0)
            self._begun = bytearray()
        end = position + self._size - len(self._begun)
        if end > len(data):
            self._begun += memoryview(data)[position:]
            return len(data)
        pieces.append(b"".join((self._begun, memoryview(data)[position:end])))
        self._begun = bytearray()
        self._size = -1
        return end

    def _checked_size(self, data: bytes | bytearray, position: int) -> int:
        size: int = self._header.unpack_from(data, position)[0]
        if size > self._ceiling:
            raise FrameTooLargeError(f"{size} bytes announced; at most {self._ceiling} are allowed")
        return size
