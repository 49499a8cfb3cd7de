"""The Noise protocol ``Noise_XXpsk0_25519_ChaChaPoly_SHA256``, revision 34 of the specification.

Responsible for: the one handshake pattern and the two ciphers it ends in.
Must not know: how messages travel, how long they are on the wire, what the prologue stands for.
Invariant: every way in which a peer's message can be wrong is a :class:`HandshakeError`, and after the first
one the handshake goes no further.

Names follow sections 5.1 to 5.3 of the specification; with one pattern there is no pattern language.
"""

from __future__ import annotations

import os
from hashlib import sha256
from hmac import digest
from struct import Struct
from typing import Final

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from gossiplog.errors import ChannelError, HandshakeError, InvalidValueError
from gossiplog.log.keys import is_node_id

PROTOCOL_NAME: Final = b"Noise_XXpsk0_25519_ChaChaPoly_SHA256"
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
MESSAGE_BYTES: Final = (48, 96, 64)
"""The three handshake messages with empty payloads; no shorter, as PyNaCl does not check points' lengths."""

MAX_NONCE: Final = 2**64 - 1
"""Reserved by the specification; at a thousand records a second it is half a billion years away."""

_NONCE: Final = Struct("<4xQ").pack
_encrypt: Final = crypto_aead_chacha20poly1305_ietf_encrypt
_decrypt: Final = crypto_aead_chacha20poly1305_ietf_decrypt


class CipherState:
    """I encrypt or decrypt one direction, counting messages."""

    __slots__ = ("_key", "_nonce")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = 0

    def encrypt(self, plaintext: bytes, associated: bytes = b"") -> bytes:
        """Return the ciphertext, 16 bytes longer."""
        ciphertext = _encrypt(plaintext, associated, _NONCE(self._next_nonce()), self._key)
        self._nonce += 1
        return ciphertext

    def decrypt(self, ciphertext: bytes, associated: bytes = b"") -> bytes:
        """Return the plaintext.

        :raises ChannelError: it is not what the other side encrypted as its next message.
        """
        if len(ciphertext) < TAG_BYTES:
            raise ChannelError(f"a record of {len(ciphertext)} bytes is shorter than its tag")
        try:
            plaintext = _decrypt(ciphertext, associated, _NONCE(self._next_nonce()), self._key)
        except CryptoError:
            raise ChannelError("a record did not decrypt") from None
        self._nonce += 1
        return plaintext

    def _next_nonce(self) -> int:
        if self._nonce >= MAX_NONCE:
            raise ChannelError("this channel has carried all the records it can")
        return self._nonce


