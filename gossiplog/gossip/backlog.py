"""Reading what a peer asked for.

Responsible for: carrying out a :class:`gossiplog.gossip.events.Load`, in whatever thread the store lives.
Must not know: sessions; which peer it is for.
Invariant: memory and time are bounded by the limit asked for and one row more, however many authors were named and
whatever their rows are like.  No segment with holes is given for an author whose holes were not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from gossiplog.errors import StoreError
from gossiplog.gossip.outbox import PROOF, Sent
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import (
    ROW_TOIL_BYTES,
    Head,
    Segment,
    count_holes,
    cut_toil_bytes,
    id_at,
    tail_after,
    toil_bytes,
)

Read = Callable[[bytes, int, int], list[Segment]]
"""``read(author, first, limit_bytes)``: stored neighbours from the one with ``first`` on, as a store gives them."""


class Backlog(NamedTuple):
    """What is to be sent; ``withheld`` are authors of whom nothing can be sent, since a payload there was dropped.

    ``vain_bytes`` of the work led to nothing that is sent, or to a proof.
    """

    segments: tuple[Sent, ...]
    withheld: tuple[bytes, ...] = ()
    vain_bytes: int = 0

    @property
    def work_bytes(self) -> int:
        """What it took to read this."""
        return self.vain_bytes + sum(toil_bytes(sent) for sent in self.segments if isinstance(sent, Segment))


def read(
    wants: Sequence[tuple[bytes, int]],
    limit_bytes: int,
    stored: Read,
    proof_of: Callable[[bytes], ForkProof | None],
    damages: dict[bytes, StoreError] | None = None,
    holes: Collection[bytes] = (),
) -> Backlog:
    """Segments of each author from its seq on, a fair share of ``limit_bytes`` each, in the order of ``wants``.

    Of those from ``PROOF`` on it is the proof.  What counts is the work, so that a read never takes much longer than
    one of large entries.  Authors at the end are left out when the others take all; so is what cannot be read, which
    ``damages`` then says.  What a row holds before the seq asked for is cut off: after a merge that may be nearly all
    of it.  The first segment with a hole ends what is given of an author, unless it is one of those in ``holes``.
    """
    share = limit_bytes // max(1, len(wants))
    found: list[Sent] = []
    withheld: list[bytes] = []
    size = vain = 0
    for author, first in wants:
        if size >= limit_bytes:
            break
        try:
            if first == PROOF:
                proof = proof_of(author)
                if proof is not None:
                    found.append(proof)
                    size += toil_bytes(proof.segment)
                    vain += toil_bytes(proof.segment)
                continue
            segments = stored(author, first, min(share, limit_bytes - size))
        except StoreError as error:  # damaged: the others can be read all the same
            if damages is not None:
                damages[author] = error
            size += ROW_TOIL_BYTES
            continue
        work = sum(map(toil_bytes, segments)) or ROW_TOIL_BYTES
        if segments and segments[0].first < first:
            work += cut_toil_bytes(segments[0], first - 1)
            segments[0] = tail_after(segments[0], first - 1, id_at(segments[0], first - 1))
        if author not in holes:
            whole = next((at for at, segment in enumerate(segments) if count_holes(segment)), None)
            if whole == 0:
                withheld.append(author)
            segments = segments[:whole]
        found += segments
        size += work
        vain += work - sum(map(toil_bytes, segments))
    return Backlog(tuple(found), tuple(withheld), vain)


class Payloads(NamedTuple):
    """What is to be given of ranges of a log, which of them are ``left``, and whether all was there.

    ``work_bytes``: what it took to look for them, found or not.
    """

    segments: tuple[Segment, ...] = ()
    left: tuple[tuple[int, int], ...] = ()
    is_whole: bool = False
    work_bytes: int = 0


def payloads(
    author: bytes,
    ranges: Sequence[tuple[int, int]],
    limit_bytes: int,
    stored: Read,
    head: Head | None,
) -> Payloads:
    """What is stored of ranges of a log, ascending.

    Segments come whole, where they have any payload; behind the last of them the signed ``head``, which says that
    nothing more comes.  Nothing at all comes of a log that is not held.
    """
    found: list[Segment] = []
    work = at = 0
    is_whole = True
    for place, (first, last) in enumerate(ranges):
        seq = max(first, at + 1)
        while seq <= last:
            if work >= limit_bytes:
                return Payloads(tuple(found), ((seq, last), *ranges[place + 1 :]), is_whole, work)
            rows = stored(author, seq, 1) if head is not None and seq <= head.seq else []
            if not rows:
                is_whole = False
                break
            at = rows[0].last
            seq = at + 1
            work += toil_bytes(rows[0])
            holes = count_holes(rows[0])
            is_whole = is_whole and not holes
            if holes < rows[0].count:
                found.append(rows[0])
    end = stored(author, head.seq, 1) if head is not None else []
    if head is not None and end:
        found.append(Segment(author, head.seq + 1, 0, head.id, end[-1].signature, b""))
        work += sum(map(toil_bytes, end))
    return Payloads(tuple(found), (), is_whole, work)
