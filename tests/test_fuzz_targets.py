"""Every entrance of foreign bytes takes what is known, what was found before, and some that Hypothesis makes.

Long runs are ``python -m tests.fuzz`` (CONTRIBUTING, "Fuzzing").
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip.messages import Unknown
from gossiplog.log.segment import Segment, split_items
from gossiplog.store.requests import RowFilled
from tests.fuzz import __main__ as runner
from tests.fuzz import running
from tests.fuzz.running import REGRESSIONS, Outcome, plain, regressions, shrink
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

MADE, SLOWLY_MADE = 60, 15
"""Inputs of each kind; all of it takes some seconds."""


def accept(*_: Any) -> None:
    """Check nothing."""


def any_value(self: Any, key: str) -> Any:
    """Return a value whatever its type."""
    return next((row[0] for row in self._all("SELECT value FROM meta WHERE key = ?", (key,))), None)


def bodies_of_anybody(self: Any, row: Segment, segment: Segment, given: list[Any]) -> RowFilled:
    """Put the bodies of a segment in the place of any holes."""
    filled = split_items(row)
    for seq in range(max(row.first, segment.first), min(row.last, segment.last) + 1):
        if not isinstance(filled[seq - row.first], bytes):
            filled[seq - row.first] = given[seq - segment.first]
    self._put_whole(row, filled)
    return RowFilled(row.first, row.last, row.count)


BROKEN: dict[str, tuple[str, Any]] = {
    "body": ("gossiplog.log.body._UNPACK_ERRORS", (KeyError,)),
    "frames": ("gossiplog.wire.frames.FrameReader._checked_size", lambda self, data, at: data[at + 3]),
    "channel": ("gossiplog.wire.noise.CipherState.decrypt", lambda self, data, associated=b"": data[:-16]),
    "message": ("gossiplog.wire.entries.read_usual_segment", lambda frame: Unknown(5)),
    "items": ("gossiplog.log.items.minimal_size", lambda found: sum(map(len, found))),
    "segment": ("gossiplog.log.segment.verify_head", accept),
    "proof": ("gossiplog.log.fork.verify_head", accept),
    "framing": ("gossiplog.log.fork.verify_head", accept),
    "cursor": ("gossiplog.log.cursor._UNPACK_ERRORS", (KeyError,)),
    "choices": ("gossiplog.gossip.interest.Choices.dump", lambda self: b""),
    "rows": ("gossiplog.store.sqlite.backend.SQLiteBackend.meta", any_value),
    "session": ("gossiplog.gossip.heads.Heads.settle", accept),
    "fill": ("gossiplog.gossip.catch_up.CatchUp.may_have", lambda self, session, author: True),
    "filling": ("gossiplog.store.hole_filling.HoleFiller._fill", bodies_of_anybody),
    "connection": ("gossiplog.gossip.replica.PeerError", KeyError),
    "kept-key": ("gossiplog.log.passphrase._check_cost", accept),
    "agent": ("gossiplog.store.ssh_agent._garbage", KeyError),
    "name": ("gossiplog.store.names.check_writer_name", lambda name: name),
}
"""One rule that each of these targets holds, and how it is broken."""


class Targets(SynchronousTestCase):
    """One test for each target, made below."""

    def run_target(self, target: Target) -> None:
        count = SLOWLY_MADE if target.slow else MADE
        seeds = target.seeds[:: 1 + len(target.seeds) // count]
        known = [*seeds, *regressions(target.name)]
        outcome = plain(target, float("inf"), 1, known, len(known) + count)
        self.assertIsNone(outcome.finding, outcome)

        @settings(derandomize=True, deadline=None, max_examples=count, database=None)
        @given(st.binary(max_size=200))
        def made(data: bytes) -> None:
            target.check(data)

        made()


def _test_of(target: Target) -> Callable[[Targets], None]:
    return lambda case: case.run_target(target)


for _target in TARGETS.values():
    setattr(Targets, f"test_{_target.name.replace('-', '_')}", _test_of(_target))


class Fuzzing(SynchronousTestCase):
    def test_a_broken_rule_is_found(self) -> None:
        for name, (place, instead) in BROKEN.items():
            with patch(place, instead), patch.object(running, "SHRINK_SECONDS", 0.0):
                outcome = plain(TARGETS[name], float("inf"), 1, [*TARGETS[name].seeds], 3000)
            self.assertNotEqual((name, outcome.finding), (name, None))
        self.flushLoggedErrors()  # what a broken node logged

    def test_a_finding_is_shrunk(self) -> None:
        def check(data: bytes) -> None:
            if b"bug" in data:
                raise RuntimeError

        target = Target("buggy", check, [])
        self.assertEqual(shrink(target, b"x" * 300 + b"bug" + b"y" * 99), b"bug")
        self.assertEqual(plain(target, float("inf"), 1, [b"", b"a bug"]).finding, b"bug")

    def test_same_seed_same_inputs(self) -> None:
        def inputs(seed: int) -> list[bytes]:
            seen: list[bytes] = []
            plain(Target("list", seen.append, []), float("inf"), seed, [b"corpus", b"of two"], 50)
            return seen

        self.assertEqual(inputs(1), inputs(1))
        self.assertNotEqual(inputs(1), inputs(2))

    def test_every_regression_has_its_target(self) -> None:
        files = list(REGRESSIONS.glob("*.hex"))
        self.assertEqual(len(files), sum(len(regressions(name)) for name in TARGETS))
        for file in files:
            bytes.fromhex(file.read_text())


class Runner(SynchronousTestCase):
    def run_main(self, *arguments: str, outcome: Outcome | None = None) -> tuple[int, str]:
        output = StringIO()

        def instead(command: list[str], **_: Any) -> Any:
            assert outcome is not None
            finding = None if outcome.finding is None else outcome.finding.hex()
            line = json.dumps({"executions": outcome.executions, "finding": finding, "trace": outcome.trace})
            return subprocess.CompletedProcess(command, 0, f"INFO: something\n{line}\n", "")

        with redirect_stdout(output), patch.object(sys, "argv", ["fuzz", *arguments]):
            if outcome is None:
                return runner.main(), output.getvalue()
            with patch.object(subprocess, "run", instead):
                return runner.main(), output.getvalue()

    def test_it_says_how_much_was_run(self) -> None:
        status, output = self.run_main("key", "--seconds", "0.1", "--plain", "--seed", "7")
        self.assertEqual(status, 0)
        self.assertRegex(
            output, r"(?s)plain mutation, seed 7\n.*key: [1-9]\d* executions\ntotal: [1-9]\d* .*: 0\n$"
        )

    def test_a_finding_is_told_and_fails(self) -> None:
        status, output = self.run_main(
            "key", "--seed", "7", outcome=Outcome(5, b"\x01\xff", "Traceback: it broke")
        )
        self.assertEqual(status, 1)
        self.assertIn("FINDING in key, seed 7: '01ff'\nTraceback: it broke", output)
        self.assertIn("total: 5 executions of 1 targets, new findings: 1", output)

    def test_list(self) -> None:
        self.assertEqual(self.run_main("list"), (0, "\n".join(TARGETS) + "\n"))
