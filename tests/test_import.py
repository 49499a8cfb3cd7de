"""Taking over what a store from anybody has: what its authors signed, and nothing else of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import import_store
from gossiplog.errors import (
    InvalidValueError,
    NetworkMismatchError,
    StoreLockedError,
    StoreNotFoundError,
    StoreUnsafeError,
)
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.gossip.quotas import Quotas
from gossiplog.limits import AUTHOR_DISK_BYTES
from gossiplog.live.importing import Imported, Importing, open_source
from gossiplog.log.body import encode_body
from gossiplog.log.disk_cost import proof_bytes
from gossiplog.log.fork import build_proof, encode_proof
from gossiplog.log.keys import Keypair, format_author, genesis_id
from gossiplog.log.segment import Head, Segment, build, drop_payloads, verify
from gossiplog.store.logs import NETWORK, Logs, open_logs
from gossiplog.store.requests import Accept, AddFork, Append, Appended, Request, SetMeta
from tests.processes import ProcessTestCase
from tests.test_store_vouching import overwrite

ANN, BOB, CAT = (Keypair(letter * 32) for letter in (b"a", b"b", b"c"))


def log_of(pair: Keypair, *words: bytes) -> list[Segment]:
    """A log in which each word is a row."""
    head, rows = Head(0, genesis_id(pair.author)), []
    for word in words:
        [row], head = build(pair, head, [encode_body(7, word)])
        rows.append(row)
    return rows


def accepted(*logs: Sequence[Segment]) -> list[Request]:
    return [Accept(row, verify(row)) for log in logs for row in log]


class ImportTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ours = open_logs(Path(self.mktemp()).absolute())
        self.addCleanup(self.ours.close)
        self.stick = Path(self.mktemp()).absolute()

    def fill(self, *requests: Request) -> None:
        """What the other store has."""
        with closing(open_logs(self.stick)) as logs:
            logs.process(requests)

    def take(self, quotas: Quotas | None = None) -> Imported:
        with closing(open_source(self.stick)) as source:
            importing = Importing(self.ours, source, quotas or Quotas())
            importing.run()
        self.assertTrue(self.ours.verify().ok)
        return importing.outcome

    def held(self, pair: Keypair) -> int:
        return self.ours.clock.seq(pair.author)

    def test_everything(self) -> None:
        self.fill(*accepted(log_of(ANN, b"1", b"2"), log_of(BOB, b"1")))
        done = self.take()
        self.assertEqual((done.entries, len(done.authors), done.refused), (3, 2, {}))
        self.assertEqual(self.ours.segments(ANN.author, 1, 1 << 20), log_of(ANN, b"1", b"2"))
        self.assertEqual(self.take().entries, 0)

    def test_by_a_program(self) -> None:
        """Into a store that is made for it, and into that again."""
        rows = log_of(BOB, b"1", b"2")
        self.fill(*accepted(log_of(ANN, b"1"), rows))
        overwrite(self.stick / "log.sqlite", rows[1]._replace(bodies=rows[1].bodies[:-1] + b"?"))
        mine = Path(self.mktemp()).absolute()
        done = import_store(mine, self.stick)
        self.assertEqual((done.entries, done.authors, done.forks), (2, {ANN.author, BOB.author}, 0))
        self.assertEqual(list(done.refused), [BOB.author])
        self.assertEqual(import_store(str(mine), bytes(self.stick)).entries, 0)
        with closing(open_logs(mine)) as logs:
            self.assertEqual([logs.clock.seq(pair.author) for pair in (ANN, BOB)], [1, 1])
            self.assertRaises(StoreLockedError, import_store, mine, self.stick)
        self.assertRaises(InvalidValueError, import_store, mine, mine)

    def test_nothing_is_made_for_nothing(self) -> None:
        self.assertRaises(StoreNotFoundError, import_store, mine := Path(self.mktemp()), self.stick)
        self.assertFalse(mine.exists())

    def test_what_is_new(self) -> None:
        self.ours.process(accepted(log_of(ANN, b"1"), log_of(BOB, b"1", b"2")))
        self.fill(*accepted(log_of(ANN, b"1", b"2", b"3"), log_of(BOB, b"1")))
        self.assertEqual(self.take().entries, 2)
        self.assertEqual((self.held(ANN), self.held(BOB)), (3, 2))

    def test_more_than_one_commit(self) -> None:
        self.fill(*accepted(log_of(ANN, *[bytes(700_000)] * 4)))
        self.assertEqual(self.take().entries, 4)

    def test_not_a_byte_is_changed(self) -> None:
        self.fill(*accepted(log_of(ANN, b"1")))
        before = self.everything()
        self.take()
        self.assertEqual(self.everything(), before)

    def everything(self) -> list[object]:
        """What can be seen of the other store, but when it was read."""
        found = [(p, p.stat()) for p in sorted([self.stick, *self.stick.rglob("*")])]
        return [(p, about[:7], about.st_mtime_ns, about.st_ctime_ns) for p, about in found]

    def test_a_store_of_somebody_else(self) -> None:
        self.fill(*accepted(log_of(ANN, b"1")))
        self.stick.chmod(0o777)
        self.assertRaises(StoreUnsafeError, open_logs, self.stick)
        self.assertEqual(self.take().entries, 1)

    def test_what_was_not_signed(self) -> None:
        """What is before it is taken, and what others signed."""
        rows = log_of(ANN, b"1", b"2", b"3")
        self.fill(*accepted(rows, log_of(BOB, b"1")))
        overwrite(self.stick / "log.sqlite", rows[1]._replace(bodies=rows[1].bodies[:-1] + b"?"))
        done = self.take()
        self.assertEqual(list(done.refused), [ANN.author])
        self.assertEqual((self.held(ANN), self.held(BOB)), (1, 1))

    def test_without_payloads(self) -> None:
        """A store that lost them erases nobody's."""
        [row] = log_of(ANN, b"1" * 100)
        self.fill(*accepted([drop_payloads(row, [1])]))
        self.assertEqual(list(self.take().refused), [ANN.author])
        self.assertEqual(self.held(ANN), 0)

    def test_a_claim(self) -> None:
        self.fill(*accepted(log_of(ANN, b"1")))
        with closing(sqlite3.connect(self.stick / "log.sqlite", isolation_level=None)) as connection:
            connection.execute("UPDATE authors SET seq = 1000000000")
            connection.execute("INSERT OR REPLACE INTO meta VALUES (x'', 1)")
        self.take()
        self.assertEqual(self.held(ANN), 1)

    def test_two_logs_of_one_author(self) -> None:
        for theirs in ((b"1", b"x"), (b"1", b"x", b"3")):
            self.stick = Path(self.mktemp()).absolute()
            self.ours = open_logs(Path(self.mktemp()).absolute())
            self.addCleanup(self.ours.close)
            self.ours.process(accepted(log_of(ANN, b"1", b"2")))
            self.fill(*accepted(log_of(ANN, *theirs)))
            done = self.take()
            self.assertEqual((done.entries, done.forks), (0, 1))
            self.assertIn(ANN.author, self.ours.forks)

    def test_fork_proofs(self) -> None:
        proof = build_proof(log_of(CAT, b"1")[0], log_of(CAT, b"2")[0])
        assert proof is not None
        self.fill(AddFork(proof))
        self.assertEqual(self.take().forks, 1)
        self.assertEqual(self.ours.fork_proof(CAT.author), proof)

    def test_a_proof_that_proves_nothing(self) -> None:
        proof = build_proof(log_of(CAT, b"1")[0], log_of(CAT, b"2")[0])
        assert proof is not None
        self.fill(AddFork(proof))
        with closing(sqlite3.connect(self.stick / "log.sqlite", isolation_level=None)) as connection:
            connection.execute(
                "UPDATE forks SET proof = ?", (encode_proof(proof._replace(signature=bytes(64))),)
            )
        done = self.take()
        self.assertEqual((done.forks, list(done.refused)), (0, [CAT.author]))
        self.assertEqual(len(self.ours.forks), 0)

    def test_quotas(self) -> None:
        self.fill(*accepted(log_of(ANN, b"1", b"2" * 1000), log_of(BOB, b"1"), log_of(CAT, b"1")))
        done = self.take(Quotas(authors=2, bytes_per_author=500))
        self.assertEqual((len(self.ours.clock), len(done.refused)), (2, 2))
        self.take(Quotas(bytes_per_author=500))
        self.assertEqual([self.held(pair) for pair in (ANN, BOB, CAT)], [1, 1, 1])

    def test_a_proof_counts(self) -> None:
        proof = build_proof(log_of(ANN, b"1")[0], log_of(ANN, b"2")[0])
        assert proof is not None
        self.fill(AddFork(proof))
        room = proof_bytes(proof) + AUTHOR_DISK_BYTES
        done = self.take(Quotas(bytes=room - 1))
        self.assertEqual((done.forks, list(done.refused)), (0, [ANN.author]))
        self.assertEqual(self.take(Quotas(bytes=room)).forks, 1)

    def test_who_is_blocked(self) -> None:
        choices = Choices(self.ours.local)
        choices.block([ANN.author])
        self.ours.process([SetMeta(KEPT_AS, choices.dump())])
        self.fill(*accepted(log_of(ANN, b"1"), log_of(BOB, b"1")))
        self.take()
        self.assertEqual((self.held(ANN), self.held(BOB)), (0, 1))

    def test_another_network(self) -> None:
        self.fill(SetMeta(NETWORK, b"d" * 32), *accepted(log_of(ANN, b"1")))
        self.ours.bind_network(b"e" * 32)
        self.assertRaises(NetworkMismatchError, self.take)
        self.assertEqual(self.held(ANN), 0)

    def test_secrets_are_not_taken(self) -> None:
        with closing(open_logs(self.stick)) as logs:
            logs.writer("theirs")
        self.take()
        self.assertEqual(self.ours.writers(), {})

    def test_our_own_entries_come_back(self) -> None:
        """From a copy on a stick, into a backup that lacks the last of them."""
        path = Path(self.ours.path)
        author = self.ours.writer("me").author
        self.append(self.ours, author, b"1")
        self.ours.close()
        shutil.copytree(path, backup := path.with_name("backup"))
        with closing(open_logs(path)) as logs:
            self.append(logs, author, b"2")
        self.stick, self.ours = path, open_logs(backup)
        self.addCleanup(self.ours.close)
        self.assertEqual(self.take().entries, 1)
        self.ours.recovered()
        self.append(self.ours, author, b"3")
        self.assertEqual(self.ours.clock.seq(author), 3)

    def append(self, logs: Logs, author: bytes, word: bytes) -> None:
        [result] = logs.process([Append(author, [encode_body(7, word)])]).results
        self.assertIsInstance(result, Appended)


class CommandTests(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("ann", "bob"):
            self.run_gossiplog("init", "--store", name)
        self.run_gossiplog("append", "--store", "bob", "from bob")

    def test_import(self) -> None:
        out = self.run_gossiplog("import", "--store", "ann", "bob")
        self.assertEqual(out, "imported 1 entries of 1 authors, 0 forks\n")
        self.assertIn("from bob", self.run_gossiplog("log", "--store", "ann"))

    def test_damaged(self) -> None:
        with closing(open_logs(self.place / "bob")) as logs:
            [author] = logs.clock
            [row] = logs.segments(author, 1, 1)
        overwrite(self.place / "bob" / "log.sqlite", row._replace(bodies=row.bodies.replace(b"bob", b"bop")))
        process = self.gossiplog("import", "--store", "ann", "bob")
        self.assertEqual(process.finish(), 3)
        self.assertIn(f"refused: {format_author(author)}: ", process.out)
