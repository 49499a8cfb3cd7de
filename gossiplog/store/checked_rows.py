"""Rows that were found to be what their author signed, since the store was opened.

Responsible for: verifying what is read from disk before it is shown or sent, and not again and again.
Must not know: where rows come from, or who gets them.
Invariant: nothing leaves :meth:`CheckedRows.check` whose chain and signature were not verified in this process, byte
for byte as it is now.  A row's checksum finds accidents; whoever changes a row can sum it again, but cannot sign it.
"""

from __future__ import annotations

from typing import Final

from gossiplog.errors import BadSegmentError, BadSignatureError, StoreDamagedError
from gossiplog.log.clock_view import ClockView
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Segment, verify
from gossiplog.store.interface import Backend

_REMEMBERED: Final = 16_384
"""Rows, in 2 MB: two gigabytes of a log in full rows, so that a relay hashes what many ask for once."""


class CheckedRows:
    """I vouch for the rows of one store, against its clock."""

    def __init__(self, path: str, clock: ClockView) -> None:
        """Begin with nothing verified."""
        self._path = path
        self._clock = clock
        self._verified: dict[int, None] = {}

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

    def check_end(self, author: bytes, backend: Backend) -> None:
        """Check that a local log on disk ends as its head says: signing behind a damaged head would fork the log.

        :raises StoreDamagedError: it does not.
        """
        head = self._clock.head(author)
        if head is None:
            return
        last = backend.segments(author, head.seq, 1)
        try:
            if last and verify(last[0]) == head and not backend.segments(author, head.seq + 1, 1):
                return
        except (BadSegmentError, BadSignatureError):
            pass
        raise StoreDamagedError(
            f"{self._path} is damaged: the log of {short_key(author)} does not end as its head says"
        )

    def _verify(self, segment: Segment) -> None:
        author, first = segment.author, segment.first
        try:
            head = verify(segment)
        except (BadSegmentError, BadSignatureError) as error:
            reason = f"{short_key(author)} at entry {first} is not what its author signed: {error}"
            raise StoreDamagedError(f"{self._path} is damaged: {reason}") from error
        known = self._clock.head(author)
        if known is not None and known.seq == head.seq and known.id != head.id:
            reason = f"the log of {short_key(author)} does not end as its head says"
            raise StoreDamagedError(f"{self._path} is damaged: {reason}")
