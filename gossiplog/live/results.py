"""Results that can be awaited from Twisted and from asyncio alike.

Responsible for: :class:`Result`, the Deferred that every public method of gossiplog returns, and firing it;
:class:`Ending`.
Must not know: what is awaited.
Invariant: whoever runs the coroutine that awaits a Result gets what it understands: Twisted a Deferred, an asyncio
task a future.  Nothing is guessed from the surroundings, because a Twisted coroutine may be resumed inside a task.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python import threadable
from twisted.python.failure import Failure

from gossiplog.arguments import wrong
from gossiplog.errors import WrongCallerError
from gossiplog.live.interrupts import pass_on

T = TypeVar("T")


class Result(Deferred[T]):
    """A Deferred that an asyncio task (under the asyncio reactor) may await too.

    To cancel it is to wait no longer; what was asked for is done all the same.  A SystemExit or KeyboardInterrupt that
    a callback raises, and that nobody waits for, ends the program: a Deferred would keep it to itself.  A
    CancelledError, also asyncio's, ends no program: it is a failure like others, raised in who waits and logged if
    nobody does.
    """

    _no_news: Failure | None = None

    def __init__(self, canceller: Callable[[Deferred[Any]], None] | None = None, reactor: Any = None) -> None:
        """``reactor`` is who fires it: an asyncio task is warned if it does not run."""
        super().__init__(canceller)
        self._reactor = reactor

    def cancel(self) -> None:
        """Wait no longer; that is no error to log."""
        super().cancel()
        found: object = getattr(self, "result", None)
        if isinstance(found, Failure) and found.check(CancelledError):
            self._no_news = found
            self._hush()

    def _runCallbacks(self) -> None:
        super()._runCallbacks()
        found: object = getattr(self, "result", None)
        if isinstance(found, Failure) and self._ends_program(found):
            self._no_news = found
        self._hush()

    def _ends_program(self, found: Failure) -> bool:
        if found is self._no_news or not isinstance(found.value, SystemExit | KeyboardInterrupt):
            return False
        return self._reactor is not None and pass_on(self._reactor, found.value)

    def _hush(self) -> None:
        """Log nothing if nobody takes the failure ``_no_news``."""
        no_news = self._no_news is not None and getattr(self, "result", None) is self._no_news
        if no_news and self._debugInfo is not None:
            self._debugInfo.failResult = None

    def __await__(self) -> Generator[Any, Any, T]:
        if self.called and not self.paused:
            return (yield from super().__await__())
        wait: _Wait[T] = _Wait(self, self._reactor)
        value: T = yield wait
        return value if wait.future is None else wait.future.result()


class _Wait(Deferred[T]):
    """I am what an awaited Result yields: a Deferred, and as much of a future as ``asyncio.Task`` asks for."""

    _asyncio_future_blocking = True

    def __init__(self, awaited: Deferred[T], reactor: Any) -> None:
        super().__init__(lambda _: awaited.cancel())
        self._reactor = reactor
        self.future: asyncio.Future[T] | None = None
        awaited.chainDeferred(self)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task that looks."""
        return asyncio.get_running_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """A task is going to wait; what it hears of is a real future."""
        loop = self.get_loop()
        problem = _why_never(self._reactor, loop) if _is_twisteds(self._reactor) else ""
        if problem:
            self.future = loop.create_future()
            self.future.set_exception(WrongCallerError(problem))
            self.addErrback(lambda _: None)  # nobody waits any more
        else:
            self.addErrback(_fit_for_future)
            self.future = self.asFuture(loop)
        self.future.add_done_callback(callback, context=context)

    def cancel(self, msg: Any = None) -> bool:  # type: ignore[override]  # asyncio wants an answer
        """Wait no longer; a cancelled future comes back here to cancel the Deferred."""
        if self.future is not None and not self.future.cancelled():
            return self.future.cancel(msg)
        super().cancel()
        return True


def _fit_for_future(failure: Failure) -> Failure:
    """A future takes no StopIteration, and would be waited for for ever; a coroutine makes the same of it."""
    if failure.check(StopIteration):
        raise RuntimeError("what was awaited raised StopIteration") from failure.value
    return failure


