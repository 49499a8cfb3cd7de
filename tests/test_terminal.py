"""Ring 6: lines from and to whatever standard input and output are."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog.app import printing, terminal
from gossiplog.app.foreground import first_of
from gossiplog.app.printing import complain, report
from gossiplog.app.terminal import MAX_WAITING_LINES, Terminal
from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_BODY_BYTES
from tests.processes import open_terminal


class ReportTests(SynchronousTestCase):
    """The one line of a failure."""

    def said(self, error: BaseException) -> str:
        """Return what is said about ``error``."""
        stream = io.StringIO()
        self.patch(printing.sys, "stderr", stream)
        self.assertEqual(report(error), 1)
        return stream.getvalue()

    def test_own_errors(self) -> None:
        """Their words, on one line whatever is in them."""
        self.assertEqual(
            self.said(InvalidValueError("not so:\nbad \x1b[2J")), "gossiplog: not so:\\nbad \\x1b[2J\n"
        )

    def test_errors_of_the_system(self) -> None:
        """The file, and what the system says."""
        said = self.said(PermissionError(errno.EACCES, "Permission denied", "/x"))
        self.assertEqual(said, "gossiplog: /x: Permission denied\n")

    def test_mistakes_of_ours(self) -> None:
        """One line too, with the place."""
        try:
            {}["missing"]  # type: ignore[index]
        except KeyError as error:
            said = self.said(error)
        self.assertRegex(
            said, r"\Agossiplog: internal error: KeyError: 'missing' \(test_terminal\.py:\d+\)\n\Z"
        )

    def test_broken_pipe(self) -> None:
        """Nobody reads what would be said."""
        self.assertEqual(report(BrokenPipeError()), 141)

    def test_nowhere_to_say_it(self) -> None:
        """A closed standard error is no second failure."""
        stream = io.StringIO()
        stream.close()
        complain("x", stream)


class TerminalTests(TestCase):
    """One terminal on pipes, files, devices, a pseudo terminal."""

    timeout = 60

    def setUp(self) -> None:
        self.output, self.stdout = os.pipe()
        self.input, self.typed = self.pipe()
        self.addCleanup(os.close, self.output)
        self.stdout_open = True
        self.addCleanup(self.end_output)

    def pipe(self) -> tuple[int, int]:
        """Make a pipe whose reading end is closed with the test."""
        readable, writable = os.pipe()
        self.addCleanup(os.close, readable)
        return readable, writable

    def end_output(self) -> None:
        """Close our copy of what the terminal writes to."""
        if self.stdout_open:
            self.stdout_open = False
            os.close(self.stdout)

    def run_with(
        self, stdin: int | None, body: Callable[[Terminal], Coroutine[Any, Any, Any]]
    ) -> Deferred[Any]:
        """Run ``body`` with a terminal that is closed at the end."""

        async def run() -> Any:
            async with Terminal(reactor, stdin=stdin, stdout=self.stdout) as terminal:
                return await body(terminal)

        return Deferred.fromCoroutine(run())

    async def lines(self, terminal: Terminal) -> list[str]:
        """Return all lines."""
        return [line async for line in terminal]

    async def type_and_read(self, content: bytes) -> list[str]:
        """Return the lines of a pipe with ``content``."""
        os.write(self.typed, content)
        os.close(self.typed)
        found: list[str] = await self.run_with(self.input, self.lines)
        return found

    async def test_lines_of_a_pipe(self) -> None:
        """Empty lines count, the last needs no end, CR LF is an end, what is no UTF-8 is replaced."""
        content = "one\n\nfünf\r\n".encode() + b"\xff\nlast"
        self.assertEqual(await self.type_and_read(content), ["one", "", "fünf", "\ufffd", "last"])

    async def test_no_lines(self) -> None:
        """An end at once; None for standard input reads nothing."""
        self.assertEqual(await self.type_and_read(b""), [])
        self.assertEqual(await self.run_with(None, self.lines), [])

    async def test_lines_of_a_file_and_a_device(self) -> None:
        """What epoll refuses works as well."""
        os.close(self.typed)
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"one\ntwo\n")
        with open(path, "rb") as file, open(os.devnull, "rb") as device:
            self.assertEqual(await self.run_with(file.fileno(), self.lines), ["one", "two"])
            self.assertEqual(await self.run_with(device.fileno(), self.lines), [])

    async def test_lines_of_a_terminal(self) -> None:
        """Line by line while it stays open; its other users are not made non-blocking."""
        os.close(self.typed)
        keyboard, screen = open_terminal()
        self.addCleanup(os.close, keyboard)
        self.addCleanup(os.close, screen)

        async def body(terminal: Terminal) -> str:
            self.assertTrue(os.get_blocking(screen))
            os.write(keyboard, b"hello\n")
            return await anext(terminal)

        self.assertEqual(await self.run_with(screen, body), "hello")

    async def test_many_lines(self) -> None:
        """Reading stops while the program is behind, and nothing is lost."""
        count = 20 * MAX_WAITING_LINES
        content = b"".join(b"%d\n" % number for number in range(count))

        typing = deferToThread(self.write_all, self.typed, content)
        found = await self.run_with(self.input, self.lines)
        await typing
        self.assertEqual(found, [str(number) for number in range(count)])

    @staticmethod
    def write_all(fd: int, content: bytes) -> None:
        """Write to a blocking pipe, then close it."""
        with os.fdopen(fd, "wb") as stream:
            stream.write(content)

    async def test_a_line_without_end(self) -> None:
        """Memory is bounded: what can be no entry is handed over, to be refused."""
        content = b"x" * (MAX_BODY_BYTES + 200_000)
        typing = deferToThread(self.write_all, self.typed, content)
        found = await self.run_with(self.input, self.lines)
        await typing
        self.assertGreater(len(found[0]), MAX_BODY_BYTES)
        self.assertEqual(sum(map(len, found)), len(content))

    async def test_output(self) -> None:
        """Everything is out when the terminal is closed, a line each, and nothing else is a line or steers it."""

        async def body(terminal: Terminal) -> None:
            terminal.put("one")
            await terminal.write("zwölf \ud800")
            await terminal.write("\x1b[2J\nbob> bye")

        os.close(self.typed)
        await self.run_with(self.input, body)
        self.assertEqual(os.read(self.output, 1000), b"one\nzw\xc3\xb6lf \\ud800\n\\x1b[2J\\nbob> bye\n")

    async def test_slow_output(self) -> None:
        """Who writes waits for who reads, and what was written comes out once and in order."""
        os.close(self.typed)
        received = bytearray()

        def read_all() -> None:
            while some := os.read(self.output, 1 << 16):
                received.extend(some)

        async def body(terminal: Terminal) -> list[str]:
            written = [f"{number:099}" for number in range(20_000)]
            writing = Deferred.fromCoroutine(self.write_each(terminal, written))
            self.assertFalse(writing.called)  # two megabytes, and nobody has read any
            reading.append(deferToThread(read_all))
            await writing
            return written

        reading: list[Deferred[None]] = []
        written = await self.run_with(None, body)
        self.end_output()
        await reading[0]
        self.assertEqual(received.decode().splitlines(), written)

    async def write_each(self, terminal: Terminal, lines: list[str]) -> None:
        """Write lines, each after the one before."""
        for line in lines:
            await terminal.write(line)

    async def test_output_that_stands_still(self) -> None:
        """The end waits a little for who reads, not for ever."""
        os.close(self.typed)
        self.patch(terminal, "FLUSH_SECONDS", 0.01)

        async def body(opened: Terminal) -> None:
            opened.put("x" * 1_000_000)

        await self.run_with(None, body)
        self.end_output()
        self.assertEqual(os.read(self.output, 10), b"x" * 10)

    async def test_flags_are_left_alone(self) -> None:
        """Pipes that others share stay as they are, blocking or not."""
        for blocking in (True, False):
            readable, typed = self.pipe()
            for fd in (readable, self.stdout):
                os.set_blocking(fd, blocking)

            async def body(terminal: Terminal, typed: int = typed) -> str:
                os.write(typed, b"on")
                terminal.put("out")
                os.write(typed, b"e\n")
                return await anext(terminal)

            self.assertEqual(await self.run_with(readable, body), "one")
            for fd in (readable, self.stdout):
                self.assertEqual(os.get_blocking(fd), blocking)
            os.close(typed)
            self.assertEqual(os.read(self.output, 100), b"out\n")
        os.close(self.typed)


class BrokenOutputTests(TestCase):
    """Nobody reads any more."""

    timeout = 60

    async def test_the_program_ends(self) -> None:
        """Who waits for that hears of it, the lines end, and writing raises."""
        output, stdout = os.pipe()
        stdin, typed = os.pipe()
        self.addCleanup(os.close, stdin)
        self.addCleanup(os.close, typed)
        async with Terminal(reactor, stdin=stdin, stdout=stdout) as terminal:
            waiting = Deferred.fromCoroutine(terminal.broken())
            self.assertNoResult(waiting)
            os.close(output)
            with self.assertRaises(BrokenPipeError):
                await waiting
            self.assertEqual([line async for line in terminal], [])
            with self.assertRaises(BrokenPipeError):
                await terminal.write("x")
            with self.assertRaises(BrokenPipeError):
                await terminal.broken()
            terminal.put("x")
        os.close(stdout)


class FirstOfTests(SynchronousTestCase):
    """Coroutines side by side."""

    def setUp(self) -> None:
        self.ended: list[str] = []

    async def wait(self, name: str, event: Deferred[Any]) -> None:
        """Wait for ``event``, note the end."""
        try:
            await event
        finally:
            self.ended.append(name)

    def test_first_end(self) -> None:
        """The others are cancelled and waited for."""
        one: Deferred[None] = Deferred()
        task = Deferred.fromCoroutine(first_of(self.wait("one", one), self.wait("two", Deferred())))
        self.assertNoResult(task)
        one.callback(None)
        self.successResultOf(task)
        self.assertEqual(self.ended, ["one", "two"])

    def test_first_failure(self) -> None:
        """It is raised as it is."""
        one: Deferred[None] = Deferred()
        task = Deferred.fromCoroutine(first_of(self.wait("two", Deferred()), self.wait("one", one)))
        one.errback(KeyError("x"))
        self.failureResultOf(task, KeyError)
        self.assertEqual(sorted(self.ended), ["one", "two"])

    def test_cancelled(self) -> None:
        """Both are."""
        task = Deferred.fromCoroutine(first_of(self.wait("one", Deferred()), self.wait("two", Deferred())))
        task.cancel()
        self.failureResultOf(task, CancelledError)
        self.assertEqual(sorted(self.ended), ["one", "two"])
