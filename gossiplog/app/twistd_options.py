"""What the twistd plugins share: where the log of a service goes, and what keeps twistd from starting.

Responsible for: ``--log-json`` and ``--log-level``; twistd's own files.
Must not know: what the service does.
Invariant: what twistd would fail on later, with a traceback or in the background, is an error of usage.
"""

from __future__ import annotations

import os
from typing import Any, TextIO

from twisted.python import usage

from gossiplog.app import log_options
from gossiplog.app.commands.arguments import sentence
from gossiplog.app.logs import TWISTD_LOG, TWISTD_LOG_NAME, twistd_log
from gossiplog.errors import InvalidValueError


class TwistdOptions(usage.Options):
    """I am options with those of the log."""

    optFlags = [["log-json", None, sentence(log_options.JSON)]]
    logs: log_options.LogOptions
    parent: Any = None
    terminal: TextIO | None = None
    """Standard error of who starts a twistd in the background, until it has started."""

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self._levels: list[Any] = []

    def opt_log_level(self, text: str) -> None:
        try:
            self._levels.append(log_options.read_levels(text))
        except InvalidValueError as error:
            raise usage.UsageError(f"--log-level: {error}") from None

    opt_log_level.__doc__ = sentence(log_options.LEVEL)

    def use_log(self) -> None:
        """Take what was said of the log, and check twistd's files."""
        self.logs = log_options.log_options(bool(self["log-json"]), self._levels)
        if self.logs.as_json and self.parent is not None:
            if self.parent["logfile"] == "-" and not self.parent["nodaemon"]:
                raise usage.UsageError("--logfile - needs --nodaemon")
            if self.parent["syslog"] or self.parent["logger"]:
                raise usage.UsageError("--log-json excludes --syslog and --logger")
            twistd_log.options = self.parent
            self.parent["logger"] = TWISTD_LOG_NAME
        self._check_files()

    def _check_files(self) -> None:
        """Refuse what twistd fails on later, with a traceback or in the background."""
        if self.parent is None:
            return
        for name in ("logfile", "pidfile", "rundir"):
            said = self.parent[name]
            if name == "logfile" and not (said or self.parent["nodaemon"] or self.parent["syslog"]):
                said = TWISTD_LOG
            directory = said if name == "rundir" else os.path.dirname(os.path.abspath(said or "-"))
            if said and not os.access(directory, os.X_OK | (0 if name == "rundir" else os.W_OK)):
                raise usage.UsageError(f"--{name} {said}: {directory} is no directory that can be used")
        if not self.parent["nodaemon"]:
            self.terminal = os.fdopen(os.dup(2), "w", errors="backslashreplace")
