"""Ring 6: views in causal order: places in their rows, whatever comes late, waits, goes or is begun again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from random import Random
from typing import Any

from gossiplog import Entry, PlacedEntry, View
from gossiplog.errors import InvalidValueError
from gossiplog.live import causal_source, placed_feed
from gossiplog.live.live_view import LiveView
from gossiplog.live.view_feed import Batch
from gossiplog.log import zone_list
from gossiplog.log.body import Reference, encode_body
from gossiplog.log.place import read_place
from gossiplog.log.segment import Head, build, drop_payloads, id_at
from gossiplog.store.requests import Accept, FillRow
from gossiplog.views import owed
from gossiplog.views.view_file import Piece
from tests.netcase import Author
from tests.timelines import History
from tests.viewcase import ViewCase


class Board(View):
    """A row for each entry, with its place."""

    name, order = "board", "causal"
    schema = "CREATE TABLE said (place BLOB, text BLOB, late INT, author BLOB, seq INT)"
    owned: Sequence[str] = ("said",)

    def __init__(self) -> None:
        self.applied: list[tuple[bytes, int]] = []

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Note what was said."""
        for entry in entries:
            assert isinstance(entry, PlacedEntry)
            row = entry.place, entry.payload, entry.late, entry.author, entry.seq
            db.execute("INSERT INTO said VALUES (?, ?, ?, ?, ?)", row)
            self.applied.append((entry.author, entry.seq))
        return None


class Whole(Board):
    """The same, where rows are nobody's."""

    name = "whole"
    owned = ()


