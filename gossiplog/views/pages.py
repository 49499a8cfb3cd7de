"""Pages of a timeline: the newest entries of all logs before a place.

Responsible for: finding them by the index, one row of a log at a time; the text of a place.
Must not know: threads, where logs are, how entries are decoded.
Invariant: the entries of a page follow each other in the order of places, and between them is no other that the index
has and that can be read.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from sortedcontainers import SortedKeyList

from gossiplog.errors import InvalidValueError
from gossiplog.log.body import MAX_TIMESTAMP_MS
from gossiplog.log.items import Item
from gossiplog.log.keys import tag_for
from gossiplog.log.place import PLACE_BYTES, Moment, Place, place_bytes, read_place
from gossiplog.views.asking import Steps
from gossiplog.views.runs import Run, Runs
from gossiplog.views.zones import Gap, Mark, Stored, Zones, mark_at

_PREFIX: Final = "place_"
_CHECK_BYTES: Final = 2
_TAG: Final = tag_for("place")
_ZONES_AT_ONCE: Final = 8
"""Opened in one step: as many as the newest page needs most often."""

_FOUND_AT_ONCE: Final = 64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

LATEST: Final = Place(MAX_TIMESTAMP_MS + 1, 0, b"", 0)
"""Behind every entry."""

EARLIEST: Final = Place(0, 0, b"", 0)
"""Before every entry."""


def moment_place(moment: datetime) -> Place:
    """Return the place before every entry of a moment, which has a zone; milliseconds are rounded up."""
    ms = -((_EPOCH - moment) // timedelta(milliseconds=1))
    return Place(max(0, ms), 0, b"", 0)


def format_place(place: Place) -> str:
    """Return the text of a place, of letters and digits: 99 characters that can stand in a URL."""
    raw = place_bytes(place[:2], place.author, place.seq)
    return _PREFIX + base64.b32encode(raw + _check(raw)).decode().rstrip("=").lower()


def parse_place(text: str) -> Place:
    """Return the place of a text; InvalidValueError for what is none."""
    letters = text.removeprefix(_PREFIX)
    try:
        raw = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except ValueError:
        raw = b""
    place, check = raw[:PLACE_BYTES], raw[PLACE_BYTES:]
    if (
        not text.startswith(_PREFIX)
        or len(place) != PLACE_BYTES
        or check != _check(place)
        or letters != letters.lower()
    ):
        raise InvalidValueError(f"not a place: it is {_PREFIX} and letters and digits, as a page's 'older'")
    return read_place(place)


def _check(place: bytes) -> bytes:
    return sha256(_TAG + place).digest()[:_CHECK_BYTES]


class Found(NamedTuple):
    """An entry of a page, not decoded."""

    place: Place
    id: bytes
    item: Item


class Part(NamedTuple):
    """Entries in the order that was asked for; ``next`` is the place behind which it goes on, None if there is no more;
    ``passed`` is what could not be read."""

    entries: list[Found]
    next: Place | None
    passed: list[Gap]


class Pages:
    """I find pages in one index."""

    def __init__(self, zones: Zones, runs: Runs) -> None:
        self._zones = zones
        self._runs = runs

    def part(
        self,
        before: Place,
        since: Place,
        limit: int,
        authors: Collection[bytes] | None = None,
        forward: bool = False,
    ) -> Steps[Part]:
        """Return up to ``limit`` entries before ``before`` and not before ``since``: the latest, the latest first; or
        ``forward``, the earliest first.  O(zones on the other side of where it begins, rows read)."""
        return self.search(before, since, authors, forward).part(limit)

    def search(
        self, before: Place, since: Place, authors: Collection[bytes] | None = None, forward: bool = False
    ) -> Search:
        """Return who finds such entries, some and then some more, while the index does not change."""
        return Search(self._zones, self._runs, before, since, authors, forward)


class _Candidate:
    """I am the next entry of a zone, or a place that it does not come before while the zone is not opened."""

    __slots__ = ("at", "place", "run", "stored")

    def __init__(self, stored: Stored, place: Place) -> None:
        self.stored = stored
        self.place = place
        self.run: Run | None = None
        self.at = 0


class Search:
    """I look for entries, once: from zone to zone, of which each log has one that is looked at.

    Those are the candidates, by place; zones that begin behind the next candidate are not among them yet.
    """

    def __init__(
        self,
        zones: Zones,
        runs: Runs,
        before: Place,
        since: Place,
        authors: Collection[bytes] | None,
        forward: bool,
    ) -> None:
        self._zones = zones
        self._runs = runs
        self._before = before
        self._since = since
        self._authors = authors
        self._forward = forward
        self._passed: list[Gap] = []
        self._candidates: SortedKeyList[_Candidate, Place] = SortedKeyList(key=lambda each: each.place)
        self._ahead: deque[tuple[Stored, Mark]] = deque()
        moment = (since if forward else before)[:2]
        self._mark: Mark | None = mark_at(moment, forward)
        for stored in zones.across(moment, authors, forward):
            first = Place(*stored.zone.low, stored.zone.author, stored.zone.first)
            last = Place(*stored.zone.high, stored.zone.author, stored.zone.last)
            if first < before and last >= since:
                self._candidates.add(_Candidate(stored, max(first, since) if forward else min(last, before)))

    def part(self, limit: int) -> Steps[Part]:
        """Return what there is; then what comes next."""
        self._passed = []
        found: list[Found] = []
        while (candidate := self._next()) is not None:
            if len(found) == limit:
                return Part(found, found[-1].place, self._passed)
            run, at = candidate.run, candidate.at
            if run is None:
                yield from self._open(min(_ZONES_AT_ONCE, limit - len(found)))
                continue
            self._candidates.remove(candidate)
            found.append(Found(candidate.place, run.ids[at], run.items[at]))
            self._put(candidate, run, at + 1 if self._forward else at - 1)
        return Part(found, None, self._passed)

    def _next(self) -> _Candidate | None:
        """The next candidate, with the zones that begin before it among them; None at the end."""
        while True:
            candidate = None
            if self._candidates:
                candidate = self._candidates[0 if self._forward else -1]
            if not self._ahead and self._mark is not None:
                self._ahead.extend(
                    self._zones.behind(self._mark, self._authors, self._forward, _FOUND_AT_ONCE)
                )
                self._mark = self._ahead[-1][1] if len(self._ahead) == _FOUND_AT_ONCE else None
            if self._ahead:
                stored, _ = self._ahead[0]
                zone = stored.zone
                place = Place(*zone.low, zone.author, zone.first)
                if not self._forward:
                    place = Place(*zone.high, zone.author, zone.last)
                if candidate is None or not self._is_behind(place[:2], candidate.place[:2]):
                    self._ahead.popleft()
                    self._candidates.add(_Candidate(stored, place))
                    continue
            if candidate is None or (
                candidate.place >= self._before if self._forward else candidate.place < self._since
            ):
                return None
            return candidate

    def _is_behind(self, one: Moment, another: Moment) -> bool:
        return one > another if self._forward else one < another

    def _open(self, count: int) -> Steps[None]:
        """Open the zones that are next."""
        chosen: list[_Candidate] = []
        for candidate in self._candidates if self._forward else reversed(self._candidates):
            if candidate.run is None:
                chosen.append(candidate)
                if len(chosen) >= count:
                    break
        runs = yield from self._runs.open([each.stored for each in chosen])
        start = self._since if self._forward else self._before
        for candidate, run in zip(chosen, runs, strict=True):
            self._candidates.remove(candidate)
            self._passed.extend(run.passed)
            author = candidate.stored.zone.author
            at = bisect_left(
                range(len(run.seqs)), start, key=lambda at: Place(*run.moments[at], author, run.seqs[at])
            )
            self._put(candidate, run, at if self._forward else at - 1)

    def _put(self, candidate: _Candidate, run: Run, at: int) -> None:
        """This entry of it is next, if there is one."""
        if 0 <= at < len(run.seqs):
            candidate.run, candidate.at = run, at
            candidate.place = Place(*run.moments[at], candidate.stored.zone.author, run.seqs[at])
            self._candidates.add(candidate)
