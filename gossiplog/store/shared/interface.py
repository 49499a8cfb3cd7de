"""What a store offers that several relays share.

Responsible for: the protocol :class:`Shared` of the part of a backend that knows of others, and its values.
Must not know: how it is kept; what a relay does with it.
Invariant: an author's head is moved by who names the one before, and nobody else (compare and set), so that of two
relays that continue a log one has lost and wrote nothing.  Each writer's commits are one feed, a *lane*: append-only,
numbered without gaps, in the order of its commits.  A position is a number for each lane.

A log that was deleted may come again, so a head alone does not say which of two is the older one: with each goes how
often the log was deleted, and a head is moved only by who knows that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Head, Segment

RELAY_OF: Final = "relay of"
"""A value in a directory that is no store of its own: what the store is of the relay that has its key there."""

BEAT_SECONDS: Final = 5.0
"""Between two signs of life of a relay."""

Position: TypeAlias = Mapping[bytes, int]
"""How far each lane was read."""


class Stand(NamedTuple):
    """An author as it is after a commit of somebody: its head, if anything is held, and the proof if it forked.

    ``segment``: what took it there, where it is small enough to be said at once.  ``deletions``: how often its log was
    deleted before that.
    """

    author: bytes
    head: Head | None
    segment: Segment | None = None
    proof: ForkProof | None = None
    deletions: int = 0


class Kept(NamedTuple):
    """Somebody set, or removed, the value ``key`` of the store itself; what it is now, the store is asked."""

    key: str


Change: TypeAlias = Stand | Kept


class Shared(Protocol):
    """What one relay knows of the others.

    Its commits raise :class:`~gossiplog.errors.LostRaceError` for authors that others moved, values that they set, and
    what it is not known of whether it was done, and :class:`~gossiplog.errors.StoreWentBackError` where its own lane is
    not as it left it.
    """

    deletions: dict[bytes, int]
    """How often logs were deleted, of those that ever were, as far as the relay has taken that in; commits move no head
    of a log that was deleted since.  Whoever takes in what others did moves it."""

    @property
    def directory(self) -> str | None:
        """A directory of this machine that is this relay's, if there is one."""

    def stands(self, authors: Iterable[bytes]) -> Sequence[Stand]:
        """Return these authors as they are now, without segments."""

    def weights(self, authors: Collection[bytes]) -> dict[bytes, int]:
        """Return what the rows of these authors take, as :meth:`gossiplog.store.interface.Rows.weights` of all."""

    def rows_bytes(self) -> int:
        """Return what the rows of all logs take together."""

    def start(self) -> Position:
        """Return where every lane ends now, and begin there: whatever is read from now on is no older, what is known of
        deletions neither."""

    def poll(self, after: Position, limit_bytes: int) -> tuple[Sequence[Change], Position]:
        """Return what others changed after a position, in the order of their lanes, about so many bytes of it; and the
        position behind it.

        Called in another thread than everything else, as :meth:`beat` is, by one at a time.

        :raises StoreWentBackError: a lane ends before ``after``: the store was put back to an earlier state.
        :raises StoreUnreachableError: nobody answers; try again.
        """

    def beat(self) -> None:
        """Say to the others that we are there: every ``BEAT_SECONDS``, after a poll.

        :raises StoreUnreachableError: nobody answers; try again.
        """
