"""Long work on an open store, in a thread of its own beside whoever else uses it.

Responsible for: doing its steps in the store's thread, by way of the reactor, and waiting for them.
Must not know: what the steps are.
Invariant: what is written is told to everyone like any other commit.  Nobody waits for a store that was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from twisted.python.failure import Failure

from gossiplog.errors import StoreClosedError
from gossiplog.live.core import StoreCore
from gossiplog.live.hands import Hands
from gossiplog.live.results import Result, deliver, why_over
from gossiplog.log.clock_view import whole
from gossiplog.log.disk_cost import TotalView
from gossiplog.log.segment import Head
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Reply, Request

T = TypeVar("T")

LOOK_SECONDS: Final = 0.2
"""Between two looks at whether the reactor that is waited for still runs."""


class SharedHands:
    """I use an open store from a thread of my own, by way of its reactor."""

    def __init__(self, core: StoreCore) -> None:
        self.forks: AbstractSet[bytes] = core.forks
        self._core = core
        self._is_stopped = False

    def stop(self) -> None:
        """Do no more steps."""
        self._is_stopped = True

    def head(self, author: bytes) -> Head | None:
        """The durable head of an author."""
        clock = whole(self._core.clock)
        return self.read(lambda logs: logs.clock.head(author)) if clock is None else clock.head(author)

    def weights(self) -> TotalView:
        """What each author takes on disk; found out at the first time, O(rows)."""

        def ask(core: StoreCore, answer: Callable[[Any], None]) -> None:
            def found(value: Any) -> None:
                is_new = core.held.weights is None and not isinstance(value, BaseException)
                answer(core.held.weigh(value) if is_new else core.held.weights or value)

            core.thread.call(lambda logs: logs.weighing.begin(), found)

        weights: TotalView = self._core.held.weights or self._wait(ask)
        return weights

    def read(self, work: Callable[[Logs], T]) -> T:
        """Do ``work`` in the store's thread."""
        found: T = self._wait(lambda core, answer: core.thread.call(work, answer))
        return found

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        """Do what is asked for, as a commit or a few."""
        if not requests:
            return []

        def put(core: StoreCore, answer: Callable[[Any], None]) -> None:
            results: list[Any] = [None] * len(requests)
            left = [len(requests)]

            def done(place: int) -> Callable[[Any], None]:
                def keep(value: Any) -> None:
                    results[place] = value
                    left[0] -= 1
                    if not left[0]:
                        answer(results)

                return keep

            with core.thread.together():
                for place, request in enumerate(requests):
                    core.thread.write(request, done(place))

        replies: list[Reply] = self._wait(put)
        return replies

    def _wait(self, ask: Callable[[StoreCore, Callable[[Any], None]], None]) -> Any:
        came: SimpleQueue[Any] = SimpleQueue()

        def begin() -> None:
            try:
                self._core.check_open()
                if self._is_stopped:
                    raise self._gone("it was stopped")
                ask(self._core, came.put)
            except BaseException as error:
                came.put(error)

        try:
            self._core.reactor.callFromThread(begin)
        except RuntimeError as error:  # its loop is closed
            raise self._gone() from error
        while True:
            try:
                value = came.get(timeout=LOOK_SECONDS)
                break
            except Empty:
                if why_over(self._core.reactor):
                    raise self._gone() from None
        if isinstance(value, BaseException):
            raise value
        return value

    def _gone(self, why: str = "it is closed") -> StoreClosedError:
        return StoreClosedError(f"store {self._core.path}: {why}")


def work_beside(core: StoreCore, work: Callable[[Hands], T]) -> Result[T]:
    """Do ``work``, which may take long and block, in a thread of its own beside an open store.

    Who cancels it ends it at its next step.
    """
    core.check_open()
    hands = SharedHands(core)
    result: Result[T] = Result(lambda _: hands.stop(), core.reactor)

    def run() -> None:
        value: Any
        try:
            value = work(hands)
        except BaseException as error:
            value = Failure(error)
        try:
            core.reactor.callFromThread(deliver, result, value)
        except RuntimeError:  # nobody is there to hear it
            pass

    core.thread.beside(run)
    return result
