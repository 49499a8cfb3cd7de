"""Importing: what a store or an export from anybody has that is signed goes into one's own.

Responsible for: reading what is trusted in nothing, and taking what its authors signed, as from a peer.
Must not know: how files are opened; the command.
Invariant: of the other store nothing is changed and no secret is read; what is taken was verified here, continues what
is held, is wanted, within the quotas, and has its payloads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import BinaryIO, Final, NamedTuple

from gossiplog.arguments import check_type
from gossiplog.errors import (
    BadExportError,
    BadForkProofError,
    NetworkMismatchError,
    StoreDamagedError,
    StoreError,
)
from gossiplog.gossip.acceptance import Verdict
from gossiplog.gossip.quotas import Quotas
from gossiplog.limits import MAX_CLAIMS, MAX_OFFENDERS
from gossiplog.live.hands import Hands, OwnHands, node_of
from gossiplog.live.intake import COMMIT_BYTES, Intake, RefusedError
from gossiplog.log.fork import ForkProof
from gossiplog.paths import AnyPath, absolute
from gossiplog.store.checked_rows import find_rows
from gossiplog.store.door import Opening, open_around_damage, open_backend, require_another
from gossiplog.store.folder import store_error
from gossiplog.store.interface import Backend, Rows
from gossiplog.store.logs import NETWORK, Logs, open_logs
from gossiplog.wire.export import Begin, Exported, ExportReader

_READ_BYTES: Final = 1 << 18


class Imported(NamedTuple):
    """What an import took: so many entries of these authors, so many fork proofs, and payloads that were missing here.

    ``refused`` says why something of an author was not taken, and of ``None`` why something else was not.
    """

    entries: int
    authors: frozenset[bytes]
    forks: int
    refused: dict[bytes | None, str]
    filled: int = 0


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
    return importing.outcome


def import_stream(hands: Hands, source: AnyPath | BinaryIO, quotas: Quotas) -> Imported:
    """Take what the export in a file, or in a stream, has.

    :raises BadExportError: as :meth:`StreamImport.run` does, with what was ``taken``; and NetworkMismatchError.
    :raises StoreError: the file cannot be read, or our own store fails.
    """
    if isinstance(source, str | bytes | os.PathLike):
        path = absolute(source)
        try:
            with open(path, "rb", buffering=0) as stream:
                return import_stream(hands, stream, quotas)
        except OSError as error:
            raise store_error(error, path) from error
    if node_of(hands):
        return hands.read(lambda logs: logs.import_(_pieces(source), quotas))  # type: ignore[attr-defined,no-any-return]
    importing = StreamImport(hands, quotas)
    try:
        importing.run(_pieces(source))
    except BadExportError as error:
        error.taken = importing.outcome
        raise
    return importing.outcome


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_READ_BYTES):
        yield piece


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


class StreamImport:
    """I take what an export has into a store; it may be anybody's.

    ``refused`` says of authors why something was not taken, of the first so many.
    """

    def __init__(self, hands: Hands, quotas: Quotas) -> None:
        self.refused: dict[bytes | None, str] = {}
        self.intake = Intake(hands, quotas)
        self._hands = hands
        self._reader = ExportReader()
        self._offenders: set[bytes] = set()

    @property
    def outcome(self) -> Imported:
        """What was taken so far."""
        return _outcome(self.intake, self.refused)

    def run(self, pieces: Iterable[bytes]) -> None:
        """Take all that can be taken; what was taken before an error stays.

        :raises BadExportError: it is none, is cut off, or was changed; all before that was looked at.
        :raises NetworkMismatchError: it is of another network than the store.
        """
        wrong: BadExportError | None = None
        for piece in pieces:
            found, wrong = self._reader.feed(piece)
            for one in found:
                self._take(one)
            if wrong is not None:
                break
        self.intake.flush()
        if wrong := wrong or self._reader.finish():
            raise wrong

    def _take(self, one: Exported) -> None:
        if isinstance(one, Begin):
            ours = self._hands.read(lambda logs: logs.meta(NETWORK))
            if None not in (one.network, ours) and one.network != ours:
                raise NetworkMismatchError("the export is of another network than the store")
        elif one.author not in self._offenders and self.intake.wants(one.author):
            try:
                if isinstance(one, ForkProof):
                    self.intake.prove(one)
                elif self.intake.take(one) is Verdict.AHEAD:
                    missing = self.intake.head(one.author).seq + 1
                    self._refuse(
                        one.author, f"entries {missing} to {one.first - 1} are neither here nor there"
                    )
            except RefusedError as refused:
                self._offenders.add(one.author)
                self._refuse(one.author, str(refused))
                if len(self._offenders) >= MAX_OFFENDERS:
                    self.intake.flush()
                    raise BadExportError(
                        f"it has wrong entries of {MAX_OFFENDERS} authors: no more is read"
                    ) from None

    def _refuse(self, author: bytes, why: str) -> None:
        if len(self.refused) < MAX_OFFENDERS:
            self.refused.setdefault(author, why)


def _outcome(intake: Intake, refused: dict[bytes | None, str]) -> Imported:
    return Imported(intake.entries, frozenset(intake.authors), intake.forks, refused, intake.filled)


class Importing:
    """I take what ``source`` has into ``logs``.

    ``refused`` says of authors, or of the store (``None``), why something was not taken.
    """

    def __init__(self, logs: Logs, source: Rows, quotas: Quotas) -> None:
        self.refused: dict[bytes | None, str] = {None: source.damage} if source.damage else {}
        self.intake = Intake(OwnHands(logs), quotas)
        self._logs = logs
        self._source = source

    @property
    def outcome(self) -> Imported:
        """What was taken so far."""
        return _outcome(self.intake, self.refused)

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
            forked = [author for author in self._source.forks() if self.intake.wants(author)]
        except StoreError as error:
            self.refused[None] = str(error)
            return
        for author in forked:
            self._try(author, partial(self._take_proof, author))

    def _try(self, author: bytes, take: Callable[[], None]) -> None:
        try:
            try:
                take()
            finally:
                self.intake.flush()
        except RefusedError as refused:
            self.refused[author] = str(refused)

    def _behind(self) -> dict[bytes, int]:
        """Return how far the other store says it holds logs of which anything is not held here; as many as a peer may
        claim, and another import takes the rest."""
        clock, found = self._logs.clock, dict[bytes, int]()
        try:
            for author, head in self._source.heads():
                if self.intake.wants(author) and head.seq >= clock.seq(author) and head != clock.head(author):
                    found[author] = head.seq
                if len(found) >= MAX_CLAIMS:
                    break
        except StoreError as error:
            self.refused[None] = str(error)
        return found

    def _take_log(self, author: bytes, claimed: int) -> None:
        ours, before = self.intake.head(author), -1
        while ours.seq > before:
            before = ours.seq
            try:
                rows = find_rows(self._source, author, min(claimed, ours.seq + 1), COMMIT_BYTES, None)
            except StoreError as error:
                raise RefusedError(str(error)) from error
            for row in rows:
                if self.intake.take(row) is Verdict.SUSPECT:
                    return
            ours = self.intake.head(author)

    def _take_proof(self, author: bytes) -> None:
        try:
            proof = self._source.fork(author)
        except (StoreError, BadForkProofError) as error:
            raise RefusedError(str(error)) from error
        if proof is not None:
            self.intake.prove(proof)
