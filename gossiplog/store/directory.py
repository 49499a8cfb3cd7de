"""The directory of a store: its lock, its modes, its secret files.

Responsible for: creating the directory (0700), holding its lock, keeping secrets in files of their own (0600), and
writing only to what is ours alone.
Must not know: the database, or what a secret is for.
Invariant: a secret is there whole and synced or not at all, and while the lock is held nobody else opens the
store.  A store that others made, own or may change leads to no file outside of it.  POSIX only.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from typing import Final

from gossiplog.errors import (
    InvalidValueError,
    StoreDamagedError,
    StoreFailedError,
    StoreFormatError,
    StoreNotFoundError,
    StoreUnsafeError,
)
from gossiplog.paths import AnyPath, absolute
from gossiplog.store.copy_guard import generation
from gossiplog.store.folder import (
    Folder,
    create_folders,
    open_folder,
    require_outside,
    require_private_parent,
    restrict,
    store_error,
)
from gossiplog.store.lock import StoreLock
from gossiplog.store.owning_process import Home, hold
from gossiplog.store.secret_files import NODE_KEY, SEEDS, SecretFiles, seed_names

DATABASE: Final = "log.sqlite"
LOCK: Final = "lock"
VIEWS: Final = "views"  # what is derived from the entries, and can be again
DRAFT: Final = f".{VIEWS}-"
"""How a directory begins, beside that of the views, in which one is built while a node has the store."""

CONTROL: Final = "control"  # the socket of the node that has the store

ASIDE: Final = ".damaged"
"""Behind the name of a database file that was rebuilt."""

BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite looks for beside a database."""

_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
"""At the end of a rollback journal: before it is the name of a file that belongs to the transaction too."""

MAX_PATH_BYTES: Final = 500
"""Of a database: SQLite refuses more than 504, and a new one for a rebuilding has four more."""

_OURS: Final = frozenset({LOCK, SEEDS, NODE_KEY, VIEWS, CONTROL, generation.NAME, "lost+found"})
"""What may stand in a directory without a database: a start cut short, or the root of a fresh file system."""


