"""Rings 5 and 6: entries by the batch: full ones, what came in time, and nothing lost by whoever stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Batch, Batches, Cursor, Entry, Reader, aio, blocking
from gossiplog.errors import CursorMismatchError, InvalidValueError, WhereFailedError, WrongCallerError
from gossiplog.testing.sim.disk import steady
from tests.test_reading import Consumer, VirtualCase
from tests.test_selecting import Logbook, by_author, options, quick, rows


class Collector:
    """I take batches, in a Twisted coroutine."""

    def __init__(self, batches: Batches, count: int = 999) -> None:
        self.got: list[Batch] = []
        self.done = Deferred.fromCoroutine(self._collect(batches, count))
        self.done.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _collect(self, batches: Batches, count: int) -> None:
        async for batch in batches:
            self.got.append(batch)
            if len(self.got) == count:
                return

    @property
    def seqs(self) -> list[list[int]]:
        return [[entry.seq for entry in batch.entries] for batch in self.got]

    @property
    def entries(self) -> list[Entry]:
        return [entry for batch in self.got for entry in batch.entries]


class StoredTests(VirtualCase):
    """What is on disk."""

    def collect(self, reader: Reader, *arguments: Any, **keywords: Any) -> Collector:
        collector = Collector(reader.batches(*arguments, **keywords))
        self.reactor.settle()
        self.successResultOf(collector.done)
        return collector

    def test_full_ones_and_the_rest(self) -> None:
        """Over rows and authors; the cursor of each is behind it and before the next."""
        one, two = self.writer("one"), self.writer("two")
        for _ in range(5):
            self.append(one, b"1", b"2", b"3")
        self.append(two, *[b"x"] * 8)
        for size, sizes in ((10, [10, 10, 3]), (23, [23]), (24, [23]), (1, [1] * 23), (1000, [23])):
            reader = self.store.read()
            collector = self.collect(reader, size)
            self.assertEqual([len(batch.entries) for batch in collector.got], sizes)
            for number, batch in enumerate(collector.got, 1):
                rest = Consumer(self.store.read(after=Cursor.load(batch.cursor.dump())))
                self.world.result(rest.done)
                after = [entry for batch in collector.got[number:] for entry in batch.entries]
                self.assertCountEqual(rest.got, after)
            self.assertEqual(reader.cursor(), Cursor.of(self.store.clock))
            self.assertIs(type(collector.got[0].entries), tuple)
            self.assertEqual(repr(collector.got[0]), f"<Batch of {sizes[0]} entries>")

    def test_nothing(self) -> None:
        self.assertEqual(self.collect(self.store.read(), 10).got, [])

    def test_arguments(self) -> None:
        reader = self.store.read()
        for size, idle in ((0, 0.2), (True, 0.2), (1.5, 0.2), (1, -1), (1, None)):
            self.assertRaises(InvalidValueError, reader.batches, size, idle=idle)

    def test_one_by_one_and_in_batches(self) -> None:
        """In turn, with one reader."""
        self.append(self.writer(), *[b"x"] * 20)
        reader = self.store.read()
        got: list[int] = []
        for turn in range(4):
            got += [self.world.result(Deferred.fromCoroutine(anext(reader))).seq for _ in range(2)]
            collector = Collector(reader.batches(3), 1)
            self.world.result(collector.done)
            got += collector.seqs[0]
            self.assertEqual(reader.cursor().seq(collector.entries[0].author), 5 * turn + 5)
        self.assertEqual(got, list(range(1, 21)))

    def test_where_fails(self) -> None:
        """What was before it comes, and then the error; asked again, it is asked of the same entry again."""
        writer = self.writer()
        self.append(writer, *[b"x"] * 10)
        broken = [True]
        reader = self.store.read(where=lambda entry: entry.seq != 7 or not broken or broken[5])
        collector = Collector(reader.batches(4))
        self.reactor.settle()
        self.failureResultOf(collector.done, WhereFailedError)
        self.assertEqual(collector.seqs, [[1, 2, 3, 4], [5, 6]])
        self.assertEqual(collector.got[-1].cursor.seq(writer.author), 6)
        again = Collector(reader.batches(4))
        self.reactor.settle()
        self.failureResultOf(again.done, WhereFailedError)
        self.assertEqual(again.got, [])
        broken.clear()
        self.assertEqual(self.collect(reader, 4).seqs, [[7, 8, 9, 10]])

    def test_one_of_another_history(self) -> None:
        """The others come before and after it."""
        writers = sorted([self.writer(name) for name in "abc"], key=lambda writer: writer.author)
        for writer in writers:
            self.append(writer, b"1", b"2")
        middle = list(self.store.clock)[1]
        reader = self.store.read(after=Cursor({middle: (1, b"another!")}))
        first = Collector(reader.batches(10))
        self.reactor.settle()
        self.assertEqual(self.failureResultOf(first.done, CursorMismatchError).value.author, middle)  # type: ignore[attr-defined]
        rest = self.collect(reader, 10)
        self.assertEqual([first.seqs, rest.seqs], [[[1, 2]], [[1, 2]]])


class LiveTests(VirtualCase):
    """What comes."""

    def test_what_came_in_time(self) -> None:
        writer = self.writer()
        collector = Collector(self.store.read(live=True).batches(4, idle=0.2))
        self.reactor.run(5)
        self.assertEqual(collector.got, [])
        self.append(writer, b"1")
        self.reactor.run(0.15)
        self.append(writer, b"2")
        self.assertEqual(collector.got, [])
        self.reactor.run(0.06)  # since the first, not since the last
        self.assertEqual(collector.seqs, [[1, 2]])
        self.append(writer, b"3", b"4", b"5", b"6", b"7")
        self.reactor.settle()
        self.assertEqual(collector.seqs, [[1, 2], [3, 4, 5, 6]])
        self.reactor.run(0.21)
        self.assertEqual(collector.seqs, [[1, 2], [3, 4, 5, 6], [7]])
        self.append(writer, b"8")
        self.reactor.settle()
        self.world.result(self.store.close())
        self.successResultOf(collector.done)
        self.assertEqual(collector.seqs[-1], [8])

    def test_at_once(self) -> None:
        """Without idle nothing is waited for, once there is something."""
        writer = self.writer()
        collector = Collector(self.store.read(live=True).batches(100, idle=0))
        self.append(writer, b"1", b"2")
        self.reactor.settle()
        self.append(writer, b"3")
        self.reactor.settle()
        self.assertEqual(collector.seqs, [[1, 2], [3]])
        collector.done.cancel()

    def test_at_once_is_one_row(self) -> None:
        """Whatever size is asked for: so little is in memory then."""
        writer = self.writer()
        for _ in range(3):
            self.append(writer, b"1", b"2")
        collector = Collector(self.store.read().batches(1 << 16, idle=0))
        self.reactor.settle()
        self.assertEqual(collector.seqs, [[1, 2], [3, 4], [5, 6]])

    def test_no_timer_is_left(self) -> None:
        writer = self.writer()
        collector = Collector(self.store.read(live=True).batches(2, idle=50))
        self.append(writer, b"1")
        self.reactor.settle()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.append(writer, b"2")
        self.reactor.settle()
        self.assertEqual(collector.seqs, [[1, 2]])
        self.append(writer, b"3")
        self.reactor.settle()
        collector.done.cancel()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelled_while_a_batch_fills(self) -> None:
        """What was taken for it comes in the next one, or one by one, and the cursor was before it all the time."""
        writer = self.writer()
        reader = self.store.read(live=True)
        for round in range(3):
            collector = Collector(reader.batches(10, idle=1))
            self.append(writer, b"x", b"x")
            self.reactor.settle()
            self.assertEqual((collector.got, reader.cursor().seq(writer.author)), ([], 0), round)
            collector.done.cancel()
        consumer = Consumer(reader)
        self.reactor.settle()
        self.assertEqual(consumer.seqs, [1, 2, 3, 4, 5, 6])
        self.assertEqual(reader.cursor(), Cursor.of(self.store.clock))
        reader.close()

    def test_two_consumers(self) -> None:
        reader = self.store.read(live=True)
        first = Collector(reader.batches())
        self.failureResultOf(Collector(reader.batches()).done, RuntimeError)
        self.failureResultOf(Consumer(reader).done, RuntimeError)
        reader.close()
        self.successResultOf(first.done)


class PropertyTests(SynchronousTestCase):
    """Random stores, selections, sizes, arrivals and people who stop waiting."""

    @quick
    @given(rows, options, st.integers(1, 7), st.booleans())
    def test_the_same_entries(
        self, rows: list[tuple[int, int, bool]], options: dict[str, Any], size: int, reverse: bool
    ) -> None:
        book = Logbook(rows)
        keywords = book.keywords(options)
        one_by_one = book.store.read(**keywords, reverse=reverse)
        entries = book.read(one_by_one)
        reader = book.store.read(**keywords, reverse=reverse)
        collector = Collector(reader.batches(size))
        book.world.result(collector.done)
        self.assertEqual(collector.entries, entries)
        full = [len(batch.entries) == size for batch in collector.got]
        self.assertTrue(all(full[:-1]))
        self.assertEqual(reader.cursor(), one_by_one.cursor())
        if not reverse:
            for number, batch in enumerate(collector.got, 1):
                rest = by_author(book.read(book.store.read(**{**keywords, "after": batch.cursor})))
                self.assertEqual(
                    rest, by_author([e for each in collector.got[number:] for e in each.entries])
                )
        book.close()

    @quick
    @given(
        rows,
        st.integers(1, 5),
        st.lists(
            st.one_of(
                st.tuples(st.just("append"), st.integers(0, 2)),
                st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.5])),
                st.tuples(st.just("cancel"), st.booleans()),
                st.tuples(st.just("cursor"), st.none()),
            ),
            max_size=25,
        ),
        st.sampled_from([None, 2]),
    )
    def test_everything_once(
        self,
        rows: list[tuple[int, int, bool]],
        size: int,
        steps: list[tuple[str, Any]],
        number: int | None,
    ) -> None:
        """However the work is cut: each author's entries in order, and the cursor is exactly behind those taken."""
        book = Logbook(rows)
        book.store._core.thread.disk.speed = steady(0.05)  # type: ignore[attr-defined]
        where = None if number is None else lambda entry: entry.seq % number == 0
        reader = book.store.read(live=True, where=where)
        taken: list[Entry] = []
        consumer: Any = Collector(reader.batches(size, idle=0.3))

        def let_go() -> None:
            consumer.done.cancel()
            taken.extend(consumer.entries if isinstance(consumer, Collector) else consumer.got)

        for what, value in steps:
            if what == "append":
                book.append(value, 2)
            elif what == "wait":
                book.reactor.run(value)
            elif what == "cancel":
                let_go()
                consumer = Collector(reader.batches(size, idle=0.3)) if value else Consumer(reader)
            else:
                seen = [*taken, *(consumer.entries if isinstance(consumer, Collector) else consumer.got)]
                for author in book.readable:
                    last = max((entry.seq for entry in seen if entry.author == author), default=0)
                    reached = reader.cursor().seq(author)
                    if where is None:
                        self.assertEqual(reached, last)
                    else:  # past what is not wanted, and no further
                        self.assertGreaterEqual(reached, last)
                        self.assertFalse(
                            [
                                seq
                                for seq in range(last + 1, reached + 1)
                                if seq % 2 == 0 and seq in book.readable[author]
                            ]
                        )
        book.reactor.run(5)
        let_go()
        found: dict[bytes, list[int]] = {}
        for entry in taken:
            found.setdefault(entry.author, []).append(entry.seq)
        wanted = {
            author: [seq for seq in seqs if number is None or seq % number == 0]
            for author, seqs in book.readable.items()
        }
        self.assertEqual(found, {author: seqs for author, seqs in wanted.items() if seqs})
        reader.close()
        book.close()


