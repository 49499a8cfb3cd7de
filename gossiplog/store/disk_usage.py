"""What authors take on the disk of one store, and how that changes.

Responsible for: adding up what is there, and collecting what commits and merges change.
Must not know: quotas; requests.
Invariant: what was there in the beginning and all changes since are what is there now; a repair begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from gossiplog.errors import StoreDamagedError, StoreError
from gossiplog.limits import AUTHOR_DISK_BYTES
from gossiplog.log.clock_view import CountedView
from gossiplog.log.disk_cost import Changes, Weights, proof_bytes
from gossiplog.store.interface import Backend
from gossiplog.store.merging import Merger
from gossiplog.store.requests import CommitReport


class Weighing:
    """I weigh the authors of one backend, who are in ``clock``, and those whose fork proofs it has."""

    def __init__(self, backend: Backend, clock: CountedView, merger: Merger) -> None:
        """Begin without anybody who wants to know."""
        self._backend = backend
        self._clock = clock
        self._merger = merger
        self._is_on = False
        self._told_bytes = 0

    def begin(self) -> Weights | int:
        """What is there; from then on every report of a commit says what changed, and so does :meth:`settled`.

        Where not every author is in memory, it is what all take together.
        """
        self._is_on = True
        self._merger.changes.clear()
        if not self._clock.is_whole:
            return self._total()
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

    def of(self, authors: Collection[bytes]) -> dict[bytes, int]:
        """Return what each of these takes on disk, log and proof.  O(their rows)."""
        shared, forks = self._backend.shared, self._backend.forks()
        weights = Changes({} if shared is None else shared.weights(authors))
        for author in authors:
            if author in self._clock:
                weights.add(author, AUTHOR_DISK_BYTES)
            for row in self._backend.rows(author) if shared is None else ():
                weights.row(author, row.size)
            if author in forks:
                weights.add(author, proof_bytes(forks[author]))
        return weights

    def _total(self) -> int:
        """Return what all take together."""
        shared = self._backend.shared
        rows = sum(self._backend.weights().values()) if shared is None else shared.rows_bytes()
        return (
            AUTHOR_DISK_BYTES * len(self._clock)
            + rows
            + sum(map(proof_bytes, self._backend.forks().values()))
        )

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
            self._told_bytes = self._backend.used_bytes() if self._clock.is_whole else self._total()
        return self._told_bytes

    def settled(self) -> CommitReport | None:
        """Return what merging and giving room back changed since the last time somebody asked; where relays share a
        store, nobody does that."""
        if not self._clock.is_whole:
            return None
        changes, self._merger.changes = self._merger.changes, Changes()
        before = self._told_bytes
        used_bytes = self.used_bytes()
        if not changes and used_bytes in (None, before):
            return None
        return CommitReport([], [], {}, (), changes, (), used_bytes)
