"""What happens in a node, as events of its log.

Responsible for: the name, the part, the level and the fields of each notice, and its line in words.
Must not know: where the log goes to.
Invariant: what is tried again and again is said once, until it works; what nobody wants to know is not put in words.
"""

from __future__ import annotations

import re
from dataclasses import fields
from enum import Enum
from math import inf
from typing import Any, Final

from twisted.logger import LogLevel

from gossiplog import notices
from gossiplog.errors import GossiplogError, StoreUnreachableError
from gossiplog.live.logger import PACKAGE, NodeLog, Said
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import KEY_BYTES, KeyKind, format_key, short_key
from gossiplog.notices import Notice, Peer
from gossiplog.printable import brief

_DEBUG, _INFO, _WARN, _ERROR = LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error

KINDS: Final[dict[type[Any], tuple[str, LogLevel]]] = {
    notices.PeerUp: ("net", _INFO),
    notices.PeerDown: ("net", _INFO),
    notices.PeerRejected: ("net", _WARN),
    notices.StrangersTurnedAway: ("net", _WARN),
    notices.Banned: ("net", _WARN),
    notices.DialFailed: ("net", _WARN),
    notices.PeerFound: ("discovery", _DEBUG),
    notices.PeerLost: ("discovery", _DEBUG),
    notices.WayFailed: ("discovery", _WARN),
    notices.NetworkChanged: ("net", _INFO),
    notices.Reachability: ("net", _INFO),
    notices.CaughtUp: ("gossip", _DEBUG),
    notices.InSync: ("gossip", _DEBUG),
    notices.NewEntries: ("gossip", _DEBUG),
    notices.PayloadsFilled: ("gossip", _DEBUG),
    notices.Progress: ("gossip", _DEBUG),
    notices.AuthorForked: ("gossip", _WARN),
    notices.QuotaExceeded: ("gossip", _WARN),
    notices.QuotaLifted: ("gossip", _INFO),
    notices.StoreFailing: ("store", _ERROR),
    notices.StoreReachable: ("store", _INFO),
    notices.StoreDamaged: ("store", _ERROR),
    notices.Reordered: ("views", _DEBUG),
    notices.EntryAhead: ("views", _DEBUG),
    notices.TimelineProgress: ("views", _DEBUG),
    notices.ViewProgress: ("views", _DEBUG),
    notices.ViewSkipped: ("views", _WARN),
    notices.ViewFailed: ("views", _ERROR),
}
"""Of which part it is, and its level: info is what an operator reads, debug what happens all the time."""


