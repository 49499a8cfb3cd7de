"""Ring 1 and 8: logs of programs: levels, JSON, and that every event of the package has a name that is documented."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.happenings import KINDS, name_of
from gossiplog.app.log_options import LEVELS, PARTS, LogOptions, log_options, read_levels
from gossiplog.app.logs import Lines, json_line
from gossiplog.app.printing import StatusLine
from gossiplog.errors import InvalidValueError
from gossiplog.live.logger import NodeLog, set_levels
from tests.processes import ProcessTestCase
from tests.test_shape import modules

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "howto" / "logging.rst"
METHODS = {"debug", "info", "warn", "error", "failure", "critical", "emit"}


def logged() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package that logs something, with its module."""
    for name, module in modules().items():
        for node in ast.walk(module):
            called = node.func if isinstance(node, ast.Call) else None
            if (
                isinstance(called, ast.Attribute)
                and called.attr in METHODS
                and "log" in ast.unparse(called.value)
            ):
                assert isinstance(node, ast.Call)
                yield name, node


class EventTests(SynchronousTestCase):
    """What the package logs."""

    def test_every_event_has_a_name(self) -> None:
        """A constant one, in snake case, in a part that levels know."""
        names = set()
        for module, call in logged():
            if module.startswith("testing") or module == "live.logger":
                continue
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            self.assertIn("event", given, f"{module}:{call.lineno}")
            if isinstance(given["event"], ast.Constant):
                names.add(given["event"].value)
            self.assertIn(module.split(".")[0], PARTS, module)
        self.assertGreater(len(names), 10)
        for name in names:
            self.assertRegex(name, r"\A[a-z]+(_[a-z]+)*\Z")

    def test_all_are_documented(self) -> None:
        """Each in the table of the how-to, and no other."""
        said = {call_name(call) for module, call in logged() if not module.startswith("testing")}
        events = {name for name in said if name} | {name_of(kind) for kind in KINDS}
        table = set(re.findall(r"^``([a-z_]+)`` {2,}", DOCUMENT.read_text(), re.MULTILINE))
        self.assertEqual(table, events)


def call_name(call: ast.Call) -> str | None:
    """The name of the event that is logged, if it is always the same."""
    values = [keyword.value for keyword in call.keywords if keyword.arg == "event"]
    return str(values[0].value) if values and isinstance(values[0], ast.Constant) else None


class LevelTests(SynchronousTestCase):
    """How levels are written."""

    def test_read(self) -> None:
        self.assertEqual(read_levels("warn"), (("", "warn"),))
        self.assertEqual(read_levels("warn, net=debug"), (("", "warn"), ("net", "debug")))
        said = [read_levels("net=debug"), read_levels("net=error,store=info")]
        self.assertEqual(log_options(True, said).levels[-2:], (("net", "error"), ("store", "info")))

    def test_refused(self) -> None:
        """By name, with those there are."""
        for text in (
            "",
            "loud",
            "net=loud",
            "nets=debug",
            "=debug",
            "net=",
            "net:debug",
            "a=b=c",
            "warn,",
            "\x1b",
        ):
            error = self.assertRaises(InvalidValueError, read_levels, text)
            self.assertTrue(any(name in str(error) for name in (LEVELS[0], PARTS[0])))
            self.assertTrue(str(error).isprintable())


