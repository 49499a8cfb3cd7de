"""Where the log of a node goes to, and in what form.

Responsible for: an event as a line, of text or of JSON; the log of a program in the foreground and that of twistd.
Must not know: what happens in a node.
Invariant: an event is one line, whatever others wrote; a line of JSON is one object of ASCII without controls.
"""

from __future__ import annotations

import math
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.error import ReactorNotRunning
from twisted.logger import FileLogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from gossiplog.app.log_options import LogOptions
from gossiplog.app.printing import StatusLine, as_json, report
from gossiplog.live.logger import PACKAGE, set_levels
from gossiplog.printable import brief

TWISTD_LOG: Final = "twistd.log"
"""Where a twistd in the background logs to when nothing was said."""

_NOT_OURS: Final = frozenset(("words", "message", "isError", "system", "format", "failure", "why"))
"""What the observers of Twisted's old log put into every event that they see; and what ``text`` says already."""


def use_levels(options: LogOptions) -> None:
    """Log from these levels on, in this process."""
    levels = {part: LogLevel.levelWithName(level) for part, level in options.levels}
    set_levels(levels.pop("", LogLevel.info), levels)


def json_line(event: LogEvent) -> str:
    """Return an event as JSON: when, how bad, which part, which event, in words, and what else belongs to it."""
    namespace = str(event.get("log_namespace", ""))
    part = namespace.split(".")[1] if namespace.startswith(f"{PACKAGE}.") else namespace.split(".")[0]
    level = event.get("log_level")
    when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    said: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "info" if level is None else "error" if level is LogLevel.critical else level.name,
        "part": brief(part),
        "event": brief(str(event.get("event", "log"))),
        "text": brief(" ".join((formatEvent(event) or "").split())),
    }
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        said |= _failed(failure)
    if "event" in event:  # of Twisted's own events only the words are for people
        own = {name: value for name, value in event.items() if name not in _NOT_OURS and name not in said}
        said |= {name: _plain(value) for name, value in own.items() if not name.startswith("log_")}
    return as_json(said)


def _failed(failure: Failure) -> dict[str, Any]:
    frames = traceback.extract_tb(failure.getTracebackObject())
    return {
        "error": failure.type.__name__ if failure.type else "",
        "reason": brief(failure.getErrorMessage()),
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return brief(str(value))


class Lines:
    """I am the log of a program in the foreground: lines on standard error, above its status line."""

    def __init__(self, status: StatusLine, options: LogOptions) -> None:
        use_levels(options)
        self._status = status
        self._as_json = options.as_json

    def __call__(self, event: LogEvent) -> None:
        """Print it; of what Twisted logs, only failures in callbacks, which nobody else will show."""
        failure = event.get("log_failure")
        if failure is not None and failure.check(ReactorNotRunning):
            return  # a second Ctrl-C says that
        if failure is None and "event" not in event:
            return
        if self._as_json:
            self._status.tell(json_line(event), whole=True)
        elif failure is not None:
            self._status.clear()
            report(failure.value)
        else:
            self._status.tell(formatEvent(event) or "")


class TwistdLog:
    """I am what twistd's ``--logger`` names: I make the observer that logs JSON to where its other options say.

    SIGUSR1 rotates the file, as that of twistd.
    """

    options: Mapping[str, Any]

    def __call__(self) -> FileLogObserver:
        """Return the observer."""
        name = self.options["logfile"]
        if name == "-" or (not name and self.options["nodaemon"]):
            return _observer(sys.stdout)
        file = LogFile.fromFullPath(name or TWISTD_LOG)
        if not signal.getsignal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: _on_reactor(file.rotate))
        return _observer(file)


twistd_log = TwistdLog()
"""twistd takes the name of something, and gives it nothing."""

TWISTD_LOG_NAME: Final = f"{__name__}.twistd_log"


def _observer(file: Any) -> FileLogObserver:
    return FileLogObserver(file, lambda event: f"{json_line(event)}\n")


def _on_reactor(call: Callable[[], None]) -> None:
    from twisted.internet import reactor

    reactor.callFromThread(call)  # type: ignore[attr-defined]
