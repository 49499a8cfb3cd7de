"""The two sides of a connection, in memory.

Responsible for: carrying bytes as the kernel would: bounded buffers, pause and resume in both directions, half-close,
resets that lose what was not read, cables that are pulled.
Must not know: what the bytes mean; how a connection comes about.
Invariant: without faults every byte arrives once, in order, and a side is not told that the connection is lost before
it was given what the other one sent in order.
"""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog.live.logger import NodeLog

WINDOW_BYTES = 64 * 1024
"""What the kernels between two sides hold in one direction."""

CHUNK_BYTES = 16 * 1024
"""Given to a protocol at once, at most."""

_log = NodeLog()


class Surroundings(Protocol):
    """What a connection needs of its reactor."""

    latency: float
    sides: set[Side]

    def callLater(self, delay: float, call: Any, /, *args: Any) -> Any:
        """Call later."""

    def cut(self, size: int, /) -> int:
        """How many of ``size`` bytes arrive at once."""


@implementer(ITransport, IConsumer, IPushProducer)
class Side:
    """I am one side of a connection, a transport as Twisted's own: ``bufferSize`` bounds what is not sent yet."""

    bufferSize = 64 * 1024
    bytes_per_second = inf
    """How fast what comes is read."""

    def __init__(self, reactor: Surroundings, host: IPv4Address, peer: IPv4Address) -> None:
        self.reactor = reactor
        self.protocol: Any = None
        self.other: Side
        self.connected = True
        self.reading = True
        self.frozen = False
        self.largest_unsent_bytes = 0
        self._host = host
        self._peer = peer
        self._unsent = bytearray()
        self._unread = bytearray()
        self._producer: Any = None
        self._producer_paused = False
        self._streaming = False
        self._close_write = False
        self._write_closed = False
        self._disconnecting = False
        self._ended = False
        self._working = False
        self._rests = False

    @property
    def unsent_bytes(self) -> int:
        """Written and not taken by the kernels yet."""
        return len(self._unsent)

    # -- ITransport, IConsumer, and half-close

    def write(self, data: bytes) -> None:
        """Queue bytes for the other side."""
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if self.connected and not self._write_closed:
            self._unsent += data
            self.largest_unsent_bytes = max(self.largest_unsent_bytes, len(self._unsent))
            if self._producer is not None and self._streaming and len(self._unsent) > self.bufferSize:
                self._producer_paused = True
                self._producer.pauseProducing()
            self._soon()

    def writeSequence(self, data: Any) -> None:
        """Queue several."""
        for piece in data:
            self.write(piece)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell ``producer`` when to pause and to go on."""
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        self._producer = producer
        self._streaming = streaming

    def unregisterProducer(self) -> None:
        """Tell it no longer."""
        self._producer = None
        self._soon()

    def loseConnection(self) -> None:
        """Send what is queued, then close; nothing more is read."""
        if self.connected and not self._disconnecting:
            self._disconnecting = True
            self.reading = False
            self._soon()

    def loseWriteConnection(self) -> None:
        """Send what is queued, then close this direction."""
        self._close_write = True
        self._soon()

    def abortConnection(self) -> None:
        """Close now; the other side gets a reset."""
        if self.connected:
            self.reading = False
            self.reactor.callLater(0, self._lose, ConnectionAborted())

    def getHost(self) -> IPv4Address:
        """Our address."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """The other side's."""
        return self._peer

    # -- IPushProducer: the protocol wants more, or less, of what comes

    def pauseProducing(self) -> None:
        """Read no more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        if self.connected and not self._disconnecting:
            self.reading = True
            self._soon()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    # -- what a test may do to a connection

    def freeze(self) -> None:
        """Let nothing through any more, in either direction, and tell nobody: a cable was pulled."""
        self.frozen = self.other.frozen = True

    def thaw(self) -> None:
        """Let everything through again."""
        self.frozen = self.other.frozen = False
        self._soon()
        self.other._soon()

    # -- the kernels

    def _soon(self) -> None:
        for side in (self, self.other):
            if not side._working:
                side._working = True
                self.reactor.callLater(self.reactor.latency, side._work)

    def _work(self) -> None:
        self._working = False
        if self.connected and not self.frozen:
            self._give()
        if self.connected and not self.frozen:
            self._take()

    def _take(self) -> None:
        """Move what we wrote into the kernels' buffers, then do what waited for that."""
        other = self.other
        room = WINDOW_BYTES - len(other._unread)
        if room > 0 and self._unsent:
            moved = self._unsent[:room]
            del self._unsent[:room]
            if other.connected:
                other._unread += moved
            self._soon()
        if self._unsent:
            return
        if self._producer is not None and (self._producer_paused or not self._streaming):
            self._producer_paused = False
            self._producer.resumeProducing()
        elif self._disconnecting:
            self._lose(ConnectionDone())
        elif self._close_write and not self._write_closed:
            self._write_closed = True
            other._ended = True
            self._soon()

    def _give(self) -> None:
        """Give the protocol what came."""
        if not self.reading or self._rests:
            return
        if self._unread:
            size = self.reactor.cut(min(CHUNK_BYTES, len(self._unread)))
            data = bytes(self._unread[:size])
            del self._unread[:size]
            if self.bytes_per_second < inf:
                self._rests = True
                self.reactor.callLater(size / self.bytes_per_second, self._go_on)
            self._soon()
            try:
                self.protocol.dataReceived(data)
            except Exception:
                _log.failure("dataReceived failed")
                self._lose(ConnectionLost())
        elif self._ended:
            self._ended = False
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.readConnectionLost()
            else:
                self._lose(ConnectionDone())

    def _go_on(self) -> None:
        self._rests = False
        self._soon()

    def _lose(self, reason: Exception) -> None:
        """Our socket is closed: the other side reads to the end, or is reset if we left anything unread."""
        if not self.connected:
            return
        self.connected = False
        self.reactor.sides.discard(self)
        other = self.other
        if other.connected and not self.frozen:
            if self._unread or isinstance(reason, ConnectionAborted):
                other._unread.clear()
                self.reactor.callLater(self.reactor.latency, other._lose, ConnectionLost())
            else:
                other._ended = True
                other._soon()
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        self.protocol.connectionLost(Failure(reason))
