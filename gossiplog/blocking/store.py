"""Stores for scripts and threads.

Responsible for: :class:`Store` and :class:`Writer`, that wait.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog``.
Invariant: any thread may call; who waits is woken by what it waits for, by Ctrl-C and by its timeout.  Leaving ``with``
leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, overload

import gossiplog
from gossiplog.arguments import check_seconds
from gossiplog.blocking.reader import Reader
from gossiplog.blocking.waiting import waits
from gossiplog.errors import InvalidValueError, StoreClosedError, StoreInUseError, StoreLockedError
from gossiplog.live import reactor_thread
from gossiplog.live.selection import Where
from gossiplog.log.clock_view import ClockView
from gossiplog.log.cursor import Cursor
from gossiplog.paths import AnyPath
from gossiplog.store.lock import TRY_SECONDS, Patience

if TYPE_CHECKING:
    from gossiplog.blocking import views
    from gossiplog.blocking.attached import AttachedNode
    from gossiplog.live.order_notices import OrderNotices
    from gossiplog.log.network import Network
    from gossiplog.net.catching_up import Moved
    from gossiplog.ticket import Ticket
    from gossiplog.views.search import Search
    from gossiplog.views.view import View


class Store:
    """I am a :class:`gossiplog.Store` that waits: ``with Store("notes") as store``.

    ``wait``: for how many seconds, if another process has it open.  ``timeout``: so long any call waits at most, and
    then raises TimeoutError; None is for ever.  It can be changed at any time; what was begun goes on all the same.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        init: bool = True,
        read_only: bool = False,
        wait: float = 0.0,
        state: AnyPath | None = None,
        timeout: float | None = None,
        passphrase: str | None = None,
        signer: gossiplog.Signer | None = None,
    ) -> None:
        check_seconds("wait", wait)
        self.timeout = timeout
        self._path = path
        self._patience = wait
        self._how: dict[str, Any] = {
            "init": init,
            "read_only": read_only,
            "state": state,
            "passphrase": passphrase,
            "signer": signer,
        }
        self._open: Callable[..., gossiplog.Store] = gossiplog.open_store
        self._thread: reactor_thread.ReactorThread | None = None
        self._store: gossiplog.Store | None = None

    def open(self) -> Self:
        """Open the store, as :func:`gossiplog.open_store` does; :meth:`close` closes it."""
        if self._thread is not None:
            raise InvalidValueError(f"store {self._path!r} is open already")
        self._thread = thread = reactor_thread.join()
        patience = Patience(self._patience)
        try:
            while self._store is None:
                began = time.monotonic()
                try:
                    self._store = thread.wait(lambda: self._open(self._path, thread.reactor, **self._how))
                except StoreLockedError as error:
                    time.sleep(min(patience.bear(error, began), TRY_SECONDS))
        except BaseException:
            self._thread = None
            reactor_thread.leave(thread)
            raise
        return self

    def close(self) -> None:
        """Stop the nodes that use the store, finish what was begun, close."""
        thread, self._thread = self._thread, None
        store, self._store = self._store, None
        if thread is not None and store is not None:
            try:
                thread.wait(store.close)
            finally:
                reactor_thread.leave(thread)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _it(self) -> gossiplog.Store:
        if self._store is None:
            raise StoreClosedError(f"store {self._path!r} is not open: use it within 'with'")
        return self._store

    def _wait(self, make: Callable[[], Any], timeout: float | None = None) -> Any:
        thread = self._thread
        if thread is None:
            raise StoreClosedError(f"store {self._path!r} is not open: use it within 'with'")
        return thread.wait(make, self.timeout if timeout is None else timeout)

    def _run(self, make: Callable[[], Any]) -> Any:
        """Wait for what has an end of its own."""
        thread = self._thread
        assert thread is not None  # within a node
        return thread.wait(make)

    @property
    def path(self) -> str:
        """Its directory, absolute."""
        return self._it.path

    @property
    def clock(self) -> ClockView:
        """How far each author's log is on disk now, a copy.  O(authors)."""
        clock: ClockView = self._wait(lambda: self._it.clock.copy())
        return clock

    @property
    def forks(self) -> set[bytes]:
        """The authors whose logs are known as forked."""
        forks: set[bytes] = self._wait(lambda: set(self._it.forks))
        return forks

    @property
    def copied(self) -> str:
        """Why this may be a copy of a store that is in use elsewhere; "" if it is not."""
        return str(self._it.copied)

    def writer(self, name: str = "default", *, encoding: str = "bytes") -> Writer:
        """The local author called ``name``, its key pair made the first time; names are local to this store."""
        return Writer(self, self._wait(lambda: self._it.writer(name, encoding=encoding)))

    def read(
        self,
        author: bytes | None = None,
        *,
        newest: int | None = None,
        reverse: bool = False,
        where: Where | None = None,
        first: int = 1,
        last: int | None = None,
        after: Cursor | ClockView | None = None,
        live: bool = False,
        tail: bool = False,
        order: str = "any",
        settle: float = 2.0,
        encoding: str = "bytes",
        timeout: float | None = None,
    ) -> Reader:
        """Entries to loop over, as :meth:`gossiplog.Store.read` gives them.

        A ``live`` reader that gets nothing for ``timeout`` seconds raises TimeoutError, and can be asked again.
        """
        reader = self._wait(
            lambda: self._it.read(
                author,
                newest=newest,
                reverse=reverse,
                where=where,
                first=first,
                last=last,
                after=after,
                live=live,
                tail=tail,
                order=order,
                settle=settle,
                encoding=encoding,
            )
        )
        return Reader(self, reader, timeout)

    @overload
    def view(self, view: Search) -> views.LiveSearch: ...

    @overload
    def view(self, view: View) -> views.LiveView: ...

    def view(self, view: View) -> views.LiveView:
        """Open a view, as :meth:`gossiplog.Store.view`."""
        opened = self._wait(lambda: self._it.view(view))
        ours = import_module("gossiplog.blocking.views")  # most scripts have none
        kind = ours.LiveSearch if isinstance(opened, gossiplog.LiveSearch) else ours.LiveView
        live: views.LiveView = kind(self._wait, opened)
        return live

    def sync(
        self, *endpoints: str, network: Network | Ticket | str, timeout: float = 20.0, **options: Any
    ) -> Moved:
        """Catch up with peers, one after the other, in both directions; return what moved.  With ``mode="pull"``
        nothing is sent, with "push" nothing is taken.

        Raises NodeError when one does not answer or nothing moves for ``timeout`` seconds, and what hinders our own
        store.  ``options`` are those of :class:`Node`.
        """
        catch_up = import_module(
            "gossiplog.blocking.node"
        ).catch_up  # who only appends and reads starts sooner
        moved: Moved = catch_up(self, endpoints, timeout, network=network, **options)
        return moved

    @property
    def notices(self) -> OrderNotices:
        """What becomes of the order of entries: ``store.notices.listen(function)``, called in gossiplog's thread."""
        notices: OrderNotices = self._it.notices
        return notices

    writers = waits(gossiplog.Store.writers)
    add_writer = waits(gossiplog.Store.add_writer)
    unlock = waits(gossiplog.Store.unlock)
    protect = waits(gossiplog.Store.protect)
    recovered = waits(gossiplog.Store.recovered)
    add_fork = waits(gossiplog.Store.add_fork)
    heads = waits(gossiplog.Store.heads)
    entry = waits(gossiplog.Store.entry)
    fork_proof = waits(gossiplog.Store.fork_proof)
    timeline = waits(gossiplog.Store.timeline)
    cursor = waits(gossiplog.Store.cursor)
    save_cursor = waits(gossiplog.Store.save_cursor)
    backup = waits(gossiplog.Store.backup)
    compact = waits(gossiplog.Store.compact)
    export = waits(gossiplog.Store.export)
    import_ = waits(gossiplog.Store.import_)
    verify = waits(gossiplog.Store.verify)
    holes = waits(gossiplog.Store.holes)
    repair = waits(gossiplog.Store.repair)


