"""The text of a ticket: everything needed to join a network, in a hundred characters.

Responsible for: its bytes and their base32.
Must not know: what is done with a ticket.
Invariant: one text for one ticket, in capitals or not; what was mistyped is no ticket.

``gossip-`` and base32 (RFC 4648, small letters, no padding) of: version 1 (1 byte), network key (32), flags (1: 0, or 1
if the node id follows), node id (32), then each address as its length (1) and UTF-8, then 4 bytes of SHA-256 over
``gossiplog/1 ticket`` (32 bytes, padded with zeros) and all that.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from gossiplog.errors import InvalidKeyError
from gossiplog.log.keys import KEY_BYTES, tag_for

MARK: Final = "gossip-"
VERSION: Final = 1
MAX_ADDRESSES: Final = 8
MAX_ADDRESS_BYTES: Final = 255

_CHECK_BYTES: Final = 4
_TAG: Final = tag_for("ticket")
_TEXT: Final = re.compile(rf"{MARK}[a-z2-7]+")
_MOST_CHARACTERS: Final = 4096


def is_ticket(text: str) -> bool:
    """Tell whether a text is meant to be a ticket."""
    return text.strip()[: len(MARK)].lower() == MARK


def encode(key: bytes, addresses: Sequence[str], node: bytes | None) -> str:
    """Return the text; the parts are well formed."""
    body = bytes((VERSION,)) + key + (b"\0" if node is None else b"\1" + node)
    for address in addresses:
        encoded = address.encode()
        body += bytes((len(encoded),)) + encoded
    return MARK + _base32(body + _check(body))


def decode(text: str) -> tuple[bytes, tuple[str, ...], bytes | None]:
    """Return key, addresses and node id; InvalidKeyError says what is wrong, and nothing of the key."""
    said = text.strip().lower()
    if len(said) > _MOST_CHARACTERS or not _TEXT.fullmatch(said):
        raise InvalidKeyError(f"a ticket is {MARK} and then letters and the digits 2-7, without a space")
    letters = said.removeprefix(MARK).upper()
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError:
        raise InvalidKeyError("the ticket is not whole: a character is missing or too many") from None
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if _base32(raw) != said.removeprefix(MARK) or check != _check(body):
        raise InvalidKeyError("the ticket's checksum does not match: a character of it is wrong or missing")
    if body[:1] != bytes((VERSION,)):
        raise InvalidKeyError("the ticket is of a newer version than this gossiplog knows")
    key, flags, rest = body[1 : 1 + KEY_BYTES], body[1 + KEY_BYTES : 2 + KEY_BYTES], body[2 + KEY_BYTES :]
    node = None
    if flags == b"\1":
        node, rest = rest[:KEY_BYTES], rest[KEY_BYTES:]
    addresses = []
    while rest:
        size, rest = rest[0], rest[1:]
        if not 0 < size <= len(rest):
            raise InvalidKeyError("the ticket's addresses are malformed")
        try:
            addresses.append(rest[:size].decode())
        except UnicodeDecodeError:
            raise InvalidKeyError("the ticket's addresses are malformed") from None
        rest = rest[size:]
    if flags not in (b"\0", b"\1") or len(key) + len(node or key) != 2 * KEY_BYTES:
        raise InvalidKeyError("the ticket is malformed")
    if len(addresses) > MAX_ADDRESSES:
        raise InvalidKeyError(f"a ticket has at most {MAX_ADDRESSES} addresses")
    return key, tuple(addresses), node


def _check(body: bytes) -> bytes:
    return sha256(_TAG + body).digest()[:_CHECK_BYTES]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
