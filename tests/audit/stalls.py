"""Members that make a store's thread work: how long own appends wait for it, and another member's WANT and PING.

As in :mod:`tests.audit.allowance`: a node, its attackers and an honest peer are three processes.  The node appends an
entry of its own ten times a second and says how long each took; the honest peer asks for a stored entry as often, and
sends its PINGs.  The attacks are those of that module, and some on rows that are made for it, which the node is given
first.  What counts is the longest, less the time for which the thread that waited longest for a core had none.

    python -m tests.audit.stalls KIND [CONNECTIONS [SECONDS]]

prints the figures of one attack.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gossiplog.gossip.messages import Have, HaveItem, Lazy, Message, Ping, Pong, Refuse, Want, WantItem
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, drop_payloads
from tests.audit import allowance
from tests.audit.allowance import KINDS, NETWORK, STORED_AUTHORS, _member, _messages, _one_entry, _stored
from tests.audit.case import Case, Outcome
from tests.members import Member
from tests.processes import environment

EVERY_SECONDS = 0.1
BOUNDS = {1: 0.1, 24: 0.3}
"""For so many attackers, as of a PONG; an answer to a WANT may take twice as long: it is read, and then sent."""

FULL_ROWS = 300
SMALL_ROWS = 3 * 4096


# -- rows that are made for it ---------------------------------------------------------------------------------------


def _full(number: int) -> Keypair:
    return Keypair((10**6 + number).to_bytes(32, "big"))


def _full_rows(member: Member) -> None:
    """Logs of one row each, with as many entries as a row may have and hardly a byte in them."""
    for number in range(FULL_ROWS):
        pair = _full(number)
        member.say(*build(pair, Head(0, genesis_id(pair.author)), [b""] * 4096)[0])
    member.alive()


SMALL = Keypair((2 * 10**6).to_bytes(32, "big"))


def _small_rows(member: Member) -> None:
    """A log of very many rows that are never merged, since each lacks a payload: nobody else has it."""
    head, rows = Head(0, genesis_id(SMALL.author)), []
    for number in range(SMALL_ROWS):
        [row], head = build(SMALL, head, [number.to_bytes(2, "big")])
        rows.append(drop_payloads(row, [row.first]))
    member.say(Have((HaveItem(1, SMALL_ROWS, SMALL.author),)))
    while True:
        for message in member.hear():
            if isinstance(message, Ping):
                member.say(Pong(message.token, message.root))
            elif isinstance(message, Want) and message.items[0].author == SMALL.author:
                if not message.items[0].holes:
                    member.say(Have((HaveItem(1, 0),)))
                    continue
                for start in range(0, SMALL_ROWS, 64):
                    member.say(*rows[start : start + 64])
                member.alive()
                return


ROWS: dict[str, Callable[[Member], None]] = {
    "ends-of-rows": _full_rows,
    "changing-wants": _full_rows,
    "small-rows": _small_rows,
    "rows-withheld": _small_rows,
    "wrong-payloads": _small_rows,
}


# -- what attackers send -----------------------------------------------------------------------------------------------


def _ends_of_rows(member: Member) -> Iterator[bytes]:
    """The last entry of each: all of the row is hashed for it."""
    names = [_full(number).author for number in range(FULL_ROWS)]

    def make() -> list[Message]:
        time.sleep(0.01)  # another WANT for what is being read takes the place of the first
        return [Want(tuple(WantItem(author, 4096) for author in names))]

    return _messages(member, make)


def _changing_wants(member: Member) -> Iterator[bytes]:
    names = tuple(_full(number).author for number in range(FULL_ROWS))

    def wants(first: int) -> Want:
        return Want(tuple(WantItem(author, first) for author in names))

    return _messages(member, lambda: [wants(4096), Lazy(names), wants(4095), Refuse(names), Lazy(names)])


def _wants_of_small(member: Member, holes: bool) -> Iterator[bytes]:
    def make() -> list[Message]:
        time.sleep(0.01)
        return [Want((WantItem(SMALL.author, 1, holes),))]

    return _messages(member, make)


def _wrong_payloads(member: Member) -> Iterator[bytes]:
    """Segments that belong where payloads are missing, and are not what was signed."""
    start = [0]

    def make() -> list[Message]:
        start[0] = (start[0] + 4096) % SMALL_ROWS
        return [Segment(SMALL.author, start[0] + 1, 4096, bytes(32), bytes(64), b"\xc4\x01x" * 4096)]

    return _messages(member, make)


ATTACKS: dict[str, Callable[[Member], Iterator[bytes]]] = {
    **KINDS,
    "ends-of-rows": _ends_of_rows,
    "changing-wants": _changing_wants,
    "small-rows": lambda member: _wants_of_small(member, True),
    "rows-withheld": lambda member: _wants_of_small(member, False),
    "wrong-payloads": _wrong_payloads,
}


# -- processes ---------------------------------------------------------------------------------------------------------


def _starved(node: int) -> dict[str, float]:
    """For how long each thread of a process was ready to run and had no core."""
    found = {}
    for task in Path(f"/proc/{node}/task").glob("*/schedstat"):
        try:
            found[task.parent.name] = int(task.read_text().split()[1]) / 1e9
        except OSError:  # it ended, or this is another system
            continue
    return found


class Took(NamedTuple):
    """How long something took, and for how long of that a thread had no core, in seconds."""

    seconds: float
    starved: float

    @property
    def own(self) -> float:
        """What the node has to answer for."""
        return max(0.0, self.seconds - self.starved)


class Watch:
    """I began when I was made."""

    def __init__(self, node: int) -> None:
        self._node = node
        self._since = time.monotonic()
        self._before = _starved(node)

    def took(self) -> Took:
        """Until now."""
        seconds = time.monotonic() - self._since
        after = _starved(self._node)
        return Took(seconds, max((after[task] - self._before.get(task, 0.0) for task in after), default=0.0))


def node(place: str) -> None:
    """A node that prints its port, and then for each append how long it took."""
    from twisted.internet import reactor, task
    from twisted.internet.defer import ensureDeferred

    from gossiplog import Node, open_store

    store = open_store(place, reactor=reactor)
    running = Node(reactor, store, network=NETWORK)

    async def go() -> None:
        writer = await store.writer()
        address = await running.listen("tcp:0:interface=127.0.0.1")
        print(address.rpartition(":")[2], flush=True)
        while True:
            watch = Watch(os.getpid())
            await writer.append(b"x")
            print(*watch.took(), flush=True)
            await task.deferLater(reactor, EVERY_SECONDS)

    ensureDeferred(go())
    reactor.run()  # type: ignore[attr-defined]


def feed(port: int, rows: Iterable[Callable[[Member], None]]) -> None:
    """Give a node what is asked for later."""
    feeder = _member(port)
    feeder.socket.settimeout(60)
    for start in range(0, STORED_AUTHORS, 100):
        feeder.say(*[_one_entry(_stored(number)) for number in range(start, start + 100)])
    for give in rows:
        give(feeder)
    feeder.alive()
    feeder.close()
    time.sleep(2)


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.audit.stalls", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            yield process
        finally:
            process.kill()


class Honest:
    """I am the honest peer of the process ``node``, and ask it for things."""

    def __init__(self, port: int, node: int) -> None:
        self.member = _member(port)
        self._node = node
        self._pings: dict[int, Watch] = {}
        self._want: tuple[bytes, Watch] | None = None
        self._number = 0

    def ask(self, seconds: float) -> dict[str, list[Took]]:
        """Go on for so long; return how long each answer took, and so far each that has not come in time."""
        member, pings = self.member, self._pings
        found: dict[str, list[Took]] = {"PONG": [], "WANT": []}
        next_at = time.monotonic()
        end = next_at + seconds
        while (now := time.monotonic()) < end:
            if now >= next_at:
                next_at = max(next_at + EVERY_SECONDS, now)
                self._number += 1
                pings[self._number] = Watch(self._node)
                member.say(Ping(self._number))
                if self._want is None:
                    author = _stored(self._number % STORED_AUTHORS).author
                    self._want = author, Watch(self._node)
                    member.say(Want((WantItem(author, 1),)))
            if select.select([member.socket], [], [], max(0.0, next_at - time.monotonic()))[0]:
                for message in member.listen():
                    if isinstance(message, Pong) and message.token in pings:
                        found["PONG"].append(pings.pop(message.token).took())
                    elif isinstance(message, Ping):
                        member.say(Pong(message.token, message.root))
                    elif isinstance(message, Segment) and self._want and message.author == self._want[0]:
                        found["WANT"].append(self._want[1].took())
                        self._want = None
        late = {"PONG": [*pings.values()], "WANT": [self._want[1]] if self._want is not None else []}
        for kind, watches in late.items():
            taken = [watch.took() for watch in watches]
            found[kind] += [took for took in taken if took.seconds > 4 * EVERY_SECONDS]
        return found


def measure(port: int, node: int, seconds: float) -> dict[str, list[Took]]:
    """Ask for so long the process ``node``; what never came took until the end."""
    honest = Honest(port, node)
    try:
        return honest.ask(seconds)
    finally:
        honest.member.close()


class Appends:
    """I read what the node says of its appends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.taken: list[Took] = []
        self._node = process.pid
        self._last = Watch(self._node)
        self._out = process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._out is not None
        for line in self._out:
            self._last = Watch(self._node)
            self.taken.append(Took(*map(float, line.split())))

    def so_far(self) -> list[Took]:
        """Since the last time; one that takes for long already, too."""
        taken, self.taken = self.taken, []
        since = self._last.took()
        return [*taken, since] if since.seconds > 10 * EVERY_SECONDS else taken


