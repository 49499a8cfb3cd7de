"""How the space of authors is split into ranges, and what is said about each.

Responsible for: choosing between fingerprints and lists, and putting ranges into messages of bounded size.
Must not know: exchanges and steps; what the peer's ranges said beyond which of them need an answer.
Invariant: nothing is read ahead of the message that is asked for, so heads may move between two messages.

The sizes below were chosen with ``python -m bench reconcile``.  On the wire a fingerprint costs about 26 bytes and an
item of a list 47, and a step costs half a round trip whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Set
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeAlias, TypeVar

from gossiplog.gossip.heads import fingerprint
from gossiplog.gossip.messages import Item, Range, RangeKind
from gossiplog.gossip.wanted_heads import Held
from gossiplog.log.leaf_sums import Away, each_at_once

_T = TypeVar("_T")

LIST_AT_ONCE = 1024
"""A clock of so many authors goes as one list: 47 KB and one round trip."""

FIRST_PARTS = 256
"""Fingerprints that a step may cost anyway, shared by the ranges that differ: 6.6 KB, what TCP sends at once."""

PARTS = 8
"""What each range that differs is split into at least: 4 cost a round trip more, 16 a quarter more bytes."""

LEAF_AUTHORS = 12
"""A range of so many is listed: splitting it once more would save few bytes and cost half a round trip."""

DENSE_LEAF_AUTHORS = 32
"""The same where nearly all ranges differ: with 16 authors or more in each, fingerprints in vain cost 4 %."""

FEW_AUTHORS = 256
"""All ranges that differ are listed when they hold so many together: 12 KB now against another round trip."""

MESSAGE_RANGES = 256
"""Ranges in one message: 7 KB, and at 20 us for each fingerprint, and as much for its answer, it holds up nothing else
for long.  With 512 a member at full speed had others wait for 116 ms; more messages cost a record's head each."""

MESSAGE_ITEMS = 1024
"""Items in one message: with its header it fits one Noise record."""


Said: TypeAlias = Iterator[Range | Away]
"""Ranges; or what has to be in memory before the next one is asked for."""


ANSWERED_AT_ONCE = 64
"""Ranges of which what is not in memory is brought together: so many at most wait for one way to a database."""


class Answer(NamedTuple):
    """A range that needs an answer: a list, of which ``settled`` need not be spoken of, or else a fingerprint.

    ``held`` is the number of our authors in a range whose fingerprint differs.
    """

    lower: bytes
    upper: bytes
    held: int = 0
    settled: set[bytes] | None = None


class Compared(NamedTuple):
    """What one message needs answered, and how many fingerprints it had; ``is_late``: it is to be said again."""

    fingerprints: int
    answers: list[Answer]
    is_late: bool = False

    @property
    def size(self) -> int:
        """Ranges and authors kept in here."""
        return len(self.answers) + sum(len(answer.settled) for answer in self.answers if answer.settled)


def late(*compared: Compared) -> Compared:
    """One range around all that these speak of, instead of them."""
    answers = [answer for each in compared for answer in each.answers]
    uppers = [answer.upper for answer in answers]
    lower = min(answer.lower for answer in answers)
    return Compared(0, [Answer(lower, b"" if b"" in uppers else max(uppers))], is_late=True)


