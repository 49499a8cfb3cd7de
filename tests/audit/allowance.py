"""Members that make a node work for nothing, or for something, as fast as they can: how long an honest peer waits.

A node, its attackers and an honest peer are three processes.  The honest peer sends a PING every 50 ms; measured is how
long the PONG takes, without attackers and with them.  What counts is the longest, in the steady state: an hour is not
waited for.

The attackers use up the machine too, and so may others.  While the node's thread is ready to run and has no core, it
cannot answer whatever it does: Linux says for how long that was (``schedstat``), and what is left of a PONG's time when
that is taken away is the *node's*.  A bound that only the former breaks holds, and the figure says that it was so.

    python -m tests.audit.allowance KIND [CONNECTIONS [SECONDS]]

prints the figures of one attack.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from gossiplog import limits
from gossiplog.gossip.messages import (
    Fork,
    Item,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.network import Network
from gossiplog.log.segment import Head, Segment, build
from gossiplog.wire.codec import encode
from tests.audit.case import Case, Outcome
from tests.members import Member, announced, authors
from tests.processes import environment

NETWORK = Network.from_key(bytes(range(32)))
STORED_AUTHORS = 5_000
PING_SECONDS = 0.05


def _member(port: int) -> Member:
    """A member with a node key of its own, whose messages go out at once."""
    member = Member(port, NETWORK.key, seconds=10)
    member.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return member


# -- what attackers send: endless bytes, in pieces -----------------------------------------------------------------


def _one_entry(pair: Keypair, payload: bytes = b"") -> Segment:
    return build(pair, Head(0, genesis_id(pair.author)), [encode_body(0, payload)])[0][0]


def _empty_records(member: Member) -> Iterator[bytes]:
    sender: Any = member.channel._sender
    while True:
        yield b"".join(b"\x00\x10" + sender.encrypt(b"") for _ in range(2000))


def _frames(member: Member, make: Callable[[], list[bytes]]) -> Iterator[bytes]:
    while True:
        yield member.channel.send(*make())


def _messages(member: Member, make: Callable[[], list[Message]]) -> Iterator[bytes]:
    return _frames(member, lambda: [encode(message) for message in make()])


def _bytewise(member: Member) -> Iterator[bytes]:
    while True:
        for byte in member.channel.send(encode(Ping(1))):
            yield bytes((byte,))


def _pings(member: Member) -> Iterator[bytes]:
    return _messages(member, lambda: [Ping(number) for number in range(2000)])


def _fingerprints(member: Member) -> Iterator[bytes]:
    numbers = count(0, 2)
    step = 2**256 // limits.MAX_RANGES

    def make() -> list[Message]:
        bounds = [(step * number).to_bytes(32, "big") for number in range(1, limits.MAX_RANGES)] + [b""]
        ranges = tuple(Range(bound, RangeKind.FINGERPRINT, bytes(16)) for bound in bounds)
        return [Ranges(next(numbers), ranges)]

    return _messages(member, make)


def _lists(member: Member) -> Iterator[bytes]:
    numbers = count(0, 2)

    def make() -> list[Message]:
        items = tuple(Item(author, 1, bytes(8)) for author in authors(limits.MAX_LIST_ITEMS))
        return [Ranges(next(numbers), (Range(b"", RangeKind.DIFFERENCES, items=items),))]

    return _messages(member, make)


def _announcements(member: Member) -> Iterator[bytes]:
    def make() -> list[Message]:
        return [*announced(authors(limits.MAX_HAVE_ITEMS), 1)]

    return _messages(member, make)


def _names(member: Member) -> Iterator[bytes]:
    names = tuple(authors(limits.MAX_WANT_ITEMS))
    return _messages(member, lambda: [Refuse(names), Lazy(names), Lazy((None,)), Want((WantItem(None, 1),))])


def _downloads(member: Member) -> Iterator[bytes]:
    stored = _stored_authors()
    starts = count(0, 1000)

    def make() -> list[Message]:
        start = next(starts) % STORED_AUTHORS
        return [Want(tuple(WantItem(author, 1) for author in stored[start : start + 1000]))]

    return _messages(member, make)


def _known(member: Member) -> Iterator[bytes]:
    segments = [encode(_one_entry(_stored(number))) for number in range(500)]
    return _frames(member, lambda: segments)


def _entries(member: Member) -> Iterator[bytes]:
    def make() -> list[Message]:
        return [_one_entry(Keypair(os.urandom(32))) for _ in range(100)]

    return _messages(member, make)


def _proofs(member: Member) -> Iterator[bytes]:
    def make() -> list[Message]:
        pair = Keypair(os.urandom(32))
        proof = build_proof(_one_entry(pair, b"left"), _one_entry(pair, b"right"))
        assert proof is not None
        return [Fork(proof)]

    return _messages(member, make)


KINDS: dict[str, Callable[[Member], Iterator[bytes]]] = {
    "empty-records": _empty_records,
    "tiny-frames": lambda member: _frames(member, lambda: [b"\x91\x40"] * 5000),
    "bytewise": _bytewise,
    "pings": _pings,
    "unknown-types": lambda member: _frames(
        member, lambda: [b"\x92\x40\xdd\x00\x0f\xff\x00" + b"\x00" * 0xFFF00]
    ),
    "fingerprints": _fingerprints,
    "lists": _lists,
    "announcements": _announcements,
    "names": _names,
    "downloads": _downloads,
    "known-entries": _known,
    "new-entries": _entries,
    "proofs": _proofs,
}


# -- processes -----------------------------------------------------------------------------------------------------


def _stored(number: int) -> Keypair:
    return Keypair(number.to_bytes(32, "big"))


@cache
def _stored_authors() -> list[bytes]:
    return [_stored(number).author for number in range(STORED_AUTHORS)]


def node(place: str) -> None:
    """A node with some thousand authors; it prints its port."""
    from twisted.internet import reactor

    from gossiplog import Node, open_store

    store = open_store(place, reactor=reactor)
    running = Node(reactor, store, network=NETWORK)

    def listening(address: str) -> None:
        print(address.rpartition(":")[2], flush=True)

    running.listen("tcp:0:interface=127.0.0.1").addCallback(listening)
    reactor.run()  # type: ignore[attr-defined]


def attack(port: int, kind: str, connections: int) -> None:
    """Send without end over so many connections; who is sent away comes back with another key."""
    os.nice(5)
    streams: dict[int, tuple[Member, Iterator[bytes], list[bytes]]] = {}
    opened = sent = 0
    report_at = time.monotonic() + 1
    while True:
        while len(streams) < connections:
            try:
                member = _member(port)
            except OSError:
                time.sleep(0.2)
                break
            member.socket.setblocking(False)
            streams[member.socket.fileno()] = (member, KINDS[kind](member), [])
            opened += 1
        found = [member.socket for member, _, _ in streams.values()]
        readable, writable, _ = select.select(found, found, [], 1)
        for each in {*readable, *writable}:
            member, stream, left = streams[each.fileno()]
            try:
                if each in readable and not each.recv(1 << 20):
                    raise ConnectionError("closed")
                if each in writable:
                    piece = left.pop() if left else next(stream)
                    done = each.send(piece)
                    sent += done
                    if done < len(piece):
                        left.append(piece[done:])
            except BlockingIOError:
                left.append(piece)
            except OSError:
                del streams[each.fileno()]
                each.close()
        if time.monotonic() >= report_at:
            report_at += 1
            print(opened, sent, flush=True)


class Took(NamedTuple):
    """How long a PONG took; for how long of that the node's thread had no core, and how long it worked, in seconds."""

    seconds: float
    starved: float
    worked: float

    @property
    def own(self) -> float:
        """What the node has to answer for."""
        return max(0.0, self.seconds - self.starved)


