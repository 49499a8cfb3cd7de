"""The views that are open on a store.

Responsible for: opening and ending them; passing on what happens to the store, and what they tell.
Must not know: how a view works.
Invariant: no two open views have one name.  What one of them does with what it hears stays without effect on the others
and on the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from gossiplog.errors import InvalidValueError
from gossiplog.live.interrupts import call_each
from gossiplog.live.logger import NodeLog
from gossiplog.live.results import Result
from gossiplog.live.view_feed import Origin
from gossiplog.live.views_work import ViewsWork
from gossiplog.log.segment import Head
from gossiplog.notices import Notice, ViewFailed, ViewSkipped
from gossiplog.store.requests import CommitReport
from gossiplog.views.view import View, check_view

if TYPE_CHECKING:
    from gossiplog.live.live_view import LiveView

_log = NodeLog()


class OpenViews:
    """I have the open views of one store, by name, and the thread that they work in."""

    def __init__(self, store: Origin, work: ViewsWork, reactor: Any) -> None:
        self._store = store
        self._work = work
        self._reactor = reactor
        self._views: dict[str, LiveView] = {}
        self._listeners: list[Callable[[Notice], object]] = []

    def open(self, view: View, kind: type[LiveView]) -> Result[Any]:
        """As :meth:`gossiplog.Store.view`."""
        check_view(view)
        self._store.whole_clock("a view")
        before = self._views.get(view.name)
        if before is not None and not before._closed and before.error is None:
            raise InvalidValueError(
                f"view {view.name} is open already: keep what Store.view returned, or give the other one another name"
            )
        if before is not None and not before._closed:
            before.close()
        live = kind(self._store, self._work, self._tell, self._reactor, view)
        opening = live._open()
        self._views[view.name] = live

        def failed(failure: Any) -> Any:
            if self._views.get(view.name) is live:
                del self._views[view.name]
            live._closed = True
            return failure

        return opening.addErrback(failed)  # type: ignore[return-value]

    def is_open(self, name: str) -> bool:
        """Whether a view of that name is open."""
        view = self._views.get(name)
        return view is not None and not view._closed

    def listen(self, listener: Callable[[Notice], object]) -> Callable[[], None]:
        """Tell ``listener`` what views tell; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def committed(self, report: CommitReport) -> None:
        """This is on disk."""
        call_each(self._reactor, [view._committed for view in self._views.values()], report)

    def repaired(self, heads: Mapping[bytes, Head | None]) -> None:
        """Logs were cut to these heads."""
        call_each(self._reactor, [view._repaired for view in self._views.values()], heads)

    def close(self) -> Deferred[None]:
        """End all, and the thread."""
        for view in [*self._views.values()]:
            view._end()
        return self._work.close()

    def _tell(self, notice: Notice) -> None:
        call_each(self._reactor, self._listeners, notice)
        if not self._listeners and isinstance(notice, ViewSkipped | ViewFailed):
            _log.warn("{notice}", event="view_failed", notice=repr(notice))
