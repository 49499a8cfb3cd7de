"""Every public error of gossiplog, in one tree.

Two families never mix: what *you* did or your machine did (:class:`InvalidValueError`, :class:`StoreError`,
:class:`NodeError`) and what a *peer* sent (:class:`PeerError`).  A :class:`PeerError` ends one session, carries the
code the other side is told in BYE (specification, "Codes"), and never changes stored state.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gossiplog.errors.base import *
from gossiplog.errors.base import GossiplogError
from gossiplog.errors.peers import *

# -- what you passed in ------------------------------------------------------------------------------------------


class InvalidValueError(GossiplogError, ValueError):
    """An argument is not what the function takes; the message names it and says what would be."""


class InvalidKeyError(InvalidValueError):
    """A key's text or bytes are not a key of the kind asked for."""


class CursorMismatchError(InvalidValueError):
    """A cursor is of another history: its reader had another entry at some seq of ``author`` than the store has."""

    def __init__(self, author: bytes, shown: str, seq: int) -> None:
        super().__init__(
            f"the cursor had read another entry {seq} of {shown} than this store holds; "
            "discard that author from the cursor to read it from its beginning"
        )
        self.author = author


class WhereFailedError(InvalidValueError):
    """What was given as ``where`` raised something about entry ``seq`` of ``author``, which is the error's cause.

    That entry is the next one still; ``cursor.advance(error.author, error.seq)`` goes past it.
    """

    def __init__(self, author: bytes, shown: str, seq: int, error: Exception) -> None:
        super().__init__(
            f"where failed on entry {seq} of {shown}: {type(error).__name__}: {error}; it is asked of entries of "
            "others too, whatever their payloads are"
        )
        self.author = author
        self.seq = seq


class KeyFileError(InvalidValueError):
    """A file that is to hold a key holds none, cannot be read, or can be by other users."""


class HostFileError(InvalidValueError):
    """A file that says which networks to host is wrong; ``problems`` is all that is, a line each."""

    def __init__(self, path: str, problems: Sequence[tuple[int | None, str]]) -> None:
        self.problems = tuple(
            f"{path}: {words}" if line is None else f"{path}:{line}: {words}" for line, words in problems
        )
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{self.problems[0]}{more}")


class PayloadTooLargeError(InvalidValueError):
    """An entry would be larger than the format allows; nothing was written."""


class MalformedBodyError(GossiplogError):
    """A stored body does not decode; it is kept and relayed all the same (specification, "Body")."""


class EncodingError(InvalidValueError):
    """A payload does not fit the encoding asked for."""


class InvalidReferenceError(InvalidValueError):
    """``after`` names what no entry can come behind: itself, a later one of its log, or more entries than a body has
    room for."""


class BadExportError(InvalidValueError):
    """A file is no export, or not a whole one; what of it was signed is ``taken`` (an :class:`~gossiplog.Imported`)."""

    taken: Any = None


class LocalAuthorError(InvalidValueError):
    """An author that writes here is always wanted: it can be neither unfollowed, blocked nor deleted."""


class BlockedAuthorError(InvalidValueError):
    """An author that is blocked cannot be followed; unblock it first."""


# -- your disk ---------------------------------------------------------------------------------------------------


class StoreError(GossiplogError):
    """Something about a store on this machine."""


class StoreNotFoundError(StoreError):
    """No store at that path."""


class StoreLockedError(StoreError):
    """The store is open already: in the process ``pid``, which may be this one, or ``None`` if that is not known."""

    def __init__(self, path: str, pid: int | None = None, waited: float = 0.0) -> None:
        after = f" after {waited:g} s" if waited else ""
        if pid == os.getpid():
            said = f"store {path} is open in this process already{after}; use that one, or close it first"
        else:
            who = "another process" if pid is None else f"process {pid}"
            said = (
                f"store {path} is in use by {who}{after}; stop it, wait longer (--wait SECONDS, or wait=), "
                "or use another directory"
            )
        super().__init__(said)
        self.path = path
        self.pid = pid


class StoreInUseError(StoreError):
    """A node runs on the store."""


class StoreClosedError(StoreError):
    """The store was closed."""


class StoreInheritedError(StoreError):
    """The store was opened by the process that this one was forked from; a child may not use it."""

    def __init__(self, what: str, process: int) -> None:
        super().__init__(
            f"{what} was opened by process {process}, of which this is a forked child: open the store here, once it is "
            "closed there (one process at a time has it), or start children by spawn and not by fork "
            "(multiprocessing.get_context('spawn')) and open it there"
        )


class StoreFormatError(StoreError):
    """The directory holds something that this version does not read."""


class NotABackupError(StoreError):
    """A directory is not what a backup is written to, or a store is made of: it holds something else."""


class StoreUnsafeError(StoreError):
    """The store is not ours alone: others own it or may write to it, or something in it leads elsewhere.

    That is a link, a pipe, a device, a journal that names another file.  Nothing was changed; the message says what is
    in the way, and how to go on.
    """


class StoreNotClosedError(StoreError):
    """The store was not closed by who wrote it last, and was to be opened for reading only."""


class StoreFullError(StoreError):
    """The disk is full (or over quota), or no file can be opened on it; nothing of this write is on disk."""


