"""All messages: who takes each, when it may be said, and what it costs.

Responsible for: one row per type of message; codec rows are in :mod:`gossiplog.wire.codec`.
Must not know: bytes; what a part does with a message.
Invariant: every member of :data:`~gossiplog.gossip.messages.Message` has one row, and every row a part that takes it:
whoever forgets one finds out when this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple, get_args

from gossiplog.errors import UnexpectedMessageError
from gossiplog.gossip import allowance
from gossiplog.gossip.allowance import MESSAGE_POINTS, hashed
from gossiplog.gossip.announcements import Announcements
from gossiplog.gossip.forks import Forks
from gossiplog.gossip.greeting import Greeting
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import (
    Bye,
    Fill,
    Fork,
    Have,
    Hello,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Ranges,
    Refuse,
    Segment,
    Unknown,
    Want,
)
from gossiplog.gossip.payload_giving import PayloadGiving
from gossiplog.gossip.peers_exchange import PeersExchange
from gossiplog.gossip.receiver import Receiver
from gossiplog.gossip.reconciler import Reconciler
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.session import Phase, Session

FIRST: Final = frozenset({Phase.GREETING, Phase.ENDED})
OPEN: Final = frozenset({Phase.OPEN, Phase.ENDED})
ALWAYS: Final = FIRST | OPEN
"""Phases; in a session that is over anything may still come."""

SEGMENT_MILLISECONDS: Final = 0.1
MESSAGE_MILLISECONDS: Final = 0.04
"""What the smallest take."""

FORK_MILLISECONDS: Final = 1.0
"""A new proof: two signatures, and it is not dealt with at once."""

RELAY_MILLISECONDS: Final = 0.007
RELAY_FORK_MILLISECONDS: Final = 0.1
"""To give a segment or a proof that is new to one more peer, of which there may be a thousand."""


class Row(NamedTuple):
    """``kind`` is allowed in ``phases``, from either side; ``price`` is in points; ``part`` takes it with ``take``."""

    kind: type[Message]
    phases: frozenset[Phase]
    price: Callable[[Any], float]
    part: type[Any]
    take: Callable[[Any, Session, Any], None]


ROWS: Final = (
    Row(Hello, FIRST, allowance.flat_price, Greeting, Greeting.hello),
    Row(Ranges, OPEN, allowance.ranges_price, Reconciler, Reconciler.ranges),
    Row(Want, OPEN, allowance.want_price, Sender, Sender.want),
    Row(Lazy, OPEN, allowance.names_price, Sender, Sender.serve),
    Row(Refuse, OPEN, allowance.names_price, Sender, Sender.serve),
    Row(Segment, OPEN, allowance.segment_price, Receiver, Receiver.segment),
    Row(Have, OPEN, allowance.have_price, Announcements, Announcements.have),
    Row(Fill, OPEN, allowance.fill_price, PayloadGiving, PayloadGiving.fill),
    Row(Fork, OPEN, allowance.fork_price, Forks, Forks.fork),
    Row(Peers, OPEN, allowance.peers_price, PeersExchange, PeersExchange.peers),
    Row(Ping, OPEN, allowance.flat_price, Liveness, Liveness.ping),
    Row(Pong, OPEN, allowance.flat_price, Liveness, Liveness.pong),
    Row(Bye, ALWAYS, allowance.flat_price, Greeting, Greeting.bye),
    Row(Unknown, OPEN, allowance.unknown_price, Liveness, Liveness.pass_over),
)
"""What each message is to a session (specification, "Session"); one that is not allowed is an offence."""

BY_KIND: Final[dict[type[Any], Row]] = {row.kind: row for row in ROWS}

if len(BY_KIND) != len(ROWS) or BY_KIND.keys() != set(get_args(Message)):
    raise TypeError("every message needs one row that says who takes it")


def allowed(phase: Phase) -> list[type[Any]]:
    """The messages that a phase takes."""
    return [row.kind for row in ROWS if phase in row.phases]


def check(message: Message, phase: Phase) -> None:
    """Raise :class:`UnexpectedMessageError` for a message that this phase does not take."""
    if phase not in BY_KIND[type(message)].phases:
        raise UnexpectedMessageError(f"{type(message).__name__.upper()} is not allowed while {phase.value}")


def price(message: Message) -> float:
    """What a message costs, in points of up to a millisecond.  O(ranges of a RANGES)."""
    return BY_KIND[type(message)].price(message)


def work(message: Message, peers: int = 0) -> float:
    """About how long a message takes, in milliseconds: its price, but for what is added so that nothing is cheap.

    What is new goes to so many ``peers``.
    """
    if isinstance(message, Segment):
        return SEGMENT_MILLISECONDS + hashed(message) / 4 + RELAY_MILLISECONDS * peers
    if isinstance(message, Fork):
        return FORK_MILLISECONDS + RELAY_FORK_MILLISECONDS * peers
    base = 1 if isinstance(message, Ping | Want | Ranges) else MESSAGE_POINTS
    return MESSAGE_MILLISECONDS + max(0.0, price(message) - base)


def takers(parts: Iterable[object]) -> dict[type[Any], Callable[[Session, Any], None]]:
    """What takes each message, when a replica is made of these parts."""
    by_type = {type(part): part for part in parts}
    return {row.kind: partial(row.take, by_type[row.part]) for row in ROWS}
