"""Between a store and its disk: every call that a store makes, named, before it is made; and ways to spoil it.

Responsible for: a layer below SQLite (a VFS, through ``ctypes``, in the library that ``sqlite3`` uses), one below the
``os`` functions that a store calls, and one above SQLite that sees the statements.
Must not know: what a store does, or what a test wants of it.
Invariant: without a hook that interferes everything works as without the shim; ``removed`` leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from enum import Enum
from typing import Any, NamedTuple

_sqlite3 = __import__("_sqlite3")

POINTER = ctypes.sizeof(ctypes.c_void_p)
VFS_BYTES = 16 + 19 * POINTER
METHODS_BYTES = 19 * POINTER
OPEN_PLACE, NAME_PLACE = 16 + 3 * POINTER, 16 + POINTER

IOERR = 10
READ, SHORT, WRITE, SYNC, TRUNCATE = (IOERR | code << 8 for code in (1, 2, 3, 4, 6))
FULL, OK = 13, 0


class Fault(Enum):
    """What happens to one call."""

    FAILS = "it is not done, and says so"
    FULL = "it is not done, for want of room"
    HALF = "half of it is done, and it says that it failed"
    DONE = "it is done, and says that it failed"


class Point(NamedTuple):
    """A call on its way to the disk: what is done to which file (its name without the directory)."""

    call: str
    file: str

    def __str__(self) -> str:
        return f"{self.call} {self.file}"


Hook = Callable[[Point], Fault | None]
"""Asked before each call."""

_METHODS: dict[str, tuple[int, Any, int]] = {
    "read": (2, ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2, ctypes.c_int, ctypes.c_int64), READ),
    "write": (3, ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2, ctypes.c_int, ctypes.c_int64), WRITE),
    "truncate": (4, ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64), TRUNCATE),
    "sync": (5, ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int), SYNC),
}
"""Place in ``sqlite3_io_methods``, type, and the result code of a failure."""

_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int, ctypes.c_void_p)


class DiskShim:
    """I am a VFS over the default one, for every connection that is opened while I am installed."""

    _kept: list[DiskShim] = []  # SQLite may come back to one as long as a connection is open

    def __init__(self, hook: Hook) -> None:
        """Ask ``hook`` before each read, write, truncate and sync of a named file."""
        self.hook = hook
        self._kept.append(self)
        self._library = _library()
        self._original = self._library.sqlite3_vfs_find(None)
        self._files: dict[int, str] = {}
        self._tables: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._name = ctypes.create_string_buffer(b"gossiplog-shim-%d" % id(self))
        self._vfs = ctypes.create_string_buffer(ctypes.string_at(self._original, VFS_BYTES), VFS_BYTES)
        self._open = _OPEN(self._opened)
        self._open_original = _OPEN(_pointer(self._original + OPEN_PLACE))
        _set_pointer(ctypes.addressof(self._vfs) + NAME_PLACE, ctypes.addressof(self._name))
        _set_pointer(
            ctypes.addressof(self._vfs) + OPEN_PLACE, ctypes.cast(self._open, ctypes.c_void_p).value or 0
        )

    def install(self) -> None:
        """Become the default."""
        self._library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1)

    def remove(self) -> None:
        """Be there for open connections only."""
        self._library.sqlite3_vfs_unregister(ctypes.addressof(self._vfs))
        self._library.sqlite3_vfs_register(self._original, 1)

    def _opened(self, _: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code: int = self._open_original(self._original, name, file, flags, out)
        if code == OK:
            path = os.fsdecode(ctypes.string_at(name)) if name else ""
            self._files[file] = os.path.basename(path)
            methods = _pointer(file)
            if methods not in self._tables:
                self._tables[methods] = self._table(methods)
            _set_pointer(file, ctypes.addressof(self._tables[methods][0]))
        return code

    def _table(self, methods: int) -> tuple[Any, dict[str, Any]]:
        """Copy a table of methods with ours in it; both the copy and what is in it have to be kept."""
        table = ctypes.create_string_buffer(ctypes.string_at(methods, METHODS_BYTES), METHODS_BYTES)
        ours = {}
        for call, (place, kind, code) in _METHODS.items():
            original = kind(_pointer(methods + place * POINTER))
            ours[call] = kind(self._method(call, original, code))
            address = ctypes.cast(ours[call], ctypes.c_void_p).value or 0
            _set_pointer(ctypes.addressof(table) + place * POINTER, address)
        return table, ours

    def _method(self, call: str, original: Any, code: int) -> Callable[..., int]:
        def method(file: int, *arguments: Any) -> int:
            fault = self.hook(Point(call, self._files.get(file, "")))
            if fault is Fault.DONE:
                original(file, *arguments)
            elif fault is Fault.HALF and call == "write":
                content, size, place = arguments
                original(file, content, size // 2, place)
            elif fault is None:
                return int(original(file, *arguments))
            return FULL if fault is Fault.FULL and call == "write" else code

        return method


class OsShim:
    """I stand before the functions of ``os`` by which a store changes its directory."""

    def __init__(self, hook: Hook) -> None:
        """Ask ``hook`` before each."""
        self.hook = hook
        self._names: dict[int, str] = {}
        self._originals: dict[str, Any] = {}

    def install(self) -> None:
        """Take their places."""
        for name in ("open", "mkdir", "fsync", "rename", "unlink", "pwrite", "setxattr"):
            original = getattr(os, name, None)
            if original is not None:
                self._originals[name] = original
                setattr(os, name, self._function(name, original))

    def remove(self) -> None:
        """Give them back."""
        for name, original in self._originals.items():
            setattr(os, name, original)

    def _function(self, name: str, original: Any) -> Callable[..., Any]:
        def function(target: Any, *arguments: Any, **options: Any) -> Any:
            file = self._names.get(target, "") if isinstance(target, int) else os.path.basename(target)
            fault = self.hook(Point(name, os.fsdecode(file)))
            if fault is Fault.DONE or fault is None:
                result = original(target, *arguments, **options)
                if name == "open":
                    self._names[result] = os.fsdecode(file)
                if fault is None:
                    return result
            elif fault is Fault.HALF and name == "pwrite":
                original(target, arguments[0][: len(arguments[0]) // 2], *arguments[1:])
            raise OSError(28 if fault is Fault.FULL else 5, "a shim was asked to fail")

        return function


class StatementShim(sqlite3.Connection):
    """I am a connection that asks ``hook`` before and after each statement that changes something."""

    hook: Callable[[Point], object] = staticmethod(lambda point: None)  # type: ignore[assignment]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run one statement."""
        return self._between(sql, lambda: super(StatementShim, self).execute(sql, *parameters))

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run it several times."""
        return self._between(sql, lambda: super(StatementShim, self).executemany(sql, *parameters))

    def _between(self, sql: str, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        name = _statement(sql)
        if name is None:
            return run()
        self.hook(Point("before", name))
        result = run()
        self.hook(Point("after", name))
        return result


def _statement(sql: str) -> str | None:
    """What a statement is called; None for one that only reads or sets."""
    words = sql.replace("(", " ").split()
    if words[0] in ("BEGIN", "COMMIT", "ROLLBACK", "VACUUM", "CREATE"):
        return words[0]
    if words[0] in ("INSERT", "DELETE", "UPDATE"):
        return f"{words[0]} {next(word for word in words[1:] if word.islower())}"
    return "checkpoint" if words[1:2] and words[1].startswith("wal_checkpoint") else None


@contextmanager
def between(hook: Hook) -> Iterator[None]:
    """Let ``hook`` see and spoil what goes to the disk."""
    disk, calls = DiskShim(hook), OsShim(hook)
    disk.install()
    calls.install()
    try:
        yield
    finally:
        calls.remove()
        disk.remove()


def usable() -> bool:
    """Whether the shim comes between ``sqlite3`` and the disk on this system."""
    try:
        _library()
    except (OSError, AttributeError):
        return False
    seen: list[Point] = []
    shim = DiskShim(lambda point: seen.append(point))
    shim.install()
    try:
        with closing(sqlite3.connect("/dev/null")) as connection:
            connection.execute("PRAGMA user_version").fetchall()
    except sqlite3.Error:
        pass
    finally:
        shim.remove()
    return bool(seen)


def _library() -> Any:
    """The library that the module ``sqlite3`` uses, whatever it is linked to."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = ctypes.c_void_p
    for function in (library.sqlite3_vfs_register, library.sqlite3_vfs_unregister):
        function.argtypes = [ctypes.c_void_p, *([ctypes.c_int] if "un" not in function.__name__ else [])]
    return library


def _pointer(address: int) -> int:
    return ctypes.c_void_p.from_address(address).value or 0


def _set_pointer(address: int, value: int) -> None:
    ctypes.c_void_p.from_address(address).value = value
