"""The store an application holds: writers, readers and the clock, on a reactor.

Responsible for: :func:`open_store`, :class:`Store`.
Must not know: peers; the node listens to :meth:`Store.listen` like every reader does.
Invariant: ``Store.clock`` is the durable clock: it moves after the commit and before anyone is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from gossiplog.arguments import check_flags
from gossiplog.errors import StoreClosedError, StoreInUseError
from gossiplog.gossip.events import Forgotten, ForkFound, Lightened
from gossiplog.live.append_gate import AppendGate
from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.follows import Follows
from gossiplog.live.gc_freeze import Freezer
from gossiplog.live.interrupts import call_each
from gossiplog.live.job_queue import Answer
from gossiplog.live.logger import NodeLog
from gossiplog.live.reader import Reader
from gossiplog.live.results import Ending, Result, check_caller, deliver, why_over
from gossiplog.live.store_thread import StoreThread
from gossiplog.live.writer import Writer
from gossiplog.log.clock_view import ClockView
from gossiplog.log.cursor import Cursor, check_clock
from gossiplog.log.disk_cost import Weights
from gossiplog.log.encodings import encoding as find_encoding
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.keys import Keypair, check_author
from gossiplog.log.segment import Segment
from gossiplog.paths import AnyPath
from gossiplog.store.door import place_of
from gossiplog.store.held import Held
from gossiplog.store.logs import Logs, VerifyReport, open_logs
from gossiplog.store.names import check_cursor_name, check_writer_name
from gossiplog.store.owning_process import Home
from gossiplog.store.repair.repair import RepairReport
from gossiplog.store.requests import AddFork, Append, CommitReport, SetCursor

_log = NodeLog()


class CommitListener(Protocol):
    """Told of every commit, after the clock moved."""

    def __call__(self, segments: Sequence[Segment], stale: Sequence[bytes]) -> None:
        """``segments`` are new on disk; of the authors ``stale`` a segment no longer continued the log."""


def open_store(
    path: AnyPath, reactor: Any, *, init: bool = True, read_only: bool = False, wait: float = 0.0
) -> Store:
    """Open the store in the directory ``path``, created (mode 0700) unless ``init`` is false.

    ``"sqlite:PATH"`` is the same; ``"memory:"`` is a new store, which ends with the process, and ``"KIND:PLACE"`` one
    of a kind that another package brings.

    With ``read_only`` not a byte is changed there, and it may be anybody's.  Blocks for up to ``wait`` seconds while
    one other process has it open.  Raises :class:`StoreError`, of which the subclass says why, or InvalidValueError.
    """
    place = place_of(path)
    return Store(lambda: open_logs(place, init, read_only, wait), reactor, place)


class Store:
    """I keep logs on disk and tell who wants to know what is new.

    Every method that takes time returns a :class:`Result`: await it from Twisted or asyncio.  ``copied`` says why this
    may be a copy of a store that is in use elsewhere, ``""`` if it is not: its writers do not append until recovered.
    ``interest`` says which authors are wanted, ``forks`` are those whose logs are known as forked.
    """

    def __init__(
        self,
        opener: Callable[[], Logs],
        reactor: Any,
        path: str = ":memory:",
        thread: Callable[..., StoreThread] = StoreThread,
    ) -> None:
        """``opener`` is called, once, in the thread that uses the Logs from then on; tests give another ``thread``."""
        check_caller(reactor)
        self.path = path
        self.reactor = reactor
        self.home = Home(f"store {path}")
        self._listeners: list[CommitListener] = []
        self._user: Callable[[], Deferred[Any]] | None = None
        self._writers: dict[tuple[str, str], Writer] = {}
        self._readers: WeakSet[Reader] = WeakSet()
        self._held: set[Reader] = set()
        self._closing = False
        self._closed = Ending(reactor)
        self.thread = thread(opener, reactor, self._committed, f"gossiplog store {path}")
        try:
            self.held: Held
            self.held, self.copied, self.disk, damages = self.thread.now(
                lambda logs: (Held.of(logs), logs.copied, logs.disk, logs.damages)
            )
            self.clock, self.local, self.forks = self.held.clock, self.held.local, self.held.forks
            self.damage = DamageReports(reactor, path, damages)
            self.interest = Follows.on(self.thread, self.local, self._set, self.check_open, reactor)
            self._freezer = Freezer(self.clock)
            self.returning = AppendGate(reactor, self.clock, self.forks, self.thread.write)
        except BaseException:
            self.thread.end()
            raise

    # -- writing

    def writer(self, name: str = "default", *, encoding: str = "bytes") -> Result[Writer]:
        """The local author called ``name``, its key pair made the first time; names are local to this store."""
        chosen = find_encoding(encoding)
        key = (check_writer_name(name), chosen.name)
        self.check_open()
        result: Result[Writer] = Result(lambda _: None, self.reactor)
        if key in self._writers:
            result.callback(self._writers[key])
            return result

        def read(keypair: Keypair) -> Writer:
            return self._writers.setdefault(key, Writer(self, name, keypair.author, chosen))

        def made(value: Keypair | Failure) -> None:
            if not isinstance(value, Failure):
                self.held.joined(value.author)
                self.interest.joined(value.author)
            deliver(result, value, read)

        self.thread.call(lambda logs: logs.writer(name), made)
        return result

    def recovered(self) -> Result[None]:
        """Let every writer append again, in a store that was ``copied``; :meth:`gossiplog.Node.recover` is safer.

        Whoever calls this knows that no other copy is in use and that nobody holds newer entries of its writers.
        """

        def done(_: None) -> None:
            self.copied = ""

        return self.run(lambda logs: logs.recovered()).addCallback(done)  # type: ignore[return-value]

    def overtaken(self, author: bytes, seq: int) -> None:
        """Refuse appends to the local ``author``: it signed up to ``seq``, which is nowhere whole (:attr:`copied`)."""
        if self._closing:
            return

        def done(reason: Any) -> None:
            if isinstance(reason, str):
                self.copied = reason
            self.returning.release(author)

        self.run(lambda logs: logs.overtaken(author, seq)).addBoth(done)

    def add_fork(self, proof: ForkProof) -> Result[None]:
        """Freeze the author of a proof that came by another way than a peer (:meth:`ForkProof.load`), and pass it on.

        Raises :class:`BadForkProofError` for one that proves nothing; the result fires when it is on disk.
        """
        self.check_open()
        verify_proof(proof)

        self.interest.tell(ForkFound(proof))
        return self._write(AddFork(proof), lambda _: None)

    # -- reading

    def fork_proof(self, author: bytes) -> Result[ForkProof]:
        """The proof that one of the authors in ``forks`` has forked its log."""
        check_author("author", author)
        proof = self.held.unwritten.get(author)
        return self.run(lambda logs: proof or logs.fork_proof(author))

    def read(
        self,
        author: bytes | None = None,
        *,
        first: int = 1,
        last: int | None = None,
        after: Cursor | ClockView | None = None,
        live: bool = False,
        tail: bool = False,
        encoding: str = "bytes",
    ) -> Reader:
        """Entries as an async iterator: per author by seq; authors one after the other, news as it comes.

        ``author`` alone, ``first`` to ``last`` (with an author); ``after`` a cursor.  Gives what is on disk now;
        ``live`` goes on with new entries as they reach the disk, until the store is closed; ``tail`` gives only those.
        Damaged entries are passed over, and are in the reader's ``damages``; nodes on the store tell
        :class:`~gossiplog.notices.StoreDamaged`.
        """
        self.check_open()
        check_flags(live=live, tail=tail)
        reader = Reader(
            self,
            find_encoding(encoding),
            author=author,
            first=first,
            last=last,
            after=self.clock if tail else after,
            live=live or tail,
        )
        if live or tail:
            self._readers.add(reader)
        return reader

    def cursor(self, name: str) -> Result[Cursor]:
        """The cursor saved as ``name``, an empty one if there is none; StoreDamagedError if it is damaged."""
        check_cursor_name(name)

        return self.run(lambda logs: logs.cursor(name))

    def save_cursor(self, name: str, cursor: Cursor | ClockView | None) -> Result[None]:
        """Keep ``cursor`` on disk as ``name``, up to 256 characters; None removes it.  O(what moved since then)."""
        check_cursor_name(name)
        if cursor is not None:
            check_clock("cursor", cursor)
        return self._set(SetCursor(name, None if cursor is None else Cursor.of(cursor)))

    def verify(self) -> Result[VerifyReport]:
        """Check every chain, signature and head against the disk."""
        return self.run(lambda logs: logs.verify())

    def holes(self) -> Result[dict[bytes, int]]:
        """How many entries of each author lack their payload; authors of whom every payload is held are left out.

        They are held and passed on all the same, and filled as soon as a peer has the payloads.
        """
        return self.run(lambda logs: logs.holes())

    def repair(self) -> Result[RepairReport]:
        """Cut damaged logs of others back to what is whole; a node fetches the rest again, once it is started.

        The clock goes back, which it never does under a node: raises :class:`StoreInUseError` while one runs.
        """
        self.check_open()
        if self._user is not None:
            raise StoreInUseError(f"stop the node before store {self.path} is repaired")

        def cut(report: RepairReport) -> RepairReport:
            self.held.repaired(report.heads)
            return report

        detach = self.attach(lambda: succeed(None))

        def over(value: Any) -> Any:
            detach()
            return value

        return self.run(lambda logs: logs.repair()).addCallback(cut).addBoth(over)  # type: ignore[return-value]

    def writers(self) -> Result[dict[str, bytes]]:
        """Local authors by name."""
        return self.run(lambda logs: logs.writers())

    def close(self) -> Result[None]:
        """Stop the nodes that use the store, finish what is queued, close.

        Live readers end; from now on everything else raises :class:`StoreClosedError`.  Without a reactor that could do
        this, it is done before this returns.  In a child of the process that opened the store, nothing is.
        """
        if not self.home.is_here:
            self._closed.come()
        elif why_over(self.reactor):
            self._closing = True
            self.thread.end()
            self._closed.come()
        elif not self._closing:
            check_caller(self.reactor)
            self._closing = True
            self.returning.close()
            for reader in tuple(self._readers):
                reader.close()
            user = succeed(None) if self._user is None else maybeDeferred(self._user)
            user.addBoth(lambda _: self.thread.close(self._thread_closed))
        return self._closed.wait()

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    # -- for the node and readers

    def listen(self, listener: CommitListener) -> Callable[[], None]:
        """Call ``listener`` after every commit; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def attach(self, stop: Callable[[], Deferred[Any]]) -> Callable[[], None]:
        """Call ``stop`` and wait for it before the store closes; returns how to take that back.

        Raises :class:`StoreInUseError` if somebody else is attached: forks, quotas and what is accepted have one owner.
        """
        if self._user is not None:
            raise StoreInUseError(
                f"store {self.path} is in use by another node of this process: stop that one first"
            )
        self._user = stop

        def detach() -> None:
            if self._user is stop:
                self._user = None

        return detach

    def weigh(self) -> Weights:
        """What each author takes on disk, a live view; the first time it is found out, at once.  O(rows)."""
        return self.held.weights or self.held.weigh(self.thread.now(lambda logs: logs.weighing.begin()))

    def run(self, work: Callable[[Logs], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""
        self.check_open()
        result: Result[Any] = Result(lambda _: None, self.reactor)
        self.thread.call(work, lambda value: deliver(result, value))
        return result

    def hold(self, reader: Reader) -> None:
        """Somebody waits for ``reader``, who may be held by nobody else."""
        self._held.add(reader)

    def release(self, reader: Reader) -> None:
        """Nobody waits for ``reader`` now."""
        self._held.discard(reader)

    def forget(self, reader: Reader) -> None:
        """``reader`` ended."""
        self._readers.discard(reader)

    def append(self, author: bytes, bodies: list[bytes]) -> Result[range]:
        """Append encoded bodies to a local log; fires after the commit with their seqs."""
        put, request = self.returning.append, Append(author, bodies)
        return self._write(request, lambda done: range(done.first, done.last + 1), put)

    def _write(
        self, request: Any, read: Callable[[Any], Any], put: Callable[[Any, Answer], None] | None = None
    ) -> Result[Any]:
        self.check_open()
        result: Result[Any] = Result(lambda _: None, self.reactor)
        (put or self.thread.write)(request, lambda value: deliver(result, value, read))
        return result

    def _set(self, request: Any) -> Result[None]:
        return self._write(request, lambda _: None)

    def _thread_closed(self, value: Any) -> None:
        self._freezer.close()
        self._closed.come(value if isinstance(value, Failure) else None)

    def check_caller(self) -> None:
        """Raise :class:`StoreInheritedError` in a forked child, :class:`WrongCallerError` in another thread and where
        nothing ever comes back."""
        self.home.check()
        check_caller(self.reactor)

    def check_open(self) -> None:
        """Raise :class:`StoreClosedError` once :meth:`close` was called, and what :meth:`check_caller` does."""
        self.check_caller()
        if self._closing:
            raise StoreClosedError(f"store {self.path} is closed")

    def _committed(self, outcome: CommitReport, stale: Sequence[bytes]) -> None:
        """A commit is done: move the clock, then tell everyone."""
        has_room = self.held.committed(outcome)
        self._freezer.grown()
        self.returning.moved(outcome.heads)
        if outcome.forgotten:
            self.interest.tell(Forgotten(outcome.forgotten))
        lighter = tuple(author for author, change in outcome.changes.items() if change < 0)
        if lighter or has_room:
            self.interest.tell(Lightened(lighter))
        if outcome.segments or stale:
            call_each(self.reactor, self._listeners, outcome.segments, stale)
            for reader in tuple(self._readers):
                reader.committed(outcome.segments)
