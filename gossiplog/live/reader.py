"""Reading a store as an async iterator.

Responsible for: stored entries, then live ones, without a gap or a repetition between them.
Must not know: the network.
Invariant: per author one position, the last seq handed over; it moves only when an entry is, so a cancelled read loses
nothing.  What is damaged is passed over, and said.  At most ``CHUNK_BYTES``, one segment more and the entries of one
are held in memory.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gossiplog.arguments import check_number
from gossiplog.errors import CursorMismatchError, InvalidValueError
from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.results import Result
from gossiplog.log.clock_view import ClockView
from gossiplog.log.cursor import Cursor, check_clock
from gossiplog.log.encodings import Encoding
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.keys import check_author, short_key
from gossiplog.log.segment import Segment, id_at
from gossiplog.store.reading_around import Stretch
from gossiplog.store.repair.verify import Damage

CHUNK_BYTES = 256 * 1024
"""Read from disk, or taken over from commits, at once."""


class Readable(Protocol):
    """What a reader needs of its store: what it holds, its thread, and to be told of commits."""

    reactor: Any

    @property
    def clock(self) -> ClockView:
        """What it holds."""

    def check_caller(self) -> None:
        """Raise if nothing can be waited for here."""

    def run(self, work: Callable[[Any], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""

    def hold(self, reader: Reader) -> None:
        """Somebody waits for ``reader``."""

    def release(self, reader: Reader) -> None:
        """Nobody waits for ``reader`` now."""

    def forget(self, reader: Reader) -> None:
        """``reader`` ended."""

    @property
    def damage(self) -> DamageReports:
        """Who is told what a reader passes over."""


class Reader:
    """I am one pass over a store: ``async for entry in reader``, by one consumer.

    Not asked, not read: a slow consumer costs a seq per author, whatever arrives meanwhile.  Who stops in the middle
    may go on later, with the same reader or from its :meth:`cursor`; a reader nobody holds any more is gone.

    Entries that cannot be read are passed over: ``damages`` has what was, each with author, first, last and reason, to
    be read once ``gossiplog verify --repair`` has brought the store in order.
    """

    def __init__(
        self,
        store: Readable,
        chosen: Encoding,
        *,
        author: bytes | None,
        first: int,
        last: int | None,
        after: Cursor | ClockView | None,
        live: bool,
    ) -> None:
        if author is not None:
            check_author("author", author)
        check_number("first", first, 1)
        if last is not None:
            check_number("last", last, 0)
        if author is None and (first != 1 or last is not None):
            raise InvalidValueError("first and last need an author")
        self._store = store
        self._encoding = chosen
        self._author = author
        self._first = first
        self._last = last
        self._live = live
        if after is not None:
            check_clock("after", after)
        self._read = Cursor() if after is None else Cursor.of(after)
        self._handed: Entry | None = None  # not in the cursor yet
        self.damages: list[Damage] = []
        self._passed: dict[bytes, int] = {}
        for damage in store.damage.known:  # which begins behind what is held
            begin, end = max(damage.first, first), damage.last if last is None else min(damage.last, last)
            if damage.author is not None and author in (None, damage.author) and begin <= end:
                self.damages.append(damage._replace(first=begin, last=end))
                store.damage.found(self.damages[-1])
        self._todo: OrderedDict[bytes, int] = OrderedDict()  # author -> last seq that is there to be read
        if after is not store.clock:
            for held, head in store.clock.items() if author is None else [(author, store.clock.head(author))]:
                if head is not None:
                    if head.seq == self._read.seq(held):
                        self._compare(held, head.id)
                    self._note(held, head.seq)
        self._segments: deque[tuple[Segment, int]] = deque()
        self._entries: deque[Entry] = deque()
        self._waiting: Result[None] | None = None
        self._asked = False
        self._closed = False

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Entry:
        """The next entry, waiting for one if the reader is live.

        Raises :class:`CursorMismatchError` for an author of whom ``after`` had read another entry; asked again, it goes
        on with the others.
        """
        await self._fill()
        self._handed = self._entries.popleft()
        return self._handed

    async def _take(self) -> Sequence[Entry]:
        """The entries that can be had at once, after waiting for one; none at the end.

        For who hands them on elsewhere, and says so with :meth:`_move`: until then they are the next ones.
        """
        try:
            await self._fill()
        except StopAsyncIteration:
            return ()
        return tuple(self._entries)

    def _move(self, handed: Sequence[Entry]) -> None:
        """These entries were handed over, in this order; what was said before may be said again."""
        for entry in handed:
            if self._entries and self._entries[0] is entry:
                self._handed = self._entries.popleft()

    async def _fill(self) -> None:
        if self._asked:
            raise RuntimeError("this reader is being waited for already; give every consumer its own")
        self._asked = True
        try:
            while not self._entries:
                self._store.check_caller()
                if self._closed:
                    raise StopAsyncIteration
                if self._segments:
                    self._unpack(*self._segments.popleft())
                elif self._todo:
                    await self._fetch(*next(iter(self._todo.items())))
                elif self._live and not self._complete():
                    await self._news()
                else:
                    self.close()
        finally:
            self._asked = False

    def close(self) -> None:
        """End the iteration; what waits in ``async for`` ends too."""
        if not self._closed:
            self._closed = True
            self._entries.clear()
            self._segments.clear()
            self._todo.clear()
            self._store.forget(self)
            self._wake()

    async def aclose(self) -> None:
        """As :meth:`close`, for ``contextlib.aclosing``."""
        self.close()

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def cursor(self) -> Cursor:
        """How far this reader is: read on from here with ``after=``.  O(1)."""
        cursor = self._reached().copy()
        if self._author is not None and self._first > max(1, cursor.seq(self._author) + 1):
            cursor.advance(self._author, self._first - 1)
        return cursor

    def _committed(self, segments: Sequence[Segment]) -> None:
        """These are new on disk: handed over from memory when somebody waits for them, otherwise read later."""
        room = CHUNK_BYTES if self._waiting is not None else 0
        taken: dict[bytes, int] = {}
        for segment in segments:
            author = segment.author
            position = taken.get(author, 0) or self._position(author)
            end = self._clamped(segment.last)
            if end < position or not self._wants(author):
                continue
            if room > 0 and segment.first <= position and author not in self._todo:
                self._segments.append((segment, end))
                taken[author] = end + 1
                room -= len(segment.bodies)
            else:
                self._todo[author] = end
        if self._todo or self._segments:
            self._wake()

    def _compare(self, author: bytes, entry_id: bytes) -> None:
        """Raise :class:`CursorMismatchError` if the cursor knows another id for what it had read of ``author``."""
        known = self._read.id8(author)
        if entry_id[: len(known)] != known:
            raise CursorMismatchError(author, short_key(author), self._read.seq(author))

    def _reached(self) -> Cursor:
        """How far we are, with the entry that was handed over last: of several of one author only that counts."""
        if self._handed is not None:
            self._read.advance(self._handed.author, self._handed.seq, self._handed.id)
            self._handed = None
        return self._read

    def _wants(self, author: bytes) -> bool:
        return self._author is None or author == self._author

    def _position(self, author: bytes) -> int:
        """The next seq of ``author`` to be handed over."""
        return max(self._first, self._reached().seq(author) + 1, self._passed.get(author, 0) + 1)

    def _clamped(self, seq: int) -> int:
        return seq if self._last is None else min(seq, self._last)

    def _note(self, author: bytes, held: int) -> None:
        """``author`` is on disk up to ``held``."""
        end = self._clamped(held)
        if self._wants(author) and self._position(author) <= end:
            self._todo[author] = end

    def _complete(self) -> bool:
        """Whether the range asked for can get no more entries."""
        return (
            self._author is not None and self._last is not None and self._position(self._author) > self._last
        )

    async def _fetch(self, author: bytes, end: int) -> None:
        """Read a chunk of ``author``; a live reader then turns to the next one, so that nobody has to wait for a log
        that grows all the time."""
        start = self._position(author)
        stretch: Stretch = await self._store.run(lambda logs: logs.around(author, start, CHUNK_BYTES, end))
        if self._closed:
            return
        segments, damage = stretch
        if damage is not None:
            self._pass_over(damage)
        self._segments.extend((segment, end) for segment in segments)
        reached = segments[-1].last if segments else self._todo[author] if damage is None else damage.last
        if reached >= self._todo[author]:
            del self._todo[author]
        elif self._live:
            self._todo.move_to_end(author)

    def _pass_over(self, damage: Damage) -> None:
        """Go on behind what cannot be read; the cursor follows with the next entry that can be."""
        author, first, last, _ = damage
        assert author is not None
        before = self.damages[-1] if self.damages else None
        if before is not None and (before.author, before.last + 1) == (author, first):
            self.damages[-1] = before._replace(last=last)
        else:
            self.damages.append(damage)
        self._passed[author] = last
        self._store.damage.found(damage)

    def _unpack(self, segment: Segment, end: int) -> None:
        """Decode one segment at a time: entries take several times the memory of their bytes."""
        author = segment.author
        seq = self._reached().seq(author)
        if self._read.id8(author) and segment.first <= seq + 1:  # the first after what the cursor had read
            try:
                self._compare(author, segment.previous if seq < segment.first else id_at(segment, seq))
            except CursorMismatchError:
                self._todo.pop(author, None)
                self._segments = deque(each for each in self._segments if each[0].author != author)
                raise
        position = self._position(author)
        self._entries.extend(read_entries(segment, self._encoding, position, min(end, segment.last)))

    async def _news(self) -> None:
        """Wait for a commit.  Meanwhile the store holds on to us: who waits may be held by nobody else."""
        self._waiting = Result(lambda _: None, self._store.reactor)
        self._store.hold(self)
        try:
            await self._waiting
        finally:
            self._waiting = None
            self._store.release(self)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)
