"""Opening a store while the reactor turns.

Responsible for: a thread that opens the Logs and is then the store's thread.
Must not know: what else is open.
Invariant: however long the disk takes, nobody waits but who wants this store; one that nobody wants any more when it is
open is closed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog.live.machine import machine_of
from gossiplog.live.store import Store
from gossiplog.store.door import place_of
from gossiplog.store.logs import Logs


async def open_aside(path: str, reactor: Any, state: str | None, prepare: Callable[[Logs], object]) -> Store:
    """As :func:`gossiplog.open_store`, without holding up the reactor; raises the same.

    ``prepare`` is called with the Logs in their thread, for what is going to be asked of them at once.
    """
    place, machine = place_of(path), machine_of(reactor)
    opened = _Opened(
        reactor, lambda: machine.open_logs(place, True, False, 0.0, state), prepare, f"gossiplog {place}"
    )
    logs = await opened.done
    try:
        return Store(lambda: logs, reactor, place, partial(machine.thread, begin=opened.go_on))
    except BaseException:
        opened.go_on(None)
        raise


class _Opened:
    """I open Logs in a thread; ``done`` fires with them, or fails."""

    def __init__(
        self, reactor: Any, opener: Callable[[], Logs], prepare: Callable[[Logs], object], name: str
    ) -> None:
        self.done: Deferred[Logs] = Deferred(self._cancel)
        self._reactor = reactor
        self._next: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(opener, prepare), name=name, daemon=True)
        self._thread.start()

    def _cancel(self, _: object) -> None:
        self.go_on(None)

    def go_on(self, run: Callable[[], None] | None) -> threading.Thread:
        """Go on with ``run``, or, with None, close them."""
        self._next.put(run)
        return self._thread

    def _run(self, opener: Callable[[], Logs], prepare: Callable[[Logs], object]) -> None:
        try:
            logs = opener()
        except BaseException as error:
            self._tell(self.done.errback, error)
            return
        try:
            prepare(logs)
        except BaseException as error:
            logs.close()
            self._tell(self.done.errback, error)
            return
        self._tell(self.done.callback, logs)
        run = self._next.get()
        if run is None:
            with suppress(Exception):
                logs.close()
        else:
            run()

    def _tell(self, fire: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self._reactor.callFromThread(self._fire, fire, value)

    def _fire(self, fire: Callable[[Any], None], value: Any) -> None:
        if not self.done.called:
            fire(value)
