"""Targets: what comes over a connection, up to a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import product

from gossiplog import limits
from gossiplog.errors import (
    BadExportError,
    ChannelError,
    FrameTooLargeError,
    HandshakeError,
    InvalidValueError,
    MalformedMessageError,
    NetworkMismatchError,
    PeerError,
)
from gossiplog.gossip.messages import Unknown
from gossiplog.gossip.quotas import Quotas
from gossiplog.live.hands import OwnHands
from gossiplog.live.importing import StreamImport
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.wire.channel import PROLOGUE, Channel
from gossiplog.wire.codec import decode, encode
from gossiplog.wire.export import MAGIC, ExportReader
from gossiplog.wire.frames import FRAME_HEADER, FrameReader, frame
from gossiplog.wire.noise import MESSAGE_BYTES, Handshake
from tests.fuzz.people import vectors
from tests.fuzz.target import Consumer, Target

NETWORK, DIALLER, LISTENER = b"n" * 32, b"\x11" * 32, b"\x22" * 32
CEILING = 300


def check_frames(data: bytes) -> None:
    """However a stream is cut, the same frames come out, and little is held."""
    consumer = Consumer(data)
    plan = Consumer(consumer.some(20))
    stream = consumer.rest()
    pieces = plan.cut(stream)
    whole, cut = FrameReader(CEILING), FrameReader(CEILING)
    expected, refused = [], False
    position = 0
    while len(stream) - position >= FRAME_HEADER.size and not refused:
        size = FRAME_HEADER.unpack_from(stream, position)[0]
        refused = size > CEILING
        if refused or position + FRAME_HEADER.size + size > len(stream):
            break
        position += FRAME_HEADER.size
        expected.append(stream[position : position + size])
        position += size
    try:
        assert whole.feed(stream) == expected and not refused
    except FrameTooLargeError:
        assert refused
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += cut.feed(piece)
            assert cut.buffered_bytes <= CEILING + FRAME_HEADER.size
    except FrameTooLargeError:
        assert refused and found == expected[: len(found)]
    else:
        assert found == expected and not refused
    assert b"".join(map(frame, found)) == stream[: sum(map(len, found)) + FRAME_HEADER.size * len(found)]


def _transcript() -> tuple[bytes, bytes, tuple[bytes, ...]]:
    """What an honest dialler and an honest listener say, and the frames of either."""
    dialler, listener = _channel(True), _channel(False)
    said, heard = dialler.start(), b""
    listener.receive(said)
    heard = listener.outgoing()
    dialler.receive(heard)
    said += (third := dialler.outgoing())
    listener.receive(third)
    frames = (b"", b"one", b"two" * 40, b"three")
    said += b"".join(map(dialler.send, frames))
    heard += b"".join(map(listener.send, frames))
    return said, heard, frames


def _channel(dials: bool) -> Channel:
    secret = DIALLER if dials else LISTENER
    return Channel(dials, secret, NETWORK, ephemeral=secret[::-1], ceiling=CEILING)


def _in_turn(pieces: Iterable[bytes], first_bytes: int) -> Iterator[bytes]:
    """Cut once more behind the first message: a dialler says nothing else before it is answered."""
    position = 0
    for piece in pieces:
        cut = first_bytes - position
        position += len(piece)
        yield from (piece[:cut], piece[cut:]) if 0 < cut < len(piece) else (piece,)


def check_channel(data: bytes) -> None:
    """What was altered on the way is never a frame, ends the channel for good, and learns nothing from it."""
    consumer = Consumer(data)
    dials = consumer.chance(2)
    honest = _HEARD if dials else _SAID
    kind = consumer.number(3)
    if kind == 0:
        stream = consumer.spoil(honest)
    elif kind == 1:
        stream = honest[: consumer.number(len(honest) + 1)] + consumer.some(255)
    else:
        stream = consumer.some(255)
    same = next((at for at, pair in enumerate(zip(stream, honest, strict=False)) if pair[0] != pair[1]), None)
    altered = min(len(stream), len(honest)) if same is None else same
    channel = _channel(dials)
    channel.start()
    found: list[bytes] = []
    position = 0
    for piece in _in_turn(consumer.cut(stream), len(stream) if dials else 1 + MESSAGE_BYTES[0]):
        try:
            found += channel.receive(piece)
        except PeerError as error:
            assert position + len(piece) > altered, "an honest beginning was refused"
            assert isinstance(error, HandshakeError | ChannelError | FrameTooLargeError)
            assert channel.outgoing() == b""
            for again in (b"", honest, piece):
                try:
                    channel.receive(again)
                except PeerError as same_error:
                    assert same_error is error
                else:
                    raise AssertionError("went on after an error")
            break
        position += len(piece)
        answer = channel.outgoing()
        assert dials or not answer or altered >= 1 + MESSAGE_BYTES[0], "a stranger got an answer"
        assert channel.established or not found
    assert tuple(found) == _FRAMES[: len(found)], "a frame that nobody sent"
    if altered < len(honest):
        assert len(found) < len(_FRAMES)
    elif len(stream) == len(honest):
        assert tuple(found) == _FRAMES and channel.established
    assert not channel.established or altered >= (96 if dials else 1 + 48 + 64)


_SAID, _HEARD, _FRAMES = _transcript()


class _Liar(Handshake):
    """I know the network key, and say any bytes for a public key."""

    claims = b""

    def _write_ephemeral(self) -> bytes:
        self._symmetric.mix_hash(self.claims)
        self._symmetric.mix_key(self.claims)
        return self.claims

    def _write_static(self) -> bytes:
        return self._symmetric.encrypt_and_hash(self.claims)


def check_handshake(data: bytes) -> None:
    """A member's message is taken or a HandshakeError, whatever its keys are; after that nothing goes on."""
    consumer = Consumer(data)
    listens = consumer.chance(2)
    lies_about_static = consumer.chance(2)
    liar = _Liar(listens, DIALLER, NETWORK, PROLOGUE, DIALLER[::-1])
    honest = Handshake(not listens, LISTENER, NETWORK, PROLOGUE, LISTENER[::-1])
    liar.claims = consumer.take(32)
    turn: Handshake = liar if listens else honest
    if lies_about_static:
        liar._write_ephemeral = lambda: Handshake._write_ephemeral(liar)  # type: ignore[method-assign]
    try:
        for _ in range(3):
            try:
                message = turn.write(consumer.some(20))
            except HandshakeError:
                assert turn is honest or not honest.finished
                break
            if turn is liar and consumer.chance(3):
                message = consumer.spoil(message)
            other = honest if turn is liar else liar
            other.read(message)
            turn = other
    except HandshakeError:
        pass
    if honest.finished:
        sender, receiver = honest.split()
        assert len(honest.peer_static or b"") == 32 and len(honest.handshake_hash) == 32
        assert len(sender.encrypt(b"")) == 16
        try:
            receiver.decrypt(consumer.rest())
            raise AssertionError("a record that nobody made was taken")
        except ChannelError:
            pass
        return
    for step in (honest.write, lambda: honest.read(bytes(100)), honest.split):
        try:
            step()
            assert step == honest.write, "went on"
        except (InvalidValueError, HandshakeError):
            pass


