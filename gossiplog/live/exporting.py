"""Exporting: what a store holds, as a stream that any other can check and take.

Responsible for: which segments and proofs are in it, and putting it into a file as a whole.
Must not know: how the bytes are laid out; who uses the store meanwhile.
Invariant: for each log the stream is a run without gaps up to a signed head, of rows that were verified; it holds all
that was in the store when it began.  A file has its name only once it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import starmap
from typing import BinaryIO, Final, NamedTuple, Protocol

from gossiplog.errors import InvalidValueError, StoreError
from gossiplog.live.hands import Hands
from gossiplog.live.reading_logs import Stretch, heads_of, read_logs
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import has_holes
from gossiplog.paths import AnyPath, absolute
from gossiplog.store.folder import store_error, sync_directory
from gossiplog.store.logs import NETWORK, Logs
from gossiplog.wire.export import ExportWriter

PART: Final = ".part"
"""Behind the name of a file that is not whole; it can be imported as far as it goes."""


class Known(Protocol):
    """How far somebody holds logs: a clock or a cursor."""

    def seq(self, author: bytes) -> int:
        """Return the seq of the last entry, 0 if there is none."""


class Exported(NamedTuple):
    """What an export holds: so many entries of so many authors, so many fork proofs, in so many bytes.

    ``left_out`` says why the end of an author's log is not in it.
    """

    entries: int
    authors: int
    forks: int
    size: int
    left_out: dict[bytes, str]


class Export:
    """I am one export of what a store holds of ``authors`` (None: everyone), behind what is held ``since``."""

    def __init__(
        self, hands: Hands, authors: Iterable[bytes] | None = None, since: Known | None = None
    ) -> None:
        self.entries = 0
        self.authors = 0
        self.forks = 0
        self.size = 0
        self.left_out: dict[bytes, str] = {}
        self._hands = hands
        self._only = None if authors is None else frozenset(authors)
        self._since = since
        self._writer = ExportWriter()

    @property
    def outcome(self) -> Exported:
        """What was exported so far."""
        return Exported(self.entries, self.authors, self.forks, self.size, self.left_out)

    def pieces(self) -> Iterator[bytes]:
        """Yield it, in pieces of some size; what cannot be read is left out, and said."""
        for piece in self._pieces():
            self.size += len(piece)
            yield piece

    def _pieces(self) -> Iterator[bytes]:
        network, forks = self._hands.read(self._look)
        ends = ((author, head.seq) for author, head in heads_of(self._hands) if self._chooses(author))
        yield self._writer.begin(network)
        since = self._since
        firsts = ((author, 1 if since is None else since.seq(author) + 1, end) for author, end in ends)
        current, had = b"", 0
        for author, rows in read_logs(self._hands, starmap(Stretch, firsts)):
            if author in self.left_out:
                continue
            if isinstance(rows, StoreError):
                self.left_out[author] = str(rows)
                continue
            whole = next((place for place, row in enumerate(rows) if has_holes(row)), len(rows))
            if whole:
                if author != current:
                    current, had = author, rows[0].first - 1
                    if since is not None:
                        had = max(had, since.seq(author))
                    self.authors += 1
                self.entries += rows[whole - 1].last - had
                had = rows[whole - 1].last
                yield b"".join(map(self._writer.segment, rows[:whole]))
            if whole < len(rows):
                self.left_out[author] = f"payloads from entry {rows[whole].first} on are missing here"
        for author in forks:
            if (proof := self._proof(author)) is not None:
                self.forks += 1
                yield self._writer.proof(proof)
        yield self._writer.end()

    def _look(self, logs: Logs) -> tuple[bytes | None, list[bytes]]:
        return logs.meta(NETWORK), sorted(filter(self._chooses, logs.forks))

    def _chooses(self, author: bytes) -> bool:
        return self._only is None or author in self._only

    def _proof(self, author: bytes) -> ForkProof | None:
        try:
            return self._hands.read(lambda logs: logs.fork_proof(author))
        except InvalidValueError:
            return None  # it was deleted meanwhile
        except StoreError as error:
            self.left_out[author] = str(error)
            return None


def export_to(export: Export, out: AnyPath | BinaryIO) -> Exported:
    """Write an export to a stream, or to a file that is not there yet.

    :raises InvalidValueError: something has that name.
    :raises StoreError: the file cannot be written; nothing is left of it.
    """
    if not isinstance(out, str | bytes | os.PathLike):
        for piece in export.pieces():
            _write_all(out, piece)
        out.flush()
        return export.outcome
    path = absolute(out)
    if os.path.lexists(path):
        raise InvalidValueError(f"{path} is there already, and is not written over")
    part = path + PART
    try:
        with suppress(FileNotFoundError):
            os.unlink(part)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, 0o600), "wb", buffering=0) as file:
            try:
                for piece in export.pieces():
                    _write_all(file, piece)
                os.fsync(file.fileno())
                os.rename(part, path)
            except BaseException:
                os.unlink(part)
                raise
        sync_directory(os.path.dirname(path))
    except OSError as error:
        raise store_error(error, path) from error
    return export.outcome


def _write_all(out: BinaryIO, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[out.write(rest) :]
