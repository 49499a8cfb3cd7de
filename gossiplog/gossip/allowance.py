"""What a peer may cost us without getting us anywhere.

Responsible for: the price of each message and of what it comes in, and an allowance that time and progress refill.
Must not know: sessions; what a message is for.
Invariant: who costs more than time brings, and brings nothing, is waited for; nobody is sent away for it, since a third
party may be the cause.  Only what was verified is progress: a claim brings a liar nothing.
"""

from __future__ import annotations

from collections import Counter

from gossiplog import limits
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    Lazy,
    Message,
    Peers,
    RangeKind,
    Ranges,
    Refuse,
    Unknown,
    Want,
)
from gossiplog.log.segment import Segment

ITEMS_PER_POINT = 128
"""Items of a list: up to 8 us each."""

NAMES_PER_POINT = 64
"""Of a LAZY or REFUSE: up to 13 us each."""

FINGERPRINTS_PER_POINT = 10
"""Of a RANGES: 50 us each."""

ENTRIES_PER_POINT = 256
BYTES_PER_POINT = 16 * 1024
"""Of a segment: hashing 4,096 bodies before it turns out that they are known takes 4 ms."""

READ_BYTES_PER_POINT = 256 * 1024
"""Of what is read from disk for a peer that then does not want it; rows of 128 KiB take a tenth of a millisecond."""

TOIL_BYTES_PER_POINT = 64 * 1024
"""Of work in the store's thread that brings the peer nothing, or looks for payloads (``toil_bytes`` of a segment)."""

RECEIVED_BYTES_PER_POINT = 64 * 1024
"""Of what is only decrypted."""

READS_PER_POINT = 16
"""Of a socket: about 50 us each, even for one byte."""

RECORDS_PER_POINT = 64
"""Decrypted: 3 us each, even for nothing, and a little for whoever is paid by the record."""

DECRYPTED_BYTES_PER_POINT = 512 * 1024
"""A millisecond, with all copies."""

NIL_POINTS = 50
"""LAZY for all that is not named: it goes through up to 65,536 parents, and answers with up to 1,024 authors."""

FORK_POINTS = 2
"""A new proof: two signatures and up to 4,096 hashes."""

MESSAGE_POINTS = 0.1
"""Of a message that needs no answer.  What honest peers say because others gave both the same must cost less than to
take it from those others: a fork proof takes 0.1 ms to verify, which the second to send it need not wait for."""

ECHO_POINTS = 2.0
"""What a peer may say because somebody else gave it the same: LAZY, a WANT to explore, an announcement and an answer,
each in a record and a read of its own."""


def flat_price(message: Message) -> float:
    """What a message costs that is rare, or has to be answered."""
    return 1.0


def peers_price(message: Peers) -> float:
    """What a PEERS costs: an address is built and looked at."""
    return 1 + sum([1 + len(contact.addresses) for contact in message.contacts]) / ITEMS_PER_POINT


def want_price(message: Want) -> float:
    """What a WANT costs."""
    return 1 + len(message.items) / ITEMS_PER_POINT


def have_price(message: Have) -> float:
    """What a HAVE costs."""
    return MESSAGE_POINTS + len(message.items) / ITEMS_PER_POINT


def fill_price(message: Fill) -> float:
    """What a FILL costs, but for what is read for it."""
    return MESSAGE_POINTS + len(message.ranges) / ITEMS_PER_POINT


def segment_price(message: Segment) -> float:
    """What a SEGMENT costs that need not be :func:`hashed`.

    Little: while what was accepted is lost to a full disk, an honest peer sends on what cannot be taken.
    """
    return MESSAGE_POINTS + len(message.bodies) / RECEIVED_BYTES_PER_POINT


def fork_price(message: Fork) -> float:
    """What a FORK costs that need not be verified."""
    return MESSAGE_POINTS + len(message.proof.segment.bodies) / RECEIVED_BYTES_PER_POINT


def unknown_price(message: Unknown) -> float:
    """What a message of an unknown type costs."""
    return MESSAGE_POINTS + message.size_kib * 1024 / RECEIVED_BYTES_PER_POINT


def names_price(message: Lazy | Refuse) -> float:
    """What a LAZY or REFUSE costs."""
    names = len(message.authors) / NAMES_PER_POINT
    return MESSAGE_POINTS + names + NIL_POINTS * message.authors.count(None)


