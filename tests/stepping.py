"""Simulated nodes whose messages arrive and whose disks work only when told to.

Responsible for: connections that hold every frame until it is delivered, disks that hold every commit until it is done.
Must not know: what is sent or written; in which order a test lets it happen.
Invariant: one direction of a connection keeps its order, and so does one disk; nothing else is in any order.

Everything else is :mod:`gossiplog.testing`'s: its nodes, its disks, its checker, and virtual time for the timers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, cast

from gossiplog import limits
from gossiplog.gossip.messages import Have, Hello, Message, Pong
from gossiplog.log.segment import Head, Segment
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import OVERHEAD_BYTES
from gossiplog.testing.sim.world import World
from gossiplog.wire.codec import decode

CLOSED = None
"""In the place of a frame: the other side closed in order."""


class Heard:
    """I am what one side was told in a session: how far the peer held each author when it last said so.

    ``greeted`` and ``pongs`` are what the peer held when it sent what is still on its way.  Of the authors ``exempt``
    one side changed its mind, and who owes what is a matter of what crossed.
    """

    def __init__(self) -> None:
        self.greeted: dict[bytes, Head] = {}
        self.pongs: deque[dict[bytes, Head]] = deque()
        self.at_pong: dict[bytes, Head] = {}
        self.claims: dict[bytes, int] = {}
        self.copies: Counter[tuple[bytes, int]] = Counter()
        self.exempt: set[bytes] = set()
        self._handles: dict[int, bytes] = {}

    def note(self, message: Message) -> None:
        """A message is about to be received."""
        match message:
            case Hello():
                self.claims = {author: head.seq for author, head in self.greeted.items()}
            case Pong():
                self.at_pong = self.pongs.popleft()
            case Have(items):
                for handle, seq, author in items:
                    if author is not None:
                        self._handles[handle] = author
                    self.claims[self._handles[handle]] = seq
            case Segment() if message.count:
                for seq in range(message.first, message.last + 1):
                    self.copies[message.author, seq] += 1


class End:
    """I am one side of a connection; what ``waiting`` holds is on its way to me."""

    def __init__(self, wire: Wire, party: SimNode, initiator: bool) -> None:
        self.wire = wire
        self.party = party
        self.initiator = initiator
        self.salt = wire.salt
        self.session = -1
        self.closing = self.gone = self.paused = self.deaf = False
        self.reading = True
        self.heard = Heard()
        self.waiting: deque[bytes | None] = deque()
        self.unread_bytes = 0

    @property
    def other(self) -> End:
        """The other side."""
        return self.wire.ends[1 if self.initiator else 0]

    @property
    def can_take(self) -> bool:
        """Whether something is here that would be read."""
        return bool(self.waiting) and not self.gone and (self.reading or self.closing)

    def take(self) -> None:
        """Let the next frame arrive."""
        frame = self.waiting.popleft()
        if frame is CLOSED:
            self.die()
            self.other.die()
            return
        self.other.was_read(len(frame) + OVERHEAD_BYTES)
        if not self.closing:
            self.heard.note(decode(frame))
            self.party.received(cast(Any, self), frame)

    # -- what a node does with its end

    def write(self, frame: bytes) -> None:
        """Send a frame."""
        if not (self.closing or self.gone):
            self.unread_bytes += len(frame) + OVERHEAD_BYTES
            self.paused = self.paused or self.unread_bytes > limits.OUTPUT_WINDOW_BYTES
            self._put(frame)

    def close(self) -> None:
        """End in order: what was written still arrives."""
        if not (self.closing or self.gone):
            self.closing = True
            self._put(CLOSED)
            self.wire.world.after(limits.CLOSE_SECONDS, self.die)

    def read(self, allowed: bool) -> None:
        """Go on or stop taking what comes."""
        self.reading = allowed

    # --

    def die(self, *, hears: bool = True) -> None:
        """The connection is no more, for this side; ``hears``: and it is told."""
        if not self.gone:
            self.gone = True
            self.waiting.clear()
            if hears:
                self.party.lost(cast(Any, self))

    def was_read(self, size: int) -> None:
        """The other side took ``size`` bytes of what we wrote."""
        self.unread_bytes -= size
        if self.paused and self.unread_bytes <= 0 and not (self.gone or self.closing):
            self.paused = False
            self.party.drained(cast(Any, self))

    def _put(self, frame: bytes | None) -> None:
        if not (self.other.gone or self.other.deaf):
            self.other.waiting.append(frame)


class Wire:
    """I am one connection."""

    def __init__(self, world: World, dialler: SimNode, listener: SimNode) -> None:
        self.world = world
        self.salt = world.random.randbytes(32)
        self.ends = (End(self, dialler, True), End(self, listener, False))
        dialler.net.links.append(cast(Any, self))
        for end in self.ends:
            end.party.established(cast(Any, end))

    @property
    def is_over(self) -> bool:
        """Whether no side takes it for a connection."""
        return all(end.gone for end in self.ends)

    def cut(self, *, hears: tuple[bool, bool] = (True, True)) -> None:
        """Lose what is on its way; a side that does not hear of it waits for more."""
        for end, told in zip(self.ends, hears, strict=True):
            end.waiting.clear()
            end.deaf = True
            if told:
                end.die()


class Steps:
    """I am the time as a disk sees it: what it wants to do later waits until :meth:`step`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.waiting: deque[Callable[[], None]] = deque()

    @property
    def now(self) -> float:
        """The time."""
        return self._world.now

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do this in its turn."""
        self.waiting.append(action)

    at = after

    def step(self) -> None:
        """Do what has waited longest: a commit, or telling its results."""
        self.waiting.popleft()()


class SteppedNode(SimNode):
    """I am a node whose disk waits to be told to work."""

    def start(self) -> None:
        """Run, on what the disk holds."""
        super().start()
        self.steps = Steps(self.world)
        self.disk._world = cast(World, self.steps)

    @property
    def busy_disk(self) -> bool:
        """Whether the disk has anything to do."""
        return self.up and bool(self.steps.waiting)


def drain(nodes: list[SteppedNode], draw: Random, steps: int = 1 << 20) -> None:
    """Deliver and commit, in any order, until nothing is left to do at this instant, or so many steps are done."""
    for _ in range(steps):
        ends = [end for wire in links(nodes) for end in wire.ends if end.can_take]
        choices: list[Callable[[], None]] = [end.take for end in ends]
        choices += [node.steps.step for node in nodes if node.busy_disk]
        if not choices:
            return
        draw.choice(choices)()


def links(nodes: list[SteppedNode]) -> list[Wire]:
    """The connections there are."""
    found = cast("list[Wire]", nodes[0].net.links)
    found[:] = [wire for wire in found if not wire.is_over]
    return list(found)
