"""The entries of a store by time, for verbs.

Responsible for: finding what is chosen by an index in memory.
Must not know: what the command line says, how entries are shown.
Invariant: however many entries there are, no more of them are kept than a page has; nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from functools import partial
from typing import Final

from gossiplog.app.commands.chosen import Chosen
from gossiplog.app.commands.local import Opened
from gossiplog.app.printing import StatusLine
from gossiplog.limits import MAX_AHEAD_MS
from gossiplog.live.telling import tell
from gossiplog.log.clock_view import whole_of
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import Entry, read_entry
from gossiplog.log.place import Place
from gossiplog.store.repair.verify import Damage
from gossiplog.views.asking import Ask, Told, finish
from gossiplog.views.index import Index
from gossiplog.views.pages import EARLIEST, LATEST, Found, moment_place
from gossiplog.views.place import Place as Room

AT_ONCE: Final = 64
"""Entries of a page: 64 MiB, if all are as large as they can be."""


class ByTime:
    """I read the entries of some logs by time; ``damaged`` is told what is passed over."""

    def __init__(
        self,
        logs: Opened,
        authors: Collection[bytes] | None,
        damaged: Callable[[Damage], object],
        until: datetime | None = None,
    ) -> None:
        """Index what is held, in memory: but for what is ahead of our clock, if that is not before ``until``."""
        self._authors = authors
        self._damaged = damaged
        self._tell: Callable[[Ask], Told] = partial(tell, logs=logs)
        self._index = index = Index(Room(None))
        with StatusLine() as show:

            def told(ask: Ask) -> Told:
                if show is not None:
                    show(f"sorting, {index.indexing.done:,} of {index.indexing.total:,} entries")
                return tell(ask, logs)

            until_ms = int(time.time() * 1000) + MAX_AHEAD_MS
            if until is not None:
                until_ms = max(until_ms, moment_place(until).ms)
            clock = whole_of(logs.clock, logs.path, "sorting by time")
            finish(index.indexing.follow(dict(clock.items()), until_ms=until_ms), told)
        for gap in index.zones.gaps(authors):
            damaged(Damage(*gap))

    @property
    def ahead(self) -> Iterator[tuple[bytes, int, int]]:
        """Author, seq and time of entries that are ahead of our clock: with what follows them they are left out."""
        for author, (seq, due_ms, _) in self._index.indexing.ahead.items():
            if self._authors is None or author in self._authors:
                yield author, seq, due_ms

    def entries(self, chosen: Chosen) -> Iterator[Entry]:
        """Yield the entries that are chosen, the oldest first or in reverse."""
        since = EARLIEST if chosen.since is None else moment_place(chosen.since)
        before = LATEST if chosen.until is None else moment_place(chosen.until)
        if chosen.newest is not None and not chosen.reverse:
            place, count = LATEST, 0
            for found, entry in self._walk(before, since, forward=False):
                if count < chosen.newest and chosen.where(entry):
                    place, count = found.place, count + 1
                if count == chosen.newest:
                    break
            since = max(since, place)
        count = 0
        for _, entry in self._walk(before, since, forward=not chosen.reverse):
            if count == chosen.newest:
                return
            if chosen.where(entry):
                count += 1
                yield entry

    def _walk(self, before: Place, since: Place, forward: bool) -> Iterator[tuple[Found, Entry]]:
        search = self._index.pages.search(before, since, self._authors, forward)
        raw = encoding("bytes")
        more = True
        while more:
            part = finish(search.part(AT_ONCE), self._tell)
            for gap in part.passed:
                self._damaged(Damage(*gap))
            for found in part.entries:
                (_, _, author, seq), entry_id, item = found
                yield found, read_entry(author, seq, entry_id, item if isinstance(item, bytes) else None, raw)
            more = part.next is not None

    def close(self) -> None:
        """Forget the index."""
        self._index.close()
