"""A database in memory that several stores write, each its own lane.

Responsible for: compare-and-set of heads, lanes and positions, commits of which the outcome is not known, being put
back to an earlier state.
Must not know: relays, what a change means to them.
Invariant: what is told in a lane is in the content, and in that order; a commit that raises
:class:`~gossiplog.errors.LostRaceError` for a head that is not the one before wrote nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from gossiplog.errors import LostRaceError, StoreWentBackError
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head
from gossiplog.store.interface import Cut, DeleteAuthor, PutFork, PutSegment, RowWrite
from gossiplog.store.memory.content import Content
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.shared.interface import Position, Stand


class SharedMemory:
    """I am the database."""

    def __init__(self) -> None:
        """Begin empty."""
        self.content = Content()
        self.lanes: dict[bytes, list[tuple[Stand, ...]]] = {}
        self.put_back_times = 0
        self._numbers = count(1)

    def lane(self) -> Lane:
        """Return one for a writer."""
        return Lane(self)

    def open_lane(self) -> bytes:
        """Return the name of a new lane."""
        name = next(self._numbers).to_bytes(8, "big")
        self.lanes[name] = []
        return name

    def backup(self) -> SharedMemory:
        """Return everything as it is now, for :meth:`put_back`."""
        copy = SharedMemory()
        copy.content = self.content.copy()
        copy.lanes = {name: list(lane) for name, lane in self.lanes.items()}
        return copy

    def put_back(self, backup: SharedMemory) -> None:
        """Be as I was then: what a failover without a synchronous standby does."""
        was = backup.backup()
        self.content, self.lanes = was.content, was.lanes
        self.put_back_times += 1

    def stand(self, author: bytes) -> Stand:
        """Return how an author stands."""
        log = self.content.logs.get(author)
        return Stand(author, None if log is None else log.head, None, self.content.forks.get(author))


class Lane:
    """I am one writer of a database: what it commits, and what it hears of the others."""

    def __init__(self, database: SharedMemory) -> None:
        """Begin a lane of its own."""
        self.database = database
        self._name = database.open_lane()
        self._pos = 0

    def commit(self, writes: Sequence[RowWrite], fault: DiskFault | None = None) -> None:
        """Do all ``writes`` or none, and tell of them; with a ``fault`` the writer does not hear which."""
        lane = self.database.lanes.get(self._name)
        if lane is None or len(lane) != self._pos:
            raise StoreWentBackError("the database was put back to a state before the last commit")
        stands: dict[bytes, Stand] = {}
        changes: list[Stand] = []
        lost: dict[bytes, None] = {}
        for write in writes:
            if isinstance(write, PutSegment):
                author, segment = write.segment.author, write.segment
                stand = stands.get(author) or self.database.stand(author)
                before = stand.head or Head(0, genesis_id(author))
                if (segment.first, segment.previous) != (
                    before.seq + 1,
                    before.id,
                ) or stand.proof is not None:
                    lost[author] = None
                changes.append(Stand(author, write.head, segment))
            elif isinstance(write, PutFork):
                author = write.proof.author
                stand = stands.get(author) or self.database.stand(author)
                changes.append(stand._replace(proof=stand.proof or write.proof, segment=None))
            elif isinstance(write, DeleteAuthor):
                changes.append(Stand(write.author, None))
            elif isinstance(write, Cut):
                changes.append(Stand(write.author, write.head))
            else:
                continue
            stands[changes[-1].author] = changes[-1]
        if lost:
            raise LostRaceError(tuple(lost))
        if fault is not DiskFault.LOST:
            self.database.content.apply(writes)
            lane.append(tuple(changes))
            self._pos += 1
        if fault is not None:  # whatever this lane did is its last
            self._name, self._pos = self.database.open_lane(), 0
            raise LostRaceError(tuple(dict.fromkeys(change.author for change in changes)))

    # -- what others do (gossiplog.store.shared.interface.Shared)

    def stands(self, authors: Iterable[bytes]) -> list[Stand]:
        """Return these authors as they are now."""
        return [self.database.stand(author) for author in authors]

    def start(self) -> Position:
        """Return where every lane ends now."""
        return {name: len(lane) for name, lane in self.database.lanes.items()}

    def poll(self, after: Position, limit_bytes: int) -> tuple[list[Stand], Position]:
        """Return what others changed after a position, and the one behind it."""
        database, position = self.database, dict(after)
        found: list[Stand] = []
        for name, pos in after.items():
            if len(database.lanes.get(name, ())) < pos:
                raise StoreWentBackError("the database was put back: a lane is shorter than it was")
        size = 0
        for name, lane in database.lanes.items():
            pos = position.get(name, 0)
            while pos < len(lane) and size < limit_bytes:
                for change in lane[pos] if name != self._name else ():
                    found.append(change)
                    size += 0 if change.segment is None else len(change.segment.bodies)
                pos += 1
            position[name] = pos
        return found, position
