"""Passphrases, and the keys that are made of them.

Responsible for: which texts are passphrases, their one form in bytes, and Argon2id within bounds.
Must not know: what is sealed with a key; where a passphrase comes from.
Invariant: neither a passphrase nor a key is in any text about it or error; whatever a file asks for, no more memory,
passes and salts are spent than ``limits`` says.
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

from gossiplog.errors import InvalidValueError, StoreError, StoreFormatError
from gossiplog.limits import (
    MAX_PASSPHRASE_BYTES,
    MAX_PASSPHRASE_CHARS,
    MAX_PASSPHRASE_PASSES,
    MAX_PASSPHRASE_SALTS,
    PASSPHRASE_BYTES,
    PASSPHRASE_PASSES,
)

SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32


class Cost(NamedTuple):
    """What Argon2id is to take."""

    passes: int
    memory_bytes: int


COST: Final = Cost(PASSPHRASE_PASSES, PASSPHRASE_BYTES)
"""Of a new passphrase."""


class SealingKey:
    """I am what Argon2id made of a passphrase with one salt."""

    __slots__ = ("cost", "key", "salt")

    def __init__(self, cost: Cost, salt: bytes, key: bytes) -> None:
        self.cost: Final = cost
        self.salt: Final = salt
        self.key: Final = key

    def __repr__(self) -> str:
        return "<SealingKey>"


class Passphrase:
    """I am a passphrase for as long as keys are made of it; each salt is paid for once."""

    __slots__ = ("_bytes", "_made")

    def __init__(self, text: str) -> None:
        """Take any text but none; raises :class:`InvalidValueError`, which does not say what was given."""
        self._bytes = _normal(text)
        self._made: dict[tuple[Cost, bytes], SealingKey] = {}

    def key(self, cost: Cost, salt: bytes) -> SealingKey:
        """Return the key for one salt.

        :raises StoreFormatError: a file asks for more than ``limits`` allows.
        :raises StoreError: this machine does not have the memory.
        """
        made = self._made.get((cost, salt))
        if made is None:
            _check_cost(cost, len(self._made))
            made = self._made[cost, salt] = SealingKey(cost, salt, _derive(self._bytes, cost, salt))
        return made

    def __repr__(self) -> str:
        return "<Passphrase>"


def check_passphrase(*texts: str) -> None:
    """Raise :class:`InvalidValueError` for what is no passphrase."""
    for text in texts:
        _normal(text)


def _normal(text: str) -> bytes:
    """Return the one form of what is typed here or there in another way: NFKD in UTF-8, as BIP-39 has it."""
    if type(text) is not str:  # which is not shown, whatever it is
        raise InvalidValueError(f"a passphrase is a text, not {type(text).__name__}")
    if not text:
        raise InvalidValueError("a passphrase is not empty")
    if len(text) > MAX_PASSPHRASE_CHARS:
        raise InvalidValueError(f"a passphrase has at most {MAX_PASSPHRASE_CHARS} characters")
    try:
        return unicodedata.normalize("NFKD", text).encode()
    except UnicodeEncodeError:
        raise InvalidValueError("a passphrase is text that UTF-8 can write") from None


def _check_cost(cost: Cost, made: int) -> None:
    if not 1 <= cost.passes <= MAX_PASSPHRASE_PASSES or cost.memory_bytes > MAX_PASSPHRASE_BYTES:
        raise StoreFormatError(
            f"the file of a seed asks for {cost.passes} passes over {cost.memory_bytes:,} bytes to try a passphrase; "
            f"at most {MAX_PASSPHRASE_PASSES} over {MAX_PASSPHRASE_BYTES:,} are taken"
        )
    if made >= MAX_PASSPHRASE_SALTS:
        raise StoreFormatError(
            f"the seeds of this store have more than {MAX_PASSPHRASE_SALTS} salts, each of which takes its time; "
            "move away those that came from elsewhere"
        )


def _derive(passphrase: bytes, cost: Cost, salt: bytes) -> bytes:
    from nacl.pwhash import argon2id  # slow to import, and most stores need it not

    try:
        return argon2id.kdf(
            _KEY_BYTES,
            passphrase,
            salt,
            opslimit=cost.passes,
            memlimit=max(cost.memory_bytes, argon2id.MEMLIMIT_MIN),
        )
    except (RuntimeError, MemoryError):
        raise StoreError(
            f"this machine has not the {cost.memory_bytes >> 20} MiB of memory that trying the passphrase takes"
        ) from None
