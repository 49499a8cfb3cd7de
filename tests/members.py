"""Members of a network that say whatever they like to a real node, over TCP.

Responsible for: one connection each, from its handshake on, in blocking calls; and what the node's process takes up.
Must not know: what the node should make of it.
Invariant: what the node answers is read only when somebody asks for it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from gossiplog import limits
from gossiplog.gossip.messages import (
    Have,
    HaveItem,
    Hello,
    Interest,
    Item,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
)
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode, encode
from gossiplog.wire.frames import frame

SEND_SECONDS = 60.0
"""A node that reads nothing for so long does not want to."""

IMPLICIT = 2**31
"""Seqs from here up are objects of their own, as nobody's small log has."""


class Member:
    """I have a connection to the node at ``port``; with ``greet`` its session is open."""

    def __init__(
        self,
        port: int,
        network: bytes,
        *,
        greet: bool = True,
        interest: Interest = Interest.ALL,
        names: Sequence[bytes] = (),
        source: str = "127.0.0.1",
        seconds: float = SEND_SECONDS,
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), seconds, (source, 0))
        self.channel = Channel(True, os.urandom(32), network)
        self.socket.sendall(self.channel.start())
        while not self.channel.established:
            answer = self.socket.recv(4096)
            if not answer:
                raise ConnectionError("the node hung up")
            self.channel.receive(answer)
            self.socket.sendall(self.channel.outgoing())
        if greet:
            self.say(Hello(1, 1, (), "member", os.urandom(16), interest, tuple(names)))

    def say(self, *messages: Message) -> None:
        """Send messages."""
        self.socket.sendall(self.channel.send(*map(encode, messages)))

    def begin(self, size: int) -> None:
        """Send a frame of ``size`` bytes but for its last byte."""
        sender = self.channel._sender
        assert sender is not None
        begun = frame(bytes(size))[:-1]
        for at in range(0, len(begun), 65_000):
            record = sender.encrypt(begun[at : at + 65_000])
            self.socket.sendall(len(record).to_bytes(2, "big") + record)

    def listen(self) -> list[Message]:
        """Read once, and return the messages that are whole; ConnectionError when the node closed."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the node hung up")
        return [decode(each) for each in self.channel.receive(data)]

    def hear(self) -> list[Message]:
        """Wait for something, and return the messages that are whole; none when the node closed."""
        while data := self.socket.recv(1 << 16):
            frames = self.channel.receive(data)
            if frames:
                return [decode(each) for each in frames]
        return []

    def alive(self) -> bool:
        """Whether a PING is answered."""
        self.say(Ping(1, bytes(16)))
        while heard := self.hear():
            if any(isinstance(message, Pong) for message in heard):
                return True
        return False

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


# -- much that costs a member little ------------------------------------------------------------------------------


def authors(count: int) -> list[bytes]:
    """So many that nobody has, ascending."""
    some = os.urandom(32 * count)
    return sorted(some[at : at + 32] for at in range(0, len(some), 32))


def claims(count: int) -> Iterable[Message]:
    """Claims of so many authors, as a reconcile finds them."""
    step = limits.MAX_LIST_ITEMS
    for at in range(0, count, step):
        items = tuple([Item(a, IMPLICIT, bytes(8)) for a in authors(min(step, count - at))])
        yield Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=items),), more=at + step < count)


def refused(names: Sequence[bytes]) -> Iterable[Message]:
    """A long list of those not wanted, behind a HELLO with the first ``MAX_EXCEPTIONS``."""
    step = limits.MAX_WANT_ITEMS
    for at in range(0, len(names), step):
        yield Refuse(tuple(names[at : at + step]))


def announced(names: Sequence[bytes], seq: int = IMPLICIT) -> Iterable[Message]:
    """HAVE for each of these, with a handle each."""
    step = limits.MAX_HAVE_ITEMS
    for at in range(0, len(names), step):
        part = names[at : at + step]
        yield Have(
            tuple([HaveItem(number % limits.MAX_HANDLES, seq, a) for number, a in enumerate(part, at)])
        )


def lazy(names: Sequence[bytes]) -> Iterable[Message]:
    """LAZY for each of these."""
    step = limits.MAX_WANT_ITEMS
    for at in range(0, len(names), step):
        yield Lazy(tuple(names[at : at + step]))


# -- the process --------------------------------------------------------------------------------------------------


def resident_bytes(pid: int, most: bool = False) -> int:
    """What a process has in memory now, or had at ``most`` since :func:`forget_most`."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB" if most else r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def forget_most(pid: int) -> None:
    """Let the kernel measure the largest size from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
