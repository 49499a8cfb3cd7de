"""What a process has from the machine it runs on.

Responsible for: the time on the wall, chance, and what a store is opened on; and that a reactor may bring others.
Must not know: what they are needed for.
Invariant: stores and nodes take none of these from anywhere else, so that all they do in a test follows from its seed
(:class:`gossiplog.testing.Network`).
"""

from __future__ import annotations

import os
import random
import time
from typing import Any, Protocol

from gossiplog.live.store_thread import StoreThread
from gossiplog.log.keys import KEY_BYTES
from gossiplog.paths import AnyPath
from gossiplog.store.logs import Logs
from gossiplog.store.opened_here import open_here


class Machine(Protocol):
    """What a reactor that has an attribute ``machine`` brings."""

    def wall_seconds(self) -> float:
        """The time on the wall, since 1970."""

    def entropy(self, size: int) -> bytes:
        """Bytes that nobody can guess."""

    def chance(self) -> float:
        """A number in [0, 1) for jitter."""

    def open_logs(self, place: str, init: bool, read_only: bool, wait: float, state: AnyPath | None) -> Logs:
        """As :func:`gossiplog.store.logs.open_logs`."""

    def thread(self, *about: Any, **how: Any) -> StoreThread:
        """As :class:`gossiplog.live.store_thread.StoreThread`."""


class RealMachine:
    """I am the one that this process runs on."""

    def wall_seconds(self) -> float:
        """The time on the wall, since 1970."""
        return time.time()

    entropy = staticmethod(os.urandom)
    chance = staticmethod(random.random)
    open_logs = staticmethod(open_here)
    thread = StoreThread


_here = RealMachine()


def machine_of(reactor: Any) -> Machine:
    """Return what ``reactor`` runs on: what it brings, or this machine."""
    brought: Machine = getattr(reactor, "machine", _here)
    return brought


def fresh_key(reactor: Any) -> bytes:
    """Return a secret key for what ends with the process."""
    return machine_of(reactor).entropy(KEY_BYTES)


def wall_ms(reactor: Any) -> int:
    """Return the timestamp of an entry that is made now."""
    return int(machine_of(reactor).wall_seconds() * 1000)
