"""What every program of gossiplog prints alike: text that others wrote, and failures.

Responsible for: :func:`printable`, the one line of a failure, its exit status, and standard streams to print on.
Must not know: Twisted, so that a command that needs no reactor starts without it.
Invariant: whatever the error or the text, it is one line and steers no terminal.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final, TextIO

from gossiplog.errors import GossiplogError

FAILURE: Final = 1
"""Exit status: it did not work, standard error says why."""

BROKEN_PIPE: Final = 141
"""Exit status: nobody read the output; what a shell shows for a program ended by SIGPIPE."""

_JOINERS: Final = frozenset("\u200c\u200d")
"""Without these Persian words and family emoji fall apart; they move nothing and hide nothing."""


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that could steer a terminal or reorder a line.

    That is C0 and C1 controls, line and paragraph separators, bidirectional overrides, lone surrogates and code points
    without a meaning; O(n).

    >>> printable("hi\\x1b[2J there\\n")
    'hi\\\\x1b[2J there\\\\n'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape").decode()
        for char in text
    )


def open_standard_files() -> None:
    """Put the null device where standard input, output or error was closed, before another file takes its number."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: all below are open by now
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, mode, closefd=False))


def report(error: BaseException | None) -> int:
    """Say on standard error, in one line, what went wrong; return the exit status for it."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, GossiplogError):
        complain(str(error))
    elif isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{name}{error.strerror or error}")
    else:
        frames = traceback.extract_tb(error.__traceback__ if error is not None else None)
        place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
        complain(f"internal error: {type(error).__name__}: {error}{place}")
    return FAILURE


def complain(text: str, stream: TextIO | None = None) -> None:
    """Write one line on standard error, or on ``stream``."""
    stream = stream or sys.stderr
    try:
        stream.write(f"gossiplog: {printable(' '.join(text.split()))}\n")
        stream.flush()
    except (OSError, ValueError, AttributeError):
        pass  # it is closed: there is nobody to tell
