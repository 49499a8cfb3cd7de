"""Reading around damage: one bad row hides nothing but itself, from readers, commands and peers."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreDamagedError, StoreError
from gossiplog.log.body import encode_body
from gossiplog.log.cursor import Cursor
from gossiplog.log.encodings import encoding
from gossiplog.log.segment import Segment, entries, verify
from gossiplog.notices import StoreDamaged
from gossiplog.store import reading_around, torn_ends
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.reading_around import _TRIED
from gossiplog.store.requests import Accept, Append, Forget, Stale
from gossiplog.store.row_form import row_crc
from gossiplog.store.sqlite import transaction as sqlite_writer
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.chain import Chain
from tests.netcase import Site, World
from tests.processes import Process, ProcessTestCase
from tests.test_reading import Consumer, VirtualCase

ALL = 1 << 30
Range = tuple[bytes | None, int, int]


class StoreTestCase(SynchronousTestCase):
    """A closed store with three logs of five rows, three entries in each."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.database = self.path / "log.sqlite"
        self.chains = [Chain(number) for number in range(1, 4)]
        with closing(open_logs(self.path)) as logs:
            for number in range(5):
                if number == 4:
                    self.patch(sqlite_writer, "_ROWS_AHEAD", 1)  # now the heads are in their table
                puts = [chain.put(b"a%d" % number, b"b", bytes(9_000)) for chain in self.chains]
                logs.process([Accept(*put) for put in puts])
        self.good = self.database.read_bytes()
        self.whole = {
            (chain.author, seq, entry_id)
            for chain in self.chains
            for segment in chain.segments
            for seq, entry_id, _ in entries(segment)
        }

    def change(self, statement: str, *parameters: object) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            self.assertGreater(connection.execute(statement, parameters).rowcount, 0)

    def flip(self, *segments: Segment) -> None:
        bad = bytearray(self.database.read_bytes())
        for segment in segments:
            bad[bad.index(segment.signature)] ^= 1
        self.database.write_bytes(bad)

    def read(self, logs: Logs) -> tuple[set[tuple[bytes, int, bytes]], list[Range]]:
        """Everything that can be read, and what was passed over; each seq is in one of them, once."""
        found: set[tuple[bytes, int, bytes]] = set()
        passed: list[Range] = [damage[:3] for damage in logs.damages if damage.author is not None]
        for author, head in logs.clock.items():
            seqs: list[int] = []
            seq = 1
            while seq <= head.seq:
                segments, damage = logs.around(author, seq, 10_000)
                if damage is not None:
                    self.assertEqual((damage.author, damage.first), (author, seq))
                    passed.append(damage[:3])
                    seqs += range(seq, damage.last + 1)
                for segment in segments:
                    found.update((author, at, entry_id) for at, entry_id, _ in entries(segment))
                    seqs += range(segment.first, segment.last + 1)
                seq = seqs[-1] + 1
            self.assertEqual(seqs, list(range(1, head.seq + 1)))
            self.assert_same_in_reverse(logs, author, head.seq, found, passed)
        return found, passed

    def assert_same_in_reverse(
        self, logs: Logs, author: bytes, last: int, found: set[tuple[bytes, int, bytes]], passed: list[Range]
    ) -> None:
        """Whatever is wrong, from the end backwards the same is read, and the same is passed over."""
        there, damaged, seqs = set(), set(), []
        while len(seqs) < last:
            end = last - len(seqs)
            segments, damage = logs.around(author, 1, 10_000, end, reverse=True)
            if damage is not None:
                self.assertEqual((damage.author, damage.last), (author, end))
                damaged.update(range(damage.first, damage.last + 1))
                seqs += range(damage.last, damage.first - 1, -1)
            for segment in segments:
                there.update((author, at, entry_id) for at, entry_id, _ in entries(segment))
                seqs += range(segment.last, segment.first - 1, -1)
        self.assertEqual(seqs, list(range(last, 0, -1)))
        self.assertEqual(there, {each for each in found if each[0] == author})
        said = {seq for whose, first, end in passed if whose == author for seq in range(first, end + 1)}
        self.assertEqual(damaged, {seq for seq in said if seq <= last})

    def assert_passed(self, *passed: Range) -> None:
        with closing(open_logs(self.path)) as logs:
            found, said = self.read(logs)
        self.assertEqual(sorted(said), sorted(passed))
        lost = {(author, seq) for author, first, last in passed for seq in range(first, last + 1)}
        self.assertEqual(found, {each for each in self.whole if each[:2] not in lost})


