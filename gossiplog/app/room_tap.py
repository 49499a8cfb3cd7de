"""The twistd plugin for rooms: ``twistd gossiplog-room --listen tcp:443 --key @FILE``.

Responsible for: the options, and a room as an ``IService``.
Must not know: how a room works.
Invariant: nothing is opened before ``startService``, when twistd has forked; ports that need privileges are bound by
systemd, or by an endpoint that passes them on.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.python import usage
from twisted.python.failure import Failure

from gossiplog.app.commands.arguments import sentence
from gossiplog.app.commands.room_arguments import (
    KEY_HELP,
    LIMIT_HELP,
    OPEN_HELP,
    check_needed,
    parse_bounds,
    parse_key,
)
from gossiplog.app.printing import complain
from gossiplog.app.room_service import RoomServing
from gossiplog.app.tap import CannotStart
from gossiplog.discovery.room.bounds import RoomBounds
from gossiplog.discovery.room.key import RoomKey
from gossiplog.errors import GossiplogError
from gossiplog.live.logger import NodeLog
from gossiplog.net.endpoints import check_server


class Options(usage.Options):
    """What can be said on twistd's command line."""

    synopsis = "--listen ENDPOINT --key KEY"
    longdesc = (
        "Run a room, where nodes meet that nobody can dial; it cannot read what they say.  Example: "
        "twistd --nodaemon gossiplog-room --listen tcp:443 --key @room.key"
    )
    optFlags = [["open", None, sentence(OPEN_HELP)]]
    optParameters = [["key", "k", None, sentence(KEY_HELP)]]
    key: RoomKey
    bounds: RoomBounds

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.listen: list[str] = []
        self._bounds: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Endpoint to listen on, such as tcp:443; may be repeated."""
        try:
            self.listen.append(check_server(endpoint))
        except GossiplogError as error:
            raise usage.UsageError(str(error)) from None

    def opt_limit(self, text: str) -> None:
        self._bounds.append(text)

    opt_limit.__doc__ = sentence(LIMIT_HELP)
    opt_l = opt_listen

    def postOptions(self) -> None:
        """Check what is needed, while there is somebody to tell."""
        try:
            key = None if self["key"] is None else parse_key(self["key"])
            check_needed(self.listen, key, bool(self["open"]))
            self.bounds = parse_bounds(self._bounds)
        except GossiplogError as error:
            raise usage.UsageError(str(error)) from None
        self.key = key or RoomKey()


class RoomService(Service):
    """I am one room under twistd."""

    name = "gossiplog-room"

    def __init__(self, reactor: Any, options: Options) -> None:
        self._log = NodeLog("gossiplog.app")
        self._serving = RoomServing(reactor, options.listen, options.key, options.bounds)
        self._failure: Failure | None = None

    def startService(self) -> None:
        """Listen; raises :class:`~gossiplog.app.tap.CannotStart`."""
        Service.startService(self)
        Deferred.fromCoroutine(self._serving.start()).addCallbacks(self._ready, self._failed)
        if self._failure is not None:
            words = self._failure.getErrorMessage()
            complain(words, sys.__stderr__)
            raise CannotStart(words)

    def stopService(self) -> Deferred[None]:
        """Close everything."""
        Service.stopService(self)
        return succeed(None) if self._failure else Deferred.fromCoroutine(self._serving.stop())

    def _ready(self, words: str) -> None:
        self._log.info("{words}", words=words, event="ready")

    def _failed(self, failure: Failure) -> None:
        self._failure = failure
        self._log.error("{words}", words=failure.getErrorMessage(), event="cannot_start")


def makeService(options: Options) -> RoomService:
    """Return the service for ``options``; twistd's reactor is installed by now."""
    from twisted.internet import reactor

    return RoomService(reactor, options)
