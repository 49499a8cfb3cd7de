"""Read a log whose key you were given, live.

    python reader.py KEY

KEY is what writer.py printed.  It alone finds the writer, on this machine and on the local network (that needs
zeroconf: pip install 'gossiplog[lan]'); --dht finds it anywhere.  Entries that are there already are skipped, new ones
are printed as they come.  What was read is kept, so this reader serves others when the writer is away: they find it
too, or are told where it is with its --port and their --peer.
"""

import argparse
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from gossiplog import (
    CaughtUp,
    DialFailed,
    GossiplogError,
    Network,
    Node,
    Reader,
    Result,
    open_store,
    parse_author,
    short_key,
)
from gossiplog.app.finding import Finding, add_options, parse
from gossiplog.app.foreground import first_of, foreground
from gossiplog.app.keyfile import said
from gossiplog.app.terminal import Terminal


def to_port(key: bytes) -> int:
    """Writer and reader meet on a port of this machine that follows from the key."""
    return 10_000 + int.from_bytes(sha256(key).digest()[:4]) % 20_000


async def main(
    reactor: Any, key: bytes, directory: Path | None, port: int | None, peers: list[str], finding: Finding
) -> None:
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor, stdin=None))
        path = directory or f"reader-storage-{short_key(key)}"
        store = await stack.enter_async_context(open_store(path, reactor))
        node = await stack.enter_async_context(Node(reactor, store, network=Network.of_author(key)))
        if port is not None:
            address = await node.listen(f"tcp:{port}:interface=127.0.0.1")
            await terminal.write(f"listening on {address}")

        # Until either all that the first peer has is here, or looking is over and there is no peer.
        joined = await finding.join(node)
        for peer in peers or [f"tcp:127.0.0.1:{to_port(key)}"]:
            node.connect(peer)
        looking = node.when(DialFailed) if joined is None else joined.flush()
        await first_of(until(looking), until(node.when(CaughtUp)))
        if not node.peers:
            await terminal.write("Nobody there yet...")
        elif not node.caught_up:
            await node.when(CaughtUp)

        length = store.clock.seq(key)
        await terminal.write(f"Skipping {length} earlier blocks...")
        news = store.read(key, first=length + 1, live=True, encoding="utf-8")
        await first_of(show(terminal, news), terminal.broken())  # the latter ends it behind "| head"


async def until(something: Result[Any]) -> None:
    await something


async def show(terminal: Terminal, news: Reader) -> None:
    async for entry in news:
        await terminal.write(f"Block {entry.seq}: {entry.payload}")


def a_key(text: str) -> bytes:
    try:
        return parse_author(said(text))
    except GossiplogError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print new entries of a log.")
    parser.add_argument(
        "key", metavar="KEY", type=a_key, help="what the writer printed, author_..., or @FILE"
    )
    parser.add_argument("--store", type=Path, help="default: reader-storage- and the key's beginning")
    parser.add_argument("--port", type=int, help="serve other readers here")
    parser.add_argument("--peer", action="append", default=[], help="instead of the writer: tcp:HOST:PORT")
    add_options(parser)
    given, finding = parse(parser, near=True)
    react(foreground(main), (given.key, given.store, given.port, given.peer, finding))
