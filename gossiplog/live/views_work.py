"""A store's views thread as the reactor sees it.

Responsible for: starting it when something is derived for the first time, and ending it when the store closes.
Must not know: what is derived.
Invariant: a store of which nothing is derived has no such thread, and no such directory.  However long a view takes, or
whether it ever ends, the store closes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from gossiplog import limits
from gossiplog.live.interrupts import call_each
from gossiplog.live.logger import NodeLog
from gossiplog.live.results import Result, deliver
from gossiplog.views.thread import ViewsThread

if TYPE_CHECKING:
    from gossiplog.views.place import Place

_log = NodeLog()


class ViewsWork:
    """I have the views thread of one store, if there is one."""

    def __init__(
        self,
        own_place: tuple[str, bytes] | None,
        thread: Callable[..., ViewsThread],
        check_open: Callable[[], None],
        reactor: Any,
        path: str,
    ) -> None:
        """``own_place`` is the directory and the token of a store that may keep something beside its logs."""
        self._make = thread
        self._own_place = own_place
        self.check_open = check_open
        self._reactor = reactor
        self._name = f"gossiplog views {path}"
        self._thread: ViewsThread | None = None

    def run(self, work: Callable[[Place], Any]) -> Result[Any]:
        """Do ``work`` in the thread."""
        self.check_open()
        result: Result[Any] = Result(lambda _: None, self._reactor)
        self._started().call(work, lambda value: deliver(result, value))
        return result

    def close(self) -> Deferred[None]:
        """Finish what is queued; fires when the thread ends, or has taken too long."""
        thread = self._thread
        if thread is None:
            return succeed(None)
        over: Deferred[None] = Deferred()

        def late() -> None:
            words = "{name} does not end: a view hangs.  The store is closed without it"
            _log.warn(words, event="view_hangs", name=self._name)
            thread.abandon()
            over.callback(None)

        alarm = self._reactor.callLater(limits.VIEWS_END_SECONDS, late)

        def ended(_: object) -> None:
            if alarm.active():
                alarm.cancel()
                thread.end(limits.VIEWS_END_SECONDS)  # it has nothing left to do
                over.callback(None)

        thread.close(ended)
        return over

    def end(self) -> None:
        """Finish what is queued, and wait for that here: there is no reactor any more."""
        if self._thread is not None:
            self._thread.end(limits.VIEWS_END_SECONDS)

    def _started(self) -> ViewsThread:
        if self._thread is None:
            from gossiplog.views.place import Place  # who asks for no view starts sooner

            place = Place(*(self._own_place or (None,)))
            self._thread = self._make(place, self._tell, self._name)
        return self._thread

    def _tell(self, answer: Callable[[Any], None], value: Any) -> None:
        self._reactor.callFromThread(call_each, self._reactor, [answer], value)
