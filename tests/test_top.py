"""Rings 1 and 8: the verb top: what is on its screen, and that it leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.commands.top import lines
from tests.netcase import World
from tests.processes import DEADLINE_SECONDS, ProcessTestCase, open_terminal
from tests.serving import ServedCase


class LinesTests(SynchronousTestCase):
    """What is on the screen."""

    def test_rates(self) -> None:
        """Are those since the screen before."""
        world = World()
        self.addCleanup(world.close)
        ann, bob = world.site("ann"), world.site("bob")
        bob.node.connect(ann.listen())
        world.run(1)
        before = bob.node.status().as_json()
        ann.append(*[b"x" * 100] * 500)
        world.run(2)
        said = {**bob.node.status().as_json(), "time_ms": before["time_ms"] + 2000}
        said["troubles"] = [{"event": "DialFailed", "words": "no", "time_ms": 0, "count": 3}]
        shown = "\n".join(lines(said, before))
        self.assertIn("entries 500 of 1 authors", shown)
        self.assertIn("+250/s", shown)
        self.assertIn("DialFailed (3 times): no", shown)
        self.assertRegex(shown, r"> tcp:\S+ .* 0 B")
        self.assertIn("+0/s", "\n".join(lines(before, None)))


class ScreenTests(ProcessTestCase, ServedCase):
    """On a real terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.abspath(self.mktemp())
        self.keyboard, self.screen = open_terminal()
        self.addCleanup(lambda: [os.close(each) for each in (self.keyboard, self.screen)])
        termios.tcsetwinsize(self.screen, (20, 100))

    def shown(self, wanted: str) -> str:
        """Read the screen until it shows this."""
        text = ""
        while wanted not in text:
            self.assertTrue(select.select([self.keyboard], [], [], DEADLINE_SECONDS)[0], text)
            with contextlib.suppress(UnicodeDecodeError):
                text += os.read(self.keyboard, 4096).decode()
        return text

    def test_leaving(self) -> None:
        """By a key, by Ctrl-C, by a signal: with the modes, the cursor and the text of before."""
        self.serve(self.path)
        before = termios.tcgetattr(self.screen)
        for leave, status in ((b"q", 0), (b"\x03", 0), (signal.SIGTERM, 128 + signal.SIGTERM)):
            process = self.start(
                *(sys.executable, "-m", "gossiplog.app.cli", "top", "--store", self.path, "--every", "60"),
                stdin=self.screen,
                stdout=self.screen,
                start_new_session=True,
            )
            text = self.shown("q leaves")
            self.assertIn("\x1b[?1049h\x1b[?25l", text)
            self.assertNotEqual(termios.tcgetattr(self.screen), before)
            if isinstance(leave, bytes):
                os.write(self.keyboard, leave)
            if leave != b"q":
                process.popen.send_signal(signal.SIGINT if leave == b"\x03" else leave)
            self.assertEqual((process.finish(), process.err), (status, ""))
            self.assertIn("\x1b[?25h\x1b[?1049l", self.shown("\x1b[?1049l"))
            self.assertEqual(termios.tcgetattr(self.screen), before)

    def test_no_terminal(self) -> None:
        """Is said, with the verb that needs none."""
        process = self.gossiplog("top", "--store", self.path)
        self.assertEqual(process.finish(), 1)
        self.assertIn("gossiplog status", process.err)
