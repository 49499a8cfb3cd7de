"""A node for :mod:`tests.test_roaming_hosts`: says as lines of JSON what happens and when, appends what is typed.

``python -m tests.roaming_node STORE HOST [PEER ...]``
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from gossiplog import NetworkChanged, Node, PeerDown, PeerUp, open_store


def say(event: str, **more: object) -> None:
    """One line."""
    print(json.dumps({"at": time.monotonic(), "event": event, **more}), flush=True)


class Typed(LineReceiver):
    """Each line is an entry."""

    delimiter = b"\n"

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def lineReceived(self, line: bytes) -> None:
        self._writer.append(line)


async def main(reactor: Any, path: str, host: str, *peers: str) -> None:
    async with open_store(path, reactor) as store, Node(reactor, store, network="garden") as node:

        def told(notice: object) -> None:
            if isinstance(notice, PeerUp | PeerDown | NetworkChanged):
                say(type(notice).__name__)

        node.subscribe(told)
        await node.listen(f"tcp:4000:interface={host}")
        for peer in peers:
            node.connect(f"tcp:{peer}:4000")
        node.join()
        StandardIO(Typed(await store.writer()), reactor=reactor)
        say("ready")
        async for entry in store.read(live=True):
            say("entry", payload=entry.payload.decode())
        await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
