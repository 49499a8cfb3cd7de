"""A node that is in a DHT, and what strangers send to its port there: questions, nonsense, as much as goes.

The node is this process, its table a bootstrap node of its own on this machine; the attackers are another process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall

from gossiplog import Dht, Network
from tests.audit.case import Case, Outcome
from tests.processes import environment

MOST_GAP_SECONDS = 0.25
"""The bound: nothing else waits for longer."""

MOST_BYTES = 16 * 2**20
"""The bound: so much more memory."""


def attack(port: int, seconds: float) -> None:
    """Send questions of a table, and what is none, until the time is over; print how many."""
    libtorrent: Any = import_module("libtorrent")
    asked = [
        libtorrent.bencode(
            {b"t": b"aa", b"y": b"q", b"q": kind, b"a": {b"id": os.urandom(20), b"info_hash": os.urandom(20)}}
        )
        for kind in (b"get_peers", b"announce_peer", b"find_node", b"ping", b"sample_infohashes")
        for _ in range(20)
    ]
    asked += [os.urandom(1400), b"d" * 1400, b"l" * 1400, b""]
    sent = 0
    end = time.monotonic() + seconds
    with socket.socket(type=socket.SOCK_DGRAM) as flood:
        while time.monotonic() < end:
            flood.sendto(asked[sent % len(asked)], ("127.0.0.1", port))
            sent += 1
    print(sent)


class Finding:
    """What a way of finding uses of a node."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.network = Network.from_key(bytes(32))
        self.node = bytes(32)

    def found(self, host: str, port: int, node: bytes | None = None) -> None:
        """Nobody else is there."""

    def failed(self, reason: str) -> None:
        """It is alone."""


def held_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def flood(seconds: float) -> Outcome:
    """Run the node, and the attackers."""
    if find_spec("libtorrent") is None:
        return Outcome("needs libtorrent: pip install 'gossiplog[dht]'", True)
    script = f"from tests.audit.tables import node; node({seconds})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_env())
    if done.returncode:
        return Outcome(done.stderr[-300:], False)
    gap, grown, sent = map(float, done.stdout.split())
    figure = f"{sent / seconds:,.0f} packets a second: waits of {gap:.3f} s, {grown / 2**20:.1f} MiB more"
    return Outcome(figure, gap < MOST_GAP_SECONDS and grown < MOST_BYTES)


def node(seconds: float) -> None:
    """Be in a table while it is attacked; print the longest wait, the memory it took, and what was sent."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    way = Dht([f"127.0.0.1:{port}"])
    way.announce([("10.9.0.1", 4000)])
    way.start(Finding(reactor))  # type: ignore[arg-type]
    way.look()
    waits = [0.0, time.monotonic()]

    def tick() -> None:
        now = time.monotonic()
        waits[:] = [max(waits[0], now - waits[1]), now]

    def begin() -> None:
        before = held_bytes()
        waits[:] = [0.0, time.monotonic()]
        script = f"from tests.audit.tables import attack; attack({port}, {seconds})"
        attackers = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=_env())

        def end() -> None:
            if attackers.poll() is None:
                reactor.callLater(0.1, end)
                return
            assert attackers.stdout is not None
            print(waits[0], held_bytes() - before, attackers.stdout.read().decode())
            way.stop()
            reactor.stop()

        reactor.callLater(seconds, end)

    LoopingCall(tick).start(0.01)
    reactor.callLater(1.0, begin)
    reactor.run()


def _env() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return environment(PYTHONPATH=os.pathsep.join([root, *sys.path]))


CASES = [
    Case(
        "dht",
        "strangers ask a node of a DHT, and send nonsense, as fast as they can",
        f"nothing else of the node waits for more than {MOST_GAP_SECONDS} s; {MOST_BYTES // 2**20} MiB",
        flood,
    )
]
