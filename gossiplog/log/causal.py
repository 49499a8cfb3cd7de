"""Merging logs into the one order of their entries, as they come.

Responsible for: which entry is the next of all, what has to be read for that, what is waited for and how long.
Must not know: disks, reactors, how entries are decoded.  Time is told.
Invariant: entries are handed over in the order of their places, but for those that came too late for that, which are
marked; each once, each log ascending.  No entry waits for another one longer than ``limits.PATIENCE_SECONDS`` from when
it came; what anybody names is looked up a few times before others go on without it.  Remembered are some numbers of
each log and of each of its zones, and the rows of ``limits.ORDER_MEMORY_BYTES``.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sortedcontainers import SortedSet

from gossiplog import limits
from gossiplog.log.debts import Debt, Late
from gossiplog.log.log_state import BEFORE, LogState
from gossiplog.log.opened import Opened, Ready, Row
from gossiplog.log.place import Place, Stated
from gossiplog.log.placer import Placed
from gossiplog.log.segment import Segment
from gossiplog.log.waiting import Read, Waiting
from gossiplog.log.zone_list import ZoneList

_LOGS_AT_ONCE: Final = 8
"""Read in one step."""

_SKIPPED_AT_ONCE: Final = 4096

_BACK_SHARE: Final = 10
"""Placing entries anew, because something came late, takes no more than this part of the time: anybody may write what
makes that necessary, as often as he likes."""

_ROWS_KEPT: Final = 64
"""Of which some entries wait, in some 20 MB."""


class Causal:
    """I merge logs.  Tell me what is held (:meth:`hold`) and the time (:meth:`tick`); read what I :meth:`ask` for, and
    :meth:`take` what is next.

    ``read(author)`` is the last seq that was handed over before; ``comes(author)`` whether more may come of a log, if
    anything may.  Where nothing may, all is looked up, and the order is the right one.
    """

    def __init__(
        self,
        read: Callable[[bytes], int],
        comes: Callable[[bytes], bool] | None = None,
        settle: float = 0.0,
    ) -> None:
        self._read = read
        self._settle = settle
        self._now = 0.0
        self._logs: dict[bytes, LogState] = {}
        self._waiting = Waiting(self._logs, comes, self._again)
        self._placer = self._waiting.placer
        self._must: OrderedDict[bytes, None] = OrderedDict()  # their next entries are to be found
        self._heap: list[tuple[int, int, bytes, int]] = []  # the next entry of each log, by place
        self._settled = 0  # of these, those that were there from the beginning
        self._deadlines: SortedSet[tuple[float, bytes]] = SortedSet()  # when the others are settled
        self._rows: OrderedDict[bytes, None] = OrderedDict()  # who has a row open, the last used at the end
        self._row_bytes = 0
        self._kept: OrderedDict[bytes, Row] = OrderedDict()  # rows of which some entries wait
        self._partial: dict[bytes, Opened] = {}  # rows that are being opened again
        self._late: list[Late] = []
        self._back_since: float | None = None
        self._back_from = BEFORE
        self._reached: tuple[int, int, bytes, int] = (-1, 0, b"", 0)

    # -- what is held, and the time

    def begin(self, zones: Mapping[bytes, ZoneList], missed: Iterable[Debt]) -> None:
        """The places of first entries of logs are known, of none that was not handed over; ``missed`` is what they were
        placed without.  To be called first."""
        for author, known in zones.items():
            log = self._logs[author] = LogState(self._read(author))
            log.zones = known
        self._placer.go_back({author: known.last for author, known in zones.items() if known.last[0]})
        for reference, late in missed:
            if reference.seq < self._placer.position(reference.author):
                self._late.append(late)
            else:
                self._placer.owe(late, [reference])

    def hold(self, author: bytes, last: int, came: float | None = None) -> None:
        """Entries up to ``last`` are held; they ``came`` then, or were there."""
        log = self._logs.get(author)
        if log is None:
            log = self._logs[author] = LogState(self._read(author))
        if last < max(log.held, log.zones.last[0]):  # it is another log now, or was cut back
            self.forget(author)
            log = self._logs[author] = LogState(self._read(author))
        elif last == log.held:
            return
        if came is not None:
            log.mark(last, came, max(self._settle, 1.0) / 4)
        log.held = last
        if log.deadline is None and not self._waiting.is_blocked(author):
            self._must[author] = None

    def forget(self, author: bytes) -> None:
        """A log is gone."""
        log = self._logs.get(author)
        if log is not None:
            self._close(author, log)
            self._hide(author, log)
            self._waiting.forget(author, log)
            self._must.pop(author, None)
            self._kept.pop(author, None)
            del self._logs[author]

    def tick(self, now: float, wall_ms: int) -> Place | None:
        """The time is ``now``, and our clock shows ``wall_ms``.

        Return the place from which on the order is another one than was handed over, if it is.
        """
        self._now = now
        self._waiting.tick(now, wall_ms + limits.MAX_AHEAD_MS)
        if self._must:
            return None
        if self._back_since is not None:
            self._back_from = now + _BACK_SHARE * (now - self._back_since)
            self._back_since = None
        if self._late and now >= self._back_from:
            return self._go_back()
        self._waiting.give_up()
        return None

    def untangle(self) -> bool:
        """See to entries that wait for each other, when there is nothing else to do; tell whether that helped."""
        return self._waiting.untangle()

    @property
    def due_ms(self) -> int | None:
        """What our clock has to show until an entry has its place that is ahead of it."""
        return self._waiting.due_ms

    @property
    def ahead(self) -> list[tuple[bytes, int, int]]:
        """Author, seq and time of entries that are ahead of our clock, until somebody tells of them."""
        return self._waiting.ahead

    @property
    def wakes(self) -> float | None:
        """When to tick again though nothing came, if ever."""
        times = [self._deadlines[0][0]] if self._deadlines else []
        if self._late:
            times.append(self._back_from)
        if (wakes := self._waiting.wakes) is not None:
            times.append(wakes)
        return min(times, default=None)

    # -- reading

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be read, whatever :meth:`take` gives."""
        return not (self._must or self._waiting.lookups or self._waiting.checks)

    def ask(self) -> list[Read]:
        """What is to be read next; nothing, if nothing has to be."""
        while True:
            reads = []
            for author in [*self._must][:_LOGS_AT_ONCE]:
                row = self._kept.pop(author, None)
                if row is not None and self._continues(author, row):
                    self._place(author, self._logs[author], row)
                elif (read := self._next_of(author)) is not None:
                    reads.append(read)
                else:
                    del self._must[author]
            if reads:
                return reads
            if self._must:
                continue
            if not (self._waiting.lookups or self._waiting.checks):
                return []
            if (read := self._waiting.next_read()) is not None:
                return [read]

    def told(self, read: Read, segments: Sequence[Segment], passed: int = 0) -> None:
        """These rows are there; what is up to ``passed`` cannot be read."""
        log = self._logs.get(read.author)
        if log is None:
            return
        if read.named is not None:
            self._waiting.told(read, log, segments, passed)
        elif log.handed + 1 < self._placer.position(read.author):
            self._reopen(read.author, log, segments, passed)
        elif read.first == self._placer.position(read.author):
            self._bring(read.author, log, segments, passed)

    def _continues(self, author: bytes, row: Row) -> bool:
        """Whether the next entry to be placed, which is the next one to be handed over too, is in a row."""
        log, position = self._logs[author], self._placer.position(author)
        return (
            log.deadline is None
            and position <= log.handed + 1
            and row.stated.first <= position <= row.stated.last
        )

    def _next_of(self, author: bytes) -> Read | None:
        log = self._logs.get(author)
        if log is None or log.deadline is not None:
            return None
        position = self._placer.position(author)
        if log.handed + 1 < position:
            zone = log.zones.containing(author, log.handed + 1)
            partial = self._partial.get(author)
            return Read(author, zone.first if partial is None else partial.following, zone.last)
        return Read(author, position, log.held) if position <= log.held else None

    def _bring(self, author: bytes, log: LogState, segments: Sequence[Segment], passed: int) -> None:
        """Place the next row, and those behind it until there is something to be handed over, or waited for."""
        position = self._placer.position(author)
        if passed >= position:
            self._waiting.stop(author, log)
            last = min(passed, position + _SKIPPED_AT_ONCE - 1, log.held)
            blank = Stated(author, position, [0] * (last - position + 1), {}, lambda seq: b"")
            self._took(log, self._placer.add(blank), 0)
            log.handed = max(log.handed, last)
            return
        if not any(each.first <= position <= each.last for each in segments):
            self.forget(author)
            return
        for segment in segments:
            if segment.first <= (position := self._placer.position(author)) <= segment.last:
                self._place(author, log, Row(segment, position, log.held))
                if log.opened is not None or author in self._placer.waits:
                    break

    def _place(self, author: bytes, log: LogState, row: Row) -> None:
        """Place what can be of a row, which is kept if that is not all of it."""
        self._waiting.stop(author, log)
        segment, stated = row.segment, row.stated.from_seq(self._placer.position(author))
        placed = self._placer.add(stated, self._waiting.until_ms)
        zone = placed.zone
        if zone is not None:
            self._took(log, placed, len(segment.bodies) * (zone.last - zone.first + 1) // segment.count)
        if author in self._placer.waits:
            self._waiting.begin(author, log)
            self._kept[author] = row
            if len(self._kept) > _ROWS_KEPT:
                self._kept.popitem(last=False)
        opened = None
        if zone is not None and zone.last > log.handed:
            opened = Opened(zone)
            opened.take(row)
        self._open(author, log, opened)

    def _took(self, log: LogState, placed: Placed, size: int) -> None:
        if placed.zone is not None:
            log.zones.add(placed.zone, size)
        for freed in placed.freed:
            self._again(freed)
        self._late += placed.late

    def _again(self, author: bytes) -> None:
        """What a log waited for is there, or given up."""
        if author in self._logs and self._logs[author].deadline is None:
            self._must[author] = None

    def _reopen(self, author: bytes, log: LogState, segments: Sequence[Segment], passed: int) -> None:
        zone = log.zones.containing(author, log.handed + 1)
        opened = self._partial.pop(author, None)
        if opened is None or opened.zone != zone:
            opened = Opened(zone)
        opened.add(segments, passed)
        if opened.is_whole:
            self._open(author, log, opened)
        else:
            self._partial[author] = opened

    def _open(self, author: bytes, log: LogState, opened: Opened | None) -> None:
        """The row of the next entry of a log is here, if it has a place."""
        self._close(author, log)
        if opened is not None:
            log.opened = opened
            self._rows[author] = None
            self._row_bytes += opened.size
            while self._row_bytes > limits.ORDER_MEMORY_BYTES and len(self._rows) > 1:
                oldest = next(iter(self._rows))
                self._close(oldest, self._logs[oldest])
        self._present(author, log)

    def _close(self, author: bytes, log: LogState) -> None:
        if log.opened is not None:
            self._row_bytes -= log.opened.size
            log.opened = None
        self._rows.pop(author, None)

    def _hide(self, author: bytes, log: LogState) -> None:
        """The next entry of a log takes part no more."""
        if log.deadline == BEFORE:
            self._settled -= 1
        elif log.deadline is not None:
            self._deadlines.discard((log.deadline, author))
        log.deadline = None

    def _show(self, author: bytes, log: LogState, deadline: float) -> None:
        log.deadline = deadline
        if deadline == BEFORE:
            self._settled += 1
        else:
            self._deadlines.add((deadline, author))

    def _present(self, author: bytes, log: LogState) -> None:
        """Let the next entry of a log take part, or say that more has to be read."""
        opened = log.opened
        if opened is not None:
            log.handed = max(log.handed, opened.before_readable(log.handed + 1))
            if log.handed < opened.zone.last:
                seq = log.handed + 1
                heapq.heappush(self._heap, (*opened.moment(seq), author, seq))
                came = log.came(seq)
                self._show(author, log, came if came == BEFORE else came + self._settle)
                self._must.pop(author, None)
                return
            self._close(author, log)
        position = self._placer.position(author)
        if log.handed + 1 < position or (position <= log.held and not self._waiting.is_blocked(author)):
            self._must[author] = None
        else:
            self._must.pop(author, None)

    # -- handing over

    def take(self, most: int) -> list[Ready]:
        """The next entries, up to ``most``, that are known and settled."""
        heap, taken = self._heap, list[Ready]()
        while len(taken) < most and heap and not self._must and not self._waiting.urgent:
            place = heap[0]
            _, _, author, seq = place
            log = self._logs.get(author)
            if log is None or log.deadline is None or seq != log.handed + 1:
                heapq.heappop(heap)  # of a log that is gone, or was placed anew
                continue
            if not self._settled and self._deadlines[0][0] > self._now:
                break
            opened = log.opened
            found = None if opened is None else opened.entry(seq)
            if opened is None or found is None:
                heapq.heappop(heap)
                self._hide(author, log)
                self._must[author] = None
                continue
            if opened.moment(seq) != place[:2]:
                heapq.heappop(heap)  # of a log that was here before
                continue
            taken.append(Ready(Place(*place), *found, place < self._reached))
            self._reached = max(self._reached, place)
            log.hand_over(seq)
            self._rows.move_to_end(author)
            if seq < opened.zone.last and not log.marks and log.deadline == BEFORE and opened.entry(seq + 1):
                heapq.heapreplace(heap, (*opened.moment(seq + 1), author, seq + 1))
            else:
                heapq.heappop(heap)
                self._hide(author, log)
                self._present(author, log)
        return taken

    # -- when something came late

    def unmoved(self) -> dict[bytes, int]:
        """Return up to which seq the entries of each log have their places: all others are placed anew."""
        return {author: log.zones.last[0] for author, log in self._logs.items()}

    def _go_back(self) -> Place | None:
        """Place everything anew that may be behind what came late."""
        late = min(self._late, key=lambda each: (*each.moment, each.author, each.seq))
        place = Place(*late.moment, late.author, late.seq)
        self._late.clear()
        self._back_since = self._now
        self._waiting.clear()
        tables: tuple[Any, ...] = self._heap, self._deadlines, self._partial, self._kept
        for table in tables:
            table.clear()
        for author, log in self._logs.items():
            self._close(author, log)
            log.deadline = log.expires = None
            self._settled = 0
            log.zones.cut(late.moment)
            self._must[author] = None
        self._placer.go_back(
            {author: log.zones.last for author, log in self._logs.items() if log.zones.last[0]}
        )
        return place if place <= self._reached else None
