"""What a store's disk side offers: rows, secrets and a guard, and eight kinds of writes.

Responsible for: the protocol :class:`Backend` and those of its parts (:class:`Rows`, :class:`Secrets`, :class:`Guard`),
and the values they take and give.
Must not know: how rows are kept, what a batch of requests means (``logs``), how segments are verified (``log``).
Invariant: a backend never holds two ids for one seq: it refuses a row that does not continue its author's head.
``gossiplog.testing.conformance.suite`` is this page as tests; a new backend has to pass it, and ``store.door`` is where
it says that it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from gossiplog.errors import InvalidValueError, StoreCopiedError
from gossiplog.limits import MAX_VALUE_BYTES
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.cursor import Cursor, Place
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Head, HoledRow, Segment
from gossiplog.store.shared.interface import Shared


class PutSegment(NamedTuple):
    """Add ``segment`` after its author's last row; ``head`` is the author's head with it."""

    segment: Segment
    head: Head


class Replace(NamedTuple):
    """Put ``segment`` in the place of exactly the rows that hold ``first`` to ``last`` of ``author``."""

    author: bytes
    first: int
    last: int
    segment: Segment


class PutFork(NamedTuple):
    """Keep ``proof``; a proof of the same author that is held already stays."""

    proof: ForkProof


class PutMeta(NamedTuple):
    """Set a value of the store itself; ``None`` removes it.

    Where others write too: only in the place of one of ``instead_of``, if any are named.
    """

    key: str
    value: bytes | None
    instead_of: tuple[bytes | None, ...] = ()


class PutCursor(NamedTuple):
    """Change a reader's cursor as :meth:`gossiplog.log.cursor.Cursor.apply` does.

    With ``anew`` nothing stays of what was there before, damaged or not.  One without authors is not there.
    """

    name: str
    changes: Mapping[bytes, Place | None]
    anew: bool = False


class DeleteAuthor(NamedTuple):
    """Remove every row, the head and the fork proof of ``author``; unknown authors are no error.

    Nothing of it is found any more; the room that it takes comes back by :meth:`Backend.reclaim`.
    """

    author: bytes


class Cut(NamedTuple):
    """Remove what is damaged behind a log's whole beginning, on purpose: every row of ``author`` that does not begin
    at 1 to ``first``.

    The row at ``first`` then is the last one and ``head`` the author's head, which only a repair may take back; 0 and
    ``None`` when no row stays.  A fork proof stays.
    """

    author: bytes
    first: int
    head: Head | None


class Mend(NamedTuple):
    """Put neighbouring rows in the place of every row of their author that begins among their entries.

    They end at the author's head at the latest, and other rows must not overlap them.
    """

    rows: Sequence[PutSegment]


RowWrite: TypeAlias = PutSegment | Replace | PutFork | PutMeta | PutCursor | DeleteAuthor | Cut | Mend


def check_put(write: PutSegment) -> PutSegment:
    """Return ``write`` if it is one in itself, else raise :class:`InvalidValueError`; for backends."""
    segment, head = write
    if segment.count < 1 or segment.first < 1 or head.seq != segment.last:
        raise InvalidValueError("a row holds at least one entry, and its head is that of the last")
    return write


def check_replace(write: Replace) -> Replace:
    """Return ``write`` if it is one in itself, else raise :class:`InvalidValueError`; for backends."""
    author, first, last, segment = write
    if (segment.author, segment.first, segment.last) != (author, first, last) or segment.count < 1:
        raise InvalidValueError("a row takes the place of rows with the same entries")
    return write


def check_cut(write: Cut) -> Cut:
    """Return ``write`` if it is one in itself, else raise :class:`InvalidValueError`; for backends."""
    if (write.first < 1) != (write.head is None) or (write.head is not None and write.head.seq < write.first):
        raise InvalidValueError("a log is cut behind a row, or no row and no head stay")
    return write


def check_mend(write: Mend) -> tuple[bytes, int, int]:
    """Return author, first and last seq of ``write``, else raise :class:`InvalidValueError`; for backends."""
    if not write.rows:
        raise InvalidValueError("a log is mended with at least one row")
    for row in write.rows:
        check_put(row)
    author, first = write.rows[0].segment[:2]
    following = first
    for row in write.rows:
        if row.segment[:2] != (author, following):
            raise InvalidValueError("a log is mended with rows that follow each other")
        following = row.segment.last + 1
    return author, first, following - 1


def check_value(write: PutMeta) -> tuple[str, bytes | None]:
    """Return name and value of ``write`` if they can be kept, else raise :class:`InvalidValueError`; for backends."""
    name, value = write[:2]
    if not (value is None or type(value) is bytes):
        raise InvalidValueError("a value is bytes, by a name that is a string")
    if value is not None and len(value) > MAX_VALUE_BYTES:
        raise InvalidValueError(f"a value has at most {MAX_VALUE_BYTES} bytes, not {len(value)}")
    return check_name(name), value


def check_name(name: str) -> str:
    """Return a name under which something is kept, else raise :class:`InvalidValueError`; for backends."""
    if type(name) is not str or any("\ud800" <= char <= "\udfff" for char in name):
        raise InvalidValueError("a name is Unicode text without lone surrogates")
    return name


class SavedCursor(NamedTuple):
    """A reader's cursor as it was kept; ``damage`` says that some of its authors are damaged, and not in it."""

    cursor: Cursor
    damage: str = ""