def _is_twisteds(reactor: Any) -> bool:
    """Tell one of Twisted's from others, without importing them: who has one did that."""
    base = sys.modules.get("twisted.internet.base")
    return base is not None and isinstance(reactor, base.ReactorBase)


def _why_never(reactor: Any, loop: asyncio.AbstractEventLoop) -> str:
    """Why a task of ``loop`` would wait for ``reactor`` for ever, and what to do; ``""`` if it would not."""
    if getattr(reactor, "_asyncioEventloop", loop) is not loop:
        return "this asyncio loop is not the one that the reactor was installed on"
    if not hasattr(reactor, "_asyncioEventloop"):
        return (
            f"an asyncio task cannot wait for a {type(reactor).__name__}: before anything imports the reactor, call "
            "twisted.internet.asyncioreactor.install(asyncio.get_running_loop())"
        )
    if not reactor.running:
        return "the reactor does not run: call reactor.startRunning(installSignalHandlers=False) first"
    return ""


def why_over(reactor: Any) -> str:
    """Why nothing will ever happen on ``reactor`` again, and what to do; ``""`` if something may."""
    if crashed := crash_of(reactor):
        return crashed
    loop = getattr(reactor, "_asyncioEventloop", None)
    if loop is not None and loop.is_closed():
        over = "the asyncio loop that the reactor was installed on is closed"
    elif getattr(reactor, "_startedBefore", False) and not getattr(reactor, "_started", True):
        over = "the reactor has stopped"
    else:
        return ""
    only = "" if hasattr(reactor, "thread") else ", and a process has only one"
    return f"{over}{only}: open, use and close a store within one reactor.run() or asyncio.run()"


def crash_of(reactor: Any) -> str:
    """Return what is said of a reactor whose machine crashed, as those of tests do; ``""`` for any other."""
    return str(getattr(reactor, "crashed", ""))


def check_reactor(reactor: Any) -> None:
    """Raise :class:`InvalidValueError` for what is no reactor."""
    if not callable(getattr(reactor, "callLater", None)):
        raise wrong("reactor", "Twisted's: from twisted.internet import reactor", reactor)


def check_caller(reactor: Any) -> None:
    """Raise :class:`WrongCallerError` in another thread than the one whose reactor runs, and after its end."""
    if over := why_over(reactor):
        raise WrongCallerError(over)
    thread = getattr(reactor, "thread", threadable.ioThread)
    if thread is not None and thread != threading.get_ident():
        raise WrongCallerError(
            "gossiplog is called from the reactor's thread only: use reactor.callFromThread, "
            "twisted.internet.threads.blockingCallFromThread or asyncio.run_coroutine_threadsafe"
        )


def deliver(result: Result[Any], value: Any, read: Callable[[Any], Any] = lambda value: value) -> None:
    """Fire ``result`` with what a job gave, unless nobody waits any more."""
    if result.called:
        return
    if isinstance(value, Failure):
        result.errback(value)
    elif isinstance(value, BaseException):
        result.errback(Failure(value))
    else:
        result.callback(read(value))


def fail_quietly(result: Result[Any], error: BaseException | Failure) -> None:
    """Fail ``result`` with ``error``, which is no news to who asked and does not wait: nothing is logged then."""
    if not result.called:
        failure = error if isinstance(error, Failure) else Failure(error)
        result._no_news = failure
        result.errback(failure)


class Ending:
    """I am an end that comes once, however often it is asked for and whoever stops waiting for it."""

    def __init__(self, reactor: Any = None) -> None:
        self._reactor = reactor
        self.over = False
        self._failure: Failure | None = None
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Result[None]:
        """Fire when it is over, which may be now."""
        result: Result[None] = Result(self._waiting.remove, self._reactor)
        self._waiting.append(result)
        if self.over:
            self._fire()
        return result

    def come(self, failure: Failure | None = None) -> None:
        """It is over, with ``failure`` if it went wrong."""
        if not self.over:
            self.over = True
            self._failure = failure
            self._fire()

    def _fire(self) -> None:
        waiting, self._waiting = self._waiting, []
        for result in waiting:
            if self._failure is None:
                result.callback(None)
            else:
                result.errback(self._failure)
