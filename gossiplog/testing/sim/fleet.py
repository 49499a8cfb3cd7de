"""Relays that share a store, and peers that connect to them, by seed.

Responsible for: drawing who connects to whom, who appends what, and what goes wrong; what must hold at rest.
Must not know: how relays learn of each other.
Invariant: at rest every relay and every peer holds the same, whichever relay it came by; nothing that an author was
told is durable is lost, even when the database was put back to an earlier state while its peers were there.

Run one by hand: ``python -m gossiplog.testing.sim.fleet SEED``.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from random import Random

from gossiplog.app.printing import say
from gossiplog.gossip.interest import Choices
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.shared.memory import SharedMemory
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.paging import Paging
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.relay import SimRelay
from gossiplog.testing.sim.simulator import tight_limits

ACTIVE_SECONDS = 25.0
"""In which everything is appended and goes wrong."""

KINDS = ("crash", "unknown", "unknown", "full", "put back", "cut", "freeze", "stall", "block", "block")


class Fleet:
    """I am relays over one database, and peers, all in one simulated network."""

    def __init__(self, seed: int, paging: Paging | None = None) -> None:
        self.paging = paging
        self.cluster = Cluster(seed)
        self.database = SharedMemory()
        self.relays: list[SimRelay] = []
        self.peers: list[SimNode] = []
        self.blocked: list[bytes] = []

    def relay(self, speed: Speed | None = None) -> SimRelay:
        """Add a relay."""
        cluster, name = self.cluster, f"relay{len(self.relays)}"
        backend = MemoryBackend(name).join(self.database)
        relay = SimRelay(cluster.world, cluster.net, name, backend, cluster.checker, speed)
        relay.paging = self.paging
        relay.restored = cluster.checker.restored
        self.relays.append(relay)
        cluster.nodes.append(relay)
        return relay

    def peer(
        self, *relays: SimNode, writers: int | list[bytes] = 1, quality: Quality | None = None
    ) -> SimNode:
        """Add an ordinary node that dials these."""
        peer = self.cluster.add(writers)
        for relay in relays:
            self.cluster.connect(peer, relay, quality)
        self.peers.append(peer)
        return peer

    def put_back(self, backup: SharedMemory) -> None:
        """Put the database back to an earlier state: the primary failed, and a standby that was behind goes on."""
        self.cluster.world.note("the database goes back")
        self.database.put_back(backup)

    def settle(self) -> None:
        """Run to rest; everybody must hold the same then."""
        self.cluster.settle()
        first = self.relays[0]
        blocked = first.choices.blocked
        for relay in self.relays:
            self._require(
                relay.choices.dump() == first.choices.dump(), relay, "chose other authors than the relays"
            )
            if not self.database.put_back_times:
                held = [
                    author
                    for author in blocked & self.database.deletions.keys()
                    if author in relay.heads.clock
                ]
                self._require(not held, relay, "holds what was deleted and is blocked")
        for node in [*self.relays, *self.peers]:
            same = node.heads.forks - blocked == first.heads.forks - blocked
            self._require(same, node, "knows other forks than the relays")
            for author in first.heads.authors():
                if author not in first.heads.forks and author not in blocked:
                    same = node.heads.clock.head(author) == first.heads.clock.head(author)
                    self._require(same, node, "holds other entries than the relays")
        for author, seq in self.cluster.checker.acked.items():
            if author not in first.heads.forks and author not in blocked:
                self._require(first.heads.clock.seq(author) >= seq, first, f"never got entry {seq}")

    def _require(self, holds: bool, node: SimNode, fault: str) -> None:
        if not holds:
            raise InvariantError(f"at rest, {node.name} {fault}")


def run(seed: int, paging: Paging | None = None) -> Fleet:
    """Draw and run a fleet, of which each relay has so many heads in memory; raises InvariantError."""
    random = Random(seed)
    with tight_limits() if random.random() < 0.5 else nullcontext():
        fleet = Fleet(seed, paging)
        _build(fleet, random)
        for _ in range(random.randint(0, 8)):
            _go_wrong(fleet, random)
        try:
            fleet.cluster.run(ACTIVE_SECONDS + 10.0)
            fleet.settle()
        except InvariantError as error:
            recent = "\n  ".join(fleet.cluster.world.recent)
            raise InvariantError(f"seed {seed}: {error}\n  {recent}") from error
    return fleet


def _build(fleet: Fleet, random: Random) -> None:
    cluster = fleet.cluster
    for _ in range(random.randint(2, 4)):
        fleet.relay(Speed(commit=10 ** random.uniform(-3, -1), read=10 ** random.uniform(-3.5, -2)))
    common = cluster.shared_seed()
    forkers = set(random.sample(range(6), 2)) if random.random() < 0.5 else set()
    for number in range(random.randint(2, 6)):
        relays = random.sample(fleet.relays, random.choice((1, 1, 2)))
        delay = 10 ** random.uniform(-3, -0.7)
        seeds = [cluster.random.randbytes(32) for _ in range(random.randint(1, 3))]
        seeds += [common] * (number in forkers)
        fleet.peer(*relays, writers=seeds, quality=Quality(delay, delay / 10, 1e7))
    for node in cluster.nodes:
        cluster.world.at(random.choice((0.0, 0.0, random.uniform(0.0, 10.0))), node.start)
    for number in range(random.randint(5, 60)):
        peer, at = random.choice(fleet.peers), random.uniform(0.0, ACTIVE_SECONDS)
        append = partial(_append, peer, int(10 ** random.uniform(0.3, 4)), random.random(), number)
        cluster.world.at(at, append)


def _append(peer: SimNode, size: int, writer: float, number: int) -> None:
    if peer.up:
        author = peer.local[int(writer * len(peer.local))]
        peer.append(author, [number.to_bytes(2, "big") + bytes(size)])


def _go_wrong(fleet: Fleet, random: Random) -> None:
    kind, at, seconds = random.choice(KINDS), random.uniform(1.0, ACTIVE_SECONDS), random.uniform(0.1, 8.0)
    world = fleet.cluster.world
    relay = random.choice(fleet.relays)
    node = random.choice(fleet.cluster.nodes)
    if kind == "crash":
        world.at(at, lambda: node.crash(silent=True))
        world.at(at + seconds, lambda: None if node.up else node.start())
    elif kind == "freeze":
        world.at(at, lambda: node.freeze(seconds))
    elif kind == "cut":
        world.at(at, lambda: fleet.cluster.partition([node], silent=True))
        world.at(at + seconds, fleet.cluster.heal)
    elif kind == "put back":
        saved: list[SharedMemory] = []
        world.at(max(0.0, at - seconds), lambda: saved.append(fleet.database.backup()))
        world.at(at, lambda: fleet.put_back(saved[0]))
    elif kind == "block":
        chosen = [random.choice(fleet.relays) for _ in range(3)]
        world.at(at, lambda: _block(fleet, chosen, random.random() < 0.5, seconds))
    elif kind == "stall":
        world.at(at, lambda: relay.disk.stall() if relay.up else None)
        world.at(at + seconds, lambda: relay.disk.resume() if relay.up else None)
    else:
        fails = {"unknown": random.choice((DiskFault.KEPT, DiskFault.LOST)), "full": DiskFault.FULL}[kind]
        world.at(at, lambda: _fail(relay, fails))
        world.at(at + seconds, lambda: _fail(relay, None))


def _block(fleet: Fleet, relays: list[SimRelay], unblock: bool, seconds: float) -> None:
    """One relay blocks an author and deletes its log, another one blocks another at the same moment; a third one may
    take back one of that."""
    world = fleet.cluster.world
    writing = [author for peer in fleet.peers if peer.up for author in peer.local]
    fresh = [author for author in dict.fromkeys(writing) if author not in fleet.blocked]
    for relay, author in zip(relays, fresh[:2], strict=False):
        if relay.up:
            fleet.blocked.append(author)
            relay.choose(Choices.block, author, delete=True)
    if unblock and fleet.blocked:
        again = fleet.blocked[-1]
        world.after(seconds, lambda: relays[2].choose(Choices.unblock, again) if relays[2].up else None)


def _fail(relay: SimRelay, fault: DiskFault | None) -> None:
    if relay.up:
        relay.disk.fails = fault


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        done = run(int(argument))
        went_back = sum(relay.went_back for relay in done.relays)
        world = done.cluster.world
        say(f"{argument} {world.trace[:16]} {world.events} events, {went_back} saw the store go back")
