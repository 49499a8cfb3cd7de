"""What a node tells its application.

Responsible for: the values given to :meth:`gossiplog.Node.subscribe`.
Must not know: how they come about.
Invariant: immutable; a peer is named by the same :class:`Peer` from its PeerUp to its PeerDown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gossiplog.errors import GossiplogError
from gossiplog.gossip.quotas import Quota
from gossiplog.log.fork import ForkProof


@dataclass(frozen=True, slots=True)
class Peer:
    """The node at the other end of an open session: its node id, its address, what it calls its software.

    ``address`` is the endpoint that was dialled, as it was given; of a peer that dialled us, where it came from.
    """

    id: bytes
    address: str
    agent: str
    dialled: bool


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A session with a peer is open."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The session with a peer ended: ``code`` is a :class:`gossiplog.errors.ByeCode`."""

    peer: Peer
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerRejected:
    """Whoever is at this address broke the protocol or does not belong here; the session is over."""

    address: str
    error: GossiplogError


@dataclass(frozen=True, slots=True)
class Banned:
    """The node with the id ``peer`` is kept out for ``seconds``, for what it did last."""

    peer: bytes
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DialFailed:
    """An address did not answer; it is tried again."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All that this peer had when it last told us is on our disk."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class InSync:
    """This peer and we hold the same of what both want, both on disk.

    Told when asked for with :meth:`gossiplog.Node.when_in_sync`.
    """

    peer: Peer


@dataclass(frozen=True, slots=True)
class NewEntries:
    """Entries ``first`` to ``last`` of ``author`` are on our disk, from a peer or a local writer."""

    author: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class AuthorForked:
    """An author was proven to have signed two logs; what we hold of it stays readable, nothing more is taken."""

    proof: ForkProof


@dataclass(frozen=True, slots=True)
class QuotaExceeded:
    """More of ``author`` would break a quota: nothing is taken of it until that is over."""

    author: bytes
    quota: Quota


@dataclass(frozen=True, slots=True)
class QuotaLifted:
    """An author whom a quota refused is taken again: it rested, or others were deleted."""

    author: bytes


@dataclass(frozen=True, slots=True)
class StoreFailing:
    """The disk refused a write: ``final`` when the store takes no more until it is opened again."""

    error: GossiplogError
    final: bool


@dataclass(frozen=True, slots=True)
class StoreDamaged:
    """A peer asked for entries of ``author`` that cannot be read; told once for each author while the node runs.

    Everything else goes on.  Stop the node and :meth:`gossiplog.Store.repair` its store.
    """

    author: bytes
    error: GossiplogError


@dataclass(frozen=True, slots=True)
class PeerProgress:
    """How many entries a peer claims to hold beyond us."""

    peer: Peer
    missing: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a catch-up is; told a few times a second while entries come, and when it is done.

    ``held`` and ``known`` are entries of all authors (``known`` is what peers claim), ``rate`` entries per second,
    ``seconds_left`` None while no rate is known yet.
    """

    held: int
    known: int
    rate: float
    seconds_left: float | None
    peers: tuple[PeerProgress, ...]


Notice: TypeAlias = (
    PeerUp
    | PeerDown
    | PeerRejected
    | Banned
    | DialFailed
    | CaughtUp
    | InSync
    | NewEntries
    | AuthorForked
    | QuotaExceeded
    | QuotaLifted
    | StoreFailing
    | StoreDamaged
    | Progress
)
