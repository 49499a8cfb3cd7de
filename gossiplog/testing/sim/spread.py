"""How entries spread: over how many hops, and how long until the last node has them.

Responsible for: following entries from their author to every node; the time that the shortest path would take.
Must not know: what a good figure is; how entries are sent.
Invariant: memory is one byte per entry followed and node.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gossiplog.log.segment import Segment
from gossiplog.testing.sim.loop import Carrier
from gossiplog.testing.sim.wires import Net

MAX_HOPS = 254

CURVE_SECONDS = 0.1
"""So often at most a curve is looked at."""


class Trip:
    """One entry's way: when its author's node had it on disk, and who has it since then over how many hops."""

    __slots__ = ("begun", "hops", "last", "origin", "reached")

    def __init__(self, origin: str, number: int, begun: float) -> None:
        self.origin = origin
        self.begun = begun
        self.last = begun
        self.reached = 1
        self.hops = bytearray(number + 1)
        self.hops[number] = 1

    def reach(self, number: int, sender: int, now: float) -> None:
        """``number`` has it from ``sender``; the first time counts.  Hops are kept one higher: 0 is not yet."""
        hops = self.hops
        if len(hops) <= number:
            hops.extend(bytes(number + 1 - len(hops)))
        if not hops[number]:
            before = hops[sender] if sender < len(hops) else 0
            hops[number] = min(max(before, 1), MAX_HOPS) + 1
            self.reached += 1
            self.last = now


class Delivery(NamedTuple):
    """How entries spread.  ``late`` are times until the last node had it, as multiples of the shortest path's, sorted.

    ``undelivered`` are entries that some node did not get.
    """

    entries: int
    undelivered: int
    hops_mean: float
    hops_max: int
    seconds_mean: float
    late: tuple[float, ...]

    @property
    def late_mean(self) -> float:
        """The last delivery as a multiple of the shortest-path time, on average."""
        return sum(self.late) / len(self.late) if self.late else 0.0

    def late_within(self, share: float) -> float:
        """The same, as it is for this share of the entries at most."""
        return self.late[min(int(len(self.late) * share), len(self.late) - 1)] if self.late else 0.0


class Spread:
    """I follow the entries that become durable at their author while :attr:`following`.

    ``held`` is how many entries each node has on disk, ``written`` how many there are, ``last_new`` when a disk took
    the last one, ``curve`` how all that grew: (time, written, held on average, held by who has least).
    """

    def __init__(self) -> None:
        self.following = True
        self.trips: dict[tuple[bytes, int], Trip] = {}
        self.held: dict[str, int] = {}
        self.written = 0
        self.last_new = 0.0
        self.curve: list[tuple[float, int, float, int]] = []
        self._heads: dict[bytes, int] = {}
        self._numbers: defaultdict[str, int] = defaultdict(lambda: len(self._numbers))

    def started(self, node: Carrier, disk: Mapping[bytes, int]) -> None:
        """A node runs, on a disk that holds so much."""
        self.held[node.name] = sum(disk.values())
        for author, seq in disk.items():
            self._reach(author, seq)

    def committed(self, node: Carrier, segments: Sequence[Segment]) -> None:
        """A node has these on disk."""
        now = node.world.now
        due = not self.curve or now >= self.curve[-1][0] + CURVE_SECONDS
        if due:
            self.sample(self.last_new)  # between two changes a curve is level
            self.sample(now)
        for segment in segments:
            self.held[node.name] = self.held.get(node.name, 0) + segment.count
            self._reach(segment.author, segment.last)
        self.last_new = now
        if due:
            self.sample(now)

    def sample(self, now: float) -> None:
        """Add a point to the curve."""
        held = self.held.values()
        self.curve.append((now, self.written, sum(held) / max(1, len(held)), min(held, default=0)))

    def _reach(self, author: bytes, seq: int) -> None:
        known = self._heads.get(author, 0)
        if seq > known:
            self.written += seq - known
            self._heads[author] = seq

    def durable(self, node: Carrier, segment: Segment) -> None:
        """A node knows that it has this on disk; it is new when it is its author's."""
        if self.following and segment.author in node.local:
            number = self._numbers[node.name]
            for seq in range(segment.first, segment.last + 1):
                self.trips.setdefault((segment.author, seq), Trip(node.name, number, node.world.now))

    def received(self, node: Carrier, sender: str, segment: Segment, held: int) -> None:
        """A node that held the log up to ``held`` received this."""
        if segment.first > held + 1:
            return
        author = segment.author
        for seq in range(held + 1, segment.last + 1):
            trip = self.trips.get((author, seq))
            if trip is not None:
                trip.reach(self._numbers[node.name], self._numbers[sender], node.world.now)

    def report(self, net: Net, nodes: int) -> Delivery:
        """How the entries followed spread, over the links there are now, to so many ``nodes``."""
        furthest = {
            origin: max(distances(net, origin).values()) for origin in {t.origin for t in self.trips.values()}
        }
        done = [trip for trip in self.trips.values() if trip.reached == nodes]
        hops = [hop - 1 for trip in self.trips.values() for hop in trip.hops if hop > 1]
        return Delivery(
            len(self.trips),
            len(self.trips) - len(done),
            sum(hops) / max(1, len(hops)),
            max(hops, default=0),
            sum(trip.last - trip.begun for trip in done) / max(1, len(done)),
            tuple(sorted((trip.last - trip.begun) / (furthest[trip.origin] or 1.0) for trip in done)),
        )


def distances(net: Net, origin: str) -> dict[str, float]:
    """Seconds that a small frame takes from ``origin`` to every party, on average, over the shortest path."""
    near: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for link in net.links:
        for end in link.ends:
            near[end.party.name].append((end.other.party.name, end.way.quality.mean_delay))
    found: dict[str, float] = {}
    queue = [(0.0, origin)]
    while queue:
        distance, name = heapq.heappop(queue)
        if name not in found:
            found[name] = distance
            for other, delay in near[name]:
                heapq.heappush(queue, (distance + delay, other))
    return found
