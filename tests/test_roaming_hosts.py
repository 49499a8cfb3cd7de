"""A machine that moves, with real processes on three hosts; opt-in, since it takes minutes and root.

    GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_roaming_hosts

prints a table: how long after the network was there all peers were back, and how many sessions ended for it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

from tests.hosts import Hosts, sh
from tests.processes import Process, ProcessTestCase
from tests.test_real_network import reason

BACK_SECONDS = 3.0
CUT_SECONDS = 20.0
"""Longer than what TCP tries again in seconds, shorter than peers are given up after."""

ASLEEP_SECONDS = 75.0
"""Longer than peers wait for a sign of life."""


class RoamingTests(ProcessTestCase):
    """Host 0 moves; 1 and 2 stay, and are dialled by it."""

    skip = reason() or None

    def setUp(self) -> None:
        super().setUp()
        self.hosts = Hosts(3)
        self.addCleanup(self.hosts.close)
        staying = [self.hosts.address(number) for number in (1, 2)]
        self.nodes = [self.node(1, staying[0]), self.node(2, staying[1])]
        self.nodes.insert(0, self.node(0, "0.0.0.0", *staying))
        self.count = 0
        for _ in range(2):
            self.nodes[0].wait_for('"event": "PeerUp"')
        self.exchange()

    def node(self, number: int, host: str, *peers: str) -> Process:
        """Start the node of a host, and wait until it listens."""
        command = (sys.executable, "-m", "tests.roaming_node", f"store{number}", host, *peers)
        process = self.start(*self.hosts.on(number, *command))
        process.wait_for('"event": "ready"')
        return process

    def exchange(self) -> None:
        """What each says reaches each."""
        self.count += 1
        for number, process in enumerate(self.nodes):
            process.send(f"{number}-{self.count}")
        for process in self.nodes:
            process.wait_for_all(*(f'"payload": "{number}-{self.count}"' for number in range(3)))

    def ip(self, *command: str) -> None:
        """Change the network of host 0."""
        sh("ip", "-n", self.hosts.on(0)[3], *command)

    def events(self, kind: str, since: float) -> list[float]:
        """When something happened on host 0, after ``since``."""
        lines = [json.loads(line) for line in self.nodes[0].out.splitlines()]
        return [line["at"] for line in lines if line["event"] == kind and line["at"] >= since]

    def back(self, what: str, began: float, *, ends: int) -> None:
        """Both peers are back in time, nothing is lost, and at most so many sessions ended."""
        there = time.monotonic()
        self.exchange()
        seconds = time.monotonic() - there
        ended = len(self.events("PeerDown", began))
        ups = [at - there for at in self.events("PeerUp", began)]
        last = max(ups, default=0.0)
        print(
            f"\n{what:<34} sessions after {last:5.2f} s, entries {seconds:5.2f} s, {ended} ended", flush=True
        )
        self.assertLessEqual(last, BACK_SECONDS)
        self.assertLessEqual(ended, ends)

    def test_another_address(self) -> None:
        began = time.monotonic()
        self.ip("addr", "del", "10.77.0.1/24", "dev", "eth0")
        self.ip("addr", "add", "10.77.0.77/24", "dev", "eth0")
        self.back("another address", began, ends=2)

    def test_another_interface_beside(self) -> None:
        began = time.monotonic()
        self.ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
        self.ip("addr", "add", "10.78.0.1/24", "dev", "eth1")
        self.ip("link", "set", "eth1", "up")
        self.nodes[0].wait_for('"event": "NetworkChanged"')
        self.back("another interface", began, ends=0)

    def test_no_cable_for_a_while(self) -> None:
        began = time.monotonic()
        self.ip("link", "set", "eth0", "down")
        self.nodes[1].send("meanwhile")
        self.assertEqual(self.wait(CUT_SECONDS), 0)
        self.ip("link", "set", "eth0", "up")
        self.back(f"no cable for {CUT_SECONDS:.0f} s", began, ends=2)
        self.assertIn('"payload": "meanwhile"', self.nodes[0].out)

    def test_a_sleep(self) -> None:
        began = time.monotonic()
        self.nodes[0].popen.send_signal(signal.SIGSTOP)
        self.assertEqual(self.wait(ASLEEP_SECONDS), 0)
        self.nodes[0].popen.send_signal(signal.SIGCONT)
        # who stays may have dialled meanwhile: of two that dial each other at once none begins to end
        self.back(f"asleep for {ASLEEP_SECONDS:.0f} s", began, ends=2)

    def wait(self, seconds: float) -> int:
        """Let time pass, in which nothing can happen that could be waited for."""
        return subprocess.run(["sleep", str(seconds)], check=False).returncode
