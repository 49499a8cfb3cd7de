"""A list of requests on its way to one transaction.

Responsible for: deciding what each request comes to and which writes that takes, on top of the durable clock.
Must not know: the backend; nothing here is written.
Invariant: the clock is changed by :meth:`Batch.publish` only, after the commit; and a log never gets two continuations,
because everything received counts before anything of our own is added (an entry that comes back to us from elsewhere is
one that we signed before).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

from gossiplog.errors import (
    ForkedWriterError,
    GossiplogError,
    InvalidValueError,
    LocalAuthorError,
    StoreError,
    UnknownWriterError,
)
from gossiplog.log.clock_view import MovingClock
from gossiplog.log.cursor import Cursor
from gossiplog.log.disk_cost import Changes, proof_bytes
from gossiplog.log.fork import ForkProof
from gossiplog.log.items import check_bodies
from gossiplog.log.keys import HeadSigner, genesis_id, short_key
from gossiplog.log.segment import Head, Segment, build, has_holes
from gossiplog.store.interface import DeleteAuthor, PutCursor, PutFork, PutMeta, PutSegment, RowWrite
from gossiplog.store.requests import (
    Accept,
    Accepted,
    AddFork,
    Append,
    Appended,
    CommitReport,
    Done,
    FillRow,
    Forget,
    Learn,
    Moved,
    Reply,
    Request,
    SetMeta,
    Stale,
)
from gossiplog.store.saved_cursors import SavedCursors


class Batch:
    """I turn requests into writes; my heads are the clock's with everything asked so far."""

    def __init__(
        self,
        clock: MovingClock,
        forks: set[bytes],
        keypairs: Mapping[bytes, HeadSigner],
        cursors: SavedCursors,
    ) -> None:
        """Begin with the durable state, which stays untouched until :meth:`publish`."""
        self._writes: list[RowWrite] = []
        self.segments: list[Segment] = []
        self.changes = Changes()
        self._clock = clock
        self._forks = forks
        self._keypairs = keypairs
        self._new_heads: dict[bytes, Head | None] = {}
        self._before: dict[bytes, Head | None] = {}
        self.new_forks: dict[bytes, None] = {}
        self._cursors = cursors
        self._new_cursors: dict[str, Cursor | None] = {}
        self._cursor_writes: dict[str, PutCursor | None] = {}
        self.forgotten: dict[bytes, None] = {}
        self._proofs: list[ForkProof] = []
        self.deletions: dict[bytes, int] = {}
        self._values: dict[str, bytes | None] = {}
        self._learned: dict[str, bytes | None] = {}

    @property
    def writes(self) -> list[RowWrite]:
        """What to write; of several cursors of one name the last."""
        return self._writes + [write for write in self._cursor_writes.values() if write is not None]

    @property
    def heads(self) -> dict[bytes, Head]:
        """The heads that this batch made."""
        return {author: head for author, head in self._new_heads.items() if head is not None}

    def head(self, author: bytes) -> Head:
        """Return the author's head in this batch: seq 0 and the genesis id without entries."""
        head = self._new_heads[author] if author in self._new_heads else self._clock.head(author)
        return Head(0, genesis_id(author)) if head is None else head

    def forked(self, author: bytes) -> bool:
        """Tell whether the author's log is forked in this batch."""
        return author in self.new_forks or (author in self._forks and author not in self.forgotten)

    def receive(self, request: Request) -> Reply:
        """Take any request but an Append or a Fill."""
        if isinstance(request, Accept):
            return self._accept(request)
        if isinstance(request, AddFork):
            if not self.forked(request.proof.author):
                self.new_forks[request.proof.author] = None
                self.changes.add(request.proof.author, proof_bytes(request.proof))
                self._writes.append(PutFork(request.proof))
        elif isinstance(request, Forget):
            if request.author in self._keypairs:
                return LocalAuthorError(
                    "the log of a local writer cannot be forgotten: its seqs would be reused"
                )
            self._forget(request.author)
            self._writes.append(DeleteAuthor(request.author))
        elif isinstance(request, Append | FillRow | Learn):
            raise TypeError(
                "appends come together, through append(); fills and what others did are no requests here"
            )
        elif isinstance(request, SetMeta):
            value = self._values.get(request.key)
            if request.instead_of and request.key in self._values and value not in request.instead_of:
                return Moved(value)
            if request.key in self._values:
                self._values[request.key] = request.value
            self._writes.append(PutMeta(*request))
        else:
            try:
                self._cursor_writes[request.name] = self._cursors.change(*request)
            except (InvalidValueError, StoreError) as error:
                return error
            self._new_cursors[request.name] = request.cursor
        return Done()

    def learn(self, segments: Sequence[Segment], head: Head) -> None:
        """Others wrote these, which continue an author's log up to ``head``."""
        for segment in segments:
            self._add(segment)
        self._new_heads[segments[0].author] = head

    def learn_fork(self, proof: ForkProof, *, is_kept: bool) -> None:
        """An author forked its log; what is known already is passed over, and what ``is_kept`` is not written."""
        if not self.forked(proof.author):
            self._proofs.append(proof)
            self.new_forks[proof.author] = None
            self.changes.add(proof.author, proof_bytes(proof))
            if not is_kept:
                self._writes.append(PutFork(proof))

    def learn_deletion(self, author: bytes, deletions: int) -> None:
        """Others deleted a log, which that often happened to it; what is learned of it from now on came afterwards."""
        self._forget(author)
        self.deletions[author] = deletions

    def learn_value(self, key: str, value: bytes | None) -> None:
        """Others set a value of the store."""
        self._learned[key] = self._values[key] = value

    def append(self, author: bytes, lists: Sequence[Sequence[bytes]]) -> list[Reply]:
        """Take all Appends of one author: one segment and one signature as far as the limits allow.  O(n)."""
        try:
            keypair = self._keypairs.get(author)
            if keypair is None:
                raise UnknownWriterError(f"no writer here has the key {author.hex()}")
            if self.forked(author):
                raise ForkedWriterError(short_key(author))
            try:
                return self._sign(keypair, lists)
            except InvalidValueError:
                if len(lists) == 1:
                    raise
        except GossiplogError as error:
            return [error] * len(lists)
        return self._append_valid(author, lists)

    def _append_valid(self, author: bytes, lists: Sequence[Sequence[bytes]]) -> list[Reply]:
        """Append what can be, when one of several lists cannot."""
        refusals: dict[int, GossiplogError] = {}
        for place, bodies in enumerate(lists):
            try:
                _check(bodies)
            except InvalidValueError as error:
                refusals[place] = error
        valid = [bodies for place, bodies in enumerate(lists) if place not in refusals]
        if not refusals:  # each is fine alone: the log has no seqs left for all of them
            return [result for bodies in lists for result in self.append(author, [bodies])]
        results = iter(self.append(author, valid) if valid else ())
        return [refusals[place] if place in refusals else next(results) for place in range(len(lists))]

    def report(
        self,
        results: list[Reply],
        changes: Mapping[bytes, int],
        used_bytes: int | None,
        filled: tuple[bytes, ...],
    ) -> CommitReport:
        """Return what is told of the commit of all this."""
        forgotten, forks = tuple(self.forgotten), tuple(self.new_forks)
        proofs = tuple(self._proofs)
        return CommitReport(
            results,
            self.segments,
            self.heads,
            forgotten,
            changes,
            forks,
            used_bytes,
            filled,
            proofs,
            self._learned,
            self._before,
        )

    def publish(self) -> None:
        """Bring the durable state up to date, now that the writes are durable."""
        self._before = {author: self._clock.head(author) for author in (*self.forgotten, *self._new_heads)}
        for author in self.forgotten:
            self._clock.discard(author)
            self._forks.discard(author)
        for author, head in self._new_heads.items():
            if head is not None:
                self._clock.advance(author, head)
        self._forks.update(self.new_forks)
        for name, cursor in self._new_cursors.items():
            self._cursors.settle(name, cursor)

    def _accept(self, request: Accept) -> Reply:
        segment, head = request
        author = segment.author
        ours = self.head(author)
        if (
            (segment.first, segment.previous) != (ours.seq + 1, ours.id)
            or segment.count < 1
            or self.forked(author)
            or author in self.deletions  # whoever sent it is to hear of that before it comes again
            or (
                author in self._keypairs and has_holes(segment)
            )  # our own payloads come back whole or not at all
        ):
            return Stale(ours)
        self._put(segment, head)
        return Accepted(head)

    def _sign(self, keypair: HeadSigner, lists: Sequence[Sequence[bytes]]) -> list[Reply]:
        if not all(lists):
            raise InvalidValueError("an append takes at least one body")
        bodies = lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))
        before = self.head(keypair.author)
        segments, head = build(keypair, before, bodies)
        for segment, following in pairwise(segments):
            self._put(segment, Head(segment.last, following.previous))
        self._put(segments[-1], head)
        results: list[Reply] = []
        first = before.seq + 1
        for part in lists:
            results.append(Appended(first, first + len(part) - 1))
            first += len(part)
        return results

    def _forget(self, author: bytes) -> None:
        self._new_heads[author] = None
        self.new_forks.pop(author, None)
        self.segments = [segment for segment in self.segments if segment.author != author]
        self._proofs = [proof for proof in self._proofs if proof.author != author]
        self.changes.pop(author, None)
        self.forgotten[author] = None

    def _put(self, segment: Segment, head: Head) -> None:
        self._writes.append(PutSegment(segment, head))
        self._add(segment)
        self._new_heads[segment.author] = head

    def _add(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.changes.row(segment.author, len(segment.bodies), first=segment.first == 1)


def _check(bodies: Sequence[bytes]) -> None:
    if not bodies:
        raise InvalidValueError("an append takes at least one body")
    check_bodies(bodies)
