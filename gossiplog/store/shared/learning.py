"""What other relays wrote into a shared store, taken in.

Responsible for: turning changes of others into heads, segments, forks, deletions and values of a batch; what a lost
race was about.
Must not know: lanes and positions, peers.
Invariant: a change is taken in once, whatever way and however often it is heard of; what is learned of a log continues
what was known, without a gap, or the log was deleted and is taken in anew; and a head that is behind ours, of a log
that nobody deleted, is no change: the store went back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gossiplog.errors import LostRaceError, StoreWentBackError
from gossiplog.log.clock_view import ClockView
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Head, Segment, chain_ids, id_at, tail_after
from gossiplog.store.interface import Backend
from gossiplog.store.requests import INTEREST, Accept, Learn, Request
from gossiplog.store.shared.interface import Kept, Shared, Stand
from gossiplog.store.transaction import Batch

READ_BYTES: Final = 1 << 20
"""Of a log that others took further than was said: so much is read at once, and more with the next change of it."""


class Learning:
    """I learn what others do with the store of ``backend``; ``clock`` is what is known of it."""

    def __init__(self, backend: Backend, shared: Shared, clock: ClockView) -> None:
        self._backend = backend
        self._shared = shared
        self._clock = clock

    def look(self, lost: LostRaceError, requests: Sequence[Request]) -> Learn:
        """Return how what was lost is now, and the proofs of forks that ``requests`` of ours show beside that.

        :raises StoreWentBackError: a log is behind what we knew.
        """
        stands = {stand.author: stand for stand in self._shared.stands(lost.authors)}
        for author in lost.authors:
            stand = stands.setdefault(author, Stand(author, None))
            deletions = self._shared.deletions.get(author, 0)
            seq = 0 if stand.deletions > deletions else self._clock.seq(author)
            if stand.deletions < deletions or (stand.head.seq if stand.head else 0) < seq:
                raise StoreWentBackError(
                    f"{self._backend.path} was put back to an earlier state: it holds less of {short_key(author)}"
                )
        proofs: dict[bytes, ForkProof] = {}
        for request in requests:
            segment = request.segment if isinstance(request, Accept) else None
            if segment is None or (now := stands.get(segment.author)) is None:
                continue
            if now.proof is not None or now.head is None:
                continue
            ours = self._backend.segments(now.author, min(segment.last, now.head.seq), 1)
            proof = build_proof(ours[0], segment) if ours else None
            if proof is not None:
                proofs.setdefault(proof.author, proof)
        return Learn((*stands.values(), *map(Kept, lost.keys)), tuple(proofs.values()))

    def take(self, learn: Learn, batch: Batch) -> None:
        """Take changes into a batch, as far as they are news."""
        for change in learn.changes:
            if isinstance(change, Kept):
                batch.learn_value(change.key, self._backend.meta(change.key))
            else:
                self._take(change, batch)
        for proof in learn.proofs:
            batch.learn_fork(proof, is_kept=False)

    @contextmanager
    def settling(self, batch: Batch) -> Iterator[None]:
        """Within, what a batch learned of deletions is known, and from then on if nothing is raised."""
        known = self._shared.deletions
        before = {author: known.get(author, 0) for author in batch.deletions}
        known.update(batch.deletions)
        try:
            yield
        except BaseException:
            known.update(before)
            raise

    def _take(self, change: Stand, batch: Batch) -> None:
        author = change.author
        known = batch.deletions.get(author, self._shared.deletions.get(author, 0))
        if change.deletions > known:
            batch.learn_deletion(author, change.deletions)
            # who deletes a log may not want it any more
            batch.learn_value(INTEREST, self._backend.meta(INTEREST))
        elif change.deletions < known:
            return
        if change.head is not None and change.head.seq > batch.head(author).seq:
            segments = self._missing(change, change.head, batch.head(author))
            if segments:
                last = segments[-1]
                ends_there = last.last == change.head.seq
                head = change.head if ends_there else Head(last.last, [*chain_ids(last)][-1])
                batch.learn(segments, head)
        if change.proof is not None:
            batch.learn_fork(change.proof, is_kept=True)

    def _missing(self, change: Stand, head: Head, held: Head) -> list[Segment]:
        """What leads from what is held to a change, or the beginning of that; nothing where it is of another log than
        what is held, which was deleted since then: the change that says so is on its way."""
        segment = change.segment
        if segment is not None and (segment.first, segment.previous) == (held.seq + 1, held.id):
            return [segment]
        found = self._backend.segments(change.author, held.seq + 1, READ_BYTES, head.seq)
        if found and found[0].first <= held.seq:  # merged with what is held
            id_held = id_at(found[0], held.seq)
            found[0] = tail_after(found[0], held.seq, id_held)
        return found if found and found[0].previous == held.id else []
