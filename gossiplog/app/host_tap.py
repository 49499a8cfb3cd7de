"""The twistd plugin for many networks: ``twistd gossiplog-host FILE``.

Responsible for: the options, and the networks of a file as an ``IService``.
Must not know: how a network is run.
Invariant: a file with anything wrong in it is an error of usage; nothing is opened before ``startService``, when twistd
has forked and shed its privileges.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.python.failure import Failure

from gossiplog.app.foreground import SWITCH_SECONDS
from gossiplog.app.hosting.file import HostFile, read
from gossiplog.app.hosting.host import Host, reload_on_hangup
from gossiplog.app.logs import use_levels
from gossiplog.app.twistd_options import TwistdOptions
from gossiplog.errors import GossiplogError, HostFileError
from gossiplog.live.logger import NodeLog


class Options(TwistdOptions):
    """What can be said on twistd's command line."""

    synopsis = "FILE"
    longdesc = (
        "Run the networks of a file, each with a store of its own; SIGHUP reads the file again.  Example: "
        "twistd --nodaemon gossiplog-host /etc/gossiplog/host.toml"
    )
    file: HostFile

    def parseArgs(self, file: str) -> None:  # type: ignore[override]
        """Read it, while there is somebody to tell."""
        try:
            self.file = read(file)
        except HostFileError as error:
            raise usage.UsageError("\n".join(error.problems)) from None

    def postOptions(self) -> None:
        """Check twistd's own files."""
        self.use_log()


class HostService(Service):
    """I am the networks of one file under twistd."""

    name = "gossiplog-host"

    def __init__(self, reactor: Any, options: Options) -> None:
        self._log = NodeLog("gossiplog.app")
        self._reactor = reactor
        use_levels(options.logs)
        self._terminal = options.terminal
        self._host = Host(reactor, options.file)

    def startService(self) -> None:
        """Begin."""
        Service.startService(self)
        if self._terminal is not None:
            self._terminal.close()  # whoever started us may wait for the end of our standard error
        reload_on_hangup(self._reactor, self._host)
        starting: Deferred[str] = Deferred.fromCoroutine(self._host.start())
        starting.addCallback(lambda words: self._log.info("{words}", words=words, event="ready"))
        starting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """Metrics or the page cannot be where they are to be: stop as if told to."""
        if failure.check(GossiplogError):
            self._log.error("{words}", words=failure.getErrorMessage(), event="cannot_start")
        else:
            self._log.failure("cannot start", failure, event="cannot_start")
        os.kill(os.getpid(), signal.SIGTERM)

    def stopService(self) -> Deferred[None]:
        """Stop all of them."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._host.stop())


def makeService(options: Options) -> HostService:
    """Return the service for ``options``; twistd's reactor is installed by now."""
    from twisted.internet import reactor

    sys.setswitchinterval(SWITCH_SECONDS)
    return HostService(reactor, options)
