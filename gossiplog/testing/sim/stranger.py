"""A peer that says what it is told to, true or not.

Responsible for: one end of connections without a replica behind it, for peers that lie, stall or break the protocol.
Must not know: what the other side should make of it.
Invariant: unless told otherwise it greets, answers PING with the root fingerprint it was asked about, and is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gossiplog.gossip.messages import Bye, Hello, Message, Ping, Pong
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import PipeEnd
from gossiplog.wire.codec import decode, encode


class Stranger:
    """I hold the other end; ``answers`` maps a message type to what I do when one comes."""

    def __init__(self, cluster: Cluster, name: str = "stranger") -> None:
        self.cluster = cluster
        self.name = name
        self.id = cluster.random.randbytes(32)
        self.instance = cluster.random.randbytes(16)
        self.heard: list[Message] = []
        self.end: PipeEnd | None = None
        self.greeting: Message | None = Hello(1, 1, (), name, self.instance)
        self.answers: dict[type[Any], Callable[[Any], None]] = {
            Ping: lambda ping: self.say(Pong(ping.token, ping.root))
        }

    def dial(self, node: SimNode) -> None:
        """Connect to ``node``."""
        self.cluster.net.dial(self, node)

    def say(self, *messages: Message) -> None:
        """Send messages."""
        for message in messages:
            self.say_bytes(encode(message))

    def say_bytes(self, frame: bytes) -> None:
        """Send a frame of any content."""
        if self.end is not None:
            self.end.write(frame)

    def hang_up(self) -> None:
        """Close the connection."""
        if self.end is not None:
            self.end.close()

    @property
    def connected(self) -> bool:
        """Whether the connection is up."""
        return self.end is not None and not self.end.gone

    def of(self, kind: type[Any]) -> list[Any]:
        """What was heard of one type."""
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def farewell(self) -> int | None:
        """The code of the BYE that was heard."""
        byes = self.of(Bye)
        return byes[-1].code if byes else None

    # -- connections report (gossiplog.testing.sim.pipes.Party)

    def established(self, end: PipeEnd) -> None:
        """The connection is up."""
        self.end = end
        if self.greeting is not None:
            self.say(self.greeting)

    def received(self, end: PipeEnd, frame: bytes) -> None:
        """A frame came."""
        message = decode(frame)
        self.heard.append(message)
        answer = self.answers.get(type(message))
        if answer is not None:
            answer(message)

    def trickled(self, end: PipeEnd) -> None:
        """Part of a frame came."""

    def drained(self, end: PipeEnd) -> None:
        """The connection takes more."""

    def lost(self, end: PipeEnd) -> None:
        """It is gone."""
