"""What two peers of one session know of each other's missing payloads.

Responsible for: how far we asked a peer for what we lack, and what it asked of us.
Must not know: messages, disks, other sessions.
Invariant: both are bounded, whatever the peer says; who answers in vain, or not at all, is asked less.
"""

from __future__ import annotations

from collections.abc import Iterable

from gossiplog import limits
from gossiplog.log.segment import HoledRow

Ranges = tuple[tuple[int, int], ...]


class Lacking:
    """I am how far one peer was asked for the payloads that we lack.

    ``due``: it is to be asked, from ``after`` on, and of the authors ``only``, if that is not None.  ``open`` are
    authors it was asked for and has not answered, ``again`` those of them that it got more of meanwhile; ``hopes`` are
    those of whom it may have more later, and says so; ``gave``: something came since it was asked for that last.
    """

    def __init__(self) -> None:
        self.due = False
        self.after: HoledRow | None = None
        self.began: HoledRow | None = None
        self.only: set[bytes] | None = None
        self.open: dict[bytes, None] = {}
        self.again: dict[bytes, None] = {}
        self.hopes: dict[bytes, None] = {}
        self.turn = 0
        self.vain_turns = 0
        self.patience = limits.STALL_SECONDS
        self.not_before = 0.0
        self.hope_seconds = limits.ANNOUNCE_SECONDS / 2
        self.answers_by = 0.0
        self.is_watched = False
        self.has_progress = False
        self.looked_at = 0
        self.gave = False

    def begin(self) -> None:
        """Ask for everything, from the beginning."""
        self.due = True
        self.after = None
        self.only = None
        self.vain_turns = 0
        self.patience = limits.STALL_SECONDS
        self.not_before = 0.0
        self.hope_seconds = limits.ANNOUNCE_SECONDS / 2

    def hope(self, author: bytes, now: float) -> bool:
        """The peer says that it has more of ``author``; False if it was not asked in vain before.

        It is asked again, later each time if it gave nothing the last time.
        """
        if author in self.open:
            self.again[author] = None
        if author not in self.hopes:
            return False
        del self.hopes[author]
        if not self.due:
            longer = limits.ANNOUNCE_SECONDS if self.gave else 2 * self.hope_seconds
            self.gave = False
            self.hope_seconds = min(longer, limits.STALL_MOST_SECONDS)
            self.not_before = now + self.hope_seconds
        self.ask_also(author)
        return True

    def ask_also(self, author: bytes) -> None:
        """Ask for ``author``, with what else it is to be asked for."""
        if not self.due:
            self.due = True
            self.only = set()
        self.after = None
        if self.only is not None:
            self.only.add(author)

    def answered(self, author: bytes, now: float) -> None:
        """That was all it has of ``author`` now."""
        del self.open[author]
        self.vain_turns = 0
        self.patience = limits.STALL_SECONDS
        if len(self.hopes) >= limits.MAX_HOPES:
            del self.hopes[next(iter(self.hopes))]
        self.hopes[author] = None
        if self.again.pop(author, False) is None:
            self.hope(author, now)

    def was_late(self, now: float) -> None:
        """It did not answer all in time: it is asked the same again, later each time, and then no more."""
        self.open.clear()
        self.again.clear()
        self.after = self.began
        self.vain_turns = 1 if self.has_progress else self.vain_turns + 1
        self.not_before = now + self.patience
        self.patience *= 2
        if self.patience > limits.STALL_MOST_SECONDS:
            self.due = self.has_progress
            self.patience = limits.STALL_MOST_SECONDS


class Giving:
    """I am what one peer asked us for: ranges by author, still to be read.

    ``short`` are authors of whom we did not have all of that.
    """

    def __init__(self) -> None:
        self.asked: dict[bytes, Ranges] = {}
        self.short: dict[bytes, None] = {}
        self.is_reading = False
        self.is_next = False
        self.waits = False
        self.ranges = 0

    def ask(self, author: bytes, ranges: Iterable[tuple[int, int]]) -> None:
        """The peer wants these, instead of what it wanted of ``author`` before; too much is passed over."""
        self.forget(author)
        wanted = tuple(sorted(ranges))
        if self.ranges + len(wanted) <= limits.MAX_ASKED_RANGES:
            self.ranges += len(wanted)
            self.asked[author] = wanted

    def forget(self, author: bytes) -> Ranges:
        """What was wanted of ``author`` waits no longer."""
        ranges = self.asked.pop(author, ())
        self.ranges -= len(ranges)
        return ranges

    def fell_short(self, author: bytes) -> None:
        """We do not have all that was asked for."""
        if len(self.short) >= limits.MAX_HOPES:
            del self.short[next(iter(self.short))]
        self.short[author] = None
