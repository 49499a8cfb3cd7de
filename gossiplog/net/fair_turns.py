"""Whose work is dealt with next: sessions take turns, by the time that they took.

Responsible for: letting nobody wait long because somebody else sends much or asks for much, whatever it is.
Must not know: messages; what work is done in a turn.
Invariant: between two looks at all sockets there is at most one turn of a session that takes much time; each other one
takes ``LIGHT_SHARE`` of the time, up to ``LIGHT_SECONDS`` at once, and only for what is small.  Of those that wait the
one is next that took least: who asks for little waits for the turn under way, however many ask for much.  Who waits for
its turn is not read from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gossiplog import limits
from gossiplog.gossip.fair_order import FairOrder, Share
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog

_log = NodeLog()


class Worker(Protocol):
    """Who has turns."""

    turn: Turn

    def work(self, seconds: float, *, small: bool = False) -> float:
        """Do what there is to do for about so long, only what is ``small`` if so asked; return how long it took."""

    def has_work(self) -> bool:
        """Whether there is more that can be done now."""

    def rest(self, waits: bool) -> None:
        """Wait for a turn and read nothing, or read on."""

    def abort(self) -> None:
        """A turn went wrong."""


class Turn:
    """I say what one worker took, and how much it may do at once: ``balance``, in seconds."""

    __slots__ = ("balance", "share", "since", "waits")

    def __init__(self, now: float) -> None:
        self.balance = limits.LIGHT_SECONDS
        self.share = Share()
        self.since = now
        self.waits = False


class FairTurns:
    """I let the workers of one reactor take turns.

    ``spent`` is a clock of the time that this thread worked: what it waited for others is nobody's fault.
    """

    def __init__(self, reactor: Any, spent: Callable[[], float]) -> None:
        self.spent = spent
        self._reactor = reactor
        self._waiting: FairOrder[Worker] = FairOrder(limits.TURN_SECONDS)
        self._scheduled = False

    def turn(self, beside: Turn | None = None) -> Turn:
        """Somebody came; or has turns for other work ``beside`` those it has."""
        turn = Turn(self._reactor.seconds())
        if beside is None:
            self._waiting.enter(turn.share)
        else:
            turn.share.taken = beside.share.taken
        return turn

    def came(self, worker: Worker) -> None:
        """``worker`` has something to do: now, if it is small and took little time lately, or when its turn comes."""
        turn = worker.turn
        if turn.waits:
            return
        now = self._reactor.seconds()
        earned = limits.LIGHT_SHARE * max(0.0, now - turn.since)
        turn.balance = min(limits.LIGHT_SECONDS, turn.balance + earned)
        turn.since = now
        if turn.balance > 0:
            self._give(worker, small=True)
        if worker.has_work():
            self.queue(worker)

    def queue(self, worker: Worker) -> None:
        """``worker`` has something to do when its turn comes."""
        if not worker.turn.waits:
            worker.turn.waits = True
            worker.rest(True)
            self._waiting.put(worker, worker.turn.share)
            self._soon()

    def _soon(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._next)

    def _next(self) -> None:
        self._scheduled = False
        worker = self._waiting.take()
        turn = worker.turn
        turn.balance = limits.TURN_SECONDS
        self._give(worker)
        if worker.has_work():
            self._waiting.put(worker, turn.share)
        else:
            turn.waits = False
            turn.since = self._reactor.seconds()
            worker.rest(False)
        self._soon()

    def _give(self, worker: Worker, *, small: bool = False) -> None:
        """Let it work; a fault in there ends what is its own and nothing else."""
        turn = worker.turn
        try:
            used = worker.work(turn.balance, small=small)
            turn.balance -= used
            self._waiting.took(turn.share, used)
        except BaseException:
            if not pass_on(self._reactor):
                _log.failure("a turn failed", event="turn_failed")
            worker.abort()
