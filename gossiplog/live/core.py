"""An open store as its readers, its writers and the node that runs on it see it.

Responsible for: the store's thread, what is known of the logs outside of it, and telling who wants to know of a commit.
Must not know: peers, applications; the node listens as every reader does.
Invariant: the clock is the durable one: it moves after the commit and before anyone is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from gossiplog.errors import StoreClosedError, StoreInUseError
from gossiplog.live.bringing import Bringing
from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.follows import Follows
from gossiplog.live.gc_freeze import Freezer
from gossiplog.live.interrupts import call_each
from gossiplog.live.job_queue import Answer
from gossiplog.live.order_notices import OrderNotices
from gossiplog.live.results import Ending, Result, check_caller, deliver, why_over
from gossiplog.live.sharing import Sharing
from gossiplog.live.store_front import StoreFront
from gossiplog.live.store_thread import StoreThread
from gossiplog.live.tips import Tips
from gossiplog.live.views_work import ViewsWork
from gossiplog.log.clock_view import ClockView, CountedView, whole_of
from gossiplog.log.disk_cost import TotalView
from gossiplog.store.held import Held
from gossiplog.store.logs import Logs
from gossiplog.store.owning_process import Home
from gossiplog.store.requests import Append, Delivery

if TYPE_CHECKING:
    from gossiplog.live.open_views import OpenViews
    from gossiplog.live.timeline import Timeline
    from gossiplog.views.place import Place

Listener: TypeAlias = Callable[[Delivery], None]
"""Told of every commit, done or failed, after the clock moved."""


class StoreCore:
    """I am what a :class:`gossiplog.Store` and who works with it share.

    ``held`` is what is known of the logs, ``front`` what the node on it has to do with, ``disk`` the path of their file
    system, if they are on one, ``directory`` where the node's own things are; ``interest`` says which authors are
    wanted, ``sharing`` what comes of others who write there too.
    """

    def __init__(
        self,
        opener: Callable[[], Logs],
        reactor: Any,
        path: str = ":memory:",
        thread: Callable[..., StoreThread] = StoreThread,
    ) -> None:
        """``opener`` is called, once, in the thread that uses the Logs from then on; tests give another ``thread``."""
        check_caller(reactor)
        self.path = path
        self.reactor = reactor
        self.home = Home(f"store {path}")
        self._listeners: list[Listener] = []
        self._user: Callable[[], Deferred[Any]] | None = None
        self._sources: WeakKeyDictionary[Bringing, None] = WeakKeyDictionary()  # in order, as a set is not
        self._held: set[Bringing] = set()
        self._closing = False
        self.hosting: Callable[[], dict[str, Any]] | None = None
        """Says which networks this process hosts, the one of this store among them."""
        self._lost: BaseException | None = None
        self._closed = Ending(reactor)
        self.thread = thread(opener, reactor, self._delivered, f"gossiplog store {path}")
        try:
            self.held: Held
            self.disk: str | None
            self.held, copied, self.disk, damages, own_place, sharing = self.thread.now(
                lambda logs: (
                    *(Held.of(logs), logs.copied, logs.disk, logs.damages, logs.own_place()),
                    (logs.directory, logs.shared, logs.begins),
                )
            )
            self._views_work = ViewsWork(own_place, self.thread.views, self.check_open, reactor, path)
            self.front = StoreFront(self.thread, self.held, copied, reactor)
            self.clock: CountedView = self.held.clock
            self.local, self.forks = self.held.local, self.held.forks
            self.damage = DamageReports(reactor, path, damages)
            self._open_views: OpenViews | None = None
            self.notices = OrderNotices(reactor)
            self.tips = Tips(self)
            self.interest = Follows.on(self.thread, self.local, self.check_open, reactor)
            self._freezer = Freezer(self.clock)
            self._timeline: Timeline | None = None
            self.directory, shared, begins = sharing
            self.sharing = Sharing(self.lost, reactor)
            self.is_shared = shared is not None
            if shared is not None:
                self.sharing.begin(shared, begins, self.thread.hear, path)
        except BaseException:
            self.thread.end()
            raise

    @property
    def views(self) -> OpenViews:
        """The views that are open; who opens none does not import what makes them, nor for :attr:`timeline`."""
        if self._open_views is None:
            from gossiplog.live.open_views import OpenViews

            self._open_views = OpenViews(self, self._views_work, self.reactor)
        return self._open_views

    @property
    def timeline(self) -> Timeline:
        """Pages over all logs."""
        if self._timeline is None:
            from gossiplog.live.timeline import Timeline

            self._timeline = Timeline(self)
        return self._timeline

    @property
    def copied(self) -> str:
        """Why the logs may be a copy of others that are in use; ``""`` if they are not."""
        return self.front.copied

    def follow_live(self, source: Bringing) -> None:
        """Tell ``source`` of what is new, as long as somebody has it."""
        self._sources[source] = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` after every commit; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def is_attached(self) -> bool:
        """Whether a node runs on it."""
        return self._user is not None

    def attach(self, stop: Callable[[], Deferred[Any]]) -> Callable[[], None]:
        """Call ``stop`` and wait for it before the store closes; returns how to take that back.

        Raises :class:`StoreInUseError` if somebody else is attached: forks, quotas and what is accepted have one owner.
        """
        if self._user is not None:
            raise StoreInUseError(
                f"store {self.path} is in use by another node of this process: stop that one first"
            )
        self._user = stop

        def detach() -> None:
            if self._user is stop:
                self._user = None

        return detach

    def weigh(self) -> TotalView:
        """What each author takes on disk, or all together, a live view; the first time it is found out, at once.
        O(rows)."""
        return self.held.weights or self.held.weigh(self.thread.now(lambda logs: logs.weighing.begin()))

    def run(self, work: Callable[[Logs], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""
        self.check_open()
        result: Result[Any] = Result(lambda _: None, self.reactor)
        self.thread.call(work, lambda value: deliver(result, value))
        return result

    def derive(self, work: Callable[[Place], Any]) -> Result[Any]:
        """Do ``work`` in the views thread, with where derived state is kept."""
        return self._views_work.run(work)

    def hold(self, source: Bringing) -> None:
        """Somebody waits for ``source``, who may be held by nobody else."""
        self._held.add(source)

    def release(self, source: Bringing) -> None:
        """Nobody waits for ``source`` now."""
        self._held.discard(source)

    def forget(self, source: Bringing) -> None:
        """``source`` ended."""
        self._sources.pop(source, None)

    def whole_clock(self, what: str) -> ClockView:
        """Return the clock for ``what`` needs every head of it in memory.

        Raises :class:`SharedStoreError` where only some of them are.
        """
        return whole_of(self.clock, self.path, what)

    def append(self, author: bytes, bodies: list[bytes]) -> Result[range]:
        """Append encoded bodies to a local log; fires after the commit with their seqs."""
        put, request = self.front.append, Append(author, bodies)
        return self.write(request, lambda done: range(done.first, done.last + 1), put)

    def write(
        self, request: Any, read: Callable[[Any], Any], put: Callable[[Any, Answer], None] | None = None
    ) -> Result[Any]:
        self.check_open()
        result: Result[Any] = Result(lambda _: None, self.reactor)
        (put or self.thread.write)(request, lambda value: deliver(result, value, read))
        return result

    def set(self, request: Any) -> Result[None]:
        return self.write(request, lambda _: None)

    def close(self) -> Result[None]:
        """As :meth:`gossiplog.Store.close`."""
        if not self.home.is_here:
            self._closed.come()
        elif why_over(self.reactor):
            self._closing = True
            self.sharing.stop()
            self._views_work.end()
            self.thread.end()
            self._closed.come()
        elif not self._closing:
            check_caller(self.reactor)
            self._closing = True
            self.front.gate.close()
            self.interest.close()
            self.sharing.stop()
            if self._timeline is not None:
                self._timeline.close()
            for source in tuple(self._sources):
                source.close()
            user = succeed(None) if self._user is None else maybeDeferred(self._user)
            user.addBoth(lambda _: (self._open_views or self._views_work).close())
            user.addBoth(lambda _: self.thread.close(self._thread_closed))
        return self._closed.wait()

    def _thread_closed(self, value: Any) -> None:
        self._freezer.close()
        self._closed.come(Failure(value) if isinstance(value, BaseException) else None)

    def lost(self, error: BaseException) -> None:
        """Nothing comes from the store any more: whoever waits, or asks from now on, gets ``error``."""
        self._lost = self._lost or error
        for source in tuple(self._sources):
            source.wake()

    def check_caller(self) -> None:
        """Raise :class:`StoreInheritedError` in a forked child, :class:`WrongCallerError` in another thread and where
        nothing ever comes back."""
        self.home.check()
        check_caller(self.reactor)
        if self._lost is not None and not self._closing:
            raise self._lost

    def check_open(self) -> None:
        """Raise :class:`StoreClosedError` once :meth:`close` was called, and what :meth:`check_caller` does."""
        self.check_caller()
        if self._closing:
            raise StoreClosedError(f"store {self.path} is closed")

    def _delivered(self, delivery: Delivery) -> None:
        """A commit is done, or failed: move the clock, then tell everyone."""
        if delivery.report is not None:  # before the clock moves: nodes are told of each on its own
            self.interest.committed(delivery.report)
        delivery = self.front.delivered(delivery)
        self.tips.delivered(delivery)
        call_each(self.reactor, self._listeners, delivery)
        if delivery.report is not None:
            if self._open_views is not None:
                self._open_views.committed(delivery.report)
            self._freezer.grown()
            for source in tuple(self._sources) if delivery.report.segments else ():
                source.committed(delivery.report.segments)
        self.sharing.delivered(delivery)
