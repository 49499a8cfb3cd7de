"""Tables of very many authors that hold nobody up.

Responsible for: :class:`Table`, author -> number or bytes, and :class:`Line`, authors in the order of who is next.
Must not know: what is said of an author.
Invariant: no call takes longer than it takes with some thousand authors, and Python's search for cycles looks into none
of it.  With a million authors a ``dict`` takes 50 ms whenever it grows, and such a search 60 ms in an ``OrderedDict``.

What is put in is a number, bytes or None: a dictionary of nothing else is part of no cycle, and Python knows that.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import getsizeof
from typing import Generic, TypeVar

Value = TypeVar("Value", int, float, bytes)

SPREAD = 4096
"""Entries of one dictionary, before there are :data:`PARTS` of them: it grows in a tenth of a millisecond."""

PARTS = 256
"""With a million entries each part has as many."""

BLOCK = 512
"""Authors that one block of a line has room for."""

LOOK = 64
"""A dictionary is looked at, whether it is too large for what is in it, when so many were taken out."""

SHRUNK = (BLOCK // 4, BLOCK // 16, BLOCK // 64)
"""With so many left a block is made anew: it does not shrink by what is taken out of it."""

BLOCK_BYTES = 200
PLACE_BYTES = 72
"""What a block takes up, and each author in it."""


class Table(Generic[Value]):
    """I am a table: one dictionary, or many when I am large.

    >>> table: Table[int] = Table()
    >>> table[b"ann"] = 7
    >>> table.get(b"ann", 0), table.pop(b"ann"), b"ann" in table, len(table)
    (7, 7, False, 0)
    """

    __slots__ = ("_at", "_count", "_mask", "_parts", "size_bytes")

    def __init__(self) -> None:
        self._parts: list[dict[bytes, Value]] = [{}]
        self._mask = 0
        self._at = -1
        self._count = 0
        self.size_bytes = getsizeof(self._parts[0])
        """About what the table takes up, but for what is in it."""

    def __len__(self) -> int:
        return self._count

    def __contains__(self, author: object) -> bool:
        return author in self._parts[hash(author) & self._mask]

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the authors, in no order that means anything; nothing may change meanwhile."""
        for part in self._parts:
            yield from part

    def __getitem__(self, author: bytes) -> Value:
        return self._parts[hash(author) & self._mask][author]

    def __setitem__(self, author: bytes, value: Value) -> None:
        part = self._parts[hash(author) & self._mask]
        if author in part:
            part[author] = value
            return
        before_bytes = getsizeof(part)
        part[author] = value
        self.size_bytes += getsizeof(part) - before_bytes
        self._count += 1
        if self._count > SPREAD and not self._mask:
            self._spread(part)

    def get(self, author: bytes, default: Value) -> Value:
        """Return what is said of an author, or ``default``."""
        return self._parts[hash(author) & self._mask].get(author, default)

    def pop(self, author: bytes) -> Value | None:
        """Take an author out; None if it was not in."""
        part = self._parts[hash(author) & self._mask]
        value = part.pop(author, None)
        if value is None:
            return None
        self._lose_one()
        if self._count and not len(part) % LOOK and getsizeof(part) > 1024 + 160 * len(part):
            before_bytes = getsizeof(part)  # it does not shrink by what is taken out of it
            part = self._parts[hash(author) & self._mask] = dict(part)
            self.size_bytes += getsizeof(part) - before_bytes
        return value

    def items(self) -> Iterator[tuple[bytes, Value]]:
        """As iteration, with what is said of each."""
        for part in self._parts:
            yield from part.items()

    def take(self) -> tuple[bytes, Value] | None:
        """Take any author out, with what is said of it; None when none is left."""
        if not self._count:
            return None
        while not self._parts[self._at]:
            self._parts[self._at] = {}
            self._at -= 1
        item = self._parts[self._at].popitem()
        self._lose_one()
        return item

    def _lose_one(self) -> None:
        self._count -= 1
        if not self._count:
            self._parts, self._mask, self._at = [{}], 0, -1
            self.size_bytes = getsizeof(self._parts[0])

    def _spread(self, part: dict[bytes, Value]) -> None:
        self._parts, self._mask = [{} for _ in range(PARTS)], PARTS - 1
        for author, value in part.items():
            self._parts[hash(author) & self._mask][author] = value
        self.size_bytes = sum(map(getsizeof, self._parts))


class Line:
    """I am authors in the order of who is next, each at most once.

    >>> line = Line()
    >>> for name in (b"ann", b"bob", b"cat"): line.put(name)
    >>> line.put_first(b"cat"); line.discard(b"ann")
    >>> line.pop(), line.pop(), len(line)
    (b'cat', b'bob', 0)
    """

    __slots__ = ("_block_of", "_blocks", "_first", "_last", "_urgent")

    def __init__(self) -> None:
        self._block_of: Table[int] = Table()
        self._blocks: dict[int, dict[bytes, None]] = {}
        self._first = self._last = 0
        self._urgent = False

    def __len__(self) -> int:
        return len(self._block_of)

    def __contains__(self, author: object) -> bool:
        return author in self._block_of

    def __iter__(self) -> Iterator[bytes]:
        """Iterate from who is next; nothing may change meanwhile."""
        for number in range(self._first, self._last + 1):
            yield from self._blocks.get(number, ())

    def put(self, author: bytes) -> None:
        """Let an author that is not here yet be the last."""
        if author in self._block_of:
            return
        block = self._blocks.get(self._last)
        if block is None:
            block = self._blocks[self._last] = {}
        elif len(block) >= BLOCK:
            self._last += 1
            block = self._blocks[self._last] = {}
        block[author] = None
        self._block_of[author] = self._last

    def put_first(self, author: bytes) -> None:
        """Let an author go before all that were not put first, wherever it was."""
        self.discard(author)
        block = self._blocks.get(self._first) if self._urgent else None
        if block is None or len(block) >= BLOCK:
            self._first -= 1
            self._urgent = True
            block = self._blocks[self._first] = {}
        block[author] = None
        self._block_of[author] = self._first

    def discard(self, author: bytes) -> None:
        """Take an author out, if it is here."""
        number = self._block_of.pop(author)
        if number is None:
            return
        block = self._blocks[number]
        del block[author]
        if not block:
            del self._blocks[number]
            self._forward()
        elif len(block) in SHRUNK:
            self._blocks[number] = dict(block)

    def pop(self) -> bytes:
        """Take out who is next; there must be somebody."""
        author = next(iter(self._blocks[self._first]))
        self.discard(author)
        return author

    @property
    def size_bytes(self) -> int:
        """About what the line takes up, but for the authors."""
        return self._block_of.size_bytes + BLOCK_BYTES * len(self._blocks) + PLACE_BYTES * len(self)

    def _forward(self) -> None:
        """Find the first block that is left."""
        if not self._blocks:
            self._first = self._last = 0
            self._urgent = False
            return
        while self._first not in self._blocks:
            self._first += 1
            self._urgent = False
        while self._last not in self._blocks:
            self._last -= 1
