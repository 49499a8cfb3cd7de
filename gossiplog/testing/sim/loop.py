"""A replica's loop: events in, effects carried out.

Responsible for: in virtual time, what :class:`gossiplog.net.driver.Driver` does on a reactor.
Must not know: how nodes start, crash and connect.
Invariant: events are handled one at a time, in the order they came; effects of one are carried out before the next;
every message passes through the real codec.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from gossiplog import limits
from gossiplog.errors import ByeCode, StoreError, StoreFullError
from gossiplog.gossip import backlog, events
from gossiplog.gossip.events import Event
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Bye
from gossiplog.gossip.outbox import FEW_BYTES, PROOF, weight
from gossiplog.gossip.replica import Replica
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.disk_cost import Weights
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import segment_bytes
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, AddFork, CommitReport, FillRow, RowFilled, Stale
from gossiplog.testing.sim.dialer import SimDialer
from gossiplog.testing.sim.disk import Disk, Job
from gossiplog.testing.sim.pipes import PipeEnd
from gossiplog.testing.sim.watching import Watcher
from gossiplog.testing.sim.world import LocalClock, Timer, World
from gossiplog.wire.codec import encode


class Carrier:
    """I give a replica its events and do what it says."""

    world: World
    clock: LocalClock
    watcher: Watcher[Carrier]
    name: str
    backend: MemoryBackend
    local: tuple[bytes, ...]
    disk: Disk
    held: MovingClock
    holdings: Heads
    weights: Weights
    replica: Replica

    def __init__(self) -> None:
        self.up = False
        self.frozen = False
        self.dialers: list[SimDialer] = []
        self.notices: list[events.Notice] = []
        self.reset()
        self._do: dict[type[Any], Callable[[Any], None]] = {
            events.Send: self._send,
            events.End: self._end,
            events.StoreSegment: self._write,
            events.StoreFork: self._write_fork,
            events.FillHoles: self._fill,
            events.FindHoles: self._find_holes,
            events.Load: self._load,
            events.LoadPayloads: self._load_payloads,
            events.Examine: self._examine,
            events.Reading: self._read,
        }

    def reset(self) -> None:
        """Begin anew, with no connections."""
        self.ends: dict[int, PipeEnd] = {}
        self.peers: dict[int, bytes] = {}
        self._queue: deque[Event] = deque()
        self._busy = False
        self._given: Counter[int] = Counter()
        self._timer: Timer | None = None
        self._failing = False
        self._unwritten: dict[bytes, ForkProof] = {}

    # -- the disk reports

    def _committed(self, jobs: Sequence[Job], outcome: CommitReport) -> None:
        self.watcher.committed(self, jobs, outcome)

    def _told(self, jobs: Sequence[Job], outcome: CommitReport) -> None:
        self.weights.change(*outcome.weighed)
        for author in outcome.forgotten:
            self.held.discard(author)
        for author, head in outcome.heads.items():
            self.held.set(author, head)
        stale = tuple(
            job.request.segment.author
            for job, result in zip(jobs, outcome.results, strict=False)
            if isinstance(result, Stale) and isinstance(job.request, Accept)
        )
        if outcome.forgotten:
            self.handle(events.Forgotten(outcome.forgotten))
        if lighter := tuple(author for author, change in outcome.changes.items() if change < 0):
            self.handle(events.Lightened(lighter))
        if outcome.segments or stale:
            self.handle(events.Committed(tuple(outcome.segments), 0, stale))

    def _answer(self, size: int) -> Callable[[Any], None]:
        def written(value: Any) -> None:
            if isinstance(value, StoreError):
                final = not isinstance(value, StoreFullError)
                if not (final and self._failing):
                    self._failing = final
                    self.handle(events.CommitFailed(final))
            self.handle(events.Committed((), size))

        return written

    # -- the loop

    def handle(self, event: Event) -> None:
        """Give the replica an event, now or when it is done with those before."""
        self._queue.append(event)
        if not self._busy and not self.frozen:
            self._work()

    def _work(self) -> None:
        self._busy = True
        while self._queue and self.up:
            event = self._queue.popleft()
            effects = self.replica.handle(event, self.clock.now)
            for effect in effects:
                carry_out = self._do.get(type(effect))
                if carry_out is None:
                    self._tell(effect)  # type: ignore[arg-type]
                else:
                    carry_out(effect)
            self.watcher.handled(self, event, effects)
            if isinstance(event, events.Closed):
                del self.ends[event.session]
            if not self._queue:
                self._refill()
        self._busy = False
        self._set_timer()

    def _refill(self) -> None:
        for session in [session for session, size in self._given.items() if size >= FEW_BYTES]:
            end = self.ends.get(session)
            if end is None:
                del self._given[session]
            elif not end.paused:
                del self._given[session]
                self._queue.append(events.Writable(session))

    def _set_timer(self) -> None:
        deadline = self.replica.deadline
        if self._timer is not None and self._timer.active:
            if deadline is not None and self.clock.due(deadline) >= self._timer.when:
                return
            self._timer.cancel()
        self._timer = None
        if deadline is not None and self.up:
            self._timer = self.world.at(self.clock.due(deadline), lambda: self.handle(events.Tick()))

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
            self._queue.append(events.Closed(effect.session, ByeCode.LIMIT, "left too much unread"))

    def _end(self, effect: events.End) -> None:
        end = self.ends.get(effect.session)
        if end is not None and not (end.closing or end.gone):
            if not effect.by_peer:
                bye = Bye(effect.code, effect.reason)
                frame = encode(bye)
                self.watcher.sent(self, effect.session, bye, len(frame))
                end.write(frame)
            end.close()

    def _write(self, effect: events.StoreSegment) -> None:
        segment, head = effect
        self.disk.write(Accept(segment, head), self._answer(effect.size_bytes))

    def _write_fork(self, effect: events.StoreFork) -> None:
        author, answer = effect.proof.author, self._answer(effect.size_bytes)

        def written(value: Any) -> None:
            if not isinstance(value, StoreError):
                self._unwritten.pop(author, None)
                self.handle(events.ForkWritten(author, True))
            answer(value)

        self._unwritten[author] = effect.proof
        self.disk.write(AddFork(effect.proof), written)

    def _load(self, effect: events.Load) -> None:
        session, wants, limit_bytes, holes = effect
        unwritten = {author: self._unwritten.get(author) for author, first in wants if first == PROOF}

        def read(logs: Logs) -> backlog.Backlog:
            def proof_of(author: bytes) -> ForkProof:
                return unwritten[author] or logs.fork_proof(author)

            return backlog.read(wants, limit_bytes, logs.segments, proof_of, holes=holes)

        self.disk.call(
            read,
            lambda value: self.handle(
                events.Loaded(session, *(((),) if isinstance(value, StoreError) else value))
            ),
        )

    def _load_payloads(self, effect: events.LoadPayloads) -> None:
        session, author, ranges, limit_bytes = effect
        self.disk.call(
            lambda logs: backlog.payloads(
                author, ranges, limit_bytes, logs.segments, logs.clock.head(author)
            ),
            lambda value: self.handle(
                events.PayloadsLoaded(
                    session,
                    author,
                    backlog.Payloads() if isinstance(value, StoreError) else value,
                )
            ),
        )

    def _find_holes(self, effect: events.FindHoles) -> None:
        session, after, limit = effect
        self.disk.call(
            lambda logs: tuple(logs.holed_after(after, limit)),
            lambda value: self.handle(
                events.HolesFound(session, () if isinstance(value, StoreError) else value)
            ),
        )

    def _fill(self, effect: events.FillHoles) -> None:
        session, segment, is_answer = effect
        written = self._answer(segment_bytes(segment))

        def filled(value: Any) -> None:
            found = value if isinstance(value, RowFilled) else RowFilled()
            found = found._replace(vain_bytes=0) if is_answer else found
            self.handle(events.HolesFilled(session, segment.author, *found))
            written(value)

        self.disk.write(FillRow(segment), filled)

    def _examine(self, effect: events.Examine) -> None:
        session, theirs = effect
        self.disk.call(
            lambda logs: logs.examine(theirs),
            lambda value: self.handle(
                events.Examined(session, theirs, None if isinstance(value, StoreError) else value)
            ),
        )

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
