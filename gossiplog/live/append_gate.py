"""Appends that wait for entries of their own log to come back.

Responsible for: holding a writer's appends while a peer says that it has entries of that log which are not here: this
store was put back to an earlier state, and its next entry would have a seq that is taken.
Must not know: peers, sessions; who is believed.
Invariant: nothing continues a log that is known to be forked.  A writer's appends keep their order.  They wait as long
as own entries come, and no longer than ``OWN_ENTRIES_SECONDS`` for the first or the next one: a liar can cost that once
in ``OWN_REST_SECONDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any, Protocol

from gossiplog.errors import ForkedWriterError, StoreClosedError
from gossiplog.limits import OWN_ENTRIES_SECONDS, OWN_REST_SECONDS
from gossiplog.live.job_queue import Answer
from gossiplog.log.clock_view import HeadView
from gossiplog.log.keys import short_key
from gossiplog.store import owning_process
from gossiplog.store.requests import Append


class Timers(Protocol):
    """The time: what Twisted's reactor has of it, and the simulator."""

    def seconds(self) -> float:
        """Return the time."""

    def callLater(self, delay: float, call: Callable[..., Any], /, *about: Any) -> Any:
        """Call later; what is returned can ``cancel()`` that, and ``reset(delay)``."""


class _Hold:
    """What is waited for, how long, and who waits."""

    def __init__(self, seq: int, timer: Any) -> None:
        self.seq = seq
        self.timer = timer
        self.waiting: list[tuple[Append, Answer]] = []


class AppendGate:
    """I am where appends go by on their way to a store's thread, which is ``write``; ``clock`` is the durable one.

    ``forks`` are the logs known to be forked, whether or not that is on disk yet: a full disk may refuse the proof.
    """

    def __init__(
        self,
        reactor: Timers,
        clock: HeadView,
        forks: Container[bytes],
        write: Callable[[Any, Answer], None],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._forks = forks
        self._write = write
        self._holds: dict[bytes, _Hold] = {}
        self._rests: dict[bytes, float] = {}
        self._closed = False
        owning_process.hold(self)

    def append(self, request: Append, answer: Answer) -> None:
        """Pass an append on, now or later."""
        hold = self._holds.get(request.author)
        if hold is None:
            self._pass_on(request, answer)
        else:
            hold.waiting.append((request, answer))

    def claimed(self, author: bytes, seq: int) -> None:
        """A peer says that it holds the local ``author`` up to ``seq``, which is more than we do."""
        hold = self._holds.get(author)
        if hold is not None:
            hold.seq = max(hold.seq, seq)
        elif not self._closed and self._reactor.seconds() >= self._rests.get(author, 0.0):
            timer = self._reactor.callLater(OWN_ENTRIES_SECONDS, self._give_up, author)
            self._holds[author] = _Hold(seq, timer)

    def moved(self, authors: Iterable[bytes]) -> None:
        """The durable clock moved for ``authors``: of those held, own entries came back."""
        for author in self._holds.keys() & set(authors) if self._holds else ():
            hold = self._holds[author]
            if self._clock.seq(author) >= hold.seq:
                hold.timer.cancel()
                self._release(author)
            else:
                hold.timer.reset(OWN_ENTRIES_SECONDS)

    def release(self, author: bytes) -> None:
        """Wait no longer for ``author``: what it lost does not come back, and the store knows."""
        hold = self._holds.get(author)
        if hold is not None:
            hold.timer.cancel()
            self._give_up(author)

    def close(self) -> None:
        """Refuse what waits: whether it would have forked its log is not known."""
        self._closed = True
        holds, self._holds = self._holds, {}
        error = StoreClosedError("the store was closed before newer entries of this log had come back")
        for hold in holds.values():
            hold.timer.cancel()
            for _, answer in hold.waiting:
                answer(error)

    def give_up(self) -> None:
        """In a child by fork: pass nothing on any more."""
        for hold in self._holds.values():
            hold.timer.cancel()

    def _give_up(self, author: bytes) -> None:
        """Nothing backs the claim, or nothing that can come back."""
        self._rests[author] = self._reactor.seconds() + OWN_REST_SECONDS
        self._release(author)

    def _pass_on(self, request: Append, answer: Answer) -> None:
        if request.author in self._forks:
            answer(ForkedWriterError(short_key(request.author)))
        else:
            self._write(request, answer)

    def _release(self, author: bytes) -> None:
        for request, answer in self._holds.pop(author).waiting:
            self._pass_on(request, answer)
