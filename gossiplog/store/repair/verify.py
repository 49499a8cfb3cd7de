"""The whole-store check: is on disk what the authors signed?

Responsible for: reading every row back and comparing chains, signatures and heads; saying where something is wrong.
Must not know: how to mend it.
Invariant: damage is reported, never raised, and never changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    StoreClosedError,
    StoreError,
)
from gossiplog.log.clock_view import CountedView, whole
from gossiplog.log.fork import verify_proof
from gossiplog.log.keys import format_author, genesis_id
from gossiplog.log.segment import Head, count_holes, verify
from gossiplog.store.interface import Backend, Row

OnProgress = Callable[[int, int], object]
"""Called now and then with the entries checked so far and the entries there should be."""

Value = TypeVar("Value")


class Damage(NamedTuple):
    """Something wrong: with entries ``first`` to ``last`` of ``author``, or (``None``, 0, 0) with the store itself.

    Where a head and its log disagree ``last`` is ``first - 1``.
    """

    author: bytes | None
    first: int
    last: int
    reason: str


def in_words(damage: Damage, path: str) -> str:
    """Say in one line what readers passed over, and what to do about it."""
    author, first, last, reason = damage
    entries = f"entries {first} to {last}" if last > first else f"entry {first}"
    what = "read around damage" if author is None else f"passed over {entries} of {format_author(author)}"
    return f"{what}: {reason}; gossiplog verify --repair --store {path} brings it in order"


class Whole(NamedTuple):
    """How far a log is in order from its beginning: its last row there begins at ``first``; 0 without any."""

    first: int
    head: Head


@dataclass
class VerifyReport:
    """What a check found; ``ok`` when there is no damage.  Rows that are damaged are not counted.

    ``holes`` counts, by author, entries whose payload was dropped: they come back from peers, and are no damage.
    ``forks`` are the authors of whom a proof is held: a fork is no damage.  ``whole`` says how far the damaged logs are
    in order, ``cursors`` which cursors lack authors; ``sound`` whether everything but these is, without which they
    cannot be repaired in their place.
    """

    authors: int = 0
    segments: int = 0
    entries: int = 0
    item_bytes: int = 0
    holes: dict[bytes, int] = field(default_factory=dict)
    forks: list[bytes] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    whole: dict[bytes, Whole] = field(default_factory=dict)
    sound: bool = True

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.damages


def verify_store(backend: Backend, clock: CountedView, progress: OnProgress | None = None) -> VerifyReport:
    """Check everything in ``backend`` against itself and against ``clock``; O(entries), about 0.8 us each."""
    return _Check(backend, clock, progress).run()


class _Check:
    def __init__(self, backend: Backend, clock: CountedView, progress: OnProgress | None) -> None:
        self._backend = backend
        self._clock = clock
        self._progress = progress
        self._total = clock.total()
        self._report = VerifyReport()
        self._whole = Whole(0, Head(0, b""))

    def run(self) -> VerifyReport:
        """Check structure, secrets, heads, logs and proofs."""
        for problem in self._tried(lambda: list(self._backend.check()), None) or ():
            self._damage(None, 0, 0, problem)
        self._report.sound = self._report.ok
        self._tried(self._backend.secrets.node_key, None)
        for author, head, is_other in self._heads():
            found = len(self._report.damages)
            if is_other:
                seq = 0 if head is None else head.seq
                self._damage(author, seq + 1, seq, "the head on disk is not the one in memory")
            self._whole = Whole(0, Head(0, genesis_id(author)))
            if head is not None:
                self._report.authors += 1
                self._check_log(author, head)
            if len(self._report.damages) > found:
                self._report.whole[author] = self._whole
        for author in sorted(self._tried(self._backend.forks, None) or ()):
            self._check_fork(author)
        self._check_cursors()
        return self._report

    def _heads(self) -> Iterator[tuple[bytes, Head | None, bool]]:
        """Yield authors with what the clock says, and whether the disk says something else; not where it is the disk
        that is asked for the clock."""
        clock = whole(self._clock)
        if clock is None:
            yield from ((author, head, False) for author, head in self._clock.range())
            return
        heads = self._tried(lambda: dict(self._backend.heads()), None)
        self._report.sound = self._report.sound and heads is not None
        for author in sorted({*(heads or ()), *clock}):
            head = clock.head(author)
            yield author, head, heads is not None and heads.get(author) != head

    def _check_cursors(self) -> None:
        names = self._tried(self._backend.cursor_names, None)
        self._report.sound &= names is not None
        for name in names or ():
            saved = self._tried(partial(self._backend.cursor, name), None)
            if saved is not None and saved.damage:
                self._report.cursors.append(name)
                self._damage(None, 0, 0, saved.damage)

    def _check_fork(self, author: bytes) -> None:
        seq = self._clock.seq(author)
        proof = self._tried(lambda: self._backend.fork(author), author, seq, seq)
        if proof is None:
            self._report.sound = False
            return
        try:
            verify_proof(proof)
            self._report.forks.append(author)
        except BadForkProofError as error:
            self._report.sound = False
            self._damage(author, proof.seq, proof.seq, f"the fork proof proves nothing: {error}")

    def _check_log(self, author: bytes, head: Head) -> None:
        before: Head | None = self._whole.head  # None behind a row that says nothing about the next
        expected = 1
        rows = self._tried(lambda: iter(self._backend.rows(author)), author, expected, head.seq)
        if rows is None:
            return
        found = len(self._report.damages)
        while (row := self._tried(lambda: next(rows, None), author, expected, head.seq)) is not None:
            if row.first > expected:
                missing = f"entries {expected} to {row.first - 1} are missing"
                self._damage(author, expected, row.first - 1, missing)
                before = None
            before = self._check_row(author, row, before)
            expected = row.first + row.count
            if before is not None and len(self._report.damages) == found:
                self._whole = Whole(row.first, before)
            if self._progress is not None:
                self._progress(self._report.entries, self._total)
        end = before.seq if before is not None else expected - 1
        if end != head.seq or (before is not None and before != head):
            self._damage(author, end + 1, head.seq, f"the log ends at {end}, its head says {head.seq}")

    def _check_row(self, author: bytes, row: Row, before: Head | None) -> Head | None:
        """Return the head that the row proves, None if it is damaged."""
        last = row.first + row.count - 1
        try:
            segments = self._backend.segments(author, row.first, 1)
            if not segments or (segments[0].first, segments[0].count) != (row.first, row.count):
                self._damage(author, row.first, last, "the row overlaps another one")
                return None
            segment = segments[0]
            head = verify(segment)
        except StoreClosedError:
            raise
        except (StoreError, BadSegmentError, BadSignatureError) as error:
            self._damage(author, row.first, last, str(error))
            return None
        if before is not None and segment.previous != before.id:
            self._damage(author, row.first, last, f"entry {row.first} does not continue entry {before.seq}")
        self._report.segments += 1
        self._report.entries += segment.count
        self._report.item_bytes += len(segment.bodies)
        if holes := count_holes(segment):
            self._report.holes[author] = self._report.holes.get(author, 0) + holes
        return head

    def _tried(
        self, read: Callable[[], Value], author: bytes | None, first: int = 0, last: int = 0
    ) -> Value | None:
        try:
            return read()
        except StoreClosedError:
            raise
        except StoreError as error:
            self._damage(author, first, last, str(error))
            return None

    def _damage(self, author: bytes | None, first: int, last: int, reason: str) -> None:
        self._report.damages.append(Damage(author, first, last, reason))
