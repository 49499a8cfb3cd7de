"""Ring 7: what a store does, it does through the control socket of the node that has it: the same tests, both ways."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Ban, Cursor, Entry, PeerDown, PeerUp, Search, Status, View, blocking
from gossiplog.errors import (
    BadForkProofError,
    BlockedAuthorError,
    CursorMismatchError,
    EncodingError,
    EndpointError,
    EntryNotHeldError,
    GossiplogError,
    InvalidKeyError,
    InvalidValueError,
    LocalAuthorError,
    NetworkMismatchError,
    NodeError,
    PayloadTooLargeError,
    StoreClosedError,
    StoreInUseError,
    ViewQueryError,
    WhereFailedError,
)
from gossiplog.limits import MAX_BODY_BYTES
from gossiplog.log.keys import Keypair
from tests.serving import NETWORK, ServedCase
from tests.test_forks import fork_of

SECONDS = 60.0


class Lengths(View):
    """How long each entry is."""

    name = "lengths"
    schema = "CREATE TABLE lengths (length INT)"

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Note them."""
        db.executemany("INSERT INTO lengths VALUES (?)", [(len(each.payload),) for each in entries])
        return None


class StoreTests:
    """What holds for a store, whoever has it."""

    store: blocking.Store

    def __getattr__(self, name: str) -> Any:
        """A test case is what has me."""
        raise AttributeError(name)

    def payloads(self, **keywords: Any) -> list[Any]:
        """What a reader gives."""
        return [entry.payload for entry in self.store.read(**keywords)]

    def test_append(self) -> None:
        """One, many, none, with other encodings; the clock has moved when it returns."""
        writer = self.store.writer()
        self.assertEqual(writer.append(b"a"), 1)
        self.assertEqual(writer.append_many([b"b", b"c"]), range(2, 4))
        self.assertEqual(writer.append_many([]), range(0))
        self.assertEqual(self.store.clock.seq(writer.author), 3)
        as_json = self.store.writer("ann", encoding="json")
        as_json.append({"a": [1, None]})
        [entry] = self.store.read(as_json.author, encoding="json")
        self.assertEqual((entry.payload, entry.seq, entry.malformed), ({"a": [1, None]}, 1, ""))
        self.assertEqual(self.store.writers(), {"ann": as_json.author, "default": writer.author})
        self.assertEqual(self.store.writer().author, writer.author)

    def test_what_is_no_entry(self) -> None:
        """Is refused, and nothing is written."""
        writer = self.store.writer()
        self.assertRaises(EncodingError, writer.append, "text")
        self.assertRaises(PayloadTooLargeError, writer.append, bytes(MAX_BODY_BYTES))
        self.assertRaises(InvalidValueError, writer.append_many, b"text")
        self.assertRaises(InvalidValueError, self.store.writer, "a/b")
        self.assertRaises(InvalidValueError, writer.append, b"x", after=b"x")
        self.assertEqual(len(self.store.clock), 0)

    def test_the_largest(self) -> None:
        """Entries of a megabyte, and very many small ones."""
        writer = self.store.writer()
        large = os.urandom(MAX_BODY_BYTES - 32)
        self.assertEqual(writer.append_many([large, large[:-1]]), range(1, 3))
        self.assertEqual(writer.append_many([b""] * 20_000), range(3, 20_003))
        self.assertEqual(self.payloads(first=1, last=2, author=writer.author), [large, large[:-1]])
        self.assertEqual(sum(1 for _ in self.store.read()), 20_002)

    def test_many_threads(self) -> None:
        """Seqs without gaps, each once."""
        writer = self.store.writer()
        with ThreadPoolExecutor(8) as pool:
            seqs = [*pool.map(lambda n: writer.append(b"%d" % n), range(100))]
        self.assertEqual(sorted(seqs), [*range(1, 101)])
        self.assertEqual(len(set(self.payloads())), 100)

    def test_reading(self) -> None:
        """Some of one log, of all, the newest, in reverse, those that are wanted."""
        ann, bob = self.store.writer("ann"), self.store.writer("bob")
        ann.append_many([b"%d" % n for n in range(10)])
        bob.append_many([b"x", b"y"])
        read = self.payloads
        self.assertEqual(read(author=ann.author, first=3, last=4), [b"2", b"3"])
        self.assertEqual(sorted(read(newest=1)), [b"9", b"y"])
        self.assertEqual(read(author=bob.author, reverse=True), [b"y", b"x"])
        self.assertEqual(read(where=lambda entry: entry.payload == b"5"), [b"5"])
        self.assertEqual(read(author=ann.author, where=lambda e: e.payload < b"5", newest=2), [b"3", b"4"])
        self.assertEqual(len(read(order="causal")), 12)
        with self.assertRaises(WhereFailedError):
            read(where=lambda entry: 1 // 0)
        batches = [len(batch.entries) for batch in self.store.read().batches(5)]
        self.assertEqual(sum(batches), 12)

    def test_one_entry(self) -> None:
        """Or that it is not held."""
        writer = self.store.writer()
        writer.append_many([b"a", b"b"])
        entry = self.store.entry(writer.author, 2)
        self.assertEqual((entry.payload, entry.seq, entry.author), (b"b", 2, writer.author))
        error = self.assertRaises(EntryNotHeldError, self.store.entry, writer.author, 3)
        self.assertEqual((error.author, error.seq), (writer.author, 3))
        self.assertIn("held up to entry 2", str(error))

    def test_live(self) -> None:
        """What comes, in its order; with an end for who waits in vain."""
        writer = self.store.writer()
        writer.append(b"before")
        live, tail = self.store.read(live=True, timeout=SECONDS), self.store.read(tail=True, timeout=SECONDS)
        self.assertEqual(next(live).payload, b"before")
        for n in range(50):
            writer.append(b"%d" % n)
            self.assertEqual(next(live).payload, b"%d" % n)
        self.assertEqual([next(tail).payload for _ in range(50)], [b"%d" % n for n in range(50)])
        in_vain = self.store.read(tail=True, timeout=0.01)
        self.assertRaises(TimeoutError, next, in_vain)
        writer.append(b"late")
        in_vain._timeout = SECONDS
        self.assertEqual(next(in_vain).payload, b"late")

    def test_who_waits(self) -> None:
        """Gets what comes, also where it is read only then."""
        writer = self.store.writer()
        live = self.store.read(live=True, timeout=SECONDS)
        core = self.store._it._core
        with ThreadPoolExecutor(1) as pool:
            for n in range(5):
                waiting = pool.submit(next, live)
                while not self.store._wait(lambda: len(core._held)):
                    pass
                writer.append(b"%d" % n)
                self.assertEqual(waiting.result(SECONDS).payload, b"%d" % n)

    def test_in_order(self) -> None:
        """A reply behind what it replies to; the heads."""
        ann, bob = self.store.writer("ann"), self.store.writer("bob")
        ann.append(b"question")
        [head] = self.store.heads()
        self.assertEqual((head.author, head.seq), (ann.author, 1))
        live = self.store.read(order="causal", live=True, settle=0, timeout=SECONDS)
        self.assertEqual(next(live).payload, b"question")
        bob.append(b"answer", after=[head])
        self.assertEqual(next(live).payload, b"answer")
        self.assertEqual([each.author for each in self.store.heads()], [bob.author])
        self.assertEqual(self.payloads(order="causal"), [b"question", b"answer"])

    def test_cursors(self) -> None:
        """Kept by name, taken back, of another history."""
        writer = self.store.writer()
        writer.append_many([b"a", b"b", b"c"])
        reader = self.store.read()
        next(reader)
        self.store.save_cursor("mine", reader.cursor())
        self.assertEqual(self.payloads(after=self.store.cursor("mine")), [b"b", b"c"])
        self.store.save_cursor("mine", self.store.clock)
        self.assertEqual(self.payloads(after=self.store.cursor("mine")), [])
        self.store.save_cursor("mine", None)
        self.assertEqual(self.store.cursor("mine"), Cursor())
        self.assertRaises(InvalidValueError, self.store.cursor, "")
        other = Cursor({writer.author: (2, b"x" * 8)})
        with self.assertRaises(CursorMismatchError) as caught:
            self.payloads(after=other)
        self.assertEqual(caught.exception.author, writer.author)

    def test_pages(self) -> None:
        """By time, page by page; what came since."""
        writer = self.store.writer()
        writer.append_many([b"%d" % n for n in range(10)])
        page = self.store.timeline(4)
        self.assertEqual([each.payload for each in page.entries], [b"9", b"8", b"7", b"6"])
        older = self.store.timeline(20, older=page.older)
        self.assertEqual(len(older.entries), 6)
        writer.append(b"new")
        self.assertEqual(self.payloads(after=page.cursor), [b"new"])

    def test_views(self) -> None:
        """Kept up with what comes; what cannot be asked."""
        writer = self.store.writer()
        writer.append_many([b"a", b"bb"])
        view = self.store.view(Lengths())
        view.ready()
        self.assertEqual(view.query("SELECT sum(length) FROM lengths"), [(3,)])
        writer.append(b"ccc")
        view.ready()
        self.assertEqual(view.query("SELECT sum(length) FROM lengths"), [(6,)])
        self.assertRaises(ViewQueryError, view.query, "DELETE FROM lengths")
        search = self.store.view(Search(lambda entry: entry.payload.decode(), name="words", encoding="bytes"))
        search.ready()
        self.assertEqual([hit.seq for hit in search.find("bb")], [2])

    def test_forks(self) -> None:
        """A proof is kept, and given back; what proves nothing is not."""
        proof = fork_of(Keypair(bytes(32)))
        self.assertRaises(InvalidValueError, self.store.fork_proof, proof.author)
        self.store.add_fork(proof)
        self.assertEqual(self.store.forks, {proof.author})
        self.assertEqual(self.store.fork_proof(proof.author), proof)
        wrong = proof._replace(signature=bytes(64))
        self.assertRaises(BadForkProofError, self.store.add_fork, wrong)

    def test_checks(self) -> None:
        """What a check finds."""
        writer = self.store.writer()
        writer.append_many([b"a", b"b"])
        report = self.store.verify()
        self.assertEqual((report.ok, report.sound, report.entries, report.authors), (True, True, 2, 1))
        self.assertEqual(self.store.holes(), {})
        self.assertEqual(self.store.copied, "")
        self.store.recovered()

    def test_closed(self) -> None:
        """Nothing more; closing again does nothing."""
        live = self.store.read(live=True)
        self.store.close()
        self.assertRaises(StoreClosedError, self.store.writer)
        self.assertRaises(GossiplogError, next, live)
        self.store.close()

    def test_how_a_node_is(self) -> None:
        """Its status, the same whoever asks; its peers, and what is dialled."""
        node, other = self.run_node(), self.other_node()
        writer = self.store.writer()
        writer.append_many([b"a", b"bb"])
        address = self.connect(node, other)
        self.assertEqual(
            [(each.id, each.address, each.dialled) for each in node.peers], [(other.id, address, True)]
        )
        status = node.status()
        self.assertEqual(
            (status.node, status.network, status.entries), (node.id, other.network.discovery_id, 2)
        )
        self.assertEqual(Status.of_json(json.loads(json.dumps(status.as_json()))), status)
        [author] = status.authors
        self.assertEqual((author.author, author.entries, author.local), (writer.author, 2, True))
        self.assertEqual([(each.endpoint, each.peer) for each in status.dialled], [(address, other.id)])
        self.assertEqual(node.status(authors=False).authors, ())
        self.assertRaises(InvalidValueError, node.status, authors=1)
        self.assertRaises(EndpointError, node.connect, "nowhere")

    def test_who_is_kept_out(self) -> None:
        """Disconnected, banned for a while or for good, let in again; what is no node."""
        node, other = self.run_node(), self.other_node()
        self.connect(node, other)
        with other.events(PeerDown, timeout=SECONDS) as downs:
            self.assertTrue(node.disconnect(other.id))
            next(downs)
        self.assertFalse(node.disconnect(other.id))
        self.assertEqual((node.peers, node.status().dialled), ([], ()))
        node.ban(other.id, seconds=1000.5, reason="too loud")
        [ban] = node.bans
        self.assertEqual((ban.peer, ban.reason, 0 < ban.seconds <= 1000.5), (other.id, "too loud", True))
        node.ban(other.id)
        self.assertEqual(node.bans, [Ban(other.id, "the operator said so", inf)])
        self.assertEqual((node.unban(other.id), node.unban(other.id), node.bans), (True, False, []))
        for call in (node.ban, node.unban, node.disconnect):
            self.assertRaises(InvalidKeyError, call, b"short")
        self.assertRaises(InvalidValueError, node.ban, other.id, seconds=-1)
        self.assertRaises(InvalidValueError, node.ban, other.id, reason=5)

    def test_who_is_wanted(self) -> None:
        """Followed, unfollowed, blocked and not; what may not be said."""
        node, own, friend = self.run_node(), self.store.writer().author, Keypair(bytes(32)).author
        node.follow(friend)
        node.unfollow(friend)
        node.block(friend, delete=True)
        self.assertRaises(BlockedAuthorError, node.follow, friend)
        node.unblock(friend)
        node.follow(friend)
        self.assertRaises(LocalAuthorError, node.block, own)
        self.assertRaises(InvalidValueError, node.follow, b"short")
        self.assertRaises(InvalidValueError, node.block, friend, delete=1)

    def other_node(self) -> blocking.Node:
        """A peer, in this process."""
        store = blocking.Store(self.mktemp(), timeout=SECONDS).open()
        self.addCleanup(store.close)
        return blocking.Node(store, network=NETWORK)

    def connect(self, node: Any, other: blocking.Node) -> str:
        """Connect both; return where the other one listens."""
        with other.events(PeerUp, timeout=SECONDS) as ups:
            node.connect(address := other.listen("tcp:0:interface=127.0.0.1"))
            up: Any = next(ups)
        self.assertEqual(up.peer.id, node.id)
        other.when_in_sync(up.peer)
        return address

    def test_catching_up(self) -> None:
        """In both directions, with nobody, with one, in the wrong network."""
        other = self.other_node()
        address = other.listen("tcp:0:interface=127.0.0.1")
        self.store.writer().append_many([b"a", b"b"])
        other.store.writer().append(b"c")
        self.assertEqual(self.store.sync(address, network=NETWORK, timeout=SECONDS)[:2], (1, 2))
        self.assertEqual(len([*other.store.read()]), 3)
        self.assertEqual(self.store.sync(network=NETWORK)[:2], (0, 0))
        if isinstance(self.store, blocking.AttachedStore):
            self.assertRaises(StoreInUseError, self.store.sync, address, network=NETWORK, mode="pull")
        self.assertRaises(NetworkMismatchError, self.store.sync, address, network="another")
        self.assertRaises(InvalidValueError, self.store.sync, address, network=NETWORK, timeout="long")
        error = self.assertRaises(NodeError, self.store.sync, "tcp:127.0.0.1:1", network=NETWORK, timeout=0.2)
        self.assertIn("no answer", str(error))

    def test_one_node(self) -> None:
        """A store that runs one does not run another, and is not repaired meanwhile."""
        self.run_node()
        self.assertRaises(StoreInUseError, blocking.Node, self.store, network=NETWORK)
        self.assertRaises(StoreInUseError, self.store.repair)

    def run_node(self) -> Any:
        """Let the store run a node, if none does; as it can be used."""


class DirectTests(StoreTests, SynchronousTestCase):
    """A store of this process."""

    def setUp(self) -> None:
        self.store = blocking.Store(self.mktemp(), timeout=SECONDS).open()
        self.addCleanup(self.store.close)

    def run_node(self) -> Any:
        """Run it here."""
        node = blocking.Node(self.store, network=NETWORK)
        self.addCleanup(node.__exit__)
        return node


class SocketTests(StoreTests, ServedCase):
    """A store that a node in another process has."""

    store: blocking.AttachedStore

    def setUp(self) -> None:
        path = self.mktemp()
        self.serve(path)
        self.store = blocking.attach(path, timeout=SECONDS).open()
        self.addCleanup(self.store.close)

    def run_node(self) -> Any:
        """It runs there."""
        return self.store.node
