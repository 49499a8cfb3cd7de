"""Ring 8: texts that look like options, and clocks that are wrong or set back for the winter."""

from __future__ import annotations

import sys
from contextlib import closing

from gossiplog.errors import InvalidValueError
from gossiplog.log.body import encode_bodies, encode_body
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
from tests.processes import ProcessTestCase, environment

WRONG_CLOCK = (
    "import sys, time; time.time = lambda: {}; "
    "from gossiplog.app.cli import main; sys.exit(main(sys.argv[1:]))"
)


class DashTests(ProcessTestCase):
    """A text that begins with a dash is stored as it is, or what to type is said; it is never another command."""

    def setUp(self) -> None:
        super().setUp()
        self.run_gossiplog("init", "--store", "ann")

    def test_stored(self) -> None:
        texts = ["- milk", "-h and -x", "--help me", "-5", "-"]
        self.run_gossiplog("append", "--store", "ann", *texts)
        behind = ["-hello", "--help", "--json=3", "-"]
        self.run_gossiplog("append", "--store", "ann", "--", *behind)
        self.run_gossiplog("append", "--store", "ann", typed="-hello\n--version\n")
        self.assertEqual(list(self.logged("ann").values()), [*texts, *behind, "-hello", "--version"])

    def test_refused(self) -> None:
        for text in ("-hello", "-x", "--jason", "--json=3 apples"):
            process = self.gossiplog("append", "--store", "ann", text)
            self.assert_one_line(process, 2, "text that begins with a dash goes behind --")
        for option in ("--writer", "--store"):
            process = self.gossiplog("append", option, "-x", "text")
            self.assert_one_line(process, 2, "is said with =")
        self.assertEqual(self.logged("ann"), {})


class ClockTests(ProcessTestCase):
    """What an entry says about time, and what a clock can be."""

    def test_the_hour_that_comes_twice(self) -> None:
        """Local time is shown with how far it is from UTC."""
        with closing(open_logs(self.place / "ann")) as logs:
            author = logs.writer("default").author
            for seconds in (1792888200, 1792891800):  # 2026-10-25, 00:30 and 01:30 UTC
                logs.process([Append(author, encode_bodies(seconds * 1000, [b"x"]))])
        cases = {
            "Europe/Berlin": ["02:30:00+02:00", "02:30:00+01:00"],
            "Asia/Kolkata": ["06:00:00+05:30", "07:00:00+05:30"],
            "UTC": ["00:30:00+00:00", "01:30:00+00:00"],
        }
        for zone, times in cases.items():
            lines = self.run_gossiplog("log", "--store", "ann", env=environment(TZ=zone)).splitlines()
            self.assertEqual([line.split()[1] for line in lines], times)

    def test_before_1970(self) -> None:
        """The error names the clock, and nothing is stored."""
        self.run_gossiplog("init", "--store", "ann")
        for now in ("-1.0", "-3e8"):
            process = self.start(
                sys.executable, "-c", WRONG_CLOCK.format(now), "append", "--store", "ann", "x"
            )
            self.assert_one_line(process, 1, "the system clock")
        self.assertEqual(self.logged("ann"), {})
        for encode in (lambda: encode_body(-1, b""), lambda: encode_bodies(-1, [b""])):
            self.assertIn("the system clock", str(self.assertRaises(InvalidValueError, encode)))

    def test_far_in_the_future(self) -> None:
        """Is a time as any other, also one that no calendar has."""
        self.run_gossiplog("init", "--store", "ann")
        for now, shown in (("5.68e9", "2149-"), ("1e12", "@1000000000000000 ")):
            process = self.start(
                sys.executable, "-c", WRONG_CLOCK.format(now), "append", "--store", "ann", "x"
            )
            self.assertEqual((process.finish(), process.err), (0, ""))
            self.assertIn(f"\n{shown}", "\n" + self.run_gossiplog("log", "--store", "ann"))
            by_time = self.gossiplog("log", "--store", "ann", "--sort", "time", "--json")
            self.assertEqual(by_time.finish(), 0)
            self.assertIn("ahead of the clock here", by_time.err)
