"""Hosts that find each other through a table of their own, and a real router that passes connections on.

    GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_found_hosts

prints the figures.  A host is a network namespace; the router is ``miniupnpd``; what runs are real commands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.dht_node import IDLE_SECONDS, LOOKS_SECONDS
from tests.lans import Host, Lans, reason
from tests.processes import EXAMPLES, Process, ProcessTestCase, environment

OUTSIDE, FAR = "80.1.0.1", "80.2.0.99"
INSIDE, GATEWAY = "10.1.0.2", "10.1.0.254"
PORT, DHT_PORT = 4000, 6881
TABLE = ("--dht-bootstrap", f"{FAR}:{DHT_PORT}")

NAT = """
table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" ct status dnat accept
    iifname "wan" drop
  }
}
table inet miniupnpd {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward { type filter hook forward priority -25; policy accept; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 90; jump postrouting_miniupnpd; }
}
"""
DAEMON = """
ext_ifname=wan
listening_ip=lan
enable_natpmp={}
enable_upnp={}
secure_mode=yes
port=0
system_uptime=yes
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
lease_file={}
uuid=00000000-0000-0000-0000-000000000001
min_lifetime=120
max_lifetime=86400
allow 1024-65535 10.1.0.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class HostsCase(ProcessTestCase):
    skip = (
        reason()
        or ("" if find_spec("libtorrent") else "needs libtorrent: pip install 'gossiplog[dht]'")
        or None
    )

    def setUp(self) -> None:
        super().setUp()
        self.lans = Lans()
        self.addCleanup(self.lans.close)  # before the processes are: cleanups run backwards

    def seconds(self, process: Process, pattern: str, what: str, most: float, since: float) -> None:
        """Wait for a line; print how long that took since then, which was not too long."""
        process.wait_for(pattern)
        seconds = time.monotonic() - since
        print(f"\n{what}: {seconds:.2f} s", end="")
        self.assertLess(seconds, most, what)

    def node(self, host: Host, name: str, *more: str) -> Process:
        """Run a node on a host, with a new store unless it is there."""
        if not Path(self.place, name).exists():
            self.run_gossiplog("init", "--store", name)
        process = self.start(
            *host.on(
                sys.executable, "-m", "gossiplog.app.cli", "run", "--store", name, "--network", "77" * 32
            ),
            *("--listen", f"tcp:{PORT}", *more),
        )
        process.ready()
        return process


class MultichatTests(HostsCase):
    """The tutorial "Multiple peers in one app!", between three hosts that know a topic."""

    def chat(self, number: int) -> Process:
        """Open a window on a host."""
        return self.start(
            *self.hosts[number].on(
                sys.executable, EXAMPLES / "multichat.py", f"{number}", "--topic", "birds"
            ),
            *("--dir", self.place, "--dht-bootstrap", f"10.9.0.1:{DHT_PORT}"),
        )

    def test_meeting_by_topic(self) -> None:
        """Nobody is told an address but that of the table; one leaves, and comes back to what was said meanwhile."""
        self.hosts = self.lans.office(3)
        one = self.chat(0)
        one.send("hello")
        one.wait_for("appended")
        two, three = self.chat(1), self.chat(2)
        began = time.monotonic()
        self.seconds(two, "^cat-lover-0: hello$", "the second heard the first", 30, began)
        self.seconds(three, "^cat-lover-0: hello$", "the third heard the first", 30, began)
        two.send("from two")
        three.wait_for("^cat-lover-1: from two$")
        one.wait_for("^cat-lover-1: from two$")
        self.assertEqual(two.interrupt(), 0)
        three.send("while two was away")
        one.wait_for("^cat-lover-2: while two was away$")
        two = self.chat(1)
        self.seconds(two, "^cat-lover-2: while two was away$", "back", 30, time.monotonic())
        two.send("here again")
        for other in (one, three):
            other.wait_for("^cat-lover-1: here again$")
            self.assertEqual(other.interrupt(), 0)
        self.assertEqual(two.interrupt(), 0)


