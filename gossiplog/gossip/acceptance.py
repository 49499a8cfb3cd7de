"""What to do with a segment that came, given the head we have.

Responsible for: the acceptance rules (specification, "Acceptance").
Must not know: sessions, disks, time.
Invariant: a pure function; whatever it raises or returns, nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from gossiplog.log.segment import (
    Head,
    Segment,
    check_shape,
    check_whole,
    has_holes,
    id_at,
    tail_after,
    verify,
    verify_whole,
)


class Extends(NamedTuple):
    """The part of a verified segment that continues our log, the head it leads to, and whether it has holes."""

    segment: Segment
    head: Head
    holed: bool = False


class Verdict(Enum):
    """A segment that does not extend our log."""

    DUPLICATE = "we hold all of it"
    AHEAD = "it starts beyond our head: an announcement"
    SUSPECT = "verified, and not what we hold: the author may have forked"


def judge(
    segment: Segment,
    ours: Head,
    check: Callable[[Segment], Head] = verify_whole,
    *,
    holes: bool = False,
) -> Extends | Verdict:
    """Decide about ``segment`` when our head of its author is ``ours`` (seq 0 and the genesis id if we hold none).

    Raises :class:`BadSegmentError` or :class:`BadSignatureError` for an offence.  Duplicates from before our head and
    announcements are told apart from the header alone and cost no hash; a duplicate of our head costs no signature.
    Unless ``holes`` are welcome one is an offence too, found before anything is hashed (:class:`UnaskedHolesError`).
    ``check`` is :func:`gossiplog.log.segment.verify_whole`, or says the same.
    """
    if segment.last < ours.seq:
        return Verdict.DUPLICATE
    if segment.first > ours.seq + 1:
        return Verdict.AHEAD
    if segment.last == ours.seq:
        check_shape(segment)
        if not holes:
            check_whole(segment)
        if id_at(segment, ours.seq) == ours.id:
            return Verdict.DUPLICATE
    head = verify(segment) if holes else check(segment)
    if head.seq == ours.seq or id_at(segment, ours.seq) != ours.id:
        return Verdict.SUSPECT
    tail = tail_after(segment, ours.seq, ours.id)
    return Extends(tail, head, holes and has_holes(tail))
