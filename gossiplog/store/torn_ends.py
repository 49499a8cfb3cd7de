"""Logs whose end cannot be read: such a log counts up to where it can be, and its end comes again from peers.

Responsible for: finding them when a store is opened, and what is written when entries take the place of lost ones.
Must not know: who asks; whether anybody has the lost entries.
Invariant: what is claimed of a log at an opening is a row that is there.  Nothing is removed before verified entries
are there to take its place, or somebody says that it is lost for good; until then no own seq is signed again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain, islice
from typing import Final, NamedTuple

from gossiplog.errors import BadSegmentError, BadSignatureError, StoreCopiedError, StoreDamagedError
from gossiplog.limits import CHECKED_ENDS_BYTES, MAX_SEQ
from gossiplog.log.clock_view import CountedView, MovingClock
from gossiplog.log.keys import format_author, genesis_id, short_key
from gossiplog.log.segment import Head, Segment, verify
from gossiplog.store.checked_rows import find_rows
from gossiplog.store.interface import Backend, Cut, Guard, Rows
from gossiplog.store.repair.verify import Damage

_ROW_BYTES: Final = 512
"""What a row counts besides its items."""


class Torn(NamedTuple):
    """A log that is said to reach to ``said``: its last row that can be read begins at ``first`` and ends with
    ``head``; both are 0 where none can."""

    first: int
    head: Head
    said: Head
    reason: str


class TornEnds:
    """I know which logs of a store end before they should; ``clock`` says from then on where they do.

    Those of ``own`` authors are all looked at, of the others as many as ``CHECKED_ENDS_BYTES`` allow.  ``lost`` says
    up to which seq of an own log there were entries: nothing is signed in their place.
    """

    def __init__(self, backend: Backend, clock: MovingClock, own: Collection[bytes]) -> None:
        self._backend = backend
        self._clock = clock
        self._own = own
        self._torn: dict[bytes, Torn] = {}
        self.lost: dict[bytes, int] = {}
        room = CHECKED_ENDS_BYTES
        others = (author for author, _ in islice(clock.range(), CHECKED_ENDS_BYTES // _ROW_BYTES))
        for author in list(chain(own, (author for author in others if author not in own))):
            if room <= 0 and author not in own:
                break
            room -= self._look(author)

    def __contains__(self, author: object) -> bool:
        return author in self._torn

    def __bool__(self) -> bool:
        return bool(self._torn)

    def damages(self) -> list[Damage]:
        """Return what is lost."""
        return [
            Damage(author, torn.head.seq + 1, torn.said.seq, torn.reason)
            for author, torn in self._torn.items()
        ]

    def said(self) -> CountedView:
        """Return the clock as the store says it is; where not all of it is in memory, as it is."""
        if not self._torn or not self._clock.is_whole:
            return self._clock
        clock = self._clock.copy()
        for author, torn in self._torn.items():
            clock.set(author, torn.said)
        return clock

    def refusal(self, author: bytes) -> StoreDamagedError | None:
        """Return why nothing may be signed behind a log whose end is ``lost``, and not back."""
        if self._clock.seq(author) >= self.lost.get(author, 0):
            return None
        reason = (
            f"the end of the log of {short_key(author)} cannot be read, so nothing is signed in its place: "
        )
        help_ = "gossiplog verify --repair --from another store, or gossiplog recover"
        return StoreDamagedError(f"{self._backend.path} is damaged: {reason}{help_}")

    def in_words(self) -> str:
        """Say of which own log the end is lost, ``""`` if of none."""
        for author, seq in self.lost.items():
            if self._clock.seq(author) < seq:
                return f"the end of the log of its writer {format_author(author)} cannot be read"
        return ""

    def require_all_back(self) -> None:
        """Raise :class:`StoreCopiedError` while the end of an own log is lost."""
        for author, seq in self.lost.items():
            if self._clock.seq(author) < seq:
                reason = f"none of the peers asked has the own entry {seq}, which cannot be read here"
                raise StoreCopiedError(self._backend.path, reason)

    def give_up(self, rows: Rows, guard: Guard) -> None:
        """What is lost of our own logs is lost for good, or back: from now on new entries get the seqs behind what is
        here; durable on return."""
        if cuts := self.cuts(self._own):
            rows.commit(cuts)
            for author, _, head in cuts:
                guard.signed(author, 0 if head is None else head.seq)
        self.forget(self._own)
        self.lost.clear()

    def look_again(self, authors: Iterable[bytes]) -> None:
        """Something of ``authors`` is to be written: if their ends can be read by now, they count again."""
        for author in self._torn.keys() & set(authors):
            torn = self._torn.pop(author)
            self._clock.set(author, torn.said)
            self._look(author)

    def cuts(self, authors: Iterable[bytes]) -> list[Cut]:
        """Return the writes that make room behind what can be read of ``authors``."""
        torn = {author: self._torn[author] for author in authors if author in self._torn}
        return [
            Cut(author, first, head if head.seq else None) for author, (first, head, _, _) in torn.items()
        ]

    def forget(self, authors: Iterable[bytes]) -> None:
        """The logs of ``authors`` are as their heads say."""
        for author in authors:
            self._torn.pop(author, None)

    def _look(self, author: bytes) -> int:
        """Note it if the end of a log cannot be read; return what that counts."""
        said = self._clock.head(author)
        if said is None:
            return 0
        row = self._row(author, said.seq)
        if isinstance(row, Segment):
            return _ROW_BYTES + len(row.bodies)
        try:
            starts = self._backend.starts(author, 1, MAX_SEQ)
        except StoreDamagedError:  # nobody knows where to look: readers say what they miss
            return _ROW_BYTES
        first, head = 0, Head(0, genesis_id(author))
        for start in reversed(starts):
            kept = self._row(author, start) if start <= said.seq else row
            if isinstance(kept, Segment) and kept.last < said.seq and (ours := _head(kept)) is not None:
                first, head = kept.first, ours
                break
        self._torn[author] = Torn(first, head, said, row)
        if author in self._own:
            self.lost[author] = said.seq
        self._clock.set(author, head if head.seq else None)
        return _ROW_BYTES

    def _row(self, author: bytes, seq: int) -> Segment | str:
        """Return the row that contains ``seq``, or why it cannot be read."""
        try:
            rows = find_rows(self._backend, author, seq, 1, None)
        except StoreDamagedError as error:
            return str(error)
        return rows[0] if rows else f"entry {seq} is missing"


def _head(row: Segment) -> Head | None:
    try:
        return verify(row)
    except (BadSegmentError, BadSignatureError):
        return None
