"""Entries by the batch.

Responsible for: :class:`Batch`, and :class:`Batches` as an async iterator over those of a reader.
Must not know: how a reader comes by entries.
Invariant: what is in no batch that was handed over is still the reader's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from gossiplog.log.cursor import Cursor
from gossiplog.log.entry import Entry


class Batch(NamedTuple):
    """Some ``entries``, and the ``cursor`` after them and before those that come next."""

    entries: tuple[Entry, ...]
    cursor: Cursor

    def __repr__(self) -> str:
        return f"<Batch of {len(self.entries)} entries>"


class Batches:
    """I am what a reader has, in batches: ``async for batch in reader.batches(1000)``."""

    def __init__(self, take: Callable[[], Coroutine[Any, Any, Batch]]) -> None:
        """``take`` gives the next batch, one without entries at the end."""
        self._take = take

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> Batch:
        """The next batch.  Whoever is cancelled while waiting for it loses nothing."""
        batch = await self._take()
        if not batch.entries:
            raise StopAsyncIteration
        return batch
