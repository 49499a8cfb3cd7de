"""Repairing a store: others' logs are cut and come again, our own come back only as the same entries."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog.errors import StoreCopiedError, StoreDamagedError, StoreError, StoreFormatError
from gossiplog.log.cursor import Cursor
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Head, Segment, chain_ids, drop_payloads, merge, verify
from gossiplog.store.interface import PutFork, Replace
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Accept, Append, Appended, SetCursor
from gossiplog.store.sqlite.header import SCHEMA_VERSION, mark
from gossiplog.store.sqlite.rows import head_columns, sealed
from gossiplog.testing.chain import Chain
from tests.lives import use_both_journals
from tests.shims import Point, between, usable

ALL = 1 << 30
PAGE = 16384


def settled(number: int) -> bytes:
    """Return the value that says up to which row the table of authors counts."""
    return sealed("meta", b"", number.to_bytes(8, "big"))


class RepairTestCase(SynchronousTestCase):
    """A closed store with a writer, three authors from elsewhere, a cursor and a fork proof; and a donor's."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.donor_path = Path(self.mktemp()).absolute()
        self.database = self.path / "log.sqlite"
        self.chains = [Chain(number) for number in range(1, 4)]
        self.forked = Chain(9)
        self.cursor = Cursor({chain.author: (3, bytes(8)) for chain in self.chains})
        logs, donor = open_logs(self.path), open_logs(self.donor_path)
        self.ann = logs.writer("ann").author
        for number in range(5):
            logs.process([Append(self.ann, [b"%d %d" % (number, place) for place in range(3)])])
            logs.process(
                [Accept(*chain.put(b"%d" % number, bytes([number]) * 9_000)) for chain in self.chains]
            )
        logs.process([Accept(*self.forked.put(b"x")), SetCursor("me", self.cursor)])
        logs._backend.commit([PutFork(self.forked.fork())])
        self.clock = logs.clock.copy()
        self.own: list[Segment] = logs.segments(self.ann, 1, ALL)
        for segment in self.own:
            donor.process([Accept(segment, verify(segment))])
        logs.close()
        donor.close()
        self.good = self.database.read_bytes()

    def open(self) -> Logs:
        logs = open_logs(self.path, init=False)
        self.addCleanup(logs.close)
        return logs

    def flip(self, *segments: Segment) -> None:
        """Flip a bit in the signature of each segment on disk."""
        bad = bytearray(self.database.read_bytes())
        for segment in segments:
            bad[bad.index(segment.signature)] ^= 1
        self.database.write_bytes(bad)


class CutTests(RepairTestCase):
    """Damage to rows of other authors."""

    def test_nothing_to_do(self) -> None:
        logs = self.open()
        report = logs.repair()
        self.assertEqual((report.cut, report.mended, report.left), ({}, [], []))
        self.assertEqual(logs.clock, self.clock)

    def test_a_log_is_cut_before_its_damage_and_goes_on(self) -> None:
        one, two, three = self.chains
        self.flip(one.segments[2], two.segments[0])
        logs = self.open()
        report = logs.repair()
        self.assertEqual(report.cut, {one.author: (10, 4), two.author: (10, 0)})
        self.assertEqual(report.left, [])
        self.assertEqual((logs.clock.seq(one.author), logs.clock.seq(two.author)), (4, 0))
        self.assertEqual(logs.segments(one.author, 1, ALL), one.segments[:2])
        self.assertEqual(logs.segments(three.author, 1, ALL), three.segments)
        for chain, place in ((one, 2), (two, 0)):
            for segment in chain.segments[place:]:
                logs.process([Accept(segment, verify(segment))])
        self.assertEqual(logs.clock, self.clock)
        self.assertTrue(logs.verify().ok)
        logs.close()
        self.assertEqual(self.open().clock, self.clock)

    def test_a_cut_log_is_merged_again(self) -> None:
        """What merging knew of it is forgotten."""
        chain = Chain(7)
        logs = self.open()
        for number in range(20):
            logs.process([Accept(*chain.put(b"%d" % number))])
        logs.close()
        self.flip(chain.segments[9])
        logs = self.open()
        logs.process([Accept(*chain.put(b"more"))])
        logs.repair()
        self.assertEqual(logs.clock.seq(chain.author), 9)
        for segment in chain.segments[9:]:
            logs.process([Accept(segment, verify(segment))])
        while logs.merge_some(ALL):
            pass
        self.assertTrue(logs.verify().ok)
        self.assertEqual(logs.clock.seq(chain.author), 21)

    def test_a_wrong_head_is_put_right(self) -> None:
        """The rows prove the head; nothing is lost, of our own log either."""
        connection = sqlite3.connect(self.database)
        connection.execute(
            "INSERT INTO meta VALUES (x'', ?)", (settled(1000),)
        )  # the table of authors counts now
        for author, head in self.clock.items():
            wrong = head_columns(author, Head(head.seq, bytes(32)))
            connection.execute("UPDATE authors SET seq = ?, id = ? WHERE author = ?", (*wrong, author))
        connection.commit()
        connection.close()
        logs = self.open()
        self.assertEqual(len(logs.verify().damages), 5)
        report = logs.repair()
        self.assertEqual((report.left, report.mended), ([], [(self.ann, 15, 15)]))
        self.assertEqual(logs.clock, self.clock)
        logs.close()
        self.assertEqual(self.open().clock, self.clock)

    def test_a_damaged_node_key_is_replaced(self) -> None:
        logs = self.open()
        before = logs.node_key()
        logs.close()
        key = self.path / "node.key"
        key.write_bytes(b"?" + key.read_bytes()[1:])
        logs = self.open()
        [damage] = logs.verify().damages
        self.assertIn(str(key), damage.reason)
        self.assertEqual(logs.repair().left, [])
        self.assertNotEqual(logs.node_key(), before)
        self.assertTrue(logs.verify().ok)


