"""The files of one directory, each opened as what it has to be.

Responsible for: opening, creating and replacing files without following a link, waiting for a pipe or touching a file
that has another name elsewhere; modes that do not depend on the umask.
Must not know: what the files are for.
Invariant: what is opened is a regular file of this directory and of no other place; if ``guarded``, it is ours and
nobody else may change it.  Whoever made the directory decides what names are in it, and nothing else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from gossiplog.errors import StoreError, StoreFormatError, StoreFullError, StoreUnsafeError

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700

_CAREFULLY: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""No link is followed, and opening does not wait for the other end of a pipe."""

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH

_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class Folder:
    """I am one directory, held open.  Names are those of its files, without a path."""

    def __init__(self, path: str, within: Folder | None = None) -> None:
        """Open the directory ``path``; with ``within`` it is a name in there, and no link."""
        self.guarded: bool = within is not None and within.guarded
        self.path = path if within is None else within.file(path)
        carefully = os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
        if within is None:
            self._fd = os.open(path, carefully)
        else:
            try:
                self._fd = os.open(path, carefully | os.O_NOFOLLOW, dir_fd=within._fd)
            except NotADirectoryError:
                raise StoreUnsafeError(f"{self.path} is not a directory of its own; remove it") from None
        try:
            if self.guarded:
                self.require_guarded()
        except BaseException:
            self.close()
            raise

    def guard(self) -> None:
        """From now on nobody else may have a hand in this directory and in what is opened.

        :raises StoreUnsafeError: somebody else has, now.
        """
        self.require_guarded()
        self.guarded = True

    def require_guarded(self) -> None:
        """Raise :class:`StoreUnsafeError` if others own the directory or may change it."""
        _require_ours(os.fstat(self._fd), self.path)

    def file(self, name: str) -> str:
        """Return the path of a file."""
        return os.path.join(self.path, name)

    def names(self) -> Iterator[str]:
        """Yield what there is, in no order; however much that is, only one is held at a time."""
        with os.scandir(self._fd) as found:
            for entry in found:
                yield entry.name

    def holds(self, name: str) -> bool:
        """Tell whether something has that name, whatever it is."""
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def twins(self, name: str) -> list[str]:
        """Return the other names that a file has in this directory; O(1) for a file with one name."""
        found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        if found.st_nlink < 2:
            return []
        with os.scandir(self._fd) as entries:
            return [entry.name for entry in entries if entry.inode() == found.st_ino and entry.name != name]

    def link(self, name: str, another: str) -> None:
        """Give a file another name."""
        os.link(name, another, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)

    def rename(self, name: str, another: str) -> None:
        """Move a file to the place of another."""
        os.rename(name, another, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def move(self, name: str, another: Folder) -> None:
        """Move a file to another directory of this file system."""
        os.rename(name, name, src_dir_fd=self._fd, dst_dir_fd=another._fd)

    def size(self, name: str) -> int | None:
        """Return how large a file is, ``None`` if there is none.

        :raises StoreUnsafeError: it is something else than a file of this directory.
        """
        try:
            found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._require_file(found, name)
        return found.st_size

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file that is there and return its descriptor.

        :raises FileNotFoundError: there is none.
        :raises StoreUnsafeError: it is something else than a file of this directory.
        """
        self.size(name)  # before it is opened: that alone can do something to a device
        try:
            descriptor = os.open(name, flags | _CAREFULLY, dir_fd=self._fd)
        except OSError as error:
            if self.holds(name) and os.path.islink(self.file(name)):  # since a moment ago
                raise StoreUnsafeError(f"{self.file(name)} is a symbolic link; remove it") from error
            raise
        try:
            self._require_file(os.fstat(descriptor), name)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def create(self, name: str) -> int:
        """Make a new file with mode 0600 and return its descriptor; FileExistsError if something has that name."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _CAREFULLY
        descriptor = os.open(name, flags, FILE_MODE, dir_fd=self._fd)
        with suppress(OSError):  # some file systems know no modes
            os.fchmod(descriptor, FILE_MODE)
        return descriptor

    def draft(self, name: str) -> int:
        """Make a new file that is to take the place of ``name`` when it is whole, and return its descriptor."""
        self.remove(_draft(name))
        return self.create(_draft(name))

    def put(self, name: str) -> None:
        """Move the draft of ``name`` to its place, durably."""
        self.rename(_draft(name), name)
        self.sync()

    def discard(self, name: str) -> None:
        """Remove the draft of ``name``, if there is one."""
        self.remove(_draft(name))

    def drafted(self, file: str) -> str:
        """Return the name of which this file is a draft, ``""`` if it is none."""
        name = file[1:-4]
        return name if file == _draft(name) else ""

    def make_folder(self, name: str) -> None:
        """Make a directory, durable and with mode 0700, if nothing has that name."""
        if not self.holds(name):
            os.mkdir(name, DIRECTORY_MODE, dir_fd=self._fd)
            self.sync()

    def remove(self, name: str) -> None:
        """Remove a name, if there is one; what a link leads to stays."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def sync(self) -> None:
        """Make the names durable."""
        os.fsync(self._fd)

    def stat(self) -> os.stat_result:
        """Return what the system says of the directory."""
        return os.fstat(self._fd)

    def duplicate(self) -> int:
        """Return another descriptor of the directory."""
        return os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)

    def restrict(self) -> None:
        """Let only the owner in."""
        os.fchmod(self._fd, DIRECTORY_MODE)

    def is_read_only(self) -> bool:
        """Tell whether its file system takes no writes."""
        return bool(os.fstatvfs(self._fd).f_flag & os.ST_RDONLY)

    def may_be_written(self, *names: str) -> bool:
        """Tell whether the modes let this process change the directory and those of the files that are there."""
        effective = os.access in os.supports_effective_ids
        return all(
            os.access(name, os.W_OK, dir_fd=self._fd, effective_ids=effective)
            for name in (".", *filter(self.holds, names))
        )

    def close(self) -> None:
        """Give the directory back; a second call does nothing."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _require_file(self, found: os.stat_result, name: str) -> None:
        path = self.file(name)
        if not stat.S_ISREG(found.st_mode):
            kind = next((words for is_one, words in _KINDS if is_one(found.st_mode)), "a device")
            raise StoreUnsafeError(
                f"{path} is {kind}, not a file of its own; nothing in a store is; remove it"
            )
        if found.st_nlink > 1:
            raise StoreUnsafeError(
                f"{path} has another name elsewhere (a hard link), so a change here would be one there; "
                "put a copy in its place"
            )
        if self.guarded:
            _require_ours(found, path)


def sync_directory(path: str) -> None:
    """Make what was added to a directory, renamed or removed there durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_folders(path: str) -> None:
    """Create the directory and missing parents, each with mode 0700 and durable before the next; all or none."""
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    created = []
    try:
        for path in reversed(missing):
            with suppress(FileExistsError):  # another process was faster; the lock decides
                os.mkdir(path, DIRECTORY_MODE)
                created.append(path)
            sync_directory(os.path.dirname(path))
    except OSError:
        for path in reversed(created):
            with suppress(OSError):  # another process has put something there
                os.rmdir(path)
        raise


def require_outside(path: str, *names: str) -> None:
    """Raise :class:`StoreFormatError` if a directory above ``path`` has files of these names: it is taken."""
    within = os.path.realpath(path)
    while (parent := os.path.dirname(within)) != within:
        within = parent
        if all(os.path.lexists(os.path.join(within, name)) for name in names):
            raise StoreFormatError(
                f"{path} would be inside of the store {within}; keep it in a directory beside"
            )


def require_private_parent(path: str) -> None:
    """Raise :class:`StoreUnsafeError` if others may put another directory in the place of ``path``.

    They may not where only the owner of a name may move it (the sticky bit of ``/tmp``).  A group that is our own is
    often ours alone, with a umask that lets it write everywhere.
    """
    parent = os.path.dirname(path)
    found = os.stat(parent)
    ours = stat.S_IWGRP if found.st_gid == os.getegid() else 0
    if found.st_mode & _OTHERS_WRITE & ~ours and not found.st_mode & stat.S_ISVTX:
        raise StoreUnsafeError(
            f"others may write to {parent}, and could put another directory in the place of {path}: "
            f"chmod go-w {parent}, or keep the store elsewhere"
        )


def open_folder(path: str) -> Folder:
    """Open a directory that somebody named, which may be a link."""
    try:
        return Folder(os.path.realpath(path))
    except NotADirectoryError:
        raise StoreFormatError(f"{path} is not a directory") from None


def _draft(name: str) -> str:
    return f".{name}.new"


def _require_ours(found: os.stat_result, path: str) -> None:
    if found.st_uid != os.geteuid():
        raise StoreUnsafeError(
            f"{path} belongs to user {found.st_uid}, and this process is of user {os.geteuid()}: run it as its owner, "
            "copy the store, open it for reading only, or take what is in it with `gossiplog import`"
        )
    if found.st_mode & _OTHERS_WRITE:
        raise StoreUnsafeError(
            f"others may write to {path}: chmod go-w {path} if they never did; "
            "else open it for reading only, or take what is in it with `gossiplog import`"
        )


def restrict(folder: Folder, name: str) -> None:
    """Let only us read a file: one that was copied or unpacked may have any mode."""
    descriptor = folder.open(name)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def store_error(error: OSError, path: str) -> StoreError:
    """Translate an error of the operating system about ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"{path}: no space left; nothing was written")
    return StoreError(f"{path}: {error.strerror or error}")
