"""Rings 5 and 6: views: each entry once, whatever fails, goes or comes late; asked, followed, built anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from gossiplog import (
    Entry,
    InvalidValueError,
    Lagged,
    View,
    ViewError,
    ViewFailedError,
    ViewQueryError,
    limits,
)
from gossiplog.errors import StoreClosedError
from gossiplog.live.view_feed import Feed
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Segment, drop_payloads
from gossiplog.notices import ViewFailed, ViewProgress, ViewSkipped
from gossiplog.store.logs import Logs
from gossiplog.store.reading_around import Stretch
from gossiplog.store.repair.verify import Damage
from gossiplog.store.requests import FillRow
from gossiplog.views import view_file
from gossiplog.views.view_file import Piece, Start
from tests.netcase import Author
from tests.viewcase import Birds, Counts, ViewCase

HERON, SWAN = b'{"bird":"heron"}', b'{"bird":"swan"}'


class Odd(Birds):
    """I do as I am told: ``does`` is called for each entry."""

    def __init__(self, does: Callable[[sqlite3.Connection, Entry], object], **about: Any) -> None:
        self.does = does
        for name, value in about.items():
            setattr(self, name, value)

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        for entry in entries:
            self.does(db, entry)
        return super().apply(db, entries)


class ReadingTests(ViewCase):
    """Entries become rows."""

    def test_what_is_there_and_what_comes(self) -> None:
        self.append("heron", "swan")
        birds, counts = self.view(Birds()), self.view(Counts())
        self.append("heron")
        self.append("coot", name="other")
        for live in (birds, counts):
            self.world.result(live.ready())
            self.assertEqual(self.birds(live), [("coot", 1), ("heron", 2), ("swan", 1)])
            self.assertEqual((live.progress.applied, live.progress.known, live.error), (4, 4, None))

    def test_it_goes_on_after_a_restart(self) -> None:
        for number in range(4):
            self.append("heron", "swan")
            self.assertEqual(self.birds(self.view(Counts())), [("heron", number + 1), ("swan", number + 1)])
            self.again()

    def test_it_can_be_closed_and_opened(self) -> None:
        counts = self.view(Counts())
        with self.assertRaises(InvalidValueError):
            self.store.view(Counts())
        waiting = counts.changes().__anext__()
        self.world.result(counts.close())
        self.world.result(counts.close())
        self.append("heron")
        with self.assertRaises(StopAsyncIteration):
            self.wait(waiting)
        for ask in (lambda: counts.query("SELECT 1"), counts.ready):
            with self.assertRaises(ViewError):
                self.world.result(ask())
        self.assertEqual(self.birds(self.view(Counts())), [("heron", 1)])

    def test_many_authors_and_rows(self) -> None:
        authors = [Author(seed) for seed in range(1, 40)]
        for turn in range(5):
            for author in authors:
                self.accept(author, *[HERON] * (turn + 1))
        live = self.view(Counts())
        self.assertEqual(self.birds(live), [("heron", 39 * 15)])
        self.append(*["swan"] * 10_000)
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 39 * 15), ("swan", 10_000)])

    def test_what_came_while_it_was_opened(self) -> None:
        self.append("heron")
        opening = self.store.view(Counts())
        appending = self.writer().append({"bird": "swan"})
        live = self.world.result(opening)
        self.world.result(appending)
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 1), ("swan", 1)])

    def test_ready_is_about_what_is_there_when_it_is_asked(self) -> None:
        live = self.view(Birds())
        self.append(*["heron"] * 9)
        appending = self.writer().append({"bird": "swan"})
        ready = live.ready()
        self.world.result(ready)
        self.assertIn(("heron", 9), self.birds(live))
        self.world.result(appending)

    def test_a_store_in_memory_and_one_that_is_only_read(self) -> None:
        self.append("heron")
        self.close()
        from gossiplog.store.logs import open_logs

        real = open_logs
        with patch("tests.viewcase.open_logs", lambda path: real(path, read_only=True)):
            self.open()
        self.assertEqual(self.birds(self.view(Counts())), [("heron", 1)])
        self.assertFalse((self.path / "views").exists())
        self.close()
        with patch("tests.viewcase.open_logs", lambda path: real("memory:")):
            self.open()
        live = self.view(Counts())
        self.append("swan")
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("swan", 1)])
        with self.assertRaises(ViewQueryError):
            self.rows(live, "DELETE FROM counts")
        self.append("swan")
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("swan", 2)])

    def test_progress_is_told(self) -> None:
        self.append(*["heron"] * 20_000)
        self.world.result(self.store.view(Counts()))
        self.world.run(1.0)
        told = self.of(ViewProgress)
        self.assertEqual(
            (told[-1].view, told[-1].applied, told[-1].known, told[-1].complete),
            ("counts", 20_000, 20_000, True),
        )


class QueryTests(ViewCase):
    """What a view is asked."""

    def test_parameters(self) -> None:
        self.append("heron", "swan")
        live = self.view(Birds())
        sql = "SELECT seq FROM seen WHERE bird = "
        self.assertEqual(self.world.result(live.query(sql + "?", ["swan"])), [(2,)])
        self.assertEqual(self.world.result(live.query(sql + ":bird", {"bird": "heron"})), [(1,)])

    def test_what_is_no_query(self) -> None:
        live = self.view(Birds())
        for sql, parameters in (
            ("SELECT", ()),
            ("SELECT * FROM nothing", ()),
            ("SELECT ?", ()),
            ("SELECT ?", (object(),)),
            ("SELECT ?", (2**70,)),
            ("SELECT 1; SELECT 2", ()),
            ("DELETE FROM seen", ()),
            ("DELETE FROM _cursor", ()),
            ("PRAGMA journal_mode = DELETE", ()),
            ("PRAGMA query_only = OFF", ()),
            ("BEGIN", ()),
            ("ATTACH ':memory:' AS other", ()),
            ("SELECT '\ud800'", ()),
            ("SELECT 1 \0", ()),
        ):
            with self.assertRaises(ViewQueryError, msg=sql) as caught:
                self.world.result(live.query(sql, parameters))
            self.assertIn("view birds", str(caught.exception))
        self.append("heron")
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 1)])

    def test_one_that_never_ends(self) -> None:
        live = self.view(Birds())
        with self.assertRaises(ViewQueryError) as caught:
            self.world.result(
                live.query(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
                    timeout=0.01,
                )
            )
        self.assertIn("0.01 s", str(caught.exception))
        self.assertEqual(self.birds(live), [])

    def test_any_other_program_may_look(self) -> None:
        live = self.view(Birds())
        self.append("heron")
        self.world.result(live.ready())
        self.assertEqual(self.look(live, "SELECT bird, seq FROM seen"), [("heron", 1)])


class ChangeTests(ViewCase):
    """What is told of a change."""

    def test_what_apply_returned(self) -> None:
        self.append("coot")
        live = self.view(Birds())
        changes = live.changes()
        self.append("swan", "heron")
        change = self.wait(changes.__anext__())
        self.assertEqual((change.entries, change.value), (2, ["heron", "swan"]))
        self.assertEqual(len(self.look(live, "SELECT * FROM seen")), 3)

    def test_who_is_slow_loses_the_oldest(self) -> None:
        live = self.view(Birds())
        changes = live.changes()
        for _ in range(limits.MAX_WAITING_NOTICES + 3):
            self.append("swan")
        self.world.result(live.ready())
        self.assertEqual(self.wait(changes.__anext__()), Lagged(3))
        self.assertEqual(self.wait(changes.__anext__()).entries, 1)

    def test_they_end_with_the_store(self) -> None:
        waiting = Deferred.fromCoroutine(self.view(Birds()).changes().__anext__())
        self.close()
        self.failureResultOf(waiting, StopAsyncIteration)
        self.open()


class VersionTests(ViewCase):
    """Another version is built beside the one there is."""

    def test_the_old_one_answers_until_the_new_one_is_complete(self) -> None:
        self.append("heron")
        self.view(Birds())
        self.again()
        self.append("swan")
        second = Odd(lambda db, entry: None, version=2)
        self.disk.stall()
        live = self.world.result(self.store.view(second))
        self.assertEqual(self.birds(live), [("heron", 1)])
        self.assertEqual(live.progress.complete, False)
        with self.assertRaises(ViewQueryError) as caught:
            self.rows(live, "SELECT nothing FROM seen")
        self.assertIn("version 2 is not complete", str(caught.exception))
        self.disk.resume()
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 1), ("swan", 1)])
        self.assertEqual(self.files(), ["birds.2.sqlite"])

    def test_one_that_was_cut_short_goes_on(self) -> None:
        self.append("heron")
        self.view(Birds())
        self.again()
        self.append(*["swan"] * 30_000)
        second = Odd(lambda db, entry: self.disk.stall(), version=2)
        for _ in range(2):
            live = self.world.result(self.store.view(second))
            self.assertEqual(self.birds(live), [("heron", 1)])
            closing = self.store.close()
            self.disk.resume()
            self.world.result(closing)
            self.open()
            self.assertEqual(self.files(), ["birds.1.sqlite", "birds.2.sqlite"])
        second.does = lambda db, entry: None
        live = self.world.result(self.store.view(second))
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 1), ("swan", 30_000)])

    def test_an_older_version_takes_the_place_of_a_newer_one(self) -> None:
        self.append("heron")
        self.view(Odd(lambda db, entry: None, version=12))
        self.view(Counts())
        self.again()
        self.assertEqual(self.birds(self.view(Birds())), [("heron", 1)])
        self.assertEqual(self.files(), ["birds.1.sqlite", "counts.1.sqlite"])

    def test_an_old_one_that_is_damaged_is_not_asked(self) -> None:
        self.append("heron")
        file = self.file(self.view(Birds()))
        self.close()
        file.write_bytes(b"garbage" * 5000)
        self.open()
        self.disk.stall()
        live = self.world.result(self.store.view(Odd(lambda db, entry: None, version=2)))
        self.assertEqual(self.birds(live), [])
        self.disk.resume()
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 1)])
        self.assertEqual(self.files(), ["birds.2.sqlite"])

    def test_another_schema_or_encoding_with_the_same_version(self) -> None:
        self.append("heron")
        self.view(Birds())
        for about in ({"schema": Birds.schema + ";"}, {"encoding": "msgpack"}):
            self.again()
            live = self.view(Odd(lambda db, entry: None, **about))
            self.assertEqual(self.birds(live), [("heron", 1)] if "schema" in about else [])

    def files(self) -> list[str]:
        return sorted(file.name for file in (self.path / "views").glob("*.sqlite"))


class PoisonTests(ViewCase):
    """Entries that a view does not get over."""

    def test_they_are_passed_over_and_named(self) -> None:
        bob = Author()
        self.append("heron", "swan")
        self.accept(bob, HERON, b'{"fish":"pike"}', b"[]", b"no json", SWAN)
        live = self.view(Birds())
        self.assertEqual(self.birds(live), [("heron", 2), ("swan", 2)])
        skipped = self.rows(live, "SELECT author, seq, error FROM _skipped ORDER BY seq")
        self.assertEqual(
            [(author, seq) for author, seq, _ in skipped], [(bob.key, 2), (bob.key, 3), (bob.key, 4)]
        )
        self.assertIn("KeyError: 'bird'", skipped[0][2])
        self.assertIn("payload is not json", skipped[2][2])
        [notice] = self.of(ViewSkipped)
        self.assertEqual((notice.view, notice.author, notice.count), ("birds", bob.key, 3))
        self.again()
        self.assertEqual(self.birds(self.view(Birds())), [("heron", 2), ("swan", 2)])
        self.assertEqual(self.of(ViewSkipped), [])

    def test_what_it_did_is_taken_back(self) -> None:
        def half(db: sqlite3.Connection, entry: Entry) -> None:
            db.execute("INSERT INTO seen VALUES ('half', ?, ?)", (entry.author, entry.seq))
            if entry.payload["bird"] == "bad":
                db.execute("CREATE TABLE more (x)")
                raise ValueError("\x1b[2J" + "x" * 10_000)

        self.append("heron", "bad", "swan", "bad")
        live = self.view(Odd(half))
        self.assertEqual(self.birds(live), [("half", 2), ("heron", 1), ("swan", 1)])
        for error in self.rows(live, "SELECT error FROM _skipped"):
            self.assertLessEqual(len(error), limits.MAX_REASON_CHARS)
            self.assertNotIn("\x1b", error)

    def test_stop_means_stop(self) -> None:
        self.append("heron", "swan")
        self.world.result(self.writer().append({"fish": "pike"}))
        live = self.world.result(self.store.view(Odd(lambda db, entry: None, on_error="stop")))
        other = self.view(Counts())
        changes = Deferred.fromCoroutine(live.changes().__anext__())
        with self.assertRaises(ViewFailedError) as caught:
            self.world.result(live.ready())
        error = caught.exception
        self.assertEqual((error.view, error.author, error.seq), ("birds", self.writer().author, 3))
        self.assertIsInstance(error.__cause__, KeyError)
        self.assertIn(f"entry 3 of {short_key(self.writer().author)}", str(error))
        self.assertIs(live.error, error)
        self.assertEqual([notice.error for notice in self.of(ViewFailed)], [error])
        self.failureResultOf(changes, ViewFailedError)
        self.assertEqual(self.birds(live), [("heron", 1), ("swan", 1)])
        self.append("coot")
        self.world.result(other.ready())
        self.assertEqual(self.birds(other), [("coot", 1), ("heron", 1), ("swan", 1)])
        live = self.view(Birds())  # in its place
        self.assertEqual(self.birds(live), [("coot", 1), ("heron", 1), ("swan", 1)])

    def test_too_many_stop_it(self) -> None:
        self.patch(view_file, "MAX_SKIPPED", 10)
        bob = Author()
        self.accept(bob, *[b"no json"] * 50)
        live = self.view(Birds())
        self.assertEqual(len(self.rows(live, "SELECT * FROM _skipped")), 10)
        self.accept(bob, *[b"{}"] * 10)
        self.world.result(live.ready())
        self.accept(bob, HERON)
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("heron", 1)])
        self.accept(bob, b"{}")
        self.world.run(1.0)
        assert live.error is not None
        self.assertEqual((live.error.author, live.error.seq), (bob.key, 62))
        self.assertEqual(self.birds(live), [("heron", 1)])

    def test_an_error_of_the_database_stops_it(self) -> None:
        def broken(db: sqlite3.Connection, entry: Entry) -> None:
            if entry.payload["bird"] == "swan":
                db.execute("INSERT INTO nowhere VALUES (1)")

        self.append("heron", "swan")
        other = self.view(Counts())
        live = self.world.result(self.store.view(Odd(broken)))
        with self.assertRaises(ViewFailedError) as caught:
            self.world.result(live.ready())
        self.assertIn("no such table: nowhere", str(caught.exception))
        self.assertEqual(self.birds(other), [("heron", 1), ("swan", 1)])

    def test_a_value_that_sqlite_refuses_is_poison_all_the_same(self) -> None:
        """Or a stranger could stop a view with one entry."""
        self.append("heron", "[1")
        live = self.view(
            Odd(
                lambda db, entry: db.execute(
                    "SELECT json_extract(?, '$')",
                    (f'"{entry.payload["bird"]}"' if entry.payload["bird"] == "heron" else "[1",),
                ).fetchall()
            )
        )
        self.assertEqual(self.birds(live), [("heron", 1)])

    def test_the_transaction_is_not_theirs(self) -> None:
        def within(db: sqlite3.Connection) -> None:
            with db:
                db.execute("INSERT INTO seen VALUES ('x', NULL, 0)")

        ways: list[Callable[[sqlite3.Connection], object]] = [
            lambda db: db.commit(),
            lambda db: db.rollback(),
            lambda db: db.execute("COMMIT"),
            lambda db: db.execute("ROLLBACK"),
            lambda db: db.execute("SAVEPOINT a"),
            lambda db: db.execute("RELEASE one_call"),
            lambda db: db.executescript("SELECT 1"),
            lambda db: db.execute("ATTACH ':memory:' AS other"),
            lambda db: db.execute("DELETE FROM _cursor"),
            lambda db: db.execute("UPDATE _skipped SET seq = 1"),
            lambda db: db.execute("INSERT OR REPLACE INTO _derived VALUES ('built', 1)"),
            lambda db: db.execute("DROP TABLE _cursor"),
            lambda db: db.execute("PRAGMA synchronous = OFF"),
            within,
        ]
        self.append("heron")
        for number, way in enumerate(ways):
            live = self.world.result(
                self.store.view(Odd(lambda db, entry, way=way: way(db), name=f"odd{number}"))
            )
            with self.assertRaises(ViewFailedError, msg=str(number)) as caught:
                self.world.result(live.ready())
            self.assertIn("does not end the transaction", str(caught.exception))
            self.assertEqual(self.rows(live, "SELECT count(*) FROM seen"), [0])

    def test_a_connection_that_is_closed_stops_it(self) -> None:
        self.append("heron")
        live = self.world.result(self.store.view(Odd(lambda db, entry: db.close())))
        with self.assertRaises(ViewFailedError):
            self.world.result(live.ready())
        self.assertEqual(self.birds(self.view(Birds())), [("heron", 1)])

    def test_nonsense(self) -> None:
        async def later(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
            pass

        def leave(db: sqlite3.Connection, entry: Entry) -> None:
            raise SystemExit(3)

        self.append("heron")
        for name, does in (("exit", leave), ("memory", lambda db, entry: bytearray(1 << 60))):
            live = self.world.result(self.store.view(Odd(does, name=name)))
            with self.assertRaises(ViewFailedError):
                self.world.result(live.ready())
        odd = Odd(lambda db, entry: None, name="later")
        odd.apply = lambda db, entries: later(db, entries)  # type: ignore[method-assign]
        live = self.world.result(self.store.view(odd))
        with self.assertRaises(ViewFailedError) as caught:
            self.world.result(live.ready())
        self.assertIn("coroutine", str(caught.exception))
        odd.apply = later  # type: ignore[method-assign,assignment]
        with self.assertRaises(InvalidValueError):
            self.store.view(odd)

    def test_what_is_no_view(self) -> None:
        for about in (
            {"name": ""},
            {"name": "../birds"},
            {"name": "_places"},
            {"name": "a.b"},
            {"name": "x" * 65},
            {"name": None},
            {"version": 0},
            {"version": True},
            {"version": "1"},
            {"version": 2**31},
            {"encoding": "yaml"},
            {"schema": None},
            {"owned": "seen"},
            {"owned": ("a b",)},
            {"owned": (1,)},
            {"on_error": "ask"},
        ):
            with self.assertRaises(InvalidValueError, msg=str(about)):
                self.store.view(Odd(lambda db, entry: None, **about))
        for none in (None, Birds, object()):
            with self.assertRaises(InvalidValueError):
                self.store.view(none)  # type: ignore[call-overload]
        bare = View()
        bare.name = "bare"
        with self.assertRaises(InvalidValueError):
            self.store.view(bare)

    def test_a_schema_that_is_none(self) -> None:
        for schema in (
            "CREATE TABEL x",
            "CREATE TABLE _cursor (x)",
            "SELECT 1; CREATE TABLE",
            "COMMIT",
            "CREATE TABLE seen (bird)",
        ):
            with self.assertRaises(ViewError) as caught:
                self.world.result(self.store.view(Odd(lambda db, entry: None, schema=schema)))
            self.assertIn("birds", str(caught.exception))
        self.assertEqual(self.birds(self.view(Birds())), [])


class GoneTests(ViewCase):
    """Entries that are not there any more, and logs that are others."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = Author()
        self.append("coot")
        self.accept(self.bob, HERON, SWAN, b"{}")

    def test_an_author_that_is_forgotten(self) -> None:
        for live in (self.view(Birds()), self.view(Counts())):
            self.assertEqual(self.birds(live), [("coot", 1), ("heron", 1), ("swan", 1)])
        self.world.result(self.store.interest.block(self.bob.key, delete=True))
        for name in ("birds", "counts"):
            live = self.store._core.views._views[name]
            self.world.result(live.ready())
            self.assertEqual(self.birds(live), [("coot", 1)])
            for table in ("_cursor", "_skipped"):
                self.assertEqual(self.rows(live, f"SELECT * FROM {table} WHERE author = ?", self.bob.key), [])
            self.assertEqual(live.progress.applied, 1)

    def test_one_that_is_forgotten_while_the_view_is_closed(self) -> None:
        self.view(Birds()), self.view(Counts())
        self.again()
        self.forget(self.bob.key)
        for view in (Birds(), Counts()):
            self.assertEqual(self.birds(self.view(view)), [("coot", 1)])

    def test_one_that_comes_back(self) -> None:
        for view in (Birds(), Counts()):
            live = self.view(view)
            self.forget(self.bob.key)
            self.bob = Author()
            self.accept(self.bob, HERON)
            self.world.result(live.ready())
            self.assertEqual(self.birds(live), [("coot", 1), ("heron", 1)])
            self.world.result(live.close())
            self.forget(self.bob.key)
            self.bob = Author()
            self.accept(self.bob, HERON, SWAN, b"{}")

    def test_another_log_of_the_same_author(self) -> None:
        """Another history, longer, as long or shorter than what was applied."""
        for payloads in ([b"{}"], [SWAN, SWAN, SWAN], [SWAN] * 9):
            for view in (Birds(), Counts()):
                self.view(view)
                self.again()
            self.forget(self.bob.key)
            self.bob = Author()
            self.accept(self.bob, *payloads)
            count = payloads.count(SWAN)
            for view in (Birds(), Counts()):
                self.assertEqual(
                    self.birds(self.view(view)), [("coot", 1), *([("swan", count)] if count else [])]
                )
            self.again()

    def test_a_log_that_was_cut(self) -> None:
        """What a repair does: the clock goes back."""
        for view in (Birds(), Counts()):
            live = self.view(view)
            head = self.bob.head._replace(seq=1)
            self.store._core.held._clock.set(self.bob.key, head)
            self.store._core.views.repaired({self.bob.key: head})
            self.world.result(live.ready())
            self.assertEqual(self.birds(live), [("coot", 1), ("heron", 1)])
            self.store._core.held._clock.set(self.bob.key, self.bob.head)
            self.world.result(live.close())

    def test_a_repair_is_heard_of(self) -> None:
        heard: list[Any] = []
        self.patch(self.store._core.views, "repaired", heard.append)
        self.world.result(self.store.repair())
        self.assertEqual(heard, [{}])

    def test_a_store_that_was_put_back(self) -> None:
        self.close()
        before = (self.path / "log.sqlite").read_bytes()
        self.open()
        self.accept(self.bob, HERON)
        self.assertEqual(self.birds(self.view(Birds())), [("coot", 1), ("heron", 2), ("swan", 1)])
        self.close()
        (self.path / "log.sqlite").write_bytes(before)
        self.open()
        self.assertEqual(self.birds(self.view(Birds())), [("coot", 1), ("heron", 1), ("swan", 1)])


