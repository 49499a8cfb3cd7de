"""The lock that lets one process at a time have a store, and waiting for it.

Responsible for: taking ``flock`` on a file of the store, in turn; who holds it, in words.
Must not know: what the lock is of.
Invariant: who waits comes before who asks later, also before a program that closes the store only to open it again: the
first who waits holds a second lock, a record lock, until it has the first, and nobody writes without having had it.

``flock`` also keeps out a second opening in the same process, and ends with the process, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from typing import Final

from gossiplog.errors import StoreLockedError

LOOK_SECONDS: Final = 0.01
"""Between two looks of who waits: a look takes 3 us, and a store is open for some milliseconds at least."""

_TAKEN: Final = (errno.EWOULDBLOCK, errno.EACCES)
_PID_BYTES: Final = 20
_held: set[StoreLock] = set()
"""Of this process; after a fork also those of its parent."""

TRY_SECONDS: Final = 0.05
"""Between two tries to open a store, each with a thread of its own, of who has to do other things meanwhile."""


class Patience:
    """I am how long somebody waits: ``wait`` seconds for each who has the lock, since they come and go."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._holder: object = self  # who has it is not known yet
        self._deadline = 0.0

    def left(self, holder: object, since: float, now: float) -> float:
        """Return for how many seconds more to wait for ``holder``; one that is new has had it ``since`` then."""
        if holder != self._holder:
            self._holder = holder
            self._deadline = since + self._wait
        return self._deadline - now

    def bear(self, locked: StoreLockedError, since: float) -> float:
        """Return for how many seconds more to wait, after a try that began at ``since``.

        :raises StoreLockedError: there are none left; it says how long that was.
        """
        left = self.left(locked.pid, since, time.monotonic())
        if left <= 0:
            raise StoreLockedError(locked.path, locked.pid, self._wait) from None
        return left


class StoreLock:
    """I hold the lock of a store until I am released."""

    def __init__(self, descriptor: int, path: str, *, shared: bool = False, wait: float = 0.0) -> None:
        """Lock the file ``descriptor``, which is mine from now on; ``shared`` with others that only read.

        Blocks for up to ``wait`` seconds while another one holds it; who comes and goes meanwhile does not count.

        :raises StoreLockedError: then they still do.
        """
        self._descriptor = descriptor
        self._shared = shared
        self._signed = False
        found = os.fstat(descriptor)
        self._file = found.st_dev, found.st_ino
        self._process = os.getpid()
        try:
            self._wait(path, wait)
        except BaseException:
            os.close(descriptor)
            raise
        _held.add(self)

    def sign(self) -> None:
        """Say in the file that this process has it, for the error that others get."""
        if not self._shared:
            self._signed = True
            self._write(str(self._process))

    def release(self) -> None:
        """Let others have it; a second call does nothing.

        It is released in words: a program that was started meanwhile may have got the descriptor too.
        """
        if self in _held:
            if self._signed:
                self._write("")
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.give_up()

    def give_up(self) -> None:
        """Close the descriptor, of which a parent or child may have another, and the lock with it."""
        if self in _held:
            _held.discard(self)
            os.close(self._descriptor)

    def _wait(self, path: str, wait: float) -> None:
        is_next = self._shared
        patience = Patience(wait)
        while True:
            is_next = is_next or self._is_next()
            if is_next and self._take():
                return
            signature, now = self._read(), time.monotonic()
            left = patience.left(signature, now, now)
            if left <= 0:
                raise StoreLockedError(path, self._holder(signature), wait)
            time.sleep(min(left, LOOK_SECONDS))

    def _is_next(self) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _TAKEN  # some file systems have no record locks: then nobody is in turn
        return True

    def _take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        with suppress(OSError):
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        return True

    def _write(self, who: str) -> None:
        with suppress(OSError):
            os.pwrite(self._descriptor, who.ljust(_PID_BYTES).encode(), 0)

    def _read(self) -> bytes:
        with suppress(OSError):
            return os.pread(self._descriptor, _PID_BYTES, 0)
        return b""

    def _holder(self, signature: bytes) -> int | None:
        """Return the process that holds it, ``None`` if that is not known."""
        if any(lock._file == self._file and lock._process == self._process for lock in tuple(_held)):
            return self._process
        with suppress(OSError, ValueError, OverflowError):
            process = int(signature)
            if process > 0 and process != self._process:
                with suppress(PermissionError):
                    os.kill(process, 0)
                return process
        return None
