"""A reactor in a thread of its own, for programs that have none and wait for what they ask.

Responsible for: starting it for its first user, ending it with its last, and waiting for what is done in it.
Must not know: what is done.
Invariant: nothing is installed; a caller waits no longer than it said, and never for itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from gossiplog.arguments import check_seconds
from gossiplog.errors import StoreClosedError, WrongCallerError
from gossiplog.store.owning_process import Home

if TYPE_CHECKING:
    from twisted.internet.posixbase import PosixReactorBase

T = TypeVar("T")


class ReactorThread:
    """I run a reactor until :meth:`end`."""

    def __init__(self) -> None:
        self.reactor: Any = _make()
        self._home = Home("gossiplog's thread")
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gossiplog reactor", daemon=True)
        self._thread.start()
        self._running.wait()

    def wait(self, make: Callable[[], Any], seconds: float | None = None) -> Any:
        """Return what the Result or coroutine of ``make()`` gives, which is called in the thread.

        Raises TimeoutError after ``seconds``: what was asked for may be done all the same.
        """
        if seconds is not None:
            check_seconds("timeout", seconds)
        if not self._home.is_here:
            return self._in_child(make)
        self._check_caller()
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        doing: list[Deferred[Any]] = []

        def start() -> None:
            if not done.set_running_or_notify_cancel():
                return
            waiting = maybeDeferred(make)
            doing.append(waiting)
            waiting.addCallbacks(done.set_result, lambda failure: done.set_exception(failure.value))

        def stop() -> None:
            for waiting in doing:
                waiting.cancel()

        self.reactor.callFromThread(start)
        try:
            return done.result(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        except BaseException as error:  # it took too long, Ctrl-C, or what was done failed
            if done.done():
                raise
            if not done.cancel():
                self.reactor.callFromThread(stop)
            if isinstance(error, TimeoutError):
                raise TimeoutError(
                    f"nothing came of it within {seconds:g} s; it may be done all the same"
                ) from None
            raise

    def end(self) -> None:
        """End the thread, and wait for that; in a child by fork there is none."""
        if not self._home.is_here:
            return
        self._check_caller()
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join()
        for waker in self.reactor._internalReaders:
            waker.connectionLost(None)
        if poller := getattr(self.reactor, "_poller", None):
            poller.close()

    def _in_child(self, make: Callable[[], Any]) -> Any:
        """There is no thread: what does anything raises that, and what ends something has nothing to wait for."""
        done: list[Any] = []
        maybeDeferred(make).addBoth(done.append)
        if not done:
            self._home.check()
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]

    def _check_caller(self) -> None:
        if threading.current_thread() is self._thread:
            raise WrongCallerError(
                "what gossiplog calls must not wait for gossiplog: it would wait for itself"
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise WrongCallerError("this would hold up the asyncio loop that runs: use gossiplog.aio")
        if not self._thread.is_alive():
            raise StoreClosedError("the store is closed: its thread has ended")

    def _run(self) -> None:
        self.reactor.thread = threading.get_ident()
        self.reactor.callWhenRunning(self._running.set)
        self.reactor.run(installSignalHandlers=False)


def _make() -> PosixReactorBase:
    try:
        from twisted.internet.epollreactor import EPollReactor as Reactor
    except ImportError:
        from twisted.internet.pollreactor import PollReactor as Reactor  # type: ignore[assignment]

    class Ours(Reactor):
        _registerAsIOThread = False  # there may be another, in the thread of whoever installed it

    return Ours()  # type: ignore[no-untyped-call]


_lock = threading.Lock()
_shared: list[ReactorThread] = []
_users = 0


def join() -> ReactorThread:
    """The thread that all stores of this process share, for a user more."""
    global _users
    with _lock:
        if not _shared or not _shared[0]._thread.is_alive():  # in a child by fork it is not
            _shared[:] = [ReactorThread()]
            _users = 0
        _users += 1
        return _shared[0]


def leave(thread: ReactorThread) -> None:
    """A user less; the last one ends it."""
    global _users
    with _lock:
        if _shared and _shared[0] is thread:
            _users -= 1
            if not _users:
                _shared.clear()
                thread.end()
