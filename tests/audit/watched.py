"""A node of ten thousand logs whose web page everybody on the machine asks, without end and without reading.

Sixteen pages that read nothing, requests that never end, and as many questions as the node answers; meanwhile somebody
appends over the control socket, as a cron job does.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

from gossiplog.blocking import attach
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept
from gossiplog.testing import Chain
from tests.audit.case import Case, Outcome
from tests.processes import environment

LOGS = 10_000
SLOW_PAGES = 16
ASKERS = 24
MOST_SECONDS = 0.5
MOST_GROWN_BYTES = 64 * 2**20


ASK = """
import socket, sys, threading
from contextlib import suppress

def ask(where, request):
    while True:
        with suppress(OSError), socket.create_connection(where, timeout=10) as sock:
            sock.sendall(request)
            while sock.recv(65536):
                pass

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
request = f"GET /logs?sort=growth&begins=a HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode()
for _ in range(count):
    threading.Thread(target=ask, args=((host, port), request)).start()
"""
"""In a process of its own: what it takes of a processor is not ours."""


def resident_bytes(pid: int) -> int:
    """Return what a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def watched(seconds: float) -> Outcome:
    """Attack, and append all the while."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with closing(open_logs(place / "ann")) as logs:
            chains = [Chain(number) for number in range(1, LOGS + 1)]
            logs.process([Accept(chain.write(b"x")[0], chain.head) for chain in chains])
        command = [
            sys.executable,
            "-m",
            "gossiplog.app.cli",
            "run",
            "--store",
            "ann",
            "--network",
            "n",
            "--web",
            "tcp:0",
        ]
        node = subprocess.Popen(
            command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
        )
        stack.callback(node.wait)
        stack.callback(node.kill)
        assert node.stdout is not None
        about = json.loads(node.stdout.readline().split(b" ", 2)[2])
        where = urlsplit(about["web"])

        def connect() -> socket.socket:
            made = socket.create_connection((where.hostname, where.port), timeout=10)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            return made

        def say(path: str) -> bytes:
            return f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()

        store = stack.enter_context(attach(place / "ann"))
        writer = store.writer()

        def appends(until: float) -> list[float]:
            took = []
            while time.monotonic() < until:
                began = time.monotonic()
                writer.append(b"from cron")
                took.append(time.monotonic() - began)
            return sorted(took)

        alone = appends(time.monotonic() + min(3.0, seconds / 4))
        before = resident_bytes(node.pid)
        for _ in range(SLOW_PAGES):
            stack.enter_context(connect()).sendall(say("/feed"))
        for _ in range(ASKERS // 2):
            stack.enter_context(connect()).sendall(b"GET / HTTP/1.1\r\nHos")
        askers = subprocess.Popen([sys.executable, "-c", ASK, where.hostname, str(where.port), str(ASKERS)])
        stack.callback(askers.wait)
        stack.callback(askers.kill)
        took = appends(time.monotonic() + seconds)
        grown = resident_bytes(node.pid) - before
        worst, usual = took[len(took) * 99 // 100], alone[len(alone) * 99 // 100]
        return Outcome(
            f"99 of 100 appends in {worst * 1e3:.0f} ms (alone {usual * 1e3:.0f}), {grown / 2**20:.0f} MiB more memory",
            worst <= MOST_SECONDS and grown <= MOST_GROWN_BYTES,
        )


CASES = [
    Case(
        "watched",
        f"{SLOW_PAGES} pages that read nothing, {ASKERS} that ask without end, of {LOGS:,} logs",
        f"99 of 100 appends in {MOST_SECONDS * 1e3:.0f} ms, {MOST_GROWN_BYTES // 2**20} MiB",
        watched,
    )
]
