"""Where the control socket of a store is: a name in its directory.

Responsible for: binding it for us alone, whatever is in its place and however long the path; connecting to it; who is
at the other end.
Must not know: what is said.
Invariant: nobody is talked to, on either side, but processes of our own user in a directory that nobody else may write
to.  Nothing is removed but a socket; a name that appears is listened on already.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import closing, suppress
from typing import Final

from gossiplog.control.messages import busy
from gossiplog.errors import ControlError, StoreUnsafeError
from gossiplog.paths import AnyPath
from gossiplog.store.directory import CONTROL
from gossiplog.store.door import directory_of
from gossiplog.store.folder import FILE_MODE, Folder, open_folder, store_error

BACKLOG: Final = 1024

_DRAFT: Final = f".{CONTROL}.new"
_SHORT_BYTES: Final = 100
"""A path that every system takes as a socket's."""

_CREDENTIALS: Final = struct.Struct("3i")


class ControlSocket:
    """I am the socket that listens in one store's directory, until :meth:`close`."""

    def __init__(self, path: AnyPath) -> None:
        """Bind and listen.

        :raises StoreUnsafeError: others may write to the directory, or what has the name is no socket.
        :raises StoreError: the file system takes no sockets, or no writes.
        """
        self.path = os.path.join(directory_of(path), CONTROL)
        self.user = os.geteuid()
        self._folder = open_folder(directory_of(path))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._folder.guard()
            for name in (_DRAFT, CONTROL):
                _require_socket(self._folder, name)
            self._folder.remove(_DRAFT)
            os.fchmod(
                self.socket.fileno(), FILE_MODE
            )  # what is bound gets it, whatever the umask lets through
            with _Way(self._folder, _DRAFT) as way:
                self.socket.bind(way)
            os.chmod(_DRAFT, FILE_MODE, dir_fd=self._folder._fd)
            self.socket.setblocking(False)
            self.socket.listen(BACKLOG)
            self._folder.rename(_DRAFT, CONTROL)
            self._file = self._found()
        except OSError as error:
            self._let_go()
            raise store_error(error, self.path) from error
        except BaseException:
            self._let_go()
            raise

    def _found(self) -> tuple[int, int] | None:
        with suppress(OSError):
            found = os.stat(CONTROL, dir_fd=self._folder._fd, follow_symlinks=False)
            return found.st_dev, found.st_ino
        return None

    def close(self) -> None:
        """Take the name away, if it is still ours, and listen no more."""
        with suppress(OSError):
            if self._folder._fd >= 0 and self._found() == self._file:
                self._folder.remove(CONTROL)
        self._let_go()

    def _let_go(self) -> None:
        self.socket.close()
        self._folder.close()


def connect(path: AnyPath, seconds: float) -> socket.socket | None:
    """Return a connection to the node that has the store at ``path``, which blocks for so long; None if none listens.

    :raises StoreUnsafeError: who listens is of another user, or the name leads elsewhere.
    """
    try:
        folder = open_folder(directory_of(path))
    except OSError:
        return None
    with closing(folder):
        try:
            if not folder.holds(CONTROL):
                return None
            folder.guard()
            _require_socket(folder, CONTROL)
            return _connected(folder, seconds)
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # a node stopped, or crashed and left its socket
        except OSError as error:
            raise store_error(error, folder.file(CONTROL)) from error


def _connected(folder: Folder, seconds: float) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(seconds)
        with _Way(folder, CONTROL) as way:
            try:
                found.connect(way)
            except (BlockingIOError, TimeoutError):
                raise busy() from None
        process, user = peer_of(found)
        if process == os.getpid():
            raise ConnectionRefusedError  # the node is our own: whoever waits for it here may be who it waits for
        if user not in (None, os.geteuid()):
            raise StoreUnsafeError(
                f"{folder.file(CONTROL)}: who listens there is of user {user}, not of ours"
            )
    except BaseException:
        found.close()
        raise
    return found


def peer_of(connection: socket.socket) -> tuple[int | None, int | None]:
    """Return the process at the other end and its user; None where the system does not say.

    There the directory's modes alone keep others out.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None, None
    process, user, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    )
    return int(process), int(user)


class _Way:
    """I am how the system finds a name in a folder, which is held open: no path is too long for a socket then."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._descriptor = folder.duplicate()
        self._way = f"/proc/self/fd/{self._descriptor}/{name}"
        self._path = folder.file(name)

    def __enter__(self) -> str:
        if os.path.isdir(os.path.dirname(self._way)):
            return self._way
        if len(os.fsencode(self._path)) > _SHORT_BYTES:
            raise ControlError(f"{self._path} is too long a path for a socket on this system")
        return self._path

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)


def _require_socket(folder: Folder, name: str) -> None:
    """Raise :class:`StoreUnsafeError` if something that is no socket of ours has the name."""
    try:
        found = os.stat(name, dir_fd=folder._fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise StoreUnsafeError(
            f"{folder.file(name)} is not the socket of a node of ours; remove it, or nobody can use the store while a "
            "node has it"
        )
