"""Who broke the protocol, and how long they are kept out for it.

Responsible for: scores of node keys, bans with back-off, and when all of that is forgiven.
Must not know: connections, addresses, the reactor; it is told the time.
Invariant: at most ``MAX_SCORES`` records, of which bans are forgotten last; only what the other side did on purpose or
by a fault of its own counts, and only once a handshake showed who that is.

No address is banned: behind one may be many nodes, strangers and members.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from gossiplog import limits
from gossiplog.arguments import check_seconds, check_type
from gossiplog.back_off import doubled
from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    FrameTooLargeError,
    GossiplogError,
    LimitExceededError,
    MalformedMessageError,
    UnexpectedMessageError,
)
from gossiplog.log.keys import check_node_id

POINTS: dict[type[GossiplogError], float] = {
    BadSignatureError: 1.0,  # no accident makes one: entries are verified before they are sent
    BadSegmentError: 1.0,
    BadForkProofError: 1.0,
    MalformedMessageError: 0.5,  # another version of the software may
    UnexpectedMessageError: 0.5,
    FrameTooLargeError: 0.5,
    LimitExceededError: 0.25,  # a large and honest peer may
}
"""What an offence counts, and each kind of it.  All else counts nothing: a channel that does not decrypt may be the
line's fault, a timeout the network's, a version nobody's."""

BAN_SCORE = 0.9
"""A ban; a little less than 1, because scores fade between two offences."""

HALVED_SECONDS = 600.0
"""A score is half as much after so long."""

OPERATOR: Final = "the operator said so"
"""Why a node is kept out that did nothing wrong here."""


def points_of(error: GossiplogError) -> float:
    """What ``error`` counts."""
    return next((points for kind, points in POINTS.items() if isinstance(error, kind)), 0.0)


@dataclass(frozen=True, slots=True)
class Ban:
    """The node with the id ``peer`` is kept out for ``seconds`` more.

    ``reason`` is the last offence, in words.
    """

    peer: bytes
    reason: str
    seconds: float


def check_ban(peer: object, seconds: object, reason: object) -> None:
    """Raise :class:`InvalidValueError` for what is no ban."""
    check_node_id("peer", peer)
    if seconds != inf:
        check_seconds("seconds", seconds)
    check_type("reason", reason, str, "a text")


class _Record:
    """What is held against one key."""

    __slots__ = ("at", "bans", "reason", "score", "until")

    def __init__(self, now: float) -> None:
        self.at = now
        self.score = 0.0
        self.bans = 0
        self.reason = ""
        self.until = -inf


class Bans:
    """I am the memory of one node for offences; it is lost when the process ends.

    ``changed`` hears of whom a ban began, or of whom all was forgiven.
    """

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record] = OrderedDict()
        self.changed: Callable[[bytes], None] = lambda peer: None

    def banned(self, peer: bytes, now: float) -> Ban | None:
        """The ban on a node id, if there is one.  O(1)."""
        record = self._records.get(peer)
        if record is None or now >= record.until:
            return None
        return Ban(peer, record.reason, record.until - now)

    def all(self, now: float) -> list[Ban]:
        """Every ban of this moment."""
        bans = [self.banned(peer, now) for peer in self._records]
        return [ban for ban in bans if ban is not None]

    def lift(self, peer: bytes) -> bool:
        """Forgive a node id everything; False when there was nothing."""
        was_there = self._records.pop(peer, None) is not None
        if was_there:
            self.changed(peer)
        return was_there

    def keep_out(self, peer: bytes, reason: str, seconds: float, now: float) -> Ban:
        """Keep a node out for so long because somebody says so."""
        record = self._records.pop(peer, None) or _Record(now)
        if len(self._records) >= limits.MAX_SCORES:
            self._forget_one(now)
        record.reason, record.until = reason, now + seconds
        self._records[peer] = record
        self.changed(peer)
        return Ban(peer, reason, seconds)

    def offence(self, peer: bytes, error: GossiplogError, now: float) -> Ban | None:
        """Count what ``error`` says; returns the ban that begins now."""
        points = points_of(error)
        if not points:
            return None
        record = self._records.pop(peer, None)
        if record is None or now - max(record.at, record.until) > limits.BAN_FORGIVEN_SECONDS:
            record = _Record(now)
        if len(self._records) >= limits.MAX_SCORES:
            self._forget_one(now)
        self._records[peer] = record
        elapsed = max(0.0, now - record.at)
        record.score = record.score * 0.5 ** (elapsed / HALVED_SECONDS) + points
        record.at = now
        record.reason = str(error)
        if record.score < BAN_SCORE or now < record.until:
            return None
        record.score = 0.0
        seconds = doubled(record.bans, limits.BAN_FIRST_SECONDS, limits.BAN_MOST_SECONDS)
        record.until = now + seconds
        record.bans += 1
        self.changed(peer)
        return Ban(peer, record.reason, seconds)

    def _forget_one(self, now: float) -> None:
        """Make room: not of a ban, while there are mere scores, which members with many keys make for nothing.

        O(bans).
        """
        scores = (who for who, record in self._records.items() if now >= record.until)
        del self._records[next(scores, None) or next(iter(self._records))]
