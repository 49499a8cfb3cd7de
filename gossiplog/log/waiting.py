"""What entries wait for that cannot be placed yet.

Responsible for: how long they do, and finding what is not known of those that they name.
Must not know: disks, reactors, what is handed over when.
Invariant: an entry waits no longer than ``limits.PATIENCE_SECONDS`` from when it came, or until our clock comes near
its own; while others wait for it, few rows are read for what it names.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sortedcontainers import SortedSet

from gossiplog import limits
from gossiplog.log.body import Reference
from gossiplog.log.log_state import BEFORE, LogState
from gossiplog.log.opened import Opened
from gossiplog.log.place import EARLIEST, Moment
from gossiplog.log.placer import Placer
from gossiplog.log.segment import Segment, id_at

_LOOKED_UP: Final = 8
"""Rows that are read for what one entry names while all others wait for it."""

_FREE_LOOKUPS: Final = 16
"""So many entries of a log bring one more."""

_ROWS_KEPT: Final = 64
"""Rows that were read for that, and of what waits, in some 20 MB each."""

_STUCK_SECONDS: Final = 1.0
"""Between two looks at who waits for somebody who waits."""


class Read(NamedTuple):
    """Rows of a log that are to be read: from the one with ``first`` on; ``last`` is the last that is of use.

    It is for ``named``, an entry that the next one of ``asker`` names: to find its moment, or to ``check`` its id.
    """

    author: bytes
    first: int
    last: int
    named: Reference | None = None
    asker: bytes = b""
    check: bool = False


class Waiting:
    """I know why the next entry of a log has no place, and tell with ``again`` who may be placed now.

    ``comes(author)`` says whether more may come of a log, if anything may; without it all is looked up at once.
    ``ahead`` has author, seq and time of entries that are ahead of our clock, until somebody tells of them.
    """

    def __init__(
        self,
        logs: dict[bytes, LogState],
        comes: Callable[[bytes], bool] | None,
        again: Callable[[bytes], None],
    ) -> None:
        self.now = 0.0
        self.until_ms = 0
        self.placer = Placer(expects=self._may_come, bound=self._bound)
        self.ahead: list[tuple[bytes, int, int]] = []
        self.urgent: set[bytes] = set()  # for what these look up all others wait
        self.lookups: OrderedDict[bytes, Moment] = (
            OrderedDict()
        )  # who looks up, and the latest that was found
        self.checks: deque[tuple[bytes, Reference]] = deque()
        self._logs = logs
        self._is_live = comes is not None
        self._comes = comes if comes is not None else (lambda author: False)
        self._again = again
        self._began: float | None = None
        self._looked: OrderedDict[tuple[bytes, int], Opened] = OrderedDict()  # rows that were read
        self._expiring: SortedSet[tuple[float, bytes]] = SortedSet()  # who waits for what is not there
        self._due: SortedSet[tuple[int, bytes]] = SortedSet()  # who is ahead of our clock
        self._checked: dict[bytes, set[Reference]] = {}  # what entries wait for and was seen to be there
        self._untangled = BEFORE

    def tick(self, now: float, until_ms: int) -> None:
        """The time is ``now``, and entries up to ``until_ms`` have their places."""
        self._began = now if self._began is None else self._began
        self.now, self.until_ms = now, until_ms
        while self._due and self._due[0][0] <= until_ms:
            self._again(self._due.pop(0)[1])

    @property
    def wakes(self) -> float | None:
        """When something changes though nothing comes, our clock apart."""
        times = [self._expiring[0][0]] if self._expiring else []
        if self.placer.waits:
            times.append(self._untangled + _STUCK_SECONDS)
        return min(times, default=None)

    @property
    def due_ms(self) -> int | None:
        """What our clock has to show until somebody waits no more who is ahead of it."""
        return self._due[0][0] - limits.MAX_AHEAD_MS if self._due else None

    def next_read(self) -> Read | None:
        """What is to be read for who waits, None if nothing is, or somebody waits no more."""
        if self.lookups:
            return self._look_up(next(iter(self.lookups)))
        asker, named = self.checks.popleft()
        return Read(named.author, named.seq, named.seq, named, asker, check=True)

    def told(self, read: Read, log: LogState, segments: Sequence[Segment], passed: int) -> None:
        """These rows are there."""
        if read.named is not None and read.check:
            self._check(read.asker, read.named, segments)
        else:
            self._looked_up(read, log, segments, passed)

    def clear(self) -> None:
        """Nobody waits: all is placed anew."""
        tables: tuple[Any, ...] = (
            *(self.lookups, self.urgent, self._looked, self._expiring, self._due, self.checks, self._checked),
        )
        for table in tables:
            table.clear()

    def forget(self, author: bytes, log: LogState) -> None:
        """A log is gone."""
        self.stop(author, log)
        self.placer.forget(author)
        self._looked.clear()

    def _bound(self, author: bytes, seq: int) -> Moment:
        log = self._logs.get(author)
        return EARLIEST if log is None else log.zones.bound(seq)

    def _look_up(self, asker: bytes) -> Read | None:
        """Find the moments that the next entry of a log needs: the latest first, for then the others seldom matter."""
        wait = self.placer.waits.get(asker)
        while wait is not None and wait.unread:
            named = max(wait.unread, key=lambda each: (self._bound(each.author, each.seq), each))
            if named.author not in self._logs:
                self.placer.recall(asker, named, None)
                continue
            if self._bound(named.author, named.seq) <= self.lookups[asker]:
                for each in [*wait.unread]:
                    self.placer.recall(asker, each, None)
                break
            zone = self._logs[named.author].zones.containing(named.author, named.seq)
            opened = self._logs[named.author].opened
            if opened is None or not opened.zone.first <= named.seq <= opened.zone.last:
                opened = self._looked.get((named.author, zone.first))
            if (
                opened is None
                or not opened.is_whole
                or not opened.zone.first <= named.seq <= opened.zone.last
            ):
                following = zone.first if opened is None or opened.zone != zone else opened.following
                return Read(named.author, following, zone.last, named, asker)
            found, moment = opened.entry(named.seq), opened.moment(named.seq)
            is_it = found is not None and found[0].startswith(named.id16)
            self.placer.recall(asker, named, moment if is_it else None)
            self.lookups[asker] = max(self.lookups[asker], moment if is_it else EARLIEST)
        checked = self._checked.setdefault(asker, set())
        for named in sorted(wait.missing - checked) if wait is not None else ():
            if self._is_held(named):
                return Read(named.author, named.seq, named.seq, named, asker, check=True)
        del self.lookups[asker]
        self.urgent.discard(asker)
        if not self.is_blocked(asker):
            self._again(asker)
        return None

    def _looked_up(self, read: Read, log: LogState, segments: Sequence[Segment], passed: int) -> None:
        assert read.named is not None
        zone = log.zones.containing(read.author, read.named.seq)
        opened = self._looked.pop((read.author, zone.first), None)
        if opened is None or opened.zone != zone or opened.is_whole:
            opened = Opened(zone)
            self._count_read(read.asker)
        opened.add(segments, passed)
        self._looked[read.author, zone.first] = opened
        if len(self._looked) > _ROWS_KEPT:
            self._looked.popitem(last=False)

    def _count_read(self, asker: bytes) -> None:
        """After a few reads others do not wait for an entry any more, and the next one has its turn."""
        log = self._logs.get(asker)
        if log is not None and asker in self.lookups:
            log.lookups += 1
            if not self._is_urgent(log):
                self.urgent.discard(asker)
            self.lookups.move_to_end(asker)

    def _is_urgent(self, log: LogState) -> bool:
        return not self._is_live or log.lookups < _LOOKED_UP + log.held // _FREE_LOOKUPS

    # -- what is waited for

    def _may_come(self, reference: Reference) -> bool:
        return self._is_held(reference) or self._comes(reference.author)

    def _is_held(self, reference: Reference) -> bool:
        log = self._logs.get(reference.author)
        return log is not None and reference.seq <= log.held

    def _is_lost(self, reference: Reference) -> bool:
        """Whether it is not there, or is ahead of our clock."""
        wait = self.placer.waits.get(reference.author)
        return not self._is_held(reference) or (
            wait is not None and wait.due_ms > 0 and wait.seq <= reference.seq
        )

    def is_blocked(self, author: bytes) -> bool:
        """Whether the next entry of a log waits."""
        wait = self.placer.waits.get(author)
        return wait is not None and bool(wait.missing or wait.unread or wait.due_ms > self.until_ms)

    def begin(self, author: bytes, log: LogState) -> None:
        """The next entry of a log waits from now on."""
        wait = self.placer.waits[author]
        if wait.due_ms:
            self._due.add((wait.due_ms, author))
            if wait.seq > max(log.told, log.handed):
                self.ahead.append((author, wait.seq, wait.due_ms))
                log.told = wait.seq
        if wait.unread or any(self._is_held(each) for each in wait.missing):
            self.lookups[author] = EARLIEST
            if self._is_urgent(log):
                self.urgent.add(author)
        if any(self._is_lost(each) for each in wait.missing):
            log.expires = self._patient_until(log, wait.seq)
            self._expiring.add((log.expires, author))

    def _patient_until(self, log: LogState, seq: int) -> float:
        if seq <= log.handed:
            return BEFORE  # it was handed over without
        return max(log.came(seq), self._began or 0.0) + limits.PATIENCE_SECONDS

    def stop(self, author: bytes, log: LogState) -> None:
        """It waits no more, or is tried again."""
        wait = self.placer.waits.get(author)
        if wait is not None:
            self._due.discard((wait.due_ms, author))
            if log.expires is not None:
                self._expiring.discard((log.expires, author))
                log.expires = None
            self.lookups.pop(author, None)
            self.urgent.discard(author)
            self._checked.pop(author, None)

    def give_up(self) -> None:
        """Place what waited long enough without what is not there."""
        while self._expiring and self._expiring[0][0] <= self.now:
            _, author = self._expiring.pop(0)
            self._logs[author].expires = None
            self._give_up_lost(author)
        if self.placer.waits and self.now >= self._untangled + _STUCK_SECONDS:
            self.untangle()

    def _give_up_lost(self, author: bytes) -> bool:
        wait = self.placer.waits.get(author)
        lost = [each for each in wait.missing if self._is_lost(each)] if wait is not None else []
        if lost:
            self.placer.give_up(author, lost)
            self._again(author)
        return bool(lost)

    def untangle(self) -> bool:
        """See to entries that wait for others that are there and wait themselves; tell whether that helped.

        Who claims to come behind an entry that comes behind its own names another entry than is there.  What is left
        waits for somebody who is waited for; after its time nobody waits for that.
        """
        self._untangled = self.now
        waiting = [
            (author, wait)
            for author, wait in self.placer.waits.items()
            if wait.missing and self._patient_until(self._logs[author], wait.seq) <= self.now
        ]
        given_up = [author for author, _ in waiting if self._give_up_lost(author)]
        if given_up:
            return True
        stuck = []
        for author, wait in waiting:
            if all(self.is_blocked(each.author) for each in wait.missing):
                unseen = wait.missing - self._checked.setdefault(author, set())
                self.checks.extend((author, each) for each in sorted(unseen))
                stuck.append(author)
        if self.checks:
            return True
        for author in stuck:
            self.placer.give_up(author)
            self._again(author)
        return bool(stuck)

    def _check(self, asker: bytes, named: Reference, segments: Sequence[Segment]) -> None:
        wait = self.placer.waits.get(asker)
        if wait is None or named not in wait.missing:
            return
        self._checked.setdefault(asker, set()).add(named)
        self._count_read(asker)
        row = next((each for each in segments if each.first <= named.seq <= each.last), None)
        if row is None or not id_at(row, named.seq).startswith(named.id16):
            self.placer.recall(asker, named, None)
            if asker not in self.lookups and not self.is_blocked(asker):
                self._again(asker)
