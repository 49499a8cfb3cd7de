"""The loop of one node: events in, effects carried out.

Responsible for: giving a replica its events one at a time, and its effects to the store and to whoever has the links.
Must not know: what time is made of, how bytes travel, threads: a reactor and a simulator run this same loop.
Invariant: events are handled in the order they came, and effects of one are carried out before the next, whatever they
lead to; once it is over nothing is handled any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.replica import Replica
from gossiplog.gossip.store_effects import Store, StoreEffects, Teller


class Surroundings(Teller, Protocol):
    """Where a loop runs: links, the time, the application."""

    def seconds(self) -> float:
        """Return the time."""

    def carry_out(self, effect: Any) -> None:
        """Do what an effect says that does not concern the store."""

    def answered(self, event: Event) -> None:
        """This was read: give it to :meth:`Loop.handle`, when it is the turn of its session."""

    def handled(self, event: Event, effects: Sequence[Effect]) -> None:
        """An event is done, and its effects."""

    def flush(self) -> None:
        """Nothing is left to be handled: what was sent may go out."""

    def failed(self, culprit: Event | Effect) -> None:
        """This raised what is being handled: end the session that provoked it and no other, or raise it."""

    def interrupted(self) -> None:
        """The loop was left with events in it: call :meth:`Loop.handle` again soon."""

    def rested(self, deadline: float | None) -> None:
        """Everything is handled; :class:`~gossiplog.gossip.events.Tick` is due at ``deadline``."""


class Loop:
    """I run one replica between its store and ``around``."""

    def __init__(
        self, replica: Replica, store: Store, around: Surroundings, done: Callable[[], None]
    ) -> None:
        """``done`` hears that something of the store is over."""
        self.replica = replica
        self.over = False
        self.paused = False
        self._around = around
        self._queue: deque[Event] = deque()
        self.busy = False
        self.disk = StoreEffects(store, self.handle, around.answered, around, done)
        self._do: dict[type[Any], Callable[[Any], None]] = {
            events.StoreSegment: self.disk.write,
            events.StoreFork: self.disk.write_fork,
            events.FillHoles: self.disk.fill,
            events.FindHoles: self.disk.find_holes,
            events.Load: self.disk.load,
            events.LoadPayloads: self.disk.load_payloads,
            events.Examine: self.disk.examine,
            events.Bring: self.disk.bring,
            events.OwnAhead: lambda effect: store.own_ahead(effect.author, effect.seq, effect.proven),
            events.End: self._end,
        }

    def handle(self, *new: Event) -> None:
        """Give the replica these events, now or when it is done with those before."""
        if self.over:
            return
        self._queue.extend(new)
        if self.busy or self.paused:
            return
        self.busy = True
        try:
            while self._queue and not self.over:
                self._handle_one(self._queue.popleft())
                if not self._queue:
                    self._around.flush()
        finally:
            self.busy = False
            if self._queue and not self.over:  # Ctrl-C, between two of them
                self._around.interrupted()
        if not self.over:
            self._around.rested(self.replica.deadline)

    def end(self) -> None:
        """Handle nothing any more."""
        self.over = True
        self._queue.clear()

    def gone(self, session: int) -> None:
        """The connection of a session is gone: nothing is read for it any more."""
        self.disk.forget(session)

    def _handle_one(self, event: Event) -> None:
        try:
            effects = self.replica.handle(event, self._around.seconds())
        except BaseException:
            self._around.failed(event)
            return
        for effect in effects:
            do = self._do.get(type(effect), self._around.carry_out)
            try:
                do(effect)
            except BaseException:
                self._around.failed(effect)
        self._around.handled(event, effects)

    def _end(self, effect: events.End) -> None:
        self.disk.forget(effect.session)
        self._around.carry_out(effect)
