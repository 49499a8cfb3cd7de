"""Who claims what: the seqs of authors beyond our durable clock, by session.

Responsible for: remembering claims and who made them, and how many entries these are.
Must not know: who is asked for what; messages, disks.
Invariant: what is not claimed any more is remembered nowhere, or *buried* soon: to forget a million claims takes some
seconds, and so they are forgotten some at a time.  Until then their authors have claimants that are passed over, and
count as such of which entries are to come.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice

from gossiplog import limits
from gossiplog.gossip.sharded_tables import Line, Table

CLAIM_BYTES = 140
"""What each claim takes up, beside the tables: its author, its seq, and who claims it."""

BURIED_AT_ONCE = 1024
"""Claims that are forgotten in one go: two milliseconds."""

_SESSION_BYTES = 8


class Source:
    """What one session claims, and what we pull from it: ``open``, with when each author was asked for or advanced.

    ``entries_ahead``: how many entries it claims beyond our durable clock.
    """

    def __init__(self, session: int) -> None:
        self.key = _key(session)
        self.claims: Table[int] = Table()
        self.entries_ahead = 0
        self.open: dict[bytes, float] = {}
        self.todo = Line()
        self.progress_at = 0.0
        self.trickled_at = -limits.STALL_SECONDS
        self.patience = limits.STALL_SECONDS
        self.tardy = 0
        self.claims_more = False
        self.room_claims: int | None = None
        self.holes: set[bytes] = set()

    def close(self, author: bytes) -> None:
        """``author`` is pulled from here no longer."""
        del self.open[author]
        self.holes.discard(author)


class Claims:
    """I know what each session claims; ``seq_of`` is our durable clock.

    ``entries_to_come``: how many entries are claimed beyond it, by whomever.  It is counted as claims come and go:
    there may be a million of them, and an application asks several times a second.
    """

    def __init__(self, seq_of: Callable[[bytes], int] = lambda author: 0) -> None:
        self.sources: dict[int, Source] = {}
        self.entries_to_come = 0
        self._seq_of = seq_of
        self._counted_from: Table[int] = Table()
        self._claimants: Table[bytes] = Table()
        self._gone: dict[int, list[Table[int]]] = {}

    # -- what is claimed

    def hold(self, session: int, author: bytes, seq: int, *, always: bool = False) -> bool:
        """``session`` sent us ``author`` up to ``seq``: to be asked for only if it is lost; False if that is old.

        Also False when it claims too many authors to remember, unless this one is to be remembered ``always``.
        """
        source = self.sources[session]
        claimed = source.claims.get(author, 0)
        if seq <= claimed:
            return False
        claimants = self._claimants.get(author, b"")
        if not claimed:
            most = limits.MAX_CLAIMS if source.room_claims is None else source.room_claims
            if len(source.claims) >= most and not always:
                source.claims_more = True
                return False
            self.bury(1)
            # most are claimed by one: these share a key, where a set of each would be half of what a claim takes up
            claimants = self._claimants.get(author, b"")
            if not claimants and (held := self._seq_of(author)):
                self._counted_from[author] = held
            if session not in _sessions(claimants):
                self._claimants[author] = claimants + source.key if claimants else source.key
        counted_from = self._counted_from.get(author, 0)
        source.entries_ahead += seq - (claimed or counted_from)
        self.entries_to_come += max(0, seq - self._most_claimed(author, claimants))
        source.claims[author] = seq
        return True

    def missing(self, session: int) -> Table[int]:
        """What ``session`` claims beyond our durable clock: author -> seq."""
        return self.sources[session].claims

    def claimants(self, author: bytes) -> list[int]:
        """Which sessions claim ``author``."""
        found = _sessions(self._claimants.get(author, b""))
        return [session for session in found if self._claimed(session, author)]

    @property
    def claimed(self) -> Iterator[bytes]:
        """Whose claimants are remembered.  O(n)."""
        return iter(self._claimants)

    @property
    def is_behind(self) -> bool:
        """Whether anybody claims anything.  O(sessions)."""
        return any(source.claims for source in self.sources.values())

    def claimed_more(self, session: int) -> bool:
        """Whether ``session`` claimed more than is remembered, once what is remembered is done; asked once."""
        source = self.sources[session]
        if source.claims or not source.claims_more:
            return False
        source.claims_more = False
        return True

    def held_bytes(self, session: int) -> int:
        """About what is kept of ``session``.  O(1)."""
        source = self.sources[session]
        return source.claims.size_bytes + source.todo.size_bytes + CLAIM_BYTES * len(source.claims)

    @property
    def table_bytes(self) -> int:
        """About what is kept besides: who claims what.  O(1)."""
        return self._claimants.size_bytes + self._counted_from.size_bytes

    # -- what is not claimed any more

    def forget(self, session: int, most: int, keep: AbstractSet[bytes]) -> bool:
        """Remember at most ``most`` claims of ``session``, and those of authors in ``keep``; the rest will come again.

        What is being pulled stays as well, then what would have been asked for next.  False if there are no more than
        that: then all stay, and so does what waits for others to send it.  O(most + keep).
        """
        source = self.sources[session]
        before, todo = source.claims, source.todo
        if len(before) <= most:
            return False
        kept = dict.fromkeys([*source.open, *sorted(author for author in keep if author in before)])
        kept |= dict.fromkeys(islice(todo, max(0, most - len(kept))))
        source.claims, source.todo, source.entries_ahead = Table(), Line(), 0
        for author in kept:
            seq = before.get(author, 0)
            if seq:
                source.claims[author] = seq
                source.entries_ahead += seq - self._counted_from.get(author, 0)
            if author in todo:
                source.todo.put(author)
        source.claims_more = True
        self._leave(session, before)
        return True

    @property
    def buries(self) -> bool:
        """Whether something is left to be forgotten."""
        return bool(self._gone)

    def bury(self, most: int = BURIED_AT_ONCE) -> None:
        """Forget who claimed what is not claimed any more: so many authors."""
        while most > 0 and self._gone:
            session, tables = next(iter(self._gone.items()))
            item = tables[-1].take()
            if item is not None:
                self._unclaim(item[0], session, item[1])
                most -= 1
            if not tables[-1]:
                tables.pop()
            if not tables:
                del self._gone[session]

    def bury_all(self) -> None:
        """Nobody claims anything any more."""
        self._gone.clear()
        self._claimants, self._counted_from = Table(), Table()
        self.entries_to_come = 0

    def _leave(self, session: int, claims: Table[int]) -> None:
        """``session`` claims these no longer: few are forgotten at once, many with time."""
        self._gone.setdefault(session, []).append(claims)
        self.bury()

    def _withdraw(self, session: int, author: bytes) -> None:
        """``session`` claims nothing of ``author`` any more."""
        source = self.sources[session]
        seq = source.claims.pop(author)
        if seq is not None:
            source.todo.discard(author)
            source.entries_ahead -= seq - self._counted_from.get(author, 0)
            self._unclaim(author, session, seq)

    def _advance(self, author: bytes, seq: int) -> None:
        """Our durable head of ``author`` is ``seq``, which is less than what anybody claims."""
        claimants = self._claimants.get(author, b"")
        if claimants:
            counted_from = self._counted_from.get(author, 0)
            most = self._most_claimed(author, claimants)
            self.entries_to_come += max(most, seq) - seq - (most - counted_from)
            self._counted_from[author] = seq
            for session in self.claimants(author):
                self.sources[session].entries_ahead -= seq - counted_from

    def _claimed(self, session: int, author: bytes) -> int:
        """Up to which seq ``session`` claims ``author``, 0 if it does not."""
        source = self.sources.get(session)
        return 0 if source is None else source.claims.get(author, 0)

    def _most_claimed(self, author: bytes, claimants: bytes) -> int:
        """The highest seq that these claim of ``author``, or claimed if that is not buried."""
        most = self._counted_from.get(author, 0)
        for session in _sessions(claimants):
            most = max(most, self._claimed(session, author))
            for table in self._gone.get(session, ()):
                most = max(most, table.get(author, 0))
        return most

    def _unclaim(self, author: bytes, session: int, seq: int) -> None:
        """``session`` claimed ``author`` up to ``seq`` until now."""
        claimants = self._claimants.get(author, b"")
        before = max(seq, self._most_claimed(author, claimants))
        is_left = self._claimed(session, author) or any(author in t for t in self._gone.get(session, ()))
        if not is_left:
            others = [other for other in _sessions(claimants) if other != session]
            if len(others) == 1 and others[0] in self.sources:
                claimants = self.sources[others[0]].key
            else:
                claimants = b"".join(map(_key, others))
        self.entries_to_come -= before - self._most_claimed(author, claimants)
        if claimants:
            self._claimants[author] = claimants
        else:
            self._claimants.pop(author)
            self._counted_from.pop(author)


def _key(session: int) -> bytes:
    return session.to_bytes(_SESSION_BYTES, sys.byteorder)


def _sessions(keys: bytes) -> list[int]:
    return memoryview(keys).cast("Q").tolist()
