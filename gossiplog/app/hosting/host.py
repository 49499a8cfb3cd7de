"""A process that runs many networks, as one file says.

Responsible for: beginning them, doing what another version of the file says, the ready line, telling the supervisor.
Must not know: how one of them lives (``life``).
Invariant: no network waits for another one, and what fails in one ends no other.  A file with anything wrong in it
changes nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

from gossiplog import limits
from gossiplog.app.hosting.file import HostFile, read
from gossiplog.app.hosting.life import RUNS, Life
from gossiplog.app.hosting.plan import CHANGE, RESTART, START, STOP, Step, digests, steps
from gossiplog.app.printing import as_json
from gossiplog.app.supervisor import Supervisor
from gossiplog.app.watching import Watching
from gossiplog.errors import EndpointError, HostFileError
from gossiplog.gossip.budget import MemoryPool
from gossiplog.live.logger import NodeLog
from gossiplog.live.memory_size import default_authors, default_memory
from gossiplog.live.monotonic import steady
from gossiplog.net.sockets import take_descriptors
from gossiplog.node import Node

if TYPE_CHECKING:
    from gossiplog.app.hosting.watched import Watched

_log = NodeLog()

NOTHING: Final = "nothing else is said there"


class Host:
    """I run the networks of ``file``."""

    def __init__(self, reactor: Any, file: HostFile) -> None:
        self.file = file
        self.lives: dict[str, Life] = {}
        self._reactor = reactor
        self._pool = MemoryPool(file.max_memory or default_memory())
        self._turns = DeferredSemaphore(limits.HOST_OPENED_AT_ONCE)
        self._watched: Watched | None = None
        self._watching = Watching()
        self._supervisor = Supervisor(reactor, self.status)
        self._started = self._reloading = False
        self._again = False
        self._stopping = False

    async def start(self) -> str:
        """Begin all of them; return the ready line when each was tried once.  Raises EndpointError."""
        take_descriptors()
        steady(self._reactor)
        bound = await self._watch(self.file.watching)
        for hosted in self.file.networks.values():
            self._add(hosted.name)
        await _all(self._begun(life) for life in self.lives.values())
        self._started = True
        self._reactor.callWhenRunning(self._supervisor.ready)
        if self._again:
            self._reactor.callLater(0, lambda: Deferred.fromCoroutine(self.reload()))
        return self._ready(bound)

    async def stop(self) -> None:
        """Stop all of them."""
        self._stopping = True
        self._supervisor.stopping()
        await _all([*(life.stop() for life in self.lives.values()), self._watch(Watching())])

    def status(self) -> str:
        """Say how it is, in a few words."""
        nodes = [life.node for life in self.lives.values() if life.node is not None]
        peers = sum(len(node.peers) for node in nodes)
        return f"{len(nodes):,} of {len(self.lives):,} networks run, {peers:,} peer{'s' * (peers != 1)}"

    # -- another file

    async def reload(self) -> None:
        """Read the file again, and do what it says now; what comes while that is under way is done afterwards."""
        if self._reloading or self._stopping or not self._started:
            self._again = True
            return
        self._reloading = True
        self._supervisor.reloading()
        try:
            while True:
                self._again = False
                await self._reload()
                if not self._again:
                    break
        except Exception:
            _log.failure("the networks were not changed as a whole", event="reload_failed")
        finally:
            self._reloading = False
            if not self._stopping:
                self._supervisor.ready()

    async def _reload(self) -> None:
        try:
            pool = self._reactor.getThreadPool()  # a network's name becomes a key in a tenth of a second
            file = await deferToThreadPool(self._reactor, pool, read, self.file.path)
        except HostFileError as error:
            for problem in error.problems:
                _log.error("{words}", words=problem, event="host_file_wrong")
            _log.error(
                "nothing was changed; mend the file, and reload", event="reload_refused", file=self.file.path
            )
            return
        planned = list(steps(digests(self.file), digests(file)))
        for step in planned:
            _log.info("{words}", words=str(step), event="host_changes", network=step.name, step=step.kind)
        if not planned:
            _log.info("{words}", words=NOTHING, event="host_changes", network="", step="")
        self.file = file
        await self._change([step for step in planned if step.name])
        await self._watch_anew(file.watching)
        self._pool.most_bytes = file.max_memory or default_memory()
        for life in self.lives.values():
            life.hurry()

    async def _change(self, planned: list[Step]) -> None:
        """First everything is left that others may need: stores, ports.  Those that go on know nothing of it."""
        ending = [self.lives[step.name] for step in planned if step.kind in (STOP, RESTART)]
        kept = [
            (self.lives[step.name], self.file.networks[step.name]) for step in planned if step.kind == CHANGE
        ]
        await _all([*(life.stop() for life in ending), *(life.let_go(hosted) for life, hosted in kept)])
        for life in ending:
            del self.lives[life.hosted.name]
        if self._stopping:
            return
        beginning = [self._add(step.name) for step in planned if step.kind in (START, RESTART)]
        await _all([*(life.take(hosted) for life, hosted in kept), *map(self._begun, beginning)])

    # --

    def _add(self, name: str) -> Life:
        hosted = self.file.networks[name]
        life = self.lives[name] = Life(self._reactor, hosted, self._pool, self._authors, self._changed)
        return life

    async def _begun(self, life: Life) -> None:
        """Only a few stores are opened at the same time."""
        await self._turns.run(life.begin)

    def _authors(self) -> int:
        """How many authors one of the networks takes that says nothing of that: all have one memory."""
        return max(1, default_authors() // max(1, len(self.lives)))

    def _changed(self, name: str, node: Node | None) -> None:
        """One of them runs from now on, or does not any more."""
        if node is not None:
            node.store._core.hosting = self._told
            if self._watched is not None:
                self._watched.begun(name, node)
        elif self._watched is not None:
            self._watched.ended(name)

    def _told(self) -> dict[str, Any]:
        """What is said to who asks one of the nodes."""
        return {"file": self.file.path, "networks": digests(self.file, told=True)}

    # -- who watches

    async def _watch_anew(self, watching: Watching) -> None:
        """Let others watch as this says; where it cannot be, as it was."""
        before = self._watching
        if watching == before:
            return
        try:
            await self._watch(watching)
        except EndpointError as error:
            _log.error("{words}; metrics and page stay", words=str(error), event="watch_failed")
            await self._watch(before)

    async def _watch(self, watching: Watching) -> dict[str, str]:
        """Let others watch as this says, and no more as it was; return where.  Raises EndpointError."""
        watched, self._watched, self._watching = self._watched, None, Watching()
        if watched is not None:
            await watched.end()
        if watching == Watching():
            return {}
        from gossiplog.app.hosting.watched import Watched

        new = Watched(self._reactor, self._lines)
        bound = await new.begin(watching)
        self._watched, self._watching = new, watching
        for name, life in self.lives.items():
            if life.node is not None:
                new.begun(name, life.node)
        return bound

    def _lines(self) -> dict[str, Any]:
        return {name: (life.state, life.why, life.node) for name, life in self.lives.items()}

    def _ready(self, bound: Mapping[str, str]) -> str:
        about = {
            **bound,
            "file": self.file.path,
            "networks": {
                name: life.ready if life.state == RUNS else {"error": life.why}
                for name, life in self.lives.items()
            },
        }
        return f"gossiplog ready {as_json(about, sort_keys=True)}"


def reload_on_hangup(reactor: Any, host: Host) -> None:
    """Have SIGHUP read the file again."""
    if hasattr(signal, "SIGHUP"):
        again = lambda: Deferred.fromCoroutine(host.reload())  # noqa: E731
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(again))


async def _all(works: Iterable[Awaitable[Any]]) -> None:
    """Do all of it, side by side; what fails is logged, and holds up nothing."""

    async def alone(work: Awaitable[Any]) -> None:
        try:
            await work
        except Exception:
            _log.failure("a hosted network was not changed", event="reload_failed")

    await DeferredList([Deferred.fromCoroutine(alone(work)) for work in works])