class CausalViewCase(ViewCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(causal_source, "wall_ms", lambda _: self.wall_ms)
        self.ann, self.bob, self.cat = Author(1), Author(2), Author(3)

    @property
    def wall_ms(self) -> int:
        return 1_800_000_000_000 + round(self.world.reactor.seconds() * 1000)

    def write(self, author: Author, clock: int, payload: bytes, *after: Reference) -> tuple[Any, Reference]:
        """Write an entry; return what a peer would bring, and how to name it."""
        [segment], author.head = build(author.pair, author.head, [encode_body(clock, payload, after)])
        return Accept(segment, author.head), Reference(author.key, author.head.seq, author.head.id[:16])

    def come(self, *requests: Any) -> None:
        for request in requests:
            self.world.result(self.store._core.write(request, lambda _: None))
        self.world.reactor.settle()

    def said(self, live: LiveView) -> list[bytes]:
        return self.rows(live, "SELECT text FROM said ORDER BY place")

    def places(self, live: LiveView) -> list[tuple[bytes, bytes, int]]:
        return self.rows(live, "SELECT place, author, seq FROM said ORDER BY place")

    def in_order(self) -> list[tuple[bytes, bytes, int]]:
        """What a reader from the beginning gives."""
        found: list[tuple[bytes, bytes, int]] = []

        async def read() -> None:
            async for entry in self.store.read(order="causal"):
                assert isinstance(entry, PlacedEntry)
                if not (entry.dropped or entry.malformed):
                    found.append((entry.place, entry.author, entry.seq))

        self.world.result(causal_source.Result.fromCoroutine(read()))
        return found


class OrderTests(CausalViewCase):
    def test_any_arrival(self) -> None:
        """In the end each entry is there once, at its place: with restarts, authors that go, and what comes late."""
        for seed, (authors, skew, named) in enumerate([(3, 5, 0.5), (5, 500, 0.9), (4, 500, 0.2)]):
            for view in (Board, Whole):
                self.again()
                random = Random(seed)
                history = History(seed, authors, skew, named)
                history.write(25)
                live = self.view(view())
                for segment in [*history.arrivals(seed)]:
                    self.come(Accept(segment, Head(segment.last, id_at(segment, segment.last))))
                    if (chance := random.random()) < 0.05:
                        self.again()
                        live = self.view(view())
                    elif chance < 0.1:
                        self.world.run(random.choice((1.0, 31.0)))
                    elif chance < 0.15:
                        self.forget(segment.author)
                        self.come(
                            *[
                                Accept(each, Head(each.last, id_at(each, each.last)))
                                for each in history.segments[segment.author]
                                if each.last <= segment.last
                            ]
                        )
                self.world.run(120)
                self.world.result(live.ready())
                self.assertEqual(self.places(live), self.in_order(), (seed, view.name))
                self.assertGreater(len(self.places(live)), 50)
                for author, _ in [*self.store.clock.items()]:
                    self.forget(author)

    def test_a_reply_waits_for_its_question(self) -> None:
        question, name = self.write(self.ann, 5_000, b"question")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        live = self.view(Board())
        self.come(reply)
        self.assertEqual(self.said(live), [])
        self.come(question)
        self.assertEqual(self.said(live), [b"question", b"reply"])
        self.assertEqual([read_place(place)[:2] for place, *_ in self.places(live)], [(5_000, 0), (5_000, 1)])

    def test_what_waits_is_given_after_a_restart(self) -> None:
        _, name = self.write(self.ann, 5_000, b"question")
        reply, _ = self.write(self.bob, 1_000, b"reply", name)
        self.view(Board())
        self.come(reply)
        self.again()
        live = self.view(Board())
        self.assertEqual(self.said(live), [])
        self.world.run(31)
        self.assertEqual(self.said(live), [b"reply"])

    def test_late(self) -> None:
        """What belongs before others comes with a word."""
        live = self.view(Board())
        self.come(self.write(self.ann, 5_000, b"second")[0], self.write(self.bob, 1_000, b"first")[0])
        self.assertEqual(
            self.rows(live, "SELECT text, late FROM said ORDER BY place"), [(b"first", 1), (b"second", 0)]
        )

    def test_ahead_of_our_clock(self) -> None:
        """It is given when it is due, though nothing comes."""
        live = self.view(Board())
        self.come(self.write(self.ann, self.wall_ms + 11 * 60_000, b"ahead")[0])
        self.assertEqual(self.said(live), [])
        self.world.run(61)
        self.assertEqual(self.said(live), [b"ahead"])


class MovedTests(CausalViewCase):
    """What others named comes after its time."""

    def late(self, live: LiveView) -> None:
        """Cat says something; bob names what is not there, and it comes a minute later."""
        question, name = self.write(self.ann, 9_000, b"question")
        self.come(self.write(self.cat, 900, b"before")[0])
        self.come(self.write(self.bob, 1_000, b"reply", name)[0])
        self.world.run(31)
        self.come(self.write(self.cat, 2_000, b"between")[0])
        self.assertEqual(self.said(live)[-3:], [b"before", b"reply", b"between"])
        self.come(question)
        self.world.run(1)

    def test_rows_move(self) -> None:
        live = self.view(Board())
        self.late(live)
        self.assertEqual(self.said(live), [b"before", b"between", b"question", b"reply"])
        self.assertEqual(self.places(live), self.in_order())

    def test_once(self) -> None:
        """What moved is done with, over a restart too, and where it was owed until then."""
        for rest in (0.0, 100.0):
            self.again()
            live = self.view(Board())
            feed = live._placed
            assert feed is not None
            feed._rest_until = self.world.reactor.seconds() + rest
            self.late(live)
            if rest:
                self.again()
                self.view(Board())
            self.again()
            view = Board()
            self.view(view)
            self.assertEqual(view.applied, [])
            self.ann, self.bob, self.cat = Author(7), Author(8), Author(9)
            for author, _ in [*self.store.clock.items()]:
                self.forget(author)

    def test_rows_of_nobody_move(self) -> None:
        live = self.view(Whole())
        self.late(live)
        self.assertEqual(self.said(live), [b"before", b"between", b"question", b"reply"])
        self.assertEqual(self.places(live), self.in_order())

    def test_no_more_than_has_to(self) -> None:
        """What is before that place is not given again, where rows go with their entries."""
        self.patch(zone_list, "_ENTRIES", 0)
        view = Board()
        live = self.view(view)
        for number in range(5):
            self.come(self.write(self.ann, number, b"old")[0])
        self.late(live)
        again = [each for number, each in enumerate(view.applied) if each in view.applied[:number]]
        self.assertCountEqual(again, [(self.bob.key, 1), (self.cat.key, 2)])
        self.assertEqual(self.places(live), self.in_order())

    def test_while_nobody_looked(self) -> None:
        """What was named comes while the view is closed, or is owed when it is: it is noticed at the next start."""
        for number, view in enumerate((Board, Whole)):
            live = self.view(view())
            question, name = self.write(self.ann, 9_000 + 90_000 * number, b"question")
            self.come(self.write(self.bob, 10_000 * number, b"reply", name)[0])
            self.world.run(31)
            self.assertEqual(self.said(live)[-1:], [b"reply"])
            if view is Whole:
                feed = live._placed
                assert feed is not None
                feed._rest_until = self.world.reactor.seconds() + 100
                self.come(question)
                self.world.run(1)
                self.assertEqual(self.said(live)[-2:], [b"reply", b"question"])
                self.again()
            else:
                self.world.result(live.close())
                self.come(question)
            live = self.view(view())
            self.assertEqual(self.places(live), self.in_order())
            self.assertEqual(self.said(live)[-2:], [b"question", b"reply"])
            self.ann, self.bob = Author(8), Author(9)

    def test_no_more_is_remembered_than_that(self) -> None:
        """Nobody fills the file with what does not exist."""
        self.patch(owed, "_BY_ONE", 5)
        live = self.view(Board())
        named = [Reference(self.cat.key, seq, bytes(16)) for seq in range(1, 9)]
        for author in (self.ann, self.bob):
            self.come(self.write(author, 1, b"x", *named)[0])
        self.world.run(31)
        self.assertEqual(self.look(live, "SELECT count(*) FROM _owed GROUP BY by"), [(5,), (5,)])

    def test_a_tenth_of_the_time(self) -> None:
        """Who makes entries move again and again does not keep the view busy."""
        live = self.view(Board())
        feed = live._placed
        assert feed is not None
        self.late(live)
        now = self.world.reactor.seconds()
        feed._since = now - 10  # it took ten seconds
        self.come(self.write(self.cat, 9_000, b"news")[0])
        self.assertEqual(feed._rest_until, now + 90)
        feed._rest_until = self.world.reactor.seconds() + 100
        question, name = self.write(self.ann, 10_000, b"question 2")
        self.come(self.write(self.bob, 9_500, b"reply 2", name)[0])
        self.world.run(31)
        self.come(question)
        self.world.run(1)
        self.assertEqual(self.said(live)[-2:], [b"reply 2", b"question 2"])
        self.world.run(100)
        self.assertEqual(self.said(live)[-2:], [b"question 2", b"reply 2"])

    def test_a_payload_comes_back(self) -> None:
        """Only then it is known where its entry belongs."""
        [whole], head = build(
            self.ann.pair, self.ann.head, [encode_body(5_000, b"a" * 99), encode_body(6_000, b"b" * 99)]
        )
        hole = drop_payloads(whole, [1])
        self.come(Accept(hole, head), self.write(self.bob, 1_000, b"bob")[0])
        live = self.view(Board())
        self.assertEqual(self.said(live), [b"bob", b"b" * 99])
        self.come(FillRow(whole))
        self.world.run(1)
        self.assertEqual(self.said(live), [b"bob", b"a" * 99, b"b" * 99])
        self.assertEqual(self.places(live), self.in_order())


class GoneTests(CausalViewCase):
    def test_what_was_read_before_is_not_given(self) -> None:
        """What a log was forgotten after is none of the view's."""
        live = self.view(Board())
        feed = live._placed
        assert feed is not None
        old = Batch((Piece(self.ann.key, 1, 1, None),), feed._turn)
        self.assertEqual(len(feed.fit(old)), 1)
        feed.forget([self.ann.key])
        self.assertEqual(feed.fit(old), [])

    def test_what_cannot_be_read(self) -> None:
        """It is passed over, and what follows it is applied; it comes once it can be read."""
        for number in range(4):
            self.come(self.write(self.ann, number, b"%d" % number * 40)[0])
        self.close()
        with closing(sqlite3.connect(self.path / "log.sqlite")) as log:
            [bodies] = log.execute("SELECT bodies FROM segments WHERE first = 2").fetchone()
            log.execute("UPDATE segments SET bodies = ? WHERE first = 2", (bytes(len(bodies)),))
            log.commit()
        self.open()
        live = self.view(Board())
        self.assertEqual([each[:1] for each in self.said(live)], [b"0", b"2", b"3"])
        self.come(self.write(self.ann, 9, b"9")[0])
        self.assertEqual([each[:1] for each in self.said(live)], [b"0", b"2", b"3", b"9"])
        self.close()
        with closing(sqlite3.connect(self.path / "log.sqlite")) as log:
            log.execute("UPDATE segments SET bodies = ? WHERE first = 2", (bodies,))
            log.commit()
        self.open()
        live = self.view(Board())
        self.assertEqual([each[:1] for each in self.said(live)], [b"0", b"1", b"2", b"3", b"9"])


class NonsenseTests(CausalViewCase):
    def test_another_order(self) -> None:
        view = Board()
        view.order = "reverse"  # type: ignore[assignment]
        self.assertRaises(InvalidValueError, self.store.view, view)

    def test_a_place_where_there_is_none(self) -> None:
        """Whoever forgets to say the order is told."""
        view = Board()
        view.order = "any"
        view.apply = lambda db, entries: [entry.place for entry in entries]  # type: ignore[method-assign]
        self.come(self.write(self.ann, 1, b"x")[0])
        live = self.view(view)
        [error] = self.look(live, "SELECT error FROM _skipped")
        self.assertRegex(
            error[0],
            "AttributeError: an entry has 'place' in causal order only: .*order = 'causal' of a view",
        )
        self.assertFalse(hasattr(self.store, "place") or hasattr(Entry, "place"))

    def test_nothing_is_left(self) -> None:
        """A view that is closed waits for nothing."""
        live = self.view(Board())
        self.come(self.write(self.ann, self.wall_ms + 11 * 60_000, b"ahead")[0])
        self.world.result(live.close())
        self.assertIsNone(live._placed._timer)
        self.assertEqual(placed_feed.REST, 9)