class LineTests(SynchronousTestCase):
    """Events as lines."""

    def setUp(self) -> None:
        self.error = io.StringIO()
        self.patch(__import__("sys"), "stderr", self.error)
        self.addCleanup(set_levels, LogLevel.info, {})

    def lines(self, as_json: bool, *levels: tuple[str, str]) -> None:
        """Log to our standard error."""
        observer = Lines(StatusLine(), LogOptions(as_json, levels))  # which sets the levels, too
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def parsed(self) -> list[dict[str, Any]]:
        """The lines, as JSON."""
        return [json.loads(line) for line in self.error.getvalue().splitlines()]

    def test_json(self) -> None:
        self.lines(True)
        NodeLog("gossiplog.net").warn("{a} of {b}", event="tested", a="x\n", b=3)
        (event,) = self.parsed()
        self.assertRegex(event.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        expected = {
            "level": "warn",
            "part": "net",
            "event": "tested",
            "text": "x\\n of 3",
            "a": "x\\n",
            "b": 3,
        }
        self.assertEqual(event, expected)

    def test_levels(self) -> None:
        """Of a part, of what is in it, of all others; Twisted's own are not ours to judge."""
        self.lines(True, ("", "error"), ("net", "debug"))
        for namespace in (
            "gossiplog.net",
            "gossiplog.net.dialer",
            "gossiplog.store",
            "gossiplog.network",
            "gossiplog",
        ):
            NodeLog(namespace).debug("x", event="tested", namespace=namespace)
        self.assertEqual(
            [event["namespace"] for event in self.parsed()], ["gossiplog.net", "gossiplog.net.dialer"]
        )

    def test_odd_values(self) -> None:
        """Whatever is in an event, the line is JSON that every parser reads."""
        self.lines(True)
        NodeLog("gossiplog.net").info("x", event="tested", a=float("nan"), b=b"\xff", c=None, d=float("inf"))
        self.assertNotIn("NaN", self.error.getvalue())
        (event,) = self.parsed()
        self.assertEqual((event["a"], event["c"], event["d"]), ("nan", None, "inf"))
        self.assertTrue(json_line({}).startswith("{"))

    def test_long(self) -> None:
        """A line of many long texts is whole."""
        self.lines(True)
        texts: dict[str, Any] = {f"text_{number}": "x" * 5000 for number in range(9)}
        NodeLog("gossiplog.net").info("x", event="tested", **texts)
        (event,) = self.parsed()
        self.assertTrue(event["text_8"].endswith("(5000 characters)"))

    def test_failures(self) -> None:
        """One line, with where it was raised."""
        self.lines(True)
        Deferred.fromCoroutine(_fail()).addErrback(
            lambda failure: NodeLog("gossiplog.net").failure("it failed", failure, event="tested")
        )
        (event,) = self.parsed()
        self.assertEqual(
            (event["level"], event["error"], event["text"]), ("error", "Unprintable", "it failed")
        )
        self.assertIn("_fail", event["frames"][-1])
        self.flushLoggedErrors()

    def test_text(self) -> None:
        """As always: words alone; of Twisted's own events only failures."""
        self.lines(False)
        NodeLog("gossiplog.net").warn("{a} happened", event="tested", a="this")
        globalLogPublisher(
            {"log_format": "noise", "log_time": 0.0, "log_level": LogLevel.info, "log_namespace": "twisted"}
        )
        globalLogPublisher(
            {
                "log_failure": Failure(KeyError("x")),
                "log_time": 0.0,
                "log_namespace": "x",
                "log_level": LogLevel.critical,
            }
        )
        self.assertRegex(
            self.error.getvalue(), r"\Athis happened\ngossiplog: internal error: KeyError: 'x'\n\Z"
        )
        self.flushLoggedErrors()


async def _fail() -> None:
    raise ValueError("foreign\x1b[2J\ntext")


class ProgramTests(ProcessTestCase):
    """run and twistd."""

    def json_lines(self, text: str) -> list[dict[str, Any]]:
        """All lines are JSON."""
        return [json.loads(line) for line in text.splitlines()]

    def test_run(self) -> None:
        """Two nodes; every line on standard error is JSON, an address that nobody is at is said once."""
        self.run_gossiplog("init", "--store", "ann")
        self.run_gossiplog("init", "--store", "bob")
        loopback = "tcp:0:interface=127.0.0.1"
        ann = self.gossiplog("run", "--store", "ann", "--network", "n", "--listen", loopback, "--log-json")
        where = ann.ready()["listening"][0]
        more = ("--peer", where, "--peer", "tcp:127.0.0.1:1", "--log-level", "gossip=debug", "--log-json")
        bob = self.gossiplog("run", "--store", "bob", "--network", "n", *more)
        bob.wait_for_error('"event": "caught_up"')
        ann.wait_for_error('"event": "peer_up"')
        self.assertEqual((bob.interrupt(), ann.interrupt()), (0, 0))
        events = [event["event"] for event in self.json_lines(bob.err)]
        self.assertEqual(events.count("dial_failed"), 1)
        self.assertNotIn("caught_up", ann.err)

    def test_twistd(self) -> None:
        """The file is JSON from the first line to the last, and SIGUSR1 begins a new one."""
        options = (
            "--pidfile=",
            "--logfile=log",
            "--nodaemon",
            "gossiplog",
            "--store",
            "ann",
            "--network",
            "n",
        )
        process = self.twistd(*options, "--log-json", "--log-level", "warn,app=info")
        tail = self.start("tail", "-n", "+1", "-F", "log")
        tail.wait_for('"event": "ready"')
        os.kill(process.popen.pid, signal.SIGUSR1)
        tail.wait_for_error("replaced|inaccessible")
        process.terminate()
        first, second = [self.json_lines((self.place / name).read_text()) for name in ("log.1", "log")]
        self.assertIn("ready", [event["event"] for event in first])
        self.assertEqual({event["event"] for event in second} | {"log"}, {"log"})

    def test_twistd_refuses(self) -> None:
        """What it cannot do."""
        for more, words in (
            (("--log-json",), "--log-json excludes --syslog and --logger"),
            (("--log-level", "nets=debug"), "'nets' is no part"),
        ):
            options = ("--syslog", "--nodaemon", "gossiplog", "--store", "ann", "--network", "n")
            process = self.twistd(*options, *more)
            process.finish()
            self.assertIn(words, process.out + process.err)
            self.assertNotIn("Traceback", process.out + process.err)
