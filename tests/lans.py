"""Local networks for tests: hosts with any number of cables to any number of switches, in network namespaces.

Responsible for: hosts, switches, addresses, and that nothing of them is left.
Must not know: what runs on the hosts.
Invariant: as in :mod:`tests.hosts`, whose names these carry: what a killed run left is taken away by the next.

Nothing is lost or late here; multicast reaches every host of a switch.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.hosts import PREFIX, delete, missing, sh, take_away_leftovers


def reason() -> str:
    """Why tests with these are not run; empty when they are."""
    if not os.environ.get("GOSSIPLOG_HOSTS"):
        return "opt-in, as it takes minutes and root: set GOSSIPLOG_HOSTS=1"
    return missing()


class Host:
    """I am a host, with nothing but loopback until it :meth:`join` s a switch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._cables = itertools.count()
        sh("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *command: str) -> None:
        """Run ``ip`` here."""
        sh("ip", "-n", self.name, *command)

    def run(self, *command: str | Path) -> None:
        """Run a command here to its end."""
        sh(*map(str, self.on(*command)))

    def on(self, *command: str | Path) -> tuple[str | Path, ...]:
        """A command that runs ``command`` here."""
        return ("ip", "netns", "exec", self.name, *command)

    def join(self, switch: Switch, *addresses: str) -> str:
        """Plug a cable in; returns the name of the device."""
        device = f"eth{next(self._cables)}"
        other = switch.port()
        sh(
            *("ip", "link", "add", device, "netns", self.name, "type", "veth"),
            *("peer", "name", other, "netns", switch.name),
        )
        switch.ip("link", "set", other, "master", "bridge", "up")
        self.ip("link", "set", device, "up")
        for address in addresses:
            self.address(device, address)
        return device

    def address(self, device: str, address: str, *, is_there: bool = True) -> None:
        """Give a device an address, or take it."""
        sure = ("nodad",) if is_there and ":" in address else ()
        self.ip("addr", "add" if is_there else "del", address, "dev", device, *sure)


class Switch(Host):
    """I connect hosts."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._ports = itertools.count()
        self.ip("link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
        self.ip("link", "set", "bridge", "up")

    def port(self) -> str:
        """The name of one more port."""
        return f"port{next(self._ports)}"


class Lans:
    """I am some hosts and switches."""

    def __init__(self) -> None:
        take_away_leftovers()
        self._numbers = itertools.count()
        self._all: list[Host] = []

    def host(self) -> Host:
        """One more host."""
        return self._add(Host(self._name()))

    def switch(self) -> Switch:
        """One more switch."""
        switch = Switch(self._name())
        self._add(switch)
        return switch

    def office(self, count: int) -> list[Host]:
        """So many hosts on one switch, at 10.9.0.1 and so on, fd00:9::1 and so on."""
        switch = self.switch()
        hosts = [self.host() for _ in range(count)]
        for number, host in enumerate(hosts, 1):
            host.join(switch, f"10.9.0.{number}/24", f"fd00:9::{number}/64")
        return hosts

    def close(self) -> None:
        """Leave nothing of all this."""
        for host in reversed(self._all):
            delete(host.name)

    def _name(self) -> str:
        return f"{PREFIX}-{os.getpid()}-lan{next(self._numbers)}"

    def _add(self, host: Host) -> Host:
        self._all.append(host)
        return host
