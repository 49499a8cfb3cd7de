"""Rings 5 and 6: which entries are read, and in which order: ``newest``, ``reverse``, ``where``, one by its seq."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Cursor, Entry, Reader, Store, Writer
from gossiplog.errors import (
    CursorMismatchError,
    EntryNotHeldError,
    InvalidValueError,
    StoreClosedError,
    StoreDamagedError,
    WhereFailedError,
)
from gossiplog.live.results import Result
from gossiplog.log.keys import short_key
from gossiplog.log.segment import drop_payloads
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.network import VirtualReactor, VirtualThread
from tests.netcase import World
from tests.test_reading import Consumer, VirtualCase

Place = tuple[bytes, int]

quick = settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans()), max_size=12)
"""Whose, how many entries, and whether it is damaged."""

options = st.fixed_dictionaries(
    {},
    optional={
        "author": st.integers(0, 2),
        "first": st.integers(1, 12),
        "last": st.integers(0, 16),
        "newest": st.integers(0, 8),
        "where": st.sampled_from([2, 3, 5, 100]),
        "after": st.dictionaries(st.integers(0, 2), st.integers(1, 12)),
    },
)


class Logbook:
    """I am a store in memory with some logs, and know what is to be read of it."""

    def __init__(self, rows: list[tuple[int, int, bool]] = ()) -> None:  # type: ignore[assignment]
        self.world = World()
        self.world.reactor = self.reactor = VirtualReactor()
        self.backend = MemoryBackend()
        self.store = Store(lambda: Logs(self.backend), self.reactor, thread=VirtualThread)
        self.writers: list[Writer] = [self.world.result(self.store.writer(name)) for name in "abc"]
        self.readable: dict[bytes, list[int]] = {writer.author: [] for writer in self.writers}
        for author, count, damaged in rows:
            self.append(author, count)
            if damaged:
                self.damage(self.writers[author].author)

    def append(self, author: int, count: int = 1) -> None:
        key = self.writers[author].author
        seqs = self.world.result(self.writers[author].append_many([b"x"] * count))
        self.readable[key] += seqs

    def damage(self, author: bytes, row: int = -1) -> None:
        stored = self.backend.content.logs[author].rows
        segment = stored[row]
        stored[row] = segment._replace(bodies=segment.bodies[:-1] + b"?")
        self.readable[author] = [
            seq for seq in self.readable[author] if not segment.first <= seq <= segment.last
        ]

    def keywords(self, options: dict[str, Any]) -> dict[str, Any]:
        """What ``read`` is given."""
        keywords = dict(options)
        if "author" in keywords:
            keywords["author"] = self.writers[keywords["author"]].author
        else:
            keywords.pop("first", None)
            keywords.pop("last", None)
        if "where" in keywords:
            keywords["where"] = partial(divides, keywords["where"])
        if "after" in keywords:
            keywords["after"] = Cursor(
                {self.writers[number].author: (seq, b"") for number, seq in options["after"].items()}
            )
        return keywords

    def expected(self, keywords: dict[str, Any]) -> dict[bytes, list[int]]:
        """The seqs to be read of each author, ascending."""
        found = {}
        for author, readable in self.readable.items():
            if keywords.get("author") not in (None, author):
                continue
            last = min(self.store.clock.seq(author), keywords.get("last", 99))
            first = max(keywords.get("first", 1), keywords.get("after", Cursor()).seq(author) + 1)
            newest, where = keywords.get("newest"), keywords.get("where")
            if newest is not None and where is None:
                first = max(first, last - newest + 1)
            seqs = [
                seq
                for seq in readable
                if first <= seq <= last and (where is None or seq % where.args[0] == 0)
            ]
            if newest is not None and where is not None:
                seqs = seqs[max(0, len(seqs) - newest) :]
            if seqs:
                found[author] = seqs
        return found

    def read(self, reader: Reader, count: int = 999) -> list[Entry]:
        async def take() -> list[Entry]:
            got: list[Entry] = []
            while len(got) < count:
                try:
                    got.append(await anext(reader))
                except StopAsyncIteration:
                    break
            return got

        got: list[Entry] = self.world.result(Deferred.fromCoroutine(take()))
        return got

    def close(self) -> None:
        self.world.result(self.store.close())


def divides(number: int, entry: Entry) -> bool:
    return entry.seq % number == 0


def by_author(entries: list[Entry]) -> dict[bytes, list[int]]:
    """Seqs of each author, in the order in which they came; the authors one after the other."""
    found: dict[bytes, list[int]] = {}
    for entry in entries:
        found.setdefault(entry.author, []).append(entry.seq)
    assert [entry.author for entry in entries] == [author for author, seqs in found.items() for _ in seqs]
    return found


class PropertyTests(SynchronousTestCase):
    """Random stores with damage, random selections."""

    @quick
    @given(rows, options)
    def test_what_is_read(self, rows: list[tuple[int, int, bool]], options: dict[str, Any]) -> None:
        """Forward and in reverse the same, one by one and in batches; what is not, was said to be damaged."""
        book = Logbook(rows)
        keywords = book.keywords(options)
        expected = book.expected(keywords)
        readers = [book.store.read(**keywords, reverse=reverse) for reverse in (False, True)]
        forward, back = (by_author(book.read(reader)) for reader in readers)
        self.assertEqual(forward, expected)
        self.assertEqual(back, {author: seqs[::-1] for author, seqs in expected.items()})
        if "where" not in keywords:
            passed = [sorted(damage[:3] for damage in reader.damages) for reader in readers]
            self.assertEqual(passed[0], passed[1])
        if "newest" not in keywords or "where" in keywords or all(forward.values()):
            self.assertEqual(readers[0].cursor().seq(bytes(32)), 0)
        book.close()

    @quick
    @given(rows, options, st.integers(0, 20), st.booleans())
    def test_the_cursor(
        self, rows: list[tuple[int, int, bool]], options: dict[str, Any], count: int, reverse: bool
    ) -> None:
        """From any place the same selection goes on with what was not read; in reverse with logs that are not over."""
        book = Logbook(rows)
        keywords = book.keywords(options)
        reader = book.store.read(**keywords, reverse=reverse)
        begun = book.read(reader, count)
        keywords["after"] = Cursor.load(reader.cursor().dump())
        rest = book.read(book.store.read(**keywords))
        expected = book.expected(book.keywords(options))
        got = by_author(begun)
        if not reverse:
            for author, seqs in by_author(rest).items():
                got.setdefault(author, []).extend(seqs)
            self.assertEqual(got, expected)
        else:
            again = {author: seqs for author, seqs in expected.items() if got.get(author) != seqs[::-1]}
            self.assertEqual(by_author(rest), again)
        book.close()

    @quick
    @given(rows, options)
    def test_where_the_cursor_ends(self, rows: list[tuple[int, int, bool]], options: dict[str, Any]) -> None:
        """In reverse it ends where it does forward, ids and all, also behind what ``where`` rejects."""
        book = Logbook(rows)
        keywords = book.keywords(options)
        cursors = []
        for reverse in (False, True):
            reader = book.store.read(**keywords, reverse=reverse)
            book.read(reader)
            cursors.append(reader.cursor())
        self.assertEqual(*cursors)
        if "where" in keywords:
            plain = book.store.read(
                **{
                    **keywords,
                    "where": None,
                    "newest": None if keywords.get("newest") else keywords.get("newest"),
                }
            )
            book.read(plain)
            self.assertEqual(cursors[0], plain.cursor())
        book.close()

    @quick
    @given(
        rows,
        options,
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 5)), max_size=8),
    )
    def test_what_comes_while_it_is_read(
        self, rows: list[tuple[int, int, bool]], options: dict[str, Any], arrivals: list[tuple[int, int, int]]
    ) -> None:
        """Live: what was selected, then everything that came and is wanted.  Otherwise what was there when it began."""
        book = Logbook(rows)
        options = {name: value for name, value in options.items() if name not in ("first", "last", "after")}
        keywords = book.keywords(options)
        stored = book.expected(keywords)
        heads = {author: book.store.clock.seq(author) for author in book.readable}
        live, plain, back = (
            book.store.read(**keywords, **more) for more in ({"live": True}, {}, {"reverse": True})
        )
        consumer = Consumer(live)
        got: dict[Reader, list[Entry]] = {plain: [], back: []}
        for author, count, taken in arrivals:
            for reader, entries in got.items():
                entries += book.read(reader, taken)
            book.append(author, count)
        book.reactor.settle()
        for reader, entries in got.items():
            entries += book.read(reader)
        expected = dict(stored)
        for author, seqs in book.readable.items():
            new = [seq for seq in seqs if seq > heads[author]]
            if keywords.get("author") in (None, author) and new:
                where = keywords.get("where")
                new = [seq for seq in new if where is None or seq % where.args[0] == 0]
                expected[author] = [*expected.get(author, []), *new]
        found: dict[bytes, list[int]] = {}
        for entry in consumer.got:
            found.setdefault(entry.author, []).append(entry.seq)
        self.assertEqual(found, {author: seqs for author, seqs in expected.items() if seqs})
        self.assertEqual(by_author(got[plain]), stored)
        self.assertEqual(by_author(got[back]), {author: seqs[::-1] for author, seqs in stored.items()})
        live.close()
        book.close()


class CombinationTests(VirtualCase):
    """What means nothing together is refused, and the error says what to do."""

    def test_refused(self) -> None:
        for arguments, words in (
            ({"reverse": True, "live": True}, "after=reader.cursor()"),
            ({"reverse": True, "tail": True}, "live=True instead"),
            ({"newest": 5, "tail": True}, "newest=N gives N entries of each log and then what comes"),
            ({"after": Cursor(), "tail": True}, "live=True instead"),
            ({"newest": -1}, "newest is an integer"),
            ({"newest": True}, "newest is an integer"),
            ({"reverse": 1}, "reverse is True or False"),
            ({"where": "seq > 5"}, "where is a plain function of an entry"),
            ({"where": 5}, "where is a plain function of an entry"),
            ({"where": later}, "where is a plain function of an entry"),
            ({"where": partial(later)}, "where is a plain function of an entry"),
            ({"where": Later()}, "where is a plain function of an entry"),
        ):
            error = self.assertRaises(InvalidValueError, self.store.read, **arguments)
            self.assertIn(words, str(error))

    def test_newest_and_then_live(self) -> None:
        writer = self.writer()
        self.append(writer, b"1", b"2", b"3")
        consumer = self.consume(newest=2, live=True)
        self.append(writer, b"4", b"5", b"6")
        self.reactor.settle()
        self.assertEqual(consumer.payloads, [b"2", b"3", b"4", b"5", b"6"])
        consumer.reader.close()

    def test_of_each_log(self) -> None:
        one, two = self.writer("one"), self.writer("two")
        self.append(one, b"1", b"2", b"3")
        self.append(two, b"a", b"b", b"c")
        self.assertEqual(sorted(self.read(newest=2)), [b"2", b"3", b"b", b"c"])
        self.assertEqual(self.read(two.author, newest=2), [b"b", b"c"])

    def test_closed_in_reverse(self) -> None:
        """What was not handed over is not read, wherever the reader was stopped."""
        writer = self.writer()
        self.append(writer, b"1", b"2", b"3")
        for count, seq in ((1, 0), (2, 0), (3, 3)):
            reader = self.store.read(reverse=True)
            for _ in range(count):
                self.world.result(Deferred.fromCoroutine(anext(reader)))
            reader.close()
            self.assertEqual(reader.cursor().seq(writer.author), seq)

    def test_a_cursor_of_another_history(self) -> None:
        """Is found although what it had read is not read again."""
        writer, other = self.writer(), self.writer("other")
        for number in range(6):
            self.append(writer, b"%d" % number)
        self.append(other, b"a")
        cursor = Cursor({writer.author: (2, b"another!")})
        for keywords in ({"reverse": True}, {"newest": 2}, {"newest": 2, "where": bool}):
            reader = self.store.read(after=cursor, **keywords)  # type: ignore[arg-type]
            got: list[bytes] = []

            wrong: list[bytes] = []

            async def read(
                reader: Reader = reader, got: list[bytes] = got, wrong: list[bytes] = wrong
            ) -> None:
                while True:
                    try:
                        async for entry in reader:
                            got.append(entry.payload)
                        return
                    except CursorMismatchError as error:
                        wrong.append(error.author)

            self.world.result(Deferred.fromCoroutine(read()))
            self.assertEqual((wrong, got), ([writer.author], [b"a"]), keywords)


async def later(_: Entry) -> bool:
    return True


class Later:
    async def __call__(self, _: Entry) -> bool:
        return True


class WhereTests(VirtualCase):
    """An application's own function, and what it may do."""

    def setUp(self) -> None:
        super().setUp()
        self.ours = self.writer(encoding="json")
        self.append(self.ours, {"n": 1}, {"n": 2}, [3], {"n": 4}, {"n": 5})

    def failing(self, reader: Reader) -> tuple[list[Any], WhereFailedError]:
        consumer = Consumer(reader)
        failure = self.failureResultOf(consumer.done, WhereFailedError)
        assert isinstance(failure.value, WhereFailedError)
        return consumer.payloads, failure.value

    def test_one_that_raises(self) -> None:
        """The error names the entry, which stays the next one."""
        reader = self.store.read(where=lambda entry: entry.payload["n"] > 1, encoding="json")
        self.assertEqual(self.failing_after_settling(reader), [{"n": 2}])
        cursor = reader.cursor()
        self.assertEqual(cursor.seq(self.ours.author), 2)
        payloads, error = self.failing(reader)
        self.assertEqual((payloads, error.author, error.seq), ([], self.ours.author, 3))
        self.assertIsInstance(error.__cause__, TypeError)
        self.assertIn(f"entry 3 of {short_key(self.ours.author)}: TypeError", str(error))
        self.assertEqual(self.read(after=cursor, encoding="json"), [[3], {"n": 4}, {"n": 5}])
        cursor.advance(error.author, error.seq)
        self.assertEqual(
            self.read(after=cursor, where=lambda entry: entry.payload["n"] > 4, encoding="json"), [{"n": 5}]
        )

    def failing_after_settling(self, reader: Reader) -> list[Any]:
        consumer = Consumer(reader)
        self.reactor.settle()
        self.failureResultOf(consumer.done, WhereFailedError)
        return consumer.payloads

    def test_one_that_comes_to_its_senses(self) -> None:
        """It is asked of the same entry again, however it is read."""
        for how in ({}, {"reverse": True}, {"newest": 9}, {"live": True}):
            broken = [True]

            def where(entry: Entry, broken: list[bool] = broken) -> bool:
                if entry.payload == [3] and broken:
                    raise KeyError(broken.pop())
                return True

            reader = self.store.read(where=where, encoding="json", **how)  # type: ignore[arg-type]
            first = Consumer(reader)
            self.reactor.settle()
            failure = self.failureResultOf(first.done, WhereFailedError)
            self.assertEqual(failure.value.seq, 3)  # type: ignore[attr-defined]
            second = Consumer(reader)
            self.reactor.settle()
            self.assertEqual(sorted(first.seqs + second.seqs), [1, 2, 3, 4, 5], how)
            reader.close()
            self.successResultOf(second.done)

    def test_one_that_is_to_be_awaited_after_all(self) -> None:
        for where in (lambda entry: later(entry), lambda entry: Result()):
            consumer = self.consume(where=where)
            failure = self.failureResultOf(consumer.done, WhereFailedError)
            self.assertIn("what has to be awaited", str(failure.value))

    def test_what_it_gives_is_true_or_false(self) -> None:
        class Neither:
            def __bool__(self) -> bool:
                raise ValueError("ambiguous")

        self.assertEqual(len(self.read(where=lambda entry: entry.seq % 2 and "yes")), 3)
        self.assertEqual(self.read(where=lambda entry: None), [])
        failure = self.failureResultOf(self.consume(where=lambda _: Neither()).done, WhereFailedError)
        self.assertIn("entry 1", str(failure.value))

    def test_one_that_ends_the_program(self) -> None:
        """Is no matter of the entry."""

        def leave(_: Entry) -> bool:
            raise SystemExit(3)

        consumer = Consumer(self.store.read(where=leave))
        self.reactor.settle()
        self.failureResultOf(consumer.done, SystemExit)

    def test_one_that_closes_the_reader(self) -> None:
        reader = self.store.read(where=lambda entry: entry.seq < 3 or reader.close())
        consumer = Consumer(reader)
        self.reactor.settle()
        self.successResultOf(consumer.done)
        self.assertEqual(consumer.seqs, [1, 2])

    def test_it_is_asked_when_an_entry_is(self) -> None:
        """Not before, so that it can go by what was done with those before."""
        seen: list[int] = []
        reader = self.store.read(where=lambda entry: len(seen) == entry.seq - 1)

        async def read() -> None:
            async for entry in reader:
                seen.append(entry.seq)

        self.world.result(Deferred.fromCoroutine(read()))
        self.assertEqual(seen, [1, 2, 3, 4, 5])

    def test_the_cursor_while_nothing_is_wanted(self) -> None:
        """It has moved past all of it, live too."""
        consumer = self.consume(where=lambda entry: entry.seq > 90, live=True, encoding="json")
        self.append(self.ours, {"n": 6})
        self.reactor.settle()
        self.assertEqual(consumer.reader.cursor(), Cursor.of(self.store.clock))
        consumer.reader.close()


