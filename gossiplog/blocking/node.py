"""Nodes for scripts and threads.

Responsible for: :class:`Node` and :class:`Events`, that wait; catching up with peers.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog``.
Invariant: a node is touched in its thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import gossiplog
from gossiplog.arguments import check_type
from gossiplog.blocking.store import Store
from gossiplog.blocking.waiting import Told, called, waits
from gossiplog.errors import StoreClosedError
from gossiplog.gossip.quotas import Quota, Quotas, Usage
from gossiplog.log.network import Network
from gossiplog.net.bans import Ban
from gossiplog.net.catching_up import CatchUp, Moved
from gossiplog.notices import Peer, Progress
from gossiplog.ticket import Ticket

if TYPE_CHECKING:
    from gossiplog.net.settings import NodeOptions

N = TypeVar("N")
M = TypeVar("M")


class Events(Told[N]):
    """I am what happens in a node, from when I was asked for: ``for notice in node.events(PeerUp)``."""


class Joined:
    """I am what a node does to find its peers, since :meth:`Node.join`."""

    def __init__(self, joined: gossiplog.Joined, wait: Callable[..., Any]) -> None:
        self._it = joined
        self._wait = wait

    flush = waits(gossiplog.Joined.flush)
    leave = waits(gossiplog.Joined.leave)

    @property
    def finding(self) -> bool:
        """Whether a first look is under way."""
        return bool(self._wait(lambda: self._it.finding))


class Node:
    """I am a :class:`gossiplog.Node` that waits: ``with Node(store, network="garden") as node``."""

    def __init__(
        self,
        store: Store,
        *,
        network: Network | Ticket | str,
        **options: Unpack[NodeOptions],
    ) -> None:
        """``options`` are those of :class:`gossiplog.Node`."""
        check_type("store", store, Store, "a gossiplog.blocking.Store")
        self._wait = store._wait
        self.store = store

        def make() -> gossiplog.Node:
            return gossiplog.Node(
                store._it.reactor,
                store._it,
                network=network,
                **options,
            )

        self._it: gossiplog.Node = self._wait(make)
        self.network = self._it.network
        self.id = self._it.id

    stop = waits(gossiplog.Node.stop)
    listen = waits(gossiplog.Node.listen)
    follow = waits(gossiplog.Node.follow)
    unfollow = waits(gossiplog.Node.unfollow)
    block = waits(gossiplog.Node.block)
    unblock = waits(gossiplog.Node.unblock)
    when_in_sync = waits(gossiplog.Node.when_in_sync)
    recover = waits(gossiplog.Node.recover)
    connect = called(gossiplog.Node.connect)
    connect_to = called(gossiplog.Node.connect_to)
    forget = called(gossiplog.Node.forget)
    subscribe = called(gossiplog.Node.subscribe)
    ban = called(gossiplog.Node.ban)
    unban = called(gossiplog.Node.unban)
    disconnect = called(gossiplog.Node.disconnect)
    status = called(gossiplog.Node.status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(StoreClosedError):  # the store was closed, and the node with it
            self.stop()

    def join(
        self, *ways: gossiplog.Way, links: int = 8, max_links: int = 64, tell_peers: bool = True
    ) -> Joined:
        """As :meth:`gossiplog.Node.join`."""
        joined = self._wait(
            lambda: self._it.join(*ways, links=links, max_links=max_links, tell_peers=tell_peers)
        )
        return Joined(joined, self._wait)

    @property
    def found(self) -> list[gossiplog.Found]:
        """Where other nodes are known to be, or said to be."""
        found: list[gossiplog.Found] = self._wait(lambda: self._it.found)
        return found

    @property
    def addresses(self) -> list[str]:
        """Where others may reach this node, as endpoints."""
        addresses: list[str] = self._wait(lambda: self._it.addresses)
        return addresses

    @property
    def reachable(self) -> bool | None:
        """Whether others, beyond the local network, can dial this node; None while that is not known."""
        reachable: bool | None = self._wait(lambda: self._it.reachable)
        return reachable

    @property
    def peers(self) -> list[Peer]:
        """The peers with an open session."""
        peers: list[Peer] = self._wait(lambda: self._it.peers)
        return peers

    @property
    def caught_up(self) -> bool:
        """Whether all that any of the peers told us of is on our disk; False while there is none that sends entries."""
        return bool(self._wait(lambda: self._it.caught_up))

    @property
    def progress(self) -> Progress:
        """How far catching up is: entries held and known to exist, the rate, the time left."""
        progress: Progress = self._wait(lambda: self._it.progress)
        return progress

    @property
    def quotas(self) -> Quotas:
        """The bounds in force, with those that were not chosen."""
        return self._it.quotas

    @property
    def usage(self) -> Usage:
        """What is held, as the quotas count it."""
        usage: Usage = self._wait(lambda: self._it.usage)
        return usage

    @property
    def over_quota(self) -> dict[bytes, Quota]:
        """The authors of whom nothing is taken now because of a quota, and which."""
        over: dict[bytes, Quota] = self._wait(lambda: self._it.over_quota)
        return over

    @property
    def bans(self) -> list[Ban]:
        """Nodes that are kept out, for offences against the protocol."""
        bans: list[Ban] = self._wait(lambda: self._it.bans)
        return bans

    @overload
    def when(self, kind: type[N], /, *, where: Callable[[N], bool] | None = None) -> N: ...

    @overload
    def when(
        self, kind: type[N], other: type[M], /, *, where: Callable[[N | M], bool] | None = None
    ) -> N | M: ...

    @overload
    def when(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None) -> Any: ...

    def when(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None) -> Any:
        """The next notice of one of these ``kinds`` (any, if none) for which ``where(notice)`` is true.

        ``where`` is called in the thread of the node.  What happened before the call is missed: use :meth:`events`.
        """
        return self._wait(lambda: self._it.when(*kinds, where=where))

    @overload
    def events(self, kind: type[N], /, *, timeout: float | None = None) -> Events[N]: ...

    @overload
    def events(self, kind: type[N], other: type[M], /, *, timeout: float | None = None) -> Events[N | M]: ...

    @overload
    def events(self, *kinds: type[Any], timeout: float | None = None) -> Events[Any]: ...

    def events(self, *kinds: type[Any], timeout: float | None = None) -> Events[Any]:
        """What happens from now on: ``for notice in node.events(PeerUp, PeerDown)``; everything, without kinds."""
        return Events(self._wait, self._wait(lambda: self._it.events(*kinds)), timeout)


def catch_up(store: Store, endpoints: Iterable[str], timeout: float, **options: Any) -> Moved:
    """Catch up with one after the other; what moved in all."""
    began = time.monotonic()
    received = sent = 0
    with Node(store, **options) as node:
        for endpoint in endpoints:
            moved: Moved = store._run(CatchUp(node._it, endpoint, timeout).run)
            received, sent = received + moved.received, sent + moved.sent
    return Moved(received, sent, round(time.monotonic() - began, 3))
