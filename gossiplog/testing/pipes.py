"""Connections that keep order, take time, hold so much and no more, and break.

Responsible for: carrying frames between two parties as TCP would: in order, with delay and bandwidth, back-pressure in
both directions, orderly closing, and every way of ending badly.
Must not know: what is in a frame, beyond what a fault asks it to do with one.
Invariant: without faults each frame arrives once, in order, or the connection ends; after a connection ended nothing
of it arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gossiplog import limits
from gossiplog.testing.world import World

OVERHEAD_BYTES = 22
"""Length of a frame and of a record, and the record's tag: what encryption adds to a small frame."""

HANDSHAKE_SIZES = (48, 96, 64)
"""The three handshake messages."""

TRICKLE_SECONDS = 1.0
"""How often the receiver of a long frame notices that bytes come."""


class Quality(NamedTuple):
    """What a link is like: one-way delay with jitter in seconds, and bandwidth."""

    delay: float = 0.02
    jitter: float = 0.01
    bytes_per_second: float = 2e6


class Party(Protocol):
    """Who is at the end of connections."""

    name: str
    id: bytes

    def established(self, end: End) -> None:
        """The handshake is done."""

    def received(self, end: End, frame: bytes) -> None:
        """A frame came."""

    def trickled(self, end: End) -> None:
        """Bytes of a frame came."""

    def drained(self, end: End) -> None:
        """Everything written was read by the other side, after there had been too much."""

    def lost(self, end: End) -> None:
        """The connection is gone."""


Tamper = Callable[["End", bytes], list[tuple[float, bytes]]]
"""What becomes of a frame: (extra delay, frame) for each copy that is to arrive; an extra delay breaks the order."""


class End:
    """I am one party's side of a connection."""

    def __init__(self, link: Link, party: Party, initiator: bool) -> None:
        self.link = link
        self.party = party
        self.initiator = initiator
        self.session = -1
        self.established = False
        self.closing = False
        self.gone = False
        self.reading = True
        self.paused = False
        self.unread_bytes = 0
        self.swallows = False
        self._free_at = 0.0
        self._arrives_at = 0.0
        self._held: deque[tuple[str, bytes]] = deque()

    @property
    def other(self) -> End:
        """The other side."""
        return self.link.ends[1 if self.initiator else 0]

    @property
    def salt(self) -> bytes:
        """What both sides share of their handshake."""
        return self.link.salt

    def write(self, frame: bytes) -> None:
        """Send a frame."""
        if self.closing or self.gone:
            return
        for extra, copy in self.link.net.tamper(self, frame):
            self.carry("frame", copy, len(copy) + OVERHEAD_BYTES, extra)

    def close(self) -> None:
        """End in order: what was written still arrives."""
        if self.closing or self.gone:
            return
        self.closing = True
        self.carry("end", b"", 0)
        self.read(True)
        self.link.net.world.after(limits.CLOSE_SECONDS, self.abort)

    def read(self, allowed: bool) -> None:
        """Go on or stop taking what comes."""
        self.reading = allowed
        while self.reading and self._held and not self.gone:
            self._take(*self._held.popleft())

    def carry(self, kind: str, frame: bytes, size: int, extra: float = 0.0) -> None:
        """Put something on the line towards the other side."""
        world, quality = self.link.net.world, self.link.quality
        started = max(world.now, self._free_at)
        self._free_at = started + size / quality.bytes_per_second
        arrival = self._free_at + quality.delay + quality.jitter * self.link.net.random.random()
        if extra:
            arrival += extra
        else:
            arrival = self._arrives_at = max(arrival, self._arrives_at)
        self.unread_bytes += size
        if self.unread_bytes > limits.OUTPUT_WINDOW_BYTES:
            self.paused = True
        if self.swallows:
            return
        other = self.other
        trickle = started + quality.delay + TRICKLE_SECONDS
        while trickle < arrival and self._free_at - started > TRICKLE_SECONDS:
            world.at(trickle, other.trickle)
            trickle += TRICKLE_SECONDS
        world.at(arrival, lambda: other.arrive(kind, frame))

    def trickle(self) -> None:
        """Part of a frame is here."""
        if not (self.gone or self.closing) and self.reading:
            self.party.trickled(self)

    def arrive(self, kind: str, frame: bytes) -> None:
        """Something is here."""
        if self.gone or self.other.swallows:
            return
        if self.reading and not self._held:
            self._take(kind, frame)
        else:
            self._held.append((kind, frame))

    def die(self, *, hears: bool) -> None:
        """The connection is no more, for this side; ``hears``: and it is told."""
        if not self.gone:
            self.gone = True
            self._held.clear()
            self.link.net.forget(self.link)
            if hears:
                self.party.lost(self)

    def abort(self) -> None:
        """End at once."""
        if not self.gone:
            self.die(hears=True)
            self.link.cut(hears=(not self.swallows, not self.swallows))

    def _take(self, kind: str, frame: bytes) -> None:
        sender = self.other
        if kind == "frame":
            sender.was_read(len(frame) + OVERHEAD_BYTES)
            if not self.closing:
                self.party.received(self, frame)
        elif kind == "end":
            self.die(hears=True)
            self.link.net.world.after(self.link.quality.delay, lambda: sender.die(hears=True))
        else:
            sender.was_read(len(frame))
            self.link.shake(self, kind)

    def was_read(self, size: int) -> None:
        """The other side took ``size`` bytes of what we wrote."""
        self.unread_bytes -= size
        if self.paused and self.unread_bytes <= 0 and not (self.gone or self.closing):
            self.paused = False
            self.party.drained(self)


