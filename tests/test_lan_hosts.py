"""The local network between hosts of their own: who is found, how soon, beside what, and what is said where it fails.

    GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_lan_hosts

prints the figures.  A host is a network namespace; what runs on it are real commands.
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

from tests.lans import Host, Lans, reason
from tests.processes import Process, ProcessTestCase

NETWORK = "77" * 32
AVAHI = """\
[server]
host-name={}
use-ipv4=yes
use-ipv6=yes
enable-dbus=no
disallow-other-stacks={}
[publish]
publish-addresses=yes
"""


class LanCase(ProcessTestCase):
    """Some hosts."""

    skip = (
        reason() or ("" if find_spec("zeroconf") else "needs zeroconf: pip install 'gossiplog[lan]'") or None
    )

    def setUp(self) -> None:
        super().setUp()
        self.lans = Lans()
        self.addCleanup(self.lans.close)  # before the processes are: cleanups run backwards
        self.began = time.monotonic()

    def command(self, host: Host, *arguments: str | Path, **options: Any) -> Process:
        """Start gossiplog on a host."""
        return self.start(*host.on(sys.executable, "-m", "gossiplog.app.cli", *arguments), **options)

    def node(self, host: Host, *more: str, network: str = NETWORK, lan: str = "--lan") -> Process:
        """Start a node that looks for others, and wait until it listens."""
        store = f"store-{host.name}-{len(os.listdir(self.place))}"
        self.run_gossiplog("init", "--store", store)
        process = self.command(host, "run", "--store", store, "--network", network, lan, *more)
        process.about = process.ready()  # type: ignore[attr-defined]
        return process

    def find(self, host: Host, *more: str, network: str = NETWORK) -> Process:
        """Look for others on a host, live, and wait until it has looked once."""
        process = self.command(host, "find", "--network", network, "--json", *more)
        process.wait_for('"event": "looked"')
        process.rewind()
        return process

    def heard(self, process: Process) -> list[dict[str, Any]]:
        """What it said so far."""
        return [json.loads(line) for line in process.out.splitlines()]

    def timed(
        self, process: Process, pattern: str, what: str, most: float, since: float | None = None
    ) -> None:
        """Wait for a line, print how long that took, and that it was not too long."""
        began = time.monotonic() if since is None else since
        process.wait_for(pattern)
        seconds = time.monotonic() - began
        print(f"\n{what}: {seconds:.2f} s", end="")
        self.assertLess(seconds, most, what)

    def id_of(self, node: Process) -> str:
        return str(node.about["node"])  # type: ignore[attr-defined]


def port_of(node: Process) -> str:
    """Where a node listens."""
    return str(node.about["listening"][0]).rpartition(":")[2]  # type: ignore[attr-defined]


class FindingTests(LanCase):
    """Who is found."""

    def test_found_and_goodbye(self) -> None:
        """Both ways, over both families; goodbye is heard at once; another network is not noticed."""
        a, b, c = self.lans.office(3)
        find = self.find(a)
        other = self.find(c, network="88" * 32)
        began = time.monotonic()
        node = self.node(b)
        self.timed(find, rf'"endpoint": "tcp:10\.9\.0\.2:{port_of(node)}"', "found from its start", 10, began)
        find.wait_for(rf'"event": "up".*{self.id_of(node)}')
        self.timed(self.command(c, "find", "--network", NETWORK), r"^\+ node", "found by one that starts", 10)
        began = time.monotonic()
        self.assertEqual(node.terminate(), 0)
        self.timed(find, '"event": "lost"', "goodbye", 3, began)
        self.assertEqual([each["event"] for each in self.heard(other)], ["looked"])
        self.assertEqual(
            {each["way"] for each in self.heard(find) if each["event"] == "found"} - {"peers"}, {"lan"}
        )

    def test_ipv6_alone(self) -> None:
        switch = self.lans.switch()
        a, b = self.lans.host(), self.lans.host()
        for number, host in enumerate((a, b), 1):
            host.join(switch, f"fd00:9::{number}/64")
        node = self.node(a)
        find = self.find(b)
        find.wait_for(rf'"event": "up", "endpoint": "tcp:.*fd00.*{self.id_of(node)}')

    def test_without_ipv6(self) -> None:
        a, b = self.lans.host(), self.lans.host()
        switch = self.lans.switch()
        for number, host in enumerate((a, b), 1):
            host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            host.join(switch, f"10.9.0.{number}/24")
        node = self.node(a)
        find = self.find(b)
        find.wait_for(rf'"event": "up".*{self.id_of(node)}')

    def test_another_address(self) -> None:
        """The machine moves; who watches sees it where it is now, and meets it at one of its addresses once more."""
        a, b = self.lans.office(2)
        node = self.node(a)
        find = self.find(b)
        began = time.monotonic()
        a.address("eth0", "10.9.0.1/24", is_there=False)
        a.address("eth0", "10.9.0.77/24")
        at = rf'"tcp:10\.9\.0\.77:{port_of(node)}"'
        self.timed(find, rf'"event": "found", "endpoint": {at}, "way": "lan"', "another address", 8, began)
        find.wait_for(rf'"event": "up", "endpoint": ({at}|"tcp:\[fd00:9::1\]:{port_of(node)}")')
        self.assertEqual([each["event"] for each in self.heard(find)].count("up"), 2)

    def test_a_second_interface(self) -> None:
        """Another cable, to where others are."""
        first, second = self.lans.switch(), self.lans.switch()
        a, b = self.lans.host(), self.lans.host()
        a.join(first, "10.9.0.1/24")
        b.join(second, "10.8.0.2/24")
        nodes = [self.node(a), self.node(b)]
        find = self.find(b)
        began = time.monotonic()
        a.join(second, "10.8.0.1/24")
        self.timed(find, rf'"tcp:10\.8\.0\.1:{port_of(nodes[0])}"', "a second interface", 8, began)
        nodes[1].wait_for_error("^peer .* is up")

    def test_two_on_one_host(self) -> None:
        """On a network, and with nothing but loopback: they are found once, at one address."""
        [a] = self.lans.office(1)
        for host, at in ((a, r"10\.9\.0\.1"), (self.lans.host(), r"127\.0\.0\.1")):
            node = self.node(host)
            find = self.find(host)
            find.wait_for(rf'"event": "up", "endpoint": "tcp:{at}:{port_of(node)}"')
            found = [
                each for each in self.heard(find) if (each["event"], each.get("way")) == ("found", "lan")
            ]
            self.assertEqual(len(found), 1)

    def test_nothing_on_the_network(self) -> None:
        """Not even loopback is up, then a cable comes: the node runs, says so at most once, and finds others then."""
        b, a = self.lans.host(), self.lans.host()
        switch = self.lans.switch()
        b.join(switch, "10.9.0.2/24")
        other = self.node(b)
        a.ip("link", "set", "lo", "down")
        node = self.node(a)
        a.ip("link", "set", "lo", "up")
        began = time.monotonic()
        a.join(switch, "10.9.0.1/24")
        found = node.wait_for_error(r"^peer (\w+) is up")
        print(f"\na cable for one that started without: {time.monotonic() - began:.2f} s", end="")
        self.assertIn(found[1], self.id_of(other))
        self.assertLessEqual(node.err.count("finding peers by lan"), 1)

    def test_docker(self) -> None:
        """A bridge that has the same address on every machine is not taken for a way to the others."""
        hosts = self.lans.office(2)
        for host in hosts:
            host.ip("link", "add", "docker0", "type", "bridge")
            host.ip("link", "set", "docker0", "up")
            host.address("docker0", "172.17.0.1/16")
        node = self.node(hosts[0])
        find = self.find(hosts[1])
        find.wait_for(rf'"event": "up".*{self.id_of(node)}')
        self.assertNotIn("172.17", find.out)

    def test_killed_and_back(self) -> None:
        """Nobody says goodbye for it; at the same port it is dialled as soon as it is there again."""
        a, b = self.lans.office(2)
        watching = self.node(b)
        endpoint = "tcp:4000:interface=10.9.0.1"
        node = self.node(a, "--listen", endpoint)
        watching.wait_for_error("^peer .* is up")
        node.kill()
        watching.wait_for_error("^peer .* is down")
        before = watching.err.count(" is up")
        began = time.monotonic()
        node = self.node(a, "--listen", endpoint)
        watching.wait_for_error(rf"(?:is up[^\0]*){{{before + 1}}}")
        print(f"\na killed one that is back: {time.monotonic() - began:.2f} s from its start", end="")


class SyncTests(LanCase):
    """``gossiplog sync --lan`` names nobody."""

    def test_who_is_there(self) -> None:
        """It catches up with all, and ends; where nobody is there, it says so."""
        hosts = self.lans.office(3)
        nodes = [self.node(host) for host in hosts[:2]]
        for node in nodes:
            self.run_gossiplog("append", "--store", node.about["store"], "hello")  # type: ignore[attr-defined]
        self.run_gossiplog("init", "--store", "late")
        sync = ("sync", "--store", "late", "--network", NETWORK, "--lan")
        began = time.monotonic()
        late = self.command(hosts[2], *sync)
        self.timed(
            late, r"^in sync with tcp:.*, tcp:", "in sync with two that were found, from its start", 15, began
        )
        late.wait_for("^received 2 entries, sent 0,")
        self.assertEqual((late.finish(), late.err), (0, ""))
        for node in nodes:
            self.assertEqual(node.terminate(), 0)
        late = self.command(hosts[2], *sync, "--timeout", "3")
        self.assertEqual(late.finish(), 1)
        self.assertEqual(late.err, "gossiplog: no peer was found that answers within 3 s\n")

    def test_no_network(self) -> None:
        """On a machine that is in none, each verb says so; nothing but those that look once ends by it."""
        host = self.lans.host()
        self.run_gossiplog("init", "--store", "alone")
        self.run_gossiplog("append", "--store", "alone", "hello")
        meet, alone = ("--network", NETWORK, "--lan"), "this machine has no address in a network"
        store = ("--store", "alone")
        for status, *verb in (
            (1, "sync", *store, *meet, "--timeout", "2"),
            (1, "sync", *store, "--network", NETWORK, "--dht", "--timeout", "2"),
            (1, "sync", *store, *meet, "--timeout", "2", "tcp:bob.local:4000"),
            (1, "find", *meet, "--once"),
            (0, "run", *store, *meet),
            (0, "chat", *store, *meet, "--nick", "ann"),
            (0, "log", "--follow", *store, *meet),
        ):
            if "--dht" in verb and find_spec("libtorrent") is None:
                continue
            process = self.command(host, *verb)
            if status != 1:
                (process.wait_for if "chat" in verb else process.wait_for_error)(alone)
                process.interrupt()
            self.assertEqual(process.finish(), status, verb)
            self.assertIn(alone, process.out + process.err, verb)


class NameTests(LanCase):
    """alice.local."""

    def test_dialled_by_name(self) -> None:
        """In the library's way; and a name that nobody has is said to be none."""
        a, b = self.lans.office(2)
        node = self.node(b, "--listen", r"tcp:4000:interface=10.9.0.2", lan="--lan=bob")
        self.run_gossiplog("init", "--store", "asking")
        sync = ("sync", "--store", "asking", "--network", NETWORK, "--lan", "--timeout", "10")
        asking = self.command(a, *sync, "tcp:bob.local:4000")
        self.assertEqual((asking.finish(), asking.err), (0, ""))
        asking = self.command(a, *sync, "tcp:nobody.local:4000")
        self.assertEqual(asking.finish(), 1)
        self.assertIn("nobody.local", asking.err)
        peers = ("--peer=tcp:bob.local:4000", "--peer=tcp:nobody.local:1")
        asking = self.command(a, "find", "--network", NETWORK, "--lan", *peers)
        asking.wait_for_all(
            rf"^\+ {self.id_of(node)} answers at tcp:bob\.local:4000 \(",
            r"^! tcp:nobody\.local:1 does not answer: ",
        )
        asking.interrupt()
        self.assertEqual(node.terminate(), 0)

    def test_two_of_one_name(self) -> None:
        """The second is told who has it, and is found all the same."""
        a, b = self.lans.office(2)
        first = self.node(a, lan="--lan=bob")
        began = time.monotonic()
        second = self.node(b, lan="--lan=bob")
        second.wait_for_error(r"^finding peers by lan: bob\.local is 10\.9\.0\.1.* already")
        print(f"\na name that is taken: {time.monotonic() - began:.2f} s", end="")
        first.wait_for_error("^peer .* is up")
        self.assertNotIn("already", first.err)

    def test_two_at_once(self) -> None:
        """One of them gives way in the end."""
        hosts = self.lans.office(2)
        stores = [f"store{number}" for number in range(2)]
        for store in stores:
            self.run_gossiplog("init", "--store", store)
        nodes = [
            self.command(host, "run", "--store", store, "--network", NETWORK, "--lan=bob")
            for host, store in zip(hosts, stores, strict=True)
        ]
        for node in nodes:
            node.ready()
        deadline = time.monotonic() + 90
        while not any("already" in node.err for node in nodes) and time.monotonic() < deadline:
            with nodes[0]._change:
                nodes[0]._change.wait(1.0)
        self.assertEqual(sum("already" in node.err for node in nodes), 1, [node.err for node in nodes])


