"""Who broke the protocol, and how long they are kept out for it.

Responsible for: scores of node keys and of places, bans with back-off, and when all of that is forgiven.
Must not know: connections, the reactor; it is told the time.
Invariant: at most ``MAX_SCORES`` records, of which bans are forgotten last; only what the other side did on purpose or
by a fault of its own counts.

An offence counts against the node key in full and against the place it came from (:func:`place`) for an eighth: behind
one address may be many nodes, and a new key costs an offender nothing.  Loopback addresses are never banned, for there
every node of a machine lives.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from math import inf

from gossiplog import limits
from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    FrameTooLargeError,
    GossiplogError,
    HandshakeError,
    LimitExceededError,
    MalformedMessageError,
    UnexpectedMessageError,
)

POINTS: dict[type[GossiplogError], float] = {
    BadSignatureError: 1.0,  # no accident makes one: entries are verified before they are sent
    BadSegmentError: 1.0,
    BadForkProofError: 1.0,
    MalformedMessageError: 0.5,  # another version of the software may
    UnexpectedMessageError: 0.5,
    FrameTooLargeError: 0.5,
    LimitExceededError: 0.25,  # a large and honest peer may
}
"""What an offence counts.  All else counts nothing: a channel that does not decrypt may be the line's
fault, a timeout the network's, a version nobody's."""

BAN_SCORE = 0.9
"""A ban; a little less than 1, because scores fade between two offences."""

HANDSHAKE_POINTS = 0.04
"""Against the place only: browsers, port scanners and members of other networks do no harm one by one."""

HOST_SHARE = 0.125
"""Of an offence's points, against the place it came from."""

HALVED_SECONDS = 600.0
"""A score is half as much after so long."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Somebody is kept out: ``peer`` a node id, or ``host`` an IP address or network, for ``seconds`` more.

    ``reason`` is the last offence, in words.
    """

    peer: bytes | None
    host: str | None
    reason: str
    seconds: float


class _Record:
    """What is held against one key or place."""

    __slots__ = ("at", "bans", "reason", "score", "until")

    def __init__(self, now: float) -> None:
        self.at = now
        self.score = 0.0
        self.bans = 0
        self.reason = ""
        self.until = -inf


class Bans:
    """I am the memory of one node for offences; it is lost when the process ends."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes | str, _Record] = OrderedDict()

    def offence(self, peer: bytes | None, host: str | None, error: GossiplogError, now: float) -> list[Ban]:
        """Count what ``error`` says; returns the bans that begin now."""
        points = POINTS.get(type(error), 0.0)
        made = []
        if isinstance(error, HandshakeError):
            points, share, peer = HANDSHAKE_POINTS, 1.0, None
        else:
            share = HOST_SHARE
        if points and peer is not None:
            made += self._count(peer, points, str(error), now)
        if points and host is not None and not is_local(host):
            made += self._count(place(host), points * share, str(error), now)
        return made

    def banned(self, who: bytes | str, now: float) -> Ban | None:
        """The ban on a node id, or on the place of a host, if there is one.  O(1)."""
        who = _key(who)
        record = self._records.get(who)
        if record is None or now >= record.until:
            return None
        return _ban(who, record, now)

    def all(self, now: float) -> list[Ban]:
        """Every ban of this moment."""
        return [_ban(who, record, now) for who, record in self._records.items() if now < record.until]

    def lift(self, who: bytes | str) -> bool:
        """Forgive a node id, or the place of a host, everything; False when there was nothing."""
        return self._records.pop(_key(who), None) is not None

    def _count(self, who: bytes | str, points: float, reason: str, now: float) -> list[Ban]:
        record = self._records.pop(who, None)
        if record is None or now - max(record.at, record.until) > limits.BAN_FORGIVEN_SECONDS:
            record = _Record(now)
        if len(self._records) >= limits.MAX_SCORES:
            self._forget_one(now)
        self._records[who] = record
        elapsed = max(0.0, now - record.at)
        record.score = record.score * 0.5 ** (elapsed / HALVED_SECONDS) + points
        record.at = now
        record.reason = reason
        if record.score < BAN_SCORE or now < record.until:
            return []
        record.score = 0.0
        seconds = min(limits.BAN_FIRST_SECONDS * 2.0 ** min(record.bans, 30), limits.BAN_MOST_SECONDS)
        record.until = now + seconds
        record.bans += 1
        return [_ban(who, record, now)]

    def _forget_one(self, now: float) -> None:
        """Make room: not of a ban, while there are mere scores, which strangers with many addresses make for nothing.

        O(bans).
        """
        scores = (who for who, record in self._records.items() if now >= record.until)
        del self._records[next(scores, None) or next(iter(self._records))]


def place(host: str) -> str:
    """What an address stands for: itself, or for IPv6 its /64 network, of which an attacker has every address.

    Of a link every neighbour has addresses in the same /64, so there it is the address, whichever the interface.  An
    IPv4 address in an IPv6 one is the former.  What is no address stands for itself.  A network is taken for one of its
    addresses.

    >>> place("2001:db8::7"), place("::ffff:192.0.2.7"), place("fe80::7%eth0")
    ('2001:db8::/64', '192.0.2.7', 'fe80::7')
    """
    address = _address(host)
    if address is None:
        return host
    if isinstance(address, IPv4Address) or address.is_link_local or address.is_loopback:
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def is_local(host: str) -> bool:
    """Whether ``host`` is this machine, or no IP address."""
    address = _address(host)
    return address is None or address.is_loopback


_IPV4_BEHIND_NAT64 = IPv6Network("64:ff9b::/96")
"""All of IPv4, as a node sees it that has only IPv6 (RFC 6052)."""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """``host`` without a zone or the length of a network, as IPv4 if it is; None for what is no address."""
    try:
        address = ip_address(host.partition("/")[0].partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in _IPV4_BEHIND_NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _key(who: bytes | str) -> bytes | str:
    return place(who) if isinstance(who, str) else who


def _ban(who: bytes | str, record: _Record, now: float) -> Ban:
    peer, host = (who, None) if isinstance(who, bytes) else (None, who)
    return Ban(peer, host, record.reason, record.until - now)
