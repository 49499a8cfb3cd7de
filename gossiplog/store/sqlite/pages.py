"""The pages of a database file, read without SQLite: a damaged page hides nothing but itself.

Responsible for: where each page is as it was last committed (in the file, in its write-ahead log, or in a journal that
is to be played back), which pages are free, and the records that a page has.
Must not know: which tables there are, or what a record means.
Invariant: nothing is written.  Whatever the bytes are, a page and a record take bounded work, and what cannot be read
is passed over.

The format is that of https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from gossiplog.store.directory import DATABASE
from gossiplog.store.folder import Folder
from gossiplog.store.sqlite.header import HEADER_BYTES, PAGE_BYTES

Value: TypeAlias = int | str | bytes | None

_TABLE_LEAF: Final = 13
_INDEX_LEAF: Final = 10
_INDEX_INTERIOR: Final = 2
_HEAD_BYTES: Final = {_TABLE_LEAF: 8, _INDEX_LEAF: 8, _INDEX_INTERIOR: 12}
"""Kinds of pages with records, and where in them the places of these begin."""

_MOST_CELLS: Final = (PAGE_BYTES - 8) // 2

_LEAST_LOCAL: Final = (PAGE_BYTES - 12) * 32 // 255 - 23
_MOST_IN_TABLE: Final = PAGE_BYTES - 35
_MOST_IN_INDEX: Final = (PAGE_BYTES - 12) * 64 // 255 - 23
_REST_BYTES: Final = PAGE_BYTES - 4
"""Of a record that is larger than this, a part is in its page, and the rest in pages that follow each other."""

_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_MOST_COLUMNS: Final = 16

_MAPPED: Final = PAGE_BYTES // 5
"""Pages of which a pointer map says what they are: the first map is page 2, the next one behind what it speaks of."""

_FREE: Final = 2
_KINDS: Final = frozenset({1, _FREE, 3, 4, 5})

_WAL_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_WAL_MAGIC: Final = 0x377F0682

_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_JOURNAL_HEADER_BYTES: Final = 28


class Cell(NamedTuple):
    """One record: its row's number (0 in an index), its size, the part in its page, the page with the rest or 0."""

    rowid: int
    size: int
    local: bytes
    rest: int


