"""Rows that somebody changed on disk, with their checksums made anew, are neither shown nor sent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreDamagedError
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.fork import build_proof, encode_proof
from gossiplog.log.items import join
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, Unfolded, build, verify_unfolded
from gossiplog.store import checked_rows as vouching
from gossiplog.store.checked_rows import CheckedRows
from gossiplog.store.logs import open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, AddFork
from gossiplog.store.row_form import row_crc
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.store.sqlite.rows import head_columns, sealed
from tests.processes import ProcessTestCase

ANN = Keypair(b"a" * 32)
ALL = 1 << 30


def row_of(number: int, first: Head | None = None) -> tuple[Segment, Head]:
    [segment], head = build(ANN, first or Head(0, genesis_id(ANN.author)), [encode_body(7, b"%d" % number)])
    return segment, head


def overwrite(database: Path, segment: Segment) -> None:
    """Change a row as somebody does who knows how it is summed."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        [[entry_id, holes]] = connection.execute(
            "SELECT id, holes FROM segments WHERE first = ?", (segment.first,)
        )
        author, first, count, previous, signature, bodies = segment
        crc = row_crc(author, first, count, holes, entry_id, previous, signature, bodies)
        connection.execute(
            "UPDATE segments SET crc = ?, count = ?, previous = ?, signature = ?, bodies = ? WHERE first = ?",
            (crc, count, previous, signature, bodies, first),
        )


class ChangedRowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.first, head = row_of(1)
        self.second, self.head = row_of(2, head)
        with closing(open_logs(self.path)) as logs:
            logs.process([Accept(self.first, head), Accept(self.second, self.head)])

    def changed(self) -> list[Segment]:
        """Every part of a row, each time another one."""
        bodies = join([encode_body(7, b"?")])
        return [
            self.second._replace(bodies=bodies),
            self.second._replace(previous=bytes(32)),
            self.second._replace(signature=bytes(64)),
            self.second._replace(bodies=join([encode_body(7, b"2")] * 2), count=2),
        ]

    def test_it_is_not_given_out(self) -> None:
        for segment in self.changed():
            overwrite(self.path / "log.sqlite", segment)
            with closing(SQLiteBackend(self.path)) as backend:
                self.assertEqual(backend.segments(ANN.author, 2, 1), [segment])  # its checksum is right
            with closing(open_logs(self.path)) as logs:
                with self.assertRaises(StoreDamagedError) as caught:
                    logs.segments(ANN.author, 2, ALL)
                self.assertIn("not what its author signed", str(caught.exception))
                self.assertEqual(logs.segments(ANN.author, 1, 1), [self.first])
                theirs, _ = row_of(3, Head(1, self.second.previous))
                self.assertRaises(StoreDamagedError, logs.examine, theirs)  # no proof is made of it

    def test_a_head_that_is_another(self) -> None:
        with closing(sqlite3.connect(self.path / "log.sqlite", isolation_level=None)) as connection:
            wrong = head_columns(ANN.author, Head(2, bytes(32)))
            connection.execute("UPDATE authors SET seq = ?, id = ?", wrong)
            settled = sealed("meta", b"", (2).to_bytes(8, "big"))
            connection.execute("INSERT OR REPLACE INTO meta VALUES (x'', ?)", (settled,))
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(StoreDamagedError, logs.segments, ANN.author, 2, 1)
            self.assertEqual(logs.segments(ANN.author, 1, 1), [self.first])

    def test_a_fork_proof(self) -> None:
        proof = build_proof(self.first, row_of(3)[0])
        assert proof is not None
        with closing(open_logs(self.path)) as logs:
            logs.process([AddFork(proof)])
            self.assertEqual(logs.fork_proof(ANN.author), proof)
        wrong = encode_proof(proof._replace(signature=bytes(64)))
        with closing(sqlite3.connect(self.path / "log.sqlite", isolation_level=None)) as connection:
            connection.execute("UPDATE forks SET proof = ?", (wrong,))
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(StoreDamagedError, logs.fork_proof, ANN.author)


class RememberedTests(SynchronousTestCase):
    """A row is verified once, and what is remembered is what it was."""

    def setUp(self) -> None:
        self.vouching = CheckedRows(MemoryBackend(), Clock())
        self.verified: list[Segment] = []
        self.patch(vouching, "verify_unfolded", self.verify)

    def verify(self, segment: Segment) -> tuple[Head, Unfolded]:
        self.verified.append(segment)
        return verify_unfolded(segment)

    def test_once(self) -> None:
        segment, _ = row_of(1)
        for _ in range(3):
            again = Segment(*[bytes(bytearray(v)) if type(v) is bytes else v for v in segment])
            self.assertEqual(self.vouching.check(again), segment)
        self.assertEqual(len(self.verified), 1)

    def test_changed_since(self) -> None:
        segment, _ = row_of(1)
        self.vouching.check(segment)
        for other in (
            segment._replace(bodies=join([encode_body(7, b"?")])),
            segment._replace(signature=bytes(64)),
            segment._replace(first=2, previous=bytes(32)),
        ):
            for _ in range(2):  # what was refused is not remembered
                self.assertRaises(StoreDamagedError, self.vouching.check, other)

    def test_bound(self) -> None:
        with patch.object(vouching, "_REMEMBERED", 3):
            rows = [row_of(number)[0] for number in range(5)]
            for row in rows:
                self.vouching.check(row)
            self.verified.clear()
            for row in reversed(rows):
                self.vouching.check(row)
            self.assertEqual(self.verified, [rows[1], rows[0]])


class CommandTests(ProcessTestCase):
    def test_log(self) -> None:
        self.run_gossiplog("init", "--store", "ann")
        self.run_gossiplog("append", "--store", "ann", "one")
        database = self.place / "ann" / "log.sqlite"
        with closing(open_logs(self.place / "ann")) as logs:
            [author] = logs.clock
            [segment] = logs.segments(author, 1, 1)
        overwrite(database, segment._replace(bodies=segment.bodies.replace(b"one", b"two")))
        self.assert_one_line(self.gossiplog("log", "--store", "ann"), 3, "not what its author signed")