class StoreTests(StoreTestCase):
    """What is read of it."""

    def test_nothing(self) -> None:
        self.assert_passed()

    def test_rows(self) -> None:
        one, two, _ = self.chains
        self.flip(one.segments[0], one.segments[2], two.segments[4])
        self.assert_passed((one.author, 1, 3), (one.author, 7, 9), (two.author, 13, 15))

    def test_neighbouring_rows(self) -> None:
        one = self.chains[0]
        self.flip(*one.segments[1:4])
        self.assert_passed((one.author, 4, 12))

    def test_a_whole_log(self) -> None:
        one = self.chains[0]
        self.flip(*one.segments)
        self.assert_passed((one.author, 1, 15))

    def test_values_of_every_kind(self) -> None:
        """Whatever column of a row it is."""
        one = self.chains[0]
        changes = [f"{column} = {column} + 1" for column in ("count", "holes", "crc")]
        changes += [f"{column} = {column} + 65536" for column in ("count", "holes")]
        changes += [
            f"{column} = zeroblob(7)" for column in ("id", "previous", "signature", "bodies", "count")
        ]
        for change in changes:
            self.database.write_bytes(self.good)
            self.change(f"UPDATE segments SET {change} WHERE previous = ?", one.segments[1].previous)
            self.assert_passed((one.author, 4, 6))

    def test_rows_that_are_not_there(self) -> None:
        one, two, three = self.chains
        for chain, row in ((one, 0), (two, 2), (three, 4)):
            self.change("DELETE FROM segments WHERE previous = ?", chain.segments[row].previous)
        self.assert_passed((one.author, 1, 3), (two.author, 7, 9), (three.author, 13, 15))

    def test_rows_of_nobody_and_of_somebody_else(self) -> None:
        one, two, _ = self.chains
        for chain, author in ((one, "author + 100"), (two, "(SELECT min(number) FROM authors)")):
            self.change(
                f"UPDATE segments SET author = {author}, first = first + 30 WHERE previous = ?",
                chain.segments[3].previous,
            )
        self.assert_passed((one.author, 10, 12), (two.author, 10, 12))

    def test_a_wrong_head(self) -> None:
        """The rows say what it is."""
        one = self.chains[0]
        self.change("UPDATE authors SET id = zeroblob(32) WHERE author = ?", one.author)
        self.assert_passed()

    def test_a_row_that_nobody_signed(self) -> None:
        """With a checksum that is right."""
        one = self.chains[0]
        author, first, count, previous, signature, bodies = one.segments[1]
        bodies = bodies.replace(b"a1", b"a9")
        entry_id = one.segments[2].previous
        crc = row_crc(author, first, count, 0, entry_id, previous, signature, bodies)
        self.change("UPDATE segments SET bodies = ?, crc = ? WHERE previous = ?", bodies, crc, previous)
        self.assert_passed((author, 4, 6))

    def test_more_than_is_tried_at_once(self) -> None:
        """A long stretch comes in pieces, so that it holds nobody up."""
        chain = Chain(7)
        with closing(open_logs(self.path)) as logs:
            for number in range(2 * _TRIED + 3):
                logs.process([Accept(*chain.put(b"%d" % number))])
        self.change(
            "UPDATE segments SET crc = 0 WHERE first > 1 AND first < ? "
            "AND author = (SELECT number FROM authors WHERE author = ?)",
            2 * _TRIED + 3,
            chain.author,
        )
        with closing(open_logs(self.path)) as logs:
            found, passed = self.read(logs)
        self.assertLessEqual(self.whole, found)
        self.assertEqual({each[1] for each in found if each[0] == chain.author}, {1, 2 * _TRIED + 3})
        self.assertEqual([last - first for _, first, last in passed], [_TRIED, _TRIED - 1])

    def test_what_is_before_it_is_sent(self) -> None:
        """A peer gets a log up to the damage, in one chunk with what is whole; asked for the rest we say why not."""
        one = self.chains[0]
        self.flip(one.segments[2])
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.segments(one.author, 1, ALL), one.segments[:2])
            self.assertRaises(StoreDamagedError, logs.segments, one.author, 7, ALL)
            self.assertEqual(logs.segments(one.author, 10, ALL), one.segments[3:])

    def test_a_damaged_page(self) -> None:
        """Whichever it is: the store opens and what is read is right, or it says that it is damaged."""
        draw = random.Random(3)
        for start in range(16384, len(self.good), 16384):
            for kind in range(2):
                bad = bytearray(self.good)
                if kind:
                    bad[start : start + 16384] = draw.randbytes(16384)
                else:
                    bad[start + draw.randrange(16384)] ^= 1 << draw.randrange(8)
                self.database.write_bytes(bad)
                try:
                    logs = open_logs(self.path)
                except StoreDamagedError:
                    continue
                with closing(logs):
                    found, _ = self.read(logs)
                    self.assertLessEqual(found, self.whole)
                    logs.weighing.weights()
                    logs.holed_authors()

    def test_nothing_is_left_open_when_opening_fails(self) -> None:
        """Whatever is wrong: the connection is closed by us, and not by the garbage collector."""
        made: list[Connection] = []

        class Connection(sqlite3.Connection):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                made.append(self)

        self.change("DELETE FROM meta WHERE key = x''")
        self.patch(sqlite_writer, "_ROWS_AHEAD", 1)
        self.assertRaises(StoreDamagedError, SQLiteBackend, self.path, factory=Connection)
        [connection] = made
        self.assertRaises(sqlite3.ProgrammingError, connection.execute, "SELECT 1")


