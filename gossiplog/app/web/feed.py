"""What happens, to everybody who watches the page.

Responsible for: the stream of events (``text/event-stream``), and that who reads slowly gets less.
Must not know: what the events say.
Invariant: for one who watches at most what a connection takes and one event more is kept, however slowly it reads; who
takes nothing for long is let go; nothing is made while nobody watches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from gossiplog import limits
from gossiplog.app.printing import as_json


@implementer(IPushProducer)
class Watcher:
    """I am one who watches; ``gone`` is called when I do no more."""

    def __init__(self, request: Request, gone: Callable[[Watcher], None]) -> None:
        self._request = request
        self._ended = False
        self._paused = False
        self._stalled = 0
        self._gone = gone
        self.missed = 0
        request.notifyFinish().addBoth(lambda _: self.stopProducing())
        request.setHeader("Content-Type", "text/event-stream")
        request.registerProducer(self, True)

    def send(self, data: bytes) -> bool:
        """Take what is to be shown; False when I cannot now."""
        if self._ended:
            return False
        if self._paused:
            self._stalled += 1
            if self._stalled > limits.WEB_STALLED_TURNS:
                self.end(abort=True)
            return False
        self._stalled = 0
        self._request.write(data)
        return True

    def end(self, abort: bool = False) -> None:
        """Watch no more."""
        if not self._ended:
            channel: Any = self._request.channel
            if abort and channel is not None:
                channel.transport.abortConnection()
            elif channel is not None:
                self._request.unregisterProducer()
                self._request.finish()
        self.stopProducing()

    def pauseProducing(self) -> None:
        """It reads slowly."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has read all."""
        self._paused = False

    def stopProducing(self) -> None:
        """It is gone."""
        if not self._ended:
            self._ended = True
            self._gone(self)


class Feed:
    """I tell everybody; ``begin`` makes what one who comes is told first."""

    def __init__(self, begin: Callable[[], list[bytes]]) -> None:
        self._begin = begin
        self._watchers: dict[Watcher, None] = {}

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._watchers)

    def add(self, request: Request) -> bool:
        """One more watches; False when there are too many."""
        if len(self._watchers) >= limits.MAX_WEB_WATCHERS:
            return False
        watcher = Watcher(request, lambda gone: self._watchers.pop(gone, None))
        self._watchers[watcher] = None
        for data in self._begin():
            watcher.send(data)
        return True

    def tell(self, status: bytes, entries: list[Any], more: int, growth: bytes | None) -> None:
        """Tell all that can take it how it is, and what is new; who cannot is told how much it missed when it can."""
        for watcher in tuple(self._watchers):
            news = len(entries) + more + watcher.missed
            said = watcher.send(status) and (growth is None or watcher.send(growth))
            if said and news:
                said = watcher.send(event("entries", {"entries": entries, "more": news - len(entries)}))
            watcher.missed = 0 if said else news

    def close(self) -> None:
        """Let all go."""
        for watcher in tuple(self._watchers):
            watcher.end()


def event(name: str, value: Any) -> bytes:
    """Return an event; JSON in one line has nothing in it that ends one."""
    return f"event: {name}\ndata: {as_json(value)}\n\n".encode()
