"""Ring 3: a store on PostgreSQL, on a private cluster: what every backend does, and what one does that relays share."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import (
    InvalidValueError,
    LostRaceError,
    StoreFormatError,
    StoreNotFoundError,
    StoreUnreachableError,
    StoreWentBackError,
)
from gossiplog.log.keys import short_key
from gossiplog.store.interface import Backend, PutCursor
from gossiplog.store.logs import Logs
from gossiplog.testing.chain import Chain
from gossiplog.testing.conformance.fleet import FleetConformance
from gossiplog.testing.conformance.suite import BackendConformance
from tests import postgres

ALL = 1 << 30


class PostgresTestCase(SynchronousTestCase):
    """A database of its own for each test."""

    def setUp(self) -> None:
        self.cluster = postgres.shared()

    @cached_property
    def place(self) -> str:
        """The database of a test that uses one."""
        return self.store()

    def store(self) -> str:
        """A database of a store, empty."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(self.cluster.store())

    def member(self, place: str | None = None, state: Path | None = None, init: bool = True) -> Backend:
        from gossiplog.store.postgres.backend import PostgresBackend

        state = state or Path(self.mktemp()).absolute()
        state.parent.mkdir(parents=True, exist_ok=True)
        backend = PostgresBackend(place or self.place, state, init=init)
        self.states = {**getattr(self, "states", {}), id(backend): state}
        self.addCleanup(backend.close)
        return backend


class BackendTests(BackendConformance, PostgresTestCase):
    """One relay alone."""

    def make_backend(self) -> Backend:
        return self.member(self.store())

    def reopen(self, backend: Backend) -> Backend:
        state = self.states[id(backend)]
        place = backend._connection._conninfo  # type: ignore[attr-defined]
        backend.close()
        return self.member(place, state, init=False)


class FleetTests(FleetConformance, PostgresTestCase):
    """Several."""

    def make_fleet(self, count: int) -> list[Backend]:
        return [self.member() for _ in range(count)]


class OpeningTests(PostgresTestCase):
    """What is opened, and what is refused, each with a reason."""

    def test_nothing_there(self) -> None:
        with self.assertRaises(StoreNotFoundError) as refused:
            self.member(self.cluster.database(), init=False)
        self.assertIn("gossiplog fleet init", str(refused.exception))

    def test_other_tables(self) -> None:
        import psycopg

        for statement in ("CREATE TABLE meta (a int)", "CREATE TABLE meta (key text, value bytea)"):
            place = self.cluster.database()
            with psycopg.connect(place, autocommit=True) as connection:
                connection.execute(statement)
            with self.assertRaises(StoreFormatError):
                self.member(place)

    def test_another_version(self) -> None:
        import psycopg

        place = self.cluster.database()
        self.member(place)
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
        with self.assertRaises(StoreFormatError) as refused:
            self.member(place)
        self.assertIn("version 99", str(refused.exception))

    def test_passwords(self) -> None:
        """Are not taken where others read them, and no error says one."""
        for place in ("postgresql://ann:secret@127.0.0.1/x", "host=127.0.0.1 password=secret"):
            with self.assertRaises(InvalidValueError) as refused:
                self.member(place)
            self.assertNotIn("secret", str(refused.exception))
            self.assertIn(".pgpass", str(refused.exception))
        with self.assertRaises(InvalidValueError):
            self.member("no such=thing")

    def test_nobody_answers(self) -> None:
        with self.assertRaises(StoreUnreachableError) as refused:
            self.member("postgresql://postgres@127.0.0.1:1/x")
        self.assertIn("cannot be reached", str(refused.exception))


class SettingsTests(PostgresTestCase):
    """What an administrator made the default of a database is not what relays count on."""

    def database(self, *settings: str, encoding: str = "UTF8") -> str:
        name = f"set{len(settings)}{encoding.lower()}"
        self.cluster.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        self.addCleanup(self.cluster.forget, name)
        for setting in settings:
            self.cluster.execute(f"ALTER DATABASE {name} SET {setting}")
        return self.cluster.conninfo(name)

    def test_isolation_and_timeouts(self) -> None:
        """Two relays that race have one who lost, and not an error; what takes long is not cancelled."""
        place = self.database(
            "default_transaction_isolation = 'serializable'", "statement_timeout = '1ms'", "lock_timeout = 1"
        )
        ann, bob = self.member(place), self.member(place)
        with ann._connection.itself() as connection:  # type: ignore[attr-defined]
            said = [
                connection.execute(f"SHOW {name}").fetchone()
                for name in ("transaction_isolation", "statement_timeout", "lock_timeout")
            ]
        self.assertEqual(said, [("read committed",), ("0",), ("5s",)])
        chain = Chain(1)
        first = chain.put(b"1")
        ann.commit([first])
        with self.assertRaises(LostRaceError):
            bob.commit([first])
        bob.commit([chain.put(b"2")])

    def test_no_encoding(self) -> None:
        """Text of a database without an encoding is text."""
        member = self.member(self.database(encoding="SQL_ASCII"))
        member.commit([PutCursor("näme", {b"a" * 32: (1, bytes(8))})])
        self.assertEqual(member.cursor_names(), ["näme"])

    def test_a_server_that_takes_no_writes(self) -> None:
        """Is no place for a relay, who might take a standby that is behind for a database that went back."""
        place = self.database()
        self.member(place)
        self.cluster.execute(
            f"ALTER DATABASE {place.rpartition('/')[2]} SET default_transaction_read_only = on"
        )
        for attributes in ("", "?target_session_attrs=any"):
            with self.assertRaises(StoreUnreachableError):
                self.member(place + attributes)


