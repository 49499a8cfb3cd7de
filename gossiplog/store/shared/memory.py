"""A database in memory that several stores write, each its own lane.

Responsible for: compare-and-set of heads, lanes and positions, commits of which the outcome is not known, being put
back to an earlier state.
Must not know: relays, what a change means to them.
Invariant: what is told in a lane is in the content, and in that order; a commit that raises
:class:`~gossiplog.errors.LostRaceError` for a head that is not the one before wrote nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count

from gossiplog.errors import LostRaceError, StoreWentBackError
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, Segment
from gossiplog.store.interface import Cut, DeleteAuthor, PutFork, PutMeta, PutSegment, RowWrite
from gossiplog.store.memory.content import Content
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.shared.interface import Change, Kept, Position, Stand


class SharedMemory:
    """I am the database."""

    def __init__(self) -> None:
        """Begin empty."""
        self.content = Content()
        self.lanes: dict[bytes, list[tuple[Change, ...]]] = {}
        self.deletions: dict[bytes, int] = {}
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
        copy.deletions = dict(self.deletions)
        return copy

    def put_back(self, backup: SharedMemory) -> None:
        """Be as I was then: what a failover without a synchronous standby does."""
        was = backup.backup()
        self.content, self.lanes, self.deletions = was.content, was.lanes, was.deletions
        self.put_back_times += 1

    def stand(self, author: bytes) -> Stand:
        """Return how an author stands."""
        log = self.content.logs.get(author)
        proof, deletions = self.content.forks.get(author), self.deletions.get(author, 0)
        return Stand(author, None if log is None else log.head, None, proof, deletions)


class Lane:
    """I am one writer of a database: what it commits, and what it hears of the others."""

    directory: str | None = None

    def __init__(self, database: SharedMemory) -> None:
        """Begin a lane of its own."""
        self.database = database
        self.deletions = dict(database.deletions)
        self._name = database.open_lane()
        self._pos = 0

    def commit(self, writes: Sequence[RowWrite], fault: DiskFault | None = None) -> None:
        """Do all ``writes`` or none, and tell of them; with a ``fault`` the writer does not hear which."""
        lane = self.database.lanes.get(self._name)
        if lane is None or len(lane) != self._pos:
            raise StoreWentBackError("the database was put back to a state before the last commit")
        trial = _Trial(self.database, self.deletions)
        for write in writes:
            trial.take(write)
        if trial.lost or trial.lost_keys:
            raise LostRaceError(tuple(trial.lost), tuple(trial.lost_keys))
        if fault is not DiskFault.LOST:
            self.database.content.apply(writes)
            self.database.deletions.update(trial.deletions)
            lane.append(tuple(trial.changes))
            self._pos += 1
        if fault is not None:  # whatever this lane did is its last
            self._name, self._pos = self.database.open_lane(), 0
            raise LostRaceError(*trial.touched())
        self.deletions.update(trial.deletions)

    # -- what others do (gossiplog.store.shared.interface.Shared)

    def stands(self, authors: Iterable[bytes]) -> list[Stand]:
        """Return these authors as they are now."""
        return [self.database.stand(author) for author in authors]

    def weights(self, authors: Collection[bytes]) -> dict[bytes, int]:
        """Return what the rows of these authors take."""
        logs = self.database.content.logs
        rows = ((author, logs[author].rows) for author in authors if author in logs)
        return {author: sum(row_bytes(len(row.bodies)) for row in found) for author, found in rows if found}

    def rows_bytes(self) -> int:
        """Return what the rows of all logs take together."""
        return sum(self.weights(self.database.content.logs).values())

    def beat(self) -> None:
        """Nobody asks."""

    def start(self) -> Position:
        """Return where every lane ends now."""
        self.deletions = dict(self.database.deletions)
        return {name: len(lane) for name, lane in self.database.lanes.items()}

    def poll(self, after: Position, limit_bytes: int) -> tuple[list[Change], Position]:
        """Return what others changed after a position, and the one behind it."""
        database, position = self.database, dict(after)
        found: list[Change] = []
        for name, pos in {**after, self._name: max(self._pos, after.get(self._name, 0))}.items():
            if len(database.lanes.get(name, ())) < pos:
                raise StoreWentBackError("the database was put back: a lane is shorter than it was")
        size = 0
        for name, lane in database.lanes.items():
            pos = position.get(name, 0)
            while pos < len(lane) and size < limit_bytes:
                for change in lane[pos] if name != self._name else ():
                    found.append(change)
                    segment = None if isinstance(change, Kept) else change.segment
                    size += 0 if segment is None else len(segment.bodies)
                pos += 1
            position[name] = pos
        return found, position


class _Trial:
    """I find out what some writes come to, and whether others were first."""

    def __init__(self, database: SharedMemory, known: Mapping[bytes, int]) -> None:
        self.changes: list[Change] = []
        self.lost: dict[bytes, None] = {}
        self.lost_keys: dict[str, None] = {}
        self.deletions: dict[bytes, int] = {}
        self._database = database
        self._known = known
        self._stands: dict[bytes, Stand] = {}
        self._values: dict[str, bytes | None] = {}

    def take(self, write: RowWrite) -> None:
        """Look at one more."""
        if isinstance(write, PutMeta):
            value = self._values.get(write.key, self._database.content.values.get(write.key))
            if write.instead_of and value not in write.instead_of:
                self.lost_keys[write.key] = None
            self._values[write.key] = write.value
            self.changes.append(Kept(write.key))
            return
        if isinstance(write, PutSegment):
            self._put(write)
        elif isinstance(write, PutFork):
            stand = self._stand(write.proof.author)
            self._change(stand._replace(proof=stand.proof or write.proof))
        elif isinstance(write, DeleteAuthor):
            deletions = self._stand(write.author).deletions + 1
            self.deletions[write.author] = deletions
            self._change(Stand(write.author, None, deletions=deletions))
        elif isinstance(write, Cut):
            self._change(self._stand(write.author)._replace(head=write.head))

    def touched(self) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
        """Return the authors and keys of all that was looked at."""
        authors = [change.author for change in self.changes if isinstance(change, Stand)]
        return tuple(dict.fromkeys(authors)), tuple(self._values)

    def _put(self, write: PutSegment) -> None:
        author, segment = write.segment.author, write.segment
        stand = self._stand(author)
        before = stand.head or Head(0, genesis_id(author))
        known = self.deletions.get(author, self._known.get(author, 0))
        continues = (segment.first, segment.previous) == (before.seq + 1, before.id)
        if not continues or stand.proof is not None or stand.deletions != known:
            self.lost[author] = None
        self._change(stand._replace(head=write.head), segment)

    def _stand(self, author: bytes) -> Stand:
        return self._stands.get(author) or self._database.stand(author)

    def _change(self, stand: Stand, segment: Segment | None = None) -> None:
        self._stands[stand.author] = stand
        self.changes.append(stand._replace(segment=segment))
