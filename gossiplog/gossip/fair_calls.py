"""Whose reads are done next: sessions take turns in the store's thread, by the work they made.

Responsible for: one piece of work of a session at a time, and few of all together.
Must not know: what the work is.
Invariant: whoever asks for little waits for the few pieces that are under way, however many sessions ask for how much;
while anybody waits they are together as long as one may be otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from gossiplog import limits
from gossiplog.errors import StoreError
from gossiplog.gossip.fair_order import FairOrder, Share

Answer: TypeAlias = Callable[[Any], None]
"""Called with the result of work, or what it raised."""

Work: TypeAlias = Callable[[int, Any], Any]
"""What is done in the thread: ``work(so much of it at most, Logs)``."""


Toil: TypeAlias = Callable[[Any], float]
"""Says of such a result how much work it was."""


class _Asked:
    """What one session asked for, and what it took so far."""

    def __init__(self) -> None:
        self.share = Share()
        self.calls: deque[tuple[Work, Answer]] = deque()
        self.is_in_order = False


class FairCalls:
    """I hand work to the store's thread by ``call(work, answer)``."""

    def __init__(self, call: Callable[[Callable[[Any], Any], Answer], None], toil: Toil) -> None:
        self._call = call
        self._toil = toil
        self._asked: dict[int, _Asked] = {}
        self._order: FairOrder[_Asked] = FairOrder(limits.READ_AHEAD_BYTES)
        self._running = 0

    def put(self, session: int, work: Work, answer: Answer) -> None:
        """Do this when it is the turn of ``session``; what one session asks for is done in its order."""
        asked = self._asked.setdefault(session, _Asked())
        asked.calls.append((work, answer))
        if not asked.is_in_order:
            asked.is_in_order = True
            self._order.put(asked, asked.share)
        self._go_on()

    def forget(self, session: int) -> None:
        """Do nothing more for ``session``; what waits is answered with a failure."""
        asked = self._asked.pop(session, None)
        if asked is None:
            return
        self._order.remove(asked)
        calls, asked.calls = asked.calls, deque()
        for _, answer in calls:
            answer(StoreError("the session is over"))

    def _go_on(self) -> None:
        failed: list[tuple[Answer, StoreError]] = []
        while self._order and self._running < limits.LOADS_AT_ONCE:
            asked = self._order.take()
            work, answer = asked.calls.popleft()
            self._running += 1
            most = limits.READ_AHEAD_BYTES // (limits.LOADS_AT_ONCE if self._order else 1)
            try:
                self._call(partial(work, most), partial(self._done, asked, answer))
            except StoreError as error:  # it is closed
                self._over(asked)
                failed.append((answer, error))
        for answer, reason in failed:
            answer(reason)

    def _done(self, asked: _Asked, answer: Answer, value: Any) -> None:
        self._order.took(asked.share, self._toil(value))
        self._over(asked)
        self._go_on()  # first: the thread need not wait for what comes of this
        answer(value)

    def _over(self, asked: _Asked) -> None:
        self._running -= 1
        asked.is_in_order = bool(asked.calls)
        if asked.calls:
            self._order.put(asked, asked.share)
