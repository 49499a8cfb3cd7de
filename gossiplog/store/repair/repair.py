"""Repairing what a check found: damaged logs of others are cut, our own are mended or stay.

Responsible for: the writes that bring a damaged store in order, and what became of each log.
Must not know: peers; how a damaged database file is read (``salvaging``).
Invariant: nothing verified of a local writer is ever removed, and what is put in the place of damaged entries is whole
and has the ids that the rest of the log gives them.  Logs of others are cut to their whole beginning: what is behind it
comes again from peers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from gossiplog.errors import BadSegmentError, BadSignatureError, StoreDamagedError
from gossiplog.log.clock_view import HeadView, MovingClock
from gossiplog.log.cursor import Cursor
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, Segment, id_at, tail_after, verify, verify_whole
from gossiplog.store.interface import Backend, Cut, Mend, PutCursor, PutSegment
from gossiplog.store.repair.verify import Damage, VerifyReport
from gossiplog.store.torn_ends import TornEnds

Donor = Callable[[bytes, int, int], list[Segment]]
"""``donor(author, first, limit_bytes)``: another store's rows, from the one that contains ``first`` on."""


@dataclass
class RepairReport:
    """What a repair did.

    ``heads`` are the heads that were changed, ``None`` where nothing is left; ``cut`` are logs of others with the seq
    they reached before and reach now, ``mended`` seqs of local writers that have their entries again, ``cursors`` those
    that are read from the beginning for some authors, ``left`` what is still damaged.
    """

    heads: dict[bytes, Head | None] = field(default_factory=dict)
    cut: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    mended: list[tuple[bytes, int, int]] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    left: list[Damage] = field(default_factory=list)


def repair_logs(
    backend: Backend,
    clock: MovingClock,
    torn: TornEnds,
    local: Collection[bytes],
    damaged: VerifyReport,
    donor: Donor | None,
) -> RepairReport:
    """Write what brings the logs of ``backend`` in order; ``clock`` then says what they are."""
    repairing = _Repairing(backend, torn.said(), local, damaged, donor)
    report = repairing.report
    if repairing.writes:
        backend.commit(repairing.writes)
        torn.forget(report.heads)
        for author, head in report.heads.items():
            clock.set(author, head)
    torn.look_again(local)
    return report


class _Repairing:
    """I decide what is written to bring one store in order, from a report of what is wrong with it."""

    def __init__(
        self,
        backend: Backend,
        clock: HeadView,
        local: Collection[bytes],
        damaged: VerifyReport,
        donor: Donor | None,
    ) -> None:
        """``damaged`` is what a check of the store found; ``donor`` has own entries, if anybody has."""
        self.report = RepairReport()
        self.writes: list[Cut | Mend | PutCursor] = []
        self._backend = backend
        self._clock = clock
        self._donor = donor
        for author in damaged.whole:
            damages = [damage for damage in damaged.damages if damage.author == author]
            first, head = damaged.whole[author]
            only_the_head = all(damage.last < damage.first for damage in damages)
            if author not in local:
                self._cut(author, first, head)
                self.report.cut[author] = clock.seq(author), head.seq
            elif only_the_head and head.seq >= clock.seq(author):
                self._cut(author, first, head)
                self.report.mended.append((author, head.seq, head.seq))
            elif donor is not None:
                self._mend(author, damages)

        for name in damaged.cursors:
            whole = backend.cursor(name).cursor
            self.writes.append(PutCursor(name, whole.difference(Cursor()), anew=True))
            self.report.cursors.append(name)

    def _cut(self, author: bytes, first: int, head: Head) -> None:
        kept = self.report.heads[author] = head if head.seq else None
        self.writes.append(Cut(author, first, kept))

    def _mend(self, author: bytes, damages: list[Damage]) -> None:
        """Fill each place from the donor, as far as it has what was there."""
        done = 0
        for damage in sorted(damages):
            if not done < damage.first <= damage.last:
                continue
            rows = list(self._replacement(author, damage.first))
            if rows:
                done = rows[-1].head.seq
                self.writes.append(Mend(rows))
                self.report.mended.append((author, damage.first, done))

    def _replacement(self, author: bytes, first: int) -> Iterator[PutSegment]:
        """Yield the donor's rows from ``first`` on until they meet what is whole here; none if they never do."""
        position = self._end_before(author, first)
        rows: list[PutSegment] = []
        while position is not None:
            if rows and (rest := self._rest(author, position)) is not None:
                yield from [*rows, *rest]
                return
            row = self._from_donor(author, position)
            position = None
            if row is not None:
                rows.append(row)
                position = row.head

    def _end_before(self, author: bytes, first: int) -> Head | None:
        if first == 1:
            return Head(0, genesis_id(author))
        row = _row(self._backend.segments, author, first - 1)
        return None if row is None or row.head.seq != first - 1 else row.head

    def _rest(self, author: bytes, position: Head) -> list[PutSegment] | None:
        """Return what is left of the row here that goes on behind ``position``, ``None`` if none does."""
        if position == self._clock.head(author):
            return []
        row = _row(self._backend.segments, author, position.seq + 1)
        return None if row is None else _behind(row, position)

    def _from_donor(self, author: bytes, position: Head) -> PutSegment | None:
        assert self._donor is not None
        row = _row(self._donor, author, position.seq + 1, verify_whole)
        behind = None if row is None else _behind(row, position)
        if row is None or behind is None or row.head.seq > self._clock.seq(author):
            return None
        return behind[0] if behind else row


def _row(
    read: Donor, author: bytes, seq: int, check: Callable[[Segment], Head] = verify
) -> PutSegment | None:
    """Return the row that contains ``seq`` if it is what its author signed."""
    try:
        rows = read(author, seq, 1)
        return PutSegment(rows[0], check(rows[0])) if rows else None
    except (StoreDamagedError, BadSegmentError, BadSignatureError):
        return None


def _behind(row: PutSegment, position: Head) -> list[PutSegment] | None:
    """Return the part of ``row`` behind ``position``: empty if it is all of it, ``None`` if that is another log."""
    if id_at(row.segment, position.seq) != position.id:
        return None
    if row.segment.first == position.seq + 1:
        return []
    return [PutSegment(tail_after(row.segment, *position), row.head)]
