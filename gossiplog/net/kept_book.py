"""The address book of a node, in its store.

Responsible for: reading it at the start, writing it at most once in ``BOOK_SECONDS`` while it changes, and at the end.
Must not know: what is in it.
Invariant: a store that may be a copy of one in use elsewhere begins with an empty book; no write is left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.gossip.book import Book
from gossiplog.gossip.saved_book import KEPT_AS, dump, load
from gossiplog.live.core import StoreCore
from gossiplog.live.logger import NodeLog, Said
from gossiplog.live.machine import machine_of
from gossiplog.store.requests import SetMeta

_log = NodeLog()


class KeptBook:
    """I keep ``book``; ``loaded`` is called once it is read."""

    def __init__(self, reactor: Any, core: StoreCore, book: Book, loaded: Callable[[], None]) -> None:
        self._reactor = reactor
        self._core = core
        self._book = book
        self._loaded = loaded
        self._call: Any = None
        self._saved = b""
        self._said = Said()

    def read(self) -> None:
        """Begin."""
        self._call = self._reactor.callLater(limits.BOOK_SECONDS, self._again)
        if not self._core.copied:
            reading = self._core.run(lambda logs: logs.meta(KEPT_AS))
            reading.addCallbacks(self._take, lambda failure: self._failed(failure, "read"))

    def close(self) -> None:
        """Write it a last time."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._write()

    def give_up(self) -> None:
        """In a child by fork: the book is the parent's."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _take(self, saved: bytes | None) -> None:
        load(saved, self._book, float(self._reactor.seconds()), machine_of(self._reactor).wall_seconds())
        self._loaded()

    def _again(self) -> None:
        self._call = self._reactor.callLater(limits.BOOK_SECONDS, self._again)
        self._write()

    def _write(self) -> None:
        saved = dump(self._book, float(self._reactor.seconds()), machine_of(self._reactor).wall_seconds())
        if saved != self._saved:
            self._saved = saved
            # a thread that died raises at once
            writing = maybeDeferred(self._core.set, SetMeta(KEPT_AS, saved))
            writing.addErrback(self._failed, "written")

    def _failed(self, failure: Failure, verb: str) -> None:
        """It is tried again, with what is in it then."""
        if self._said.is_new(verb, failure.getErrorMessage()):
            _log.failure("the address book was not {verb}", failure, event="book_failed", verb=verb)
