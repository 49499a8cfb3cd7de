"""Filling holes: a payload that was dropped is put back where its hash is.

Responsible for: finding what of a segment belongs into rows with holes, and the rows that take the place of these.
Must not know: where the segment comes from; requests, transactions.
Invariant: a body takes the place of its own hash and of nothing else, so ids, heads and clocks stay as they are, and
what is put on disk was signed, whoever sent it and whether or not what he sent is valid as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

from msgpack import ExtType
from sortedcontainers import SortedDict

from gossiplog.errors import BadSegmentError, BadSignatureError, StoreDamagedError, StoreError
from gossiplog.limits import FILL_ROWS, MAX_HOLED_AUTHORS, MAX_SEQ
from gossiplog.log import items
from gossiplog.log.disk_cost import Changes
from gossiplog.log.segment import (
    ROW_TOIL_BYTES,
    Head,
    Segment,
    chain_ids,
    split_items,
    tail_after,
    toil_bytes,
    verify,
)
from gossiplog.store.interface import Backend, Mend, PutSegment, Replace, Rows
from gossiplog.store.requests import FillRow, Reply, Request, RowFilled

_STEP_BYTES: Final = 512 * 1024
"""Work of one transaction, of whoever sent the segments: some ten milliseconds, which appends may have to wait."""

_ROWS_AT_ONCE: Final = 256
"""Rows with holes that are found at once: more than one transaction fills."""

_UNPACKED: Final = 8
"""To unpack a segment takes so much less than to verify it."""


class HoleFiller:
    """I fill the rows of one backend in one transaction, of which ``writes`` are what is to be done."""

    def __init__(self, backend: Backend, forgotten: Collection[bytes]) -> None:
        """Begin with what is on disk; of those ``forgotten`` nothing is left to be filled."""
        self.writes: list[Replace | Mend] = []
        self.changes = Changes()
        self._backend = backend
        self._forgotten = forgotten
        self._left_bytes = _STEP_BYTES
        self._rows: dict[bytes, SortedDict[int, Segment]] = {}

    @property
    def rows(self) -> list[Segment]:
        """The rows that are written."""
        return [row for rows in self._rows.values() for row in rows.values()]

    @property
    def authors(self) -> tuple[bytes, ...]:
        """Of whom rows are written."""
        return tuple(author for author, rows in self._rows.items() if rows)

    def take(self, request: FillRow) -> RowFilled | FillRow | StoreError:
        """Put what a segment has in the place of holes; nothing is found in a segment that is none.

        Once the work of one transaction is done, what comes after it is for another one: that is returned.  So is the
        error when what is there cannot be read.
        """
        if request.segment.author in self._forgotten:
            return RowFilled()
        try:
            return self._take(request)
        except StoreError as error:
            return error

    def say_what_is_left(self, requests: Sequence[Request], results: list[Reply]) -> None:
        """Complete the ``results`` of those ``requests`` that filled something, now that it is durable."""
        for place, (request, result) in enumerate(zip(requests, results, strict=True)):
            if isinstance(request, FillRow) and isinstance(result, RowFilled) and result.count:
                is_left = bool(self._backend.holed(request.segment.author, 1, MAX_SEQ, 1))
                results[place] = result._replace(is_left=is_left)

    def _take(self, request: FillRow) -> RowFilled | FillRow:
        segment, first, before = request
        found = before or RowFilled()
        if self._left_bytes <= 0:
            return request
        self._left_bytes -= ROW_TOIL_BYTES
        author, start = segment.author, max(segment.first, first)
        holed = self._backend.holed(author, start, segment.last, _ROWS_AT_ONCE)
        if not holed:
            return found
        try:
            given = split_items(segment)
        except BadSegmentError:
            return found
        self._left_bytes -= toil_bytes(segment) // _UNPACKED
        for each in holed:
            seq = max(start, each.first)
            while seq <= min(segment.last, each.last) and (row := self._row(author, seq)) is not None:
                if self._left_bytes <= 0:
                    return FillRow(segment, seq, found)
                self._left_bytes -= toil_bytes(row)
                found = _joined(found, self._fill(row, segment, given), toil_bytes(row))
                seq = row.last + 1
        if len(holed) == _ROWS_AT_ONCE and holed[-1].last < segment.last:
            return FillRow(segment, holed[-1].last + 1, found)
        return found

    def _fill(self, row: Segment, segment: Segment, given: Sequence[items.Item]) -> RowFilled:
        filled = split_items(row)
        brought = []
        for seq in range(max(row.first, segment.first), min(row.last, segment.last) + 1):
            hole, body = filled[seq - row.first], given[seq - segment.first]
            if isinstance(hole, ExtType) and isinstance(body, bytes) and sha256(body).digest() == hole.data:
                filled[seq - row.first] = body
                brought.append(seq)
        if not (brought and (self._cut(row, segment, filled) or self._put_whole(row, filled))):
            return RowFilled()
        return RowFilled(brought[0], brought[-1], len(brought))

    def _put_whole(self, row: Segment, filled: Sequence[items.Item]) -> bool:
        """Put a filled row in the place of itself, if it is not too long now."""
        if items.check_limits(row.count, items.minimal_size(filled)) is not None:
            return False
        whole = row._replace(bodies=items.join(filled))
        self._put(row, [whole], Replace(row.author, row.first, row.last, whole))
        return True

    def _cut(self, row: Segment, segment: Segment, filled: Sequence[items.Item]) -> bool:
        """End a filled row where ``segment`` ends, if there are holes behind it; the rest is another row.

        Somebody may have joined more without bodies than fits with them, and a row can end only where it was signed.
        """
        count = segment.last - row.first + 1
        if not any(isinstance(item, ExtType) for item in filled[count:]):
            return False
        ids = chain_ids(row)
        try:
            head = verify(segment)
        except (BadSegmentError, BadSignatureError):
            return False
        if (
            head.id != ids[count - 1]
            or items.check_limits(count, items.minimal_size(filled[:count])) is not None
        ):
            return False
        front = row._replace(count=count, signature=segment.signature, bodies=items.join(filled[:count]))
        rest = PutSegment(tail_after(row, *head), Head(row.last, ids[-1]))
        self._put(row, [front, rest.segment], Mend([PutSegment(front, head), rest]))
        return True

    def _put(self, before: Segment, rows: Sequence[Segment], write: Replace | Mend) -> None:
        self.writes.append(write)
        self.changes.instead(before.author, [len(row.bodies) for row in rows], [len(before.bodies)])
        known = self._rows.setdefault(rows[0].author, SortedDict())
        known.update({row.first: row for row in rows})

    def _row(self, author: bytes, seq: int) -> Segment | None:
        """Return the row that has ``seq``, with what was filled already."""
        known = self._rows.get(author)
        if known:
            place = known.bisect_right(seq) - 1
            if place >= 0 and known.peekitem(place)[1].last >= seq:
                row: Segment = known.peekitem(place)[1]
                return row
        rows = self._backend.segments(author, seq, 1)
        return rows[0] if rows else None


def _joined(before: RowFilled, more: RowFilled, toil: int) -> RowFilled:
    """Return both together, after so much work for the second."""
    if not more.count:
        return before._replace(vain_bytes=before.vain_bytes + toil)
    if not before.count:
        return more._replace(vain_bytes=before.vain_bytes)
    return before._replace(last=more.last, count=before.count + more.count)


def holed_authors(rows: Rows) -> set[bytes]:
    """Return authors of whom payloads are missing, up to ``MAX_HOLED_AUTHORS``; O(rows of theirs with holes)."""
    found: set[bytes] = set()
    with suppress(StoreDamagedError):  # those that are found have to do
        holed = rows.holed_after(None, FILL_ROWS)
        while holed and len(found) < MAX_HOLED_AUTHORS:
            found.update(row.author for row in holed)
            holed = rows.holed_after(holed[-1], FILL_ROWS)
    return found
