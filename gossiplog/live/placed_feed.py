"""Which entries a view in causal order is to be given next.

Responsible for: taking them from a reader in that order, and beginning again where that order is another one now.
Must not know: the view's file; how places are computed.
Invariant: entries are given in the order of their places, but for those that are ``late``; each author's ascending,
once, without a gap.  What was read before a log was forgotten is not given after that: all goes on from what was
applied.  Beginning again, because something that was named came late, takes a tenth of the time at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, groupby
from typing import Any, Final

from gossiplog.errors import CursorMismatchError
from gossiplog.live.causal_source import CausalSource
from gossiplog.live.selection import Selection
from gossiplog.live.view_feed import Batch, changed_logs
from gossiplog.log.cursor import Cursor
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import Entry
from gossiplog.log.segment import Head, Segment
from gossiplog.views.view_file import Piece, Start

_AT_ONCE: Final = 2048
"""Entries that are given together, if there are so many: each time is a transaction."""
REST: Final = 9
"""Of ten parts of the time so many for something else than beginning again."""


class PlacedFeed:
    """I know what one view has applied of a store, and give it the rest in causal order.

    ``wake`` is called when there may be something to give though nothing was committed.
    """

    is_behind = False  # what is next is known once what was given is applied

    def __init__(self, store: Any, encoding_name: str, wake: Callable[[], None]) -> None:
        self.is_done = False
        self._store = store
        self._encoding = encoding(encoding_name)
        self._wake = wake
        self._applied = Cursor()
        self._source: CausalSource | None = None
        self._turn = 0
        self._kept: dict[bytes, int] = {}  # more of these is not applied, whatever is being applied now
        self._all_gone = False
        self._moved: dict[bytes, int] = {}  # up to where logs have the places that they had
        self._since: float | None = None  # when it was begun again
        self._rest_until = 0.0
        self._timer: Any = None

    def begin(self, start: Start) -> list[bytes]:
        """Begin behind what was applied; return the authors whose log is another one now, or is gone."""
        self._applied = start.cursor
        clock = self._store.clock
        if start.moved or any(clock.seq(author) >= seq for author, seq in start.owed.items()):
            self.move_all()  # while nobody looked
        return changed_logs(self._applied, clock)

    def begin_anew(self) -> None:
        """Nothing was applied."""
        self._all_gone = True
        self._stop()

    def forget(self, authors: Iterable[bytes]) -> None:
        """Nothing of these authors was applied."""
        self.cut(dict.fromkeys(authors, 0))

    def cut(self, kept: Mapping[bytes, int]) -> None:
        """Of these authors no more was applied."""
        for author, seq in kept.items():
            self._kept[author] = min(seq, self._kept.get(author, seq))
        self._stop()

    def move_all(self) -> None:
        """Entries may have other places now: all is to be given again."""
        self._moved = dict.fromkeys((author for author, _ in self._applied.items()), 0)

    def is_beyond(self, author: bytes, head: Head | None) -> bool:
        """Tell whether more of ``author`` was applied than there is now."""
        return self._applied.seq(author) > (0 if head is None else head.seq)

    def targets(self) -> dict[bytes, int]:
        """Return up to which seq each author is still to be applied."""
        return {
            author: head.seq
            for author, head in self._store.whole_clock("a view").items()
            if self._all_gone or head.seq > self._kept.get(author, self._applied.seq(author))
        }

    def applied(self, pieces: Iterable[Piece]) -> None:
        """These are in the view now."""
        for piece in pieces:
            self._applied.advance(piece.author, piece.last, piece.entries[-1].id if piece.entries else b"")

    def committed(self, segments: Sequence[Segment]) -> None:
        """These are new on disk."""
        self.is_done = False
        if self._source is not None:
            self._source.committed(segments)

    async def take(self) -> Batch:
        """Return what comes next, nothing when all was given that has its turn."""
        turn = self._turn
        found: list[Entry] = []
        going = True
        try:
            source = self._source or self._begin()
            while going and turn == self._turn and len(found) < _AT_ONCE:
                going = await source.advance()
                source.take(found, _AT_ONCE)
        except CursorMismatchError as error:
            return Batch((), turn, {error.author: 0})
        for author, seq in source.take_moved().items():
            self._moved[author] = min(seq, self._moved.get(author, seq))
        now = self._store.reactor.seconds()
        if self._moved and now >= self._rest_until and turn == self._turn:
            moved, self._moved = self._moved, {}
            self._since = now
            if kept := {author: seq for author, seq in moved.items() if seq < self._applied.seq(author)}:
                return Batch((), turn, kept, is_moved=True)
        if not found and turn == self._turn:
            self._rest(source, now)
        return Batch(self._pieces(found), turn)

    def fit(self, batch: Batch) -> list[Piece]:
        """Return what of a batch is still to be given: not what was read before something was forgotten."""
        return [*batch.pieces] if batch.turn == self._turn else []

    def end(self) -> None:
        """Nothing is given any more."""
        self._stop()

    def _begin(self) -> CausalSource:
        if self._all_gone:
            self._applied = Cursor()
        for author, seq in self._kept.items():
            if seq < self._applied.seq(author):
                self._applied.apply({author: (seq, b"") if seq else None})
        self._kept.clear()
        self._all_gone = False
        self._source = CausalSource(
            self._store, self._encoding, Selection(live=True), self._applied, settle=0.0
        )
        return self._source

    def _stop(self) -> None:
        self.is_done = False
        self._turn += 1
        source, self._source = self._source, None
        if source is not None:
            source.close()
        self._cancel()

    def _rest(self, source: CausalSource, now: float) -> None:
        """All is given for now: until there is more, or it is time for something."""
        self.is_done = True
        if self._since is not None:
            self._rest_until = now + REST * (now - self._since)
            self._since = None
        seconds = source.wakes_in()
        if self._moved:
            seconds = min(seconds, self._rest_until - now)
        self._cancel()
        self._timer = self._store.reactor.callLater(max(0.0, seconds), self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.is_done = False
        self._wake()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _pieces(self, entries: Sequence[Entry]) -> list[Piece]:
        """Put together what follows each other in one log; what was passed over is in pieces without entries."""
        pieces: list[Piece] = []
        ends: dict[bytes, int] = {}
        position = count()
        for (author, _), run in groupby(entries, lambda entry: (entry.author, entry.seq - next(position))):
            placed = [*run]
            expected = ends.get(author, self._applied.seq(author)) + 1
            if placed[0].seq > expected:
                pieces.append(Piece(author, expected, placed[0].seq - 1, None))
            pieces.append(Piece(author, placed[0].seq, placed[-1].seq, None, placed))
            ends[author] = placed[-1].seq
        return pieces
