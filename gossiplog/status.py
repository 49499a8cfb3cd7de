"""How a node is: what it is behind on, what it owes, what it keeps, where it waits.

Responsible for: the values of :meth:`gossiplog.Node.status`, reading them from a node, and their form as JSON, in both
directions, which is stable (docs/control.rst).
Must not know: who asks.
Invariant: to look changes nothing.  It costs O(peers), O(what peers are owed) and, with authors, O(authors).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from gossiplog.errors import GossiplogError, InvalidValueError
from gossiplog.gossip.quotas import Quota
from gossiplog.live.commits import CommitStatus
from gossiplog.live.core import StoreCore
from gossiplog.live.machine import wall_ms
from gossiplog.live.store import Store
from gossiplog.log.disk_cost import whole_weights
from gossiplog.log.keys import KeyKind, format_author, format_key, parse_author, parse_key
from gossiplog.log.network import Network
from gossiplog.log.segment import Head
from gossiplog.net.bans import Ban
from gossiplog.net.driver import Driver
from gossiplog.net.listeners import Listeners
from gossiplog.notices import Peer, Progress
from gossiplog.store.directory import BESIDE, DATABASE, VIEWS
from gossiplog.troubles import Trouble, Troubles

VERSION: Final = 1
"""Of the JSON: fields are added, and none changes its meaning or goes, as long as this stays."""

_FORM: Final = {"node": KeyKind.NODE, "peer": KeyKind.NODE, "id": KeyKind.NODE}


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer with an open session.

    ``entries_to_come`` is what it says to hold and is not on our disk, ``entries_to_send`` what it is to get from us
    and was not given to its connection yet.  ``bytes_unread`` wait in the connection for the peer to read them;
    ``bytes_in`` and ``bytes_out``, and ``entries_out``, are those of this connection; ``kept_bytes`` of memory are kept
    for it.
    """

    id: bytes
    address: str
    agent: str
    dialled: bool
    mode: str
    up_seconds: float
    entries_to_come: int
    entries_to_send: int
    entries_out: int
    bytes_in: int
    bytes_out: int
    bytes_unread: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class DialStatus:
    """An endpoint that is dialled until it answers, the node that was met there last, and whether it is connected."""

    endpoint: str
    peer: bytes | None
    connected: bool


