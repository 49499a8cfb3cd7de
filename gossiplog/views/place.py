"""Where a store keeps what is derived from its entries: the directory ``views`` inside of it.

Responsible for: making that directory when it is first needed, opening and deleting the SQLite files in it.
Must not know: what is derived, or from what; threads; the files of the store itself.
Invariant: all of it can be deleted at any time while the store is closed.  No link is followed, and what another store
left here, or whoever made this one elsewhere, is deleted and never read.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Final
from urllib.parse import quote

from gossiplog.errors import InvalidValueError, StoreUnsafeError
from gossiplog.store.directory import BESIDE, MAX_PATH_BYTES, VIEWS
from gossiplog.store.folder import Folder, open_folder, store_error
from gossiplog.store.owning_process import leak
from gossiplog.views.derived import Derived, Guard

SUFFIX: Final = ".sqlite"

MARK: Final = "of-store"
"""The file with the token of the store that all others in the directory are derived from; no copy has that token."""

_forsaken: Final[set[tuple[int, int]]] = set()
"""Files that a parent had open when this process was forked: SQLite takes them for its own in here."""


class Place:
    """I open files of derived state for one store, in one thread; they are closed with me.

    Without a ``directory`` they are in memory, and end with me.
    """

    def __init__(self, directory: str | None, token: bytes = b"") -> None:
        """Nothing is made before something is opened.  ``token`` is of the store at ``directory``, and of no copy."""
        self._directory = directory
        self._token = token.hex().encode()
        self._made: Folder | None = None
        self._open: dict[str, Derived] = {}

    @property
    def is_on_disk(self) -> bool:
        """Whether what is derived outlasts the process."""
        return self._directory is not None

    def open(self, name: str, schema: str, guard: Guard | None = None) -> Derived:
        """Open the file ``NAME.sqlite``, made with the tables of ``schema`` if there is none.

        One that is damaged, or was made with other words of ``schema``, is deleted and made anew; ``is_new`` says so.
        ``guard`` is SQLite's authorizer for it.

        :raises sqlite3.Error: ``schema`` is no SQL, or the disk fails.
        :raises StoreError: something else is in the way, which the message names.
        """
        derived = self._derived(name, schema, guard)
        derived.open()
        return derived

    def look(self, name: str) -> Derived | None:
        """Open a file that is there, whatever tables it has, only to read it; None if it is not to be used."""
        derived = self._derived(name, "", None)
        return derived if derived.look() else None

    def names(self) -> list[str]:
        """Return the names of the files that are there, sorted."""
        if self._directory is None:
            return sorted(self._open)
        found = [name for name in self._folder().names() if name.endswith(SUFFIX)]
        return sorted(name.removesuffix(SUFFIX) for name in found)

    def size(self, name: str) -> int:
        """Return the bytes of a file with what SQLite keeps beside it; 0 if there is none."""
        if self._directory is None:
            return 0
        folder = self._folder()
        return sum(folder.size(name + SUFFIX + end) or 0 for end in ("", *BESIDE))

    def remove(self, name: str) -> None:
        """Delete a file that is not open, if there is one."""
        if self._directory is not None:
            _File(self._folder(), name).delete()

    def take(self, directory: str, name: str) -> None:
        """Move in a file that was made in another place, and is open nowhere, instead of what has its name here.

        :raises StoreError: there is none.
        """
        try:
            made = existing(directory)
            if made is None:
                raise StoreUnsafeError(f"{directory} has no directory {VIEWS}")
            with closing(made):
                if made.size(name + SUFFIX) is None:
                    raise StoreUnsafeError(f"{made.path} has no file {name}{SUFFIX}")
                self.remove(name)
                made.move(name + SUFFIX, self._folder())
        except OSError as error:
            raise store_error(error, directory) from error

    def close(self) -> None:
        """Close what is open; a second call does nothing."""
        for derived in tuple(self._open.values()):
            derived.close()
        made, self._made = self._made, None
        if made is not None:
            made.close()

    def abandon(self) -> None:
        """Nothing of what is being done now is to be kept; from any thread."""
        for derived in tuple(self._open.values()):
            derived.abandon()

    def give_up(self) -> None:
        """In a child by fork: what is open is the parent's; closing it here would take its journal away."""
        for name, derived in self._open.items():
            for connection in derived.connections():
                leak(connection)
            if self._made is not None and (found := _inode(self._made.file(name + SUFFIX))) is not None:
                _forsaken.add(found)
        self._open = {}

    def _derived(self, name: str, schema: str, guard: Guard | None) -> Derived:
        if name in self._open:
            raise RuntimeError(f"the derived file {name} is open already")
        folder = None if self._directory is None else self._folder()
        file = _Memory(name) if folder is None else _File(folder, name)

        def closed() -> None:
            self._open.pop(name, None)

        derived = self._open[name] = Derived(file, schema, closed, guard)
        return derived

    def _folder(self) -> Folder:
        """Return the directory, made if it is not there, with nothing in it that is not derived from this store."""
        if self._made is None:
            assert self._directory is not None
            try:
                self._made = prepared(self._directory, self._token)
            except OSError as error:
                raise store_error(error, os.path.join(self._directory, VIEWS)) from error
        return self._made


