"""What a damaged database still holds: every record of ours that is in a page of its own accord, tree or not.

Responsible for: finding logs, heads, fork proofs and values in whatever pages can be read, and reading rows.
Must not know: where pages are (``pages``); what is done with what is found.
Invariant: only what has its checksum, or proves itself, is given; each entry of a log at most once.

In an SQLite file a table is a tree of pages, and one damaged page hides all that hang on it.  Each of our records says
by itself what it is: by its shape, and by its checksum.  So all pages are looked at, one after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

from gossiplog.errors import GossiplogError, StoreDamagedError
from gossiplog.limits import MAX_BODY_BYTES, MAX_SEQ, MAX_VALUE_BYTES
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof, decode_proof, verify_proof
from gossiplog.log.keys import KEY_BYTES, short_key
from gossiplog.log.segment import Head, Segment, toil_bytes
from gossiplog.store.interface import Row
from gossiplog.store.row_form import segment_of
from gossiplog.store.sqlite.cursors import is_whole
from gossiplog.store.sqlite.pages import Cell, Pages, Value, columns
from gossiplog.store.sqlite.rows import LEAVING_BYTES, head_of, leaving, unsealed

_ROW_BYTES: Final = 2 * MAX_BODY_BYTES
_VALUE_BYTES: Final = MAX_VALUE_BYTES + 65_536


class Found(NamedTuple):
    """The outline of a row of segments, and where it is."""

    first: int
    count: int  # type: ignore[assignment]  # the specification's word
    holes: int
    size: int
    page: int
    offset: int

    @property
    def last(self) -> int:
        """The seq of the last entry."""
        return self.first + self.count - 1


class Carved:
    """I am what is found in the pages of one database, when I am made.

    ``heads`` are those in the table of authors, ``rows`` what there is of each log, ascending, ``values`` those of the
    store itself, ``cursors`` those of readers.
    """

    def __init__(self, pages: Pages, path: str) -> None:
        """Look at all ``pages``; O(pages), some 20 us each, and as long as it takes to read one row where two say the
        same.  ``path`` is for the words of errors."""
        self.heads: dict[bytes, Head] = {}
        self.rows: dict[bytes, list[Found]] = {}
        self.forks: dict[bytes, ForkProof] = {}
        self.values: dict[str, bytes] = {}
        self.cursors: dict[str, Cursor] = defaultdict(Cursor)
        self._pages = pages
        self._path = path
        self._keys: dict[int, set[bytes]] = defaultdict(set)
        self._hints: dict[int, set[bytes]] = defaultdict(set)
        found: dict[int, list[Found]] = defaultdict(list)
        pages.patience = 2 * pages.count
        free = pages.free()
        for number in range(1, pages.count + 1):
            if number in free:
                continue
            for is_table, offset, cell in pages.cells(number):
                if (record := columns(cell.local)) is None:
                    continue
                values, sizes = record
                if not is_table:
                    self._take_key(values, sizes, cell)
                elif len(sizes) == 4:
                    self._take_author(cell.rowid, values)
                elif len(sizes) == 2:
                    self._take_fork(cell)
                elif len(sizes) == 10 and len(values) > 4:
                    _, author, first, count, holes = values[:5]
                    if (
                        type(author) is type(first) is type(count) is type(holes) is int
                        and first >= 1 <= count
                        and first + count - 1 <= MAX_SEQ
                    ):
                        found[author].append(Found(first, count, holes, sizes[-1], number, offset))
        self._sort(found)
        pages.patience = None
        self._keys.clear()
        self._hints.clear()

    def __bool__(self) -> bool:
        """Whether there is anything of a log."""
        return bool(self.rows or self.heads)

    def close(self) -> None:
        """Give the file back."""
        self._pages.close()

    def end(self, author: bytes) -> int:
        """Return the last seq of which there is a row."""
        rows = self.rows.get(author)
        return rows[-1].last if rows else 0

    def all_heads(self) -> Iterator[tuple[bytes, Head]]:
        """Yield every author's head: that of its last row, or a later one that the table of authors says."""
        for author in {**self.heads, **self.rows}:
            head = self.heads.get(author)
            if head is None or head.seq < self.end(author):
                head = self._last(author) or head
            if head is not None:
                yield author, head

    def _last(self, author: bytes) -> Head | None:
        """Return the head of the last row that can be read."""
        for row in reversed(self.rows[author]):
            with suppress(StoreDamagedError):
                _, entry_id = self.read(author, row)
                return Head(row.last, entry_id)
        return None

    def outlines(self, author: bytes, first: int) -> Iterator[Row]:
        """Yield the outlines of an author's rows that begin at ``first`` or later."""
        for row in self.rows.get(author, ())[self.behind(author, first - 1) :]:
            yield Row(row.first, row.count, row.size)

    def behind(self, author: bytes, seq: int) -> int:
        """Return which row of ``author`` is the first that begins behind ``seq``."""
        return bisect_right(self.rows.get(author, ()), seq, key=itemgetter(0))

    def starts(self, author: bytes, first: int, limit: int) -> list[int]:
        """Return where an author's next rows begin, from ``first`` on."""
        place = self.behind(author, first - 1)
        return [row.first for row in self.rows.get(author, ())[place : place + limit]]

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return neighbouring rows from the one with ``first`` on; O(rows returned).

        :raises StoreDamagedError: the first of them is not what was written.
        """
        found: list[Segment] = []
        following, size = first, 0
        for row in self.rows.get(author, ())[max(0, self.behind(author, first) - 1) :]:
            if found and (row.first != following or (last is not None and following > last)):
                break
            if not found and not row.first <= first <= row.last:
                break
            try:
                segment, _ = self.read(author, row)
            except StoreDamagedError:
                if not found:
                    raise
                break
            found.append(segment)
            following = row.last + 1
            size += toil_bytes(segment)
            if size >= limit_bytes:
                break
        return found

    def read(self, author: bytes, row: Found) -> tuple[Segment, bytes]:
        """Return a row, and the id of its last entry.

        :raises StoreDamagedError: it is not what was written.
        """
        whole = self._whole(row)
        if whole is None:
            raise StoreDamagedError(f"{self._path} is damaged: {short_key(author)} at entry {row.first}")
        return segment_of(author, whole, self._path), whole[4]

    def _whole(self, row: Found) -> tuple[Any, ...] | None:
        """Return the columns of a row from ``first`` on."""
        try:
            record = self._pages.whole(self._pages.cell(row.page, row.offset), _ROW_BYTES)
        except IndexError:
            return None
        taken = None if record is None else columns(record)
        return None if taken is None or len(taken[0]) != 10 else tuple(taken[0][2:])

    def _is_good(self, author: bytes, row: Found) -> bool:
        try:
            self.read(author, row)
        except StoreDamagedError:
            return False
        return True

    # -- one record

    def _take_author(self, number: int, values: list[Value]) -> None:
        if len(values) != 4:
            return
        _, author, seq, entry_id = values
        head = head_of(author, seq, entry_id)
        if type(author) is bytes and (author == leaving(number) or head is not None):
            self._keys[number].add(author)
            if head is not None and len(author) == KEY_BYTES:
                self.heads[author] = head

    def _take_key(self, values: list[Value], sizes: list[int], cell: Cell) -> None:
        """A record of an index: of a value, or of an author and its number."""
        if len(sizes) == 5 and len(values) == 5:
            name, *row = values
            if type(name) is str and is_whole(name.encode(), *row):
                author, seq, id8, _ = cast("tuple[bytes, int, bytes, int]", tuple(row))
                self.cursors[name].apply({author: (seq, id8)})
                return
        if len(sizes) != 2 or not values:
            return
        key, number = values[0], values[-1]
        if type(key) is bytes and len(key) in (KEY_BYTES, LEAVING_BYTES) and type(number) is int:
            self._hints[number].add(key)
        elif type(key) is str and (both := self._two(cell, _VALUE_BYTES)) is not None:
            value = unsealed("meta", key.encode(), both[1])
            if both[0] == key and value is not None:
                self.values[key] = value

    def _take_fork(self, cell: Cell) -> None:
        author, content = self._two(cell, _ROW_BYTES) or (None, None)
        if not isinstance(content, bytes):
            return
        try:
            proof = decode_proof(content)
            verify_proof(proof)
        except (GossiplogError, TypeError):
            return
        if proof.author == author:
            self.forks[proof.author] = proof

    def _two(self, cell: Cell, most: int) -> tuple[Value, Value] | None:
        """Return both values of a record that has two."""
        whole = self._pages.whole(cell, most)
        taken = None if whole is None else columns(whole)
        return None if taken is None or len(taken[0]) != 2 else (taken[0][0], taken[0][1])

    # -- all of them

    def _sort(self, found: dict[int, list[Found]]) -> None:
        """Give each author its rows: an index may know whose number that was, and the checksum which of several."""
        for number, rows in found.items():
            keys = self._keys.get(number) or self._hints.get(number) or set()
            for author in keys:
                if len(author) != KEY_BYTES:
                    continue  # it was deleted
                own = rows if len(keys) == 1 else [row for row in rows if self._is_good(author, row)]
                if own:
                    self.rows.setdefault(author, []).extend(own)
        for author, rows in self.rows.items():
            self.rows[author] = self._one_after_the_other(author, rows)

    def _one_after_the_other(self, author: bytes, rows: list[Found]) -> list[Found]:
        """Return rows of which none has an entry of another one."""
        chosen: list[Found] = []
        for row in sorted(rows, key=lambda row: (row.first, -row.count)):
            while chosen and chosen[-1].last >= row.first and not self._is_good(author, chosen[-1]):
                chosen.pop()
            if not chosen or chosen[-1].last < row.first:
                chosen.append(row)
        return chosen