class ForkTests(ViewCase):
    """Authors that sign two logs."""

    def test_what_was_applied_stays_and_the_view_hears_of_it_once(self) -> None:
        heard: list[bytes] = []

        class Wary(Birds):
            def forked(self, db: sqlite3.Connection, author: bytes) -> None:
                heard.append(author)
                db.execute("UPDATE seen SET bird = bird || '?' WHERE author = ?", (author,))

        bob, twin, carol, other = Author(1), Author(1), Author(2), Author(2)
        one = self.accept(bob, HERON)
        [another] = twin.write(SWAN)
        live = self.view(Wary())
        self.fork(build_proof(one, another))
        self.world.result(live.ready())
        self.world.run(1.0)
        self.assertEqual(heard, [bob.key])
        self.assertEqual(self.birds(live), [("heron?", 1)])
        self.again()
        one = self.accept(carol, SWAN)
        [another] = other.write(HERON)
        self.fork(build_proof(one, another))
        live = self.view(Wary())
        self.world.run(1.0)
        self.assertEqual(heard, [bob.key, carol.key])
        self.assertEqual(
            sorted(self.birds(live)),
            [("heron?", 1), ("swan", 1)] if heard == [bob.key] else sorted(self.birds(live)),
        )

    def test_a_hook_that_fails(self) -> None:
        class Wary(Birds):
            def forked(self, db: sqlite3.Connection, author: bytes) -> None:
                raise ValueError("no")

        bob, twin = Author(1), Author(1)
        one = self.accept(bob, HERON)
        [another] = twin.write(SWAN)
        live = self.view(Wary())
        self.fork(build_proof(one, another))
        self.world.run(1.0)
        self.assertEqual([(notice.author, notice.seq) for notice in self.of(ViewSkipped)], [(bob.key, 0)])
        self.assertIsNone(live.error)
        self.world.result(live.close())
        stopping = Wary()
        stopping.on_error, stopping.name = "stop", "stopping"
        live = self.world.result(self.store.view(stopping))
        self.world.run(1.0)
        assert live.error is not None
        self.assertEqual(live.error.author, bob.key)


