"""Stores with much of one kind, and how large they become.

Responsible for: what a member can make a node keep, as requests; a store that takes them, with the running sum of what
they are said to take, and the size of its file.
Must not know: bounds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

from gossiplog.limits import MAX_BODY_BYTES, MAX_SEGMENT_BYTES
from gossiplog.log.body import encode_body
from gossiplog.log.fork import ForkProof
from gossiplog.log.items import HASH_ITEM_BYTES, HASH_TYPE
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from gossiplog.store.directory import DATABASE
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, AddFork, Forget, Request
from gossiplog.store.sqlite.header import PAGE_BYTES

AT_ONCE = 512
"""Requests of one commit; fewer when they are large."""

AT_ONCE_BYTES = 1 << 20
HOLE = b"\xc7\x20" + bytes([HASH_TYPE])


class Made:
    """I make what needs no signature: a store takes it as verified."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self.bytes = self.random.randbytes

    def segment(
        self, author: bytes, first: int, items: bytes, count: int = 1, previous: bytes = b""
    ) -> Segment:
        """A segment with these items."""
        return Segment(author, first, count, previous or self.bytes(32), self.bytes(64), items)

    def log(self, author: bytes, rows: int, items: Callable[[], bytes], count: int = 1) -> Iterator[Accept]:
        """The rows of one author."""
        previous = genesis_id(author)
        for number in range(rows):
            segment = self.segment(author, number * count + 1, items(), count, previous)
            previous = self.bytes(32)
            yield Accept(segment, Head(segment.last, previous))

    def body(self, size: int) -> bytes:
        """One item of so many bytes."""
        head = b"\xc4" + bytes([size]) if size < 256 else b"\xc6" + size.to_bytes(4, "big")
        return head + self.random.randbytes(16)[:size].ljust(size, b"x")

    def proof(self, author: bytes, holes: int) -> AddFork:
        """A proof of so many hashes."""
        segment = self.segment(author, 2, (HOLE + self.bytes(32)) * holes, holes)
        return AddFork(ForkProof(author, 1, self.bytes(32), self.bytes(64), segment))


def authors(count: int, rows: int, size: int) -> Iterator[Request]:
    """So many, with so many rows of one entry each, in turn."""
    made = Made()
    logs = [made.log(made.bytes(32), rows, lambda: made.body(size)) for _ in range(count)]
    for _ in range(rows):
        for log in logs:
            yield next(log)


def proofs(count: int, holes: int, with_log: bool = False) -> Iterator[Request]:
    """Forked authors with proofs of so many hashes, of whom nothing else is held, or an entry."""
    made = Made()
    for _ in range(count):
        author = made.bytes(32)
        if with_log:
            yield from made.log(author, 1, lambda: made.body(10))
        yield made.proof(author, holes)


def holed(count: int, holes: int) -> Iterator[Request]:
    """Authors with a row of holes each."""
    made = Made()
    for _ in range(count):
        yield from made.log(made.bytes(32), 1, lambda: (HOLE + made.bytes(32)) * holes, holes)


def signed(count: int, size: int, seed: int = 1) -> Iterator[Request]:
    """One author who appends one entry at a time, signed, so that they can be merged."""
    pair = Keypair(bytes([seed]) * 32)
    head = Head(0, genesis_id(pair.author))
    for _ in range(count):
        [segment], head = build(pair, head, [encode_body(0, bytes(size))])
        yield Accept(segment, head)


