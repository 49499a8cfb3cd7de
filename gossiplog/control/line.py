"""A connection to the node that has a store, for threads that wait.

Responsible for: asking one thing at a time and waiting for the answer; handing on news that comes meanwhile.
Must not know: what is asked; reactors.
Invariant: who waits is told when the node goes, whatever way it goes; after that, and in a child by fork, nothing is
asked any more.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

from gossiplog import limits
from gossiplog.control.messages import BUSY, Message, decode, encode, error_of
from gossiplog.control.place import connect
from gossiplog.errors import ControlError, NodeGoneError
from gossiplog.paths import AnyPath
from gossiplog.store.owning_process import Home, hold

READ_BYTES: Final = 256 * 1024

BUSY_SECONDS: Final = 0.05
"""Between two tries of a node that has no room for one more client."""

OnProgress = Callable[[int, int], object]
OnNews = Callable[[Any], None]


class Line:
    """I am one connection; ``about`` is what the node said of itself."""

    def __init__(self, connection: socket.socket, path: str) -> None:
        """``connection`` is mine from now on."""
        self.path = path
        self._socket = connection
        self._buffer = bytearray()
        self._looked = 0  # of the buffer: no line ends before
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._home = Home(f"the control socket of store {path}")
        self._closed = False
        hold(self)
        try:
            connection.settimeout(limits.CONTROL_SILENT_SECONDS)
            self.about = self._greeted()
            connection.settimeout(None)
        except BaseException:
            self.close()
            raise

    def _greeted(self) -> Message:
        said = self._next()
        if "error" in said:
            raise error_of(said["error"])
        about = said.get("gossiplog")
        if not isinstance(about, dict) or about.get("control") != limits.CONTROL_VERSION:
            version = about.get("control") if isinstance(about, dict) else None
            raise ControlError(
                f"the node that has store {self.path} speaks version {version} of the control socket, and this program "
                f"{limits.CONTROL_VERSION}: use the gossiplog that the node runs with, or restart the node"
            )
        return about

    def ask(self, do: str, *, progress: OnProgress | None = None, **said: Any) -> Any:
        """Ask for something, and return the answer.

        :raises NodeGoneError: the node stopped meanwhile.
        :raises GossiplogError: what the node says.
        """
        self._home.check()
        number = next(self._numbers)
        line = encode({"id": number, "do": do, **said})
        with self._lock:
            answer = self._asked(line, number, progress)
        if answer.get("error") is not None:
            raise error_of(answer["error"])
        return answer.get("is")

    def _asked(self, line: bytes, number: int, progress: OnProgress | None) -> Message:
        self._send(line)
        while True:
            said = self._next()
            if said.get("id") != number:
                continue  # of a request whose answer nobody waited for (Ctrl-C)
            match said.get("progress"):
                case [int(done), int(total)]:
                    if progress is not None:
                        progress(done, total)
                case _:
                    return said

    def news(self, told: OnNews) -> None:
        """Give ``told`` the news that comes from now on, until the node goes; blocks."""
        while True:
            said = self._next()
            if "news" in said:
                told(said["news"])

    def _send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
        except OSError as error:
            gone = self._gone(error.strerror or error)
            gone.nothing_done = True  # nobody has got a whole line
            raise gone from None

    def _next(self) -> Message:
        while (end := self._buffer.find(b"\n", self._looked)) < 0:
            self._looked = len(self._buffer)
            if self._looked > limits.MAX_CONTROL_LINE_BYTES:
                raise self._gone("what it says is no line")
            try:
                some = self._socket.recv(READ_BYTES)
            except TimeoutError:
                raise ControlError(
                    f"the node that has store {self.path} does not answer: is it stopped?"
                ) from None
            except OSError as error:
                raise self._gone(error.strerror or error) from None
            if not some:
                raise self._gone("it closed the connection")
            self._buffer += some
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._looked = 0
        try:
            said = decode(line)
        except ControlError as error:
            raise self._gone(str(error)) from None
        if "error" in said and said.get("id", 0) is None:  # the last that it says
            raise self._gone(error_of(said["error"]))
        return said

    def _gone(self, why: object) -> NodeGoneError:
        self.close()
        return NodeGoneError(f"the node that has store {self.path} is gone: {why}")

    def close(self) -> None:
        """Hang up; who waits in another thread is told.  A second call does nothing."""
        if self._home.is_here and not self._closed:
            self._closed = True
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def give_up(self) -> None:
        """In a child by fork: let go, without a word to the node."""
        self._socket.close()


def dial(path: AnyPath, place: str, wait: float = 0.0) -> Line | None:
    """Return a connection to the node that has the store at ``path``, None if no node has it.

    Waits for up to ``wait`` seconds while the node has no room for one more client.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            connection = connect(path, limits.CONTROL_SILENT_SECONDS)
            return None if connection is None else Line(connection, place)
        except NodeGoneError:
            return None  # between two nodes: the store is free, or soon is another's
        except ControlError as error:
            if getattr(error, "reason", "") != BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(BUSY_SECONDS)
