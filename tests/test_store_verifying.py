"""The whole-store check names what is wrong and never raises."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreClosedError, StoreDamagedError
from gossiplog.log.segment import Head, Segment, drop_payloads
from gossiplog.store.interface import DeleteAuthor, PutFork, PutSegment
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.repair.verify import Damage, verify_store
from gossiplog.testing.chain import Chain


class VerifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = MemoryBackend()
        self.chain = Chain(1)
        self.other = Chain(2)
        self.puts = [self.chain.put(b"%d" % number, b"x") for number in range(4)]

    def write(self, change: Callable[[list[PutSegment]], None] = lambda puts: None) -> None:
        """Commit both logs, one of them changed on the way."""
        change(self.puts)
        self.backend.commit([*self.puts, self.other.put(b"fine")])

    def damages(self) -> list[Damage]:
        return Logs(self.backend).verify().damages

    def test_all_is_well(self) -> None:
        self.write()
        self.backend.commit([PutFork(self.chain.fork())])
        seen: list[tuple[int, int]] = []
        report = Logs(self.backend).verify(lambda done, total: seen.append((done, total)))
        self.assertTrue(report.ok)
        self.assertEqual((report.authors, report.segments, report.entries), (2, 5, 9))
        self.assertEqual(report.item_bytes, sum(len(put.segment.bodies) for put in self.puts) + 6)
        self.assertEqual((seen[-1], len(seen)), ((9, 9), 5))

    def test_holes_are_no_damage(self) -> None:
        def drop(puts: list[PutSegment]) -> None:
            puts[1] = puts[1]._replace(segment=drop_payloads(puts[1].segment, [3]))

        self.write(drop)
        report = Logs(self.backend).verify()
        self.assertEqual(report.damages, [])
        self.assertEqual(report.holes, {self.chain.author: 1})
        self.assertEqual(Logs(self.backend).holes(), {self.chain.author: 1})

    def test_changed_rows(self) -> None:
        def change(field: str, value: object) -> Callable[[list[PutSegment]], None]:
            def apply(puts: list[PutSegment]) -> None:
                puts[1] = puts[1]._replace(segment=puts[1].segment._replace(**{field: value}))

            return apply

        bodies = self.puts[1].segment.bodies
        for field, value in (
            ("bodies", bodies[:-1] + b"?"),
            ("bodies", bodies[:-1]),
            ("bodies", b"\xc1"),
            ("signature", bytes(64)),
            ("previous", bytes(32)),
        ):
            self.setUp()
            self.write(change(field, value))
            [damage] = self.damages()
            self.assertEqual((damage.author, damage.first), (self.chain.author, 3))

    def test_a_row_of_another_log(self) -> None:
        twin = Chain(1)
        twin.put(b"another", b"beginning")

        def swap(puts: list[PutSegment]) -> None:
            puts[1] = puts[1]._replace(segment=twin.put(b"1", b"x").segment)

        self.write(swap)
        self.assertEqual([damage.first for damage in self.damages()], [3, 5])

    def test_a_missing_row(self) -> None:
        self.write()
        log = self.backend.content.logs[self.chain.author]
        del log.rows[1], log.firsts[1]
        self.assertEqual(self.damages(), [Damage(self.chain.author, 3, 4, "entries 3 to 4 are missing")])

    def test_a_missing_end(self) -> None:
        self.write()
        log = self.backend.content.logs[self.chain.author]
        del log.rows[-1], log.firsts[-1]
        [damage] = self.damages()
        self.assertEqual((damage.author, damage.first), (self.chain.author, 7))

    def test_no_rows_at_all(self) -> None:
        self.write()
        log = self.backend.content.logs[self.chain.author]
        log.rows, log.firsts = [], []
        [damage] = self.damages()
        self.assertEqual((damage.author, damage.first), (self.chain.author, 1))

    def test_another_head_on_disk_than_in_memory(self) -> None:
        self.write()
        logs = Logs(self.backend)
        logs.clock.set(bytes(32), Head(3, bytes(32)))
        self.backend.commit([DeleteAuthor(self.other.author)])
        self.assertEqual({damage.author for damage in logs.verify().damages}, {bytes(32), self.other.author})

    def test_a_proof_that_proves_nothing(self) -> None:
        self.write()
        proof = self.chain.fork()
        self.backend.commit([PutFork(proof._replace(signature=bytes(64)))])
        [damage] = self.damages()
        self.assertEqual(damage.author, self.chain.author)

    def test_a_disk_that_cannot_be_read(self) -> None:
        self.write()
        logs = Logs(self.backend)

        def refuse(*_: object) -> list[Segment]:
            raise StoreDamagedError("unreadable")

        for method in ("segments", "rows", "heads", "forks", "check"):
            backend = self.backend.snapshot()
            setattr(backend, method, refuse)
            self.assertIn(
                "unreadable", {damage.reason for damage in verify_store(backend, logs.clock).damages}
            )

    def test_a_closed_store(self) -> None:
        logs = Logs(self.backend)
        logs.close()
        with self.assertRaises(StoreClosedError):
            logs.verify()
