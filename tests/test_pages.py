"""Rings 6 and 8: pages of a store, through the public API: filtered, between arrivals, damaged, foreign."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Entry, EntryAhead, Page, Store, TimelineProgress, aio, blocking, limits, open_store
from gossiplog.errors import InvalidValueError, StoreClosedError, WhereFailedError
from gossiplog.log.body import Reference, encode_body
from gossiplog.log.keys import genesis_id
from gossiplog.log.place import place_bytes
from gossiplog.log.segment import Head, build, drop_payloads, id_at
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept
from gossiplog.store.row_form import row_crc
from gossiplog.testing.network.thread import VirtualThread
from tests.netcase import World
from tests.timelines import PAIRS, History, accept, places

START_MS = 1_500_000_000_000


class PageCase(SynchronousTestCase):
    """A store in memory, in virtual time."""

    def setUp(self) -> None:
        self.world = World()
        self.backend = MemoryBackend()
        self.store = Store(lambda: Logs(self.backend), self.world.reactor, thread=VirtualThread)
        self.heads = {pair.author: Head(0, genesis_id(pair.author)) for pair in PAIRS}

    def tearDown(self) -> None:
        self.world.result(self.store.close())

    def say(self, number: int, *clocks: int, payload: bytes = b"x") -> None:
        """One of the authors wrote entries at these milliseconds."""
        pair = PAIRS[number]
        bodies = [encode_body(START_MS + clock, payload) for clock in clocks]
        [segment], head = build(pair, self.heads[pair.author], bodies)
        self.heads[pair.author] = head
        self.world.result(self.store._core.write(Accept(segment, head), lambda done: done))

    def page(self, limit: int = 50, **what: Any) -> Page:
        page: Page = self.world.result(self.store.timeline(limit, **what))
        return page

    def clocks(self, page: Page) -> list[int]:
        return [entry.timestamp_ms - START_MS for entry in page.entries]

    def walk(self, limit: int, between: Callable[[], object] = lambda: None, **what: Any) -> list[Entry]:
        """All entries, page by page."""
        page = self.page(limit, **what)
        found = [*page.entries]
        while page.older is not None:
            between()
            page = self.page(limit, older=page.older, **what)
            found += page.entries
        return found


class PagesTests(PageCase):
    def test_newest_first(self) -> None:
        """Of all authors, with everything that an entry has."""
        self.say(0, 1, 4)
        self.say(1, 2, 3, payload=b'{"n": 1}')
        page = self.page(3, encoding="json")
        self.assertEqual(self.clocks(page), [4, 3, 2])
        self.assertEqual([each.payload for each in page.entries], [b"x", {"n": 1}, {"n": 1}])
        self.assertIn("not json", page.entries[0].malformed)
        self.assertEqual(page.entries[0].id, self.heads[PAIRS[0].author].id)
        rest = self.page(3, older=page.older)
        self.assertEqual((self.clocks(rest), rest.older), ([1], None))

    def test_empty(self) -> None:
        """There is a page of nothing, and a cursor to go on from."""
        page = self.page()
        self.assertEqual((page.entries, page.older, len(list(page.cursor.items()))), ((), None, 0))
        self.say(0, 1)
        self.assertEqual((self.clocks(self.page(1)), self.page(1).older), ([1], None))

    def test_chosen(self) -> None:
        """By moment, author and a function, together."""
        for number in range(4):
            self.say(number, *range(number, 400, 4))
        moment = datetime.fromtimestamp(START_MS / 1000, UTC)
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({"before": moment + timedelta(milliseconds=100)}, [*range(99, -1, -1)]),
            ({"since": moment + timedelta(milliseconds=395)}, [399, 398, 397, 396, 395]),
            ({"since": moment + timedelta(milliseconds=394, microseconds=1)}, [399, 398, 397, 396, 395]),
            ({"before": moment + timedelta(microseconds=1500)}, [1, 0]),
            ({"authors": [PAIRS[1].author]}, [*range(397, 0, -4)]),
            ({"authors": []}, []),
            ({"authors": [PAIRS[9].author]}, []),
            ({"where": lambda entry: entry.timestamp_ms % 100 == 7}, [307, 207, 107, 7]),
            (
                {"since": datetime.min.replace(tzinfo=UTC), "before": moment + timedelta(milliseconds=3)},
                [2, 1, 0],
            ),
        ]
        for what, expected in cases:
            for limit in (1, 3, 500):
                found = [entry.timestamp_ms - START_MS for entry in self.walk(limit, **what)]
                self.assertEqual(found, expected, (what, limit))
        place = place_bytes((START_MS + 5, 0), PAIRS[1].author, 2)
        self.assertEqual(self.clocks(self.page(2, before=place)), [4, 3])
        self.assertEqual(self.clocks(self.page(500, since=place))[-1], 5)

    def test_nobody_knows_which_moment(self) -> None:
        """A time without a zone is refused, and the message says how to get one."""
        for name in ("since", "before"):
            error = self.assertRaises(InvalidValueError, self.store.timeline, **{name: datetime(2026, 1, 1)})
            self.assertRegex(str(error), f"^{name} is a time without a zone.*datetime.now")

    def test_where_that_fails(self) -> None:
        """The error names the entry, and the timeline goes on."""
        self.say(0, 1, 2)
        failing = self.store.timeline(where=lambda entry: 1 // (entry.timestamp_ms - START_MS - 1))
        error = self.assertRaises(WhereFailedError, self.world.result, failing)
        self.assertEqual((error.author, error.seq), (PAIRS[0].author, 1))
        self.assertEqual(self.clocks(self.page()), [2, 1])

    def test_arrivals_between_pages(self) -> None:
        """No page repeats or misses an entry that was there; what belongs behind us comes with its page."""
        random = Random(1)
        for number in range(6):
            self.say(number, *sorted(random.sample(range(1000), 60)))

        there = {(entry.author, entry.seq) for entry in self.walk(100)}
        self.assertEqual(len(there), 360)

        def arrive() -> None:
            self.say(random.randrange(6), random.randrange(1000))  # placed behind its log's last entry
            self.say(6, random.randrange(200))

        found = self.walk(20, arrive)
        keys = [(entry.author, entry.seq) for entry in found]
        self.assertEqual(len(set(keys)), len(keys))
        self.assertEqual(there - set(keys), set())
        self.assertIn(PAIRS[6].author, {author for author, _ in keys})

    def test_no_seam(self) -> None:
        """What a page does not have because it came later, a live reader from its cursor has, and nothing else."""
        random = Random(2)
        for number in range(4):
            self.say(number, *sorted(random.sample(range(1000), 30)))
        page = self.page(1000)
        waiting = self.store.timeline(1000, older=page.older)
        self.say(1, 5)
        self.say(5, 7, 8)
        second = self.world.result(waiting)
        self.assertEqual(len(page.entries), 120)
        for each in (page, second):
            news: list[Entry] = []

            async def read(cursor: Any, news: list[Entry] = news) -> None:
                async for entry in self.store.read(after=cursor):
                    news.append(entry)

            self.world.result(Deferred.fromCoroutine(read(each.cursor)))
            everything = {(entry.author, entry.seq) for entry in (*each.entries, *news)}
            self.assertEqual(len(everything), 123)
            self.assertEqual(len(each.entries) + len(news), 123)

    def test_what_comes_while_a_page_is_looked_for(self) -> None:
        """It is behind the cursor of that page, and so it is not on it, wherever it belongs."""
        self.say(0, *range(1000, 1600))
        [segment], head = build(PAIRS[1], self.heads[PAIRS[1].author], [encode_body(START_MS + 5, b"x")])
        timeline = self.store._core.timeline
        search = timeline._in_turn
        self.assertEqual(len(self.page().entries), 50)

        async def between(begin: Any) -> Any:
            found = await search(begin)
            if self.store.clock.seq(PAIRS[1].author) == 0:
                await self.store._core.write(Accept(segment, head), lambda done: done)
            return found

        def where(entry: Entry) -> bool:
            return entry.timestamp_ms < START_MS + 1003

        self.patch(timeline, "_in_turn", between)
        page = self.page(5, where=where)
        self.assertEqual((self.clocks(page), page.cursor.seq(PAIRS[1].author)), ([1002, 1001, 1000], 0))
        self.assertEqual(self.clocks(self.page(5, where=where)), [1002, 1001, 1000, 5])

    def test_many_at_once(self) -> None:
        """Pages that are asked for together, while entries come, are each as if they were alone."""
        self.say(0, *range(0, 900, 3))
        waiting = [self.store.timeline(limit) for limit in (1, 50, 400)]
        self.say(1, 1000)
        found = self.world.result(gatherResults(waiting))
        for page, limit in zip(found, (1, 50, 400), strict=True):
            clocks = [clock for clock in self.clocks(page) if clock != 1000]
            self.assertEqual(clocks, [*range(897, -1, -3)][: len(clocks)])
            self.assertEqual(
                len(page.entries),
                min(limit, page.cursor.seq(PAIRS[0].author) + page.cursor.seq(PAIRS[1].author)),
            )

    def test_holes(self) -> None:
        """Without its payload an entry is on the page of the one before it, and says so."""
        [segment], head = build(
            PAIRS[0], self.heads[PAIRS[0].author], [encode_body(START_MS + at, b"x") for at in range(3)]
        )
        self.world.result(
            self.store._core.write(Accept(drop_payloads(segment, [2]), head), lambda done: done)
        )
        page = self.page()
        self.assertEqual(
            [(entry.seq, entry.dropped) for entry in page.entries], [(3, False), (2, True), (1, False)]
        )
        self.assertEqual(page.entries[1].id, id_at(segment, 2))

    def test_closed(self) -> None:
        """Who waits for a page of a store that closes is told."""
        for number in range(4):
            self.say(number, *range(100))
        waiting = self.store.timeline()
        self.world.result(self.store.close())
        self.assertRaises(StoreClosedError, self.world.result, waiting)
        self.assertRaises(StoreClosedError, self.store.timeline)


class FollowingTests(PageCase):
    def test_kept_up(self) -> None:
        """From the first page on the index follows soon, without being asked; before that there is none."""
        timeline = self.store._core.timeline
        self.say(0, 1)
        self.world.run(2 * limits.TIMELINE_FOLLOW_SECONDS)
        self.assertIsNone(timeline._index)
        self.page()
        self.say(0, 2)
        self.say(1, 3)
        self.assertEqual(self.indexed(), 1)
        self.world.run(limits.TIMELINE_FOLLOW_SECONDS / 2)
        self.assertEqual(self.indexed(), 1)
        self.world.run(limits.TIMELINE_FOLLOW_SECONDS)
        self.assertEqual(self.indexed(), 3)

    def test_ahead_of_our_clock(self) -> None:
        """An entry from the future is no page's until it is due; the cursor is before it, and it is told of once."""
        now = [START_MS]
        self.assertEqual(self.page().entries, ())
        self.patch(sys.modules["gossiplog.live.timeline"], "wall_ms", lambda reactor: now[0])
        told: list[object] = []
        self.store.notices.listen(told.append)
        due = limits.MAX_AHEAD_MS + 1
        self.say(0, 1, due, 2)
        self.say(1, due)
        self.say(2, due - 1)
        for clock in (2, 3):
            self.say(3, clock)
            page = self.page(2)
            self.assertEqual(self.clocks(page), [due - 1, clock])
        self.assertEqual([page.cursor.seq(PAIRS[number].author) for number in range(3)], [1, 0, 1])
        ahead = [EntryAhead(PAIRS[number].author, seq, START_MS + due) for number, seq in ((0, 2), (1, 1))]
        self.assertCountEqual(told, ahead)
        read: set[tuple[bytes, int]] = set()

        async def read_on() -> None:
            async for entry in self.store.read(after=page.cursor):  # no seam: a plain reader gets it at once
                read.add((entry.author, entry.seq))

        self.world.result(Deferred.fromCoroutine(read_on()))
        first, second = (pair.author for pair in PAIRS[:2])
        self.assertEqual(read, {(first, 2), (first, 3), (second, 1)})
        now[0] += 1
        page = self.page()
        self.assertEqual(sorted(self.clocks(page)), [1, 2, 2, 3, due - 1, due, due])
        self.assertEqual([page.cursor.seq(PAIRS[number].author) for number in range(3)], [3, 1, 1])
        self.say(0, due + 1, due + 2)
        self.page()
        now[0] += 1
        self.page()
        self.assertEqual(
            told[2:], [EntryAhead(PAIRS[0].author, seq, START_MS + due + seq - 3) for seq in (4, 5)]
        )

    def indexed(self) -> int:
        index = self.store._core.timeline._index
        assert index is not None
        return sum(each.seq for each in index.zones.positions().values())

    def test_rest(self) -> None:
        """After many entries were placed again for one that came late, it is some time until that is done once more."""
        timeline = self.store._core.timeline
        [late], head = build(
            PAIRS[5], Head(0, genesis_id(PAIRS[5].author)), [encode_body(START_MS + 9, b"late")] * 2
        )
        self.heads[PAIRS[5].author] = head
        named = [Reference(PAIRS[5].author, seq, id_at(late, seq)[:16]) for seq in (1, 2)]
        [early], head = build(PAIRS[0], self.heads[PAIRS[0].author], [encode_body(START_MS, b"x", named)])
        self.world.result(self.store._core.write(Accept(early, head), lambda done: done))
        self.assertEqual(self.clocks(self.page()), [0])
        timeline._rest_until = self.world.reactor.seconds() + 60
        self.world.result(
            self.store._core.write(Accept(late, self.heads[PAIRS[5].author]), lambda done: done)
        )
        self.assertEqual(self.clocks(self.page()), [9, 9, 0])
        self.world.run(50)
        self.assertEqual(self.clocks(self.page()), [9, 9, 0])
        self.world.run(20)
        self.assertFalse(timeline._owes)
        self.assertEqual(self.clocks(self.page()), [0, 9, 9])

    def test_who_makes_it_rest(self) -> None:
        """So many entries, and as long as it took times nine."""
        timeline = self.store._core.timeline
        self.patch(sys.modules["gossiplog.live.timeline"], "MANY", 3)
        now = [0.0]
        seconds = self.world.reactor.seconds
        self.patch(self.world.reactor, "seconds", lambda: seconds() + now[0])
        begun = timeline._finish

        async def slow(begin: Any) -> Any:
            done = await begun(begin)
            now[0] += 2.0
            return done

        self.patch(timeline, "_finish", slow)
        for entries, rests in ((1, False), (2, True)):
            pair = PAIRS[entries]
            [late], head = build(
                PAIRS[4 + entries], self.heads[PAIRS[4 + entries].author], [encode_body(START_MS + 9, b"")]
            )
            named = [Reference(late.author, 1, head.id[:16])]
            bodies = [encode_body(START_MS, b"x", named), *[encode_body(START_MS + 10, b"y")] * (entries - 1)]
            [early], its_head = build(pair, self.heads[pair.author], bodies)
            self.world.result(self.store._core.write(Accept(early, its_head), lambda done: done))
            self.page()
            self.world.result(self.store._core.write(Accept(late, head), lambda done: done))
            self.page()
            left = timeline._rest_until - self.world.reactor.seconds()
            self.assertEqual(left > 10, rests, left)

    def test_progress(self) -> None:
        """While the index is made, a node on the store tells how far it is."""
        self.patch(sys.modules["gossiplog.live.timeline"], "PROGRESS_SECONDS", 0)
        site = self.world.site("a")
        for pair in PAIRS:
            [segment], head = build(pair, self.heads[pair.author], [encode_body(START_MS, b"x")] * 10)
            self.world.result(site.store._core.write(Accept(segment, head), lambda done: done))
        self.world.result(site.store.timeline())
        self.assertEqual(
            [(each.placed, each.total) for each in site.of(TimelineProgress)], [(0, 120), (80, 120)]
        )
        self.say(0, 1)
        self.page()
        self.assertEqual(len(site.of(TimelineProgress)), 2)

    def test_forgotten(self) -> None:
        """A log that is deleted is on no page any more."""
        self.say(0, 1, 3)
        self.say(1, 2)
        self.assertEqual(self.clocks(self.page()), [3, 2, 1])
        self.world.result(self.store.interest.block(PAIRS[0].author, delete=True))
        page = self.page()
        self.assertEqual(self.clocks(page), [2])
        self.assertEqual([author for author, _ in page.cursor.items()], [PAIRS[1].author])


