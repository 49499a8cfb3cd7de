"""Rows that were found to be what their author signed, since the store was opened.

Responsible for: verifying what is read from disk before it is shown or sent, and not again and again.
Must not know: where rows come from, or who gets them.
Invariant: nothing leaves :meth:`CheckedRows.check` whose chain and signature were not verified in this process, byte
for byte as it is now.  A row's checksum finds accidents; whoever changes a row can sum it again, but cannot sign it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from gossiplog.errors import BadSegmentError, BadSignatureError, StoreDamagedError
from gossiplog.log.clock_view import ClockView
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Segment, Unfolded, unfold, verify, verify_unfolded
from gossiplog.store.interface import Rows
from gossiplog.store.reading_around import Stretch, read_around

_REMEMBERED: Final = 16_384
"""Rows, in 2 MB: two gigabytes of a log in full rows, so that a relay hashes what many ask for once."""


def find_rows(rows: Rows, author: bytes, first: int, limit_bytes: int, last: int | None) -> list[Segment]:
    """Return rows of which there should be some, wherever they are.

    :raises StoreDamagedError: the first one is not what was written.
    """
    try:
        found = rows.segments(author, first, limit_bytes, last)
    except StoreDamagedError:
        with suppress(StoreDamagedError):
            if found := rows.search(author, first, limit_bytes, last):
                return found
        raise
    return found or rows.search(author, first, limit_bytes, last)


class CheckedRows:
    """I vouch for the rows of one store, against its clock."""

    def __init__(self, rows: Rows, clock: ClockView) -> None:
        """Begin with nothing verified."""
        self._rows = rows
        self._path = rows.path
        self._clock = clock
        self._verified: dict[int, None] = {}
        self._last: tuple[Segment, Unfolded] | None = None

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None) -> list[Segment]:
        """Return neighbours from the row with ``first`` on, up to one that is not what its author signed.

        :raises StoreDamagedError: that is the first of them.
        """
        if 1 <= first <= self._clock.seq(author):
            read = find_rows(self._rows, author, first, limit_bytes, last)
        else:
            read = self._rows.segments(author, first, limit_bytes, last)
        found: list[Segment] = []
        for row in read:
            try:
                found.append(self.check(row))
            except StoreDamagedError:
                if not found:
                    raise
                break
        return found

    def check(self, segment: Segment) -> Segment:
        """Return a row that was read if it is what its author signed, as far as the log goes.

        As much as :func:`verify` the first time; then 30 us for a full one, whose hash has to be one that was verified
        (SipHash under the key of this process, which nobody knows who could make another row with the same).

        :raises StoreDamagedError: it is not.
        """
        key = hash(segment)
        if key not in self._verified:
            self._verify(segment)
            if len(self._verified) >= _REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[key] = None
        return segment

    def unfold(self, segment: Segment) -> Unfolded:
        """Return items and ids of a segment that was checked; those of the last one are at hand if that was its first
        time."""
        last, self._last = self._last, None
        return last[1] if last is not None and last[0] is segment else unfold(segment)

    def unchecked(self, author: bytes, first: int, limit_bytes: int, last: int) -> Stretch:
        """Return rows that nobody is shown: without a look at what their author signed, and around those whose checksum
        does not fit."""
        end = min(last, self._clock.seq(author))
        if first > end:
            return Stretch([])
        return read_around(self._rows, partial(find_rows, self._rows), author, first, limit_bytes, end)

    def check_end(self, author: bytes) -> None:
        """Check that a local log on disk ends as its head says: signing behind a damaged head would fork the log.

        :raises StoreDamagedError: it does not.
        """
        head = self._clock.head(author)
        if head is None:
            return
        last = self._rows.segments(author, head.seq, 1)
        try:
            if last and verify(last[0]) == head and not self._rows.segments(author, head.seq + 1, 1):
                return
        except (BadSegmentError, BadSignatureError):
            pass
        raise StoreDamagedError(
            f"{self._path} is damaged: the log of {short_key(author)} does not end as its head says"
        )

    def _verify(self, segment: Segment) -> None:
        author, first = segment.author, segment.first
        try:
            head, unfolded = verify_unfolded(segment)
        except (BadSegmentError, BadSignatureError) as error:
            reason = f"{short_key(author)} at entry {first} is not what its author signed: {error}"
            raise StoreDamagedError(f"{self._path} is damaged: {reason}") from error
        self._last = segment, unfolded
        known = self._clock.head(author)
        if known is not None and known.seq == head.seq and known.id != head.id:
            reason = f"the log of {short_key(author)} does not end as its head says"
            raise StoreDamagedError(f"{self._path} is damaged: {reason}")
