"""A node as a service: one store, one node, the addresses it listens on and dials.

Responsible for: starting these in order and stopping them in order; the ready line; doing both when a store that relays
share was put back.
Must not know: who runs it (twistd, ``gossiplog run``).
Invariant: a start that fails leaves nothing open.  Once it runs, nothing that a database does ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from itertools import count
from time import monotonic
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from gossiplog import notices
from gossiplog.app.happenings import Happenings
from gossiplog.app.passphrases import given
from gossiplog.app.printing import as_json
from gossiplog.app.run_options import RunOptions
from gossiplog.app.supervisor import Supervisor
from gossiplog.app.watching import Watching
from gossiplog.back_off import back_off
from gossiplog.errors import GossiplogError, StoreLockedError, StoreUnreachableError, StoreWentBackError
from gossiplog.live.logger import NodeLog, Said
from gossiplog.live.machine import machine_of
from gossiplog.live.opening import open_store
from gossiplog.live.opening_thread import open_aside
from gossiplog.live.sharing import RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS
from gossiplog.live.store import Store
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.log.network import Network
from gossiplog.net.progress import in_words
from gossiplog.net.sockets import take_descriptors
from gossiplog.notices import Notice
from gossiplog.store.door import place_of
from gossiplog.store.lock import Patience
from gossiplog.store.logs import Logs
from gossiplog.ticket import Ticket

_log = NodeLog()

NOBODY_WATCHES: Final = Watching()

HOLD_UP_SECONDS: Final = 0.2
"""Nobody notices that Ctrl-C takes so long."""


class Serving:
    """I run one node on one store."""

    def __init__(
        self,
        reactor: Any,
        path: str,
        network: Network | Ticket,
        options: RunOptions | None = None,
        *,
        init: bool,
        wait: float = 0.0,
        state: str | None = None,
        show: Callable[[str], None] | None = None,
        watching: Watching = NOBODY_WATCHES,
        name: str = "",
    ) -> None:
        """Remember what to run; what happens later is logged.  ``init``: create a missing store; ``wait``: for so long,
        while it is open elsewhere, or its database does not answer; ``state``: the directory of a relay.

        ``show`` is given a progress line a few times a second while entries come.  ``watching``: who may look at the
        node, and how.  ``name``: of a network that is one of several in this process; opening its store does not hold
        up the others, and who runs them all speaks to the supervisor.
        """
        self._reactor = reactor
        self._path = place_of(path)
        self._network = network
        self._options = options or RunOptions()
        self._init = init
        self._wait = wait
        self._state = state
        self._show = show
        self._watching = watching
        self._name = name
        self.failure: Exception | None = None
        self._open = AsyncExitStack()
        self._supervised = AsyncExitStack()
        self._happenings = Happenings(name)
        self._is_up = self._went_back = self._stopping = False
        self._anew: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None

    async def start(self) -> str:
        """Open the store, listen, dial; return the ready line.

        Raises StoreError, EndpointError.  ``failure`` is set at once then, while closing takes a moment.
        """
        self.failure = None
        self._stopping = False
        take_descriptors()
        async with AsyncExitStack() as opened:
            try:
                ready = await self._start(opened)
            except Exception as error:
                self.failure = error
                raise
            if not self._name:
                self._supervise(self._supervised)
            self._began(opened)
        return ready

    def _began(self, opened: AsyncExitStack) -> None:
        self._open = opened.pop_all()
        self._is_up = True
        if self._went_back:  # meanwhile
            self._reopen()

    async def _start(self, opened: AsyncExitStack) -> str:
        store = await self._opened()
        opened.push_async_callback(store.close)
        node = self._options.node(self._reactor, store, self._network)
        opened.push_async_callback(node.stop)
        self.store, self.node = store, node  # what there is when I am asked how it is
        node.subscribe(self._told)
        if store.copied:
            words = f"{self._path} is a copy ({store.copied}); to append here, use gossiplog recover"
            _log.warn("{words}", words=words, event="store_copied", store=self._path, reason=store.copied)
        if store._core.held.locked:
            words = f"the seeds in {self._path} are protected by a passphrase; to append here, use gossiplog key unlock"
            _log.warn("{words}", words=words, event="store_locked", store=self._path)
        bound = [await node.listen(endpoint) for endpoint in self._options.listen]
        if self._options.finding is not None:
            await self._options.finding.join(node, bound)  # first, since it may know names to dial
        for peer in self._options.peer:
            node.connect(peer)
        watched = await self._watching.begin(self._reactor, node, opened)
        self.about = {
            "listening": bound,
            "node": format_key(KeyKind.NODE, node.id),
            "store": self._path,
            **watched,
        }
        return f"gossiplog ready {as_json(self.about, sort_keys=True)}"

    async def _opened(self) -> Store:
        if not self._name:
            return await open_patiently(
                self._path,
                self._reactor,
                init=self._init,
                wait=self._wait,
                state=self._state,
                passphrase=given(self._options.passphrase),
            )
        network, passphrase = Ticket.of(self._network).network, given(self._options.passphrase)

        def prepare(logs: Logs) -> None:
            """What the node asks for first, while only its own thread waits for the disk."""
            logs.bind_network(network.discovery_id)
            logs.node_key()
            logs.weighing.weights()
            if passphrase is not None:
                logs.keys.unlock(passphrase)

        return await open_aside(self._path, self._reactor, self._state, prepare)

    def _supervise(self, opened: AsyncExitStack) -> None:
        supervisor = Supervisor(self._reactor, self.status)
        opened.callback(supervisor.stopping)
        self._reactor.callWhenRunning(supervisor.ready)

    def status(self) -> str:
        """Say how it is."""
        progress, authors = self.node.progress, len(self.store._core.clock)
        peers = len(progress.peers)
        return f"{peers:,} peer{'s' * (peers != 1)}, {authors:,} author{'s' * (authors != 1)}, {in_words(progress)}"

    async def stop(self) -> None:
        """Stop the node, then close the store."""
        self._stopping = True
        await self._supervised.aclose()
        if self._pause is not None:
            self._pause.cancel()
        if self._anew is not None:
            await self._anew
        await self._open.aclose()

    def _told(self, notice: Notice) -> None:
        if isinstance(notice, notices.Progress) and self._show is not None:
            self._show(in_words(notice))
        self._happenings.tell(notice)
        if self._name:
            return  # who runs several begins this one anew
        if isinstance(notice, notices.StoreFailing) and isinstance(notice.error, StoreWentBackError):
            self._went_back = True
            if self._is_up:
                self._reopen()

    def _reopen(self) -> None:
        self._is_up = False
        self._anew = Deferred.fromCoroutine(self._begin_anew())

    async def _begin_anew(self) -> None:
        """The store is not what the node knows: let another one begin with what is there; peers bring the rest."""
        said, chance = Said(), machine_of(self._reactor).chance
        await deferLater(self._reactor, 0)  # the others hear of it too
        try:
            await self._open.aclose()
        except Exception:
            _log.failure("the store was not closed cleanly", event="reopen_failed")
        for failures in count():
            if self._stopping:
                return
            self._went_back = False
            async with AsyncExitStack() as opened:
                try:
                    await self._start(opened)
                except Exception as error:
                    if said.is_new("start", type(error).__name__):
                        self._say_why_not(error)
                else:
                    words = "store {store} was put back, and is open again: peers bring what it lost"
                    _log.warn(words, event="store_reopened", store=self._path)
                    self._began(opened)
                    return
            rest = back_off(failures, RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS, chance)
            self._pause = deferLater(self._reactor, rest)
            with suppress(CancelledError):
                await self._pause

    def _say_why_not(self, error: Exception) -> None:
        words = "store {store} cannot be opened yet: {reason}; that is tried again"
        if isinstance(error, GossiplogError):
            _log.error(words, event="reopen_failed", store=self._path, reason=str(error))
        else:
            _log.failure(words, event="reopen_failed", store=self._path, reason=str(error))


async def open_patiently(
    path: str,
    reactor: Any,
    *,
    init: bool,
    wait: float,
    state: str | None = None,
    passphrase: str | None = None,
) -> Store:
    """Open a store, waiting as :func:`open_store` does; a reactor that runs is not held up for long, so that the wait
    can be cancelled."""
    patience, left, deadline = Patience(wait), wait, monotonic() + wait
    while True:
        began = monotonic()
        try:
            held_up = min(left, HOLD_UP_SECONDS) if reactor.running else left
            return open_store(path, reactor, init=init, wait=held_up, state=state, passphrase=passphrase)
        except StoreLockedError as error:
            left, pause = patience.bear(error, began), 0.0
        except StoreUnreachableError:
            if (left := deadline - monotonic()) < 0:
                raise
            pause = HOLD_UP_SECONDS
        await deferLater(reactor, pause)
