"""Ring 6: descriptors that others share, in every combination of what they are and how they were left."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog.app.streams import WAITING_BYTES, Input, Output, Patient
from tests.processes import open_terminal

MUCH = b"".join(b"%d\n" % number for number in range(50_000))


def pairs() -> dict[str, Callable[[], tuple[int, int]]]:
    """What a standard stream may be: functions that make a reading and a writing end."""

    def sockets() -> tuple[int, int]:
        one, other = socket.socketpair()
        return one.detach(), other.detach()

    def terminal() -> tuple[int, int]:
        one, other = open_terminal()
        return one, other

    return {"pipe": os.pipe, "socket": sockets, "terminal": terminal}


class PatientTests(SynchronousTestCase):
    """A file over a descriptor that somebody made non-blocking."""

    def both(self, kind: str) -> tuple[int, int]:
        ends = pairs()[kind]()
        for fd in ends:
            os.set_blocking(fd, False)
            self.addCleanup(lambda fd=fd: self.closed(fd))
        return ends

    def closed(self, fd: int) -> None:
        try:
            os.close(fd)
        except OSError:
            pass

    def test_all_is_written_and_read(self) -> None:
        """More than fits, through a reader that is slower; nothing is cut, and no flag is changed."""
        for kind in ("pipe", "socket"):
            readable, writable = self.both(kind)

            def write(fd: int = writable) -> None:
                with io.TextIOWrapper(io.BufferedWriter(Patient(fd, "w"))) as stream:
                    stream.write(MUCH.decode())
                os.close(fd)

            writing = threading.Thread(target=write)
            writing.start()
            with io.BufferedReader(Patient(readable, "r")) as stream:
                self.assertEqual(stream.read(), MUCH)
            writing.join()
            self.assertFalse(os.get_blocking(readable))

    def test_a_line_that_comes_in_pieces(self) -> None:
        """Waiting for the rest of it is no end."""
        readable, writable = self.both("pipe")
        read = threading.Event()

        def write() -> None:
            for piece in (b"one li", b"ne\ntwo\nthr", b"ee"):
                os.write(writable, piece)
            os.close(writable)
            read.set()

        writing = threading.Thread(target=write)
        stream = io.TextIOWrapper(io.BufferedReader(Patient(readable, "r")))
        writing.start()
        self.assertEqual(list(stream), ["one line\n", "two\n", "three"])
        writing.join()

    def test_broken(self) -> None:
        """Nobody reads."""
        readable, writable = self.both("pipe")
        os.close(readable)
        self.assertRaises(BrokenPipeError, Patient(writable, "w").write, b"x")


class ThreadTests(TestCase):
    """The same for a program on a reactor."""

    timeout = 60

    def ends(self, kind: str, blocking: bool) -> tuple[int, int]:
        ends = pairs()[kind]()
        for fd in ends:
            os.set_blocking(fd, blocking)
        self.blocking = blocking
        return ends

    async def close(self, *fds: int) -> None:
        for fd in fds:
            self.assertEqual(os.get_blocking(fd), self.blocking)
            os.close(fd)

    async def test_input(self) -> None:
        """All comes, then the end, from blocking and other descriptors."""
        for kind in ("pipe", "socket"):
            for blocking in (True, False):
                readable, writable = self.ends(kind, blocking)
                found: list[bytes] = []
                ended: Deferred[None] = Deferred()
                source = Input(readable, reactor, found.append, lambda ended=ended: ended.callback(None))

                def write(fd: int = writable) -> None:
                    Patient(fd, "w")
                    with io.BufferedWriter(Patient(fd, "w")) as stream:
                        stream.write(MUCH)

                await deferToThread(write)
                os.close(writable)
                await ended
                self.assertEqual(b"".join(found), MUCH)
                source.close()
                await self.joined(source)
                await self.close(readable)

    async def joined(self, worker: Any) -> None:
        await deferToThread(worker._thread.join)

    async def test_input_that_pauses(self) -> None:
        """What comes meanwhile stays where it is; closing ends a thread that waits."""
        readable, writable = self.ends("pipe", True)
        first: Deferred[bytes] = Deferred()
        second: Deferred[bytes] = Deferred()
        waiting = [second, first]

        def received(content: bytes) -> None:
            source.pause()
            waiting.pop().callback(content)

        source = Input(readable, reactor, received, lambda: None)
        os.write(writable, b"one")
        self.assertEqual(await first, b"one")
        os.write(writable, b"two")
        source.resume()
        self.assertEqual(await second, b"two")
        source.close()
        await self.joined(source)
        await self.close(readable, writable)

    async def test_output(self) -> None:
        """More than fits: it says that it is full, writes all in order, and says when it is not."""
        for kind in ("pipe", "socket", "terminal"):
            for blocking in (True, False):
                readable, writable = self.ends(kind, blocking)
                changes: list[bool] = []
                output = Output(writable, reactor, lambda: None)
                content = MUCH.replace(b"\n", b" ") if kind == "terminal" else MUCH
                done: Deferred[None] = Deferred()

                def changed(
                    output: Output = output, changes: list[bool] = changes, done: Deferred[None] = done
                ) -> None:
                    changes.append(output.is_full)
                    if output.is_done and not done.called:
                        done.callback(None)

                output._changed = changed
                for start in range(0, len(content), 1000):
                    output.write(content[start : start + 1000])
                self.assertTrue(output.is_full and not output.is_done)

                def read(fd: int = readable, size: int = len(content)) -> bytes:
                    found = bytearray()
                    while len(found) < size:
                        try:
                            found += os.read(fd, 65536)
                        except BlockingIOError:
                            continue
                    return bytes(found)

                self.assertEqual(await deferToThread(read), content)
                await done
                self.assertFalse(changes[-1])
                self.assertTrue(output.is_done)
                output.close()
                await self.joined(output)
                output.write(b"too late")
                await self.close(readable, writable)

    async def test_output_that_is_given_up(self) -> None:
        """What still waits is written nowhere, above all not to what gets the number of a closed descriptor."""
        readable, writable = self.ends("pipe", True)
        output = Output(writable, reactor, lambda: None)
        output.write(b"x" * 1_000_000)
        output.close()
        os.close(writable)
        other_end, reused = os.pipe()
        await self.joined(output)
        await self.close(reused)
        self.assertEqual(os.read(other_end, 10), b"")
        await self.close(readable, other_end)

    async def test_output_that_nobody_reads(self) -> None:
        """It is told although nothing is written, and also what a full device says."""
        for kind in ("pipe", "socket"):
            readable, writable = self.ends(kind, True)
            told: Deferred[None] = Deferred()
            output = Output(writable, reactor, lambda told=told: told.callback(None))
            os.close(readable)
            if kind == "socket":
                output.write(b"x" * WAITING_BYTES)
            await told
            self.assertIsInstance(output.broken, BrokenPipeError)
            await self.joined(output)
            output.write(b"x")
            output.close()
            await self.close(writable)
        full = os.open("/dev/full", os.O_WRONLY)
        told = Deferred()
        output = Output(full, reactor, lambda: told.callback(None))
        output.write(b"x")
        await told
        assert output.broken is not None
        self.assertIn("No space", str(output.broken))
        await self.joined(output)
        os.close(full)
