"""Programs in the foreground: an async ``main`` that Ctrl-C stops in order and that fails in one line.

Responsible for: :func:`foreground` for ``twisted.internet.task.react``, :func:`first_of`.
Must not know: what the program does.
Invariant: when the reactor stops, ``main`` was cancelled and everything in its ``finally`` blocks is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

from gossiplog.app.printing import open_standard_files, report

SWITCH_SECONDS = 0.0005
"""How long one thread keeps the interpreter while another waits for it.  A store's thread needs it for some
microseconds a few times in each commit; with Python's 5 ms that adds up to more than the disk takes while entries come
in."""

INTERRUPTED = 130
"""Exit status of a program that a KeyboardInterrupt in a callback ended; what a shell shows for SIGINT."""

Main: TypeAlias = Callable[..., Coroutine[Any, Any, int | None]]


def foreground(main: Main, log: Callable[[LogEvent], None] | None = None) -> Callable[..., Deferred[None]]:
    """Make ``async def main(reactor, *arguments) -> exit status or None`` fit for ``task.react``.

    SIGINT, SIGTERM and a SystemExit in any callback cancel what ``main`` awaits; the reactor stops once ``main`` is
    through with it.  A failure is one line on standard error and exit status 1.  Threads take turns every half
    millisecond (``SWITCH_SECONDS``).  A standard output that cannot be written to is a failure too.  ``log`` takes what
    is logged; without it failures in callbacks are shown, in one line each.
    """
    open_standard_files()
    show = log or _log_in_one_line
    sys.setswitchinterval(SWITCH_SECONDS)

    def run(reactor: Any, *arguments: Any) -> Deferred[None]:
        through: Deferred[None] = Deferred()
        stopped: Deferred[None] = Deferred()
        stopping = False
        asked: BaseException | None = None
        task: Deferred[int | None] | None = None

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            nonlocal asked
            if sys.is_finalizing():
                return  # main is through, its status is said, and what is left cannot even import
            failure = event.get("log_failure")
            if failure is None or not failure.check(SystemExit, KeyboardInterrupt):
                show(event)
            elif asked is None:  # raised in a callback, where the reactor does nothing but log it
                asked = failure.value
                reactor.callLater(0, stop)

        globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)

        def start() -> None:
            nonlocal task
            task = Deferred.fromCoroutine(main(reactor, *arguments))
            task.addBoth(finish)

        def stop() -> Deferred[None]:
            nonlocal stopping
            stopping = True
            if task is None:
                finish(None)
            else:
                task.cancel()
            return stopped

        def finish(result: Any) -> None:
            stopped.callback(None)
            status = result
            error = result.value if isinstance(result, Failure) else None
            if asked is not None and (error is None or isinstance(error, CancelledError)):
                error = asked
            if error is not None:
                if isinstance(error, SystemExit):
                    status = error.code
                elif isinstance(error, KeyboardInterrupt):
                    status = INTERRUPTED
                elif isinstance(error, CancelledError) and stopping:
                    status = 0
                else:
                    status = report(error)
            try:
                sys.stdout.flush()
            except (OSError, ValueError) as lost:  # what main printed is not there
                told = report(lost)
                status = status or told
            if status:
                through.errback(Failure(SystemExit(status)))
            else:
                through.callback(None)

        reactor.addSystemEventTrigger("before", "shutdown", stop)
        reactor.callWhenRunning(start)  # not before the reactor takes signals
        return through

    return run


async def first_of(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Run coroutines side by side until the first ends, then cancel the others and wait for them.

    Raises what the first one raised.
    """
    tasks = [Deferred.fromCoroutine(coroutine) for coroutine in coroutines]
    try:
        await DeferredList(tasks, fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
    except FirstError as first:
        first.subFailure.raiseException()
    finally:
        for task in tasks:
            task.cancel()
        await DeferredList(tasks, consumeErrors=True)


def _log_in_one_line(event: LogEvent) -> None:
    """Of what Twisted logs, show what nobody else will: failures in callbacks."""
    failure = event.get("log_failure")
    if failure is not None and not failure.check(ReactorNotRunning):  # a second Ctrl-C says that
        report(failure.value)
