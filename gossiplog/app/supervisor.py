"""What a service tells systemd, or whoever else started it in that way (``sd_notify``).

Responsible for: that it is ready, stops, how it is, and the watchdog.
Must not know: what a node does.
Invariant: nothing is done where nobody asked for it (``NOTIFY_SOCKET``), and nothing that goes wrong here holds up a
node; what is told has no text of others in it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic_ns
from typing import Any, Final

from twisted.internet.task import LoopingCall

from gossiplog import limits

SOCKET: Final = "NOTIFY_SOCKET"


class Supervisor:
    """I tell ``SOCKET`` of this ``environment``; ``status`` is asked how the service is, in a few words."""

    def __init__(
        self, reactor: Any, status: Callable[[], str], environment: Mapping[str, str] = os.environ
    ) -> None:
        self._status = status
        self._address = environment.get(SOCKET, "")
        self._beats = _interval(environment)
        self._said = ""
        self._over = False
        self._loop = LoopingCall(self._beat)
        self._loop.clock = reactor

    def ready(self) -> None:
        """It runs; from now on I say how it is, and that its reactor turns.  For when that turns and takes signals."""
        if self._address and not self._over:
            self._tell("READY=1")
            if self._loop.running:
                return
            self._loop.start(min(self._beats or limits.STATUS_SECONDS, limits.STATUS_SECONDS))

    def reloading(self) -> None:
        """It reads its configuration again, and is :meth:`ready` when that is done."""
        if self._loop.running:
            self._tell("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It stops."""
        self._over = True
        if self._loop.running:
            self._loop.stop()
            self._tell("STOPPING=1", "STATUS=stopping")

    def _beat(self) -> None:
        """Say what is new; a watchdog hears of each turn."""
        status = self._status()
        told = [] if status == self._said else [f"STATUS={status}"]
        if self._beats:
            told.append("WATCHDOG=1")
        if told:
            self._tell(*told)
        self._said = status

    def _tell(self, *lines: str) -> None:
        if sys.platform == "win32":
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(errors="replace"), address)


def _interval(environment: Mapping[str, str]) -> float:
    """Return after how many seconds to give a sign of life: half of what the watchdog waits; 0 if there is none."""
    try:
        usec = int(environment.get("WATCHDOG_USEC", "0"))
        if int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid() and usec > 0:
            return usec / 2e6
    except ValueError:
        pass
    return 0.0
