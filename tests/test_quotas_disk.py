"""Ring 1: what quotas count is what a store takes on disk, of whatever it is full; in small numbers.

``python -m tests.audit quotas-disk`` does so with large ones.
"""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import StoreError, open_store
from gossiplog.gossip.quotas import Quota, QuotaLedger, Quotas
from gossiplog.limits import DISK_PAGE_BYTES
from gossiplog.log.disk_cost import Weights
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, Delivery, Forget
from gossiplog.testing.chain import Chain
from tests.disks import GAPS, KINDS, MERGED, Made, sizes_of

SCALE = 10
BOUND = 0.2
FEW_BYTES = 16 * DISK_PAGE_BYTES
"""Of gaps that do not count."""


class DiskTests(SynchronousTestCase):
    """Each kind of thing that a peer can make a node keep."""

    def test_every_kind(self) -> None:
        """Within 20 %, and the same number when the store is opened again."""
        wrong = {}
        for kind in KINDS:
            place = Path(self.mktemp()).resolve()
            sizes = sizes_of(KINDS[kind](SCALE), place, merge=kind == MERGED)
            self.assertEqual(sizes.counted, sizes.recounted, kind)
            if abs(sizes.error) > BOUND:
                wrong[kind] = f"{sizes.error:+.0%}"
        self.assertEqual(wrong, {})

    def test_gaps(self) -> None:
        """Deleting and merging leave pages partly empty, which count for all together."""
        for kind in GAPS:
            sizes = sizes_of(GAPS[kind](SCALE), Path(self.mktemp()).resolve(), merge=True)
            self.assertLess(abs(sizes.counted - sizes.used), FEW_BYTES, kind)
            self.assertLess(abs(sizes.recounted - sizes.used), FEW_BYTES, kind)

    def test_an_empty_store(self) -> None:
        """Counts nothing, however many pages it has."""
        with closing(open_logs(Path(self.mktemp()).resolve())) as logs:
            self.assertEqual(logs.weighing.begin().bytes, 0)
            self.assertEqual(logs.weighing.used_bytes(), 0)
            self.assertIsNone(logs.weighing.settled())


class WeightsTests(SynchronousTestCase):
    """What all things together take."""

    def test_gaps(self) -> None:
        """Are what is used beyond them, as of when somebody looked; few are none."""
        weights = Weights({b"a": 100}, 10 * FEW_BYTES)
        self.assertEqual((weights.bytes, weights.gap_bytes), (10 * FEW_BYTES, 10 * FEW_BYTES - 100))
        self.assertFalse(weights.change((), {b"b": 50}))
        self.assertEqual(weights.bytes, 10 * FEW_BYTES + 50)
        self.assertFalse(weights.change((b"a",), {}, 10 * FEW_BYTES))
        self.assertEqual(weights.bytes, 10 * FEW_BYTES)
        self.assertTrue(weights.change((), {}, FEW_BYTES + 50))
        self.assertEqual(weights.bytes, 50)

    def test_what_is_left_of_deleted_logs(self) -> None:
        """Counts until its room is given back: whoever is refused for want of room is so until then."""
        weights = Weights({b"a": 100 * FEW_BYTES}, 100 * FEW_BYTES)
        ledger = QuotaLedger(Quotas(bytes=100 * FEW_BYTES), weights, set())
        self.assertIs(ledger.full(b"b", 1), Quota.BYTES)
        ledger.refused[b"b"] = Quota.BYTES
        weights.change((b"a",), {}, 100 * FEW_BYTES)
        self.assertEqual(ledger.forgotten(b"a"), [])
        self.assertIs(ledger.full(b"b", 1), Quota.BYTES)
        self.assertTrue(weights.change((), {}, 10 * FEW_BYTES))
        self.assertEqual(ledger.lightened(()), [b"b"])
        self.assertIsNone(ledger.full(b"b", 1))


class StoreTests(TestCase):
    """A store that is in use, on disk, with the real thread."""

    timeout = 30

    async def test_merging_is_told(self) -> None:
        """What a store says that authors take is what they take, also when small rows became large ones."""
        store = open_store(self.mktemp(), reactor)
        weights = store._core.weigh()
        lighter: Deferred[dict[bytes, int]] = Deferred()

        def hear(delivery: Delivery) -> None:
            if delivery.report is not None and min(delivery.report.changes.values(), default=0) < 0:
                lighter.callback(dict(delivery.report.changes))
                stop()

        stop = store._core.listen(hear)
        writer = await store.writer()
        for _ in range(20):
            await writer.append(b"x" * 100)
        most = weights.bytes
        self.assertEqual([*await lighter], [writer.author])
        self.assertLess(weights.bytes, most)
        there = await store._core.run(lambda logs: logs.weighing.weights())
        self.assertEqual(weights.authors, there)
        await store.close()

    async def test_what_is_in_use_cannot_be_read(self) -> None:
        """When there is no descriptor for it: neither the thread ends nor fails a commit that was done."""
        store = open_store(self.mktemp(), reactor)
        before = store._core.weigh().bytes
        asked = threading.Event()

        def fail() -> int:
            asked.set()
            raise StoreError("unable to open database file")

        backend: Any = await store._core.run(lambda logs: logs._backend)
        self.patch(backend, "used_bytes", fail)
        writer = await store.writer()
        await writer.append(b"1")
        await deferToThread(asked.wait)  # the thread is idle
        self.assertEqual(await writer.append(b"2"), 2)
        chain = Chain()
        await store._core.run(lambda logs: logs.process([Accept(*chain.put(b"x"))]))
        report = await store._core.run(lambda logs: logs.process([Forget(chain.author)]))
        self.assertEqual((report.forgotten, report.used_bytes), ((chain.author,), before))
        await store.close()

    async def test_a_repair_begins_anew(self) -> None:
        """It takes rows away that nobody counts then."""
        place = Path(self.mktemp()).resolve()
        made = Made()
        with closing(open_logs(place)) as logs:
            logs.process([*made.log(made.bytes(32), 3, lambda: made.body(100))])
        store = open_store(place, reactor)
        before = store._core.weigh().bytes
        await store.repair()  # nobody signed any of it
        there = await store._core.run(lambda logs: logs.weighing.weights())
        self.assertLess(sum(there.values()), before)
        self.assertEqual(store._core.weigh().authors, there)
        await store.close()
