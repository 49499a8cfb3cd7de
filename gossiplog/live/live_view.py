"""A view that is open: it is given what the store gets, asked, and followed.

Responsible for: :class:`LiveView`: keeping a view's file up with its store, and its users told.
Must not know: how entries get into tables; peers.
Invariant: whoever is told of a change finds it in the view.  What goes wrong in a view stops that view and nothing
else, and is told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.arguments import check_seconds, check_type
from gossiplog.errors import GossiplogError, StoreClosedError, StoreInheritedError, ViewError, ViewFailedError
from gossiplog.live.results import Result, fail_quietly
from gossiplog.live.subscriptions import Events
from gossiplog.live.view_feed import Feed, Origin
from gossiplog.live.view_meter import ViewMeter
from gossiplog.live.views_work import ViewsWork
from gossiplog.log.segment import Head, has_payload
from gossiplog.notices import Notice, ViewFailed, ViewProgress, ViewSkipped
from gossiplog.store.logs import Logs
from gossiplog.store.reading_around import Stretch
from gossiplog.store.requests import CommitReport
from gossiplog.views.place import Place
from gossiplog.views.user_code import Skip, in_words
from gossiplog.views.view import Change, View
from gossiplog.views.view_file import Piece, Rebuilt, Start, Step, ViewFile

if TYPE_CHECKING:
    from gossiplog.live.placed_feed import PlacedFeed

T = TypeVar("T")


class Changes(Events[Change]):
    """I am how a view changes, from when I was asked for: ``async for change in birds.changes()``.

    By one consumer.  I end when the view is closed, with :class:`~gossiplog.errors.ViewFailedError` if it stopped.
    """

    _failure: GossiplogError | None = None

    async def __anext__(self) -> Any:
        """The next change, when there is one."""
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure from failure.__cause__
            raise


class LiveView:
    """I am an open view of a store, from :meth:`gossiplog.Store.view`: asked with :meth:`query`, followed with
    :meth:`changes`.

    ``error`` says why it stopped, None as long as it goes on.
    """

    def __init__(
        self, store: Origin, work: ViewsWork, tell: Callable[[Notice], None], reactor: Any, view: View
    ) -> None:
        self.name = view.name
        self.version = view.version
        self.error: ViewFailedError | None = None
        self._view = view
        self._store = store
        self._work = work
        self._tell = tell
        self._reactor = reactor
        self._placed: PlacedFeed | None = None
        if view.order == "causal":
            from gossiplog.live.placed_feed import PlacedFeed  # what orders entries is for those views only

            self._placed = PlacedFeed(store, view.encoding, self._wake)
        self._feed = self._placed or Feed(store)
        self._meter = ViewMeter(view.name, store.clock, reactor)
        self._file: ViewFile | None = None
        self._closed = False
        self._waiting: dict[Result[None], dict[bytes, int]] = {}
        self._anew = 0
        self._building: dict[bytes, int] = {}  # what is to be in it before it is complete
        self._changes: dict[Events[Change], Changes] = {}
        self._news: Result[None] | None = None
        self._ahead: Deferred[Any] | None = None
        self._lacking: dict[bytes, None] = {}
        self._forks: dict[bytes, None] = {}

    @property
    def progress(self) -> ViewProgress:
        """How far it is."""
        return self._meter.read()

    def ready(self) -> Result[None]:
        """Fire once all that the store holds now is in the view; :class:`ViewFailedError` when it stopped before."""
        result: Result[None] = Result(lambda _: forget(), self._reactor)
        if self._closed or self.error is not None:
            fail_quietly(result, self.error or _closed(self.name))
            return result
        self._work.check_open()

        def forget() -> None:
            self._waiting.pop(result, None)

        self._waiting[result] = self._feed.targets()
        self._wake()
        return result

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        timeout: float = limits.VIEW_QUERY_SECONDS,
    ) -> Result[list[tuple[Any, ...]]]:
        """Ask the tables; fires with the rows.  Of a version that was never complete, an older one is asked if any is.

        :class:`ViewQueryError` when it is no query, changes something, or takes longer than ``timeout`` seconds, for
        which everything else that views do waits.
        """
        check_type("sql", sql, str, "a text of SQL")
        check_type("parameters", parameters, (list, tuple, dict), "a list, a tuple or a dict")
        return self._read(lambda db: db.execute(sql, parameters).fetchall(), timeout)

    def changes(self) -> Changes:
        """What changes from now on: a :class:`Change` for each call of ``apply``, once it can be asked for.

        While a view is built for the first time there are none; a slow reader gets
        :class:`~gossiplog.notices.Lagged` in the place of the oldest.
        """
        changes = Changes((Change,), self._forget_changes, self._reactor)
        if self._closed or self.error is not None:
            changes._failure = self.error
            changes._end()
        else:
            self._work.check_open()
            self._changes[changes] = changes
        return changes

    def close(self) -> Result[None]:
        """End the view; its file stays, and goes on from there when it is opened again."""
        file, was_closed = self._file, self._closed
        self._end()
        if was_closed or file is None:
            result: Result[None] = Result(None, self._reactor)
            result.callback(None)
            return result
        return self._work.run(lambda _: file.close())

    # -- for the store

    def _open(self) -> Result[LiveView]:
        """Open the file and begin; fires once it can be asked."""

        def opened(found: tuple[ViewFile, Start]) -> LiveView:
            self._file, start = found
            Deferred.fromCoroutine(self._run(start)).addErrback(self._fail)
            return self

        def work(place: Place) -> tuple[ViewFile, Start]:
            file = ViewFile(self._view, place)
            return file, file.start()

        return self._work.run(work).addCallback(opened)  # type: ignore[return-value]

    def _committed(self, report: CommitReport) -> None:
        if self._file is None or self._closed or self.error is not None:
            return
        if report.forgotten:
            self._forget(report.forgotten)
        self._feed.committed(report.segments)
        self._lacking.update(dict.fromkeys(report.filled))
        self._forks.update(dict.fromkeys(report.forked))
        self._wake()

    def _repaired(self, heads: Mapping[bytes, Head | None]) -> None:
        """Logs were cut to these heads, or have entries again that could not be read."""
        if self._file is not None and not self._closed:
            cut = [author for author, head in heads.items() if self._feed.is_beyond(author, head)]
            if cut:
                self._forget(cut)
            self._wake()

    def _end(self) -> None:
        self._closed = True
        self._over(None)

    # --

    async def _run(self, start: Start) -> None:
        self._meter.begin(start.applied, start.built)
        if changed := self._feed.begin(start):
            self._forget(changed)
        self._building = self._feed.targets()
        self._forks.update(dict.fromkeys(self._store.forks))
        holes = await self._store.run(lambda logs: logs.holes())
        self._lacking.update(
            dict.fromkeys(a for a, count in start.missing.items() if holes.get(a, 0) < count)
        )
        while not self._closed and self.error is None:
            if self._forks:
                forks, self._forks = [*self._forks], {}
                self._did(await self._do(partial(ViewFile.forked, authors=forks)))
                continue
            if not self._meter.complete and not self._building:
                await self._settle()
                continue
            batch = await self._next()
            if batch.kept:
                self._take_back(batch.kept, batch.is_moved)
                continue
            if not batch.pieces and self._feed.is_done:
                if self._lacking:
                    await self._fill(self._lacking.popitem()[0])
                else:
                    await self._caught_up()
                continue
            if pieces := self._feed.fit(batch):
                applying = self._do(partial(ViewFile.apply, pieces=pieces))
                if self._feed.is_behind:
                    self._ahead = Deferred.fromCoroutine(self._feed.take())
                self._did(await applying, pieces)

    async def _next(self) -> Any:
        ahead, self._ahead = self._ahead, None
        return await (self._feed.take() if ahead is None else ahead)

    async def _caught_up(self) -> None:
        """All is applied that there is: say so, and wait for more."""
        if not self._meter.complete:
            await self._settle()
            if not self._feed.is_done:
                return
        self._meter.told(self._tell, is_done=True)
        for result in [*self._waiting]:
            self._fire(result)
        if self._feed.is_done and not (self._lacking or self._forks or self._closed):
            self._news = Result(lambda _: None, self._reactor)
            try:
                await self._news
            finally:
                self._news = None

    async def _settle(self) -> None:
        """All is applied that there was when it was begun: from now on it is asked, and no older version."""
        anew = self._anew
        await self._do(lambda file: file.settle())
        if anew != self._anew:
            return
        self._building = {}
        self._meter.complete = True
        for result, targets in [*self._waiting.items()]:
            if not targets:
                self._fire(result)

    async def _fill(self, author: bytes) -> None:
        """Give the view what was missing of ``author``, as far as it is there now."""
        ranges = await self._do(lambda file: file.missing(author))
        for first, last in ranges:
            while first <= last and not self._closed:
                stretch = await self._store.run(partial(_around, author=author, first=first, last=last))
                segments = stretch.segments
                if self._placed is not None:
                    if any(has_payload(each, first, last) for each in segments):
                        self._placed.move_all()  # only now it is known where it belongs
                        return
                elif segments:
                    late = partial(ViewFile.apply_late, author=author, segments=segments)
                    self._did(await self._do(late))
                ends = [segment.last for segment in segments] or (
                    [stretch.damage.last] if stretch.damage else [last]
                )
                first = max(ends) + 1

    def _did(self, step: Step, pieces: Sequence[Piece] = ()) -> None:
        """Something was done: tell who wants to know."""
        if step.rebuilt:
            self._begin_anew()
            return
        if step.changed is not None:
            self._forget([step.changed])
            return
        self._feed.applied(pieces)
        for piece in pieces:
            self._meter.applied += piece.last - piece.first + 1
            for targets in [self._building, *self._waiting.values()]:
                if targets.get(piece.author, piece.last + 1) <= piece.last:
                    del targets[piece.author]
        if self._meter.complete:
            for result in [result for result, targets in self._waiting.items() if not targets]:
                self._fire(result)
        if step.skipped:
            self._tell(_skipped(self.name, step.skipped))
        if self._meter.complete:
            for change in step.changes:
                for changes in [*self._changes.values()]:
                    changes._happened(change)
        self._meter.told(self._tell, is_done=False)

    def _forget(self, authors: Sequence[bytes]) -> None:
        """Take back what was applied of ``authors``; what is there of them now is applied again."""
        self._take_back(dict.fromkeys(authors, 0))

    def _take_back(self, kept: Mapping[bytes, int], is_moved: bool = False) -> None:
        """Take back what was applied of these behind a seq; what is there of that now is applied again."""
        if not self._view.owned:
            self._begin_anew()
        elif self._placed is not None:
            self._placed.cut(kept)
        else:
            self._feed.forget(kept)
        self._do(lambda file: file.cut(kept, is_moved)).addErrback(self._fail)

    def _begin_anew(self) -> None:
        self._anew += 1
        self._feed.begin_anew()
        self._meter.begin_anew()
        targets = self._feed.targets()
        self._building = dict(targets)
        self._waiting = {result: dict(targets) for result in self._waiting}
        self._wake()

    def _read(self, ask: Callable[[sqlite3.Connection], T], timeout: float) -> Result[T]:
        """Fire with what ``ask`` finds in the tables."""
        check_seconds("timeout", timeout)
        if self._closed:
            raise _closed(self.name)

        def damaged(failure: Failure) -> Failure:
            if failure.check(Rebuilt):
                self._begin_anew()
            return failure

        return self._do(lambda file: file.read(ask, timeout)).addErrback(damaged)  # type: ignore[return-value]

    def _do(self, work: Callable[[ViewFile], T]) -> Result[T]:
        file = self._file
        assert file is not None
        return self._work.run(lambda _: work(file))

    def _fail(self, failure: Failure) -> None:
        if self._closed or self.error is not None or failure.check(StoreClosedError, StoreInheritedError):
            return
        error = failure.value
        assert error is not None
        if not isinstance(error, ViewFailedError):
            cause, error = error, ViewFailedError(self.name, in_words(error))
            error.__cause__ = cause
        self.error = error
        self._over(error)
        self._tell(ViewFailed(self.name, error))

    def _over(self, error: ViewFailedError | None) -> None:
        """Nothing is applied any more."""
        self._feed.end()
        if self._ahead is not None:
            self._ahead.addErrback(lambda _: None)
        waiting, self._waiting = self._waiting, {}
        for result in waiting:
            fail_quietly(result, error or _closed(self.name))
        for changes in [*self._changes.values()]:
            changes._failure = error
            changes._end()
        self._wake()

    def _forget_changes(self, changes: Events[Change]) -> None:
        self._changes.pop(changes, None)

    def _fire(self, result: Result[None]) -> None:
        self._waiting.pop(result, None)
        if not result.called:
            result.callback(None)

    def _wake(self) -> None:
        if self._news is not None and not self._news.called:
            self._news.callback(None)


def _around(logs: Logs, author: bytes, first: int, last: int) -> Stretch:
    return logs.around(author, first, 1, last)


def _closed(name: str) -> ViewError:
    return ViewError(f"view {name} is closed")


def _skipped(name: str, skipped: Sequence[Skip]) -> ViewSkipped:
    first = skipped[0]
    return ViewSkipped(name, first.author, first.seq, first.reason, len(skipped))
