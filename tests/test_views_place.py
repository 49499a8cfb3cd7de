"""Where derived state is kept: made late, ours alone, deleted when it is not to be used."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import StoreClosedError, StoreError, StoreUnsafeError, limits, open_store
from gossiplog.store.logs import open_logs
from gossiplog.views.derived import statements
from gossiplog.views.place import MARK, Place
from tests.processes import ProcessTestCase

SCHEMA = "CREATE TABLE seen (bird TEXT); CREATE INDEX seen_bird ON seen (bird)"


class PlaceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        open_logs(self.path).close()
        self.views = self.path / "views"

    def open(self, schema: str = SCHEMA) -> list[str]:
        """Open the file of birds as the store does, add one, return those that were there."""
        with closing(open_logs(self.path)) as logs, closing(Place(*(logs.own_place() or (None,)))) as place:
            derived = place.open("birds.1", schema)
            birds = [bird for (bird,) in derived.db.execute("SELECT bird FROM seen")]
            with derived.transaction() as db:
                db.execute("INSERT INTO seen VALUES ('heron')")
            return birds


class FileTests(PlaceTestCase):
    """What is kept, and for how long."""

    def test_what_was_committed_is_there_again(self) -> None:
        self.assertEqual([self.open(), self.open(), self.open()], [[], ["heron"], ["heron", "heron"]])

    def test_only_we_may_read_it(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.open()
        self.assertEqual(stat.S_IMODE(self.views.stat().st_mode), 0o700)
        for file in self.views.iterdir():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)

    def test_other_words_in_the_schema_begin_anew(self) -> None:
        self.open()
        self.assertEqual(self.open(SCHEMA + " "), [])

    def test_a_schema_that_is_no_sql_leaves_no_file(self) -> None:
        with self.assertRaises(sqlite3.OperationalError):
            self.open("CREATE TABEL seen (bird)")
        self.assertEqual([file.name for file in self.views.iterdir()], [MARK])

    def test_a_damaged_file_begins_anew(self) -> None:
        file = self.views / "birds.1.sqlite"
        for content in (b"", b"garbage" * 1000, None):
            self.open()
            self.assertIn("heron", self.open())
            if content is None:
                content = file.read_bytes()[:100] + bytes(20_000)
            file.write_bytes(content)
            self.assertEqual(self.open(), [])

    def test_the_database_of_another_program_is_replaced(self) -> None:
        self.open()
        file = self.views / "birds.1.sqlite"
        file.unlink()
        with closing(sqlite3.connect(file)) as other, other:
            other.execute("CREATE TABLE seen (bird)")
            other.execute("INSERT INTO seen VALUES ('swan')")
        self.assertEqual(self.open(), [])

    def test_all_of_it_can_be_deleted(self) -> None:
        self.open()
        shutil.rmtree(self.views)
        self.assertEqual(self.open(), [])

    def test_rebuilding_while_it_is_open(self) -> None:
        with closing(Place(None)) as memory, closing(Place(str(self.path), b"token")) as disk:
            for place in (memory, disk):
                derived = place.open("birds.1", SCHEMA)
                with derived.transaction() as db:
                    db.execute("INSERT INTO seen VALUES ('heron')")
                with derived.reading() as db:
                    self.assertEqual(db.execute("SELECT * FROM seen").fetchall(), [("heron",)])
                derived.rebuild()
                with derived.reading() as db:
                    self.assertEqual(db.execute("SELECT * FROM seen").fetchall(), [])

    def test_who_reads_changes_nothing(self) -> None:
        with closing(Place(None)) as memory, closing(Place(str(self.path), b"token")) as disk:
            for place in (memory, disk):
                derived = place.open("birds.1", SCHEMA)
                for statement in (
                    "INSERT INTO seen VALUES ('swan')",
                    "DROP TABLE seen",
                    "PRAGMA query_only = OFF",
                    "ATTACH 'other.sqlite' AS other",
                    "BEGIN",
                ):
                    with derived.reading() as db, self.assertRaises(sqlite3.DatabaseError):
                        db.execute(statement).fetchall()
                self.assertFalse(Path("other.sqlite").exists())
                with derived.transaction() as db:
                    db.execute("INSERT INTO seen VALUES ('heron')")

    def test_statements_of_a_schema(self) -> None:
        trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; DELETE FROM b; END;"
        found = [*statements(f"CREATE TABLE a (b TEXT DEFAULT ';');; {trigger} -- ;\n CREATE TABLE b (c) ")]
        self.assertEqual(len(found), 3)
        self.assertIn(trigger, found[1])
        self.assertEqual([*statements(" ; ;")], [])


class HostileTests(PlaceTestCase):
    """Nothing leads out of the directory, and nothing of another store is read."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = self.path.parent / "outside"
        self.outside.mkdir()
        (self.outside / "precious").write_bytes(b"of the user")

    def tearDown(self) -> None:
        self.assertEqual([file.read_bytes() for file in self.outside.iterdir()], [b"of the user"])

    def test_the_directory_is_a_link(self) -> None:
        self.views.symlink_to(self.outside)
        with self.assertRaises(StoreUnsafeError):
            self.open()

    def test_the_directory_is_a_file(self) -> None:
        self.views.write_bytes(b"")
        with self.assertRaises(StoreError):
            self.open()

    def test_others_may_write_to_it(self) -> None:
        self.open()
        self.views.chmod(0o777)
        with self.assertRaises(StoreUnsafeError):
            self.open()

    def test_a_file_is_a_link(self) -> None:
        for name in (
            "birds.1.sqlite",
            "birds.1.sqlite-wal",
            "birds.1.sqlite-shm",
            "birds.1.sqlite-journal",
            MARK,
        ):
            for make in (os.symlink, os.link):
                self.open()
                file = self.views / name
                file.unlink(missing_ok=True)
                make(self.outside / "precious", file)
                with self.assertRaises(StoreUnsafeError, msg=name):
                    self.open()
                file.unlink()

    def test_a_pipe_does_not_hang(self) -> None:
        for name in ("birds.1.sqlite", MARK):
            self.open()
            (self.views / name).unlink()
            os.mkfifo(self.views / name)
            with self.assertRaises(StoreUnsafeError):
                self.open()
            (self.views / name).unlink()

    def test_what_came_with_a_copy_is_not_used(self) -> None:
        """Whoever made the copy could have written what he liked."""
        self.open()
        self.assertEqual(self.open(), ["heron"])
        copy = self.path.parent / "copy"
        shutil.copytree(self.path, copy)
        (copy / "views" / "more.1.sqlite").symlink_to(self.outside / "precious")
        self.path = copy
        self.assertEqual(self.open(), [])
        self.assertEqual(sorted(os.listdir(copy / "views")), ["birds.1.sqlite", MARK])

    def test_a_directory_in_what_came_with_a_copy_is_named(self) -> None:
        self.views.mkdir(mode=0o700)
        (self.views / "deep").mkdir()
        with self.assertRaises(StoreUnsafeError) as caught:
            self.open()
        self.assertIn("deep", str(caught.exception))

    def test_a_store_put_back_begins_anew(self) -> None:
        copy = self.path.parent / "copy"
        shutil.copy(self.path / "log.sqlite", copy)
        self.open()
        shutil.copy(copy, self.path / "log.sqlite")
        self.assertEqual(self.open(), [])

    def test_a_store_begins_where_only_that_is_left(self) -> None:
        self.open()
        for file in self.path.iterdir():
            if file.is_file():
                file.unlink()
        self.assertEqual(self.open(), [])