class StoreUnreachableError(StoreError):
    """The database of a store cannot be reached: nothing was written, and it goes on when it answers again."""


class StoreFailedError(StoreError):
    """The disk failed; the store writes no more until it is opened again, reads go on."""


class AppendOutcomeUnknown(StoreFailedError):
    """The disk failed while this append was synced: after a restart it may be there or not."""


class StoreDamagedError(StoreError):
    """Bytes read from disk are not the ones that were written."""


class KeyLockedError(StoreError):
    """A writer's seed is protected by a passphrase that was not given; all but its appends works without.

    ``open_store(..., passphrase=...)`` or ``await store.unlock(...)``; for the command ``--passphrase-file``, the
    variable ``GOSSIPLOG_PASSPHRASE``, or ``gossiplog key unlock`` while a node has the store.
    """


class SignerError(StoreError):
    """Who keeps the key of a writer (an ssh-agent) did not sign: it is not there, locked, without that key, does not
    answer, or what it returned is no signature.  Nothing was written; all but that writer's appends works."""


class WrongPassphraseError(StoreError):
    """A passphrase is not the one of the store's seeds; nothing was unlocked or changed."""


class EntryNotHeldError(StoreError):
    """The store does not hold entry ``seq`` of ``author``; ``store.clock`` says how far it holds that log."""

    def __init__(self, author: bytes, shown: str, seq: int, held: int) -> None:
        held_words = f"its log is held up to entry {held}" if held else "nothing of it is held"
        super().__init__(f"entry {seq} of {shown} is not held: {held_words}")
        self.author = author
        self.seq = seq


class StoreCopiedError(StoreError):
    """The store was moved, copied or restored from a backup; appending could fork its logs.

    Reading works, and replication does.  :meth:`gossiplog.Node.recover` gets newer own entries from a peer and then
    allows appending; ``gossiplog recover`` is the command for that.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"store {path} was moved, copied or restored ({reason}), and appending here could fork its logs: "
            "get the newest own entries first with `gossiplog recover PEER`, or say with `gossiplog recover --alone` "
            "that no other copy is in use and nobody has newer ones"
        )
        self.path = path
        self.reason = reason


class NetworkMismatchError(StoreError):
    """The store belongs to another network."""


class SharedStoreError(StoreError):
    """Several relays share the store, and this is not done there; the message says what to do instead."""


class LostRaceError(StoreError):
    """Another relay that shares the store was first with ``authors`` and the values ``keys``, or it is not known
    whether a commit with them was done: look at them, and do it again on top of that."""

    def __init__(self, authors: tuple[bytes, ...], keys: tuple[str, ...] = ()) -> None:
        super().__init__(f"another relay was first with {len(authors)} authors and {len(keys)} values")
        self.authors = authors
        self.keys = keys


class StoreWentBackError(StoreError):
    """A store that relays share was put back to an earlier state (a failover, a backup): it is to be opened again, and
    peers bring back what it lost."""


class ForkedWriterError(StoreError):
    """A local writer's log is forked; it can never be appended to again."""

    def __init__(self, author: str) -> None:
        super().__init__(f"the log of {author} is forked; use another writer")


class UnknownWriterError(StoreError):
    """No writer of that name or author in this store."""


class ControlError(StoreError):
    """A node has the store, and its control socket cannot be used: it speaks another version, or says what makes no
    sense, or is busy with others."""


class NodeGoneError(ControlError):
    """The node that has the store stopped, or was stopped, in the middle: what was asked may be done or not.

    Nothing that was acknowledged is lost.  Ask again: the store is free, or another node has it.  ``nothing_done``:
    what was asked did not reach the node.
    """

    nothing_done = False


# -- your views --------------------------------------------------------------------------------------------------


class ViewError(GossiplogError):
    """Something about a view, which the message names; the store and other views go on."""


class ViewFailedError(ViewError):
    """A view stopped: what it has applied stays, and can be asked for.

    ``view`` is its name, ``author`` and ``seq`` the entry that it did not get over, if it was one; the cause is what
    was raised.  ``Store.view`` with a view of that name tries again from where it stopped.
    """

    def __init__(self, view: str, reason: str, author: bytes | None = None, seq: int = 0) -> None:
        super().__init__(f"view {view} stopped: {reason}")
        self.view = view
        self.author = author
        self.seq = seq


class ViewQueryError(ViewError, ValueError):
    """A view cannot be asked that: it is no SQL, names what is not there, would change something, or takes too long."""


class SearchUnavailableError(ViewError):
    """The SQLite that Python uses here was built without FTS5, its full-text search."""


# -- your node ---------------------------------------------------------------------------------------------------


class WrongCallerError(GossiplogError, RuntimeError):
    """Called where it could only hang: in another thread than the reactor's, after its end, or awaited on a loop that
    is not its."""


class NodeError(GossiplogError):
    """Something about a running node."""


class EndpointError(NodeError):
    """An endpoint string is wrong or the address cannot be used."""


class MissingExtraError(NodeError):
    """What was asked for needs a package that is not installed; the message says what to install."""


class NodeStoppedError(NodeError):
    """The node was stopped."""


class OneWayError(NodeError):
    """No entry may go between this node and a peer: both only pull, or both only push."""
