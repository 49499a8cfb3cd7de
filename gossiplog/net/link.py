"""One connection: bytes to messages and back.

Responsible for: the channel, frames and codec of one connection, back-pressure in both directions, an orderly close.
Must not know: what messages mean.
Invariant: a stranger who does not complete the handshake gets no byte from a listener; garbage closes this
connection only; a connection that is being closed is gone after ``CLOSE_SECONDS``, whatever the peer does.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any
from typing import Protocol as Interface

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog import limits
from gossiplog.errors import (
    HandshakeError,
    LimitExceededError,
    PeerError,
    PeerTimeoutError,
)
from gossiplog.gossip.messages import Bye, Message
from gossiplog.gossip.outbox import FEW_BYTES, weight
from gossiplog.log.segment import Segment
from gossiplog.net.endpoints import describe
from gossiplog.net.fair_turns import FairTurns
from gossiplog.net.inbox import Inbox
from gossiplog.net.serving_turns import Chores
from gossiplog.net.sockets import PART_BYTES, failing, narrow, tune, unsent_bytes
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import encode


class Owner(Interface):
    """Whoever runs the connections: the node."""

    reactor: Any
    turns: FairTurns

    @property
    def peers(self) -> Sized:
        """With whom there are sessions."""

    def channel(self, initiator: bool) -> Channel:
        """A fresh channel for a new connection."""

    def admits(self, host: str) -> bool:
        """Whether a connection that somebody at ``host`` dialled is worth a look."""

    def connection_made(self, link: Link) -> bool:
        """A connection came up; False when it cannot stay."""

    def located(self, link: Link) -> None:
        """Who dialled is not where the connection comes from: a proxy says so."""

    def asked(self, link: Link) -> None:
        """Who dialled knows the network key: call :meth:`Link.answer` when its turn has come."""

    def established(self, link: Link) -> None:
        """The handshake is done."""

    def received(self, link: Link, messages: Sequence[Message]) -> None:
        """Messages came, all at once; those after one that closes ``link`` are to be ignored."""

    def toiled(self, link: Link, points: float) -> None:
        """To read and to decrypt what came cost so many points."""

    def heard(self, link: Link) -> None:
        """Bytes came that do not complete a message."""

    def offended(self, link: Link, error: PeerError) -> None:
        """The peer's bytes made no sense; before or after the handshake."""

    def writable(self, link: Link) -> None:
        """The transport wants more."""

    def unread(self, link: Link, size: int) -> None:
        """So many bytes wait for a peer that does not read: more than may; it did nothing wrong."""

    def connection_lost(self, link: Link, reason: str) -> None:
        """It is gone."""