def _scheduled(node: int) -> tuple[float, float]:
    """For how long the first thread of a process ran, and for how long it was ready to run and had no core."""
    try:
        ran, starved = Path(f"/proc/{node}/task/{node}/schedstat").read_text().split()[:2]
    except OSError:  # not on this system
        return 0.0, 0.0
    return int(ran) / 1e9, int(starved) / 1e9


def measure(port: int, node: int, seconds: float) -> list[Took]:
    """Ping for so long the process ``node``; returns what each PONG took, one that never came to the end."""
    try:
        os.nice(-5)
    except OSError:
        pass
    member = _member(port)
    taken: list[Took] = []
    asked: dict[int, tuple[float, float, float]] = {}

    def took(number: int) -> Took:
        since, ran, starved = asked.pop(number)
        ran_now, starved_now = _scheduled(node)
        return Took(time.monotonic() - since, starved_now - starved, ran_now - ran)

    end = time.monotonic() + seconds
    next_at = time.monotonic()
    number = 0
    while (now := time.monotonic()) < end:
        if now >= next_at:
            number += 1
            asked[number] = (now, *_scheduled(node))
            member.say(Ping(number))
            next_at = max(next_at + PING_SECONDS, now)
        if select.select([member.socket], [], [], max(0.0, next_at - time.monotonic()))[0]:
            for message in member.listen():
                if isinstance(message, Pong) and message.token in asked:
                    taken.append(took(message.token))
                elif isinstance(message, Ping):
                    member.say(Pong(message.token, message.root))
    member.socket.close()
    late = [took(number) for number in tuple(asked)]
    return taken + [each for each in late if each.seconds > PING_SECONDS * 4]


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.audit.allowance", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            yield process
        finally:
            process.kill()


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """What a process took of all cores."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Figures:
    """Latencies without attackers and with them, and what it cost the node."""

    def __init__(self, kind: str, connections: int, seconds: float) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="gossiplog-audit-") as place,
            _process("node", place) as victim,
        ):
            assert victim.stdout is not None
            port = int(victim.stdout.readline())
            feeder = _member(port)
            for start in range(0, STORED_AUTHORS, 100):
                feeder.say(*[_one_entry(_stored(number)) for number in range(start, start + 100)])
            time.sleep(3)
            feeder.socket.close()
            self.idle = measure(port, victim.pid, 2.0)
            with _process("attack", str(port), kind, str(connections)) as attacker:
                time.sleep(2)
                before, begun = cpu_seconds(victim), time.monotonic()
                self.busy = measure(port, victim.pid, seconds)
                self.share = (cpu_seconds(victim) - before) / (time.monotonic() - begun)
                attacker.kill()
                lines = (attacker.stdout.read() if attacker.stdout else "").split("\n")
            self.opened, self.sent = map(int, (lines[-2] if len(lines) > 1 else "0 0").split())

    @property
    def worst(self) -> float:
        """The longest that a PONG took for what the node did."""
        return max(took.own for took in self.busy)

    def __str__(self) -> str:
        idle, busy = (sorted(took.seconds for took in each) for each in (self.idle, self.busy))
        figures = [1000 * each[int(len(each) * part)] for each in (busy, idle) for part in (0.5, 0.99)]
        longest = max(self.busy, key=lambda took: took.own)
        return (
            f"PONG {figures[0]:.1f} / {figures[1]:.0f} / {1000 * busy[-1]:.0f} ms (p50/p99/max of {len(busy)}; "
            f"idle {figures[2]:.1f} / {figures[3]:.0f} / {1000 * idle[-1]:.0f}), "
            f"the node's at most {1000 * longest.own:.0f} (worked {1000 * longest.worked:.0f}), "
            f"node {100 * self.share:.0f} % of a core, {self.sent / 1e6:.0f} MB, {self.opened} connections"
        )


def _case(kind: str, connections: int, bound_seconds: float) -> Case:
    def run(seconds: float) -> Outcome:
        figures = Figures(kind, connections, seconds)
        held = figures.worst <= bound_seconds
        starved = held and max(took.seconds for took in figures.busy) > bound_seconds
        return Outcome(f"{figures}{'; longer only for want of a core' if starved else ''}", held)

    return Case(
        f"{kind}-{connections}",
        f"{connections} members at full speed with {kind}; the longest PONG of an honest peer",
        f"{1000 * bound_seconds:.0f} ms",
        run,
    )


CASES = tuple(_case(kind, *many) for kind in KINDS for many in ((1, 0.1), (24, 0.3)))


def main(arguments: list[str]) -> None:
    """Be one of the processes, or run one attack."""
    if arguments[0] == "node":
        node(arguments[1])
    elif arguments[0] == "attack":
        attack(int(arguments[1]), arguments[2], int(arguments[3]))
    else:
        connections = int(arguments[1]) if len(arguments) > 1 else 1
        print(
            arguments[0],
            connections,
            Figures(arguments[0], connections, float(arguments[2]) if len(arguments) > 2 else 5),
        )


if __name__ == "__main__":
    main(sys.argv[1:])