class Figures:
    """The longest of each, without attackers and with them."""

    def __init__(self, kind: str, connections: int, seconds: float) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="gossiplog-audit-") as place,
            _process("node", place) as victim,
        ):
            assert victim.stdout is not None
            port = int(victim.stdout.readline())
            appends = Appends(victim)
            feed(port, [ROWS[kind]] if kind in ROWS else [])
            appends.so_far()
            self.idle = measure(port, victim.pid, 2.0)
            self.idle["append"] = appends.so_far()
            with _process("attack", str(port), kind, str(connections)):
                time.sleep(2)
                appends.so_far()
                before, begun = allowance.cpu_seconds(victim), time.monotonic()
                self.busy = measure(port, victim.pid, seconds)
                self.busy["append"] = appends.so_far()
                self.share = (allowance.cpu_seconds(victim) - before) / (time.monotonic() - begun)

    def worst(self, kind: str) -> float:
        """The longest for what the node did."""
        return max((took.own for took in self.busy[kind]), default=float("inf"))

    def held(self, bound_seconds: float) -> bool:
        """Whether nothing took longer."""
        return all(self.worst(kind) <= bound_seconds * (2 if kind == "WANT" else 1) for kind in self.busy)

    def __str__(self) -> str:
        parts = []
        for kind, taken in self.busy.items():
            longest = max((took.seconds for took in taken), default=float("inf"))
            idle = max((took.seconds for took in self.idle[kind]), default=float("inf"))
            parts.append(
                f"{kind} {1000 * self.worst(kind):.0f} ms (with want of a core {1000 * longest:.0f}, "
                f"idle {1000 * idle:.0f}, {len(taken)} of them)"
            )
        return f"longest {', '.join(parts)}; node {100 * self.share:.0f} % of a core"


def _case(kind: str, connections: int) -> Case:
    bound = BOUNDS[connections]

    def run(seconds: float) -> Outcome:
        figures = Figures(kind, connections, seconds)
        return Outcome(str(figures), figures.held(bound))

    return Case(
        f"stall-{kind}-{connections}",
        f"{connections} members at full speed with {kind}; own appends, and an honest peer's PINGs and WANTs",
        f"{1000 * bound:.0f} ms, of a WANT {2000 * bound:.0f}",
        run,
    )


CASES = tuple(_case(kind, many) for kind in ATTACKS for many in BOUNDS)


def main(arguments: list[str]) -> None:
    """Be one of the processes, or run one attack."""
    if arguments[0] == "node":
        node(arguments[1])
    elif arguments[0] == "attack":
        KINDS.update(ATTACKS)
        allowance.attack(int(arguments[1]), arguments[2], int(arguments[3]))
    else:
        connections = int(arguments[1]) if len(arguments) > 1 else 1
        seconds = float(arguments[2]) if len(arguments) > 2 else 5
        print(arguments[0], connections, Figures(arguments[0], connections, seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
