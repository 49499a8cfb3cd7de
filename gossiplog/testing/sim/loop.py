"""Where a replica's loop runs, in virtual time.

Responsible for: what :class:`gossiplog.net.driver.Driver` does on a reactor: links, the time, the application.
Must not know: how nodes start, crash and connect; what the loop does, which is the driver's own.
Invariant: every message passes through the real codec.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gossiplog import limits
from gossiplog.errors import ByeCode, StoreError
from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.loop import Loop
from gossiplog.gossip.messages import Bye
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.outbox import FEW_BYTES, weight
from gossiplog.gossip.replica import Replica
from gossiplog.live.job_queue import WriteJob
from gossiplog.live.store_front import StoreFront
from gossiplog.log.disk_cost import Weights
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import CommitReport, Delivery
from gossiplog.testing.sim.dialer import SimDialer
from gossiplog.testing.sim.disk import Disk
from gossiplog.testing.sim.pipes import PipeEnd
from gossiplog.testing.sim.watching import Watcher
from gossiplog.testing.sim.world import LocalClock, Timer, World
from gossiplog.wire.codec import encode


class Carrier:
    """I am around the loop of one node."""

    world: World
    clock: LocalClock
    watcher: Watcher[Carrier]
    name: str
    id: bytes
    mode: Mode
    backend: MemoryBackend
    local: tuple[bytes, ...]
    disk: Disk
    front: StoreFront
    heads: Heads
    weights: Weights
    replica: Replica
    loop: Loop

    def __init__(self) -> None:
        self.up = False
        self.frozen = False
        self.dialers: list[SimDialer] = []
        self.notices: list[events.Notice] = []
        self.failures: list[BaseException] = []
        self.reset()
        self._do: dict[type[Any], Callable[[Any], None]] = {
            events.Send: self._send,
            events.End: self._end,
            events.Reading: self._read,
        }

    def reset(self) -> None:
        """Begin anew, with no connections."""
        self.ends: dict[int, PipeEnd] = {}
        self.peers: dict[int, bytes] = {}
        self._given: Counter[int] = Counter()
        self._timer: Timer | None = None

    def handle(self, event: Event) -> None:
        """Give the replica an event, now or when it is done with those before."""
        self.loop.handle(event)

    # -- the disk reports

    def _committed(self, jobs: Sequence[WriteJob], outcome: CommitReport) -> None:
        self.watcher.committed(self, jobs, outcome)

    def _delivered(self, delivery: Delivery) -> None:
        disk = self.disk
        if delivery.report is not None or delivery.brought_bytes:
            for part in delivery.parts():
                if part.report is not None:
                    self._noted(part.report)
                self.loop.disk.delivered(self.front.delivered(part))
        for answer, value in delivery.answers:
            if disk.dead:
                return
            answer(value)

    def _noted(self, report: CommitReport) -> None:
        """A batch is durable, and the node is about to hear of it."""

    # -- the loop runs here (gossiplog.gossip.loop.Surroundings)

    def seconds(self) -> float:
        """The time on this node's clock."""
        return self.clock.now

    def carry_out(self, effect: Any) -> None:
        """Do what an effect says of connections, or note what the application is told."""
        self._do.get(type(effect), self._tell)(effect)

    def answered(self, event: Event) -> None:
        """Something was read."""
        self.handle(event)

    def handled(self, event: Event, effects: Sequence[Effect]) -> None:
        """An event is done."""
        self.watcher.handled(self, event, effects)
        if isinstance(event, events.Closed):
            del self.ends[event.session]
            self.loop.gone(event.session)

    def flush(self) -> None:
        """Tell the replica which connections took all of what they were given."""
        for session in [session for session, size in self._given.items() if size >= FEW_BYTES]:
            end = self.ends.get(session)
            if end is None:
                del self._given[session]
            elif not end.paused:
                del self._given[session]
                self.handle(events.Writable(session))

    def failed(self, culprit: object) -> None:
        """End the simulation."""
        raise  # what is being handled

    def interrupted(self) -> None:
        """The simulation ends."""

    def rested(self, deadline: float | None) -> None:
        """Be there when it is time."""
        if self._timer is not None and self._timer.active:
            if deadline is not None and self.clock.due(deadline) >= self._timer.when:
                return
            self._timer.cancel()
        self._timer = None
        if deadline is not None and self.up:
            self._timer = self.world.at(self.clock.due(deadline), lambda: self.handle(events.Tick()))

    def failing(self, error: BaseException, final: bool) -> None:
        """A commit failed; for what nobody meant, the simulation ends."""
        if not isinstance(error, StoreError):
            raise error
        self.failures.append(error)

    def broke(self, error: BaseException) -> None:
        """A read failed."""
        raise error

    def damaged(self, author: bytes | None, first: int, last: int, reason: str) -> None:
        """No disk of ours damages anything."""
        raise AssertionError(reason)

    # -- effects

    def _send(self, effect: events.Send) -> None:
        end = self.ends.get(effect.session)
        if end is None or end.closing or end.gone:
            return
        frame = encode(effect.message)
        self.watcher.sent(self, effect.session, effect.message, len(frame))
        end.write(frame)
        self._given[effect.session] += weight(effect.message, len(frame))
        if end.paused and end.unread_bytes > limits.MAX_UNSENT_BYTES + limits.OUTPUT_WINDOW_BYTES:
            self.handle(events.Closed(effect.session, ByeCode.LIMIT, "left too much unread"))

    def _end(self, effect: events.End) -> None:
        end = self.ends.get(effect.session)
        if end is not None and not (end.closing or end.gone):
            if not effect.by_peer:
                bye = Bye(effect.code, effect.reason)
                frame = encode(bye)
                self.watcher.sent(self, effect.session, bye, len(frame))
                end.write(frame)
            end.close()

    def _read(self, effect: events.Reading) -> None:
        end = self.ends.get(effect.session)
        if end is not None:
            end.read(effect.allowed)

    def _tell(self, notice: events.Notice) -> None:
        self.notices.append(notice)
        if isinstance(notice, events.PeerUp):
            self.peers[notice.session] = notice.peer
            for dialer in self.dialers:
                dialer.succeeded(self.ends[notice.session])
        elif isinstance(notice, events.PeerDown):
            del self.peers[notice.session]
            for dialer in self.dialers:
                dialer.resume()
