"""gossiplog for asyncio: the same stores and nodes on the loop that runs, with coroutines.

Responsible for: :class:`Store`, :class:`Writer`, :class:`LiveView`, :class:`Node`, as an asyncio program expects them.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog``.
Invariant: no reactor is installed, the loop and its signals stay the program's, and leaving ``async with`` leaves
nothing behind.  Whatever is cancelled, the end is waited for, and nothing that was appended is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import gossiplog
from gossiplog.aio_methods import coroutine, same
from gossiplog.arguments import check_seconds, check_type
from gossiplog.errors import InvalidValueError, StoreClosedError, StoreLockedError, ViewFailedError
from gossiplog.gossip.quotas import Quota, Quotas, Usage
from gossiplog.live import loop_reactor
from gossiplog.live.order_notices import OrderNotices
from gossiplog.live.results import Result
from gossiplog.live.subscriptions import Events
from gossiplog.log.clock_view import ClockView
from gossiplog.log.network import Network
from gossiplog.net.bans import Ban
from gossiplog.notices import Peer, Progress, ViewProgress
from gossiplog.paths import AnyPath
from gossiplog.store.lock import TRY_SECONDS, Patience
from gossiplog.ticket import Ticket
from gossiplog.views.search import Search
from gossiplog.views.view import View

if TYPE_CHECKING:
    from gossiplog.aio_attached import AttachedNode
    from gossiplog.net.settings import NodeOptions

N = TypeVar("N")
M = TypeVar("M")


class Store:
    """I am a :class:`gossiplog.Store` on the running loop: ``async with Store("notes") as store``.

    With ``wait``, one that another process has open is waited for so many seconds, and the loop runs meanwhile.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        init: bool = True,
        read_only: bool = False,
        wait: float = 0.0,
        state: AnyPath | None = None,
        passphrase: str | None = None,
        signer: gossiplog.Signer | None = None,
    ) -> None:
        check_seconds("wait", wait)
        self._path = path
        self._patience = wait
        self._how: dict[str, Any] = {"init": init, "read_only": read_only, "state": state}
        self._how |= {"passphrase": passphrase, "signer": signer}
        self._open: Callable[..., gossiplog.Store] = gossiplog.open_store
        self._opened: gossiplog.Store | None = None
        self._reactor: Any = None

    async def open(self) -> Self:
        """Open the store, as :func:`gossiplog.open_store` does; :meth:`close` closes it."""
        if self._opened is not None:
            raise InvalidValueError(f"store {self._opened.path} is open already")
        self._reactor = loop_reactor.join()
        try:
            patience = Patience(self._patience)
            while self._opened is None:
                began = time.monotonic()
                try:
                    self._opened = self._open(self._path, self._reactor, **self._how)
                except StoreLockedError as error:
                    await asyncio.sleep(min(patience.bear(error, began), TRY_SECONDS))
        except BaseException:
            await loop_reactor.leave(self._reactor)
            raise
        return self

    async def close(self) -> None:
        """Stop the nodes that use the store, finish what was begun, close.  Whoever cancels this waits all the same."""
        store, self._opened = self._opened, None
        if store is not None and store._core.home.is_here:  # in a child by fork there is no loop
            try:
                await _to_the_end(store.close())
            finally:
                await loop_reactor.leave(self._reactor)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def _it(self) -> gossiplog.Store:
        if self._opened is None:
            raise StoreClosedError(f"store {self._path!r} is not open: use it within 'async with'")
        return self._opened

    @property
    def path(self) -> str:
        """Its directory, absolute."""
        return self._it.path

    @property
    def clock(self) -> ClockView:
        """How far each author's log is on disk; loops over it are safe."""
        return self._it.clock

    @property
    def forks(self) -> AbstractSet[bytes]:
        """The authors whose logs are known as forked."""
        return self._it.forks

    @property
    def copied(self) -> str:
        """Why this may be a copy of a store that is in use elsewhere; "" if it is not."""
        return self._it.copied

    async def writer(self, name: str = "default", *, encoding: str = "bytes") -> Writer:
        """The local author called ``name``, its key pair made the first time; names are local to this store."""
        return Writer(await self._it.writer(name, encoding=encoding))

    @overload
    async def view(self, view: Search) -> LiveSearch: ...

    @overload
    async def view(self, view: View) -> LiveView: ...

    async def view(self, view: View) -> LiveView:
        """Open a view, as :meth:`gossiplog.Store.view`."""
        opened = await self._it.view(view)
        return LiveSearch(opened) if isinstance(opened, gossiplog.LiveSearch) else LiveView(opened)

    @property
    def notices(self) -> OrderNotices:
        """What becomes of the order of entries; ``store.notices.listen(function)`` to be told."""
        return self._it.notices

    writers = coroutine(gossiplog.Store.writers)
    unlock, protect = coroutine(gossiplog.Store.unlock), coroutine(gossiplog.Store.protect)
    add_writer, recovered = coroutine(gossiplog.Store.add_writer), coroutine(gossiplog.Store.recovered)
    add_fork, fork_proof = coroutine(gossiplog.Store.add_fork), coroutine(gossiplog.Store.fork_proof)
    read = same(gossiplog.Store.read)
    heads = coroutine(gossiplog.Store.heads)
    entry = coroutine(gossiplog.Store.entry)
    timeline = coroutine(gossiplog.Store.timeline)
    cursor = coroutine(gossiplog.Store.cursor)
    save_cursor = coroutine(gossiplog.Store.save_cursor)
    backup, compact = coroutine(gossiplog.Store.backup), coroutine(gossiplog.Store.compact)
    export, import_ = coroutine(gossiplog.Store.export), coroutine(gossiplog.Store.import_)
    verify, holes = coroutine(gossiplog.Store.verify), coroutine(gossiplog.Store.holes)
    repair = coroutine(gossiplog.Store.repair)


