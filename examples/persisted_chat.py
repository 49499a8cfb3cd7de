"""Chat with people by name.  What was said is kept, and passed on to who was not there.

In one terminal, say that you are alice and look for bob; type something:

    python persisted_chat.py alice bob

In another terminal be bob.  Alice's words are there:

    python persisted_chat.py bob alice

Now stop alice, and be carol, who knows only bob.  She sees what alice said, signed by alice, relayed by bob:

    python persisted_chat.py carol bob

It works between the computers of one local network, where alice is alice.local (that needs zeroconf: pip install
'gossiplog[lan]'), and on one without any network.

Everyone's messages are in ./NAME.chat.  The end of the input, Ctrl-C or /quit ends the program.
"""

import argparse
import re
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from gossiplog import (
    ByeCode,
    Entry,
    Lan,
    MissingExtraError,
    Node,
    Notice,
    PeerDown,
    PeerUp,
    Reader,
    WayFailed,
    Writer,
    open_store,
)
from gossiplog.app.foreground import first_of, foreground
from gossiplog.app.terminal import Terminal


def to_port(name: str) -> int:
    """Everyone listens on a port that follows from the name."""
    return 10_000 + int.from_bytes(sha256(name.encode()).digest()[:4]) % 20_000


async def main(reactor: Any, me: str, others: list[str], directory: Path) -> None:
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor))
        # a store per user
        store = await stack.enter_async_context(open_store(directory / f"{me}.chat", reactor))
        writer = await store.writer(encoding="json")

        past = await store.timeline(200, encoding="json")
        for entry in reversed(past.entries):
            await show(terminal, entry)

        present: set[bytes] = set()

        def greet(notice: Notice) -> None:
            match notice:
                case PeerUp(peer) if peer.id not in present:
                    present.add(peer.id)
                    terminal.put(f"info> connected to {peer.agent}")
                case WayFailed(_, reason):
                    terminal.put(f"info> {reason}")
                case PeerDown(peer, code) if code != ByeCode.DUPLICATE:  # not just one of two connections
                    present.discard(peer.id)

        node = await stack.enter_async_context(Node(reactor, store, network="persisted-chat", agent=me))
        node.subscribe(greet)
        hosts = ["127.0.0.1"]
        try:
            lan = Lan(me, names_only=True)
        except MissingExtraError as error:
            terminal.put(f"info> on this machine alone: {error}")
            await node.listen(f"tcp:{to_port(me)}:interface=127.0.0.1")
        else:
            await node.listen(f"tcp:{to_port(me)}")
            node.join(lan, tell_peers=False)
            hosts.append("{}.local")
        for name in others:
            for host in hosts:
                node.connect(f"tcp:{host.format(name)}:{to_port(name)}")  # dialled until it answers

        news = store.read(after=past.cursor, live=True, encoding="json")
        await first_of(speak(terminal, writer, me), listen(terminal, news, writer.author))


async def speak(terminal: Terminal, writer: Writer, me: str) -> None:
    async for line in terminal:
        if line.strip() == "/quit":
            return
        if line.strip():
            await writer.append({"username": me, "message": line})


async def listen(terminal: Terminal, news: Reader, own: bytes) -> None:
    async for entry in news:
        if entry.author != own:  # my own words are on the screen already
            await show(terminal, entry)


async def show(terminal: Terminal, entry: Entry) -> None:
    match entry.payload:
        case {"username": str(name), "message": str(text)}:
            # Others wrote this: the terminal is given one line, in which nothing moves the cursor or turns text around.
            await terminal.write(f"{name}> {text}")


def arguments() -> tuple[str, list[str], Path]:
    parser = argparse.ArgumentParser(description="Chat with people by name.")
    parser.add_argument("me", metavar="YOUR-NAME")
    parser.add_argument("others", metavar="OTHER-NAME", nargs="*")
    parser.add_argument("--dir", type=Path, default=Path(), help="where the stores are (default: here)")
    given = parser.parse_args()
    owners: dict[int, str] = {}
    for name in [given.me, *given.others]:
        if not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?", name):
            parser.error(f"{name!r} is no name: use letters, digits, and - between them")
        if owners.setdefault(to_port(name), name) != name:
            parser.error(f"{owners[to_port(name)]} and {name} have the same port; choose another name")
    return given.me, [name for name in given.others if name != given.me], given.dir


if __name__ == "__main__":
    react(foreground(main), arguments())
