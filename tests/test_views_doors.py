"""Rings 8 and 9: views in the command, in asyncio, in scripts, in several processes and in the examples."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import (
    Entry,
    Node,
    Search,
    ViewError,
    ViewFailedError,
    ViewQueryError,
    aio,
    blocking,
    limits,
    open_store,
)
from gossiplog.notices import ViewFailed, ViewProgress, ViewSkipped
from tests.processes import EXAMPLES, ProcessTestCase
from tests.test_examples import ExampleTestCase
from tests.viewcase import Birds, Counts


def text(entry: Entry) -> Any:
    return entry.payload["bird"]


class AioTests(SynchronousTestCase):
    """``gossiplog.aio``."""

    def test_views_and_search(self) -> None:
        async def main(path: str) -> None:
            async with aio.Store(path) as store:
                writer = await store.writer(encoding="json")
                birds, search = await store.view(Birds()), await store.view(Search(text))
                changes = birds.changes()
                appending = asyncio.create_task(writer.append({"bird": "heron"}))
                async for change in changes:
                    self.assertEqual((change.entries, change.value), (1, ["heron"]))  # type: ignore[union-attr]
                    break
                await appending
                await asyncio.gather(birds.ready(), search.ready())
                self.assertEqual(await birds.query("SELECT bird FROM seen"), [("heron",)])
                self.assertEqual([hit.snippet for hit in await search.find("heron")], ["[heron]"])
                self.assertEqual(
                    (birds.progress.applied, birds.error, birds.name, birds.version), (1, None, "birds", 1)
                )
                with self.assertRaises(ViewQueryError):
                    await birds.query("SELECT")
                await birds.close()
                with self.assertRaises(ViewError):
                    await birds.query("SELECT 1")

        asyncio.run(main(self.mktemp()))


class BlockingTests(SynchronousTestCase):
    """``gossiplog.blocking``."""

    def test_views_and_search(self) -> None:
        with blocking.Store(self.mktemp()) as store:
            writer = store.writer(encoding="json")
            birds, search = store.view(Birds()), store.view(Search(text))
            with birds.changes(timeout=60) as changes:
                writer.append({"bird": "heron"})
                change = next(changes)
                self.assertEqual(change.value, ["heron"])  # type: ignore[union-attr]
            birds.ready(), search.ready(timeout=60)
            self.assertEqual(birds.query("SELECT bird FROM seen"), [("heron",)])
            self.assertEqual([hit.snippet for hit in search.find("heron")], ["[heron]"])
            self.assertEqual(
                (birds.progress.applied, birds.error, birds.name, birds.version), (1, None, "birds", 1)
            )
            with birds.changes(timeout=0.01) as changes, self.assertRaises(TimeoutError):
                next(changes)
            birds.close()
            self.assertEqual(list(birds.changes()), [])

    def test_a_view_that_hangs(self) -> None:
        """Who waits says how long; the store appends and closes all the same."""
        go = threading.Event()
        self.addCleanup(go.set)
        self.patch(limits, "VIEWS_END_SECONDS", 0.05)

        class Hanging(Birds):
            def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
                done = super().apply(db, entries)
                go.wait()
                return done

        path = self.mktemp()
        with blocking.Store(path) as store:
            writer = store.writer(encoding="json")
            writer.append({"bird": "heron"})
            view = store.view(Hanging())
            for wait in (
                lambda: view.ready(timeout=0.05),
                lambda: store._wait(lambda: view._it.query("SELECT 1"), 0.05),
            ):
                with self.assertRaises(TimeoutError):
                    wait()
            self.assertEqual(writer.append({"bird": "swan"}), 2)
        [thread] = [each for each in threading.enumerate() if path in each.name]
        with blocking.Store(path) as store:
            birds = store.view(Birds())
            go.set()
            thread.join()
            birds.ready()
            self.assertEqual(birds.query("SELECT count(*) FROM seen"), [(2,)])


class NodeTests(TestCase):
    """What a node tells of the views of its store."""

    async def test_notices(self) -> None:
        async with open_store(self.mktemp(), reactor) as store:
            writer = await store.writer(encoding="json")
            await writer.append_many([{"bird": "heron"}, {"fish": "pike"}])
            async with Node(reactor, store, network="here") as node:
                told: list[Any] = []
                node.subscribe(told.append)
                await (await store.view(Birds())).ready()
                stopping = Birds()
                stopping.name, stopping.on_error = "stopping", "stop"
                failed = node.when(ViewFailed)
                live = await store.view(stopping)
                notice = await failed
                self.assertIs(notice.error, live.error)
                kinds = [type(each) for each in told]
                self.assertIn(ViewProgress, kinds)
                [skipped] = [each for each in told if isinstance(each, ViewSkipped)]
                self.assertEqual((skipped.view, skipped.seq, skipped.count), ("birds", 2, 1))

    async def test_without_a_node_it_is_logged(self) -> None:
        from twisted.logger import globalLogPublisher

        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        async with open_store(self.mktemp(), reactor) as store:
            await (await store.writer(encoding="json")).append({"fish": "pike"})
            await (await store.view(Birds())).ready()
        self.assertTrue([each for each in events if "ViewSkipped" in str(each.get("notice"))])


class ThreadsTests(TestCase):
    """The real threads, at full speed."""

    async def test_appends_queries_and_two_views_at_once(self) -> None:
        async with open_store(self.mktemp(), reactor) as store:
            writer = await store.writer(encoding="json")
            await writer.append_many([{"bird": "heron"}] * 20_000)
            counts, birds = await store.view(Counts()), await store.view(Birds())
            for number in range(100):
                await writer.append({"bird": f"swan {number}"})
                if number % 10 == 0:
                    await counts.query("SELECT sum(n) FROM counts")
            await counts.ready()
            await birds.ready()
            self.assertEqual(await counts.query("SELECT sum(n), count(*) FROM counts"), [(20_100, 101)])
            self.assertEqual(await birds.query("SELECT count(*), max(seq) FROM seen"), [(20_100, 20_100)])

    async def test_a_full_disk_stops_that_view_only(self) -> None:
        async with open_store(self.mktemp(), reactor) as store:
            writer = await store.writer(encoding="json")
            birds, counts = await store.view(Birds()), await store.view(Counts())
            await store._core.derive(
                lambda place: place._open["birds.1"].db.execute("PRAGMA max_page_count = 20").fetchall()
            )
            await writer.append_many([{"bird": "heron" * 100}] * 3000)
            with self.assertRaises(ViewFailedError) as caught:
                await birds.ready()
            self.assertIn("full", str(caught.exception))
            await counts.ready()
            self.assertEqual(await counts.query("SELECT sum(n) FROM counts"), [(3000,)])
            self.assertEqual(await birds.query("SELECT count(*) FROM seen"), [(0,)])
            birds = await store.view(Birds())  # there is room again
            await birds.ready()
            self.assertEqual(await birds.query("SELECT count(*) FROM seen"), [(3000,)])

    async def test_swapped_under_queries(self) -> None:
        path = self.mktemp()
        async with open_store(path, reactor) as store:
            await (await store.writer(encoding="json")).append_many([{"bird": "heron"}] * 30_000)
            await (await store.view(Birds())).ready()
        async with open_store(path, reactor) as store:
            second = Birds()
            second.version = 2
            live = await store.view(second)
            ready = live.ready()
            answers = []
            while not ready.called:
                answers += await live.query("SELECT count(*) FROM seen")
            answers += await live.query("SELECT count(*) FROM seen")
            self.assertEqual(set(answers), {(30_000,)})
            self.assertEqual(
                [file.name for file in Path(path, "views").glob("birds*.sqlite")], ["birds.2.sqlite"]
            )


READ_ONLY = """
import sys
from gossiplog import blocking
from tests.viewcase import Counts
with blocking.Store("store", read_only=True) as store:
    counts = store.view(Counts())
    counts.ready()
    print("ready", counts.query("SELECT sum(n) FROM counts"), flush=True)
    sys.stdin.readline()
    print(counts.query("SELECT sum(n) FROM counts"))
