"""Telling an application what happens in a node.

Responsible for: the three ways to hear of it: a function that is called, one notice that is awaited, an iterator.
Must not know: what happens, or why.
Invariant: as in :mod:`gossiplog.live.subscriptions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from gossiplog.live.core import StoreCore
from gossiplog.live.results import Result
from gossiplog.live.subscriptions import Events, Subscribers
from gossiplog.notices import Notice

N = TypeVar("N")
M = TypeVar("M")


class Noticing:
    """I am what others can listen to."""

    _core: StoreCore
    _subscribers: Subscribers

    def subscribe(self, subscriber: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``subscriber`` with everything that happens (``gossiplog.notices``); returns how to stop that.

        What a subscriber raises is logged; it is called again with the next notice.
        """
        self._core.check_caller()
        return self._subscribers.add(subscriber)

    @overload
    def when(self, kind: type[N], /, *, where: Callable[[N], bool] | None = None) -> Result[N]: ...

    @overload
    def when(
        self, kind: type[N], other: type[M], /, *, where: Callable[[N | M], bool] | None = None
    ) -> Result[N | M]: ...

    @overload
    def when(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None) -> Result[Any]: ...

    def when(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None) -> Result[Any]:
        """Fire with the next notice of one of these ``kinds`` (any, if none) for which ``where(notice)`` is true.

        ``peer = (await node.when(PeerUp)).peer``.  Cancel it to stop waiting.  Fails with :class:`NodeStoppedError`
        when the node has stopped, and with what ``where`` raises.
        """
        self._core.check_caller()
        return self._subscribers.next_of(kinds, where)

    @overload
    def events(self, kind: type[N], /) -> Events[N]: ...

    @overload
    def events(self, kind: type[N], other: type[M], /) -> Events[N | M]: ...

    @overload
    def events(self, *kinds: type[Any]) -> Events[Any]: ...

    def events(self, *kinds: type[Any]) -> Events[Any]:
        """What happens from now on: ``async for notice in node.events(PeerUp, PeerDown)``; everything, without kinds.

        Ends when the node has stopped.  At most ``MAX_WAITING_NOTICES`` wait to be read; who is slower gets a
        :class:`~gossiplog.notices.Lagged` in the place of the oldest.
        """
        self._core.check_caller()
        return self._subscribers.iterate(kinds)
