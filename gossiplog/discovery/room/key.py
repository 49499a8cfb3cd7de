"""The key of a room, and what members show there.

Responsible for: :class:`RoomKey`, the tag under which members of one network sit, and their cards.
Must not know: connections, messages.
Invariant: of a network and of a node's id a room learns nothing that it could tell from random bytes, and nothing that
it could find again in another room, or in the same one after it started anew.
"""

from __future__ import annotations

import os
from hashlib import sha256
from hmac import digest
from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from gossiplog.errors import InvalidKeyError
from gossiplog.log.keys import KEY_BYTES, KeyKind, format_key, is_node_id, parse_key, tag_for
from gossiplog.log.network import Network

TAG_BYTES: Final = 32
CARD_NONCE_BYTES: Final = 24
CARD_BYTES: Final = CARD_NONCE_BYTES + KEY_BYTES + 16


_ROOM: Final = tag_for("room")
_OPEN_ROOM: Final = tag_for("open room")
_MEETING: Final = tag_for("meeting")
_CARD: Final = tag_for("card")


class RoomKey:
    """I am what members and a room share; without ``key`` everybody knows it, and the room is open.

    >>> RoomKey.parse(RoomKey(bytes(32)).text) == RoomKey(bytes(32)), RoomKey().is_open
    (True, True)
    """

    __slots__ = ("_key", "psk")

    def __init__(self, key: bytes | None = None) -> None:
        if key is not None and (type(key) is not bytes or len(key) != KEY_BYTES):
            raise InvalidKeyError(f"the key of a room is {KEY_BYTES} bytes")
        self._key = key
        self.psk: Final = sha256(_OPEN_ROOM if key is None else _ROOM + key).digest()

    @classmethod
    def random(cls) -> RoomKey:
        """Make a new one from the system's randomness."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> RoomKey:
        """Return the key of its text form, ``room_...``, or of 64 hex digits."""
        return cls(parse_key(KeyKind.ROOM, text))

    @property
    def is_open(self) -> bool:
        """Whether everybody knows it."""
        return self._key is None

    @property
    def text(self) -> str:
        """As :meth:`parse` takes it; empty for an open room."""
        return "" if self._key is None else format_key(KeyKind.ROOM, self._key)

    def __eq__(self, other: object) -> bool:
        return self.psk == other.psk if isinstance(other, RoomKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.psk)

    def __repr__(self) -> str:
        return "<RoomKey>"


def tag_of(network: Network, room: bytes) -> bytes:
    """Under what the members of a network sit in the room with this id."""
    return digest(network.discovery_id, _MEETING + room, "sha256")


def seal_card(network: Network, room: bytes, node: bytes, nonce: bytes) -> bytes:
    """Return the card of a node: its id, for members of its network alone."""
    key = digest(network.key, _CARD, "sha256")
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(node, room, nonce, key)


def open_card(network: Network, room: bytes, card: bytes) -> bytes | None:
    """Return the id of the node whose card this is; None for what no member of the network made for this room."""
    if len(card) != CARD_BYTES:
        return None
    nonce, sealed = card[:CARD_NONCE_BYTES], card[CARD_NONCE_BYTES:]
    try:
        key = digest(network.key, _CARD, "sha256")
        node = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, room, nonce, key)
    except CryptoError:
        return None
    return node if is_node_id(node) else None
