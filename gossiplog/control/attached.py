"""A store that a node in another process has, as a :class:`gossiplog.Store` on a reactor.

Responsible for: the thread that asks the node, and the one that hears what is new there.
Must not know: what is asked, or done with it.
Invariant: what a store is told of came from the node, in its order; when the node goes, whoever waits for anything gets
:class:`NodeGoneError`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gossiplog.control.attached_node import AttachedNode
from gossiplog.control.line import Line, dial
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import ControlError, GossiplogError
from gossiplog.live.job_queue import CallJob
from gossiplog.live.store import Store
from gossiplog.live.store_thread import StoreThread
from gossiplog.log.network import Network
from gossiplog.paths import AnyPath
from gossiplog.store.door import place_of
from gossiplog.store.requests import Delivery


class AttachedStore(Store):
    """I am a store that a node in another process has; ``node`` is that node, as far as others may use it."""

    @property
    def node(self) -> AttachedNode:
        """The node."""
        thread: Any = self._core.thread
        return AttachedNode(self._core, thread.node)


def attach(path: AnyPath, reactor: Any, *, wait: float = 0.0, views: str | None = None) -> AttachedStore:
    """Return the store at ``path`` as the node that has it shows it.

    All that a store does works, but repairing and running a node; views are in memory, or in the directory ``views``,
    which is nobody else's.  Waits for up to ``wait`` seconds while the node has no room for more.

    Raises :class:`ControlError` when no node has the store, StoreUnsafeError when it is somebody else's.
    """
    place = place_of(path)
    made: list[NodeThread] = []

    def thread(*about: Any) -> NodeThread:
        made.append(NodeThread(place, wait, views, *about))
        return made[0]

    opener: Any = None
    store = AttachedStore(opener, reactor, place, thread)
    made[0].lost = store._core.lost
    return store


def require_network(store: Store, network: Network) -> None:
    """Raise :class:`NetworkMismatchError` if the node that shows ``store`` is in another network."""
    logs: Any = store._core.thread.now(lambda logs: logs)
    logs.require_network(network)


def dialled(place: str, wait: float) -> Line:
    """Return a connection to the node that has a store; ControlError when none has it."""
    line = dial(place, place, wait)
    if line is None:
        raise ControlError(
            f"no node of another process has store {place} open: open it, or start one (gossiplog run)"
        )
    return line


class NodeThread(StoreThread):
    """I ask the node, whose id is ``node``; ``lost`` is called when it is gone."""

    node = b""
    lost: Callable[[BaseException], None] = staticmethod(lambda error: None)

    def __init__(
        self,
        place: str,
        wait: float,
        views: str | None,
        _: object,
        reactor: Any,
        delivered: Callable[[Delivery], None],
        name: str,
    ) -> None:
        self._lock = threading.Lock()
        self._heads: dict[str, Any] = {}
        self._forgotten: dict[str, None] = {}
        self._forked: dict[str, None] = {}
        self._is_asked = False

        def connect() -> NodeLogs:
            news = dialled(place, wait)
            try:
                news.ask("watch")  # before the clock is read: nothing is missed between
                logs = NodeLogs(dialled(place, wait), news, views)
            except BaseException:
                news.close()
                raise
            self.node = logs.node_id()
            threading.Thread(target=self._listen, args=(news,), name=f"{name} news", daemon=True).start()
            return logs

        opener: Any = connect
        super().__init__(opener, reactor, delivered, name)

    def _listen(self, news: Line) -> None:
        try:
            news.news(self._heard)
        except BaseException as error:
            failure = error
            self._put_call(lambda logs: failure, self._gone_away)

    def _heard(self, said: Any) -> None:
        """Keep what is new, by author: however long nobody asks, that is all."""
        with self._lock:
            for author in said["forgotten"]:
                self._heads.pop(author, None)
            for author, seq, head, before in said["heads"]:
                told = self._heads.get(author)
                self._heads[author] = author, seq, head, before if told is None else told[3]
            self._forgotten.update(dict.fromkeys(said["forgotten"]))
            self._forked.update(dict.fromkeys(said["forked"]))
            is_asked, self._is_asked = self._is_asked, True
        if not is_asked:
            self._put_call(self._report, self._reported)

    def _put_call(self, work: Callable[[Any], Any], answer: Callable[[Any], None]) -> None:
        if not self._closed and self._over is None:
            self._jobs.put([CallJob(work, answer)])

    def _report(self, logs: Any) -> Any:
        with self._lock:
            heads, self._heads = [*self._heads.values()], {}
            forgotten, self._forgotten = [*self._forgotten], {}
            forked, self._forked = [*self._forked], {}
            self._is_asked = False
        return logs.report([], heads, forgotten, forked)

    def _reported(self, report: Any) -> None:
        if isinstance(report, GossiplogError):
            self.lost(report)
        elif not isinstance(report, BaseException):
            self._delivered(Delivery(report))

    def _gone_away(self, error: BaseException) -> None:
        if not self._closed:
            with suppress(Exception):
                self.lost(error)
