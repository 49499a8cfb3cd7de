"""A machine of a test's network: its disk, its clock and the process that runs on it.

Responsible for: the stores on its disk, crashing the process, and what the next one finds.
Must not know: what runs on it; which lines lead to it.
Invariant: what survives a crash is what the disk had synced, and nothing else; all chance comes from the seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from gossiplog.arguments import check_flags, check_type
from gossiplog.errors import StoreLockedError, StoreNotFoundError
from gossiplog.live.job_queue import WriteJob
from gossiplog.live.opening import open_store
from gossiplog.live.store import Store
from gossiplog.paths import AnyPath
from gossiplog.store.door import MEMORY
from gossiplog.store.interface import RowWrite
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import CommitReport
from gossiplog.testing.network.reactor import VirtualReactor
from gossiplog.testing.network.thread import VirtualThread
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.wires import Net

BEGAN_SECONDS = 1_767_225_600.0
"""What every clock shows when a test begins: 2026-01-01."""


class Machine:
    """I am one machine of a :class:`gossiplog.testing.Network`, which makes me.

    ``reactor`` is for stores and nodes (``Node(machine.reactor, store, network=...)``), another one after each crash;
    others dial its ``name`` or its ``address``.  ``clock_error`` is by how many seconds its clock is wrong; with
    ``disk_full`` no commit is done.
    """

    def __init__(
        self, net: Net, name: str, address: str, speed: Speed, book: dict[str, VirtualReactor]
    ) -> None:
        self.name = name
        self.address = address
        self.speed = speed
        self.clock_error = 0.0
        self.disk_full = False
        self.crashes = 0
        self._net = net
        self._book = book
        self._random = net.world.child()
        self._stores: dict[str, MemoryBackend] = {}
        self._running: list[tuple[MemoryBackend, VirtualThread]] = []
        self._begin()

    def __repr__(self) -> str:
        return f"<machine {self.name} at {self.address}>"

    def open_store(self, path: str = "store", **options: Any) -> Store:
        """Open the store ``path`` on this disk, as ``open_store(path, machine.reactor)`` does; options as there."""
        return open_store(path, self.reactor, **options)

    def crash(self, *, silent: bool = False) -> None:
        """End the process, without a word to anything in it; open the stores again to go on from what was synced.

        ``silent``: its connections are not closed, so that nobody notices before they are used, or time runs out.
        """
        check_flags(silent=silent)
        self.crashes += 1
        self._net.world.note(f"{self.name} crashes")
        self.reactor.crash(self.last_words, silent=silent)
        for backend, thread in self._running:
            thread.disk.crash()
            backend.close()
        self._running.clear()
        self._begin()

    @property
    def last_words(self) -> str:
        """What is said to who uses something that a crash left."""
        return (
            f"machine {self.name} crashed, and this was in its memory: open its stores anew, on what machine.reactor "
            "is now"
        )

    def _begin(self) -> None:
        self.reactor = VirtualReactor(
            net=self._net, name=self.name, address=self.address, machines=self._book, machine=self
        )
        self._book[self.name] = self._book[self.address] = self.reactor

    # -- what a store and a node take from where they run (gossiplog.live.machine)

    def wall_seconds(self) -> float:
        """What the clock shows."""
        return max(0.0, BEGAN_SECONDS + self._net.world.now + self.clock_error)

    def entropy(self, size: int) -> bytes:
        """Bytes that follow from the seed."""
        return self._random.randbytes(size)

    def chance(self) -> float:
        """A number that follows from the seed."""
        return self._random.random()

    def open_logs(self, place: str, init: bool, read_only: bool, wait: float, state: AnyPath | None) -> Logs:
        """Open what the disk has at ``place``; one in memory is new each time."""
        check_flags(init=init, read_only=read_only)
        check_type("state", state, type(None), "None on a machine of this network")
        is_on_disk = not place.startswith(f"{MEMORY}:")
        found = self._stores.get(place)
        if found is not None and not found.is_closed:
            raise StoreLockedError(f"{place} on {self.name}", os.getpid())
        if found is None and (read_only or not init):
            raise StoreNotFoundError(f"no store at {place} on {self.name}")
        backend = MemoryBackend(place) if found is None else found.snapshot()
        backend.read_only = read_only
        backend.fault = self._fault
        if is_on_disk:
            self._stores[place] = backend
        self._opening = backend
        return Logs(backend, self.entropy)

    def thread(
        self, open_logs: Callable[[], Logs], reactor: Any, delivered: Callable[..., None], name: str
    ) -> VirtualThread:
        """Work on the disk."""
        thread = VirtualThread(open_logs, reactor, delivered, name, self.speed, self._committed)
        self._running.append((self._opening, thread))
        return thread

    def _fault(self, writes: Sequence[RowWrite]) -> DiskFault | None:
        return DiskFault.FULL if self.disk_full else None

    def _committed(self, jobs: Sequence[WriteJob], report: CommitReport) -> None:
        self._net.world.note(f"{self.name} commits {sum(segment.count for segment in report.segments)}")
