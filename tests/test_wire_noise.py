"""Rings 1 and 3: the handshake against a published vector and against another implementation."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_scalarmult_base
from noise.connection import Keypair, NoiseConnection
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import ChannelError, HandshakeError, InvalidValueError
from gossiplog.wire.noise import MAX_NONCE, MESSAGE_BYTES, PROTOCOL_NAME, CipherState, Handshake

VECTORS = json.loads((Path(__file__).parent / "vectors" / "wire_noise.json").read_bytes())

PSK = b"k" * 32
PROLOGUE = b"gossiplog/1\x01"
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),  # p - 1
    (2**255 - 19).to_bytes(32, "little"),  # p, the same as 0
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


def secret(name: str) -> bytes:
    """Return a fixed key for a test."""
    return sha256(name.encode()).digest()


def pair(psk: bytes = PSK, prologue: bytes = PROLOGUE) -> tuple[Handshake, Handshake]:
    """Return both sides of one handshake with fixed keys."""
    return (
        Handshake(True, secret("static i"), psk, prologue, secret("ephemeral i")),
        Handshake(False, secret("static r"), psk, prologue, secret("ephemeral r")),
    )


def shake(initiator: Handshake, responder: Handshake) -> None:
    """Exchange all three messages."""
    responder.read(initiator.write())
    initiator.read(responder.write())
    responder.read(initiator.write())


def second(initiator: bool) -> NoiseConnection:
    """Return ``noiseprotocol``'s side of the handshake, with our fixed keys."""
    role = "i" if initiator else "r"
    other = NoiseConnection.from_name(PROTOCOL_NAME)
    other.set_psks(PSK)
    other.set_prologue(PROLOGUE)
    other.set_keypair_from_private_bytes(Keypair.STATIC, secret(f"static {role}"))
    if initiator:
        other.set_as_initiator()
    else:
        other.set_as_responder()
    other.start_handshake()
    return other


class Published(SynchronousTestCase):
    def test_vectors(self) -> None:
        self.assertEqual(VECTORS["protocol"], PROTOCOL_NAME.decode())
        self.assertGreaterEqual(len(VECTORS["vectors"]), 1)
        for vector in VECTORS["vectors"]:
            self.check(vector)

    def check(self, vector: dict[str, Any]) -> None:
        def value(name: str) -> bytes:
            return bytes.fromhex(vector[name])

        psk, prologue = value("psk"), value("prologue")
        initiator = Handshake(True, value("init_static"), psk, prologue, value("init_ephemeral"))
        responder = Handshake(False, value("resp_static"), psk, prologue, value("resp_ephemeral"))
        messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
        senders = [m["from"] == "initiator" for m in vector["messages"]]
        for turn, (payload, ciphertext) in enumerate(messages[:3]):
            writer, reader = (initiator, responder) if senders[turn] else (responder, initiator)
            self.assertEqual(writer.write(payload), ciphertext, turn)
            self.assertEqual(reader.read(ciphertext), payload, turn)
        ciphers = {True: initiator.split(), False: responder.split()}
        for (payload, ciphertext), from_initiator in zip(messages[3:], senders[3:], strict=True):
            self.assertEqual(ciphers[from_initiator][0].encrypt(payload), ciphertext)
            self.assertEqual(ciphers[not from_initiator][1].decrypt(ciphertext), payload)


class SecondImplementation(SynchronousTestCase):
    def exchange(self, ours: Handshake, other: NoiseConnection, we_write: bool, payload: bytes) -> None:
        if we_write:
            self.assertEqual(bytes(other.read_message(ours.write(payload))), payload)
        else:
            self.assertEqual(ours.read(bytes(other.write_message(payload))), payload)

    def check(self, we_initiate: bool, payloads: list[bytes]) -> None:
        ours = pair()[0 if we_initiate else 1]
        other = second(not we_initiate)
        for turn, payload in enumerate(payloads):
            self.exchange(ours, other, (turn % 2 == 0) is we_initiate, payload)
        self.assertTrue(ours.finished and other.handshake_finished)
        self.assertEqual(ours.handshake_hash, other.get_handshake_hash())
        self.assertEqual(
            ours.peer_static, crypto_scalarmult_base(secret(f"static {'r' if we_initiate else 'i'}"))
        )
        send, receive = ours.split()
        for size in (0, 1, 1000, 65_519):
            plaintext = bytes([size % 251]) * size
            self.assertEqual(bytes(other.decrypt(send.encrypt(plaintext))), plaintext)
            self.assertEqual(receive.decrypt(bytes(other.encrypt(plaintext))), plaintext)

    def test_we_initiate(self) -> None:
        self.check(True, [b"", b"", b""])

    def test_we_respond(self) -> None:
        self.check(False, [b"", b"", b""])

    def test_with_payloads(self) -> None:
        for we_initiate in (True, False):
            self.check(we_initiate, [b"one", b"two" * 100, b"three"])


