"""The two sides of a connection, in memory.

Responsible for: giving bytes to a simulated line and taking them from it as a kernel would: bounded buffers, pause and
resume in both directions, half-close, resets that lose what was not read, cables that are pulled.
Must not know: what the bytes mean; how long they take; how a connection comes about.
Invariant: without faults every byte arrives once, in order, and a side is not told that the connection is lost before
it was given what the other one sent in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog.live.logger import NodeLog
from gossiplog.testing.sim.pipes import Way
from gossiplog.testing.sim.wires import Line, Net, Station

WINDOW_BYTES = 64 * 1024
"""What the kernels between two sides hold in one direction, with what is on its way."""

CHUNK_BYTES = 16 * 1024
"""Given to a protocol at once, at most."""

_log = NodeLog()


class Host(Station, Protocol):
    """What a side needs of the machine it is on."""

    sides: set[Side]

    def callLater(self, delay: float, call: Callable[..., Any], /, *about: Any) -> Any:
        """Call later."""

    def note(self, line: str, /) -> None:
        """Write a line of the trace."""

    def cut(self, size: int, /) -> int:
        """How many of ``size`` bytes are read at once."""


@implementer(ITransport, IConsumer, IPushProducer)
class Side:
    """I am one side of a connection, a transport as Twisted's own: ``bufferSize`` bounds what is not sent yet."""

    bufferSize = 64 * 1024

    def __init__(self, party: Host, way: Way, host: IPv4Address, peer: IPv4Address) -> None:
        self.party = party
        self.way = way
        self.protocol: Any = None
        self.other: Side
        self.line: Cable
        self.connected = True
        self.reading = True
        self.gone = False
        self.largest_unsent_bytes = 0
        self._host = host
        self._peer = peer
        self._unsent = bytearray()
        self._unread = bytearray()
        self._window = WINDOW_BYTES
        self._producer: Any = None
        self._producer_paused = False
        self._streaming = False
        self._close_write = False
        self._write_closed = False
        self._disconnecting = False
        self._ended = False
        self._is_due = False

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
            self.party.callLater(0, self._lose, ConnectionAborted())

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
        self.way.hold()
        self.other.way.hold()

    def thaw(self) -> None:
        """Let everything through again."""
        self.way.release()
        self.other.way.release()

    def die(self, *, hears: bool) -> None:
        """The line is no more; ``hears``: and we notice."""
        if hears:
            self._lose(ConnectionLost())
        elif not self.gone:
            self.connected = self.reading = False
            self._forget()

    # -- the kernel

    def _soon(self) -> None:
        """Work when the reactor comes round to it, as a real one does."""
        if not self._is_due and self.connected:
            self._is_due = True
            self.party.callLater(0, self._work)

    def _work(self) -> None:
        self._is_due = False
        if self.connected:
            self._give()
        if self.connected:
            self._send()

    def _send(self) -> None:
        """Put on the line what we wrote, as far as there is room, then do what waited for that."""
        while self._unsent and self._window > 0:
            piece = bytes(self._unsent[: min(CHUNK_BYTES, self._window)])
            del self._unsent[: len(piece)]
            self._window -= len(piece)
            self.party.note(f"sends {len(piece)} to {self.other.party.name}")
            self.way.carry(len(piece), lambda piece=piece: self.other._arrived(piece))  # type: ignore[misc]
        if self._unsent:
            return
        if self._producer is not None and (self._producer_paused or not self._streaming):
            self._producer_paused = False
            self._producer.resumeProducing()
        elif self._disconnecting:
            self._lose(ConnectionDone())
        elif self._close_write and not self._write_closed:
            self._write_closed = True
            self.way.carry(0, self.other._arrived_end)

    def _arrived(self, piece: bytes) -> None:
        if self.connected:
            self._unread += piece
            self._soon()

    def _arrived_end(self) -> None:
        self._ended = True
        self._soon()

    def _give(self) -> None:
        """Give the protocol the next of what came."""
        if not self.reading:
            return
        if self._unread:
            data = bytes(self._unread[: self.party.cut(min(CHUNK_BYTES, len(self._unread)))])
            del self._unread[: len(data)]
            self.other._was_read(len(data))
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

    def _was_read(self, size: int) -> None:
        self._window += size
        self._soon()

    def _lose(self, reason: Exception) -> None:
        """Our socket is closed: the other side reads to the end, or is reset if we left anything unread."""
        if not self.connected:
            return
        self.connected = False
        self.party.note(f"has no connection to {self.other.party.name}: {type(reason).__name__}")
        if self._unread or isinstance(reason, ConnectionAborted):
            self.way.carry(0, self.other._reset)
        else:
            self.way.carry(0, self.other._arrived_end)
        self._forget()
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        self.protocol.connectionLost(Failure(reason))

    def _reset(self) -> None:
        self._unread.clear()
        self._lose(ConnectionLost())

    def _forget(self) -> None:
        self.gone = True
        self._unread.clear()
        self._unsent.clear()
        self.party.sides.discard(self)
        self.line.ended()


class Cable(Line):
    """I am the connection of two protocols on machines of one net."""

    def __init__(
        self, net: Net, hosts: tuple[Host, Host], addresses: tuple[IPv4Address, IPv4Address]
    ) -> None:
        super().__init__(net, net.quality(*hosts))
        sides = [
            Side(party, Way(net.world, net.random, self.quality), ours, theirs)
            for party, ours, theirs in zip(hosts, addresses, reversed(addresses), strict=True)
        ]
        self.join(*sides)
        sides[0].other, sides[1].other = reversed(sides)
        for side in sides:
            side.line = self
            side.party.sides.add(side)