class FlushTests(HostsCase):
    """What is on the network, and what is not."""

    def sockets(self, host: Host) -> str:
        process = self.start(*host.on("ss", "-lntuH"))
        self.assertEqual(process.finish(), 0)
        return process.out

    def test_off_means_off(self) -> None:
        """One TCP port without, and one UDP port with a table for each kind of address."""
        [host] = self.lans.office(1)
        without = self.node(host, "without")
        self.assertEqual(len(self.sockets(host).splitlines()), 1, self.sockets(host))
        self.assertEqual(without.terminate(), 0)
        self.node(host, "with", "--dht-bootstrap", f"10.9.0.1:{DHT_PORT}")
        deadline = time.monotonic() + 20
        while len(self.sockets(host).splitlines()) != 2 or "udp" not in self.sockets(host):
            self.assertLess(time.monotonic(), deadline, self.sockets(host))
        self.assertRegex(self.sockets(host), rf"udp .* 10\.9\.0\.1(%eth0)?:{DHT_PORT} ")


class TableTests(HostsCase):
    """What a table costs, and how quick it is: the figures of ``docs/howto/dht.rst``."""

    COUNT = 16

    def dht(self, number: int, port: int) -> Process:
        """A node of the table, on a host of its own."""
        return self.start(
            *self.hosts[number].on(sys.executable, "-m", "tests.dht_node", f"10.9.0.1:{DHT_PORT}", str(port)),
            env=environment(PYTHONPATH=os.pathsep.join(map(str, (EXAMPLES.parent, *sys.path)))),
        )

    def said(self, process: Process, event: str) -> dict[str, Any]:
        """Wait for what it says of an event."""
        said: dict[str, Any] = json.loads(process.wait_for(rf'^.*"event": "{event}".*$')[0])
        return said

    def test_figures(self) -> None:
        self.hosts = self.lans.office(self.COUNT + 2)
        first = self.dht(0, 0)
        first.wait_for("looked|failed")
        table = [self.dht(number, 0) for number in range(1, self.COUNT)]
        for each in table:
            self.said(each, "looked")
        announced = self.said(self.dht(self.COUNT, 4000), "looked")
        late = self.dht(self.COUNT + 1, 0)
        found, looked = self.said(late, "found"), self.said(late, "looked")
        print(
            f"\nannounced and looked in {announced['seconds']} s; found after {found['seconds']} s of which ",
            end="",
        )
        print(f"getting in is a part; looked in {looked['seconds']} s", end="")
        print(f"\n+{looked['kb'] / 1024:.1f} MB, +{looked['threads']} thread", end="")
        self.assertLess(found["seconds"], 5)
        self.assertEqual(looked["threads"], 1)
        self.assertLess(looked["kb"], 24 * 1024)
        late.patience = LOOKS_SECONDS + IDLE_SECONDS + 30
        before, after = self.said(late, "cost"), self.said(late, "cost")
        sent, received = (after[name] - before[name] for name in ("dht_messages_out", "dht_messages_in"))
        print(
            f"\nits first looks: {before['dht_messages_out']} packets sent, {before['dht_messages_in']} received",
            end="",
        )
        print(f"\nidle for {after['at'] - before['at']:.0f} s: {sent} sent, {received} received, ", end="")
        print(f"{(after['cpu'] - before['cpu']) * 1000:.0f} ms CPU", end="")
        self.assertLess(sent + received, 2 * IDLE_SECONDS)


