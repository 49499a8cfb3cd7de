"""Accepting connections on a control socket.

Responsible for: handing on each connection of our own user; waiting while no more files can be opened.
Must not know: what is said over them.
Invariant: no connection waits for another one.  Twisted's own port is not used: it would let everybody write to the
socket, and take the name of another one away.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gossiplog.control.place import peer_of

AT_ONCE: Final = 64
"""Accepted in one turn of the reactor."""

REST_SECONDS: Final = 1.0
"""Until the next try when no file can be opened."""


Greet: TypeAlias = Callable[[int | None], Protocol]
"""Returns the protocol for a process of this user."""


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._protocol


@implementer(IReadDescriptor)
class Listener:
    """I accept what connects to a socket that listens, and ``greet`` it."""

    def __init__(self, reactor: Any, listening: socket.socket, greet: Greet) -> None:
        self._reactor = reactor
        self._socket = listening
        self._greet = greet
        self._timer: Any = None
        reactor.addReader(self)

    def fileno(self) -> int:
        """The socket's number."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "control socket"

    def doRead(self) -> None:
        """Somebody connects."""
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no file can be opened now
                self._reactor.removeReader(self)
                self._timer = self._reactor.callLater(REST_SECONDS, self._reactor.addReader, self)
                return
            with connection:
                connection.setblocking(False)
                with suppress(OSError):  # it is gone, or no file can be opened for it
                    factory = _One(self._greet(peer_of(connection)[1]))
                    self._reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, factory)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""

    def stop(self) -> None:
        """Accept nothing more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._reactor.removeReader(self)
