"""Members that make a node keep as much as they can, and how large its process becomes."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from gossiplog import limits
from gossiplog.gossip.messages import (
    Hello,
    Interest,
    Item,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Want,
    WantItem,
)
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept
from tests.audit.case import Case, Outcome
from tests.members import (
    SEND_SECONDS,
    Member,
    announced,
    authors,
    claims,
    forget_most,
    lazy,
    refused,
    resident_bytes,
)
from tests.processes import Process

NETWORK = bytes(32)
MIB = 1 << 20
HELD = 20_000
LARGE = 24

OVERHEAD = 1.1
FIXED_BYTES = 32 * MIB
"""What a process may grow beyond its budget: a tenth for what its allocator cannot use again, and what does not depend
on the number of peers: buffers between threads, pages of the disk, one message that is being read."""


class Target(NamedTuple):
    """A node to attack; ``held`` are authors of which it has an entry, ``large`` has entries of 1 MiB."""

    port: int
    pid: int
    held: list[bytes]
    large: bytes


def _fill(path: Path) -> tuple[list[bytes], bytes]:
    """A store with many authors, and one with large entries."""
    requests = []
    pairs = [Keypair(number.to_bytes(32, "big")) for number in range(1, HELD + 1)]
    for pair in pairs:
        [segment], head = build(pair, Head(0, genesis_id(pair.author)), [encode_body(0, b"")])
        requests.append(Accept(segment, head))
    head = Head(0, genesis_id(pairs[0].author))
    large = Keypair(bytes(32))
    head = Head(0, genesis_id(large.author))
    for _ in range(LARGE):
        [segment], head = build(large, head, [encode_body(0, bytes(limits.MAX_BODY_BYTES - 64))])
        requests.append(Accept(segment, head))
    with closing(open_logs(path)) as logs:
        for at in range(0, len(requests), 1000):
            logs.process(requests[at : at + 1000])
    return sorted(pair.author for pair in pairs), large.author


@contextmanager
def target(max_memory: int) -> Iterator[Target]:
    """A node in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="memory-") as place:
        held, large = _fill(Path(place) / "store")
        command = [
            sys.executable,
            "-m",
            "gossiplog.app.cli",
            "run",
            "--store",
            "store",
            "--network",
            NETWORK.hex(),
        ]
        command += [
            "--listen",
            "tcp:0:interface=127.0.0.1",
            "--max-memory",
            str(max_memory),
            "--max-links",
            "1024",
        ]
        process = Process(command, Path(place))
        try:
            port = int(process.ready()["listening"][0].rpartition(":")[2])
            with closing(Member(port, NETWORK)) as first:  # whatever is made once, is made by now
                first.alive()
            yield Target(port, process.popen.pid, held, large)
        finally:
            process.abandon()


