"""Two hosts, each behind a router of its own that translates addresses, and one that all can dial.

Responsible for: routers of several kinds, in network namespaces beside those of ``hosts``.
Must not know: what runs on the hosts.
Invariant: every name here carries our process id; :meth:`Nats.close` leaves nothing.

The routers and the public host are :class:`~tests.hosts.Hosts`; their public addresses are in 11.0.0.0/24.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.hosts import PREFIX, Hosts, delete, missing, sh

ROOM = "11.0.0.99"
PORTS = range(40_000, 40_064)
"""From which connections of the hosts behind routers come."""

KINDS = {
    "preserve": "masquerade",
    "cone": "cone",
    "random": "masquerade random",
    "symmetric": "masquerade fully-random",
}
"""What a router makes of a port: the same; another one, the same for all destinations; a random one; one for each
destination."""


def reason() -> str:
    """Why there are no routers here; empty when there can be."""
    if not os.environ.get("GOSSIPLOG_HOSTS"):
        return "opt-in, as it takes minutes and root: set GOSSIPLOG_HOSTS=1"
    return missing() or ("" if shutil.which("nft") else "there is no nft (nftables)")


class Nats:
    """I am hosts 0 and 1 behind the routers 0 and 1."""

    def __init__(self) -> None:
        self._hosts = Hosts(3)
        self._inside = [f"{PREFIX}-{os.getpid()}-inside{number}" for number in (0, 1)]
        try:
            for number, address in enumerate(("11.0.0.1", "11.0.0.2", ROOM)):
                self._router(number, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
            for number, name in enumerate(self._inside):
                sh("ip", "netns", "add", name)
                sh("ip", "-n", name, "link", "set", "lo", "up")
                router = self._hosts.on(number)[-1]
                sh(
                    "ip",
                    "-n",
                    name,
                    "link",
                    "add",
                    "eth0",
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "inside",
                    "netns",
                    str(router),
                )
                sh("ip", "-n", name, "addr", "add", f"192.168.{number}.2/24", "dev", "eth0")
                sh("ip", "-n", name, "link", "set", "eth0", "up")
                self._router(number, "ip", "addr", "add", f"192.168.{number}.1/24", "dev", "inside")
                self._router(number, "ip", "link", "set", "inside", "up")
                self._router(number, "sysctl", "-qw", "net.ipv4.ip_forward=1")
                sh("ip", "-n", name, "route", "add", "default", "via", f"192.168.{number}.1")
                ports = f"net.ipv4.ip_local_port_range={PORTS[0]} {PORTS[-1]}"
                sh("ip", "netns", "exec", name, "sysctl", "-qw", ports)
        except BaseException:
            self.close()
            raise

    def on(self, number: int, *command: str | Path) -> Sequence[str | Path]:
        """A command that runs on a host: 0 and 1 are behind routers, 2 is the one that all can dial."""
        if number == 2:
            return self._hosts.on(2, *command)
        return ("ip", "netns", "exec", self._inside[number], *command)

    def route(self, number: int, kind: str, *, rejects: bool) -> None:
        """Make a router one of a kind; ``rejects``: it answers what nobody asked for, and does not just drop it."""
        if kind == "cone":
            pairs = ", ".join(f"{port} : 11.0.0.{number + 1} . {port + 5000}" for port in PORTS)
            rules = [
                f"tcp sport {PORTS[0]}-{PORTS[-1]} snat ip to tcp sport map {{ {pairs} }}",
                "masquerade",
            ]
        else:
            rules = [KINDS[kind]]
        end = "reject with tcp reset" if rejects else "drop"
        lines = [
            "flush ruleset",
            "table ip nat {",
            "chain post { type nat hook postrouting priority 100;",
            *[f"oifname eth0 {rule}" for rule in rules],
            "}",
            *[
                f"chain {name} {{ type filter hook {name} priority 0; "
                "iifname eth0 ct state established,related accept; "
                f"iifname eth0 meta l4proto tcp {end}; }}"
                for name in ("forward", "input")
            ],
            "}",
        ]
        self._router(number, "nft", "\n".join(lines))

    def close(self) -> None:
        """Leave nothing of all this."""
        for name in self._inside:
            delete(name)
        self._hosts.close()

    def _router(self, number: int, *command: str) -> None:
        sh(*map(str, self._hosts.on(number, *command)))
