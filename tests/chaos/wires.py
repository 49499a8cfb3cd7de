"""The wires between the parties of a soak, as one process: each takes connections at one port and leads to another.

    python -m tests.chaos.wires FROM:TO ...

Responsible for: passing bytes on, or not, as the lines on standard input say: ``NUMBER open``, ``NUMBER slow SECONDS``,
``NUMBER cut``, ``NUMBER hole``; ``count`` prints how many bytes each wire has passed on, there and back.
Must not know: what the bytes are.
Invariant: while a wire is a hole nothing gets through it, and nobody is told; what waited is lost with the connection.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

CHUNK_BYTES = 65_536


class Wire:
    """I am one wire."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.state, self.delay = "open", 0.0
        self.passed = [0, 0]
        self.fell_in: set[asyncio.StreamWriter] = set()
        self.ends: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        await asyncio.start_server(self._connected, "127.0.0.1", self.source)

    def be(self, state: str, delay: float = 0.0) -> None:
        """Change; connections do not survive a cut, nor a hole in which something of theirs was lost."""
        self.state, self.delay = state, delay
        for end in tuple(self.ends if state == "cut" else self.fell_in if state == "open" else ()):
            end.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.state == "cut":
                raise ConnectionError
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pass_on(reader, back, writer, 0), self._pass_on(there, writer, back, 1))

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        way: int,
    ) -> None:
        self.ends.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while some := await reader.read(CHUNK_BYTES):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.state == "hole":
                    self.fell_in.update((writer, other))
                    continue
                self.passed[way] += len(some)
                writer.write(some)
                await writer.drain()
        self.ends.discard(writer)
        self.fell_in.discard(writer)
        writer.close()


async def main(pairs: list[str]) -> None:
    """Pass on until standard input ends."""
    wires = [Wire(*map(int, pair.split(":"))) for pair in pairs]
    for wire in wires:
        await wire.start()
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.split():
            case ["count"]:
                print(json.dumps([wire.passed for wire in wires]), flush=True)
            case [number, state]:
                wires[int(number)].be(state)
            case [number, state, delay]:
                wires[int(number)].be(state, float(delay))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
