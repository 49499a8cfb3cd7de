"""How far a catch-up is.

Responsible for: entries held and known to exist, per peer and in all, the rate, and the time left.
Must not know: how entries come.
Invariant: a claim is a hint: what nobody could back with entries disappears from the figures with its session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from gossiplog.gossip.pull_scheduler import PullScheduler
from gossiplog.notices import Peer, PeerProgress, Progress

INTERVAL_SECONDS = 0.25
"""How often an application is told while entries come."""

WINDOW_SECONDS = 5.0
"""The rate is that of the last seconds."""


class Meter:
    """I know how much there is to come, and how fast it comes; ``total`` says how many entries are held."""

    def __init__(self, total: Callable[[], int], schedule: PullScheduler) -> None:
        self._total = total
        self._schedule = schedule
        self._held = total()
        self._marks: deque[tuple[float, int]] = deque()
        self._due = 0.0
        self._was_behind = False

    def gained(self, entries: int, now: float) -> bool:
        """So many entries are new on disk; True when it is time to tell: something is still to come, or just was."""
        if not self._marks:
            self._marks.append((now, self._held))
        self._held += entries
        behind = self._schedule.is_behind
        if now < self._due and behind:
            return False
        if not behind and not self._was_behind:
            return False
        self._was_behind = behind
        self._due = now + INTERVAL_SECONDS
        self._marks.append((now, self._held))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW_SECONDS:
            self._marks.popleft()
        return True

    def forgot(self) -> None:
        """Some of what was held was deleted.  O(authors)."""
        self._held = self._total()
        self._marks.clear()

    def read(self, peers: Mapping[int, Peer]) -> Progress:
        """The figures of this moment.  O(peers)."""
        sources = self._schedule.sources
        by_peer = tuple(
            [PeerProgress(peer, sources[session].entries_ahead) for session, peer in peers.items()]
        )
        to_come = self._schedule.entries_to_come
        rate = self._rate()
        left = to_come / rate if rate > 0 else None
        return Progress(self._held, self._held + to_come, rate, left if to_come else 0.0, by_peer)

    def _rate(self) -> float:
        if len(self._marks) < 2:
            return 0.0
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began else 0.0


def in_words(progress: Progress) -> str:
    """A progress line: ``held 120,000 of 1,000,000 entries (12 %), 350,000/s, 3 s left``."""
    if progress.held >= progress.known:
        return f"all {progress.held:,} known entries held"
    share = progress.held * 100 // progress.known
    line = f"held {progress.held:,} of {progress.known:,} entries ({share} %)"
    if progress.seconds_left is None:
        return line
    return f"{line}, {progress.rate:,.0f}/s, {progress.seconds_left:,.0f} s left"
