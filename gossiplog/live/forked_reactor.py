"""What a reactor shares with a child by fork, and must not: its epoll, and the pipes that wake it.

Responsible for: giving a child its own, before it does anything else; letting it go of its parent's sockets.
Must not know: what a reactor waits for.
Invariant: whatever a child does with the reactor that it inherited (runs it, closes it, ends), its parent's reactor
hears of everything that it waits for.

An epoll is no copy in a child but the same one: what a child takes out of it, as a loop does with all it has when it
is closed, nobody tells the parent of any more.  Of a pipe that wakes, a child would read what was meant for the parent.
Neither Twisted nor asyncio looks after that; what they keep for themselves is looked for here by its name.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from twisted.internet.interfaces import IReactorFDSet

from gossiplog.store.owning_process import hold

_reactors: Final[WeakKeyDictionary[Any, Inherited]] = WeakKeyDictionary()


def separate(reactor: Any) -> None:
    """Give children by fork a ``reactor`` of their own, as long as it is there."""
    if IReactorFDSet.providedBy(reactor) and reactor not in _reactors:
        _reactors[reactor] = Inherited(reactor)


class Inherited:
    """I am a reactor in a child."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = ref(reactor)
        hold(self)

    def give_up(self) -> None:
        """Put others in the places of what is the parent's too, with the same numbers."""
        reactor = self._reactor()
        if reactor is None:
            return
        _reactors.pop(reactor)
        loop = getattr(reactor, "_asyncioEventloop", None)
        _separate_pipe([_number(getattr(loop, name, None)) for name in ("_ssock", "_csock")], _socketpair)
        for waker in reactor.getReaders():
            _separate_pipe([getattr(waker, name, -1) for name in ("i", "o")], os.pipe)
        epoll = getattr(loop, "_selector", None) or getattr(reactor, "_poller", None)
        if hasattr(select, "epoll") and (number := _number(epoll)) >= 0:
            _separate_epoll(number, _watched(reactor, epoll))


def let_go(reactor: Any, sockets: Iterable[Any]) -> None:
    """In a child: have nothing more to do with ``sockets`` of the parent, who notices nothing.

    Their numbers stay taken: whoever has them may write to them, or close them, once more.
    """
    numbers = {number for number in map(_number, sockets) if number >= 0}
    if IReactorFDSet.providedBy(reactor):
        for reader in reactor.getReaders():
            if _number(reader) in numbers:
                reactor.removeReader(reader)
        for writer in reactor.getWriters():
            if _number(writer) in numbers:
                reactor.removeWriter(writer)
    for number in numbers:
        _replace([number], [os.open(os.devnull, os.O_RDWR)])


def _number(file: Any) -> int:
    """The descriptor of what may be a file, or not open any more: -1."""
    try:
        number = file.fileno()
    except (AttributeError, OSError, ValueError):
        return -1
    return number if isinstance(number, int) else -1


def _socketpair() -> tuple[int, int]:
    first, second = socket.socketpair()
    return first.detach(), second.detach()


def _separate_pipe(numbers: Sequence[int], make: Callable[[], tuple[int, int]]) -> None:
    if min(numbers) >= 0:
        _replace(numbers, make())


def _separate_epoll(number: int, watched: Iterable[tuple[int, int]]) -> None:
    with select.epoll() as epoll:
        for fd, events in watched:
            with suppress(OSError):  # it was closed, or is a file, which was never in it
                epoll.register(fd, events)
        os.dup2(epoll.fileno(), number, inheritable=False)


def _watched(reactor: Any, epoll: Any) -> Iterator[tuple[int, int]]:
    """What is waited for: descriptors with events."""
    if hasattr(epoll, "get_map"):  # asyncio's selector
        for key in epoll.get_map().values():
            yield (
                key.fd,
                (key.events & EVENT_READ and select.EPOLLIN) | (key.events & EVENT_WRITE and select.EPOLLOUT),
            )
    else:
        readers, writers = set(map(_number, reactor.getReaders())), set(map(_number, reactor.getWriters()))
        for fd in readers | writers:
            yield fd, (fd in readers and select.EPOLLIN) | (fd in writers and select.EPOLLOUT)


def _replace(numbers: Sequence[int], others: Sequence[int]) -> None:
    """Let ``others`` have these numbers, blocking or not as what had them before."""
    for number, other in zip(numbers, others, strict=True):
        os.set_blocking(other, os.get_blocking(number))
        os.dup2(other, number, inheritable=False)
        os.close(other)
