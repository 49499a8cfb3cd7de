"""The timeline of a store: pages over all its logs, by an index that is kept up.

Responsible for: doing the index's work in the views thread and reading for it in the store's; following commits, from
the first page on.
Must not know: how the index is built, how a page is found.
Invariant: a page has entries up to its cursor and no others.  A store that nobody asks for a page has no index.  When
something goes wrong the index is what it was at its last commit, or is built anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults
from twisted.python.failure import Failure

from gossiplog import limits, notices
from gossiplog.errors import StoreClosedError, StoreError
from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.index_work import Changes, Known, Work, find, follow, known, nothing
from gossiplog.live.interrupts import call_each
from gossiplog.live.logger import NodeLog, Said
from gossiplog.live.machine import wall_ms
from gossiplog.live.order_notices import OrderNotices
from gossiplog.live.page import Page, Wanted
from gossiplog.live.results import Result, deliver
from gossiplog.live.selection import passes
from gossiplog.live.telling import tell
from gossiplog.log.clock_view import ClockView, CountedView
from gossiplog.log.cursor import Cursor
from gossiplog.log.encodings import Encoding
from gossiplog.log.entry import Entry
from gossiplog.log.place import Place
from gossiplog.store.logs import Logs
from gossiplog.store.repair.verify import Damage
from gossiplog.store.requests import Delivery, RowFilled
from gossiplog.views.asking import Ask, Steps, Told
from gossiplog.views.derived import is_damage
from gossiplog.views.index import Index
from gossiplog.views.indexing import Ahead
from gossiplog.views.pages import format_place
from gossiplog.views.place import Place as Room
from gossiplog.views.zones import NAME

T = TypeVar("T")

WHERE_ENTRIES: Final = 256
"""Decoded at once for ``where``."""

MANY: Final = 1 << 16
REST: Final = 9
"""Placing so many entries again, for one that came late, takes some tenths of a second; for so many times as long none
are for another.  Whoever withholds what others wait for makes us do it, and gets a tenth of the thread."""

PROGRESS_SECONDS: Final = 0.25
"""Between two times that who waits is told how far the index is."""

_log = NodeLog()


class Indexed(Protocol):
    """What a timeline needs of its store."""

    path: str
    reactor: Any
    clock: CountedView
    damage: DamageReports
    notices: OrderNotices

    def run(self, work: Callable[[Logs], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""

    def derive(self, work: Callable[[Room], Any]) -> Result[Any]:
        """Do ``work`` in the views thread."""

    def listen(self, listener: Callable[[Delivery], None]) -> Callable[[], None]:
        """Call ``listener`` after every commit."""

    def check_open(self) -> None:
        """Raise if it is closed."""

    def whole_clock(self, what: str) -> ClockView:
        """Return the clock for ``what`` needs all of it; raise SharedStoreError where not all is in memory."""


class Timeline:
    """I keep the index of one store, once somebody asked for a page."""

    def __init__(self, store: Indexed) -> None:
        self._store = store
        self._lock = DeferredLock()
        self._listeners: list[Callable[[int, int], object]] = []
        self._follows = False
        self._timer: Any = None
        self._closed = False
        self._said = 0.0
        self._complaints = Said()
        self._owes = False
        self._rest_until = 0.0
        self._told: set[Damage] = set()
        self._read = Cursor()  # what the index has
        self._whole = True  # what the index has is to be compared with all that is held
        self._dirty: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._filled = False
        self._anew = False
        self._ahead: Mapping[bytes, Ahead] = {}  # logs that go on with what has no place yet
        self._index: Index | None = None  # of the views thread, as all that is called in there

    def page(self, wanted: Wanted, chosen: Encoding) -> Result[Page]:
        """Return the latest entries that are ``wanted``, the index made or brought up first."""
        self._store.check_open()
        self._store.whole_clock("a timeline")
        result: Result[Page] = Result(lambda _: None, self._store.reactor)
        task: Deferred[Any] = Deferred.fromCoroutine(self._page(wanted, chosen))
        task.addBoth(lambda value: deliver(result, value))
        return result

    def known(self, last: Mapping[bytes, int]) -> Result[Known]:
        """Return where the entries of these logs are among all, from the first to about the last that is named, the
        index made or brought up first."""
        self._store.check_open()
        self._store.whole_clock("a timeline")
        result: Result[Known] = Result(lambda _: None, self._store.reactor)
        task = Deferred.fromCoroutine(self._in_turn(partial(known, last=last)))
        task.addBoth(lambda value: deliver(result, value, itemgetter(0)))
        return result

    def listen(self, listener: Callable[[int, int], object]) -> Callable[[], None]:
        """Call ``listener`` with how many entries are in the index, of how many, while it is being built."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def start_anew(self) -> None:
        """Logs were changed elsewhere than at their ends."""
        self._whole = self._anew = True

    def close(self) -> None:
        """Follow no longer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- pages

    async def _page(self, wanted: Wanted, chosen: Encoding) -> Page:
        entries: list[Entry] = []
        damages: dict[Damage, None] = {}
        cursor: Cursor | None = None
        before: Place | None = wanted.before
        while before is not None and len(entries) < wanted.limit:
            left = wanted.limit - len(entries)
            count = left if wanted.where is None else max(left, WHERE_ENTRIES)
            look = partial(find, before=before, count=count, wanted=wanted, chosen=chosen)
            (part, decoded, gaps), reached = await self._in_turn(look)
            cursor = cursor or reached
            damages.update((Damage(*gap), None) for gap in (*gaps, *part.passed))
            before = part.next
            for found, entry in zip(part.entries, decoded, strict=True):
                if entry.seq > cursor.seq(entry.author) or not (
                    wanted.where is None or passes(wanted.where, entry)
                ):
                    continue
                entries.append(entry)
                if len(entries) == wanted.limit:
                    before = before if found is part.entries[-1] else found.place
                    break
        for damage in damages:
            if damage not in self._told:  # by this process
                self._told.add(damage)
                self._store.damage.found(damage)
        older = None if before is None else format_place(before)
        return Page(tuple(entries), older, cursor or Cursor(), tuple(damages))

    # -- following

    async def _bring_up(self) -> None:
        """Bring the index up to the clock."""
        store = self._store
        if not self._follows:
            self._follows = True
            store.listen(self._committed)
        patient = store.reactor.seconds() < self._rest_until
        until_ms = wall_ms(store.reactor) + limits.MAX_AHEAD_MS
        due = any(each.due_ms <= until_ms for each in self._ahead.values())
        if not (
            due or self._whole or self._dirty or self._gone or self._filled or (self._owes and not patient)
        ):
            return
        whole, anew, gone = self._whole, self._anew, self._gone
        authors = [*store.whole_clock("a timeline")] if whole else [*self._dirty]
        heads = {author: head for author in authors if (head := store.clock.head(author)) is not None}
        self._whole, self._anew, filled, self._filled = False, False, whole or self._filled, False
        self._dirty, self._gone = set(), set()
        try:
            holed = await store.run(lambda logs: logs.holes()) if filled else None
            began = store.reactor.seconds()
            changes = Changes(heads, gone, whole, anew, holed, patient, until_ms)
            self._owes, went_back, reached, ahead = await self._finish(partial(follow, changes=changes))
            if went_back >= MANY:
                now = store.reactor.seconds()
                self._rest_until = now + REST * (now - began)
        except BaseException:
            self._whole = True
            self._anew |= anew
            raise
        if whole:
            self._read = Cursor()
        self._read.apply(dict.fromkeys(gone - heads.keys()))
        self._read.apply(reached)
        for author, each in ahead.items():
            if (before := self._ahead.get(author)) is None or before.seq != each.seq:
                store.notices.tell(notices.EntryAhead(author, each.seq, each.due_ms))
        self._ahead = ahead

    def _committed(self, delivery: Delivery) -> None:
        report = delivery.report
        if report is None or self._closed:
            return
        self._dirty.update(report.heads)
        self._gone.update(report.forgotten)
        self._filled |= any(isinstance(each, RowFilled) and each.count for each in report.results)
        if self._timer is None and (report.heads or report.forgotten or self._filled):
            self._timer = self._store.reactor.callLater(limits.TIMELINE_FOLLOW_SECONDS, self._keep_up)

    def _keep_up(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._in_turn(nothing)).addCallbacks(self._kept_up, self._failed)

    def _kept_up(self, _: object) -> None:
        if self._owes and self._timer is None and not self._closed:
            left = max(limits.TIMELINE_FOLLOW_SECONDS, self._rest_until - self._store.reactor.seconds())
            self._timer = self._store.reactor.callLater(left, self._keep_up)

    def _failed(self, failure: Failure) -> None:
        """Nobody waits for it now; who asks for a page is told."""
        if not failure.check(StoreError) and self._complaints.is_new("index", failure.getErrorMessage()):
            words = "the index of places of {path} is not kept up"
            _log.failure(words, failure, event="index_failed", path=self._store.path)

    # -- the work

    async def _in_turn(self, begin: Callable[[Index], Steps[T]]) -> tuple[T, Cursor]:
        """Do something with an index that is up to what is held; return how far that is, too."""
        await self._lock.acquire()
        try:
            return await self._careful(begin)
        finally:
            self._lock.release()

    async def _careful(self, begin: Callable[[Index], Steps[T]]) -> tuple[T, Cursor]:
        """Do it, once more if the file turns out to be damaged."""
        path = self._store.path
        damaged = False
        while True:
            try:
                await self._bring_up()
                return await self._finish(begin), self._read.copy()
            except sqlite3.Error as error:
                if damaged or not is_damage(error):
                    raise StoreError(f"the index of places of {path} fails: {error}") from error
                damaged = True
            words = "the index of places of {path} is damaged, and built anew"
            _log.warn(words, event="index_damaged", path=path)
            await self._store.derive(lambda room: room.remove(NAME))

    async def _finish(self, begin: Callable[[Index], Steps[T]]) -> T:
        """Do the steps of something; what fails leaves the index closed."""
        work: Work[T] = Work(begin)
        self._said = self._store.reactor.seconds()
        told: Sequence[Told] | None = None
        while True:
            try:
                asks = await self._store.derive(partial(self._step, work, told))
                if work.value is not None:
                    return work.value[0]
                told = await self._tell(asks)
            except BaseException:
                self._whole = True
                with suppress(StoreClosedError):
                    await self._store.derive(lambda room: self._close())
                raise
            self._say(work.progress)

    def _say(self, progress: tuple[int, int]) -> None:
        """Tell how far the index is, now and then."""
        now = self._store.reactor.seconds()
        if progress[0] < progress[1] and now >= self._said + PROGRESS_SECONDS:
            self._said = now
            call_each(self._store.reactor, self._listeners, *progress)

    async def _tell(self, asks: Sequence[Ask]) -> list[Told]:
        """Read what is asked for, each in a job of its own, so that nobody's append waits for more than one."""
        try:
            return await gatherResults(
                [self._store.run(partial(tell, ask)) for ask in asks], consumeErrors=True
            )
        except FirstError as error:
            error.subFailure.raiseException()
            raise

    # -- in the views thread

    def _step(self, work: Work[T], told: Sequence[Told] | None, room: Room) -> Sequence[Ask]:
        if self._index is None:
            self._index = Index(room)
        return work.go_on(self._index, told)

    def _close(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            index.close()
