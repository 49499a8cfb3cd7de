"""Rings 1, 5 and 8: the index of places, and pages by it, against the words of the specification."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import InvalidValueError
from gossiplog.log.body import Reference, encode_body
from gossiplog.log.keys import genesis_id
from gossiplog.log.place import Place
from gossiplog.log.segment import Head, Segment, build, chain_ids, drop_payloads, id_at
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, FillRow, Forget
from gossiplog.views.asking import finish
from gossiplog.views.indexing import Indexing
from gossiplog.views.pages import LATEST, format_place, parse_place
from gossiplog.views.place import Place as Room
from gossiplog.views.runs import state
from tests.timelines import PAIRS, History, Walker, accept, places

KINDS = [  # authors, skew of their clocks in ms, share of entries that name others, share that are holes
    (1, 0, 0.0, 0.0),
    (2, 500, 0.9, 0.0),
    (4, 5, 0.5, 0.0),
    (8, 500, 0.3, 0.0),
    (8, 500, 0.9, 0.1),
    (12, 50, 0.0, 0.05),
]


def history(kind: tuple[int, int, float, float], seed: int, rows: int = 30) -> History:
    """What some authors wrote."""
    made = History(seed, *kind)
    made.write(rows)
    return made


class OrderTests(SynchronousTestCase):
    """However entries come, pages have them in the order of the formula."""

    def test_any_arrival(self) -> None:
        """Indexed at the end, now and then, and after each segment; the index closed and opened again meanwhile."""
        for seed, kind in enumerate(KINDS):
            written = history(kind, seed)
            for turn, often in enumerate((0.0, 0.2, 1.0)):
                random = Random(seed * 10 + turn)
                logs = open_logs("memory:")
                walker = Walker(logs)
                news: set[bytes] = set()
                for segment in written.arrivals(turn):
                    accept(logs, segment)
                    news.add(segment.author)
                    if random.random() < often:
                        walker.follow(news)
                        news.clear()
                        if random.random() < 0.1:
                            walker.index.indexing = Indexing(walker.index.zones, walker.index.runs)
                            walker.follow()
                walker.follow(news)
                self.assertEqual(walker.places(random.choice((1, 7, 1000))), places(logs), (seed, turn))
                self.assertEqual(walker.forward(random.choice((1, 7, 1000))), places(logs), (seed, turn))
                logs.close()

    def test_ahead_of_our_clock(self) -> None:
        """What is ahead, and what follows it, has its place when it is due; our clock may be set back, too."""
        for seed, kind in enumerate(KINDS):
            logs = open_logs("memory:")
            walker = Walker(logs)
            random = Random(seed)
            times = [0]
            for segment in history(kind, seed).arrivals(seed):
                accept(logs, segment)
                times += state(segment, segment.first, segment.last)[0].timestamps
                if random.random() < 0.2:
                    until_ms = random.choice(times)
                    walker.follow([segment.author] if random.random() < 0.5 else None, until_ms=until_ms)
            for until_ms in [*random.sample(times, 3), *sorted(random.sample(times, 3))]:
                walker.follow(until_ms=until_ms)
                placed = places(logs, until_ms)
                self.assertEqual(walker.places(1000), placed, (seed, until_ms))
                last = {
                    author: max((e.seq for e in placed if e.author == author), default=0)
                    for author in logs.clock
                }
                self.assertEqual(
                    {author: each.seq - 1 for author, each in walker.index.indexing.ahead.items()},
                    {author: seq for author, seq in last.items() if seq < logs.clock.seq(author)},
                )
                if random.random() < 0.3:
                    walker.index.indexing = Indexing(walker.index.zones, walker.index.runs)
            walker.follow([], until_ms=max(times))
            self.assertEqual(walker.places(1000), places(logs), seed)
            logs.close()

    def test_nobody_waits_for_who_is_ahead(self) -> None:
        """Who names such an entry is placed without it, at once, and who names that one behind it."""
        a, b, c = PAIRS[:3]
        logs, walker = one_store()
        ahead = written(a, [encode_body(1 << 40, b"a1"), encode_body(1000, b"a2")])
        reply = written(b, [encode_body(1000, b"b1", [Reference(a.author, 1, id_at(ahead[0], 1)[:16])])])
        other = written(c, [encode_body(900, b"c1", [Reference(b.author, 1, id_at(reply[0], 1)[:16])])])
        accept(logs, *ahead, *reply, *other)
        for authors in permutations(each.author for each in (a, b, c)):
            walker = Walker(logs)
            walker.follow(authors, until_ms=2000)
            self.assertEqual(
                [each[:3] for each in walker.places(9)], [(1000, 0, b.author), (1000, 1, c.author)]
            )
            self.assertEqual(walker.index.indexing.went_back, 0)
            self.assertEqual(walker.index.indexing.ahead, {a.author: (1, 1 << 40, genesis_id(a.author)[:8])})
        walker.follow([], gone=[a.author], until_ms=2000)
        self.assertEqual(walker.index.indexing.ahead, {})

    def test_late_for_two(self) -> None:
        """What comes late moves who named it, and who named that one."""
        a, b, c = PAIRS[:3]
        logs, walker = one_store()
        early = written(a, [encode_body(9000, b"a1")])
        ids = [id_at(early[0], 1)]
        named = written(
            b, [encode_body(1000, b"b1", [Reference(a.author, 1, ids[0][:16])]), encode_body(1001, b"b2")]
        )
        both = written(c, [encode_body(1002, b"c1", [Reference(b.author, 2, chain_ids(named[0])[1][:16])])])
        for segment in (*both, *named):
            accept(logs, segment)
            walker.follow([segment.author])
        self.assertEqual([each.ms for each in walker.places(9)], [1000, 1001, 1002])
        accept(logs, early[0])
        walker.follow([a.author])
        expected = [(9000, 0, a.author), (9000, 1, b.author), (9000, 1, b.author), (9000, 2, c.author)]
        self.assertEqual([each[:3] for each in walker.places(9)], expected)
        self.assertEqual(walker.places(1), places(logs))

    def test_late_after_a_restart(self) -> None:
        """What was missed is remembered on disk."""
        a, b = PAIRS[:2]
        logs, walker = one_store()
        early = written(a, [encode_body(9000, b"a1")])
        accept(
            logs, *written(b, [encode_body(1000, b"b1", [Reference(a.author, 1, id_at(early[0], 1)[:16])])])
        )
        walker.follow()
        walker.index.indexing = Indexing(walker.index.zones, walker.index.runs)
        walker.follow()
        accept(logs, early[0])
        walker.follow([a.author])
        self.assertEqual(walker.places(9), places(logs))
        self.assertEqual([each.ms for each in walker.places(9)], [9000, 9000])

    def test_patience(self) -> None:
        """What comes late is owed while there is no time to place others again, also over a restart."""
        a, b = PAIRS[:2]
        for restarted in (False, True):
            logs, walker = one_store()
            early = written(a, [encode_body(9000, b"a1")])
            accept(
                logs,
                *written(b, [encode_body(1000, b"b1", [Reference(a.author, 1, id_at(early[0], 1)[:16])])]),
            )
            walker.follow()
            accept(logs, early[0])
            walker.follow([a.author], patient=True)
            self.assertEqual([each.ms for each in walker.places(9)], [1000, 9000])
            self.assertTrue(walker.index.indexing.is_owing)
            if restarted:
                walker.index.indexing = Indexing(walker.index.zones, walker.index.runs)
            walker.follow([] if not restarted else None)
            self.assertEqual(walker.places(9), places(logs))
            self.assertEqual(walker.index.indexing.went_back, 2)
            self.assertFalse(walker.index.indexing.is_owing)
            self.assertEqual([*walker.index.zones.missed()], [])

    def test_entries_that_seem_to_name_each_other(self) -> None:
        """One of them names another entry of that seq: it waits for nothing."""
        a, b = PAIRS[:2]
        lies = written(a, [encode_body(1000, b"a1", [Reference(b.author, 1, bytes(16))])])
        tells = written(b, [encode_body(500, b"b1", [Reference(a.author, 1, id_at(lies[0], 1)[:16])])])
        for order in ((lies, tells), (tells, lies)):
            logs, walker = one_store()
            for segments in order:
                accept(logs, *segments)
            walker.follow()
            self.assertEqual(
                [each[:3] for each in walker.places(9)], [(1000, 0, a.author), (1000, 1, b.author)]
            )

    def test_long_chain_of_names(self) -> None:
        """Two authors that answer each other, entry by entry, with a clock that stands still."""
        a, b = PAIRS[:2]
        heads = {pair.author: Head(0, genesis_id(pair.author)) for pair in (a, b)}
        logs, walker = one_store()
        after: list[Reference] = []
        for number in range(600):
            pair = (a, b)[number % 2]
            [segment], head = build(pair, heads[pair.author], [encode_body(7, b"", after)])
            heads[pair.author] = head
            after = [Reference(pair.author, head.seq, head.id[:16])]
            accept(logs, segment)
        logs.merge_some(1 << 20)
        walker.follow()
        self.assertEqual([each.n for each in walker.places(100)], [*range(600)])
        self.assertLess(len(walker.asked), 1500)

    def test_another_history_of_an_author(self) -> None:
        """Forgotten, and followed again with another log: so are those that it had moved."""
        a, b = PAIRS[:2]
        logs, walker = one_store()
        early = written(a, [encode_body(9000, b"a1")])
        accept(logs, early[0])
        accept(
            logs, *written(b, [encode_body(1000, b"b1", [Reference(a.author, 1, id_at(early[0], 1)[:16])])])
        )
        walker.follow()
        self.assertEqual([each.ms for each in walker.places(9)], [9000, 9000])
        logs.process([Forget(a.author)])
        walker.follow([], gone=[a.author])
        self.assertEqual([each[:1] for each in walker.places(9)], [(1000,)])
        accept(logs, *written(a, [encode_body(8000, b"other")]))
        walker.follow([a.author])
        self.assertEqual(walker.places(9), places(logs))

    def test_other_log_while_nobody_looked(self) -> None:
        """The ids say that a log is another one, at its end and behind it."""
        a = PAIRS[0]
        for later in (1, 3):
            logs, walker = one_store()
            accept(logs, *written(a, [encode_body(1000, b"1")]))
            accept(logs, *written(PAIRS[1], [encode_body(5000, b"b")]))
            walker.follow()
            logs.process([Forget(a.author)])
            accept(logs, *written(a, [encode_body(9000 + at, b"2") for at in range(later)]))
            walker.index.indexing = Indexing(walker.index.zones, walker.index.runs)
            walker.follow()
            self.assertEqual(walker.places(9), places(logs))

    def test_filled(self) -> None:
        """A payload that comes back says when it was: it is placed by that, and so is who named it."""
        a, b = PAIRS[:2]
        for named in (False, True):
            logs, walker = one_store()
            [whole] = written(a, [encode_body(1000, b"a1"), encode_body(9000, b"a2")])
            logs.process([Accept(drop_payloads(whole, [2]), Head(2, id_at(whole, 2)))])
            after = [Reference(a.author, 2, id_at(whole, 2)[:16])] if named else []
            accept(logs, *written(b, [encode_body(2000, b"b1", after)]))
            walker.follow()
            self.assertEqual([each.ms for each in walker.places(9)], [1000, 1000, 2000])
            self.assertEqual(walker.index.zones.with_holes(), {a.author: 1})
            logs.process([FillRow(whole)])
            walker.follow([], filled=[a.author])
            self.assertEqual(
                [each.ms for each in walker.places(9)], [1000, *([9000, 9000] if named else [2000, 9000])]
            )
            self.assertEqual(walker.index.zones.with_holes(), {})

    def test_clocks_at_both_ends(self) -> None:
        """The first and the last moment that a clock can say."""
        logs, walker = one_store()
        for pair, clock in zip(PAIRS, (0, 2**53 - 1, 2**32 - 1, 2**32), strict=False):
            accept(logs, *written(pair, [encode_body(clock, b"x")]))
        walker.follow()
        self.assertEqual([each.ms for each in walker.places(3)], [0, 2**32 - 1, 2**32, 2**53 - 1])


class PartTests(SynchronousTestCase):
    """What is chosen, and what it costs."""

    def test_bounds_and_authors(self) -> None:
        """Any place to begin and to end, any authors."""
        written = history((6, 300, 0.5, 0.0), 5, rows=60)
        logs, walker = one_store()
        for segment in written.arrivals(0):
            accept(logs, segment)
        walker.follow()
        everything = places(logs)
        random = Random(1)
        for _ in range(60):
            low, high = sorted(random.choice(everything) for _ in range(2))
            if random.random() < 0.5:  # moments, not entries
                low, high = (Place(each.ms, 0, b"", 0) for each in (low, high))
            authors = frozenset(each.author for each in random.sample(PAIRS, random.randint(0, 7)))
            chosen = random.choice((None, authors))
            limit = random.randint(1, 30)
            expected = [
                each
                for each in everything
                if low <= each < high and (chosen is None or each.author in chosen)
            ][::-1]
            part = walker.part(high, limit, low, chosen)
            self.assertEqual([each.place for each in part.entries], expected[:limit])
            self.assertEqual(part.next, expected[limit - 1] if len(expected) > limit else None)
            part = finish(walker.index.pages.part(high, low, limit, chosen, True), walker.tell)
            self.assertEqual([each.place for each in part.entries], expected[::-1][:limit])
            self.assertEqual(part.next, expected[-limit] if len(expected) > limit else None)

    def test_arrivals_between_pages(self) -> None:
        """Each entry that was there is on one page; what comes is where it belongs, behind us or before."""
        for seed in range(6):
            written = history((6, 300, 0.0, 0.0), seed, rows=80)
            segments = [*written.arrivals(seed)]
            logs, walker = one_store()
            for segment in segments[:40]:
                accept(logs, segment)
            walker.follow()
            there = set(places(logs))
            found: list[Place] = []
            before: Place | None = LATEST
            rest = segments[40:]
            while before is not None:
                part = walker.part(before, 7)
                found += [each.place for each in part.entries]
                before = part.next
                if rest:
                    segment = rest.pop()
                    if segment.first == logs.clock.seq(segment.author) + 1:
                        accept(logs, segment)
                        walker.follow([segment.author])
            self.assertEqual(found, sorted(set(found), reverse=True))
            self.assertEqual(there - set(found), set())

    def test_reads_little(self) -> None:
        """A page opens no more zones than it has entries, and the next ones have most at hand."""
        logs, walker = one_store()
        for pair in PAIRS:
            for start in range(3):
                bodies = [encode_body(5_000_000_000 + start * 9000 + at * 9, bytes(60)) for at in range(1000)]
                accept(logs, *written(pair, bodies, logs.clock.head(pair.author)))
        walker.follow()
        self.assertEqual(
            walker.index.zones.derived.db.execute("SELECT count(*) FROM zones").fetchone(), (36,)
        )
        walker.asked.clear()
        part = walker.part(limit=50)
        self.assertLessEqual(len(walker.asked), 13)
        walker.asked.clear()
        walker.part(part.next or LATEST, limit=5000)
        self.assertEqual(len(walker.asked), 0)

    def test_small_segments_share_a_zone(self) -> None:
        """A log written entry by entry has no zone for each."""
        logs, walker = one_store()
        head = None
        for number in range(1500):
            [segment] = written(PAIRS[0], [encode_body(5_000_000_000 + number, b"x")], head)
            head = Head(segment.last, id_at(segment, segment.last))
            accept(logs, segment)
            if number % 10 == 9:
                walker.follow([segment.author])
        db = walker.index.zones.derived.db
        zones = db.execute("SELECT first, last FROM zones ORDER BY first").fetchall()
        self.assertEqual([zones[0][0], len(zones), zones[-1][1]], [1, 2, 1500])
        self.assertEqual(walker.places(100), places(logs))

    def test_large_entries_share_no_zone(self) -> None:
        """As little is read for an entry of a zone as for one of a row."""
        logs, walker = one_store()
        head = None
        for number in range(5):
            [segment] = written(
                PAIRS[0], [encode_body(5_000_000_000 + number, bytes(limits.ZONE_BYTES // 3))], head
            )
            head = Head(segment.last, id_at(segment, segment.last))
            accept(logs, segment)
            walker.follow([segment.author])
        zones = walker.index.zones.derived.db.execute(
            "SELECT first, last FROM zones ORDER BY first"
        ).fetchall()
        self.assertEqual(zones, [(1, 2), (3, 4), (5, 5)])

    def test_memory(self) -> None:
        """What is kept from one page to the next has an end."""
        logs, walker = one_store()
        for pair in PAIRS:
            accept(
                logs, *written(pair, [encode_body(5_000_000_000 + at, bytes(100_000)) for at in range(20)])
            )
        walker.follow()
        walker.index.runs._keep_bytes = 1 << 20
        self.assertEqual(len(walker.places(10)), 240)
        self.assertLessEqual(walker.index.runs.kept_bytes, 1 << 20)
        self.assertGreater(walker.index.runs.kept_bytes, 1 << 19)

    def test_bytes_of_the_index(self) -> None:
        """Less than one for each entry."""
        logs, walker = one_store()
        room = Room(os.path.abspath(self.mktemp()))
        os.mkdir(room._directory or "", 0o700)
        walker = Walker(logs, room)
        for pair in PAIRS:
            accept(logs, *written(pair, [encode_body(5_000_000_000 + at, bytes(50)) for at in range(4000)]))
        walker.follow()
        walker.index.close()
        path = Path(room._directory or "") / "views" / "_places.sqlite"
        self.assertLess(path.stat().st_size, 48_000)
        room.close()


class TextTests(SynchronousTestCase):
    def test_places_as_text(self) -> None:
        """As they came, of letters that a URL takes as they are; nothing else is one."""
        place = Place(1_790_000_000_000, 3, PAIRS[0].author, 2**53 - 1)
        text = format_place(place)
        self.assertRegex(text, r"\Aplace_[a-z2-7]{93}\Z")
        self.assertEqual(parse_place(text), place)
        wrong = [
            "",
            "place_",
            text[:-1],
            text + "a",
            text[6:],
            text.upper(),
            f" {text}",
            f"{text}\n",
            "place_" + "a" * 93,
        ]
        wrong += [text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :] for at in range(6, 99)]
        for each in wrong:
            self.assertRaises(InvalidValueError, parse_place, each)


class DamageTests(SynchronousTestCase):
    """An index that cannot be used is made anew."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.logs = open_logs("memory:")
        written = history(KINDS[3], 3)
        for segment in written.arrivals(0):
            accept(self.logs, segment)
        os.mkdir(self.path, 0o700)
        self.file = Path(self.path) / "views" / "_places.sqlite"

    def test_of_another_version(self) -> None:
        walker = Walker(self.logs, Room(self.path, b"1"))
        walker.follow()
        walker.index.close()
        with sqlite3.connect(self.file) as db:
            db.execute("UPDATE _derived SET value = 'other' WHERE key = 'schema'")
            db.execute("DELETE FROM zones")
        db.close()
        walker.again()
        self.assertEqual(walker.places(9), places(self.logs))
        walker.room.close()

    def test_of_another_store(self) -> None:
        walker = Walker(self.logs, Room(self.path, b"1"))
        walker.follow()
        walker.room.close()
        walker = Walker(self.logs, Room(self.path, b"2"))
        self.assertEqual(walker.index.zones.positions(), {})
        walker.room.close()

    def test_not_finished(self) -> None:
        """What is cut short between two commits goes on from the first of them."""
        for stop in (1, 2, 5, 9):
            walker = Walker(self.logs, Room(self.path, b"1"))
            self.patch(sys.modules["gossiplog.views.indexing"], "_COMMIT_ENTRIES", 20)
            steps = walker.index.indexing.follow(dict(self.logs.clock.items()))
            asks: Sequence[Any] = next(steps)
            for _ in range(stop):
                asks = steps.send([walker.tell(each) for each in asks])
            walker.room.close()
            steps.close()
            walker.room = Room(self.path, b"1")
            walker.again()
            self.assertEqual(walker.places(9), places(self.logs))
            walker.room.close()
            self.file.unlink()


