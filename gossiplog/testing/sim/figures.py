"""What a simulation cost: messages, bytes, and copies of each entry.

Responsible for: counting.
Must not know: what a good figure is.
Invariant: :attr:`Figures.copies` is 1 when no node was sent an entry that it had or was being sent already.
"""

from __future__ import annotations

from collections import Counter
from copy import copy

from gossiplog.gossip.messages import Message, Ping, Pong
from gossiplog.log.segment import Segment
from gossiplog.testing.sim.loop import Carrier
from gossiplog.testing.sim.pipes import OVERHEAD_BYTES
from gossiplog.testing.sim.spread import Spread


class Figures:
    """I count what all nodes of a simulation send and receive.

    Sizes are of encoded frames with what encryption adds, the same for every message.  ``new_bytes`` are those of
    segments that brought something new.  ``healed`` counts reconciles that a PING had to start, because a difference
    was left over.  ``spread``, when set, follows single entries.
    """

    def __init__(self) -> None:
        self.spread: Spread | None = None
        self.last_busy = 0.0
        self.healed = 0
        self.clear()

    def clear(self) -> None:
        """Count from here on."""
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.entries_received = 0
        self.entries_new = 0
        self.new_bytes = 0

    def copy(self) -> Figures:
        """What is counted so far."""
        so_far = copy(self)
        so_far.messages, so_far.bytes = self.messages.copy(), self.bytes.copy()
        return so_far

    def sent(self, node: Carrier, message: Message, size: int) -> None:
        """A message of ``size`` bytes went out."""
        name = type(message).__name__
        self.messages[name] += 1
        self.bytes[name] += size + OVERHEAD_BYTES
        if not isinstance(message, Ping | Pong):
            self.last_busy = node.world.now

    def received(self, node: Carrier, sender: str, message: Message, size: int) -> None:
        """A message of ``size`` bytes came in."""
        if type(message) is Segment:
            self.entries_received += message.count
            held = node.heads.accepted_seq(message.author)
            if message.first <= held + 1 <= message.last:
                self.entries_new += message.last - held
                self.new_bytes += size + OVERHEAD_BYTES
                if self.spread is not None:
                    self.spread.received(node, sender, message, held)

    @property
    def copies(self) -> float:
        """How often an entry was received by a node that has it now, on average."""
        return self.entries_received / self.entries_new if self.entries_new else 1.0

    @property
    def control_bytes(self) -> int:
        """Of all messages but SEGMENT."""
        return sum(self.bytes.values()) - self.bytes["Segment"]

    @property
    def control_share(self) -> float:
        """Control bytes for each byte of a segment that brought something new."""
        return self.control_bytes / self.new_bytes if self.new_bytes else 0.0

    def __str__(self) -> str:
        total = sum(self.bytes.values())
        parts = ", ".join(
            f"{name} {self.messages[name]} ({size} B)" for name, size in self.bytes.most_common()
        )
        return f"{self.entries_new} entries, {self.copies:.2f} copies of each, {total} B: {parts}"
