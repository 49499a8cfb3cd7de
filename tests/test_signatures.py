"""A local writer signs each seq once: every signature that it makes is watched, on disks that fail."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import AppendOutcomeUnknown, StoreError, StoreFailedError, StoreFullError
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import chain_ids
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Append
from tests.shims import Fault, Point, between, usable

ALL = 1 << 30
LIVES = 50
APPENDS = 5
FILES = ("log.sqlite", "log.sqlite-wal", "generation")


class SignatureTests(SynchronousTestCase):
    """Whatever a disk does, and whenever the process is killed, no second id for a seq is ever to be had.

    An append that failed for want of room is as if it had not been: its signature was in memory only, and its seq is
    signed again.  After one whose outcome is unknown nothing is signed before the store was opened again, when the disk
    tells what came of it.
    """

    if not usable():
        skip = "this sqlite3 cannot be given another VFS"

    def setUp(self) -> None:
        self.store = Path(self.mktemp()).absolute() / "store"
        self.store.parent.mkdir(parents=True)
        self.made: defaultdict[int, set[bytes]] = defaultdict(set)
        self.public: dict[int, bytes] = {}
        self.kinds: Counter[type[StoreError]] = Counter()
        sign = Keypair.sign_head

        def watched(keypair: Keypair, seq: int, entry_id: bytes) -> bytes:
            self.made[seq].add(entry_id)
            self.signed += 1
            return sign(keypair, seq, entry_id)

        self.signed = self.kills = 0
        self.patch(Keypair, "sign_head", watched)

    def note(self, logs: Logs, author: bytes) -> int:
        """Return how far the log goes.  What can be read may be read by others: it is the one id of its seq."""
        last = 0
        for segment in logs.segments(author, 1, ALL):
            for last, entry_id in enumerate(chain_ids(segment), segment.first):
                self.assertEqual(self.public.setdefault(last, entry_id), entry_id, f"two ids for {last}")
        self.assertEqual(logs.clock.seq(author), last)
        return last

    def live(self, draw: random.Random) -> None:
        """Open a store, append on a disk that fails now and then; close it, or be killed."""
        fault = draw.choice(list(Fault))
        calls = {Fault.FULL: {"write", "pwrite"}, Fault.HALF: {"write"}}.get(fault, {"write", "sync"})
        share = draw.choice((0.0, 0.05, 0.3))
        kill_at = draw.randrange(2 * APPENDS)
        left: dict[str, bytes] = {}
        armed = False

        def hook(point: Point) -> Fault | None:
            return fault if armed and point.call in calls and draw.random() < share else None

        with between(hook), closing(open_logs(self.store)) as logs:
            author = logs.writer("ann").author
            self.assertEqual(logs.copied, "")
            durable = self.note(logs, author)
            failed = False
            for number in range(APPENDS):
                bodies = [draw.randbytes(draw.choice((1, 100, 5000))) for _ in range(draw.randint(1, 3))]
                before = self.signed
                armed = True
                try:
                    durable = logs.process([Append(author, bodies)]).heads[author].seq
                except StoreError as error:
                    self.kinds[type(error)] += 1
                    self.assertFalse(failed and self.signed > before, "signed on a disk that had failed")
                    failed = isinstance(error, StoreFailedError)
                armed = False
                self.assertEqual(self.note(logs, author), durable)
                if number == kill_at:
                    left = {name: (self.store / name).read_bytes() for name in FILES}
                    break
        for name, content in left.items():  # over the files that are there, as if nothing had been closed
            with open(self.store / name, "r+b" if (self.store / name).exists() else "xb") as file:
                file.truncate()
                file.write(content)
        self.kills += bool(left)

    def test_each_seq_has_one_id(self) -> None:
        """Full disks, failed syncs and writes, short writes, kills; each time opened again, and on."""
        draw = random.Random(7)
        for _ in range(LIVES):
            self.live(draw)
        with closing(open_logs(self.store)) as logs:
            [author] = logs.local
            self.assertEqual(self.note(logs, author), len(self.public))
            self.assertTrue(logs.verify().ok)
        self.assertLessEqual({StoreFullError, StoreFailedError, AppendOutcomeUnknown}, self.kinds.keys())
        lost = [seq for seq, ids in self.made.items() if len(ids) > 1]
        self.assertGreater(min(self.kills, len(lost), len(self.public) - len(lost)), 5)
