"""Exceptions that end a program, raised amid what must go on: SystemExit, KeyboardInterrupt, and their kind.

Responsible for: telling them from failures, and raising them again where they break nothing.
Must not know: who raised them.
Invariant: nobody's state is left half done by one, and none is swallowed here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

from twisted.python.failure import Failure

from gossiplog.live.logger import NodeLog

_log = NodeLog()

_ending: WeakSet[Any] = WeakSet()


def pass_on(reactor: Any, error: BaseException | None = None) -> bool:
    """Tell whether what is being handled, or ``error``, ends a program; it is then raised again, in a turn of the
    reactor of its own.

    An asyncio loop hands it to whoever runs the loop: the first one, since what follows must not cut short the end that
    began, and nothing else than these two.  Twisted's other reactors log it;
    :func:`gossiplog.app.foreground.foreground` ends the program with it.
    """
    error = error or sys.exception()
    if error is None or isinstance(error, Exception):
        return False
    raise_again = Failure(error).raiseException
    loop = getattr(reactor, "_asyncioEventloop", None)
    if loop is not None:
        if loop in _ending or not isinstance(error, SystemExit | KeyboardInterrupt):
            return False
        _ending.add(loop)
        loop.call_soon(raise_again)  # what the reactor calls later, it logs
    else:
        reactor.callLater(0, raise_again)
    return True


def call_each(reactor: Any, listeners: Iterable[Callable[..., object]], *about: Any) -> None:
    """Call everyone; what one of them raises reaches no other."""
    for listener in tuple(listeners):
        try:
            listener(*about)
        except BaseException:
            if not pass_on(reactor):
                _log.failure("a listener failed", event="listener_failed")
