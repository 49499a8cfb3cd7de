"""What a store keeps of a writer's key.

Responsible for: the seed as it is, or sealed with a passphrase, or whose key somebody else keeps; all as bytes.
Must not know: files, names; where a passphrase comes from.
Invariant: whose key it is can be read without a passphrase; what was opened is the seed of that author.

Sealed, it is a tag of 32 bytes, the author, and one or two slots of 96 bytes, each of which has the whole seed: passes
(u32), KiB of memory (u32), salt (16 bytes), nonce (24), and seed and authenticator of XChaCha20-Poly1305 (48), of which
the additional data are tag, author, passes, KiB and salt.  Numbers are big-endian.  Of a key that is elsewhere there is
a tag, and the author.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from gossiplog.errors import InvalidValueError, StoreDamagedError
from gossiplog.log.keys import KEY_BYTES, Keypair
from gossiplog.log.passphrase import SALT_BYTES, Cost, Passphrase, SealingKey

SEALED_TAG: Final = b"gossiplog/1 sealed seed".ljust(32, b"\0")
FOREIGN_TAG: Final = b"gossiplog/1 key elsewhere".ljust(32, b"\0")
NONCE_BYTES: Final = 24
MAX_SLOTS: Final = 2

_HEAD: Final = struct.Struct(f">32s{KEY_BYTES}s")
_SLOT: Final = struct.Struct(f">II{SALT_BYTES}s{NONCE_BYTES}s{KEY_BYTES + 16}s")
_KIB: Final = 1024

MAX_KEPT_BYTES: Final = _HEAD.size + MAX_SLOTS * _SLOT.size


class Slot(NamedTuple):
    """A seed under one passphrase."""

    cost: Cost
    salt: bytes
    nonce: bytes
    box: bytes


class SealedSeed(NamedTuple):
    """A seed that nobody has without a passphrase; while that is changed, under the new one too."""

    author: bytes
    slots: tuple[Slot, ...]

    def open(self, passphrase: Passphrase) -> tuple[Keypair, Slot] | None:
        """Return the key pair and the slot that had it, None if this is not its passphrase.

        :raises StoreFormatError: a slot asks for too much.
        :raises StoreDamagedError: what is sealed is not the seed of this author.
        """
        for slot in self.slots:
            key = passphrase.key(slot.cost, slot.salt)
            try:
                seed = crypto_aead_xchacha20poly1305_ietf_decrypt(
                    slot.box, _said(self.author, key), slot.nonce, key.key
                )
            except CryptoError:
                continue
            keypair = Keypair(seed)
            if keypair.author != self.author:
                raise StoreDamagedError("a sealed seed is not the one of the author that it says")
            return keypair, slot
        return None


class ForeignKey(NamedTuple):
    """A key that somebody else keeps, who signs for us."""

    author: bytes


KeptKey: TypeAlias = Keypair | SealedSeed | ForeignKey


def seal(keypair: Keypair, key: SealingKey, entropy: Callable[[int], bytes]) -> Slot:
    """Return a seed under the passphrase of a key."""
    nonce = entropy(NONCE_BYTES)
    box = crypto_aead_xchacha20poly1305_ietf_encrypt(keypair.seed, _said(keypair.author, key), nonce, key.key)
    return Slot(key.cost, key.salt, nonce, box)


def dump(kept: KeptKey) -> bytes:
    """Return it as it is kept."""
    if isinstance(kept, Keypair):
        return kept.seed
    if isinstance(kept, ForeignKey):
        return _HEAD.pack(FOREIGN_TAG, kept.author)
    return _HEAD.pack(SEALED_TAG, kept.author) + b"".join(map(_dump_slot, kept.slots))


def check_kept(kept: object) -> bytes:
    """Return ``kept`` if it has the shape of what is kept; :class:`InvalidValueError` for anything else."""
    if type(kept) is bytes:
        slots, rest = divmod(len(kept) - _HEAD.size, _SLOT.size)
        is_sealed = not rest and 1 <= slots <= MAX_SLOTS and kept.startswith(SEALED_TAG)
        is_foreign = len(kept) == _HEAD.size and kept.startswith(FOREIGN_TAG)
        if is_sealed or is_foreign or len(kept) == KEY_BYTES:
            return kept
    raise InvalidValueError(
        f"what is kept of a key is a seed of {KEY_BYTES} bytes, a sealed one, or an author"
    )


def load(kept: bytes) -> KeptKey:
    """Return what is kept; :class:`InvalidValueError` for anything else."""
    if len(check_kept(kept)) == KEY_BYTES:
        return Keypair(kept)
    tag, author = _HEAD.unpack_from(kept)
    if tag == FOREIGN_TAG:
        return ForeignKey(author)
    return SealedSeed(author, tuple(_load_slots(kept)))


def _load_slots(kept: bytes) -> Iterable[Slot]:
    for passes, memory, salt, nonce, box in _SLOT.iter_unpack(kept[_HEAD.size :]):
        yield Slot(Cost(passes, memory * _KIB), salt, nonce, box)


def _dump_slot(slot: Slot) -> bytes:
    return _SLOT.pack(slot.cost.passes, slot.cost.memory_bytes // _KIB, slot.salt, slot.nonce, slot.box)


def _said(author: bytes, key: SealingKey) -> bytes:
    return SEALED_TAG + author + struct.pack(">II", key.cost.passes, key.cost.memory_bytes // _KIB) + key.salt