class AttachedStore(Store):
    """I am a :class:`Store` that a node in another process has, from :func:`attach`."""

    @property
    def node(self) -> AttachedNode:
        """That node: how it is, its peers, who is kept out, which authors are wanted."""
        attached: Any = import_module("gossiplog.aio_attached")
        node: AttachedNode = attached.AttachedNode(self._it)
        return node


def attach(path: AnyPath, *, wait: float = 0.0) -> AttachedStore:
    """The store at ``path`` as the node that has it shows it to others: ``async with attach("notes") as store``.

    All that a store does works, but repairing and running a node; ``store.node`` is the one that has it.  Views are in
    memory.  With ``wait``, a node that has no room for more is waited for.  To open it raises :class:`ControlError`
    when no node has the store, and whoever waits for anything gets :class:`NodeGoneError` when the node stops.
    """
    store = AttachedStore(path, wait=wait)
    store._open = import_module("gossiplog.control.attached").attach
    store._how = {"wait": wait}
    return store


class Writer:
    """I append to one local log.  ``author`` is its key, ``name`` what this store calls it."""

    def __init__(self, writer: gossiplog.Writer) -> None:
        self._it = writer
        self.name = writer.name
        self.author = writer.author

    append = coroutine(gossiplog.Writer.append)
    append_many = coroutine(gossiplog.Writer.append_many)


class LiveView:
    """I am an open view; ``name`` and ``version`` are its."""

    def __init__(self, view: gossiplog.LiveView) -> None:
        self._it = view
        self.name = view.name
        self.version = view.version

    @property
    def error(self) -> ViewFailedError | None:
        """Why it stopped, None as long as it goes on."""
        return self._it.error

    @property
    def progress(self) -> ViewProgress:
        """How far it is."""
        return self._it.progress

    ready = coroutine(gossiplog.LiveView.ready)
    query = coroutine(gossiplog.LiveView.query)
    changes = same(gossiplog.LiveView.changes)
    close = coroutine(gossiplog.LiveView.close)


class LiveSearch(LiveView):
    """I am an open search."""

    find = coroutine(gossiplog.LiveSearch.find)


class Joined:
    """I am what a node does to find its peers, since :meth:`Node.join`."""

    def __init__(self, joined: gossiplog.Joined) -> None:
        self._it = joined

    flush = coroutine(gossiplog.Joined.flush)
    leave = coroutine(gossiplog.Joined.leave)

    @property
    def finding(self) -> bool:
        """Whether a first look is under way."""
        return self._it.finding


