"""One chat, many writers: each has a log of its own, and everyone has all of them.

    python multichat.py 1

and in another window, with another suffix and so another store:

    python multichat.py 2

Everyone on a topic is in one network, whose key is the SHA-256 of the topic.  On this machine they find each other
without an address: each takes the first free of a few ports that follow from the topic, and dials all the others.  On
the computers of one local network too (that needs zeroconf: pip install 'gossiplog[lan]'), and with --dht anywhere.

    python multichat.py 1 --dht
"""

import argparse
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from gossiplog import EndpointError, Entry, KeyFileError, Network, Node, Reader, Writer, open_store
from gossiplog.app.finding import Finding, add_options, parse
from gossiplog.app.foreground import first_of, foreground
from gossiplog.app.keyfile import said
from gossiplog.app.terminal import Terminal

SEATS = 8
"""So many can take part on one machine."""


async def main(
    reactor: Any, suffix: str, topic: str, nickname: str, directory: Path, finding: Finding
) -> None:
    key = sha256(topic.encode()).digest()
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor))
        store = await stack.enter_async_context(open_store(directory / f"multichat-{suffix}", reactor))
        writer = await store.writer("local", encoding="json")

        past = await store.timeline(200, encoding="json")
        for entry in reversed(past.entries):
            await show(terminal, entry)

        node = await stack.enter_async_context(Node(reactor, store, network=Network.from_key(key)))
        await take_a_seat(node, key)
        if finding.is_asked:
            await finding.join(node)
        news = store.read(after=past.cursor, live=True, encoding="json")
        await first_of(speak(terminal, writer, nickname), listen(terminal, news, writer.author))


async def take_a_seat(node: Node, key: bytes) -> None:
    """Listen on the first free port of the topic, dial the others: whoever comes later finds us there."""
    first = 10_000 + int.from_bytes(key[:4]) % 20_000
    ports = range(first, first + SEATS)
    for port in ports:
        try:
            await node.listen(f"tcp:{port}:interface=127.0.0.1")
        except EndpointError:
            continue  # taken
        for other in ports:
            if other != port:
                node.connect(f"tcp:127.0.0.1:{other}")
        return
    raise EndpointError(f"ports {ports[0]} to {ports[-1]} are all in use: the chat is full")


async def speak(terminal: Terminal, writer: Writer, nickname: str) -> None:
    async for line in terminal:
        if line.strip():
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            message = {"type": "chat-message", "nickname": nickname, "text": line, "timestamp": now}
            seq = await writer.append(message)
            terminal.put(f"Data was appended as entry #{seq}")


async def listen(terminal: Terminal, news: Reader, own: bytes) -> None:
    async for entry in news:
        if entry.author != own:
            await show(terminal, entry)


async def show(terminal: Terminal, entry: Entry) -> None:
    match entry.payload:
        case {"type": "chat-message", "nickname": str(nickname), "text": str(text)}:
            await terminal.write(f"{nickname}: {text}")  # one line, that steers nothing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Chat on a topic.")
    parser.add_argument("suffix", metavar="SUFFIX", help="names your store, multichat-SUFFIX")
    parser.add_argument("--topic", default="foobar-123", help="or @FILE with it; default: foobar-123")
    parser.add_argument("--nickname", help="default: cat-lover-SUFFIX")
    parser.add_argument("--dir", type=Path, default=Path(), help="where the stores are (default: here)")
    add_options(parser)
    given, finding = parse(parser, near=True)
    if not given.suffix.isalnum():
        parser.error("a suffix is letters and digits")
    try:
        topic = said(given.topic)
    except KeyFileError as error:
        parser.error(str(error))
    nickname = given.nickname or f"cat-lover-{given.suffix}"
    react(foreground(main), (given.suffix, topic, nickname, given.dir, finding))
