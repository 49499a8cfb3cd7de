"""Publish what you type, for everyone who has the key.

    python writer.py

It prints the key of its log.  In another terminal, or later, or from several of them:

    python reader.py KEY

On one machine they meet by the key alone, and so they do on computers of one local network (that needs zeroconf: pip
install 'gossiplog[lan]'); --dht finds readers anywhere.

Every line is one entry of the log, signed and kept in ./writer-storage.  After the end of the input it goes on serving
readers; Ctrl-C ends it.
"""

import argparse
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from gossiplog import Network, Node, format_author, open_store
from gossiplog.app.finding import Finding, add_options, parse
from gossiplog.app.foreground import foreground
from gossiplog.app.terminal import Terminal


def to_port(key: bytes) -> int:
    """Writer and reader meet on a port of this machine that follows from the key."""
    return 10_000 + int.from_bytes(sha256(key).digest()[:4]) % 20_000


async def main(reactor: Any, directory: Path, port: int | None, finding: Finding) -> None:
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor))
        store = await stack.enter_async_context(open_store(directory, reactor))
        writer = await store.writer(encoding="utf-8")

        # The network key follows from the log's key: knowing the log is what lets a reader connect.
        node = await stack.enter_async_context(Node(reactor, store, network=Network.of_author(writer.author)))
        if port is None:
            port = to_port(writer.author)
        address = await node.listen(f"tcp:{port}:interface=127.0.0.1")
        await finding.join(node)  # for who is elsewhere
        await terminal.write(f"key: {format_author(writer.author)}")
        await terminal.write(f"listening on {address}")

        async for line in terminal:
            await writer.append(line)
        await Deferred[None]()  # until Ctrl-C


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Publish lines from standard input as a log.")
    parser.add_argument("--store", type=Path, default="writer-storage", help="default: writer-storage")
    parser.add_argument("--port", type=int, help="default: follows from the key")
    add_options(parser)
    given, finding = parse(parser, near=True)
    react(foreground(main), (given.store, given.port, finding))
