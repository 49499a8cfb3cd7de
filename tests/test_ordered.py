"""Reading in causal order, through the public API: stored, live, from a cursor; with clocks that are off, and lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any
from unittest.mock import patch

from gossiplog import Cursor, EntryAhead, PlacedEntry, Reordered, Writer, limits
from gossiplog.errors import CursorMismatchError, InvalidReferenceError, InvalidValueError, StoreError
from gossiplog.live import causal_source, tips
from gossiplog.log.body import Reference, encode_body
from gossiplog.log.causal import Causal
from gossiplog.log.place import Place, read_place
from gossiplog.log.segment import Head, Segment, build, id_at
from gossiplog.protocol import decode_body
from gossiplog.store.requests import Accept, Forget
from gossiplog.testing.network import VirtualThread
from tests.netcase import Author
from tests.test_reading import Consumer, VirtualCase
from tests.timelines import History


class OrderCase(VirtualCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(causal_source, "wall_ms", lambda _: self.wall_ms)
        self.told: list[Any] = []
        self.store.notices.listen(self.told.append)
        self.ann, self.bob = Author(1), Author(2)

    @property
    def wall_ms(self) -> int:
        return 1_800_000_000_000 + round(self.reactor.seconds() * 1000)

    def write(self, author: Author, clock: int, payload: bytes, *after: Reference) -> tuple[Any, Reference]:
        """Write an entry; return what a peer would bring, and how to name it."""
        [segment], author.head = build(author.pair, author.head, [encode_body(clock, payload, after)])
        return Accept(segment, author.head), Reference(author.key, author.head.seq, author.head.id[:16])

    def come(self, *requests: Any) -> None:
        for request in requests:
            self.world.result(self.store._core.write(request, lambda _: None))
        self.reactor.settle()

    def pass_time(self, seconds: float) -> None:
        self.reactor.run(seconds)

    def in_order(self, **how: Any) -> list[Any]:
        return self.read(order="causal", **how)


class StoredOrderTests(OrderCase):
    def test_a_reply_is_never_before_its_question(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        self.come(reply, question)
        self.assertEqual(self.in_order(), [b"question", b"reply"])

    def test_what_an_entry_is(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        self.come(reply, question)
        consumer = Consumer(self.store.read(order="causal"))
        self.world.result(consumer.done)
        first, second = consumer.got
        assert isinstance(first, PlacedEntry) and isinstance(second, PlacedEntry)
        self.assertEqual(read_place(first.place), (5_000, 0, self.ann.key, 1))
        self.assertEqual(read_place(second.place), (5_000, 1, self.bob.key, 1))
        self.assertLess(first.place, second.place)
        self.assertEqual((second.after, second.timestamp_ms, second.late), ((name,), 1_000, False))

    def test_from_a_cursor(self) -> None:
        """Wherever it was cut, what follows is the rest, in the same order and with the same places."""
        names: list[Reference] = []
        for number in range(12):
            author = (self.ann, self.bob)[number % 2]
            request, name = self.write(author, 10_000 - 100 * number, b"%d" % number, *names[-1:])
            names.append(name)
            self.come(request)
        whole = Consumer(self.store.read(order="causal"))
        self.world.result(whole.done)
        self.assertEqual(whole.payloads, [b"%d" % number for number in range(12)])
        for cut in range(13):
            reader = self.store.read(order="causal")

            async def some(reader: Any = reader, cut: int = cut) -> Cursor:
                for _ in range(cut):
                    await reader.__anext__()
                cursor: Cursor = reader.cursor()
                return cursor

            cursor = self.world.result(causal_source.Result.fromCoroutine(some()))
            rest = Consumer(self.store.read(order="causal", after=Cursor.load(cursor.dump())))
            self.world.result(rest.done)
            self.assertEqual(rest.got, whole.got[cut:])

    def test_batches_and_where(self) -> None:
        for number in range(10):
            self.come(self.write((self.ann, self.bob)[number % 2], number, b"%d" % number)[0])
        reader = self.store.read(order="causal", where=lambda entry: entry.payload != b"3")
        got = []

        async def take() -> None:
            async for batch in reader.batches(4):
                got.append([entry.payload for entry in batch.entries])
                rest = Consumer(self.store.read(order="causal", after=batch.cursor))
                await rest.done
                self.assertEqual(len(rest.got), 9 - sum(map(len, got)))

        self.world.result(causal_source.Result.fromCoroutine(take()))
        self.assertEqual(
            [each for batch in got for each in batch], [b"0", b"1", b"2", b"4", b"5", b"6", b"7", b"8", b"9"]
        )

    def test_another_log_than_the_cursor_has_read(self) -> None:
        self.come(
            self.write(self.ann, 1, b"a")[0],
            self.write(self.ann, 2, b"b")[0],
            self.write(self.bob, 3, b"c")[0],
        )
        for seq, early in ((2, True), (1, False)):
            cursor = Cursor({self.ann.key: (seq, b"another.")})
            if early:
                self.assertRaises(CursorMismatchError, self.store.read, order="causal", after=cursor)
                continue
            reader = self.store.read(order="causal", after=cursor)
            consumer = Consumer(reader)
            self.reactor.settle()
            self.failureResultOf(consumer.done, CursorMismatchError)
            self.assertEqual(self.world.result(Consumer(reader).done), None)

    def test_what_has_no_such_order(self) -> None:
        for how in ({"newest": 5}, {"reverse": True}, {"newest": 0}):
            self.assertRaises(InvalidValueError, self.store.read, order="causal", **how)
        self.assertRaises(InvalidValueError, self.store.read, self.ann.key, order="causal")
        self.assertRaises(InvalidValueError, self.store.read, order="places")
        self.assertRaises(InvalidValueError, self.store.read, order="causal", settle=-1)


class IndexTests(OrderCase):
    """Reading on from a cursor begins with the index of places, and not with the logs."""

    def setUp(self) -> None:
        super().setUp()
        self.looked_at = 0
        told = Causal.told

        def count(causal: Causal, read: Any, segments: Sequence[Segment], passed: int = 0) -> None:
            self.looked_at += sum(each.count for each in segments)
            told(causal, read, segments, passed)

        self.patch(Causal, "told", count)

    def bring(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            self.come(Accept(segment, Head(segment.last, id_at(segment, segment.last))))

    def given(self, after: Cursor | None = None, **how: Any) -> list[tuple[bytes, bytes]]:
        consumer = Consumer(self.store.read(order="causal", after=after, **how))
        self.world.result(consumer.done)
        return [(each.place, each.id) for each in consumer.got]

    def test_as_from_the_beginning(self) -> None:
        """Wherever the cursor is in each log, and whatever came since: with references, holes, wrong clocks."""
        for seed, (authors, skew, named, holes) in enumerate(
            [(8, 500, 0.3, 0.0), (6, 500, 0.9, 0.1), (4, 5, 0.6, 0.0)]
        ):
            super().setUp()
            random = Random(seed)
            history = History(seed, authors, skew, named, holes)
            history.write(40)
            segments = [*history.arrivals(seed)]
            for cut in (len(segments) // 2, len(segments)):
                self.bring(segments[:cut] if cut < len(segments) else segments[len(segments) // 2 :])
                if random.random() < 0.5:
                    self.world.result(self.store.timeline(1))
                whole = self.given()
                self.assertEqual(len(whole), self.store.clock.total())
                for _ in range(3):
                    cursor = Cursor()
                    for author, head in self.store.clock.items():
                        seq = random.choice((0, head.seq, random.randint(0, head.seq)))
                        if seq:
                            entry = self.world.result(self.store.entry(author, seq))
                            cursor.advance(author, seq, entry.id)
                    rest = [
                        each for each in whole if self.place(each).seq > cursor.seq(self.place(each).author)
                    ]
                    self.assertEqual(self.given(cursor), rest, seed)

    def place(self, given: tuple[bytes, bytes]) -> Place:
        return read_place(given[0])

    def test_little_is_read(self) -> None:
        """Of logs with nothing new nothing is, of others what is new and a zone at most."""
        for number in range(3):
            author = Author(number + 3)
            for first in range(0, 4000, 100):
                bodies = [encode_body(first + at, b"x") for at in range(100)]
                [segment], author.head = build(author.pair, author.head, bodies)
                self.come(Accept(segment, author.head))
        reader = Consumer(self.store.read(order="causal"))
        self.world.result(reader.done)
        self.assertFalse(self.store._core.timeline._follows)  # who reads from the beginning on needs no index
        cursor = reader.reader.cursor()
        self.looked_at = 0
        self.assertEqual(self.given(cursor), [])
        self.assertEqual(self.looked_at, 0)
        [segment], head = build(author.pair, author.head, [encode_body(1, b"new")])
        self.come(Accept(segment, head))
        self.assertEqual(len(self.given(cursor)), 1)
        self.assertLess(self.looked_at, 1500)

    def test_another_log_than_was_read(self) -> None:
        """It is seen at the entry that the cursor names, however far the log goes on behind it."""
        self.patch(limits, "ZONE_ENTRIES", 0)
        self.come(*(self.write(self.ann, clock, b"x")[0] for clock in range(5)))
        cursor = Cursor()
        cursor.advance(self.ann.key, 3, bytes(32))
        consumer = Consumer(self.store.read(order="causal", after=cursor))
        consumer.done.addErrback(self.told.append)
        self.reactor.settle()
        self.told[0].trap(CursorMismatchError)

    def test_what_was_missed_comes_late(self) -> None:
        """What an entry was placed without, long before the cursor, still changes the order when it comes."""
        question, name = self.write(self.ann, 9_000, b"question")
        reply, named = self.write(self.bob, 1_000, b"reply", name)
        self.come(reply)
        cursor = Cursor()
        cursor.advance(self.bob.key, 1, self.bob.head.id)
        after = self.write(self.bob, 1_100, b"after", named)[0]
        live = self.consume(order="causal", live=True, settle=0, after=cursor)
        self.come(question)
        self.pass_time(1)
        self.come(after)
        self.pass_time(1)
        self.assertEqual(live.payloads, [b"question", b"after"])
        self.assertEqual(read_place(live.got[1].place)[:2], (9_000, 2))

    def test_what_comes_while_it_begins(self) -> None:
        """Nothing is left out that comes while the index is asked."""
        self.come(self.write(self.ann, 1, b"a")[0])
        cursor = Cursor()
        cursor.advance(self.ann.key, 1, self.ann.head.id)
        asked: list[Any] = []
        timeline = self.store._core.timeline
        known = timeline.known

        def ask(last: Any) -> Any:
            self.come(self.write(self.ann, 2, b"b")[0], self.write(self.bob, 3, b"c")[0])
            asked.append(last)
            return known(last)

        self.patch(timeline, "known", ask)
        live = self.consume(order="causal", live=True, settle=0, after=cursor)
        self.pass_time(1)
        self.assertEqual((asked, live.payloads), ([{self.ann.key: 1}], [b"b", b"c"]))

    def test_closed_while_it_begins(self) -> None:
        """A live reader ends with its store, then too."""
        self.come(*(self.write(self.ann, clock, b"x")[0] for clock in range(5)))
        cursor = Cursor()
        cursor.advance(self.ann.key, 3)
        thread = self.store._core.thread
        assert isinstance(thread, VirtualThread)
        thread.disk.stall()
        consumer = Consumer(self.store.read(order="causal", after=cursor, live=True))
        failed: list[Any] = []
        consumer.done.addErrback(failed.append)
        closing = self.store.close()
        thread.disk.resume()
        self.world.result(closing)
        self.reactor.settle()
        self.assertEqual((failed, consumer.done.called), ([], True))

    def test_without_an_index(self) -> None:
        """Where none can be made, all is read."""
        names: list[Reference] = []
        for number in range(6):
            request, name = self.write(
                (self.ann, self.bob)[number % 2], 10_000 - number, b"%d" % number, *names[-1:]
            )
            names.append(name)
            self.come(request)
        whole = self.given()
        cursor = Cursor()
        cursor.advance(self.bob.key, 3, self.bob.head.id)

        def fail(last: Any) -> Any:
            raise StoreError("the index of places fails: disk I/O error")

        self.patch(self.store._core.timeline, "known", fail)
        self.assertEqual(
            self.given(cursor), [each for each in whole if self.place(each).author == self.ann.key]
        )


class LiveOrderTests(OrderCase):
    def live(self, **how: Any) -> Consumer:
        return self.consume(order="causal", live=True, **how)

    def test_a_reply_waits_for_its_question(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        consumer = self.live()
        self.come(reply)
        self.pass_time(20)
        self.assertEqual(consumer.got, [])
        self.come(question)
        self.pass_time(2)
        self.assertEqual(consumer.payloads, [b"question", b"reply"])

    def test_settle(self) -> None:
        for settle, wanted in ((2.0, [b"earlier", b"later"]), (0.0, [b"later", b"earlier"])):
            later, _ = self.write(self.ann, 5_000, b"later")
            earlier, _ = self.write(self.bob, 5_000 - len(self.ann.key), b"earlier")
            consumer = self.consume(order="causal", tail=True, settle=settle)
            self.come(later)
            self.pass_time(1)
            self.come(earlier)
            self.pass_time(2)
            self.assertEqual(consumer.payloads, wanted)
            self.assertEqual([getattr(each, "late") for each in consumer.got], [False, settle == 0.0])  # noqa: B009
            consumer.reader.close()

    def test_the_order_changes(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        consumer = self.live()
        self.come(reply)
        self.pass_time(limits.PATIENCE_SECONDS - 1)
        self.assertEqual(consumer.got, [])
        self.pass_time(2)
        self.assertEqual(consumer.payloads, [b"reply"])
        self.assertEqual(self.told, [])
        self.come(question)
        self.pass_time(3)
        self.assertEqual(consumer.payloads, [b"reply", b"question"])
        reply_entry = consumer.got[0]
        assert isinstance(reply_entry, PlacedEntry)
        self.assertEqual(self.told, [Reordered(reply_entry.place)])
        self.assertEqual(self.in_order(), [b"question", b"reply"])

    def test_ahead_of_our_clock(self) -> None:
        """Plain readers have it at once."""
        plain = self.consume(live=True)
        consumer = self.live()
        self.come(self.write(self.ann, self.wall_ms + limits.MAX_AHEAD_MS + 60_000, b"tomorrow")[0])
        self.come(self.write(self.bob, self.wall_ms, b"now")[0])
        self.pass_time(2)
        self.assertEqual(plain.payloads, [b"tomorrow", b"now"])
        self.assertEqual(consumer.payloads, [b"now"])
        [ahead] = self.told
        self.assertEqual((type(ahead), ahead.author, ahead.seq), (EntryAhead, self.ann.key, 1))
        self.assertEqual(self.in_order(), [b"now"])
        self.assertNotIn(self.ann.key, consumer.reader.cursor())
        self.pass_time(61)
        self.assertEqual(consumer.payloads, [b"now", b"tomorrow"])

    def test_who_is_not_wanted_is_not_waited_for(self) -> None:
        _, name = self.write(self.ann, 5_000, b"question")
        self.world.result(self.store.interest.block(self.ann.key))
        consumer = self.live()
        self.come(self.write(self.bob, 1_000, b"reply", name)[0])
        self.pass_time(2)
        self.assertEqual(consumer.payloads, [b"reply"])

    def test_what_waits_is_not_in_the_cursor(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        first, _ = self.write(self.bob, 500, b"first")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        consumer = self.live()
        self.come(first, reply)
        self.pass_time(2)
        cursor = consumer.reader.cursor()
        consumer.reader.close()
        self.assertEqual([*cursor.items()], [(self.bob.key, (1, consumer.got[0].id[:8]))])
        again = self.live(after=cursor)
        self.come(question)
        self.pass_time(2)
        self.assertEqual(again.payloads, [b"question", b"reply"])

    def test_a_log_that_is_deleted(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        second, other = self.write(self.ann, 5_001, b"second")
        reply, _ = self.write(self.bob, 1_000, b"reply", other)
        consumer = self.live()
        self.come(question, reply)
        self.come(Forget(self.ann.key))
        self.pass_time(limits.PATIENCE_SECONDS + 3)
        self.assertEqual(consumer.payloads[-1:], [b"reply"])
        self.come(self.write(self.bob, 1_001, b"more")[0])
        self.pass_time(3)
        self.assertEqual(consumer.payloads[-1:], [b"more"])
        del second, name

    def test_closing_wakes(self) -> None:
        consumer = self.live()
        consumer.reader.close()
        self.reactor.settle()
        self.assertTrue(consumer.done.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class AfterTests(OrderCase):
    def after(self, writer: Writer, seq: int) -> tuple[Reference, ...]:
        entry = self.world.result(self.store.entry(writer.author, seq))
        after: tuple[Reference, ...] = entry.after
        return after

    def test_entries_and_references(self) -> None:
        one, two = self.writer("one"), self.writer("two")
        self.append(one, b"a", b"b")
        entry = self.world.result(self.store.entry(one.author, 1))
        reference = Reference(one.author, 2, self.store.clock.head(one.author).id[:16])  # type: ignore[union-attr]
        self.world.result(two.append(b"c", after=[entry, reference, entry]))
        self.assertEqual(self.after(two, 1), (Reference(one.author, 1, entry.id[:16]), reference))
        self.world.result(two.append(b"d", after=(each for each in [entry])))
        self.assertEqual(len(self.after(two, 2)), 1)

    def test_what_nothing_can_come_behind(self) -> None:
        one = self.writer("one")
        self.append(one, b"a")
        for seq in (2, 3):
            self.assertRaises(
                InvalidReferenceError, one.append, b"", after=[Reference(one.author, seq, bytes(16))]
            )
        many = [Reference(self.ann.key, seq, bytes(16)) for seq in range(1, 66)]
        self.assertRaises(InvalidReferenceError, one.append, b"", after=many)
        self.world.result(one.append(b"", after=many[:64]))
        self.assertEqual(len(self.after(one, 2)), 64)
        for wrong in ("x", b"x", 5, {}, [5], [None], [(self.ann.key, 1, bytes(16))], many[0], None):
            self.assertRaises(InvalidValueError, one.append, b"", after=wrong)
        self.assertEqual(self.store.clock.seq(one.author), 2)

    def heads(self) -> list[tuple[bytes, int]]:
        return [each[:2] for each in self.world.result(self.store.heads())]

    def test_heads(self) -> None:
        self.assertEqual(self.heads(), [])
        first, name = self.write(self.ann, 1_000, b"first")
        self.come(first)
        self.assertEqual(self.heads(), [(self.ann.key, 1)])
        self.come(self.write(self.bob, 2_000, b"second")[0])
        self.assertEqual(self.heads(), [(self.bob.key, 1), (self.ann.key, 1)])
        self.come(self.write(self.bob, 3_000, b"reply", name)[0])
        self.assertEqual(self.heads(), [(self.bob.key, 2)])
        writer = self.writer()
        self.world.result(writer.append(b"all", after=self.world.result(self.store.heads())))
        self.assertEqual(self.heads(), [(writer.author, 1)])
        self.assertEqual(self.in_order(), [b"first", b"second", b"reply", b"all"])

    def test_no_more_heads_than_that(self) -> None:
        authors = [Author(number) for number in range(1, 40)]
        for number, author in enumerate(authors):
            self.come(self.write(author, 1_000 + number, b"")[0])
        wanted = [(author.key, 1) for author in authors[-1 : -limits.MAX_TIPS - 1 : -1]]
        self.assertEqual(self.heads(), wanted)

    def test_so_many_rows_are_read_for_heads(self) -> None:
        authors = [Author(number) for number in range(1, 9)]
        for author in authors:
            self.come(self.write(author, 1_000, b"")[0])
        with (
            patch.object(limits, "MAX_TIPS_READ", 3),
            patch.object(tips, "_last_rows", wraps=tips._last_rows) as read,
        ):
            self.assertEqual(len(self.heads()), 3)
            self.come(self.write(authors[0], 2_000, b"")[0])
            self.assertEqual(self.heads()[0], (authors[0].key, 2))
            self.assertEqual([len(call.args[1]) for call in read.call_args_list], [3, 1])

    def test_a_body_has_what_was_given(self) -> None:
        writer = self.writer()
        self.append(writer, b"a")
        entry = self.world.result(self.store.entry(writer.author, 1))
        self.world.result(writer.append(b"b", after=[entry]))
        [segment] = self.world.result(self.store._core.run(lambda logs: logs.segments(writer.author, 2, 1)))
        from gossiplog.protocol import entries

        body = entries(segment)[-1][2]
        assert body is not None
        self.assertEqual(decode_body(body).after, (Reference(writer.author, 1, entry.id[:16]),))
