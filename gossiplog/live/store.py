"""The store an application holds: writers, readers and the clock, on a reactor.

Responsible for: :class:`Store`.
Must not know: peers; the node listens to :meth:`Store.listen` like every reader does.
Invariant: ``Store.clock`` is the durable clock: it moves after the commit and before anyone is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from gossiplog.arguments import check_flags, check_number, check_seconds, check_type
from gossiplog.errors import EntryNotHeldError, InvalidValueError, StoreDamagedError
from gossiplog.gossip.quotas import Quotas
from gossiplog.live.beside import work_beside
from gossiplog.live.core import StoreCore
from gossiplog.live.damage_reports import DamageReports
from gossiplog.live.follows import Follows
from gossiplog.live.order_notices import OrderNotices
from gossiplog.live.reader import Reader
from gossiplog.live.reading import begin_to_read
from gossiplog.live.repairing import repair_under
from gossiplog.live.results import Result
from gossiplog.live.selection import Selection, Where
from gossiplog.live.store_thread import StoreThread
from gossiplog.live.writer import Writer
from gossiplog.live.writers import Writers
from gossiplog.log.body import Reference
from gossiplog.log.clock_view import ClockView
from gossiplog.log.cursor import Cursor, check_clock
from gossiplog.log.encodings import encoding as find_encoding
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.keys import check_author, check_authors, short_key
from gossiplog.log.passphrase import check_passphrase
from gossiplog.paths import AnyPath, check_file
from gossiplog.store.door import directory_of
from gossiplog.store.logs import Logs, VerifyReport
from gossiplog.store.names import check_cursor_name, check_writer_name
from gossiplog.store.reading_around import Stretch
from gossiplog.store.requests import AddFork, SetCursor

if TYPE_CHECKING:
    from gossiplog.live.backing_up import BackedUp
    from gossiplog.live.compacting import Compacted
    from gossiplog.live.exporting import Exported
    from gossiplog.live.importing import Imported
    from gossiplog.live.live_search import LiveSearch
    from gossiplog.live.live_view import LiveView
    from gossiplog.live.page import Page
    from gossiplog.store.repair.repair import RepairReport
    from gossiplog.views.search import Search
    from gossiplog.views.view import View


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
        self._core = StoreCore(opener, reactor, path, thread)
        self._writers = Writers(self._core)
        self.path = path
        self.reactor = reactor

    @property
    def clock(self) -> ClockView:
        """How far each author's log is on disk; loops over it are safe.

        Raises :class:`SharedStoreError` at a relay that has not all of it in memory.
        """
        return self._core.whole_clock("a clock")

    @property
    def forks(self) -> Set[bytes]:
        """The authors whose logs are known as forked."""
        return self._core.forks

    @property
    def copied(self) -> str:
        """Why this may be a copy of a store that is in use elsewhere; "" if it is not."""
        return self._core.copied

    @property
    def damage(self) -> DamageReports:
        """What was found to be damaged; ``store.damage.listen(function)`` to be told."""
        return self._core.damage

    @property
    def notices(self) -> OrderNotices:
        """What becomes of the order of entries; ``store.notices.listen(function)`` to be told."""
        return self._core.notices

    @property
    def interest(self) -> Follows:
        """Which authors are wanted."""
        return self._core.interest

    # -- writing

    def writer(self, name: str = "default", *, encoding: str = "bytes") -> Result[Writer]:
        """The local author called ``name``, its key pair made the first time; names are local to this store."""
        return self._writers.find(name, encoding)

    def add_writer(self, author: bytes, name: str = "default") -> Result[None]:
        """Make ``author`` a writer, for whom the ``signer`` of the store signs (:func:`open_store`).

        It may have written elsewhere: it appends after :meth:`gossiplog.Node.recover` or :meth:`recovered`.
        """
        check_author("author", author)
        return self._writers.add(author, check_writer_name(name))

    def unlock(self, passphrase: str) -> Result[None]:
        """Let the writers sign whose seeds are protected by ``passphrase``, until the store is closed.

        Raises :class:`WrongPassphraseError` unless it is that of all of them.
        """
        check_passphrase(passphrase)
        return self._signing(lambda logs: logs.keys.unlock(passphrase))

    def protect(self, passphrase: str | None, *, old: str | None = None) -> Result[None]:
        """Protect the seeds of all writers by ``passphrase``, in the place of ``old`` if there is one; None: no more.

        Whatever happens, the old one or the new one opens all of them.  Raises :class:`WrongPassphraseError`.
        """
        check_passphrase(*(text for text in (passphrase, old) if text is not None))
        return self._signing(lambda logs: logs.keys.protect(passphrase, old))

    def _signing(self, work: Callable[[Logs], None]) -> Result[None]:
        """Change how seeds are kept; what is told of that afterwards is so."""

        def done(logs: Logs) -> bool:
            work(logs)
            return logs.keys.is_locked

        return self._core.run(done).addCallback(self._core.held.signing)  # type: ignore[return-value]

    def recovered(self) -> Result[None]:
        """Let every writer append again, in a store that was ``copied``; :meth:`gossiplog.Node.recover` is safer.

        Whoever calls this knows that no other copy is in use and that nobody holds newer entries of its writers.
        """

        def done(_: None) -> None:
            self._core.front.copied = ""

        return self._core.run(lambda logs: logs.recovered()).addCallback(done)  # type: ignore[return-value]

    def add_fork(self, proof: ForkProof) -> Result[None]:
        """Freeze the author of a proof that came by another way than a peer (:meth:`ForkProof.load`), and pass it on.

        Raises :class:`BadForkProofError` for one that proves nothing; the result fires when it is on disk.
        """
        self._core.check_open()
        verify_proof(proof)

        self._core.interest.forked(proof)
        return self._core.write(AddFork(proof), lambda _: None)

    # -- reading

    def fork_proof(self, author: bytes) -> Result[ForkProof]:
        """The proof that one of the authors in ``forks`` has forked its log."""
        check_author("author", author)
        proof = self._core.held.unwritten.get(author)
        return self._core.run(lambda logs: proof or logs.fork_proof(author))

    def read(
        self,
        author: bytes | None = None,
        *,
        newest: int | None = None,
        reverse: bool = False,
        where: Where | None = None,
        first: int = 1,
        last: int | None = None,
        after: Cursor | ClockView | None = None,
        live: bool = False,
        tail: bool = False,
        order: str = "any",
        settle: float = 2.0,
        encoding: str = "bytes",
    ) -> Reader:
        """Entries as an async iterator: per author by seq; authors one after the other, news as it comes.

        With ``order="causal"`` all logs in one order, the same wherever the same entries are held, in which each comes
        behind those that it names in ``after``, as :class:`PlacedEntry`.  A ``live`` reader waits ``settle`` seconds
        for what may belong before an entry that came, and longer for what that one names.

        ``author`` alone, ``first`` to ``last`` (with an author); ``after`` a cursor.  ``newest`` is how many of each
        log, the last of them; ``reverse`` begins with the newest of each; ``where`` is a function of an entry, and only
        those are given for which it is true: of these, then, ``newest`` so many.

        Gives what is on disk now; ``live`` goes on with new entries as they reach the disk, until the store is closed;
        ``tail`` gives only those.  Damaged entries are passed over, and are in the reader's ``damages``; nodes on the
        store tell :class:`~gossiplog.notices.StoreDamaged`.
        """
        self._core.check_open()
        check_flags(live=live, tail=tail)
        if tail and (newest is not None or reverse or after is not None):
            raise InvalidValueError(
                "tail begins behind what is there, so that newest, reverse and after mean nothing with it; "
                "with live=True instead, newest=N gives N entries of each log and then what comes"
            )
        check_seconds("settle", settle)
        selection = Selection(author, first, last, newest, reverse, where, live or tail)
        return begin_to_read(self._core, find_encoding(encoding), selection, after, tail, order, settle)

    def heads(self) -> Result[list[Reference]]:
        """The newest entries that no other one names yet, at most 16: ``writer.append(x, after=await store.heads())``.

        What follows them all comes behind all that is here.  Of logs that were written to long ago some may be missing.
        """
        self._core.check_open()
        return self._core.tips.find()

    def entry(self, author: bytes, seq: int, *, encoding: str = "bytes") -> Result[Entry]:
        """One entry; raises :class:`EntryNotHeldError`, or :class:`StoreDamagedError` if it cannot be read.

        One whose payload is missing is ``dropped``, as a reader gives it.  Reads one row.
        """
        check_author("author", author)
        check_number("seq", seq, 1)
        chosen = find_encoding(encoding)

        def decode(found: tuple[Stretch, int]) -> Entry:
            stretch, held = found
            if stretch.damage is not None:
                self._core.damage.found(stretch.damage)
                raise StoreDamagedError(
                    f"entry {seq} cannot be read: {stretch.damage.reason}; "
                    f"gossiplog verify --repair --store {self.path} brings it in order"
                )
            if not stretch.segments:
                raise EntryNotHeldError(author, short_key(author), seq, held)
            [entry] = read_entries(stretch.segments[0], chosen, seq, seq)
            return entry

        look = self._core.run(lambda logs: (logs.around(author, seq, 1, seq), logs.clock.seq(author)))
        return look.addCallback(decode)  # type: ignore[return-value]

    def timeline(
        self,
        limit: int = 50,
        *,
        authors: Iterable[bytes] | None = None,
        since: datetime | bytes | str | None = None,
        before: datetime | bytes | str | None = None,
        older: str | None = None,
        where: Where | None = None,
        encoding: str = "bytes",
    ) -> Result[Page]:
        """The latest ``limit`` entries of all logs, or of ``authors``, in the order of places, the latest first.

        ``since`` this moment and ``before`` that one, datetimes with a zone or places; ``older`` of a page gives the
        next one: it is a key, so that what arrives meanwhile moves no entry to another page.  ``where`` is a function
        of an entry.  The first page of a store makes an index, which takes some seconds for ten million entries.
        """
        from gossiplog.live.page import Wanted

        wanted = Wanted.of(limit, authors, since, before, older, where)
        return self._core.timeline.page(wanted, find_encoding(encoding))

    @overload
    def view(self, view: Search) -> Result[LiveSearch]: ...

    @overload
    def view(self, view: View) -> Result[LiveView]: ...

    def view(self, view: View) -> Result[Any]:
        """Open a view: tables made from entries, kept up with the store in a thread of its own.

        Fires once it can be asked; :meth:`LiveView.ready` says when it is complete.  What is only read, or in memory,
        has its views in memory.  Raises :class:`ViewError` when its tables cannot be made, InvalidValueError when a
        view of that name is open.
        """
        self._core.check_open()
        from gossiplog.live.live_search import LiveSearch
        from gossiplog.live.live_view import LiveView
        from gossiplog.views.search import Search

        return self._core.views.open(view, LiveSearch if isinstance(view, Search) else LiveView)

    def cursor(self, name: str) -> Result[Cursor]:
        """The cursor saved as ``name``, an empty one if there is none; StoreDamagedError if it is damaged."""
        check_cursor_name(name)

        return self._core.run(lambda logs: logs.cursor(name))

    def save_cursor(self, name: str, cursor: Cursor | ClockView | None) -> Result[None]:
        """Keep ``cursor`` on disk as ``name``, up to 256 characters; None removes it.  O(what moved since then)."""
        check_cursor_name(name)
        if cursor is not None:
            check_clock("cursor", cursor)
        return self._core.set(SetCursor(name, None if cursor is None else Cursor.of(cursor)))

    def export(
        self,
        file: AnyPath | BinaryIO,
        *,
        authors: Iterable[bytes] | None = None,
        since: Cursor | ClockView | None = None,
    ) -> Result[Exported]:
        """Write what is held, of all or of ``authors``, to a new file or a stream that any store can check and take.

        ``since``: only what is behind it.  A file has its name only once it is whole.  A slow disk delays nobody else.
        """
        from gossiplog.live.exporting import Export, export_to

        check_file("file", file, "write", "flush")
        chosen = None if authors is None else check_authors("authors", authors)
        if since is not None:
            check_clock("since", since)
        return work_beside(self._core, lambda hands: export_to(Export(hands, chosen, since), file))

    def import_(self, file: AnyPath | BinaryIO, *, quotas: Quotas | None = None) -> Result[Imported]:
        """Take what an export has that its authors signed, by the rules for what a peer sends; it may be anybody's.

        Raises :class:`BadExportError` for what is none, or not a whole one, after what is there was taken.
        """
        from gossiplog.live.importing import import_stream

        check_file("file", file, "read")
        check_type("quotas", quotas, (Quotas, type(None)), "Quotas, or None")
        return work_beside(self._core, lambda hands: import_stream(hands, file, quotas or Quotas()))

    def backup(self, target: AnyPath, *, seeds: bool = True, check: bool = True) -> Result[BackedUp]:
        """Bring the backup in the directory ``target`` up to date, made if there is none, while the store is in use.

        :func:`restore_store` makes a store of it.  ``seeds``: with writers' secrets; ``check``: all is verified then.
        """
        from gossiplog.live.backing_up import back_up

        check_flags(seeds=seeds, check=check)
        place = directory_of(target)
        return work_beside(
            self._core, lambda hands: back_up(hands, self.path, place, seeds=seeds, check=check)
        )

    def compact(self) -> Result[Compacted]:
        """Merge all small segments and give all free room back, in short steps between which others have their turn."""
        from gossiplog.live.compacting import compact

        return work_beside(self._core, compact)

    def verify(self) -> Result[VerifyReport]:
        """Check every chain, signature and head against the disk."""
        return self._core.run(lambda logs: logs.verify())

    def holes(self) -> Result[dict[bytes, int]]:
        """How many entries of each author lack their payload; those are filled as soon as a peer has the payloads."""
        return self._core.run(lambda logs: logs.holes())

    def repair(self) -> Result[RepairReport]:
        """Cut damaged logs of others back to what is whole; a node fetches the rest again, once it is started.

        The clock goes back, which it never does under a node: raises :class:`StoreInUseError` while one runs.
        """
        return repair_under(self._core)

    def writers(self) -> Result[dict[str, bytes]]:
        """Local authors by name."""
        return self._core.run(lambda logs: logs.writers())

    def close(self) -> Result[None]:
        """Stop the node that uses the store, finish what is queued, close.

        Live readers end; from now on everything else raises :class:`StoreClosedError`.  Without a reactor that could do
        this, it is done before this returns.  In a child of the process that opened the store, nothing is.
        """
        return self._core.close()

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