def ranges_price(message: Ranges) -> float:
    """What a RANGES costs, to read or to make.  O(ranges)."""
    items = sum(len(part.items) for part in message.ranges)
    fingerprints = sum(1 for part in message.ranges if part.kind is RangeKind.FINGERPRINT)
    return 1 + (len(message.ranges) + items) / ITEMS_PER_POINT + fingerprints / FINGERPRINTS_PER_POINT


def toil(reads: int, records: int, size: int) -> float:
    """What it costs to read and decrypt so many bytes, whatever is in them."""
    return reads / READS_PER_POINT + records / RECORDS_PER_POINT + size / DECRYPTED_BYTES_PER_POINT


def hashed(segment: Segment) -> float:
    """What it costs besides to look into a segment that then brings nothing."""
    return len(segment.bodies) / BYTES_PER_POINT + segment.count / ENTRIES_PER_POINT


def echo(message: Segment | Fork) -> float:
    """What it costs when a peer brings what another one brought, and says what follows from that."""
    if isinstance(message, Segment):
        return segment_price(message) + hashed(message) + ECHO_POINTS
    return fork_price(message) + ECHO_POINTS


class Allowance:
    """I am what one peer may still cost."""

    def __init__(self, now: float) -> None:
        self._points = float(limits.ALLOWANCE_POINTS)
        self._echo = 0.0
        self._at = now

    def charge(self, points: float, now: float) -> None:
        """Add what time brings, and take the price of a message that came."""
        elapsed = max(0.0, now - self._at)
        self._at = now
        earned = elapsed * limits.ALLOWANCE_POINTS_PER_SECOND
        self._points = min(limits.ALLOWANCE_POINTS, self._points + earned)
        self.spend(points)

    def spend(self, points: float) -> None:
        """Take so many points, first those for what others brought; if need be of those to come."""
        echoed = min(points, self._echo)
        self._echo -= echoed
        self._points -= points - echoed

    def leaves(self, points: float, now: float) -> bool:
        """Tell whether there are at least so many points."""
        earned = max(0.0, now - self._at) * limits.ALLOWANCE_POINTS_PER_SECOND
        return min(limits.ALLOWANCE_POINTS, self._points + earned) >= points

    def seconds_to(self, points: float, now: float) -> float:
        """How long time takes to bring so many points."""
        missing = points - self._points
        return max(0.0, missing / max(1, limits.ALLOWANCE_POINTS_PER_SECOND) - max(0.0, now - self._at))

    def earn(self, points: float) -> None:
        """The peer brought something new, it was verified, and what was given for it comes back twice.

        So whoever brings as much that is new as what is known never runs out, however slow it is and for however long;
        and what leads nowhere is never more than what led somewhere, and what time brings.
        """
        self._points = min(limits.ALLOWANCE_POINTS, self._points + 2 * points)

    def echo(self, points: float) -> None:
        """Somebody else brought something new: the peer may bring the same, and say what follows from that."""
        self._echo = min(limits.MAX_ECHO_POINTS, self._echo + points)


class Allowances:
    """I hold the allowance of each peer, over its sessions: who comes back goes on with what it had left.

    One that is whole, and has no session, is as good as none.
    """

    def __init__(self) -> None:
        self._allowances: dict[bytes, Allowance] = {}
        self._sessions: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._allowances)

    def open(self, peer: bytes, now: float) -> Allowance:
        """A session with ``peer`` begins."""
        self._sessions[peer] += 1
        allowance = self._allowances.pop(peer, None) or Allowance(now)
        self._allowances[peer] = allowance
        return allowance

    def close(self, peer: bytes, now: float) -> None:
        """A session with ``peer`` is over."""
        self._sessions[peer] -= 1
        if self._sessions[peer]:
            return
        del self._sessions[peer]
        allowance = self._allowances.pop(peer)
        if not allowance.leaves(limits.ALLOWANCE_POINTS, now):
            self._allowances[peer] = allowance
        if len(self._allowances) - len(self._sessions) > limits.MAX_ALLOWANCES:
            del self._allowances[next(peer for peer in self._allowances if peer not in self._sessions)]
