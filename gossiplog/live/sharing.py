"""A store that others write too: what they commit, as it comes; that its database is away, or went back.

Responsible for: a thread that follows the lanes of the others and gives what is new to the store's thread; who is told
when the database does not answer, answers again, or was put back.
Must not know: what is in a lane; what a node does.
Invariant: a change is followed by the next one only once the store's thread has taken it, so that little is kept here
however far behind we are; what could not be taken is read again.  A store that went back does nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gossiplog.back_off import back_off
from gossiplog.errors import StoreError, StoreWentBackError
from gossiplog.live.interrupts import call_each
from gossiplog.live.job_queue import Answer
from gossiplog.live.machine import machine_of
from gossiplog.store.requests import Delivery, Learn
from gossiplog.store.shared.interface import BEAT_SECONDS, Position, Shared

if TYPE_CHECKING:
    from gossiplog.notices import Notice

POLL_SECONDS: Final = 0.005
"""Between two looks at the lanes, each a quarter of a millisecond for a hundred of them."""

QUIET_LOOKS: Final = 200
QUIET_SECONDS: Final = 0.02
"""Between two, once so many brought nothing, some second: a relay with nothing to do takes a hundredth of a core, and
what comes then is known soon enough."""

POLL_BYTES: Final = 1 << 20
"""Taken in one go: what the store's thread does within some milliseconds."""

RETRY_FIRST_SECONDS: Final = 0.05
RETRY_MOST_SECONDS: Final = 2.0
"""Back-off while the database is away, doubled with jitter: a restart or a failover takes a second or some."""

Tell: TypeAlias = "Callable[[Notice], object]"
Hear: TypeAlias = Callable[[Any, Answer], None]


class Sharing:
    """I follow what others do with one store; of a store that is ours alone there is nothing to follow."""

    def __init__(self, lost: Callable[[BaseException], None], reactor: Any) -> None:
        """``lost`` is called when the store is to be opened again."""
        self._lost = lost
        self._reactor = reactor
        self._listeners: list[tuple[Tell, Callable[[], object]]] = []
        self._ended = threading.Event()
        self._taken = threading.Event()
        self._outcome: Any = None
        self._chance = machine_of(reactor).chance

    def begin(self, shared: Shared, begins: Position, hear: Hear, name: str) -> None:
        """Follow the lanes from ``begins`` on; ``hear`` queues what is new."""
        arguments = (shared, begins, hear)
        threading.Thread(target=self._follow, args=arguments, name=f"{name} lanes", daemon=True).start()

    def listen(self, tell: Tell, stop: Callable[[], object]) -> Callable[[], None]:
        """Give notices to ``tell``, and call ``stop`` once nothing comes from the store any more; returns how to end
        that."""
        listener = (tell, stop)
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def delivered(self, delivery: Delivery) -> None:
        """This became of a commit."""
        if isinstance(delivery.error, StoreWentBackError):
            self._went_back(delivery.error)

    def stop(self) -> None:
        """Follow nothing any more; what is being read is not waited for."""
        self._ended.set()
        self._taken.set()

    # -- in the thread

    def _follow(self, shared: Shared, position: Position, hear: Hear) -> None:
        from gossiplog import notices  # which a store that is ours alone does without

        away_since, failures = 0.0, 0
        pause = POLL_SECONDS
        beats_at = 0.0
        quiet = 0
        with suppress(RuntimeError):  # the reactor's loop is closed
            while not self._ended.wait(pause):
                try:
                    changes, following = shared.poll(position, POLL_BYTES)
                    if changes:
                        self._take(hear, Learn(tuple(changes)))
                    position = following
                    quiet = 0 if changes else quiet + 1
                    if monotonic() >= beats_at:
                        beats_at = monotonic() + BEAT_SECONDS
                        with suppress(StoreError):  # the next poll knows more
                            shared.beat()
                except StoreWentBackError as error:
                    self._reactor.callFromThread(self._went_back, error)
                    return
                except Exception as error:
                    if not failures:
                        away_since = monotonic()
                        self._reactor.callFromThread(self._tell, notices.StoreFailing(_fit(error), False))
                    pause = back_off(failures, RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS, self._chance)
                    failures += 1
                else:
                    if failures:
                        failures = 0
                        back = notices.StoreReachable(monotonic() - away_since)
                        self._reactor.callFromThread(self._tell, back)
                    pause = POLL_SECONDS if quiet < QUIET_LOOKS else QUIET_SECONDS

    def _take(self, hear: Hear, request: Learn) -> None:
        """Have the store's thread take it, and wait for that; raises why it did not."""
        self._outcome = None
        self._taken.clear()
        hear(request, self._answered)
        if not self._ended.is_set():
            self._taken.wait()
        if isinstance(self._outcome, BaseException):
            raise self._outcome

    # -- on the reactor

    def _answered(self, outcome: Any) -> None:
        self._outcome = outcome
        self._taken.set()

    def _tell(self, notice: Notice) -> None:
        if not self._ended.is_set():
            call_each(self._reactor, [tell for tell, _ in self._listeners], notice)

    def _went_back(self, error: StoreWentBackError) -> None:
        from gossiplog import notices  # which a store that is ours alone does without

        if self._ended.is_set():
            return
        self._tell(notices.StoreFailing(error, True))
        self.stop()
        call_each(self._reactor, [stop for _, stop in self._listeners])
        self._lost(error)


def _fit(error: Exception) -> StoreError:
    return error if isinstance(error, StoreError) else StoreError(f"internal error: {error}")