KILLED = """
import os, signal, sys
from gossiplog.store.logs import open_logs
from gossiplog.views import indexing
from gossiplog.views.place import Place
from gossiplog.views.zones import Zones
from tests.timelines import Walker

left = int(sys.argv[3])

def counted(method):
    def call(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)
    return call

indexing._COMMIT_ENTRIES = 20
for name in ("add", "move", "miss", "go_back", "found"):
    setattr(Zones, name, counted(getattr(Zones, name)))
logs = open_logs(sys.argv[1])
walker = Walker(logs, Place(sys.argv[2], b"1"))
walker.follow()
print(left)
"""
"""A process that indexes a store and is killed at one of the changes that it makes."""


class KilledTests(SynchronousTestCase):
    def test_at_any_change(self) -> None:
        """What is there after a kill goes on to what it would have been; three in a row, the last at the end."""
        made = history(KINDS[3], 3)
        path, room = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        os.mkdir(room, 0o700)
        logs = open_logs(path)
        accept(logs, *made.arrivals(0))
        logs.close()
        for first in (1, 9, 40):
            for change in (first, first + 7, 10**9):
                ended = subprocess.run(
                    [sys.executable, "-c", KILLED, path, room, str(change)],
                    check=False,
                    capture_output=True,
                    cwd=Path(__file__).parent.parent,
                    timeout=120,
                )
                killed = ended.returncode == -signal.SIGKILL
                self.assertTrue(killed or (change == 10**9 and ended.returncode == 0), ended.stderr)
            logs = open_logs(path, read_only=True)
            walker = Walker(logs, Room(room, b"1"))
            self.assertEqual(
                sum(each.seq for each in walker.index.zones.positions().values()), logs.clock.total()
            )
            self.assertEqual(walker.places(50), places(logs), first)
            walker.room.close()
            logs.close()
            (Path(room) / "views" / "_places.sqlite").unlink()


def one_store() -> tuple[Logs, Walker]:
    """A store in memory, and an index of it."""
    logs = open_logs("memory:")
    return logs, Walker(logs)


def written(pair: Any, bodies: list[bytes], head: Head | None = None) -> list[Segment]:
    """What an author writes."""
    return build(pair, head or Head(0, genesis_id(pair.author)), bodies)[0]
