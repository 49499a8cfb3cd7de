"""Run the chat of README.rst in two terminals and draw both: ``python docs/make_chat_picture.py``.

Writes ``chat.svg`` beside this file and prints the same as text: what a person typed and saw, from real processes on
real pseudo-terminals.
"""

from __future__ import annotations

import os
import pty
import re
import selectors
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent
CHAT = DOCS.parent / "examples" / "persisted_chat.py"
COMMAND = "python3 tools/run.py python examples/persisted_chat.py {} {}"
SECONDS = 20.0

SCRIPT = (
    # who, what is typed, what has to be on whose screen before it goes on
    ("alice", "anybody there? the heron is back", None),
    ("bob", None, ("bob", "heron is back")),
    ("bob", "hello alice, where?", ("alice", "where?")),
    ("alice", "at the weir", ("bob", "at the weir")),
    ("bob", "/quit", None),
    ("alice", "too late, it flew", None),
    ("bob", None, ("bob", "it flew")),
)
"""Bob comes after Alice's first line, leaves, and comes back after her last one."""


class Screen:
    """I am a terminal in which somebody chats, one process after the other."""

    def __init__(self, name: str, other: str, directory: str) -> None:
        self.text = ""
        self._command = [sys.executable, str(CHAT), name, other, "--dir", directory]
        self._prompt = f"$ {COMMAND.format(name, other)}\n"
        self._process: subprocess.Popen[bytes] | None = None
        self._terminal = -1

    def start(self) -> None:
        """Start the chat if it does not run."""
        if self._process is not None:
            return
        self._terminal, theirs = pty.openpty()
        self.text += self._prompt
        self._process = subprocess.Popen(self._command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def type(self, line: str) -> None:
        """Type a line; the terminal shows it."""
        os.write(self._terminal, f"{line}\n".encode())
        self.wait(line)
        if line == "/quit":
            self.stop()

    def wait(self, words: str) -> None:
        """Wait until ``words`` are the newest on the screen."""
        seen = self.text.rfind(words)
        deadline = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._terminal, selectors.EVENT_READ)
            while seen < 0 or words not in self.text[seen:]:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise SystemExit(f"{words!r} did not come; on the screen is:\n{self.text}")
                self._read()
                seen = self.text.rfind(words)

    def stop(self) -> None:
        """Let the chat end, by itself or with Ctrl-C."""
        if self._process is not None:
            if self._process.poll() is None and not self.text.rstrip().endswith("/quit"):
                self._process.terminate()
            self._process.wait(SECONDS)
            self._process = None

    def _read(self) -> None:
        try:
            read = os.read(self._terminal, 65536)
        except OSError:  # Linux: nobody has the other end open any more
            raise SystemExit(f"the chat ended; on the screen is:\n{self.text}") from None
        self.text += read.decode().replace("\r\n", "\n")


def play() -> dict[str, str]:
    """Run the script; return what is on each screen."""
    with tempfile.TemporaryDirectory() as directory:
        screens = {"alice": Screen("alice", "bob", directory), "bob": Screen("bob", "alice", directory)}
        try:
            for who, line, then in SCRIPT:
                screens[who].start()
                if line is not None:
                    screens[who].type(line)
                if then is not None:
                    screens[then[0]].wait(then[1])
            return {name: re.sub(r"\n{2,}", "\n", screen.text) for name, screen in screens.items()}
        finally:
            for screen in screens.values():
                screen.stop()


def draw(screens: dict[str, str]) -> str:
    """Return an SVG with the screens beside each other."""
    width, line_height, size, margin = 560, 18, 12, 14
    rows = max(len(text.splitlines()) for text in screens.values())
    height = (rows + 2) * line_height + 2 * margin
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width + margin}" height="{height}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{size}">',
        "<title>Two terminals with examples/persisted_chat.py</title>",
    ]
    for place, (name, text) in enumerate(screens.items()):
        left = place * (width + margin)
        parts.append(f'<rect x="{left}" width="{width}" height="{height}" rx="8" fill="#1d2430"/>')
        parts.append(f'<text x="{left + margin}" y="{margin + size}" fill="#7d8aa0">{escape(name)}</text>')
        for row, line in enumerate(text.splitlines(), 2):
            said = re.match(r"(info|\w+)> ", line)
            color = "#8fd18f" if line.startswith("$ ") else "#e8ecf2" if said else "#f3d08a"
            color = "#7d8aa0" if said and said[1] == "info" else color
            y = margin + size + row * line_height - line_height // 2
            parts.append(
                f'<text x="{left + margin}" y="{y}" fill="{color}" xml:space="preserve">{escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    shown = play()
    (DOCS / "chat.svg").write_text(draw(shown))
    print("\n\n".join(f"{name}:\n\n{text.rstrip()}" for name, text in shown.items()))
