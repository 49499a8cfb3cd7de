"""Processes of the same user that do everything wrong at a node's control socket, while one does it right.

The node is a process, the attackers are threads of this one, the client that must not suffer is this one too.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gossiplog import blocking, limits
from tests.audit.case import Case, Outcome
from tests.processes import environment

IN_SECONDS = 10.0
"""The bound: a client that does it right has its entry on disk within so long."""

MEMORY_BYTES = 4 * limits.CONTROL_BUFFER_BYTES
"""The bound: what the node takes beyond what it took before; text takes several forms on its way."""

ROOT = Path(__file__).resolve().parents[2]


class Node:
    """I am a node in a process of its own, with a store of four megabytes."""

    def __init__(self, path: str) -> None:
        self.path = path
        with blocking.Store(path) as store:
            writer = store.writer()
            writer.append_many([os.urandom(1000) for _ in range(4000)])
            self.author = writer.author
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{path}\n".encode())
        self.process.stdin.flush()
        self.process.stdout.readline()
        self.before_bytes = self.memory_bytes("VmRSS")

    def memory_bytes(self, what: str) -> int:
        """What it takes, or took at most."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
        raise AssertionError("it is gone")

    def connect(self) -> socket.socket:
        """One more client, which was greeted or turned away."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(IN_SECONDS)
        client.connect(f"{self.path}/control")
        client.recv(4096)
        return client

    def append(self) -> float:
        """Do it right; how long that took."""
        began = time.monotonic()
        with blocking.attach(self.path, wait=IN_SECONDS, timeout=2 * IN_SECONDS) as store:
            store.writer().append(b"x")
        return time.monotonic() - began


@contextmanager
def node() -> Iterator[Node]:
    """Run a node."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    with tempfile.TemporaryDirectory() as place:
        found = Node(f"{place}/store")
        try:
            yield found
        finally:
            found.process.kill()
            found.process.communicate()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def attacked(attack: Callable[[Node, ExitStack], None], seconds: float) -> Outcome:
    """Let ``attack`` go on, and do it right meanwhile."""
    with node() as victim, ExitStack() as stack:
        slowest = victim.append()
        began = time.monotonic()
        attack(victim, stack)
        while time.monotonic() - began < seconds:
            slowest = max(slowest, victim.append())
            time.sleep(0.1)
        grown = victim.memory_bytes("VmHWM") - victim.before_bytes
    figure = f"{slowest:.2f} s for an append at most, {grown / 1e6:.0f} MB"
    return Outcome(figure, slowest < IN_SECONDS and grown < MEMORY_BYTES)


def crowd(victim: Node, stack: ExitStack) -> None:
    """Nearly as many clients as may be, that say nothing; and ten times as many that come and go."""
    for _ in range(limits.MAX_CONTROL_CLIENTS - 10):
        stack.enter_context(victim.connect())

    def come_and_go() -> None:
        for _ in range(limits.MAX_CONTROL_CLIENTS):
            with suppress(OSError):
                victim.connect().close()

    for _ in range(10):
        threading.Thread(target=come_and_go, daemon=True).start()


def half_lines(victim: Node, stack: ExitStack) -> None:
    """Seven megabytes of a line each, and never its end."""
    piece = b"x" * (7 << 20)
    for _ in range(100):
        client = stack.enter_context(victim.connect())
        client.settimeout(1)
        threading.Thread(target=_send, args=(client, piece), daemon=True).start()


def never_reading(victim: Node, stack: ExitStack) -> None:
    """Fifty requests for a megabyte each, of four hundred clients that read nothing."""
    said = {"id": 1, "do": "rows", "author": victim.author.hex(), "first": 1, "bytes": 1 << 20}
    for _ in range(400):
        client = stack.enter_context(victim.connect())
        threading.Thread(target=_send, args=(client, _line(said) * 50), daemon=True).start()


def garbage(victim: Node, stack: ExitStack) -> None:
    """Nesting, numbers, half a million empty lists, requests without sense."""
    pieces = [
        b"[" * 4_000_000,
        b'{"a":[' + b"[]," * 250_000 + b"1]}",
        b"9" * 1_000_000,
        b"\xff" * 1000,
        b"{}",
    ]
    for _ in range(20):
        client = stack.enter_context(victim.connect())
        threading.Thread(target=_send, args=(client, b"\n".join(pieces) + b"\n"), daemon=True).start()


def _line(said: dict[str, object]) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _send(client: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        client.sendall(data)


BOUND = f"{IN_SECONDS:.0f} s for an append, {MEMORY_BYTES / 1e6:.0f} MB"

CASES = [
    Case(
        "control-crowd",
        "hundreds of clients stay, thousands come and go",
        BOUND,
        lambda s: attacked(crowd, s),
    ),
    Case("control-half-lines", "lines that never end", BOUND, lambda s: attacked(half_lines, s)),
    Case("control-unread", "answers that nobody reads", BOUND, lambda s: attacked(never_reading, s)),
    Case("control-garbage", "what makes no sense, and much of it", BOUND, lambda s: attacked(garbage, s)),
]
