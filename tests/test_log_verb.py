"""Ring 8 in one process: the verb log, by time and in part, in constant memory."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.cli import main
from gossiplog.app.commands.by_time import ByTime
from gossiplog.app.commands.chosen import Chosen, read_moment, read_where
from gossiplog.errors import InvalidValueError
from gossiplog.log.body import encode_body
from gossiplog.log.entry import Entry
from gossiplog.log.keys import format_author, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import open_logs
from tests.timelines import PAIRS, History, accept, places

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


class VerbCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        logs = open_logs(self.path)
        for number in range(4):
            pair = PAIRS[number]
            bodies = [
                encode_body(
                    START_MS + 1000 * at,
                    json.dumps({"n": at, "room": at % 3, "on": {"top": at % 2 == 0}}).encode(),
                )
                for at in range(number, 100, 4)
            ]
            accept(logs, *build(pair, Head(0, genesis_id(pair.author)), bodies)[0])
        logs.close()

    def log(self, *options: str, status: int = 0) -> list[str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.assertEqual(main(["log", "--store", self.path, *options]), status, err.getvalue())
        self.said = err.getvalue()
        return out.getvalue().splitlines()

    def numbers(self, *options: str) -> list[int]:
        return [json.loads(line)["payload"]["n"] for line in self.log("--json", *options)]


class ChoosingTests(VerbCase):
    def test_by_time(self) -> None:
        """All authors together, the oldest first, or in reverse."""
        self.assertEqual(self.numbers("--sort", "time"), [*range(100)])
        self.assertEqual(self.numbers("--reverse"), [*range(99, -1, -1)])

    def test_newest(self) -> None:
        """The last N, the oldest of them first as in the whole, or in reverse; none and more than there are too."""
        self.assertEqual(self.numbers("-n", "3"), [97, 98, 99])
        self.assertEqual(self.numbers("-n", "3", "--reverse"), [99, 98, 97])
        self.assertEqual(self.numbers("-n", "0"), [])
        self.assertEqual(self.numbers("-n", "1000"), [*range(100)])

    def test_moments(self) -> None:
        """Since one, before another; with a zone, without, and so long ago."""
        self.assertEqual(self.numbers("--since", "2026-11-30T12:01:35Z"), [95, 96, 97, 98, 99])
        self.assertEqual(self.numbers("--until", "2026-11-30T12:00:02.500+00:00"), [0, 1, 2])
        self.assertEqual(
            self.numbers("--since", "2026-11-30T12:00:10Z", "--until", "2026-11-30T12:00:12Z"), [10, 11]
        )
        self.assertEqual(self.numbers("--until", "5000w"), [])
        local = read_moment("2026-11-30T12:00")
        self.assertEqual(local.replace(tzinfo=None), datetime(2026, 11, 30, 12))
        self.assertIsNotNone(local.utcoffset())
        ago = datetime.now(UTC) - read_moment("90m")
        self.assertLess(abs(ago - timedelta(minutes=90)), timedelta(minutes=1))
        for wrong in ("", "noon", "2026-13-01", "5", "5y", "-5m", "9" * 9 + "w", "2026-11-30T12:00+99:00"):
            self.assertRaises(InvalidValueError, read_moment, wrong)

    def test_author(self) -> None:
        """One of them, by time too."""
        author = format_author(PAIRS[1].author)
        self.assertEqual(self.numbers("--author", author, "-n", "2"), [93, 97])
        self.assertEqual(self.numbers("--author", author), [*range(1, 100, 4)])

    def test_ahead_of_our_clock(self) -> None:
        """Whoever writes next year's date is not the last of all; it is said, and nothing is lost."""
        pair, day = PAIRS[5], datetime(2100, 1, 1, tzinfo=UTC)
        bodies = [
            encode_body(int(day.timestamp() * 1000), b'{"n": 100}'),
            encode_body(START_MS, b'{"n": 101}'),
        ]
        logs = open_logs(self.path)
        accept(logs, *build(pair, Head(0, genesis_id(pair.author)), bodies)[0])
        logs.close()
        self.assertEqual(self.numbers("-n", "1"), [99])
        self.assertRegex(self.said, r"from 1 on are left out: it says 2100-01-01 .*; --until a later moment")
        self.assertEqual(self.numbers("--sort", "time", "--until", "2101-01-01")[-2:], [100, 101])
        self.assertEqual(len(self.numbers()), 102)
        self.assertEqual(self.said, "")

    def test_where(self) -> None:
        """By a field of a JSON object, as JSON or as text, several at once; counted are those that pass."""
        self.assertEqual(self.numbers("--where", "room=2", "-n", "3"), [92, 95, 98])
        self.assertEqual(self.numbers("--where", "room=2", "--where", "on.top=true", "-n", "3"), [86, 92, 98])
        self.assertEqual(sorted(self.numbers("--where", "room=2")), [*range(2, 100, 3)])
        self.assertEqual(self.numbers("--where", "room=true"), [])
        self.assertEqual(self.numbers("--where", "nothing=1", "-n", "5"), [])

    def test_conditions(self) -> None:
        """A value is equal if it is the same JSON, or the same text."""
        cases = [
            ("a=1", b'{"a": 1}', True),
            ("a=1", b'{"a": 1.0}', True),
            ("a=1", b'{"a": "1"}', True),
            ("a=1", b'{"a": true}', False),
            ("a=true", b'{"a": true}', True),
            ("a=true", b'{"a": 1}', False),
            ("a=null", b'{"a": null}', True),
            ("a=null", b"{}", False),
            ('a="x"', b'{"a": "x"}', True),
            ("a=x=y", b'{"a": "x=y"}', True),
            ("a=", b'{"a": ""}', True),
            ('a=[1, {"b": 2}]', b'{"a": [1, {"b": 2}]}', True),
            ("a.b=2", b'{"a": {"b": 2}}', True),
            ("a.b=2", b'{"a.b": 2}', True),
            ("a.b=2", b'{"a": [2]}', False),
            ("a=1", b"[1]", False),
            ("a=1", b"\xff", False),
            ("a=1", b"a=1", False),
        ]
        for text, payload, passes in cases:
            entry = Entry(PAIRS[0].author, 1, bytes(32), 0, payload)
            self.assertEqual(read_where(text)(entry), passes, (text, payload))
        self.assertFalse(read_where("a=1")(Entry(PAIRS[0].author, 1, bytes(32), 0, None, dropped=True)))
        for wrong in ("", "a", "=1"):
            self.assertRaises(InvalidValueError, read_where, wrong)

    def test_what_means_nothing(self) -> None:
        """Options that contradict each other, and values that are none, are named."""
        for options, words in (
            (("--sort", "author", "-n", "3"), "-n is about the order by time"),
            (("--sort", "author", "--reverse"), "--reverse is about the order by time"),
            (("--follow", "--since", "1h"), "--since is about what is there: not with --follow"),
            (("--follow", "--sort", "time"), "what is new comes as it comes"),
            (("-n", "-1"), "-n"),
            (("-n", "many"), "a number of entries, not many"),
            (("--since", "noon"), "a moment is"),
            (("--where", "room"), "a condition is FIELD=VALUE"),
        ):
            error = io.StringIO()
            with redirect_stderr(error):
                self.assertEqual(main(["log", "--store", self.path, *options]), 2)
            self.assertIn(words, error.getvalue())

    def test_json(self) -> None:
        """A payload that is a JSON object or array is one in the line; text and numbers stay the text that they are."""
        payloads = (b'{"a": [1, null]}', b"[]", b"5", b'"x"', b"text", b"{broken", b'{"a": NaN}')
        other = os.path.abspath(self.mktemp())
        logs = open_logs(other)
        bodies = [encode_body(1, payload) for payload in payloads]
        accept(logs, *build(PAIRS[0], Head(0, genesis_id(PAIRS[0].author)), bodies)[0])
        logs.close()
        self.path = other
        found = [json.loads(line)["payload"] for line in self.log("--json")]
        self.assertEqual(found, [{"a": [1, None]}, [], "5", '"x"', "text", "{broken", '{"a": NaN}'])