def name_of(kind: type[Any]) -> str:
    """Return the name of the event: ``peer_up`` of ``PeerUp``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


NAMES: Final = {kind: name_of(kind) for kind in KINDS}

_logs: Final = {part: NodeLog(f"{PACKAGE}.{part}") for part, _ in KINDS.values()}

_STORE: Final = "the store"


class Happenings:
    """I log what a node tells."""

    def __init__(self, network: str = "") -> None:
        """``network``: what it is called, where there are several."""
        self._said = Said()
        self._about = {"network": network} if network else {}
        self._before = f"{network}: " if network else ""

    def tell(self, notice: Notice) -> None:
        """This happened."""
        part, level = KINDS[type(notice)]
        self._works_again(notice)
        log = _logs[part]
        if not log.wants(level):
            return
        event, about = NAMES[type(notice)], facts(notice) | self._about
        words = describe(notice) or " ".join([event, *(f"{name}={value}" for name, value in about.items())])
        again = _tried_again(notice)
        if again is None or self._said.is_new(again, _as_said(notice, words)):
            log.emit(level, "{words}", words=f"{self._before}{words}", event=event, **about)

    def _works_again(self, notice: Notice) -> None:
        match notice:
            case notices.PeerUp(peer):
                self._said.over(peer.address)
            case notices.NewEntries() | notices.StoreReachable():
                self._said.over(_STORE)


def _tried_again(notice: Notice) -> str | None:
    """What a notice is about that is told at each try, else None."""
    match notice:
        case notices.DialFailed(address, _) | notices.PeerRejected(address, _):
            return address
        case notices.StoreFailing():
            return _STORE
        case notices.WayFailed(way, _):
            return f"way {way}"
        case _:
            return None


def _as_said(notice: Notice, words: str) -> str:
    """What counts as said: of a database that is away the reason changes with each try."""
    match notice:
        case notices.StoreFailing(StoreUnreachableError(), _):
            return "unreachable"
        case _:
            return words


def facts(notice: Notice) -> dict[str, Any]:
    """Return what a notice says, as texts, numbers, truths and lists of texts; keys as people write them."""
    said: dict[str, Any] = {}
    for field in fields(notice):
        said |= _fact(field.name, getattr(notice, field.name))
    return said


def _fact(name: str, value: Any) -> dict[str, Any]:
    match value:
        case Peer():
            return {
                "peer": format_key(KeyKind.NODE, value.id),
                "address": value.address,
                "agent": value.agent,
                "dialled": value.dialled,
                "mode": value.mode,
            }
        case ForkProof():
            return {"author": format_key(KeyKind.AUTHOR, value.author)}
        case GossiplogError():
            return {"error": type(value).__name__, "reason": str(value)}
        case Enum():
            return {name: value.value}
        case bytes() if len(value) == KEY_BYTES and name in ("author", "peer", "node"):
            return {name: format_key(KeyKind.AUTHOR if name == "author" else KeyKind.NODE, value)}
        case bytes():
            return {name: value.hex()}
        case tuple():
            return {name: len(value)} if name == "peers" else {name: " ".join(map(str, value))}
        case None:
            return {}
        case _:
            return {name: value}


def describe(notice: Notice) -> str | None:
    """Say in one line what happened, None for what happens all the time."""
    words = _words(notice)
    return None if words is None else brief(words)


def _words(notice: Notice) -> str | None:
    match notice:
        case notices.PeerUp(peer):
            only = {"pull": ", only pulls", "push": ", only pushes"}.get(peer.mode, "")
            return f"peer {short_key(peer.id)} is up at {peer.address} ({peer.agent}{only})"
        case notices.PeerDown(peer, _, reason):
            return f"peer {short_key(peer.id)} is down: {reason}"
        case notices.PeerRejected(address, error):
            return f"rejected {address}: {error}"
        case notices.StrangersTurnedAway(count, places, where, most, reason):
            return (
                f"turned away {count:,} more strangers from {places:,} addresses in a minute, {most:,} of them from "
                f"{where}; the last: {reason}"
            )
        case notices.Banned(peer, reason, seconds):
            how_long = "for good" if seconds == inf else f"for {seconds:.0f} s"
            return f"peer {short_key(peer)} is kept out {how_long}: {reason}"
        case notices.DialFailed(address, reason):
            return f"no connection to {address}: {reason}"
        case notices.WayFailed(way, reason):
            return f"finding peers by {way}: {reason}"
        case notices.Reachability(reachable):
            if reachable is None:
                return "it is not known any more whether others can dial this node"
            return f"others {'can' if reachable else 'cannot'} dial this node"
        case notices.NetworkChanged(addresses, slept):
            slept_words = "slept, and " if slept else ""
            return (
                f"this machine {slept_words}has the addresses {', '.join(addresses) or 'of no network'} now"
            )
        case notices.ViewSkipped(view, author, seq, reason, count):
            return f"the view {view} skipped {count:,}, first entry {seq} of {short_key(author)}: {reason}"
        case notices.ViewFailed(view, error):
            return f"the view {view} stopped: {error}"
        case notices.AuthorForked(proof):
            return f"author {short_key(proof.author)} has forked its log; nothing more is taken from it"
        case notices.QuotaExceeded(author, quota):
            return f"author {short_key(author)} is over the quota {quota.value}; nothing is taken from it"
        case notices.QuotaLifted(author):
            return f"author {short_key(author)} is within the quotas again"
        case notices.StoreFailing(error, final):
            end = "nothing is written any more" if final else "writing is tried again"
            return f"the store fails: {error}; {end}"
        case notices.StoreReachable(seconds):
            return f"the database of the store answers again, after {seconds:.1f} s"
        case notices.StoreDamaged(author, error, first, last):
            if author is None:
                return f"the store is damaged, and only read: {error}; see gossiplog verify --repair"
            where = f"{first} to {last}" if last > first else f"{first}"
            return f"the log of {short_key(author)} is damaged at {where}: {error}; see gossiplog verify --repair"
        case _:
            return None
