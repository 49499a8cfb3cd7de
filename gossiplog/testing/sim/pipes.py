"""One side of a connection: it keeps order, takes time, holds so much and no more, and ends.

Responsible for: carrying frames to the other side as TCP would: in order, with delay and bandwidth, back-pressure in
both directions, and orderly closing.
Must not know: what is in a frame; which connections there are.
Invariant: without faults each frame arrives once, in order, or the connection ends; after a connection ended nothing
of it arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple, Protocol

from gossiplog import limits
from gossiplog.testing.sim.world import World

OVERHEAD_BYTES = 22
"""Length of a frame and of a record, and the record's tag: what encryption adds to a small frame."""

TRICKLE_SECONDS = 1.0
"""How often the receiver of a long frame notices that bytes come."""


TAIL_EVERY = 20
"""Of so many frames, one is late."""


class Quality(NamedTuple):
    """What a link is like: one-way delay with even jitter in seconds, and bandwidth.

    With a ``tail``, one frame in :data:`TAIL_EVERY` takes that much longer on average, without an upper limit.
    With ``lasts``, a connection breaks after so many seconds, on average.
    """

    delay: float = 0.02
    jitter: float = 0.01
    bytes_per_second: float = 2e6
    tail: float = 0.0
    lasts: float = 0.0

    @property
    def mean_delay(self) -> float:
        """What a small frame takes, on average."""
        return self.delay + self.jitter / 2 + self.tail / TAIL_EVERY

    def draw(self, random: Random) -> float:
        """What one small frame takes."""
        delay = self.delay + self.jitter * random.random()
        if self.tail and random.random() * TAIL_EVERY < 1.0:
            delay += random.expovariate(1.0 / self.tail)
        return delay


class Way:
    """I am one direction of a connection: what is put on me comes out in order, after what the way takes."""

    def __init__(self, world: World, random: Random, quality: Quality) -> None:
        self.quality = quality
        self.swallows = False
        self._world = world
        self._random = random
        self._free_at = 0.0
        self._arrives_at = 0.0
        self._held: list[Callable[[], None]] | None = None

    def carry(
        self,
        size: int,
        arrive: Callable[[], None],
        extra: float = 0.0,
        trickle: Callable[[], None] | None = None,
    ) -> None:
        """Put so many bytes on the way; ``arrive`` is called when they are there, ``trickle`` while they come.

        What is ``extra`` late does not hold up what follows.
        """
        world, quality = self._world, self.quality
        started = max(world.now, self._free_at)
        self._free_at = started + size / quality.bytes_per_second
        arrival = self._free_at + quality.draw(self._random)
        if extra:
            arrival += extra
        else:
            arrival = self._arrives_at = max(arrival, self._arrives_at)
        if self.swallows:
            return
        if trickle is not None and self._free_at - started > TRICKLE_SECONDS:
            when = started + quality.delay + TRICKLE_SECONDS
            while when < arrival:
                world.at(when, trickle)
                when += TRICKLE_SECONDS
        world.at(arrival, lambda: self._arrive(arrive))

    @property
    def is_open(self) -> bool:
        """Whether anything comes out."""
        return self._held is None and not self.swallows

    def hold(self) -> None:
        """Let nothing through until :meth:`release`, and lose nothing."""
        self._held = [] if self._held is None else self._held

    def release(self) -> None:
        """Let through what was held, and what follows."""
        held, self._held = self._held or [], None
        for arrive in held:
            self._world.after(0.0, lambda arrive=arrive: self._arrive(arrive))  # type: ignore[misc]

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if self._held is not None:
            self._held.append(arrive)
        elif not self.swallows:
            arrive()


class Party(Protocol):
    """Who is at the end of connections."""

    name: str
    id: bytes

    def established(self, end: PipeEnd) -> None:
        """The handshake is done."""

    def received(self, end: PipeEnd, frame: bytes) -> None:
        """A frame came."""

    def trickled(self, end: PipeEnd) -> None:
        """Bytes of a frame came."""

    def drained(self, end: PipeEnd) -> None:
        """Everything written was read by the other side, after there had been too much."""

    def lost(self, end: PipeEnd) -> None:
        """The connection is gone."""


class Pipe(Protocol):
    """What an end shares with the other one."""

    world: World
    random: Random
    quality: Quality
    salt: bytes
    ends: tuple[PipeEnd, PipeEnd]

    def tamper(self, end: PipeEnd, frame: bytes) -> list[tuple[float, bytes]]:
        """What becomes of a frame that ``end`` writes."""

    def shake(self, end: PipeEnd, step: str) -> None:
        """A handshake message arrived at ``end``."""

    def cut(self, *, hears: tuple[bool, bool]) -> None:
        """Break, in whatever is being said."""

    def ended(self) -> None:
        """An end is gone."""


class PipeEnd:
    """I am one party's side of a connection; ``way`` leads to the other side."""

    def __init__(self, link: Pipe, party: Party, initiator: bool) -> None:
        self.link = link
        self.party = party
        self.initiator = initiator
        self.way = Way(link.world, link.random, link.quality)
        self.session = -1
        self.established = False
        self.closing = False
        self.gone = False
        self.reading = True
        self.paused = False
        self.unread_bytes = 0
        self._held: deque[tuple[str, bytes]] = deque()

    @property
    def other(self) -> PipeEnd:
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
        for extra, copy in self.link.tamper(self, frame):
            self.carry("frame", copy, len(copy) + OVERHEAD_BYTES, extra)

    def close(self) -> None:
        """End in order: what was written still arrives."""
        if self.closing or self.gone:
            return
        self.closing = True
        self.carry("end", b"", 0)
        self.read(True)
        self.link.world.after(limits.CLOSE_SECONDS, self.abort)

    def read(self, allowed: bool) -> None:
        """Go on or stop taking what comes."""
        self.reading = allowed
        while self.reading and self._held and not self.gone:
            self._take(*self._held.popleft())

    def carry(self, kind: str, frame: bytes, size: int, extra: float = 0.0) -> None:
        """Put something on the line towards the other side."""
        self.unread_bytes += size
        if self.unread_bytes > limits.OUTPUT_WINDOW_BYTES:
            self.paused = True
        other = self.other
        self.way.carry(size, lambda: other.arrive(kind, frame), extra, other.trickle)

    def trickle(self) -> None:
        """Part of a frame is here."""
        if not (self.gone or self.closing) and self.reading:
            self.party.trickled(self)

    def arrive(self, kind: str, frame: bytes) -> None:
        """Something is here."""
        if self.gone:
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
            self.link.ended()
            if hears:
                self.party.lost(self)

    def abort(self) -> None:
        """End at once."""
        if not self.gone:
            self.die(hears=True)
            told = self.way.is_open
            self.link.cut(hears=(told, told))

    def _take(self, kind: str, frame: bytes) -> None:
        sender = self.other
        if kind == "frame":
            sender.was_read(len(frame) + OVERHEAD_BYTES)
            if not self.closing:
                self.party.received(self, frame)
        elif kind == "end":
            self.die(hears=True)
            self.link.world.after(self.way.quality.delay, lambda: sender.die(hears=True))
        else:
            sender.was_read(len(frame))
            self.link.shake(self, kind)

    def was_read(self, size: int) -> None:
        """The other side took ``size`` bytes of what we wrote."""
        self.unread_bytes -= size
        if self.paused and self.unread_bytes <= 0 and not (self.gone or self.closing):
            self.paused = False
            self.party.drained(self)
