"""A store of which pages are damaged: everything that is in the others can be read.

Responsible for: giving what was found in the pages, as any backend does.
Must not know: how it was found (``carved``), or what mends it.
Invariant: nothing is written, and each write says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from gossiplog.errors import StoreClosedError, StoreDamagedError
from gossiplog.log.clock import Clock
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.cursor import Cursor
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.fork import ForkProof, encode_proof
from gossiplog.log.segment import Head, HoledRow, Segment
from gossiplog.paths import AnyPath
from gossiplog.store.copy_guard.guard import CopyGuard
from gossiplog.store.directory import StoreDirectory
from gossiplog.store.interface import Row, RowWrite, SavedCursor, Secrets
from gossiplog.store.sqlite.carved import Carved
from gossiplog.store.sqlite.pages import Pages


class DamagedBackend:
    """I read around the damage in the database of one directory, alone, until I am closed."""

    read_only = True
    shared = None

    def __init__(self, path: AnyPath, read_only: bool, wait: float, reason: StoreDamagedError) -> None:
        """Look at every page of the database in the directory ``path``; ``reason`` is why it cannot be opened.

        :raises StoreError: the subclass says why not; it is ``reason`` when there is nothing of a log.
        """
        self.damage = str(reason)
        self._closed = False
        self._directory = StoreDirectory(path, False, read_only, wait)
        self._directory.read_only = True
        self._directory.damage = self._refusal()
        try:
            self._carved = Carved(Pages(self._directory.folder), self._directory.database)
            if not self._carved:
                self._carved.close()
                raise reason
        except OSError:
            self._directory.close()
            raise reason from None
        except BaseException:
            self._directory.close()
            raise

    @property
    def path(self) -> str:
        """The directory."""
        return self._directory.path

    @property
    def disk(self) -> str:
        """The directory too."""
        return self._directory.path

    def clock(self) -> MovingClock:
        """Return all heads, in memory."""
        return Clock(self.heads())

    @property
    def secrets(self) -> Secrets:
        """The directory, which keeps them in files of their own, and takes no new ones now."""
        self._found()
        return self._directory.secrets

    def guard(
        self, clock: MovingClock, writers: Mapping[str, bytes], entropy: Callable[[int], bytes]
    ) -> CopyGuard:
        """Return one that knows nothing: nobody appends here."""
        return CopyGuard(self, self.secrets, None, clock, writers, entropy)

    # -- reading ---------------------------------------------------------------------------------------------

    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """Yield the head of each author: that of its last row, or a later one that the table of authors says."""
        return self._found().all_heads()

    def forks(self) -> dict[bytes, int]:
        """Return the bytes of the fork proofs by author."""
        return {author: len(encode_proof(proof)) for author, proof in self._found().forks.items()}

    def fork(self, author: bytes) -> ForkProof | None:
        """Return the fork proof of an author."""
        return self._found().forks.get(author)

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return neighbouring rows from the one with ``first`` on; O(rows returned)."""
        return self._found().segments(author, first, limit_bytes, last)

    search = segments

    def starts(self, author: bytes, first: int, limit: int) -> list[int]:
        """Return where an author's next rows begin, from ``first`` on."""
        return self._found().starts(author, first, limit)

    def rows(self, author: bytes, first: int = 1) -> Iterator[Row]:
        """Yield the outlines of an author's rows."""
        return self._found().outlines(author, first)

    def weights(self) -> dict[bytes, int]:
        """Return what the rows of each author take."""
        rows = self._found().rows
        return {author: sum(row_bytes(row.size) for row in own) for author, own in rows.items()}

    def used_bytes(self) -> int:
        """Return what the rows take: nothing is known of free pages."""
        return sum(self.weights().values())

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their body."""
        holed: dict[bytes, int] = {}
        for row in self._holed():
            holed[row.author] = holed.get(row.author, 0) + row.holes
        return holed

    def holed(self, author: bytes, first: int, last: int, limit: int | None = None) -> list[HoledRow]:
        """Return an author's rows with holes that hold anything from ``first`` to ``last``."""
        return [
            row for row in self._holed() if row.author == author and row.first <= last and first <= row.last
        ][:limit]

    def holed_after(self, row: HoledRow | None, limit: int) -> list[HoledRow]:
        """Return the next rows with holes."""
        place = (b"", 0) if row is None else (row.author, row.first)
        return [one for one in self._holed() if (one.author, one.first) > place][:limit]

    def _holed(self) -> Iterator[HoledRow]:
        for author, rows in sorted(self._found().rows.items()):
            for row in rows:
                if row.holes:
                    yield HoledRow(author, row.first, row.count, row.holes)

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store."""
        return self._found().values.get(key)

    def cursor(self, name: str) -> SavedCursor:
        """Return what is there of a reader's cursor."""
        found = self._found().cursors.get(name)
        return SavedCursor(Cursor() if found is None else found.copy())

    def cursor_names(self) -> list[str]:
        """Return the names of all cursors, sorted."""
        return sorted(self._found().cursors)

    def check(self) -> Iterator[str]:
        """Yield why the database could not be opened."""
        self._found()
        yield self.damage

    # -- what is not done ------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Refuse."""
        self._found()
        raise self._refusal()

    def _refusal(self) -> StoreDamagedError:
        return StoreDamagedError(f"{self.damage}; it is only read until gossiplog verify --repair rebuilt it")

    def checkpoint(self) -> None:
        """There is nothing to do."""

    def reclaim(self, thorough: bool = False) -> bool:
        """There is nothing to do."""
        return False

    def close(self) -> None:
        """Release the lock.  A child does nothing."""
        if not self._closed and self._directory.home.is_here:
            self._closed = True
            self._carved.close()
            self._directory.close()

    def _found(self) -> Carved:
        self._directory.home.check()
        if self._closed:
            raise StoreClosedError(f"store {self._directory.path} is closed")
        return self._carved
