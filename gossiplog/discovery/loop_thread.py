"""An asyncio loop in a thread, for packages that need one.

Responsible for: running coroutines there for who is on the reactor.
Must not know: what they do.
Invariant: the end of the process does not wait for the thread; a result comes on the reactor, or never if that is gone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from twisted.internet.defer import Deferred


class LoopThread:
    """I am a loop in a daemon thread called ``name``."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run this there; fires on the reactor with what it returns, and never if the thread ends before."""
        result: Deferred[Any] = Deferred()
        running = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        running.add_done_callback(lambda done: self.on_reactor(_fire, result, done))
        return result

    def on_reactor(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call this on the reactor; from any thread."""
        try:
            self._reactor.callFromThread(function, *arguments)
        except RuntimeError:  # an asyncio reactor's loop is closed: nobody waits any more
            return

    def stop(self) -> None:
        """End the thread; what still runs there is cancelled."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            rest = asyncio.all_tasks(self.loop)
            for task in rest:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        finally:
            self.loop.close()


def _fire(result: Deferred[Any], done: Future[Any]) -> None:
    if result.called or done.cancelled():
        return
    error = done.exception()
    if error is None:
        result.callback(done.result())
    else:
        result.errback(error)