class Link:
    """I am one connection: two ends."""

    def __init__(self, net: Net, dialler: Party, listener: Party, quality: Quality) -> None:
        self.net = net
        self.quality = quality
        self.salt = net.random.randbytes(32)
        self.ends = (End(self, dialler, True), End(self, listener, False))

    def begin(self) -> None:
        """Start the handshake, which may not take for ever."""
        self.net.world.after(limits.HANDSHAKE_SECONDS, self._check_established)
        self.ends[0].carry("shake 1", bytes(HANDSHAKE_SIZES[0]), HANDSHAKE_SIZES[0])

    def shake(self, end: End, step: str) -> None:
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

    def cut(self, *, hears: tuple[bool, bool] = (True, True)) -> None:
        """Break, in whatever is being said; each end learns of it soon, or (``hears``) not at all."""
        for end, told in zip(self.ends, hears, strict=True):
            end.swallows = True
            if told:
                delay = self.net.random.uniform(0, 2 * self.quality.delay)
                self.net.world.after(delay, lambda end=end: end.die(hears=True))  # type: ignore[misc]


class Net:
    """I make connections, and know which there are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.child()
        self.links: list[Link] = []
        self.qualities: dict[frozenset[str], Quality] = {}
        self.default = Quality()
        self.reachable: Callable[[Party, Party], bool] = lambda a, b: True
        self.tamper: Tamper = lambda end, frame: [(0.0, frame)]

    def dial(self, dialler: Party, listener: Party) -> End | None:
        """A connection that is being set up, or None when it cannot be."""
        if not self.reachable(dialler, listener):
            return None
        quality = self.qualities.get(frozenset((dialler.name, listener.name)), self.default)
        link = Link(self, dialler, listener, quality)
        self.links.append(link)
        link.begin()
        return link.ends[0]

    def between(self, a: Party, b: Party) -> list[Link]:
        """The connections of two parties."""
        pair = {a.name, b.name}
        return [link for link in self.links if {end.party.name for end in link.ends} == pair]

    def forget(self, link: Link) -> None:
        """Both ends of ``link`` may be gone."""
        if all(end.gone for end in link.ends) and link in self.links:
            self.links.remove(link)