class DiskCase(TestCase):
    """A store on disk, with a real reactor."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.written = History(3, 6, 300, 0.4, 0.0)
        self.written.write(60)
        logs = open_logs(self.path)
        accept(logs, *self.written.arrivals(0))
        self.places = places(logs)
        logs.close()
        self.file = Path(self.path) / "views" / "_places.sqlite"

    async def all_of(self, store: Store, limit: int = 40) -> list[tuple[bytes, int]]:
        """All entries, the earliest first, in pages."""
        page = await store.timeline(limit)
        found = [*page.entries]
        while page.older:
            page = await store.timeline(limit, older=page.older)
            found += page.entries
        return [(entry.author, entry.seq) for entry in found][::-1]

    @property
    def expected(self) -> list[tuple[bytes, int]]:
        return [(place.author, place.seq) for place in self.places]


class DiskTests(DiskCase):
    async def test_again(self) -> None:
        """Made when it is first asked for, read when it is there, and made again once somebody deleted it."""
        for turn in range(4):
            store = open_store(self.path, reactor)
            self.assertEqual(self.file.exists(), turn in (1, 2))
            self.assertEqual(await self.all_of(store), self.expected)
            await store.close()
            if turn == 2:
                self.file.unlink()

    async def test_damaged(self) -> None:
        """Whatever is wrong with the file: it is made anew, and who asks does not notice."""
        random = Random(1)
        store = open_store(self.path, reactor)
        await store.timeline(1)
        await store.close()
        whole = self.file.read_bytes()
        for kind in range(12):
            content = bytearray(whole)
            if kind < 3:
                content = content[: (0, 100, 20_000)[kind]]
            else:
                for _ in range(200):
                    content[random.randrange(100, len(content))] ^= 1 << random.randrange(8)
            self.file.write_bytes(content)
            store = open_store(self.path, reactor)
            found = await self.all_of(store)
            await store.close()
            self.assertEqual(sorted(found), sorted(self.expected), kind)

    async def test_damaged_behind_what_is_looked_at_first(self) -> None:
        """Also where that shows only in the middle of a search."""
        store = open_store(self.path, reactor)
        await store.timeline(1)
        await store.close()
        with sqlite3.connect(self.file) as db:
            pages = [
                page
                for [page] in db.execute(
                    "SELECT rootpage FROM sqlite_master WHERE name IN ('zones', 'zones_by_high')"
                )
            ]
            [size] = db.execute("PRAGMA page_size").fetchone()
        db.close()
        for page in pages:
            content = bytearray(self.file.read_bytes())
            content[(page - 1) * size : page * size] = b"\xff" * size
            self.file.write_bytes(content)
            store = open_store(self.path, reactor)
            self.assertEqual(await self.all_of(store), self.expected)
            await store.close()
            with sqlite3.connect(self.file) as db:
                self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            db.close()

    async def test_read_only(self) -> None:
        """A store of which nothing may be changed has pages, and nothing is made beside it."""
        store = open_store(self.path, reactor, read_only=True)
        self.assertEqual(await self.all_of(store), self.expected)
        await store.close()
        self.assertFalse(self.file.parent.exists())

    async def test_damaged_rows(self) -> None:
        """What cannot be read is on no page, and said; the rest is."""
        await self.assert_passed_over(summed=False)

    async def test_rows_that_nobody_signed(self) -> None:
        """So is what somebody changed who knew how to sum it again."""
        await self.assert_passed_over(summed=True)

    async def assert_passed_over(self, summed: bool) -> None:
        author = self.places[-1].author
        with sqlite3.connect(Path(self.path) / "log.sqlite") as db:
            query = (
                "SELECT number, author, first, count, holes, id, previous, signature, bodies FROM segments"
                " WHERE author = (SELECT number FROM authors WHERE author = ?) ORDER BY first DESC LIMIT 1 OFFSET 1"
            )
            [row] = db.execute(query, (author,)).fetchall()
            number, _, first, count, _, _, _, signature, bodies = row
            broken = bytes(bodies[:-1]) + bytes((bodies[-1] ^ 1,))
            db.execute("UPDATE segments SET bodies = ? WHERE number = ?", (broken, number))
            if summed:
                crc = row_crc(author, first, count, row[4], row[5], row[6], signature, broken)
                db.execute("UPDATE segments SET crc = ? WHERE number = ?", (crc, number))
        db.close()
        lost = {(author, seq) for seq in range(first, first + count)}
        for turn in range(2):
            store = open_store(self.path, reactor)
            heard: list[Any] = []
            store.damage.listen(heard.append)
            found = await self.all_of(store)
            self.assertEqual(sorted(found), sorted({*self.expected} - lost), (summed, turn))
            page = await store.timeline(1000)
            [damage] = page.damages
            self.assertEqual((damage.author, damage.first, damage.last), (author, first, first + count - 1))
            self.assertIn(damage, heard)
            await store.close()

    async def test_same_everywhere(self) -> None:
        """In a store that got the same entries otherwise, and through the other doors."""
        other = os.path.abspath(self.mktemp())
        store = open_store(other, reactor)
        await store.timeline(1)
        for segment in self.written.arrivals(7):
            head = Head(segment.last, id_at(segment, segment.last))
            await store._core.write(Accept(segment, head), lambda done: done)
            if segment.first % 3 == 0:
                await store.timeline(1)
        self.assertEqual(await self.all_of(store), self.expected)
        await store.close()


class DoorTests(SynchronousTestCase):
    """For scripts and for asyncio."""

    def test_both(self) -> None:
        import asyncio

        path = os.path.abspath(self.mktemp())
        with blocking.Store(path) as store:
            writer = store.writer(encoding="json")
            writer.append_many([{"n": n} for n in range(10)])
            page = store.timeline(4, encoding="json")
            self.assertEqual([entry.payload["n"] for entry in page.entries], [9, 8, 7, 6])

        async def read() -> list[int]:
            async with aio.Store(path) as store:
                older = (await store.timeline(4)).older
                return [
                    entry.payload["n"]
                    for entry in (await store.timeline(3, older=older, encoding="json")).entries
                ]

        self.assertEqual(asyncio.run(read()), [5, 4, 3])
