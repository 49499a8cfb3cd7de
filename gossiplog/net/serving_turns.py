"""What a peer makes us do beside dealing with what it says: serving it.

Responsible for: doing such work when it is its turn.
Must not know: what work it is.
Invariant: a peer that is served much waits for no answer to what it says, and nobody else waits for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gossiplog.net.fair_turns import FairTurns, Turn

CHORE_SECONDS = 0.001
"""What a chore takes where time stands still."""


class Chores:
    """I do what one connection has to be served with, in turns of their own.  ``abort`` is called when that fails."""

    def __init__(self, turns: FairTurns, beside: Turn, abort: Callable[[], None]) -> None:
        self.turn = turns.turn(beside)
        self.abort = abort
        self._turns = turns
        self._chores: deque[Callable[[], None]] = deque()

    def put(self, chore: Callable[[], None]) -> None:
        """Do this when it is our turn."""
        self._chores.append(chore)
        self._turns.queue(self)

    def clear(self) -> None:
        """Do nothing more, and know nobody."""
        self._chores.clear()
        self.abort = lambda: None

    def has_work(self) -> bool:
        """Whether anything is to be done."""
        return bool(self._chores)

    def work(self, seconds: float, *, small: bool = False) -> float:
        """Do chores until that took so long; return how long it took."""
        spent = self._turns.spent
        begun = spent()
        priced = used = 0.0
        while self._chores and used < seconds:
            self._chores.popleft()()
            priced += CHORE_SECONDS
            used = (spent() - begun) or priced
        return used

    def rest(self, waits: bool) -> None:
        """What waits is bounded by what was asked for; reading goes on."""