class Row(NamedTuple):
    """The outline of one stored segment: its first seq, its entries, and the bytes of its items."""

    first: int
    count: int  # type: ignore[assignment]  # the specification's word
    size: int


class Secrets(Protocol):
    """Where the seeds of writers and the node's key are kept: never in the place that holds the segments, which people
    may copy.  Every method raises :class:`~gossiplog.errors.StoreClosedError` once the store is closed."""

    def seed(self, name: str) -> bytes | None:
        """Return the seed of the writer ``name`` as it is kept (:mod:`gossiplog.log.kept_key`): 32 bytes, or sealed."""

    def seed_names(self) -> list[str]:
        """Return the names of all writers, sorted."""

    def create_seed(self, name: str, seed: bytes) -> None:
        """Keep a new writer's seed, durable on return; never in the file that holds the segments.

        :raises InvalidValueError: not a writer name (see ``check_writer_name``), or it is taken; no seed, nor a sealed
            one.
        """

    def replace_seed(self, name: str, seed: bytes) -> None:
        """Keep the seed of a writer that is there in another form, durable on return: the one or the other is there,
        whatever happens.

        :raises InvalidValueError: there is no such writer; no seed, nor a sealed one.
        """

    def node_key(self) -> bytes | None:
        """Return the node's 32-byte X25519 secret."""

    def create_node_key(self, secret: bytes) -> None:
        """Keep the node's secret, durable on return; :class:`InvalidValueError` when there is one."""

    def replace_node_key(self, secret: bytes) -> None:
        """Keep another secret for the node, durable on return, whether or not there is one."""


class Guard(Protocol):
    """Who may append: nobody whose log may be continued elsewhere too (:mod:`gossiplog.store.copy_guard`).

    A store that cannot be copied lets everybody, but for those that were :meth:`overtaken`.
    """

    @property
    def copied(self) -> str:
        """Why this may be a copy of a store that is in use elsewhere, ``""`` if it is not."""

    def refusal(self, author: bytes) -> StoreCopiedError | None:
        """Return why ``author``, a local writer, may not append; ``None`` if it may."""

    def adopt(self, author: bytes) -> None:
        """A new writer is about to get its seed here, and its log has no entry anywhere; durable on return."""

    def doubt(self, name: str, author: bytes) -> None:
        """A writer is about to come here from elsewhere: refuse it until :meth:`recovered`; durable on return."""

    def signed(self, author: bytes, seq: int) -> None:
        """A local log reaches to ``seq`` on disk.  Never raises."""

    def overtaken(self, author: bytes, seq: int) -> None:
        """``author`` signed entries up to ``seq`` that the store does not hold: refuse it; durable on return."""

    def require_all_back(self) -> None:
        """Raise :class:`StoreCopiedError` while an own entry that is known to have been signed here is not held."""

    def recovered(self) -> None:
        """Let every writer append again; durable on return."""

    def close(self) -> None:
        """Give everything back, after the rows were closed; a second call does nothing."""


