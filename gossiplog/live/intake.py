"""Taking what came by another way than a session: from a store or a file of anybody.

Responsible for: the same rules as for what a peer sends (acceptance, interest, quotas, forks, holes), and committing
what is taken, much at once.
Must not know: where it comes from.
Invariant: what is taken was verified here, continues what is held, is wanted, within the quotas, and has its payloads.
What is refused changes nothing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    GossiplogError,
    StoreDamagedError,
)
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.gossip.quotas import QuotaLedger, Quotas, why_full
from gossiplog.live.hands import Hands
from gossiplog.live.memory_size import default_authors, default_disk
from gossiplog.log.disk_cost import proof_bytes, row_bytes
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, Segment
from gossiplog.store.requests import Accept, AddFork, FillRow, Request, RowFilled, Stale

COMMIT_BYTES: Final = 1 << 20
"""Read, verified and committed together."""

_ATTEMPTS: Final = 8
"""A node takes entries of the same author meanwhile; after so many times the rest is left to it."""


class RefusedError(GossiplogError):
    """Something is not taken; an error of our own store is another one."""


class Intake:
    """I take segments and proofs into a store.

    ``entries`` so many were taken of ``authors``, so many ``forks``, and ``filled`` payloads that were missing.
    """

    def __init__(self, hands: Hands, quotas: Quotas) -> None:
        self.entries = 0
        self.authors: set[bytes] = set()
        self.forks = 0
        self.filled = 0
        self._hands = hands
        local, disk, choices, self._holed = hands.read(
            lambda logs: (
                frozenset(logs.local),
                logs.disk,
                Choices.load(logs.meta(KEPT_AS), logs.local),
                logs.holed_authors(),
            )
        )
        self._choices = choices
        self._asked = quotas
        weights = hands.weights()
        bounds = quotas.or_else(default_authors(), default_disk(disk, weights.bytes, weights.bytes))
        self._ledger = QuotaLedger(bounds, weights, local)
        self._ledger.ask(lambda author: hands.head(author) is not None)
        self._coming: dict[bytes, Head] = {}
        self._requests: list[Request] = []
        self._size = 0
        self._again: list[Segment] = []

    def wants(self, author: bytes) -> bool:
        """Tell whether anything of an author is to be taken."""
        return self._choices.wants(author) and author not in self._hands.forks

    def head(self, author: bytes) -> Head:
        """Return how far a log is held, with what is on its way to the disk."""
        return self._coming.get(author) or self._hands.head(author) or Head(0, genesis_id(author))

    def take(self, segment: Segment) -> Verdict | None:
        """Take a segment, of which nothing was looked at; return why nothing of it was.

        :raises RefusedError: it is over a quota, or an offence.
        """
        author = segment.author
        ours = self.head(author)
        try:
            verdict = judge(segment, ours)
        except (BadSegmentError, BadSignatureError) as error:
            raise RefusedError(str(error)) from error
        if isinstance(verdict, Extends):
            self._accept(verdict, ours)
            return None
        if verdict is Verdict.SUSPECT:
            self.flush()
            proof = self._hands.read(lambda logs: logs.examine(segment))
            if proof is not None:
                self._add(proof)
        elif verdict is Verdict.DUPLICATE and author in self._holed:
            size = len(segment.bodies)
            if self._ledger.full(author, size) is None:
                self._put(FillRow(segment), size)
        return verdict

    def prove(self, proof: ForkProof) -> None:
        """Take a fork proof, of which nothing was looked at.

        :raises RefusedError: it proves nothing, or there is no room for it.
        """
        try:
            verify_proof(proof)
        except BadForkProofError as error:
            raise RefusedError(str(error)) from error
        self.flush()
        self._add(proof)

    def flush(self) -> None:
        """Commit what was taken; it is durable on return.

        :raises StoreError: of our own store: what was committed before stays.
        """
        attempts = 0
        while self._requests or (self._again and attempts < _ATTEMPTS):
            self._commit()
            again, self._again = self._again, []
            attempts += bool(again)
            for segment in again:
                with suppress(RefusedError):
                    if self.wants(segment.author):
                        self.take(segment)
        self._again.clear()

    def _accept(self, found: Extends, ours: Head) -> None:
        segment = found.segment
        size, now = row_bytes(len(segment.bodies)), time.monotonic()
        if (quota := self._ledger.breach(segment.author, size, now)) is not None:
            raise RefusedError(f"from entry {ours.seq + 1} on: {why_full(quota, self._asked)}")
        self._ledger.accepted(segment, now)
        self._coming[segment.author] = found.head
        self._put(Accept(segment, found.head), size)

    def _put(self, request: Request, size: int) -> None:
        self._requests.append(request)
        self._size += size
        if self._size >= COMMIT_BYTES:
            self._commit()

    def _add(self, proof: ForkProof) -> None:
        if (quota := self._ledger.full(proof.author, proof_bytes(proof))) is not None:
            raise RefusedError(f"the proof that it forked: {why_full(quota, self._asked)}")
        self._requests.append(AddFork(proof))
        self._commit()
        self.forks += 1

    def _commit(self) -> None:
        requests, self._requests, self._size = self._requests, [], 0
        if not requests:
            return
        try:
            results = self._hands.write(requests)
        finally:
            self._coming.clear()
        for request, result in zip(requests, results, strict=True):
            if isinstance(request, Accept):
                self._ledger.committed(request.segment, last=True)
            if isinstance(result, StoreDamagedError) and isinstance(request, FillRow):
                continue  # what is damaged here cannot be filled
            if isinstance(result, GossiplogError):
                raise result
            if isinstance(result, RowFilled):
                self.filled += result.count
            elif isinstance(result, FillRow):
                self._put(result, len(result.segment.bodies))
            elif isinstance(request, Accept) and isinstance(result, Stale):
                self._again.append(request.segment)
            elif isinstance(request, Accept):
                self.entries += request.segment.count
                self.authors.add(request.segment.author)
