"""What can be asked of the logs of a store, and what comes back.

Responsible for: the request and result values of :meth:`gossiplog.store.logs.Logs.process`.
Must not know: how they are carried out.
Invariant: all values are immutable; a request that could not be done comes back as an exception object, in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from gossiplog.errors import GossiplogError
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Head, Segment
from gossiplog.store.shared.interface import Change

INTEREST: Final = "interest"
"""The name of the value of a store that says which authors are wanted."""


class Append(NamedTuple):
    """Continue a local author's log with encoded bodies."""

    author: bytes
    bodies: Sequence[bytes]


class Accept(NamedTuple):
    """Continue a log with a verified segment; ``head`` is what verifying it returned."""

    segment: Segment
    head: Head


class FillRow(NamedTuple):
    """Put what a segment has, verified or not, in the place of payloads that were dropped.

    Its result may be another one, to be done next: much was done of it, ``found``, and from ``first`` on nothing.
    """

    segment: Segment
    first: int = 1
    found: RowFilled | None = None


class AddFork(NamedTuple):
    """Keep a verified proof; the author's log stays as it is from now on."""

    proof: ForkProof


class Forget(NamedTuple):
    """Delete everything about an author that is not local."""

    author: bytes


class SetMeta(NamedTuple):
    """Set or (``None``) remove a value of the store itself; in a store that is shared only in the place of one of
    ``instead_of``, if any are named."""

    key: str
    value: bytes | None
    instead_of: tuple[bytes | None, ...] = ()


class SetCursor(NamedTuple):
    """Set or (``None``) remove a reader's cursor, which nobody changes any more."""

    name: str
    cursor: Cursor | None


class Learn(NamedTuple):
    """Others changed this in a store that is shared, which writes nothing; ``proofs`` are new, and kept."""

    changes: tuple[Change, ...]
    proofs: tuple[ForkProof, ...] = ()


Request: TypeAlias = Append | Accept | FillRow | AddFork | Forget | SetMeta | SetCursor | Learn


class Appended(NamedTuple):
    """An Append is durable: its entries have the seqs ``first`` to ``last``."""

    first: int
    last: int


class Accepted(NamedTuple):
    """An Accept is durable; ``head`` is the author's head with it."""

    head: Head


class RowFilled(NamedTuple):
    """A FillRow is durable: ``count`` payloads from ``first`` to ``last``, or none; more of the author are missing if
    ``is_left``.  ``vain_bytes`` is the work on rows that it brought nothing for."""

    first: int = 0
    last: int = 0
    count: int = 0  # type: ignore[assignment]
    is_left: bool = False
    vain_bytes: int = 0


class Stale(NamedTuple):
    """An Accept did not continue the log (or the log is forked, or is a local writer's and lacks bodies): nothing was
    done, the head is ``head``.

    Without any entries that is seq 0 and the genesis id.
    """

    head: Head


class Moved(NamedTuple):
    """A SetMeta was not to be in the place of what somebody else set meanwhile: nothing was done, ``value`` stays."""

    value: bytes | None


class Done(NamedTuple):
    """Any other request is durable."""


Reply: TypeAlias = Appended | Accepted | RowFilled | FillRow | Stale | Moved | Done | GossiplogError


class CommitReport(NamedTuple):
    """The results, one per request in their order, the segments that became durable, each log ascending, and the
    heads they made; of merging, nothing but ``changes``.  A segment without bodies only says what there is to be read.

    The logs of ``forgotten`` were deleted before that; what of them is in ``segments`` came afterwards.  ``changes`` is
    by how much what authors take on disk changed, afterwards, if somebody weighs; ``used_bytes`` what is in use there,
    if that was looked at.  ``forked`` are the authors of fork proofs that are new on disk, ``filled`` those of whom
    payloads came that were missing, ``proofs`` those of ``forked`` that came from others who share the store, as
    ``values`` did, by key.  ``before`` is where each of ``forgotten`` and ``heads`` was.
    """

    results: list[Reply]
    segments: list[Segment]
    heads: dict[bytes, Head]
    forgotten: tuple[bytes, ...] = ()
    changes: Mapping[bytes, int] = MappingProxyType({})
    forked: tuple[bytes, ...] = ()
    used_bytes: int | None = None
    filled: tuple[bytes, ...] = ()
    proofs: tuple[ForkProof, ...] = ()
    values: Mapping[str, bytes | None] = MappingProxyType({})
    before: Mapping[bytes, Head | None] = MappingProxyType({})

    @property
    def weighed(self) -> tuple[tuple[bytes, ...], Mapping[bytes, int], int | None]:
        """What :meth:`gossiplog.log.disk_cost.Weights.change` takes."""
        return self.forgotten, self.changes, self.used_bytes


class Delivery(NamedTuple):
    """What came of a batch of a store's work: of its writes, which were one commit, and of everything else.

    ``report`` is ``None`` when nothing was written; ``error`` then says why, if anything was to be.  ``brought_bytes``
    is how much of it peers brought, ``stale`` are the authors of whom a segment did not continue the log; ``has_room``:
    room was given back on the disk.  ``answers`` are to be called, each with its value or what was raised, once the
    rest is known to everybody.
    """

    report: CommitReport | None
    error: BaseException | None = None
    brought_bytes: int = 0
    stale: tuple[bytes, ...] = ()
    has_room: bool = False
    answers: Sequence[tuple[Callable[[Any], None], Any]] = ()

    def parts(self) -> list[Delivery]:
        """Return this, to be told one after the other: first what was deleted, and what others set, then what is there
        now; so that nobody who hears of the one meets a clock that is ahead with the other."""
        report = self.report
        if report is None or not report.forgotten:
            return [self]
        gone = {author: report.before.get(author) for author in report.forgotten}
        first = CommitReport([], [], {}, report.forgotten, values=report.values, before=gone)
        before = {
            author: None if author in gone else head
            for author, head in report.before.items()
            if author in report.heads
        }
        second = report._replace(forgotten=(), values={}, before=before)
        return [Delivery(first), self._replace(report=second)]
