"""What a replica asks of the disk.

Responsible for: carrying out what reads or writes the disk in the store's thread, and reporting what came
of them as events.
Must not know: links, sessions beyond their number, the application.
Invariant: every effect is answered exactly once (a store closes after the nodes that use it); a commit that fails is
reported once, however many writes were in it, and so is each author whose log is damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.errors import StoreDamagedError, StoreError, StoreFullError
from gossiplog.gossip import backlog, events
from gossiplog.gossip.events import Event
from gossiplog.gossip.outbox import PROOF
from gossiplog.live.core import StoreCore
from gossiplog.live.logger import NodeLog
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import segment_bytes
from gossiplog.net.fair_calls import FairCalls
from gossiplog.notices import Notice, StoreDamaged, StoreFailing
from gossiplog.store.logs import Logs
from gossiplog.store.repair.verify import Damage
from gossiplog.store.requests import Accept, AddFork, FillRow, RowFilled

_log = NodeLog()


REPORT_BYTES = 64 * 1024
"""Written bytes that the replica hears of together, unless they are the last: an event for each of fifty small segments
would cost more than their commit."""


class StoreEffects:
    """I run between one replica and its store.

    ``report`` takes the events, ``tell`` hears that the disk refused or is damaged, ``done`` that an errand is over.
    """

    def __init__(
        self,
        store: StoreCore,
        report: Callable[[Event], None],
        tell: Callable[[Notice], None],
        done: Callable[[], None],
    ) -> None:
        self.pending = 0
        self.pending_bytes = 0
        self._done_bytes = 0
        self._store = store
        self._report = report
        self._tell = tell
        self._done = done
        self._failure: Failure | None = None
        self._failed_for_good = False
        self._damaged: set[bytes | None] = set()
        self._owed: list[events.StoreFork] = []
        self._owed_bytes = 0
        self._calls = FairCalls(store.thread.call)
        self.together = store.thread.together

    def write(self, effect: events.StoreSegment) -> None:
        """Commit a segment."""
        size = effect.size_bytes
        self._put(Accept(effect.segment, effect.head), lambda value: self._written(size, value))
        self.pending_bytes += size

    def write_fork(self, effect: events.StoreFork) -> None:
        """Commit a fork proof; one that a full disk refused comes again with the next write that succeeds.

        Of these as many are kept as may be pending: the others are lost.
        """
        held, proof, size = self._store.held, effect.proof, effect.size_bytes

        def written(value: Any) -> None:
            if not isinstance(value, Failure):
                self._report(events.ForkWritten(proof.author, proof.author in held.forks))
            elif value.check(StoreFullError):
                if self._owed_bytes + size <= limits.PENDING_WRITE_BYTES or proof.author in self._store.local:
                    self._owed.append(effect)
                    self._owed_bytes += size
                else:
                    held.lost_proof(proof.author)
                    self._report(events.ForkWritten(proof.author, False))
            self._written(size, value)

        held.proven(proof)
        self._put(AddFork(proof), written)
        self.pending_bytes += size

    def load(self, effect: events.Load) -> None:
        """Read segments and proofs for a peer."""
        session, wants, limit_bytes, holes = effect
        damages: dict[bytes, StoreError] = {}
        found: list[Damage] = []
        unwritten = {
            author: self._store.held.unwritten.get(author) for author, first in wants if first == PROOF
        }

        def loaded(value: Any) -> Event:
            for damage in found:
                self.found_damage(damage)
            return events.Loaded(session, *(((),) if isinstance(value, Failure) else value))

        def read(logs: Logs) -> Any:
            def proof_of(author: bytes) -> ForkProof:
                return unwritten[author] or logs.fork_proof(author)

            read = backlog.read(wants, limit_bytes, logs.segments, proof_of, damages, holes)
            found.extend(
                _damage(logs, author, first, damages[author])
                for author, first in wants
                if isinstance(damages.get(author), StoreDamagedError)  # else it may be read the next time
            )
            return read

        self._call(session, read, loaded)

    def load_payloads(self, effect: events.LoadPayloads) -> None:
        """Read what a peer lacks."""
        session, author, ranges, limit_bytes = effect

        def loaded(value: Any) -> Event:
            if isinstance(value, Damage):
                self.found_damage(value)
                value = backlog.Payloads(work_bytes=limit_bytes)  # the search took longer
            elif isinstance(value, Failure):
                value = backlog.Payloads()
            return events.PayloadsLoaded(session, author, value)

        def read(logs: Logs) -> Any:
            try:
                return backlog.payloads(author, ranges, limit_bytes, logs.segments, logs.clock.head(author))
            except StoreDamagedError as error:
                return _damage(logs, author, ranges[0][0], error)

        self._call(session, read, loaded)

    def find_holes(self, effect: events.FindHoles) -> None:
        """Say what is to be asked for."""
        session, after, limit = effect
        self._call(
            session,
            lambda logs: tuple(logs.holed_after(after, limit)),
            lambda value: events.HolesFound(session, () if isinstance(value, Failure) else value),
        )

    def fill(self, effect: events.FillHoles) -> None:
        """Put payloads back that were missing."""
        session, segment, is_answer = effect
        size = segment_bytes(segment)

        def filled(value: Any) -> None:
            found = value if isinstance(value, RowFilled) else RowFilled()
            found = found._replace(vain_bytes=0) if is_answer else found
            self._report(events.HolesFilled(session, segment.author, *found))
            self._written(size, value)

        self._put(FillRow(segment), filled)
        self.pending_bytes += size

    def examine(self, effect: events.Examine) -> None:
        """Compare a segment with what is stored."""
        session, theirs = effect
        self._call(
            session,
            lambda logs: logs.examine(theirs),
            lambda value: events.Examined(session, theirs, None if isinstance(value, Failure) else value),
        )

    def forget(self, session: int) -> None:
        """A session is over: what waits for its turn is not read."""
        self._calls.forget(session)

    def _put(self, request: Any, answer: Callable[[Any], None]) -> None:
        self._store.thread.write(request, answer)
        self.pending += 1

    def _call(self, session: int, work: Callable[[Any], Any], event: Callable[[Any], Event]) -> None:
        def answer(value: Any) -> None:
            self.pending -= 1
            if isinstance(value, Failure) and not value.check(StoreError):
                _log.failure("a read for a peer failed", value)
            self._report(event(value))
            self._done()

        self.pending += 1
        self._calls.put(session, work, answer)

    def found_damage(self, damage: Damage) -> None:
        """Entries cannot be read, which a peer asked for or a reader passed over."""
        author, first, last, reason = damage
        if author not in self._damaged:
            self._damaged.add(author)
            self._tell(StoreDamaged(author, StoreDamagedError(reason), first, last))

    def _written(self, size: int, value: Any) -> None:
        self.pending -= 1
        self.pending_bytes -= size
        if isinstance(value, Failure) and value is not self._failure:
            self._failure = value  # all writes of one commit fail with the same
            self._refused(value)
        elif not isinstance(value, Failure):
            owed, self._owed, self._owed_bytes = self._owed, [], 0
            for effect in owed:
                self.write_fork(effect)
        self._done_bytes += size
        if self._done_bytes >= REPORT_BYTES or not self.pending_bytes or isinstance(value, Failure):
            done_bytes, self._done_bytes = self._done_bytes, 0
            self._report(events.Committed((), done_bytes))
        self._done()

    def _refused(self, failure: Failure) -> None:
        final = not failure.check(StoreFullError)
        if self._failed_for_good:
            return
        self._failed_for_good = bool(final)
        self._report(events.CommitFailed(self._failed_for_good))
        error = failure.value
        if not isinstance(error, StoreError):
            _log.failure("a commit failed", failure)
            error = StoreError(f"internal error: {error}")
        self._tell(StoreFailing(error, self._failed_for_good))


def _damage(logs: Logs, author: bytes, first: int, error: StoreError) -> Damage:
    """Say what cannot be read of a log from ``first`` on."""
    if first == PROOF:
        first = logs.clock.seq(author)
        return Damage(author, first, first, str(error))
    return logs.around(author, first, 1).damage or Damage(author, first, first, str(error))