"""


class ProcessTests(ProcessTestCase):
    """Several processes."""

    def test_two_that_only_read(self) -> None:
        with blocking.Store(self.place / "store") as store:
            store.writer(encoding="json").append_many([{"bird": "heron"}] * 7)
        root = Path(__file__).resolve().parent.parent
        environment = {**os.environ, "PYTHONPATH": str(root)}
        both = [self.start(sys.executable, "-c", READ_ONLY, env=environment) for _ in range(2)]
        for process in both:
            process.wait_for(r"^ready \[\(7,\)\]$")
        for process in both:
            process.send("go")
            self.assertEqual((process.finish(), process.err), (0, ""))
        self.assertFalse((self.place / "store" / "views").exists())


VIEW = """
from gossiplog import View
class Birds(View):
    name, encoding, schema = "birds", "utf-8", "CREATE TABLE t (x)"
    def apply(self, db, entries):
        db.executemany("INSERT INTO t VALUES (?)", [(e.payload,) for e in entries])
"""


class CommandTests(ProcessTestCase):
    """``gossiplog search`` and ``gossiplog views``."""

    def setUp(self) -> None:
        super().setUp()
        self.run_gossiplog("init", "--store", "store")
        self.append("a heron and a swan", '{"text": "heron alone", "of": ["x\\u001b[2J", 7]}', "otter")

    def append(self, *texts: str) -> None:
        self.run_gossiplog("append", "--store", "store", "--", *texts)

    def search(self, *arguments: str) -> list[str]:
        return self.run_gossiplog("search", "--store", "store", *arguments).splitlines()

    def test_search(self) -> None:
        [line] = self.search("heron NOT swan")
        self.assertRegex(line, r"^\d{4}-\S+ \S+ \w{8} 2 \[heron\] alone")
        self.assertNotIn("\x1b", line)
        self.append("another heron", "don't")
        self.assertEqual(len(self.search("heron")), 3)
        self.assertEqual(len(self.search("heron", "--limit", "1")), 1)
        self.assertIn(
            " 4 another", self.search("heron", "--newest", "--limit", "1")[0] + self.search("another")[0]
        )
        self.assertEqual(len(self.search("--", "don't")), 1)
        [about] = map(json.loads, self.search("otter", "--json"))
        self.assertEqual((about["seq"], about["snippet"]), (3, "[otter]"))
        self.assert_one_line(self.gossiplog("search", "--store", "none", "x"), 1, "gossiplog init")
        self.assert_one_line(self.gossiplog("search", "x", "--limit", "0"), 2, "--limit")

    def test_search_of_a_store_from_elsewhere(self) -> None:
        self.search("heron")
        (self.place / "store").rename(self.place / "there")
        shutil.copytree(self.place / "there", self.place / "copy")
        before = sorted(os.listdir(self.place / "copy" / "views"))
        lines = self.run_gossiplog("search", "--store", "copy", "heron").splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertEqual(sorted(os.listdir(self.place / "copy" / "views")), before)

    def views(self, *arguments: str) -> list[str]:
        return self.run_gossiplog("views", "--store", "store", *arguments).splitlines()

    def test_views(self) -> None:
        self.assertEqual(self.views(), ["no views"])
        self.assertEqual(self.views("--json"), [])
        (self.place / "birds.py").write_text(VIEW)
        self.assertRegex(self.views("--rebuild", "birds:Birds")[0], r"^birds 1: 3 of 3 entries, \d+ bytes$")
        self.append("more")
        [about] = map(json.loads, self.views("--json"))
        self.assertEqual(
            (about["name"], about["applied"], about["known"], about["complete"]), ("birds", 3, 4, True)
        )
        file = self.place / "store" / "views" / "birds.1.sqlite"
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("INSERT INTO t VALUES ('mine')")
        self.views("--rebuild", "birds:Birds")
        with closing(sqlite3.connect(file)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (4,))
        file.write_bytes(b"garbage" * 1000)
        self.assertIn("damaged", self.views()[0])
        self.assertEqual(self.views("--drop", "birds"), ["no views"])
        self.assertFalse(file.exists())
        for wrong in (
            ("--drop", "birds"),
            ("--drop", "../log"),
            ("--rebuild", "birds:Nothing"),
            ("--rebuild", "os:sep"),
            ("--rebuild", "x"),
        ):
            self.assert_one_line(self.gossiplog("views", "--store", "store", *wrong), 1, wrong[1])
        self.assertIn("all is well", self.run_gossiplog("verify", "--store", "store"))


class BirdsTests(ExampleTestCase):
    """examples/birds.py."""

    def run_example(self, *arguments: str) -> list[str]:
        process = self.example("birds", *arguments)
        self.assertEqual((process.finish(), process.err), (0, ""))
        return process.out.splitlines()

    def test_it(self) -> None:
        self.run_example("see", "heron", "at the weir, with young")
        self.run_example("see", "swan", "at the weir")
        self.run_example("see", "heron")
        self.run_gossiplog("append", "--store", "birds", "7", '{"bird": 1}', "no json")
        self.assertEqual(self.run_example("counts"), ["    2 heron, seen by 1", "    1 swan, seen by 1"])
        [line] = self.run_example("find", "weir NOT swan")
        self.assertIn("heron: at the [weir], with young", line)
        self.assert_usage(self.example("birds", "nonsense"), "invalid choice")
        self.assert_sound("birds")


class FieldOfficeTests(ExampleTestCase):
    """examples/field_office.py."""

    def load(self) -> str:
        process = self.example("field_office", "office", "readings.sqlite")
        self.assertEqual((process.finish(), process.err), (0, ""))
        return process.out.strip()

    def count(self, table: str) -> int:
        with closing(sqlite3.connect(self.place / "readings.sqlite")) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def test_each_reading_once(self) -> None:
        with blocking.Store(self.place / "office") as store:
            store.writer("one", encoding="json").append_many([{"celsius": n / 10} for n in range(1500)])
            store.writer("two", encoding="json").append_many([{"celsius": "12.5"}, {"celsius": None}, {}, 7])
        self.assertEqual(self.load(), "loaded 1504 entries")
        self.assertEqual((self.count("readings"), self.count("rejected")), (1501, 3))
        self.assertEqual(self.load(), "loaded 0 entries")
        self.run_gossiplog("append", "--store", "office", "--writer", "one", '{"celsius": 3}', "no json")
        self.assertEqual(self.load(), "loaded 2 entries")
        self.assertEqual((self.count("readings"), self.count("rejected")), (1502, 4))

    def test_what_anybody_may_write(self) -> None:
        """No entry ends the load, for all those behind it."""
        odd = [
            b"9" * 400,
            b'"\\ud800"',
            b"[1]",
            b'"nan"',
            b"1e999",
            b'"\\u0000"',
            b"9" * 5000,
            b"null",
            b"{}",
        ]
        with blocking.Store(self.place / "office") as store:
            bodies = [b'{"celsius": %b}' % each for each in odd]
            store.writer("one").append_many(
                [*bodies, b"[]", b"null", b"7", b"\xff", b"[" * 5000, b'{"celsius": 1}']
            )
        self.assertEqual(self.load(), "loaded 15 entries")
        self.assertEqual((self.count("readings"), self.count("rejected")), (1, 14))

    def test_no_store(self) -> None:
        process = self.example("field_office", "nowhere", "readings.sqlite")
        self.assertEqual(process.finish(), 1)
        self.assertRegex(process.err, r"\Afield_office: no store at [^\n]*nowhere\n\Z")

    def test_killed_in_the_middle(self) -> None:
        """The transaction that was begun is not there; the others are."""
        with blocking.Store(self.place / "office") as store:
            store.writer("one", encoding="json").append_many([{"celsius": n / 10} for n in range(5000)])
        for batch in (1, 3):
            program = (
                "import os, sys; sys.path.insert(0, os.path.dirname(sys.argv[1]))\n"
                "import field_office, sqlite3; from pathlib import Path\n"
                "real, calls = field_office.load, []\n"
                "def load(database, entries, cursor):\n"
                "    calls.append(1)\n"
                "    if len(calls) > int(sys.argv[2]):\n"
                "        database.execute('INSERT INTO readings VALUES (1, 1, 1, 1)'); os._exit(9)\n"
                "    real(database, entries, cursor)\n"
                "field_office.load = load\n"
                "field_office.main(Path('office'), sqlite3.connect('readings.sqlite'))\n"
            )

            self.assertEqual(
                self.start(sys.executable, "-c", program, EXAMPLES / "field_office.py", str(batch)).finish(),
                9,
            )
        self.assertEqual(self.count("readings"), 4000)
        self.assertEqual(self.load(), "loaded 1000 entries")
        self.assertEqual(self.count("readings"), 5000)
