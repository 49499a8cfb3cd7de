"""Views for scripts and threads.

Responsible for: :class:`LiveView`, :class:`LiveSearch` and :class:`Changes`, that wait.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog``.
Invariant: a view is touched in the thread of its store only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gossiplog
from gossiplog.blocking.waiting import Told, waits
from gossiplog.errors import ViewFailedError
from gossiplog.notices import ViewProgress
from gossiplog.views.view import Change

Wait = Callable[..., Any]
"""Calls in the thread of the store, and waits: for so many seconds, if a second argument says so."""


class Changes(Told[Change]):
    """I am how a view changes, from when I was asked for: ``for change in birds.changes()``."""


class LiveView:
    """I am an open view; ``name`` and ``version`` are its."""

    def __init__(self, wait: Wait, view: gossiplog.LiveView) -> None:
        self._wait = wait
        self._it = view
        self.name = view.name
        self.version = view.version

    @property
    def error(self) -> ViewFailedError | None:
        """Why it stopped, None as long as it goes on."""
        return self._it.error

    @property
    def progress(self) -> ViewProgress:
        """How far it is."""
        progress: ViewProgress = self._wait(lambda: self._it.progress)
        return progress

    def ready(self, timeout: float | None = None) -> None:
        """Wait until all that the store holds now is in the view; TimeoutError after so many seconds.

        :class:`~gossiplog.errors.ViewFailedError` when the view stopped before.
        """
        self._wait(self._it.ready, timeout)

    def changes(self, *, timeout: float | None = None) -> Changes:
        """What changes from now on; TimeoutError where nothing does for ``timeout`` seconds."""
        return Changes(self._wait, self._wait(self._it.changes), timeout)

    query = waits(gossiplog.LiveView.query)
    close = waits(gossiplog.LiveView.close)


class LiveSearch(LiveView):
    """I am an open search."""

    find = waits(gossiplog.LiveSearch.find)
