"""Placing entries: each log in its order, as soon as what its next entry names has its place.

Responsible for: computing moments (:mod:`gossiplog.log.place`), and saying what an entry that cannot be placed waits
for.
Must not know: time, disks, who reads.  Entries that wait are not kept: whoever has them brings them again.
Invariant: however entries come, those placed have the moments that the formula gives, but for what was given up; a
number of each author and what its one next entry names is all that is remembered, whatever anybody writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_SEQ
from gossiplog.log.body import MAX_TIMESTAMP_MS, Reference
from gossiplog.log.debts import Debts, Late, SeqMap
from gossiplog.log.place import EARLIEST, Moment, Stated, Zone


@dataclass(slots=True)
class Wait:
    """Why the entry ``seq`` of a log is not placed.

    ``missing`` are entries that it names and that are not placed; of ``unread``, which are, the moments are to be told
    with :meth:`Placer.recall`; ``due_ms`` is its time if that is too far ahead, otherwise 0.
    """

    seq: int
    missing: set[Reference] = field(default_factory=set)
    unread: set[Reference] = field(default_factory=set)
    due_ms: int = 0


class Placed(NamedTuple):
    """What came of bringing entries: those that have a place now, the logs whose next entry may be brought again, and
    entries of other logs that have a wrong place now."""

    zone: Zone | None
    freed: list[bytes]
    late: list[Late]


class Placer:
    """I say where entries belong.

    Bring runs of each log to :meth:`add`, from :meth:`position` on.  What could not be placed is in :attr:`waits`:
    bring it again when it is ``freed``, after :meth:`recall`, after :meth:`give_up`, or when it is due.

    ``expects(reference)`` says whether an entry that is not placed is held or may still come: if not, it is given up at
    once.  ``bound(author, seq)`` is a moment that a placed entry's is not above, the tighter, the fewer are asked for.
    """

    def __init__(
        self,
        placed: Iterable[tuple[bytes, tuple[int, Moment]]] = (),
        *,
        expects: Callable[[Reference], bool] = lambda reference: True,
        bound: Callable[[bytes, int], Moment] | None = None,
    ) -> None:
        """``placed`` are authors with the seq and the moment of their last entries that have a place."""
        self._placed: dict[bytes, tuple[int, Moment]] = dict(placed)
        self._expects = expects
        self._bound = bound or (lambda author, seq: self._placed[author][1])
        self._waits: dict[bytes, Wait] = {}
        self._found: dict[
            bytes, dict[Reference, Moment | None]
        ] = {}  # what waits -> what is known of what it names
        self._given_up: dict[bytes, set[Reference]] = {}
        self._watched: SeqMap[set[bytes]] = SeqMap()  # whose next entry names that one
        self._owed = Debts()

    @property
    def waits(self) -> Mapping[bytes, Wait]:
        """The authors whose next entry was brought and not placed, and why."""
        return self._waits

    def position(self, author: bytes) -> int:
        """The seq to be brought next.  O(1)."""
        return self._placed.get(author, (0, EARLIEST))[0] + 1

    def moment(self, author: bytes) -> Moment:
        """The moment of the last placed entry of a log, the earliest of all if there is none.  O(1)."""
        return self._placed.get(author, (0, EARLIEST))[1]

    def add(self, stated: Stated, until_ms: int = MAX_TIMESTAMP_MS) -> Placed:
        """Place entries up to the first that waits.  O(n), without a step in Python for an entry that names nothing.

        An entry with a clock above ``until_ms`` waits until it is brought with a later one.
        """
        author, first, timestamps, after, _ = stated
        if first != self.position(author):
            raise InvalidValueError(f"entry {self.position(author)} is to be placed next, not {first}")
        self._stop_waiting(author)
        moment = self.moment(author)
        low: Moment | None = None
        raised: list[tuple[int, Moment]] = []
        own = any(each.author == author for named in after.values() for each in named)
        moments: list[Moment] = []  # so far, if some entry names another one of its log
        at, end = first, stated.last + 1
        for seq in [*sorted(each for each in after if first <= each < end), end]:
            if at < seq:
                run = timestamps[at - first : seq - first]
                highest = max(run)
                if highest > until_ms:
                    ahead = next(place for place, each in enumerate(run) if each > until_ms)
                    self._wait(author, Wait(at + ahead, due_ms=run[ahead]))
                    run = run[:ahead]
                    highest = max(run, default=0)
                if run:
                    low = low or max(moment, (run[0], 0))
                    if own:
                        moments += [max(moment, (each, 0)) for each in accumulate(run, max)]
                    moment = max(moment, (highest, 0))
                    at += len(run)
            if at < seq or seq == end:
                break
            timestamp = timestamps[seq - first]
            if timestamp > until_ms:
                self._wait(author, Wait(seq, due_ms=timestamp))
                break
            base = max(moment, (timestamp, 0))
            named = [each for each in after[seq] if each.author != author]
            inner = [each for each in after[seq] if each.author == author and each.seq < seq]
            for each in inner:
                known = (
                    moment
                    if each.seq == seq - 1
                    else moments[each.seq - first]
                    if each.seq >= first
                    else None
                )
                if known is None:
                    named.append(each)
                elif _next(known) > base and stated.id_at(each.seq).startswith(each.id16):
                    base = _next(known)
            wait, behind = self._behind(author, base, named)
            if wait is not None:
                wait.seq = seq
                self._wait(author, wait)
                break
            plain = max(moment, (timestamp, 0))
            moment = max(base, behind)
            if moment > plain:
                raised.append((seq, moment))
            if own:
                moments.append(moment)
            low = low or moment
            at += 1
            self._found.pop(author, None)
            missed = [
                each for each in self._given_up.pop(author, ()) if each.seq >= self.position(each.author)
            ]
            self._owed.owe(Late(author, seq, moment), missed)
        if low is None:
            return Placed(None, [], [])
        zone = Zone(author, first, at - 1, low, moment, tuple(raised))
        self._placed[author] = (at - 1, moment)
        freed, late = self._tell(zone, stated)
        return Placed(zone, freed, late)

    def recall(self, author: bytes, reference: Reference, moment: Moment | None) -> None:
        """Tell the moment of what the next entry of ``author`` names; None if another entry is there.

        The latter may be told of what is not placed, too.
        """
        wait = self._waits.get(author)
        if wait is None or reference not in (
            wait.unread if moment is not None else wait.unread | wait.missing
        ):
            return
        self._drop(author, wait, {reference})
        wait.unread.discard(reference)
        self._found.setdefault(author, {})[reference] = moment

    def give_up(self, author: bytes, references: Iterable[Reference] | None = None) -> None:
        """Place the next entry of ``author`` without these of what is missing, or all, when it is brought again.

        What is held, and waits itself, comes last: only when nothing else can be placed, and after it was seen that the
        named entry is there and no other one.  Otherwise it is placed soon, and this one is late again and again.
        """
        wait = self._waits.get(author)
        if wait is not None:
            given_up = wait.missing & set(wait.missing if references is None else references)
            self._given_up.setdefault(author, set()).update(given_up)
            self._drop(author, wait, given_up)

    def pass_over(self, author: bytes, seq: int) -> list[bytes]:
        """Place what waits for an entry of ``author`` from ``seq`` on without it; return who may be brought again."""
        freed = []
        for each in self._watched.between(author, seq, MAX_SEQ):
            for waiting in sorted(self._watched.at(author, each, set)):
                wait = self._waits[waiting]
                self.give_up(waiting, [named for named in wait.missing if named[:2] == (author, each)])
                if not wait.missing and not wait.unread:
                    freed.append(waiting)
        return freed

    def go_back(self, placed: Mapping[bytes, tuple[int, Moment]]) -> None:
        """Take back all places but those up to ``placed``.  O(authors)."""
        for author in tuple(self._waits):
            self._stop_waiting(author)
        self._found.clear()
        self._given_up.clear()
        self._placed = dict(placed)
        self._owed.go_back(placed)

    def owe(self, namer: Late, references: Iterable[Reference]) -> None:
        """``namer`` was placed without these, by whoever had my work before."""
        self._owed.owe(namer, references)

    def forget(self, author: bytes) -> None:
        """A log is gone: it begins anew."""
        self._stop_waiting(author)
        self._found.pop(author, None)
        self._given_up.pop(author, None)
        self._placed.pop(author, None)

    # -- what an entry names -------------------------------------------------------------------------------------

    def _behind(self, author: bytes, base: Moment, named: Iterable[Reference]) -> tuple[Wait | None, Moment]:
        """The moment that what an entry names puts it to, or what is not known for that."""
        wait = Wait(0)
        behind = EARLIEST
        found, given_up = self._found.get(author, {}), self._given_up.get(author, ())
        for reference in named:
            if reference in found:
                behind = max(behind, _next(found[reference]))
            elif reference.seq < self.position(reference.author):
                if _next(self._bound(reference.author, reference.seq)) > max(base, behind):
                    wait.unread.add(reference)
            elif reference in given_up:
                continue
            elif self._expects(reference):
                wait.missing.add(reference)
            else:
                self._given_up.setdefault(author, set()).add(reference)
        return (wait if wait.missing or wait.unread else None), behind

    def _wait(self, author: bytes, wait: Wait) -> None:
        self._waits[author] = wait
        for named, seq, _ in wait.missing:
            self._watched.at(named, seq, set).add(author)

    def _stop_waiting(self, author: bytes) -> None:
        wait = self._waits.pop(author, None)
        if wait is not None:
            self._drop(author, wait, set(wait.missing))

    def _drop(self, author: bytes, wait: Wait, references: set[Reference]) -> None:
        """Wait no longer for these; others may be of the same log and seq."""
        dropped = wait.missing & references
        wait.missing -= dropped
        left = {each[:2] for each in wait.missing}
        for named, seq in {each[:2] for each in dropped} - left:
            waiting = self._watched.at(named, seq, set)
            waiting.discard(author)
            if not waiting:
                self._watched.discard(named, seq)

    def _tell(self, zone: Zone, stated: Stated) -> tuple[list[bytes], list[Late]]:
        """Tell those that wait for entries of ``zone``, and find those that did not."""
        watched = self._watched.between(zone.author, zone.first, zone.last)
        owed = self._owed.seqs(zone.author, zone.first, zone.last)
        if not watched and not owed:
            return [], []
        moments = zone.moments(stated.timestamps[: zone.last - zone.first + 1])
        freed = []
        for seq in watched:
            moment, entry_id = moments[seq - zone.first], stated.id_at(seq)
            for author in sorted(self._watched.at(zone.author, seq, set)):
                wait = self._waits[author]
                for reference in [each for each in wait.missing if each[:2] == (zone.author, seq)]:
                    wait.missing.discard(reference)
                    same = entry_id.startswith(reference.id16)
                    self._found.setdefault(author, {})[reference] = moment if same else None
                if not wait.missing and not wait.unread:
                    freed.append(author)
            self._watched.discard(zone.author, seq)
        late = []
        for seq in owed:
            behind = _next(moments[seq - zone.first])
            for reference, namer in self._owed.pay(zone.author, seq):
                if behind > namer.moment and stated.id_at(seq).startswith(reference.id16):
                    late.append(namer)
        return freed, late


def _next(moment: Moment | None) -> Moment:
    """The moment behind one; the earliest of all behind none."""
    return EARLIEST if moment is None else (moment[0], moment[1] + 1)
