"""Who is told what happens in a node.

Responsible for: :class:`Subscribers`, waiting for one notice, and :class:`Events`, notices as an async iterator.
Must not know: how notices come about.
Invariant: what one subscriber raises reaches no other; a slow iterator keeps at most ``MAX_WAITING_NOTICES`` and says
how many it lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, get_args

from gossiplog.arguments import check_plain, refuse_awaitable
from gossiplog.errors import InvalidValueError, NodeStoppedError
from gossiplog.limits import MAX_WAITING_NOTICES
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog
from gossiplog.live.results import Result, fail_quietly
from gossiplog.notices import Lagged, Notice

_log = NodeLog()

N = TypeVar("N")

_INSTEAD = "a notice", "a coroutine can read events()"


class Subscribers:
    """I pass on what happens, until :meth:`close`."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._subscribers: list[Callable[[Notice], object]] = []
        self._waiting: dict[Result[Any], None] = {}  # in order, as a set is not
        self._iterators: dict[Events[Any], Callable[[], None]] = {}
        self._closed = False

    def tell(self, notice: Notice) -> None:
        """Something happened."""
        for subscriber in tuple(self._subscribers):
            try:
                refuse_awaitable("a subscriber", subscriber(notice))
            except BaseException:
                if not pass_on(self._reactor):
                    _log.failure(
                        "a subscriber failed on {kind}", event="subscriber_failed", kind=type(notice).__name__
                    )

    def add(self, subscriber: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``subscriber`` with every notice; returns how to stop that."""
        check_plain("a subscriber", subscriber, *_INSTEAD)
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber) if subscriber in self._subscribers else None

    def next_of(self, kinds: tuple[type[Any], ...], where: Callable[[Any], bool] | None) -> Result[Any]:
        """Fire with the next notice of one of ``kinds`` (any, if none) for which ``where`` is true."""
        wanted = _checked(kinds)
        if where is not None:
            check_plain("where", where, *_INSTEAD)
        result: Result[Any] = Result(lambda _: forget(), self._reactor)
        if self._closed:
            fail_quietly(result, NodeStoppedError("the node was stopped"))
            return result

        def forget() -> None:
            unsubscribe()
            self._waiting.pop(result, None)

        def look(notice: Notice) -> None:
            if result.called or not isinstance(notice, wanted):
                return
            try:
                found = where is None or bool(refuse_awaitable("where", where(notice)))
            except BaseException:
                forget()
                result.errback()
                return
            if found and not result.called:
                forget()
                result.callback(notice)

        unsubscribe = self.add(look)
        self._waiting[result] = None
        return result

    def iterate(self, kinds: tuple[type[Any], ...]) -> Events[Any]:
        """Notices of these ``kinds`` (all, if none) from now on."""
        events: Events[Any] = Events(_checked(kinds), self._forget, self._reactor)
        if self._closed:
            events.close()
        else:
            self._iterators[events] = self.add(events._happened)
        return events

    def close(self) -> None:
        """Nothing happens any more: end the iterators, fail what waits."""
        self._closed = True
        for events in tuple(self._iterators):
            events._end()
        for result in tuple(self._waiting):
            fail_quietly(result, NodeStoppedError("the node was stopped"))
        self._waiting.clear()

    def _forget(self, events: Events[Any]) -> None:
        self._iterators.pop(events, lambda: None)()


class Events(Generic[N]):
    """I am what happens in a node, from when I was asked for: ``async for notice in node.events(PeerUp)``.

    By one consumer.  I end when the node has stopped and everything was read, or with :meth:`close`.  Who is slow gets
    a :class:`~gossiplog.notices.Lagged` in the place of the oldest notices.
    """

    def __init__(
        self, kinds: tuple[type[Any], ...], forget: Callable[[Events[Any]], None], reactor: Any
    ) -> None:
        self._reactor = reactor
        self._kinds = kinds
        self._forget = forget
        self._notices: deque[N] = deque()
        self._missed = 0
        self._closed = False
        self._waiting: Result[None] | None = None

    def __aiter__(self) -> Events[N]:
        return self

    async def __anext__(self) -> N | Lagged:
        """The next notice, when there is one."""
        if self._waiting is not None:
            raise RuntimeError("these events are being waited for already; give every consumer its own")
        while not self._notices:
            if self._closed:
                raise StopAsyncIteration
            self._waiting = Result(lambda _: None, self._reactor)
            try:
                await self._waiting
            finally:
                self._waiting = None
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged(missed)
        return self._notices.popleft()

    async def __aenter__(self) -> Events[N]:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, what is unread with it."""
        self._notices.clear()
        self._missed = 0
        self._end()

    async def aclose(self) -> None:
        """As :meth:`close`, for ``contextlib.aclosing``."""
        self.close()

    def _end(self) -> None:
        self._closed = True
        self._forget(self)
        self._wake()

    def _happened(self, notice: Any) -> None:
        if isinstance(notice, self._kinds):
            if len(self._notices) == MAX_WAITING_NOTICES:
                self._notices.popleft()
                self._missed += 1
            self._notices.append(notice)
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)


def _checked(kinds: tuple[type[Any], ...]) -> tuple[type[Any], ...]:
    known = get_args(Notice)
    for kind in kinds:
        if kind not in known:
            raise InvalidValueError(
                f"{kind!r:.80} is no kind of notice; there are {', '.join(each.__name__ for each in known)}"
            )
    return kinds or known
