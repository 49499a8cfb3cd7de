"""What a replica tells the application.

Responsible for: one immutable value for each thing that is worth telling; they are effects like others.
Must not know: in which words an application hears it (``gossiplog.notices``).
Invariant: a session is named by the number its driver gave it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from gossiplog.errors import PeerError
from gossiplog.gossip.quotas import Quota
from gossiplog.log.fork import ForkProof


class PeerUp(NamedTuple):
    """A session is open; the peer named these ``features``."""

    session: int
    peer: bytes
    agent: str
    mode: str
    features: tuple[str, ...] = ()


class PeerDown(NamedTuple):
    """An open session ended."""

    session: int
    peer: bytes
    code: int
    reason: str


class PeerRejected(NamedTuple):
    """A peer broke the protocol or could not be talked to, with the reason."""

    session: int
    peer: bytes
    error: PeerError


class CaughtUp(NamedTuple):
    """Everything this peer had when it last told us is on our disk."""

    session: int
    peer: bytes


class InSync(NamedTuple):
    """Both sides of this session hold the same, on disk."""

    session: int
    peer: bytes


class Forked(NamedTuple):
    """An author was proven to have forked its log."""

    proof: ForkProof


class PayloadsFilled(NamedTuple):
    """Payloads of ``author`` between ``first`` and ``last`` that were missing are on disk."""

    author: bytes
    first: int
    last: int


class QuotaExceeded(NamedTuple):
    """More of an author would break a quota: it is refused from now on."""

    author: bytes
    quota: Quota


class QuotaLifted(NamedTuple):
    """An author that a quota refused is taken again."""

    author: bytes


Notice: TypeAlias = (
    PeerUp
    | PeerDown
    | PeerRejected
    | CaughtUp
    | InSync
    | Forked
    | PayloadsFilled
    | QuotaExceeded
    | QuotaLifted
)
