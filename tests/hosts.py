"""Hosts for tests: network namespaces on one machine, with delay and loss between them, and partitions.

Responsible for: a network of real interfaces and addresses, what it does to packets, and that nothing of it is left.
Must not know: what runs on the hosts.
Invariant: every name here carries our process id; :meth:`Hosts.close` leaves nothing, and what a killed run left is
taken away by the next.

A packet takes ``DELAY_SECONDS`` each way, and of a hundred ``LOSS_PERCENT`` are lost.  Linux does that itself where it
has netem.  Many kernels are built without; there the hosts are connected by a switch of our own, which reads their
frames from TAP devices, and delays and drops them: to TCP that is the same.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import selectors
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Collection
from pathlib import Path

DELAY_SECONDS = 0.1
LOSS_PERCENT = 2

PREFIX = "gossiplog"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
FRAME_BYTES = 2048
"""More than any frame: the devices leave nothing for later, neither segmentation nor checksums."""


def sh(*command: str, check: bool = True) -> bool:
    """Run a command; what it prints is shown when it fails and must not."""
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return not done.returncode


def missing() -> str:
    """What this machine lacks, as a reason to skip; empty when hosts can be made."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"there is no {program} (iproute2)"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    if not sh("ip", "netns", "add", probe, check=False):
        return "this machine lets nobody make network namespaces"
    sh("ip", "netns", "del", probe, check=False)
    if not has_netem() and not os.path.exists("/dev/net/tun"):
        return "the kernel has neither netem nor TAP devices"
    return ""


def has_netem() -> bool:
    """Tell whether the kernel can delay and lose packets by itself."""
    probe = f"{PREFIX}-{os.getpid()}-probe"
    sh("ip", "netns", "add", probe)
    try:
        return sh(
            *("tc", "-n", probe, "qdisc", "add", "dev", "lo", "root"), *("netem", "delay", "1ms"), check=False
        )
    finally:
        sh("ip", "netns", "del", probe)