@implementer(IPushProducer)
class Link(Protocol):
    """I am one connection of a node."""

    def __init__(self, owner: Owner, initiator: bool, address: str) -> None:
        self.owner = owner
        self.initiator = initiator
        self.address = address
        self.host = ""
        self.channel = owner.channel(initiator)
        self.session: int | None = None
        self.paused = False
        self.closing = False
        self.offended = False
        self.ended: tuple[int, str] | None = None
        """With which code it was closed in order, by us or the peer, and why."""
        self.refusal: int | None = None
        self.entries_out = 0
        self.told_bytes = 0
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._given_bytes = 0
        self._deadline: Any = None
        self.turn = owner.turns.turn()
        self._inbox = Inbox(self.channel)
        self.chores = Chores(owner.turns, self.turn, self.abort)
        self._may_read = True

    # -- Twisted calls

    def connectionMade(self) -> None:
        """Start the handshake, or wait for the dialler's."""
        transport: Any = self.transport
        transport.bufferSize = limits.OUTPUT_WINDOW_BYTES
        self.host = getattr(transport.getPeer(), "host", "")
        if not self.owner.connection_made(self):
            self.abort()
            return
        self._deadline = self.owner.reactor.callLater(limits.HANDSHAKE_SECONDS, self._too_late)
        if self.initiator:
            tune(transport)
            transport.registerProducer(self, True)
            transport.write(self.channel.start())

    def dataReceived(self, data: bytes) -> None:
        """Go on with the handshake; once it is done, deal with what came when it is this session's turn."""
        if self.closing:
            return
        channel = self.channel
        was_up = channel.established
        if not (channel.bytes_in or self.initiator) and self.locate():
            self.owner.located(self)
        try:
            channel.receive(data, most=0)
        except PeerError as error:
            self.refuse(error)
            return
        if channel.unanswered:
            self.owner.asked(self)
            return
        if self.initiator and not was_up:
            self._write(channel.outgoing())
        if channel.established and not was_up:
            self._cancel_deadline()
            narrow(self.transport)
            self.owner.established(self)
        if channel.established:
            self._inbox.was_read(len(data))
            if self.has_work():
                self.owner.turns.came(self)
            elif not self.turn.waits:
                self._report_cost()
                self.owner.heard(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        problem = failing(reason)
        if not (self.closing or self.channel.established):
            self.refusal = self.channel.take_refusal()
            if problem:
                self.refuse(HandshakeError(problem))
        self.closing = True
        self.chores.clear()
        self._cancel_deadline()
        self.owner.connection_lost(self, problem or reason.getErrorMessage())

    def pauseProducing(self) -> None:
        """The transport holds as much as it should."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The transport is empty."""
        self.paused = False
        if not self.closing:
            self._write_unsent()
        if not self.paused and not self.closing:
            self._given_bytes = 0
            self.chores.put(lambda: self.owner.writable(self))

    def stopProducing(self) -> None:
        """The transport takes nothing more."""
        self.paused = True

    # -- turns

    def has_work(self) -> bool:
        """Whether something came that may be looked at."""
        return len(self._inbox) > 0 and self._may_read and not self.closing

    def work(self, seconds: float, *, small: bool = False) -> float:
        """Deal with what came, some messages at once, until that took so long or is done; returns how long it took.

        Where time stands still, that is what it costs by the table of prices.
        """
        spent = self.owner.turns.spent
        begun = spent()
        priced = used = 0.0
        while used < seconds and self.has_work() and (not small or self._inbox.is_small):
            messages, milliseconds, garbage = self._inbox.take(small=small, peers=len(self.owner.peers))
            priced += milliseconds / 1000
            self._report_cost()
            if messages:
                self.owner.received(self, messages)
            if garbage is not None and not self.closing:
                self.refuse(garbage)
            if not messages and not self.has_work() and not self.closing:
                self.owner.heard(self)
            used = (spent() - begun) or priced
        return used

    def _report_cost(self) -> None:
        if points := self._inbox.cost():
            self.owner.toiled(self, points)

    def rest(self, waits: bool) -> None:
        """Read nothing more before what came is dealt with."""
        self._read_on()

    def _read_on(self) -> None:
        if not self.closing:
            transport: Any = self.transport
            reads = self._may_read and not self.turn.waits
            transport.resumeProducing() if reads else transport.pauseProducing()

    # -- the node calls

    def locate(self) -> bool:
        """Look where the peer is; True if a proxy has said meanwhile that it speaks for somebody else."""
        transport: Any = self.transport
        peer = transport.getPeer()
        host = getattr(peer, "host", "")
        if host == self.host:
            return False
        self.host, self.address = host, describe(peer)
        return True

    @property
    def kept_bytes(self) -> int:
        """What I keep, of messages that are not complete or wait for their turn, and unsent."""
        unsent = self.unsent_bytes + PART_BYTES * len(self._unsent) + PART_BYTES * len(self._inbox)
        return self.channel.buffered_bytes * 9 // 8 + unsent

    @property
    def unsent_bytes(self) -> int:
        """About what waits for the peer to read."""
        return self._unsent_bytes + unsent_bytes(self.transport)

    @property
    def waiting(self) -> int:
        """Messages that came and wait for their turn, about."""
        return len(self._inbox)

    def answer(self) -> None:
        """Go on with the handshake of who dialled."""
        try:
            answer = self.channel.outgoing()
        except PeerError as error:
            self.refuse(error)
            return
        transport: Any = self.transport
        tune(transport)
        transport.registerProducer(self, True)
        transport.write(answer)

    def send(self, message: Message) -> None:
        """Put one message on the wire, with the next :meth:`flush` or when the transport takes more."""
        if self.closing:
            return
        frame = encode(message)
        self._unsent.append(frame)
        self._unsent_bytes += len(frame)
        self._given_bytes += weight(message, len(frame))
        if type(message) is Segment:
            self.entries_out += message.count
        if self.paused and self._unsent_bytes > limits.MAX_UNSENT_BYTES:
            self.owner.unread(self, self._unsent_bytes)

    def flush(self) -> bool:
        """Write what was sent, small messages in one record; True if that was some and the transport takes more."""
        if not (self.paused or self.closing):
            self._write_unsent()
        if self.paused or self.closing or self._given_bytes < FEW_BYTES:
            return False
        self._given_bytes = 0
        return True

    def say_bye(self, code: int, reason: str, *, by_peer: bool) -> None:
        """End the connection in order: BYE, unless it was the peer's, then close."""
        if self.closing:
            return
        self.ended = code, f"it said BYE: {reason or f'code {code}'}" if by_peer else reason
        if not self.channel.established:
            self._hang_up(code)
            return
        if not by_peer:
            text = reason.encode(errors="replace")[: limits.MAX_TEXT_BYTES].decode(errors="ignore")
            self._unsent.append(encode(Bye(code, text)))
        self._write_unsent()
        self._close()

    def abort(self) -> None:
        """End the connection at once, and say nothing."""
        self.closing = True
        self._cancel_deadline()
        transport: Any = self.transport
        transport.abortConnection()

    def give_up(self) -> None:
        """In a child by fork, without the socket: do nothing any more."""
        self.closing = self.paused = True
        self.chores.clear()
        self._cancel_deadline()

    def read(self, allowed: bool) -> None:
        """Go on reading from the peer, or stop because the store is behind."""
        self._may_read = allowed
        self._read_on()
        if self.has_work():
            self.owner.turns.came(self)

    # --

    def _write_unsent(self) -> None:
        if self._unsent:
            unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
            self._write(self.channel.send(*unsent))

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def _too_late(self) -> None:
        self._deadline = None
        error: PeerError = PeerTimeoutError(f"no handshake within {limits.HANDSHAKE_SECONDS:.0f} seconds")
        if self.channel.unanswered:
            error = LimitExceededError(f"too many handshakes, for {limits.HANDSHAKE_SECONDS:.0f} seconds")
        self.refuse(error)

    def refuse(self, error: PeerError) -> None:
        """The peer did what it may not do; in the handshake only those are told who have to go for want of room."""
        self.offended = True
        self.owner.offended(self, error)
        if self.closing:
            return
        if isinstance(error, HandshakeError):
            self.abort()
        elif not self.channel.established:
            self._hang_up(error.code)

    def _hang_up(self, code: int) -> None:
        """End in the handshake; who showed the network key, and waits for the answer, is told why."""
        transport: Any = self.transport
        if not (self.channel.unanswered and hasattr(type(transport), "loseWriteConnection")):
            self.abort()  # of a wrapper, such as TLS, the end could take a while
            return
        self.closing = True
        self._cancel_deadline()
        transport.write(self.channel.refuse(code))
        transport.loseConnection()

    def _close(self) -> None:
        """Close our side once everything written is out, and the other when the peer does.

        Until then what comes is read and ignored: bytes left unread would turn our close into a reset, which may
        overtake BYE.  A peer that does not read, or goes on sending, is cut off after a while.
        """
        self.closing = True
        self.channel.drop()
        self._cancel_deadline()
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        if hasattr(type(transport), "loseWriteConnection"):  # not through a wrapper, such as TLS
            transport.loseWriteConnection()
        else:
            transport.loseConnection()
        self._deadline = self.owner.reactor.callLater(limits.CLOSE_SECONDS, transport.abortConnection)

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
