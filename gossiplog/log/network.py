"""Networks: the key whose knowledge is the capability to connect at all.

Responsible for: making the 32-byte key from randomness, from a name, from a single log's author; the discovery id.
Must not know: peers, addresses, handshakes.
Invariant: a key never appears in what a network says about itself; distinct tags keep keys, discovery ids and networks
of single logs from ever being taken for one another.

A name is an address, not a secret: whoever has a recording can guess it offline, which Argon2id makes slow, not
impossible.  A private network uses :meth:`Network.random`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from gossiplog.errors import InvalidKeyError, InvalidValueError
from gossiplog.log import ticket_text
from gossiplog.log.keys import KEY_BYTES, KeyKind, format_key, parse_author, parse_key, short_key, tag_for
from gossiplog.printable import printable

MAX_NAME_BYTES: Final = 128

_ARGON_OPERATIONS: Final = 2
_ARGON_BYTES: Final = 64 * 1024 * 1024
"""libsodium's interactive profile: a tenth of a second, once per process and name."""

_REFUSED_CATEGORIES: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Control characters, lone surrogates, line and paragraph separators: nobody can type or see them."""


NAME_MARK: Final = "name:"
"""Says that what follows is a name, whatever it looks like."""

_KEY_BEGINS: Final = re.compile(rf"\s*({'|'.join(kind.value for kind in KeyKind)})_", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[\s:_.-]+")
_HEX: Final = frozenset("0123456789abcdef")
_BASE32: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_DIGITS: Final = frozenset("234567")
_HEX_LIKE_A_KEY: Final = 16
_WORD_LIKE_A_KEY: Final = 32
"""Half of a key, as hex and as base32; the longest words of most languages are shorter."""

_DIGITS_IN_A_KEY: Final = 3
"""Different digits: 55 random characters of base32 have fewer once in some thousand times."""


_SALT_BYTES: Final = 16
_SALT: Final = sha256(tag_for("name")).digest()[:_SALT_BYTES]
_DISCOVERY_TAG: Final = tag_for("discovery")
_AUTHOR_TAG: Final = tag_for("network of")


class Network:
    """I am a network: my key is what members share, my discovery id what they show to find each other."""

    __slots__ = ("discovery_id", "key")

    key: bytes
    discovery_id: bytes

    def __init__(self, key: bytes) -> None:
        """Name the network of a 32-byte key; InvalidKeyError for anything else."""
        if type(key) is not bytes or len(key) != KEY_BYTES:
            raise InvalidKeyError(f"a network key is {KEY_BYTES} bytes")
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "discovery_id", sha256(_DISCOVERY_TAG + key).digest())

    @classmethod
    def from_key(cls, key: bytes) -> Network:
        """Return the network of a key."""
        return cls(key)

    @classmethod
    def random(cls) -> Network:
        """Make a new private network from the system's randomness."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def from_name(cls, name: str) -> Network:
        """Return the network of a name of 1 to 128 UTF-8 bytes (after NFC) without control characters.

        Takes 64 MiB and about 0.1 s the first time; InvalidValueError for what is no name.
        """
        return cls(_key_of_name(_checked_name(name)))

    @classmethod
    def of_author(cls, author: bytes) -> Network:
        """Return the network of a single log: knowing the author is the capability to read it."""
        if type(author) is not bytes or len(author) != KEY_BYTES:
            raise InvalidKeyError(f"an author is {KEY_BYTES} bytes")
        return cls(sha256(_AUTHOR_TAG + author).digest())

    @classmethod
    def parse(cls, text: str) -> Network:
        """Return the network that a person named: a key (``network_...`` or 64 hex digits), an author, a name or a
        ticket.

        InvalidKeyError for what looks like a key and is none: taken for a name it would be another network, with a
        guessable key, and nobody in it.  ``name:`` in front says that it is a name all the same.
        """
        if not isinstance(text, str):
            raise InvalidValueError(f"a network is named by a str, not {type(text).__name__}")
        if text.startswith(NAME_MARK):
            return cls.from_name(text.removeprefix(NAME_MARK))
        if ticket_text.is_ticket(text):
            return cls(ticket_text.decode(text)[0])
        try:
            if text.startswith(f"{KeyKind.AUTHOR.value}_"):
                return cls.of_author(parse_author(text))
            return cls(parse_key(KeyKind.NETWORK, text))
        except InvalidKeyError as error:
            if looks_like_a_key(text):
                reason = f"this looks like a key, and is none ({error}); if it is a name, say {NAME_MARK}NAME"
                raise InvalidKeyError(reason) from None
        network = cls.from_name(text)
        if text != text.strip() or text != printable(text):
            raise InvalidValueError(
                f"this name has something invisible in or around it; if so, say {NAME_MARK}NAME"
            )
        return network

    @property
    def text(self) -> str:
        """The key, which is the network's secret, as :meth:`parse` takes it: ``network_...``."""
        return format_key(KeyKind.NETWORK, self.key)

    def __eq__(self, other: object) -> bool:
        return compare_digest(self.key, other.key) if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.discovery_id)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a network does not change")

    def __repr__(self) -> str:
        return f"<Network {short_key(self.discovery_id)}>"


def looks_like_a_key(text: str) -> bool:
    """Return whether a text is more likely a mistyped key than a name.

    That is: the beginning of a key's text; 16 or more hex digits and nothing else, however grouped; 32 or more letters
    and digits without a space; or as many in groups, if all of them occur in keys, with digits among them.
    """
    if _KEY_BEGINS.match(text):
        return True
    words = _SEPARATORS.sub("", text).lower().removeprefix("0x")
    if not words.isalnum():
        return False
    if _HEX.issuperset(words):
        return len(words) >= _HEX_LIKE_A_KEY
    in_groups = _BASE32.issuperset(words) and len(_DIGITS.intersection(words)) >= _DIGITS_IN_A_KEY
    return sum(map(str.isascii, words)) >= _WORD_LIKE_A_KEY and (in_groups or len(text.split()) == 1)


def _checked_name(name: str) -> bytes:
    if not isinstance(name, str):
        raise InvalidValueError(f"a network name is a str, not {type(name).__name__}")
    if any(unicodedata.category(char) in _REFUSED_CATEGORIES for char in name):
        raise InvalidValueError("a network name has no control characters")
    encoded = unicodedata.normalize("NFC", name).encode()
    if not 1 <= len(encoded) <= MAX_NAME_BYTES:
        raise InvalidValueError(f"a network name is 1 to {MAX_NAME_BYTES} bytes of UTF-8, not {len(encoded)}")
    return encoded


@lru_cache(maxsize=16)
def _key_of_name(name: bytes) -> bytes:
    from nacl.pwhash import argon2id  # only names need it, and it is slow to import

    return argon2id.kdf(KEY_BYTES, name, _SALT, opslimit=_ARGON_OPERATIONS, memlimit=_ARGON_BYTES)
