"""Connections: how they are made, shaken hands on, broken and counted.

Responsible for: which party can reach which, the handshake, and cutting a connection in whatever is being said.
Must not know: what is in a frame, beyond what a fault asks it to do with one.
Invariant: a connection is known here until both of its sides are gone.
"""

from __future__ import annotations

from collections.abc import Callable

from gossiplog import limits
from gossiplog.testing.sim.pipes import Party, PipeEnd, Quality
from gossiplog.testing.sim.world import World

HANDSHAKE_SIZES = (48, 96, 64)
"""The three handshake messages."""

Tamper = Callable[["PipeEnd", bytes], list[tuple[float, bytes]]]
"""What becomes of a frame: (extra delay, frame) for each copy that is to arrive; an extra delay breaks the order."""


class Wire:
    """I am one connection: two ends."""

    def __init__(self, net: Net, dialler: Party, listener: Party, quality: Quality) -> None:
        self.net = net
        self.world, self.random = net.world, net.random
        self.quality = quality
        self.salt = net.random.randbytes(32)
        self.ends = (PipeEnd(self, dialler, True), PipeEnd(self, listener, False))

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

    def ended(self) -> None:
        """An end is gone."""
        self.net.forget(self)

    def _check_established(self) -> None:
        for end in self.ends:
            if not end.established and not end.gone:
                end.abort()

    def cut(self, *, hears: tuple[bool, bool] = (True, True)) -> None:
        """Break, in whatever is being said; each end learns of it soon, or (``hears``) not at all."""
        for end, told in zip(self.ends, hears, strict=True):
            end.swallows = True
            if told:
                delay = self.random.uniform(0, 2 * self.quality.delay)
                self.world.after(delay, lambda end=end: end.die(hears=True))  # type: ignore[misc]


class Net:
    """I make connections, and know which there are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.child()
        self.links: list[Wire] = []
        self.qualities: dict[frozenset[str], Quality] = {}
        self.default = Quality()
        self.reachable: Callable[[Party, Party], bool] = lambda a, b: True
        self.tamper: Tamper = lambda end, frame: [(0.0, frame)]

    def dial(self, dialler: Party, listener: Party) -> PipeEnd | None:
        """A connection that is being set up, or None when it cannot be."""
        if not self.reachable(dialler, listener):
            return None
        quality = self.qualities.get(frozenset((dialler.name, listener.name)), self.default)
        link = Wire(self, dialler, listener, quality)
        self.links.append(link)
        link.begin()
        return link.ends[0]

    def between(self, a: Party, b: Party) -> list[Wire]:
        """The connections of two parties."""
        pair = {a.name, b.name}
        return [link for link in self.links if {end.party.name for end in link.ends} == pair]

    def forget(self, link: Wire) -> None:
        """Both ends of ``link`` may be gone."""
        if all(end.gone for end in link.ends) and link in self.links:
            self.links.remove(link)
