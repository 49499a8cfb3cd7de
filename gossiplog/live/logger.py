"""What a node writes to Twisted's log.

Responsible for: :class:`NodeLog`.
Must not know: where the log goes to.
Invariant: every text in an event is fit for one line of a log, what a failure says too.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from gossiplog.printable import brief


class NodeLog(Logger):
    """I am Twisted's logger, for texts that others wrote."""

    def emit(self, level: LogLevel, format: str | None = None, **values: Any) -> None:
        """As Twisted's, with everything in it made printable."""
        super().emit(level, format, **{name: _fit(value) for name, value in values.items()})


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