class Rows(Protocol):
    """Where segments are kept, blocking, used from the thread that opened it.

    Every method raises :class:`~gossiplog.errors.StoreClosedError` after :meth:`close`; reads raise
    :class:`~gossiplog.errors.StoreDamagedError` for what cannot be what was written.
    """

    @property
    def path(self) -> str:
        """Where it is, for people to read."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written, because of where it is: each commit raises ``StoreFailedError``."""

    @property
    def disk(self) -> str | None:
        """A file or directory on the disk whose room it takes; ``None`` where that is no question of a disk."""

    @property
    def damage(self) -> str:
        """Why it is only read, around what is damaged; ``""`` if it is not."""

    def heads(self) -> Iterable[tuple[bytes, Head]]:
        """Every author that has entries with its head, in any order; O(authors)."""

    def forks(self) -> dict[bytes, int]:
        """The authors whose logs are known as forked, with the bytes of each proof; O(authors found)."""

    def fork(self, author: bytes) -> ForkProof | None:
        """The fork proof held of ``author``."""

    def commit(self, writes: Sequence[RowWrite]) -> None:
        """Do all ``writes`` in order, or none of them; they are durable when this returns.

        :raises InvalidValueError: a write does not fit what is stored; nothing was written.
        :raises StoreFullError: no room; nothing was written, the store goes on.
        :raises AppendOutcomeUnknown: the disk failed in the middle; reads go on showing the state before, and
            opened again the store holds all or none.
        :raises StoreFailedError: the disk failed now before anything could be kept, or in an earlier commit.
        """

    def checkpoint(self) -> None:
        """Do now what a later commit would have to wait for; nothing where there is no such thing.  Never raises."""

    def reclaim(self, thorough: bool = False) -> bool:
        """Give back some of the room that is free, in a short step that needs little room itself; tell whether to come
        again.  If not ``thorough``, only where it is much.

        :raises StoreError: what a commit raises; nothing changed.
        """

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return neighbouring rows as stored, from the one that contains ``first``.

        Stop at a gap, before a row that begins after ``last`` or is damaged, or once their work
        (:func:`~gossiplog.log.segment.toil_bytes`) reaches ``limit_bytes``; the first row always comes.  Empty when
        no row contains ``first``.

        :raises StoreDamagedError: the first one is damaged.
        """

    def search(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Do what :meth:`segments` does, for rows that are to be there and that it does not find: by looking
        everywhere, and slowly.

        It may look once and remember what it found, but for what was deleted, cut off or mended since.  Where there is
        nowhere else to look, it is :meth:`segments`.
        """

    def starts(self, author: bytes, first: int, limit: int) -> list[int]:
        """Return where the next rows of ``author`` begin, from ``first`` on, ascending, damaged ones too."""

    def rows(self, author: bytes, first: int = 1) -> Iterator[Row]:
        """Yield the outlines of rows that begin at ``first`` or later, ascending; commits in between are fine."""

    def weights(self) -> dict[bytes, int]:
        """Return what the rows of each author take (:func:`gossiplog.log.disk_cost.row_bytes` of each).  O(rows)."""

    def used_bytes(self) -> int:
        """Return what is in use where rows are kept, more than in an empty store, with room that is left free between
        rows; 0 where nothing is.  O(1)."""

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their body, of those where any does.  O(rows with holes)."""

    def holed(self, author: bytes, first: int, last: int, limit: int | None = None) -> list[HoledRow]:
        """Return the rows of ``author`` with holes that hold anything from ``first`` to ``last``, ascending: the first
        ``limit`` of them if so asked.  O(rows returned)."""

    def holed_after(self, row: HoledRow | None, limit: int) -> list[HoledRow]:
        """Return up to ``limit`` rows with holes: the first ones, or those behind ``row``.

        They come in an order of the backend's own, with the rows of an author together and ascending.  Commits in
        between are fine.  O(limit).
        """

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store itself."""

    def cursor(self, name: str) -> SavedCursor:
        """Return a reader's cursor, which is the caller's to change; empty if there is none.  O(its authors)."""

    def cursor_names(self) -> list[str]:
        """Return the names of all cursors, sorted."""

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the structure below the rows, in words; nothing when all is well."""

    def close(self) -> None:
        """Give everything back; a second call does nothing."""


class Backend(Rows, Protocol):
    """What is behind the door: rows, and what belongs to them."""

    @property
    def shared(self) -> Shared | None:
        """What is known of other processes that write there too; ``None`` where nobody else does."""

    @property
    def secrets(self) -> Secrets:
        """The seeds and the key; :class:`~gossiplog.errors.StoreClosedError` after :meth:`close`."""

    def clock(self) -> MovingClock:
        """Return the heads of all logs as they are now; called once, when the store is opened.

        The store moves it after each commit, and reads no heads elsewhere.  ``Clock(self.heads())`` keeps every author
        in memory; where there are too many for that, it may be another one that says the same.
        """

    def guard(
        self, clock: MovingClock, writers: Mapping[str, bytes], entropy: Callable[[int], bytes]
    ) -> Guard:
        """Look at what became of the store since it was last open; called once, when it is opened.

        ``writers`` are the authors that have a seed, by name; ``entropy`` makes new secrets.
        """