class Node:
    """I am a :class:`gossiplog.Node` on the running loop: ``async with Node(store, network="garden") as node``."""

    def __init__(
        self,
        store: Store,
        *,
        network: Network | Ticket | str,
        **options: Unpack[NodeOptions],
    ) -> None:
        """``options`` are those of :class:`gossiplog.Node`."""
        check_type("store", store, Store, "a gossiplog.aio.Store")
        self._it = gossiplog.Node(
            store._reactor,
            store._it,
            network=network,
            **options,
        )
        self.store = store
        self.network = self._it.network
        self.id = self._it.id

    async def stop(self) -> None:
        """Stop listening and dialling, say BYE, commit what was accepted.  Whoever cancels this waits all the same."""
        if self._it.store._core.home.is_here:
            await _to_the_end(self._it.stop())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    listen = coroutine(gossiplog.Node.listen)
    connect = same(gossiplog.Node.connect)
    connect_to = same(gossiplog.Node.connect_to)
    forget = same(gossiplog.Node.forget)

    def join(
        self, *ways: gossiplog.Way, links: int = 8, max_links: int = 64, tell_peers: bool = True
    ) -> Joined:
        """As :meth:`gossiplog.Node.join`."""
        return Joined(self._it.join(*ways, links=links, max_links=max_links, tell_peers=tell_peers))

    follow = coroutine(gossiplog.Node.follow)
    unfollow = coroutine(gossiplog.Node.unfollow)
    block = coroutine(gossiplog.Node.block)
    unblock = coroutine(gossiplog.Node.unblock)
    subscribe = same(gossiplog.Node.subscribe)
    when_in_sync = coroutine(gossiplog.Node.when_in_sync)
    recover = coroutine(gossiplog.Node.recover)
    ban = same(gossiplog.Node.ban)
    unban = same(gossiplog.Node.unban)
    disconnect = same(gossiplog.Node.disconnect)

    @property
    def found(self) -> list[gossiplog.Found]:
        """Where other nodes are known to be, or said to be."""
        return self._it.found

    @property
    def addresses(self) -> list[str]:
        """Where others may reach this node, as endpoints."""
        return self._it.addresses

    @property
    def reachable(self) -> bool | None:
        """Whether others, beyond the local network, can dial this node; None while that is not known."""
        return self._it.reachable

    @property
    def peers(self) -> list[Peer]:
        """The peers with an open session."""
        return self._it.peers

    status = same(gossiplog.Node.status)

    @property
    def caught_up(self) -> bool:
        """Whether all that any of the peers told us of is on our disk; False while there is none that sends entries."""
        return self._it.caught_up

    @property
    def progress(self) -> Progress:
        """How far catching up is: entries held and known to exist, the rate, the time left."""
        return self._it.progress

    @property
    def quotas(self) -> Quotas:
        """The bounds in force, with those that were not chosen."""
        return self._it.quotas

    @property
    def usage(self) -> Usage:
        """What is held, as the quotas count it."""
        return self._it.usage

    @property
    def over_quota(self) -> dict[bytes, Quota]:
        """The authors of whom nothing is taken now because of a quota, and which."""
        return self._it.over_quota

    @property
    def bans(self) -> list[Ban]:
        """Nodes that are kept out, for offences against the protocol."""
        return self._it.bans

    @overload
    async def when(self, kind: type[N], /, *, where: Callable[[N], bool] | None = None) -> N: ...

    @overload
    async def when(
        self, kind: type[N], other: type[M], /, *, where: Callable[[N | M], bool] | None = None
    ) -> N | M: ...

    @overload
    async def when(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None) -> Any: ...

    async def when(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None) -> Any:
        """The next notice of one of these ``kinds`` (any, if none) for which ``where(notice)`` is true.

        From when it is awaited, or its task begins.  Raises :class:`NodeStoppedError` when the node has stopped.
        """
        return await self._it.when(*kinds, where=where)

    @overload
    def events(self, kind: type[N], /) -> Events[N]: ...

    @overload
    def events(self, kind: type[N], other: type[M], /) -> Events[N | M]: ...

    @overload
    def events(self, *kinds: type[Any]) -> Events[Any]: ...

    def events(self, *kinds: type[Any]) -> Events[Any]:
        """What happens from now on: ``async for notice in node.events(PeerUp, PeerDown)``; everything, without kinds.

        As :meth:`gossiplog.Node.events`.
        """
        return self._it.events(*kinds)


async def _to_the_end(result: Result[None]) -> None:
    """Wait for an end that comes soon, even if this task is cancelled; raises that afterwards."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    result.addCallbacks(over.set_result, lambda failure: over.set_exception(failure.value))
    await loop_reactor.whatever_comes(over)
    over.result()
