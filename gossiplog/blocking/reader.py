"""Reading for scripts and threads.

Responsible for: :class:`Reader` and :class:`Batches`, that wait.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog``.
Invariant: what was not returned is still the reader's, whatever became of the call: it is told what was taken with the
next one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, Self, TypeVar

import gossiplog
from gossiplog.live.batches import Batch
from gossiplog.log.cursor import Cursor
from gossiplog.log.entry import Entry

R = TypeVar("R")

_AT_ONCE = 1 << 16
"""More than a segment has: what is decoded comes as a whole, and nothing more is waited for."""


class Waiting(Protocol):
    """What a reader needs of its store."""

    def _wait(self, make: Callable[[], Any], timeout: float | None = None) -> Any:
        """Do this in its thread, and wait for it."""


class Reader:
    """I am one pass over a store: ``for entry in store.read()``, by one consumer.

    As :class:`gossiplog.Reader`: who stops in the middle may go on later, with the same reader or from its
    :meth:`cursor`, and ``damages`` has what was passed over.  What is given as ``where`` is called in gossiplog's
    thread.
    """

    def __init__(self, store: Waiting, reader: gossiplog.Reader, timeout: float | None) -> None:
        self.damages = reader.damages
        self._it = reader
        self._store = store
        self._timeout = timeout
        self._batch: Sequence[Entry] = ()
        self._place = 0  # within it
        self._before = 0  # entries that were returned before it
        self._told = 0  # of those returned, how many our reader knows of; used in its thread

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Entry:
        """The next entry, waiting for one if the reader is live."""
        if self._place == len(self._batch):
            self._batch = self._gather(_AT_ONCE, 0.0).entries
            if not self._batch:
                raise StopIteration
        self._place += 1
        return self._batch[self._place - 1]

    def batches(self, size: int = 1000, *, idle: float = 0.2) -> Batches:
        """What is there, ``size`` entries at once, or as many as came within ``idle`` seconds of the first.

        ``for batch in reader.batches(1000)``: ``batch.entries``, and ``batch.cursor`` after them.
        """
        self._it.batches(size, idle=idle)  # refuses what is no size and no time

        def take() -> Batch:
            batch = self._gather(size, idle)
            self._before += len(batch.entries)
            return batch

        return Batches(take)

    def cursor(self) -> Cursor:
        """How far this reader is: read on from here with ``after=``."""

        async def look() -> Cursor:
            return self._it.cursor()

        cursor: Cursor = self._ask(look)
        return cursor

    def _gather(self, size: int, idle: float) -> Batch:
        self._before += self._place
        self._batch, self._place = (), 0
        return self._ask(lambda: self._it._gather(size, idle))

    def _ask(self, ask: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Ask our reader, once it knows what was returned; it may be asked again before it answered."""
        returned = self._before + self._place

        async def asking() -> R:
            new, self._told = returned - self._told, returned
            self._it._hand_over(new)
            return await ask()

        answer: R = self._store._wait(asking, self._timeout)
        return answer

    def close(self) -> None:
        """End the iteration."""
        self._store._wait(self._it.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Batches:
    """I am what a reader has, in batches: ``for batch in reader.batches(1000)``."""

    def __init__(self, take: Callable[[], Batch]) -> None:
        """``take`` gives the next batch, one without entries at the end."""
        self._take = take

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch; TimeoutError if the reader's ``timeout`` passes before there is one, and nothing is lost."""
        batch = self._take()
        if not batch.entries:
            raise StopIteration
        return batch
