"""Ring 3: what relays on PostgreSQL have: tables of some version, a directory each, and ``gossiplog fleet``."""

from __future__ import annotations

import io
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from gossiplog.app.cli import main
from gossiplog.errors import (
    InvalidValueError,
    LostRaceError,
    NetworkMismatchError,
    StoreError,
    StoreFormatError,
    StoreInUseError,
    StoreNotFoundError,
    StoreWentBackError,
)
from gossiplog.store.interface import Backend
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import SetMeta
from gossiplog.testing.chain import Chain
from tests.test_postgres import ALL, PostgresTestCase


class TablesTestCase(PostgresTestCase):
    """With psycopg at hand."""

    @contextmanager
    def connected(self, place: str) -> Iterator[Any]:
        """A connection."""
        import psycopg

        with psycopg.connect(place, autocommit=True) as connection:
            yield connection

    def with_version(self, said: str) -> str:
        """An empty store whose tables say that they are of a version, or, of the first, are."""
        from gossiplog.store.postgres import schema

        place = self.cluster.database()
        with self.connected(place) as connection:
            if said == "1":
                with patch.object(schema, "STEPS", schema.STEPS[:1]):
                    schema.create(connection)
            else:
                schema.create(connection)
                connection.execute("UPDATE meta SET value = %s WHERE key = 'schema'", (said.encode(),))
        return place