class OwnTests(RepairTestCase):
    """Damage to our own log."""

    def donor(self) -> Logs:
        donor = open_logs(self.donor_path)
        self.addCleanup(donor.close)
        return donor

    def merge_at_donor(self, first: int, stop: int) -> None:
        donor = open_logs(self.donor_path)
        rows = self.own[first:stop]
        donor._backend.commit([Replace(self.ann, rows[0].first, rows[-1].last, merge(rows))])
        donor.close()

    def ids(self, logs: Logs) -> list[bytes]:
        return [one for segment in logs.segments(self.ann, 1, ALL) for one in chain_ids(segment)]

    def wanted(self) -> list[bytes]:
        return [one for segment in self.own for one in chain_ids(segment)]

    def test_it_is_never_cut(self) -> None:
        """Without a donor it stays as it is, readable around the damage; appending behind it goes on."""
        self.flip(self.own[2])
        logs = self.open()
        report = logs.repair()
        self.assertEqual((report.cut, report.mended), ({}, []))
        self.assertEqual([(d.author, d.first, d.last) for d in report.left], [(self.ann, 7, 9)])
        self.assertEqual(logs.clock, self.clock)
        self.assertRaises(StoreDamagedError, logs.segments, self.ann, 7, 1)
        self.assertEqual(logs.segments(self.ann, 10, ALL), self.own[3:])
        logs.process([Append(self.ann, [b"goes on"])])
        self.assertEqual(logs.clock.seq(self.ann), 16)

    def test_a_damaged_end_is_not_signed_behind(self) -> None:
        """Its seqs are not given again, until somebody says that what had them is lost."""
        self.flip(self.own[4])
        for _ in range(2):
            logs = self.open()
            self.assertEqual([damage[:3] for damage in logs.damages], [(self.ann, 13, 15)])
            [result] = logs.process([Append(self.ann, [b"no"])]).results
            self.assertIsInstance(result, StoreDamagedError)
            self.assertEqual([damage[:3] for damage in logs.repair().left], [(self.ann, 13, 15)])
            self.assertIn("cannot be read", logs.copied)
            self.assertRaises(StoreCopiedError, logs.require_all_back)
            logs.close()
        logs = self.open()
        logs.recovered()
        self.assertTrue(logs.verify().ok)
        logs.close()
        logs = self.open()
        self.assertEqual(logs.copied, "")
        [result] = logs.process([Append(self.ann, [b"yes"])]).results
        self.assertEqual(result, Appended(13, 13))
        self.assertTrue(logs.verify().ok)

    def test_a_damaged_end_comes_back_from_a_peer(self) -> None:
        """Without a repair; then our writer goes on."""
        self.flip(self.own[3], self.own[4])
        logs = self.open()
        self.assertEqual(logs.clock.seq(self.ann), 9)
        logs.process([Accept(self.own[3], verify(self.own[3]))])
        [result] = logs.process([Append(self.ann, [b"no"])]).results
        self.assertIsInstance(result, StoreDamagedError)
        logs.process([Accept(self.own[4], verify(self.own[4]))])
        [result] = logs.process([Append(self.ann, [b"yes"])]).results
        self.assertEqual(result, Appended(16, 16))
        self.assertTrue(logs.verify().ok)
        logs.close()
        logs = self.open()
        self.assertEqual((logs.clock.seq(self.ann), logs.copied), (16, ""))
        self.assertEqual(logs.segments(self.ann, 1, ALL)[:5], self.own)

    def test_a_part_of_a_damaged_end_comes_back(self) -> None:
        """What is still missing is remembered when the store is opened again."""
        self.flip(self.own[3], self.own[4])
        logs = self.open()
        logs.process([Accept(self.own[3], verify(self.own[3]))])
        logs.close()
        logs = self.open()
        self.assertEqual((logs.clock.seq(self.ann), logs.damages), (12, []))
        [result] = logs.process([Append(self.ann, [b"no"])]).results
        self.assertIsInstance(result, StoreCopiedError)
        self.assertRaises(StoreCopiedError, logs.require_all_back)

    def test_the_same_entries_of_a_donor_mend_it(self) -> None:
        """Wherever the damage is, and however the donor's rows lie."""
        for first, stop in ((0, 1), (0, 3), (1, 4), (2, 5), (0, 5)):
            for damaged in ([0], [2], [4], [1, 2], [0, 4], [0, 1, 2, 3, 4]):
                self.setUp()
                self.flip(*(self.own[place] for place in damaged))
                self.merge_at_donor(first, stop)
                logs = self.open()
                report = logs.repair(self.donor().segments)
                self.assertEqual(report.left, [], (first, stop, damaged))
                self.assertTrue(report.mended)
                self.assertEqual(self.ids(logs), self.wanted())
                self.assertEqual(logs.clock, self.clock)
                [result] = logs.process([Append(self.ann, [b"goes on"])]).results
                self.assertNotIsInstance(result, StoreError)
                logs.close()

    def test_a_donor_that_has_too_little(self) -> None:
        self.flip(self.own[1], self.own[4])
        shutil.rmtree(self.donor_path)
        donor = self.donor()
        for segment in self.own[:3]:
            donor.process([Accept(segment, verify(segment))])
        logs = self.open()
        report = logs.repair(donor.segments)
        self.assertEqual(report.mended, [(self.ann, 4, 6)])
        self.assertEqual([(d.first, d.last) for d in report.left], [(13, 15)])

    def test_a_donor_that_lacks_payloads(self) -> None:
        """Our own entries come back whole or not at all."""
        self.flip(self.own[1])
        shutil.rmtree(self.donor_path)
        donor = self.donor()
        for segment in self.own:
            holed = drop_payloads(segment, [segment.first]) if segment is self.own[1] else segment
            donor.process([Accept(holed, verify(holed))])
        self.assertEqual(donor.clock.seq(self.ann), self.own[-1].last)
        self.assertEqual(self.open().repair(donor.segments).mended, [])

    def test_a_donor_with_another_log_of_ours(self) -> None:
        """A fork mends nothing."""
        self.flip(self.own[1])
        shutil.rmtree(self.donor_path)
        donor = self.donor()
        other = Chain()
        seed = (self.path / "seeds" / "ann").read_bytes()[:32]
        other.keypair = Keypair(seed)
        other.author = self.ann
        other.head = verify(self.own[0])
        donor.process([Accept(self.own[0], verify(self.own[0]))])
        for _ in range(4):
            donor.process([Accept(*other.put(b"a", b"b", b"c"))])
        logs = self.open()
        self.assertEqual(logs.repair(donor.segments).mended, [])
        self.assertEqual(self.ids_around(logs), self.wanted()[6:])

    def ids_around(self, logs: Logs) -> list[bytes]:
        return [one for segment in logs.segments(self.ann, 7, ALL) for one in chain_ids(segment)]


