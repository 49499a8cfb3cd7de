"""Importing: what a store from anybody has that is signed goes into one's own.

Responsible for: reading a store that is trusted in nothing, and taking what its authors signed, as from a peer.
Must not know: how files are opened; the command.
Invariant: of the other store nothing is changed and no secret is read; what is taken was verified here, continues what
is held, is wanted, within the quotas, and has its payloads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Final, NamedTuple

from gossiplog.arguments import check_type
from gossiplog.errors import (
    BadForkProofError,
    GossiplogError,
    InvalidValueError,
    NetworkMismatchError,
    StoreDamagedError,
    StoreError,
)
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.gossip.quotas import QuotaLedger, Quotas
from gossiplog.limits import MAX_CLAIMS
from gossiplog.live.memory_size import default_authors, default_disk
from gossiplog.log.disk_cost import proof_bytes, row_bytes
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, Segment
from gossiplog.paths import AnyPath
from gossiplog.store.checked_rows import find_rows
from gossiplog.store.door import Opening, open_around_damage, open_backend, require_another
from gossiplog.store.interface import Backend, Rows
from gossiplog.store.logs import NETWORK, Logs, open_logs
from gossiplog.store.requests import Accept, AddFork, Request

COMMIT_BYTES: Final = 1 << 20
"""Read, verified and committed together."""


class Imported(NamedTuple):
    """What an import took: so many entries of these authors, and so many fork proofs.

    ``refused`` says why something of an author was not taken, and of ``None`` why something else was not.
    """

    entries: int
    authors: frozenset[bytes]
    forks: int
    refused: dict[bytes | None, str]


def import_store(
    path: AnyPath, source: AnyPath, *, quotas: Quotas | None = None, wait: float = 0.0
) -> Imported:
    """Take into the store at ``path``, which is made if there is none, what the store at ``source`` has.

    That one may be anybody's, and is only read.  Blocks until it is done, and for up to ``wait`` seconds before that
    while another process has one of the stores open.  What was taken before an error of our own disk stays.

    Raises :class:`NetworkMismatchError` when the stores say that they belong to two networks, other
    :class:`StoreError` when one of them cannot be opened, and :class:`InvalidValueError` when they are one.
    """
    check_type("quotas", quotas, (Quotas, type(None)), "Quotas, or None")
    require_another(path, source, "import takes what another one has")
    with (
        closing(open_source(source, wait)) as theirs,
        closing(open_logs(path, wait=wait)) as ours,
    ):
        importing = Importing(ours, theirs, quotas or Quotas())
        importing.run()
    return Imported(importing.entries, frozenset(importing.authors), importing.forks, importing.refused)


def open_source(place: AnyPath, wait: float = 0.0) -> Backend:
    """Open a store that may be anybody's, to read what can be read of it."""
    how = Opening(init=False, read_only=True, wait=wait)
    try:
        backend = open_backend(place, how)
    except StoreDamagedError as error:
        return open_around_damage(place, how, error)
    try:
        deque(backend.heads(), maxlen=0)
        backend.forks()
        backend.meta(NETWORK)
    except StoreDamagedError as error:
        backend.close()
        return open_around_damage(place, how, error)
    except BaseException:
        backend.close()
        raise
    return backend


class _RefusedError(GossiplogError):
    """Something of the other store is not taken; an error of our own store is another one."""