class _SymmetricState:
    """Section 5.2: the chaining key, the handshake hash and the cipher they lead to."""

    def __init__(self, prologue: bytes) -> None:
        self.hash = self._chaining_key = sha256(PROTOCOL_NAME).digest()
        self._cipher: CipherState | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, material, 2)
        self._cipher = CipherState(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, extra, key = _hkdf(self._chaining_key, material, 3)
        self.mix_hash(extra)
        self._cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        assert self._cipher is not None, "psk0 mixes a key before anything is encrypted"
        ciphertext = self._cipher.encrypt(plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        assert self._cipher is not None, "psk0 mixes a key before anything is encrypted"
        plaintext = self._cipher.decrypt(ciphertext, self.hash)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        initiator, responder = _hkdf(self._chaining_key, b"", 2)
        return CipherState(initiator), CipherState(responder)


class Handshake:
    """I am one side of an XXpsk0 handshake: three messages, written and read in turn.

    ``-> psk, e``   ``<- e, ee, s, es``   ``-> s, se``

    :param static_key: our X25519 secret.
    :param psk: 32 bytes that both sides know.
    :param ephemeral: our ephemeral X25519 secret, fresh for every handshake; given only by tests.
    """

    def __init__(
        self,
        initiator: bool,
        static_key: bytes,
        psk: bytes,
        prologue: bytes = b"",
        ephemeral: bytes | None = None,
    ) -> None:
        ephemeral = os.urandom(KEY_BYTES) if ephemeral is None else ephemeral
        for name, key in (("static_key", static_key), ("psk", psk), ("ephemeral", ephemeral)):
            if type(key) is not bytes or len(key) != KEY_BYTES:
                raise InvalidValueError(f"{name} must be {KEY_BYTES} bytes")
        self._initiator = initiator
        self._static = static_key
        self._ephemeral = ephemeral
        self._psk = psk
        self._remote_ephemeral = b""
        self._turn = 0
        self._symmetric = _SymmetricState(prologue)
        self.peer_static: bytes | None = None
        """The other side's static public key, known after the second or third message."""

    @property
    def finished(self) -> bool:
        """Whether all three messages were exchanged."""
        return self._turn == 3

    @property
    def handshake_hash(self) -> bytes:
        """32 bytes that both sides share and no other handshake has, once it is finished."""
        return self._symmetric.hash

    def write(self, payload: bytes = b"") -> bytes:
        """Return our next message."""
        turn = self._take_turn(writing=True)
        if turn == 1:
            self._symmetric.mix_key_and_hash(self._psk)
            message = self._write_ephemeral()
        elif turn == 2:
            message = self._write_ephemeral()
            self._mix_dh(self._ephemeral, self._remote_ephemeral)
            message += self._write_static()
            self._mix_dh(self._static, self._remote_ephemeral)
        else:
            message = self._write_static()
            self._mix_dh(self._static, self._remote_ephemeral)
        message += self._symmetric.encrypt_and_hash(payload)
        self._turn = turn
        return message

    def read(self, message: bytes) -> bytes:
        """Take the other side's next message and return its payload.

        :raises HandshakeError: it is not that message; this handshake is over.
        """
        turn = self._take_turn(writing=False)
        if len(message) < MESSAGE_BYTES[turn - 1]:
            raise HandshakeError(f"handshake message {turn} is too short")
        try:
            if turn == 1:
                self._symmetric.mix_key_and_hash(self._psk)
                rest = self._read_ephemeral(message)
            elif turn == 2:
                rest = self._read_ephemeral(message)
                self._mix_dh(self._ephemeral, self._remote_ephemeral)
                rest = self._read_static(rest)
                self._mix_dh(self._ephemeral, self._peer())
            else:
                rest = self._read_static(message)
                self._mix_dh(self._ephemeral, self._peer())
            payload = self._symmetric.decrypt_and_hash(rest)
        except ChannelError as error:
            raise HandshakeError(f"handshake message {turn} is not from who knows the key: {error}") from None
        self._turn = turn
        return payload

    def refuse(self, payload: bytes) -> bytes:
        """Return what a listener says in the place of the second message: a payload and no key.  Costs no exchange."""
        self._take_turn(writing=True)
        return self._symmetric.encrypt_and_hash(payload)

    def read_refusal(self, message: bytes) -> bytes:
        """Return the payload of what came in the place of the second message.

        :raises HandshakeError: it is not from somebody who knows the key.
        """
        self._take_turn(writing=False)
        try:
            return self._symmetric.decrypt_and_hash(message)
        except ChannelError as error:
            raise HandshakeError(f"no refusal from who knows the key: {error}") from None

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the ciphers (to send, to receive) of a finished handshake."""
        if not self.finished:
            raise InvalidValueError("the handshake is not finished")
        initiator, responder = self._symmetric.split()
        return (initiator, responder) if self._initiator else (responder, initiator)

    def _take_turn(self, writing: bool) -> int:
        """Return which message is next, 1 to 3, and mark the handshake as failed until it is done."""
        ours = self._turn % 2 == (0 if self._initiator else 1)
        if not 0 <= self._turn < 3 or ours is not writing:
            raise InvalidValueError("this is not the handshake's next step")
        turn, self._turn = self._turn + 1, -1
        return turn

    def _peer(self) -> bytes:
        assert self.peer_static is not None, "read with the second or third message"
        return self.peer_static

    def _write_ephemeral(self) -> bytes:
        public = crypto_scalarmult_base(self._ephemeral)
        self._symmetric.mix_hash(public)
        self._symmetric.mix_key(public)  # only with a psk: section 9.2
        return public

    def _read_ephemeral(self, message: bytes) -> bytes:
        public = self._remote_ephemeral = message[:KEY_BYTES]
        self._symmetric.mix_hash(public)
        self._symmetric.mix_key(public)
        return message[KEY_BYTES:]

    def _write_static(self) -> bytes:
        return self._symmetric.encrypt_and_hash(crypto_scalarmult_base(self._static))

    def _read_static(self, message: bytes) -> bytes:
        size = KEY_BYTES + TAG_BYTES
        self.peer_static = self._symmetric.decrypt_and_hash(message[:size])
        if not is_node_id(self.peer_static):
            raise HandshakeError("a node's key that is not in its canonical form")
        return message[size:]

    def _mix_dh(self, secret: bytes, public: bytes) -> None:
        try:
            shared = crypto_scalarmult(secret, public)
        except RuntimeError:
            # libsodium refuses points of low order, PyNaCl says so with a bare RuntimeError
            raise HandshakeError("a public key of low order") from None
        self._symmetric.mix_key(shared)


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Section 4.3: HKDF with HMAC-SHA-256."""
    secret = digest(chaining_key, material, "sha256")
    keys: list[bytes] = []
    last = b""
    for counter in range(1, outputs + 1):
        last = digest(secret, last + bytes((counter,)), "sha256")
        keys.append(last)
    return keys