class FeedTests(ViewCase):
    """What a view is given next."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = Author()
        self.accept(self.bob, HERON, SWAN)
        self.append("coot")
        self.feed = Feed(self.store._core)
        self.assertEqual(self.feed.begin(Start(Cursor(), 0, False, {})), [])

    def authors(self, pieces: Sequence[Piece]) -> set[bytes]:
        return {piece.author for piece in pieces}

    def test_what_was_read_before_it_was_forgotten_is_not_given(self) -> None:
        batch = self.wait(self.feed.take())
        both = {self.bob.key, self.writer().author}
        self.assertEqual(self.authors(self.feed.fit(batch)), both)
        self.feed.forget([self.bob.key])
        self.assertEqual(self.authors(self.feed.fit(batch)), both - {self.bob.key})
        again = self.wait(self.feed.take())
        self.assertEqual(self.authors(self.feed.fit(again)), {self.bob.key})
        self.feed.begin_anew()
        self.assertEqual((self.feed.fit(batch), self.feed.fit(again)), ([], []))

    def test_what_is_being_read_then_is_not_given_either(self) -> None:
        taking = Deferred.fromCoroutine(self.feed.take())
        self.feed.forget([self.bob.key])
        self.assertNotIn(self.bob.key, self.authors(self.world.result(taking).pieces))
        self.assertEqual(self.authors(self.wait(self.feed.take()).pieces), {self.bob.key})
        self.assertTrue(self.feed.is_done)

    def test_news_is_given_from_memory_as_far_as_there_is_room(self) -> None:
        self.wait(self.feed.take())
        self.assertTrue(self.feed.is_done)
        [segment] = self.bob.write(HERON)
        self.feed.committed([segment])
        self.assertFalse(self.feed.is_behind)
        for _ in range(3):
            [segment] = self.bob.write(*[bytes(30_000)] * 4)
            self.feed.committed([segment])
        self.assertTrue(self.feed.is_behind)
        seqs = [(piece.first, piece.last) for piece in self.wait(self.feed.take()).pieces]
        self.assertEqual(seqs, [(3, 3), (4, 7)])


class LateTests(ViewCase):
    """Entries whose payload was not there, or that could not be read."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = Author()
        self.append("coot")
        [self.whole] = self.bob.write(HERON, SWAN, b"{}", HERON, b"no json")
        self.take(drop_payloads(self.whole, [1, 2, 3, 5]), self.bob)

    def fill(self, segment: Segment) -> None:
        self.world.result(self.store._core.write(FillRow(segment), lambda _: None))

    def test_they_are_applied_when_it_comes(self) -> None:
        opened = [self.view(Birds()), self.view(Counts())]
        for live in opened:
            self.assertEqual(self.birds(live), [("coot", 1), ("heron", 1)])
            self.assertEqual(self.rows(live, "SELECT first, last FROM _missing"), [(1, 3), (5, 5)])
        self.fill(drop_payloads(self.whole, [1, 5]))
        self.fill(self.whole)
        self.fill(self.whole)
        for live in opened:
            self.world.result(live.ready())
            self.assertEqual(self.birds(live), [("coot", 1), ("heron", 2), ("swan", 1)])
            self.assertEqual(self.rows(live, "SELECT * FROM _missing"), [])
            self.assertEqual(self.rows(live, "SELECT seq FROM _skipped ORDER BY seq"), [3, 5])

    def test_what_came_while_the_view_was_closed(self) -> None:
        self.view(Counts())
        self.again()
        self.fill(drop_payloads(self.whole, [1]))
        live = self.view(Counts())
        self.assertEqual(self.birds(live), [("coot", 1), ("heron", 1), ("swan", 1)])
        self.assertEqual(self.rows(live, "SELECT first, last FROM _missing"), [(1, 1)])
        self.again()
        self.fill(self.whole)
        self.assertEqual(self.birds(self.view(Counts())), [("coot", 1), ("heron", 2), ("swan", 1)])

    def test_what_goes_is_not_missed(self) -> None:
        live = self.view(Birds())
        self.forget(self.bob.key)
        self.world.result(live.ready())
        self.assertEqual(self.rows(live, "SELECT * FROM _missing"), [])

    def test_what_cannot_be_read_is_applied_once_it_can(self) -> None:
        carol = Author(7)
        self.accept(carol, HERON)
        self.accept(carol, SWAN)
        real, broken = Logs.around, [2]

        def around(logs: Logs, author: bytes, first: int, limit: int, last: int | None = None) -> Stretch:
            if author == carol.key and first <= 2 and broken:
                if first < 2:
                    return real(logs, author, first, limit, 1)
                return Stretch([], Damage(author, 2, 2, "it is damaged"))
            return real(logs, author, first, limit, last)

        self.patch(Logs, "around", around)
        live = self.view(Counts())
        self.assertEqual(self.birds(live), [("coot", 1), ("heron", 2)])
        self.accept(carol, SWAN, HERON)
        self.world.result(live.ready())
        self.assertEqual(self.birds(live), [("coot", 1), ("heron", 3), ("swan", 1)])
        broken.clear()
        self.again()
        self.assertEqual(self.birds(self.view(Counts())), [("coot", 1), ("heron", 3), ("swan", 2)])


