"""What authors take on the disk of one store, and how that changes.

Responsible for: adding up what is there, and collecting what commits and merges change.
Must not know: quotas; requests.
Invariant: what was there in the beginning and all changes since are what is there now; a repair begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from gossiplog.errors import StoreDamagedError, StoreError
from gossiplog.limits import AUTHOR_DISK_BYTES
from gossiplog.log.clock_view import HeadView
from gossiplog.log.disk_cost import Changes, Weights, proof_bytes
from gossiplog.store.interface import Backend
from gossiplog.store.merging import Merger
from gossiplog.store.requests import CommitReport


class Weighing:
    """I weigh the authors of one backend, who are in ``clock``, and those whose fork proofs it has."""

    def __init__(self, backend: Backend, clock: HeadView, merger: Merger) -> None:
        """Begin without anybody who wants to know."""
        self._backend = backend
        self._clock = clock
        self._merger = merger
        self._is_on = False
        self._told_bytes = 0

    def begin(self) -> Weights:
        """What is there; from then on every report of a commit says what changed, and so does :meth:`settled`."""
        self._is_on = True
        self._merger.changes.clear()
        self._told_bytes = self._backend.used_bytes()
        return Weights(self.weights(), self._told_bytes)

    def end(self) -> None:
        """What is there is about to change in another way."""
        self._is_on = False

    def weights(self) -> dict[bytes, int]:
        """Return what each author takes on disk, log and proof, as far as it can be read.  O(rows)."""
        held = (author for author, _ in self._clock.range())
        weights = Changes(dict.fromkeys(held, AUTHOR_DISK_BYTES))  # keys that are there already
        try:
            for author, size in self._backend.weights().items():
                weights.add(author, size)
        except StoreDamagedError:  # what is damaged is passed over, log by log
            for author, _ in self._clock.range():
                with suppress(StoreDamagedError):
                    for row in self._backend.rows(author):
                        weights.row(author, row.size)
        with suppress(StoreDamagedError):
            for author, size in self._backend.forks().items():
                weights.add(author, proof_bytes(size))
        return weights

    def committed(self, *changes: Mapping[bytes, int]) -> dict[bytes, int]:
        """Return ``changes`` together, if somebody wants to know."""
        total = Changes()
        for some in changes if self._is_on else ():
            for author, change in some.items():
                total.add(author, change)
        return total

    def used_bytes(self) -> int | None:
        """What is in use, if somebody wants to know; as it was the last time where that cannot be read just now."""
        if not self._is_on:
            return None
        with suppress(StoreError):
            self._told_bytes = self._backend.used_bytes()
        return self._told_bytes

    def settled(self) -> CommitReport | None:
        """Return what merging and giving room back changed since the last time somebody asked."""
        changes, self._merger.changes = self._merger.changes, Changes()
        before = self._told_bytes
        used_bytes = self.used_bytes()
        if not changes and used_bytes in (None, before):
            return None
        return CommitReport([], [], {}, (), changes, (), used_bytes)
