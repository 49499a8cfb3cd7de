"""Rings 6 to 8: forks as people meet them: the command, proofs handed on as files, running nodes."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import ForkProof, limits
from gossiplog.errors import BadForkProofError, ForkedWriterError, StoreClosedError
from gossiplog.gossip.events import StoreFork
from gossiplog.gossip.messages import Fork, Item, Want
from gossiplog.limits import MAX_PROOF_FILE_BYTES
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, format_author, genesis_id
from gossiplog.log.segment import Head, build, verify
from gossiplog.notices import AuthorForked, NewEntries
from gossiplog.store.interface import PutFork
from gossiplog.store.logs import open_logs
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.requests import Accept, AddFork
from tests.netcase import LOCAL, Author, Site, World
from tests.processes import ProcessTestCase
from tests.test_cli import flip_a_bit

NETWORK = ("--network", "garden")
LOOPBACK = "tcp:0:interface=127.0.0.1"


def fork_of(pair: Keypair) -> ForkProof:
    """A proof that somebody's first entry is two."""
    branches = []
    for payload in (b"left", b"right"):
        [segment], _ = build(pair, Head(0, genesis_id(pair.author)), [encode_body(1_000, payload)])
        branches.append(segment)
    proof = build_proof(*branches)
    assert proof is not None
    return proof


