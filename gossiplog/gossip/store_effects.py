"""What a replica asks of its store.

Responsible for: carrying out what reads or writes the disk, and reporting what came of it as events.
Must not know: threads, reactors, links, sessions beyond their number, the application.
Invariant: every effect is answered exactly once (a store closes after the node that uses it); a commit is reported
once, whether it was done or failed, however many writes were in it, and so is each author whose log is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from gossiplog import limits
from gossiplog.errors import (
    StoreClosedError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from gossiplog.gossip import backlog, events
from gossiplog.gossip.events import Event
from gossiplog.gossip.fair_calls import Answer, FairCalls, Work
from gossiplog.gossip.outbox import PROOF
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import ROW_TOIL_BYTES, segment_bytes
from gossiplog.store.requests import Accept, AddFork, Delivery, FillRow, RowFilled


class Held(Protocol):
    """What is known of the store, and told here of proofs that it does not have yet."""

    @property
    def forks(self) -> Container[bytes]:
        """The authors whose logs are known as forked."""

    @property
    def local(self) -> Container[bytes]:
        """The authors that write here."""

    @property
    def unwritten(self) -> Mapping[bytes, ForkProof]:
        """Proofs that are not on disk."""

    def proven(self, proof: ForkProof) -> None:
        """There is a proof."""

    def lost_proof(self, author: bytes) -> None:
        """There is no room for it."""


class Store(Protocol):
    """A store, seen from here: whatever is queued is done in order, the writes of some time in one commit."""

    @property
    def held(self) -> Held:
        """What is known of it."""

    def write(self, request: Any, answer: Answer, brings: int = 0) -> None:
        """Queue a request for a commit, of which peers brought so much."""

    def call(self, work: Callable[[Any], Any], answer: Answer) -> None:
        """Queue any other work."""

    def own_ahead(self, author: bytes, seq: int, proven: bool) -> None:
        """A peer says that it holds a local log up to ``seq``."""


class Teller(Protocol):
    """Who hears what the application is to know."""

    def failing(self, error: BaseException, final: bool) -> None:
        """A commit failed; ``final`` when no other will succeed."""

    def broke(self, error: BaseException) -> None:
        """A read failed, and the disk is not why."""

    def damaged(self, author: bytes | None, first: int, last: int, reason: str) -> None:
        """Entries of an author cannot be read."""


class StoreEffects:
    """I run between one replica and its store.

    ``report`` takes the events, ``answered`` those that were read for a peer; ``done`` hears that something is over.
    """

    def __init__(
        self,
        store: Store,
        report: Callable[[Event], None],
        answered: Callable[[Event], None],
        teller: Teller,
        done: Callable[[], None],
    ) -> None:
        self.pending_bytes = 0
        self._reading = 0
        self._proofs = 0
        self._store = store
        self._report = report
        self._answered = answered
        self._teller = teller
        self._done = done
        self._failed_for_good = False
        self._damaged: set[bytes | None] = set()
        self._owed: list[events.StoreFork] = []
        self._owed_bytes = 0
        self._calls = FairCalls(store.call, _toil_bytes)
        for proof in store.held.unwritten.values():  # of a node before this one
            self._owe(events.StoreFork(proof))

    @property
    def pending(self) -> bool:
        """Whether anything is not done yet."""
        return bool(self.pending_bytes or self._reading or self._proofs)

    # -- writing

    def write(self, effect: events.StoreSegment) -> None:
        """Commit a segment."""
        self._put(Accept(effect.segment, effect.head), effect.size_bytes, _ignore)

    def write_fork(self, effect: events.StoreFork, *, again: bool = False) -> None:
        """Commit a fork proof; one that a full disk refused comes ``again`` with the next write that succeeds.

        Of these as many are kept as may be pending, and all of local writers: the others are lost.  The replica was
        told of its bytes the first time.
        """
        held, author, size = self._store.held, effect.proof.author, effect.size_bytes

        def written(value: Any) -> None:
            self._proofs -= 1
            if not isinstance(value, BaseException):
                self._report(events.ForkWritten(author, author in held.forks))
            elif isinstance(value, StoreFullError | StoreUnreachableError):
                if self._owed_bytes + size <= limits.PENDING_WRITE_BYTES or author in held.local:
                    self._owe(effect)
                else:
                    held.lost_proof(author)
                    self._report(events.ForkWritten(author, False))
            self._done()

        held.proven(effect.proof)
        self._proofs += 1
        self._put(AddFork(effect.proof), 0 if again else size, written)

    def fill(self, effect: events.FillHoles) -> None:
        """Put payloads back that were missing."""
        session, segment, is_answer = effect

        def filled(value: Any) -> None:
            found = value if isinstance(value, RowFilled) else RowFilled()
            found = found._replace(vain_bytes=0) if is_answer else found
            self._report(events.HolesFilled(session, segment.author, *found))

        self._put(FillRow(segment), segment_bytes(segment), filled)

    def delivered(self, delivery: Delivery) -> None:
        """A batch was done: say what is on disk now, or that it is not, in one event each."""
        report, size = delivery.report, delivery.brought_bytes
        self.pending_bytes -= size
        if report is not None:
            if report.forgotten:
                self._report(events.Forgotten(report.forgotten))
            lighter = tuple(author for author, change in report.changes.items() if change < 0)
            if lighter or delivery.has_room:
                self._report(events.Lightened(lighter))
            if report.results and self._owed:
                owed, self._owed, self._owed_bytes = self._owed, [], 0
                for effect in owed:
                    self.write_fork(effect, again=True)
        elif size and delivery.error is not None:
            self._refused(delivery.error)
        segments = () if report is None else tuple(report.segments)
        if segments or size or delivery.stale:
            self._report(events.Committed(segments, size, delivery.stale))
        for proof in () if report is None else report.proofs:  # of others who share the store: it is there
            self._report(events.ForkFound(proof))
        self._done()

    def _put(self, request: Any, size: int, answer: Answer) -> None:
        self.pending_bytes += size
        try:
            self._store.write(request, answer, size)
        except StoreClosedError as error:  # its thread is gone
            self.delivered(Delivery(None, error, size))
            answer(error)

    def _owe(self, effect: events.StoreFork) -> None:
        self._owed.append(effect)
        self._owed_bytes += effect.size_bytes

    def _refused(self, error: BaseException) -> None:
        if not self._failed_for_good:
            self._failed_for_good = not isinstance(error, StoreFullError | StoreUnreachableError)
            self._report(events.CommitFailed(self._failed_for_good))
            self._teller.failing(error, self._failed_for_good)

    # -- reading

    def load(self, effect: events.Load) -> None:
        """Read segments and proofs for a peer."""
        session, wants, limit_bytes, holes = effect
        held = self._store.held.unwritten
        unwritten = {author: held.get(author) for author, first in wants if first == PROOF}
        found: list[tuple[bytes | None, int, int, str]] = []

        def read(most: int, logs: Any) -> Any:
            damages: dict[bytes, StoreError] = {}

            def proof_of(author: bytes) -> ForkProof:
                proof: ForkProof = unwritten[author] or logs.fork_proof(author)
                return proof

            read = backlog.read(wants, min(limit_bytes, most), logs.segments, proof_of, damages, holes)
            for author, first in wants:
                error = damages.get(author)
                if isinstance(error, StoreDamagedError):  # else it may be read the next time
                    found.append(_damage(logs, author, first, error))
            return read

        def loaded(value: Any) -> Event:
            self.found_damage(found)
            return events.Loaded(session, *(((),) if isinstance(value, BaseException) else value))

        self._call(session, read, loaded)

    def load_payloads(self, effect: events.LoadPayloads) -> None:
        """Read what a peer lacks."""
        session, author, ranges, limit_bytes = effect
        found: list[tuple[bytes | None, int, int, str]] = []

        def read(most: int, logs: Any) -> Any:
            allowed, head = min(limit_bytes, most), logs.clock.head(author)
            try:
                return backlog.payloads(author, ranges, allowed, logs.segments, head)
            except StoreDamagedError as error:
                found.append(_damage(logs, author, ranges[0][0], error))
                raise

        def loaded(value: Any) -> Event:
            self.found_damage(found)
            if found:
                value = backlog.Payloads(work_bytes=limit_bytes)  # the search took longer
            elif isinstance(value, BaseException):
                value = backlog.Payloads()
            return events.PayloadsLoaded(session, author, value)

        self._call(session, read, loaded)

    def find_holes(self, effect: events.FindHoles) -> None:
        """Say what is to be asked for."""
        session, after, limit = effect
        self._call(
            session,
            lambda _, logs: tuple(logs.holed_after(after, limit)),
            lambda value: events.HolesFound(session, () if isinstance(value, BaseException) else value),
        )

    def examine(self, effect: events.Examine) -> None:
        """Compare a segment with what is stored."""
        session, theirs = effect
        self._call(
            session,
            lambda _, logs: logs.examine(theirs),
            lambda value: events.Examined(
                session, theirs, None if isinstance(value, BaseException) else value
            ),
        )

    def bring(self, effect: events.Bring) -> None:
        """Read heads."""
        session, spans = effect
        self._call(
            session,
            lambda _, logs: tuple((span, tuple(logs.clock.range(*span))) for span in spans),
            lambda value: events.Brought(session, () if isinstance(value, BaseException) else value),
        )

    def forget(self, session: int) -> None:
        """A session is over: what waits for its turn is not read."""
        self._calls.forget(session)

    def found_damage(self, found: Iterable[Sequence[Any]]) -> None:
        """Entries cannot be read, which a peer asked for or a reader passed over."""
        for author, first, last, reason in found:
            if author not in self._damaged:
                self._damaged.add(author)
                self._teller.damaged(author, first, last, reason)

    def _call(self, session: int, work: Work, event: Callable[[Any], Event]) -> None:
        def answer(value: Any) -> None:
            self._reading -= 1
            if isinstance(value, BaseException) and not isinstance(value, StoreError):
                self._teller.broke(value)
            self._answered(event(value))
            self._done()

        self._reading += 1
        self._calls.put(session, work, answer)


def _damage(logs: Any, author: bytes, first: int, error: StoreError) -> tuple[bytes | None, int, int, str]:
    """Say what cannot be read of a log from ``first`` on."""
    if first == PROOF:
        first = logs.clock.seq(author)
        return author, first, first, str(error)
    return logs.around(author, first, 1).damage or (author, first, first, str(error))


def _toil_bytes(value: Any) -> float:
    """Say how much work it was to read this; to find out little, or nothing, is as much as a row."""
    return max(ROW_TOIL_BYTES, getattr(value, "work_bytes", 0))


def _ignore(value: Any) -> None:
    """What came of it is told for the whole commit."""
