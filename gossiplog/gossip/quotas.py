"""How much of others' entries a node takes.

Responsible for: :class:`Quotas`, the bounds; :class:`QuotaLedger`, what counts against them and who is over which.
Must not know: sessions; what is said to peers about it; how much room a thing takes (``log.weight``).
Invariant: a local writer is never refused; what is not on disk and not on its way there counts nowhere; when nothing is
on its way, the sums are those that the next start will find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil
from typing import Final, NamedTuple

from gossiplog import limits
from gossiplog.errors import InvalidValueError, SharedStoreError
from gossiplog.limits import AUTHOR_DISK_BYTES
from gossiplog.log.disk_cost import TotalView, row_bytes, whole_weights
from gossiplog.log.segment import Segment

LIFT_SHARE = 0.9
"""Of a bound: when merging brought an author below it, the author may go on for a while.  Of that of all bytes, beyond
what was there when it was set."""


class Quota(Enum):
    """Which bound an author is over; the value is its name in :class:`Quotas`."""

    AUTHORS = "authors"
    AUTHOR_BYTES = "bytes_per_author"
    BYTES = "bytes"
    RATE = "entries_per_second"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a node takes from its peers.

    ``authors``: others of whom it holds anything; ``bytes_per_author`` and ``bytes``: what the log and the fork proof
    of one other, and those of all, our own among them, take on disk; ``entries_per_second``: of each author, counted
    with bursts of ten seconds.

    None is without bound for one author, and for all together what the machine has room for: ``MAX_AUTHORS``, or what
    a quarter of its memory holds; of the disk, what is held and ``DISK_SHARE`` of what is free at the start, or later
    if that is more.
    """

    authors: int | None = None
    bytes_per_author: int | None = None
    bytes: int | None = None
    entries_per_second: float | None = None

    def __post_init__(self) -> None:
        """Raise :class:`InvalidValueError` for what is no bound."""
        for quota in Quota:
            bound = getattr(self, quota.value)
            numbers = (int, float) if quota is Quota.RATE else (int,)
            if bound is not None and (type(bound) not in numbers or not bound > 0):
                raise InvalidValueError(f"the quota {quota.value} is a positive number, not {bound!r}")

    def or_else(self, authors: int, bytes: int | None = None) -> Quotas:
        """Return these with bounds for what all others together take, where there is none."""
        return replace(self, authors=self.authors or authors, bytes=self.bytes or bytes)


_NO_ROOM: Final = {
    Quota.AUTHORS: "this machine has no memory for more authors",
    Quota.BYTES: "the disk has no room for more",
}
"""What bounds are for that nobody asked for."""


def why_full(quota: Quota, asked: Quotas) -> str:
    """Return in words why nothing more is taken; ``asked`` are the bounds that somebody asked for."""
    return f"over the quota {quota.value}" if getattr(asked, quota.value) else _NO_ROOM[quota]


class Usage(NamedTuple):
    """What a node holds: how many authors, our own among them, how many of these forked, and the bytes on disk."""

    authors: int
    forked: int
    disk_bytes: int

    @property
    def memory_bytes(self) -> int:
        """What they take in memory."""
        return self.authors * limits.AUTHOR_MEMORY_BYTES + self.forked * limits.FORK_MEMORY_BYTES


