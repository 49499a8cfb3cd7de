"""Strangers without the network key: silent connections, first messages that were recorded, garbage.

The node is a process, the attackers are one, the members are another.  Addresses of 127.0.0.0/8 are the places.  The
members are real nodes behind a proxy that delays what goes through it by ``DELAY_SECONDS`` each way.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from gossiplog import Network, Node, PeerUp, Store
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.wire.channel import Channel
from tests.audit.case import Case, Outcome
from tests.processes import environment

DELAY_SECONDS = 0.05
RATE = 2000
PLACES = 50
IN_SECONDS = 5.0
"""The bound: a member is in within so long."""

MOST_SHARE = 0.45
"""Of a core: what is left is for members.  Before it was as much as there was."""

MOST_LOG_BYTES = 2e6
"""A day."""

EVERY_SECONDS = 0.25
SOURCES = "127.0.1.1,127.0.2.1,127.0.1.2,127.0.2.2"
"""Where members come from: of the attackers' addresses, and others."""

NETWORK_KEY = bytes(range(32))
DAY_SECONDS = 86_400
MAX_OPEN = 12_000
ROOT = Path(__file__).resolve().parents[2]


def first_message() -> bytes:
    """What a member's connection begins with."""
    return Channel(True, os.urandom(32), NETWORK_KEY).start()


# -- the attackers: one process


def attack(port: int, rate: int, places: int, seconds: float, messages: str) -> None:
    """Open ``rate`` connections a second from ``places`` addresses, each with one of the messages (hex, by commas)."""
    sayings = [bytes.fromhex(message) for message in messages.split(",")] if messages else [b""]
    opened: deque[socket.socket] = deque()
    made = failed = 0
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        behind = int((now - began) * rate) - made - failed
        for _ in range(min(behind, 200)):
            number = made + failed
            stranger = socket.socket()
            stranger.setblocking(False)
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            stranger.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            try:
                stranger.bind((f"127.0.1.{number % places + 1}", 0))
                stranger.connect_ex(("127.0.0.1", port))
                if sayings != [b""]:
                    stranger.send(sayings[number % len(sayings)])
            except OSError:
                failed += 1
                stranger.close()
                continue
            made += 1
            opened.append(stranger)
        while len(opened) > MAX_OPEN:
            opened.popleft().close()
        if behind < 1:
            select.select([], [], [], 0.002)
    print(json.dumps({"made": made, "failed": failed, "seconds": time.monotonic() - began}), flush=True)


# -- the members: one process


class Half(Protocol):
    """I am one half of a proxy: what comes goes on to the other half after ``DELAY_SECONDS``."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.other: Half | None = None
        self.waiting: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """Let it travel."""
        self.reactor.callLater(DELAY_SECONDS, self.arrived, data)

    def arrived(self, data: bytes) -> None:
        """It is on the other side."""
        if self.other is None:
            self.waiting.append(data)
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """So is the other half."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abortConnection()  # type: ignore[attr-defined]


class Front(Half):
    """I am the half that a member dials: I dial the node from the address ``source``."""

    def __init__(self, reactor: Any, port: int, source: str) -> None:
        super().__init__(reactor)
        self.port = port
        self.source = source

    def connectionMade(self) -> None:
        """Go on to the node, at once: what the member says first comes later."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port, bindAddress=(self.source, 0))
        back = Half(self.reactor)
        connectProtocol(endpoint, back).addCallbacks(lambda _: self.joined(back), self.failed)

    def joined(self, back: Half) -> None:
        """The node is there."""
        self.other, back.other = back, self
        waiting, self.waiting = self.waiting, []
        for data in waiting:
            self.arrived(data)

    def failed(self, reason: Failure) -> None:
        """It is not."""
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


class Fronts(Factory):
    """I make the front halves for one member."""

    noisy = False

    def __init__(self, *about: Any) -> None:
        self.about = about

    def buildProtocol(self, addr: Any) -> Front:
        """One for each time that the member dials."""
        return Front(*self.about)


async def member(reactor: Any, port: int, source: str, took: list[float]) -> None:
    """Dial until we are in, and note how long that took."""
    front = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Fronts(reactor, port, source))
    name = f"member {len(took)} from {source}"
    store = Store(lambda: Logs(MemoryBackend(name)), reactor, name)
    node = Node(reactor, store, network=Network.from_key(NETWORK_KEY))
    began = time.monotonic()
    up = node.when(PeerUp)
    node.connect(f"tcp:127.0.0.1:{front.getHost().port}")
    await up
    took.append(time.monotonic() - began)


def members(port: int, count: int, every: float, sources: str) -> None:
    """Let ``count`` members dial, one ``every`` so many seconds, and print how long each took to be in."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    froms = sources.split(",")
    took: list[float] = []

    def end() -> None:
        print(json.dumps({"came": count, "took": took}), flush=True)
        os._exit(0)

    for number in range(count):
        reactor.callLater(
            number * every,
            lambda source: Deferred.fromCoroutine(member(reactor, port, source, took)),
            froms[number % len(froms)],
        )
    reactor.callLater(count * every + IN_SECONDS + 1, end)
    reactor.run()


# -- the node, and what it costs


