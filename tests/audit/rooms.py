"""Members of a room, and strangers, who flood it, say half of something, do not read, and guess tickets.

The room is a process, two honest members in another one hear each other through it, and this one attacks, from 50
addresses of 127.0.0.0/8, with the key of the room.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog import Node, Room, Store
from gossiplog.discovery.room.key import RoomKey
from gossiplog.discovery.room.messages import Meet, Sit, encode
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.wire.channel import Channel
from tests.audit.case import Case, Outcome
from tests.processes import environment

KEY = RoomKey(bytes(range(32)))
NETWORK = "77" * 32
EVERY_SECONDS = 0.1
LATE_SECONDS = 3.0
"""The bound: what one honest member writes the other has in so long, whatever goes on."""

MOST_BYTES = 64e6
"""And the room grows by no more."""

KINDS = ("silent", "half", "flood", "deaf", "ticket", "large")
PLACES = 50
MAX_OPEN = 1500


class Attacker:
    """One hostile connection."""

    def __init__(self, port: int, number: int) -> None:
        self.kind = KINDS[number % len(KINDS)]
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        self.socket.bind((f"127.0.1.{number % PLACES + 1}", 0))
        self.socket.connect_ex(("127.0.0.1", port))
        self.channel = Channel(True, os.urandom(32), KEY.psk)
        self.is_in = False

    def begin(self) -> None:
        """Say what it says first."""
        start = self.channel.start()
        first = {"silent": b"", "half": start[:20], "ticket": b"\0" + os.urandom(32)}
        self.say(first.get(self.kind, start))

    def say(self, data: bytes) -> None:
        """Write what can be written."""
        with suppress(OSError):
            self.socket.send(data)

    def heard(self) -> bool:
        """Go on; False when it was thrown out."""
        if self.kind == "deaf" and self.is_in:
            return True
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        if self.kind not in ("flood", "deaf", "large"):
            return True
        self.channel.receive(data)
        self.say(self.channel.outgoing())
        if self.channel.established and not self.is_in:
            self.is_in = True
            self.say(self.channel.send(encode(Sit(b"attack".ljust(32), bytes(128)))))
            if self.kind == "large":
                self.say(b"\xff\xff" + bytes(30_000))
            if self.kind == "flood":
                for _ in range(200):
                    self.say(self.channel.send(encode(Meet(os.urandom(8), True))))
        return True


def attack(port: int, seconds: float, look: Any) -> int:
    """Keep as many hostile connections as there can be; returns how many there were."""
    opened: deque[Attacker] = deque()
    count = 0
    end = time.monotonic() + seconds
    poll = select.poll()
    by_number: dict[int, Attacker] = {}

    def close(attacker: Attacker) -> None:
        with suppress(KeyError):
            poll.unregister(attacker.socket)
        by_number.pop(attacker.socket.fileno(), None)
        attacker.socket.close()

    while time.monotonic() < end:
        for _ in range(20):
            attacker = Attacker(port, count)
            count += 1
            by_number[attacker.socket.fileno()] = attacker
            poll.register(attacker.socket, select.POLLIN | select.POLLOUT)
            opened.append(attacker)
        while len(opened) > MAX_OPEN:
            close(opened.popleft())
        for number, event in poll.poll(20):
            attacker = by_number[number]
            if event & select.POLLOUT:
                poll.modify(number, select.POLLIN)
                attacker.begin()
            elif not attacker.heard():
                close(attacker)
                opened.remove(attacker)
        look()
    for attacker in opened:
        attacker.socket.close()
    return count


def honest(endpoint: str, seconds: float) -> None:
    """Two members, of whom one writes; prints how long each entry took to be at the other."""
    from twisted.internet import task

    async def main(reactor: Any) -> None:
        nodes = []
        for number in (1, 2):
            backend = MemoryBackend(f"member {number}")
            store = Store(lambda backend=backend: Logs(backend), reactor, f"member {number}")  # type: ignore[misc]
            node = Node(reactor, store, network=NETWORK)
            node.join(Room(f"{endpoint}:bindAddress=127.0.2.{number}#{KEY.text}"))
            nodes.append(node)
        one, other = nodes
        while not (one.peers and other.peers):
            await task.deferLater(reactor, 0.01)
        print("ready", flush=True)
        writer = await one.store.writer(encoding="utf-8")
        took, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            seq = await writer.append("x" * 1000)
            while other.store.clock.seq(writer.author) < getattr(seq, "seq", seq):
                await task.deferLater(reactor, 0.002)
            took.append(time.monotonic() - began)
            await task.deferLater(reactor, EVERY_SECONDS)
        print(json.dumps({"most": max(took), "count": len(took)}), flush=True)
        for node in nodes:
            await node.stop()
            await node.store.close()

    task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))


def resident(number: int) -> int:
    """The memory of a process, in bytes."""
    for line in Path(f"/proc/{number}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def run(seconds: float) -> Outcome:
    """Attack a room while two members use it."""
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    how["env"] = environment()
    room = [sys.executable, "-m", "gossiplog.app.cli", "room", "--key", KEY.text]
    with subprocess.Popen([*room, "--listen", "tcp:0:interface=127.0.0.1"], **how) as serving:
        try:
            assert serving.stdout is not None
            ready = serving.stdout.readline()
            [endpoint] = json.loads(ready[ready.index("{") :])["listening"]
            members = [sys.executable, "-m", "tests.audit.rooms", endpoint, str(seconds)]
            with subprocess.Popen(members, **how) as using:
                assert using.stdout is not None
                using.stdout.readline()
                before = most = resident(serving.pid)

                def look() -> None:
                    nonlocal most
                    most = max(most, resident(serving.pid))

                count = attack(int(endpoint.rpartition(":")[2]), seconds, look)
                found = json.loads(using.stdout.readline() or '{"most": 1e9, "count": 0}')
        finally:
            serving.terminate()
    grown = most - before
    held = found["most"] <= LATE_SECONDS and grown <= MOST_BYTES
    said = f"{found['most']:.2f} s at most for {found['count']} entries, {grown / 1e6:.1f} MB more"
    return Outcome(f"{said}, {count} connections", held)


CASES = [
    Case(
        "room",
        "members of a room and strangers flood it, say half of something, read nothing, guess tickets",
        f"entries go through it in {LATE_SECONDS:.0f} s, and it grows by {MOST_BYTES / 1e6:.0f} MB at most",
        run,
    )
]

if __name__ == "__main__":
    honest(sys.argv[1], float(sys.argv[2]))
