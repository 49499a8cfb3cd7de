"""Exceptions that end a program, raised amid what must go on: SystemExit, KeyboardInterrupt, and their kind.

Responsible for: telling them from failures, and raising them again where they break nothing.
Must not know: who raised them.
Invariant: nobody's state is left half done by one, and none is swallowed here.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.python.failure import Failure


def pass_on(reactor: Any) -> bool:
    """Tell whether what is being handled ends a program; it is then raised again, in a turn of the reactor of its own.

    An asyncio loop hands it to whoever runs the loop.  Twisted's other reactors log it;
    :func:`gossiplog.foreground.foreground` ends the program with it.
    """
    if isinstance(sys.exception(), Exception):
        return False
    reactor.callLater(0, Failure().raiseException)
    return True