class Rules(SynchronousTestCase):
    def test_both_sides_agree(self) -> None:
        initiator, responder = pair()
        shake(initiator, responder)
        self.assertTrue(initiator.finished and responder.finished)
        self.assertEqual(initiator.handshake_hash, responder.handshake_hash)
        self.assertEqual(initiator.peer_static, crypto_scalarmult_base(secret("static r")))
        self.assertEqual(responder.peer_static, crypto_scalarmult_base(secret("static i")))

    def test_message_lengths(self) -> None:
        initiator, responder = pair()
        first = initiator.write()
        responder.read(first)
        second = responder.write()
        initiator.read(second)
        self.assertEqual((len(first), len(second), len(initiator.write())), MESSAGE_BYTES)

    def test_ephemerals_are_fresh(self) -> None:
        messages = {Handshake(True, secret("static i"), PSK).write() for _ in range(20)}
        self.assertEqual(len(messages), 20)

    def test_another_prologue_or_psk(self) -> None:
        for psk, prologue in ((PSK, b"gossiplog/1\x02"), (b"other".ljust(32), PROLOGUE)):
            initiator, _ = pair()
            _, responder = pair(psk, prologue)
            self.assertRaises(HandshakeError, responder.read, initiator.write())

    def test_low_order_ephemeral_of_the_initiator(self) -> None:
        for point in LOW_ORDER:
            initiator, responder = pair()
            self.forge_ephemeral(initiator, point)
            responder.read(initiator.write())  # a psk holder can say this; nothing was multiplied yet
            self.assertRaises(HandshakeError, responder.write)
            self.assertRaises(InvalidValueError, responder.write)

    def test_low_order_ephemeral_of_the_responder(self) -> None:
        for point in LOW_ORDER:
            initiator, _ = pair()
            initiator.write()
            error = self.assertRaises(HandshakeError, initiator.read, point + bytes(64))
            self.assertIn("low order", str(error))

    def forge_ephemeral(self, initiator: Handshake, point: bytes) -> None:
        """Make a handshake claim ``point`` as its ephemeral key."""
        symmetric = initiator._symmetric

        def write_ephemeral() -> bytes:
            symmetric.mix_hash(point)
            symmetric.mix_key(point)
            return point

        self.patch(initiator, "_write_ephemeral", write_ephemeral)

    def test_short_point_of_who_knows_the_key(self) -> None:
        # PyNaCl would read beyond its end: it must be refused before it is multiplied.
        initiator, responder = pair()
        responder.read(initiator.write())
        initiator.read(responder.write())
        error = self.assertRaises(
            HandshakeError, responder.read, initiator._symmetric.encrypt_and_hash(bytes(24))
        )
        self.assertIn("too short", str(error))

    def test_short_messages(self) -> None:
        for turn in range(3):
            for size in (0, 1, 31, 32, 47, MESSAGE_BYTES[turn] - 1):
                initiator, responder = pair()
                sides = [(initiator, responder), (responder, initiator), (initiator, responder)]
                for writer, reader in sides[:turn]:
                    reader.read(writer.write())
                writer, reader = sides[turn]
                message = writer.write()[:size]
                if len(message) < MESSAGE_BYTES[turn]:
                    self.assertRaises(HandshakeError, reader.read, message)

    def test_steps_out_of_turn(self) -> None:
        initiator, responder = pair()
        self.assertRaises(InvalidValueError, responder.write)
        self.assertRaises(InvalidValueError, initiator.read, bytes(96))
        self.assertRaises(InvalidValueError, initiator.split)
        shake(initiator, responder)
        for side in (initiator, responder):
            self.assertRaises(InvalidValueError, side.write)
            self.assertRaises(InvalidValueError, side.read, bytes(96))

    def test_a_failed_handshake_goes_no_further(self) -> None:
        initiator, responder = pair()
        good = initiator.write()
        self.assertRaises(HandshakeError, responder.read, bytes(48))
        self.assertRaises(InvalidValueError, responder.read, good)
        self.assertRaises(InvalidValueError, responder.write)
        self.assertFalse(responder.finished)

    def test_keys_are_32_bytes(self) -> None:
        for bad in (b"", bytes(31), bytes(33), bytearray(32), "k" * 32, None):
            for arguments in ((bad, PSK), (PSK, bad)):
                self.assertRaises(InvalidValueError, Handshake, True, *arguments)
        self.assertRaises(InvalidValueError, Handshake, True, PSK, PSK, b"", bytes(31))


class Ciphers(SynchronousTestCase):
    def test_nonce_counts(self) -> None:
        send, receive = CipherState(PSK), CipherState(PSK)
        first, second = send.encrypt(b"same"), send.encrypt(b"same")
        self.assertNotEqual(first, second)
        self.assertRaises(ChannelError, receive.decrypt, second)
        self.assertEqual(receive.decrypt(first), b"same")  # a refused record does not count
        self.assertEqual(receive.decrypt(second), b"same")
        self.assertRaises(ChannelError, receive.decrypt, second)

    def test_associated_bytes_are_bound(self) -> None:
        self.assertEqual(CipherState(PSK).decrypt(CipherState(PSK).encrypt(b"x", b"ad"), b"ad"), b"x")
        self.assertRaises(
            ChannelError, CipherState(PSK).decrypt, CipherState(PSK).encrypt(b"x", b"ad"), b"da"
        )

    def test_shorter_than_a_tag(self) -> None:
        for size in range(16):
            self.assertRaises(ChannelError, CipherState(PSK).decrypt, bytes(size))

    def test_last_nonce_is_reserved(self) -> None:
        cipher = CipherState(PSK)
        cipher._nonce = MAX_NONCE - 1
        cipher.encrypt(b"")
        self.assertRaises(ChannelError, cipher.encrypt, b"")
