"""What a target is, and the consumer that makes something structured of its bytes.

A target is a function of bytes.  It returns when everything is as it must be, and raises when it is not: what it does
not catch by the name of a documented error is a finding, and so is every ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")


class Target(NamedTuple):
    """One entrance: ``check`` takes any bytes, ``seeds`` are some that it likes.

    ``slow``: ten milliseconds each and more, so that the suite runs fewer.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Sequence[bytes]
    slow: bool = False


class Consumer:
    """I hand out bytes from the front, zeros when there are none left, so that every input means something."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        taken = self._data[self._position : self._position + size]
        self._position += len(taken)
        return taken.ljust(size, b"\0")

    def rest(self) -> bytes:
        """All that is left."""
        taken = self._data[self._position :]
        self._position = len(self._data)
        return taken

    def number(self, below: int) -> int:
        """From 0 to ``below`` - 1."""
        size = (max(1, below - 1).bit_length() + 7) // 8
        return int.from_bytes(self.take(size), "big") % max(1, below)

    def chance(self, of: int) -> bool:
        return self.number(of) == of - 1

    def choose(self, among: Sequence[Value]) -> Value:
        return among[self.number(len(among))]

    def some(self, most: int) -> bytes:
        """A piece with its length in front."""
        return self.take(self.number(most + 1))

    def cut(self, data: bytes) -> list[bytes]:
        """``data`` in pieces."""
        pieces = []
        while data and self.left:
            size = 1 + self.number(min(len(data), 200))
            pieces.append(data[:size])
            data = data[size:]
        return [*pieces, data]

    def spoil(self, data: bytes) -> bytes:
        """``data`` with up to four places altered: bits, pieces put in, taken out, or repeated, an end missing."""
        for _ in range(1 + self.number(4)):
            at = self.number(len(data) + 1)
            kind = self.number(5)
            if kind == 0 and at < len(data):
                data = data[:at] + bytes((data[at] ^ (1 << self.number(8)),)) + data[at + 1 :]
            elif kind == 1:
                piece = self.some(64)
                data = data[:at] + piece + data[at + len(piece) :]
            elif kind == 2:
                data = data[:at] + self.some(64) + data[at:]
            elif kind == 3:
                data = data[:at] + data[at + self.number(64) :]
            else:
                data = data[:at]
        return data


def as_text(data: bytes) -> str:
    """Text as a command line has it: what is no UTF-8 is lone surrogates."""
    return data.decode("utf-8", "surrogateescape")
