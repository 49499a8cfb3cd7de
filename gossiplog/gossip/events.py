"""What goes into a replica and what comes out of it.

Responsible for: the event and effect values that :class:`gossiplog.gossip.replica.Replica` and its driver exchange.
Must not know: who drives (Twisted, a simulator, a test).
Invariant: all values are immutable; a session is named by the number its driver gave it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from gossiplog.errors import ByeCode, PeerError
from gossiplog.gossip.backlog import Payloads
from gossiplog.gossip.messages import Message, Peers
from gossiplog.gossip.reports import CaughtUp as CaughtUp
from gossiplog.gossip.reports import Forked as Forked
from gossiplog.gossip.reports import InSync as InSync
from gossiplog.gossip.reports import Notice as Notice
from gossiplog.gossip.reports import PayloadsFilled as PayloadsFilled
from gossiplog.gossip.reports import PeerDown as PeerDown
from gossiplog.gossip.reports import PeerRejected as PeerRejected
from gossiplog.gossip.reports import PeerUp as PeerUp
from gossiplog.gossip.reports import QuotaExceeded as QuotaExceeded
from gossiplog.gossip.reports import QuotaLifted as QuotaLifted
from gossiplog.log.fork import ForkProof
from gossiplog.log.leaf_sums import Span
from gossiplog.log.segment import Head, HoledRow, Segment, segment_bytes

# -- events: what happened ---------------------------------------------------------------------------------------


NOBODY: Final = -1
"""For the number of a session: what its owner says to a node."""


class Opened(NamedTuple):
    """A channel is up: ``peer`` is the node id at its other end, ``salt`` its handshake hash."""

    session: int
    peer: bytes
    salt: bytes
    dialled: bool


class Received(NamedTuple):
    """A message came."""

    session: int
    message: Message


class Heard(NamedTuple):
    """Bytes came of a message that is not complete yet: the peer is there, if slow."""

    session: int


class Buffered(NamedTuple):
    """The connection keeps so much now: of a message that is not complete, and of what the peer does not take."""

    session: int
    size_bytes: int


class Toiled(NamedTuple):
    """To read and to decrypt what came cost so many points, whatever is in it."""

    session: int
    points: float


class Offended(NamedTuple):
    """The peer's bytes did not decode to a message."""

    session: int
    error: PeerError


class Closed(NamedTuple):
    """The channel is gone, or (with another code) is to go."""

    session: int
    code: int = ByeCode.NORMAL
    reason: str = "connection lost"


class Writable(NamedTuple):
    """The transport can take another window of segments."""

    session: int


class Loaded(NamedTuple):
    """What :func:`gossiplog.gossip.backlog.read` read for a :class:`Load`."""

    session: int
    segments: tuple[Segment | ForkProof, ...]
    withheld: tuple[bytes, ...] = ()
    vain_bytes: int = 0


class Committed(NamedTuple):
    """These are on disk now and the clock says so; effects of ``done_bytes`` together are dealt with, whatever became
    of them; of the authors ``stale`` a write no longer continued the log, because an own append came first."""

    segments: tuple[Segment, ...]
    done_bytes: int = 0
    stale: tuple[bytes, ...] = ()


class CommitFailed(NamedTuple):
    """A commit was not done: take all pending writes for lost; ``final`` when the store takes no more."""

    final: bool


class HolesFilled(NamedTuple):
    """What came of a :class:`FillHoles`: so many payloads of ``author`` from ``first`` to ``last``; more are missing if
    ``is_left``.  ``vain_bytes`` of the work brought none, and were not asked for."""

    session: int
    author: bytes
    first: int = 0
    last: int = 0
    count: int = 0  # type: ignore[assignment]
    is_left: bool = False
    vain_bytes: int = 0


class HolesFound(NamedTuple):
    """What :class:`FindHoles` found, nothing at the end."""

    session: int
    rows: tuple[HoledRow, ...]


class PayloadsLoaded(NamedTuple):
    """What was read for a :class:`LoadPayloads`."""

    session: int
    author: bytes
    found: Payloads


class Examined(NamedTuple):
    """The store compared a suspicious segment with ours: ``proof`` when they contradict."""

    session: int
    segment: Segment
    proof: ForkProof | None


class Brought(NamedTuple):
    """What a :class:`Bring` asked for: all heads of each span, ascending; nothing if they could not be read."""

    session: int
    found: tuple[tuple[Span, tuple[tuple[bytes, Head], ...]], ...]


