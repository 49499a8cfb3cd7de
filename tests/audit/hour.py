"""All that members can do, for as long as one likes: whether anything grows, or takes longer and longer.

A node, 24 members and an honest peer, as in :mod:`tests.audit.stalls`.  Each member is of another kind, and of the next
one after a while, with a key of its own.  The honest peer stays for all the time.  Printed is a line for each part of
it; what counts are the longest PONG, append and answer to a WANT of all, and what the process of the node, its log and
its store took.

    python -m tests.audit --seconds 3600 hour
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from tests.audit import stalls
from tests.audit.allowance import KINDS, NETWORK, _member, cpu_seconds
from tests.audit.case import Case, Outcome
from tests.audit.stalls import ATTACKS, BOUNDS, EVERY_SECONDS, ROWS, Honest, Took, Watch, feed
from tests.members import Member, resident_bytes
from tests.processes import environment

MEMBERS = 24
KIND_SECONDS = 30.0
PART_SECONDS = 15.0
MAX_MEMORY = 256 << 20
MAX_DISK = 4 << 30
PROCESS_BYTES = 150 << 20
"""A node without peers that holds little, and what Python does not give back."""

LOG_BYTES_A_DAY = 2_000_000


def node(place: str) -> None:
    """Print the port, then of each append how long it took, and what the store holds; log as a program does."""
    from twisted.internet import reactor, task
    from twisted.internet.defer import ensureDeferred
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from gossiplog import Node, Quotas, open_store

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    store = open_store(place, reactor=reactor)
    bounds = Quotas(bytes=MAX_DISK)
    running = Node(reactor, store, network=NETWORK, max_memory=MAX_MEMORY, quotas=bounds)

    async def go() -> None:
        writer = await store.writer()
        address = await running.listen("tcp:0:interface=127.0.0.1")
        print(address.rpartition(":")[2], flush=True)
        while True:
            watch = Watch(os.getpid())
            await writer.append(b"x")
            usage = running.usage
            print(*watch.took(), usage.memory_bytes, usage.disk_bytes, flush=True)
            await task.deferLater(reactor, EVERY_SECONDS)

    ensureDeferred(go())
    reactor.run()  # type: ignore[attr-defined]


def attack(port: int) -> None:
    """Be so many members, each of the next kind after a while or when it is sent away."""
    os.nice(5)
    kinds: Iterator[Callable[[Member], Iterator[bytes]]] = cycle(ATTACKS.values())
    streams: dict[int, tuple[Member, Iterator[bytes], list[bytes], float]] = {}
    while True:
        while len(streams) < MEMBERS:
            try:
                member = _member(port)
            except OSError:
                time.sleep(0.2)
                break
            member.socket.setblocking(False)
            until = time.monotonic() + KIND_SECONDS * (0.5 + len(streams) / MEMBERS)
            streams[member.socket.fileno()] = member, next(kinds)(member), [], until
        found = [member.socket for member, *_ in streams.values()]
        for each in {*(ready := select.select(found, found, [], 1))[0], *ready[1]}:
            member, stream, left, until = streams[each.fileno()]
            try:
                if each in ready[0] and not each.recv(1 << 20):
                    raise ConnectionError("closed")
                if time.monotonic() > until:
                    raise ConnectionError("it was long enough")
                if each in ready[1]:
                    piece = left.pop() if left else next(stream)
                    done = each.send(piece)
                    if done < len(piece):
                        left.append(piece[done:])
            except BlockingIOError:
                left.append(piece)
            except OSError:
                del streams[each.fileno()]
                each.close()


class Part(NamedTuple):
    """What was measured of a part of the time."""

    taken: dict[str, list[Took]]
    resident: int
    counted: int
    disk: int
    log: int
    share: float

    def worst(self, kind: str) -> float:
        """The longest for what the node did."""
        return max((took.own for took in self.taken[kind]), default=PART_SECONDS)

    def __str__(self) -> str:
        longest = ", ".join(
            f"{kind} {1000 * self.worst(kind):.0f} ms of "
            f"{1000 * max((took.seconds for took in taken), default=PART_SECONDS):.0f} ({len(taken)})"
            for kind, taken in self.taken.items()
        )
        return (
            f"{longest}; {self.resident / 1e6:.0f} MB resident, {self.counted / 1e6:.0f} MB of authors, "
            f"{self.disk / 1e6:.0f} MB on disk, {self.log:,} bytes of log; {100 * self.share:.0f} % of a core"
        )


class Node:
    """I am the node's process, and what it said of itself."""

    def __init__(self, place: str) -> None:
        self.log = Path(place) / "log"
        command = [sys.executable, "-m", "tests.audit.hour", "node", str(Path(place) / "store")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment()
            )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.counted = self.disk = 0
        self._appends: list[Took] = []
        self._last = Watch(self.process.pid)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            seconds, starved, counted, disk = map(float, line.split())
            self.counted, self.disk, self._last = int(counted), int(disk), Watch(self.process.pid)
            self._appends.append(Took(seconds, starved))

    def appends(self) -> list[Took]:
        """Since the last time; one that takes for long already, too."""
        taken, self._appends = self._appends, []
        since = self._last.took()
        return [*taken, since] if since.seconds > 10 * EVERY_SECONDS else taken