class VersionTests(TablesTestCase):
    """Which versions of the tables this program uses, and how it makes them."""

    def test_the_one_before(self) -> None:
        """Is used, and brought up to date while a relay has it."""
        from gossiplog.store.postgres import schema

        place = self.with_version("1")
        ann, bob = self.member(place, init=False), self.member(place, init=False)
        chain = Chain(1)
        ann.commit([chain.put(b"1")])
        for member in (ann, bob):
            member.secrets.create_node_key(bytes(32))
            assert member.shared is not None
            changes, _ = member.shared.poll({}, ALL)
            member.shared.beat()
        self.assertEqual([change.author for change in changes], [chain.author])  # type: ignore[union-attr]
        with self.connected(place) as connection:
            self.assertEqual(schema.migrate(connection, "x"), [2])
            self.assertEqual(schema.migrate(connection, "x"), [])
        ann.commit([chain.put(b"2")])
        self.assertEqual(dict(bob.heads()), {chain.author: chain.head})

    def test_others(self) -> None:
        """Older ones are refused with what to do, and newer ones unless they say who may use them."""
        from gossiplog.store.postgres import schema

        for said, words in (("0", "fleet migrate"), ("99", "upgrade gossiplog here"), ("99 2 99", "upgrade")):
            place = self.with_version(said)
            with self.assertRaises(StoreFormatError) as refused:
                self.member(place, init=False)
            self.assertIn(words, str(refused.exception))
        with self.connected(place) as connection:
            self.assertEqual(schema.require(connection, "x", reads=True), (99, 2, 99))
            self.assertRaises(StoreFormatError, schema.migrate, connection, "x")
        self.member(self.with_version("99 2 2"), init=False).commit([Chain(1).put(b"1")])
        with self.connected(self.cluster.database()) as connection:
            self.assertRaises(StoreNotFoundError, schema.migrate, connection, "x")

    def test_relays_that_are_too_old(self) -> None:
        """What they could not use is not done while they run; what they can is."""
        from gossiplog.store.postgres import schema
        from gossiplog.store.postgres.tables import STEPS, VERSION, Step

        place = self.with_version("1")
        expand = Step(VERSION + 1, ("ALTER TABLE relays ADD note text",), VERSION, VERSION)
        contract = Step(VERSION + 2, ("ALTER TABLE relays DROP note",), VERSION, VERSION + 1)
        with self.connected(place) as connection, patch.object(schema, "STEPS", (*STEPS, expand, contract)):
            with patch.object(schema, "STEPS", STEPS):
                schema.migrate(connection, "x")
            connection.execute("INSERT INTO relays VALUES ('r', 'alpha', %s, now(), 0, 0)", (VERSION,))
            with self.assertRaises(StoreInUseError) as refused:
                schema.migrate(connection, "x")
            self.assertIn("alpha", str(refused.exception))
            self.assertEqual(schema.version(connection), (VERSION + 1, VERSION, VERSION))
            connection.execute("UPDATE relays SET seen = now() - interval '2 minutes'")
            self.assertEqual(schema.migrate(connection, "x"), [VERSION + 2])
            with self.assertRaises(StoreFormatError):
                schema.require(connection, "x")

    def test_two_at_once(self) -> None:
        """One of them makes the tables, and the other finds them."""
        from gossiplog.store.postgres import schema

        place = self.cluster.database()
        made: list[bool] = []
        meeting = threading.Barrier(2)
        look = schema.version
        late = patch.object(schema, "version", lambda connection: (look(connection), wait())[0])

        def wait() -> None:
            if len(made) == 0 and meeting.n_waiting < 2 and not meeting.broken and not met:
                meeting.wait(30)
                met.append(1)

        def make() -> None:
            with self.connected(place) as connection:
                made.append(schema.create(connection))

        met: list[int] = []
        with late:
            threads = [threading.Thread(target=make) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(sorted(made), [False, True])

    def test_with_few_rights(self) -> None:
        """Who owns the database makes the tables and uses them; a relay needs no more than to read and write rows."""
        with self.connected(self.cluster.conninfo()) as connection:
            connection.execute("CREATE ROLE keeper LOGIN")
            connection.execute("CREATE ROLE worker LOGIN")
            self.addCleanup(self.cluster.forget, "few", "keeper", "worker")
            connection.execute("CREATE DATABASE few OWNER keeper")
        place = self.cluster.conninfo("few").replace("postgres@", "keeper@")
        self.member(place).commit([Chain(1).put(b"1")])
        with self.connected(place) as connection:
            connection.execute(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker"
            )
        worker = self.member(place.replace("keeper@", "worker@"), init=False)
        chain = Chain(2)
        worker.commit([chain.put(b"1")])
        worker.secrets.create_node_key(bytes(32))
        assert worker.shared is not None
        worker.shared.poll({}, ALL)
        worker.shared.beat()
        self.assertEqual(len([*worker.heads()]), 2)


class UpkeepTests(TablesTestCase):
    """What relays say of themselves, and what they remove."""

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.member(), self.member()
        self.ann.secrets.create_node_key(b"a" * 32)

    def beat(self, member: Backend, times: int = 1) -> None:
        """Let time pass."""
        assert member.shared is not None
        for _ in range(times):
            member.shared.poll({}, ALL)
            member.shared.beat()

    def asked(self, question: str) -> list[Any]:
        with self.connected(self.place) as connection:
            return connection.execute(question).fetchall()

    def minutes(self, count: int) -> int:
        from gossiplog.store.postgres.upkeep import SAMPLE_BEATS

        return count * SAMPLE_BEATS

    def test_signs_of_life(self) -> None:
        """Who has a node says so, with how far behind it is; who has none does not."""
        chain = Chain(1)
        self.bob.commit([chain.put(b"1"), Chain(2).put(b"1")])
        self.bob.commit([chain.put(b"2")])
        self.beat(self.ann)
        self.beat(self.bob)
        [(relay, behind, delay)] = self.asked("SELECT relay, behind, delay FROM relays")
        self.assertTrue(relay.startswith("node_"))
        self.assertEqual(behind, 2)
        self.assertGreater(delay, 0.0)

    def test_rows_that_nobody_reads(self) -> None:
        """Go ten minutes after they came, and not before; who has read them goes on, who has not begins anew."""
        assert self.bob.shared is not None
        chain = Chain(1)
        start = self.bob.shared.start()
        self.ann.commit([chain.put(b"1")])
        self.ann.commit([chain.put(b"2")])
        _, position = self.bob.shared.poll(start, ALL)
        self.beat(self.ann, self.minutes(10))
        self.assertEqual(self.asked("SELECT count(*) FROM feed"), [(2,)])
        self.ann.commit([chain.put(b"3")])
        self.beat(self.ann, 2)
        self.assertEqual(self.asked("SELECT pos FROM feed"), [(3,)])
        changes, _ = self.bob.shared.poll(position, ALL)
        self.assertEqual([change.head.seq for change in changes], [3])  # type: ignore[union-attr]
        with self.assertRaises(StoreWentBackError):
            self.bob.shared.poll({**start, next(iter(position)): 0}, ALL)

    def test_lanes_that_nobody_writes(self) -> None:
        """Go too, a day later; nobody takes that for a database that went back, and their writer begins another."""
        assert self.bob.shared is not None
        chain = Chain(1)
        self.ann.commit([chain.put(b"1")])
        _, position = self.bob.shared.poll({}, ALL)
        self.beat(self.ann, self.minutes(10) + 2)
        with self.connected(self.place) as connection:
            connection.execute("UPDATE lanes SET seen = now() - interval '25 hours'")
        self.beat(self.ann, self.minutes(1))
        self.assertEqual(self.asked("SELECT count(*) FROM lanes"), [(0,)])
        self.assertEqual(self.asked("SELECT lane FROM gone"), [(lane,) for lane in position])
        changes, position = self.bob.shared.poll(position, ALL)
        self.assertEqual((changes, position), ([], {}))
        following = chain.put(b"2")
        with self.assertRaises(LostRaceError) as lost:
            self.ann.commit([following])
        self.assertEqual(lost.exception.authors, ())
        self.ann.commit([following])
        changes, _ = self.bob.shared.poll(position, ALL)
        self.assertEqual([change.head.seq for change in changes], [2])  # type: ignore[union-attr]

    def test_a_lane_that_is_missing(self) -> None:
        """And not known as gone shows that the database went back."""
        assert self.bob.shared is not None
        self.ann.commit([Chain(1).put(b"1")])
        _, position = self.bob.shared.poll({}, ALL)
        with self.connected(self.place) as connection:
            connection.execute("DELETE FROM lanes")
        with self.assertRaises(StoreWentBackError):
            self.bob.shared.poll(position, ALL)


class StateTests(TablesTestCase):
    """The directory of a relay."""

    def test_one_relay_at_a_time(self) -> None:
        """It has a node's key of its own, which stays; a copy gets another one."""
        one = open_logs(self.place, state="one")
        key = one.node_key()
        self.assertRaises(StoreError, open_logs, self.place, state="one")
        with_other = open_logs(self.place, state="other")
        self.assertNotEqual(with_other.node_key(), key)
        with_other.close()
        one.close()
        shutil.copytree("one", "copy")
        for state, is_same in (("one", True), ("copy", False)):
            logs = open_logs(self.place, state=state)
            self.assertEqual(logs.node_key() == key, is_same)
            logs.close()

    def test_no_store_of_its_own(self) -> None:
        """One with logs is none of a relay's, and one of a relay is no store; both say what to do."""
        notes = open_logs("notes")
        notes.writer("ann")
        notes.close()
        with self.assertRaises(InvalidValueError) as refused:
            open_logs(self.place, state="notes")
        self.assertIn("name another directory", str(refused.exception))
        open_logs(self.place, state="state").close()
        for read_only in (False, True):
            with self.assertRaises(StoreFormatError) as wrong:
                open_logs("state", init=False, read_only=read_only)
            self.assertIn("gossiplog run --store postgresql:", str(wrong.exception))
        open_logs(self.place, state="state").close()

    def test_what_is_whose(self) -> None:
        """The address book is each relay's, the network is that of all, whoever says it first."""
        one, two = (open_logs(self.place, state=name) for name in ("one", "two"))
        for logs in (one, two):
            self.addCleanup(logs.close)
        one.process([SetMeta("book", b"of one"), SetMeta("interest", b"of all")])
        self.assertEqual((one.meta("book"), two.meta("book")), (b"of one", None))
        self.assertEqual(two.meta("interest"), b"of all")
        two.bind_network(b"n" * 32)
        before, meta = [None], one._mine.meta
        one._mine.meta = lambda key: before.pop() if before else meta(key)  # type: ignore[method-assign]
        self.assertRaises(NetworkMismatchError, one.bind_network, b"m" * 32)
        self.assertEqual(before, [])
        two.bind_network(b"n" * 32)


class CommandTests(TablesTestCase):
    """``gossiplog fleet``."""

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Status and output of the command."""
        out, err = io.StringIO(), io.StringIO()
        with patch.object(sys, "stdout", out), patch.object(sys, "stderr", err):
            status = main(["fleet", *words])
        return status, out.getvalue(), err.getvalue()

    def test_init_migrate_and_status(self) -> None:
        """Each may be said again; JSON has what the words have."""
        place = ("--store", self.cluster.database())
        self.assertIn("gossiplog fleet init", self.run_command("status", *place)[2])
        self.assertRegex(
            self.run_command("init", *place)[1], r"\Amade the tables of version 2 in postgresql \("
        )
        self.assertRegex(self.run_command("init", *place)[1], r"\Atables of version 2 .*as they were\n\Z")
        self.assertRegex(self.run_command("migrate", *place)[1], r"nothing to do\n\Z")
        self.assertEqual(self.run_command("migrate", *place, "--sql"), (0, "", ""))
        member = self.member(place[1], init=False)
        member.secrets.create_node_key(bytes(32))
        member.commit([Chain(1).put(b"1")])
        assert member.shared is not None
        member.shared.poll({}, ALL)
        member.shared.beat()
        status, out, err = self.run_command("status", *place)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"\Astore postgresql \(.*\), tables of version 2, PostgreSQL \d+")
        self.assertRegex(out, r"\n1 lanes, the last commit was \d+ s ago\nrelay \w{8} at ")
        self.assertIn("no commit waits for a standby", out)
        said = json.loads(self.run_command("status", *place, "--json")[1])
        self.assertEqual(
            (said["version"], said["lanes"], len(said["relays"]), said["standbys"]), (2, 1, 1, [])
        )

    def test_statements(self) -> None:
        """What ``init --sql`` prints makes the tables."""
        from gossiplog.store.postgres import schema

        place = self.cluster.database()
        status, out, _ = self.run_command("init", "--sql")
        self.assertEqual(status, 0)
        with self.connected(place) as connection:
            connection.execute(out.encode())
            self.assertEqual(schema.version(connection), (2, 1, 1))
        self.member(place, init=False).commit([Chain(1).put(b"1")])
        status, out, _ = self.run_command("migrate", "--sql", "--store", self.with_version("1"))
        self.assertIn("CREATE TABLE relays", out)
        self.assertNotIn("CREATE TABLE heads", out)

    def test_a_role_with_few_rights(self) -> None:
        """Hears what it lacks, and not that the tables are somebody else's."""
        with self.connected(self.cluster.conninfo()) as connection:
            connection.execute("CREATE ROLE stranger LOGIN")
            connection.execute("CREATE DATABASE tight")
            self.addCleanup(self.cluster.forget, "tight", "stranger")
        place = self.cluster.conninfo("tight")
        stranger = place.replace("postgres@", "stranger@")
        words = {"init": "schema public", "migrate": "table meta", "status": "table meta"}
        for action, about in words.items():
            code, out, err = self.run_command(action, "--store", stranger)
            self.assertEqual((code, out, err.count("\n")), (1, "", 1))
            self.assertIn(f"permission denied for {about}; ", err)
            self.run_command("init", "--store", place)

    def test_mistakes(self) -> None:
        """Each is one line that says what to do."""
        for words, status, said in (
            (("status", "--store", "notes"), 1, "postgresql:///?service=NAME"),
            (("status", "--store", "postgresql://ann:secret@h/x"), 1, "~/.pgpass"),
            (("status",), 1, "postgresql:///?service=NAME"),
            (("begin",), 2, "invalid choice"),
            (("status", "--store", self.cluster.conninfo("no")), 1, "cannot be reached"),
        ):
            code, out, err = self.run_command(*words)
            self.assertEqual((code, out), (status, ""), words)
            self.assertIn(said, err)
            self.assertNotIn("secret", err)
