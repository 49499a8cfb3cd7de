"""Pages of a timeline: the newest entries of all logs before a place.

Responsible for: finding them by the index, one row of a log at a time; the text of a place.
Must not know: threads, where logs are, how entries are decoded.
Invariant: the entries of a page follow each other in the order of places, and between them is no other that the index
has and that can be read.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from hashlib import sha256
from typing import Final, NamedTuple

from sortedcontainers import SortedKeyList

from gossiplog.errors import InvalidValueError
from gossiplog.log.body import MAX_TIMESTAMP_MS
from gossiplog.log.items import Item
from gossiplog.log.place import PLACE_BYTES, Moment, Place, place_bytes, read_place
from gossiplog.views.asking import Steps
from gossiplog.views.runs import Run, Runs
from gossiplog.views.zones import Gap, Mark, Stored, Zones, mark_before

_PREFIX: Final = "place_"
_CHECK_BYTES: Final = 2
_TAG: Final = b"gossiplog/1 place".ljust(32, b"\0")
_ZONES_AT_ONCE: Final = 8
"""Opened in one step: as many as the newest page needs most often."""

_FOUND_AT_ONCE: Final = 64

LATEST: Final = Place(MAX_TIMESTAMP_MS + 1, 0, b"", 0)
"""Behind every entry."""

EARLIEST: Final = Place(0, 0, b"", 0)
"""Before every entry."""


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
    """Entries, the latest first; ``next`` is where to go on, None if there is nothing before; ``passed`` is what could
    not be read."""

    entries: list[Found]
    next: Place | None
    passed: list[Gap]


class _Candidate:
    """I am the next entry of a zone, or a place that it is not behind while that is not known."""

    __slots__ = ("at", "place", "run", "stored")

    def __init__(self, stored: Stored, place: Place) -> None:
        self.stored = stored
        self.place = place
        self.run: Run | None = None
        self.at = 0


class Pages:
    """I find pages in one index."""

    def __init__(self, zones: Zones, runs: Runs) -> None:
        self._zones = zones
        self._runs = runs

    def part(self, before: Place, since: Place, limit: int, authors: Collection[bytes] | None) -> Steps[Part]:
        """Return up to ``limit`` entries before ``before`` and not before ``since``.  O(zones after it, rows read)."""
        moment: Moment = before[:2]
        todo: SortedKeyList[_Candidate, Place] = SortedKeyList(key=lambda each: each.place)
        for stored in self._zones.across(moment, authors):
            zone = stored.zone
            if Place(*zone.low, zone.author, zone.first) < before:
                todo.add(_Candidate(stored, min(before, Place(*zone.high, zone.author, zone.last))))
        mark: Mark | None = mark_before(moment)
        ahead: list[tuple[Stored, Mark]] = []
        found: list[Found] = []
        passed: list[Gap] = []
        while len(found) < limit:
            ahead, mark = self._look(todo, ahead, mark, authors)
            if not todo or todo[-1].place < since:
                return Part(found, None, passed)
            candidate = todo[-1]
            if candidate.run is None:
                yield from self._open(todo, before, min(_ZONES_AT_ONCE, limit - len(found)), passed)
                continue
            del todo[-1]
            run, at = candidate.run, candidate.at
            found.append(Found(candidate.place, run.ids[at], run.items[at]))
            if at:
                candidate.at = at - 1
                candidate.place = _place(candidate.stored, run, at - 1)
                todo.add(candidate)
        ahead, mark = self._look(todo, ahead, mark, authors)
        is_over = not todo or todo[-1].place < since
        return Part(found, None if is_over else found[-1].place, passed)

    def _look(
        self,
        todo: SortedKeyList[_Candidate, Place],
        ahead: list[tuple[Stored, Mark]],
        mark: Mark | None,
        authors: Collection[bytes] | None,
    ) -> tuple[list[tuple[Stored, Mark]], Mark | None]:
        """Take in the zones that end behind the latest candidate."""
        while True:
            if not ahead and mark is not None:
                ahead = self._zones.before(mark, authors, _FOUND_AT_ONCE)
                mark = ahead[-1][1] if len(ahead) == _FOUND_AT_ONCE else None
            if not ahead:
                return ahead, mark
            zone = ahead[0][0].zone
            place = Place(*zone.high, zone.author, zone.last)
            if todo and place[:2] < todo[-1].place[:2]:
                return ahead, mark
            todo.add(_Candidate(ahead[0][0], place))
            ahead = ahead[1:]

    def _open(
        self, todo: SortedKeyList[_Candidate, Place], before: Place, count: int, passed: list[Gap]
    ) -> Steps[None]:
        """Open the latest zones."""
        chosen: list[_Candidate] = []
        for candidate in reversed(todo):
            if candidate.run is None:
                chosen.append(candidate)
                if len(chosen) >= count:
                    break
        runs = yield from self._runs.open([each.stored for each in chosen])
        for candidate, run in zip(chosen, runs, strict=True):
            todo.remove(candidate)
            passed.extend(run.passed)
            author = candidate.stored.zone.author
            low, high = 0, len(run.seqs)
            while low < high:  # as bisect does, by places
                middle = (low + high) // 2
                if Place(*run.moments[middle], author, run.seqs[middle]) < before:
                    low = middle + 1
                else:
                    high = middle
            if low:
                candidate.run, candidate.at = run, low - 1
                candidate.place = _place(candidate.stored, run, low - 1)
                todo.add(candidate)


def _place(stored: Stored, run: Run, at: int) -> Place:
    return Place(*run.moments[at], stored.zone.author, run.seqs[at])