class AvahiTests(LanCase):
    """Beside the responder that most Linux desktops have."""

    if LanCase.skip is None and not shutil.which("avahi-daemon"):
        skip = "there is no avahi-daemon"

    def avahi(self, host: Host, name: str, alone: str = "no") -> Process:
        """Start it on a host, as the owner of a name."""
        configuration = self.place / f"avahi-{host.name}.conf"
        configuration.write_text(AVAHI.format(name, alone))
        daemon = self.start(
            *host.on("unshare", "-m", "sh", "-c"),
            "mount -t tmpfs tmpfs /run && mkdir -p /run/avahi-daemon && exec avahi-daemon "
            f"-f {configuration} --no-drop-root --no-chroot --no-rlimits",
        )
        daemon.wait_for_error("Server startup complete")
        return daemon

    def test_beside(self) -> None:
        """Both ways, and it knows our name as we know its."""
        a, b = self.lans.office(2)
        self.avahi(a, "alice")
        on_a = self.node(a)
        on_b = self.node(b, "--listen", "tcp:4000", lan="--lan=bob")
        on_a.wait_for_error("^peer .* is up")
        on_b.wait_for_error("^peer .* is up")
        self.assertIn("10.9.0.1", self.resolve(b, "alice.local"))
        self.assertIn("10.9.0.2", self.resolve(a, "bob.local"))
        self.assertEqual(self.resolve(a, "nobody.local"), [])

    def resolve(self, host: Host, name: str) -> list[str]:
        """What a way that runs on a host makes of a name."""
        program = (
            "import asyncio, sys\n"
            "from gossiplog.discovery.multicast import Multicast\n"
            "async def main():\n"
            "    speaker = Multicast(lambda _: False, print, print)\n"
            "    await speaker.open([])\n"
            "    print(*await speaker.resolve(sys.argv[1].removesuffix('.local'), 3.0))\n"
            "    await speaker.close()\n"
            "asyncio.run(main())\n"
        )
        done = self.start(*host.on(sys.executable, "-c", program, name))
        self.assertEqual(done.finish(), 0, done.err)
        return done.out.split()

    def test_alone(self) -> None:
        """It allows no other: that is said, and the node goes on, with whom it is given."""
        a, b = self.lans.office(2)
        self.avahi(a, "alice", "yes")
        other = self.node(b, "--listen", "tcp:4000")
        node = self.node(a, "--peer", "tcp:10.9.0.2:4000")
        node.wait_for_error("^finding peers by lan: cannot listen for neighbours: Address already in use$")
        node.wait_for_error("^peer .* is up")
        self.assertEqual((node.terminate(), other.terminate()), (0, 0))