class InterestChanged(NamedTuple):
    """The owner of the node chose anew about these authors; the choices say what."""

    authors: tuple[bytes, ...]


class Forgotten(NamedTuple):
    """These authors were deleted from the disk, and the clock says so."""

    authors: tuple[bytes, ...]


class Lightened(NamedTuple):
    """What is on disk of these authors takes less there than before; None: the quotas are others now."""

    authors: tuple[bytes, ...] | None


class ForkFound(NamedTuple):
    """The owner of the node has a verified proof from elsewhere than a peer."""

    proof: ForkProof


class ForkWritten(NamedTuple):
    """The proof of a :class:`StoreFork` is on disk, or there is no room for it, neither there nor in memory."""

    author: bytes
    is_kept: bool


class Probe(NamedTuple):
    """The application wants to know when both sides of this session hold the same."""

    session: int


class Doubted(NamedTuple):
    """The way to the peer may be gone: find out whether it is there."""

    session: int


class TellPeers(NamedTuple):
    """Whoever keeps the address book has this for a peer."""

    session: int
    message: Peers


class Tick(NamedTuple):
    """Time has passed; due at the latest at ``Replica.deadline``."""


Event: TypeAlias = (
    Opened
    | Received
    | Heard
    | Buffered
    | Toiled
    | Offended
    | Closed
    | Writable
    | Loaded
    | HolesFilled
    | HolesFound
    | PayloadsLoaded
    | Committed
    | CommitFailed
    | Examined
    | Brought
    | InterestChanged
    | Forgotten
    | Lightened
    | ForkFound
    | ForkWritten
    | Probe
    | TellPeers
    | Doubted
    | Tick
)

# -- effects: what is to be done, in this order ------------------------------------------------------------------


class Send(NamedTuple):
    """Put this message on the wire."""

    session: int
    message: Message


class End(NamedTuple):
    """Say BYE (unless the peer said it), then close."""

    session: int
    code: int
    reason: str
    by_peer: bool = False


class StoreSegment(NamedTuple):
    """Commit this verified segment, which makes ``head`` the head of its author."""

    segment: Segment
    head: Head

    @property
    def size_bytes(self) -> int:
        """What it counts as in :class:`Committed`."""
        return segment_bytes(self.segment)


class StoreFork(NamedTuple):
    """Keep this verified proof and freeze the author."""

    proof: ForkProof

    @property
    def size_bytes(self) -> int:
        """What it counts as in :class:`Committed`."""
        return segment_bytes(self.proof.segment)


class Load(NamedTuple):
    """Read these authors from these seqs on (``PROOF``: the proof), holes of ``holes``: ``limit_bytes`` of work."""

    session: int
    wants: tuple[tuple[bytes, int], ...]
    limit_bytes: int
    holes: frozenset[bytes] = frozenset()


class FillHoles(NamedTuple):
    """Put what this segment has in the place of holes that we have; nobody has verified it."""

    session: int
    segment: Segment
    is_answer: bool = False


class FindHoles(NamedTuple):
    """Say which rows behind ``after`` have holes, up to ``limit``."""

    session: int
    after: HoledRow | None
    limit: int


class LoadPayloads(NamedTuple):
    """Read what we have of these ranges of an author, about ``limit_bytes``, for a peer that lacks payloads there."""

    session: int
    author: bytes
    ranges: tuple[tuple[int, int], ...]
    limit_bytes: int


class Examine(NamedTuple):
    """Compare this verified segment with what we hold of its author."""

    session: int
    segment: Segment


class Bring(NamedTuple):
    """Read the heads of these spans of authors: the session, or with ``NOBODY`` none, goes on with them."""

    session: int
    spans: tuple[Span, ...]


class Reading(NamedTuple):
    """Read from this peer, or stop: the store is behind with what it brings, or it cost more than time has brought."""

    session: int
    allowed: bool


class OwnAhead(NamedTuple):
    """A peer says that it holds the local ``author`` up to ``seq``, beyond us: sign nothing before that has come.

    ``proven``: it has our signature for that, and not the payloads; it cannot come back.
    """

    author: bytes
    seq: int
    proven: bool = False


class PeersHeard(NamedTuple):
    """A peer tells of other nodes; none of it is verified."""

    session: int
    message: Peers


Effect: TypeAlias = (
    Send
    | End
    | StoreSegment
    | StoreFork
    | FillHoles
    | FindHoles
    | Load
    | LoadPayloads
    | Examine
    | Bring
    | Reading
    | OwnAhead
    | PeersHeard
    | Notice
)
