"""A machine that moves: other addresses, or a sleep.

Responsible for: noticing both, and a cable that is in again, and having every connection looked after at once.
Must not know: who the peers are, how they were found.
Invariant: connections from an address that is gone end at once, others are asked whether they live; while nothing is
watched, and after :meth:`Roaming.stop`, there is no timer.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any

from gossiplog import limits
from gossiplog.addresses import parse_ip
from gossiplog.net.interfaces import addresses, running
from gossiplog.net.link import Link


class Roaming:
    """I look every ``ROAMING_SECONDS`` where this machine is; ``moved(addresses, slept)`` hears when that changed."""

    def __init__(
        self,
        reactor: Any,
        moved: Callable[[frozenset[str], bool], None],
        look: Callable[[], frozenset[str]] = addresses,
        carriers: Callable[[], frozenset[str]] = running,
    ) -> None:
        self._reactor = reactor
        self._moved = moved
        self._look = look
        self._carriers = carriers
        self._running: frozenset[str] = frozenset()
        self._clock = reactor.seconds
        self._call: Any = None
        self._is_stopped = False
        self._looked_at = 0.0
        self.addresses: frozenset[str] = frozenset()

    def watch(self) -> None:
        """Begin, unless that is done."""
        if self._call is None and not self._is_stopped:
            self.addresses, self._running = self._look(), self._carriers()
            self._looked_at = self._clock()
            self._call = self._reactor.callLater(limits.ROAMING_SECONDS, self._again)

    def stop(self) -> None:
        """Look no more."""
        self._is_stopped = True
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _again(self) -> None:
        self._call = self._reactor.callLater(limits.ROAMING_SECONDS, self._again)
        now = self._clock()
        slept = now - self._looked_at > limits.SLEEP_SECONDS
        self._looked_at = now
        found, carriers = self._look(), self._carriers()
        is_back = not carriers <= self._running
        self._running = carriers
        if found != self.addresses or slept or is_back:
            self.addresses = found
            self._moved(found, slept)


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
