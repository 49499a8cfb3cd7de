"""A whole terminal, for what is shown again and again.

Responsible for: taking the terminal and giving it back; lines cut to its size; a key that is pressed.
Must not know: what is shown.
Invariant: however it is left (a key, Ctrl-C, a signal, an error, Ctrl-Z), the terminal is as it was found: its modes,
its cursor, and what was on it.  Nothing that is shown steers it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from gossiplog.printable import brief

_TAKE: Final = "\x1b[?1049h\x1b[?25l"
_GIVE_BACK: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_CLEAR_REST: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """I am the terminal of a program, until left; that is what standard input and output are."""

    def __init__(self) -> None:
        self._modes: list[Any] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Screen:
        handlers = {signal.SIGTSTP: self._pause, **dict.fromkeys(_ENDING, self._end)}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._take()
        return self

    def __exit__(self, *exception: object) -> None:
        self._give_back()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def show(self, lines: Iterable[str]) -> None:
        """Show these lines in the place of what was shown; what has no room is left out."""
        width, height = shutil.get_terminal_size()
        shown = [f"{brief(line)[: width - 1]}{_CLEAR_REST}" for line in lines][: height - 1]
        self._write(_HOME + "\r\n".join(shown) + _CLEAR_REST + _CLEAR_BELOW)

    def wait(self, seconds: float) -> str:
        """Wait so long, or for a key; return that, ``""`` for none."""
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") if readable else ""

    def _take(self) -> None:
        self._modes = termios.tcgetattr(sys.stdin.fileno())
        tty.setcbreak(sys.stdin.fileno())
        self._write(_TAKE)

    def _give_back(self) -> None:
        modes, self._modes = self._modes, None
        if modes is not None:
            with suppress(termios.error):  # it is gone
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, modes)
            with suppress(OSError):
                self._write(_GIVE_BACK)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _pause(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal back until we go on."""
        self._give_back()
        ours = signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
        signal.signal(number, ours)
        self._take()

    def _end(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)
