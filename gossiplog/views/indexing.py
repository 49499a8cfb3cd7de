"""Bringing the index of places up to what a store holds.

Responsible for: which entries are placed next, what is taken back because something came late, was filled or is gone.
Must not know: threads, where logs are, who asks.
Invariant: when it is done the index is what it would be if it had been built anew from what the store holds: each entry
is placed by what it names of that, and by nothing else.  What is ahead of our clock, and what follows it in its log, is
not in it yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Final, NamedTuple

from gossiplog.log.body import MAX_TIMESTAMP_MS, Reference
from gossiplog.log.cursor import ID8_BYTES
from gossiplog.log.debts import Debt, Late
from gossiplog.log.place import Moment, Stated
from gossiplog.log.placer import Placed, Placer
from gossiplog.log.segment import Head, Segment, id_at, split_items
from gossiplog.views.asking import Ask, Steps, Told
from gossiplog.views.recent import Recent
from gossiplog.views.runs import Runs, state
from gossiplog.views.zones import Gap, Position, Zones

_LOGS_AT_ONCE: Final = 8
"""Read in one step: so the threads wait for each other less often."""

_COMMIT_ENTRIES: Final = 1 << 18
"""Placed in one transaction, in a fifth of a second: a build that is killed goes on from there."""

_NAMING_AT_ONCE: Final = 8
"""Of entries that name others, brought at once: each may end it."""

_SKIPPED_AT_ONCE: Final = 1 << 16
_ROWS_KEPT: Final = 128
"""Of logs that name others, so that they need not be read again each time they wait or are named: some 25 MB."""


class Ahead(NamedTuple):
    """A log goes on with entry ``seq``, which has its place once our clock is near ``due_ms``; ``id8`` is of the entry
    before it."""

    seq: int
    due_ms: int
    id8: bytes


class Indexing:
    """I keep one index.  Of ``total`` entries that were to be placed, ``done`` are.

    ``is_owing`` says that something came late, and what named it was not placed by it yet; ``went_back``, how many
    entries were placed again the last time.  ``ahead`` are the logs that go on with an entry ahead of our clock.
    """

    def __init__(self, zones: Zones, runs: Runs) -> None:
        """``runs`` are those of who reads from the index, too: they forget what I take back."""
        self._zones = zones
        self._runs = runs
        self._heads: dict[bytes, Head] = {}
        self._todo: dict[bytes, None] = {}
        self._moved: set[bytes] = set()
        self._late: list[Late] = []
        self._recent: OrderedDict[bytes, Recent] = OrderedDict()
        self._rows: OrderedDict[bytes, tuple[Stated, Segment, int]] = OrderedDict()
        self._ids = {author: each.id8 for author, each in zones.positions().items() if each.seq and each.id8}
        self._uncommitted = self.done = self.total = 0
        self._patient = False
        self._until_ms = MAX_TIMESTAMP_MS
        self.ahead: dict[bytes, Ahead] = {}
        self._placer = Placer(
            ((author, (each.seq, each.moment)) for author, each in zones.positions().items() if each.seq),
            expects=self._is_held,
            bound=zones.bound,
        )
        missed = [*zones.missed()]
        for reference, late in missed:
            self._placer.owe(late, [reference])
            if reference.seq < self._placer.position(reference.author):
                self._late.append(late)
        self._missed = {reference.author for reference, _ in missed}
        self.went_back = 0

    @property
    def is_owing(self) -> bool:
        """Whether entries were to be placed again."""
        return bool(self._late)

    def reached(self, author: bytes) -> tuple[int, bytes] | None:
        """Return the last seq of a log that has its place, and the beginning of its id; None if none has."""
        head, ahead = self._heads.get(author), self.ahead.get(author)
        if head is None or (ahead is not None and ahead.seq == 1):
            return None
        return (head.seq, head.id[:ID8_BYTES]) if ahead is None else (ahead.seq - 1, ahead.id8)

    def follow(
        self,
        heads: Mapping[bytes, Head],
        gone: Collection[bytes] = (),
        filled: Collection[bytes] = (),
        patient: bool = False,
        until_ms: int = MAX_TIMESTAMP_MS,
    ) -> Steps[None]:
        """Bring the index up to ``heads``, those of all logs or of those that changed.

        ``gone`` are logs that are not held any more, or are others; of those ``filled`` payloads came back.  With
        ``patient`` nothing is placed again for what comes late: that is owed.  Entries after ``until_ms`` are ahead of
        our clock.
        """
        self.went_back = 0
        self._patient = patient
        self._until_ms = until_ms
        db = self._zones.derived.db
        db.execute("BEGIN IMMEDIATE")  # who stops in the middle closes the file
        self._heads.update(heads)
        for author in [*gone, *(each for each, head in heads.items() if self._is_another(each, head))]:
            self._take_out(author)
            if author not in heads:
                self._heads.pop(author, None)
        for author in filled:
            self._go_back(self._zones.first_hole(author))
        if self._zones.is_after(until_ms):  # our clock was set back
            self._go_back((until_ms + 1, 0))
        for author in [author for author, each in self.ahead.items() if each.due_ms <= until_ms]:
            del self.ahead[author]
            self._todo[author] = None
        self._todo.update(dict.fromkeys(heads))
        self._count()
        while True:
            yield from self._place_all()
            if self._late and not patient:
                self._go_back(min(each.moment for each in self._late))
            elif self._todo:
                self._note_positions()
                db.execute("COMMIT")
                db.execute("BEGIN IMMEDIATE")
            elif not (yield from self._untangle()):
                break
        self._note_positions()
        db.execute("COMMIT")

    # -- placing

    def _place_all(self) -> Steps[None]:
        """Place what can be, or so much of it that it is time to commit."""
        while self._todo and (self._patient or not self._late) and self._uncommitted < _COMMIT_ENTRIES:
            batch = []
            for author in [*islice(self._todo, _LOGS_AT_ONCE)]:
                del self._todo[author]
                if self._is_behind(author):
                    batch.append(author)
            told = yield [self._ask(author) for author in batch if author not in self._rows]
            rows = dict(zip([author for author in batch if author not in self._rows], told, strict=True))
            for author in batch:
                if author in rows:
                    yield from self._bring(author, rows[author])
                else:
                    yield from self._bring_again(author)

    def _ask(self, author: bytes) -> Ask:
        return Ask(author, self._placer.position(author), self._heads[author].seq, signed=False)

    def _bring(self, author: bytes, told: Told) -> Steps[None]:
        """Place the next rows of a log."""
        head = self._heads[author].seq
        if told.passed >= (first := self._placer.position(author)):
            self._zones.gap(Gap(author, first, told.passed, told.reason))
            while first <= told.passed:
                end = min(told.passed, first + _SKIPPED_AT_ONCE - 1)
                self._placer.add(Stated(author, first, [0] * (end - first + 1), {}, lambda seq: b""))
                first = end + 1
            self._moved.add(author)
        for segment in told.segments:
            if self._is_other(author, segment):
                self._take_out(author)
                self._todo[author] = None
                return
            stated, holes = state(segment, self._placer.position(author), head)
            if not (yield from self._add(stated, segment, holes)):
                return
        if (told.segments or told.passed) and self._is_behind(author):
            self._todo[author] = None

    def _bring_again(self, author: bytes) -> Steps[None]:
        """Place a row that waited, from where it did."""
        stated, segment, holes = self._rows.pop(author)
        if stated.first <= self._placer.position(author) <= stated.last:
            yield from self._add(stated, segment, holes)
        if author not in self._rows and self._is_behind(author):
            self._todo[author] = None

    def _add(self, stated: Stated, segment: Segment, holes: int) -> Steps[bool]:
        """Place entries of a row; false if some have to wait for others."""
        author = stated.author
        while (position := self._placer.position(author)) <= stated.last:
            part = _part(stated, position)
            self._took(self._placer.add(part, self._until_ms), part, segment, holes)
            wait = self._placer.waits.get(author)
            if wait is None:
                continue
            if wait.due_ms:
                self.ahead[author] = Ahead(wait.seq, wait.due_ms, part.id_at(wait.seq - 1)[:ID8_BYTES])
                self._todo.update(dict.fromkeys(self._placer.pass_over(author, wait.seq)))
                return False
            for reference in [*wait.unread]:
                self._placer.recall(author, reference, (yield from self._moment_of(reference)))
            if wait.missing:
                self._rows[author] = stated, segment, holes
                if len(self._rows) > _ROWS_KEPT:
                    self._rows.popitem(last=False)
                return False
        return True

    def _took(self, placed: Placed, stated: Stated, segment: Segment, holes: int) -> None:
        """Entries have their place."""
        zone = placed.zone
        if zone is None:
            return
        begin, count = zone.first - stated.first, zone.last - zone.first + 1
        timestamps = stated.timestamps[begin : begin + count]
        is_plain = (
            not zone.raised and zone.low == (timestamps[0], 0) and list(timestamps) == sorted(timestamps)
        )
        if holes:
            found = split_items(segment)[zone.first - segment.first : zone.last - segment.first + 1]
            holes = sum(not isinstance(item, bytes) for item in found)
        self._zones.add(zone, is_plain, holes, len(segment.bodies) * count // segment.count)
        if stated.after or zone.author in self._recent:
            self._recent.setdefault(zone.author, Recent()).took(zone, stated)
            if len(self._recent) > _ROWS_KEPT:
                self._recent.popitem(last=False)
        if stated.after:
            self._miss(stated, zone.moments(timestamps), zone.first, zone.last)
        self._moved.add(zone.author)
        self.ahead.pop(zone.author, None)
        self._uncommitted += count
        self.done += count
        self._todo.update(dict.fromkeys(placed.freed))
        self._late += placed.late

    def _miss(self, stated: Stated, moments: list[Moment], first: int, last: int) -> None:
        """Remember what was not there."""
        debts: list[Debt] = [
            (reference, Late(stated.author, seq, moments[seq - first]))
            for seq, named in stated.after.items()
            if first <= seq <= last
            for reference in named
            if reference.author != stated.author and reference.seq >= self._placer.position(reference.author)
        ]
        self._zones.miss(debts)
        self._missed.update(reference.author for reference, _ in debts)

    def _moment_of(self, reference: Reference) -> Steps[Moment | None]:
        """The moment of an entry that has its place; None if another entry is there."""
        recent = self._recent.get(reference.author)
        if recent is not None and recent.has(reference.seq):
            self._recent.move_to_end(reference.author)
            return recent.moment(reference)
        stored = self._zones.containing(reference.author, reference.seq)
        if stored is None:
            return None
        [run] = yield from self._runs.open([stored])
        at = reference.seq - run.seqs[0] if run.seqs else 0
        if not 0 <= at < len(run.seqs) or run.seqs[at] != reference.seq:
            at = next((at for at, seq in enumerate(run.seqs) if seq == reference.seq), -1)
        return run.moments[at] if at >= 0 and run.ids[at].startswith(reference.id16) else None

    def _untangle(self) -> Steps[bool]:
        """Logs that wait for each other name entries that are not those: tell what is true of these; false if nothing
        waits."""
        waiting = [(author, [*wait.missing]) for author, wait in self._placer.waits.items() if wait.missing]
        for author, missing in waiting:
            for reference in missing:
                [told] = yield [Ask(reference.author, reference.seq, reference.seq)]
                if not any(_has(segment, reference) for segment in told.segments):
                    self._placer.recall(author, reference, None)
            if not self._placer.waits[author].missing:
                self._todo[author] = None
        if waiting and not self._todo:
            for author, _ in waiting:  # never, while SHA-256 holds
                self._placer.give_up(author)
                self._todo[author] = None
        return bool(waiting)

    # -- taking back

    def _is_another(self, author: bytes, head: Head) -> bool:
        """Whether a log that is held up to ``head`` is not the one in the index, or was cut back."""
        seq = self._placer.position(author) - 1
        if seq == head.seq:
            return not head.id.startswith(self._ids.get(author, b""))
        return seq > head.seq

    def _is_other(self, author: bytes, segment: Segment) -> bool:
        """Whether the row of the next entry continues another log than the one in the index."""
        known, seq = self._ids.pop(author, b""), self._placer.position(author) - 1
        if not known or not segment.first <= seq + 1:
            return False
        return not (segment.previous if seq < segment.first else id_at(segment, seq)).startswith(known)

    def _take_out(self, author: bytes) -> None:
        """A log is gone, or another one: so is what its entries did to others."""
        lowest = self._zones.lowest(author)
        if lowest is not None and self._zones.has_raised(lowest):
            self._go_back(lowest)
        self._zones.forget(author)
        self._placer.forget(author)
        self._ids.pop(author, None)
        self._rows.pop(author, None)
        self._recent.pop(author, None)
        self.ahead.pop(author, None)
        self._moved.discard(author)
        self._runs.clear()

    def _go_back(self, moment: Moment) -> None:
        """Take out everything from a moment on, to place it again."""
        self._note_positions()
        for author, position in self._zones.go_back(moment).items():
            self.went_back += self._placer.position(author) - 1 - position.seq
            self._ids.pop(author, None)
            self._todo[author] = None
        self._placer.go_back(
            {author: (each.seq, each.moment) for author, each in self._zones.positions().items() if each.seq}
        )
        self._todo.update(dict.fromkeys(author for author in self._heads if self._is_behind(author)))
        self._rows.clear()
        self._recent.clear()
        self._late.clear()
        self._runs.clear()
        self._count()

    # -- how far it is

    def _is_held(self, reference: Reference) -> bool:
        head, ahead = self._heads.get(reference.author), self.ahead.get(reference.author)
        return head is not None and reference.seq <= head.seq and (ahead is None or reference.seq < ahead.seq)

    def _is_behind(self, author: bytes) -> bool:
        head = self._heads.get(author)
        return head is not None and self._placer.position(author) <= head.seq

    def _count(self) -> None:
        left = (
            self._heads[author].seq - self._placer.position(author) + 1
            for author in self._todo
            if author in self._heads
        )
        self.done, self.total = 0, sum(left)

    def _note_positions(self) -> None:
        """Keep how far each log is, beside its zones."""
        for author in self._moved:
            seq, head = self._placer.position(author) - 1, self._heads.get(author)
            if head is not None and head.seq == seq:
                self._ids[author] = head.id[:ID8_BYTES]
            else:
                self._ids.pop(author, None)
            self._zones.move(author, Position(seq, self._ids.get(author, b""), self._placer.moment(author)))
            if author in self._missed and not self._late:  # what is owed stays on disk
                self._zones.found(author, seq)
        self._moved.clear()
        self._uncommitted = 0


def _part(stated: Stated, first: int) -> Stated:
    """What comes next of a row: all that is left, or a little if it names others, since that may have to wait."""
    if not stated.after:
        return stated if first == stated.first else stated.from_seq(first)
    last = min(stated.last, first + _NAMING_AT_ONCE - 1)
    after = {seq: stated.after[seq] for seq in range(first, last + 1) if seq in stated.after}
    timestamps = stated.timestamps[first - stated.first : last - stated.first + 1]
    return stated._replace(first=first, timestamps=timestamps, after=after)


def _has(segment: Segment, reference: Reference) -> bool:
    """Tell whether an entry that is named is in a row."""
    is_there = segment.first <= reference.seq <= segment.last
    return is_there and id_at(segment, reference.seq).startswith(reference.id16)
