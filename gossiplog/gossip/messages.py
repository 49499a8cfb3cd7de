"""What two nodes can say to each other, as values.

Responsible for: one immutable value per message type, with the field names of the specification ("Messages").
Must not know: bytes, limits, or what any session does with a message.
Invariant: every value is hashable and compares by content; a SEGMENT is the
:class:`gossiplog.log.segment.Segment` itself, because what is received is what is stored is what is sent.

>>> Want((WantItem(None, 1, False),)).items[0].author is None
True
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

from gossiplog.addresses import Address
from gossiplog.gossip.interest import Interest
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Segment

FORKED_CHECK = bytes(8)
"""With seq 0: the check of a proven fork in RANGES, the same on every node."""


RESERVED = b""
"""Stands for an author of any length but 32."""


class RangeKind(IntEnum):
    """What a range of RANGES carries."""

    SKIP = 0
    FINGERPRINT = 1
    LIST = 2
    DIFFERENCES = 3


class Hello(NamedTuple):
    """The first message of both sides; ``root`` as in PING: when both are the same there is nothing to compare.

    ``reserved``: how many authors of reserved lengths were among the ``exceptions``.
    """

    low: int
    high: int
    features: tuple[str, ...]
    agent: str
    instance: bytes
    interest: Interest = Interest.ALL
    exceptions: tuple[bytes, ...] = ()
    root: bytes = b""
    reserved: int = 0


class Item(NamedTuple):
    """One author in a list: the seq held and 8 bytes that stand for its id; seq 0 with zeros is FORKED."""

    author: bytes
    seq: int
    check: bytes


class Range(NamedTuple):
    """Authors from the previous range's ``upper`` up to, not including, ``upper``; ``b""`` is the end."""

    upper: bytes
    kind: RangeKind
    fingerprint: bytes = b""
    items: tuple[Item, ...] = ()


class Ranges(NamedTuple):
    """One step of a reconcile: adjacent ranges from the start of the author space to its end.

    ``more``: the next message belongs to the same step.
    """

    exchange: int
    ranges: tuple[Range, ...]
    more: bool = False


class WantItem(NamedTuple):
    """Send this author (``None``: every author not named) from ``first`` on, with or without holes."""

    author: bytes | None
    first: int
    holes: bool = False


class Want(NamedTuple):
    """Send these and keep pushing; not more than ``most`` entries of each (0: all there is), and then announce."""

    items: tuple[WantItem, ...]
    most: int = 0


class Lazy(NamedTuple):
    """I am served elsewhere with these authors (``None``: all others): only announce.

    ``reserved``: how many authors of reserved lengths were among them.
    """

    authors: tuple[bytes | None, ...]
    reserved: int = 0


class Refuse(NamedTuple):
    """Neither send nor announce these authors (``None``: all others); ``reserved`` as in :class:`Lazy`."""

    authors: tuple[bytes | None, ...]
    reserved: int = 0


class HaveItem(NamedTuple):
    """An announcement; ``author`` is said with the first mention of its handle in a session and direction.

    It is :data:`RESERVED` for one of a reserved length.
    """

    handle: int
    seq: int
    author: bytes | None = None


class Have(NamedTuple):
    """Announcements, newest seq per author."""

    items: tuple[HaveItem, ...]


class Fill(NamedTuple):
    """Send the bodies of these inclusive ranges of an author again."""

    author: bytes
    ranges: tuple[tuple[int, int], ...]


class Fork(NamedTuple):
    """A proof that an author forked."""

    proof: ForkProof


class Contact(NamedTuple):
    """Where ``node`` was dialled, and in how many minutes before now; ``age`` 0 of the sender: where it listens."""

    node: bytes
    age: int
    addresses: tuple[Address, ...]


class Peers(NamedTuple):
    """Other nodes, of which the sender knows by itself; ``seen`` is where it sees the receiver, None if nowhere."""

    contacts: tuple[Contact, ...] = ()
    seen: Address | None = None


class Ping(NamedTuple):
    """Are you there?  ``root`` is our root fingerprint, ``b""`` when it is not known."""

    token: int
    root: bytes = b""


class Pong(NamedTuple):
    """The answer to the PING with this token; ``done``: what goes one way between us has gone, as far as I know."""

    token: int
    root: bytes = b""
    done: bool = False


class Bye(NamedTuple):
    """The last message; ``code`` is a :class:`gossiplog.errors.ByeCode` or an application's from 64 up."""

    code: int
    reason: str = ""


class Unknown(NamedTuple):
    """A message this version does not read: its type is 64 or more, or its author is not 32 bytes.

    ``size_kib`` are the whole KiB of its frame.
    """

    type: int
    size_kib: int = 0


Message: TypeAlias = (
    Hello | Ranges | Want | Lazy | Refuse | Segment | Have | Fill | Fork | Peers | Ping | Pong | Bye | Unknown
)
"""Everything that :func:`gossiplog.wire.codec.decode` returns."""

__all__ = [
    "FORKED_CHECK",
    "RESERVED",
    "Address",
    "Bye",
    "Contact",
    "Fill",
    "Fork",
    "Have",
    "HaveItem",
    "Hello",
    "Interest",
    "Item",
    "Lazy",
    "Message",
    "Peers",
    "Ping",
    "Pong",
    "Range",
    "RangeKind",
    "Ranges",
    "Refuse",
    "Segment",
    "Unknown",
    "Want",
    "WantItem",
]
