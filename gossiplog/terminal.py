"""The terminal of a program that runs on a reactor: lines in, text out.

Responsible for: :class:`Terminal` over standard input and output.
Must not know: what the lines mean.
Invariant: nothing here blocks the reactor, whatever standard input and output are (a terminal, a pipe, a file, closed),
and descriptors 0 to 2 are left as they were found.  Whatever is written is one line and steers no terminal.
"""

from __future__ import annotations

import os
from collections import deque
from types import TracebackType
from typing import Any, Final, NoReturn

from twisted.internet import stdio
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog.foreign import printable
from gossiplog.limits import MAX_BODY_BYTES

MAX_WAITING_LINES: Final = 1000
"""Lines read ahead of the program; above it standard input is not read."""

FLUSH_SECONDS: Final = 2.0
"""How long the end waits for a reader of our output that does not read."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Terminal(Protocol):
    """I am standard input as an async iterator of lines, and standard output with back-pressure.

    ``async with Terminal(reactor) as terminal: async for line in terminal: await terminal.write(...)``.  The iteration
    ends at the end of the input, and when nobody reads our output any more.
    """

    def __init__(self, reactor: Any, *, stdin: int | None = 0, stdout: int = 1) -> None:
        """Take over ``stdin`` (None: read nothing) and ``stdout``."""
        self._reactor = reactor
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._input_ended = False
        self._output_ended = False
        self._reading_paused = False
        self._full = False
        self._reader: Deferred[None] | None = None
        self._writers: list[Deferred[None]] = []
        self._closed: Deferred[None] = Deferred()
        self._shared = [(fd, os.get_blocking(fd)) for fd in (stdin, stdout) if fd is not None]
        source = os.open(os.devnull, os.O_RDONLY) if stdin is None else _own(stdin, os.O_RDONLY)
        self._shows_keys = stdin is not None and os.isatty(stdin) and os.isatty(stdout)
        self._owned = [source, _own(stdout, os.O_WRONLY)]
        self._stdio: Any = _standard_io()(self, *self._owned, reactor=reactor)
        self._stdio.registerProducer(self, True)

    async def __aenter__(self) -> Terminal:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, CancelledError) and self._shows_keys:
            self.put("")  # behind the ^C that the terminal shows
        await self.close()

    # -- the program calls

    def __aiter__(self) -> Terminal:
        return self

    async def __anext__(self) -> str:
        """The next line, without its end."""
        while not self._lines:
            if self._input_ended:
                raise StopAsyncIteration
            self._reader = Deferred()
            await self._reader
        line = self._lines.popleft()
        if self._reading_paused and not self._lines:
            self._reading_paused = False
            self._stdio.resumeProducing()
        return line.removesuffix(b"\r").decode(errors="replace")

    async def write(self, line: str) -> None:
        """Write a line, waiting while standard output is behind; BrokenPipeError when nobody reads it."""
        while self._full and not self._output_ended:
            await self._output_changes()
        if self._output_ended:
            raise BrokenPipeError("nobody reads the output")
        self.put(line)

    async def broken(self) -> NoReturn:
        """Wait until nobody reads standard output any more, then raise BrokenPipeError.

        For a program that may have nothing to write for long: otherwise it would not notice.
        """
        while not self._output_ended:
            await self._output_changes()
        raise BrokenPipeError("nobody reads the output")

    def put(self, line: str) -> None:
        """Write a line without waiting: for the occasional line, which is dropped when nobody reads it."""
        if not self._output_ended:
            self._stdio.write(f"{printable(line)}\n".encode())

    async def close(self) -> None:
        """Write out what is left, within :data:`FLUSH_SECONDS`, and let go of both descriptors."""
        if not self._output_ended:
            self._stdio.unregisterProducer()
            self._stdio.loseConnection()
            late = self._reactor.callLater(
                FLUSH_SECONDS, self._stdio.connectionLost, Failure(connectionDone.value)
            )
            await self._closed
            if late.active():
                late.cancel()
        else:
            self._stdio.loseConnection()
        owned, self._owned = self._owned, []
        for fd in owned:
            os.close(fd)  # StandardIO does not
        for fd, blocking in self._shared:
            os.set_blocking(fd, blocking)

    # -- standard input and output call

    def dataReceived(self, data: bytes) -> None:
        """Cut what was read into lines; one that can't fit an entry is handed over as it is, to be refused there."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)
        if len(self._rest) > MAX_BODY_BYTES:
            self._lines.append(self._rest)
            self._rest = b""
        if len(self._lines) > MAX_WAITING_LINES and not self._reading_paused:
            self._reading_paused = True
            self._stdio.pauseProducing()
        if self._lines:
            self._wake_reader()

    def readConnectionLost(self) -> None:
        """Standard input ended; what follows the last line end is a line too."""
        if self._rest:
            self._lines.append(self._rest)
            self._rest = b""
        self._input_ended = True
        self._wake_reader()

    def writeConnectionLost(self) -> None:
        """Nobody reads standard output any more."""
        self._output_ended = self._input_ended = True
        self._lines.clear()
        self._wake_reader()
        self._wake_writers()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Both are closed."""
        self.writeConnectionLost()
        if not self._closed.called:
            self._closed.callback(None)

    def pauseProducing(self) -> None:
        """Standard output is behind."""
        self._full = True

    def resumeProducing(self) -> None:
        """Standard output took everything."""
        self._full = False
        self._wake_writers()

    def stopProducing(self) -> None:
        """Standard output takes nothing more."""
        self._full = False

    # --

    async def _output_changes(self) -> None:
        waiting: Deferred[None] = Deferred()
        self._writers.append(waiting)
        await waiting

    def _wake_reader(self) -> None:
        waiting, self._reader = self._reader, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _wake_writers(self) -> None:
        waiting, self._writers = self._writers, []
        for one in waiting:
            if not one.called:
                one.callback(None)


def _standard_io() -> Any:
    return stdio.StandardIO  # typed by Twisted for Windows and POSIX at once, which fits neither


def _own(fd: int, mode: int) -> int:
    """Return a descriptor for the same thing as ``fd`` that can be closed without closing ``fd``.

    A terminal is opened anew: as a duplicate it would become non-blocking for every program that shares it.
    """
    try:
        return os.open(os.ttyname(fd), mode | os.O_NOCTTY)
    except OSError:
        return os.dup(fd)
