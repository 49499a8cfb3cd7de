"""What is known of a store by who may not touch it: its clock, its forks, who writes here.

Responsible for: keeping that as the store's thread reports it.
Must not know: threads, peers, who reads it.
Invariant: there is one of these for a store, and nobody else changes what is in it.  The clock moves by what a commit
reports, and by nothing else; a fork is known from when it was proven, whether or not a full disk has kept the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from gossiplog.log.clock_view import CountedView, FollowingClock, MovingClock, whole
from gossiplog.log.disk_cost import Totals, Weights
from gossiplog.log.figures import Figures
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Head
from gossiplog.store.logs import Logs
from gossiplog.store.requests import CommitReport


class Held:
    """I am what one store holds, as far as others were told.

    ``clock`` is the durable clock, of which there are only figures where heads are not in memory, ``local`` are the
    authors that write here, ``forks`` those whose logs are known as forked; ``unwritten`` are proofs that are not on
    disk yet; ``locked``: writers here wait for a passphrase.  All are to be read only.
    """

    def __init__(
        self, clock: MovingClock | Figures, local: AbstractSet[bytes], forks: AbstractSet[bytes]
    ) -> None:
        """Begin with what is on disk; ``clock`` is mine from now on."""
        self._clock = clock
        self._local = set(local)
        self._forks = set(forks)
        self._unwritten: dict[bytes, ForkProof] = {}
        self.clock: CountedView = clock
        self.local: AbstractSet[bytes] = self._local
        self.forks: AbstractSet[bytes] = self._forks
        self.unwritten: Mapping[bytes, ForkProof] = self._unwritten
        self.weights: Weights | Totals | None = None
        self.locked = False
        self._follower: FollowingClock | None = None

    @classmethod
    def of(cls, logs: Logs) -> Held:
        """Return what ``logs`` hold now."""
        clock = whole(logs.clock)
        known = Figures(len(logs.clock), logs.clock.total()) if clock is None else clock.copy()
        held = cls(known, logs.local, logs.forks)
        held.locked = logs.keys.is_locked
        return held

    def follow(self, clock: FollowingClock) -> None:
        """Tell this one of all that moves from now on."""
        self._follower = clock

    def joined(self, author: bytes) -> None:
        """There is a new writer."""
        self._local.add(author)

    def signing(self, locked: bool) -> None:
        """The seeds were unlocked, or put under another passphrase."""
        self.locked = locked

    def weigh(self, weights: Weights | int) -> Weights | Totals:
        """Keep what each author takes on disk, or all together."""
        self.weights = Totals(self.clock, weights) if isinstance(weights, int) else weights
        return self.weights

    def committed(self, report: CommitReport) -> bool:
        """This is on disk now.  Return whether room was given back there."""
        has_room = self.weights is not None and self.weights.change(*report.weighed)
        for author in report.forgotten:
            self._forks.discard(author)
            self._unwritten.pop(author, None)
        for author in report.forked:
            self._forks.add(author)
            self._unwritten.pop(author, None)
        clock = self._clock
        if isinstance(clock, Figures):
            for author, before in report.before.items():
                clock.move(author, before, report.heads.get(author))
        else:
            for author in report.forgotten:
                clock.discard(author)
            for author, head in report.heads.items():
                clock.set(author, head)
        if self._follower is not None:
            for author, before in report.before.items():
                self._follower.move(author, before, report.heads.get(author))
        return has_room

    def repaired(self, heads: Mapping[bytes, Head | None]) -> None:
        """Logs were cut to these heads, on purpose."""
        self.weights = None
        clock = self._clock
        if isinstance(clock, Figures):
            return  # nobody cuts logs there
        for author, head in heads.items():
            if self._follower is not None:
                self._follower.move(author, clock.head(author), head)
            clock.set(author, head)

    def proven(self, proof: ForkProof) -> None:
        """An author has forked its log; the proof is on its way to the disk."""
        if proof.author not in self._forks:
            self._forks.add(proof.author)
            self._unwritten[proof.author] = proof

    def lost_proof(self, author: bytes) -> None:
        """There is no room for its proof, neither on the disk nor in memory: all is as if it had never come."""
        if self._unwritten.pop(author, None) is not None:
            self._forks.discard(author)
