"""The signs by which a store knows that it is still the one that was written here.

Responsible for: reading the signs, the stamp that remembers them, and what a difference means in words.
Must not know: the database's tables; what follows from a difference (``custody``).
Invariant: a plain reboot, a remount or a move within the file system is no difference.  So ``st_dev`` is never looked
at, because it is given anew at each boot; and a sign that cannot be read on this system says nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
from contextlib import suppress
from typing import Final, NamedTuple

import msgpack

from gossiplog.log.keys import tag_for
from gossiplog.store.copy_guard.birth import birth
from gossiplog.store.copy_guard.generation import GenerationRecord

MACHINE_ID: Final = "/etc/machine-id"
"""Made once per installation, of which it is the name; copied disk images get one of their own at their first boot."""

ATTRIBUTE: Final = "user.gossiplog.token"

TOKEN_BYTES: Final = 16

MAX_GENERATION: Final = 2**63
"""More than anybody opens a store; the next one still fits the eight bytes of a mark."""

_OLDER: Final = "its database is older than its files"

_MACHINE_TAG: Final = tag_for("machine")


class Signs(NamedTuple):
    """What is seen of a store now: two inodes, the birth of the database file, the machine's id (or ``b""``), and the
    mark at the database file.

    ``born`` is 0 where the file system does not say it; ``mark`` is ``b""`` where the file has none, ``None`` where it
    keeps none.
    """

    database: int
    directory: int
    machine: bytes
    mark: bytes | None
    born: int = 0


class Stamp(NamedTuple):
    """What a store remembers of itself, in its database.

    ``machine`` is a hash, with the token, of the machine's id: two stores of one machine cannot be told by it.
    ``marked`` says whether the file could be given its mark; ``generation`` counts how often the store was opened.
    """

    token: bytes
    generation: int
    database: int
    directory: int
    machine: bytes
    marked: bool
    born: int

    def dump(self) -> bytes:
        """Return the stamp as bytes."""
        dumped: bytes = msgpack.packb(tuple(self))
        return dumped

    @classmethod
    def load(cls, dumped: bytes | None) -> Stamp | None:
        """Return the stamp in bytes, ``None`` if it is not one."""
        try:
            stamp = cls(*msgpack.unpackb(dumped, max_array_len=16, max_bin_len=64))
        except (ValueError, TypeError, msgpack.UnpackException):
            return None
        kinds = (bytes, int, int, int, bytes, bool, int)
        if tuple(map(type, stamp)) != kinds or len(stamp.token) != TOKEN_BYTES:
            return None
        return stamp if 0 < stamp.generation < MAX_GENERATION else None


def read_signs(database: str) -> Signs:
    """Look at the database file, its directory and the machine."""
    return Signs(
        os.stat(database).st_ino,
        os.stat(os.path.dirname(database)).st_ino,
        machine_id(),
        read_mark(database),
        birth(database),
    )


def stamped(signs: Signs, token: bytes, generation: int) -> Stamp:
    """Return the stamp of a store with these signs, read after its file was given its mark."""
    marked = signs.mark == mark(token, generation)
    machine = hash_machine(signs.machine, token)
    return Stamp(token, generation, signs.database, signs.directory, machine, marked, signs.born)


def difference(stamp: Stamp, signs: Signs, ledger: GenerationRecord | None) -> str:
    """Return in words why this is not the store that was stamped, ``""`` if it is."""
    machine = hash_machine(signs.machine, stamp.token)
    if machine and stamp.machine and machine != stamp.machine:
        return "this is another machine"
    if signs.database != stamp.database or (signs.born and stamp.born and signs.born != stamp.born):
        return "its database is another file than the one written here"
    if signs.directory != stamp.directory:
        return "its directory is another one"
    if stamp.marked and signs.mark is not None:
        if signs.mark[:TOKEN_BYTES] != stamp.token:
            return "its database has lost the mark that copying does not keep"
        if signs.mark > mark(stamp.token, stamp.generation):
            return _OLDER
    if ledger is None:
        return "the file that counts its generations is missing"
    if not ledger.generations:
        return "the file that counts its generations is damaged"
    if ledger.token != stamp.token:
        return "its database and its files are of two stores"
    if stamp.generation not in ledger.generations:
        return (
            _OLDER if stamp.generation < max(ledger.generations) else "its database is newer than its files"
        )
    if not ledger.is_itself:
        return "the file that counts its generations was written over with another one"
    return ""


def hash_machine(machine: bytes, token: bytes) -> bytes:
    """Return what is stored of a machine's id, ``b""`` for an unknown one."""
    return hashlib.sha256(_MACHINE_TAG + token + machine).digest()[:16] if machine else b""


def machine_id(path: str = "") -> bytes:
    """Return the machine's id, ``b""`` where there is none (yet): other systems, some containers, the first boot."""
    try:
        with open(path or MACHINE_ID, "rb") as file:
            content = file.read(64).strip()
    except OSError:
        return b""
    return content if re.fullmatch(rb"[0-9a-f]{32}", content) else b""


def mark(token: bytes, generation: int) -> bytes:
    """Return the mark of a database file, which stays when its content is overwritten; a later one is greater."""
    return token + generation.to_bytes(8, "big")


if sys.platform == "linux":

    def read_mark(file: str) -> bytes | None:
        """Return the mark at a file: ``b""`` if it has none, ``None`` if the file system keeps none."""
        try:
            return os.getxattr(file, ATTRIBUTE, follow_symlinks=False)
        except OSError as error:
            return b"" if error.errno == errno.ENODATA else None

    def write_mark(file: str, content: bytes) -> None:
        """Mark a file, where that is possible."""
        with suppress(OSError):
            os.setxattr(file, ATTRIBUTE, content, follow_symlinks=False)

else:

    def read_mark(file: str) -> bytes | None:
        """Return ``None``: Python knows extended attributes on Linux only."""
        return None

    def write_mark(file: str, content: bytes) -> None:
        """Do nothing: Python knows extended attributes on Linux only."""