def existing(directory: str) -> Folder | None:
    """Return the directory of derived state of a store, ``None`` if there is none; the caller closes it.

    :raises StoreUnsafeError: it is not ours alone, or a link.
    """
    store = open_folder(directory)
    try:
        store.guard()
        return Folder(VIEWS, store) if store.holds(VIEWS) else None
    finally:
        store.close()


def prepared(directory: str, token: bytes) -> Folder:
    """Make the directory of derived state, or empty one that is derived from another store."""
    store = open_folder(directory)
    try:
        store.guard()
        store.make_folder(VIEWS)
    finally:
        store.close()
    folder = existing(directory)
    assert folder is not None
    try:
        if _marked(folder) != token:
            empty(folder)
            with open(folder.draft(MARK), "wb") as file:
                file.write(token)
            folder.put(MARK)
    except BaseException:
        folder.close()
        raise
    return folder


def empty(folder: Folder) -> None:
    """Delete everything; what links lead to stays."""
    for name in [*folder.names()]:
        try:
            folder.remove(name)
        except OSError as error:
            raise StoreUnsafeError(
                f"{folder.file(name)} is in the way ({error.strerror}): everything in {folder.path} can be computed "
                "again, so remove it"
            ) from error


class _File:
    """I am one file in the directory."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name + SUFFIX
        self.path = folder.file(self._name)

    def connect(self, read_only: bool) -> sqlite3.Connection:
        """Return another connection; with ``read_only`` to a file that is there and open."""
        if len(os.fsencode(self.path)) > MAX_PATH_BYTES:
            raise InvalidValueError(
                f"{self.path} is a longer path than SQLite opens; give the store a shorter one"
            )
        if not read_only:
            self._look()
        mode = "ro" if read_only else "rw"
        return sqlite3.connect(
            f"file:{quote(os.fsencode(self.path))}?mode={mode}", isolation_level=None, uri=True
        )

    def delete(self) -> None:
        """Delete the file and what SQLite keeps beside it."""
        try:
            for end in (*BESIDE, ""):
                self._folder.remove(self._name + end)
        except OSError as error:
            raise store_error(error, self.path) from error

    def _look(self) -> None:
        """Make the file, if it is not there; raise for what is no file of this directory, before SQLite follows it."""
        try:
            for end in (*BESIDE, ""):
                self._folder.size(self._name + end)
            if _inode(self.path) in _forsaken:
                self.delete()
            if not self._folder.holds(self._name):
                os.close(self._folder.create(self._name))
        except OSError as error:
            raise store_error(error, self.path) from error


class _Memory:
    """I am one file, of a store that keeps nothing on disk or may not change it."""

    def __init__(self, name: str) -> None:
        self.path = f"{name}, in memory"

    def connect(self, read_only: bool) -> sqlite3.Connection | None:
        """Return the one connection that there is."""
        return None if read_only else sqlite3.connect(":memory:", isolation_level=None)

    def delete(self) -> None:
        """It is gone with its connection."""


def _marked(folder: Folder) -> bytes:
    """Return the token that the directory has, ``b""`` if it has none."""
    try:
        with open(folder.open(MARK), "rb") as file:
            return file.read(256)
    except FileNotFoundError:
        return b""


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