class PermissionTests(LanCase):
    """The system may keep the port for itself."""

    if LanCase.skip is None and not shutil.which("setpriv"):
        skip = "there is no setpriv"

    def test_no_permission(self) -> None:
        a, b = self.lans.office(2)
        a.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=6000")
        other = self.node(b, "--listen", "tcp:4000")
        node = self.start(
            *a.on("setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"),
            *(
                sys.executable,
                "-m",
                "gossiplog.app.cli",
                "find",
                "--network",
                NETWORK,
                "--peer",
                "tcp:10.9.0.2:4000",
            ),
            "--lan",
        )
        node.wait_for("^! lan does not work: cannot listen for neighbours: Permission denied$")
        node.rewind()
        node.wait_for(rf"^\+ {self.id_of(other)} answers")


class FloodTests(LanCase):
    """Somebody on the network announces ten thousand services."""

    COUNT = 10_000

    def flood(self, host: Host, key: str) -> None:
        """Send them from a host."""
        flood = self.start(
            *host.on(sys.executable, "-m", "tests.mdns_flood", f"{self.COUNT}", key, "10.9.0.3", "10.9.0.1")
        )
        flood.wait_for("^done$")

    def size(self, process: Process) -> int:
        """Its memory, in bytes."""
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024

    def hear(self, key: str) -> Process:
        """Flood one who listens; afterwards it finds somebody who comes all the same."""
        a, b, c = self.lans.office(3)
        find = self.find(a)
        before = self.size(find)
        self.flood(c, key)
        grown = self.size(find) - before
        print(f"\n{self.COUNT:,} services, key {key[:4]}: {grown / 1e6:.1f} MB more", end="")
        self.assertLess(grown, 40e6)
        node = self.node(b)
        self.timed(find, rf'"event": "up".*{self.id_of(node)}', "found after a flood", 60)
        return find

    def test_ten_thousand_services(self) -> None:
        """Of another network: the node hears of none of them, and listens again in half a minute."""
        find = self.hear("-")
        found = [each["endpoint"] for each in self.heard(find) if each["event"] == "found"]
        self.assertTrue(all(re.search(r"10\.9\.0\.2|fd00:9::2", each) for each in found), found)
        self.assertIn("somebody announces more than", find.out)

    def test_copied_records(self) -> None:
        """With tags of the network: a few are told, no foreign address among them, and few are dialled."""
        find = self.hear(NETWORK)
        found = [each["endpoint"] for each in self.heard(find) if each["event"] == "found"]
        self.assertLess(len(found), 256)
        self.assertEqual([each for each in found if "8.8.8.8" in each or "10.9.0.1:" in each], [])
        print(f", {len(found)} told", end="")
