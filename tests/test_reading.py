"""Rings 6 and 7: reading through the public API: stored, live, and both; cancelled, slow and forgotten readers."""

from __future__ import annotations

import asyncio
import gc
import weakref
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Cursor, Entry, Reader, Store, Writer, open_store
from gossiplog.errors import CursorMismatchError, InvalidValueError, StoreClosedError
from gossiplog.live import source as reading
from gossiplog.live.results import Result
from gossiplog.log.body import encode_body
from gossiplog.log.keys import short_key
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, SetCursor
from gossiplog.testing.network import VirtualReactor, VirtualThread
from gossiplog.testing.sim.disk import steady
from tests.netcase import Author, World


class Consumer:
    """I read on and on, in a Twisted coroutine, and note what I get."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.got: list[Entry] = []
        self.done = Deferred.fromCoroutine(self._read())
        self.done.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _read(self) -> None:
        async for entry in self.reader:
            self.got.append(entry)

    @property
    def seqs(self) -> list[int]:
        return [entry.seq for entry in self.got]

    @property
    def payloads(self) -> list[Any]:
        return [entry.payload for entry in self.got]


class VirtualCase(SynchronousTestCase):
    """A store in memory, in virtual time."""

    def setUp(self) -> None:
        self.world = World()
        self.reactor: VirtualReactor = self.world.reactor
        self.backend = MemoryBackend()
        self.store = Store(lambda: Logs(self.backend), self.reactor, thread=VirtualThread)

    def tearDown(self) -> None:
        if isinstance(self.store._core.thread, VirtualThread):
            self.store._core.thread.disk.resume()
        self.world.result(self.store.close())

    def writer(self, name: str = "default", encoding: str = "bytes") -> Writer:
        writer: Writer = self.world.result(self.store.writer(name, encoding=encoding))
        return writer

    def append(self, writer: Writer, *payloads: Any) -> None:
        self.world.result(writer.append_many(payloads))

    def read(self, *arguments: Any, **keywords: Any) -> list[Any]:
        """All payloads of a reader that is not live."""
        consumer = Consumer(self.store.read(*arguments, **keywords))
        self.world.result(consumer.done)
        return consumer.payloads

    def consume(self, *arguments: Any, **keywords: Any) -> Consumer:
        consumer = Consumer(self.store.read(*arguments, **keywords))
        self.reactor.settle()
        return consumer


class StoredTests(VirtualCase):
    """What is on disk."""

    def test_everything_by_author_and_seq(self) -> None:
        one, two = self.writer("one"), self.writer("two")
        self.append(one, b"1", b"2")
        self.append(two, b"a")
        self.append(one, b"3")
        consumer = Consumer(self.store.read())
        self.world.result(consumer.done)
        by_author = {w.author: [e.payload for e in consumer.got if e.author == w.author] for w in (one, two)}
        self.assertEqual(by_author, {one.author: [b"1", b"2", b"3"], two.author: [b"a"]})

    def test_author_and_range(self) -> None:
        writer, other = self.writer(), self.writer("other")
        self.append(other, b"no")
        self.append(writer, *(bytes([number]) for number in range(10)))
        author = writer.author
        for first, last, seqs in [
            (1, None, range(1, 11)),
            (4, None, range(4, 11)),
            (4, 6, range(4, 7)),
            (10, 10, range(10, 11)),
            (11, None, range(0)),
            (1, 0, range(0)),
            (7, 3, range(0)),
            (9, 99, range(9, 11)),
        ]:
            consumer = self.consume(author, first=first, last=last)
            self.assertEqual(consumer.seqs, list(seqs), (first, last))
            self.assertTrue(consumer.done.called)

    def test_after_a_cursor(self) -> None:
        writer = self.writer()
        self.append(writer, b"1", b"2", b"3")
        cursor = Cursor()
        cursor.advance(writer.author, 2)
        self.assertEqual(self.read(after=cursor), [b"3"])
        self.assertEqual(self.read(writer.author, first=2, after=cursor), [b"3"])
        self.assertEqual(self.read(writer.author, first=3, last=3), [b"3"])
        cursor.advance(writer.author, 7)
        self.assertEqual(self.read(after=cursor), [])
        self.assertEqual(self.read(after=self.store.clock), [])

    def test_only_what_was_there_when_the_read_began(self) -> None:
        """Otherwise a log that grows faster than it is read has no end."""
        writer = self.writer()
        self.append(writer, *[bytes(1000)] * 600)
        reader = self.store.read()
        self.append(writer, b"later")
        consumer = Consumer(reader)
        self.world.result(consumer.done)
        self.assertEqual(consumer.seqs, list(range(1, 601)))

    def test_unknown_author(self) -> None:
        self.assertEqual(self.read(bytes(32)), [])

    def test_arguments(self) -> None:
        for arguments in (
            {"first": 2},
            {"last": 2},
            {"author": bytes(31)},
            {"author": "author_abc"},
            {"author": bytes(32), "first": 0},
            {"author": bytes(32), "last": -1},
            {"encoding": "rot13"},
        ):
            with self.assertRaises(InvalidValueError):
                self.store.read(**arguments)  # type: ignore[arg-type]

    def test_large_logs_come_in_pieces(self) -> None:
        writer = self.writer()
        for _ in range(20):
            self.append(writer, bytes(100_000))
        reader = self.store.read()
        held: list[int] = []

        async def read() -> int:
            count = 0
            async for _ in reader:
                count += 1
                held.append(sum(len(segment.bodies) for segment, _ in reader._source._segments))
            return count

        self.assertEqual(self.world.result(Deferred.fromCoroutine(read())), 20)
        self.assertLess(max(held), reading.CHUNK_BYTES + 100_000)


class EncodingTests(VirtualCase):
    """Payloads as values, and what is none."""

    def test_foreign_payloads_are_delivered_as_malformed(self) -> None:
        writer = self.writer()
        bad = {"utf-8": b"\xff", "json": b"{", "msgpack": b"\xc1", "bytes": b""}
        self.append(writer, *bad.values())
        for encoding in bad:
            consumer = self.consume(encoding=encoding)
            entry = consumer.got[list(bad).index(encoding)]
            if encoding == "bytes":
                self.assertEqual([entry.malformed for entry in consumer.got], [""] * 4)
            else:
                self.assertIn(encoding, entry.malformed)
                self.assertEqual(entry.payload, bad[encoding])
            self.assertEqual(len(consumer.got), 4)

    def test_nesting_bombs(self) -> None:
        writer = self.writer()
        self.append(writer, b"[" * 100_000, b"\x91" * 100_000, b"1" * 10_000)
        for encoding in ("json", "msgpack", "utf-8"):
            consumer = self.consume(encoding=encoding)
            self.assertEqual(len(consumer.got), 3)

    def test_bodies_that_are_none(self) -> None:
        """They are kept and relayed all the same, so they are delivered."""
        writer = self.writer()
        good = encode_body(5, b"good")
        self.world.result(self.store._core.append(writer.author, [b"\xc1", b"", good]))
        consumer = self.consume()
        self.assertEqual([bool(entry.malformed) for entry in consumer.got], [True, True, False])
        self.assertEqual(consumer.payloads, [b"\xc1", b"", b"good"])
        self.assertEqual(consumer.got[2].timestamp_ms, 5)

    def test_live_and_stored_are_decoded_alike(self) -> None:
        writer = self.writer(encoding="json")
        live = self.consume(live=True, encoding="json")
        self.append(writer, {"a": 1}, [2])
        self.reactor.settle()
        self.assertEqual(live.payloads, [{"a": 1}, [2]])
        self.assertEqual(live.got, self.consume(encoding="json").got)


class LiveTests(VirtualCase):
    """News as it comes."""

    def test_stored_then_live(self) -> None:
        writer = self.writer()
        self.append(writer, b"1")
        consumer = self.consume(live=True)
        self.assertEqual(consumer.payloads, [b"1"])
        self.append(writer, b"2", b"3")
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"1", b"2", b"3"])
        self.assertFalse(consumer.done.called)
        self.world.result(self.store.close())
        self.assertTrue(consumer.done.called)

    def test_tail(self) -> None:
        writer = self.writer()
        self.append(writer, b"1")
        consumer = self.consume(tail=True)
        self.append(writer, b"2")
        other = self.writer("other")
        self.append(other, b"3")
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"2", b"3"])

    def test_after_the_clock_itself_is_a_tail(self) -> None:
        """The clock moves on; where the reader begins does not."""
        writer = self.writer()
        self.append(writer, b"1")
        consumer = self.consume(after=self.store.clock, live=True)
        self.append(writer, b"2")
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"2"])

    def test_after_a_cursor_that_is_ahead(self) -> None:
        """Of a store restored from a backup, say: nothing is repeated once it is beyond."""
        writer = self.writer()
        cursor = Cursor()
        cursor.advance(writer.author, 5)
        consumer = self.consume(after=cursor, live=True)
        self.append(writer, b"1", b"2", b"3")
        self.append(writer, b"4", b"5", b"6")
        self.append(writer, b"7")
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"6", b"7"])

    def test_a_range_that_is_complete_ends(self) -> None:
        writer = self.writer()
        consumer = self.consume(writer.author, first=2, last=3, live=True)
        for payload in (b"1", b"2", b"3", b"4"):
            self.append(writer, payload)
            self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"2", b"3"])
        self.assertTrue(consumer.done.called)

    def test_one_author(self) -> None:
        writer, other = self.writer(), self.writer("other")
        consumer = self.consume(writer.author, tail=True)
        self.append(other, b"no")
        self.append(writer, b"yes")
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"yes"])

    def test_commit_of_many_segments(self) -> None:
        """Those that fit are handed over from memory, the rest is read; the order stays."""
        writer = self.writer()
        consumer = self.consume(live=True)
        payloads = [number.to_bytes(4, "big") * 1000 for number in range(500)]
        self.append(writer, *payloads)
        self.world.run(1)
        self.assertEqual(consumer.payloads, payloads)

    def test_log_that_grows_all_the_time_holds_up_nobody(self) -> None:
        """Who reads live turns to the next author after each chunk."""
        busy, quiet = sorted([self.writer("a"), self.writer("b")], key=lambda writer: writer.author)
        for _ in range(12):
            self.append(busy, bytes(100_000))
        self.append(quiet, b"here")
        reader = self.store.read(live=True)

        async def until() -> int:
            count = 0
            async for entry in reader:
                if entry.author == quiet.author:
                    return count
                count += 1
                busy.append(bytes(100_000))
            return -1

        self.assertLess(self.world.result(Deferred.fromCoroutine(until())), 4)

    def test_the_seam_between_stored_and_live(self) -> None:
        """Whatever is appended while the reader is wherever: everything once, in order."""
        for seed in range(60):
            random = Random(seed)
            reactor = VirtualReactor()
            store = Store(lambda: Logs(MemoryBackend()), reactor, thread=VirtualThread)
            assert isinstance(store._core.thread, VirtualThread)
            store._core.thread.disk.speed = steady(0.001)
            world = World(seed)
            world.reactor = reactor
            writers = [world.result(store.writer(str(number))) for number in range(3)]
            expected: dict[bytes, list[bytes]] = {writer.author: [] for writer in writers}
            consumers = [Consumer(store.read(live=True))]
            for step in range(60):
                writer = random.choice(writers)
                payloads = [
                    bytes([step]) * random.choice([1, 1, 1, 3000])
                    for _ in range(random.choice([1, 1, 2, 40]))
                ]
                writer.append_many(payloads)
                expected[writer.author] += payloads
                if random.random() < 0.1:
                    consumers.append(Consumer(store.read(live=True)))
                reactor.run(random.choice([0, 0, 0.0005, 0.001, 0.01]))
            reactor.run(5)
            for consumer in consumers:
                got: dict[bytes, list[bytes]] = {writer.author: [] for writer in writers}
                for entry in consumer.got:
                    got[entry.author].append(entry.payload)
                    self.assertEqual(entry.seq, len(got[entry.author]), seed)
                self.assertEqual(got, expected, seed)
            world.result(store.close())

    def test_reader_that_is_told_of_a_commit_it_has_read_already(self) -> None:
        """The clock and the disk are ahead of what a listener was told: nothing twice."""
        writer = self.writer()
        consumer = self.consume(live=True)
        self.append(writer, b"1")
        self.reactor.settle()
        [segment] = self.backend.segments(writer.author, 1, 1)
        consumer.reader._source.committed([segment])
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"1"])


class InterruptedTests(VirtualCase):
    """Readers that are stopped, cancelled, closed, left behind."""

    def test_break_and_go_on(self) -> None:
        writer = self.writer()
        self.append(writer, b"1", b"2", b"3")
        reader = self.store.read()

        async def first() -> Any:
            async for entry in reader:
                return entry.payload

        self.assertEqual(self.world.result(Deferred.fromCoroutine(first())), b"1")
        consumer = Consumer(reader)
        self.world.result(consumer.done)
        self.assertEqual(consumer.payloads, [b"2", b"3"])

    def test_cursor_says_what_was_handed_over(self) -> None:
        writer, other = self.writer(), self.writer("other")
        self.append(writer, b"1", b"2", b"3")
        self.append(other, b"a")
        reader = self.store.read()
        seen: list[tuple[bytes, int]] = []

        async def some(count: int) -> None:
            async for entry in reader:
                seen.append((entry.author, entry.seq))
                if len(seen) == count:
                    return

        self.world.result(Deferred.fromCoroutine(some(2)))
        cursor = Cursor.load(reader.cursor().dump())
        rest = Consumer(self.store.read(after=cursor))
        self.world.result(rest.done)
        every = [(writer.author, seq) for seq in (1, 2, 3)] + [(other.author, 1)]
        self.assertEqual(sorted(seen + [(e.author, e.seq) for e in rest.got]), sorted(every))
        last = rest.got[-1]
        self.assertEqual(rest.reader.cursor().id8(last.author), last.id[:8])

    def test_cursor_of_a_reader_of_one_author_speaks_of_no_other(self) -> None:
        writer, other = self.writer(), self.writer("other")
        self.append(writer, *[b"x"] * 5)
        self.append(other, *[b"x"] * 5)
        reader = self.store.read(writer.author, first=4)
        self.assertEqual(dict(reader.cursor().items()), {writer.author: (3, b"")})
        self.world.result(Consumer(reader).done)
        self.assertEqual(reader.cursor().seq(writer.author), 5)
        self.assertEqual(len(reader.cursor()), 1)

    def other_history(self, writer: Writer, seq: int) -> Cursor:
        """A cursor that read another entry of ``writer`` at ``seq``."""
        cursor = Cursor()
        cursor.advance(writer.author, seq, b"another!" * 4)
        return cursor

    def test_cursor_of_another_history(self) -> None:
        """At the head that is seen at once; the error names the author, and others can be read without it."""
        writer, other = self.writer(), self.writer("other")
        self.append(writer, b"1", b"2")
        self.append(other, b"a")
        cursor = self.other_history(writer, 2)
        error = self.assertRaises(CursorMismatchError, self.store.read, after=cursor)
        self.assertEqual(error.author, writer.author)
        self.assertIn(short_key(writer.author), str(error))
        cursor.discard(error.author)
        self.assertEqual(sorted(self.read(after=cursor)), [b"1", b"2", b"a"])

    def test_cursor_of_another_history_before_the_head(self) -> None:
        """Inside a segment, between two, and of what comes later; the reader goes on with the others."""
        for seq, live in ((1, False), (2, False), (3, False), (2, True)):
            self.setUp()
            writer, other = self.writer(), self.writer("other")
            self.append(writer, b"1", b"2")
            if not live:
                self.append(writer, b"3", b"4")
            self.append(other, b"a")
            cursor = self.other_history(writer, seq)
            if live:  # nothing to compare with, yet
                cursor.discard(writer.author)
                cursor.advance(writer.author, 3, b"another!")
            reader = self.store.read(after=cursor, live=live)
            mismatched: list[bytes] = []
            payloads: list[bytes] = []

            async def read(
                reader: Reader = reader, found: list[bytes] = payloads, wrong: list[bytes] = mismatched
            ) -> None:
                while True:
                    try:
                        async for entry in reader:
                            found.append(entry.payload)
                        return
                    except CursorMismatchError as error:
                        wrong.append(error.author)

            reading = Deferred.fromCoroutine(read())
            self.reactor.settle()
            if live:
                self.append(writer, b"3", b"4")
                self.reactor.settle()
                reader.close()
            self.world.result(reading)
            self.assertEqual((payloads, mismatched), ([b"a"], [writer.author]))

    def test_cursor_of_the_same_history(self) -> None:
        """Saved anywhere, it is never taken for another one's."""
        writer = self.writer()
        for size in (1, 3, 2):
            self.append(writer, *(b"%d" % number for number in range(size)))
        reader = self.store.read()
        for left in range(5, -1, -1):
            self.world.result(Deferred.fromCoroutine(anext(reader)))
            cursor = Cursor.load(reader.cursor().dump())
            self.assertEqual(len(self.read(after=cursor)), left)

    def test_what_is_no_name_or_cursor(self) -> None:
        """Is refused when asked for; nothing else of the same commit fails."""
        appended = self.world.result(self.store.writer()).append(b"1")
        for name in (5, None, "", "x" * 257, "\ud800", b"bytes"):
            self.assertRaises(InvalidValueError, self.store.cursor, name)
            self.assertRaises(InvalidValueError, self.store.save_cursor, name, Cursor())
        for cursor in (5, b"", "cursor", {}):
            self.assertRaises(InvalidValueError, self.store.save_cursor, "name", cursor)
        self.assertEqual(self.world.result(appended), 1)

    def test_one_bad_request_of_a_commit(self) -> None:
        """Whatever gets past the checks fails for itself."""
        writer = self.writer()
        appended = writer.append_many([b"1", b"2"])
        bad = self.store._core.write(SetCursor("\ud800", Cursor()), lambda _: None)
        worse = self.store._core.write(SetCursor("good", b""), lambda _: None)  # type: ignore[arg-type]
        saved = self.store.save_cursor("good", self.store.clock)
        for result in (bad, worse):
            self.assertRaises(InvalidValueError, self.world.result, result)
        self.assertEqual(self.world.result(appended), range(1, 3))
        self.world.result(saved)

    def test_removed_cursor(self) -> None:
        """As if it had never been."""
        self.world.result(self.store.save_cursor("app", self.other_history(self.writer(), 2)))
        self.world.result(self.store.save_cursor("app", None))
        self.assertEqual(len(self.world.result(self.store.cursor("app"))), 0)

    def test_saved_cursor(self) -> None:
        writer = self.writer()
        self.append(writer, b"1", b"2")
        self.assertEqual(len(self.world.result(self.store.cursor("app"))), 0)
        reader = self.store.read()
        self.world.result(Consumer(reader).done)
        self.world.result(self.store.save_cursor("app", reader.cursor()))
        self.append(writer, b"3")
        cursor = self.world.result(self.store.cursor("app"))
        self.assertEqual(self.read(after=cursor), [b"3"])

    def test_cancelled_while_it_waits_for_news(self) -> None:
        writer = self.writer()
        reader = self.store.read(live=True)
        consumer = Consumer(reader)
        self.reactor.settle()
        consumer.done.cancel()
        self.successResultOf(consumer.done)
        self.append(writer, b"1")
        again = Consumer(reader)
        self.reactor.settle()
        self.assertEqual(again.payloads, [b"1"])

    def test_cancelled_while_it_reads(self) -> None:
        """Again and again, at every step: nothing is lost, nothing comes twice."""
        writer = self.writer()
        for number in range(10):
            self.append(writer, number.to_bytes(2, "big") * 40_000)
        assert isinstance(self.store._core.thread, VirtualThread)
        self.store._core.thread.disk.speed = steady(0.01)
        random = Random(7)
        reader = self.store.read(live=True)
        got: list[int] = []
        for _ in range(200):
            consumer = Consumer(reader)
            self.reactor.run(random.choice([0, 0.005, 0.01, 0.02]))
            consumer.done.cancel()
            got += consumer.seqs
        self.assertEqual(got, list(range(1, 11)))

    def test_close_ends_who_waits(self) -> None:
        reader = self.store.read(live=True)
        consumer = Consumer(reader)
        self.reactor.settle()
        reader.close()
        reader.close()
        self.successResultOf(consumer.done)
        self.assertEqual(self.world.result(Consumer(reader).done), None)

    def test_close_in_the_middle_ends_at_once(self) -> None:
        writer = self.writer()
        self.append(writer, b"1", b"2", b"3")
        reader = self.store.read()
        got: list[int] = []

        async def read() -> None:
            async for entry in reader:
                got.append(entry.seq)
                await reader.aclose()

        self.world.result(Deferred.fromCoroutine(read()))
        self.assertEqual(got, [1])
        self.assertEqual(reader.cursor().seq(writer.author), 1)

    def test_close_while_it_reads(self) -> None:
        writer = self.writer()
        self.append(writer, b"1")
        reader = self.store.read()
        consumer = Consumer(reader)
        reader.close()
        self.world.result(consumer.done)
        self.assertEqual(consumer.got, [])

    def test_closed_store(self) -> None:
        """A live reader ends; one that is not complete says so."""
        writer = self.writer()
        for _ in range(8):
            self.append(writer, bytes(100_000))
        live, reader = self.consume(tail=True), self.store.read()

        async def first() -> None:
            async for _ in reader:
                return

        self.world.result(Deferred.fromCoroutine(first()))
        self.world.result(self.store.close())
        self.successResultOf(live.done)
        rest = Consumer(reader)
        self.failureResultOf(rest.done, StoreClosedError)

    def test_two_consumers_of_one_reader(self) -> None:
        reader = self.store.read(live=True)
        consumer = Consumer(reader)
        self.reactor.settle()
        second = Consumer(reader)
        self.failureResultOf(second.done, RuntimeError)
        reader.close()
        self.successResultOf(consumer.done)

    def test_forgotten_reader_is_gone(self) -> None:
        """``async for ... break`` is all it takes to be done with a live reader."""
        reader = self.store.read(live=True)
        reference = weakref.ref(reader)
        del reader
        gc.collect()
        self.assertIsNone(reference())

    def test_reader_somebody_waits_for_is_not_gone(self) -> None:
        """Although nobody but the waiting coroutine knows it."""
        got: list[bytes] = []

        async def read() -> None:
            async for entry in self.store.read(live=True):
                got.append(entry.payload)

        Deferred.fromCoroutine(read())
        writer = self.writer()
        for payload in (b"1", b"2"):
            gc.collect()
            self.append(writer, payload)
        self.assertEqual(got, [b"1", b"2"])