class Run:
    """I am a node in a process, and what is measured of it.

    ``open_files``: how many it may have; ``forgets``: it remembers no first message for longer than a second.
    """

    def __init__(self, open_files: int = 0, forgets: bool = False) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.path = Path(self.place.name)
        self.log = (self.path / "log").open("wb")
        command = [sys.executable, "-m", "gossiplog.app.cli"]
        begin = [*command, "init", "--store", "store"]
        subprocess.run(begin, cwd=self.path, env=environment(), check=True, stdout=subprocess.DEVNULL)
        if forgets:
            change = "from gossiplog import limits; limits.FIRST_MESSAGE_SECONDS = 1.0; "
            command = [sys.executable, "-c", f"{change}from gossiplog.app import cli; cli.main()"]
        if open_files:
            command = ["prlimit", f"--nofile={open_files}:{open_files}", *command]
        run = [
            "run",
            "--store",
            "store",
            "--network",
            NETWORK_KEY.hex(),
            "--listen",
            "tcp:0:interface=0.0.0.0",
        ]
        self.process = subprocess.Popen(
            [*command, *run], cwd=self.path, env=environment(), stdout=subprocess.PIPE, stderr=self.log
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        self.port = int(json.loads(line.partition("ready ")[2])["listening"][0].rpartition(":")[2])

    def cpu_seconds(self) -> float:
        """What the node used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def logged(self) -> int:
        """Bytes of what it said of strangers."""
        lines = (self.path / "log").read_bytes().splitlines(keepends=True)
        return sum(len(line) for line in lines if not line.startswith(b"peer "))

    def start(self, function: str, *arguments: Any) -> subprocess.Popen[bytes]:
        """Run a function of this module in a process of its own."""
        call = f"from tests.audit.strangers import {function}; {function}{arguments!r}"
        return subprocess.Popen(
            [sys.executable, "-c", call], cwd=ROOT, env=environment(), stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """Leave nothing."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.log.close()
        self.place.cleanup()


def said(process: subprocess.Popen[bytes]) -> Any:
    """What a process printed at its end."""
    out, _ = process.communicate()
    return json.loads(out.decode().strip().splitlines()[-1])


class Figures(NamedTuple):
    """What came of an attack: connections a second, the share of a core, bytes of log a day, members, their seconds."""

    rate: float
    share: float
    log: float
    came: int
    took: list[float]

    def outcome(self) -> Outcome:
        """Whether all members were in, and soon; the log grew little; and the node had most of its time for others."""
        slowest = max(self.took, default=0.0)
        figure = (
            f"{len(self.took)} of {self.came} members in, the slowest after {slowest:.2f} s; "
            f"{self.rate:,.0f} connections/s, {100 * self.share:.0f} % of a core, {self.log / 1e6:.1f} MB of log a day"
        )
        held = len(self.took) == self.came and slowest <= IN_SECONDS
        return Outcome(figure, held and self.share <= MOST_SHARE and self.log <= MOST_LOG_BYTES)


def measure(
    seconds: float,
    messages: list[bytes],
    places: int = PLACES,
    rate: int = RATE,
    sources: str = "",
    **node: Any,
) -> Figures:
    """Attack a node for ``seconds`` while members come, from ``sources`` (addresses, by commas)."""
    run = Run(**node)
    started: list[subprocess.Popen[bytes]] = []
    try:
        hexes = ",".join(message.hex() for message in messages)
        started.append(run.start("attack", run.port, rate, places, seconds, hexes))
        time.sleep(2.0)
        used, at = run.cpu_seconds(), time.monotonic()
        count = max(1, int((seconds - 4 - IN_SECONDS) / EVERY_SECONDS))
        started.append(run.start("members", run.port, count, EVERY_SECONDS, sources or SOURCES))
        time.sleep(max(1.0, seconds - 4))
        share = (run.cpu_seconds() - used) / (time.monotonic() - at)
        reached, came = map(said, started)
        log = run.logged() / max(60.0, seconds) * DAY_SECONDS  # what is said is said once a minute
        return Figures(reached["made"] / reached["seconds"], share, log, came["came"], came["took"])
    finally:
        for process in started:
            process.kill()
            process.wait()
        run.close()


BOUND = f"all within {IN_SECONDS:.0f} s, {100 * MOST_SHARE:.0f} % of a core, {MOST_LOG_BYTES / 1e6:.0f} MB of log a day"


def _case(name: str, attack: str, messages: Callable[[], list[bytes]], **options: Any) -> Case:
    return Case(
        f"strangers-{name}",
        f"{attack}, from {options.get('places', PLACES)} addresses, while members come from there and elsewhere",
        BOUND,
        lambda seconds: measure(max(seconds, 12.0), messages(), **options).outcome(),
    )


CASES = (
    _case("silent", "connections that say nothing", list),
    _case("tunnel", "the same from one address", list, places=1, sources="127.0.1.1"),
    _case(
        "files",
        "the same, for a node with 256 descriptors",
        list,
        open_files=256,
        sources="127.0.2.1,127.0.2.2",
    ),
    _case("garbage", "HTTP requests", lambda: [b"GET / HTTP/1.1\r\n\r\n"]),
    _case("replay", "one recorded first message", lambda: [first_message()]),
    _case("replays", "1,000 recorded first messages", lambda: [first_message() for _ in range(1000)]),
    _case(
        "forgotten",
        "1,000 recorded first messages, for a node that forgets them at once",
        lambda: [first_message() for _ in range(1000)],
        forgets=True,
        sources="127.0.2.1,127.0.2.2",
    ),
)
