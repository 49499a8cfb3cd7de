"""Requests about entries by their words.

Responsible for: the index of the command, open in the node as long as somebody searches.
Must not know: sockets, lines; what is text.
Invariant: while nobody searches the index costs the node nothing; it is on disk, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, DeferredLock

from gossiplog.control.desk import Answer, Asker, Desk
from gossiplog.control.messages import Asked
from gossiplog.live.live_search import LiveSearch
from gossiplog.views.payload_text import any_words
from gossiplog.views.search import Hit, check_search


class Index:
    """I am the index of one store, which whoever searches shares."""

    def __init__(self, desk: Desk) -> None:
        self._store = desk.store
        self._opening = DeferredLock()
        self._open: LiveSearch | None = None
        self._users = 0

    async def find(self, text: str, limit: int, offset: int, order: Any) -> list[Hit]:
        """Return what is found in all that the store holds by now."""
        check_search(text, limit, offset, order)
        self._users += 1
        try:
            search = await self._opened()
            await search.ready()
            hits: list[Hit] = await search.find(text, limit=limit, offset=offset, order=order)
            return hits
        finally:
            self._users -= 1
            if not self._users and self._open is not None:
                search, self._open = self._open, None
                await search.close()

    async def _opened(self) -> LiveSearch:
        await self._opening.acquire()
        try:
            if self._open is None or self._open.error is not None:
                self._open = await self._store.view(any_words())
            return self._open
        finally:
            self._opening.release()


_indexes: WeakKeyDictionary[Desk, Index] = WeakKeyDictionary()


def _search(desk: Desk, asked: Asked, asker: Asker) -> Any:
    index = _indexes.setdefault(desk, Index(desk))
    about = asked.text("text"), asked.number("limit"), asked.number("offset", 0), asked.text("order", "rank")
    found = desk.begin(Deferred.fromCoroutine(index.find(*about)))
    return found.addCallback(lambda hits: [[hit.author.hex(), *hit[1:]] for hit in hits])


ANSWERS: Final[Mapping[str, Answer]] = {"search": _search}
