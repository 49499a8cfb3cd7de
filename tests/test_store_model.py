"""Logs against a model: random requests, faults, merges and restarts over both backends."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import AppendOutcomeUnknown, ForkedWriterError, StoreFailedError, StoreFullError
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build, drop_payloads, entries
from gossiplog.store.interface import Backend, PutSegment
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import (
    Accept,
    Accepted,
    AddFork,
    Append,
    Appended,
    Done,
    FillRow,
    Forget,
    Reply,
    Request,
    SetCursor,
    SetMeta,
    Stale,
)
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.chain import Chain

LOCAL, REMOTE = 2, 3
CURSORS = st.dictionaries(
    st.sampled_from([bytes([number]) * 32 for number in range(4)]),
    st.tuples(st.integers(1, 3), st.sampled_from([b"", bytes(8)])),
).map(Cursor)
BODIES = st.lists(st.binary(max_size=300), min_size=1, max_size=4)


@dataclass
class Model:
    """What a store holds, as plain as possible; :meth:`apply` is what ``Logs.process`` has to do."""

    heads: dict[bytes, Head] = field(default_factory=dict)
    bodies: dict[bytes, list[bytes | None]] = field(default_factory=dict)
    forks: dict[bytes, ForkProof] = field(default_factory=dict)
    cursors: dict[str, Cursor | None] = field(default_factory=dict)

    def copy(self) -> Model:
        bodies = {author: list(held) for author, held in self.bodies.items()}
        return replace(
            self, heads=dict(self.heads), bodies=bodies, forks=dict(self.forks), cursors=dict(self.cursors)
        )

    def head(self, author: bytes) -> Head:
        return self.heads.get(author, Head(0, genesis_id(author)))

    def apply(self, requests: list[Request], keypairs: dict[bytes, Keypair]) -> list[object]:
        """Do everything received, then every append; return the results (of an error its type)."""
        results: list[object] = [None] * len(requests)
        for place, request in sorted(enumerate(requests), key=lambda pair: isinstance(pair[1], Append)):
            results[place] = self.apply_one(request, keypairs)
        return results

    def apply_one(self, request: Request, keypairs: dict[bytes, Keypair]) -> object:
        if isinstance(request, Append):
            if request.author in self.forks:
                return ForkedWriterError
            before = self.head(request.author)
            _, head = build(keypairs[request.author], before, request.bodies)
            self.extend(request.author, head, list(request.bodies))
            return Appended(before.seq + 1, head.seq)
        if isinstance(request, Accept):
            segment, head = request
            ours = self.head(segment.author)
            if segment.author in self.forks or (segment.first, segment.previous) != (ours.seq + 1, ours.id):
                return Stale(ours)
            self.extend(segment.author, head, [body for _, _, body in entries(segment)])
            return Accepted(head)
        if isinstance(request, AddFork):
            self.forks.setdefault(request.proof.author, request.proof)
        elif isinstance(request, Forget):
            for known in (self.heads, self.bodies, self.forks):
                known.pop(request.author, None)  # type: ignore[attr-defined]
        elif isinstance(request, SetCursor):
            self.cursors[request.name] = request.cursor
        return Done()

    def extend(self, author: bytes, head: Head, bodies: list[bytes | None]) -> None:
        self.heads[author] = head
        self.bodies.setdefault(author, []).extend(bodies)


class StoreMachine(RuleBasedStateMachine):
    """Requests queue up; what ends a batch compares results, and every step compares the whole content."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = self.make_backend()
        self.logs = Logs(self.backend)
        self.keypairs = {
            bytes([number]) * 32: Keypair(bytes([number]) * 32) for number in range(1, LOCAL + 1)
        }
        for number, keypair in enumerate(self.keypairs.values()):
            self.backend.secrets.create_seed(f"writer {number}", keypair.seed)
        self.keypairs = {keypair.author: keypair for keypair in self.keypairs.values()}
        self.local = list(self.keypairs)
        self.puts: list[list[PutSegment]] = [[] for _ in range(REMOTE)]
        self.chains = [Chain(number + 100) for number in range(REMOTE)]
        self.model = Model()
        self.queue: list[Request] = []
        self.restart()
        self.logs.recovered()  # the seeds were not made by the store itself

    def make_backend(self) -> Backend:
        return MemoryBackend()

    def reopen(self) -> Backend:
        assert isinstance(self.backend, MemoryBackend)
        return self.backend.reopen()

    # -- requests

    @rule(number=st.integers(0, LOCAL - 1), bodies=BODIES)
    def append(self, number: int, bodies: list[bytes]) -> None:
        self.queue.append(Append(self.local[number], bodies))

    @rule(number=st.integers(0, REMOTE - 1), bodies=BODIES)
    def accept_new(self, number: int, bodies: list[bytes]) -> None:
        self.puts[number].append(self.chains[number].put(*bodies))
        self.queue.append(Accept(*self.puts[number][-1]))

    @rule(number=st.integers(0, REMOTE - 1), bodies=BODIES)
    def accept_holed(self, number: int, bodies: list[bytes]) -> None:
        put = self.chains[number].put(*bodies)
        self.puts[number].append(put)
        self.queue.append(Accept(drop_payloads(put.segment, [put.segment.first]), put.head))

    @rule(number=st.integers(0, REMOTE - 1), back=st.integers(0, 5))
    def accept_known(self, number: int, back: int) -> None:
        """Offer what continues the log as far as it is durable (0), or some segment before that."""
        following = self.model.head(self.chains[number].author).seq + 1
        known = [put for put in self.puts[number] if put.segment.first <= following]
        if back < len(known):
            self.queue.append(Accept(*known[-1 - back]))

    @rule(name=st.sampled_from("ab"), cursor=st.none() | CURSORS)
    def set_cursor(self, name: str, cursor: Cursor | None) -> None:
        self.queue.append(SetCursor(name, cursor))

    @rule(name=st.sampled_from("ab"), moves=CURSORS)
    def move_cursor(self, name: str, moves: Cursor) -> None:
        """Go on with what was saved, as a reader does."""
        cursor = self.logs.cursor(name)
        cursor.apply(dict(moves.items()))
        self.queue.append(SetCursor(name, cursor))

    @rule(number=st.integers(0, REMOTE - 1))
    def forget(self, number: int) -> None:
        self.queue.append(Forget(self.chains[number].author))

    @rule(number=st.integers(0, REMOTE - 1), rarely=st.integers(0, 3))
    def add_fork(self, number: int, rarely: int) -> None:
        if self.chains[number].segments and not rarely:
            self.queue.append(AddFork(self.chains[number].fork()))

    # -- what ends a batch

    @rule()
    def process(self) -> None:
        queue, self.queue = self.queue, []
        outcome = self.logs.process(queue)
        self.weights.change(*outcome.weighed)
        assert [self.plain(result) for result in outcome.results] == self.model.apply(queue, self.keypairs)

    @staticmethod
    def plain(result: Reply) -> object:
        return type(result) if isinstance(result, Exception) else result

    @precondition(lambda self: isinstance(self.backend, MemoryBackend))
    @rule(fault=st.sampled_from(DiskFault))
    def process_on_a_bad_disk(self, fault: DiskFault) -> None:
        assert isinstance(self.backend, MemoryBackend)
        queue, self.queue = [*self.queue, SetMeta("fault", b"x")], []
        self.backend.fault = lambda writes: fault
        try:
            self.logs.process(queue)
            raise AssertionError("a fault was not told")
        except (StoreFullError, AppendOutcomeUnknown) as error:
            assert isinstance(error, StoreFullError) is (fault is DiskFault.FULL)
        self.backend.fault = None
        self.matches()
        if fault is DiskFault.FULL:
            return
        try:
            self.logs.process([SetMeta("fault", b"y")])
            raise AssertionError("a failed store wrote again")
        except StoreFailedError:
            pass
        if fault is DiskFault.KEPT:
            self.model.apply(queue, self.keypairs)
        self.restart()

    @rule()
    def restart(self) -> None:
        self.queue = []
        self.backend = self.reopen()
        self.logs = Logs(self.backend)
        self.weights = self.logs.weighing.begin()

    @rule(limit=st.sampled_from([1, 1000, 1 << 20]))
    def merge(self, limit: int) -> None:
        self.logs.merge_some(limit)
        if (report := self.logs.weighing.settled()) is not None:
            self.weights.change(*report.weighed)

    @rule(number=st.integers(0, REMOTE - 1), place=st.integers(0, 9))
    def fill(self, number: int, place: int) -> None:
        """Offer the bodies of a segment, of which some may be missing."""
        if place < len(self.puts[number]):
            segment = self.puts[number][place].segment
            outcome = self.logs.process([FillRow(segment)])
            self.weights.change(*outcome.weighed)
            held = self.model.bodies.get(segment.author, [])
            for seq, _, body in entries(segment):
                if seq <= len(held) and held[seq - 1] is None and body is not None:
                    held[seq - 1] = body

    @invariant()
    def matches(self) -> None:
        logs, model = self.logs, self.model
        assert self.weights.authors == logs.weighing.weights()
        assert self.weights.bytes == sum(self.weights.authors.values()) + self.weights.gap_bytes
        assert dict(logs.clock.items()) == model.heads
        for author, bodies in model.bodies.items():
            read = [body for s in logs.segments(author, 1, 1 << 30) for _, _, body in entries(s)]
            assert read == bodies
        assert {author: logs.fork_proof(author) for author in logs.forks} == model.forks
        for name, cursor in model.cursors.items():
            assert logs.cursor(name) == self.backend.cursor(name).cursor == (cursor or Cursor())
        report = logs.verify()
        assert report.ok, report.damages

    def teardown(self) -> None:
        self.logs.close()


class SQLiteStoreMachine(StoreMachine):
    def make_backend(self) -> Backend:
        self.place = tempfile.mkdtemp()
        return SQLiteBackend(self.place)

    def reopen(self) -> Backend:
        self.logs.close()
        return SQLiteBackend(self.place)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.place)


class ModelTests(SynchronousTestCase):
    """trial does not collect Hypothesis' own test cases."""

    def run_machine(self, machine: type[StoreMachine], examples: int, steps: int) -> None:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_in_memory(self) -> None:
        self.run_machine(StoreMachine, 40, 60)

    def test_on_disk(self) -> None:
        self.run_machine(SQLiteStoreMachine, 12, 40)