class SalvageTests(RepairTestCase):
    """Damage below the rows."""

    def test_a_whole_store_stays_whole(self) -> None:
        """Everything is taken over; the old file is kept; writers wait for ``recover``."""
        kept = salvage(self.path)
        self.assertEqual((kept.rows, kept.authors), (21, 5))
        self.assertEqual(Path(kept.aside).read_bytes()[100:], self.good[100:])
        logs = self.open()
        self.assertTrue(logs.verify().ok)
        self.assertEqual(logs.clock, self.clock)
        self.assertEqual(logs.cursor("me"), self.cursor)
        self.assertEqual(list(logs.forks), [self.forked.author])
        self.assertIn("another file", logs.copied)
        logs.recovered()
        [result] = logs.process([Append(self.ann, [b"goes on"])]).results
        self.assertNotIsInstance(result, StoreError)
        self.assertEqual(
            sorted(p.name for p in self.path.glob("log.sqlite*")),
            ["log.sqlite", "log.sqlite-wal", "log.sqlite.damaged"],
        )

    def test_what_is_in_the_write_ahead_log_only(self) -> None:
        """A store whose process was killed."""
        logs = open_logs(self.path)
        logs.process([Append(self.ann, [b"late"])])
        copy = Path(self.mktemp()).absolute()
        shutil.copytree(self.path, copy)
        logs.close()
        self.path = copy
        salvage(copy)
        logs = self.open()
        self.assertEqual(logs.clock.seq(self.ann), 16)
        self.assertTrue(logs.verify().ok)

    def test_killed_in_the_middle_of_a_large_commit(self) -> None:
        """Its journal is played back into the old file, and is not there to be played into the new one."""
        if not usable():
            raise SkipTest("this sqlite3 cannot be given another VFS")
        use_both_journals(self.patch)
        copy = Path(self.mktemp()).absolute()

        def hook(point: Point) -> None:
            if point == Point("sync", "log.sqlite") and logs.clock.seq(self.ann) == 18 and not copy.exists():
                shutil.copytree(self.path, copy)

        with between(hook):
            logs = open_logs(self.path)
            for _ in range(4):
                logs.process([Append(self.ann, [bytes(3000)])])
            logs.close()
        self.path = copy
        self.assertTrue((copy / "log.sqlite-journal").exists())
        salvage(copy)
        self.assertFalse((copy / "log.sqlite-journal").exists())
        logs = self.open()
        self.assertEqual(logs.clock.seq(self.ann), 18)
        self.assertTrue(logs.verify().ok)

    def test_any_page(self) -> None:
        """One page is lost: nothing but what it held, no wrong entry, and the rest is in order afterwards."""
        whole = entries = pages = 0
        for place in range(0, len(self.good), PAGE):
            self.renew(self.good[:place] + os.urandom(PAGE) + self.good[place + PAGE :])
            try:
                salvage(self.path)
            except StoreDamagedError as error:
                self.assertEqual(place, 0, error)  # the page with the schema
                continue
            self.check()
            logs = self.open()
            whole += logs.clock == self.clock
            entries += logs.clock.total()
            pages += 1
            logs.close()
        self.assertGreater(whole, 2)
        self.assertGreater(entries, pages * self.clock.total() // 2)

    def test_any_bits(self) -> None:
        draw = random.Random(1)
        for number in range(60):
            bad = bytearray(self.good)
            for _ in range(draw.choice((1, 1, 5, 50))):
                bad[draw.randrange(len(bad) if number % 2 else 400)] ^= 1 << draw.randrange(8)
            self.renew(bytes(bad))
            try:
                salvage(self.path)
            except StoreDamagedError:
                continue
            self.check()

    def test_lost_ends(self) -> None:
        for size in (PAGE, 3 * PAGE, len(self.good) // 2, len(self.good) - PAGE, len(self.good) - 1):
            self.renew(self.good[:size])
            if size == PAGE:  # every table is gone
                self.assertRaises(StoreDamagedError, salvage, self.path)
            else:
                salvage(self.path)
                self.check()

    def renew(self, content: bytes) -> None:
        """Another damaged file, nothing else of the last one."""
        for file in self.path.glob("log.sqlite*"):
            file.unlink()
        self.database.write_bytes(content)

    def check(self) -> None:
        """Open and repair: only true entries, only our own log with damages left, and no append before recover."""
        logs = open_logs(self.path, init=False)
        try:
            self.assertTrue(logs.copied)
            report = logs.repair()
            self.assertLessEqual({damage.author for damage in report.left}, {self.ann})
            for chain in [*self.chains, self.forked]:
                found = logs.segments(chain.author, 1, ALL)
                self.assertEqual(found, chain.segments[: len(found)])
                self.assertEqual(logs.clock.seq(chain.author), found[-1].last if found else 0)
            [result] = logs.process([Append(self.ann, [b"no"])]).results
            self.assertIsInstance(result, StoreError)
        finally:
            logs.close()

    def test_files_that_are_not_ours(self) -> None:
        for content, refusal in (
            (b"not a database" * 5000, StoreDamagedError),
            (b"", StoreDamagedError),
            (self.good[:60] + mark(SCHEMA_VERSION + 1).to_bytes(4, "big") + self.good[64:], StoreFormatError),
        ):
            self.renew(content)
            self.assertRaises(refusal, salvage, self.path)
            self.assertEqual(self.database.read_bytes(), content)
