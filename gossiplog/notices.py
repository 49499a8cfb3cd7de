"""What a node tells its application.

Responsible for: the values given by :meth:`gossiplog.Node.subscribe`, ``when`` and ``events``.
Must not know: how they come about.
Invariant: immutable; a peer is named by the same :class:`Peer` from its PeerUp to its PeerDown.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeAlias

from gossiplog.errors import GossiplogError
from gossiplog.gossip.quotas import Quota
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import KEY_BYTES, KeyKind, format_key, short_key


class _Notice:
    """I show myself in one short line."""

    __slots__ = ()

    def __repr__(self) -> str:
        values = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        shown = (
            f"{name}={short_key(value) if type(value) is bytes and len(value) == KEY_BYTES else repr(value)}"
            for name, value in values
        )
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, slots=True, repr=False)
class Peer:
    """The node at the other end of an open session: its node id, its address, what it calls its software.

    ``address`` is the endpoint that was dialled, as it was given; of a peer that dialled us, where it came from.
    ``mode``: as it has it, "pull" if it sends no entries, "push" if it takes none, else "both".
    """

    id: bytes
    address: str
    agent: str
    dialled: bool
    mode: str = "both"

    def __repr__(self) -> str:
        return f"Peer({format_key(KeyKind.NODE, self.id)}, {self.address!r})"


@dataclass(frozen=True, slots=True, repr=False)
class PeerUp(_Notice):
    """A session with a peer is open."""

    peer: Peer


@dataclass(frozen=True, slots=True, repr=False)
class PeerDown(_Notice):
    """The session with a peer ended: ``code`` is a :class:`gossiplog.errors.ByeCode`."""

    peer: Peer
    code: int
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class PeerRejected(_Notice):
    """Whoever is at this address broke the protocol or does not belong here; the session is over."""

    address: str
    error: GossiplogError


@dataclass(frozen=True, slots=True, repr=False)
class StrangersTurnedAway(_Notice):
    """``count`` connections of the last minute came to nothing and were not told one by one as :class:`PeerRejected`.

    They came from ``places`` addresses (of IPv6: /64 networks), ``most`` of them from ``place``; ``reason`` is what the
    last one did.
    """

    count: int
    places: int
    place: str
    most: int
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Banned(_Notice):
    """The node with the id ``peer`` is kept out for ``seconds``, for what it did last."""

    peer: bytes
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class DialFailed(_Notice):
    """There is no session with whoever is at an address, for this ``reason``; it is tried again."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class CaughtUp(_Notice):
    """All that this peer had when it last told us is on our disk; never told of one from which nothing may come."""

    peer: Peer


@dataclass(frozen=True, slots=True, repr=False)
class InSync(_Notice):
    """This peer and we hold the same of what both want, both on disk.

    Where entries may go one way only (``Node(mode=...)``): who takes them holds all that the other side does, on disk.
    Told when asked for with :meth:`gossiplog.Node.when_in_sync`.
    """

    peer: Peer


@dataclass(frozen=True, slots=True, repr=False)
class NewEntries(_Notice):
    """Entries ``first`` to ``last`` of ``author`` are on our disk, from a peer or a local writer."""

    author: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True, repr=False)
class PayloadsFilled(_Notice):
    """Payloads of ``author`` between ``first`` and ``last`` that were missing are on our disk.

    Entries that were read without them are not read again by themselves; ``Store.read(author, first=..., last=...)``
    gives them with their payloads.
    """

    author: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True, repr=False)
class AuthorForked(_Notice):
    """An author was proven to have signed two logs; what we hold of it stays readable, nothing more is taken."""

    proof: ForkProof


@dataclass(frozen=True, slots=True, repr=False)
class QuotaExceeded(_Notice):
    """More of ``author`` would break a quota: nothing is taken of it until that is over."""

    author: bytes
    quota: Quota


@dataclass(frozen=True, slots=True, repr=False)
class QuotaLifted(_Notice):
    """An author whom a quota refused is taken again: it rested, or others were deleted."""

    author: bytes


@dataclass(frozen=True, slots=True, repr=False)
class StoreFailing(_Notice):
    """The disk refused a write: ``final`` when the store takes no more until it is opened again."""

    error: GossiplogError
    final: bool


@dataclass(frozen=True, slots=True, repr=False)
class StoreReachable(_Notice):
    """The database of the store answers again, after ``seconds`` in which :class:`StoreFailing` was told."""

    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class StoreDamaged(_Notice):
    """Entries ``first`` to ``last`` of ``author`` cannot be read, which a peer asked for, a reader passed over, or are
    the end of a log; without an author the store itself is damaged, and only read.

    Told once for each author while the node runs; everything else goes on.  Stop the node and
    :meth:`gossiplog.Store.repair` its store, or ``gossiplog verify --repair``, which also rebuilds a damaged file.
    """

    author: bytes | None
    error: GossiplogError
    first: int
    last: int


