"""Heads of very many authors of which few are in memory: how much they take, and what it costs to compare them.

The authors are made up as they are asked for, in order, as a store would read them; nothing waits for a disk.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any

from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Range, RangeKind, Ranges
from gossiplog.gossip.range_splitting import MESSAGE_RANGES
from gossiplog.gossip.reconcile import Reconcile
from gossiplog.log.leaf_sums import Away
from gossiplog.log.paged_clock import PagedClock
from gossiplog.log.segment import Head

SALT = bytes(range(32))
STAY = 250_000
"""Heads that stay in memory: 60 MB."""

MESSAGES = 12
UPDATES = 5000


class Authors:
    """I am a store of ``count`` authors, each with a head, spread evenly."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read_heads = 0

    def span(self, lower: bytes, upper: bytes) -> Iterator[tuple[bytes, Head]]:
        """All heads of a span, ascending."""
        first = int.from_bytes(lower[:8].ljust(8, b"\0"), "big") * self.count >> 64
        stop = (
            (int.from_bytes(upper[:8].ljust(8, b"\0"), "big") * self.count >> 64) + 1 if upper else self.count
        )
        for number in range(max(0, first - 1), min(stop + 1, self.count)):
            author = self.author(number)
            if lower <= author and (not upper or author < upper):
                self.read_heads += 1
                yield author, Head(1 + number % 200, author)

    def author(self, number: int) -> bytes:
        """One of them."""
        return ((number << 64) // self.count).to_bytes(8, "big") + sha256(b"%d" % number).digest()[:24]


def heads(count: int, seed: int = 1) -> dict[str, Any]:
    """Sum up, compare with peers that hold something else, take commits; then say how much memory that took."""
    random, store = Random(seed), Authors(count)
    before = _rss()
    clock = PagedClock(STAY)
    held = Heads(clock, (), frozenset())
    started = time.process_time()
    held.sum_up(clock, store.span(b"", b""))
    summed = time.process_time() - started
    store.read_heads = brought = asked = 0
    summed_mb = _rss()

    started = time.process_time()
    for _ in range(MESSAGES):
        bounds = [*sorted(random.randbytes(8) for _ in range(MESSAGE_RANGES - 1)), b""]
        message = Ranges(0, tuple(Range(bound, RangeKind.FINGERPRINT, bytes(16)) for bound in bounds))
        speaker = Reconcile(SALT, starts_even=False)
        while True:
            try:
                step = speaker.receive(message, held)
                break
            except Away as away:
                asked += 1
                for span in away.spans:
                    brought += 1
                    clock.bring(span, [*store.span(*span)])
        for said in step.replies:
            if isinstance(said, Away):
                asked += 1
                for span in said.spans:
                    brought += 1
                    clock.bring(span, [*store.span(*span)])
                clock.trim()
        clock.trim()
    compared = time.process_time() - started

    started = time.process_time()
    for number in random.sample(range(count), min(UPDATES, count)):
        author = store.author(number)
        clock.move(author, Head(1 + number % 200, author), Head(1000, author))
        held.settle(author)
        clock.trim()
    moved = time.process_time() - started
    return {
        "authors": count,
        "rss_mb": round(_rss()),
        "summed_mb": round(summed_mb),
        "before_mb": round(before),
        "sum_us": round(summed / count * 1e6, 2),
        "ranges_ms": round(compared / MESSAGES * 1e3, 1),
        "spans_brought": brought,
        "times_asked": asked,
        "heads_read": store.read_heads,
        "heads_kept": clock.kept_heads,
        "move_us": round(moved / min(UPDATES, count) * 1e6, 1),
    }


def _rss() -> float:
    """The most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