class ThreadTests(TestCase):
    """The thread of a store's derived state."""

    def setUp(self) -> None:
        self.reactor: Any = reactor
        self.path = Path(self.mktemp()).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def threads(self) -> list[str]:
        return [each.name for each in threading.enumerate() if each.name.startswith("gossiplog views")]

    async def test_there_is_none_until_something_is_derived(self) -> None:
        async with open_store(self.path, self.reactor) as store:
            await store.writer()
            self.assertEqual(self.threads(), [])
            self.assertFalse((self.path / "views").exists())
            names = await store._core.derive(lambda place: (place.open("a", SCHEMA), place.names())[1])
            self.assertEqual(names, ["a"])
            self.assertEqual(len(self.threads()), 1)
        self.assertEqual(self.threads(), [])
        self.assertEqual(sorted(os.listdir(self.path / "views")), ["a.sqlite", MARK])

    async def test_an_error_reaches_who_asked(self) -> None:
        async with open_store(self.path, self.reactor) as store:
            with self.assertRaises(ZeroDivisionError):
                await store._core.derive(lambda place: 1 // 0)

    async def test_nothing_is_derived_of_a_closed_store(self) -> None:
        store = open_store(self.path, self.reactor)
        queued = store._core.derive(lambda place: "done")
        await store.close()
        self.assertEqual(await queued, "done")
        with self.assertRaises(StoreClosedError):
            store._core.derive(lambda place: "done")

    async def test_in_memory_nothing_is_kept(self) -> None:
        def names(place: Place) -> list[str]:
            place.open("a", SCHEMA)
            return place.names()

        async with open_store("memory:", self.reactor) as store:
            self.assertEqual(await store._core.derive(names), ["a"])
        open_logs(self.path).close()
        async with open_store(self.path, self.reactor, read_only=True) as store:
            self.assertEqual(await store._core.derive(names), ["a"])
        self.assertFalse((self.path / "views").exists())

    async def test_what_hangs_does_not_keep_the_store_open(self) -> None:
        self.patch(limits, "VIEWS_END_SECONDS", 0.01)
        go = threading.Event()
        self.addCleanup(go.set)
        store = open_store(self.path, self.reactor)
        hanging = store._core.derive(lambda place: go.wait())
        await store.close()
        go.set()
        await hanging
        open_logs(self.path).close()


FORK = """
import os, sys, threading
from contextlib import closing
from gossiplog.errors import StoreInheritedError
from gossiplog.store.logs import open_logs
from gossiplog.views.place import Place
from gossiplog.views.thread import ViewsThread

class Life:
    def __init__(self):
        self.logs = open_logs("store")
        self.views = ViewsThread(Place(*self.logs.own_place()), lambda answer, value: answer(value), "views")
        self.derived = None

    def do(self, work):
        done, got = threading.Event(), []
        self.views.call(work, lambda value: (got.append(value), done.set()))
        done.wait()
        return got[0]

    def count(self):
        def add(place):
            self.derived = self.derived or place.open("birds", "CREATE TABLE seen (bird TEXT)")
            with self.derived.transaction() as db:
                db.execute("INSERT INTO seen VALUES ('heron')")
            return db.execute("SELECT count(*) FROM seen").fetchone()[0]
        return self.do(add)

    def close(self):
        self.views.end(5)
        self.logs.close()

life = Life()
life.count()
ready, go = os.pipe()
if not (child := os.fork()):
    try:
        life.count()
    except StoreInheritedError:
        life.close()
        del life
        os.read(ready, 1)  # until the parent has closed the store
        again = Life()
        print("child", again.count(), again.count(), flush=True)
        again.close()
    sys.exit()
counts = [life.count(), life.count()]
life.close()
print("parent", counts, flush=True)
os.write(go, b"x")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
life = Life()
print("parent", life.count())
life.close()
"""


class ForkTests(ProcessTestCase):
    """A child by fork."""

    def test_it_leaves_what_is_open_alone_and_derives_anew(self) -> None:
        process = self.start(sys.executable, "-c", FORK)
        status = process.finish()
        self.assertEqual((status, process.err), (0, ""))
        self.assertEqual(process.out.splitlines(), ["parent [2, 3]", "child 1 2", "0", "parent 3"])
