"""The directory of a store: its lock, its modes, its secret files.

Responsible for: creating the directory (0700), holding its lock, keeping secrets in files of their own (0600).
Must not know: the database, or what a secret is for.
Invariant: a secret is there whole and synced or not at all, and while the lock is held nobody else opens the
store.  POSIX only: the lock is ``flock``, which also keeps out a second opening in the same process, and ends with
the process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from typing import Final

from gossiplog.errors import (
    InvalidValueError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
)
from gossiplog.store import generation
from gossiplog.store.names import file_name, writer_name

DATABASE: Final = "log.sqlite"
LOCK: Final = "lock"
SEEDS: Final = "seeds"
NODE_KEY: Final = "node.key"

_OURS: Final = frozenset({LOCK, SEEDS, NODE_KEY, generation.NAME, "lost+found"})
"""What may stand in a directory without a database: a start cut short, or the root of a fresh file system."""

_SECRET_BYTES: Final = 32
_CHECK_BYTES: Final = 4
"""Of SHA-256, behind each secret: a flipped bit would otherwise be another author or node, silently."""


class StoreDirectory:
    """I hold the lock of one store directory and keep its secrets; ``read_only``: its file system takes no writes."""

    def __init__(self, path: str | os.PathLike[str], init: bool = True) -> None:
        """Lock the store directory at ``path``; ``init`` creates one in a new or empty directory.

        :raises StoreNotFoundError: no store there, and not ``init``.
        :raises StoreFormatError: something else is there.
        :raises StoreLockedError: it is open already, in this or another process.
        """
        self.path = os.path.abspath(os.fspath(path))
        self.read_only = False
        self._lock = -1
        try:
            if init:
                _create(self.path)
            _check_contents(self.path, init)
            self._lock = self._take_lock()
        except OSError as error:
            raise store_error(error, self.path) from error

    @property
    def database(self) -> str:
        """The path of the database file."""
        return os.path.join(self.path, DATABASE)

    def create_database_file(self) -> None:
        """Make sure that the database file exists with mode 0600: SQLite would follow the umask."""
        if self.read_only:
            return
        try:
            os.close(os.open(self.database, os.O_RDWR | os.O_CREAT, 0o600))
            sync_directory(self.path)
        except OSError as error:
            raise store_error(error, self.database) from error

    def seed(self, name: str) -> bytes | None:
        """Return the seed of a writer."""
        return self._read(os.path.join(self.path, SEEDS, file_name(name)))

    def seed_names(self) -> list[str]:
        """Return the names of all writers, sorted."""
        return _seed_names(self.path)

    def create_seed(self, name: str, seed: bytes) -> None:
        """Write a writer's seed; :class:`InvalidValueError` when the name is taken."""
        folder = os.path.join(self.path, SEEDS)
        file = os.path.join(folder, file_name(name))
        try:
            if not os.path.isdir(folder):
                os.mkdir(folder, 0o700)
                sync_directory(self.path)
        except OSError as error:
            raise store_error(error, folder) from error
        self._write(file, seed)

    def node_key(self) -> bytes | None:
        """Return the node's secret."""
        return self._read(os.path.join(self.path, NODE_KEY))

    def create_node_key(self, secret: bytes) -> None:
        """Write the node's secret; :class:`InvalidValueError` when there is one."""
        self._write(os.path.join(self.path, NODE_KEY), secret)

    def replace_node_key(self, secret: bytes) -> None:
        """Write another secret for the node, in the place of the one there is."""
        self._write(os.path.join(self.path, NODE_KEY), secret, replace=True)

    def close(self) -> None:
        """Release the lock; the lock file stays, removing it would let two processes hold different ones."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _take_lock(self) -> int:
        file = os.path.join(self.path, LOCK)
        try:
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            self.read_only = True
            lock = os.open(file if os.path.exists(file) else self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise StoreLockedError(self.path) from None
            raise
        return lock

    def _read(self, file: str) -> bytes | None:
        try:
            with open(file, "rb") as stream:
                content = stream.read(_SECRET_BYTES + _CHECK_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, file) from error
        secret = content[:_SECRET_BYTES]
        if content != secret + _check(secret) or len(secret) != _SECRET_BYTES:
            raise StoreDamagedError(
                f"{file} is damaged: it does not hold a secret with its check bytes; "
                "put a copy of it in its place, or move it away to go on without it"
            )
        return secret

    def _write(self, file: str, secret: bytes, *, replace: bool = False) -> None:
        """Write a secret beside its place and move it there: nobody ever sees half of one."""
        if type(secret) is not bytes or len(secret) != _SECRET_BYTES:
            raise InvalidValueError(f"a secret is {_SECRET_BYTES} bytes")
        if not replace and os.path.lexists(file):  # no race: we hold the lock
            raise InvalidValueError(f"{file} exists already")
        folder, name = os.path.split(file)
        draft = os.path.join(folder, f".{name}.new")
        try:
            if os.path.lexists(draft):
                os.unlink(draft)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(secret + _check(secret))
                stream.flush()
                os.fsync(descriptor)
            os.rename(draft, file)
            sync_directory(folder)
        except OSError as error:
            raise store_error(error, file) from error


def store_error(error: OSError, path: str) -> StoreError:
    """Translate an error of the operating system about ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"{path}: no space left; nothing was written")
    return StoreError(f"{path}: {error.strerror or error}")


def _create(path: str) -> None:
    """Create the directory and missing parents, each 0700 and durable before the next."""
    if os.path.lexists(path):
        return
    parent = os.path.dirname(path)
    _create(parent)
    with suppress(FileExistsError):  # another process was faster; the lock decides
        os.mkdir(path, 0o700)
    sync_directory(parent)


def _check_contents(path: str, init: bool) -> None:
    if not os.path.lexists(path):
        raise StoreNotFoundError(f"no store at {path}")
    if not os.path.isdir(path):
        raise StoreFormatError(f"{path} is not a directory")
    names = set(os.listdir(path))
    if DATABASE in names:
        return
    if names - _OURS:
        raise StoreFormatError(f"{path} is not a store: it holds {min(names - _OURS)!r} and no {DATABASE!r}")
    require_no_seeds(path)
    if not init:
        raise StoreNotFoundError(f"no store at {path}: the directory holds no {DATABASE!r}")


def require_no_seeds(path: str) -> None:
    """Raise :class:`StoreDamagedError` if writers are there: without their logs they would fork them."""
    if names := _seed_names(path):
        raise StoreDamagedError(
            f"{os.path.join(path, DATABASE)} is missing or empty, but writer {names[0]!r} has a seed; "
            f"move {os.path.join(path, SEEDS)} away to start with new writers"
        )


def _seed_names(path: str) -> list[str]:
    try:
        files = os.listdir(os.path.join(path, SEEDS))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error(error, path) from error
    return sorted(name for name in map(writer_name, files) if name is not None)


def _check(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()[:_CHECK_BYTES]


def sync_directory(folder: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
