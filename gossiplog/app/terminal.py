"""The terminal of a program that runs on a reactor: lines in, text out.

Responsible for: :class:`Terminal` over standard input and output.
Must not know: what the lines mean.
Invariant: nothing here blocks the reactor, whatever standard input and output are (a terminal, a pipe, a file, closed),
and no flag of theirs is changed (:mod:`gossiplog.app.streams`).  Whatever is written is one line and steers no
terminal.
"""

from __future__ import annotations

import os
from collections import deque
from types import TracebackType
from typing import Any, Final, NoReturn

from twisted.internet.defer import CancelledError, Deferred

from gossiplog.app.streams import Input, Output
from gossiplog.limits import MAX_BODY_BYTES
from gossiplog.printable import printable

MAX_WAITING_LINES: Final = 1000
"""Lines read ahead of the program; above it standard input is not read."""

FLUSH_SECONDS: Final = 2.0
"""How long the end waits for a reader of our output that does not read."""


class Terminal:
    """I am standard input as an async iterator of lines, and standard output with back-pressure.

    ``async with Terminal(reactor) as terminal: async for line in terminal: await terminal.write(...)``.  The iteration
    ends at the end of the input, and when nobody reads our output any more.
    """

    def __init__(self, reactor: Any, *, stdin: int | None = 0, stdout: int = 1) -> None:
        """Take over ``stdin`` (None: read nothing) and ``stdout``."""
        self._reactor = reactor
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._input_ended = stdin is None
        self._reading_paused = False
        self._reader: Deferred[None] | None = None
        self._writers: list[Deferred[None]] = []
        self._shows_keys = stdin is not None and os.isatty(stdin) and os.isatty(stdout)
        self._input = None if stdin is None else Input(stdin, reactor, self._received, self._ended)
        self._output = Output(stdout, reactor, self._changed)

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
        """The next line, without its end; raises what the system says when standard input cannot be read."""
        while not self._lines:
            if self._input_ended:
                if self._input is not None and self._input.broken is not None:
                    raise self._input.broken
                raise StopAsyncIteration
            self._reader = Deferred()
            await self._reader
        line = self._lines.popleft()
        if self._input is not None and self._reading_paused and not self._lines:
            self._reading_paused = False
            self._input.resume()
        return line.removesuffix(b"\r").decode(errors="replace")

    async def write(self, line: str) -> None:
        """Write a line, waiting while standard output is behind; raises what the system says when that is impossible.

        That is BrokenPipeError when nobody reads it.
        """
        while self._output.is_full and self._output.broken is None:
            await self._output_changes()
        if self._output.broken is not None:
            raise self._output.broken
        self.put(line)

    async def broken(self) -> NoReturn:
        """Wait until standard output cannot be written to any more, then raise why: as a rule BrokenPipeError.

        For a program that may have nothing to write for long: otherwise it would not notice.
        """
        while self._output.broken is None:
            await self._output_changes()
        raise self._output.broken

    def put(self, line: str) -> None:
        """Write a line without waiting: for the occasional line, which is dropped when nobody reads it."""
        self._output.write(f"{printable(line)}\n".encode())

    async def close(self) -> None:
        """Write out what is left, within :data:`FLUSH_SECONDS`, and let go of both descriptors.

        Raises what :meth:`write` would if something is left that could not be written, but for a BrokenPipeError.
        """
        if self._input is not None:
            self._input.close()
        late = self._reactor.callLater(FLUSH_SECONDS, self._wake_writers)
        while not self._output.is_done and late.active():
            await self._output_changes()
        if late.active():
            late.cancel()
        self._output.close()
        if self._output.broken is not None and not isinstance(self._output.broken, BrokenPipeError):
            raise self._output.broken

    # -- the descriptors call

    def _received(self, data: bytes) -> None:
        """Cut what was read into lines; one that can't fit an entry is handed over as it is, to be refused there."""
        if self._output.broken is not None:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)
        if len(self._rest) > MAX_BODY_BYTES:
            self._lines.append(self._rest)
            self._rest = b""
        if self._input is not None and len(self._lines) > MAX_WAITING_LINES and not self._reading_paused:
            self._reading_paused = True
            self._input.pause()
        if self._lines:
            self._wake_reader()

    def _ended(self) -> None:
        """Standard input ended; what follows the last line end is a line too."""
        if self._rest:
            self._lines.append(self._rest)
            self._rest = b""
        self._input_ended = True
        self._wake_reader()

    def _changed(self) -> None:
        """Something was written, or nothing can be any more."""
        if self._output.broken is not None:
            self._lines.clear()
            self._input_ended = True
            self._wake_reader()
        self._wake_writers()

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
