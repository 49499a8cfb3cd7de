"""Whose reads are done next: sessions take turns in the store's thread.

Responsible for: one piece of work of a session at a time, and few of all together.
Must not know: what the work is.
Invariant: whoever asks waits for one piece of each other session at most, however many these asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from gossiplog import limits
from gossiplog.errors import StoreError

Answer: TypeAlias = Callable[[Any], None]
"""Called with the result of work, or what it raised."""

Work: TypeAlias = Callable[[Any], Any]
"""What is done in the thread, with its Logs."""


class FairCalls:
    """I hand work to the store's thread by ``call(work, answer)``."""

    def __init__(self, call: Callable[[Work, Answer], None]) -> None:
        self._call = call
        self._waiting: dict[int, deque[tuple[Work, Answer]]] = {}
        self._ready: deque[int] = deque()
        self._running = 0

    def put(self, session: int, work: Work, answer: Answer) -> None:
        """Do this when it is the turn of ``session``; what one session asks for is done in its order."""
        waiting = self._waiting.get(session)
        if waiting is None:
            waiting = self._waiting[session] = deque()
            self._ready.append(session)
        waiting.append((work, answer))
        self._go_on()

    def forget(self, session: int) -> None:
        """Do nothing more for ``session``; what waits is answered with a failure."""
        waiting = self._waiting.get(session, deque())
        if session in self._ready:
            self._ready.remove(session)
            del self._waiting[session]
        answers = [answer for _, answer in waiting]
        waiting.clear()
        for answer in answers:
            answer(StoreError("the session is over"))

    def _go_on(self) -> None:
        failed: list[tuple[Answer, StoreError]] = []
        while self._ready and self._running < limits.LOADS_AT_ONCE:
            session = self._ready.popleft()
            work, answer = self._waiting[session].popleft()
            self._running += 1
            try:
                self._call(work, partial(self._done, session, answer))
            except StoreError as error:  # it is closed
                self._over(session)
                failed.append((answer, error))
        for answer, reason in failed:
            answer(reason)

    def _done(self, session: int, answer: Answer, value: Any) -> None:
        self._over(session)
        self._go_on()  # first: the thread need not wait for what comes of this
        answer(value)

    def _over(self, session: int) -> None:
        self._running -= 1
        if self._waiting[session]:
            self._ready.append(session)
        else:
            del self._waiting[session]
