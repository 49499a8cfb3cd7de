"""Who is told what becomes of the order of a store's entries.

Responsible for: passing on what readers in causal order find.
Must not know: how it was found, nodes.
Invariant: who listens that fails keeps it from nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from gossiplog.live.interrupts import call_each

if TYPE_CHECKING:
    from gossiplog.notices import EntryAhead, Reordered

    OrderNotice: TypeAlias = Reordered | EntryAhead


class OrderNotices:
    """I pass on what readers in causal order find: ``store.notices.listen(function)``."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._listeners: list[Callable[[OrderNotice], object]] = []

    def listen(self, listener: Callable[[OrderNotice], object]) -> Callable[[], None]:
        """Call ``listener`` with every notice; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(self, notice: OrderNotice) -> None:
        """Something was found."""
        call_each(self._reactor, self._listeners, notice)
