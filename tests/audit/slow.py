"""Honest peers on slow lines: a member makes a node pass on as much as it can, and being slow must cost nothing.

The node is a process, and so is the honest peer, which reaches it through a proxy: ``BYTES_PER_SECOND``, a delay of
``DELAY_SECONDS`` each way, and a queue of ``QUEUE_BYTES``, as routers have.  With ``--seconds 600`` there are 4,096
proofs of 127 KB, with ``--seconds 250`` 100,000 announcements, more than are remembered for one peer.

What takes long with announcements is neither the node nor the line: ``OPEN_WANTS_PER_PEER`` authors are asked for at
once, which is 128 in a round trip and what both sides do in it: 400 to 500 a second, half an hour for a million.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from gossiplog import Node, PeerDown, PeerRejected, PeerUp, Store
from gossiplog.gossip.messages import Fork, Lazy, Message
from gossiplog.gossip.session import Service
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from tests.audit.allowance import NETWORK, _process
from tests.audit.case import Case, Outcome
from tests.members import Member
from tests.processes import environment
from tests.test_slow_peers import large_proof

BYTES_PER_SECOND = 1e6
DELAY_SECONDS = 0.05
QUEUE_BYTES = 256 * 1024
PROOF_BYTES = 127_000
MOST_PROOFS = 4096
AUTHORS_PER_SECOND = 400
MOST_AUTHORS = 100_000


class Half(Protocol):
    """I am one half of the line: what comes goes on to the other half at its pace."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.other: Half | None = None
        self.early: list[bytes] = []
        self.queued_bytes = 0
        self.free_at = 0.0

    def dataReceived(self, data: bytes) -> None:
        """Let it travel; when the queue is full, nothing more is read."""
        now = self.reactor.seconds()
        self.free_at = max(now, self.free_at) + len(data) / BYTES_PER_SECOND
        self.queued_bytes += len(data)
        if self.queued_bytes > QUEUE_BYTES:
            self.transport.pauseProducing()  # type: ignore[union-attr]
        self.reactor.callLater(self.free_at - now + DELAY_SECONDS, self.arrived, data)

    def arrived(self, data: bytes) -> None:
        """It is on the other side."""
        self.queued_bytes -= len(data)
        if self.queued_bytes <= QUEUE_BYTES // 2 and self.transport is not None:
            self.transport.resumeProducing()  # type: ignore[attr-defined]
        if self.other is None:
            self.early.append(data)
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """So is the other half."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abortConnection()  # type: ignore[attr-defined]


class Fronts(Factory):
    """I make the halves that the honest peer dials; the others dial the node at ``port``."""

    noisy = False

    def __init__(self, reactor: Any, port: int) -> None:
        self.reactor = reactor
        self.port = port

    def buildProtocol(self, addr: Any) -> Half:
        """A line."""
        front, back = Half(self.reactor), Half(self.reactor)

        def joined(_: Any) -> None:
            front.other, back.other = back, front
            early, front.early = front.early, []
            for data in early:
                back.transport.write(data)  # type: ignore[union-attr]

        connectProtocol(TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port), back).addCallback(joined)
        return front


def peer(port: int, lazy: str) -> None:
    """The honest peer: it prints what it holds, and how often it was sent away, four times a second."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    store = Store(lambda: Logs(MemoryBackend("slow")), reactor, "slow")
    running = Node(reactor, store, network=NETWORK)
    ends = {"ups": 0, "downs": 0, "rejected": 0}

    def told(notice: Any) -> None:
        ends["ups"] += isinstance(notice, PeerUp)
        ends["downs"] += isinstance(notice, PeerDown)
        ends["rejected"] += isinstance(notice, PeerRejected)
        if isinstance(notice, PeerUp) and lazy:  # served elsewhere, as in a large network
            driver = running._driver
            [link] = driver.links.values()
            session = driver.replica.core.sessions[link.session or 0]
            session.serve(None, Service.LAZY)
            link.send(Lazy((None,)))
            link.flush()

    running.subscribe(told)

    def report() -> None:
        print(json.dumps({"forks": len(store.forks), "authors": len(store.clock), **ends}), flush=True)
        reactor.callLater(0.25, report)

    def listening(port: Any) -> None:
        running.connect(f"tcp:127.0.0.1:{port.getHost().port}")

    front = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    front.listen(Fronts(reactor, port)).addCallback(listening)
    reactor.callLater(0.0, report)
    reactor.run()


def _reports(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def _flood(port: int, kind: str, count: int) -> Member:
    """Say all of it; whoever hung up then would take back what was not read yet."""
    member = Member(port, NETWORK.key)
    for start in range(0, count, 50):
        numbers = range(start, min(count, start + 50))
        messages: list[Message] = []
        for number in numbers:
            if kind == "forks":
                messages.append(Fork(large_proof(number)))
            else:
                pair = Keypair((number + 1).to_bytes(32, "big"))
                messages += build(pair, Head(0, genesis_id(pair.author)), [encode_body(0, b"")])[0]
        member.say(*messages)
    return member


def run(kind: str, seconds: float) -> Outcome:
    """Let the member say as much as takes so long on the line, and wait until the honest peer has all of it."""
    most = {"forks": MOST_PROOFS, "authors": MOST_AUTHORS}[kind]
    rate = {"forks": BYTES_PER_SECOND / PROOF_BYTES, "authors": AUTHORS_PER_SECOND}[kind]
    count = min(most, max(16, int(seconds * rate)))
    with tempfile.TemporaryDirectory(prefix="gossiplog-audit-") as place, _process("node", place) as node:
        assert node.stdout is not None
        port = int(node.stdout.readline())
        lazy = "lazy" if kind == "authors" else ""
        command = [sys.executable, "-m", "tests.audit.slow", "peer", str(port), lazy]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as slow,
            ExitStack() as stack,
        ):
            stack.callback(slow.kill)
            while not _reports(slow)["ups"]:
                pass
            began = time.monotonic()
            member = _flood(port, kind, count)
            report = _reports(slow)
            while report[kind] < count and time.monotonic() - began < 60 + 3 * count / rate:
                report = _reports(slow)
            took = time.monotonic() - began
            member.close()
    figure = f"{report[kind]:,} of {count:,} after {took:.0f} s; sent away {report['downs'] + report['rejected']} times"
    return Outcome(figure, report[kind] == count and not report["downs"] and not report["rejected"])


BOUND = "all come, nobody is sent away"
ATTACK = "passed on to an honest peer at 1 MB/s, 100 ms from here and back"
CASES = (
    Case("slow-proofs", f"fork proofs of 127 KB {ATTACK}", BOUND, lambda seconds: run("forks", seconds)),
    Case(
        "slow-announcements",
        f"authors {ATTACK}, which wants announcements only",
        BOUND,
        lambda seconds: run("authors", seconds),
    ),
)

if __name__ == "__main__":
    peer(int(sys.argv[2]), sys.argv[3])
