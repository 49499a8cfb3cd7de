"""The three tutorials, each between three hosts of one local network, and their transcripts.

Responsible for: what is typed on which host, what has to be there then, and how that is written down.
Must not know: how hosts are made, how a process is watched.
Invariant: a line of a transcript was typed or printed in that run; nothing of it is made up.

:mod:`tests.test_example_hosts` runs them; :mod:`tests.found` writes their transcripts into ``docs/found.rst``.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.lans import Host
from tests.processes import EXAMPLES, Process

Start = Callable[..., Process]


class Scene:
    """I am a story on hosts: ``start`` starts a process, ``lines`` are what was typed (<) and printed (|), and when."""

    def __init__(self, hosts: dict[str, Host], place: Path, start: Start) -> None:
        self.lines: list[str] = []
        self._hosts = hosts
        self._place = place
        self._start = start
        self._processes: dict[str, Process] = {}
        self._written: dict[str, int] = {}
        self._began = time.monotonic()

    def run(self, who: str, example: str, *arguments: str) -> None:
        """Start an example on somebody's host, in a directory of that host's own."""
        host = self._hosts[who]
        directory = self._place / host.name
        directory.mkdir(exist_ok=True)
        self._write(who, "$", f"python examples/{example}.py {' '.join(arguments)}".rstrip())
        command = host.on(sys.executable, EXAMPLES / f"{example}.py", *arguments)
        self._processes[who] = self._start(*command, cwd=directory)
        self._written[who] = 0

    def types(self, who: str, line: str) -> None:
        """Type a line."""
        self._write(who, "<", line)
        self._processes[who].send(line)

    def sees(self, *those: str, line: str) -> re.Match[str]:
        """Wait until each of those sees a line, a pattern; returns what the last one saw."""
        for who in those:
            process = self._processes[who]
            found = process.wait_for(f"^{line}$")
            self._take(who, found.end())
        return found

    def leaves(self, who: str) -> None:
        """Press Ctrl-C; what was printed until then is written down, and that there were no complaints."""
        process = self._processes.pop(who)
        status = process.interrupt()
        self._processes[who] = process
        self._take(who, len(process.out))
        self._write(who, "^C", "")
        if (status, process.err) != (0, ""):
            raise AssertionError(f"{who} ended with {status}: {process.err}")

    def _take(self, who: str, end: int) -> None:
        """Write down what somebody's process printed up to there."""
        printed = self._processes[who].out[self._written[who] : end]
        for line in filter(None, printed.splitlines()):
            self._write(who, "|", line)
        self._written[who] = max(self._written[who], end)

    def _write(self, who: str, mark: str, text: str) -> None:
        at = time.monotonic() - self._began
        self.lines.append(f"{at:5.1f}  {who:6} {mark} {text}".rstrip())


def scuttleup(scene: Scene) -> None:
    """People know each other by name: ``alice.local``, at a port that follows from the name."""
    scene.run("alice", "persisted_chat", "alice", "bob")
    scene.types("alice", "hello")
    scene.run("bob", "persisted_chat", "bob", "alice")
    scene.sees("bob", line="alice> hello")
    scene.types("bob", "hello alice")
    scene.sees("alice", line="bob> hello alice")
    scene.leaves("alice")
    scene.run("carol", "persisted_chat", "carol", "bob")
    scene.sees("carol", line="bob> hello alice")
    scene.types("carol", "is she away?")
    scene.sees("bob", line="carol> is she away\\?")
    scene.run("alice", "persisted_chat", "alice", "bob")
    scene.sees("alice", line="carol> is she away\\?")
    scene.types("alice", "I am back")
    scene.sees("bob", "carol", line="alice> I am back")
    for who in ("alice", "bob", "carol"):
        scene.leaves(who)


def multifeed(scene: Scene) -> None:
    """All who know a topic, ``foobar-123``, are in one network, whose key is its SHA-256."""
    for number, who in enumerate(("alice", "bob", "carol"), 1):
        scene.run(who, "multichat", str(number))
    scene.types("alice", "hello world")
    scene.sees("alice", line="Data was appended as entry #1")
    scene.sees("bob", "carol", line="cat-lover-1: hello world")
    scene.leaves("bob")
    scene.types("carol", "while two was away")
    scene.sees("alice", line="cat-lover-3: while two was away")
    scene.run("bob", "multichat", "2")
    scene.sees("bob", line="cat-lover-3: while two was away")
    scene.types("bob", "here again")
    scene.sees("alice", "carol", line="cat-lover-2: here again")
    for who in ("alice", "bob", "carol"):
        scene.leaves(who)


def hypercore(scene: Scene) -> None:
    """A writer and its readers have nothing but the key of its log; who reads serves others while it is away."""
    scene.run("alice", "writer")
    key = scene.sees("alice", line="key: (\\w+)")[1]
    scene.types("alice", "one")
    scene.run("bob", "reader", key)
    scene.sees("bob", line="Skipping 1 earlier blocks...")
    scene.types("alice", "two")
    scene.sees("bob", line="Block 2: two")
    scene.leaves("alice")
    scene.run("carol", "reader", key)
    scene.sees("carol", line="Skipping 2 earlier blocks...")
    scene.run("alice", "writer")
    scene.sees("alice", line="listening on .*")
    scene.types("alice", "three")
    scene.sees("bob", "carol", line="Block 3: three")
    for who in ("alice", "bob", "carol"):
        scene.leaves(who)


STORIES = {
    "scuttleup: chat by name": scuttleup,
    "multifeed: many writers on a topic": multifeed,
    "Hypercore and Hyperswarm: one writer, many readers": hypercore,
}