class Hosts:
    """I am some hosts, numbered from 0, all in one network."""

    def __init__(self, count: int) -> None:
        take_away_leftovers()
        self._names = [f"{PREFIX}-{os.getpid()}-{number}" for number in range(count)]
        self._network: Netem | Switch | None = None
        try:
            for name in self._names:
                sh("ip", "netns", "add", name)
                sh("ip", "-n", name, "link", "set", "lo", "up")
            self._network = Netem(self._names) if has_netem() else Switch(self._names)
            for number, name in enumerate(self._names):
                sh("ip", "-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
                sh("ip", "-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self.close()
            raise

    def address(self, number: int) -> str:
        """The address of a host."""
        return f"10.77.0.{number + 1}"

    def on(self, number: int, *command: str | Path) -> tuple[str | Path, ...]:
        """A command that runs ``command`` on a host."""
        return ("ip", "netns", "exec", self._names[number], *command)

    def partition(self, *groups: Collection[int]) -> None:
        """Only hosts of one group reach each other; nobody is told."""
        assert self._network is not None
        self._network.group({number: at for at, group in enumerate(groups) for number in group})

    def heal(self) -> None:
        """Everyone reaches everyone."""
        self.partition(range(len(self._names)))

    def __str__(self) -> str:
        """By what they are connected, and what that did."""
        return str(self._network)

    def close(self) -> None:
        """Leave nothing of all this."""
        if self._network is not None:
            self._network.close()
        for name in self._names:
            delete(name)


def delete(name: str) -> None:
    """End what runs in a namespace of ours, and the namespace."""
    inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
    for number in inside.split():
        os.kill(int(number), signal.SIGKILL)
    sh("ip", "netns", "del", name, check=False)


def take_away_leftovers() -> None:
    """Delete the namespaces of runs that were killed."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    for line in filter(None, listed.splitlines()):
        name = line.split()[0]
        prefix, _, rest = name.partition("-")
        owner = rest.partition("-")[0]
        if prefix == PREFIX and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            delete(name)


class Netem:
    """I am bridges in a namespace of their own, one for each group; the kernel delays and drops."""

    def __init__(self, names: list[str]) -> None:
        self._name = f"{PREFIX}-{os.getpid()}-switch"
        self._count = len(names)
        sh("ip", "netns", "add", self._name)
        for number, name in enumerate(names):
            sh("ip", "-n", self._name, "link", "add", f"bridge{number}", "type", "bridge")
            sh("ip", "-n", self._name, "link", "set", f"bridge{number}", "up")
            sh(
                *("ip", "-n", self._name, "link", "add", f"port{number}", "type", "veth"),
                *("peer", "name", "eth0", "netns", name),
            )
            sh("ip", "-n", self._name, "link", "set", f"port{number}", "up")
            sh(
                *("tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", "netem"),
                *("delay", f"{DELAY_SECONDS * 1000:.0f}ms", "loss", f"{LOSS_PERCENT}%"),
            )
        self.group({})

    def group(self, groups: dict[int, int]) -> None:
        """Put each host's port on the bridge of its group."""
        for number in range(self._count):
            bridge = f"bridge{groups.get(number, 0)}"
            sh("ip", "-n", self._name, "link", "set", f"port{number}", "master", bridge)

    def __str__(self) -> str:
        """What I am."""
        return "netem"

    def close(self) -> None:
        """Go, with every port."""
        sh("ip", "netns", "del", self._name, check=False)


class Switch:
    """I am a switch in a thread of this process; each host's interface is a TAP device that I read and write."""

    def __init__(self, names: list[str]) -> None:
        self.frames = self.lost = self.cut = 0
        self._groups: dict[int, int] = {}
        self._random = random.Random(len(names))
        self._ports: list[int] = []
        self._seen: dict[bytes, int] = {}
        self._due: list[tuple[float, int, int, bytes]] = []
        for number, name in enumerate(names):
            port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._ports.append(port)
            device = f"gl{os.getpid()}t{number}"
            fcntl.ioctl(port, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
            sh("ip", "link", "set", device, "netns", name, "name", "eth0")
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def group(self, groups: dict[int, int]) -> None:
        """From now on frames pass within a group only; those under way to another are lost."""
        self._groups = groups

    def __str__(self) -> str:
        """What I am, and what I did."""
        return f"a switch of our own: {self.frames} frames, {self.lost} lost, {self.cut} between groups"

    def close(self) -> None:
        """Stop; the devices go with their descriptors."""
        os.write(self._stop, b"x")
        self._thread.join()
        for descriptor in (*self._ports, self._wake, self._stop):
            os.close(descriptor)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ, -1)
            for number, port in enumerate(self._ports):
                selector.register(port, selectors.EVENT_READ, number)
            while True:
                wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
                for key, _ in selector.select(wait):
                    if key.data < 0:
                        return
                    self._take(key.data)
                self._deliver()

    def _take(self, number: int) -> None:
        """Read what a host sends; to whom it goes is in its first bytes, or not known yet: then to all."""
        try:
            frame = os.read(self._ports[number], FRAME_BYTES)
        except OSError:
            return  # the interface is not up
        self._seen[frame[6:12]] = number
        target = self._seen.get(frame[:6])
        everyone = [other for other in range(len(self._ports)) if other != number]
        for other in everyone if target is None else [target]:
            self.frames += 1
            if self._groups.get(number) != self._groups.get(other):
                self.cut += 1
            elif self._random.random() * 100 < LOSS_PERCENT:
                self.lost += 1
            else:
                heapq.heappush(
                    self._due, (time.monotonic() + DELAY_SECONDS, self.frames, number << 8 | other, frame)
                )

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, way, frame = heapq.heappop(self._due)
            number, other = divmod(way, 256)
            if self._groups.get(number) != self._groups.get(other):
                self.cut += 1
                continue
            try:
                os.write(self._ports[other], frame)
            except OSError:
                self.lost += 1  # the interface is not up, or its queue is full
