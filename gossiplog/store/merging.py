"""Merging: small rows of a log become full ones, later and a few at a time.

Responsible for: knowing which logs have small rows, choosing runs worth merging, putting one row in their place.
Must not know: requests, clocks, the network.
Invariant: a signature is given up only after the one that replaces it was checked over the merged entries; and an entry
is written again at most a few times, however its log grew: only rows of about one size are merged, eight at a time, or
what fills a row for good.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from typing import Final

from gossiplog.errors import BadSegmentError, BadSignatureError, StoreDamagedError
from gossiplog.limits import MAX_SEGMENT_ENTRIES, SEGMENT_TARGET_BYTES
from gossiplog.log.disk_cost import Changes
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Segment, count_holes, merge, verify
from gossiplog.store.interface import Backend, Replace, Row

FAN_IN: Final = 8
"""Rows of one tier that make a merge: small enough for a short tail of small rows, large enough that an entry moves
through three tiers only."""

_TIER_BYTES: Final = (SEGMENT_TARGET_BYTES // 128, SEGMENT_TARGET_BYTES // 16)
"""Where tiers 1 and 2 begin, a factor of FAN_IN apart; half a segment ends tier 2."""

_ROWS_AT_ONCE: Final = FAN_IN**3
"""Looked at together: among fewer there need not be a run."""

_MOST_ROWS: Final = 128
"""Rows of a run."""

_WHOLE_RUN_BYTES: Final = 1 << 30
"""More than any run takes to read."""

_ROW_BYTES: Final = 2560
"""What merging a row counts against the limit besides its size: it is found, checked and deleted in about 10 us."""

_LOOK_BACK: Final = FAN_IN * MAX_SEGMENT_ENTRIES // 2
"""Seqs before the first small row of this process where an earlier process may have left some."""

_LOOK_BYTES: Final = 8192
"""What looking at a log counts against the limit, so that many logs without work don't make a long call."""


class _Prepared:
    """What one commit will do: the rows to merge, and from where their logs are looked at next."""

    def __init__(self) -> None:
        self.writes: list[Replace] = []
        self.changes = Changes()
        self.starts: dict[bytes, int] = {}
        self.damage: StoreDamagedError | None = None

    def forget(self, author: bytes) -> None:
        """Nothing is to be done with a log."""
        self.writes = [write for write in self.writes if write.author != author]
        self.changes.pop(author, None)
        self.starts.pop(author, None)