class TroubleTests(PostgresTestCase):
    """Connections that break, commits of which nobody knows, a database that goes back."""

    def break_connections(self) -> None:
        """Let the server end every connection to the database."""
        import psycopg

        name = self.place.rpartition("/")[2]
        with psycopg.connect(self.cluster.conninfo(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    def test_a_connection_that_breaks(self) -> None:
        """Reads are asked again, and so is the beginning of a commit."""
        ann = self.member()
        chain = Chain(1)
        ann.commit([chain.put(b"1")])
        self.break_connections()
        self.assertEqual(dict(ann.heads()), {chain.author: chain.head})
        self.break_connections()
        following = chain.put(b"2")
        ann.commit([following])
        self.assertEqual(dict(ann.heads()), {chain.author: chain.head})

    def test_an_unknown_outcome(self) -> None:
        """Is a lost race of its authors; the lane ends, and a new one begins."""
        ann, bob = self.member(), self.member()
        assert bob.shared is not None
        position = bob.shared.start()
        chain = Chain(1)
        ann.commit([chain.put(b"1")])
        connection = ann._connection  # type: ignore[attr-defined]
        raw = connection._connection

        class Deaf:
            """Sends COMMIT and never hears of it."""

            def __getattr__(self, name: str) -> object:
                return getattr(raw, name)

            def execute(self, statement: str, **_: object) -> object:
                import psycopg

                done = raw.execute(statement)
                if statement == "COMMIT":
                    raise psycopg.OperationalError("the connection was lost")
                return done

        connection._connection = Deaf()
        with self.assertRaises(LostRaceError) as lost:
            ann.commit([following := chain.put(b"2"), other := Chain(2).put(b"1")])
        unknown = [(put.segment.author, put.head) for put in (following, other)]
        self.assertEqual(set(lost.exception.authors), {chain.author, Chain(2).author})
        ann.commit([chain.put(b"3")])
        changes, _ = bob.shared.poll(position, ALL)
        seqs = [change.head.seq for change in changes if change.author == chain.author and change.head]
        self.assertEqual(sorted(seqs), [1, 2, 3])  # of two lanes
        assert ann.shared is not None
        changes, after = ann.shared.poll(position, ALL)  # what it does not know to be there, and nothing else
        self.assertEqual([(change.author, change.head) for change in changes], unknown)
        self.assertEqual(ann.shared.poll(after, ALL)[0], [])

    def test_went_back(self) -> None:
        """A lane that is shorter than it was is noticed by its writer and by who reads it."""
        ann, bob = self.member(), self.member()
        assert bob.shared is not None
        chain = Chain(1)
        ann.commit([chain.put(b"1")])
        before = self.dump()
        ann.commit([chain.put(b"2")])
        position = bob.shared.start()
        self.restore(before)
        with self.assertRaises(StoreWentBackError):
            bob.shared.poll(position, ALL)
        with self.assertRaises(StoreWentBackError):
            ann.commit([chain.put(b"3")])
        self.assertEqual([head.seq for _, head in bob.heads()], [1])

    def test_nobody_tries_twice(self) -> None:
        """While whoever follows the lanes finds nobody, no other connection waits for an answer."""
        ann = self.member()
        assert ann.shared is not None
        lanes, connection = ann.shared.lanes, ann._connection  # type: ignore[attr-defined]
        ann.shared.poll({}, ALL)
        reached, lanes._connection._conninfo = lanes._connection._conninfo, "host=127.0.0.1 port=1"
        lanes._connection.drop()
        with self.assertRaises(StoreUnreachableError) as refused:
            ann.shared.poll({}, ALL)
        connection.drop()
        for use in (lambda: ann.heads(), lambda: ann.commit([Chain(1).put(b"1")])):
            with self.assertRaises(StoreUnreachableError) as again:
                use()
            self.assertEqual(str(again.exception), str(refused.exception))
        lanes._connection._conninfo = reached
        ann.shared.poll({}, ALL)
        ann.commit([Chain(1).put(b"1")])

    def test_no_lane_waits_for_another(self) -> None:
        """Of what is read at once each has its part, and little more is read than was asked for."""
        ann, bob, eve = self.member(), self.member(), self.member()
        assert eve.shared is not None
        chains = Chain(1), Chain(2)
        for member, chain in zip((ann, bob), chains, strict=True):
            for _ in range(6):
                member.commit([chain.put(bytes(1000))])
        changes, _ = eve.shared.poll({}, 3000)
        self.assertEqual(len(changes), 3)
        self.assertEqual({change.author for change in changes}, {chain.author for chain in chains})

    def test_feed_that_was_pruned(self) -> None:
        """Is read anew, as if the database had gone back."""
        import psycopg

        ann, bob = self.member(), self.member()
        assert bob.shared is not None
        position = bob.shared.start()
        chain = Chain(1)
        for _ in range(3):
            ann.commit([chain.put(b"1")])
        with psycopg.connect(self.place, autocommit=True) as connection:
            connection.execute("DELETE FROM feed WHERE pos < 3")
        with self.assertRaises(StoreWentBackError):
            bob.shared.poll(position, ALL)

    def test_feed_of_which_nothing_is_left(self) -> None:
        """Neither of a lane with rows that are gone, nor of one that is gone itself, is anything passed over."""
        import psycopg

        ann, bob, eve = self.member(), self.member(), self.member()
        assert bob.shared is not None
        position = bob.shared.start()
        ann.commit([Chain(1).put(b"1")])
        lane = b"".join(lane for lane, pos in bob.shared.start().items() if pos)
        with psycopg.connect(self.place, autocommit=True) as connection:
            connection.execute("DELETE FROM feed")
            eve.commit([Chain(2).put(b"1")])  # which another lane still says
            with self.assertRaises(StoreWentBackError):
                bob.shared.poll({lane: 0, **position}, ALL)
            connection.execute("DELETE FROM lanes WHERE lane = %s", (lane,))
            connection.execute("INSERT INTO gone VALUES (%s, 1)", (lane,))
        with self.assertRaises(StoreWentBackError):
            bob.shared.poll({lane: 0}, ALL)
        bob.shared.poll({lane: 1}, ALL)

    TABLES = ("meta", "heads", "segments", "forks", "cursors", "lanes", "feed")

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        import psycopg

        with psycopg.connect(self.place, autocommit=True) as connection:
            return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in self.TABLES}

    def restore(self, content: dict[str, list[tuple[object, ...]]]) -> None:
        import psycopg

        with psycopg.connect(self.place, autocommit=True) as connection, connection.transaction():
            for table, rows in content.items():
                connection.execute(f"DELETE FROM {table}")
                for row in rows:
                    marks = ", ".join(["%s"] * len(row))
                    connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)

    def test_heads_are_checked_some_at_a_time(self) -> None:
        """Each wrong one is found, wherever it is among them; no answer is about more than so many."""
        import psycopg

        from gossiplog.store.postgres import backend

        member = self.member()
        chains = sorted((Chain(number) for number in range(1, 6)), key=lambda chain: chain.author)
        member.commit([chain.put(b"1") for chain in chains])
        wrong = [chains[number].author for number in (0, 1, 4)]
        with psycopg.connect(self.place, autocommit=True) as connection:
            connection.execute("UPDATE heads SET seq = 2 WHERE author = ANY(%s)", (wrong[1:],))
            connection.execute("UPDATE heads SET seq = 0 WHERE author = %s", wrong[:1])
        said = [f"the head of {short_key(author)} is not that of its last row" for author in wrong]
        answers: list[int] = []
        connection = member._connection  # type: ignore[attr-defined]
        ask = connection.ask

        def counted(*question: object) -> list[Any]:
            rows: list[Any] = ask(*question)
            answers.append(len(rows))
            return rows

        self.patch(connection, "ask", counted)
        for at_once, sizes in ((2, [2, 2, 1]), (5, [5, 0]), (1000, [5])):
            self.patch(backend, "_OUTLINES_AT_ONCE", at_once)
            answers.clear()
            self.assertEqual(list(member.check()), said)
            self.assertEqual(answers, sizes)

    def test_logs(self) -> None:
        """The store's own logic over it: a race is lost, looked at and done again."""
        from gossiplog.log.segment import verify
        from gossiplog.store.requests import Accept, Accepted, Stale

        ann, bob = Logs(self.member()), Logs(self.member())
        chain = Chain(1)
        segments = chain.write_each(3)
        ann.process([Accept(segment, verify(segment)) for segment in segments[:2]])
        report = bob.process([Accept(segment, verify(segment)) for segment in segments])
        self.assertEqual([type(result) for result in report.results], [Stale, Stale, Accepted])
        self.assertEqual(report.segments, segments)
        self.assertTrue(bob.verify().ok)
