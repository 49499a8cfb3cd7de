"""Requests over a control socket that take long: backing up, compacting, importing.

Responsible for: doing them beside the node; bringing the pieces of an export from who asks to who takes them.
Must not know: sockets, lines.
Invariant: of what is sent at most two pieces wait here.  Who asks and goes away leaves nothing behind but what was
taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any, Final
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gossiplog.control.desk import Answer, Asker, Desk
from gossiplog.control.messages import Asked
from gossiplog.control.outcomes import backed_up, imported, quotas_of
from gossiplog.errors import BadExportError
from gossiplog.live.importing import Imported

LOOK_SECONDS: Final = 0.2
"""Between two looks at whether who sends an export is still there."""

_feeds: WeakKeyDictionary[Asker, Feed] = WeakKeyDictionary()


class Feed:
    """I am an export that somebody sends piece by piece, and a stream for who imports it."""

    def __init__(self, desk: Desk, asked: Asked, asker: Asker) -> None:
        self._pieces: SimpleQueue[bytes] = SimpleQueue()
        self._reactor = desk.store.reactor
        self._asker = asker
        self._waiting: Deferred[Any] | None = None
        self._is_whole = False
        self._outcome: Any = None
        said = asked.value("quotas", dict, {})
        bounds = quotas_of(said) if said else desk.node.quotas
        desk.begin(desk.store.import_(self, quotas=bounds)).addBoth(self._over)  # type: ignore[arg-type]

    def put(self, data: bytes) -> Any:
        """Here is a piece, or the end; fires when more may come, or with what came of it."""
        if self._outcome is not None:
            return self._outcome
        self._waiting = Deferred()
        self._is_whole = not data
        self._pieces.put(data)
        return self._waiting

    def read(self, size: int) -> bytes:
        """Wait for the next piece, in the thread that imports; there is none when who sends is gone."""
        self._reactor.callFromThread(self._answer, None)
        while True:
            try:
                return self._pieces.get(timeout=LOOK_SECONDS)
            except Empty:
                if self._asker.is_gone:
                    return b""

    def _over(self, value: Any) -> None:
        if isinstance(value, Imported):
            self._outcome = imported(value)
        elif isinstance(value.value, BadExportError) and value.value.taken is not None:
            self._outcome = imported(value.value.taken, value.value)
        else:
            self._outcome = value
        self._answer(self._outcome)

    def _answer(self, value: Any) -> None:
        if value is None and self._is_whole:
            return  # what came of it is to be told
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            (waiting.errback if isinstance(value, Failure) else waiting.callback)(value)


def _import(desk: Desk, asked: Asked, asker: Asker) -> Any:
    feed = _feeds.get(asker)
    if feed is None:
        feed = _feeds[asker] = Feed(desk, asked, asker)
    done = feed.put(asked.content("data"))
    if isinstance(done, Deferred):
        return done.addBoth(_forget_if_over, asker)
    return _forget_if_over(done, asker)


def _forget_if_over(value: Any, asker: Asker) -> Any:
    if value is not None:
        _feeds.pop(asker, None)
    return value


def _backup(desk: Desk, asked: Asked, asker: Asker) -> Any:
    done = desk.store.backup(asked.text("target"), seeds=asked.flag("seeds"), check=asked.flag("check"))
    return desk.begin(done).addCallback(backed_up)


def _compact(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.begin(desk.store.compact()).addCallback(list)


ANSWERS: Final[Mapping[str, Answer]] = {"backup": _backup, "compact": _compact, "import": _import}
