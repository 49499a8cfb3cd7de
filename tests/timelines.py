"""Histories of several authors, and where their entries belong by the words of the specification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from gossiplog.errors import MalformedBodyError
from gossiplog.live.telling import tell
from gossiplog.log.body import MAX_TIMESTAMP_MS, Reference, decode_body, encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.place import Place
from gossiplog.log.segment import Head, Segment, build, drop_payloads, entries, id_at
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Accept
from gossiplog.views.asking import Ask, Told, finish
from gossiplog.views.index import Index
from gossiplog.views.pages import EARLIEST, LATEST, Part
from gossiplog.views.place import Place as Room

PAIRS = [Keypair(bytes([number]) * 32) for number in range(1, 13)]


class History:
    """I write what authors say who see some of what the others said: their clocks are wrong, and some name entries that
    are not there, or are others."""

    def __init__(
        self, seed: int, authors: int = 4, skew: int = 500, named: float = 0.5, holes: float = 0.0
    ) -> None:
        self.random = Random(seed)
        self.pairs = PAIRS[:authors]
        self.skew = {pair.author: self.random.randint(-skew, skew) for pair in self.pairs}
        self.named = named
        self.holes = holes
        self.now = 1_500_000_000_000
        self.segments: dict[bytes, list[Segment]] = {pair.author: [] for pair in self.pairs}
        self.heads = {pair.author: Head(0, genesis_id(pair.author)) for pair in self.pairs}
        self.ids: dict[bytes, list[bytes]] = {pair.author: [] for pair in self.pairs}

    def write(self, rows: int, most: int = 8) -> None:
        """Write so many segments of up to ``most`` entries."""
        for _ in range(rows):
            pair = self.random.choice(self.pairs)
            author = pair.author
            bodies = []
            for _ in range(self.random.randint(1, most)):
                self.now += self.random.choice((0, 1, 10))
                after = [*self._named(author)] if self.random.random() < self.named else []
                clock = self.now + self.skew[author] + self.random.choice((0, 0, 0, -30, 30))
                bodies.append(encode_body(clock, b"%d" % self.random.randrange(10), after))
                if self.random.random() < 0.05:
                    bodies.append(b"malformed")
            [segment], self.heads[author] = build(pair, self.heads[author], bodies)
            self.ids[author] += [entry_id for _, entry_id, _ in entries(segment)]
            dropped = [
                seq for seq in range(segment.first, segment.last + 1) if self.random.random() < self.holes
            ]
            self.segments[author].append(drop_payloads(segment, dropped))

    def _named(self, author: bytes) -> Iterator[Reference]:
        for _ in range(self.random.randint(1, 3)):
            other = self.random.choice(self.pairs).author
            if self.ids[other]:
                seq = self.random.randint(max(1, len(self.ids[other]) - 10), len(self.ids[other]))
                entry_id = self.ids[other][seq - 1][:16]
                kind = self.random.random()
                if kind < 0.1:
                    yield Reference(other, seq, bytes(16))  # another entry
                elif kind < 0.2:
                    yield Reference(
                        other, seq + self.random.randint(1, 20), bytes(16)
                    )  # one to come, and another
                else:
                    yield Reference(other, seq, entry_id)

    def arrivals(self, seed: int) -> Iterator[Segment]:
        """Yield all segments, each log in its order."""
        random = Random(seed)
        left = {author: [*segments] for author, segments in self.segments.items() if segments}
        while left:
            author = random.choice([*left])
            yield left[author].pop(0)
            if not left[author]:
                del left[author]


def accept(logs: Logs, *segments: Segment) -> None:
    """Take segments in."""
    logs.process([Accept(each, Head(each.last, id_at(each, each.last))) for each in segments])


def places(logs: Logs, until_ms: int = MAX_TIMESTAMP_MS) -> list[Place]:
    """Return the places of all entries that are held, by the formula, ascending.

    Of each log no more than is before its first entry after ``until_ms``.
    """
    held: dict[tuple[bytes, int], tuple[bytes, int, tuple[Reference, ...]]] = {}
    for author, head in logs.clock.items():
        seq = 1
        while seq <= head.seq:
            for segment in logs.segments(author, seq, 1 << 30):
                for seq, entry_id, body in entries(segment):
                    try:
                        said = decode_body(body or b"")
                        held[author, seq] = entry_id, said.timestamp_ms, said.after
                    except MalformedBodyError:
                        held[author, seq] = entry_id, 0, ()
                seq += 1
    for author, first in {
        each: seq for (each, seq), said in sorted(held.items(), reverse=True) if said[1] > until_ms
    }.items():
        for each in [each for each in held if each[0] == author and each[1] >= first]:
            del held[each]
    moments: dict[tuple[bytes, int], tuple[int, int]] = {}

    def needed(author: bytes, seq: int) -> list[tuple[bytes, int]]:
        named = [(each.author, each.seq) for each in held[author, seq][2] if is_named(each)]
        return [*named, *([(author, seq - 1)] if (author, seq - 1) in held else [])]

    def is_named(reference: Reference) -> bool:
        there = held.get((reference.author, reference.seq))
        return there is not None and there[0].startswith(reference.id16)

    for entry in held:
        todo = [entry]
        while todo:
            author, seq = todo[-1]
            missing = [each for each in needed(author, seq) if each not in moments]
            if missing:
                todo += missing
                continue
            todo.pop()
            _, timestamp, after = held[author, seq]
            behind = [moments[each.author, each.seq] for each in after if is_named(each)]
            before = moments.get((author, seq - 1), (0, 0))
            moments[author, seq] = max((timestamp, 0), before, *((ms, n + 1) for ms, n in behind))
    return sorted(Place(*moment, *entry) for entry, moment in moments.items())


class Walker:
    """I have an index in memory, or in ``room``, of one store."""

    def __init__(self, logs: Logs, room: Room | None = None) -> None:
        self.logs = logs
        self.room = room or Room(None)
        self.index = Index(self.room)
        self.asked: list[Ask] = []

    def tell(self, ask: Ask) -> Told:
        """Read for the index."""
        self.asked.append(ask)
        return tell(ask, self.logs)

    def follow(self, authors: Iterable[bytes] | None = None, **what: Any) -> None:
        """Bring the index up to what is held, of some or of all."""
        clock = self.logs.clock
        heads = {each: head for each in (clock if authors is None else authors) if (head := clock.head(each))}
        finish(self.index.indexing.follow(heads, **what), self.tell)

    def again(self) -> None:
        """Close the index, open it again."""
        self.index.close()
        self.index = Index(self.room)
        self.follow()

    def part(
        self, before: Place = LATEST, limit: int = 50, since: Place = EARLIEST, authors: Any = None
    ) -> Part:
        """Return some of a page."""
        return finish(self.index.pages.part(before, since, limit, authors), self.tell)

    def forward(self, limit: int) -> list[Place]:
        """Return the places of all entries, ascending, found in that order."""
        found: list[Place] = []
        since: Place | None = EARLIEST
        while since is not None:
            part = finish(self.index.pages.part(LATEST, since, limit, None, True), self.tell)
            found += [each.place for each in part.entries]
            since = part.next and part.next._replace(seq=part.next.seq + 1)
        return found

    def places(self, limit: int) -> list[Place]:
        """Return the places of all entries, ascending, found page by page from the last."""
        found: list[Place] = []
        before: Place | None = LATEST
        while before is not None:
            part = self.part(before, limit)
            found += [each.place for each in part.entries]
            before = part.next
        return found[::-1]
