"""Whose turn it is: that of who took least.

Responsible for: the order of those who wait for a turn, by what they took in those before.
Must not know: what is taken, seconds or bytes; what is done in a turn.
Invariant: while some always wait, each gets as much as each other; who takes less than that waits only for the turn
under way, and for those who took as little.  What is not taken is not saved up, but for ``credit``.  Of those who are
new one at a time is next, and the others wait as if they had just had a turn: to leave and come back is worth nothing.

This is start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queueing", SIGCOMM 1996).  It needs not know
beforehand what a turn takes.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Share:
    """What one of those who wait took, as a time on the clock of :class:`FairOrder`, which shows what each got.

    None: it is new.
    """

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken: float | None = None


class FairOrder(Generic[T]):
    """I say who is next; whoever waits has a :class:`Share` of its own.

    >>> order, greedy, modest, turns = FairOrder(1.0), Share(), Share(), []
    >>> for _ in range(3):
    ...     order.put("greedy", greedy)
    ...     order.put("modest", modest)
    ...     for who in (order.take(), order.take()):
    ...         order.took(*((greedy, 5.0) if who == "greedy" else (modest, 0.1)))
    ...         turns.append(who)
    >>> turns
    ['greedy', 'modest', 'modest', 'greedy', 'modest', 'greedy']
    """

    def __init__(self, credit: float) -> None:
        """``credit`` is what a turn takes."""
        self._credit = credit
        self._clock = 0.0
        self._crowded_until = 0.0
        self._count = 0
        self._waiting: list[tuple[float, int, T]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, share: Share) -> None:
        """Somebody came who may want a turn later: from now on it is not new."""
        share.taken = self._since(share)

    def put(self, who: T, share: Share) -> None:
        """``who`` waits for a turn.  O(log of those who wait), as taking."""
        share.taken = self._since(share)
        self._count += 1
        heappush(self._waiting, (share.taken, self._count, who))

    def take(self) -> T:
        """Whose turn it is; it waits no more."""
        taken, _, who = heappop(self._waiting)
        self._clock = max(self._clock, taken)
        return who

    def took(self, share: Share, amount: float) -> None:
        """So much was taken, in a turn or without one."""
        share.taken = self._since(share) + amount
        if not self._waiting:
            self._clock = max(self._clock, share.taken)

    def remove(self, who: T) -> None:
        """``who`` waits no more.  O(those who wait)."""
        self._waiting = [entry for entry in self._waiting if entry[2] != who]
        heapify(self._waiting)

    def _since(self, share: Share) -> float:
        """What ``share`` took, if it had not saved up too much."""
        if share.taken is None:
            is_crowded = self._clock < self._crowded_until
            self._crowded_until = self._clock + self._credit
            return self._crowded_until if is_crowded else self._clock
        return max(share.taken, self._clock - self._credit)
