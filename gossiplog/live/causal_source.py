"""What a reader has to hand over in causal order.

Responsible for: reading the rows that :class:`~gossiplog.log.causal.Causal` asks for, decoding what it gives, telling
it of commits and of time, and the application of what came late or is ahead of our clock.
Must not know: how places are computed, who takes the entries.
Invariant: the cursor has what was handed over and nothing else: what waits comes again from there.  What is damaged is
passed over, and said.  One job of the store's thread reads ``CHUNK_BYTES``, and what its last row has above.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from gossiplog import notices
from gossiplog.errors import CursorMismatchError, InvalidValueError, StoreError
from gossiplog.live.follows import Follows
from gossiplog.live.machine import wall_ms
from gossiplog.live.order_notices import OrderNotices
from gossiplog.live.results import Result
from gossiplog.live.selection import Selection, passes
from gossiplog.live.source import CHUNK_BYTES, Readable
from gossiplog.live.timeline import Timeline
from gossiplog.log.causal import Causal
from gossiplog.log.clock_view import ClockView
from gossiplog.log.cursor import Cursor, check_clock
from gossiplog.log.encodings import Encoding
from gossiplog.log.entry import Entry, PlacedEntry, read_entry
from gossiplog.log.keys import short_key
from gossiplog.log.opened import Ready
from gossiplog.log.place import Place, place_bytes
from gossiplog.log.segment import Segment, id_at
from gossiplog.log.waiting import Read
from gossiplog.store.reading_around import Stretch
from gossiplog.store.repair.verify import Damage

_AT_ONCE: Final = 256
"""Entries that are decoded at once."""

_LONGEST_SLEEP: Final = 60.0
"""Somebody may set the clock on the wall."""


class Ordered(Readable, Protocol):
    """What such a reader needs of its store besides."""

    @property
    def interest(self) -> Follows:
        """Which authors are wanted."""

    @property
    def forks(self) -> Any:
        """The authors whose logs do not grow any more."""

    @property
    def notices(self) -> OrderNotices:
        """Who is told what becomes of the order."""

    @property
    def timeline(self) -> Timeline:
        """Who knows where entries are."""

    def check_open(self) -> None:
        """Raise if it is closed."""


class CausalSource:
    """I bring the entries of all logs in their order."""

    def __init__(
        self,
        store: Ordered,
        chosen: Encoding,
        selection: Selection,
        after: Cursor | ClockView | None = None,
        settle: float = 2.0,
    ) -> None:
        if after is not None:
            check_clock("after", after)
        self.store = store
        self.selection = selection
        self.entries: deque[Entry] = deque()
        self.damages: list[Damage] = []
        self.closed = False
        self._encoding = chosen
        self._read = Cursor() if after is None else Cursor.of(after)
        self._compared: set[bytes] = set()
        self._other: set[bytes] = set()  # authors of whom the cursor has read another log
        self._passed: dict[bytes, int] = {}
        self._waiting: Result[None] | None = None
        self._moved: dict[bytes, int] = {}
        self._causal = Causal(self._read.copy().seq, self._comes if selection.live else None, settle)
        self._causal.tick(store.reactor.seconds(), wall_ms(store.reactor))
        clock = store.whole_clock("reading in causal order")
        for author, head in clock.items():
            if head.seq == self._read.seq(author):
                self._compare(author, head.id)
        self._held = {author: head.seq for author, head in clock.items()}  # when we began
        self._came: list[tuple[bytes, int, float]] | None = []  # meanwhile

    # -- as a reader sees it

    @property
    def taken(self) -> Entry | None:
        """What was taken is in the cursor already."""
        return None

    @taken.setter
    def taken(self, entry: Entry | None) -> None:
        if entry is not None:
            self._read.advance(entry.author, entry.seq, entry.id)

    async def step(self) -> bool:
        """Do what brings the next entry nearer; False at the end."""
        self.store.check_caller()
        if self.closed:
            return False
        if await self.advance():
            return True
        if self.selection.live:
            await self._sleep()
        elif not self._causal.untangle():
            self.close()
        return True

    async def advance(self) -> bool:
        """Do what can be done now; False if nothing can."""
        if self._came is not None:
            await self._begin()
            return True
        self._tell(self._causal.tick(self.store.reactor.seconds(), wall_ms(self.store.reactor)))
        if reads := self._causal.ask():
            await self._fetch(reads)
            return True
        self.entries.extend(map(self._decode, self._causal.take(_AT_ONCE - len(self.entries))))
        return bool(self.entries) or not self._causal.is_idle

    def take_moved(self) -> dict[bytes, int]:
        """Return up to which seq the entries of each log stay where they were, since this was asked last; nothing if
        all do."""
        moved, self._moved = self._moved, {}
        return moved

    def next(self) -> Entry | None:
        """The next of the decoded entries that is wanted; those before it are behind us then."""
        where = self.selection.where
        while self.entries:
            entry = self.entries[0]
            wanted = where is None or passes(where, entry)
            if self.closed:  # by ``where``
                return None
            self.taken = self.entries.popleft()
            if wanted:
                return entry
        return None

    def take(self, found: list[Entry], size: int) -> None:
        """Add of the decoded entries those that are wanted, until ``found`` has ``size``."""
        if self.selection.where is None:
            taken = [self.entries.popleft() for _ in range(min(len(self.entries), size - len(found)))]
            for last in {each.author: each for each in taken}.values():
                self.taken = last
            found += taken
        while len(found) < size and (entry := self.next()) is not None:
            found.append(entry)

    def reached(self) -> Cursor:
        """How far we are."""
        return self._read

    def close(self) -> None:
        """There is nothing more; who waits in :meth:`step` goes on."""
        if not self.closed:
            self.closed = True
            self.entries.clear()
            self.store.forget(self)
            self.wake()

    def wake(self) -> None:
        """Let who waits in :meth:`step` look again."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def committed(self, segments: Sequence[Segment]) -> None:
        """These are new on disk: they are read from there when it is their turn."""
        now = self.store.reactor.seconds()
        for segment in segments:
            if self._came is not None:
                self._came.append((segment.author, segment.last, now))
            elif segment.author not in self._other:
                self._causal.hold(segment.author, segment.last, came=now)
        self.wake()

    # -- reading

    async def _begin(self) -> None:
        """Find out where what was read is among all: by the index, so that little of it has to be read again."""
        known = {}
        for author, held in self._held.items():
            read = self._read.seq(author)
            last = held if held <= read else read - 1  # the row that has its id is read
            if last > 0:
                known[author] = last
        if known:
            try:
                self._causal.begin(*await self.store.timeline.known(known))
            except StoreError:
                if not self.closed:
                    self.store.check_open()  # without an index, all is read
            if self.closed:
                return
        came, self._came = self._came, None
        for author, held in self._held.items():
            self._causal.hold(author, held)
        for author, last, now in came or ():
            self._causal.hold(author, last, came=now)

    async def _fetch(self, reads: Sequence[Read]) -> None:
        def look(logs: Any) -> list[Stretch]:
            found: list[Stretch] = []
            size = 0
            for read in reads:
                limit = 1 if read.check or read.last == read.first else CHUNK_BYTES // len(reads)
                found.append(logs.around(read.author, read.first, limit, read.last))
                size += sum(len(each.bodies) for each in found[-1].segments)
                if size >= CHUNK_BYTES:
                    break
            return found

        stretches: list[Stretch] = await self.store.run(look)
        if self.closed:
            return
        for read, (segments, damage) in zip(reads, stretches, strict=False):
            if damage is not None:
                self._pass_over(damage)
            self._compare_with(read.author, segments)
            self._causal.told(read, segments, 0 if damage is None else damage.last)

    def _decode(self, ready: Ready) -> Entry:
        place, entry_id, item, late = ready
        body = item if isinstance(item, bytes) else None
        entry = read_entry(place.author, place.seq, entry_id, body, self._encoding)
        return PlacedEntry(
            entry.author,
            entry.seq,
            entry.id,
            entry.timestamp_ms,
            entry.payload,
            entry.after,
            entry.dropped,
            entry.malformed,
            _bytes(place),
            late,
        )

    def _compare_with(self, author: bytes, segments: Sequence[Segment]) -> None:
        seq = self._read.seq(author)
        if author not in self._compared:
            for segment in segments:
                if segment.first <= seq <= segment.last:
                    self._compare(author, id_at(segment, seq))

    def _compare(self, author: bytes, entry_id: bytes) -> None:
        """Raise :class:`CursorMismatchError` if the cursor knows another id for what it had read of ``author``."""
        self._compared.add(author)
        known = self._read.id8(author)
        if entry_id[: len(known)] != known:
            self._other.add(author)
            self._causal.forget(author)
            raise CursorMismatchError(author, short_key(author), self._read.seq(author))

    def _pass_over(self, damage: Damage) -> None:
        author = damage.author
        if author is not None and damage.last > self._passed.get(author, self._read.seq(author)):
            self._passed[author] = damage.last
            self.damages.append(damage)
            self.store.damage.found(damage)

    # -- what comes, and when

    def wakes_in(self) -> float:
        """Return after how many seconds something may be due though nothing is committed."""
        reactor = self.store.reactor
        times = [_LONGEST_SLEEP]
        if (wakes := self._causal.wakes) is not None:
            times.append(wakes - reactor.seconds())
        if (due_ms := self._causal.due_ms) is not None:
            times.append((due_ms - wall_ms(reactor)) / 1000)
        return max(0.0, min(times))

    def _comes(self, author: bytes) -> bool:
        wanted = self.store.interest.choices.wants(author)
        return wanted and author not in self.store.forks and author not in self._other

    def _tell(self, reordered: Place | None) -> None:
        if reordered is not None:
            for author, seq in self._causal.unmoved().items():
                self._moved[author] = min(seq, self._moved.get(author, seq))
            self.store.notices.tell(notices.Reordered(_bytes(reordered)))
        while self._causal.ahead:
            self.store.notices.tell(notices.EntryAhead(*self._causal.ahead.pop(0)))

    async def _sleep(self) -> None:
        """Wait for a commit, or until something is due.  Meanwhile the store holds on to us."""
        reactor = self.store.reactor
        self._waiting = Result(lambda _: None, reactor)
        timer = reactor.callLater(self.wakes_in(), self.wake)
        self.store.hold(self)
        try:
            await self._waiting
        finally:
            self._waiting = None
            self.store.release(self)
            if timer.active():
                timer.cancel()


def check_causal(selection: Selection) -> None:
    """Raise :class:`InvalidValueError` for a selection that has no causal order."""
    only = selection.author, selection.newest, selection.reverse
    if only != (None, None, False):
        raise InvalidValueError(
            "order='causal' is that of all logs, from the beginning or a cursor on: author, newest and reverse mean "
            "nothing with it; where=lambda entry: entry.author == AUTHOR gives one log of it"
        )


def _bytes(place: Place) -> bytes:
    return place_bytes(place[:2], place.author, place.seq)