def between(count: int) -> Iterator[Request]:
    """Rows of many authors, each between two of logs that are going to be merged."""
    made = Made()
    logs = [signed(count // 64, 1, seed) for seed in range(1, 65)]
    for number in range(count // 64 * 64):
        yield next(logs[number % 64])
        yield from made.log(made.bytes(32), 1, lambda: made.body(10))


def deleted(count: int) -> Iterator[Request]:
    """Authors of whom every second one is deleted."""
    requests = [*authors(count, 1, 200)]
    yield from requests
    for accept in requests[::2]:
        assert isinstance(accept, Accept)
        yield Forget(accept.segment.author)


LARGEST_PROOF = MAX_SEGMENT_BYTES // HASH_ITEM_BYTES

KINDS: dict[str, Callable[[int], Iterator[Request]]] = {
    "one-entry authors": lambda scale: authors(200 * scale, 1, 10),
    "authors of ten rows": lambda scale: authors(20 * scale, 10, 100),
    "rows that fill half a page": lambda scale: authors(4 * scale, 1, 8000),
    "rows that leave half a page": lambda scale: authors(4 * scale, 1, 8300),
    "rows of a page and a bit": lambda scale: authors(4 * scale, 1, 20_000),
    "entries of 64 KiB": lambda scale: authors(scale, 1, 65_000),
    "entries of 1 MiB": lambda scale: authors(max(4, scale // 8), 1, MAX_BODY_BYTES - 16),
    "small proofs": lambda scale: proofs(50 * scale, 1),
    "proofs of 5 KB": lambda scale: proofs(8 * scale, 140),
    "proofs of the largest size": lambda scale: proofs(scale, LARGEST_PROOF),
    "forked authors with an entry": lambda scale: proofs(50 * scale, 1, with_log=True),
    "rows of holes": lambda scale: holed(10 * scale, 100),
    "rows of one hole": lambda scale: holed(100 * scale, 1),
    "one entry at a time, merged": lambda scale: signed(100 * scale, 100),
}
"""What is made, by name; a ``scale`` of 10 makes between 200 KB and 5 MB."""

MERGED = "one entry at a time, merged"

GAPS: dict[str, Callable[[int], Iterator[Request]]] = {
    "rows between merged ones": lambda scale: between(100 * scale),
    "every second one deleted": lambda scale: deleted(100 * scale),
}
"""What leaves pages that are partly empty, which do not count."""


class Sizes(NamedTuple):
    """What a store takes: as counted while it grew, and when it is opened; the pages in use, and its file.

    ``most_counted`` is the largest that was counted before merging and deleting.
    """

    counted: int
    recounted: int
    used: int
    file: int
    most_counted: int

    @property
    def error(self) -> float:
        """By how much what is counted is wrong, as a share of what is used."""
        return self.counted / self.used - 1


def sizes_of(requests: Iterable[Request], place: Path, *, merge: bool = False) -> Sizes:
    """Fill a store with ``requests`` and close it; what an empty one takes does not count."""
    place.mkdir()
    with closing(open_logs(place / "empty")):
        pass
    most = 0
    with closing(open_logs(place / "filled")) as logs:
        weights = logs.weighing.begin()
        for batch in batches(requests):
            outcome = logs.process(batch)
            weights.change(*outcome.weighed)
            most = max(most, weights.bytes)
        while True:  # as a store's thread does that has nothing to do
            report = logs.weighing.settled()
            if report is not None:
                weights.change(*report.weighed)
            if not (merge and (logs.merge_some(AT_ONCE_BYTES) or logs.reclaim())):
                break
    with closing(open_logs(place / "filled")) as logs:
        recounted = logs.weighing.begin().bytes
    (empty, _), (file, used) = _pages(place / "empty"), _pages(place / "filled")
    return Sizes(weights.bytes, recounted, used - empty, file - empty, most)


def batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Requests that are done together."""
    batch: list[Request] = []
    size = 0
    for request in requests:
        batch.append(request)
        match request:
            case Accept(segment) | AddFork(ForkProof(segment=segment)):
                size += len(segment.bodies)
        if len(batch) >= AT_ONCE or size >= AT_ONCE_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _pages(store: Path) -> tuple[int, int]:
    """The bytes of a closed database, and of its pages in use."""
    database = store / DATABASE
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        [free] = connection.execute("PRAGMA freelist_count").fetchone()
    size = database.stat().st_size
    return size, size - free * PAGE_BYTES