class SlowTests(VirtualCase):
    """A consumer that does not ask costs a number per author."""

    def test_slow_consumer(self) -> None:
        writer = self.writer()
        reader = self.store.read(live=True)
        got: list[int] = []
        gate: list[Result[None]] = []

        async def read() -> None:
            async for entry in reader:
                got.append(entry.seq)
                gate.append(Result())
                await gate[-1]

        waiting = Deferred.fromCoroutine(read())
        for _ in range(100):
            self.append(writer, bytes(50_000))
        held = sum(len(segment.bodies) for segment, _ in reader._source._segments)
        self.assertLess(held, reading.CHUNK_BYTES + 130_000)
        self.assertEqual(got, [1])
        for count in range(100):
            gate[count].callback(None)
            self.reactor.settle()
        self.assertEqual(got, list(range(1, 101)))
        reader.close()
        self.successResultOf(waiting)


class DiskTests(TestCase):
    """The same on SQLite, with the real reactor and real threads."""

    def setUp(self) -> None:
        self.store = open_store(self.mktemp(), reactor)
        self.addCleanup(self.store.close)

    async def test_seam_under_concurrent_appends(self) -> None:
        writers = [await self.store.writer(str(number), encoding="msgpack") for number in range(3)]
        random = Random(11)
        total = 600
        consumers: list[Consumer] = []
        appends: list[Any] = []
        for number in range(total):
            if number % 100 == 50:
                consumers.append(Consumer(self.store.read(live=True, encoding="msgpack")))
            appends.append(random.choice(writers).append(number))
            if random.random() < 0.05:
                await appends[-1]
        await gatherResults(appends)
        expected = {writer.author: self.store.clock.seq(writer.author) for writer in writers}
        self.assertEqual(sum(expected.values()), total)
        await self.store._core.run(lambda logs: None)
        for consumer in consumers:
            while len(consumer.got) < total:
                await self.store._core.run(lambda logs: None)
            seqs: dict[bytes, list[int]] = {author: [] for author in expected}
            for entry in consumer.got:
                seqs[entry.author].append(entry.seq)
            self.assertEqual(seqs, {author: list(range(1, count + 1)) for author, count in expected.items()})
            consumer.reader.close()
            await consumer.done

    async def test_while_segments_merge(self) -> None:
        """Rows are joined on disk while a reader is between them."""
        writer = await self.store.writer()
        for number in range(200):
            await writer.append(number.to_bytes(2, "big"))
        got: list[int] = []
        async for entry in self.store.read():
            got.append(entry.seq)
            if entry.seq % 10 == 0:
                await self.store._core.run(lambda logs: [logs.merge_some(1 << 20) for _ in range(2)])
        self.assertEqual(got, list(range(1, 201)))

    async def test_foreign_segments_too(self) -> None:
        """What a peer sent is read like what was written here."""
        author = Author()
        segments = author.write(b"1", b"2")
        consumer = Consumer(self.store.read(live=True))
        await self.store._core.write(Accept(segments[0], author.head), lambda value: None)
        consumer.reader.close()
        await consumer.done
        self.assertEqual(consumer.payloads, [b"1", b"2"])


class AsyncioCancelTests(SynchronousTestCase):
    """Readers in asyncio tasks; the store's work is done by hand."""

    def test_cancelled_tasks_lose_nothing(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        virtual = VirtualReactor()
        store = Store(lambda: Logs(MemoryBackend()), virtual, thread=VirtualThread)

        async def turn() -> None:
            for _ in range(5):
                virtual.settle()
                await asyncio.sleep(0)

        async def main() -> tuple[list[int], list[int]]:
            task = asyncio.ensure_future(_writer(store))
            await turn()
            writer = await task
            reader = store.read(live=True)
            got: list[int] = []

            async def read() -> None:
                async for entry in reader:
                    got.append(entry.seq)

            for number in range(30):
                writer.append(bytes([number]))
                task2 = asyncio.ensure_future(read())
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                    virtual.settle()
                task2.cancel()
                await asyncio.gather(task2, return_exceptions=True)
            task2 = asyncio.ensure_future(read())
            await turn()
            reader.close()
            await task2
            return got, list(range(1, 31))

        got, expected = loop.run_until_complete(main())
        self.assertEqual(got, expected)


async def _writer(store: Store) -> Writer:
    return await store.writer()
