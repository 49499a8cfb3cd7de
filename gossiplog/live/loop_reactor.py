"""Twisted on an asyncio loop that somebody else runs, with nothing installed.

Responsible for: the reactor of a loop, made for its first user and ended with its last.
Must not know: what is done on it.
Invariant: a program that uses gossiplog finds its loop, its signals and ``twisted.internet.reactor`` as they were, and
nothing is left behind: no thread, no descriptor, no timer.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any, NoReturn

from twisted.internet.asyncioreactor import AsyncioSelectorReactor


class LoopReactor(AsyncioSelectorReactor):
    """I run on the loop that runs, until :meth:`end`."""

    _registerAsIOThread = False  # there may be several of us, each in a thread of its own

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.thread = threading.get_ident()
        self.users = 0
        super().__init__(loop)
        self.startRunning(installSignalHandlers=False)

    def crash(self) -> None:
        """As Twisted ends a reactor, but for the loop: that is not ours to stop."""
        super(AsyncioSelectorReactor, self).crash()

    def spawnProcess(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: who waits for children is the loop."""
        raise NotImplementedError("this reactor runs no child processes; asyncio does")

    async def end(self) -> None:
        """Shut down what runs here: its threads, its resolver, sockets that were left open."""
        over = self._asyncioEventloop.create_future()
        self.addSystemEventTrigger("after", "shutdown", over.set_result, None)
        self.stop()  # type: ignore[no-untyped-call]
        await whatever_comes(over)
        self.removeAll()  # type: ignore[no-untyped-call]
        for delayed in self.getDelayedCalls():
            delayed.cancel()
        if self._timerHandle is not None:
            self._timerHandle.cancel()
        self.close_wakers()

    def close_wakers(self) -> None:
        """Close the pipes that wake the loop; it listens to them no more."""
        for waker in self._internalReaders:
            waker.connectionLost(None)
        self._internalReaders.clear()


_reactors: dict[asyncio.AbstractEventLoop, LoopReactor] = {}


def join() -> Any:
    """The reactor of the running loop, for a user more: the one that is installed, if it runs here, or our own."""
    loop = asyncio.get_running_loop()
    installed: Any = sys.modules.get("twisted.internet.reactor")
    if getattr(installed, "_asyncioEventloop", None) is loop and installed.running:
        return installed
    for ended in [other for other in _reactors if other.is_closed()]:
        _reactors.pop(ended).close_wakers()  # whoever used it left without a word
    if loop not in _reactors:
        _reactors[loop] = LoopReactor(loop)
    _reactors[loop].users += 1
    return _reactors[loop]


async def leave(reactor: Any) -> None:
    """A user less; the last one ends a reactor of ours."""
    if isinstance(reactor, LoopReactor):
        reactor.users -= 1
        if not reactor.users:
            _reactors.pop(reactor._asyncioEventloop, None)
            await reactor.end()


async def whatever_comes(future: asyncio.Future[Any]) -> None:
    """Wait for what comes soon, even if this task is cancelled; that is told afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
