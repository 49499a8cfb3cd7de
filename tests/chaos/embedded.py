"""A program with a node in it: it appends all the time, and says what is on disk.

    python -m tests.chaos.embedded STORE NAME PORT QUOTAS [PEER-PORT ...]

Responsible for: the lines ``begun AUTHOR SEQ COPIED``, ``ack AUTHOR SEQ NAME`` and ``failed ERROR``; doing what the
lines on standard input say: ``burst``, ``unfollow AUTHOR``, ``block AUTHOR``, ``want AUTHOR``, ``quiet``.
Must not know: what is done to it.
Invariant: an acknowledgement is printed once the append fired, and never before.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from twisted.internet import asyncioreactor

NETWORK = "chaos"
STEP_SECONDS = 0.2
MOST_SMALL = 20
SECOND = 0.1
"""How often it is the second of the two writers that appends."""
BURST = (200_000, 10, 200_000, 200_000, *[10] * 40)
"""Bytes of the entries of a burst: enough for both journals of the store and the way between them."""


class Program:
    """I am the program."""

    def __init__(self, store: Any, node: Any, writers: list[Any], name: str) -> None:
        self.store, self.node, self.writers, self.name = store, node, writers, name
        self.random = Random(name)
        self.count = 0
        self.quiet = False

    async def append(self, sizes: list[int]) -> None:
        """Append some entries, each with a name of its own, and say which are there."""
        payloads = []
        for size in sizes:
            self.count += 1
            payloads.append(b"%s.%d " % (self.name.encode(), self.count) + b"x" * size)
        writer = self.writers[self.random.random() < SECOND]
        seqs = await writer.append_many(payloads)
        author = writer.author.hex()
        lines = [
            f"ack {author} {seq} {p.split()[0].decode()}\n" for seq, p in zip(seqs, payloads, strict=True)
        ]
        os.write(1, "".join(lines).encode())

    async def work(self) -> None:
        """Append at an uneven pace until told to be quiet."""
        from gossiplog.errors import GossiplogError

        while not self.quiet:
            try:
                if not self.store.copied:
                    await self.append([self.random.randrange(200)] * self.random.randrange(1, MOST_SMALL))
            except GossiplogError as error:
                print(f"failed {type(error).__name__} {error}", flush=True)
                await asyncio.sleep(1)
            await asyncio.sleep(self.random.expovariate(1 / STEP_SECONDS))

    async def told(self, line: str) -> None:
        """Do what a line says."""
        from gossiplog.errors import GossiplogError

        try:
            match line.split():
                case ["burst"]:
                    for size in BURST:
                        await self.append([size])
                case ["unfollow", author]:
                    await self.node.unfollow(bytes.fromhex(author))
                case ["block", author]:
                    await self.node.block(bytes.fromhex(author))
                case ["want", author]:
                    await self.node.unblock(bytes.fromhex(author))
                    await self.node.follow(bytes.fromhex(author))
                case ["quiet"]:
                    self.quiet = True
        except GossiplogError as error:
            print(f"failed {type(error).__name__} {error}", flush=True)


async def main(path: str, name: str, port: str, quotas: str, *peers: str) -> None:
    """Run until standard input ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR2, lambda: [task.print_stack() for task in asyncio.all_tasks()])
    faulthandler.register(signal.SIGUSR1)  # who does not end is asked where it is
    asyncioreactor.install(loop)
    from twisted.internet import reactor

    reactor.startRunning(installSignalHandlers=False)  # type: ignore[attr-defined]
    from gossiplog import GossiplogError, Node, Quotas, open_store

    async with AsyncExitStack() as opened:
        try:
            store = await opened.enter_async_context(open_store(path, reactor, wait=20))
            bounds = Quotas(**json.loads(quotas))
            node = await opened.enter_async_context(Node(reactor, store, network=NETWORK, quotas=bounds))
            writers = [await store.writer(), await store.writer("second")]
            for writer in writers:
                author, seq = writer.author, store.clock.seq(writer.author)
                print("begun", author.hex(), seq, store.copied or "-", flush=True)
            await node.listen(f"tcp:{port}:interface=127.0.0.1")
        except GossiplogError as error:  # the disk is full already, or there is no descriptor
            sys.exit(f"failed {type(error).__name__} {error}")
        for peer in peers:
            node.connect(f"tcp:127.0.0.1:{peer}")
        program = Program(store, node, writers, name)
        working = asyncio.ensure_future(program.work())
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await program.told(line)
        program.quiet = True
        await working
        print("stops", len(node.peers), flush=True)
    print("stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
