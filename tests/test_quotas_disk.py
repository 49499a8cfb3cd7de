"""Ring 1: what quotas count is what a store takes on disk, of whatever it is full; in small numbers.

``python -m tests.audit quotas-disk`` does so with large ones.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import open_store
from gossiplog.gossip.events import Lightened
from gossiplog.live.follows import Told
from gossiplog.store.logs import open_logs
from tests.disks import GAPS, KINDS, MERGED, Made, sizes_of

SCALE = 10
BOUND = 0.2


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
        """Deleting and merging leave pages partly empty: up to half of what is in use then does not count."""
        for kind in GAPS:
            sizes = sizes_of(GAPS[kind](SCALE), Path(self.mktemp()).resolve(), merge=True)
            self.assertEqual(sizes.counted, sizes.recounted, kind)
            self.assertLess(sizes.used, 2 * sizes.counted, kind)


class StoreTests(TestCase):
    """A store that is in use, on disk, with the real thread."""

    timeout = 30

    async def test_merging_is_told(self) -> None:
        """What a store says that authors take is what they take, also when small rows became large ones."""
        store = open_store(self.mktemp(), reactor)
        weights = store.weigh()
        lighter: Deferred[Lightened] = Deferred()

        def hear(event: Told) -> None:
            if isinstance(event, Lightened) and not lighter.called:
                lighter.callback(event)

        store.interest.listen(hear)
        writer = await store.writer()
        for _ in range(20):
            await writer.append(b"x" * 100)
        most = weights.bytes
        self.assertEqual((await lighter).authors, (writer.author,))
        self.assertLess(weights.bytes, most)
        there = await store.run(lambda logs: logs.weighing.weights())
        self.assertEqual(weights.authors, there)
        await store.close()

    async def test_a_repair_begins_anew(self) -> None:
        """It takes rows away that nobody counts then."""
        place = Path(self.mktemp()).resolve()
        made = Made()
        with closing(open_logs(place)) as logs:
            logs.process([*made.log(made.bytes(32), 3, lambda: made.body(100))])
        store = open_store(place, reactor)
        before = store.weigh().bytes
        await store.repair()  # nobody signed any of it
        there = await store.run(lambda logs: logs.weighing.weights())
        self.assertLess(sum(there.values()), before)
        self.assertEqual(store.weigh().authors, there)
        await store.close()
