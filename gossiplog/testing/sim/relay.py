"""A relay of a fleet, in virtual time: a node whose store others write too.

Responsible for: hearing of what they commit, late and in pieces; beginning anew when the store went back.
Must not know: how the database does what it does.
Invariant: what a relay knows of the others comes by their lanes or by a lost race, as it does from a real database.
"""

from __future__ import annotations

from collections.abc import Callable

from gossiplog.errors import StoreWentBackError
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Delivery, Learn
from gossiplog.store.shared.interface import Position
from gossiplog.testing.sim.disk import Disk, Speed
from gossiplog.testing.sim.loop import Carrier
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.watching import Watcher
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import World

POLL_BYTES = 64 * 1024
"""Read of the lanes of others in one go."""

POLL_SECONDS = 0.01
"""Between two looks, on average."""

LATE_CHANCE = 0.02
LATE_SECONDS = 2.0
"""How often a look is late, and by how much at most: the network between a relay and its database stalls."""


class SimRelay(SimNode):
    """I am one relay.  ``restored`` is told before I begin anew on a database that was put back, or in which logs were
    deleted."""

    def __init__(
        self,
        world: World,
        net: Net,
        name: str,
        backend: MemoryBackend,
        watcher: Watcher[Carrier],
        speed: Speed | None = None,
    ) -> None:
        super().__init__(world, net, name, backend, watcher, speed)
        self.restored: Callable[[SimRelay], None] = lambda relay: None
        self.went_back = 0
        self._lost: tuple[int, dict[bytes, int]] = 0, {}
        self._position: Position = {}
        self._late: list[tuple[Disk, Delivery]] = []
        self._looks = world.child()

    def start(self) -> None:
        """Run, on what the database holds at this instant."""
        assert self.backend.shared is not None
        database = self.backend.shared.database
        lost = database.put_back_times, {**database.deletions}
        if lost != self._lost:  # since it was up
            self._lost = lost
            self.restored(self)
        self._position = self.backend.shared.start()
        super().start()
        self._look_later(self.disk)

    def failing(self, error: BaseException, final: bool) -> None:
        """A commit failed; when because the store went back, begin anew."""
        if isinstance(error, StoreWentBackError):
            self.world.after(0.0, lambda disk=self.disk: self._begin_anew(disk))  # type: ignore[misc]
        else:
            super().failing(error, final)

    def _delivered(self, delivery: Delivery) -> None:
        """What a frozen process is told it hears once it goes on, in order."""
        if self.frozen or self._late:
            self._late.append((self.disk, delivery))
        else:
            super()._delivered(delivery)

    def _thaw(self, disk: Disk) -> None:
        super()._thaw(disk)
        late, self._late = self._late, []
        for told, delivery in late:
            if told is self.disk and not told.dead:
                super()._delivered(delivery)

    def _look_later(self, disk: Disk) -> None:
        late = LATE_SECONDS if self._looks.random() < LATE_CHANCE else 0.0
        self.world.after((2 * POLL_SECONDS + late) * self._looks.random(), lambda: self._look(disk))

    def _look(self, disk: Disk) -> None:
        if disk is not self.disk or disk.dead:
            return
        assert self.backend.shared is not None
        try:
            changes, self._position = self.backend.shared.poll(self._position, POLL_BYTES)
        except StoreWentBackError:
            self._begin_anew(disk)
            return
        if changes:
            self.front.write(Learn(tuple(changes)), lambda _: None)
        self._look_later(disk)

    def _begin_anew(self, disk: Disk) -> None:
        if disk is not self.disk or disk.dead:
            return
        self.world.note(f"{self.name} sees that its store went back")
        self.went_back += 1
        self.crash()
        self.start()
