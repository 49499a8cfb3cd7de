"""Ring 6: what Python's search for cycles goes through."""

from __future__ import annotations

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from tests.netcase import World


class Ring:
    """I am a cycle."""

    def __init__(self) -> None:
        self.itself = self


class StoreTests(SynchronousTestCase):
    """A store that comes to hold many authors."""

    def setUp(self) -> None:
        """Four are many."""
        self.patch(limits, "MAX_UNFROZEN_AUTHORS", 4)
        self.world = World()
        self.addCleanup(gc.unfreeze)

    def test_when_it_has_grown(self) -> None:
        """By so many: from then on they are searched no more, until the store is closed."""
        site = self.world.site("node")
        counts = []
        for number in range(9):
            site.append(b"entry", name=f"writer {number}")
            self.world.run(0.1)
            counts.append(gc.get_freeze_count())
        self.assertEqual([count > 0 for count in counts], [False] * 3 + [True] * 6)
        self.assertGreater(counts[7], counts[6])
        self.assertEqual(self.world.close(), [])
        self.assertEqual(gc.get_freeze_count(), 0)

    def test_garbage_is_freed_before(self) -> None:
        """What was garbage when it froze; and what became it later, when the store is closed."""
        site = self.world.site("node")
        before, later = Ring(), Ring()
        gone = [weakref.ref(before), weakref.ref(later)]
        del before
        for number in range(4):
            site.append(b"entry", name=f"writer {number}")
            self.world.run(0.1)
        del later
        gc.collect()
        self.assertEqual([ring() is None for ring in gone], [True, False])
        self.assertEqual(self.world.close(), [])
        gc.collect()
        self.assertEqual([ring() is None for ring in gone], [True, True])
