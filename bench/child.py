"""The processes of a benchmark: ``serve``, ``fetch``, ``write`` and ``watch``.  Each is an ordinary gossiplog node."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.protocols.basic import LineOnlyReceiver

from bench.measure import NETWORK, disk_bytes, pauses, peak_rss_mb
from gossiplog import Network, Node, Store, open_store
from gossiplog.app.foreground import SWITCH_SECONDS
from gossiplog.notices import CaughtUp, NewEntries, PeerUp


def tell(**fields: Any) -> None:
    """One JSON line to whoever started us."""
    print(json.dumps(fields), flush=True)


class Stdin(LineOnlyReceiver):
    """I turn standard input into Deferreds: the next line, None at the end."""

    delimiter = b"\n"

    def __init__(self) -> None:
        self._lines: list[str | None] = []
        self._waiting: Deferred[str | None] | None = None

    def line(self) -> Deferred[str | None]:
        """The next line."""
        waiting: Deferred[str | None] = Deferred()
        self._waiting = waiting
        self._serve()
        return waiting

    def lineReceived(self, line: bytes) -> None:
        self._lines.append(line.decode())
        self._serve()

    def connectionLost(self, reason: Any = None) -> None:
        self._lines.append(None)
        self._serve()

    def _serve(self) -> None:
        if self._waiting is not None and self._lines:
            waiting, self._waiting = self._waiting, None
            waiting.callback(self._lines.pop(0))


def wire_bytes_in(node: Node) -> int:
    """Bytes that came over all open connections of a node."""
    return sum(link.channel.bytes_in for link in node._driver.links.values())


async def serve(reactor: Any, store: Store, node: Node, stdin: Stdin, options: argparse.Namespace) -> None:
    """Wait for dialers until standard input ends; ``rss`` asks for our memory."""
    tell(
        address=await node.listen("tcp:0:interface=127.0.0.1"),
        rss_mb=peak_rss_mb(),
        cpu_s=time.process_time(),
    )
    while (await stdin.line()) is not None:
        tell(
            rss_mb=peak_rss_mb(),
            rss_now_mb=current_rss_mb(),
            cpu_s=time.process_time(),
            peers=len(node.peers),
        )


async def fetch(reactor: Any, store: Store, node: Node, stdin: Stdin, options: argparse.Namespace) -> None:
    """Catch up with ``--peer`` until ``--expect`` entries are on disk."""
    tell(ready=True)
    await stdin.line()
    base_mb = peak_rss_mb()
    started = time.perf_counter()
    node.connect(options.peer)
    while True:
        await node.when(CaughtUp)
        if store.clock.total() >= options.expect:
            break
    seconds = time.perf_counter() - started
    wire = wire_bytes_in(node)
    running = disk_bytes(Path(store.path))
    tell(seconds=seconds, rss_mb=peak_rss_mb(), base_mb=base_mb, wire_bytes=wire, disk_bytes_running=running)
    await stdin.line()


async def write(reactor: Any, store: Store, node: Node, stdin: Stdin, options: argparse.Namespace) -> None:
    """Append ``--count`` entries that carry the time, ``--interval`` seconds apart, once somebody is connected."""
    address = await node.listen("tcp:0:interface=127.0.0.1")
    writer = await store.writer("live")
    tell(address=address, author=writer.author.hex())
    await stdin.line()
    padding = bytes(max(0, options.size - 8))
    for pause in pauses(options.count, options.interval):
        await writer.append(time.monotonic_ns().to_bytes(8, "big") + padding)
        await deferLater(reactor, pause, lambda: None)
    tell(done=True)
    await stdin.line()


async def watch(reactor: Any, store: Store, node: Node, stdin: Stdin, options: argparse.Namespace) -> None:
    """Read news of ``--author`` live and note how old each is."""
    author = bytes.fromhex(options.author)
    connected = node.when(PeerUp if options.loaded else CaughtUp)
    node.connect(options.peer)
    reader = store.read(author, live=True)
    await connected
    tell(ready=True)
    ages = []
    async for entry in reader:
        ages.append((time.monotonic_ns() - int.from_bytes(entry.payload[:8], "big")) / 1e6)
        if len(ages) == options.count:
            break
    tell(ages_ms=ages, held=store.clock.total())
    await stdin.line()


async def relay(reactor: Any, store: Store, node: Node, stdin: Stdin, options: argparse.Namespace) -> None:
    """Many nodes in one process for fan-out: report when the last of ``--count`` has a new entry on disk."""
    nodes = [(store, node)]
    network = Network.from_key(bytes.fromhex(NETWORK))
    for number in range(1, options.count):
        other = open_store(Path(store.path).parent / f"fan-{number}", reactor)
        nodes.append((other, Node(reactor, other, network=network)))
    for _, each in nodes:
        up = each.when(CaughtUp)
        each.connect(options.peer)
        await up
    tell(ready=True)
    arrivals = [each.when(NewEntries) for _, each in nodes]
    for arrival in arrivals:
        await arrival
    tell(last_ns=time.monotonic_ns())
    await stdin.line()
    for other, each in nodes[1:]:
        await each.stop()
        await other.close()


ROLES = {role.__name__: role for role in (serve, fetch, write, watch, relay)}


async def main(reactor: Any, options: argparse.Namespace) -> None:
    stdin = Stdin()
    stdio.StandardIO(stdin)
    store = open_store(options.store, reactor, state=options.state)
    node = Node(reactor, store, network=Network.from_key(bytes.fromhex(NETWORK)))
    await ROLES[options.role](reactor, store, node, stdin, options)
    await node.stop()
    await store.close()


def current_rss_mb() -> float:
    """What this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--store", required=True)
    parser.add_argument("--state")
    parser.add_argument("--peer")
    parser.add_argument("--author")
    parser.add_argument("--expect", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--interval", type=float, default=0.005)
    parser.add_argument("--loaded", action="store_true")
    sys.setswitchinterval(SWITCH_SECONDS)
    react(main, [parser.parse_args(sys.argv[1:])])
