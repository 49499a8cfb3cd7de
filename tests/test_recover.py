"""Ring 8: stores copied and restored between real processes; whoever holds what, no log is ever forked."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from gossiplog import Node, Peer, Store, open_store
from gossiplog.errors import NodeStoppedError, StoreCopiedError
from gossiplog.log.body import encode_body
from gossiplog.log.segment import chain_ids, verify
from gossiplog.notices import NewEntries, PeerUp
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append
from tests.processes import Process, ProcessTestCase

ALL = 1 << 30
LOOPBACK = "tcp:0:interface=127.0.0.1"
NETWORK = ("--network", "garden")

MORTAL = """
import os, signal, sqlite3, sys
from gossiplog.store.sqlite import backend as sqlite

fatal = int(sys.argv[1])
connect = sqlite.connect
statements = 0

class Mortal(sqlite3.Connection):
    "Ends the process before the statement numbered fatal, or behind it when it is negative."
    def execute(self, sql, *parameters):
        global statements
        if sql.startswith(("PRAGMA", "SELECT")):
            return super().execute(sql, *parameters)
        statements += 1
        if statements == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().execute(sql, *parameters)
        if statements == -fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

sqlite.connect = lambda directory, init, factory: connect(directory, init, Mortal)
from gossiplog.app.cli import main
sys.exit(main(sys.argv[2:]))
"""


class RecoverTests(ProcessTestCase):
    """Ann's store, of which there are copies, and bob's node, which holds what she sent."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.run_gossiplog("init", "--store", "ann").split()[-1]
        self.short = self.ann.removeprefix("author_")[:8]
        self.run_gossiplog("init", "--store", "bob")
        self.bob = self.gossiplog("run", "--store", "bob", "--listen", LOOPBACK, *NETWORK)
        [self.address] = self.bob.ready()["listening"]
        self.append("ann", "1", "2", "3")
        self.sync("ann")

    def append(self, store: str, *texts: str) -> None:
        self.run_gossiplog("append", "--store", store, *texts)

    def sync(self, store: str) -> None:
        self.run_gossiplog("sync", "--store", store, *NETWORK, self.address)

    def copy(self, name: str = "copy") -> str:
        """Copy ann's store with the command for that."""
        subprocess.run(["cp", "-a", "ann", name], cwd=self.place, check=True)
        return name

    def recover(self, store: str, **options: str) -> Process:
        return self.gossiplog("recover", "--store", store, *NETWORK, self.address, **options)

    def assert_refused(self, store: str) -> None:
        self.assert_one_line(
            self.gossiplog("append", "--store", store, "no"), 1, "copied or restored", "gossiplog recover"
        )

    def payloads(self, store: str) -> list[str]:
        logged = self.logged(store)
        return [logged[self.ann, seq] for seq in range(1, len(logged) + 1)]

    def assert_no_fork(self) -> None:
        """At bob's, who saw everything that was ever sent."""
        self.bob.interrupt()
        self.assertNotIn("forked", self.bob.err)
        self.assertNotIn("forked", self.run_gossiplog("clock", "--store", "bob"))

    def test_both_were_appended_to(self) -> None:
        """The copy is refused, gets back what the other one signed meanwhile, and goes on behind that."""
        self.copy()
        self.append("ann", "4", "5")
        self.sync("ann")
        self.assert_refused("copy")
        self.assertEqual(self.payloads("copy"), ["1", "2", "3"])
        recovered = self.recover("copy")
        self.assertEqual((recovered.finish(), recovered.err), (0, ""))
        self.assertEqual(recovered.out, f"{self.ann} default: 2 entries came back, goes on with 6\n")
        self.assertEqual(self.run_gossiplog("append", "--store", "copy", "6"), f"{self.short} 6\n")
        self.sync("copy")
        self.sync("ann")  # the other one hears of it too
        for store in ("copy", "ann"):
            self.assertEqual(self.payloads(store), ["1", "2", "3", "4", "5", "6"])
        again = self.recover("copy")
        self.assertEqual((again.finish(), again.err), (0, ""))
        self.assertIn("nothing is to be done", again.out)
        self.assert_no_fork()
        self.assertEqual(self.payloads("bob"), ["1", "2", "3", "4", "5", "6"])

    def test_a_backup_that_is_put_back(self) -> None:
        """In the place of the store it was made of, with all attributes, and perhaps with the same inodes."""
        self.copy("backup")
        self.append("ann", "4")
        self.sync("ann")
        shutil.rmtree(self.place / "ann")
        subprocess.run(["cp", "-a", "backup", "ann"], cwd=self.place, check=True)
        self.assert_refused("ann")
        self.assertEqual(self.recover("ann").finish(), 0)
        self.append("ann", "5")
        self.sync("ann")
        self.assertEqual(self.payloads("ann"), ["1", "2", "3", "4", "5"])
        self.assert_no_fork()

    def test_what_nobody_has(self) -> None:
        """An entry signed here that no peer has is signed again only if somebody says that it is lost."""
        database = self.place / "ann" / "log.sqlite"
        older = database.read_bytes()
        self.append("ann", "4")
        database.write_bytes(older)
        self.assert_refused("ann")
        self.assert_one_line(self.recover("ann"), 1, "none of the peers asked has the own entry 4", "--alone")
        self.assert_refused("ann")
        self.run_gossiplog("recover", "--store", "ann", "--alone")
        self.append("ann", "another 4")
        self.sync("ann")
        self.assertEqual(self.payloads("ann"), ["1", "2", "3", "another 4"])

    def test_moving_is_no_copy(self) -> None:
        (self.place / "ann").rename(self.place / "moved")
        self.assertEqual(self.run_gossiplog("append", "--store", "moved", "4"), f"{self.short} 4\n")

    def test_a_peer_that_refuses_the_author(self) -> None:
        """It has newer entries and shows none of them: to recover with it alone would sign them a second time."""
        self.copy()
        self.append("ann", "4", "5")
        self.sync("ann")
        self.bob.interrupt()
        self.bob = self.gossiplog(
            "run", "--store", "bob", "--listen", LOOPBACK, "--max-author-bytes", "1500", *NETWORK
        )
        [self.address] = self.bob.ready()["listening"]
        self.append("ann", "6" * 1000)
        self.gossiplog("sync", "--store", "ann", *NETWORK, self.address).finish()
        self.assert_one_line(self.recover("copy"), 1, "does not take the log of")
        self.assert_refused("copy")
        self.assert_no_fork()

    def test_a_copy_is_another_node(self) -> None:
        """With an id of its own, from its first run; it says that it is a copy, and catches up."""
        self.copy()
        self.append("ann", "4")
        self.sync("ann")
        ids = [self.run_gossiplog("id", "--all", "--store", store).split()[1] for store in ("ann", "copy")]
        self.assertNotEqual(*ids)
        node = self.gossiplog("run", "--store", "copy", "--peer", self.address, *NETWORK)
        self.assertEqual(node.ready()["node"], ids[1])
        node.interrupt()
        self.assertRegex(node.err, r"is a copy \(.*\); to append here, use gossiplog recover")
        self.sync("copy")
        self.assertEqual(self.payloads("copy"), ["1", "2", "3", "4"])
        self.assert_refused("copy")

    def test_alone(self) -> None:
        """The user's word is enough."""
        self.copy()
        shutil.rmtree(self.place / "ann")
        self.assertEqual(
            self.run_gossiplog("recover", "--store", "copy", "--alone"),
            f"{self.ann} default: 0 entries came back, goes on with 4\n",
        )
        self.append("copy", "4")
        self.sync("copy")
        self.assert_no_fork()

    def test_too_late(self) -> None:
        """Both copies were appended to and have met the same peer: it is said, and nothing is ever appended again."""
        copy = self.copy()
        self.run_gossiplog("recover", "--alone", "--store", copy)
        self.append(copy, "4 here")
        self.append("ann", "4 there")
        self.sync("ann")
        told = self.gossiplog("sync", "--store", copy, *NETWORK, self.address)
        self.assertEqual(told.finish(), 0)
        self.assertEqual(
            told.err,
            f"gossiplog: author {self.short} has forked its log; see gossiplog forks --store {copy}\n",
        )
        subprocess.run(["cp", "-a", copy, "third"], cwd=self.place, check=True)
        recovered = self.recover("third")
        self.assertEqual((recovered.finish(), recovered.err), (0, ""))
        self.assertEqual(recovered.out, f"{self.ann} default: 0 entries came back, its log is forked\n")
        for store in (copy, "third"):
            refused = self.gossiplog("append", "--store", store, "no")
            self.assert_one_line(refused, 1, "is forked; use another writer")
            self.assertEqual(len(self.logged(store)), 4)

    def test_nobody_answers(self) -> None:
        """Then the store stays as it is."""
        self.copy()
        nobody = ("tcp:127.0.0.1:1", "--timeout", "0.5")
        self.assert_one_line(
            self.gossiplog("recover", "--store", "copy", *NETWORK, *nobody), 1, "no answer from"
        )
        self.assert_one_line(
            self.gossiplog("recover", "--store", "copy", *NETWORK, self.address, *nobody), 1, "no answer from"
        )
        self.assert_refused("copy")

    def test_killed_in_the_middle(self) -> None:
        """Wherever it is killed, what came back is kept, and nothing is signed before all of it did."""
        self.copy("older")
        for number in range(4, 8):
            self.append("ann", f"{number}" * 100_000)
            self.sync("ann")
        with closing(open_logs(self.place / "ann")) as logs:
            ids = self.ids(logs)
        killed = 0
        for fatal in (*range(4, 16), *range(-15, -3, 3), 100):
            copy = f"copy {fatal}"
            shutil.copytree(self.place / "older", self.place / copy)
            process = self.start(
                sys.executable, "-c", MORTAL, str(fatal), "recover", "--store", copy, *NETWORK, self.address
            )
            status = process.finish()
            self.assertIn(status, (0, -signal.SIGKILL), process.err)
            killed += status != 0
            with closing(open_logs(self.place / copy)) as logs:
                held = self.ids(logs)
                self.assertEqual(held, ids[: len(held)])
                self.assertTrue((logs.copied == "" and held == ids) or (logs.copied and status), fatal)
            again = self.recover(copy)
            self.assertEqual((again.finish(), again.err), (0, ""))
            with closing(open_logs(self.place / copy)) as logs:
                self.assertEqual((logs.copied, self.ids(logs)), ("", ids))
        self.assertGreater(killed, 8)
        self.append(copy, "8")
        self.sync(copy)
        self.assert_no_fork()

    @staticmethod
    def ids(logs: Logs) -> list[bytes]:
        """The ids of ann's entries."""
        author = logs.writer("default").author
        return [one for segment in logs.segments(author, 1, ALL) for one in chain_ids(segment)]