class CommandTests(ProcessTestCase):
    """Ann forked: bob holds one entry of hers and the proof, cleo knows nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = Author()
        self.proof = fork_of(self.ann.pair)
        self.id = format_author(self.ann.key)
        left, right = (entry_id.hex()[:8] for entry_id in (self.proof.id, self.proof.segment.previous))
        self.words = f"{self.id} signed {left} and {right} as entry 1"
        self.line = f"{self.words}; {left} is held; frozen at 1\n"
        with closing(open_logs(self.place / "bob")) as logs:
            [segment] = self.ann.write(b"left")
            logs.process([Accept(segment, verify(segment)), AddFork(self.proof)])
        with closing(open_logs(self.place / "cleo")):
            pass

    def forks(self, store: str, *arguments: str | Path) -> str:
        return self.run_gossiplog("forks", "--store", store, *arguments)

    def about(self, store: str, *arguments: str | Path) -> dict[str, Any]:
        about: dict[str, Any] = json.loads(self.forks(store, "--json", *arguments))
        return about

    def export(self) -> Path:
        """Write the proof to a file."""
        self.forks("bob", "--export", self.id, "ann.proof")
        return self.place / "ann.proof"

    def test_list(self) -> None:
        """What the author signed, which of it is held, and where it is frozen; nothing where there is none."""
        self.assertEqual(self.forks("bob"), self.line)
        ids = [self.proof.id.hex(), self.proof.segment.previous.hex()]
        expected = {"author": self.id, "seq": 1, "ids": ids, "held": ids[0], "frozen_at": 1}
        self.assertEqual(self.about("bob"), expected)
        self.assertEqual(self.forks("cleo"), "")

    def test_list_of_a_damaged_store(self) -> None:
        """What cannot be read is not held; the rest can be told."""
        flip_a_bit(self.place / "bob" / "log.sqlite", b"left")
        self.assertEqual(self.forks("bob"), f"{self.words}; no entry is held\n")

    def test_verify_and_clock(self) -> None:
        """A fork is shown, and is no damage of this store."""
        self.assertEqual(
            self.run_gossiplog("verify", "--store", "bob"),
            f"forked: {self.line}1 entries of 1 authors in 1 segments: all is well\n",
        )
        self.assertEqual(self.run_gossiplog("clock", "--store", "bob"), f"{self.id} 1 (forked)\n")

    def test_proof_as_a_file(self) -> None:
        """Exported by one, checked by anybody without a store, added by another; the second time is no error."""
        exported = self.forks("bob", "--export", self.id[7:12], "ann.proof")
        self.assertEqual(exported, f"{self.words}: the proof is in ann.proof\n")
        self.assertEqual(ForkProof.load((self.place / "ann.proof").read_bytes()), self.proof)
        self.assertEqual(self.forks("none", "--check", "ann.proof"), f"{self.words}: a fork\n")
        self.assertFalse((self.place / "none").exists())
        self.assertEqual(self.about("none", "--check", "ann.proof")["author"], self.id)
        self.assertTrue(self.about("cleo", "--add", "ann.proof")["added"])
        line = f"{self.words}; no entry is held\n"
        self.assertEqual(self.forks("cleo", "--add", "ann.proof"), f"known already: {line}")
        self.assertEqual(self.forks("cleo"), line)
        self.assertEqual(self.forks("cleo", "--export", self.id, "-").encode(), self.proof.dump())

    def test_standard_input(self) -> None:
        """As any other file."""
        typed = self.proof.dump().decode()
        self.assertIn(self.words, self.run_gossiplog("forks", "--check", "-", typed=typed))
        self.assertIn(self.words, self.run_gossiplog("forks", "--store", "cleo", "--add", "-", typed=typed))

    def test_a_writer_of_the_store(self) -> None:
        """Its fork is said to be its own, and it appends no more; another writer does."""
        with closing(open_logs(self.place / "dora")) as logs:
            (self.place / "dora.proof").write_bytes(fork_of(logs.writer("diary")).dump())
        added = self.forks("dora", "--add", "dora.proof")
        self.assertTrue(added.endswith("; no entry is held; the writer diary appends no more\n"), added)
        append = ("append", "--store", "dora", "text", "--writer")
        self.assert_one_line(self.gossiplog(*append, "diary"), 1, "is forked; use another writer")
        self.assertRegex(self.run_gossiplog(*append, "notes"), r"\A\w{8} 1\n\Z")

    def test_added_while_nobody_runs(self) -> None:
        """Peers get the proof at the next connection; who syncs is told."""
        self.export()
        with closing(open_logs(self.place / "dora")):
            pass
        self.forks("cleo", "--add", "ann.proof")
        node = self.gossiplog("run", "--store", "cleo", "--listen", LOOPBACK, *NETWORK)
        [address] = node.ready()["listening"]
        sync = self.gossiplog("sync", "--store", "dora", *NETWORK, address)
        self.assertEqual(sync.finish(), 0)
        self.assertEqual(
            sync.err,
            f"gossiplog: author {self.id[7:15]} has forked its log; see gossiplog forks --store dora\n",
        )
        self.assertEqual(self.run_gossiplog("sync", "--store", "dora", *NETWORK, address)[:10], "received 0")
        self.assertEqual(node.terminate(), 0)
        self.assertEqual(self.forks("dora"), f"{self.words}; no entry is held\n")

    def test_failures(self) -> None:
        """Files that are none, authors that did not fork, stores that cannot be had; nothing is changed by them."""
        proof = self.export()
        content = proof.read_bytes()
        files = {
            "nothing": (None, "nothing: No such file or directory"),
            "text": (b"hello\n", "text: this is no fork proof: its first line is not"),
            "empty": (b"", "empty: this is no fork proof"),
            "cut": (content[:-80], "cut: the fork proof is cut or damaged"),
            "changed": (content.replace(b" 1\n", b" 2\n"), "changed: the fork proof was changed"),
            "forged": (self.proof._replace(signature=bytes(64)).dump(), "not signed by its author"),
            "long": (content + b"\n" * MAX_PROOF_FILE_BYTES, "longer than"),
            ".": (None, ".: Is a directory"),
        }
        for name, (wrong, words) in files.items():
            if wrong is not None:
                (self.place / name).write_bytes(wrong)
            for option in ("--check", "--add"):
                process = self.gossiplog("forks", "--store", "cleo", option, name)
                self.assert_one_line(process, 1, words)
        export = ("forks", "--store", "bob", "--export")
        for case, words in (
            ((self.id, proof), "File exists"),
            ((self.id, "none/x"), "No such file"),
            ((format_author(bytes(32)), "x"), "the store knows no fork of it"),
            (("abcd", "x"), "unknown author 'abcd': the store knows no fork of it"),
            (("author_x", "x"), "characters follow author_"),
        ):
            self.assert_one_line(self.gossiplog(*export, *case), 1, words)
        both = self.gossiplog("forks", "--check", proof, "--add", proof)
        self.assert_one_line(both, 2, "not allowed with argument --check")
        self.assertEqual(proof.read_bytes(), content)
        self.assertFalse((self.place / "x").exists())
        self.assertEqual(self.forks("cleo"), "")


class NodeTests(SynchronousTestCase):
    """A proof that comes by another way than a peer, into a store on which a node runs, or none."""

    def setUp(self) -> None:
        self.world = World()
        self.author = Author()
        self.proof = fork_of(self.author.pair)

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def site(self, name: str) -> Site:
        site = self.world.site(name)
        site.listen()
        return site

    def test_passed_on_at_once(self) -> None:
        """The application is told, here and at the peers; the author is frozen, others are not, nobody is punished."""
        a, b, c = (self.site(name) for name in "abc")
        b.node.connect(LOCAL.format(a.port))
        c.node.connect(LOCAL.format(b.port))
        [held] = self.author.write(b"left")
        peer = self.world.peer(a)
        peer.hello()
        peer.send(held)
        self.world.run(2)
        self.world.result(a.store.add_fork(self.proof))
        peer.send(*self.author.write(b"more"))
        self.world.run(2)
        for site in (a, b, c):
            self.assertEqual(site.of(AuthorForked), [AuthorForked(self.proof)])
            self.assertEqual(site.payloads(self.author.key), [b"left"])
            self.assertEqual(site.backend.fork(self.author.key), self.proof)
        self.assertEqual((len(a.node.peers), a.node.bans, b.node.bans), (2, [], []))
        c.append(b"goes on")
        self.world.run(2)
        self.assertEqual(a.payloads(c.author()), [b"goes on"])
        self.assertIn(NewEntries(c.author(), 1, 1), a.told)

    def test_passed_on_at_the_next_connection(self) -> None:
        """Added while nobody was there."""
        a, b = self.site("a"), self.site("b")
        self.world.result(a.store.add_fork(self.proof))
        self.world.result(a.store.add_fork(self.proof))
        self.assertEqual(a.of(AuthorForked), [AuthorForked(self.proof)])
        b.node.connect(LOCAL.format(a.port))
        self.world.run(2)
        self.assertEqual(b.of(AuthorForked), [AuthorForked(self.proof)])
        self.assertEqual((a.store.forks, b.store.forks), ({self.author.key},) * 2)

    def test_store_without_a_node(self) -> None:
        """Kept all the same, and in force at once."""
        a = self.site("a")
        author = a.author()
        seed = a.backend.secrets.seed("default")
        assert seed is not None
        self.world.result(a.node.stop())
        proof = fork_of(Keypair(seed))
        self.world.result(a.store.add_fork(proof))
        self.assertEqual((a.store.forks, self.world.result(a.store.fork_proof(author))), ({author}, proof))
        self.assertRaises(ForkedWriterError, a.append, b"no")
        self.assertEqual(list(a.append(b"yes", name="another")), [1])

    def test_a_disk_that_has_no_room_for_it(self) -> None:
        """Our own writer appends no more all the same, and the proof is on disk as soon as something is."""
        a = self.site("a")
        seed = a.backend.secrets.seed("default") if a.append(b"1") else None
        assert seed is not None
        proof = fork_of(Keypair(seed))
        a.backend.fault = lambda writes: DiskFault.FULL if PutFork(proof) in writes else None
        peer = self.world.peer(a)
        peer.hello()
        peer.send(Fork(proof))
        self.world.run(1)
        self.assertEqual(a.of(AuthorForked), [AuthorForked(proof)])
        self.assertRaises(ForkedWriterError, a.append, b"no")
        self.assertEqual(a.backend.forks(), {})
        a.backend.fault = None
        peer.send(*self.author.write(b"text"))
        self.world.run(1)
        self.assertEqual(a.backend.fork(proof.author), proof)
        self.assertEqual(a.store._core.held.unwritten, {})
        self.assertEqual(a.payloads(proof.author), [b"1"])

    def test_more_proofs_than_wait_for_a_full_disk(self) -> None:
        """Some are lost; these are asked for again once there is room."""
        a = self.site("a")
        pairs = [Author(seed).pair for seed in (11, 12, 13)]
        proofs = {pair.author: fork_of(pair) for pair in pairs}
        a.backend.fault = lambda writes: (
            DiskFault.FULL if any(isinstance(w, PutFork) for w in writes) else None
        )
        peer = self.world.peer(a)
        peer.hello()
        size = StoreFork(self.proof).size_bytes
        with patch.object(limits, "PENDING_WRITE_BYTES", 2 * size):
            for proof in proofs.values():
                peer.send(Fork(proof))
                self.world.run(1)
        self.assertEqual(len(a.of(AuthorForked)), 3)
        waiting = set(a.store._core.held.unwritten)
        self.assertEqual((len(waiting), a.store.forks), (2, waiting))
        [lost] = proofs.keys() - waiting
        a.backend.fault = None
        peer.send(*self.author.write(b"text"))
        self.world.run(1)
        self.assertEqual(a.backend.forks().keys(), waiting)
        peer.reconcile(Item(lost, 0, bytes(8)))
        self.world.run(1)
        self.assertIn(lost, [item.author for want in peer.of(Want) for item in want.items])
        peer.send(Fork(proofs[lost]))
        self.world.run(1)
        self.assertEqual(a.backend.forks().keys(), proofs.keys())
        self.assertEqual(a.of(AuthorForked)[-1], AuthorForked(proofs[lost]))

    def test_what_is_no_proof(self) -> None:
        """Refused before anything is done; so is everything once the store is closed."""
        a = self.site("a")
        with self.assertRaises(BadForkProofError):
            a.store.add_fork(self.proof._replace(signature=bytes(64)))
        self.world.run(1)
        self.assertEqual((a.told, a.store.forks, a.backend.forks()), ([], set(), {}))
        self.world.result(a.store.close())
        with self.assertRaises(StoreClosedError):
            a.store.add_fork(self.proof)
