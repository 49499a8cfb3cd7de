"""The entries of a store by time, for verbs.

Responsible for: what is chosen on the command line, and finding it by an index in memory.
Must not know: how entries are shown.
Invariant: however many entries there are, no more of them are kept than a page has; nothing is written.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from gossiplog.app.printing import StatusLine
from gossiplog.errors import InvalidValueError
from gossiplog.live.telling import tell
from gossiplog.log.encodings import DECODE_ERRORS, encoding
from gossiplog.log.entry import Entry, read_entry
from gossiplog.log.place import Place
from gossiplog.store.logs import Logs
from gossiplog.store.repair.verify import Damage
from gossiplog.views.asking import Ask, Told, finish
from gossiplog.views.index import Index
from gossiplog.views.pages import EARLIEST, LATEST, Found, moment_place
from gossiplog.views.place import Place as Room

AT_ONCE: Final = 64
"""Entries of a page: 64 MiB, if all are as large as they can be."""

_AGO: Final = re.compile(r"(\d{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Where = Callable[[Entry], bool]


@dataclass(frozen=True)
class Chosen:
    """Which entries, and in which order."""

    newest: int | None = None
    reverse: bool = False
    since: datetime | None = None
    until: datetime | None = None
    where: Where = lambda entry: True

    @classmethod
    def of(cls, arguments: Namespace) -> Chosen:
        """Return what the arguments say."""
        said = arguments.where

        def where(entry: Entry) -> bool:
            return all(each(entry) for each in said)

        return cls(arguments.newest, arguments.reverse, arguments.since, arguments.until, where)


def read_moment(text: str) -> datetime:
    """Return the moment that is meant: in ISO 8601, local if it names no zone, or so long ago; InvalidValueError."""
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidValueError(
        f"a moment is 2026-11-30, 2026-11-30T12:00, 2026-11-30T12:00Z, or 2h for so long ago, not {text}"
    )


def read_where(text: str) -> Where:
    """Return whether an entry's payload is a JSON object in which FIELD (``a.b``: that within ``a``) is VALUE: as JSON,
    or as text; InvalidValueError."""
    field, sign, value = text.partition("=")
    if not sign or not field:
        raise InvalidValueError(f"a condition is FIELD=VALUE, not {text}")
    decode = encoding("json").decode
    wanted = [value]
    try:
        wanted.append(decode(value.encode(errors="surrogateescape")))
    except DECODE_ERRORS:
        pass

    def where(entry: Entry) -> bool:
        if entry.dropped or entry.malformed:
            return False
        try:
            found = decode(entry.payload)
        except DECODE_ERRORS:
            return False
        for name in [field] if isinstance(found, dict) and field in found else field.split("."):
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return any(type(found) is type(each) and found == each for each in wanted) or _are_equal(
            found, wanted[-1]
        )

    return where


def _are_equal(one: Any, another: Any) -> bool:
    """Whether two numbers are, of which True and False are none."""
    numbers = {type(one), type(another)} <= {int, float}
    return numbers and bool(one == another)


class ByTime:
    """I read the entries of some logs by time; ``damaged`` is told what is passed over."""

    def __init__(
        self, logs: Logs, authors: Collection[bytes] | None, damaged: Callable[[Damage], object]
    ) -> None:
        """Index what is held, in memory."""
        self._authors = authors
        self._damaged = damaged
        self._tell: Callable[[Ask], Told] = partial(tell, logs=logs)
        self._index = index = Index(Room(None))
        with StatusLine() as show:

            def told(ask: Ask) -> Told:
                if show is not None:
                    show(f"sorting, {index.indexing.done:,} of {index.indexing.total:,} entries")
                return tell(ask, logs)

            finish(index.indexing.follow(dict(logs.clock.items())), told)
        for gap in index.zones.gaps(authors):
            damaged(Damage(*gap))

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