class NodeTests(TestCase):
    """The same for an application, with the real reactor."""

    def copied(self) -> tuple[Path, bytes]:
        """A place with ann's store and an older copy of it, which lacks her second entry; and who wrote."""
        place = Path(self.mktemp())
        place.mkdir(parents=True)
        with closing(open_logs(place / "ann")) as logs:
            author = logs.writer("default").author
            logs.process([Append(author, [encode_body(1, b"1")])])
        shutil.copytree(place / "ann", place / "copy")
        with closing(open_logs(place / "ann")) as logs:
            logs.process([Append(author, [encode_body(1, b"2")])])
        return place, author

    async def test_recover(self) -> None:
        """Once a peer and we hold the same; not when it goes away before."""
        place, _ = self.copied()
        ann, copy = self.open(place / "ann"), self.open(place / "copy")
        writer = await copy.writer()
        self.assertTrue(copy.copied)
        with self.assertRaises(StoreCopiedError) as refused:
            await writer.append(b"no")
        self.assertEqual(refused.exception.reason, copy.copied)
        served, node = (Node(reactor, store, network="garden") for store in (ann, copy))
        gone = Peer(bytes(32), "tcp:nowhere", "", True)
        with self.assertRaises(NodeStoppedError):
            await node.recover(gone)
        self.assertTrue(copy.copied)
        up = node.when(PeerUp)
        node.connect(await served.listen(LOOPBACK))
        await node.recover((await up).peer)  # type: ignore[union-attr]
        self.assertEqual(copy.copied, "")
        self.assertEqual(await writer.append(b"3"), 3)
        await copy.close()
        self.assertEqual(self.open(place / "copy").copied, "")

    async def test_a_peer_that_blocks_the_author(self) -> None:
        """It may have newer entries, and says nothing of them; once it takes the log, they come back."""
        place, author = self.copied()
        with closing(open_logs(place / "ann")) as logs:
            segments = logs.segments(author, 1, ALL)
        with closing(open_logs(place / "bob")) as logs:
            logs.process([Accept(segment, verify(segment)) for segment in segments])
        bob, copy = self.open(place / "bob"), self.open(place / "copy")
        served, node = (Node(reactor, store, network="garden") for store in (bob, copy))
        await served.block(author)
        up = node.when(PeerUp)
        node.connect(await served.listen(LOOPBACK))
        peer = (await up).peer  # type: ignore[union-attr]
        with self.assertRaises(StoreCopiedError) as refused:
            await node.recover(peer)
        self.assertIn("does not take the log of", str(refused.exception))
        self.assertTrue(copy.copied)
        came = node.when(NewEntries)
        await served.unblock(author)
        await served.follow(author)
        await came
        await node.recover(peer)
        self.assertEqual((copy.copied, copy.clock.seq(author)), ("", 2))

    async def test_what_no_peer_has(self) -> None:
        """An entry that was signed here, and did not come back, is not signed again."""
        place = Path(self.mktemp())
        place.mkdir(parents=True)
        with closing(open_logs(place / "ann")) as logs:
            author = logs.writer("default").author
            logs.process([Append(author, [encode_body(1, b"1")])])
        older = (place / "ann" / "log.sqlite").read_bytes()
        with closing(open_logs(place / "ann")) as logs:
            logs.process([Append(author, [encode_body(1, b"2")])])
        (place / "ann" / "log.sqlite").write_bytes(older)
        ann, bob = self.open(place / "ann"), self.open(place / "bob")
        served, node = (Node(reactor, store, network="garden") for store in (bob, ann))
        up = node.when(PeerUp)
        node.connect(await served.listen(LOOPBACK))
        with self.assertRaises(StoreCopiedError) as refused:
            await node.recover((await up).peer)
        self.assertIn("the own entry 2", str(refused.exception))
        self.assertTrue(ann.copied)
        await ann.recovered()
        self.assertEqual(await (await ann.writer()).append(b"another"), 2)

    def open(self, path: Path) -> Store:
        store = open_store(path, reactor)
        self.addCleanup(store.close)
        return store
