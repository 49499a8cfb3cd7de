"""What peers have, but not without holes.

Responsible for: remembering who said so of which authors, and when one of them may be asked to send holes.
Must not know: messages, payloads; who is asked for what else.
Invariant: nobody is asked for holes while a peer that answers claims to have the author, nor before all had the time to
say what they have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gossiplog import limits
from gossiplog.gossip.pull_scheduler import PullScheduler

LOOKED_AT_ONCE = 1024
"""Authors that one look goes through."""

WITHHELD_BYTES = 400
"""What an author takes up here."""


class WithdrawnClaims:
    """I know of which authors nobody gave more without holes, and who would with them."""

    def __init__(self, schedule: PullScheduler) -> None:
        self._schedule = schedule
        self._seqs: dict[bytes, dict[int, int]] = {}
        self._since: dict[bytes, float] = {}
        self._of_session: Counter[int] = Counter()

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._seqs)

    def note(self, session: int, author: bytes, seq: int, now: float) -> None:
        """``session`` claimed ``author`` up to ``seq``, and takes that back; of too many, this is forgotten."""
        seqs = self._seqs.get(author, {})
        if session not in seqs:
            if self._of_session[session] >= limits.MAX_OWED_AUTHORS:
                return
            self._of_session[session] += 1
        self._seqs.setdefault(author, seqs)[session] = seq
        self._since.setdefault(author, now)

    def has(self, session: int) -> bool:
        """Whether ``session`` has something that we may still ask for."""
        return self._of_session[session] > 0

    def held_bytes(self, session: int) -> int:
        """About what is kept of ``session``.  O(1)."""
        return WITHHELD_BYTES * self._of_session[session]

    def durable(self, author: bytes, seq: int) -> None:
        """We hold ``author`` up to ``seq``."""
        for session, withdrawn in [*self._seqs.get(author, {}).items()]:
            if withdrawn <= seq:
                self.drop(session, author)

    def drop(self, session: int, author: bytes) -> None:
        """``session`` is not to be asked for ``author``."""
        seqs = self._seqs.get(author)
        if seqs is None or seqs.pop(session, None) is None:
            return
        self._of_session[session] -= 1
        if not self._of_session[session]:
            del self._of_session[session]
        if not seqs:
            del self._seqs[author], self._since[author]

    def remove(self, session: int) -> None:
        """A session is over.  O(authors), if it withdrew any."""
        if self._of_session[session]:
            for author in [*self._seqs]:
                self.drop(session, author)

    def open(self, is_wanted: Callable[[int, bytes], bool], now: float) -> list[tuple[int, bytes]]:
        """Choose who is to be asked for which author with holes, and open these in the schedule."""
        opened = []
        for author in [*self._seqs][:LOOKED_AT_ONCE]:
            seqs, since = self._seqs.pop(author), self._since[author]
            self._seqs[author] = seqs  # behind those that were not looked at
            for session, seq in [*seqs.items()]:
                if not is_wanted(session, author):
                    self.drop(session, author)
                elif now - since >= limits.STALL_SECONDS and self._schedule.open_with_holes(
                    session, author, seq, now
                ):
                    self.drop(session, author)
                    opened.append((session, author))
                    break
        return opened
