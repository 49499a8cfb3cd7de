"""The twistd plugin: ``twistd gossiplog --store DIR --network NAME --listen tcp:PORT --peer tcp:HOST:PORT``.

Responsible for: the options, and a node as an ``IService``.
Must not know: how a node works.
Invariant: nothing is opened before ``startService``, when twistd has forked and shed its privileges.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.python import usage
from twisted.python.failure import Failure

from gossiplog.app import keyfile, watching
from gossiplog.app.commands.arguments import STATE, WAIT_SECONDS, read_wait, sentence
from gossiplog.app.finding import OPTIONS as WAYS
from gossiplog.app.finding import spelled
from gossiplog.app.foreground import SWITCH_SECONDS
from gossiplog.app.logs import use_levels
from gossiplog.app.options import usage_flags, usage_parameters, usage_repeated, usage_said
from gossiplog.app.printing import complain
from gossiplog.app.run_options import OPTIONS, RunOptions
from gossiplog.app.service import Serving
from gossiplog.app.twistd_options import TwistdOptions
from gossiplog.errors import GossiplogError
from gossiplog.live.logger import NodeLog
from gossiplog.log.network import Network
from gossiplog.paths import typed
from gossiplog.store.door import place_of, state_of
from gossiplog.ticket import Ticket


class Options(TwistdOptions):
    """What can be said on twistd's command line."""

    synopsis = "--store DIR --network NAME [--listen ENDPOINT]... [--peer ENDPOINT]..."
    longdesc = (
        "Keep a store of append-only logs and replicate it with peers.  Example: "
        "twistd --nodaemon gossiplog --store ./relay --network garden --listen tcp:4000 --peer tcp:example.org:4000"
    )
    optFlags = [
        *TwistdOptions.optFlags,
        *usage_flags((*OPTIONS, *WAYS)),
    ]
    optParameters = [
        ["store", "s", None, "Directory of the store; created if it is missing."],
        ["state", None, None, sentence(STATE)],
        ["wait", None, WAIT_SECONDS, "Wait so many seconds while the store is open elsewhere.", read_wait],
        [
            *("network", "n", None),
            "Network: a name, a key (network_... or 64 hex digits), an author's id, or @FILE that holds one; "
            "default: $GOSSIPLOG_NETWORK.",
        ],
        *usage_parameters((*OPTIONS, *WAYS, *watching.OPTIONS)),
    ]
    store: str
    state: str | None
    network: Network | Ticket
    run: RunOptions
    watching: watching.Watching

    def parseOptions(self, options: Any = None) -> None:
        """As any options, but for one whose value may be left out."""
        try:
            usage.Options.parseOptions(self, None if options is None else spelled(options))
        except GossiplogError as error:  # of those that are no ValueError usage makes no UsageError
            raise usage.UsageError(str(error)) from None

    opt_listen = usage_repeated(OPTIONS, "--listen")
    opt_peer = usage_repeated(OPTIONS, "--peer")
    opt_room = usage_repeated(WAYS, "--room")
    opt_dht_bootstrap = usage_repeated(WAYS, "--dht-bootstrap")
    opt_l = opt_listen
    opt_p = opt_peer

    def postOptions(self) -> None:
        """Check what is needed; the path becomes absolute before twistd changes the directory."""
        self["network"] = self["network"] or os.environ.get("GOSSIPLOG_NETWORK")
        for name in ("store", "network"):
            if not self[name]:
                raise usage.UsageError(f"--{name} is needed")
        try:
            self.store = place_of(typed(self["store"]))
            self.state = None if self["state"] is None else state_of(typed(self["state"]))
        except GossiplogError as error:
            raise usage.UsageError(f"--store: {error}") from None
        self.use_log()
        try:
            self.run = RunOptions.of(usage_said((*OPTIONS, *WAYS), self))
            self.watching = watching.Watching.of(usage_said(watching.OPTIONS, self))
        except GossiplogError as error:
            raise usage.UsageError(str(error)) from None
        try:
            self.network = keyfile.network(self["network"])
        except GossiplogError as error:
            raise usage.UsageError(f"--network: {error}") from None


class CannotStart(SystemExit, Exception):
    """The service cannot start.

    As an ``Exception`` twistd cleans up after it and tells a waiting parent process what it says; as a ``SystemExit``
    it ends the process with status 1 instead of a traceback.
    """

    code = 1


class NodeService(Service):
    """I am one node under twistd."""

    name = "gossiplog"

    def __init__(self, reactor: Any, options: Options) -> None:
        self._log = NodeLog("gossiplog.app")
        use_levels(options.logs)
        self._started = False
        self._said = False
        self._starting: Deferred[None] | None = None
        self._terminal = options.terminal
        self._serving = Serving(
            reactor,
            options.store,
            options.network,
            options.run,
            init=True,
            wait=options["wait"],
            state=options.state,
            watching=options.watching,
        )

    def startService(self) -> None:
        """Open the store, listen and dial; raises :class:`CannotStart`."""
        Service.startService(self)
        self._starting = Deferred.fromCoroutine(self._serving.start()).addCallbacks(self._ready, self._failed)
        failure = self._serving.failure
        if failure is not None:
            self._say(Failure(failure))  # while closing what was opened the process may end
            complain(
                str(failure), self._terminal or sys.__stderr__
            )  # twistd has put its log in the place of stderr
            self._let_terminal_go()
            raise CannotStart(str(failure))
        self._let_terminal_go()
        self._started = True

    def _let_terminal_go(self) -> None:
        """Whoever started us may wait for the end of our standard error."""
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None

    def stopService(self) -> Deferred[None]:
        """Stop the node, then close the store; fires when both are done."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._started = False
        if self._starting is not None:
            if self._serving.failure is None:
                self._starting.cancel()
            await self._starting  # it closes what it opened
        await self._serving.stop()

    def _ready(self, words: str) -> None:
        self._log.info("{words}", words=words, event="ready")

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self._say(failure)
        if self._started:  # some endpoints fail only once the reactor runs: stop as if told to
            os.kill(os.getpid(), signal.SIGTERM)

    def _say(self, failure: Failure) -> None:
        """Log why it does not start, once."""
        said, self._said = self._said, True
        if said:
            return
        if failure.check(GossiplogError, OSError):
            self._log.error("{words}", words=failure.getErrorMessage(), event="cannot_start")
        else:
            self._log.failure("cannot start", failure, event="cannot_start")


def makeService(options: Options) -> NodeService:
    """Return the service for ``options``; twistd's reactor is installed by now."""
    from twisted.internet import reactor

    sys.setswitchinterval(SWITCH_SECONDS)
    return NodeService(reactor, options)
