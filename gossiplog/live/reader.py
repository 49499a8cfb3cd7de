"""Reading a store as an async iterator.

Responsible for: handing over entries, one by one or in batches, and the cursor behind them.
Must not know: where they come from (:mod:`gossiplog.live.source`); the network.
Invariant: the cursor is behind what was handed over and nothing else, so a cancelled read loses nothing.  Beside what
its source does, it holds the entries of one batch in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from gossiplog.arguments import check_number, check_seconds
from gossiplog.live.batches import Batch, Batches
from gossiplog.live.bringing import Bringing
from gossiplog.log.cursor import Cursor
from gossiplog.log.entry import Entry
from gossiplog.store.repair.verify import Damage


class Reader:
    """I am one pass over a store: ``async for entry in reader``, by one consumer.

    Not asked, not read: a slow consumer costs a seq per author, whatever arrives meanwhile.  Who stops in the middle
    may go on later, with the same reader or from its :meth:`cursor`; a reader nobody holds any more is gone.

    Entries that cannot be read are passed over: ``damages`` has what was, each with author, first, last and reason, to
    be read once ``gossiplog verify --repair`` has brought the store in order.
    """

    def __init__(self, source: Bringing) -> None:
        self._source = source
        self._entries = source.entries
        self._where = source.selection.where
        self._gathered: list[Entry] = []  # for a batch, and not handed over; the source is behind them
        self._before = Cursor()  # them
        self._trouble: Exception | None = None  # to be raised after them
        self._asked = False

    @property
    def damages(self) -> list[Damage]:
        """What was passed over until now."""
        return self._source.damages

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Entry:
        """The next entry, waiting for one if the reader is live.

        Raises :class:`CursorMismatchError` for an author of whom ``after`` had read another entry; asked again, it goes
        on with the others.  Raises :class:`WhereFailedError` when ``where`` does; asked again, it asks that again.
        """
        if self._entries and self._where is None:
            entry = self._source.taken = self._entries.popleft()
            return entry
        self._begin()
        try:
            while True:
                if self._gathered:
                    [entry] = self._hand_over(1)
                    return entry
                self._raise_trouble()
                if (found := self._source.next()) is not None:
                    return found
                if not await self._source.step():
                    raise StopAsyncIteration
        finally:
            self._asked = False

    def batches(self, size: int = 1000, *, idle: float = 0.2) -> Batches:
        """What is there, ``size`` entries at once, or as many as came within ``idle`` seconds of the first.

        ``async for batch in reader.batches(1000)``: ``batch.entries``, and ``batch.cursor`` after them.
        """
        check_number("size", size, 1)
        check_seconds("idle", idle)

        async def take() -> Batch:
            batch = await self._gather(size, idle)
            self._hand_over(len(batch.entries))
            return batch

        return Batches(take)

    async def _gather(self, size: int, idle: float) -> Batch:
        """The next batch, without entries at the end.  They stay the next ones until :meth:`_hand_over`."""
        self._begin()
        over = not idle
        timer: Any = None

        def wait_no_longer() -> None:
            nonlocal over
            over = True
            self._source.wake()

        try:
            while len(self._gathered) < size:
                if self._gathered:
                    if over or self._trouble is not None:
                        break
                    timer = timer or self._source.store.reactor.callLater(idle, wait_no_longer)
                self._raise_trouble()
                if not await self._gather_some(size):
                    break
        finally:
            self._asked = False
            if timer is not None and timer.active():
                timer.cancel()
        entries = tuple(self._gathered[:size])
        return Batch(entries, self._cursor_after(len(entries)))

    async def _gather_some(self, size: int) -> bool:
        """Do what brings more entries, and take those that are wanted; False at the end.

        What fails does so behind what was taken before.
        """
        try:
            if not self._entries and not await self._source.step():
                return False
            if not self._gathered:
                self._before = self._source.reached().copy()
            self._source.take(self._gathered, size)
        except Exception as error:
            if isinstance(error, CancelledError) or not self._gathered:
                raise
            self._trouble = error
        return True

    def _hand_over(self, count: int) -> list[Entry]:
        """The first ``count`` of what was gathered were taken."""
        self._before = self._cursor_after(count)
        handed = self._gathered[:count]
        del self._gathered[:count]
        return handed

    def _cursor_after(self, count: int) -> Cursor:
        """The cursor as it is when so many more of what was gathered are handed over."""
        if count >= len(self._gathered):
            cursor = self._source.reached().copy()
        else:
            cursor = self._before.copy()
            for entry in () if self._source.selection.reverse else self._gathered[:count]:
                cursor.advance(entry.author, entry.seq, entry.id)
        author, first = self._source.selection.author, self._source.selection.first
        if author is not None and first > max(1, cursor.seq(author) + 1):
            cursor.advance(author, first - 1)
        return cursor

    def cursor(self) -> Cursor:
        """How far this reader is: read on from here with ``after=``.  O(1).

        In reverse, a log counts as read when its oldest entry was handed over, and not before.
        """
        return self._cursor_after(0)

    def close(self) -> None:
        """End the iteration; what waits in ``async for`` ends too."""
        self._source.close()
        if not self._asked:
            self._gathered.clear()

    async def aclose(self) -> None:
        """As :meth:`close`, for ``contextlib.aclosing``."""
        self.close()

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def _begin(self) -> None:
        if self._asked:
            raise RuntimeError("this reader is being waited for already; give every consumer its own")
        self._asked = True

    def _raise_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble
