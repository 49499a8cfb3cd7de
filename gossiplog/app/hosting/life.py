"""The life of one network among several in a process.

Responsible for: running its node, again and again with back-off when it cannot, or its store takes no more.
Must not know: the other networks, the file.
Invariant: whatever fails here is told and tried again here, and nowhere else; once stopped, its store is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.app.hosting.changing import let_go, take
from gossiplog.app.hosting.file import Hosted
from gossiplog.app.service import Serving
from gossiplog.back_off import back_off
from gossiplog.errors import GossiplogError, StoreClosedError, StoreWentBackError
from gossiplog.gossip.budget import MemoryPool
from gossiplog.live.logger import NodeLog, Said
from gossiplog.live.machine import machine_of
from gossiplog.node import Node
from gossiplog.notices import Notice, StoreFailing

_log = NodeLog()

_ENDS: Final = (StoreClosedError, StoreWentBackError)
"""After these a store takes nothing more, or is another one."""

WAITS: Final = "waits"
STARTS: Final = "starts"
RUNS: Final = "runs"
STOPPED: Final = "stopped"


class Life:
    """I run one network; ``state`` says where I am, ``why`` why it did not run the last time.

    ``authors``: how many others it takes where it is not said.  ``changed`` is called when a node began, with it, and
    before one ends, with None.
    """

    def __init__(
        self,
        reactor: Any,
        hosted: Hosted,
        pool: MemoryPool,
        authors: Callable[[], int],
        changed: Callable[[str, Node | None], None],
    ) -> None:
        self.hosted = hosted
        self.state = STOPPED
        self.why = ""
        self.ready: dict[str, Any] = {}
        """What the ready line says of it."""
        self.restarts = 0
        self._reactor = reactor
        self._pool = pool
        self._authors = authors
        self._changed = changed
        self._said = Said()
        self._failures = 0
        self._serving: Serving | None = None
        self._broke: Deferred[None] | None = None
        self._resting: Deferred[None] | None = None
        self._task: Deferred[None] | None = None
        self._stopping = self._is_ending = False
        self._tried: list[Deferred[None]] = []
        self._ends: list[Deferred[None]] = []

    @property
    def node(self) -> Node | None:
        """The node, while it runs."""
        return self._serving.node if self._serving is not None and self.state == RUNS else None

    def begin(self) -> Deferred[None]:
        """Begin; fires when it was tried once, or takes long."""
        tried: Deferred[None] = Deferred()
        self._tried.append(tried)
        tried.addTimeout(limits.HOST_TRY_SECONDS, self._reactor, lambda *_: None)
        self._task = Deferred.fromCoroutine(self._live()).addErrback(self._bug).addBoth(self._ended)
        return tried

    def hurry(self) -> None:
        """Do not wait any longer to try again."""
        if self._resting is not None:
            resting, self._resting = self._resting, None
            self._failures = 0
            resting.cancel()

    async def stop(self) -> None:
        """Stop the node and close the store; do not wait for ever for a disk that hangs."""
        task = self._task
        if task is None:
            return
        over: Deferred[None] = Deferred()
        self._ends.append(over)
        over.addTimeout(limits.HOST_STOP_SECONDS, self._reactor)
        if not self._stopping:
            self._stopping = True
            if not self._is_ending:
                task.cancel()
        try:
            await over
        except DeferredTimeout:
            words = "{network} does not end; its disk may hang"
            _log.error(words, event="network_hangs", network=self.hosted.name)

    async def let_go(self, hosted: Hosted) -> None:
        """Leave what ``hosted``, of the same store and network, does not say any more."""
        if self.node is not None:
            await let_go(self.node, self.hosted.options, hosted.options)

    async def take(self, hosted: Hosted) -> None:
        """Go on as ``hosted`` says; what cannot be done is a failure."""
        before, self.hosted = self.hosted, hosted
        if self.node is None:
            self.hurry()
            return
        try:
            await take(self.node, before.options, hosted.options, self._authors())
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """It does not work any more: begin anew, after a while."""
        broke, self._broke = self._broke, None
        if broke is not None:
            self._reactor.callLater(0, broke.errback, Failure(error))

    # --

    async def _live(self) -> None:
        while True:
            began = self._reactor.seconds()
            try:
                await self._run()
            except CancelledError:
                raise
            except Exception as error:
                if self._stopping:
                    return
                self._tell(error)
            if self._reactor.seconds() - began >= limits.HOST_STEADY_SECONDS:
                self._failures = 0
            chance = machine_of(self._reactor).chance
            rest = back_off(self._failures, limits.HOST_FIRST_SECONDS, limits.HOST_MOST_SECONDS, chance)
            self._failures += 1
            self.restarts += 1
            self.state = WAITS
            self._has_tried()
            self._resting = deferLater(self._reactor, rest)
            try:
                await self._resting
            except CancelledError:
                if self._stopping:
                    raise
            finally:
                self._resting = None

    async def _run(self) -> None:
        """Run it until it fails; raises why."""
        hosted = self.hosted
        self.state = STARTS
        broke: Deferred[None] = Deferred()
        self._broke = broke
        options = replace(hosted.options, quotas=hosted.options.quotas.or_else(self._authors()))
        serving = self._serving = Serving(
            self._reactor,
            hosted.store,
            hosted.network,
            options,
            init=True,
            state=hosted.state,
            name=hosted.name,
        )
        try:
            await serving.start()
            serving.node.subscribe(self._noticed)
            serving.store._core.thread.died = self.fail
            serving.node._driver.replica.core.budget.share(self._pool)
            self.state, self.why, self.ready = RUNS, "", serving.about
            self._said.over(hosted.name)
            self._changed(hosted.name, serving.node)
            words, where = "{network} runs on store {store}", {"network": hosted.name, "store": hosted.store}
            _log.info(words, event="network_up", **where)
            self._has_tried()
            await broke
        finally:
            self._broke = None
            await self._end(serving)

    async def _end(self, serving: Serving) -> None:
        if self.state == RUNS:
            self._changed(self.hosted.name, None)
            serving.node._driver.replica.core.budget.share(None)
        self.state, self._is_ending = STOPPED, True
        self._serving = None
        await Deferred.fromCoroutine(serving.stop()).addErrback(self._bug)
        self._is_ending = False

    def _noticed(self, notice: Notice) -> None:
        if isinstance(notice, StoreFailing) and (notice.final or isinstance(notice.error, _ENDS)):
            self.fail(notice.error)

    def _tell(self, error: Exception) -> None:
        """Say why it does not run: once, not at each try."""
        self.why = str(error) if isinstance(error, GossiplogError | OSError) else repr(error)
        if not self._said.is_new(self.hosted.name, self.why):
            return
        about = {"network": self.hosted.name, "reason": self.why}
        words = "{network} does not run, and is tried again: {reason}"
        if isinstance(error, GossiplogError | OSError):
            _log.error(words, event="network_failed", **about)
        else:
            _log.failure(
                words, Failure(error), event="network_failed", network=self.hosted.name, reason=self.why
            )

    def _has_tried(self) -> None:
        """Tell who waits for that, in a turn of its own: it may stop me, which I hear only while I wait."""
        tried, self._tried = self._tried, []
        if tried:
            self._reactor.callLater(0, _fire, tried)

    def _bug(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure(
                "{network} was not ended in order", failure, event="network_failed", network=self.hosted.name
            )

    def _ended(self, _: object) -> None:
        self.state, self._task = STOPPED, None
        _fire([*self._tried, *self._ends])
        self._tried.clear()


def _fire(waits: list[Deferred[None]]) -> None:
    for each in waits:
        if not each.called:
            each.callback(None)
