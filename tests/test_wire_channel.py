"""Rings 1 and 3: the encrypted channel, both sides, however the bytes arrive and whoever sends them."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_base
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import (
    ByeCode,
    ChannelError,
    FrameTooLargeError,
    HandshakeError,
    InvalidValueError,
    PeerError,
    WrongNetworkError,
    WrongProtocolError,
)
from gossiplog.limits import MAX_FRAME_BYTES
from gossiplog.wire.channel import MAX_RECORD_BYTES, MAX_RECORD_PLAINTEXT_BYTES, REFUSAL_BYTES, Channel
from gossiplog.wire.frames import RECORD_HEADER
from gossiplog.wire.noise import MESSAGE_BYTES, Handshake

NETWORK = b"n" * 32
STRANGERS = {
    "HTTP": [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"G",
        b"P",
    ],
    "TLS": [bytes.fromhex("16030100c8010000c40303") + bytes(190), b"\x16"],
    "SSH": [b"SSH-2.0-OpenSSH_9.2\r\n", b"S"],
}


def secret(name: str) -> bytes:
    """Return a fixed key for a test."""
    return sha256(name.encode()).digest()


def pair(
    network: bytes = NETWORK, other: bytes = NETWORK, ceiling: int = MAX_FRAME_BYTES
) -> tuple[Channel, Channel]:
    """Return a dialler and a listener with fixed keys that have not said anything yet."""
    return (
        Channel(True, secret("dialler"), network, ephemeral=secret("ephemeral d"), ceiling=ceiling),
        Channel(False, secret("listener"), other, ephemeral=secret("ephemeral l"), ceiling=ceiling),
    )


def established(ceiling: int = MAX_FRAME_BYTES) -> tuple[Channel, Channel]:
    """Return a pair after its handshake."""
    dialler, listener = pair(ceiling=ceiling)
    listener.receive(dialler.start())
    dialler.receive(listener.outgoing())
    listener.receive(dialler.outgoing())
    return dialler, listener


def by_byte(channel: Channel, data: bytes) -> list[bytes]:
    """Feed one byte at a time."""
    return [frame for index in range(len(data)) for frame in channel.receive(data[index : index + 1])]


class Shaking(SynchronousTestCase):
    def test_both_sides(self) -> None:
        dialler, listener = established()
        self.assertTrue(dialler.established and listener.established)
        self.assertEqual(dialler.peer, crypto_scalarmult_base(secret("listener")))
        self.assertEqual(listener.peer, crypto_scalarmult_base(secret("dialler")))
        self.assertEqual(dialler.handshake_hash, listener.handshake_hash)
        self.assertEqual((dialler.handshake_version, listener.handshake_version), (1, 1))
        self.assertEqual((dialler.outgoing(), listener.outgoing()), (b"", b""))

    def test_lengths_and_counters(self) -> None:
        dialler, listener = pair()
        first = dialler.start()
        self.assertEqual((len(first), first[0], listener.start()), (1 + MESSAGE_BYTES[0], 1, b""))
        listener.receive(first)
        second = listener.outgoing()
        dialler.receive(second)
        third = dialler.outgoing()
        listener.receive(third)
        self.assertEqual((len(second), len(third)), MESSAGE_BYTES[1:])
        self.assertEqual((dialler.bytes_out, dialler.bytes_in), (113, 96))
        self.assertEqual((listener.bytes_out, listener.bytes_in), (96, 113))
        record = dialler.send(b"abc")
        listener.receive(record)
        self.assertEqual(len(record), 2 + 16 + 4 + 3)
        self.assertEqual((dialler.bytes_out, listener.bytes_in), (113 + 25, 113 + 25))

    def test_byte_by_byte(self) -> None:
        dialler, listener = pair()
        self.assertEqual(by_byte(listener, dialler.start()), [])
        self.assertEqual(by_byte(dialler, listener.outgoing()), [])
        self.assertEqual(
            by_byte(listener, dialler.outgoing() + dialler.send(b"a") + dialler.send(b"")), [b"a", b""]
        )
        self.assertEqual(by_byte(dialler, listener.send(b"b" * 70_000)), [b"b" * 70_000])

    def test_frames_right_behind_the_handshake(self) -> None:
        for cut in range(64 + 60):
            dialler, listener = pair()
            listener.receive(dialler.start())
            dialler.receive(listener.outgoing())
            data = dialler.outgoing() + dialler.send(b"hello") + dialler.send(b"again")
            self.assertEqual(
                listener.receive(data[:cut]) + listener.receive(data[cut:]), [b"hello", b"again"]
            )

    def test_both_send_at_once(self) -> None:
        dialler, listener = established()
        ours = b"".join(dialler.send(bytes([n]) * n * 1000) for n in range(100))
        theirs = b"".join(listener.send(bytes([n]) * n) for n in range(100))
        self.assertEqual(listener.receive(ours), [bytes([n]) * n * 1000 for n in range(100)])
        self.assertEqual(dialler.receive(theirs), [bytes([n]) * n for n in range(100)])

    def test_every_connection_has_its_own_keys(self) -> None:
        hashes = set()
        for _ in range(5):
            dialler, listener = Channel(True, bytes(32), NETWORK), Channel(False, bytes(32), NETWORK)
            listener.receive(dialler.start())
            dialler.receive(listener.outgoing())
            hashes.add(dialler.handshake_hash)
        self.assertEqual(len(hashes), 5)

    def test_not_yet(self) -> None:
        for channel in pair():
            self.assertFalse(channel.established)
            self.assertRaises(InvalidValueError, channel.send, b"")
            self.assertRaises(InvalidValueError, lambda channel=channel: channel.peer)
            self.assertRaises(InvalidValueError, lambda channel=channel: channel.handshake_hash)

    def test_a_listener_is_not_established_before_the_third_message(self) -> None:
        dialler, listener = pair()
        listener.receive(dialler.start())
        self.assertFalse(listener.established)
        dialler.receive(listener.outgoing())
        self.assertTrue(dialler.established)
        self.assertFalse(listener.established)

    def test_keys_are_checked(self) -> None:
        self.assertRaises(InvalidValueError, Channel, True, bytes(31), NETWORK)
        self.assertRaises(InvalidValueError, Channel, True, bytes(32), b"name")


class Strangers(SynchronousTestCase):
    def refused(self, listener: Channel, data: bytes, kind: type[PeerError]) -> PeerError:
        """Check that a listener refuses, has said nothing, and goes on refusing."""
        error = self.assertRaises(kind, listener.receive, data)
        self.assertEqual((listener.outgoing(), listener.bytes_out, listener.established), (b"", 0, False))
        again = self.assertRaises(kind, listener.receive, b"more")
        self.assertIs(again, error)
        self.assertEqual(error.code, ByeCode.MALFORMED)
        return error

    def test_other_protocols_are_named(self) -> None:
        for name, beginnings in STRANGERS.items():
            for data in beginnings:
                error = self.refused(pair()[1], data, WrongProtocolError)
                self.assertIn(name, str(error))

    def test_the_first_byte_is_enough(self) -> None:
        for byte in range(256):
            if byte != 1:
                self.refused(pair()[1], bytes([byte]), WrongProtocolError)

    def test_another_handshake_version_is_named(self) -> None:
        error = self.refused(pair()[1], b"\x02" + bytes(48), WrongProtocolError)
        self.assertIn("2", str(error))

    def test_the_version_is_part_of_the_handshake(self) -> None:
        for prologue in (b"gossiplog/1\x02", b"gossiplog/1", b""):
            first = Handshake(True, secret("dialler"), NETWORK, prologue).write()
            self.refused(pair()[1], b"\x01" + first, WrongNetworkError)
        _, listener = pair()
        listener.receive(b"\x01" + Handshake(True, secret("dialler"), NETWORK, b"gossiplog/1\x01").write())
        self.assertEqual(len(listener.outgoing()), MESSAGE_BYTES[1])

    def test_another_network(self) -> None:
        dialler, listener = pair(b"a" * 32, b"b" * 32)
        self.refused(listener, dialler.start(), WrongNetworkError)

    def test_random_bytes(self) -> None:
        for n in range(50):
            noise = b"".join(sha256(bytes([n, k])).digest() for k in range(5))
            self.refused(pair()[1], b"\x01" + noise, WrongNetworkError)

    def test_nothing_is_said_before_the_whole_first_message(self) -> None:
        dialler, listener = pair()
        first = dialler.start()
        for index in range(len(first) - 1):
            listener.receive(first[index : index + 1])
            self.assertEqual(listener.outgoing(), b"")
        listener.receive(first[-1:])
        self.assertEqual(len(listener.outgoing()), MESSAGE_BYTES[1])

    def test_replayed_first_message(self) -> None:
        # Who recorded a first message learns that a member listens here, and gets no further.
        dialler, listener = pair()
        first = dialler.start()
        listener.receive(first)
        dialler.receive(listener.outgoing())
        third = dialler.outgoing()
        again = Channel(False, secret("listener"), NETWORK)
        again.receive(first)
        self.assertEqual(len(again.outgoing()), MESSAGE_BYTES[1])
        self.assertRaises(HandshakeError, again.receive, third)
        self.assertFalse(again.established)

    def test_low_order_point_of_a_member(self) -> None:
        dialler, listener = pair()
        symmetric = dialler._handshake._symmetric

        def write_ephemeral() -> bytes:
            symmetric.mix_hash(bytes(32))
            symmetric.mix_key(bytes(32))
            return bytes(32)

        self.patch(dialler._handshake, "_write_ephemeral", write_ephemeral)
        listener.receive(dialler.start())
        self.assertRaises(HandshakeError, listener.outgoing)
        self.assertRaises(HandshakeError, listener.receive, bytes(64))
        self.assertEqual(listener.outgoing(), b"")

    def test_a_dialler_that_reached_something_else(self) -> None:
        for name, answer in {
            "HTTP": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
            "TLS": bytes.fromhex("15030300020246"),
        }.items():
            dialler, _ = pair()
            dialler.start()
            error = self.assertRaises(WrongProtocolError, dialler.receive, answer)
            self.assertIn(name, str(error))
            dialler, _ = pair()
            dialler.start()
            self.assertRaises(WrongProtocolError, by_byte, dialler, answer)

    def test_nothing_beyond_the_handshake_is_kept(self) -> None:
        _, listener = pair()
        listener.receive(b"\x01" + bytes(47))
        self.assertEqual(len(listener._received), 47)
        self.assertRaises(WrongNetworkError, listener.receive, bytes(1_000_000))
        self.assertEqual(len(listener._received), 0)
        self.assertEqual(listener._records.buffered_bytes, 0)

    def test_error_in_what_follows_the_first_message_takes_the_answer_back(self) -> None:
        dialler, listener = pair()
        self.refused(listener, dialler.start() + bytes(64), HandshakeError)


class Flipped(SynchronousTestCase):
    def test_any_byte_of_the_first_message(self) -> None:
        first = pair()[0].start()
        for index in range(len(first)):
            for bit in (0x01, 0x80):
                damaged = bytearray(first)
                damaged[index] ^= bit
                _, listener = pair()
                self.assertRaises(HandshakeError, listener.receive, bytes(damaged))
                self.assertEqual(listener.outgoing(), b"")

    def test_any_byte_of_the_second_message(self) -> None:
        dialler, listener = pair()
        listener.receive(dialler.start())
        second = listener.outgoing()
        for index in range(len(second)):
            for bit in (0x01, 0x80):
                damaged = bytearray(second)
                damaged[index] ^= bit
                dialler, _ = pair()
                dialler.start()
                self.assertRaises(HandshakeError, dialler.receive, bytes(damaged))
                self.assertFalse(dialler.established)
                self.assertEqual(dialler.outgoing(), b"")

    def test_any_byte_of_the_third_message(self) -> None:
        for index in range(MESSAGE_BYTES[2]):
            for bit in (0x01, 0x80):
                dialler, listener = pair()
                listener.receive(dialler.start())
                dialler.receive(listener.outgoing())
                third = bytearray(dialler.outgoing())
                third[index] ^= bit
                self.assertRaises(HandshakeError, listener.receive, bytes(third))
                self.assertFalse(listener.established)

    def test_any_byte_of_a_record(self) -> None:
        size = len(established()[0].send(b"hello"))
        for index in range(size):
            dialler, listener = established()
            record = bytearray(dialler.send(b"hello") + dialler.send(b"again"))
            record[index] ^= 0x01
            if index < 2:  # a length: too short fails now, too long when so much has come
                record += bytes(70_000)
            self.assertRaises(ChannelError, listener.receive, bytes(record))
            self.assertRaises(ChannelError, listener.receive, dialler.send(b"more"))

    def test_truncated_anywhere_is_only_incomplete(self) -> None:
        for cut in range(49):
            dialler, listener = pair()
            listener.receive(dialler.start()[:cut])
            self.assertEqual((listener.outgoing(), listener.established), (b"", False))
        data = established()[0].send(b"hello")
        for cut in range(len(data)):
            _, listener = established()
            self.assertEqual(listener.receive(data[:cut]), [])


class Records(SynchronousTestCase):
    def test_sizes(self) -> None:
        most = MAX_RECORD_PLAINTEXT_BYTES - 4
        for size in (
            0,
            1,
            most - 1,
            most,
            most + 1,
            130_900,
            2 * MAX_RECORD_PLAINTEXT_BYTES,
            MAX_FRAME_BYTES,
        ):
            dialler, listener = established()
            body = (b"%d " % size) * size
            body = body[:size]
            data = dialler.send(body)
            lengths = []
            position = 0
            while position < len(data):
                lengths.append(RECORD_HEADER.unpack_from(data, position)[0])
                position += 2 + lengths[-1]
            self.assertEqual(position, len(data))
            self.assertEqual(set(lengths[:-1]) - {MAX_RECORD_BYTES}, set())
            self.assertEqual(len(lengths), max(1, -(-(size + 4) // MAX_RECORD_PLAINTEXT_BYTES)))
            self.assertEqual(listener.receive(data), [body])

    def test_a_full_segment_is_two_records(self) -> None:
        dialler, _ = established()
        self.assertEqual(len(dialler.send(bytes(131_034))), 2 * (2 + MAX_RECORD_BYTES))
        self.assertEqual(MAX_RECORD_PLAINTEXT_BYTES, 65_519)

    def test_whole_or_cut_anywhere(self) -> None:
        bodies = [b"", b"a", b"b" * 300, b"", b"c"]
        dialler, _ = established()
        data = b"".join(map(dialler.send, bodies))
        for cut in range(len(data) + 1):
            _, listener = established()
            self.assertEqual(listener.receive(data[:cut]) + listener.receive(data[cut:]), bodies, cut)
        _, listener = established()
        self.assertEqual(by_byte(listener, data), bodies)

    @settings(derandomize=True, deadline=None, max_examples=40, database=None)
    @given(
        st.lists(st.integers(0, 140_000), max_size=5),
        st.lists(st.integers(1, 100_000), min_size=1, max_size=9),
    )
    def test_cut_many_times(self, sizes: list[int], steps: list[int]) -> None:
        bodies = [bytes([n]) * size for n, size in enumerate(sizes)]
        dialler, listener = established()
        data = b"".join(map(dialler.send, bodies))
        frames: list[bytes] = []
        position = turn = 0
        while position < len(data):
            step = steps[turn % len(steps)]
            frames += listener.receive(data[position : position + step])
            position += step
            turn += 1
        self.assertEqual(frames, bodies)

    def test_records_and_frames_need_not_meet(self) -> None:
        # Another implementation may put many frames in one record, or cut one anywhere.
        dialler, listener = established()
        plain = b"\0\0\0\2ab" + b"\0\0\0\0" + b"\0\0\0\3cde"
        for cut in range(len(plain) + 1):
            dialler, listener = established()
            assert dialler._sender is not None
            records = [dialler._sender.encrypt(part) for part in (plain[:cut], b"", plain[cut:])]
            data = b"".join(RECORD_HEADER.pack(len(record)) + record for record in records)
            self.assertEqual(listener.receive(data), [b"ab", b"", b"cde"])

    def test_replayed_reordered_or_lost(self) -> None:
        for order in ([0, 0], [1, 0], [1], [0, 2]):
            dialler, listener = established()
            records = [dialler.send(b"%d" % n) for n in range(3)]
            self.assertRaises(ChannelError, listener.receive, b"".join(records[n] for n in order))

    def test_own_record_reflected(self) -> None:
        dialler, _ = established()
        self.assertRaises(ChannelError, dialler.receive, dialler.send(b"hello"))

    def test_shorter_than_a_tag(self) -> None:
        for size in range(16):
            _, listener = established()
            self.assertRaises(ChannelError, listener.receive, RECORD_HEADER.pack(size) + bytes(size))

    def test_frame_above_the_ceiling(self) -> None:
        dialler, listener = established(ceiling=100)
        self.assertEqual(listener.receive(dialler.send(bytes(100))), [bytes(100)])
        self.assertRaises(InvalidValueError, dialler.send, bytes(101))
        dialler._ceiling = 101
        error = self.assertRaises(FrameTooLargeError, listener.receive, dialler.send(bytes(101)))
        self.assertEqual(error.code, ByeCode.TOO_LARGE)
        self.assertRaises(FrameTooLargeError, listener.receive, b"")
        # The other direction still works: BYE can say why.
        self.assertEqual(dialler.receive(listener.send(b"bye")), [b"bye"])

    def test_default_ceiling(self) -> None:
        dialler, listener = established()
        self.assertRaises(InvalidValueError, dialler.send, bytes(MAX_FRAME_BYTES + 1))
        self.assertEqual(len(listener.receive(dialler.send(bytes(MAX_FRAME_BYTES)))[0]), MAX_FRAME_BYTES)

    def test_at_most_one_record_and_one_frame_are_kept(self) -> None:
        dialler, listener = established()
        data = dialler.send(bytes(MAX_FRAME_BYTES))
        for position in range(0, len(data) - 1, 50_000):
            listener.receive(data[position : min(position + 50_000, len(data) - 1)])
            self.assertLessEqual(listener._records.buffered_bytes, MAX_RECORD_BYTES)
            self.assertLessEqual(listener._frames.buffered_bytes, MAX_FRAME_BYTES)


class TurnedAway(SynchronousTestCase):
    """A listener that has no room tells who knows the network key, and nobody else."""

    def test_code(self) -> None:
        for code in (0, int(ByeCode.LIMIT), 65_535):
            dialler, listener = pair()
            listener.receive(dialler.start())
            refusal = listener.refuse(code)
            self.assertEqual(len(refusal), REFUSAL_BYTES)
            for cut in range(REFUSAL_BYTES):
                self.assertIsNone(dialler.take_refusal())
                dialler.receive(refusal[cut : cut + 1])
            self.assertEqual(dialler.take_refusal(), code)
            self.assertFalse(dialler.established)

    def test_only_in_the_place_of_the_answer(self) -> None:
        dialler, listener = pair()
        self.assertEqual((listener.refuse(1), dialler.refuse(1)), (b"", b""))
        first = dialler.start()
        listener.receive(first[:30])
        self.assertEqual(listener.refuse(1), b"")
        listener.receive(first[30:])
        answer = listener.outgoing()
        self.assertEqual(listener.refuse(1), b"")
        dialler.receive(answer)
        listener.receive(dialler.outgoing())
        self.assertEqual((listener.refuse(1), dialler.take_refusal()), (b"", None))

    def test_afterwards_nothing_is_said(self) -> None:
        dialler, listener = pair()
        listener.receive(dialler.start())
        listener.refuse(1)
        self.assertEqual((listener.refuse(1), listener.outgoing()), (b"", b""))

    def test_to_a_stranger(self) -> None:
        """There is no answer to a first message that does not decrypt."""
        dialler, listener = pair(other=b"o" * 32)
        self.assertRaises(WrongNetworkError, listener.receive, dialler.start())
        self.assertEqual(listener.refuse(1), b"")

    def test_of_a_stranger(self) -> None:
        """Who does not know the key, or did not see this first message, can forge none."""
        dialler, listener = pair()
        listener.receive(dialler.start())
        refusal = listener.refuse(1)
        other = Channel(True, secret("dialler"), NETWORK)
        other.start()
        other.receive(refusal)
        self.assertIsNone(other.take_refusal())
        for place in range(REFUSAL_BYTES):
            dialler, _ = pair()
            dialler.start()
            dialler.receive(flipped(refusal, place))
            self.assertIsNone(dialler.take_refusal())
            self.assertIsNone(dialler.take_refusal())

    def test_of_another_length(self) -> None:
        for payload in (b"", b"\0", b"\0\0\0"):  # from who knows the key
            dialler, listener = pair()
            listener.receive(dialler.start())
            dialler.receive(listener._handshake.refuse(payload))
            self.assertIsNone(dialler.take_refusal())
        for size in (0, REFUSAL_BYTES - 1, REFUSAL_BYTES + 1, MESSAGE_BYTES[1] - 1):
            dialler, _ = pair()
            dialler.start()
            dialler.receive(bytes(size))
            self.assertIsNone(dialler.take_refusal())


def flipped(data: bytes, place: int) -> bytes:
    """With one bit changed."""
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