def parts(running: Node, seconds: float) -> Iterator[Part]:
    """Measure for so long."""
    pid = running.process.pid
    honest = Honest(running.port, pid)
    honest.member.socket.settimeout(60)
    running.appends()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before, begun = cpu_seconds(running.process), time.monotonic()
        taken = honest.ask(PART_SECONDS)
        share = (cpu_seconds(running.process) - before) / (time.monotonic() - begun)
        taken["append"] = running.appends()
        yield Part(
            taken,
            resident_bytes(pid),
            running.counted,
            running.disk,
            running.log.stat().st_size,
            share,
        )


def run(seconds: float) -> Outcome:
    """Everybody at once, for so long."""
    bound = BOUNDS[MEMBERS]
    found: list[Part] = []
    sent_away = ""
    with tempfile.TemporaryDirectory(prefix="gossiplog-audit-") as place:
        running = Node(place)
        attacker: subprocess.Popen[bytes] | None = None
        try:
            feed(running.port, dict.fromkeys(ROWS.values()))
            attacker = subprocess.Popen(
                [sys.executable, "-m", "tests.audit.hour", "attack", str(running.port)], env=environment()
            )
            time.sleep(2)
            begun = time.monotonic()
            for part in parts(running, seconds):
                found.append(part)
                load = os.getloadavg()[0]
                print(f"    {time.monotonic() - begun:5.0f} s, load {load:.1f}: {part}", flush=True)
        except (ConnectionError, TimeoutError) as error:
            sent_away = f"; the honest peer was sent away: {error}"
        finally:
            for process in filter(None, (attacker, running.process)):
                process.kill()
                process.wait()
        log = running.log.read_text(errors="replace")
    if "Traceback" in log:
        print(log[-4000:])
    if not found:
        return Outcome(f"nothing was measured{sent_away}", False)
    taken = {kind: [took for part in found for took in part.taken[kind]] for kind in found[0].taken}
    most = max(found, key=lambda part: part.resident)
    whole = most._replace(
        taken=taken, log=found[-1].log, share=sum(part.share for part in found) / len(found)
    )
    held = all(part.worst(kind) <= bound * (2 if kind == "WANT" else 1) for part in found for kind in taken)
    held = held and all(
        part.resident <= PROCESS_BYTES + MAX_MEMORY + 2 * part.counted and part.disk <= 1.2 * MAX_DISK
        for part in found
    )
    held = held and found[-1].log <= 100_000 + LOG_BYTES_A_DAY * seconds / 86_400 and "Traceback" not in log
    return Outcome(f"longest {whole}{sent_away}", held and not sent_away)


CASES = (
    Case(
        "hour",
        f"{MEMBERS} members of all kinds at full speed for {KIND_SECONDS:.0f} s each; own appends, an honest peer's "
        "PINGs and WANTs, and what the node takes",
        f"{1000 * BOUNDS[MEMBERS]:.0f} ms, of a WANT {2000 * BOUNDS[MEMBERS]:.0f}; {PROCESS_BYTES >> 20} MiB, its "
        f"max_memory of {MAX_MEMORY >> 20} and twice what authors count; {LOG_BYTES_A_DAY / 1e6:.0f} MB of log a day",
        run,
    ),
)


def main(arguments: list[str]) -> None:
    """Be one of the processes."""
    KINDS.update(stalls.ATTACKS)
    if arguments[0] == "node":
        node(arguments[1])
    else:
        attack(int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