class Merger:
    """I merge the small rows of one backend when asked to, in small steps: look, read and check, commit, make room.

    ``changes`` is by how much what authors take on disk changed by that; whoever reads it clears it.
    """

    def __init__(self, backend: Backend) -> None:
        """Begin with an empty work list; a log is looked at when it first grows by a small row."""
        self._backend = backend
        self._small: dict[bytes, int] = {}
        self._start: dict[bytes, int] = {}
        self._queue: dict[bytes, int] = {}
        self._runs: dict[bytes, list[list[Row]]] = {}
        self._prepared = _Prepared()
        self._committed = False
        self.changes = Changes()

    def note(self, segment: Segment) -> None:
        """Take notice of a new row.  O(1)."""
        if is_full(Row(segment.first, segment.count, len(segment.bodies))):
            return
        author = segment.author
        if segment.first == 1:
            return  # most authors that come have no more: they are not worth a place in a table
        small = self._small.get(author, min(segment.first - 1, FAN_IN)) + 1
        self._small[author] = small
        if small >= FAN_IN:
            self._queue.setdefault(author, segment.first)

    def look_at(self, authors: Iterable[bytes]) -> None:
        """Look at logs from their beginning, whatever was known of them."""
        for author in authors:
            self._queue[author] = 1
            self._start[author] = 1
            self._runs.pop(author, None)

    def forget(self, author: bytes) -> None:
        """Drop everything known about a log."""
        for known in (self._small, self._start, self._queue, self._runs):
            known.pop(author, None)
        self.changes.pop(author, None)
        self._prepared.forget(author)

    def step(self, limit_bytes: int) -> bool:
        """Prepare up to about ``limit_bytes`` (at least one run), or commit what the last step prepared, or do what the
        backend has to do after that; return whether to come again.

        O(1) without work.  What cannot be merged because it is damaged is passed over, and said once:

        :raises StoreDamagedError: after the merges that could be done.
        :raises StoreError: what a commit raises; the work list is as before.
        """
        if self._committed:
            self._committed = False
            self._backend.checkpoint()
            return True
        if not self._prepared.writes:
            self._prepare(limit_bytes)
            if self._prepared.writes:
                return True
        prepared, self._prepared = self._prepared, _Prepared()
        if prepared.writes:
            try:
                self._backend.commit(prepared.writes)
            except BaseException:
                self._runs.clear()
                raise
            self._committed = True
            for author, change in prepared.changes.items():
                self.changes.add(author, change)
        self._start.update(prepared.starts)
        if prepared.damage is not None:
            raise prepared.damage
        return self._committed or bool(self._queue)

    def _prepare(self, limit_bytes: int) -> None:
        prepared = self._prepared
        settled: list[bytes] = []
        used = 0
        for author, noted in self._queue.items():
            if used >= limit_bytes:
                break
            runs = self._runs.pop(author, None)
            if runs is None:
                used += _LOOK_BYTES
                start = self._start.get(author, max(1, noted - _LOOK_BACK))
                try:
                    rows = list(islice(self._backend.rows(author, start), _ROWS_AT_ONCE))
                except StoreDamagedError as error:
                    prepared.damage = prepared.damage or error
                    prepared.starts[author] = noted + 1
                    settled.append(author)
                    continue
                runs = plan(rows)
                if not runs:
                    full = (row.first + row.count for row in rows if is_full(row))
                    prepared.starts[author] = max(full, default=start)
                    if len(rows) < _ROWS_AT_ONCE:
                        settled.append(author)
                    continue
                if len(runs) > 1:  # a long look is a step of its own
                    self._runs[author] = runs
                    break
            while runs and (used < limit_bytes or not prepared.writes):
                used += self._try(author, runs.pop(0))
            if runs:
                self._runs[author] = runs
        for author in settled:
            del self._queue[author]
            self._small[author] = 0

    def _try(self, author: bytes, run: Sequence[Row]) -> int:
        """Prepare to merge a run; return what that counts against the limit."""
        prepared = self._prepared
        try:
            write, passed = self._merged(author, run)
        except (StoreDamagedError, BadSegmentError, BadSignatureError) as error:
            prepared.damage = prepared.damage or self._damage(author, run, error)
            write, passed = None, _last(run)
        if write is not None:
            prepared.writes.append(write)
        if passed:
            prepared.starts[author] = passed + 1
        return sum(row.size + _ROW_BYTES for row in run)

    def _merged(self, author: bytes, run: Sequence[Row]) -> tuple[Replace | None, int]:
        """Return the write for a run, and the last seq of a row that must stay as it is (0 if none).

        Rows with holes stay alone: what is merged with one could not go to a peer that wants none, and a full row has
        no room for the bodies to come back.
        """
        segments = self._backend.segments(author, run[0].first, _WHOLE_RUN_BYTES, _last(run))
        if segments and segments[-1].last < _last(run):  # the next one is damaged, and asked for says how
            segments += self._backend.segments(author, segments[-1].last + 1, 1)
        whole = next((place for place, segment in enumerate(segments) if count_holes(segment)), len(segments))
        passed = segments[whole].last if whole < len(segments) else 0
        if whole < 2:
            return None, passed or _last(run)
        merged = merge(segments[:whole])
        verify(merged)
        self._prepared.changes.instead(
            author, [len(merged.bodies)], [len(segment.bodies) for segment in segments[:whole]]
        )
        return Replace(author, merged.first, merged.last, merged), passed

    def _damage(self, author: bytes, run: Sequence[Row], error: Exception) -> StoreDamagedError:
        where = f"the log of {short_key(author)} from {run[0].first} to {_last(run)}"
        return StoreDamagedError(f"{self._backend.path}: {where} is damaged: {error}")


def is_full(row: Row) -> bool:
    """Tell whether a row is left alone for good: two such would not fit one segment."""
    return row.size >= SEGMENT_TARGET_BYTES // 2 or row.count >= MAX_SEGMENT_ENTRIES // 2


def plan(rows: Sequence[Row]) -> list[list[Row]]:
    """Choose runs of neighbouring rows to merge, from rows in their order; empty when none is worth it.  O(n)."""
    runs: list[list[Row]] = []
    for full, group in groupby(rows, is_full):
        if not full:
            rest = _fill(list(group), runs)
            runs.extend(_of_one_tier(rest))
    return [piece for run in runs for piece in _pieces(run)]


def _pieces(run: list[Row]) -> list[list[Row]]:
    """Cut a run of very many rows, for an append may wait until one is merged; a short end is left for later."""
    pieces = [run[at : at + _MOST_ROWS] for at in range(0, len(run), _MOST_ROWS)]
    return pieces if len(pieces) == 1 else [piece for piece in pieces if len(piece) >= FAN_IN]


def _fill(rows: list[Row], runs: list[list[Row]]) -> list[Row]:
    """Add runs that fill a row for good to ``runs``, return the rows behind them."""
    begin = size = count = 0
    for place, row in enumerate(rows):
        if size + row.size > SEGMENT_TARGET_BYTES or count + row.count > MAX_SEGMENT_ENTRIES:
            runs.append(rows[begin:place])
            begin, size, count = place, 0, 0
        size += row.size
        count += row.count
    return rows[begin:]


def _of_one_tier(rows: list[Row]) -> list[list[Row]]:
    tiers = [bisect_right(_TIER_BYTES, row.size) for row in rows]
    for tier in (2, 1, 0):
        runs: list[list[Row]] = []
        end = 0
        for low, group in groupby(tiers, tier.__ge__):
            begin, end = end, end + len(run_tiers := list(group))
            if low and run_tiers.count(tier) >= FAN_IN:
                runs.append(rows[begin:end])
        if runs:
            return runs
    return []


def _last(run: Sequence[Row]) -> int:
    return run[-1].first + run[-1].count - 1
