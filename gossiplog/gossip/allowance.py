"""What a peer may cost us without getting us anywhere.

Responsible for: the price of each message and of what it comes in, and an allowance that time and progress refill.
Must not know: sessions; what a message is for.
Invariant: an honest peer never runs out: what it sends either brings something new or is rare.  Only what was verified
is progress: a claim costs a liar nothing.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.errors import LimitExceededError
from gossiplog.gossip.messages import Fork, Have, Lazy, Message, RangeKind, Ranges, Refuse, Unknown, Want
from gossiplog.log.segment import Segment

ITEMS_PER_POINT = 128
"""Items of a list: up to 8 us each."""

NAMES_PER_POINT = 64
"""Of a LAZY or REFUSE: up to 13 us each."""

FINGERPRINTS_PER_POINT = 10
"""Of a RANGES: 50 us each."""

ENTRIES_PER_POINT = 256
BYTES_PER_POINT = 16 * 1024
"""Of a segment: hashing 4,096 bodies before it turns out that they are known takes 4 ms.  Or of what is read from disk
for a peer that then does not want it."""

RECEIVED_BYTES_PER_POINT = 64 * 1024
"""Of what is only decrypted."""

READS_PER_POINT = 16
"""Of a socket: about 50 us each, even for one byte."""

RECORDS_PER_POINT = 64
"""Decrypted: 3 us each, even for nothing, and a little for whoever is paid by the record."""

DECRYPTED_BYTES_PER_POINT = 512 * 1024
"""A millisecond, with all copies."""

SEGMENT_MILLISECONDS = 0.1
MESSAGE_MILLISECONDS = 0.04
"""What the smallest take."""

NIL_POINTS = 50
"""LAZY for all that is not named: it goes through up to 65,536 parents, and answers with up to 1,024 authors."""

FORK_POINTS = 10
"""Two signatures and up to 4,096 hashes."""


def price(message: Message) -> int:
    """What a message costs, in points of up to a millisecond.  O(ranges of a RANGES).

    A segment costs little as long as it is not :func:`hashed`: while what was accepted is lost to a full disk, an
    honest peer sends on what cannot be taken.
    """
    if isinstance(message, Have | Want):
        return 1 + len(message.items) // ITEMS_PER_POINT
    if isinstance(message, Segment):
        return 1 + len(message.bodies) // RECEIVED_BYTES_PER_POINT
    if isinstance(message, Unknown):
        return 1 + message.size_kib * 1024 // RECEIVED_BYTES_PER_POINT
    if isinstance(message, Lazy | Refuse):
        return 1 + len(message.authors) // NAMES_PER_POINT + NIL_POINTS * message.authors.count(None)
    if isinstance(message, Ranges):
        items = sum(len(part.items) for part in message.ranges)
        fingerprints = sum(1 for part in message.ranges if part.kind is RangeKind.FINGERPRINT)
        return 1 + (len(message.ranges) + items) // ITEMS_PER_POINT + fingerprints // FINGERPRINTS_PER_POINT
    return FORK_POINTS if isinstance(message, Fork) else 1


def work(message: Message) -> float:
    """About how long a message takes, in milliseconds: its price, but for what is added so that nothing is cheap."""
    if isinstance(message, Segment):
        return SEGMENT_MILLISECONDS + hashed(message) / 4
    return MESSAGE_MILLISECONDS + price(message) - 1


def toil(reads: int, records: int, size: int) -> float:
    """What it costs to read and decrypt so many bytes, whatever is in them."""
    return reads / READS_PER_POINT + records / RECORDS_PER_POINT + size / DECRYPTED_BYTES_PER_POINT


def hashed(segment: Segment) -> int:
    """What it costs besides to look into a segment that then brings nothing."""
    return len(segment.bodies) // BYTES_PER_POINT + segment.count // ENTRIES_PER_POINT


class Allowance:
    """I am what one peer may still cost."""

    def __init__(self, now: float) -> None:
        self._points = float(limits.ALLOWANCE_POINTS)
        self._at = now

    def charge(self, message: Message, now: float) -> None:
        """Take the price of a message; raises :class:`LimitExceededError` when there is no more."""
        self.go_on(now)
        self.spend(price(message))

    def go_on(self, now: float) -> None:
        """Add what time brings."""
        elapsed = max(0.0, now - self._at)
        self._at = now
        earned = elapsed * limits.ALLOWANCE_POINTS_PER_SECOND
        self._points = min(limits.ALLOWANCE_POINTS, self._points + earned)

    def spend(self, points: float) -> None:
        """Take so many points; raises :class:`LimitExceededError` when there are no more."""
        self._points -= points
        if self._points < 0:
            raise LimitExceededError("too many messages that lead nowhere")

    def owe(self, points: float) -> None:
        """Take so many points, if need be of those to come: the next message finds that out."""
        self._points -= points

    def leaves(self, points: float, now: float) -> bool:
        """Tell whether there are at least so many points."""
        earned = max(0.0, now - self._at) * limits.ALLOWANCE_POINTS_PER_SECOND
        return min(limits.ALLOWANCE_POINTS, self._points + earned) >= points

    def earn(self, points: float) -> None:
        """The peer brought something new, it was verified, and what was given for it comes back twice.

        So whoever brings as much that is new as what is known never runs out, however slow it is and for however long;
        and what leads nowhere is never more than what led somewhere, and what time brings.
        """
        self._points = min(limits.ALLOWANCE_POINTS, self._points + 2 * points)
