"""What a reader has to hand over: stored entries, then live ones.

Responsible for: what is read next, decoding it, and which of it is wanted.
Must not know: who takes the entries, or how many at once.
Invariant: no gap and no repetition between what is stored and what comes.  Per author one position, the last seq taken;
it moves only with an entry that is, or that is not wanted.  What is damaged is passed over, and said.  At most
``CHUNK_BYTES``, one segment more and the entries of one are held in memory, and where the store has not all heads in
memory, ``HEADS_AT_ONCE`` heads of logs that were not looked at.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from gossiplog.errors import CursorMismatchError
from gossiplog.live import reading_logs
from gossiplog.live.bringing import Bringing
from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.results import Result
from gossiplog.live.selection import Selection, Where, passes
from gossiplog.log.clock_view import ClockView, CountedView, whole
from gossiplog.log.cursor import Cursor, check_clock
from gossiplog.log.encodings import Encoding
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Head, Segment, id_at
from gossiplog.store.reading_around import Stretch
from gossiplog.store.repair.verify import Damage

CHUNK_BYTES = 256 * 1024
"""Read from disk, or taken over from commits, at once."""


class Readable(Protocol):
    """What a reader needs of its store: what it holds, its thread, and to be told of commits."""

    reactor: Any

    @property
    def clock(self) -> CountedView:
        """What it holds."""

    def whole_clock(self, what: str) -> ClockView:
        """Return that for ``what`` needs all of it; raise SharedStoreError where not all is in memory."""

    def check_caller(self) -> None:
        """Raise if nothing can be waited for here."""

    def run(self, work: Callable[[Any], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""

    def hold(self, source: Bringing) -> None:
        """Somebody waits for ``source``."""

    def release(self, source: Bringing) -> None:
        """Nobody waits for ``source`` now."""

    def forget(self, source: Bringing) -> None:
        """``source`` ended."""

    @property
    def damage(self) -> DamageReports:
        """Who is told what a reader passes over."""


class Source:
    """I bring what is selected of a store, ``entries`` of one segment at a time.

    Who takes one of these says so in ``taken``: the cursor follows.  In reverse it follows when all of a log that is
    asked for was taken.
    """

    def __init__(
        self,
        store: Readable,
        chosen: Encoding,
        selection: Selection,
        after: Cursor | ClockView | None = None,
        *,
        tail: bool = False,
    ) -> None:
        """Begin behind ``after``, or, with ``tail``, behind all that is held now."""
        if after is not None:
            check_clock("after", after)
        self.store = store
        self.selection = selection
        self.entries: deque[Entry] = deque()
        self.taken: Entry | None = None  # or not wanted; not in the cursor yet
        self.closed = False
        self.damages: list[Damage] = []
        self._encoding = chosen
        clock = whole(store.clock)
        begin = clock if tail else after
        self._read = Cursor() if begin is None else Cursor.of(begin)
        self._compared: set[bytes] = set()  # authors of whom something is skipped behind the cursor
        self._passed: dict[bytes, int] = {}
        self._unchosen: set[bytes] = set()  # authors of whom the newest are yet to be found
        self._chosen: dict[bytes, tuple[int, set[int]]] = {}  # of the others: up to where, and which they are
        self._tops: dict[bytes, Entry] = {}  # in reverse: the newest entry of each log that is not over yet
        self._left = 0  # in reverse: of the newest, how many of that log are to come
        self._todo: OrderedDict[bytes, int] = OrderedDict()  # author -> last seq that is there to be read
        self._segments: deque[tuple[Segment, int]] = deque()
        self._waiting: Result[None] | None = None
        self._begins: bytes | None = None  # of those from here on, we do not know what is held
        self._heads: deque[tuple[bytes, Head]] = deque()  # of those before, yet to be looked at
        self._late: dict[bytes, int] = {}  # what was committed meanwhile, of those from ``_begins`` on
        self._tails = tail and clock is None  # we begin with what comes, wherever that is
        self._note_damage()
        if clock is None:
            self._begins = None if tail else selection.author or b""
        elif not tail:
            author = selection.author
            for held, head in clock.items() if author is None else [(author, clock.head(author))]:
                if head is not None:
                    self._look(held, head)

    async def step(self) -> bool:
        """Do what brings the next entry nearer; False at the end."""
        self.store.check_caller()
        self.reached()
        if self.closed:
            return False
        if self._segments:
            self._unpack(*self._segments[0])
        elif self._is_unlooked and len(self._todo) < reading_logs.HEADS_AT_ONCE:
            await self._look_further()
        elif self._todo:
            await self._fetch(*next(iter(self._todo.items())))
        elif self.selection.live and not self._complete():
            await self._news()
        else:
            self.close()
        return True

    def next(self) -> Entry | None:
        """The next of the decoded entries that is wanted; those before it are behind us then."""
        while self.entries:
            entry = self.entries[0]
            wanted = self.selection.where is None or self._is_wanted(self.selection.where, entry)
            if self.closed:  # by ``where``
                return None
            self.taken = self.entries.popleft()
            if wanted:
                self._count(entry.author)
                return entry
        return None

    def take(self, found: list[Entry], size: int) -> None:
        """Add of the decoded entries those that are wanted, until ``found`` has ``size``."""
        if self.selection.where is None and self.entries:
            take = self.entries.popleft
            found += [take() for _ in range(min(len(self.entries), size - len(found)))]
            self.taken = found[-1]
        while self.entries and len(found) < size and (entry := self.next()) is not None:
            found.append(entry)

    def reached(self) -> Cursor:
        """How far we are, with the entry that was handed over last: of several of one author only that counts."""
        handed = self.taken
        if handed is not None:
            if self.selection.reverse:
                if self.entries or self._segments or handed.author in self._todo:
                    return self._read
                handed = self._tops.pop(handed.author)
            self._read.advance(handed.author, handed.seq, handed.id)
            self.taken = None
        return self._read

    def close(self) -> None:
        """There is nothing more; who waits in :meth:`step` goes on."""
        if not self.closed:
            self.reached()
            self.taken = None  # in reverse: of a log that is not over
            self.closed = True
            self.entries.clear()
            self._segments.clear()
            self._todo.clear()
            self.store.forget(self)
            self.wake()

    def wake(self) -> None:
        """Let who waits in :meth:`step` look again."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def committed(self, segments: Sequence[Segment]) -> None:
        """These are new on disk: handed over from memory when somebody waits for them, otherwise read later."""
        room = CHUNK_BYTES if self._waiting is not None else 0
        taken: dict[bytes, int] = {}
        for segment in segments:
            author = segment.author
            if not self.selection.wants(author):
                continue
            if self._tails:
                self._passed.setdefault(author, segment.first - 1)
            position = taken.get(author, 0) or self._position(author)
            end = self.selection.clamped(segment.last)
            if self._begins is not None and author >= self._begins:
                self._late[author] = end
                continue
            if end < position:
                continue
            if room > 0 and segment.bodies and segment.first <= position and author not in self._todo:
                self._segments.append((segment, end))
                taken[author] = end + 1
                room -= len(segment.bodies)
            else:
                self._todo[author] = end
        if self._todo or self._segments:
            self.wake()

    def _is_wanted(self, where: Where, entry: Entry) -> bool:
        end, seqs = self._chosen.get(entry.author, (0, ()))
        return entry.seq in seqs if entry.seq <= end else passes(where, entry)

    def _count(self, author: bytes) -> None:
        """One of the newest in reverse: leave the log with the last of them."""
        self._left -= 1
        if not self._left:
            self.entries.clear()
            self._segments.clear()
            self._todo.pop(author, None)

    def _compare(self, author: bytes, entry_id: bytes) -> None:
        """Raise :class:`CursorMismatchError` if the cursor knows another id for what it had read of ``author``."""
        known = self._read.id8(author)
        if entry_id[: len(known)] != known:
            self._todo.pop(author, None)
            self._segments = deque(each for each in self._segments if each[0].author != author)
            raise CursorMismatchError(author, short_key(author), self._read.seq(author))

    def _position(self, author: bytes) -> int:
        """The next seq of ``author`` to be handed over, in reverse the last."""
        return max(self.selection.first, self.reached().seq(author) + 1, self._passed.get(author, 0) + 1)

    @property
    def _is_unlooked(self) -> bool:
        """Whether there may be logs that were not looked at."""
        return self._begins is not None or bool(self._heads)

    async def _look_further(self) -> None:
        """Look at the next logs that are held, as we begin, of a store that has not all heads in memory."""
        if not self._heads and self._begins is not None:
            author, begins = self.selection.author, self._begins
            upper = b"" if author is None else author + b"\0"
            found = await self.store.run(partial(reading_logs.some_heads, begins, upper))
            self._heads.extend(found)
            self._begins = None if len(found) < reading_logs.HEADS_AT_ONCE else found[-1][0] + b"\0"
        while self._heads:
            self._look(*self._heads.popleft())
        if self._begins is None:  # of these there was nothing when we looked
            for author in [*self._late]:
                self._note_late(author)

    def _look(self, author: bytes, head: Head) -> None:
        if head.seq == self._read.seq(author):
            self._compare(author, head.id)
        self._note(author, head.seq)
        self._note_late(author)

    def _note_late(self, author: bytes) -> None:
        end = self._late.pop(author, 0)
        if self._position(author) <= end:
            self._todo[author] = max(end, self._todo.get(author, 0))

    def _note(self, author: bytes, held: int) -> None:
        """``author`` is on disk up to ``held``, as we begin."""
        end, newest = self.selection.clamped(held), self.selection.newest
        if newest is not None and newest < end and self.selection.wants(author):
            if self.selection.where is None or not newest:
                self._passed[author] = end - newest
            elif not self.selection.reverse:
                self._unchosen.add(author)
        if self._position(author) <= end:
            self._todo[author] = end

    def _note_damage(self) -> None:
        """Of what is known to be damaged, what we would read; it begins behind what is held."""
        selection = self.selection
        for damage in self.store.damage.known:
            begin, end = max(damage.first, selection.first), selection.clamped(damage.last)
            if damage.author is not None and selection.wants(damage.author) and begin <= end:
                self.damages.append(damage._replace(first=begin, last=end))
                self.store.damage.found(self.damages[-1])

    def _complete(self) -> bool:
        """Whether the range asked for can get no more entries."""
        author, last = self.selection.author, self.selection.last
        return author is not None and last is not None and self._position(author) > last

    async def _fetch(self, author: bytes, end: int) -> None:
        """Read a chunk of ``author``; a live reader then turns to the next one, so that nobody has to wait for a log
        that grows all the time."""
        reverse = self.selection.reverse
        start = self._position(author)
        if reverse or author in self._unchosen or start > self._read.seq(author) + 1:
            await self._compare_behind_gap(author)
        if author in self._unchosen:
            start = await self._choose(author, start, end)
        if self.closed:
            return
        stretch: Stretch = await self.store.run(
            lambda logs: logs.around(author, start, CHUNK_BYTES, end, reverse=reverse)
        )
        if self.closed:
            return
        segments, damage = stretch
        if damage is not None:
            self._pass_over(damage)
        self._segments.extend((segment, end) for segment in segments)
        if reverse:
            reached = segments[-1].first if segments else start if damage is None else damage.first
            self._todo[author] = reached - 1
            if reached <= start:
                del self._todo[author]
            return
        reached = segments[-1].last if segments else self._todo[author] if damage is None else damage.last
        if reached >= self._todo[author]:
            del self._todo[author]
        elif self.selection.live:
            self._todo.move_to_end(author)

    async def _compare_behind_gap(self, author: bytes) -> None:
        """Compare the cursor where it is, once, when what is read of ``author`` begins elsewhere."""
        seq = self._read.seq(author)
        if author in self._compared or not self._read.id8(author):
            return
        stretch: Stretch = await self.store.run(lambda logs: logs.around(author, seq, 1, seq))
        self._compared.add(author)
        if stretch.segments:
            self._compare(author, id_at(stretch.segments[0], seq))

    async def _choose(self, author: bytes, start: int, end: int) -> int:
        """Find the newest entries that are wanted, from ``end`` backwards; return where to begin."""
        selection = replace(self.selection, author=author, first=start, last=end, reverse=True, live=False)
        back = Source(self.store, self._encoding, selection)
        seqs: set[int] = set()
        while not self.closed and await back.step():
            while (entry := back.next()) is not None:
                seqs.add(entry.seq)
        first = min(seqs, default=end)
        self.damages += [damage for damage in back.damages if damage.last < first]
        self._chosen[author] = end, seqs
        self._unchosen.discard(author)
        self._passed[author] = first - 1
        return first

    def _pass_over(self, damage: Damage) -> None:
        """Go on behind what cannot be read; the cursor follows with the next entry that can be."""
        author, first, last, _ = damage
        assert author is not None
        before = self.damages[-1] if self.damages else None
        if before is not None and (before.author, before.last + 1) == (author, first):
            self.damages[-1] = before._replace(last=last)
        elif before is not None and (before.author, before.first - 1) == (author, last):
            self.damages[-1] = damage._replace(last=before.last)
        else:
            self.damages.append(damage)
        if not self.selection.reverse:
            self._passed[author] = last
        self.store.damage.found(damage)

    def _unpack(self, segment: Segment, end: int) -> None:
        """Decode one segment at a time: entries take several times the memory of their bytes."""
        author = segment.author
        seq = self._read.seq(author)
        if self._read.id8(author) and segment.first <= seq + 1:  # the first after what the cursor had read
            self._compare(author, segment.previous if seq < segment.first else id_at(segment, seq))
        entries = read_entries(segment, self._encoding, self._position(author), min(end, segment.last))
        if self.selection.reverse:
            entries.reverse()
            if entries and author not in self._tops:
                self._tops[author] = entries[0]
                self._left = 0 if self.selection.where is None else self.selection.newest or 0
        self._segments.popleft()
        self.entries.extend(entries)

    async def _news(self) -> None:
        """Wait for a commit.  Meanwhile the store holds on to us: who waits may be held by nobody else."""
        self._waiting = Result(lambda _: None, self.store.reactor)
        self.store.hold(self)
        try:
            await self._waiting
        finally:
            self._waiting = None
            self.store.release(self)
