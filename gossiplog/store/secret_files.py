"""The secrets of a store directory, in files of their own.

Responsible for: what :class:`gossiplog.store.interface.Secrets` says, with modes 0600 and check bytes.
Must not know: the database, or what a secret is for.
Invariant: a secret is there whole and synced or not at all, and what is to take its place is there whole before the
other one is gone.  What was on its way there when a process was killed is gone at the next opening.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

from gossiplog.errors import InvalidValueError, StoreDamagedError, StoreError, StoreFormatError
from gossiplog.limits import MAX_WRITERS
from gossiplog.log.kept_key import MAX_KEPT_BYTES, check_kept
from gossiplog.store.folder import Folder, restrict, store_error
from gossiplog.store.names import file_name, writer_name

SEEDS: Final = "seeds"
NODE_KEY: Final = "node.key"

_SECRET_BYTES: Final = 32
_CHECK_BYTES: Final = 4
"""Of SHA-256, behind each secret: a flipped bit would otherwise be another author or node, silently."""


class SecretFiles:
    """I keep the secrets of one store directory; whose it is and who may write is the directory's to say."""

    def __init__(self, folder: Folder, require_writable: Callable[[], None]) -> None:
        """``require_writable`` raises where nothing is to be written."""
        self._folder = folder
        self._require_writable = require_writable
        self.is_guest = False

    def seed(self, name: str) -> bytes | None:
        """Return what is kept of a writer's seed."""
        if not self._folder.holds(SEEDS):
            return None
        with closing(_seeds(self._folder)) as folder:
            return self._read(folder, file_name(name))

    def seed_names(self) -> list[str]:
        """Return the names of all writers, sorted."""
        return [] if self.is_guest else seed_names(self._folder)

    def create_seed(self, name: str, seed: bytes) -> None:
        """Write a writer's seed; :class:`InvalidValueError` when the name is taken."""
        file = file_name(name)
        check_kept(seed)
        self._require_writable()
        try:
            self._folder.make_folder(SEEDS)
        except OSError as error:
            raise store_error(error, self._folder.file(SEEDS)) from error
        with closing(_seeds(self._folder)) as folder:
            self._write(folder, file, seed)

    def replace_seed(self, name: str, seed: bytes) -> None:
        """Write a writer's seed in another form, in the place of the one there is."""
        check_kept(seed)
        if self.seed(name) is None:
            raise InvalidValueError(f"there is no writer {name!r}")
        with closing(_seeds(self._folder)) as folder:
            self._write(folder, file_name(name), seed, replace=True)

    def node_key(self) -> bytes | None:
        """Return the node's secret."""
        return (
            None if self.is_guest else _plain(self._read(self._folder, NODE_KEY), self._folder.file(NODE_KEY))
        )

    def create_node_key(self, secret: bytes) -> None:
        """Write the node's secret; :class:`InvalidValueError` when there is one."""
        self._write(self._folder, NODE_KEY, _secret(secret))

    def replace_node_key(self, secret: bytes) -> None:
        """Write another secret for the node, in the place of the one there is."""
        self._write(self._folder, NODE_KEY, _secret(secret), replace=True)

    def look_around(self) -> None:
        """Raise :class:`StoreUnsafeError` for what leads elsewhere; take away what was on its way to its place."""
        self._folder.size(NODE_KEY)
        if self.is_guest or not self._folder.holds(SEEDS):
            return
        with closing(_seeds(self._folder)) as seeds:
            for name in _seed_files(seeds):
                seeds.size(name)
            if self._is_writable():
                for name in _drafts(seeds):
                    with suppress(OSError):
                        seeds.remove(name)

    def _is_writable(self) -> bool:
        try:
            self._require_writable()
        except StoreError:
            return False
        return True

    def _read(self, folder: Folder, name: str) -> bytes | None:
        file = folder.file(name)
        try:
            if self._is_writable():
                restrict(folder, name)
            with open(folder.open(name), "rb") as stream:
                content = stream.read(MAX_KEPT_BYTES + _CHECK_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, file) from error
        secret = content[:-_CHECK_BYTES]
        try:
            check_kept(secret)
        except InvalidValueError:
            secret = b""
        if not secret or content != secret + _check(secret):
            raise _damaged(file)
        return secret

    def _write(self, folder: Folder, name: str, secret: bytes, *, replace: bool = False) -> None:
        """Write a secret beside its place and move it there: nobody ever sees half of one."""
        self._require_writable()
        if not replace and folder.holds(name):  # no race: we hold the lock
            raise InvalidValueError(f"{folder.file(name)} exists already")
        try:
            with open(folder.draft(name), "wb") as stream:
                stream.write(secret + _check(secret))
                stream.flush()
                os.fsync(stream.fileno())
            folder.put(name)
        except OSError as error:
            with suppress(OSError):
                folder.discard(name)
            raise store_error(error, folder.file(name)) from error


def seed_names(folder: Folder) -> list[str]:
    """Return the names of all writers that have a seed in a store directory, sorted."""
    if not folder.holds(SEEDS):
        return []
    with closing(_seeds(folder)) as seeds:
        return sorted(name for name in map(writer_name, _seed_files(seeds)) if name is not None)


def _seeds(folder: Folder) -> Folder:
    try:
        return Folder(SEEDS, folder)
    except OSError as error:
        raise store_error(error, folder.file(SEEDS)) from error


def _seed_files(seeds: Folder) -> list[str]:
    """Return the names of the files of seeds, and of no others."""
    found: list[str] = []
    try:
        for place, file in enumerate(seeds.names()):
            if len(found) >= MAX_WRITERS or place >= 2 * MAX_WRITERS:
                raise StoreFormatError(
                    f"{seeds.path} holds more than {MAX_WRITERS} files; a store has no more"
                )
            if writer_name(file) is not None:
                found.append(file)
    except OSError as error:
        raise store_error(error, seeds.path) from error
    return found


def _drafts(seeds: Folder) -> list[str]:
    """Return what was on its way to the place of a seed."""
    return [file for file in seeds.names() if (name := seeds.drafted(file)) and writer_name(name) is not None]


def _plain(secret: bytes | None, file: str) -> bytes | None:
    if secret is not None and len(secret) != _SECRET_BYTES:
        raise _damaged(file)
    return secret


def _secret(secret: bytes) -> bytes:
    if type(secret) is not bytes or len(secret) != _SECRET_BYTES:
        raise InvalidValueError(f"a secret is {_SECRET_BYTES} bytes")
    return secret


def _damaged(file: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"{file} is damaged: it does not hold a secret with its check bytes; "
        "put a copy of it in its place, or move it away to go on without it"
    )


def _check(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()[:_CHECK_BYTES]
