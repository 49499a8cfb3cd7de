"""Whether this store may sign: it may not while another copy of it might.

Responsible for: finding out at each opening whether the store was copied or put back, marking it as what it is now,
and which of its writers may append.
Must not know: peers; how entries are signed or stored.
Invariant: a writer may append only in the store that made its seed, and there only as long as everything shows that
the store was neither copied nor put back since, or after :meth:`CopyGuard.recovered`.  What shows it is never lost
before the database says so itself, whatever crashes when.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Final

from gossiplog.errors import StoreCopiedError, StoreDamagedError, StoreError
from gossiplog.log.clock_view import ClockView
from gossiplog.log.keys import KEY_BYTES, format_author
from gossiplog.store.copy_guard.generation import GenerationFile, GenerationRecord
from gossiplog.store.copy_guard.identity import (
    TOKEN_BYTES,
    Stamp,
    difference,
    mark,
    read_signs,
    stamped,
    write_mark,
)
from gossiplog.store.directory import DATABASE
from gossiplog.store.folder import store_error
from gossiplog.store.interface import PutMeta, Rows, Secrets

_STAMP: Final = "identity"
_TRUSTED: Final = "writers"
_COPIED: Final = "copied"


def is_from_here(path: str) -> bool:
    """Tell whether the store at ``path`` is one that was last written on this machine, in this place.

    Its database is not opened: it may be anybody's.  What comes with an archive or a clone has other inodes.
    """
    directory = os.path.realpath(path)
    try:
        with closing(GenerationFile(directory, writing=False)) as file:
            ledger = file.read()
        stamp = None if ledger is None else Stamp.load(ledger.stamp)
        if ledger is None or stamp is None:
            return False
        stamp = stamp._replace(generation=max(ledger.generations, default=0))
        return not difference(stamp, read_signs(os.path.join(directory, DATABASE)), ledger)
    except (OSError, StoreError):
        return False


def own_place(rows: Rows) -> tuple[str, bytes] | None:
    """Return the directory of a store that is open, for what can be derived from it, and a token that is another one
    once the store was copied, moved to another file system or put back.

    ``None`` where nothing is to be written, or nothing is kept in a directory of its own.
    """
    stamp = None if rows.read_only else Stamp.load(rows.meta(_STAMP))
    directory = rows.disk
    if stamp is None or directory is None or not os.path.isdir(directory):
        return None
    return directory, stamp.token


class CopyGuard:
    """I know which writers of one store may append.  In a store without a database file it is all of them, and where
    nothing can be written there is nothing to know."""

    def __init__(
        self,
        rows: Rows,
        secrets: Secrets,
        database: str | None,
        clock: ClockView,
        writers: Mapping[str, bytes],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Compare the store with what it was when it was last open; ``writers`` are those that have a seed.

        ``database`` is the file with the rows, in a directory of its own; ``None`` where no file can be copied.  A copy
        is marked as one, and gets a new node key.
        """
        self._rows = rows
        self._secrets = secrets
        self._entropy = entropy
        self._reason = ""
        self._lacked: dict[bytes, int] = {}
        self._clock = clock
        self._trusted: set[bytes] = set()
        self._strangers: dict[bytes, str] = {}
        self._database_file = -1
        self._ledger: GenerationFile | None = None
        if database is None or rows.read_only:
            return
        self._database = database
        try:
            self._ledger = GenerationFile(os.path.dirname(self._database))
            self._open(self._ledger, writers)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise store_error(error, self._database) from error
            raise

    @property
    def copied(self) -> str:
        """Why this store may be a copy of which another one is in use, ``""`` if it is not; never without writers."""
        if not self._strangers:
            return ""
        return self._reason or f"the seed of its writer {min(self._strangers.values())!r} came from elsewhere"

    def require_all_back(self) -> None:
        """Raise :class:`StoreCopiedError` while an own entry that is known to have been signed here is not on disk."""
        for author, seq in self._lacked.items():
            if self._clock.seq(author) < seq:
                entry = f"entry {seq} of {format_author(author)}"
                reason = f"none of the peers asked has the own {entry}, which was signed here"
                raise StoreCopiedError(self._rows.path, reason)

    def refusal(self, author: bytes) -> StoreCopiedError | None:
        """Return why ``author``, a local writer, may not append; ``None`` if it may."""
        return StoreCopiedError(self._rows.path, self.copied) if author in self._strangers else None

    def adopt(self, author: bytes) -> None:
        """A new writer is about to get its seed here, and its log has no entry anywhere; durable on return."""
        if self._ledger is not None:
            try:
                self._ledger.sign(author, 0)  # from now on there is room for it, however full the disk
            except OSError as error:
                raise store_error(error, self._database) from error
            self._rows.commit([self._trust({*self._trusted, author})])
            self._trusted.add(author)

    def doubt(self, name: str, author: bytes) -> None:
        """``author`` writes here from now on, and did so elsewhere; durable on return."""
        if self._ledger is not None:
            self._rows.commit([self._trust(self._trusted - {author})])
        self._trusted.discard(author)
        self._strangers[author] = name

    def recovered(self) -> None:
        """Let every writer append again; durable on return."""
        if self._strangers:
            trusted = {*self._trusted, *self._strangers}
            self._rows.commit([self._trust(trusted), PutMeta(_COPIED, None)])
            self._trusted = trusted
            self._strangers = {}
            self._reason = ""
            lacked, self._lacked = self._lacked, {}
            for author in lacked:
                self.signed(author, self._clock.seq(author))

    def overtaken(self, author: bytes, seq: int) -> None:
        """``author`` signed entries up to ``seq`` that the store does not hold: distrust it; durable on return."""
        self._reason = (
            f"peers hold entries up to {seq} that its writer {format_author(author)} signed, without payloads"
        )
        self._strangers[author] = self._reason
        self._trusted.discard(author)
        self._rows.commit([self._trust(self._trusted), PutMeta(_COPIED, self._reason.encode())])

    def signed(self, author: bytes, seq: int) -> None:
        """A local log reaches to ``seq`` on disk."""
        if self._ledger is not None and seq >= self._lacked.get(author, 0):
            try:
                self._ledger.sign(author, seq)
            except OSError:  # the entry is durable; this only helps to notice later that it is gone
                pass

    def close(self) -> None:
        """Give the files back, after the backend: to close a database file ends SQLite's locks on it."""
        if self._ledger is not None:
            self._ledger.close()
        if self._database_file >= 0:
            os.close(self._database_file)
            self._database_file = -1

    # -- opening ---------------------------------------------------------------------------------------------

    def _open(self, ledger: GenerationFile, writers: Mapping[str, bytes]) -> None:
        stamp = Stamp.load(self._rows.meta(_STAMP))
        known = ledger.read()
        signed = {} if known is None else known.signed
        held = {author: self._clock.seq(author) for author in writers.values()}
        self._lacked = {author: signed[author] for author, seq in held.items() if seq < signed.get(author, 0)}
        trusted = self._rows.meta(_TRUSTED) or b""
        self._trusted = {trusted[at : at + KEY_BYTES] for at in range(0, len(trusted), KEY_BYTES)}
        reason = "" if stamp is None and not writers else self._compare(stamp, known)
        if stamp is None or reason:
            self._replace_node_key()
            self._mark(ledger, reason if writers else "", {**held, **self._lacked})
        else:
            self._reason = (self._rows.meta(_COPIED) or b"").decode(errors="replace")
            self._begin_generation(ledger, stamp, signed)
            for author, seq in held.items():
                if signed.get(author, -1) < seq:
                    self.signed(author, seq)
        self._strangers = {author: name for name, author in writers.items() if author not in self._trusted}

    def _replace_node_key(self) -> None:
        """Be another node than whoever made the key that is there, if one is."""
        try:
            if self._secrets.node_key() is None:
                return
        except StoreDamagedError:
            pass
        self._secrets.replace_node_key(self._entropy(KEY_BYTES))

    def _compare(self, stamp: Stamp | None, known: GenerationRecord | None) -> str:
        if stamp is None:
            return "its database was not marked here"
        if reason := difference(stamp, read_signs(self._database), known):
            return reason
        for author, seq in self._lacked.items():
            if author in self._trusted:  # else it is known
                return f"its database lacks the own entry {seq}, which was signed here"
        return ""

    def _mark(self, ledger: GenerationFile, reason: str, signed: Mapping[bytes, int]) -> None:
        """Make this the only store with a new token; first beside the database, which differs until it is done."""
        token = self._entropy(TOKEN_BYTES)
        write_mark(self._database, mark(token, 1))
        if self._database_file < 0:
            self._database_file = os.open(self._database, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fsync(self._database_file)  # the mark is there when the stamp says so
        stamp = stamped(read_signs(self._database), token, 1)
        ledger.create(token, (1, 1), stamp.dump(), signed)
        copied = PutMeta(_COPIED, reason.encode() or None)
        self._rows.commit([PutMeta(_STAMP, stamp.dump()), self._trust(set()), copied])
        self._trusted = set()
        self._reason = reason

    def _begin_generation(self, ledger: GenerationFile, stamp: Stamp, signed: Mapping[bytes, int]) -> None:
        """Count this opening.  On a disk that takes no writes it is not counted, and everything can still be read."""
        generation = stamp.generation + 1
        dumped = stamp._replace(generation=generation).dump()
        try:
            ledger.create(stamp.token, (stamp.generation, generation), stamp.dump(), signed)
            self._rows.commit([PutMeta(_STAMP, dumped)])
            ledger.settle(stamp.token, generation, dumped)
            if stamp.marked:
                write_mark(self._database, mark(stamp.token, generation))
        except (OSError, StoreError):
            pass

    @staticmethod
    def _trust(authors: Iterable[bytes]) -> PutMeta:
        return PutMeta(_TRUSTED, b"".join(sorted(authors)))
