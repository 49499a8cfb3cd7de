"""Which process has a store: the one that opened it, and no child of that.

Responsible for: telling whether this is that process; letting a child give up what it inherited, before it does
anything else.
Must not know: what is inherited, beyond how to give it up.
Invariant: whatever a child does with what its parent opened (use it, close it, drop it, end), the parent and its files
notice nothing.  A child holds no lock of its parent, nor one of SQLite's that nobody would ever release.

A child by ``fork`` has copies of everything, of which only one thread goes on.  Its SQLite believes to have the lock
and the write-ahead log, which it would take away by closing the connection.  So in a child no connection is ever closed
or collected.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from gossiplog.errors import StoreInheritedError
from gossiplog.limits import FORK_WAIT_SECONDS


class Holder(Protocol):
    """Has something that a child must not keep or let go of."""

    def give_up(self) -> None:
        """This is a child by now: close what is safe to close, and leave the rest alone for ever."""


class Home:
    """I am the process in which something was opened, called ``what``; it is used in no other."""

    __slots__ = ("_forks", "_pid", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()
        self._forks = _forks

    @property
    def is_here(self) -> bool:
        """Whether this process is the one."""
        return self._pid == os.getpid() and self._forks == _forks  # a late grandchild may get the same number

    def check(self) -> None:
        """Raise :class:`StoreInheritedError` in a child."""
        if not self.is_here:
            raise StoreInheritedError(self._what, self._pid)


def hold(holder: Holder) -> AbstractContextManager[bool]:
    """Let ``holder`` give up in children, as long as somebody has it.

    Returns a lock, to be held where another thread may be anywhere in SQLite, which has mutexes of the whole process:
    whoever forks waits for it.
    """
    lock = _holders[holder] = threading.RLock()
    return lock


def leak(thing: object) -> None:
    """Never let ``thing`` be collected in this process, not even when the interpreter ends."""
    _leaked.append(thing)
    if _incref is not None:
        _incref(thing)


_holders: Final[WeakKeyDictionary[Holder, Any]] = WeakKeyDictionary()
_forking: Final = threading.local()
_leaked: Final[list[object]] = []
_forks = 0
_incref: Any = None


def _before_fork() -> None:
    """Wait for threads in SQLite; import what a child needs, where an import that was cut off would be waited for."""
    global _incref
    if _holders and _incref is None:
        with suppress(ImportError):
            import ctypes

            _incref = ctypes.pythonapi.Py_IncRef
            _incref.argtypes, _incref.restype = [ctypes.py_object], None
    _forking.held = held = []
    for lock in tuple(_holders.values()):
        if lock.acquire(timeout=FORK_WAIT_SECONDS):
            held.append(lock)


def _in_parent() -> None:
    held = _forking.held
    while held:
        held.pop().release()


def _in_child() -> None:
    global _forks
    _forks += 1
    _forking.held.clear()
    for holder in tuple(_holders):
        with suppress(Exception):  # the others must all the same
            holder.give_up()
    _holders.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
