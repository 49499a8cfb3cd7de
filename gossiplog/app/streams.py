"""Descriptors that are shared with other programs, read and written without a change to their flags.

Responsible for: :class:`Patient`, a file that waits where a non-blocking descriptor says "again"; :class:`Input` and
:class:`Output`, which read and write in a thread for a program on a reactor.
Must not know: lines, text, what the descriptors are.
Invariant: whether a description is blocking is left as it was found, also by ``kill -9``: others share it, and a shell
or ``cat`` that finds its pipe non-blocking loses data.
"""

from __future__ import annotations

import errno
import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

READ_BYTES: Final = 64 * 1024
WAITING_BYTES: Final = 64 * 1024
"""What may wait to be written before an :class:`Output` says that it is full."""

NAMES: Final = {0: "standard input", 1: "standard output", 2: "standard error"}

_GONE = select.POLLERR | select.POLLNVAL


class Patient(io.RawIOBase):
    """I am a raw file over a descriptor that may be non-blocking: all that is written gets there, or it raises."""

    def __init__(self, fd: int, mode: str) -> None:
        self._fd = fd
        self.mode = mode
        self.name = fd

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def readable(self) -> bool:
        return "r" in self.mode

    def writable(self) -> bool:
        return "w" in self.mode

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                found = os.read(self._fd, len(buffer))
            except BlockingIOError:
                _wait(self._fd, select.POLLIN)
                continue
            except OSError as error:
                raise named(error, self._fd)
            buffer[: len(found)] = found
            return len(found)

    def write(self, content: Any) -> int:
        while True:
            try:
                return os.write(self._fd, content)
            except BlockingIOError:
                _wait(self._fd, select.POLLOUT)
            except OSError as error:
                raise named(error, self._fd)


class Unbuffered(Patient):
    """I keep nothing back: what could not be written is not tried again by an interpreter that ends."""

    def write(self, content: Any) -> int:
        written = 0
        with memoryview(content) as rest:
            while written < len(rest):
                written += super().write(rest[written:])
        return written


def named(error: OSError, fd: int) -> OSError:
    """Let ``error`` say which stream it is about, or "no space left" is taken for that of the store."""
    error.filename = NAMES.get(fd)
    if error.errno == errno.EBADF:
        error.strerror = f"it is closed, or not open for {'reading' if fd == 0 else 'writing'}"
    return error


def _wait(fd: int, events: int) -> None:
    poll = select.poll()
    poll.register(fd, events)
    poll.poll()


class _Worker:
    """I am a thread around a duplicate of one descriptor, which :meth:`wake` gets out of any wait."""

    def __init__(self, fd: int, name: str) -> None:
        self._number = fd
        self._fd = os.dup(fd)  # whoever closes the other must not let us write to what gets its number
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look again at what there is to do."""
        with self._lock:
            if not self._ended:
                try:
                    os.write(self._waker, b"\0")
                except BlockingIOError:
                    pass  # there are enough of them in it

    def _poll(self, events: int) -> int:
        """Wait until the descriptor is ready, or broken, or somebody called :meth:`wake`; return what it is."""
        poll = select.poll()
        poll.register(self._fd, events)
        poll.register(self._woken, select.POLLIN)
        ready = dict(poll.poll())
        if self._woken in ready:
            os.read(self._woken, READ_BYTES)
        return ready.get(self._fd, 0)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self._lock:
                self._ended = True
                for fd in (self._fd, self._woken, self._waker):
                    os.close(fd)

    def _work(self) -> None:
        raise NotImplementedError


class Input(_Worker):
    """I read a descriptor in a thread: ``received`` gets what comes, ``ended`` is called at its end; on the reactor.

    ``broken`` says why that is the end, if it is not that of the input.
    """

    broken: OSError | None = None

    def __init__(
        self, fd: int, reactor: Any, received: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        super().__init__(fd, "standard input")
        self._reactor = reactor
        self._received = received
        self._tell_end = ended
        self._paused = False
        self._closed = False
        self._start()

    def pause(self) -> None:
        """Read no more, but for what is being read now."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self.wake()

    def close(self) -> None:
        """Read no more; what was read and not told yet is lost."""
        self._closed = True
        self.wake()

    def _work(self) -> None:
        while not self._closed:
            if not self._poll(0 if self._paused else select.POLLIN) or self._paused or self._closed:
                continue
            try:
                content = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                continue  # another program was faster
            except OSError as error:
                self.broken = named(error, self._number)
                content = b""
            if not content:
                self._reactor.callFromThread(self._tell_end)
                return
            self._reactor.callFromThread(self._received, content)


class Output(_Worker):
    """I write to a descriptor in a thread.

    ``changed`` is called on the reactor when :attr:`is_full` or :attr:`broken` may have changed.
    """

    def __init__(self, fd: int, reactor: Any, changed: Callable[[], None]) -> None:
        super().__init__(fd, "standard output")
        self._reactor = reactor
        self._changed = changed
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.broken: OSError | None = None
        self._closing = False
        self._start()

    @property
    def is_full(self) -> bool:
        """Whether more should wait."""
        return self._waiting_bytes >= WAITING_BYTES

    @property
    def is_done(self) -> bool:
        """Whether everything was written, or nothing more can be."""
        return self.broken is not None or not self._waiting_bytes

    def write(self, content: bytes) -> None:
        """Queue ``content``, however much waits."""
        with self._lock:
            if self._ended:
                return
            self._waiting.append(content)
            self._waiting_bytes += len(content)
        self.wake()

    def close(self) -> None:
        """End; what still waits is lost."""
        self._closing = True
        self.wake()

    def _work(self) -> None:
        while not self._closing:
            ready = self._poll(select.POLLOUT if self._waiting else 0)
            try:
                if ready & _GONE and not self._waiting:
                    raise BrokenPipeError("nobody reads the output")
                if ready and self._waiting:
                    self._write_some()
            except BlockingIOError:
                continue
            except OSError as error:
                self.broken = named(error, self._number)
                self._reactor.callFromThread(self._changed)
                return

    def _write_some(self) -> None:
        content = self._waiting[0]
        written = os.write(self._fd, content[: select.PIPE_BUF])  # so much does not block where there is room
        with self._lock:
            if written == len(content):
                self._waiting.popleft()
            else:
                self._waiting[0] = content[written:]
            self._waiting_bytes -= written
        self._reactor.callFromThread(self._changed)
