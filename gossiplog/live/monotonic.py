"""A reactor whose time only goes forward.

Responsible for: :func:`steady`; :func:`worked`, which clock tells how much was done.
Must not know: what time is needed for.
Invariant: timers set before and after fire when they should; a reactor with a clock of its own keeps it.

Twisted's reactors measure time by the clock on the wall.  When that is set back by an hour, every timer is an hour
late: no PING, no dialling, and a ban that lasts an hour longer.  When it is set forward, everybody is late at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.python import runtime


def elapsed() -> float:
    """Seconds by a clock that nobody sets; it counts those in which the machine slept, where there is such a clock.

    After a sleep connections are probably dead, and should be found to be at once.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def steady(reactor: Any) -> None:
    """Let ``reactor.seconds()`` start from what it says now and go on as :func:`elapsed` does.

    For the whole process, since connecting and whatever else Twisted waits for would be late too.  Nothing happens
    to a reactor that does not go by the wall clock.
    """
    if reactor.seconds is runtime.seconds:
        began = reactor.seconds() - elapsed()
        reactor.seconds = lambda: began + elapsed()


def worked(reactor: Any) -> Callable[[], float]:
    """A clock of the seconds for which this thread worked; where time is not real, that of ``reactor``.

    While the machine, or another thread, is busy with something else, time goes by in which nobody did anything.
    """
    return time.thread_time if isinstance(reactor, ReactorBase) else reactor.seconds
