"""What came over one connection and waits for its turn.

Responsible for: decrypting, cutting and decoding no more at once than is dealt with at once, and what that costs.
Must not know: transports; what messages mean.
Invariant: messages come out in the order in which they came, each once; what is wrong comes after all before it.
"""

from __future__ import annotations

from collections import deque

from gossiplog import limits
from gossiplog.errors import PeerError
from gossiplog.gossip.allowance import toil
from gossiplog.gossip.message_table import work
from gossiplog.gossip.messages import Message
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode

RECORD_MILLISECONDS = 0.004


class Inbox:
    """I hold what a channel received."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._frames: deque[bytes] = deque()
        self._held: Message | None = None
        self._toil = 0.0

    def __len__(self) -> int:
        """How many frames and records wait."""
        return len(self._frames) + self._channel.waiting + (self._held is not None)

    def was_read(self, size: int) -> None:
        """So many bytes came at once."""
        self._toil += toil(1, 0, size)

    def cost(self) -> float:
        """Points for what was read and decrypted, once there is a whole one; each counts once."""
        if self._toil < 1:
            return 0.0
        points, self._toil = self._toil, 0.0
        return points

    @property
    def is_small(self) -> bool:
        """Whether the next message, or the record that it is in, is."""
        if self._held is not None:
            return False
        size = len(self._frames[0]) if self._frames else self._channel.next_bytes
        return size <= limits.LIGHT_BYTES

    def take(self, *, small: bool = False, peers: int = 0) -> tuple[list[Message], float, PeerError | None]:
        """Some messages, what they cost in milliseconds, and what is wrong behind them.

        With ``small`` none that takes longer than ``LIGHT_SECONDS``.  What is new goes to so many ``peers``.
        """
        messages: list[Message] = []
        frames, channel = self._frames, self._channel
        milliseconds = 0.0
        most = 1000 * limits.LIGHT_SECONDS if small else limits.TOGETHER_MILLISECONDS
        try:
            while milliseconds < most and (not small or self.is_small):
                if not frames and self._held is None:
                    records = min(1 if small else limits.RECORDS_AT_ONCE, channel.waiting)
                    if not records:
                        break
                    self._toil += toil(0, records, 0)
                    milliseconds += records * RECORD_MILLISECONDS
                    frames.extend(channel.receive(b"", most=records))
                    continue
                message = decode(frames.popleft()) if self._held is None else self._held
                self._held = None
                takes = work(message, peers)
                if small and takes > most:
                    self._held = message
                    break
                messages.append(message)
                milliseconds += takes
        except PeerError as error:
            frames.clear()
            return messages, milliseconds, error
        return messages, milliseconds, None
