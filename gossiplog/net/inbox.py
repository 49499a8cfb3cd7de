"""What came over one connection and waits for its turn.

Responsible for: decrypting, cutting and decoding no more at once than is dealt with at once, and what that costs.
Must not know: transports; what messages mean.
Invariant: messages come out in the order in which they came, each once; what is wrong comes after all before it.
"""

from __future__ import annotations

from collections import deque

from gossiplog.errors import PeerError
from gossiplog.gossip.allowance import toil, work
from gossiplog.gossip.messages import Message
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode

TOGETHER_MILLISECONDS = 2.5
"""What messages that are handed over at once may cost: some tens of small segments, which two cores check."""

RECORDS_AT_ONCE = 4
"""Decrypted before we look at what it cost; each may have ten thousand frames."""

RECORD_MILLISECONDS = 0.004


class Inbox:
    """I hold what a channel received."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._frames: deque[bytes] = deque()
        self._toil = 0.0

    def __len__(self) -> int:
        """How many frames and records wait."""
        return len(self._frames) + self._channel.waiting

    def was_read(self, size: int) -> None:
        """So many bytes came at once."""
        self._toil += toil(1, 0, size)

    def cost(self) -> float:
        """Points for what was read and decrypted, once there is a whole one; each counts once."""
        if self._toil < 1:
            return 0.0
        points, self._toil = self._toil, 0.0
        return points

    def take(self) -> tuple[list[Message], float, PeerError | None]:
        """Some messages, what they cost in milliseconds, and what is wrong behind them."""
        messages: list[Message] = []
        frames, channel = self._frames, self._channel
        milliseconds = 0.0
        try:
            while milliseconds < TOGETHER_MILLISECONDS:
                while frames and milliseconds < TOGETHER_MILLISECONDS:
                    message = decode(frames.popleft())
                    messages.append(message)
                    milliseconds += work(message)
                if frames or not channel.waiting:
                    break
                records = min(RECORDS_AT_ONCE, channel.waiting)
                self._toil += toil(0, records, 0)
                milliseconds += records * RECORD_MILLISECONDS
                frames.extend(channel.receive(b"", most=records))
        except PeerError as error:
            frames.clear()
            return messages, milliseconds, error
        return messages, milliseconds, None