class StoreDirectory:
    """I hold the lock of one store directory and keep its secrets.

    ``read_only``: nothing in it is written: that was asked for, or its file system takes no writes, or its modes let
    us write nothing, or there is ``damage``.
    """

    def __init__(self, path: AnyPath, init: bool = True, read_only: bool = False, wait: float = 0.0) -> None:
        """Lock the store directory at ``path``; ``init`` creates one in a new or empty directory.

        With ``read_only`` nothing is changed, and it may be anybody's store; secrets are looked at only if it is ours
        alone.  Blocks for up to ``wait`` seconds while another one has it open.

        :raises InvalidValueError: ``path`` is none.
        :raises StoreNotFoundError: no store there, and not ``init``.
        :raises StoreFormatError: something else is there.
        :raises StoreUnsafeError: it is not ours alone.
        :raises StoreLockedError: it is open already, in this or another process.
        """
        self.path = absolute(path)
        self.read_only = read_only
        self.damage: StoreDamagedError | None = None
        self.wait = wait
        self.home = Home(f"store {self.path}")
        self._lock: StoreLock | None = None
        try:
            self.folder = self._open(init and not read_only)
        except OSError as error:
            raise store_error(error, self.path) from error
        self.secrets = SecretFiles(self.folder, self._require_writable)
        hold(self)
        try:
            self._lock = StoreLock(self._open_lock(), self.path, shared=self.read_only, wait=wait)
            if not self.read_only:
                _finish_rebuild(self.folder)
                _remove_drafts(self.folder)
            self._look_around_as_owner_or_guest()
            self._lock.sign()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise store_error(error, self.path) from error
            raise

    @property
    def database(self) -> str:
        """The path of the database file."""
        return self.folder.file(DATABASE)

    def why_read_only(self, asked: bool) -> str:
        """Say why nothing is written; ``asked`` when that was wanted."""
        if asked:
            return "it is open for reading only"
        return (
            "its file system is read-only"
            if self.folder.is_read_only()
            else "its modes let nobody write to it: chmod -R u+w, if it is not in an archive on purpose"
        )

    def create_database_file(self) -> None:
        """Make sure that the database file exists with mode 0600: SQLite would follow the umask."""
        try:
            if self.read_only:
                os.close(self.folder.open(DATABASE))  # SQLite would not say why it cannot be read
                return
            with suppress(FileExistsError):
                os.close(self.folder.create(DATABASE))
                self.folder.sync()
            restrict(self.folder, DATABASE)
        except OSError as error:
            raise store_error(error, self.database) from error

    def require_in_place(self) -> None:
        """Raise :class:`StoreUnsafeError` if another directory stands where this one was."""
        with suppress(OSError):
            if os.stat(self.folder.path).st_ino == self.folder.stat().st_ino:
                return
        raise StoreUnsafeError(f"{self.path} was moved while it was opened")

    def close(self) -> None:
        """Release the lock; the lock file stays, removing it would let two processes hold different ones."""
        if self._lock is not None and self.home.is_here:
            self._lock.release()
        self.give_up()

    def give_up(self) -> None:
        """Close what is open here.  In a child that releases no lock, and keeps none beyond the parent's end."""
        if self._lock is not None:
            self._lock.give_up()
        self.folder.close()

    def _open(self, init: bool) -> Folder:
        _require_short(self.path)
        if init:
            if not os.path.lexists(os.path.join(self.path, DATABASE)):
                require_outside(self.path, LOCK, DATABASE)
            create_folders(self.path)
        try:
            folder = open_folder(self.path)
        except FileNotFoundError:
            if os.path.lexists(self.path):
                raise StoreFormatError(f"{self.path} is not a directory") from None
            raise StoreNotFoundError(f"no store at {self.path}") from None
        try:
            is_new = not folder.holds(DATABASE)
            if is_new:
                _require_nothing_else(folder, self.path, init)
            self.read_only = self.read_only or folder.is_read_only()
            if not self.read_only:
                if is_new:
                    _make_ours(folder)
                require_private_parent(folder.path)
                folder.guard()
                self.read_only = not folder.may_be_written(DATABASE, LOCK, generation.NAME)
        except BaseException:
            folder.close()
            raise
        return folder

    def _open_lock(self) -> int:
        """Return a descriptor to lock; of the directory where nothing is to be written and no lock file can be read."""
        if not self.read_only:
            with suppress(FileExistsError):
                return self.folder.create(LOCK)
            return self.folder.open(LOCK, os.O_RDWR)
        try:
            return self.folder.open(LOCK)
        except (FileNotFoundError, PermissionError):
            return self.folder.duplicate()

    def _look_around_as_owner_or_guest(self) -> None:
        try:
            if self.read_only:
                require_private_parent(self.folder.path)
                self.folder.guard()
            self._look_around()
        except StoreUnsafeError:
            if not self.read_only:
                raise
            self.secrets.is_guest = True
            self.folder.guarded = False
            self._look_around()

    def _look_around(self) -> None:
        """Refuse what leads out of the directory, before anything is written, and before SQLite follows it."""
        for name in (LOCK, generation.NAME, DATABASE):
            self.folder.size(name)
        self.secrets.look_around()
        sizes = {suffix: self.folder.size(DATABASE + suffix) for suffix in BESIDE}
        size = sizes["-journal"]
        if size and size >= len(_JOURNAL_MAGIC):
            journal = self.folder.open(DATABASE + "-journal")
            try:
                end = os.pread(journal, len(_JOURNAL_MAGIC), size - len(_JOURNAL_MAGIC))
            finally:
                os.close(journal)
            if end == _JOURNAL_MAGIC:
                raise StoreUnsafeError(
                    f"{self.database}-journal names another file, which SQLite would read and delete; no store has "
                    "such a journal, so somebody put it there: remove it"
                )

    def _require_writable(self) -> None:
        if self.read_only:
            raise self.damage or StoreFailedError(f"{self.path} is open for reading only")


def _require_short(path: str) -> None:
    """Raise for a path that SQLite could not open a file in, before anything is created there."""
    longest = MAX_PATH_BYTES - len(DATABASE) - 1
    if len(os.fsencode(os.path.realpath(path))) > longest:
        raise InvalidValueError(f"a store's path has at most {longest} bytes, links followed: {path}")


def _make_ours(folder: Folder) -> None:
    """Let only us into an empty directory that is to become a store, unless it is one for everybody."""
    found = folder.stat()
    if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
        folder.restrict()


def _finish_rebuild(folder: Folder) -> None:
    """Take away the second name of a database whose rebuilding was cut short; first what belongs to it comes back."""
    with suppress(FileNotFoundError):
        for name in folder.twins(DATABASE):
            if name.startswith(DATABASE + ASIDE):
                for suffix in filter(lambda suffix: folder.holds(name + suffix), BESIDE):
                    folder.rename(name + suffix, DATABASE + suffix)
                folder.sync()
                folder.remove(name)


def _remove_drafts(folder: Folder) -> None:
    """Remove what was built beside the views of a node, by who was killed or has lost that node."""
    for name in [name for name in folder.names() if name.startswith(DRAFT)]:
        shutil.rmtree(folder.file(name), ignore_errors=True)  # follows no link


def _require_nothing_else(folder: Folder, path: str, init: bool) -> None:
    for name in folder.names():
        if name not in _OURS:
            raise StoreFormatError(f"{path} is not a store: it holds {name!r} and no {DATABASE!r}")
    require_no_seeds(folder)
    if not init:
        raise StoreNotFoundError(f"no store at {path}: the directory holds no {DATABASE!r}")


def require_no_seeds(folder: Folder) -> None:
    """Raise :class:`StoreDamagedError` if writers are there: without their logs they would fork them."""
    if names := seed_names(folder):
        raise StoreDamagedError(
            f"{folder.file(DATABASE)} is missing or empty, but writer {names[0]!r} has a seed; "
            f"move {folder.file(SEEDS)} away to start with new writers"
        )