class EndTests(StoreTestCase):
    """Logs whose end cannot be read."""

    def test_what_is_claimed_is_there(self) -> None:
        """Whatever the reason is: the clock says a row that can be read, and what is behind it is said to be lost."""
        one, two, three = self.chains
        self.flip(one.segments[4], *two.segments[2:])
        self.change("DELETE FROM segments WHERE previous = ?", three.segments[4].previous)
        for read_only in (True, False):
            with closing(open_logs(self.path, read_only=read_only)) as logs:
                self.assertEqual([logs.clock.seq(chain.author) for chain in self.chains], [12, 6, 12])
                self.assertEqual(
                    [logs.clock.head(chain.author) for chain in self.chains][1], verify(two.segments[1])
                )
                self.assertEqual(
                    {damage[:3] for damage in logs.damages},
                    {(one.author, 13, 15), (two.author, 7, 15), (three.author, 13, 15)},
                )
                self.assertEqual(
                    {damage.author for damage in logs.verify().damages}, {c.author for c in self.chains}
                )

    def test_the_end_comes_again(self) -> None:
        """What cannot be read is removed when there is something in its place, and nothing else of the log is."""
        one, two, _ = self.chains
        self.flip(*one.segments[3:], *two.segments)
        with closing(open_logs(self.path)) as logs:
            for segment in one.segments[3:]:
                logs.process([Accept(segment, verify(segment))])
            logs.process([Accept(two.segments[0], verify(two.segments[0]))])
            self.assertEqual((logs.clock.seq(one.author), logs.clock.seq(two.author)), (15, 3))
            self.assertTrue(logs.verify().ok)
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.damages, [])
            self.assertEqual(logs.segments(one.author, 1, ALL), one.segments)
            self.assertEqual(logs.segments(two.author, 1, ALL), two.segments[:1])

    def test_an_end_that_can_be_read_again(self) -> None:
        """A disk that failed for a moment: nothing is removed."""
        one = self.chains[0]
        failing = True
        whole = SQLiteBackend.segments

        def segments(backend: SQLiteBackend, author: bytes, first: int, *rest: Any) -> list[Segment]:
            if failing and author == one.author and first > 9:
                raise StoreDamagedError("the disk does not answer")
            return whole(backend, author, first, *rest)

        self.patch(SQLiteBackend, "segments", segments)
        self.patch(SQLiteBackend, "search", segments)
        with closing(open_logs(self.path)) as logs:
            self.assertEqual(logs.clock.seq(one.author), 9)
            failing = False
            [result] = logs.process([Accept(one.segments[3], verify(one.segments[3]))]).results
            self.assertIsInstance(result, Stale)
            self.assertEqual(logs.clock.seq(one.author), 15)
            self.assertEqual(logs.segments(one.author, 1, ALL), one.segments)

    def test_deleted(self) -> None:
        one = self.chains[0]
        self.flip(one.segments[4])
        with closing(open_logs(self.path)) as logs:
            logs.process([Forget(one.author)])
            logs.process([Accept(*Chain(1).put(b"again"))])
            self.assertEqual(logs.clock.seq(one.author), 1)
            self.assertTrue(logs.verify().ok)

    def test_as_many_as_there_is_time_for(self) -> None:
        """Of others; our own are all looked at."""
        with closing(open_logs(self.path)) as logs:
            own = {logs.writer(name).author for name in ("ann", "bob")}
            for author in own:
                logs.process([Append(author, [b"one"])])
            ends = [logs.segments(author, 1, 1)[0] for author in own]
        authors = sorted(chain.author for chain in self.chains)
        self.flip(*ends, *(chain.segments[4] for chain in self.chains))
        for bound, others in ((512, 0), (3 * 512, 1), (4 * 512, 2), (16 * 1024 * 1024, 3)):
            self.patch(torn_ends, "CHECKED_ENDS_BYTES", bound)
            with closing(open_logs(self.path, read_only=True)) as logs:
                self.assertEqual({damage.author for damage in logs.damages}, {*own, *authors[:others]})


