"""How much of others' entries a node takes.

Responsible for: :class:`Quotas`, the bounds; :class:`Ledger`, what counts against them and who is over which.
Must not know: sessions; what is said to peers about it.
Invariant: a local writer is never refused; what is not on disk and not on its way there counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum

from gossiplog import limits
from gossiplog.errors import InvalidValueError
from gossiplog.log.segment import Segment


class Quota(Enum):
    """Which bound an author is over; the value is its name in :class:`Quotas`."""

    AUTHORS = "authors"
    AUTHOR_BYTES = "bytes_per_author"
    BYTES = "bytes"
    RATE = "entries_per_second"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a node takes from its peers; None is without bound.

    ``authors``: logs of others; ``bytes_per_author`` and ``bytes``: of the entries of one log of another, and of all
    logs, our own among them; ``entries_per_second``: of each author, counted with bursts of ten seconds.
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

    @property
    def weighs(self) -> bool:
        """Whether bytes have to be counted."""
        return self.bytes_per_author is not None or self.bytes is not None


class Ledger:
    """I know what every author takes up, and who takes no more.

    ``held`` are the authors on disk, ``local`` is the live set of those who write here; ``sizes`` are the bytes of each
    log on disk, needed only where ``quotas.weighs``.
    """

    def __init__(
        self, quotas: Quotas, held: Iterable[bytes], local: AbstractSet[bytes], sizes: Mapping[bytes, int]
    ) -> None:
        self.quotas = quotas
        self.refused: dict[bytes, Quota] = {}
        self._local = local
        self._authors = set(held) if quotas.authors is not None else set()
        self._durable = dict(sizes)
        self._durable_bytes = sum(sizes.values())
        self._pending: dict[bytes, int] = {}
        self._pending_bytes = 0
        self._full_at: dict[bytes, float] = {}

    def breach(self, author: bytes, segment: Segment | None, now: float) -> Quota | None:
        """Return the quota that ``segment`` (None: anything at all) of an author would break."""
        quotas = self.quotas
        if author in self._local:
            return None
        if quotas.authors is not None and author not in self._authors:
            others = len(self._authors) - len(self._authors & self._local)
            if others >= quotas.authors:
                return Quota.AUTHORS
        size = 0 if segment is None else len(segment.bodies)
        if quotas.bytes_per_author is not None:
            held = self._durable.get(author, 0) + self._pending.get(author, 0)
            if held + size > quotas.bytes_per_author:
                return Quota.AUTHOR_BYTES
        if quotas.bytes is not None and self._durable_bytes + self._pending_bytes + size > quotas.bytes:
            return Quota.BYTES
        if self._full_at.get(author, now) - now >= limits.QUOTA_BURST_SECONDS:
            return Quota.RATE
        return None

    # -- what happens

    def accepted(self, segment: Segment, now: float) -> None:
        """A segment of a peer is on its way to the disk."""
        author = segment.author
        quotas = self.quotas
        if quotas.authors is not None:
            self._authors.add(author)
        if quotas.weighs:
            self._pending[author] = self._pending.get(author, 0) + len(segment.bodies)
            self._pending_bytes += len(segment.bodies)
        if quotas.entries_per_second is not None and author not in self._local:
            seconds = segment.count / quotas.entries_per_second
            self._full_at[author] = max(now, self._full_at.get(author, now)) + seconds

    def committed(self, segment: Segment) -> None:
        """A segment, our own or a peer's, is on disk."""
        author = segment.author
        if self.quotas.authors is not None:
            self._authors.add(author)
        if self.quotas.weighs:
            size = len(segment.bodies)
            self._durable[author] = self._durable.get(author, 0) + size
            self._durable_bytes += size
            arrived = min(size, self._pending.get(author, 0))
            self._pending_bytes -= arrived
            if arrived:
                self._pending[author] -= arrived

    def lost(self, author: bytes, *, held: bool) -> None:
        """What was on its way is not going to be on disk; ``held``: something of the author is."""
        self._pending_bytes -= self._pending.pop(author, 0)
        if not held:
            self._authors.discard(author)

    def forgotten(self, author: bytes) -> list[bytes]:
        """An author was deleted; returns who may be within the quotas again."""
        self.lost(author, held=False)
        self._durable_bytes -= self._durable.pop(author, 0)
        self._full_at.pop(author, None)
        return [
            other
            for other, quota in self.refused.items()
            if other == author or quota in (Quota.AUTHORS, Quota.BYTES)
        ]

    # -- who is refused for a time

    def rested(self, now: float) -> list[bytes]:
        """Those refused for their rate who may go on now.  O(refused)."""
        return [
            author
            for author, quota in self.refused.items()
            if quota is Quota.RATE and self.rested_at(author) <= now
        ]

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