class AttachedStore(Store):
    """I am a :class:`Store` that a node in another process has, from :func:`attach`."""

    @property
    def node(self) -> AttachedNode:
        """That node: how it is, its peers, who is kept out, which authors are wanted."""
        attached: Any = import_module("gossiplog.blocking.attached")
        node: AttachedNode = attached.AttachedNode(self._wait(lambda: self._it.node), self._wait)  # type: ignore[attr-defined]
        return node

    def sync(
        self, *endpoints: str, network: Network | Ticket | str, timeout: float = 20.0, **options: Any
    ) -> Moved:
        """As :meth:`Store.sync`, by the node, which was started with ``options`` of its own and takes none here."""
        if options:
            raise StoreInUseError(
                f"a node has store {self.path}, and syncs as it was started: without {', '.join(options)}"
            )
        attached: Any = import_module("gossiplog.blocking.attached")
        moved: Moved = attached.catch_up(self, endpoints, timeout, network)
        return moved


def attach(path: AnyPath, *, wait: float = 0.0, timeout: float | None = None) -> AttachedStore:
    """The store at ``path`` as the node that has it shows it to others: ``with attach("notes") as store``.

    As :func:`gossiplog.aio.attach`; ``timeout`` is as that of :class:`Store`.
    """
    store = AttachedStore(path, wait=wait, timeout=timeout)
    store._open = import_module("gossiplog.control.attached").attach
    store._how = {"wait": wait}
    return store


class Writer:
    """I append to one local log.  ``author`` is its key, ``name`` what this store calls it."""

    def __init__(self, store: Store, writer: gossiplog.Writer) -> None:
        self._store = store
        self._it = writer
        self._wait = store._wait
        self.name = writer.name
        self.author = writer.author

    append = waits(gossiplog.Writer.append)
    append_many = waits(gossiplog.Writer.append_many)
