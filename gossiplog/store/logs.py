"""The logs of a store: what a node asks of its disk.

Responsible for: the durable clock, fork proofs and local writers; carrying out requests, many in one transaction.
Must not know: peers, threads, time.  Everything blocks and is called from the thread that opened the backend.
Invariant: the clock says what is durable and nothing else: it moves after the commit, and never on an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TYPE_CHECKING

from gossiplog.errors import (
    BadForkProofError,
    InvalidValueError,
    LostRaceError,
    NetworkMismatchError,
    SharedStoreError,
    StoreDamagedError,
)
from gossiplog.limits import MAX_SEQ
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof, build_proof, verify_proof
from gossiplog.log.kept_key import ForeignKey
from gossiplog.log.keys import KEY_BYTES, HeadSigner, Keypair, short_key
from gossiplog.log.segment import HoledRow, Segment
from gossiplog.paths import AnyPath
from gossiplog.store.checked_rows import CheckedRows
from gossiplog.store.committer import Committer
from gossiplog.store.copy_guard.guard import own_place
from gossiplog.store.disk_usage import Weighing
from gossiplog.store.door import Opening, open_around_damage, open_backend
from gossiplog.store.hole_filling import holed_authors
from gossiplog.store.interface import Backend, PutMeta, Secrets
from gossiplog.store.merging import Merger
from gossiplog.store.owning_process import Home
from gossiplog.store.reading_around import Stretch, read_around, read_back
from gossiplog.store.repair.verify import Damage, OnProgress, VerifyReport, verify_store
from gossiplog.store.requests import CommitReport, Request
from gossiplog.store.saved_cursors import SavedCursors
from gossiplog.store.shared.interface import Shared
from gossiplog.store.torn_ends import TornEnds
from gossiplog.store.writer_keys import WriterKeys

if TYPE_CHECKING:
    from gossiplog.store.repair.repair import Donor, RepairReport

__all__ = ["Logs", "VerifyReport", "open_logs"]

NETWORK = "network"  # the value that says which one a store belongs to


def open_logs(
    place: AnyPath,
    init: bool = True,
    read_only: bool = False,
    wait: float = 0.0,
    state: AnyPath | None = None,
) -> Logs:
    """Open the store at ``place`` (:mod:`gossiplog.store.door`); ``init`` creates one where there is none.

    With ``read_only`` not a byte is changed there, and it may be anybody's; if it is not ours alone, it has no writers
    here.  ``wait`` for so many seconds while one other process has it open.  ``state`` is the directory of a relay of a
    store that several share.

    :raises StoreError: its subclass says what is wrong: not found, locked, not ours alone, of another format, damaged.
    """
    how = Opening(init, read_only, wait, state)
    try:
        return _logs(open_backend(place, how))
    except StoreDamagedError as error:
        return _logs(open_around_damage(place, how, error))


def _logs(backend: Backend) -> Logs:
    try:
        return Logs(backend)
    except BaseException:
        backend.close()
        raise


class Logs:
    """I am a store: every log in it, who writes here, and how far everything is durable."""

    def __init__(self, backend: Backend, entropy: Callable[[int], bytes] = os.urandom) -> None:
        """Load the clock from ``backend``, which is mine from now on; O(authors).  ``entropy`` makes new secrets.

        ``begins``: what others did to a store that they share is known from there on.
        """
        self._home = Home(f"store {backend.path}")
        self._mine = backend
        self._entropy = entropy
        self._merger = Merger(backend)
        self.begins = None if backend.shared is None else backend.shared.start()
        self.clock = backend.clock()
        self._cursors = SavedCursors(backend)
        self.weighing = Weighing(backend, self.clock, self._merger)
        self.vouching = CheckedRows(backend, self.clock)
        self.forks = set(backend.forks())
        self._keys = WriterKeys(backend.path, lambda: self._backend.secrets, entropy)
        self._passing_key: bytes | None = None
        if backend.shared is not None and self._keys.authors:
            raise self._no_writers()
        self._custody = backend.guard(self.clock, self.writers(), entropy)
        self._torn = TornEnds(backend, self.clock, self.local)
        self._committer = Committer(
            backend,
            self.clock,
            self.forks,
            self._keys.signers,
            self._cursors,
            self._merger,
            self.weighing,
            self.vouching,
            self._custody,
            self._torn,
        )
        self.damages = [*self._torn.damages(), *(Damage(None, 0, 0, why) for why in [backend.damage] if why)]

    @property
    def path(self) -> str:
        """Where the store is."""
        return self._mine.path

    @property
    def shared(self) -> Shared | None:
        """What is known of others who write there too."""
        return self._mine.shared

    @property
    def directory(self) -> str | None:
        """A directory of this machine that is ours alone, if there is one: of the store, or of one who shares it."""
        return self._mine.disk if self._mine.shared is None else self._mine.shared.directory

    @property
    def disk(self) -> str | None:
        """A place on the disk whose room it takes, if any."""
        return self._mine.disk

    def own_place(self) -> tuple[str, bytes] | None:
        """Return a directory for what can be derived, and a token: :func:`.copy_guard.guard.own_place`."""
        return own_place(self._backend)

    @property
    def _backend(self) -> Backend:
        """The backend, in the process that opened it; :class:`StoreInheritedError` in a child of that."""
        self._home.check()
        return self._mine

    # -- writers and keys ------------------------------------------------------------------------------------

    @property
    def local(self) -> AbstractSet[bytes]:
        """The authors that write here; a live view."""
        return self._keys.signers.keys()

    def writers(self) -> dict[str, bytes]:
        """Return the authors that write here, by name."""
        self._home.check()
        return self._keys.authors

    def writer(self, name: str) -> HeadSigner:
        """Return the key of the writer ``name``, created (and durable) if there is none.

        :raises InvalidValueError: not a name: 1 to 64 printable characters, no slash, no dot in front.
        :raises KeyLockedError: it would be a new one, and the others are under a passphrase that was not given.
        """
        self._home.check()
        if self._mine.shared is not None:
            raise self._no_writers()
        return self._keys.find(name) or self._keys.create(name, self._custody.adopt)

    @property
    def keys(self) -> WriterKeys:
        """The keys of the writers, and what becomes of them."""
        self._home.check()
        return self._keys

    def import_key(self, name: str, key: Keypair | ForeignKey) -> None:
        """Take a writer that was one elsewhere; it appends after :meth:`recovered`.  Durable on return."""
        self._home.check()
        if self._mine.shared is not None:
            raise self._no_writers()
        self._keys.add(name, key, lambda author: self._custody.doubt(name, author))

    @property
    def secrets(self) -> Secrets:
        """What must not leave the store but for a backup of it."""
        return self._backend.secrets

    def node_key(self) -> bytes:
        """Return the node's X25519 secret, created the first time; for as long as it is open if nothing is written."""
        secret = self._passing_key or self._backend.secrets.node_key()
        if secret is None:
            secret = self._entropy(KEY_BYTES)
            if self._backend.read_only:
                self._passing_key = secret
            else:
                self._backend.secrets.create_node_key(secret)
        return secret

    @property
    def copied(self) -> str:
        """Why this may be a copy of a store that is in use elsewhere, or an old state of one; ``""`` if it is not.
        Writers that came with it do not append until :meth:`recovered`; everything else works."""
        return self._custody.copied or self._torn.in_words()

    def require_all_back(self) -> None:
        """Raise :class:`StoreCopiedError` while an own entry that is known to have been signed here is not on disk."""
        self._home.check()
        self._custody.require_all_back()
        self._torn.require_all_back()

    def recovered(self) -> None:
        """Let every writer append again: all newer own entries are here now, or there are none.  Durable on return."""
        self._torn.give_up(self._backend, self._custody)
        self._custody.recovered()

    def overtaken(self, author: bytes, seq: int) -> str:
        """Refuse appends to a local log of which peers show entries up to ``seq`` that we signed and lost; return what
        :attr:`copied` says now.  Durable on return, and in force even if that fails."""
        self._home.check()
        self._custody.overtaken(author, seq)
        return self.copied

    def bind_network(self, discovery_id: bytes) -> None:
        """Make this the store of one network, or check that it is; one that is only read need not be of any.

        :raises NetworkMismatchError: it belongs to another one.
        """
        bound = self._backend.meta(NETWORK)
        if bound is None and not self._backend.read_only:
            with suppress(LostRaceError):  # whoever of several was first has said it
                self._backend.commit([PutMeta(NETWORK, discovery_id, (None,))])
            bound = self._backend.meta(NETWORK)
        if bound not in (None, discovery_id):
            raise NetworkMismatchError(
                f"store {self.path} belongs to another network; use one store per network"
            )

    # -- requests --------------------------------------------------------------------------------------------

    def process(self, requests: Sequence[Request]) -> CommitReport:
        """Do all ``requests`` in one durable transaction; what is received counts before what is appended.

        A request that cannot be done has an exception as its result, and the others go on.  The result of a FillRow of
        which there is too much to do is the one that is left.

        :raises StoreError: the commit failed: nothing was done (for ``AppendOutcomeUnknown``: as far as we know), the
            clock is as before.
        """
        self._home.check()
        return self._committer.process(requests)

    # -- reading ---------------------------------------------------------------------------------------------

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return stored neighbours from the one that contains ``first`` on, until their work reaches ``limit_bytes``.

        They are as stored: the first may begin before ``first``, the last end after ``last``.  Empty when ``first`` is
        not held.  Each was verified since the store was opened: they end before one that its author did not sign.  What
        others who share the store wrote is not there before the clock says so.

        :raises StoreDamagedError: that is the first of them.
        """
        self._home.check()
        if self._mine.shared is not None:
            last = min(self.clock.seq(author), MAX_SEQ if last is None else last)
            if first > last:
                return []
        return self.vouching.segments(author, first, limit_bytes, last)

    def around(
        self, author: bytes, first: int, limit_bytes: int, last: int | None = None, *, reverse: bool = False
    ) -> Stretch:
        """Return what :meth:`segments` does from the next place on that can be read, and what was passed over; in
        ``reverse`` from ``last`` on, backwards.  Nothing when the log ends before ``first``.
        """
        backend, read = self._backend, read_back if reverse else read_around
        end = min(self.clock.seq(author), MAX_SEQ if last is None else last)
        return read(backend, self.segments, author, first, limit_bytes, end) if first <= end else Stretch([])

    def fork_proof(self, author: bytes) -> ForkProof:
        """Return the proof that ``author``, one of :attr:`forks`, has forked its log."""
        proof = self._backend.fork(author)
        if proof is None:
            raise InvalidValueError(f"no fork of {short_key(author)} is known here")
        try:
            verify_proof(proof)
        except BadForkProofError as error:
            reason = f"the fork proof about {short_key(author)} proves nothing: {error}"
            raise StoreDamagedError(f"{self.path} is damaged: {reason}") from error
        return proof

    def examine(self, segment: Segment) -> ForkProof | None:
        """Compare a verified segment with what is held of its author: the proof if they are of different logs."""
        self._home.check()
        seq = min(segment.last, self.clock.seq(segment.author))
        ours = self.segments(segment.author, seq, 1) if seq else []
        return build_proof(ours[0], segment) if ours else None

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their payload, of those where any does.  O(rows with holes)."""
        return self._backend.holes()

    def holed_authors(self) -> set[bytes]:
        """Return authors of whom payloads are missing, up to ``MAX_HOLED_AUTHORS``; O(rows of theirs with holes)."""
        return holed_authors(self._backend)

    def holed_after(self, row: HoledRow | None, limit: int) -> list[HoledRow]:
        """Return the next rows with holes, as :meth:`gossiplog.store.interface.Backend.holed_after`."""
        return self._backend.holed_after(row, limit)

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store itself."""
        return self._backend.meta(key)

    def cursor(self, name: str) -> Cursor:
        """Return a reader's cursor, empty if there is none; StoreDamagedError if it is damaged."""
        self._home.check()
        return self._cursors.load(name)

    def cursor_names(self) -> list[str]:
        """Return the names of all cursors, sorted."""
        return self._backend.cursor_names()

    def merge_some(self, limit_bytes: int) -> bool:
        """Merge neighbouring small segments, about ``limit_bytes`` of them, in one commit; O(1) when nothing is to do.

        Return whether there may be more to do.  Nothing is in a store that relays share: inside of a merged row there
        are no signatures, so that who knows of its beginning only could not send that.

        :raises StoreDamagedError: some rows are damaged and were passed over; the rest was done, come again.
        """
        self._home.check()
        return self._mine.shared is None and self._merger.step(limit_bytes)

    def look_at(self, authors: Iterable[bytes]) -> None:
        """Let :meth:`merge_some` look at logs that it would not come to by itself."""
        self._home.check()
        self._merger.look_at(authors)

    def reclaim(self, thorough: bool = False) -> bool:
        """Give free room back, if it is much or ``thorough``, in a short step; return whether there may be more to do.

        :raises StoreError: it cannot be done, now or at all; nothing changed.
        """
        return self._backend.reclaim(thorough)

    def verify(self, progress: OnProgress | None = None) -> VerifyReport:
        """Check every chain, signature and head against the disk; damage is reported, not raised."""
        return verify_store(self._backend, self._torn.said(), progress)

    def repair(self, donor: Donor | None = None, progress: OnProgress | None = None) -> RepairReport:
        """Cut damaged logs of others back to their whole beginning; the clock goes back with them, on purpose.

        No log of a local writer is cut.  Its damaged entries come back if ``donor``, the ``segments`` of another store,
        has the same ones; otherwise they stay as they are.  A damaged node key is replaced.  A damaged database file
        has to be rebuilt first (:func:`gossiplog.store.repair.salvage.salvage`); as long as it is not, nothing is done.
        """
        from gossiplog.store.repair.repair import RepairReport, repair_logs

        self.weighing.end()
        damaged = self.verify(progress)
        if not damaged.sound:
            return RepairReport(left=damaged.damages)
        report = repair_logs(self._backend, self.clock, self._torn, self.local, damaged, donor)
        self._cursors.forget()
        for author in report.heads:
            self._merger.forget(author)
        try:
            self._backend.secrets.node_key()
        except StoreDamagedError:
            self._backend.secrets.replace_node_key(self._entropy(KEY_BYTES))
        report.left = [] if damaged.ok else self.verify(progress).damages
        return report

    def close(self) -> None:
        """Close the backend; a second call does nothing, nor does one in a child of the process that opened it."""
        self._mine.close()
        self._custody.close()

    def _no_writers(self) -> SharedStoreError:
        return SharedStoreError(
            f"store {self.path} is shared by relays and has no writers: put back after a failure of its database "
            "it could sign one entry twice; write with a store of your own, and connect"
        )
