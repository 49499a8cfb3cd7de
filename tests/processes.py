"""Real processes for tests: start one, wait for what it prints, talk to it, end it in any way.

Responsible for: the interpreter and import path of this test run, deadlines, and that no process outlives its test.
Must not know: what the programs do.
Invariant: nothing sleeps; every wait ends with an event or, at the deadline, with a failure that shows all output.
"""

from __future__ import annotations

import codecs
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import gossiplog

DEADLINE_SECONDS = 60.0
"""For a process that hangs; a busy machine takes a tenth of it."""

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; sys.exit(run())"


def environment(**more: str) -> dict[str, str]:
    """Return our environment, in which this very gossiplog is found from any directory."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPLOG_")}
    found = str(Path(gossiplog.__file__).resolve().parent.parent)
    path = [found, *filter(None, ours.get("PYTHONPATH", "").split(os.pathsep))]
    return {**ours, "PYTHONPATH": os.pathsep.join(path), **more}


def _take_interrupts() -> None:
    """A test run that was started in the background ignores SIGINT, and its children would too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def open_terminal() -> tuple[int, int]:
    """Return the descriptors of a new terminal, its keyboard's and its screen's, where there are any."""
    try:
        keyboard, screen = pty.openpty()
    except OSError as error:
        raise SkipTest(f"no terminal is to be had here: {error}") from error
    return keyboard, screen


class Process:
    """I am one real process; ``out`` and ``err`` are what it printed so far."""

    def __init__(
        self, command: Sequence[str | Path], cwd: Path, stdin: Any = subprocess.PIPE, **options: Any
    ) -> None:
        self.command = [str(part) for part in command]
        self.out = ""
        self.err = ""
        self.patience = DEADLINE_SECONDS
        self._seen = 0
        self._change = threading.Condition()
        options.setdefault("env", environment())
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("preexec_fn", _take_interrupts)
        self.popen = subprocess.Popen(self.command, cwd=cwd, stdin=stdin, stderr=subprocess.PIPE, **options)
        streams = [
            (name, stream)
            for name, stream in (("out", self.popen.stdout), ("err", self.popen.stderr))
            if stream
        ]
        self._open = len(streams)
        self._threads = [threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams]
        for thread in self._threads:
            thread.start()

    # -- what it says

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for standard output to match ``pattern`` (line by line) behind what was waited for before."""
        deadline = time.monotonic() + self.patience
        with self._change:
            while True:
                found = re.compile(pattern, re.MULTILINE).search(self.out, self._seen)
                if found is not None:
                    self._seen = found.end()
                    return found
                self._wait(deadline, f"it did not print {pattern!r}")

    def wait_for_error(self, pattern: str) -> re.Match[str]:
        """Wait for standard error to match ``pattern`` (line by line)."""
        deadline = time.monotonic() + self.patience
        with self._change:
            while (found := re.compile(pattern, re.MULTILINE).search(self.err)) is None:
                self._wait(deadline, f"it did not complain of {pattern!r}")
            return found

    def wait_for_all(self, *patterns: str) -> None:
        """As :meth:`wait_for`, for several lines in whatever order."""
        start = self._seen
        ends = []
        for pattern in patterns:
            self._seen = start
            self.wait_for(pattern)
            ends.append(self._seen)
        self._seen = max(ends)

    def rewind(self) -> None:
        """Wait for what was printed before, too."""
        self._seen = 0

    def ready(self) -> dict[str, Any]:
        """Wait for the ready line of a node and return what it says."""
        about: dict[str, Any] = json.loads(self.wait_for(r"gossiplog ready (\{.*\})$")[1])
        return about

    # -- what it is told

    def send(self, *lines: str) -> None:
        """Type lines."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.popen.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def interrupt(self) -> int:
        """Press Ctrl-C and wait for the end."""
        self.popen.send_signal(signal.SIGINT)
        return self.finish()

    def terminate(self) -> int:
        """Send SIGTERM and wait for the end."""
        self.popen.send_signal(signal.SIGTERM)
        return self.finish()

    def kill(self) -> int:
        """Kill it with SIGKILL, wherever it is."""
        self.popen.kill()
        return self.finish()

    def finish(self) -> int:
        """Wait until it ends by itself; return its exit status, negative for a signal."""
        if self.popen.stdin is not None and not self.popen.stdin.closed:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                pass
        try:
            status = self.popen.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._report("it did not end")) from None
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
        return status

    def abandon(self) -> None:
        """Whatever happened: it is gone, and its pipes are closed."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.finish()

    # --

    def _read(self, name: str, stream: Any) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with stream:
            while some := stream.read1():
                with self._change:
                    setattr(self, name, getattr(self, name) + decoder.decode(some))
                    self._change.notify_all()
        with self._change:
            self._open -= 1
            self._change.notify_all()

    def _wait(self, deadline: float, complaint: str) -> None:
        """Wait for more output; fail when none can come any more."""
        if not self._open:
            raise AssertionError(self._report(f"{complaint} before it ended"))
        if not self._change.wait(deadline - time.monotonic()):
            raise AssertionError(self._report(complaint))

    def _report(self, complaint: str) -> str:
        command = " ".join(self.command)
        return f"{command}: {complaint}\n-- output:\n{self.out}\n-- errors:\n{self.err}"


class ProcessTestCase(SynchronousTestCase):
    """A test with processes in a directory of its own; none of them outlives it."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp()).resolve()
        self.place.mkdir(parents=True)

    def start(self, *command: str | Path, cwd: Path | None = None, **options: Any) -> Process:
        """Start any command."""
        process = Process(command, cwd or self.place, **options)
        self.addCleanup(process.abandon)
        return process

    def gossiplog(self, *arguments: str | Path, **options: Any) -> Process:
        """Start the command gossiplog."""
        return self.start(sys.executable, "-m", "gossiplog.app.cli", *arguments, **options)

    def example(self, name: str, *arguments: str | Path, **options: Any) -> Process:
        """Start one of the examples."""
        return self.start(sys.executable, EXAMPLES / f"{name}.py", *arguments, **options)

    def twistd(self, *arguments: str | Path, **options: Any) -> Process:
        """Start twistd."""
        return self.start(sys.executable, "-c", TWISTD, *arguments, **options)

    def run_gossiplog(self, *arguments: str | Path, typed: str = "", **options: Any) -> str:
        """Run the command gossiplog to its end, which has to be a good one; return what it printed."""
        process = self.gossiplog(*arguments, **options)
        if typed:
            process.send(*typed.splitlines())
        status = process.finish()
        self.assertEqual((status, process.err), (0, ""), process.command)
        return process.out

    def assert_one_line(self, process: Process, status: int, *words: str) -> None:
        """Assert that a process failed with ``status`` and one line on standard error that contains ``words``."""
        self.assertEqual(process.finish(), status, process.command)
        self.assertEqual(process.out, "", process.command)
        self.assertRegex(process.err, r"\Agossiplog: [^\n]+\n\Z", process.command)
        for word in words:
            self.assertIn(word, process.err)

    def logged(self, store: str | Path) -> dict[tuple[str, int], Any]:
        """Return the payloads in a store, by author and seq, after checking that no entry is there twice."""
        lines = [
            json.loads(line) for line in self.run_gossiplog("log", "--json", "--store", store).splitlines()
        ]
        held = {
            (line["author"], line["seq"]): said
            if isinstance(said := line["payload"], str)
            else json.dumps(said)
            for line in lines
        }
        self.assertEqual(len(held), len(lines))
        return held


def free_port(port: int) -> bool:
    """Return whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
