"""How much room things take where they are kept.

Responsible for: the bytes on disk of a row, a proof, an author, as a store with pages lays them out; adding them up.
Must not know: stores, quotas; the memory that an author takes is a constant in ``limits``.
Invariant: what a thing takes hangs on nothing but its size, so that the sum is the same whatever the order it came in.

>>> row_bytes(100), row_bytes(9000), row_bytes(131_200)
(271, 16399, 133135)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Final, Protocol, TypeAlias, cast

from gossiplog.limits import AUTHOR_DISK_BYTES, DISK_PAGE_BYTES
from gossiplog.log.fork import ForkProof, encode_proof

_INDEXED_ROW_BYTES: Final = 15
_ROW_BYTES: Final = 143
"""Of a row: its entry in the index; ids, signature and numbers beside the items."""

_INDEXED_PROOF_BYTES: Final = 58
_PROOF_BYTES: Final = 38
"""Of a proof: its author in the index, whose pages are seldom full; its author beside it."""

Author: TypeAlias = bytes
"""A name for what :class:`Weights` has another use for."""

_FEW_BYTES: Final = 16 * DISK_PAGE_BYTES
"""Gaps that any store has: tables and indices end in a page that is not full."""

_CELL_BYTES: Final = 12
"""What a page keeps to find a record."""

_LARGEST_LOCAL_BYTES: Final = DISK_PAGE_BYTES - 35
_LEAST_LOCAL_BYTES: Final = (DISK_PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES: Final = DISK_PAGE_BYTES - 4
"""SQLite's file format, 1.6: what of a record stays on the page with others, and what each page of the rest takes."""


def row_bytes(size: int) -> int:
    """Return what a row of ``size`` bytes of items takes."""
    return _INDEXED_ROW_BYTES + _record_bytes(_ROW_BYTES + size)


def proof_bytes(proof: ForkProof | int) -> int:
    """Return what a fork proof, or one of so many bytes, takes."""
    size = proof if isinstance(proof, int) else len(encode_proof(proof))
    return _INDEXED_PROOF_BYTES + _record_bytes(_PROOF_BYTES + size)


def _record_bytes(size: int) -> int:
    """What a record takes when its page is shared with others of its size, and its overflow pages with nothing."""
    pages = 0
    if size > _LARGEST_LOCAL_BYTES:
        local = _LEAST_LOCAL_BYTES + (size - _LEAST_LOCAL_BYTES) % _OVERFLOW_BYTES
        if local > _LARGEST_LOCAL_BYTES:
            local = _LEAST_LOCAL_BYTES
        pages = -(-(size - local) // _OVERFLOW_BYTES)
        size = local
    on_a_page = DISK_PAGE_BYTES // min(size + _CELL_BYTES, DISK_PAGE_BYTES)
    return DISK_PAGE_BYTES // on_a_page + pages * DISK_PAGE_BYTES


class TotalView(Protocol):
    """What all authors take on one disk together; ``version`` counts what changed that."""

    @property
    def is_whole(self) -> bool:
        """Whether it is a :class:`WeightView`: what each of them takes is in memory."""

    @property
    def bytes(self) -> int:
        """What all takes together."""

    @property
    def version(self) -> int:
        """How often anything changed."""

    @property
    def author_count(self) -> int:
        """Of how many authors anything is there."""


class WeightView(TotalView, Protocol):
    """What authors take on one disk, asked for some of them."""

    def of(self, author: Author) -> int:
        """What an author takes, 0 if nothing is there of it."""

    def __contains__(self, author: object) -> bool: ...


class Weights:
    """I am what each author takes on one disk, and all together; ``version`` counts what changed that.

    ``gap_bytes`` are in pages that are in use, beyond what things in them take: deleting and merging leave them partly
    empty.  They count for all together.
    """

    is_whole = True

    def __init__(self, weights: Mapping[Author, int] | None = None, used_bytes: int = 0) -> None:
        """Begin with what is there."""
        self.authors: dict[Author, int] = dict(weights or {})
        self.gap_bytes = 0
        self.version = 0
        self._things_bytes = sum(self.authors.values())
        self.change((), {}, used_bytes)

    @property
    def bytes(self) -> int:
        """What all takes together."""
        return self._things_bytes + self.gap_bytes

    def of(self, author: Author) -> int:
        """What an author takes, 0 if nothing is there of it."""
        return self.authors.get(author, 0)

    def __contains__(self, author: object) -> bool:
        return author in self.authors

    @property
    def author_count(self) -> int:
        """Of how many authors anything is there."""
        return len(self.authors)

    def change(
        self, forgotten: Iterable[Author], changes: Mapping[Author, int], used_bytes: int | None = None
    ) -> bool:
        """Nothing is there of those ``forgotten``; of others, afterwards, so much more.  ``used_bytes`` is what is in
        use then, if somebody looked.  Return whether gaps became fewer."""
        self.version += 1
        for author in forgotten:
            self._things_bytes -= self.authors.pop(author, 0)
        for author, change in changes.items():
            self.authors[author] = self.authors.get(author, 0) + change
            self._things_bytes += change
        before = self.gap_bytes
        if used_bytes is not None:
            gap_bytes = used_bytes - self._things_bytes
            self.gap_bytes = gap_bytes if gap_bytes > _FEW_BYTES else 0
        return self.gap_bytes < before


class Totals:
    """I am what all authors take on one disk together, where nobody knows in memory what each of them takes.

    ``authors`` says of how many anything is there.
    """

    is_whole = False

    def __init__(self, authors: Sized, size: int) -> None:
        """Begin with what is there."""
        self.bytes = size
        self.version = 0
        self._authors = authors

    @property
    def author_count(self) -> int:
        """Of how many authors anything is there."""
        return len(self._authors)

    def change(
        self, forgotten: Iterable[Author], changes: Mapping[Author, int], size: int | None = None
    ) -> bool:
        """As :meth:`Weights.change`; ``size`` is what all takes then, if somebody looked, as for those forgotten."""
        before = self.bytes
        self.version += 1
        self.bytes = before + sum(changes.values()) if size is None else size
        return self.bytes < before


class Changes(dict[bytes, int]):
    """I collect by how much what authors take is going to change."""

    def row(self, author: bytes, size: int, *, first: bool = False) -> None:
        """A row comes; the ``first`` one of its author brings what an author takes."""
        self.add(author, row_bytes(size) + (AUTHOR_DISK_BYTES if first else 0))

    def instead(self, author: bytes, sizes: Iterable[int], before: Iterable[int]) -> None:
        """Rows of these ``sizes`` come in the place of those ``before``."""
        self.add(author, sum(map(row_bytes, sizes)) - sum(map(row_bytes, before)))

    def add(self, author: bytes, change: int) -> None:
        """So much more, or less."""
        self[author] = self.get(author, 0) + change


def whole_weights(weights: TotalView) -> WeightView | None:
    """Return weights of which those of each author are in memory as that; None for others."""
    return cast(WeightView, weights) if weights.is_whole else None
