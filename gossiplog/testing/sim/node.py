"""A node without Twisted: a replica, a disk and connections in virtual time.

Responsible for: starting, crashing, freezing and restarting; what its connections report.
Must not know: what a simulation is about to prove; it tells its watcher everything.
Invariant: what survives a crash is what its disk holds, its id and its writers, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gossiplog.errors import ByeCode, PeerError
from gossiplog.gossip import events
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import KEPT_AS, Choices, Interest
from gossiplog.gossip.loop import Loop
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.quotas import QuotaLedger, Quotas
from gossiplog.gossip.replica import Replica
from gossiplog.live.kept_choices import Change, KeptChoices
from gossiplog.live.store_front import StoreFront
from gossiplog.log.body import encode_body
from gossiplog.log.disk_cost import Weights
from gossiplog.store.held import Held
from gossiplog.store.interface import PutMeta
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Append, Appended, CommitReport, Forget
from gossiplog.testing.sim.disk import Disk, Speed
from gossiplog.testing.sim.loop import Carrier
from gossiplog.testing.sim.paging import Paging, page
from gossiplog.testing.sim.pipes import PipeEnd
from gossiplog.testing.sim.watching import Watcher
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import LocalClock, LocalTimers, World
from gossiplog.wire.codec import decode


class SimNode(Carrier):
    """I am one node; between :meth:`crash` and :meth:`start` only my disk exists."""

    def __init__(
        self,
        world: World,
        net: Net,
        name: str,
        backend: MemoryBackend,
        watcher: Watcher[Carrier],
        speed: Speed | None = None,
    ) -> None:
        self.world = world
        self.clock = LocalClock(world)
        self.net = net
        self.name = name
        self.backend = backend
        self.watcher = watcher
        self.speed = speed or Speed()
        self.quotas = Quotas()
        self.mode = Mode.BOTH
        self.paging: Paging | None = None
        self.random = world.child()
        self.id = self.random.randbytes(32)
        self._sessions = 0
        super().__init__()

    # -- running

    def start(self) -> None:
        """Run, on what the disk holds."""
        random = self.world.child()
        logs = Logs(self.backend, random.randbytes)
        self.disk = Disk(self.world, random, logs, self.speed, self._committed, self._delivered)
        self.backend.fault = self.disk.fault
        self.local = tuple(logs.writers().values())
        held = Held.of(logs)
        weights = held.weigh(logs.weighing.begin())
        assert isinstance(weights, Weights)  # whose clock is in memory
        self.weights = weights
        timers = LocalTimers(self.world, self.clock)
        self.front = StoreFront(self.disk, held, logs.copied, timers)
        self.heads = Heads(held.clock, held.forks, held.local, logs.holed_authors())
        instance = self.random.randbytes(16)
        kept = logs.meta(KEPT_AS)
        self.choices = Choices.load(kept, held.local)
        heads = self.heads
        if self.paging is not None:
            heads = page(held, self.heads, self.paging, {*self.choices.chosen, *self.choices.blocked})
        self.replica = Replica(self.id, instance, heads, agent=self.name, mode=self.mode)
        told = lambda authors: self.handle(events.InterestChanged(tuple(authors)))  # noqa: E731
        self._kept = KeptChoices(self.choices, kept, self.front.write, told, timers)
        self.replica.limit_to(self.choices, QuotaLedger(self.quotas, self.weights, held.local))
        self.loop = Loop(self.replica, self.front, self, lambda: None)
        self.reset()
        self.up = True
        self.world.note(f"{self.name} starts")
        self.watcher.started(self)
        for dialer in self.dialers:
            dialer.begin()

    def crash(self, *, silent: bool = False) -> None:
        """Stop between two instructions; with ``silent`` the machine is gone and nobody is told."""
        if not self.up:
            return
        self.world.note(f"{self.name} crashes")
        self.up = self.frozen = False
        self.loop.end()
        self._kept.close()
        self.disk.crash()
        self.backend = self.backend.reopen()
        for dialer in self.dialers:
            dialer.end()
        if self._timer is not None:
            self._timer.cancel()
        for link in tuple(self.net.links):
            dialled, answered = (end.party is self for end in link.ends)
            if dialled or answered:
                link.ends[0 if dialled else 1].die(hears=False)
                link.cut(hears=(answered and not silent, dialled and not silent))

    def freeze(self, seconds: float) -> None:
        """Do nothing for a while, then everything that came meanwhile."""
        if self.up and not self.frozen:
            self.world.note(f"{self.name} freezes")
            self.frozen = self.loop.paused = True
            disk = self.disk
            self.world.after(seconds, lambda: self._thaw(disk))

    def _thaw(self, disk: Disk) -> None:
        if disk is self.disk and self.frozen:
            self.frozen = self.loop.paused = False
            self.world.note(f"{self.name} goes on")
            self.loop.handle()

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.world.note(f"{self.name} sets its clock by {seconds:.2f}")
        self.clock.offset += seconds
        if self.up and self._timer is not None:
            self._timer.cancel()
            self.rested(self.replica.deadline)

    def append(self, author: bytes, payloads: Sequence[bytes]) -> None:
        """Append to a local log; the watcher hears when it succeeded."""
        if not self.up:
            return
        bodies = [encode_body(max(0, int(self.clock.now * 1000)), payload) for payload in payloads]

        def answer(value: Any) -> None:
            if isinstance(value, Appended):
                self.watcher.acknowledged(self, author, value.last)

        self.front.append(Append(author, bodies), answer)

    def only_followed(self) -> None:
        """Want nobody but those followed; before it is started."""
        choices = Choices.load(self.backend.meta(KEPT_AS), set())
        choices.mode = Interest.WANTED
        self.backend.commit([PutMeta(KEPT_AS, choices.dump())])

    def choose(self, change: Change, *authors: bytes, delete: bool = False) -> None:
        """Change the choices (``Choices.follow`` and its like) and write them down; ``delete`` what is held."""

        def done(reply: Any) -> None:
            for author in authors if delete and not isinstance(reply, BaseException) else ():
                self.front.write(Forget(author), lambda _: None)

        self._kept.change(change, authors, done)

    def _noted(self, report: CommitReport) -> None:
        self._kept.committed(report)

    # -- connections report (gossiplog.testing.sim.pipes.Party)

    def established(self, end: PipeEnd) -> None:
        """A session begins."""
        if not self.up:
            return
        end.session = self._sessions
        self._sessions += 1
        self.ends[end.session] = end
        self.handle(events.Opened(end.session, end.other.party.id, end.salt, end.initiator))

    def received(self, end: PipeEnd, frame: bytes) -> None:
        """A frame came."""
        if not self.up:
            return
        try:
            message = decode(frame)
        except PeerError as error:
            self.handle(events.Offended(end.session, error))
            return
        self.watcher.received(self, end.other.party.name, message, len(frame))
        self.handle(events.Received(end.session, message))

    def trickled(self, end: PipeEnd) -> None:
        """Part of a frame came."""
        if self.up:
            self.handle(events.Heard(end.session))

    def drained(self, end: PipeEnd) -> None:
        """The connection takes more."""
        if self.up:
            self.handle(events.Writable(end.session))

    def lost(self, end: PipeEnd) -> None:
        """It is gone."""
        if not self.up:
            return
        if end.session in self.ends:
            self.handle(events.Closed(end.session, ByeCode.NORMAL, "connection lost"))
        for dialer in self.dialers:
            dialer.lost(end)