class Importing:
    """I take what ``source`` has into ``logs``.

    ``refused`` says of authors, or of the store (``None``), why something was not taken.
    """

    def __init__(self, logs: Logs, source: Rows, quotas: Quotas) -> None:
        self.entries = 0
        self.authors: set[bytes] = set()
        self.forks = 0
        self.refused: dict[bytes | None, str] = {None: source.damage} if source.damage else {}
        self._logs = logs
        self._source = source
        self._choices = Choices.load(logs.meta(KEPT_AS), logs.local)
        self._weights = logs.weighing.begin()
        held_bytes = self._weights.bytes
        bounds = quotas.or_else(default_authors(), default_disk(logs.disk, held_bytes, held_bytes))
        self._ledger = QuotaLedger(bounds, self._weights, logs.local)

    def run(self) -> None:
        """Take all that can be taken; what was taken before an error of our own disk stays.

        :raises NetworkMismatchError: the stores say that they belong to two networks.
        """
        theirs, ours = self._source.meta(NETWORK), self._logs.meta(NETWORK)
        if theirs is not None and ours is not None and theirs != ours:
            raise NetworkMismatchError(
                f"{self._source.path} belongs to another network than store {self._logs.path}: "
                "import it into a store of that network"
            )
        for author, claimed in self._behind().items():
            self._try(author, partial(self._take_log, author, claimed))
        try:
            forked = [author for author in self._source.forks() if self._wants(author)]
        except StoreError as error:
            self.refused[None] = str(error)
            return
        for author in forked:
            self._try(author, partial(self._take_proof, author))

    def _try(self, author: bytes, take: Callable[[], None]) -> None:
        try:
            take()
        except _RefusedError as refused:
            self.refused[author] = str(refused)

    def _behind(self) -> dict[bytes, int]:
        """Return how far the other store says it holds logs of which anything is not held here; as many as a peer may
        claim, and another import takes the rest."""
        clock, found = self._logs.clock, dict[bytes, int]()
        try:
            for author, head in self._source.heads():
                if self._wants(author) and head.seq >= clock.seq(author) and head != clock.head(author):
                    found[author] = head.seq
                if len(found) >= MAX_CLAIMS:
                    break
        except StoreError as error:
            self.refused[None] = str(error)
        return found

    def _wants(self, author: bytes) -> bool:
        return self._choices.wants(author) and author not in self._logs.forks

    def _take_log(self, author: bytes, claimed: int) -> None:
        ours = self._logs.clock.head(author) or Head(0, genesis_id(author))
        before = -1
        while ours.seq > before:
            before = ours.seq
            ours = self._take_some(author, ours, min(claimed, ours.seq + 1))

    def _take_some(self, author: bytes, ours: Head, first: int) -> Head:
        """Take some rows from the one with ``first`` on; return the head then, and raise what ends it after that."""
        accepts: list[Request] = []
        suspect: Segment | None = None
        trouble: GossiplogError | None = None
        try:
            for row in find_rows(self._source, author, first, COMMIT_BYTES, None):
                verdict = judge(row, ours)
                if verdict is Verdict.SUSPECT:
                    suspect = row
                    break
                if isinstance(verdict, Extends):
                    size = row_bytes(len(verdict.segment.bodies))
                    if (quota := self._ledger.breach(author, size, time.monotonic())) is not None:
                        raise InvalidValueError(f"entry {ours.seq + 1} is over the quota {quota.value}")
                    self._ledger.accepted(verdict.segment, time.monotonic())
                    accepts.append(Accept(verdict.segment, verdict.head))
                    ours = verdict.head
        except GossiplogError as error:  # of the other store, or of what it says that an author signed
            trouble = error
        self._commit(accepts)
        if suspect is not None and (proof := self._logs.examine(suspect)) is not None:
            self._add(proof)
        if trouble is not None:
            raise _RefusedError(str(trouble)) from trouble
        return ours

    def _take_proof(self, author: bytes) -> None:
        try:
            proof = self._source.fork(author)
            if proof is not None:
                verify_proof(proof)
        except (StoreError, BadForkProofError) as error:
            raise _RefusedError(str(error)) from error
        if proof is not None:
            self._add(proof)

    def _add(self, proof: ForkProof) -> None:
        if (quota := self._ledger.full(proof.author, proof_bytes(proof))) is not None:
            raise _RefusedError(f"the proof that it forked is over the quota {quota.value}")
        self._commit([AddFork(proof)])
        self.forks += 1

    def _commit(self, requests: list[Request]) -> None:
        if not requests:
            return
        outcome = self._logs.process(requests)
        self._weights.change(*outcome.weighed)
        for request, result in zip(requests, outcome.results, strict=True):
            if isinstance(result, GossiplogError):
                raise result
            if isinstance(request, Accept):
                self._ledger.committed(request.segment, last=True)
                self.entries += request.segment.count
                self.authors.add(request.segment.author)
