"""Reading the documents, and the shell that runs what they show; for ``test_docs``."""

from __future__ import annotations

import doctest
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import gossiplog

STEP_SECONDS = 120.0
"""For a step that hangs; the slowest takes a twentieth of it."""

LATE_SECONDS = 30.0
"""How long what a background job has to print may come after the command that started it returned."""

PORTS = ("4000", "4001", "8080", "9100")
"""Ports that the documents use; each test replaces them by free ones."""


class Block(NamedTuple):
    """One code block: its language, the line of its directive, its text without the indentation."""

    language: str
    line: int
    text: str


class Step(NamedTuple):
    """One command of a console block and what it prints."""

    line: int
    command: str
    output: str


def blocks(path: Path) -> Iterator[Block]:
    """Yield the code blocks of a document in their order."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        found = re.fullmatch(r"( *)\.\. code-block:: *(\S+)", line)
        if found is None:
            continue
        body = []
        for inner in lines[number + 1 :]:
            if inner.strip() and not inner.startswith(found[1] + "   "):
                break
            body.append(inner[len(found[1]) + 3 :])
        yield Block(found[2], number + 1, "\n".join(body).strip("\n") + "\n")


def programs(root: Path) -> Iterator[tuple[str, str]]:
    """Yield place and source of every example, of what was written in their place before, and of every Python block of
    a document."""
    for path in sorted([*(root / "examples").glob("*.py"), *(root / "tests" / "before").glob("*.py")]):
        yield str(path.relative_to(root)), path.read_text()
    for path in [root / "README.rst", *sorted((root / "docs").rglob("*.rst"))]:
        for block in blocks(path):
            if block.language == "python":
                yield f"{path.relative_to(root)}:{block.line}", block.text


def steps(block: Block) -> list[Step]:
    """Return the commands of a console block; ``> `` continues the line of a command."""
    found: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 2):
        if line.startswith("$ "):
            found.append(Step(number, line[2:], ""))
        elif line.startswith("> ") and found and not found[-1].output:
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:]}")
        elif found:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
        else:
            raise AssertionError(f"line {number}: output before the first command")
    return [step._replace(output=step.output.rstrip("\n")) for step in found]


VARYING = (
    (r"\b(author|node|network)_[a-z2-7]{55}\b", r"\1_KEY"),
    (r"\b[0-9a-f]{64}\b", "HEX"),
    (r"\b[a-z2-7]{8}\b", "SHORTKEY"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[+-]\d\d:\d\d)?(?![\d:])", "TIME"),
    (r"\b\d+\.\d+ s\b", "SECONDS"),
)
"""What is different each time, and shown in documents as it was once."""


def matches(wanted: str, got: str) -> bool:
    """Tell whether what was printed is what the document shows."""
    if not wanted.strip():
        return not got.strip()
    for pattern, name in VARYING:
        wanted, got = (re.sub(pattern, name, text) for text in (wanted, got))
    checker = doctest.OutputChecker()
    return checker.check_output(wanted.strip() + "\n", got.strip() + "\n", doctest.ELLIPSIS)


def free_ports() -> dict[str, str]:
    """Return a free port for each of :data:`PORTS`, of those that no system gives to who asks for any."""
    found: dict[str, str] = {}
    while len(found) < len(PORTS):
        port = random.randrange(10_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if str(port) not in found.values():
                found[PORTS[len(found)]] = str(port)
    return found


class Shell:
    """I am bash in a directory: commands go in one at a time; what they and their background jobs print comes out."""

    def __init__(self, directory: Path, is_clean: bool = False) -> None:
        """A shell that ``is_clean`` has Python, and no gossiplog before it is installed."""
        scripts = directory / ".scripts"
        scripts.mkdir()
        ours = Path(sys.executable).parent
        for name, command in (("python", ""), ("python3", ""), ("gossiplog", "-m gossiplog.app.cli")):
            if command and ((ours / name).exists() or is_clean):
                continue
            (scripts / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (scripts / name).chmod(0o755)
        self.environ = dict(
            os.environ,
            PATH=os.pathsep.join(
                [str(scripts), *([] if is_clean else [str(ours)]), os.environ.get("PATH", os.defpath)]
            ),
            PYTHONPATH="" if is_clean else str(Path(gossiplog.__file__).parent.parent),
            PYTHONUNBUFFERED="1",
            HOME=str(directory),
            LC_ALL="C.UTF-8",
        )
        self._directory = directory
        reading, self._commands = os.pipe()
        self._bash = subprocess.Popen(
            ["bash", "--norc", f"/dev/fd/{reading}"],
            cwd=directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[reading],
            start_new_session=True,
        )
        os.close(reading)
        assert self._bash.stdout is not None
        self._output = self._bash.stdout.fileno()
        self._count = 0

    def run(self, command: str, wanted: str) -> tuple[str, int]:
        """Run a command and wait until it printed what is wanted; return what it printed, and its exit status.

        What is wanted may come from a background job, after the command itself returned.
        """
        self._count += 1
        end = f"-- {os.getpid()} {self._count} --"
        os.write(self._commands, f"{command}\nprintf '%s %d\\n' '{end}' $?\n".encode())
        pattern = re.compile(rf"{end} (\d+)\n")
        got = ""
        deadline = time.monotonic() + STEP_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while True:
                returned = pattern.search(got)
                printed = pattern.sub("", got)
                if returned and (int(returned[1]) or matches(wanted, printed)):
                    return printed, int(returned[1])
                left = min(deadline - time.monotonic(), LATE_SECONDS if returned else STEP_SECONDS)
                if left <= 0 or not selector.select(left):
                    return f"{printed}(nothing more came in time)\n", -1
                piece = os.read(self._output, 65536)
                if not piece:
                    return f"{printed}(the shell ended)\n", -1
                got += piece.decode(errors="replace")

    def close(self) -> None:
        """End the shell and everything it started; daemons are found by their ``.pid`` files."""
        os.close(self._commands)
        for file in self._directory.glob("*.pid"):
            with suppress(FileNotFoundError):  # it ends by itself just now
                _kill(os.kill, int(file.read_text() or 0))
        _kill(os.killpg, self._bash.pid)
        self._bash.wait()
        assert self._bash.stdout is not None
        self._bash.stdout.close()


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    try:
        if number > 1:
            kill(number, signal.SIGKILL)
    except ProcessLookupError:
        pass


def cells(path: Path, *header: str) -> list[tuple[str, ...]]:
    """Return the rows of all simple tables of a document that have these column titles."""
    lines = path.read_text().splitlines()
    rows = []
    for number in range(1, len(lines) - 1):
        border = lines[number - 1]
        if not re.fullmatch(r"=+( +=+)+", border) or lines[number + 1] != border:
            continue
        starts = [found.start() for found in re.finditer(r"=+", border)]
        spans = [slice(a, b) for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if tuple(lines[number][span].strip() for span in spans) != header:
            continue
        for line in lines[number + 2 : lines.index(border, number + 2)]:
            rows.append(tuple(line[span].strip() for span in spans))
    return rows


def number(text: str) -> float:
    """Return the number that a table shows."""
    return eval(text.replace(",", "").replace("^", "**"), {})


def anchor(title: str) -> str:
    """Return how a section title is named in a link."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("``", "")).strip("-")


def titles(path: Path) -> set[str]:
    """Return the anchors of all sections of a document."""
    found = re.finditer(r"^(\S.*)\n([=\-~^\"])\2+$", path.read_text(), re.MULTILINE)
    return {anchor(title[1]) for title in found if len(title[0]) - len(title[1]) - 1 >= len(title[1])}


def prose(path: Path) -> str:
    """Return a document without its code blocks and literal blocks."""
    kept = []
    inside: int | None = None
    for line in path.read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        if inside is None:
            kept.append(line)
            if line.rstrip().endswith("::") or re.match(r" *\.\. code-block::", line):
                inside = indent
    return "\n".join(kept)