class RouterTests(HostsCase):
    """Behind a router that passes connections on if it is asked to."""

    skip = HostsCase.skip or next(
        (f"there is no {each}" for each in ("miniupnpd", "nft") if shutil.which(each) is None), None
    )

    def setUp(self) -> None:
        super().setUp()
        wan, lan = self.lans.switch(), self.lans.switch()
        self.router, self.inside, self.far = (self.lans.host() for _ in range(3))
        for switch, name, address in ((wan, "wan", f"{OUTSIDE}/8"), (lan, "lan", f"{GATEWAY}/24")):
            device = self.router.join(switch)
            self.router.ip("link", "set", device, "down")
            self.router.ip("link", "set", device, "name", name)
            self.router.ip("link", "set", name, "up")
            self.router.address(name, address)
        self.inside.join(lan, f"{INSIDE}/24")
        self.inside.ip("route", "add", "default", "via", GATEWAY)
        self.far.join(wan, f"{FAR}/8")
        self.router.ip("route", "add", "239.0.0.0/8", "dev", "lan")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = Path(self.place, "rules.nft")
        rules.write_text(NAT)
        self.router.run("nft", "-f", rules)

    def daemon(self, upnp: bool, nat_pmp: bool) -> Process:
        """Run the router's daemon."""
        leases, configuration = Path(self.place, "leases"), Path(self.place, "miniupnpd.conf")
        leases.write_text("")
        configuration.write_text(
            DAEMON.format(*("yes" if each else "no" for each in (nat_pmp, upnp)), leases)
        )
        process = self.start(
            *self.router.on("miniupnpd", "-d", "-f", configuration, "-P", Path(self.place, "pid"))
        )
        process.wait_for_error("HTTP listening on port|Listening for NAT-PMP") if upnp or nat_pmp else None
        return process

    def passed_on(self) -> list[str]:
        """The ports that the router passes on."""
        process = self.start(
            *self.router.on("nft", "list", "chain", "inet", "miniupnpd", "prerouting_miniupnpd")
        )
        self.assertEqual(process.finish(), 0)
        return re.findall(r"dport (\d+) dnat", process.out)

    def test_reached_from_outside(self) -> None:
        """By who found it in a table; exactly our port is passed on, and none when the node has ended."""
        far = self.node(self.far, "far", *TABLE)
        for upnp, nat_pmp in ((True, False), (False, True), (True, True)):
            daemon = self.daemon(upnp, nat_pmp)
            began = time.monotonic()
            inside = self.node(self.inside, "inside", "--map-port", *TABLE)
            far.wait_for_error(r"is up at")
            print(f"\nUPnP {upnp}, NAT-PMP {nat_pmp}: joined after {time.monotonic() - began:.2f} s", end="")
            deadline = time.monotonic() + 20
            while self.passed_on() != [str(PORT)]:
                self.assertLess(time.monotonic(), deadline, self.passed_on())
            late = self.start(
                *self.far.on(sys.executable, "-m", "gossiplog.app.cli", "sync", f"tcp:{OUTSIDE}:{PORT}"),
                *("--store", self.store(), "--network", "77" * 32),
            )
            self.assertEqual((late.finish(), late.err), (0, ""))
            self.assertEqual(inside.terminate(), 0)
            self.assertEqual(self.passed_on(), [])
            daemon.terminate()

    def store(self) -> str:
        name = f"late{time.monotonic()}"
        self.run_gossiplog("init", "--store", name)
        return name

    def test_a_router_that_hangs(self) -> None:
        """The end of the node is held up for two seconds, not for thirty."""
        daemon = self.daemon(True, False)
        inside = self.node(self.inside, "inside", "--map-port", *TABLE)
        deadline = time.monotonic() + 20
        while self.passed_on() != [str(PORT)]:
            self.assertLess(time.monotonic(), deadline)
        daemon.popen.send_signal(19)
        began = time.monotonic()
        self.assertEqual(inside.terminate(), 0)
        print(f"\nended after {time.monotonic() - began:.2f} s", end="")
        self.assertLess(time.monotonic() - began, 8)

    def test_no_such_router(self) -> None:
        """It is said soon."""
        began = time.monotonic()
        inside = self.node(self.inside, "inside", "--map-port", *TABLE)
        inside.wait_for_error("no router here passes connections on")
        print(f"\nsaid after {time.monotonic() - began:.2f} s", end="")
        self.assertLess(time.monotonic() - began, 12)