class MemoryTests(SynchronousTestCase):
    def test_as_much_as_a_page(self) -> None:
        """A store that is five times as large takes no more memory, in neither direction."""
        peaks = []
        for count in (400, 2000):
            logs = open_logs("memory:")
            for pair in PAIRS[:4]:
                bodies = [encode_body(START_MS + at, bytes(1000)) for at in range(count)]
                accept(logs, *build(pair, Head(0, genesis_id(pair.author)), bodies)[0])
            with_index = ByTime(logs, None, lambda damage: None)
            with_index._index.runs._keep_bytes = 1 << 18
            tracemalloc.start()
            self.assertEqual(sum(1 for _ in with_index.entries(Chosen())), 4 * count)
            self.assertEqual(sum(1 for _ in with_index.entries(Chosen(newest=count))), count)
            self.assertEqual(sum(1 for _ in with_index.entries(Chosen(reverse=True))), 4 * count)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            with_index.close()
            logs.close()
        self.assertLess(peaks[1], 1.5 * peaks[0])


class OrderTests(SynchronousTestCase):
    def test_the_order_of_places(self) -> None:
        """With references and wrong clocks, as a timeline has it."""
        for seed in range(3):
            written = History(seed, 6, 500, 0.5)
            written.write(40)
            logs = open_logs("memory:")
            accept(logs, *written.arrivals(seed))
            expected = [(each.author, each.seq) for each in places(logs)]
            read = ByTime(logs, None, lambda damage: None)
            newest = Random(seed).randrange(1, len(expected))
            for chosen, wanted in (
                (Chosen(), expected),
                (Chosen(reverse=True), expected[::-1]),
                (Chosen(newest=newest), expected[-newest:]),
                (Chosen(newest=newest, reverse=True), expected[::-1][:newest]),
            ):
                self.assertEqual([(entry.author, entry.seq) for entry in read.entries(chosen)], wanted)
            read.close()
