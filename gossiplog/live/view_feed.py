"""Which entries a view is to be given next.

Responsible for: what of the store a view has not got yet, read in steps, or taken from commits as they come.
Must not know: the view's file; what is done with the entries.
Invariant: each author's entries are given ascending, once, without a gap.  What was read of a log before it was
forgotten or begun anew is not given after that.  At most ``STEP_BYTES`` and a segment are held for each of two steps.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.results import Result
from gossiplog.log.clock_view import ClockView, CountedView, HeadView
from gossiplog.log.cursor import ID8_BYTES, Cursor
from gossiplog.log.segment import Head, Segment, toil_bytes
from gossiplog.store.reading_around import Stretch
from gossiplog.views.view_file import Piece, Start

STEP_BYTES: Final = 64 * 1024
"""Work of the store's thread for a view before it is somebody else's turn, a segment more at most: a millisecond."""

AUTHORS_AT_ONCE: Final = 256
"""Authors with few entries each that are read in one step."""


class Origin(Protocol):
    """What a feed needs of its store."""

    @property
    def clock(self) -> CountedView:
        """What it holds."""

    def whole_clock(self, what: str) -> ClockView:
        """Return that for ``what`` needs all of it; raise SharedStoreError where not all is in memory."""

    @property
    def forks(self) -> Set[bytes]:
        """The authors whose logs are known as forked."""

    @property
    def damage(self) -> DamageReports:
        """Who is told what is passed over."""

    def run(self, work: Callable[[Any], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""


class Batch(NamedTuple):
    """What was read together, and when; ``kept`` says up to which seq logs stay, of which the rest is given again;
    ``is_moved``: because entries have other places now."""

    pieces: Sequence[Piece]
    turn: int
    kept: Mapping[bytes, int] = MappingProxyType({})
    is_moved: bool = False


def changed_logs(given: Cursor, clock: HeadView) -> list[bytes]:
    """Return the authors whose log is another one than was given, or is gone, or shorter."""
    changed = []
    for author, (seq, id8) in given.items():
        head = clock.head(author)
        if head is None or head.seq < seq or (head.seq == seq and id8 and head.id[:ID8_BYTES] != id8):
            changed.append(author)
    return changed


class Feed:
    """I know what one view has been given of a store, and give it the rest."""

    def __init__(self, store: Origin) -> None:
        self._store = store
        self._given = Cursor()
        self._todo: OrderedDict[bytes, int] = OrderedDict()  # author -> last seq to be read
        self._news: deque[Piece] = deque()
        self._news_bytes = 0
        self._flying: dict[bytes, int] = {}  # author -> up to where it was given and not applied yet
        self._turn = 0
        self._anew: dict[bytes, int] = {}  # author -> the turn since when it is given anew
        self._all_anew = 0

    @property
    def is_behind(self) -> bool:
        """Whether there is anything to be read."""
        return bool(self._todo)

    @property
    def is_done(self) -> bool:
        """Whether all was given."""
        return not (self._todo or self._news)

    def begin(self, start: Start) -> list[bytes]:
        """Begin behind what was given; return the authors whose log is another one now, or is gone."""
        self._given = start.cursor
        self._look_at_all()
        return changed_logs(self._given, self._store.clock)

    def end(self) -> None:
        """Nothing is given any more."""

    def begin_anew(self) -> None:
        """Nothing was given."""
        self._turn += 1
        self._all_anew = self._turn
        self._anew.clear()
        self._given = Cursor()
        self._flying.clear()
        self._todo.clear()
        self._news.clear()
        self._look_at_all()

    def forget(self, authors: Iterable[bytes]) -> None:
        """Nothing of these authors was given."""
        self._turn += 1
        gone = set(authors)
        for author in gone:
            self._anew[author] = self._turn
            self._given.discard(author)
            self._flying.pop(author, None)
            self._todo.pop(author, None)
            if held := self._store.clock.seq(author):
                self._todo[author] = held
        self._news = deque(piece for piece in self._news if piece.author not in gone)

    def is_beyond(self, author: bytes, head: Head | None) -> bool:
        """Tell whether more of ``author`` was given than there is now."""
        return self._given.seq(author) > (0 if head is None else head.seq)

    def targets(self) -> dict[bytes, int]:
        """Return up to which seq each author is still to be applied."""
        return {**self._flying, **self._todo}

    def applied(self, pieces: Iterable[Piece]) -> None:
        """These are in the view now."""
        for piece in pieces:
            if self._flying.get(piece.author, piece.last + 1) <= piece.last:
                del self._flying[piece.author]

    def committed(self, segments: Iterable[Segment]) -> None:
        """These are new on disk: given from memory while there is room, otherwise read later."""
        for segment in segments:
            author = segment.author
            position = self._given.seq(author) + 1
            if segment.last < position:
                continue
            is_next = author not in self._todo and segment.first <= position
            if segment.bodies and is_next and self._news_bytes < STEP_BYTES:
                self._news.append(Piece(author, position, segment.last, segment))
                self._news_bytes += toil_bytes(segment)
                self._given.advance(author, segment.last)
                self._flying[author] = segment.last
            else:
                self._todo[author] = segment.last

    async def take(self) -> Batch:
        """Return what comes next, nothing when all was given."""
        if self._news:
            batch = Batch((*self._news,), self._turn)
            self._news.clear()
            self._news_bytes = 0
            return batch
        if not self._todo:
            return Batch((), self._turn)
        turn = self._turn
        wanted = [
            (author, self._given.seq(author) + 1, end)
            for author, end in islice(self._todo.items(), AUTHORS_AT_ONCE)
        ]
        found = await self._store.run(lambda logs: _read(logs, wanted))
        pieces: list[Piece] = []
        for (author, first, end), stretch in zip(wanted, found, strict=False):
            if self._is_old(author, turn):
                continue
            pieces += self._given_of(author, first, end, stretch)
        return Batch(pieces, self._turn)

    def fit(self, batch: Batch) -> list[Piece]:
        """Return what of a batch is still to be given: not what was forgotten since it was read."""
        return [piece for piece in batch.pieces if not self._is_old(piece.author, batch.turn)]

    def _is_old(self, author: bytes, turn: int) -> bool:
        return turn < max(self._all_anew, self._anew.get(author, 0))

    def _given_of(self, author: bytes, first: int, end: int, stretch: Stretch) -> list[Piece]:
        """Return pieces of what was read, which are given from now on."""
        pieces: list[Piece] = []
        segments, damage = stretch
        if damage is not None:
            pieces.append(Piece(author, first, damage.last, None))
            self._store.damage.found(damage)
        for segment in segments:
            begin = max(segment.first, pieces[-1].last + 1 if pieces else first)
            if begin <= min(end, segment.last):
                pieces.append(Piece(author, begin, min(end, segment.last), segment))
        reached = pieces[-1].last if pieces else end  # nothing is there any more
        if reached >= self._todo.get(author, 0):
            self._todo.pop(author, None)
        else:
            self._todo.move_to_end(author)
        if pieces:
            self._given.advance(author, reached)
            self._flying[author] = reached
        return pieces

    def _look_at_all(self) -> None:
        for author, head in self._store.whole_clock("a view").items():
            if head.seq > self._given.seq(author):
                self._todo[author] = head.seq


def _read(logs: Any, wanted: Sequence[tuple[bytes, int, int]]) -> list[Stretch]:
    """Read a row of each of ``wanted``, until that is enough for a step."""
    found: list[Stretch] = []
    toil = 0
    for author, first, end in wanted:
        stretch: Stretch = logs.around(author, first, 1, end)
        found.append(stretch)
        toil += sum(map(toil_bytes, stretch.segments))
        if toil >= STEP_BYTES:
            break
    return found
