"""Connections: how they are made, shaken hands on, broken and counted.

Responsible for: which party can reach which, the handshake of simulated nodes, and cutting a connection in whatever is
being said.
Must not know: what is in a frame, beyond what a fault asks it to do with one; what the ends of a line are.
Invariant: a connection is known here until both of its sides are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Protocol

from gossiplog import limits
from gossiplog.testing.sim.pipes import Party, PipeEnd, Quality, Way
from gossiplog.testing.sim.world import World

HANDSHAKE_SIZES = (48, 96, 64)
"""The three handshake messages."""

Tamper = Callable[["PipeEnd", bytes], list[tuple[float, bytes]]]
"""What becomes of a frame: (extra delay, frame) for each copy that is to arrive; an extra delay breaks the order."""


class Station(Protocol):
    """Who is reached, or not."""

    name: str


class Line:
    """I am what is between two ends, whatever they say to each other: each has a ``party`` and a ``way``, and dies."""

    ends: tuple[Any, Any]

    def __init__(self, net: Net, quality: Quality) -> None:
        self.net = net
        self.world, self.random = net.world, net.random
        self.quality = quality

    def join(self, dialler: Any, listener: Any) -> None:
        """Be the line of these two."""
        self.ends = dialler, listener
        self.net.links.append(self)
        for end, other in (self.ends, self.ends[::-1]):
            if self.net.is_closed(end.party, other.party):
                end.way.hold()
        self.become(self.quality)

    def become(self, quality: Quality) -> None:
        """Be like this, in both directions, for what is sent from now on."""
        self.quality = quality
        for end in self.ends:
            end.way.quality = quality
        if quality.lasts:
            self.world.after(self.random.expovariate(1.0 / quality.lasts), self.cut)

    def ended(self) -> None:
        """An end is gone."""
        if all(end.gone for end in self.ends) and self in self.net.links:
            self.net.links.remove(self)

    def cut(self, *, hears: tuple[bool, bool] = (True, True)) -> None:
        """Break, in whatever is being said; each end learns of it soon, or (``hears``) not at all."""
        for end, told in zip(self.ends, hears, strict=True):
            end.way.swallows = True
            if told:
                delay = self.random.uniform(0, 2 * self.quality.delay)
                self.world.after(delay, lambda end=end: end.die(hears=True))  # type: ignore[misc]


class Wire(Line):
    """I am the connection of two simulated nodes, which shake hands in so many bytes and then send frames."""

    ends: tuple[PipeEnd, PipeEnd]

    def __init__(self, net: Net, dialler: Party, listener: Party, quality: Quality) -> None:
        super().__init__(net, quality)
        self.salt = net.random.randbytes(32)
        self.join(PipeEnd(self, dialler, True), PipeEnd(self, listener, False))

    def begin(self) -> None:
        """Start the handshake, which may not take for ever."""
        self.world.after(limits.HANDSHAKE_SECONDS, self._check_established)
        self.ends[0].carry("shake 1", bytes(HANDSHAKE_SIZES[0]), HANDSHAKE_SIZES[0])

    def tamper(self, end: PipeEnd, frame: bytes) -> list[tuple[float, bytes]]:
        """What becomes of a frame that ``end`` writes."""
        return self.net.tamper(end, frame)

    def shake(self, end: PipeEnd, step: str) -> None:
        """A handshake message arrived at ``end``."""
        if end.closing:
            return
        if step == "shake 1":
            end.carry("shake 2", bytes(HANDSHAKE_SIZES[1]), HANDSHAKE_SIZES[1])
            return
        if step == "shake 2":
            end.carry("shake 3", bytes(HANDSHAKE_SIZES[2]), HANDSHAKE_SIZES[2])
        end.established = True
        end.party.established(end)

    def _check_established(self) -> None:
        for end in self.ends:
            if not end.established and not end.gone:
                end.abort()


class Net:
    """I know which connections there are, and which there can be."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.child()
        self.links: list[Line] = []
        self.qualities: dict[frozenset[str], Quality] = {}
        self._closed: Counter[tuple[str, str]] = Counter()
        self.default = Quality()
        self.reachable: Callable[[Station, Station], bool] = lambda a, b: True
        self.tamper: Tamper = lambda end, frame: [(0.0, frame)]

    def dial(self, dialler: Party, listener: Party) -> PipeEnd | None:
        """A connection that is being set up, or None when it cannot be."""
        if not self.reachable(dialler, listener):
            return None
        wire = Wire(self, dialler, listener, self.quality(dialler, listener))
        wire.begin()
        return wire.ends[0]

    def quality(self, a: Station, b: Station) -> Quality:
        """What the lines of two parties are like."""
        return self.qualities.get(frozenset((a.name, b.name)), self.default)

    def between(self, a: Station, b: Station) -> list[Line]:
        """The connections of two parties."""
        pair = {a.name, b.name}
        return [link for link in self.links if {end.party.name for end in link.ends} == pair]

    def partition(self, *groups: Collection[Station], silent: bool = False) -> None:
        """Parties of different groups cannot reach each other; who is in none reaches everyone."""
        side = {party.name: number for number, group in enumerate(groups) for party in group}

        def reachable(a: Station, b: Station) -> bool:
            return side.get(a.name, -1) == side.get(b.name, -1) or not {a.name, b.name} <= side.keys()

        self.reachable = reachable
        self.world.note(f"partition {side}")
        for link in self.impossible():
            link.cut(hears=(not silent, not silent))

    def is_closed(self, a: Station, b: Station) -> bool:
        """Whether nothing that ``a`` sends reaches ``b``."""
        return self._closed[a.name, b.name] > 0

    def close_way(self, a: Station, b: Station, seconds: float) -> None:
        """For so long nothing that ``a`` sends reaches ``b``, which is sent again until then, and nobody is told."""
        self._closed[a.name, b.name] += 1
        for way in self._ways(a, b):
            way.hold()
        self.world.after(seconds, lambda: self._open_way(a, b))

    def _open_way(self, a: Station, b: Station) -> None:
        self._closed[a.name, b.name] -= 1
        if not self.is_closed(a, b):
            for way in self._ways(a, b):
                way.release()

    def _ways(self, a: Station, b: Station) -> list[Way]:
        return [end.way for link in self.between(a, b) for end in link.ends if end.party is a]

    def impossible(self) -> list[Line]:
        """The connections of parties that cannot reach each other."""
        return [link for link in self.links if not self.reachable(*(end.party for end in link.ends))]

    def heal(self) -> None:
        """Everyone reaches everyone."""
        self.world.note("heal")
        self.reachable = lambda a, b: True
