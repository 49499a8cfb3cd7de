"""Requests made into commits: what a store's thread does all day.

Responsible for: judging a list of requests on top of the durable state, writing what they come to, telling everybody
who keeps count of it; doing it again on top of what others wrote, where a store is shared.
Must not know: peers, threads, time.
Invariant: what is known of the disk moves after the commit, and never on an error; a commit that lost a race left
nothing, or what is there is looked at before anything is done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Final

from gossiplog.errors import (
    GossiplogError,
    LostRaceError,
    StoreError,
    StoreFailedError,
    StoreUnreachableError,
)
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.keys import HeadSigner
from gossiplog.store.checked_rows import CheckedRows
from gossiplog.store.disk_usage import Weighing
from gossiplog.store.hole_filling import HoleFiller
from gossiplog.store.interface import Backend, Guard
from gossiplog.store.merging import Merger
from gossiplog.store.requests import (
    Accept,
    Append,
    CommitReport,
    Done,
    FillRow,
    Forget,
    Learn,
    Reply,
    Request,
)
from gossiplog.store.saved_cursors import SavedCursors
from gossiplog.store.shared.learning import Learning
from gossiplog.store.torn_ends import TornEnds
from gossiplog.store.transaction import Batch

ATTEMPTS: Final = 8
"""To do a batch that lost a race, when looking at what it was about shows nothing new: others were about to move it and
did not, or nobody hears what became of our own commits.  Whoever asked for it hears that it was not done, and asks
again later; if it was done after all, that is seen then."""


class Committer:
    """I commit what is asked of one store.  All that I am given is the store's own, and shared with it."""

    def __init__(
        self,
        backend: Backend,
        clock: MovingClock,
        forks: set[bytes],
        keypairs: Mapping[bytes, HeadSigner],
        cursors: SavedCursors,
        merger: Merger,
        weighing: Weighing,
        vouching: CheckedRows,
        custody: Guard,
        torn: TornEnds,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._forks = forks
        self._keypairs = keypairs
        self._cursors = cursors
        self._merger = merger
        self._weighing = weighing
        self._vouching = vouching
        self._custody = custody
        self._torn = torn
        self._learning = None if backend.shared is None else Learning(backend, backend.shared, clock)
        self._checked: set[bytes] = set()
        self._failed = backend.read_only

    def process(self, requests: Sequence[Request]) -> CommitReport:
        """Do :meth:`gossiplog.store.logs.Logs.process`."""
        if self._failed:
            self._backend.commit(())  # raises: nothing is signed for a seq whose fate the disk did not tell
            raise StoreFailedError(
                f"a write to {self._backend.path} was interrupted (Ctrl-C?): open the store again"
            )
        if self._torn:
            self._torn.look_again(each.segment.author for each in requests if isinstance(each, Accept))
        learned: list[Learn] = []
        vain = 0
        while True:
            try:
                report = self._try([*learned, *requests] if learned else requests)
            except LostRaceError as lost:
                if self._learning is None:
                    raise
                found = self._learning.look(lost, requests)
                vain += found in learned
                learned.append(found)
                if vain >= ATTEMPTS:
                    raise StoreUnreachableError(
                        f"{self._backend.path} does not say whether it does what is asked for"
                    ) from lost
            else:
                return report._replace(results=report.results[len(learned) :]) if learned else report

    def _try(self, requests: Sequence[Request]) -> CommitReport:
        batch = Batch(self._clock, self._forks, self._keypairs, self._cursors)
        forgotten = {request.author for request in requests if isinstance(request, Forget)}
        filling = HoleFiller(self._backend, forgotten)
        results: list[Reply] = [Done()] * len(requests)
        appends: dict[bytes, list[int]] = {}
        for place, request in enumerate(requests):
            if isinstance(request, Append):
                appends.setdefault(request.author, []).append(place)
            elif isinstance(request, FillRow):
                results[place] = filling.take(request)
            elif isinstance(request, Learn):
                if self._learning is not None:
                    self._learning.take(request, batch)
            else:
                results[place] = batch.receive(request)
        for author, places in appends.items():
            done = self._append(batch, author, [requests[place] for place in places])
            for place, result in zip(places, done, strict=True):
                results[place] = result
        writes = [*filling.writes, *batch.writes]
        known = nullcontext() if self._learning is None else self._learning.settling(batch)
        if writes:
            cuts = self._torn.cuts(batch.heads)
            self._failed = True  # until the clock says what the disk does
            try:
                with known:
                    self._backend.commit([*cuts, *writes])
            except GossiplogError as error:
                self._failed = isinstance(error, StoreFailedError)
                raise
        else:
            with known:
                pass
        batch.publish()
        self._failed = False
        self._torn.forget([*batch.heads, *batch.forgotten])
        self._note(batch, filling)
        filling.say_what_is_left(requests, results)
        changes = self._weighing.committed(filling.changes, batch.changes)
        used_bytes = self._weighing.used_bytes() if batch.forgotten else None
        return batch.report(results, changes, used_bytes, filling.authors)

    def _note(self, batch: Batch, filling: HoleFiller) -> None:
        """Tell those who remember rows and own entries."""
        for author in batch.forgotten:
            self._merger.forget(author)
        for segment in [*filling.rows, *batch.segments]:
            self._merger.note(segment)
        for author, head in batch.heads.items():
            if author in self._keypairs and head.seq >= self._torn.lost.get(author, 0):
                self._custody.signed(author, head.seq)

    def _append(self, batch: Batch, author: bytes, appends: Sequence[Request]) -> list[Reply]:
        if author in self._keypairs and author not in self._checked and author not in self._torn:
            try:
                self._vouching.check_end(author)
            except StoreError as error:
                return [error] * len(appends)
            self._checked.add(author)
        if (refusal := self._custody.refusal(author)) is not None:
            return [refusal] * len(appends)
        if (damage := self._torn.refusal(author)) is not None:
            return [damage] * len(appends)
        return batch.append(author, [append.bodies for append in appends if isinstance(append, Append)])