class Pages:
    """I read the pages of one closed database file, or of one whose writer is between two transactions.

    ``patience`` is how many more pages may be read with what is left of records, ``None`` for any number: each is part
    of one record, but somebody may have made a file in which it is part of many.
    """

    def __init__(self, folder: Folder) -> None:
        """Open it with what belongs to it; see :meth:`close`.

        :raises OSError: there is no such file.
        """
        self.patience: int | None = None
        self._files: list[int] = []
        self._places: dict[int, tuple[int, int]] = {}
        try:
            self._file = self._opened(folder, DATABASE)
            self.size_bytes = os.fstat(self._file).st_size
            self.count = self.size_bytes // PAGE_BYTES
            with suppress(FileNotFoundError):
                self._play_back(self._opened(folder, f"{DATABASE}-journal"))
            with suppress(FileNotFoundError):
                self._take_over(self._opened(folder, f"{DATABASE}-wal"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files: which ends every lock that this process has on them."""
        while self._files:
            os.close(self._files.pop())

    def read(self, number: int) -> bytes:
        """Return a page, zeros for one that the disk does not give."""
        file, place = self._places.get(number, (self._file, (number - 1) * PAGE_BYTES))
        try:
            page = os.pread(file, PAGE_BYTES, place)
        except OSError:
            page = b""
        return page if len(page) == PAGE_BYTES else page + bytes(PAGE_BYTES - len(page))

    def free(self) -> set[int]:
        """Return the pages whose content is not used any more; none if that is not said without a contradiction."""
        found: set[int] = set()
        for place in range(2, self.count + 1, _MAPPED + 1):
            kinds = self.read(place)[: 5 * min(_MAPPED, self.count - place) : 5]
            if not _KINDS.issuperset(kinds):
                return set()
            found.update(place + 1 + at for at, kind in enumerate(kinds) if kind == _FREE)
        return found if len(found) == int.from_bytes(self.read(1)[36:40], "big") else set()

    def cells(self, number: int) -> Iterator[tuple[bool, int, Cell]]:
        """Yield the records of a page: whether they are a table's, where they begin, and what they are."""
        page = self.read(number)
        begin = HEADER_BYTES if number == 1 else 0
        kind = page[begin]
        if kind not in _HEAD_BYTES:
            return
        at = begin + _HEAD_BYTES[kind]
        count = min(int.from_bytes(page[begin + 3 : begin + 5], "big"), _MOST_CELLS)
        for place in range(at, at + 2 * count, 2):
            offset = int.from_bytes(page[place : place + 2], "big")
            with suppress(IndexError):
                yield kind == _TABLE_LEAF, offset, _cell(page, offset, kind)

    def cell(self, number: int, offset: int) -> Cell:
        """Return the record of a table's page that begins at ``offset``, where :meth:`cells` found one."""
        return _cell(self.read(number), offset, _TABLE_LEAF)

    def whole(self, cell: Cell, most: int) -> bytes | None:
        """Return all bytes of a record; ``None`` if it has more than ``most``, or they are not there."""
        if cell.size > most or not self._has_patience(cell):
            return None
        parts = [cell.local]
        missing, number = cell.size - len(cell.local), cell.rest
        while missing > 0:
            if not 1 < number <= self.count:
                return None
            page = self.read(number)
            parts.append(page[4 : 4 + missing])
            missing -= _REST_BYTES
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts)

    def _has_patience(self, cell: Cell) -> bool:
        """Tell whether ``patience`` allows to read the rest of a record, which no other record should have."""
        if self.patience is not None and cell.rest:
            self.patience -= cell.size // PAGE_BYTES + 1
            return self.patience > 0
        return True

    def _opened(self, folder: Folder, name: str) -> int:
        file = folder.open(name)
        self._files.append(file)
        return file

    def _take_over(self, file: int) -> None:
        """Find the last commit of each page in a write-ahead log, up to where it was cut off or damaged."""
        header = os.pread(file, _WAL_HEADER_BYTES, 0)
        magic = int.from_bytes(header[:4], "big")
        if magic & ~1 != _WAL_MAGIC or int.from_bytes(header[8:12], "big") != PAGE_BYTES:
            return
        order = "<>"[magic & 1]
        sums = _wal_sums(header[:24], (0, 0), order)
        if _numbers(header[24:32]) != sums:
            return
        place = _WAL_HEADER_BYTES
        begun: dict[int, tuple[int, int]] = {}
        while len(frame := os.pread(file, _FRAME_HEADER_BYTES + PAGE_BYTES, place)) > PAGE_BYTES:
            head, page = frame[:_FRAME_HEADER_BYTES], frame[_FRAME_HEADER_BYTES:]
            sums = _wal_sums(page, _wal_sums(head[:8], sums, order), order)
            if head[8:16] != header[16:24] or _numbers(head[16:]) != sums:
                return
            number, pages = _numbers(head[:8])
            begun[number] = file, place + _FRAME_HEADER_BYTES
            if pages:  # it was the last one of a transaction
                self._places.update(begun)
                begun.clear()
                self.count = pages
            place += len(frame)

    def _play_back(self, file: int) -> None:
        """Find pages as they were before the transaction that a journal was begun for and that did not end."""
        place, size = 0, os.fstat(file).st_size
        while place + _JOURNAL_HEADER_BYTES <= size:
            header = os.pread(file, _JOURNAL_HEADER_BYTES, place)
            records, nonce, pages, sector, page_bytes = (
                int.from_bytes(header[at : at + 4], "big") for at in range(8, 28, 4)
            )
            if header[:8] != _JOURNAL_MAGIC or (place == 0 and page_bytes != PAGE_BYTES):
                return
            if place == 0:
                self.count, step = pages, max(sector, 512)
            place += step
            for _ in range(records):
                record = os.pread(file, PAGE_BYTES + 8, place)
                number, page = int.from_bytes(record[:4], "big"), record[4:-4]
                total = nonce + sum(page[PAGE_BYTES - 200 : 0 : -200])
                if len(record) != PAGE_BYTES + 8 or int.from_bytes(record[-4:], "big") != total & 0xFFFFFFFF:
                    return
                self._places.setdefault(number, (file, place + 4))
                place += len(record)
            place += -place % step


def columns(record: bytes) -> tuple[list[Value], list[int]] | None:
    """Return the values of a record, as far as they are whole in these bytes, and how long each value of it is.

    ``None`` if it is none.
    """
    values: list[Value] = []
    sizes: list[int] = []
    try:
        end, at = _varint(record, 0)
        place = end
        while at < end:
            kind, at = _varint(record, at)
            size = (kind - 12) // 2 if kind >= 12 else _INTEGER_BYTES.get(kind, 0)
            if kind in (7, 10, 11) or len(sizes) == _MOST_COLUMNS:
                return None
            sizes.append(size)
            part = record[place : place + size]
            place += size
            if len(part) < size or len(values) < len(sizes) - 1:
                continue
            if kind >= 12:
                values.append(part.decode() if kind & 1 else part)
            else:
                values.append(
                    _constant(kind) if kind in (0, 8, 9) else int.from_bytes(part, "big", signed=True)
                )
    except (IndexError, UnicodeDecodeError):
        return None
    return (values, sizes) if at == end else None


def _constant(kind: int) -> int | None:
    return kind - 8 if kind else None


def _cell(page: bytes, at: int, kind: int) -> Cell:
    rowid = 0
    if kind == _INDEX_INTERIOR:
        at += 4
    size, at = _varint(page, at)
    if kind == _TABLE_LEAF:
        rowid, at = _varint(page, at)
    most = _MOST_IN_TABLE if kind == _TABLE_LEAF else _MOST_IN_INDEX
    local = size
    if size > most:
        local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % _REST_BYTES
        local = local if local <= most else _LEAST_LOCAL
    end = at + local
    if end > len(page):
        raise IndexError(f"a record ends at {end}")
    return Cell(rowid, size, page[at:end], int.from_bytes(page[end : end + 4], "big") if local < size else 0)


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        byte = content[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | content[at + 8], at + 9


def _numbers(content: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(content) // 4}I", content)


def _wal_sums(content: bytes, sums: tuple[int, ...], order: str) -> tuple[int, ...]:
    """Sum up a part of a write-ahead log, behind what has the sums ``sums``."""
    first, second = sums
    for one, two in struct.iter_unpack(f"{order}II", content):
        first = first + one + second & 0xFFFFFFFF
        second = second + two + first & 0xFFFFFFFF
    return first, second