class Splitting:
    """I say what we hold, in ranges, as it is when the next one is asked for."""

    def __init__(self, heads: Held, salt: bytes) -> None:
        self._heads = heads
        self._salt = salt

    def fingerprint(self, lower: bytes, upper: bytes) -> tuple[int, bytes]:
        """How many authors we hold in a range, and what stands for them.  O(log n), about 50 us."""
        count, total = self._heads.tree.range(lower, upper)
        return count, fingerprint(self._salt, count, total)

    def whole(self) -> Said:
        """Speak of everything, when it may well be that nothing differs."""
        yield Range(b"", RangeKind.FINGERPRINT, self.fingerprint(b"", b"")[1])

    def opening(self) -> Said:
        """Speak of everything, without knowing what differs."""
        count = len(self._heads.tree)
        if count <= LIST_AT_ONCE:
            return self._listed(RangeKind.LIST, b"", b"")
        return self._split(b"", b"", min(FIRST_PARTS, 2 * count // DENSE_LEAF_AUTHORS))

    def answer(self, compared: Compared) -> Said:
        """The ranges of an answer, ascending, with gaps skipped."""
        parts, leaf = _grain(compared)
        at = b""
        for number, (lower, upper, held, settled) in enumerate(compared.answers):
            if self._heads.is_paged and number % ANSWERED_AT_ONCE == 0:
                some = compared.answers[number : number + ANSWERED_AT_ONCE]
                yield from _when_there(partial(each_at_once, partial(self._look_at, parts, leaf), some))
            if lower != at:
                yield Range(lower, RangeKind.SKIP)
            if compared.is_late:
                yield from self._fingerprinted(lower, upper)
            elif settled is not None:
                yield from self._listed(RangeKind.DIFFERENCES, lower, upper, settled)
            elif held <= leaf:
                yield from self._listed(RangeKind.LIST, lower, upper)
            else:
                yield from self._split(lower, upper, min(parts, max(2, 2 * held // leaf)))
            at = upper

    def _look_at(self, parts: int, leaf: int, answer: Answer) -> None:
        """Raise :class:`Away` if what an answer begins with is not in memory."""
        lower, upper, held, settled = answer
        if settled is not None or held <= leaf:
            self._heads.first(lower, upper, MESSAGE_ITEMS + 1)
        else:
            self._heads.tree.split(lower, upper, min(parts, max(2, 2 * held // leaf)))

    def _fingerprinted(self, lower: bytes, upper: bytes) -> Said:
        _, said = yield from _when_there(lambda: self.fingerprint(lower, upper))
        yield Range(upper, RangeKind.FINGERPRINT, said)

    def _split(self, lower: bytes, upper: bytes, parts: int) -> Said:
        bounds = yield from _when_there(lambda: self._heads.tree.split(lower, upper, parts))
        for left, right in pairwise([lower, *bounds, upper]):
            yield from self._fingerprinted(left, right)

    def _listed(self, kind: RangeKind, lower: bytes, upper: bytes, settled: Set[bytes] = frozenset()) -> Said:
        """Our authors but the ``settled`` ones, cut where a message would become too long."""
        heads = self._heads

        def some() -> tuple[bytes, list[Item]]:
            authors = heads.first(lower, upper, MESSAGE_ITEMS + 1)
            bound = authors.pop() if len(authors) > MESSAGE_ITEMS else upper
            unsettled = [author for author in authors if author not in settled]
            items = each_at_once(lambda author: heads.item(author, self._salt), unsettled)
            return bound, [Item(author, *item) for author, item in zip(unsettled, items, strict=True)]

        while True:
            bound, said = yield from _when_there(some)
            yield Range(bound, kind, items=tuple(said))
            if bound == upper:
                return
            lower = bound


def _grain(compared: Compared) -> tuple[int, int]:
    """Into how many parts to split each range that differs, and up to how many authors to list it."""
    counts = [answer.held for answer in compared.answers if answer.settled is None]
    if not counts or sum(counts) <= FEW_AUTHORS:
        return PARTS, FEW_AUTHORS
    nearly_all = 32 * len(counts) > 31 * compared.fingerprints
    return max(PARTS, FIRST_PARTS // len(counts)), DENSE_LEAF_AUTHORS if nearly_all else LEAF_AUTHORS


def _when_there(read: Callable[[], _T]) -> Generator[Away, None, _T]:
    """Read as soon as all is in memory that it takes."""
    while True:
        try:
            return read()
        except Away as away:
            yield away


def packed(ranges: Said) -> Iterator[tuple[tuple[Range, ...], bool] | Away]:
    """Put ranges into messages, at least one, each with whether it is the last; what one does not speak of, it skips.

    Neighbours of one kind become one range, unless they are fingerprints.
    """
    pending: list[Range] = []
    items = 0
    for part in ranges:
        if isinstance(part, Away):
            yield part
            continue
        if len(pending) >= MESSAGE_RANGES or items + len(part.items) > MESSAGE_ITEMS:
            yield _to_the_end(pending), False
            pending, items = [Range(pending[-1].upper, RangeKind.SKIP)], 0
        items += len(part.items)
        if pending and part.kind is pending[-1].kind and part.kind is not RangeKind.FINGERPRINT:
            part = part._replace(items=pending.pop().items + part.items)
        pending.append(part)
    yield _to_the_end(pending), True


def _to_the_end(ranges: list[Range]) -> tuple[Range, ...]:
    if ranges and not ranges[-1].upper:
        return tuple(ranges)
    return (*ranges, Range(b"", RangeKind.SKIP))