class AuthorStatus(NamedTuple):
    """One log: its entries, what they take on disk, and what is known of it; ``local`` if it is written here."""

    author: bytes
    entries: int
    bytes: int
    local: bool
    forked: bool
    blocked: bool
    over_quota: str | None


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """Bytes on disk by kind: logs, the journal of what was written last, views, everything else in the directory; and
    what the file system has left for us.  All are 0 for a store that is in no directory."""

    logs: int = 0
    journal: int = 0
    views: int = 0
    other: int = 0
    free: int = 0


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What waits: ``jobs`` of the store, messages of peers that were not looked at, and the memory that all peers make
    us keep, of what they may."""

    jobs: int
    messages: int
    memory_bytes: int
    max_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """How a node is at this moment.

    ``to_come`` and ``to_send`` are the lag in both directions, in entries, of all peers together: of what several have
    or lack, ``to_come`` counts an entry once, ``to_send`` once for each.  ``network`` is the discovery id, which is no
    secret.  ``bytes_in``, ``bytes_out`` and ``entries_out`` are those of all connections since the node was made, also
    of those that are over.  ``listening`` are the endpoints that are bound, ``addresses`` where others may reach them.
    ``authors`` is empty where it was not asked for.  ``locked``: writers here wait for a passphrase, and do not sign.
    """

    node: bytes
    network: bytes
    store: str
    agent: str
    mode: str
    time_ms: int
    up_seconds: float
    listening: tuple[str, ...]
    addresses: tuple[str, ...]
    dialled: tuple[DialStatus, ...]
    copied: str
    caught_up: bool
    entries: int
    to_come: int
    to_send: int
    rate: float
    log_count: int
    fork_count: int
    log_bytes: int
    bytes_in: int
    bytes_out: int
    entries_out: int
    peers: tuple[PeerStatus, ...]
    bans: tuple[Ban, ...]
    disk: DiskStatus
    queues: QueueStatus
    commits: CommitStatus
    troubles: tuple[Trouble, ...]
    authors: tuple[AuthorStatus, ...]
    locked: bool = False  # as of a node that does not say so

    def as_json(self) -> dict[str, Any]:
        """Return what ``gossiplog status --json`` prints, as a value for :mod:`json`."""
        return {"version": VERSION, **_plain(self)}

    @staticmethod
    def of_json(said: Mapping[str, Any]) -> Status:
        """Return the status that :meth:`as_json` made ``said`` of, also one with fields that are not known here.

        Raises :class:`InvalidValueError` for what is none.
        """
        try:
            status: Status = _made(Status, said)
        except (KeyError, TypeError, ValueError, GossiplogError) as error:
            raise InvalidValueError(f"that is not how a node is: {error!r}") from None
        return status


class Observed(Protocol):
    """A node, as far as it is looked at."""

    reactor: Any
    id: bytes
    network: Network
    store: Store
    agent: str
    mode: str
    _began_at: float
    _driver: Driver
    _troubles: Troubles
    _listeners: Listeners

    @property
    def progress(self) -> Progress:
        """How far catching up is."""

    @property
    def caught_up(self) -> bool:
        """Whether it is there."""

    @property
    def addresses(self) -> list[str]:
        """Where others may reach it."""

    @property
    def bans(self) -> list[Ban]:
        """Who is kept out."""

    @property
    def over_quota(self) -> dict[bytes, Quota]:
        """Of whom nothing is taken."""


def _plain(value: Any) -> Any:
    """Return a value as JSON: keys in their text form."""
    return {each.name: _told(each.name, getattr(value, each.name)) for each in fields(value)}


def _told(name: str, value: Any) -> Any:
    if isinstance(value, AuthorStatus):
        return {**value._asdict(), "author": format_author(value.author)}
    if isinstance(value, bytes):
        if name == "author":
            return format_author(value)
        return format_key(_FORM[name], value) if name in _FORM else value.hex()
    if isinstance(value, tuple):
        return [_told(name, each) for each in value]
    if value == inf:
        return None  # which JSON has no number for
    return _plain(value) if hasattr(value, "__dataclass_fields__") else value


def _made(kind: type[Any], said: Mapping[str, Any]) -> Any:
    """Return the value that :func:`_plain` made ``said`` of."""
    names = AuthorStatus._fields if kind is AuthorStatus else [each.name for each in fields(kind)]
    return kind(**{name: _meant(name, said[name]) for name in names if name in said})


def _meant(name: str, said: Any) -> Any:
    if isinstance(said, list):
        return tuple(_meant(name, each) for each in said)
    if isinstance(said, dict):
        return _made(_PARTS[name], said)
    if name in _FORM and said is not None:
        return parse_key(_FORM[name], said)
    if name == "seconds" and said is None:
        return inf
    return {"author": parse_author, "network": bytes.fromhex}.get(name, lambda value: value)(said)


_PARTS: Final[Mapping[str, type[Any]]] = {
    "authors": AuthorStatus,
    "bans": Ban,
    "commits": CommitStatus,
    "dialled": DialStatus,
    "disk": DiskStatus,
    "peers": PeerStatus,
    "queues": QueueStatus,
    "troubles": Trouble,
}
"""What the objects in the JSON are, by the name of the field."""


def _disk_of(path: str | None) -> DiskStatus:
    """Return what is in the directory of a store.  O(files)."""
    if path is None:
        return DiskStatus()
    sizes = {"logs": 0, "journal": 0, "views": 0, "other": 0}
    for name, size in _files(path):
        kind = "logs" if name == DATABASE else "views" if name == VIEWS else "other"
        sizes["journal" if name in {DATABASE + suffix for suffix in BESIDE} else kind] += size
    free = 0
    with suppress(OSError):
        found = os.statvfs(path)
        free = found.f_bavail * found.f_frsize
    return DiskStatus(**sizes, free=free)


def _files(path: str) -> Iterator[tuple[str, int]]:
    """Yield each name in a directory with the size of what is there; the sizes of a directory in it together."""
    with suppress(OSError), os.scandir(path) as found:
        for entry in found:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name, sum(size for _, size in _files(entry.path))
                else:
                    yield entry.name, entry.stat(follow_symlinks=False).st_size


def status_of(node: Observed, *, authors: bool) -> Status:
    """Return how a node is."""
    core, driver, progress = node.store._core, node._driver, node.progress
    clock = core.whole_clock("listing every log (status with authors=False is)") if authors else None
    peers = (*_peers_of(driver),)
    weights, budget = core.weigh(), driver.replica.core.budget
    each = whole_weights(weights)
    return Status(
        node=node.id,
        network=node.network.discovery_id,
        store=node.store.path,
        agent=node.agent,
        mode=node.mode,
        time_ms=wall_ms(node.reactor),
        up_seconds=driver.seconds() - node._began_at,
        listening=(*node._listeners.bound,),
        addresses=(*node.addresses,),
        dialled=(
            *[DialStatus(each.endpoint, each.peer, each.link is not None) for each in driver.dialers.active],
        ),
        copied=node.store.copied,
        caught_up=node.caught_up,
        entries=progress.held,
        to_come=progress.known - progress.held,
        to_send=sum(peer.entries_to_send for peer in peers),
        rate=progress.rate,
        log_count=len(core.clock),
        fork_count=len(core.forks),
        log_bytes=weights.bytes,
        **driver._open.traffic._asdict(),
        peers=peers,
        bans=(*node.bans,),
        disk=_disk_of(core.directory),
        queues=QueueStatus(
            jobs=core.thread.waiting,
            messages=sum(link.waiting for link in driver.links.values()),
            memory_bytes=budget.used_bytes,
            max_memory_bytes=budget.most_bytes,
        ),
        commits=core.thread.commits,
        troubles=node._troubles.all(),
        authors=()
        if clock is None or each is None
        else (*authors_of(core, node.over_quota, clock.items(), each.of),),
        locked=core.held.locked,
    )


def _peers_of(driver: Driver) -> Iterator[PeerStatus]:
    """Yield how each peer is.  O(peers and what they are owed)."""
    sessions = driver.replica.core.sessions
    seq = driver.replica.core.heads.clock.seq  # of whom anything is owed, the head is in memory
    now = driver.seconds()
    for number, peer in driver.peers.items():
        link, session = driver.links[number], sessions[number]
        yield PeerStatus(
            **_about(peer),
            up_seconds=now - session.began_at,
            entries_to_come=driver.replica.pulls.schedule.sources[number].entries_ahead,
            entries_to_send=session.outbox.entries_owed(seq),
            entries_out=link.entries_out,
            bytes_in=link.channel.bytes_in,
            bytes_out=link.channel.bytes_out,
            bytes_unread=link.unsent_bytes,
            kept_bytes=driver.replica.core.budget.held_bytes(number),
        )


def _about(peer: Peer) -> Mapping[str, Any]:
    return asdict(peer)


def authors_of(
    core: StoreCore,
    refused: Mapping[bytes, Any],
    heads: Iterable[tuple[bytes, Head]],
    size_of: Callable[[bytes], int],
) -> Iterator[AuthorStatus]:
    """Yield how the logs with these heads are; ``size_of`` says what they take on disk."""
    forks, local = core.forks, core.local
    blocked = core.interest.choices.blocked
    for author, head in heads:
        quota = refused.get(author)
        yield AuthorStatus(
            author,
            head.seq,
            size_of(author),
            author in local,
            author in forks,
            author in blocked,
            None if quota is None else quota.value,
        )