class ReaderTests(VirtualCase):
    """Readers pass over what is damaged, and say it."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = self.writer("one"), self.writer("two")
        self.said: list[Any] = []
        for number in range(5):
            self.append(self.one, b"%d" % number, b"%d" % number)
            self.append(self.two, b"fine %d" % number)

    def damage(self, *rows: int) -> None:
        log = self.backend.content.logs[self.one.author]
        for row in rows:
            segment = log.rows[row]
            log.rows[row] = segment._replace(bodies=segment.bodies[:-1] + b"?")

    def payloads(self, consumer: Consumer, author: bytes) -> list[bytes]:
        return [entry.payload for entry in consumer.got if entry.author == author]

    def assert_reads_around(self, consumer: Consumer, own: list[bytes], *ranges: Range) -> None:
        self.assertEqual(self.payloads(consumer, self.one.author), own)
        self.assertEqual(
            self.payloads(consumer, self.two.author), [b"fine %d" % number for number in range(5)]
        )
        self.assertEqual([damage[:3] for damage in consumer.reader.damages], list(ranges))

    def test_stored(self) -> None:
        self.damage(1, 2, 4)
        self.store.damage.listen(self.said.append)
        consumer = Consumer(self.store.read())
        self.world.result(consumer.done)
        author = self.one.author
        own = [b"0", b"0", b"3", b"3"]
        self.assert_reads_around(consumer, own, (author, 3, 6), (author, 9, 10))
        self.assertEqual(self.said, consumer.reader.damages)

    def test_in_reverse(self) -> None:
        """However much of it, in one piece."""
        author = self.one.author
        for tried in (_TRIED, 1):
            self.patch(reading_around, "_TRIED", tried)
            self.damage(1, 2, 4)
            reader = self.store.read(author, reverse=True)
            consumer = Consumer(reader)
            self.world.result(consumer.done)
            self.assertEqual(consumer.payloads, [b"3", b"3", b"0", b"0"])
            self.assertEqual([damage[:3] for damage in reader.damages], [(author, 9, 10), (author, 3, 6)])

    def test_entries_that_are_missing(self) -> None:
        log = self.backend.content.logs[self.one.author]
        del log.rows[0], log.firsts[0]
        consumer = Consumer(self.store.read())
        self.world.result(consumer.done)
        own = [payload for number in range(1, 5) for payload in [b"%d" % number] * 2]
        self.assert_reads_around(consumer, own, (self.one.author, 1, 2))
        self.assertIn("entry 1 is missing", consumer.reader.damages[0].reason)

    def test_live(self) -> None:
        """What comes behind the damage is read; nothing is said twice."""
        self.damage(1, 4)
        consumer = Consumer(self.store.read(live=True))
        self.reactor.settle()
        author = self.one.author
        own = [b"0", b"0", b"2", b"2", b"3", b"3"]
        self.assert_reads_around(consumer, own, (author, 3, 4), (author, 9, 10))
        self.assertFalse(consumer.done.called)
        self.append(self.two, b"more")
        self.assertEqual(self.payloads(consumer, self.two.author)[-1], b"more")
        self.assertEqual(len(consumer.reader.damages), 2)
        consumer.reader.close()

    def test_the_cursor_stays_before_damage_at_the_end(self) -> None:
        """It is read there again once it is mended; what is behind other damage takes the cursor with it."""
        self.damage(1, 4)
        consumer = Consumer(self.store.read())
        self.world.result(consumer.done)
        cursor = consumer.reader.cursor()
        self.assertEqual(cursor.seq(self.one.author), 8)
        log = self.backend.content.logs[self.one.author]
        segment = log.rows[4]
        log.rows[4] = segment._replace(bodies=segment.bodies[:-1] + b"4")
        self.assertEqual(self.read(after=cursor), [b"4", b"4"])

    def test_a_range(self) -> None:
        """Of what was not asked for nothing is said."""
        self.damage(0, 4)
        consumer = Consumer(self.store.read(self.one.author, first=3, last=8))
        self.world.result(consumer.done)
        self.assertEqual(consumer.seqs, [3, 4, 5, 6, 7, 8])
        self.assertEqual(consumer.reader.damages, [])
        consumer = Consumer(self.store.read(self.one.author, first=2, last=9))
        self.world.result(consumer.done)
        self.assertEqual(consumer.seqs, [3, 4, 5, 6, 7, 8])
        author = self.one.author
        self.assertEqual([damage[:3] for damage in consumer.reader.damages], [(author, 2, 2), (author, 9, 9)])

    def test_after_a_cursor_whose_entry_is_damaged(self) -> None:
        cursor = Cursor({self.one.author: (3, b"")})
        self.damage(1)
        consumer = Consumer(self.store.read(self.one.author, after=cursor))
        self.world.result(consumer.done)
        self.assertEqual(consumer.seqs, [5, 6, 7, 8, 9, 10])

    def test_with_nobody_listening_it_is_in_the_log(self) -> None:
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.damage(1)
        self.read()
        [words] = [event["words"] for event in events if "words" in event]
        self.assertIn("passed over entries 3 to 4", words)
        self.assertIn("gossiplog verify --repair", words)


class NodeTests(SynchronousTestCase):
    """A node on a damaged store."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob = self.world.site("ann"), self.world.site("bob")
        for number in range(4):
            self.ann.append(b"%d" % number)
        self.bob.append(b"fine")

    def damage(self, site: Site, row: int) -> None:
        rows = site.backend.content.logs[self.ann.author()].rows
        rows[row] = rows[row]._replace(bodies=rows[row].bodies[:-1] + b"?")

    def test_the_application_is_told_when_it_reads(self) -> None:
        self.damage(self.ann, 2)

        async def read() -> list[bytes]:
            return [entry.payload async for entry in self.ann.store.read()]

        for _ in range(2):
            self.assertEqual(self.world.result(Deferred.fromCoroutine(read())), [b"0", b"1", b"3"])
        [notice] = self.ann.of(StoreDamaged)
        self.assertEqual((notice.author, notice.first, notice.last), (self.ann.author(), 3, 3))

    def test_what_is_before_it_is_served(self) -> None:
        self.damage(self.ann, 2)
        self.bob.node.connect(self.ann.listen())
        self.world.run(30)
        self.assertEqual(self.bob.payloads(self.ann.author()), [b"0", b"1"])
        self.assertEqual(self.ann.payloads(self.bob.author()), [b"fine"])
        [notice] = self.ann.of(StoreDamaged)
        self.assertEqual((notice.first, notice.last), (3, 3))

    def test_what_cannot_be_read_just_now_is_not_damaged(self) -> None:
        """There was no descriptor left: nobody is told to repair anything, and who asked gets it later."""
        backend, read = self.ann.backend, self.ann.backend.segments
        calls = count()

        def segments(author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
            if not next(calls):
                raise StoreError("unable to open database file")
            return read(author, first, limit_bytes, last)

        backend.segments = segments  # type: ignore[method-assign]
        self.bob.node.connect(self.ann.listen())
        self.world.run(1)
        self.assertEqual(self.bob.payloads(self.ann.author()), [])
        self.world.run(30)
        self.assertEqual(self.bob.payloads(self.ann.author()), [b"0", b"1", b"2", b"3"])
        self.assertEqual(self.ann.of(StoreDamaged), [])


class RecoverTests(ProcessTestCase):
    """A backup is put back, and what is newer is asked of a relay whose own disk was damaged."""

    def test_a_relay_with_a_damaged_end(self) -> None:
        """It claims what it can serve, so that both are in sync and the writer goes on; it says what it lost."""
        self.run_gossiplog("init", "--store", "ann")
        self.run_gossiplog("init", "--store", "bob")
        other = Chain(5)
        with closing(open_logs(self.place / "bob")) as logs:
            for number in range(3):
                logs.process([Accept(*other.put(b"%d" % number))])
        self.run_gossiplog("append", "--store", "ann", "one")
        shutil.copytree(self.place / "ann", self.place / "backup")
        self.run_gossiplog("append", "--store", "ann", "two")
        bob = self.relay()
        self.run_gossiplog("sync", "--store", "ann", "--network", "n", self.address)
        bob.interrupt()
        shutil.rmtree(self.place / "ann")
        (self.place / "backup").rename(self.place / "ann")
        file = self.place / "bob" / "log.sqlite"
        content = bytearray(file.read_bytes())
        content[content.index(other.segments[2].signature)] ^= 1
        file.write_bytes(content)
        bob = self.relay()
        out = self.run_gossiplog("recover", "--store", "ann", "--network", "n", self.address)
        self.assertIn("1 entries came back, goes on with 3", out)
        self.assertRegex(self.run_gossiplog("append", "--store", "ann", "three"), r" 3\n\Z")
        bob.interrupt()
        self.assertIn("damaged at 3", bob.err)

    def relay(self) -> Process:
        bob = self.gossiplog(
            "run", "--store", "bob", "--network", "n", "--listen", "tcp:0:interface=127.0.0.1"
        )
        [self.address] = bob.ready()["listening"]
        return bob


class CommandTests(ProcessTestCase):
    """Commands give what can be read, say the rest on standard error, and end with status 3."""

    def setUp(self) -> None:
        super().setUp()
        self.chains = [Chain(1), Chain(2)]
        self.run_gossiplog("init", "--store", "bob")
        with closing(open_logs(self.place / "bob")) as logs:
            for number in range(4):
                logs.process([Accept(*chain.put(b"%d" % number)) for chain in self.chains])
        file = self.place / "bob" / "log.sqlite"
        content = bytearray(file.read_bytes())
        content[content.index(self.chains[0].segments[1].signature)] ^= 1
        file.write_bytes(content)

    def test_log(self) -> None:
        for options in ((), ("--sort", "time"), ("--json",)):
            log = self.gossiplog("log", "--store", "bob", *options)
            self.assertEqual(log.finish(), 3, log.err)
            self.assertEqual(len(log.out.splitlines()), 7)
            [line] = log.err.splitlines()
            self.assertIn("passed over entry 2 of author_", line)
            self.assertIn("gossiplog verify --repair --store bob", line)

    def test_log_that_follows(self) -> None:
        log = self.gossiplog("log", "--follow", "--store", "bob")
        log.wait_for(r"(?s)(.*\n){7}")
        self.assertEqual(log.interrupt(), 3)
        self.assertIn("passed over entry 2 of author_", log.err)

    def test_chat(self) -> None:
        """With what was said around it; the line of the damage is there before the chat begins."""
        said = [
            encode_body(
                1, encoding("json").encode({"type": "chat-message", "nickname": "eve", "text": f"number {n}"})
            )
            for n in range(2)
        ]
        with closing(open_logs(self.place / "bob")) as logs:
            logs.process([Accept(*self.chains[0].put(*said))])
        chat = self.gossiplog("chat", "--store", "bob", "--network", "n", "--nick", "bob")
        chat.wait_for("eve> number 1")
        chat.send("/quit")
        self.assertEqual(chat.finish(), 3, chat.err)
        self.assertIn("eve> number 0", chat.out)
        [line] = chat.err.splitlines()
        self.assertIn("passed over entry 2 of author_", line)
