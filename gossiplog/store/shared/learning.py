"""What other relays wrote into a shared store, taken in.

Responsible for: turning changes of others into heads, segments and forks of a batch; what a lost race was about.
Must not know: lanes and positions, peers.
Invariant: a change is taken in once, whatever way and however often it is heard of; what is learned of a log continues
what was known, without a gap; and a head that is behind ours is no change: the store went back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gossiplog.errors import StoreWentBackError
from gossiplog.log.clock_view import ClockView
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Head, Segment, chain_ids
from gossiplog.store.interface import Backend
from gossiplog.store.requests import Accept, Learn, Request
from gossiplog.store.shared.interface import Shared, Stand
from gossiplog.store.transaction import Batch

READ_BYTES: Final = 1 << 20
"""Of a log that others took further than was said: so much is read at once, and more with the next change of it."""


class Learning:
    """I learn what others do with the store of ``backend``; ``clock`` is what is known of it."""

    def __init__(self, backend: Backend, shared: Shared, clock: ClockView) -> None:
        self._backend = backend
        self._shared = shared
        self._clock = clock

    def look(self, authors: Iterable[bytes], requests: Sequence[Request]) -> Learn:
        """Return how these authors stand, and the proofs of forks that ``requests`` of ours show beside that.

        :raises StoreWentBackError: one of them is behind what we knew.
        """
        stands = {change.author: change for change in self._shared.stands(authors)}
        for author, change in stands.items():
            if (change.head.seq if change.head else 0) < self._clock.seq(author):
                raise StoreWentBackError(
                    f"{self._backend.path} was put back to an earlier state: it holds less of {short_key(author)}"
                )
        proofs: dict[bytes, ForkProof] = {}
        for request in requests:
            stand = stands.get(request.segment.author) if isinstance(request, Accept) else None
            if stand is None or stand.proof is not None or stand.head is None:
                continue
            segment = request.segment  # type: ignore[union-attr]
            ours = self._backend.segments(stand.author, min(segment.last, stand.head.seq), 1)
            proof = build_proof(ours[0], segment) if ours else None
            if proof is not None:
                proofs.setdefault(proof.author, proof)
        return Learn(tuple(stands.values()), tuple(proofs.values()))

    def take(self, learn: Learn, batch: Batch) -> None:
        """Take changes into a batch, as far as they are news."""
        for change in learn.stands:
            if change.head is not None and change.head.seq > batch.head(change.author).seq:
                segments = self._missing(change, batch.head(change.author))
                if segments:
                    last = segments[-1]
                    ends_there = last.last == change.head.seq
                    head = change.head if ends_there else Head(last.last, [*chain_ids(last)][-1])
                    batch.learn(segments, head)
            if change.proof is not None:
                batch.learn_fork(change.proof, is_kept=True)
        for proof in learn.proofs:
            batch.learn_fork(proof, is_kept=False)

    def _missing(self, change: Stand, held: Head) -> list[Segment]:
        """What leads from what is held to a change, or the beginning of that."""
        segment = change.segment
        if segment is not None and (segment.first, segment.previous) == (held.seq + 1, held.id):
            return [segment]
        assert change.head is not None
        return self._backend.segments(change.author, held.seq + 1, READ_BYTES, change.head.seq)