class QuotaLedger:
    """I know who takes no more.

    ``weights`` is what everybody takes on disk, a live view that moves before a replica hears of a commit; where it is
    only what all take together, who is held is asked elsewhere (:meth:`ask`).  ``local`` is the live set of those who
    write here.  Of the quota ``bytes``, ``base_bytes`` were there when it was set.
    """

    def __init__(self, quotas: Quotas, weights: TotalView, local: AbstractSet[bytes]) -> None:
        each = whole_weights(weights)
        self._each = each
        self._holds: Callable[[bytes], bool] = (lambda _: False) if each is None else each.__contains__
        self.quotas = quotas
        self.base_bytes = 0
        self.refused: dict[bytes, Quota] = {}
        self._weights = weights
        self._local = local
        self._pending: dict[bytes, int] = {}
        self._proofs: dict[bytes, int] = {}
        self._fills: dict[bytes, int] = {}
        self._pending_bytes = 0
        self._coming: set[bytes] = set()
        self._own = (0, 0, 0), 0
        self._full_at: dict[bytes, float] = {}

    @property
    def quotas(self) -> Quotas:
        """The bounds."""
        return self._quotas

    @quotas.setter
    def quotas(self, quotas: Quotas) -> None:
        if quotas.bytes_per_author is not None and self._each is None:
            raise SharedStoreError(
                "a relay that has not every author in memory does not know what each takes: it bounds what all take "
                "(authors, bytes) and entries_per_second, and not bytes_per_author"
            )
        self._quotas = quotas

    def ask(self, holds: Callable[[bytes], bool]) -> None:
        """Find out there whether anything is held of an author, if the weights do not say."""
        if self._each is None:
            self._holds = holds

    @property
    def held_bytes(self) -> int:
        """What all logs take on disk."""
        return self._weights.bytes

    def breach(self, author: bytes, size: int, now: float) -> Quota | None:
        """Return the quota that entries of an author, ``size`` bytes on disk (0: any at all), would break."""
        quota = self.full(author, size)
        is_fast = self._full_at.get(author, now) - now >= limits.QUOTA_BURST_SECONDS
        return Quota.RATE if quota is None and is_fast and author not in self._local else quota

    def full(self, author: bytes, size: int = 0) -> Quota | None:
        """Return the quota that leaves no room for ``size`` bytes more of an author, whatever they are."""
        quotas = self.quotas
        if author in self._local:
            return None
        if not self._knows(author):
            if quotas.authors is not None and self._others() >= quotas.authors:
                return Quota.AUTHORS
            size += AUTHOR_DISK_BYTES
        if quotas.bytes_per_author is not None and self._each is not None:
            held = self._each.of(author)
            for pending in (self._pending, self._proofs, self._fills):
                held += pending.get(author, 0)
            if held + size > quotas.bytes_per_author:
                return Quota.AUTHOR_BYTES
        if quotas.bytes is not None and self._weights.bytes + self._pending_bytes + size > quotas.bytes:
            return Quota.BYTES
        return None

    def _is_full(self) -> bool:
        return self.quotas.bytes is not None and self.held_bytes + self._pending_bytes >= self.quotas.bytes

    def _knows(self, author: bytes) -> bool:
        return author in self._coming or self._holds(author)

    def _others(self) -> int:
        """How many others are held, or on their way.  O(local writers) after a change, O(1) without one."""
        state = self._weights.version, len(self._coming), len(self._local)
        if self._own[0] != state:
            self._own = state, sum(self._knows(author) for author in self._local)
        return self._weights.author_count + len(self._coming) - self._own[1]

    # -- what happens

    def accepted(self, segment: Segment, now: float) -> None:
        """A segment of a peer is on its way to the disk."""
        author, size = segment.author, row_bytes(len(segment.bodies))
        if not self._knows(author):
            size += AUTHOR_DISK_BYTES
        self._add(self._pending, author, size)
        if self.quotas.entries_per_second is not None and author not in self._local:
            seconds = segment.count / self.quotas.entries_per_second
            self._full_at[author] = max(now, self._full_at.get(author, now)) + seconds

    def committed(self, segment: Segment, *, last: bool) -> None:
        """A segment, our own or a peer's, is on disk; ``last``: nothing more of its author is on its way."""
        author = segment.author
        if author in self._pending:
            size = self._pending[author] if last else row_bytes(len(segment.bodies))
            self._add(self._pending, author, -min(size, self._pending[author]))

    def lost(self, author: bytes | None) -> None:
        """What was on its way (of ``author``) is not going to be on disk, but for fork proofs."""
        for each in tuple(self._pending) if author is None else (author,):
            self._add(self._pending, each, -self._pending.get(each, 0))

    def proven(self, author: bytes, size: int) -> None:
        """A fork proof that takes so much is on its way to the disk."""
        self._add(self._proofs, author, size)

    def proof_done(self, author: bytes) -> None:
        """It is there, or it is never going to be."""
        self._add(self._proofs, author, -self._proofs.get(author, 0))

    def filling(self, author: bytes, size: int) -> None:
        """So much may be put in the place of holes."""
        self._add(self._fills, author, size)

    def filled(self) -> None:
        """Nothing is on its way to holes."""
        for author in tuple(self._fills):
            self._add(self._fills, author, -self._fills[author])

    def _add(self, pending: dict[bytes, int], author: bytes, size: int) -> None:
        if size > 0 and not self._knows(author):
            self._coming.add(author)
        self._pending_bytes += size
        left = pending.get(author, 0) + size
        if left:
            pending[author] = left
        else:
            pending.pop(author, None)
            if author not in self._pending and author not in self._proofs:
                self._coming.discard(author)

    def forgotten(self, author: bytes) -> list[bytes]:
        """An author was deleted; returns who may be within the quotas again."""
        self.lost(author)
        self.proof_done(author)
        self._full_at.pop(author, None)
        lifted = [Quota.AUTHORS] if self._is_full() else [Quota.AUTHORS, Quota.BYTES]
        return [other for other, quota in self.refused.items() if other == author or quota in lifted]

    def lightened(self, authors: Iterable[bytes]) -> list[bytes]:
        """What is on disk of ``authors`` takes less now; returns who is well within the quotas again.  O(refused)."""
        most, all_ = self.quotas.bytes_per_author, self.quotas.bytes
        found = [
            author
            for author in authors
            if self.refused.get(author) is Quota.AUTHOR_BYTES
            and most is not None
            and self._each is not None
            and self._each.of(author) <= most * LIFT_SHARE
        ]
        base = self.base_bytes
        if all_ is not None and self.held_bytes + self._pending_bytes <= base + (all_ - base) * LIFT_SHARE:
            found += [author for author, quota in self.refused.items() if quota is Quota.BYTES]
        return found

    def within(self, now: float) -> list[bytes]:
        """Return those refused whom the quotas as they are would not refuse.  O(refused)."""
        return [author for author in self.refused if self.breach(author, 0, now) is None]

    @property
    def is_idle(self) -> bool:
        """Whether nothing counts that is on its way."""
        return not (self._pending or self._proofs or self._fills or self._pending_bytes or self._coming)

    # -- who is refused for a time

    def rested(self, now: float) -> list[bytes]:
        """Those refused for their rate who may go on now.  O(refused)."""
        return [
            author
            for author, quota in self.refused.items()
            if quota is Quota.RATE and self.rested_at(author) <= now
        ]

    def most(self, author: bytes, now: float) -> int:
        """How many entries of an author may be asked for: so many that it is over its rate then; 0 without one."""
        rate = self.quotas.entries_per_second
        if rate is None or author in self._local:
            return 0
        seconds = limits.QUOTA_BURST_SECONDS - max(0.0, self.rested_at(author) - now)
        return min(limits.MAX_SEQ, max(1, ceil(seconds * rate)))

    def rested_at(self, author: bytes) -> float:
        """When an author will be within its rate again."""
        return self._full_at.get(author, 0.0)

    @property
    def rests_until(self) -> float | None:
        """When the next of those refused for their rate may go on.  O(refused)."""
        return min(
            (self.rested_at(author) for author, quota in self.refused.items() if quota is Quota.RATE),
            default=None,
        )
