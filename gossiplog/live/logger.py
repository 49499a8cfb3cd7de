"""What a node writes to Twisted's log.

Responsible for: :class:`NodeLog`, from which level on each part of the package is logged, and :class:`Said`.
Must not know: where the log goes to, and in what form.
Invariant: every text in an event is fit for one line of a log, what a failure says too; what is below the level of its
part is not even built.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

from twisted.logger import Logger, LogLevel, LogLevelFilterPredicate
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.printable import brief

PACKAGE: Final = "gossiplog"

_levels = LogLevelFilterPredicate(LogLevel.info)


def set_levels(default: LogLevel, parts: Mapping[str, LogLevel]) -> None:
    """Log from ``default`` on, and of ``parts`` (``net``, ``store``, ...) from their own level on; in this process."""
    _levels.clearLogLevels()
    _levels.setLogLevelForNamespace(PACKAGE, default)
    for part, level in parts.items():
        _levels.setLogLevelForNamespace(f"{PACKAGE}.{part}", level)


class NodeLog(Logger):
    """I am Twisted's logger, for texts that others wrote.

    Whoever logs something names the event, ``event="peer_up"``, and gives what belongs to it as further keywords.
    """

    def wants(self, level: LogLevel) -> bool:
        """Whether something of this level is logged here: for what costs something to say."""
        return bool(level >= _levels.logLevelForNamespace(self.namespace))

    def emit(self, level: LogLevel, format: str | None = None, **values: Any) -> None:
        """As Twisted's, with everything in it made printable."""
        if self.wants(level):
            super().emit(level, format, **{name: _fit(value) for name, value in values.items()})


class Said:
    """I remember what was said of something that is tried again and again, so that it is said once.

    I keep :data:`gossiplog.limits.MAX_SAID` at most; what I forget for want of room is said once more.
    """

    def __init__(self) -> None:
        self._said: dict[Hashable, set[str]] = {}
        self._count = 0

    def is_new(self, about: Hashable, words: str) -> bool:
        """Whether this was not said about it since it was over; from now on it was."""
        said = self._said.get(about, ())
        if words in said:
            return False
        if self._count >= limits.MAX_SAID:
            self._said.clear()
            self._count = 0
        self._said.setdefault(about, set()).add(words)
        self._count += 1
        return True

    def over(self, about: Hashable) -> None:
        """It works again: what happens from now on is said anew."""
        self._count -= len(self._said.pop(about, ()))


class Unprintable(Exception):
    """Stands in a log for an error whose text is not fit for one: its kind, and what of its text is."""


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        return brief(value)
    if isinstance(value, Failure):
        says = value.getErrorMessage()
        if says != brief(says):
            said = Unprintable(f"{value.type.__name__ if value.type else ''}: {brief(says)}")
            return Failure(said, exc_tb=value.getTracebackObject())
    return value