class Honest(threading.Thread):
    """I am a member that answers PINGs, and asks from time to time whether the node does."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.stayed = True
        self._over = threading.Event()
        self._member = Member(port, NETWORK)
        self._member.socket.settimeout(1.0)

    def run(self) -> None:
        """Go on until told to stop, or sent away."""
        while not self._over.is_set():
            try:
                heard = self._member.hear()
                self.stayed = bool(heard)
            except TimeoutError:
                continue
            except OSError:
                self.stayed = False
            if not self.stayed:
                return
            for message in heard:
                if isinstance(message, Ping):
                    self._member.say(Pong(message.token))

    def stop(self) -> bool:
        """Whether the session was still there, and answers."""
        self._over.set()
        self.join()
        self._member.socket.settimeout(SEND_SECONDS)
        try:
            return self.stayed and self._member.alive()
        except OSError:
            return False
        finally:
            self._member.close()


# -- what a member can do; each is called with the target and its number, and may be told to go meanwhile


def claim(target: Target, member: Member, number: int) -> None:
    """A million authors that nobody has."""
    for message in claims(limits.MAX_CLAIMS):
        member.say(message)


def announce(target: Target, member: Member, number: int) -> None:
    """As many handles as there are, each with a claim."""
    for message in announced(authors(limits.MAX_HANDLES)):
        member.say(message)


def take_back(target: Target, member: Member, number: int) -> None:
    """Claims, again and again, that are taken back: tables do not shrink by that."""
    for _ in range(3):
        names = authors(limits.MAX_HANDLES)
        for seq in (2**31, 0):
            for message in announced(names, seq):
                member.say(message)


def ask(target: Target, member: Member, number: int) -> None:
    """For as many as can be remembered, of which the node has some; the answers are not read."""
    names = [*target.held, *authors(limits.MAX_OWED_AUTHORS - len(target.held))]
    for at in range(0, len(names), limits.MAX_WANT_ITEMS):
        member.say(Want(tuple(WantItem(a, 1) for a in names[at : at + limits.MAX_WANT_ITEMS])))


def choose(target: Target, member: Member, number: int) -> None:
    """How each of very many is to be served."""
    for message in lazy(authors(limits.MAX_OWED_AUTHORS)):
        member.say(message)


def compare(target: Target, member: Member, number: int) -> None:
    """Eight lists of all that the node has; the answers are not read."""
    items = tuple(Item(a, 2, bytes(8)) for a in target.held[: limits.MAX_LIST_ITEMS])
    for exchange in range(limits.MAX_STEPS):
        member.say(Ranges(2 * exchange, (Range(b"", RangeKind.LIST, items=items),)))


def half_a_frame(target: Target, member: Member, number: int) -> None:
    """The largest there is, but for its last byte."""
    member.begin(limits.MAX_FRAME_BYTES)


def read_nothing(target: Target, member: Member, number: int) -> None:
    """Ask for large entries, and for the answers to many PINGs."""
    member.say(Want((WantItem(target.large, 1),)))
    for token in range(2000):
        member.say(Ping(token))


def name(target: Target, member: Member, number: int) -> None:
    """Very many that are not wanted, half of them held by the node: it keeps what stands for these."""
    names = [*target.held, *authors(limits.MAX_NAMED_AUTHORS - limits.MAX_EXCEPTIONS - len(target.held))]
    member.say(Hello(1, 1, (), "member", bytes(16), Interest.ALL, tuple(authors(limits.MAX_EXCEPTIONS))))
    for message in refused(names):
        member.say(message)


EACH: tuple[Callable[[Target, Member, int], None], ...] = (
    claim,
    announce,
    take_back,
    ask,
    choose,
    compare,
    half_a_frame,
    read_nothing,
    name,
)

LARGE_KINDS = (half_a_frame, read_nothing)


def attack(
    sessions: int, max_memory: int, kinds: tuple[Callable[[Target, Member, int], None], ...] = EACH
) -> Callable[[float], Outcome]:
    """So many connections at once, each kind in turn; who is sent away comes again, until the time is over."""

    def run(seconds: float) -> Outcome:
        with target(max_memory) as node:
            before = resident_bytes(node.pid)
            forget_most(node.pid)
            deadline = time.monotonic() + seconds
            honest = Honest(node.port)
            honest.start()
            members: list[Member] = []
            messages = 0
            for number in count():
                if number >= sessions and time.monotonic() >= deadline:
                    break
                if len(members) >= sessions:
                    members.pop(0).close()
                kind = kinds[number % len(kinds)]
                try:
                    source = f"127.0.0.{1 + number % 8}"
                    member = Member(node.port, NETWORK, greet=kind is not name, source=source)
                    members.append(member)
                    kind(node, member, number)
                    messages += 1
                except OSError:
                    continue
            stayed = honest.stop()
            for each in members:
                each.close()
            most = resident_bytes(node.pid, most=True) - before
        bound = max_memory * OVERHEAD + FIXED_BYTES
        figure = f"{most / MIB:.0f} MiB more; {number} connections, {messages} had their say"
        return Outcome(
            f"{figure}; the honest peer {'stayed' if stayed else 'was sent away'}", most <= bound and stayed
        )

    return run


def _case(
    name: str, attack_: str, sessions: int, mib: int, *kinds: Callable[[Target, Member, int], None]
) -> Case:
    bound = f"{mib} MiB and a tenth, and {FIXED_BYTES // MIB} MiB; an honest small peer stays"
    return Case(name, attack_, bound, attack(sessions, mib * MIB, kinds or EACH))


CASES = (
    _case("memory-claims", "4 members claim a million authors each", 4, 512, claim),
    _case("memory-4", "4 members keep coming, each kind of memory in turn", 4, 128),
    _case("memory-32", "the same of 32", 32, 256),
    _case(
        "memory-1000", "1,000 connections, each with half a frame or unread entries", 1000, 256, *LARGE_KINDS
    ),
    _case("memory-100", "100 connections of nearly every kind", 100, 256, *EACH[1:-1]),
)