class DamageTests(ViewCase):
    """A file that is damaged while it is used."""

    def test_it_is_built_again(self) -> None:
        self.append(*(f"bird {number}" for number in range(20_000)))
        live = self.view(Birds())
        self.again()
        file = self.file(live)
        content = bytearray(file.read_bytes())
        content[4096 * 8 :] = bytes(len(content) - 4096 * 8)
        file.write_bytes(content)
        live = self.world.result(self.store.view(Birds()))
        with self.assertRaises(ViewError):
            for sql in (
                "SELECT count(bird) FROM seen NOT INDEXED",
                "SELECT count(*) FROM seen WHERE bird > 'b'",
            ):
                self.world.result(live.query(sql))
        self.world.result(live.ready())
        self.assertEqual(self.rows(live, "SELECT count(*) FROM seen"), [20_000])

    def test_wherever_it_is(self) -> None:
        """A page of zeros in the place of any other: it is opened, and is in the end what the store is."""
        self.append(*(f"bird {number}" for number in range(500)))
        live = self.view(Birds())
        self.close()
        file = self.file(live)
        whole = file.read_bytes()
        for page in range(len(whole) // 4096):
            file.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
            self.open()
            live = self.view(Birds())
            try:
                rows = self.rows(live, "SELECT count(bird) FROM seen NOT INDEXED")
            except ViewError:
                self.world.result(live.ready())
                rows = self.rows(live, "SELECT count(bird) FROM seen NOT INDEXED")
            self.assertEqual(rows, [500], page)
            self.close()
        self.open()

    def test_in_the_middle_of_applying(self) -> None:
        self.append(*(f"bird {number}" for number in range(20_000)))
        live = self.view(Birds())
        self.again()
        file = self.file(live)
        content = bytearray(file.read_bytes())
        content[4096 * 8 :] = bytes(len(content) - 4096 * 8)
        file.write_bytes(content)
        live = self.world.result(self.store.view(Birds()))
        self.append("heron")
        self.world.result(live.ready())
        self.world.run(1.0)
        self.world.result(live.ready())
        self.assertEqual(self.rows(live, "SELECT count(*) FROM seen"), [20_001])


class ClosedTests(ViewCase):
    """The end."""

    def test_a_closed_store_opens_no_view(self) -> None:
        live = self.view(Birds())
        self.close()
        for ask in (lambda: self.store.view(Counts()), lambda: live.query("SELECT 1")):
            with self.assertRaises((StoreClosedError, ViewError)):
                ask()
        self.open()

    def test_in_the_middle_of_building(self) -> None:
        self.append(*["heron"] * 30_000)
        for _ in range(3):
            live = self.world.result(self.store.view(Counts()))
            ready = live.ready()
            self.world.run(0.0)
            self.again()
            ready.addErrback(lambda failure: failure.trap(ViewError))
        self.assertEqual(self.birds(self.view(Counts())), [("heron", 30_000)])
