"""A machine that moves: other addresses, or a sleep.

Responsible for: noticing both, and a cable that is in again, and having every connection looked after at once.
Must not know: who the peers are, how they were found.
Invariant: connections from an address that is gone end at once, others are asked whether they live; while nothing is
watched, and after :meth:`Roaming.stop`, there is no timer.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from gossiplog import limits
from gossiplog.addresses import parse_ip
from gossiplog.live.interrupts import call_each
from gossiplog.net.interfaces import addresses, running
from gossiplog.net.link import Link

Look: TypeAlias = Callable[[], frozenset[str]]


class _Watch:
    """I look every ``ROAMING_SECONDS``, for all who watch on one reactor: a process may run hundreds of nodes."""

    def __init__(self, reactor: Any, look: Look, carriers: Look) -> None:
        self._reactor = reactor
        self._look = look
        self._carriers = carriers
        self._running: frozenset[str] = frozenset()
        self._call: Any = None
        self._looked_at = 0.0
        self._watching: dict[Roaming, None] = {}
        self.addresses: frozenset[str] = frozenset()

    def add(self, roaming: Roaming) -> None:
        """Tell it."""
        if not self._watching:
            self.addresses, self._running = self._look(), self._carriers()
            self._looked_at = self._reactor.seconds()
            self._call = self._reactor.callLater(limits.ROAMING_SECONDS, self._again)
        self._watching[roaming] = None

    def remove(self, roaming: Roaming) -> None:
        """Tell it no more."""
        self._watching.pop(roaming, None)
        if not self._watching and self._call.active():
            self._call.cancel()

    def _again(self) -> None:
        self._call = self._reactor.callLater(limits.ROAMING_SECONDS, self._again)
        now = self._reactor.seconds()
        slept = now - self._looked_at > limits.SLEEP_SECONDS
        self._looked_at = now
        found, carriers = self._look(), self._carriers()
        is_back = not carriers <= self._running
        self._running = carriers
        if found != self.addresses or slept or is_back:
            self.addresses = found
            call_each(self._reactor, [roaming.told for roaming in self._watching], slept)


_watches: WeakKeyDictionary[Any, dict[tuple[Look, Look], _Watch]] = WeakKeyDictionary()


class Roaming:
    """I know where this machine is, looked at every ``ROAMING_SECONDS``; ``moved(addresses, slept)`` hears when that
    changed."""

    def __init__(
        self,
        reactor: Any,
        moved: Callable[[frozenset[str], bool], None],
        look: Look = addresses,
        carriers: Look = running,
    ) -> None:
        self._reactor = reactor
        self._moved = moved
        self._looks = look, carriers
        self._watch: _Watch | None = None
        self._is_stopped = False

    @property
    def addresses(self) -> frozenset[str]:
        """Those that this machine has; none before it is watched."""
        return frozenset() if self._watch is None else self._watch.addresses

    def watch(self) -> None:
        """Begin, unless that is done."""
        if self._watch is None and not self._is_stopped:
            known = _watches.setdefault(self._reactor, {})
            if self._looks not in known:
                known[self._looks] = _Watch(self._reactor, *self._looks)
            self._watch = known[self._looks]
            self._watch.add(self)

    def stop(self) -> None:
        """Look no more."""
        self._is_stopped = True
        if self._watch is not None:
            self._watch.remove(self)

    def told(self, slept: bool) -> None:
        """Something changed."""
        if not self._is_stopped:
            self._moved(self.addresses, slept)


def is_stranded(link: Link, found: frozenset[str]) -> bool:
    """Whether ``link`` comes from an address that this machine has no longer."""
    transport: Any = link.transport
    host = getattr(transport.getHost(), "host", "")
    ip = parse_ip(host)
    if ip is None or is_here(host):
        return False
    return ip not in {ip_interface(text).ip.packed for text in found}


def is_here(host: str) -> bool:
    """Whether ``host`` does not move with the machine: loopback, link-local, or no IP address."""
    if parse_ip(host) is None:
        return True
    ip = ip_interface(host.partition("%")[0]).ip
    return ip.is_loopback or ip.is_link_local
