"""The ways out to people: a line on standard output or error, a line that is shown again and again, a failure.

Responsible for: :func:`say`, :func:`complain`, :class:`StatusLine`, :func:`as_json`, :func:`report` and its exit
status, and standard streams to print on.
Must not know: Twisted, so that a command that needs no reactor starts without it.
Invariant: whatever the text, what is printed is one line and steers no terminal; nothing else in gossiplog prints,
but :class:`gossiplog.app.terminal.Terminal` for programs on a reactor and
:class:`gossiplog.live.logger.NodeLog` for logs.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TextIO

from gossiplog.app.streams import NAMES, Patient, Unbuffered
from gossiplog.errors import GossiplogError
from gossiplog.printable import brief
from gossiplog.printable import printable as printable  # what applications print with

FAILURE: Final = 1
"""Exit status: it did not work, standard error says why."""

BROKEN_PIPE: Final = 141
"""Exit status: nobody read the output; what a shell shows for a program ended by SIGPIPE."""

_CLEAR_LINE: Final = "\r\x1b[K"


def say(line: str) -> None:
    """Print a line on standard output, however long it is."""
    sys.stdout.write(f"{printable(line)}\n")


def as_json(value: object, **options: Any) -> str:
    """Return ``value`` as JSON in one line of ASCII without controls."""
    return json.dumps(value, ensure_ascii=True, **options)


def complain(
    text: str, stream: TextIO | None = None, *, name: str = "gossiplog: ", whole: bool = False
) -> None:
    """Write one line on standard error, or on ``stream``; ``whole``: however long it is."""
    stream = stream or sys.stderr
    try:
        stream.write(f"{name}{printable(text) if whole else brief(' '.join(text.split()))}\n")
        stream.flush()
    except (OSError, ValueError, AttributeError):
        pass  # it is closed: there is nobody to tell


class StatusLine:
    """I am the last line of a terminal, written again and again; where standard error is none, I show nothing."""

    def __init__(self) -> None:
        self.visible = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Callable[[str], None] | None:
        """Show what the function is called with, until left; there is none where nothing is shown."""
        return self.show if self.visible else None

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def show(self, words: str) -> None:
        """Show ``words`` in the place of what was shown."""
        if self.visible:
            with suppress(OSError):  # the terminal was closed
                sys.stderr.write(f"{_CLEAR_LINE}{brief(words)}")
                sys.stderr.flush()

    def clear(self) -> None:
        """Show nothing."""
        self.show("")

    def tell(self, line: str, whole: bool = False) -> None:
        """Write a line on standard error, in the place of what was shown; ``whole``: however long it is."""
        self.clear()
        complain(line, name="", whole=whole)


def open_standard_files() -> None:
    """Make standard input, output and error fit to use, whoever started us.

    The null device takes the place of one that was closed, before another file gets its number, opened so that to use
    it fails: an output that nobody can see is no success.  One that somebody left non-blocking is waited for, so that
    nothing of a large output is cut and no pause is taken for the end of the input.
    """
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            wrong_way = os.O_WRONLY if mode == "r" else os.O_RDONLY
            os.open(os.devnull, wrong_way)  # the lowest free number: all below are open by now
        stream = getattr(sys, name)
        if stream is None or (stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper)):
            setattr(sys, name, _text_stream(fd, mode, stream))


def _text_stream(fd: int, mode: str, like: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A text stream over a descriptor that may be non-blocking, otherwise as Python made ``like``."""
    raw: Any = Unbuffered(fd, mode) if fd == 2 else Patient(fd, mode)
    return io.TextIOWrapper(
        raw if fd == 2 else io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw),
        encoding=like.encoding if like is not None else None,
        errors="backslashreplace" if mode == "w" else "surrogateescape",
        line_buffering=like.line_buffering if like is not None else False,
        write_through=fd == 2,
    )


def forget_output() -> None:
    """Keep everybody, an interpreter that ends too, from writing once more what could not be written."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def report(error: BaseException | None) -> int:
    """Say on standard error, in one line, what went wrong; return the exit status for it."""
    if isinstance(error, OSError) and str(error.filename).startswith(NAMES[1]):
        forget_output()
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
