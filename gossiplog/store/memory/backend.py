"""A store in memory: for tests, simulations and nodes that need no disk.

Responsible for: everything a backend offers, without durability; faults and crashes on demand.
Must not know: who signs, what verifies.
Invariant: a commit is done whole or leaves no trace, as on disk; what a reopened store holds is decided at the fault.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from gossiplog.errors import (
    AppendOutcomeUnknown,
    StoreClosedError,
    StoreFailedError,
    StoreFullError,
)
from gossiplog.log.clock import Clock
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.cursor import Cursor
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.fork import ForkProof, encode_proof
from gossiplog.log.segment import Head, HoledRow, Segment, toil_bytes
from gossiplog.store.copy_guard.guard import CopyGuard
from gossiplog.store.interface import (
    Row,
    RowWrite,
    SavedCursor,
)
from gossiplog.store.memory.content import Content
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.memory.secrets import MemorySecrets
from gossiplog.store.shared.memory import Lane, SharedMemory


class MemoryBackend:
    """I keep a store in memory.  ``fault``, when set, is asked before each commit whether it fails, and how."""

    disk: str | None = None
    damage = ""

    def __init__(self, path: str = "memory") -> None:
        """Begin empty; ``path`` is only for people to read."""
        self.path = path
        self.read_only = False
        self.fault: Callable[[Sequence[RowWrite]], DiskFault | None] | None = None
        self.content = Content()
        self.shared: Lane | None = None
        self._secrets = MemorySecrets()
        self._kept: Sequence[RowWrite] = ()
        self._poisoned = False
        self._closed = False

    def snapshot(self) -> MemoryBackend:
        """Return an independent store with the same content, as a copied or restored disk would be; O(rows).

        A closed one is still there to be copied, as files are.
        """
        copy = MemoryBackend(self.path)
        if self.shared is None:
            copy.content = self.content.copy()
            copy.content.apply(self._kept)
        else:
            copy.join(self.shared.database)
        copy._secrets = self._secrets.copy()
        return copy

    def reopen(self) -> MemoryBackend:
        """Return what the next process finds after this one ended, however it did; this one is closed."""
        after = self.snapshot()
        self.close()
        return after

    def join(self, database: SharedMemory) -> MemoryBackend:
        """Be one of those who write a database, in the place of what I hold; return myself."""
        self.shared = database.lane()
        return self

    @property
    def _content(self) -> Content:
        return self.content if self.shared is None else self.shared.database.content

    # -- reading ---------------------------------------------------------------------------------------------

    def heads(self) -> Iterable[tuple[bytes, Head]]:
        """Return every author's head."""
        self._require_open()
        return [(author, log.head) for author, log in self._content.logs.items() if log.head is not None]

    def forks(self) -> dict[bytes, int]:
        """Return the bytes of the fork proofs by author."""
        self._require_open()
        return {author: len(encode_proof(proof)) for author, proof in self._content.forks.items()}

    def fork(self, author: bytes) -> ForkProof | None:
        """Return the fork proof of an author."""
        self._require_open()
        return self._content.forks.get(author)

    def checkpoint(self) -> None:
        """Do nothing."""

    def reclaim(self, thorough: bool = False) -> bool:
        """Do nothing."""
        self._require_open()
        return False

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return neighbouring rows from the one with ``first`` on; O(log rows + rows returned)."""
        self._require_open()
        log = self._content.logs.get(author)
        if log is None:
            return []
        place = bisect_right(log.firsts, first) - 1
        if place < 0 or log.rows[place].last < first:
            return []
        found: list[Segment] = []
        size = 0
        for segment in islice(log.rows, place, None):
            if last is not None and segment.first > last:
                break
            found.append(segment)
            size += toil_bytes(segment)
            if size >= limit_bytes:
                break
        return found

    def search(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """There is nowhere else to look."""
        return self.segments(author, first, limit_bytes, last)

    def starts(self, author: bytes, first: int, limit: int) -> list[int]:
        """Return where the next rows of an author begin."""
        self._require_open()
        log = self._content.logs.get(author)
        return [] if log is None else log.firsts[(place := bisect_left(log.firsts, first)) : place + limit]

    def rows(self, author: bytes, first: int = 1) -> Iterator[Row]:
        """Yield the outlines of an author's rows."""
        self._require_open()
        log = self._content.logs.get(author)
        while log is not None and (segment := log.row_from(first)) is not None:
            yield Row(segment.first, segment.count, len(segment.bodies))
            first = segment.first + 1

    def weights(self) -> dict[bytes, int]:
        """Return what the rows of each author take."""
        self._require_open()
        return {
            author: sum(row_bytes(len(row.bodies)) for row in log.rows)
            for author, log in self._content.logs.items()
            if log.rows
        }

    def used_bytes(self) -> int:
        """Nothing is left free between rows."""
        return 0

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their body."""
        self._require_open()
        return {author: sum(log.holes.values()) for author, log in self._content.logs.items() if log.holes}

    def holed(self, author: bytes, first: int, last: int, limit: int | None = None) -> list[HoledRow]:
        """Return an author's rows with holes that hold anything from ``first`` to ``last``."""
        self._require_open()
        found = (row for row in self._holed(author) if row.first <= last and row.last >= first)
        return [*islice(found, limit)]

    def holed_after(self, row: HoledRow | None, limit: int) -> list[HoledRow]:
        """Return the next rows with holes, authors ascending; O(rows with holes)."""
        self._require_open()
        found = (holed for author in sorted(self._content.logs) for holed in self._holed(author))
        return [*islice((holed for holed in found if row is None or holed[:2] > row[:2]), limit)]

    def _holed(self, author: bytes) -> Iterator[HoledRow]:
        log = self._content.logs.get(author)
        if log is not None:
            for first in log.holed:
                count = log.rows[bisect_right(log.firsts, first) - 1].count
                yield HoledRow(author, first, count, log.holes[first])

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store."""
        self._require_open()
        return self._content.values.get(key)

    def cursor(self, name: str) -> SavedCursor:
        """Return a reader's cursor."""
        self._require_open()
        return SavedCursor(self._content.cursors.get(name, Cursor()).copy())

    def cursor_names(self) -> list[str]:
        """Return the names of all cursors, sorted."""
        self._require_open()
        return sorted(self._content.cursors)

    def check(self) -> Iterator[str]:
        """Yield nothing: there is no structure below the rows."""
        self._require_open()
        return iter(())

    # -- writing ---------------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all writes or none; see :meth:`gossiplog.store.interface.Backend.commit`."""
        self._require_open()
        if self._poisoned:
            raise StoreFailedError(f"{self.path} takes no more writes until it is opened again")
        fault = self.fault(writes) if self.fault is not None else None
        if fault is DiskFault.FULL:
            raise StoreFullError(f"{self.path}: no space left; nothing was written")
        if self.shared is not None:
            self.shared.commit(writes, fault)
            return
        if fault is not None:
            self._poisoned = True
            self._kept = list(writes) if fault is DiskFault.KEPT else ()
            raise AppendOutcomeUnknown(f"{self.path}: the disk failed during a commit")
        self.content.apply(writes)

    # -- secrets and the end ---------------------------------------------------------------------------------

    @property
    def secrets(self) -> MemorySecrets:
        """In memory too, and apart from the rows."""
        self._require_open()
        return self._secrets

    def clock(self) -> Clock:
        """Return the heads."""
        return Clock(self.heads())

    def guard(
        self, clock: MovingClock, writers: Mapping[str, bytes], entropy: Callable[[int], bytes]
    ) -> CopyGuard:
        """Let everybody append: there is no file that anybody could copy."""
        return CopyGuard(self, self.secrets, None, clock, writers, entropy)

    @property
    def is_closed(self) -> bool:
        """Whether everything is refused."""
        return self._closed

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"store {self.path} is closed")
