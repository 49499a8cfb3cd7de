"""Virtual time: what happens next, and a trace of what happened.

Responsible for: the queue of events, the time, the one source of randomness, the trace and its hash.
Must not know: nodes, links, stores; they put functions into the queue.
Invariant: the same seed gives the same trace.  Everything random comes from :attr:`World.random` or a child of it,
events of one instant run in the order in which they were put in, and nothing looks at a real clock.

>>> world = World(seed=1)
>>> _ = world.after(2.0, lambda: world.note("later"))
>>> world.run(until=5.0)
>>> world.now, [*world.recent]
(5.0, ['2.000000 later'])
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any

RECENT = 60
"""Lines of the trace kept for a failure's message."""

ROUNDING_SECONDS = 1e-6
"""What converting between two clocks may lose."""


class Timer:
    """Something that is going to happen, unless cancelled."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None] | None) -> None:
        self.when = when
        self.action = action

    @property
    def active(self) -> bool:
        """Whether it is still to happen."""
        return self.action is not None

    def cancel(self) -> None:
        """Let it not happen."""
        self.action = None


class LocalClock:
    """What one node takes for the time: it begins anywhere, runs at a rate of its own, and may jump."""

    def __init__(self, world: World, offset: float = 0.0, rate: float = 1.0) -> None:
        self.offset = offset
        self.rate = rate
        self._world = world

    @property
    def now(self) -> float:
        """The time on this clock."""
        return self._world.now * self.rate + self.offset

    def due(self, when: float) -> float:
        """The world's time when this clock is going to show ``when``, and surely not a moment earlier."""
        if self.rate == 1.0 and not self.offset:
            return when
        return (when - self.offset) / self.rate + ROUNDING_SECONDS


class LocalTimers:
    """What of a reactor :class:`gossiplog.live.append_gate.AppendGate` asks for, on one node's clock."""

    def __init__(self, world: World, clock: LocalClock) -> None:
        self._world = world
        self._clock = clock

    def seconds(self) -> float:
        """The time on this clock."""
        return self._clock.now

    def callLater(self, delay: float, callable: Callable[..., Any], *about: Any) -> LocalCall:
        """Call later."""
        return LocalCall(self._world, delay / self._clock.rate, lambda: callable(*about))


class LocalCall:
    """A call that is going to be made, unless it is put off or cancelled."""

    def __init__(self, world: World, delay: float, call: Callable[[], None]) -> None:
        self._world = world
        self._call = call
        self._timer = world.after(delay, call)

    def active(self) -> bool:
        """Whether it is still going to be made."""
        return self._timer.active

    def reset(self, delay: float) -> None:
        """Call so much later than now instead."""
        self._timer.cancel()
        self._timer = self._world.after(delay, self._call)

    def cancel(self) -> None:
        """Do not."""
        self._timer.cancel()


class World:
    """I am the time and the chance of one simulation."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.events = 0
        self.recent: deque[str] = deque(maxlen=RECENT)
        self._queue: list[tuple[float, int, Timer]] = []
        self._order = 0
        self._digest = sha256()

    def after(self, delay: float, action: Callable[[], None]) -> Timer:
        """Do ``action`` in ``delay`` seconds."""
        self._order += 1
        timer = Timer(self.now + max(0.0, delay), action)
        heapq.heappush(self._queue, (timer.when, self._order, timer))
        return timer

    def at(self, when: float, action: Callable[[], None]) -> Timer:
        """Do ``action`` at the time ``when``, or now when that is past."""
        return self.after(when - self.now, action)

    def child(self) -> Random:
        """A source of randomness of its own: what one part draws does not change what another gets."""
        return Random(self.random.getrandbits(64))

    def note(self, line: str) -> None:
        """Write a line of the trace."""
        line = f"{self.now:.6f} {line}"
        self._digest.update(line.encode() + b"\n")
        self.recent.append(line)

    @property
    def trace(self) -> str:
        """The hash of every line noted so far."""
        return self._digest.hexdigest()

    def run(self, until: float) -> None:
        """Let time pass."""
        while self.step(until):
            pass
        self.now = until

    def step(self, until: float) -> bool:
        """Do the next thing that is due by then; False when there is none."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            timer = heapq.heappop(queue)[2]
            action, timer.action = timer.action, None
            if action is not None:
                self.now = timer.when
                self.events += 1
                action()
                return True
        return False
