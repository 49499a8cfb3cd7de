"""The encrypted channel between two nodes: plain frames on our side, bytes of the connection on the other.

Responsible for: the handshake-version byte, order and fixed lengths of the handshake messages, cutting frames
into encrypted records and back.
Must not know: transports, time, what is in a frame.
Invariant: a listener has sent nothing before the first message proved that the dialler knows the network key;
while the handshake lasts nothing beyond its messages is kept; after the first error nothing more is received.

On the wire (specification, "Channel")::

    dialler:   version u8 | message 1, 48 bytes |                      | message 3, 64 bytes | records
    listener:                                   | message 2, 96 bytes |                      | records
         or:                                    | refusal, 18 bytes   | end
    record:    length u16 | ciphertext of that length, at most 65,535 bytes
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Final

from gossiplog.errors import (
    HandshakeError,
    InvalidValueError,
    PeerError,
    WrongNetworkError,
    WrongProtocolError,
)
from gossiplog.limits import MAX_FRAME_BYTES
from gossiplog.wire.frames import FRAME_HEADER, RECORD_HEADER, FrameReader, cut
from gossiplog.wire.noise import MESSAGE_BYTES, TAG_BYTES, CipherState, Handshake

HANDSHAKE_VERSION: Final = 1
PROLOGUE: Final = b"gossiplog/1"
"""Mixed into the handshake with the version byte, so that nobody between the nodes can change the version."""

REFUSAL: Final = Struct(">H")
REFUSAL_BYTES: Final = REFUSAL.size + TAG_BYTES

MAX_RECORD_BYTES: Final = 65_535
MAX_RECORD_PLAINTEXT_BYTES: Final = MAX_RECORD_BYTES - TAG_BYTES

_STRANGERS: Final = (
    (b"\x16", "TLS"),
    (b"\x15\x03\x01\x00\x02", "TLS"),
    (b"\x15\x03\x03\x00\x02", "TLS"),
    (b"GET ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"OPTIONS ", "HTTP"),
    (b"CONNECT ", "HTTP"),
    (b"PRI ", "HTTP/2"),
    (b"HTTP/", "HTTP"),
    (b"SSH-", "SSH"),
)
"""What others say first; one of four bytes or more does not begin a message of ours by accident."""


class Channel:
    """I encrypt and decrypt for one side of one connection.

    :param initiator: whether we dialled.
    :param static_key: our node's X25519 secret, 32 bytes.
    :param network_key: 32 bytes that every node of the network knows.
    :param ephemeral: given only by tests and simulations.
    :param ceiling: the largest frame that is taken or sent.

    >>> dialler, listener = Channel(True, bytes(32), b"n" * 32), Channel(False, b"\\1" * 32, b"n" * 32)
    >>> listener.receive(dialler.start()), dialler.receive(listener.outgoing())
    ([], [])
    >>> listener.receive(dialler.outgoing() + dialler.send(b"hello")), listener.established
    ([b'hello'], True)
    """

    def __init__(
        self,
        initiator: bool,
        static_key: bytes,
        network_key: bytes,
        *,
        ephemeral: bytes | None = None,
        ceiling: int = MAX_FRAME_BYTES,
    ) -> None:
        self.initiator = initiator
        self.handshake_version = HANDSHAKE_VERSION
        self.bytes_in = 0
        self.bytes_out = 0
        prologue = PROLOGUE + bytes((HANDSHAKE_VERSION,))
        self._handshake = Handshake(initiator, static_key, network_key, prologue, ephemeral)
        self._expected = MESSAGE_BYTES[1] if initiator else 1
        self._received = b""
        self._outgoing = b""
        self.first = b""
        """The first message of a dialler that knows the network key, once it came."""
        self.unanswered = False
        """Whether :meth:`outgoing` would answer it, which costs three exchanges of keys."""
        self._sender: CipherState | None = None
        self._receiver: CipherState | None = None
        self._ceiling = ceiling
        self._records = FrameReader(MAX_RECORD_BYTES, RECORD_HEADER)
        self._frames = FrameReader(ceiling)
        self._failure: PeerError | None = None
        self._waiting: deque[bytes] = deque()

    @property
    def waiting(self) -> int:
        """How many records :meth:`receive` was told to leave."""
        return len(self._waiting)

    @property
    def next_bytes(self) -> int:
        """How many bytes the first of these has."""
        return len(self._waiting[0]) if self._waiting else 0

    @property
    def established(self) -> bool:
        """Whether the handshake is done: only then there is a peer, and frames can be sent."""
        return self._sender is not None

    @property
    def peer(self) -> bytes:
        """The other node's id, its X25519 public key."""
        if not self.established or self._handshake.peer_static is None:
            raise InvalidValueError("the channel is not established: there is no peer yet")
        return self._handshake.peer_static

    @property
    def handshake_hash(self) -> bytes:
        """32 bytes that only the two sides of this connection share."""
        if not self.established:
            raise InvalidValueError("the channel is not established: there is no handshake hash yet")
        return self._handshake.handshake_hash

    @property
    def buffered_bytes(self) -> int:
        """How much is held of a record and of a frame that are not complete."""
        return self._records.buffered_bytes + self._frames.buffered_bytes

    def drop(self) -> None:
        """Nothing more is received: forget what is not complete."""
        self._records = self._frames = FrameReader()

    def start(self) -> bytes:
        """Return what we send first: nothing when we listen."""
        if not self.initiator:
            return b""
        return self._counted_out(bytes((HANDSHAKE_VERSION,)) + self._handshake.write())

    def outgoing(self) -> bytes:
        """Return, once, what the handshake has to send; empty most of the time.

        :raises HandshakeError: there is no answer to the first message, for its key is of low order.
        """
        if self.unanswered:
            self.unanswered = False
            try:
                self._outgoing = self._handshake.write()
            except HandshakeError as error:
                self._failure = error
                raise
        data, self._outgoing = self._outgoing, b""
        return self._counted_out(data)

    def refuse(self, code: int) -> bytes:
        """Return what tells a dialler who knows the network key why it is not answered; nothing if it was already."""
        if not self.unanswered:
            return b""
        self.unanswered = False
        return self._counted_out(self._handshake.refuse(REFUSAL.pack(code)))

    def take_refusal(self) -> int | None:
        """Return, once, the code with which a listener of our network ended the connection in its handshake."""
        if not self.initiator or self.established or len(self._received) != REFUSAL_BYTES:
            return None
        refusal, self._received = self._received, b""
        try:
            [code] = REFUSAL.unpack(self._handshake.read_refusal(refusal))
        except HandshakeError:
            return None
        return int(code)

    def send(self, *bodies: bytes) -> bytes:
        """Return the bytes that carry one frame for each of ``bodies``, in as few records as they fit in."""
        sender = self._sender
        if sender is None:
            raise InvalidValueError("the channel is not established: nothing can be sent yet")
        plaintext: list[bytes] = []
        for body in bodies:
            size = len(body)
            if size > self._ceiling:
                raise InvalidValueError(f"a frame of {size} bytes; at most {self._ceiling} are allowed")
            plaintext += (FRAME_HEADER.pack(size), body)
        parts: list[bytes] = []
        for piece in cut(plaintext, MAX_RECORD_PLAINTEXT_BYTES):
            ciphertext = sender.encrypt(piece)
            parts += (RECORD_HEADER.pack(len(ciphertext)), ciphertext)
        return self._counted_out(b"".join(parts))

    def receive(self, data: bytes, most: int | None = None) -> list[bytes]:
        """Take bytes of the connection, cut anywhere; return the frames that are complete now.

        With ``most``, decrypt no more than so many records and keep the others, at most those in ``data``, for the next
        call, which may have no data.  Ask for :meth:`outgoing` and :attr:`established` after each call.

        :raises HandshakeError: the other side is not a node of our network; nothing is to be sent to it.
        :raises ChannelError: a record was damaged, replayed or reordered.
        :raises FrameTooLargeError: a frame above the ceiling was announced.
        """
        self.bytes_in += len(data)
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        try:
            if self._receiver is None:
                data = self._receive_handshake(data)
                if self._receiver is None:
                    return []
            decrypt = self._receiver.decrypt
            feed = self._frames.feed
            frames: list[bytes] = []
            waiting = self._waiting
            waiting.extend(self._records.feed(data))
            for _ in range(len(waiting) if most is None else min(most, len(waiting))):
                frames += feed(decrypt(waiting.popleft()))
            return frames
        except PeerError as error:
            self._failure = error
            self._outgoing = b""
            self.unanswered = False
            self._waiting.clear()
            raise

    def _receive_handshake(self, data: bytes) -> bytes:
        """Take the elements that are complete; return what comes after the handshake."""
        position = 0
        while self._receiver is None:
            if self.unanswered:
                if position < len(data):
                    raise HandshakeError("the dialler went on before it was answered")
                return b""
            end = position + self._expected - len(self._received)
            self._received += data[position:end]
            if self.initiator:
                _refuse_stranger(self._received, least=4)
            if end > len(data):
                return b""
            message, self._received = self._received, b""
            if self._expected == 1:
                self._take_version(message, data)
            elif self._expected == MESSAGE_BYTES[0]:
                self._take_first(message)
            else:
                self._take_last(message)
            position = end
        return data[position:]

    def _take_version(self, version: bytes, data: bytes) -> None:
        if version[0] != HANDSHAKE_VERSION:
            _refuse_stranger(data)
            raise WrongProtocolError(
                f"the first byte is {version[0]}; the handshake version is {HANDSHAKE_VERSION}"
            )
        self._expected = MESSAGE_BYTES[0]

    def _take_first(self, message: bytes) -> None:
        try:
            self._handshake.read(message)
        except HandshakeError as error:
            raise WrongNetworkError(f"the dialler does not know our network key: {error}") from None
        self.first = message
        self.unanswered = True
        self._expected = MESSAGE_BYTES[2]

    def _take_last(self, message: bytes) -> None:
        self._handshake.read(message)
        if self.initiator:
            self._outgoing = self._handshake.write()
        self._sender, self._receiver = self._handshake.split()

    def _counted_out(self, data: bytes) -> bytes:
        self.bytes_out += len(data)
        return data


def _refuse_stranger(data: bytes, least: int = 1) -> None:
    """Raise when ``data`` begins like another protocol, as far as it goes but ``least`` bytes or more."""
    for beginning, name in _STRANGERS:
        if len(data) >= least <= len(beginning) and beginning.startswith(data[: len(beginning)]):
            raise WrongProtocolError(f"the other side speaks {name}, not gossiplog")