class OneEntryTests(VirtualCase):
    """``entry()``."""

    def setUp(self) -> None:
        super().setUp()
        self.ours = self.writer(encoding="json")
        for number in range(5):
            self.append(self.ours, {"n": number}, [number])

    def entry(self, seq: int, encoding: str = "json") -> Entry:
        entry: Entry = self.world.result(self.store.entry(self.ours.author, seq, encoding=encoding))
        return entry

    def test_held(self) -> None:
        every = {entry.seq: entry for entry in self.consume(encoding="json").got}
        for seq in range(1, 11):
            self.assertEqual(self.entry(seq), every[seq])
        self.assertEqual(self.entry(1, "bytes").payload, b'{"n":0}')

    def test_malformed(self) -> None:
        self.assertIn("msgpack", self.entry(1, "msgpack").malformed)

    def test_not_held(self) -> None:
        for author, seq, words in (
            (self.ours.author, 11, "its log is held up to entry 10"),
            (self.ours.author, 2**60, "its log is held up to entry 10"),
            (bytes(32), 1, "nothing of it is held"),
        ):
            error = self.assertRaises(EntryNotHeldError, self.world.result, self.store.entry(author, seq))
            self.assertEqual((error.author, error.seq), (author, seq))
            self.assertIn(words, str(error))

    def test_arguments(self) -> None:
        for author, seq in ((b"x", 1), (bytes(32), 0), (bytes(32), True), ("text", 1)):
            self.assertRaises(InvalidValueError, self.store.entry, author, seq)

    def test_without_its_payload(self) -> None:
        stored = self.backend.content.logs[self.ours.author].rows
        stored[1] = drop_payloads(stored[1], [3])
        self.assertEqual((self.entry(3).dropped, self.entry(3).payload), (True, None))
        self.assertEqual(self.entry(4).payload, [1])

    def test_damaged(self) -> None:
        """It is told as readers tell it; the others are there."""
        stored = self.backend.content.logs[self.ours.author].rows
        stored[1] = stored[1]._replace(bodies=stored[1].bodies[:-1] + b"?")
        said: list[Any] = []
        self.store.damage.listen(said.append)
        for seq in (3, 4):
            error = self.assertRaises(StoreDamagedError, self.entry, seq)
            self.assertIn("gossiplog verify --repair", str(error))
            self.assertEqual(said.pop()[:3], (self.ours.author, seq, seq))
        self.assertEqual((self.entry(2).payload, self.entry(5).payload), ([0], {"n": 2}))

    def test_one_row_is_read(self) -> None:
        read: list[tuple[int, int]] = []
        segments: Callable[..., Any] = self.backend.segments

        def noted(author: bytes, first: int, limit_bytes: int, last: int | None = None) -> Any:
            found = segments(author, first, limit_bytes, last)
            read.append((first, len(found)))
            return found

        self.patch(self.backend, "segments", noted)
        self.entry(5)
        self.assertEqual(read, [(5, 1)])

    def test_closed(self) -> None:
        self.world.result(self.store.close())
        self.assertRaises(StoreClosedError, self.store.entry, self.ours.author, 1)


class CostTests(VirtualCase):
    """What is not asked for is not read."""

    def test_newest_and_reverse_read_the_end(self) -> None:
        writer = self.writer()
        for _ in range(100):
            self.append(writer, *[bytes(10_000)] * 4)
        read: list[int] = []
        segments: Callable[..., Any] = self.backend.segments

        def noted(author: bytes, first: int, limit_bytes: int, last: int | None = None) -> Any:
            found = segments(author, first, limit_bytes, last)
            read.extend(segment.first for segment in found)
            return found

        self.patch(self.backend, "segments", noted)
        for how in ({"newest": 10}, {"newest": 10, "reverse": True}):
            read.clear()
            self.assertEqual(len(self.read(writer.author, **how)), 10)
            self.assertLessEqual(len(read), 4, how)
        for how in ({"reverse": True}, {"newest": 5, "where": lambda _: True}):
            read.clear()
            reader = self.store.read(writer.author, **how)
            self.world.result(Deferred.fromCoroutine(anext(reader)))
            self.assertLess(len(read), 30, how)
