"""A process that uses a store in every way, says what became durable, and ends itself where it is told to.

    python -m tests.mortal STORE PEER SEED [PHASE COUNT]

It dies with SIGKILL when PHASE comes for the COUNTth time; without a PHASE it goes on until somebody kills it, and
with the PHASE ``-`` it ends in order and prints every phase it came through.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from gossiplog.gossip.backlog import read
from gossiplog.log.segment import Segment, chain_ids, verify
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Append, Request
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.chain import Chain
from tests.lives import use_both_journals
from tests.shims import Point, StatementShim, between

ALL = 1 << 30
ROUNDS = 4
SMALL_ROWS = 9


class Mortal:
    """I am the process."""

    def __init__(self, store: Path, peer: Path, seed: int, fatal: str, count: int) -> None:
        self.draw = random.Random(seed)
        self.store, self.peer = store, peer
        self.fatal, self.count = fatal, count
        self.doing = "opening"
        self.phases: Counter[str] = Counter()
        StatementShim.hook = staticmethod(self.reached)  # type: ignore[method-assign]

    def reached(self, point: Point) -> None:
        """A call is about to be made: is this the one?"""
        phase = f"{self.doing}: {point}"
        self.phases[phase] += 1
        if phase == self.fatal and self.phases[phase] == self.count:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self) -> None:
        """Open, recover if need be, then append, catch up and merge; close."""
        use_both_journals(setattr)
        backend = SQLiteBackend(self.store, factory=StatementShim)
        backend._connection.execute("PRAGMA wal_autocheckpoint = 12")
        logs = Logs(backend)
        if logs.copied:
            self.recover(logs)
        self.doing = "first writer" if not logs.local else "writer"
        ann = logs.writer("ann").author
        logs.node_key()
        rounds = ROUNDS if self.fatal else ALL
        while rounds:
            rounds -= 1
            self.append(logs, ann)
            self.catch_up(logs)
            self.doing = "merge"
            while logs.merge_some(100_000):
                pass
        self.doing = "closing"
        logs.close()

    def append(self, logs: Logs, ann: bytes) -> None:
        """Small and large entries, one by one and many in a commit."""
        self.doing = "append"
        for _ in range(SMALL_ROWS):
            self.commit(logs, [Append(ann, [self.draw.randbytes(self.draw.choice((1, 100)))])])
        sizes = (1, 100, 3000, 50_000)
        lists = [[self.draw.randbytes(self.draw.choice(sizes)) for _ in range(3)] for _ in range(2)]
        self.commit(logs, [Append(ann, bodies) for bodies in lists])

    def catch_up(self, logs: Logs) -> None:
        """More of two authors from elsewhere."""
        self.doing = "catch up"
        chains = [Chain(1), Chain(2)]
        for chain in chains:
            while chain.head.seq < logs.clock.seq(chain.author):
                _next(chain)
        for _ in range(3):
            self.commit(logs, [Accept(*_next(chain)) for chain in chains])

    def recover(self, logs: Logs) -> None:
        """Adopt what the peer has of our own log, then append again."""
        self.doing = "adopt"
        with closing(open_logs(self.peer)) as peer:
            for author in logs.local:
                for segment in read(
                    [(author, logs.clock.seq(author) + 1)], ALL, peer.segments, {}.get
                ).segments:
                    self.commit(logs, [Accept(segment, verify(segment))])
        self.doing = "recover"
        logs.recovered()

    def commit(self, logs: Logs, requests: list[Request]) -> None:
        """Say what is durable, id by id: others have it from now on."""
        outcome = logs.process(requests)
        for segment in outcome.segments:
            say(segment)


def say(segment: Segment) -> None:
    """Print every entry of a segment in one write."""
    seqs = range(segment.first, segment.last + 1)
    ids = zip(seqs, chain_ids(segment), strict=True)
    lines = [f"{segment.author.hex()} {seq} {entry_id.hex()}\n" for seq, entry_id in ids]
    os.write(1, "".join(lines).encode())


def _next(chain: Chain) -> tuple[Segment, object]:
    return chain.put(*[b"%d" % (chain.head.seq + place) * 700 for place in (1, 2)])  # type: ignore[return-value]


def main(store: str, peer: str, seed: str, fatal: str = "", count: str = "1") -> None:
    mortal = Mortal(Path(store), Path(peer), int(seed), fatal, int(count))
    with between(mortal.reached):  # type: ignore[arg-type]
        mortal.run()
    if fatal == "-":
        for phase, times in sorted(mortal.phases.items()):
            print(f"phase {times} {phase}")


if __name__ == "__main__":
    main(*sys.argv[1:])
