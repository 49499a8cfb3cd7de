"""A node, for those who watch its page.

Responsible for: looking at it once a second while somebody watches, what is new in it, its figures of the last hour.
Must not know: HTTP.
Invariant: however many watch, and whatever comes in, a second costs one look and ``WEB_ENTRIES`` entries read; while
nobody watches, one look in ``WEB_POINT_TURNS``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from gossiplog import limits
from gossiplog.app.web.feed import Feed, event
from gossiplog.app.web.growth import Growth
from gossiplog.app.web.picture import logs_page, overview, shown_entry
from gossiplog.errors import GossiplogError, InvalidValueError
from gossiplog.live.logger import NodeLog
from gossiplog.node import Node
from gossiplog.notices import NewEntries, Notice
from gossiplog.status import AuthorStatus

_log = NodeLog()


class Hub:
    """I watch one node."""

    def __init__(self, reactor: Any, node: Node) -> None:
        self.feed = Feed(self._begin)
        self._node = node
        self._growth = Growth()
        self._before = (
            dict[bytes, int]() if self._is_large else {a: h.seq for a, h in node.store.clock.items()}
        )
        self._news: dict[bytes, tuple[int, int]] = {}
        self._more = 0
        self._turns = 0
        self._asked = 0
        self._overview: tuple[float, bytes] = (-1e9, b"")
        self._logs: tuple[float, tuple[AuthorStatus, ...]] = (-1e9, ())
        self._seconds = reactor.seconds
        self._loop = LoopingCall(self._turn)
        self._loop.clock = reactor
        self._unsubscribe = node.subscribe(self._told)

    @property
    def _is_large(self) -> bool:
        """Whether there are too many logs to show, or not all are in memory."""
        clock = self._node.store._core.clock
        return not clock.is_whole or len(clock) > limits.MAX_WEB_LOGS

    def start(self) -> None:
        """Begin."""
        self._loop.start(limits.WEB_TURN_SECONDS)

    def stop(self) -> None:
        """Let all who watch go."""
        self._unsubscribe()
        if self._loop.running:
            self._loop.stop()
        self.feed.close()

    def logs(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of the logs; they are looked at once in ``WEB_LOGS_SECONDS``."""
        if self._is_large:
            raise InvalidValueError("there are too many logs to show; see gossiplog clock")
        self._count()
        now = self._seconds()
        if now - self._logs[0] >= limits.WEB_LOGS_SECONDS:
            self._logs = now, self._node.status().authors
        return logs_page(self._logs[1], self._before, asked)

    def _begin(self) -> list[bytes]:
        """What one who comes is told first; many who come at once are told the same."""
        now = self._seconds()
        if now - self._overview[0] >= limits.WEB_TURN_SECONDS:
            self._overview = now, event("status", overview(self._node, self._node.status(authors=False)))
        return [event("begin", list(self._growth.points)), self._overview[1]]

    def _count(self) -> None:
        """Refuse what costs something when it is asked for too often, so that the node has time for its peers."""
        self._asked += 1
        if self._asked > limits.WEB_QUESTIONS:
            raise InvalidValueError("too much is asked in a second; ask again")

    def _told(self, notice: Notice) -> None:
        if type(notice) is NewEntries and self.feed.is_watched:
            known = self._news.get(notice.author)
            if known is not None:
                self._news[notice.author] = min(known[0], notice.first), notice.last
            elif len(self._news) < limits.WEB_ENTRIES:
                self._news[notice.author] = notice.first, notice.last
            else:
                self._more += notice.last - notice.first + 1

    def _turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred.fromCoroutine(self._look())
        return turn.addErrback(lambda failure: _log.failure("a look failed", failure, event="web_failed"))

    async def _look(self) -> None:
        self._asked = 0
        sampled = self._turns % limits.WEB_POINT_TURNS == 0
        self._turns += 1
        if not (sampled or self.feed.is_watched):
            return
        status = self._node.status(authors=False)
        growth = None
        if sampled:
            point = self._growth.add(time.time(), status.entries, status.bytes_in, status.bytes_out)
            growth = event("growth", [point])
        if self.feed.is_watched:
            entries, more = await self._new()
            self.feed.tell(event("status", overview(self._node, status)), entries, more, growth)

    async def _new(self) -> tuple[list[Any], int]:
        """Read the newest entries of each log that grew, of all as many."""
        news, self._news = self._news, {}
        more, self._more = self._more, 0
        entries = []
        left = limits.WEB_ENTRIES
        for waiting, (author, (first, last)) in zip(range(len(news), 0, -1), news.items(), strict=True):
            start = max(first, last - left // waiting + 1)
            more += start - first
            left -= last - start + 1
            for seq in range(start, last + 1):
                try:
                    entries.append(shown_entry(await self._node.store.entry(author, seq)))
                except GossiplogError:
                    more += 1  # it was deleted meanwhile, or is damaged, which is said elsewhere
        return entries, more
