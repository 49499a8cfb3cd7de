"""Rings 1 and 6: where stores are, and what kinds of them there are; one of another package, whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Network, Node, open_store
from gossiplog.errors import InvalidValueError, StoreFormatError, StoreNotFoundError
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.store.door import Opening, directory_of, open_backend, place_of, state_of
from gossiplog.store.interface import Backend
from gossiplog.store.logs import open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Append
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.conformance.suite import BackendConformance
from tests import foreign_backend
from tests.foreign_backend import ShelfBackend, TableClock


class Installed:
    """With a kind of store that is installed, in this test only."""

    def install(self: Any, *package: str) -> None:
        """Install it."""
        place = Path(self.mktemp()).absolute()
        foreign_backend.install(place, *package)
        sys.path.insert(0, str(place))
        self.addCleanup(sys.path.remove, str(place))
        self.addCleanup(foreign_backend.SHELVES.clear)


class PlaceTests(Installed, SynchronousTestCase):
    """What a place means, whatever is installed."""

    def test_databases_named_as_elsewhere(self) -> None:
        """They are no directories, and what may have a password in it is not shown."""
        for place in (
            "host=db password=hunter2",
            "x password = hunter2",
            "POSTGRESQL://ann:hunter2@db/x",
            "dbname=x",
            " postgresql://ann:hunter2@db/x",
            "sslpassword=hunter2",
        ):
            for use in (place_of, state_of, directory_of):
                with self.assertRaises(InvalidValueError) as caught:
                    use(place)
                self.assertIn("postgresql:///?service=relays", str(caught.exception))
                self.assertNotIn("hunter2", str(caught.exception))
        for path in ("./host=db", "/srv/a password=b", "~/user=x", "key=value", Path("host=db")):
            self.assertTrue(place_of(path).startswith("/"))

    def test_a_uri_where_a_directory_is_needed(self) -> None:
        """Is shown by its kind alone."""
        for place in (
            "postgresql://ann:hunter2@db/x",
            "postgresql:///?password=hunter2",
            "mysql://ann:hunter2@db",
        ):
            with self.assertRaises(InvalidValueError) as caught:
                directory_of(place)
            self.assertIn(place.partition(":")[0], str(caught.exception))
            self.assertNotIn("hunter2", str(caught.exception))

    def test_a_database_as_the_state_of_a_relay(self) -> None:
        """Is refused before anything is made there, or asked; and not shown."""
        with self.assertRaises(InvalidValueError) as caught:
            open_backend("postgresql://127.0.0.1:1/x", Opening(state="host=db password=hunter2"))
        self.assertNotIn("hunter2", str(caught.exception))
        self.assertFalse(os.path.lexists("host=db password=hunter2"))

    def test_a_path_is_a_path(self) -> None:
        """From the root on; bytes, Paths and names with one letter or an uppercase one before the colon too."""
        for path in ("notes", Path("notes"), b"notes", "sqlite:notes"):
            self.assertEqual(place_of(path), os.path.abspath("notes"))
        for path in ("./memory:", "a:b", "./a/b:c", "ann and bob: notes", "Notes:", "/x/memory:", "3d:"):
            self.assertEqual(place_of(path), os.path.abspath(path))
            self.assertEqual(directory_of(path), os.path.abspath(path))
        self.assertEqual(place_of(Path("memory:")), os.path.abspath("memory:"))
        for empty in ("", "sqlite:", b"", 7):
            with self.assertRaises(InvalidValueError):
                place_of(empty)  # type: ignore[arg-type]

    def test_a_kind_that_is_not_there(self) -> None:
        """An error that says which are, and no directory."""
        for use in (place_of, lambda place: open_backend(place, Opening()), open_logs):
            error = self.assertRaises(InvalidValueError, use, "postgress:db")
            self.assertIn("memory, postgresql, sqlite", str(error))
            self.assertIn("./postgress:", str(error))
        self.assertFalse(os.path.exists("postgress:db"))

    def test_a_kind_that_cannot_be_imported(self) -> None:
        """An error with its name."""
        for number, value in enumerate(("no.such.module:f", "tests.foreign_backend:no_such_function")):
            self.install(f"kind{number}", value)
            place = f"kind{number}:x"
            self.assertEqual(place_of(place), place)
            error = self.assertRaises(InvalidValueError, open_logs, place)
            self.assertIn(f"kind{number}", str(error))

    def test_nobody_takes_the_place_of_ours(self) -> None:
        """A package that calls its kind ``sqlite`` or ``memory`` is never asked."""
        for kind in ("sqlite", "memory"):
            self.install(kind)
        self.assertIsInstance(open_backend("memory:", Opening()), MemoryBackend)
        self.assertNotIsInstance(open_backend("memory:", Opening()), ShelfBackend)
        backend = open_backend(f"sqlite:{self.mktemp()}", Opening())
        self.addCleanup(backend.close)
        self.assertIsInstance(backend, SQLiteBackend)

    def test_only_a_directory_can_be_rebuilt(self) -> None:
        """What works on files says so of other kinds."""
        self.install()
        for place in ("memory:", "shelf:one"):
            with self.assertRaises(InvalidValueError):
                directory_of(place)

    def test_a_path_with_a_kind_is_the_same_store(self) -> None:
        """What was written by one is there for the other."""
        path = self.mktemp()
        logs = open_logs(f"sqlite:{path}")
        author = logs.writer("ann").author
        logs.close()
        logs = open_logs(path, init=False)
        self.addCleanup(logs.close)
        self.assertEqual(logs.writers(), {"ann": author})
        with self.assertRaises(StoreFormatError):
            open_logs(f"sqlite:{__file__}")


class MemoryTests(TestCase):
    """Stores in memory."""

    def test_each_is_a_new_one(self) -> None:
        """Nothing is shared, nothing is found again, and nothing is there to be only read."""
        ann, other = open_logs("memory:ann"), open_logs("memory:ann")
        author = ann.writer("ann").author
        ann.process([Append(author, [encode_body(0, b"x")])])
        self.assertEqual((ann.path, len(ann.clock), len(other.clock)), ("memory:ann", 1, 0))
        self.assertNotEqual(ann.node_key(), other.node_key())
        self.assertIsNone(ann.disk)
        for how in ({"init": False}, {"read_only": True}):
            with self.assertRaises(StoreNotFoundError):
                open_logs("memory:ann", **how)  # type: ignore[arg-type]

    async def test_two_nodes_without_a_disk(self) -> None:
        """As with any other store."""
        network = Network.random()
        stores = [open_store(place, reactor) for place in ("memory:", "memory:bob")]
        nodes = [Node(reactor, store, network=network) for store in stores]
        for store in stores:
            self.addCleanup(store.close)
        self.assertIsNone(nodes[0].quotas.bytes)
        writer = await stores[0].writer()
        await writer.append(b"hello")
        reader = stores[1].read(live=True)
        address = await nodes[0].listen("tcp:0:interface=127.0.0.1")
        nodes[1].connect(address)
        entry = await anext(reader)
        self.assertEqual(entry.payload, b"hello")
        for node in nodes:
            await node.stop()


class ShelfTests(Installed, TestCase):
    """A kind of store that another package brought."""

    def test_its_logs(self) -> None:
        """Opened by its name, with what was said, and the clock is its own."""
        self.install()
        logs = open_logs("shelf:one/two:three", wait=2.5)
        author = logs.writer("ann").author
        logs.process([Append(author, [encode_body(0, b"x")] * 3)])
        self.assertIsInstance(logs.clock, TableClock)
        logs.close()
        self.assertEqual(foreign_backend.SHELVES["one/two:three"].how, Opening(True, False, 2.5))
        with self.assertRaises(StoreNotFoundError):
            open_logs("shelf:nothing", init=False)
        logs = open_logs("shelf:one/two:three", init=False)
        self.assertEqual((logs.clock.seq(author), logs.writers()), (3, {"ann": author}))
        self.assertTrue(logs.verify().ok)
        self.assertEqual((logs.overtaken(author, 7) != "", logs.copied != ""), (True, True))
        logs.recovered()
        logs.process([Append(author, [encode_body(0, b"y")])])
        self.assertEqual(logs.clock.seq(author), 4)

    async def test_a_node_on_it(self) -> None:
        """No author is in a clock in memory, and everything works."""
        self.install()
        network = Network.random()
        stores = [open_store(place, reactor) for place in ("shelf:ann", "memory:")]
        for store in stores:
            self.addCleanup(store.close)
        self.assertNotIsInstance(stores[0].clock, Clock)
        self.assertIsInstance(stores[1].clock, Clock)
        nodes = [Node(reactor, store, network=network) for store in stores]
        writers = []
        for store in stores:
            writer = await store.writer()
            writers.append(writer.author)
            await writer.append(b"hello")
        readers = [
            store.read(author, live=True) for store, author in zip(stores, reversed(writers), strict=True)
        ]
        address = await nodes[0].listen("tcp:0:interface=127.0.0.1")
        nodes[1].connect(address)
        for reader in readers:
            entry = await anext(reader)
            self.assertEqual(entry.payload, b"hello")
        self.assertEqual(list(stores[0].clock.items()), list(stores[1].clock.items()))
        for node in nodes:
            await node.stop()


class ShelfConformanceTests(BackendConformance, SynchronousTestCase):
    """What the suite says of it."""

    def make_backend(self) -> Backend:
        """Return an empty one."""
        self.addCleanup(foreign_backend.SHELVES.clear)
        return foreign_backend.open_backend("new", Opening())

    def reopen(self, backend: Backend) -> Backend:
        """Return what is there afterwards."""
        return foreign_backend.open_backend("new", Opening(init=False))
