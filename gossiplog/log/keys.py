"""Keys: what signs a log, what names it, and how people read and type either.

Responsible for: Ed25519 key pairs, the signature over a head, id(0) of a log, and the text form of every kind of key.
Must not know: segments, entries, networks' names, files.
Invariant: every signature in gossiplog is made and checked here, over exactly ``PREFIX || seq u64 || id``; a check is
libsodium's (cofactorless equation, canonical A, S < L, small-order A and R refused), so all nodes agree on every byte.

>>> pair = Keypair(bytes(32))
>>> format_author(pair.author)
'author_hnvcppgow2sc2yvdvdicu3ynonsteflxdxrehjr2ybekdc2z3iu3c5y'
>>> parse_author(format_author(pair.author)) == pair.author
True
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import sha256
from typing import Final, Protocol

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError as _SodiumBadSignature

from gossiplog.arguments import check_type, wrong
from gossiplog.errors import BadSignatureError, InvalidKeyError, InvalidValueError
from gossiplog.limits import MAX_SEQ

KEY_BYTES: Final = 32
ID_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def tag_for(use: str) -> bytes:
    """Return the 32 bytes that keep what is hashed for one use apart from what is for all others."""
    return f"gossiplog/1 {use}".encode("ascii").ljust(32, b"\0")


TAG: Final = tag_for("log")
"""Starts id(0); the version in it keeps a later format from ever continuing a chain of this one."""

PREFIX: Final = tag_for("head")
"""Starts what a head signature covers, so that nothing signed for another purpose is a head."""

_TEXT_TAG: Final = tag_for("text")
_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ALPHABET: Final = frozenset(_DIGITS)
_HEX_CHARS: Final = 2 * KEY_BYTES
_CHECKSUM_BYTES: Final = 2
_TEXT_CHARS: Final = 55
"""34 bytes in base32: 272 bits and 3 spare ones."""

_WHOLE_CHARS: Final = 51
"""Of these, that are of the key alone; the next one has bits of its checksum."""


_FIELD: Final = 2**255 - 19
"""Coordinates of X25519 are numbers below it."""


class KeyKind(Enum):
    """What a key is for; the prefix of its text form."""

    AUTHOR = "author"
    NODE = "node"
    NETWORK = "network"
    ROOM = "room"


class HeadSigner(Protocol):
    """Whatever signs the heads of one author."""

    @property
    def author(self) -> bytes:
        """The author."""

    def sign_head(self, seq: int, entry_id: bytes) -> bytes:
        """Sign the head ``(seq, entry_id)``."""


class Keypair:
    """I sign heads for one author.  My seed is the whole secret; it appears in no text about me."""

    __slots__ = ("_secret", "author", "seed")

    def __init__(self, seed: bytes) -> None:
        """Derive the key pair of a 32-byte seed; InvalidKeyError for anything else."""
        if type(seed) is not bytes or len(seed) != KEY_BYTES:
            raise InvalidKeyError(f"a seed is {KEY_BYTES} bytes")
        self.seed: Final = seed
        author, secret = crypto_sign_seed_keypair(seed)
        self.author: Final[bytes] = author
        self._secret: Final[bytes] = secret

    @classmethod
    def generate(cls) -> Keypair:
        """Make a new key pair from the system's randomness."""
        return cls(os.urandom(KEY_BYTES))

    def sign_head(self, seq: int, entry_id: bytes) -> bytes:
        """Sign the head ``(seq, entry_id)``; 64 bytes, the same every time (Ed25519 is deterministic)."""
        if type(seq) is not int or not 1 <= seq <= MAX_SEQ:
            raise InvalidValueError(f"seq must be from 1 to {MAX_SEQ}, not {seq!r}")
        if type(entry_id) is not bytes or len(entry_id) != ID_BYTES:
            raise InvalidValueError(f"an id is {ID_BYTES} bytes")
        return crypto_sign(head_message(seq, entry_id), self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"<Keypair {short_key(self.author)}>"


def head_message(seq: int, entry_id: bytes) -> bytes:
    """Return the bytes a head signature covers: prefix, seq as u64 big-endian, id."""
    return PREFIX + seq.to_bytes(8, "big") + entry_id


def verify_head(author: bytes, seq: int, entry_id: bytes, signature: bytes) -> None:
    """Check the signature of a head; BadSignatureError if it is none, whatever the arguments are.  About 55 us."""
    if type(seq) is not int or not 1 <= seq <= MAX_SEQ:
        raise BadSignatureError("no head has that seq")
    for value, size in ((author, KEY_BYTES), (entry_id, ID_BYTES), (signature, SIGNATURE_BYTES)):
        if type(value) is not bytes or len(value) != size:
            raise BadSignatureError("author, id or signature has a wrong length")
    try:
        crypto_sign_open(signature + head_message(seq, entry_id), author)
    except _SodiumBadSignature:
        raise BadSignatureError(f"head {seq} of {short_key(author)} is not signed by its author") from None


def genesis_id(author: bytes) -> bytes:
    """Return id(0), the id before an author's first entry."""
    return sha256(TAG + author).digest()


# -- text --------------------------------------------------------------------------------------------------------


def format_key(kind: KeyKind, key: bytes) -> str:
    """Return the text form of a 32-byte key: kind, underscore, base32 of key and checksum."""
    if type(key) is not bytes or len(key) != KEY_BYTES:
        raise InvalidKeyError(f"a {kind.value} key is {KEY_BYTES} bytes")
    return f"{kind.value}_{_base32(key + _checksum(kind, key))}"


def parse_key(kind: KeyKind, text: str) -> bytes:
    """Return the 32 bytes of a key's text form or of 64 hex digits; InvalidKeyError says what is wrong with it."""
    if not isinstance(text, str):
        raise InvalidKeyError(f"a {kind.value} key as text is a str, not {type(text).__name__}")
    if "_" not in text:
        return _checked(kind, _parse_hex(kind, text))
    prefix, _, body = text.partition("_")
    if prefix != kind.value:
        if prefix in {other.value for other in KeyKind}:
            raise InvalidKeyError(f"this is a key of kind {prefix}; {kind.value} is wanted here")
        raise InvalidKeyError(f"a key of this kind starts with {kind.value}_")
    if not _ALPHABET.issuperset(body):
        raise InvalidKeyError("only the letters a-z (lower case) and the digits 2-7 appear in a key")
    if len(body) != _TEXT_CHARS:
        raise InvalidKeyError(f"{_TEXT_CHARS} characters follow {kind.value}_, not {len(body)}")
    raw = base64.b32decode(body.upper() + "=")
    key = raw[:KEY_BYTES]
    if _base32(raw) != body:
        raise InvalidKeyError("the last character of the key is wrong (its spare bits are not zero)")
    if raw[KEY_BYTES:] != _checksum(kind, key):
        raise InvalidKeyError("the checksum does not match: a character of the key is wrong")
    return _checked(kind, key)


def format_author(author: bytes) -> str:
    """Return an author's text form."""
    return format_key(KeyKind.AUTHOR, author)


def author_span(begins: str) -> tuple[bytes, bytes] | None:
    """Return the bounds of authors whose id, without ``author_``, begins so; None if there can be none, and ``b""``
    above for the end.  Of more than 51 characters the last ones are of the checksum, and are not looked at.

    >>> author_span("ae"), author_span("77"), author_span("A")
    ((b'\\x01\\x00', b'\\x01@'), (b'\\xff\\xc0', b''), None)
    """
    if not _ALPHABET.issuperset(begins):
        return None
    digits = begins[:_WHOLE_CHARS]
    prefix = 0
    for digit in digits:
        prefix = prefix << 5 | _DIGITS.index(digit)
    size = -(-5 * len(digits) // 8)
    shift = 8 * size - 5 * len(digits)
    lower, upper = prefix << shift, prefix + 1 << shift
    return lower.to_bytes(size, "big"), b"" if upper >> 8 * size else upper.to_bytes(size, "big")


def parse_author(text: str) -> bytes:
    """Return the author of a text form or of 64 hex digits."""
    return parse_key(KeyKind.AUTHOR, text)


def short_key(key: bytes) -> str:
    """Return the first 8 characters of a key's base32: for people to tell keys apart, never to identify one."""
    check_type("key", key, bytes, "the bytes of a key")
    return _base32(key[:5])


def check_author(name: str, value: object) -> None:
    """Raise :class:`InvalidValueError` unless an argument can be an author."""
    if type(value) is not bytes or len(value) != KEY_BYTES:
        raise wrong(name, f"an author: {KEY_BYTES} bytes; parse_author reads the text form", value)


def check_authors(name: str, value: object) -> frozenset[bytes]:
    """Return the authors in a list; :class:`InvalidValueError` for anything else."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise wrong(name, "a list of authors", value)
    authors = [*value]
    for author in authors:
        check_author(name, author)
    return frozenset(authors)


def is_node_id(key: object) -> bool:
    """Return whether these are 32 bytes that a node's X25519 key can be.

    X25519 takes 2^255 - 19 and more for other, smaller numbers: with these one secret would have two ids.
    """
    return type(key) is bytes and len(key) == KEY_BYTES and int.from_bytes(key, "little") < _FIELD


def check_node_id(name: str, value: object) -> None:
    """Raise :class:`InvalidKeyError` for what is no node id."""
    if not is_node_id(value):
        raise InvalidKeyError(f"{name} is the id of a node, 32 bytes")


def _checked(kind: KeyKind, key: bytes) -> bytes:
    if kind is KeyKind.NODE and not is_node_id(key):
        raise InvalidKeyError("no node has this id: it is not the canonical form of an X25519 key")
    return key


def _parse_hex(kind: KeyKind, text: str) -> bytes:
    if len(text) != _HEX_CHARS or not all(char in "0123456789abcdefABCDEF" for char in text):
        raise InvalidKeyError(f"not a key: neither {kind.value}_ and base32 nor {_HEX_CHARS} hex digits")
    return bytes.fromhex(text)


def _checksum(kind: KeyKind, key: bytes) -> bytes:
    return sha256(_TEXT_TAG + kind.value.encode("ascii") + key).digest()[:_CHECKSUM_BYTES]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()