class DoorTests(SynchronousTestCase):
    """The other front doors."""

    def test_asyncio(self) -> None:
        """With timeouts of asyncio, which cancel."""
        path = self.mktemp()

        async def main() -> list[Any]:
            found: list[Any] = []
            async with aio.Store(path) as store:
                writer = await store.writer(encoding="json")
                await writer.append_many(range(7))
                reader = store.read(live=True, encoding="json")
                batches = reader.batches(5, idle=60)
                found.append([entry.payload for entry in (await anext(batches)).entries])
                for number in (7, 8):
                    try:
                        await asyncio.wait_for(anext(batches), 0.01)
                    except TimeoutError:
                        await writer.append(number)
                batch = await anext(reader.batches(4, idle=0))
                found.append([entry.payload for entry in batch.entries])
                newest = store.read(
                    newest=3, reverse=True, where=lambda entry: entry.payload % 2, encoding="json"
                )
                found.append([entry.payload async for entry in newest])
                found.append((await store.entry(writer.author, 4, encoding="json")).payload)
            return found

        found = asyncio.run(main())
        self.assertEqual(found[0], [0, 1, 2, 3, 4])
        self.assertEqual(found[1][:2], [5, 6])  # and what came until then
        self.assertEqual(found[2:], [[7, 5, 3], 3])

    def test_blocking(self) -> None:
        with blocking.Store(self.mktemp(), timeout=60) as store:
            writer = store.writer(encoding="json")
            writer.append_many(range(20))
            reader = store.read(encoding="json")
            self.assertEqual([next(reader).payload for _ in range(3)], [0, 1, 2])
            got = []
            for batch in reader.batches(5):
                self.assertIs(type(batch), Batch)
                got.append([entry.payload for entry in batch.entries])
                rest = store.read(after=batch.cursor, encoding="json")
                self.assertEqual([entry.payload for entry in rest], list(range(got[-1][-1] + 1, 20)))
                self.assertEqual(reader.cursor(), batch.cursor)
            self.assertEqual(got, [list(range(3, 8)), list(range(8, 13)), list(range(13, 18)), [18, 19]])
            newest = store.read(
                newest=3, reverse=True, where=lambda entry: entry.payload % 2, encoding="json"
            )
            self.assertEqual([entry.payload for entry in newest], [19, 17, 15])
            self.assertEqual(store.entry(writer.author, 4, encoding="json").payload, 3)
            self.assertRaises(InvalidValueError, reader.batches, 0)

    def test_blocking_where(self) -> None:
        """It is called in gossiplog's thread, and so cannot wait for gossiplog; the error says of which entry."""
        with blocking.Store(self.mktemp(), timeout=60) as store:
            writer = store.writer()
            writer.append_many([b"1", b"2"])
            reader = store.read(where=lambda entry: entry.seq == 1 or store.writers())
            self.assertEqual(next(reader).payload, b"1")
            error = self.assertRaises(WhereFailedError, next, reader)
            self.assertEqual((error.author, error.seq), (writer.author, 2))
            self.assertIsInstance(error.__cause__, WrongCallerError)
            self.assertEqual(reader.cursor().seq(writer.author), 1)

    def test_blocking_with_timeouts(self) -> None:
        """A call that took too long lost nothing, whatever it had taken."""
        with blocking.Store(self.mktemp(), timeout=60) as store:
            writer = store.writer(encoding="json")
            writer.append_many(range(3))
            reader = store.read(live=True, encoding="json", timeout=0.01)
            batches = reader.batches(7, idle=60)
            for number in range(3, 6):
                self.assertRaises(TimeoutError, next, batches)
                self.assertEqual(patiently(reader.cursor).seq(writer.author), 0)
                writer.append(number)
            self.assertEqual(patiently(lambda: next(reader)).payload, 0)
            self.assertEqual(patiently(reader.cursor).seq(writer.author), 1)
            batch = patiently(lambda: next(reader.batches(5, idle=60)))
            self.assertEqual([entry.payload for entry in batch.entries], [1, 2, 3, 4, 5])
            self.assertEqual(batch.cursor.seq(writer.author), 6)


def patiently(ask: Callable[[], Any]) -> Any:
    """What is there already, however long a busy machine takes."""
    while True:
        try:
            return ask()
        except TimeoutError:
            pass
