"""The processes of the benchmark of relays: ``python -m bench.fleeting KIND PLACE STATE NUMBER ROUNDS``.

Each says JSON in a line when it is ready, and for each line that it is told when what that asks for is done.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.measure import pauses
from gossiplog import open_store
from gossiplog.log.keys import KEY_BYTES, Keypair
from gossiplog.log.segment import Segment
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept
from gossiplog.testing.chain import Chain

AUTHORS = 50
"""Each continued by a segment in each commit."""

COMMITS = 12
"""Of a turn."""

FULL_ENTRIES = 1150
FULL_AT_ONCE = 8
"""Segments of full size in a commit, and commits of a turn."""

MOVE = """
    INSERT INTO bare_heads SELECT * FROM unnest(%b::bytea[], %b::int8[], %b::bytea[])
    ON CONFLICT (author) DO UPDATE SET seq = excluded.seq, id = excluded.id"""

PUT = """
    INSERT INTO bare_segments (author, first, count, holes, crc, id, previous, signature, bodies)
    SELECT * FROM unnest(%b::bytea[], %b::int8[], %b::int4[], %b::int4[], %b::int8[], %b::bytea[], %b::bytea[],
        %b::bytea[], %b::bytea[])"""


def tell(**fields: Any) -> None:
    """One JSON line to whoever started us."""
    print(json.dumps(fields), flush=True)


def small(chance: random.Random) -> Iterator[list[Accept]]:
    """Commits of one entry of each of some authors."""
    chains = [Chain(Keypair(chance.randbytes(KEY_BYTES))) for _ in range(AUTHORS)]
    while True:
        yield [accept for chain in chains for accept in _accepts(chain, chain.write(chance.randbytes(100)))]


def full(chance: random.Random) -> Iterator[list[Accept]]:
    """Commits of full segments of one author."""
    chain = Chain(Keypair(chance.randbytes(KEY_BYTES)))
    while True:
        yield [
            accept
            for _ in range(FULL_AT_ONCE)
            for accept in _accepts(chain, chain.write(*[chance.randbytes(100) for _ in range(FULL_ENTRIES)]))
        ]


def _accepts(chain: Chain, segments: list[Segment]) -> list[Accept]:
    assert len(segments) == 1
    return [Accept(segments[0], chain.head)]


def write(kind: str, place: str, state: str, number: int, rounds: int) -> None:
    """Commit when told to, as a relay or in plain SQL."""
    commits = (small if kind == "small" else full)(random.Random(f"{kind} {number}"))
    count = COMMITS if kind == "small" else FULL_AT_ONCE
    turns = {
        turn: [[next(commits) for _ in range(count)] for _ in range(rounds)] for turn in ("ours", "bare")
    }
    with closing(open_logs(place, state=state)) as logs, psycopg.connect(place, autocommit=True) as bare:
        bare.prepare_threshold = 1
        doing: dict[str, Callable[[list[Accept]], object]] = {
            "ours": logs.process,
            "bare": lambda accepts: put(bare, accepts),
        }
        tell(ready=True)
        for line in sys.stdin:
            turn = turns[line.strip()].pop(0)
            begin, do = time.monotonic(), doing[line.strip()]
            for accepts in turn:
                do(accepts)
            done = sum(len(commit) for commit in turn) if kind == "small" else _bytes(turn)
            if line.strip() == "ours" and any(logs.clock.seq(s.author) < s.last for s, _ in turn[-1]):
                raise SystemExit("bench: not everything is stored")
            tell(begin=begin, end=time.monotonic(), done=done)


def _bytes(commits: list[list[Accept]]) -> int:
    return sum(len(accept.segment.bodies) for commit in commits for accept in commit)


def put(connection: psycopg.Connection[Any], accepts: list[Accept]) -> None:
    """Do the same rows in one transaction, without a thought."""
    heads = {segment.author: head for segment, head in accepts}
    rows = [
        (s.author, s.first, s.count, 0, 0, head.id, s.previous, s.signature, s.bodies) for s, head in accepts
    ]
    with connection.transaction(), connection.cursor(binary=True) as cursor:
        authors = sorted(heads)
        cursor.execute(MOVE, (authors, [heads[a].seq for a in authors], [heads[a].id for a in authors]))
        cursor.execute(PUT, [list(column) for column in zip(*rows, strict=True)])


def say(_: str, place: str, state: str, count: int, __: int) -> None:
    """Commit an entry from time to time; say when each was on disk."""
    chain, ends = Chain(7), []
    with closing(open_logs(place, state=state)) as logs:
        tell(ready=True)
        sys.stdin.readline()
        for pause in pauses(count, 0.02):
            logs.process(_accepts(chain, chain.write(b"news")))
            ends.append(time.monotonic())
            time.sleep(pause)
        tell(ends=ends)


def watch(_: str, place: str, state: str, number: int, __: int) -> None:
    """Say when entries that another one committed were told of here."""

    async def main(reactor: Any) -> None:
        store, seen = open_store(place, reactor, state=state), []
        author, ended = Chain(7).author, Deferred[None]()

        def told(delivery: Any) -> None:
            now = time.monotonic()
            for segment in delivery.report.segments if delivery.report else ():
                if segment.author == author:
                    seen.extend([now] * segment.count)

        store._core.listen(told)

        def wait() -> None:
            sys.stdin.readline()
            reactor.callFromThread(reactor.callLater, 0.5, ended.callback, None)

        threading.Thread(target=wait, daemon=True).start()
        tell(ready=True)
        await ended
        tell(seen=seen)
        await store.close()

    react(main)


if __name__ == "__main__":
    kind, place, state, number, rounds = sys.argv[1:]
    doing = {"say": say, "watch": watch}.get(kind, write)
    doing(kind, place, state, int(number), int(rounds))
