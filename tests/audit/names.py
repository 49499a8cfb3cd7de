"""Names that nobody answers for: every program that dials them ends when it is to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gossiplog.store.logs import open_logs
from tests.audit.case import Case, Outcome
from tests.processes import TWISTD, environment

BOUND_SECONDS = 2.0
"""From the signal, or from the moment at which it is to end, to the end of the process; a look-up takes an hour."""

ENDS_SECONDS = 60.0
PEERS = 60

SLOW = """
import os, socket, time

system = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):
    if ".slow" in str(host):
        os.write(2, f"looking up {host}\\n".encode())  # without a lock that is held when the process ends
        time.sleep(3600)
    return system(host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
"""
"""What Python imports at its start."""

EMBEDDED = """
import asyncio, sys
from twisted.internet import asyncioreactor
from gossiplog import Node, open_store


async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    store = open_store("ann", reactor)
    node = Node(reactor, store, network="n")
    node.connect("tcp:relay.slow:4000")
    await asyncio.sleep(0.1)
    {how}


try:
    asyncio.run(main())
finally:
    print("it is to end", flush=True)
"""

PLAIN = """
from twisted.internet import reactor
from gossiplog import Node, open_store

node = Node(reactor, open_store("ann", reactor), network="n")
for number in range(30):
    node.connect(f"tcp:relay{number}.slow:4000")
reactor.callLater(0.1, reactor.stop)
reactor.run()
print("it is to end", flush=True)
"""

PEER = "tcp:relay.slow:4000"
NODE = ("--store", "ann", "--network", "n")


def gossiplog(*arguments: str) -> list[str]:
    """A command of ours."""
    return [sys.executable, "-m", "gossiplog.app.cli", *arguments]


def measure(command: Sequence[str], mark: str, signalled: int | None, more: str = "") -> Outcome:
    """Start a program; how long it takes to end after it printed ``mark`` (and ``more``), and got the signal."""
    with tempfile.TemporaryDirectory() as place:
        open_logs(Path(place) / "ann").close()
        Path(place, "sitecustomize.py").write_text(SLOW)
        path = os.pathsep.join([place, environment()["PYTHONPATH"]])
        process = subprocess.Popen(
            command, cwd=place, env=environment(PYTHONPATH=path), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        said = ""
        while any(word not in said for word in (mark, more)) and (line := process.stdout.readline()):
            said += line
        began = time.monotonic()
        if signalled is not None:
            process.send_signal(signalled)
        try:
            process.communicate(timeout=ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        seconds = time.monotonic() - began
        reached = mark in said and more in said
        return Outcome(
            f"{seconds:.2f} s" if reached else f"it only said {said!r}", reached and seconds < BOUND_SECONDS
        )


def case(
    name: str, what: str, command: Callable[[], Sequence[str]], mark: str, signalled: int | None
) -> Case:
    """One of them."""
    return Case(
        f"names-{name}",
        f"{what}: from when it is to end until it has",
        f"{BOUND_SECONDS:.0f} s",
        lambda _: measure(command(), mark, signalled),
    )


def _localhost(_: float) -> Outcome:
    """A node behind many names that nobody answers for."""
    with tempfile.TemporaryDirectory() as place:
        open_logs(Path(place) / "bob").close()
        listener = subprocess.Popen(
            gossiplog("run", "--store", f"{place}/bob", "--network", "n", "--listen", "tcp:0:interface=127.0.0.1"),
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert listener.stdout is not None
        port = listener.stdout.readline().partition("tcp:127.0.0.1:")[2].partition('"')[0]
        peers = [option for number in range(PEERS) for option in ("--peer", f"tcp:relay{number}.slow:4000")]
        run = gossiplog("run", *NODE, *peers, "--peer", f"tcp:localhost:{port}")
        try:
            return measure(run, "is up at tcp:localhost", signal.SIGTERM, f"relay{PEERS - 1}.slow")
        finally:
            listener.terminate()
            listener.communicate()


LOOKING = "looking up"
END = "it is to end"
CASES = [
    case("sync", "sync", lambda: gossiplog("sync", PEER, *NODE, "--timeout", "1"), "no answer", None),
    case("run", "run", lambda: gossiplog("run", *NODE, "--peer", PEER), LOOKING, signal.SIGTERM),
    case("interrupt", "run, Ctrl-C", lambda: gossiplog("run", *NODE, "--peer", PEER), LOOKING, signal.SIGINT),
    case(
        "listen", "run at an interface by name",
        lambda: gossiplog("run", *NODE, "--listen", "tcp:0:interface=here.slow"), LOOKING, signal.SIGTERM,
    ),
    case(
        "follow", "log --follow", lambda: gossiplog("log", "--follow", *NODE, "--peer", PEER), LOOKING, signal.SIGINT
    ),
    case("chat", "chat", lambda: gossiplog("chat", "--nick", "x", *NODE, "--peer", PEER), LOOKING, None),
    case(
        "twistd", "twistd",
        lambda: [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "gossiplog", *NODE, "--peer", PEER],
        LOOKING, signal.SIGTERM,
    ),
    case(
        "asyncio", "asyncio.run, all stopped",
        lambda: [sys.executable, "-c", EMBEDDED.format(how="await node.stop(); await store.close()")], END, None,
    ),
    case(
        "asyncio-left", "asyncio.run, nothing stopped",
        lambda: [sys.executable, "-c", EMBEDDED.format(how="pass")], END, None,
    ),
    case(
        "asyncio-raises", "asyncio.run, ended by an exception",
        lambda: [sys.executable, "-c", EMBEDDED.format(how="sys.exit(3)")], END, None,
    ),
    case("reactor", "a reactor that is stopped", lambda: [sys.executable, "-c", PLAIN], END, None),
    Case(
        "names-localhost", f"run with {PEERS} such peers, and one at localhost, which is to come up",
        f"{BOUND_SECONDS:.0f} s", _localhost,
    ),
]  # fmt: skip