@dataclass(frozen=True, slots=True, repr=False)
class PeerProgress(_Notice):
    """How many entries a peer claims to hold beyond us."""

    peer: Peer
    missing: int


@dataclass(frozen=True, slots=True, repr=False)
class Progress(_Notice):
    """How far a catch-up is; told a few times a second while entries come, and when it is done.

    ``held`` and ``known`` are entries of all authors (``known`` is what peers claim), ``rate`` entries per second,
    ``seconds_left`` None while no rate is known yet.
    """

    held: int
    known: int
    rate: float
    seconds_left: float | None
    peers: tuple[PeerProgress, ...]


@dataclass(frozen=True, slots=True, repr=False)
class TimelineProgress(_Notice):
    """The index of a timeline is being built: ``placed`` entries of ``total`` are in it; told a few times a second.

    Who asked for a page waits for that.
    """

    placed: int
    total: int


@dataclass(frozen=True, slots=True, repr=False)
class ViewProgress(_Notice):
    """How far a view is; told a few times a second while it catches up, and when it has.

    ``applied`` of ``known`` entries are in it, at ``rate`` entries per second now; ``seconds_left`` is None while no
    rate is known.  ``complete``: it was complete once, so queries are answered from it and not from an older version.
    """

    view: str
    applied: int
    known: int
    rate: float
    seconds_left: float | None
    complete: bool


@dataclass(frozen=True, slots=True, repr=False)
class ViewSkipped(_Notice):
    """A view passed over ``count`` entries together; the first is entry ``seq`` of ``author``, and why.

    Its table ``_skipped`` has each of them.  With seq 0 it is the method ``forked`` that failed.
    """

    view: str
    author: bytes
    seq: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True, repr=False)
class ViewFailed(_Notice):
    """A view stopped; ``error`` says at which entry, if it was one.  Everything else goes on, its queries too."""

    view: str
    error: GossiplogError


@dataclass(frozen=True, slots=True, repr=False)
class Reordered(_Notice):
    """An entry came that another one names, which was handed over without it: from ``place`` on the order is another
    one than a reader in causal order gave.

    What was handed over is not again; :meth:`gossiplog.Store.read` from the beginning, or from a cursor that was kept
    before that place, gives it in the new order.
    """

    place: bytes


@dataclass(frozen=True, slots=True, repr=False)
class EntryAhead(_Notice):
    """Entry ``seq`` of ``author`` has a time that is more than ten minutes ahead of our clock.

    A reader in causal order hands it over when that is not so any more, and what follows it in its log; until then it
    is on no page of the timeline.
    """

    author: bytes
    seq: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True, repr=False)
class PeerFound(_Notice):
    """Somebody can be dialled at ``endpoint``, says ``way`` ("lan", "dht", ...), or ``"peers"``, another peer.

    Nothing of it is verified; ``node`` is the id it is said to have, None where that is not said.
    """

    way: str
    endpoint: str
    node: bytes | None


@dataclass(frozen=True, slots=True, repr=False)
class PeerLost(_Notice):
    """``way`` does not find the one at ``endpoint`` any more; a session with it stays."""

    way: str
    endpoint: str


@dataclass(frozen=True, slots=True, repr=False)
class WayFailed(_Notice):
    """A way of finding peers does not work, at least now; the others go on."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class NetworkChanged(_Notice):
    """This machine has other addresses than before, or slept: connections are looked after and made anew.

    ``addresses`` are those it has, as ``192.0.2.7/24``.
    """

    addresses: tuple[str, ...]
    slept: bool


@dataclass(frozen=True, slots=True, repr=False)
class Reachability(_Notice):
    """Others, beyond the local network, can dial this node, or cannot; None: that is not known any more."""

    reachable: bool | None


@dataclass(frozen=True, slots=True, repr=False)
class Lagged(_Notice):
    """Whoever read :meth:`gossiplog.Node.events`, or the changes of a view, was too slow for ``missed`` of them; those
    that follow are newer."""

    missed: int


Notice: TypeAlias = (
    PeerUp
    | PeerDown
    | PeerRejected
    | StrangersTurnedAway
    | Banned
    | DialFailed
    | CaughtUp
    | InSync
    | NewEntries
    | PayloadsFilled
    | AuthorForked
    | QuotaExceeded
    | QuotaLifted
    | StoreFailing
    | StoreReachable
    | StoreDamaged
    | Reordered
    | EntryAhead
    | Progress
    | TimelineProgress
    | ViewProgress
    | ViewSkipped
    | ViewFailed
    | PeerFound
    | PeerLost
    | WayFailed
    | NetworkChanged
    | Reachability
)
