"""One key on two laptops: how a log is forked, who notices, and how its author goes on.

    python two_laptops.py

Ann copies her notes to a new laptop and writes on both.  Bob meets one of them, cleo the other; then bob and cleo meet.
Four nodes on ports of this machine tell the story in a second; with --dir DIR their stores stay to be looked at:

    gossiplog forks --store DIR/bob
"""

import argparse
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.task import react

from gossiplog import (
    AuthorForked,
    ForkedWriterError,
    ForkProof,
    Network,
    NewEntries,
    Node,
    Store,
    StoreCopiedError,
    Writer,
    open_store,
    short_key,
)
from gossiplog.app.foreground import foreground
from gossiplog.app.printing import say


class Place:
    """A store with a node on it that others can dial."""

    def __init__(self, name: str, store: Store, node: Node, address: str, writer: Writer) -> None:
        self.name = name
        self.store = store
        self.node = node
        self.address = address
        self.writer = writer

    @classmethod
    async def open(cls, stack: AsyncExitStack, reactor: Any, network: Network, path: Path) -> "Place":
        store = await stack.enter_async_context(open_store(path, reactor))
        node = await stack.enter_async_context(Node(reactor, store, network=network))
        address = await node.listen("tcp:0:interface=127.0.0.1")
        return cls(path.name, store, node, address, await store.writer(encoding="utf-8"))

    async def holds(self, writer: Writer, seq: int) -> str:
        """Wait for an entry, and return the text of it."""
        while self.store.clock.seq(writer.author) < seq:
            await self.node.when(NewEntries)
        [entry] = [one async for one in self.store.read(writer.author, first=seq, last=seq, encoding="utf-8")]
        return str(entry.payload)

    async def knows_fork(self, author: bytes) -> ForkProof:
        """Wait for the proof; an application would subscribe to all notices and look for this one."""
        while author not in self.store.forks:
            await self.node.when(AuthorForked)
        return await self.store.fork_proof(author)


async def main(reactor: Any, directory: Path) -> None:
    network = Network.random()
    async with AsyncExitStack() as first:
        old = await Place.open(first, reactor, network, directory / "old-laptop")
        await old.writer.append_many(["buy milk", "call bob"])
    shutil.copytree(directory / "old-laptop", directory / "new-laptop")
    say("Ann wrote two notes, and copied the store to a new laptop.")

    async with AsyncExitStack() as stack:
        names = ("old-laptop", "new-laptop", "bob", "cleo")
        old, new, bob, cleo = [await Place.open(stack, reactor, network, directory / name) for name in names]
        ann = old.writer.author
        try:
            await new.writer.append("from the new one")
        except StoreCopiedError as error:
            say(f"The copy refuses to append: {error.reason}.")
        say("She says that the old one is out of use, and it is not.")
        await new.store.recovered()  # what `gossiplog recover --alone` does
        old.node.connect(bob.address)
        new.node.connect(cleo.address)
        for place, friend in ((old, bob), (new, cleo)):
            await place.writer.append(f"written on the {place.name}")
            say(f"{friend.name} has note 3: {await friend.holds(old.writer, 3)}")

        bob.node.connect(cleo.address)
        proof = await bob.knows_fork(ann)
        for place in (old, new, cleo):
            await place.knows_fork(ann)
        say(f"Bob and cleo meet.  All four know now that {short_key(ann)} has two notes {proof.seq}.")
        for friend in (bob, cleo):
            note = await friend.holds(old.writer, 3)
            say(f"{friend.name} keeps what came first ({note}), and takes no more of that log.")
        (directory / "ann.proof").write_bytes(proof.dump())
        ForkProof.load((directory / "ann.proof").read_bytes())
        say("The proof is in a file; whoever has it can check it, without a store.")

        await bob.writer.append("hello from bob")
        say(f"Other logs go on.  The new laptop has: {await new.holds(bob.writer, 1)}")
        for place in (old, new):
            try:
                await place.writer.append("one more")
            except ForkedWriterError as error:
                say(f"On the {place.name}: {error}.")

        again = await new.store.writer("ann-2", encoding="utf-8")
        await again.append(f"I am ann. What I wrote as {short_key(ann)} counts up to note 2; I go on here.")
        say(f"cleo has note 1 of {short_key(again.author)}: {await cleo.holds(again, 1)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tell the story of a forked log.")
    parser.add_argument("--dir", type=Path, help="keep the stores here (default: they are removed)")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        react(foreground(main), (given.dir or Path(temporary),))
