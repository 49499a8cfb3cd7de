"""What a simulation cost: messages, bytes, and copies of each entry.

Responsible for: counting.
Must not know: what a good figure is.
Invariant: :attr:`Figures.copies` is 1 when no node was sent an entry that it had or was being sent already.
"""

from __future__ import annotations

from collections import Counter

from gossiplog.gossip.messages import Message, Ping, Pong
from gossiplog.log.segment import Segment
from gossiplog.testing.carrying import Carrier
from gossiplog.testing.pipes import OVERHEAD_BYTES


class Figures:
    """I count what all nodes of a simulation send and receive.

    ``healed`` counts reconciles that a PING had to start, because a difference was left over.
    """

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.entries_received = 0
        self.entries_new = 0
        self.last_busy = 0.0
        self.healed = 0

    def sent(self, node: Carrier, message: Message, size: int) -> None:
        """A message of ``size`` bytes went out."""
        name = type(message).__name__
        self.messages[name] += 1
        self.bytes[name] += size + OVERHEAD_BYTES
        if not isinstance(message, Ping | Pong):
            self.last_busy = node.world.now

    def received(self, node: Carrier, message: Message, size: int) -> None:
        """A message of ``size`` bytes came in."""
        if isinstance(message, Segment):
            self.entries_received += message.count
            self.entries_new += max(
                0, message.last - max(message.first - 1, node.holdings.accepted_seq(message.author))
            )

    @property
    def copies(self) -> float:
        """How often an entry was received by a node that has it now, on average."""
        return self.entries_received / self.entries_new if self.entries_new else 1.0

    def __str__(self) -> str:
        total = sum(self.bytes.values())
        parts = ", ".join(
            f"{name} {self.messages[name]} ({size} B)" for name, size in self.bytes.most_common()
        )
        return f"{self.entries_new} entries, {self.copies:.2f} copies of each, {total} B: {parts}"
