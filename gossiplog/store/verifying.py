"""The whole-store check: is on disk what the authors signed?

Responsible for: reading every row back and comparing chains, signatures and heads; saying where something is wrong.
Must not know: how to mend it.
Invariant: damage is reported, never raised, and never changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    StoreClosedError,
    StoreError,
)
from gossiplog.log.clock import Clock
from gossiplog.log.fork import verify_proof
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, verify
from gossiplog.store.interface import Backend, Row

Progress = Callable[[int, int], object]
"""Called now and then with the entries checked so far and the entries there should be."""

Value = TypeVar("Value")


class Damage(NamedTuple):
    """Something wrong: with ``author``'s log at the row that begins at ``first``, or (``None``, 0) with the store."""

    author: bytes | None
    first: int
    reason: str


@dataclass
class VerifyReport:
    """What a check found; ``ok`` when there is no damage.  Rows that are damaged are not counted."""

    authors: int = 0
    segments: int = 0
    entries: int = 0
    item_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.damages


def verify_store(backend: Backend, clock: Clock, progress: Progress | None = None) -> VerifyReport:
    """Check everything in ``backend`` against itself and against ``clock``; O(entries), about 0.8 us each."""
    return _Check(backend, clock, progress).run()


class _Check:
    def __init__(self, backend: Backend, clock: Clock, progress: Progress | None) -> None:
        self._backend = backend
        self._clock = clock
        self._progress = progress
        self._total = clock.total()
        self._report = VerifyReport()

    def run(self) -> VerifyReport:
        """Check structure, heads, logs and proofs."""
        for problem in self._tried(lambda: list(self._backend.check()), None) or ():
            self._damage(None, 0, problem)
        heads = self._tried(lambda: dict(self._backend.heads()), None)
        if heads is not None:
            for author in {*heads, *self._clock}:
                if heads.get(author) != self._clock.head(author):
                    self._damage(author, self._clock.seq(author), "the head on disk is not the one in memory")
        for author, head in self._clock.items():
            self._report.authors += 1
            self._check_log(author, head)
        for author, proof in (self._tried(self._backend.forks, None) or {}).items():
            try:
                verify_proof(proof)
            except BadForkProofError as error:
                self._damage(author, proof.seq, f"the fork proof proves nothing: {error}")
        return self._report

    def _check_log(self, author: bytes, head: Head) -> None:
        before: Head | None = Head(
            0, genesis_id(author)
        )  # None behind a row that says nothing about the next
        expected = 1
        rows = self._tried(lambda: iter(self._backend.rows(author)), author, expected)
        if rows is None:
            return
        while (row := self._tried(lambda: next(rows, None), author, expected)) is not None:
            if row.first > expected:
                self._damage(author, expected, f"entries {expected} to {row.first - 1} are missing")
                before = None
            before = self._check_row(author, row, before)
            expected = row.first + row.count
            if self._progress is not None:
                self._progress(self._report.entries, self._total)
        if before is not None and before != head:
            self._damage(author, expected, f"the log ends at {before.seq}, its head says {head.seq}")
        elif before is None and expected != head.seq + 1:
            self._damage(author, expected, f"the log ends at {expected - 1}, its head says {head.seq}")

    def _check_row(self, author: bytes, row: Row, before: Head | None) -> Head | None:
        """Return the head that the row proves, None if it is damaged."""
        try:
            segments = self._backend.segments(author, row.first, 1)
            if not segments or (segments[0].first, segments[0].count) != (row.first, row.count):
                self._damage(author, row.first, "the row overlaps another one")
                return None
            segment = segments[0]
            head = verify(segment)
        except StoreClosedError:
            raise
        except (StoreError, BadSegmentError, BadSignatureError) as error:
            self._damage(author, row.first, str(error))
            return None
        if before is not None and segment.previous != before.id:
            self._damage(author, row.first, f"entry {row.first} does not continue entry {before.seq}")
        self._report.segments += 1
        self._report.entries += segment.count
        self._report.item_bytes += len(segment.bodies)
        return head

    def _tried(self, read: Callable[[], Value], author: bytes | None, first: int = 0) -> Value | None:
        try:
            return read()
        except StoreClosedError:
            raise
        except StoreError as error:
            self._damage(author, first, str(error))
            return None

    def _damage(self, author: bytes | None, first: int, reason: str) -> None:
        self._report.damages.append(Damage(author, first, reason))
