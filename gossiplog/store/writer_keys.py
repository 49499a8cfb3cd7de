"""The keys of a store's writers: as they are, or under a passphrase.

Responsible for: which authors write here and what signs for each; unlocking, and putting all seeds under another
passphrase or none.
Must not know: where a passphrase comes from; the database, who may append.
Invariant: a store has one passphrase.  Wherever a change of it is cut short, the old one opens all seeds or the new one
does.  Where any seed is sealed, no new one is written as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from gossiplog.errors import (
    InvalidValueError,
    KeyLockedError,
    SignerError,
    StoreDamagedError,
    StoreError,
    UnknownWriterError,
    WrongPassphraseError,
)
from gossiplog.limits import MAX_WRITERS
from gossiplog.log import passphrase as passphrases
from gossiplog.log.kept_key import ForeignKey, KeptKey, SealedSeed, Slot, dump, load, seal
from gossiplog.log.keys import KEY_BYTES, HeadSigner, Keypair, format_author
from gossiplog.log.passphrase import SALT_BYTES, Passphrase, SealingKey
from gossiplog.log.signer import Signer, SignerKey
from gossiplog.store.interface import Secrets
from gossiplog.store.names import check_writer_name


class LockedKey:
    """I am in the place of a key pair whose seed is sealed."""

    def __init__(self, path: str, name: str, author: bytes) -> None:
        self._path = path
        self._name = name
        self.author = author

    def sign_head(self, seq: int, entry_id: bytes) -> bytes:
        """Refuse."""
        raise locked(self._path, f"the seed of its writer {self._name!r}")


def locked(path: str, what: str) -> KeyLockedError:
    """Return the error of who signs without a passphrase."""
    return KeyLockedError(
        f"{what} is protected by a passphrase (store {path}): give it with --passphrase-file, GOSSIPLOG_PASSPHRASE or "
        "open_store(passphrase=...), or to a node that has the store with gossiplog key unlock; reading needs none"
    )


class WriterKeys:
    """I have the keys of one store's writers; ``secrets`` is asked for each time, since a store can be closed."""

    def __init__(
        self, path: str, secrets: Callable[[], Secrets], entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Load all of them; O(writers)."""
        self._path = path
        self._secrets = secrets
        self._entropy = entropy
        self._kept: dict[str, KeptKey] = {}
        self._sealing: SealingKey | None = None
        self._signer: Signer | None = None
        self.signers: dict[bytes, HeadSigner] = {}
        for name in secrets().seed_names():
            seed = secrets().seed(name)
            if seed is None:
                raise InvalidValueError(f"the writer {name!r} has no seed")
            self._add(name, load(seed))

    @property
    def authors(self) -> dict[str, bytes]:
        """The authors that write here, by name."""
        return {name: kept.author for name, kept in sorted(self._kept.items())}

    @property
    def is_locked(self) -> bool:
        """Whether there are seeds that wait for a passphrase."""
        return any(isinstance(signer, LockedKey) for signer in self.signers.values())

    @property
    def is_protected(self) -> bool:
        """Whether there are seeds under a passphrase."""
        return any(self._sealed())

    @property
    def seed_count(self) -> int:
        """How many writers have their seeds here."""
        return sum(not isinstance(kept, ForeignKey) for kept in self._kept.values())

    def find(self, name: str) -> HeadSigner | None:
        """Return what signs for a writer."""
        kept = self._kept.get(name)
        return None if kept is None else self.signers[kept.author]

    def create(self, name: str, adopt: Callable[[bytes], None]) -> HeadSigner:
        """Make a writer, durable on return, and return its key; ``adopt`` is told of it before it has a seed.

        :raises KeyLockedError: the seeds here are protected, and the passphrase was not given.
        """
        self._require_free(name)
        return self._keep(name, Keypair(self._entropy(KEY_BYTES)), adopt)

    def use(self, signer: Signer) -> None:
        """Let ``signer`` sign for those writers whose seeds are not here."""
        self._signer = signer
        for key in self.signers.values():
            if isinstance(key, SignerKey):
                key.signer = signer

    def add(self, name: str, key: Keypair | ForeignKey, doubt: Callable[[bytes], None]) -> None:
        """Take a writer that was one elsewhere, durable on return; ``doubt`` is told of it before it is here.

        :raises InvalidValueError: the name is taken, or the author writes here by another one.
        :raises KeyLockedError: as :meth:`create`.
        """
        self._require_free(name)
        for known, author in self.authors.items():
            if known == name or author == key.author:
                raise InvalidValueError(
                    f"store {self._path} has a writer {known!r} already, {format_author(author)}"
                )
        self._keep(name, key, doubt)

    def keypair(self, name: str) -> Keypair:
        """Return the key pair of a writer, with its seed.

        :raises UnknownWriterError: there is none of that name.
        :raises KeyLockedError: its seed is protected, and the passphrase was not given.
        :raises SignerError: it is not here.
        """
        signer = self.find(name)
        if isinstance(signer, Keypair):
            return signer
        if isinstance(signer, SignerKey):
            raise SignerError(f"the seed of writer {name!r} is not in store {self._path}: an agent keeps it")
        if isinstance(signer, LockedKey):
            raise locked(self._path, f"the seed of its writer {name!r}")
        raise UnknownWriterError(f"store {self._path} has no writer {name!r}")

    def _require_free(self, name: str) -> None:
        check_writer_name(name)
        if len(self._kept) >= MAX_WRITERS:
            raise InvalidValueError(f"a store has at most {MAX_WRITERS} writers")

    def _keep(self, name: str, key: Keypair | ForeignKey, tell: Callable[[bytes], None]) -> HeadSigner:
        kept: KeptKey = key
        if isinstance(key, Keypair):
            if self._sealing is not None:
                kept = self._under([], key, self._sealing)
            elif self.is_protected:
                raise locked(self._path, "each seed here")
        tell(key.author)
        self._secrets().create_seed(name, dump(kept))
        self._add(name, kept, key if isinstance(key, Keypair) else None)
        return self.signers[key.author]

    def unlock(self, text: str) -> None:
        """Take the passphrase of the seeds; those that are made from now on get it, too, also where there are none yet.

        What a change of it that was cut short left over is taken away.

        :raises WrongPassphraseError: it does not open all of them; none is unlocked.
        """
        opened, passphrase = self._opened(text)
        self._sealing = self._key(passphrase, [slot for _, slot in opened.values()])
        for keypair, _ in opened.values():
            self.signers[keypair.author] = keypair
        with suppress(StoreError):  # it opens all of them as they are
            self._settle(opened)

    def protect(self, new: str | None, old: str | None = None) -> None:
        """Put all seeds under the passphrase ``new``, or under none; durable on return.

        :raises InvalidValueError: there is none, so that nothing would remember the passphrase.
        :raises KeyLockedError: they are under another one, and ``old`` is None.
        :raises WrongPassphraseError: ``old`` does not open all of them; nothing was changed.
        :raises StoreError: the disk takes no more: ``old`` opens all of them, or ``new`` does.
        """
        opened: dict[str, tuple[Keypair, Slot]] = {}
        if old is not None:
            opened, _ = self._opened(old)
        elif self.is_protected:
            raise locked(self._path, "each seed here")
        plain = {name: kept for name, kept in self._kept.items() if isinstance(kept, Keypair)}
        if new is not None and self._kept and not (plain or opened):
            raise InvalidValueError(
                f"store {self._path} has no seed to protect: other programs sign for its writers "
                f"({', '.join(sorted(self._kept))}), and keep their keys; protect them there, those of the ssh-agent "
                "with ssh-keygen -p or ssh-add -x"
            )
        if new is not None and not (plain or opened):
            raise InvalidValueError(
                f"store {self._path} has no seed yet: give the passphrase when a writer is made, to open_store or "
                "gossiplog init"
            )
        if new is None:
            for name, (keypair, _) in opened.items():
                self._replace(name, keypair, keypair)
            self._sealing = None
            return
        key = self._key(Passphrase(new), [])
        both = {name: self._under([slot], keypair, key) for name, (keypair, slot) in opened.items()}
        if len(opened) > 1:  # one by one, so that the old passphrase opens all until the new one does
            for name, sealed in both.items():
                self._replace(name, sealed, opened[name][0])
        for name, sealed in both.items():
            self._replace(name, sealed._replace(slots=sealed.slots[-1:]), opened[name][0])
        for name, keypair in plain.items():
            self._replace(name, self._under([], keypair, key), keypair)
        self._sealing = key

    def _opened(self, text: str) -> tuple[dict[str, tuple[Keypair, Slot]], Passphrase]:
        passphrase = Passphrase(text)
        found: dict[str, tuple[Keypair, Slot]] = {}
        for name, kept in self._sealed():
            try:
                opened = kept.open(passphrase)
            except StoreDamagedError as error:
                raise StoreDamagedError(f"{self._path}, writer {name!r}: {error}") from None
            if opened is None:
                also = (
                    f"; it opens that of {min(found)!r}, so one of both came from elsewhere" if found else ""
                )
                raise WrongPassphraseError(
                    f"this is not the passphrase of the seed of writer {name!r} in store {self._path}{also}"
                )
            found[name] = opened
        return found, passphrase

    def _settle(self, opened: dict[str, tuple[Keypair, Slot]]) -> None:
        for name, (keypair, slot) in opened.items():
            sealed = SealedSeed(keypair.author, (slot,))
            if self._kept[name] != sealed:
                self._replace(name, sealed, keypair)

    def _key(self, passphrase: Passphrase, slots: list[Slot]) -> SealingKey:
        """Return the key for new seeds: that of ``slots``, which a passphrase opened, or a new one."""
        for slot in slots:
            return passphrase.key(slot.cost, slot.salt)
        return passphrase.key(passphrases.COST, self._entropy(SALT_BYTES))

    def _under(self, slots: list[Slot], keypair: Keypair, key: SealingKey) -> SealedSeed:
        return SealedSeed(keypair.author, (*slots, seal(keypair, key, self._entropy)))

    def _sealed(self) -> Iterator[tuple[str, SealedSeed]]:
        for name, kept in self._kept.items():
            if isinstance(kept, SealedSeed):
                yield name, kept

    def _replace(self, name: str, kept: KeptKey, keypair: Keypair) -> None:
        self._secrets().replace_seed(name, dump(kept))
        self._add(name, kept, keypair)

    def _add(self, name: str, kept: KeptKey, keypair: Keypair | None = None) -> None:
        self._kept[name] = kept
        if isinstance(kept, Keypair):
            self.signers[kept.author] = kept
        elif isinstance(kept, ForeignKey):
            key = self.signers[kept.author] = SignerKey(kept.author, name)
            key.signer = self._signer
        else:
            self.signers[kept.author] = keypair or LockedKey(self._path, name, kept.author)
