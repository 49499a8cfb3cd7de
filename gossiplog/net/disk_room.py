"""How much of its disk a store may take, where nobody said it.

Responsible for: the quota ``bytes`` of one node, when it was not chosen: in the beginning, and when somebody made room.
Must not know: who is refused; what follows when there is more room.
Invariant: what we wrote ourselves since the beginning neither raises nor lowers the bound.  The disk is not looked at
while nobody is refused for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gossiplog.gossip.quotas import Quota, QuotaLedger, Quotas
from gossiplog.limits import DISK_LOOK_SECONDS
from gossiplog.live.memory_size import default_disk
from gossiplog.net.deadline_timer import DeadlineTimer


class DiskRoom:
    """I raise the bound of ``ledger``, for a store at ``path``; ``raised`` is called afterwards.

    If a bound was chosen, or the store is on no disk, I do nothing.
    """

    def __init__(
        self, reactor: Any, path: str | None, ledger: QuotaLedger, raised: Callable[[], None]
    ) -> None:
        """Set the bound as the disk is now, if none was chosen."""
        self._reactor = reactor
        self._path = path or ""
        self._ledger = ledger
        self._raised = raised
        self._timer = DeadlineTimer(reactor, self._look)
        self._begin()

    def choose(self, quotas: Quotas) -> None:
        """Have other quotas; where nobody said how many bytes, as the disk is now."""
        self._timer.cancel()
        self._ledger.quotas = quotas
        self._begin()
        self._raised()

    def _begin(self) -> None:
        ledger = self._ledger
        self._is_waiting = not self._path or ledger.quotas.bytes is not None
        if not self._is_waiting:
            ledger.base_bytes = ledger.held_bytes
            self._measure()

    def exceeded(self) -> None:
        """Somebody is refused: look whether there is more room by now, and from time to time."""
        if not self._is_waiting:
            self._look()

    def stop(self) -> None:
        """Look no more."""
        self._is_waiting = True
        self._timer.cancel()

    def _look(self) -> None:
        self._is_waiting = Quota.BYTES in self._ledger.refused.values()
        if self._is_waiting:
            self._timer.set(self._reactor.seconds() + DISK_LOOK_SECONDS)
            if self._measure():
                self._raised()

    def _measure(self) -> bool:
        """Look at the disk; whether there is more room than before."""
        ledger = self._ledger
        bound = default_disk(self._path, ledger.base_bytes, ledger.held_bytes)
        before = ledger.quotas.bytes
        if bound is None or (before is not None and bound <= before):
            return False
        ledger.quotas = replace(ledger.quotas, bytes=bound)
        return True