def check_message(data: bytes) -> None:
    """A frame is malformed, passed over, or a message with one form that every node reads alike."""
    try:
        message = decode(data)
    except MalformedMessageError:
        message = None
    if data.startswith(b"\x97\x05"):
        try:
            careful = decode(b"\xdc\0\x07" + data[1:])
        except MalformedMessageError:
            careful = None
        assert careful == message, "two ways of reading a SEGMENT differ"
    if message is None or type(message) is Unknown:
        return
    frame = encode(message)
    assert decode(frame) == message and encode(decode(frame)) == frame
    assert len(frame) <= max(len(data), limits.MAX_FRAME_BYTES) and hash(message) == hash(decode(frame))
    size = len(getattr(message, "bodies", b"")) // 2
    assert len(frame) - size <= max(len(data) + 8, 2 * len(data)), "a small frame stands for a large message"


def check_built_message(data: bytes) -> None:
    """The same for frames that are messages with places altered."""
    consumer = Consumer(data)
    check_message(consumer.spoil(consumer.choose(_MESSAGES)))


_MESSAGES = [bytes.fromhex(case["hex"]) for kind in vectors("wire_messages").values() for case in kind]
_STREAMS = [b"", b"\0" + b"\0\0\0\1a\0\0\0\0\0\0\0\2bc", b"\1" + bytes(20), b"\0\0\0\1\x2d" + bytes(9)]

_CHANNELS = [bytes(case) for case in product((0, 1), (0, 1, 2), (0, 40, 120), (0,), (0, 3))]
_HANDSHAKES = [bytes((a, b)) + key for a, b, key in product((0, 1), (0, 1), (bytes(32), b"\1" * 40))]


def check_export(data: bytes) -> None:
    """However an export is cut, the same comes out of it, and is taken by the rules or said to be wrong."""
    consumer = Consumer(data)
    plan = Consumer(consumer.some(20))
    known = vectors("log_exports")
    stream = bytes.fromhex(consumer.choose([*known["whole"], *known["not_whole"]])["export"])
    stream = consumer.choose((stream, MAGIC + frame(b"\x92\x00\xc0") + consumer.some(200)))
    stream = consumer.spoil(stream) if consumer.chance(2) else stream + consumer.rest()
    whole, cut = ExportReader(), ExportReader()
    expected, wrong = whole.feed(stream)
    found: list[object] = []
    for piece in plan.cut(stream):
        some, refused = cut.feed(piece)
        found += some
        if refused is not None:
            break
    else:
        refused = None
    assert found == expected and str(refused) == str(wrong)
    logs = Logs(MemoryBackend())
    importing = StreamImport(OwnHands(logs), Quotas())
    with suppress(BadExportError, NetworkMismatchError):
        importing.run([stream])
        assert whole.ended
    assert logs.verify().ok and not logs.holes()


TARGETS = [
    Target("export", check_export, [bytes([4, 1, 2, 3, 4, number, 0, 0]) for number in range(25)]),
    Target("frames", check_frames, _STREAMS),
    Target("channel", check_channel, _CHANNELS),
    Target("handshake", check_handshake, _HANDSHAKES),
    Target("message", check_message, _MESSAGES),
    Target("built-message", check_built_message, [bytes((number, 0, 1, 0, 3)) for number in range(20)]),
]
