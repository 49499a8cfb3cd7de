"""Who is asked for what: one source per author.

Responsible for: from which of those that claim to hold it each author is pulled.
Must not know: messages, disks, the content of segments.
Invariant: an author is pulled from at most one session; a session has at most ``OPEN_WANTS_PER_PEER`` authors open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import groupby

from gossiplog import limits
from gossiplog.gossip.claims import Claims, Source


class PullScheduler(Claims):
    """Spreads the authors we are behind on over the peers that have them; ``seq_of`` is our durable clock.

    ``ends``: of those of ``pulled_from`` that were asked for up to a seq only, which one it is.
    """

    def __init__(self, seq_of: Callable[[bytes], int] = lambda author: 0) -> None:
        super().__init__(seq_of)
        self.pulled_from: dict[bytes, int] = {}
        self.ends: dict[bytes, int] = {}
        self._changed = False

    def add(self, session: int) -> None:
        """A session is open."""
        self.sources[session] = Source(session)

    def remove(self, session: int) -> None:
        """A session is over; its authors are free for others."""
        source = self.sources.pop(session, None)
        if source is None:
            return
        for author in source.open:
            self._release(author, session)
        self._leave(session, source.claims)

    # -- what is claimed

    def claim(self, session: int, author: bytes, seq: int, *, first: bool = False) -> None:
        """``session`` says it holds ``author`` up to ``seq``, more than we do; ``first``: ask for it before others."""
        if self.hold(session, author, seq, always=first):
            self._changed = True
            if self.pulled_from.get(author) != session:
                todo = self.sources[session].todo
                todo.put_first(author) if first else todo.put(author)

    def want(self, session: int, author: bytes) -> None:
        """Ask for what ``session`` claims of ``author``: it does not come by itself."""
        source = self.sources[session]
        if author in source.claims and self.pulled_from.get(author) != session:
            self._changed = True
            source.todo.put(author)

    def drop(self, session: int, author: bytes) -> None:
        """``session`` claims nothing of ``author`` any more that we do not hold."""
        source = self.sources[session]
        self._withdraw(session, author)
        if author in source.open:
            source.close(author)
            self._release(author, session)

    # -- what is pulled

    def pulls(self, session: int, author: bytes) -> bool:
        """Whether ``author`` is being pulled from ``session``: what comes is backlog and not news."""
        return self.pulled_from.get(author) == session

    def pulls_holes(self, session: int, author: bytes) -> bool:
        """Whether ``author`` is being pulled from ``session``, payloads or not."""
        return self.pulled_from.get(author) == session and author in self.sources[session].holes

    def open_with_holes(self, session: int, author: bytes, seq: int, now: float) -> bool:
        """Pull ``author`` from ``session``, payloads or not; False while it may come whole, or there is no free place.

        Others that claim it may have it, but for those that were late and did not make up for it.
        """
        source = self.sources[session]
        others = [self.sources[other] for other in self.claimants(author) if other != session]
        puller = self.pulled_from.get(author)
        if (
            puller == session
            or len(source.open) >= limits.OPEN_WANTS_PER_PEER
            or not all(other.tardy for other in others)
        ):
            return False
        if puller is not None:
            self.sources[puller].close(author)
        self.hold(session, author, seq, always=True)
        if not source.open:
            source.progress_at = now
        source.open[author] = now
        source.holes.add(author)
        self.pulled_from[author] = session
        return True

    def accepted(self, session: int, author: bytes, seq: int, now: float) -> None:
        """A segment from ``session`` took our accepted head of ``author`` to ``seq``."""
        self.sources[session].progress_at = now
        puller = self.pulled_from.get(author)
        if puller is None:
            return
        source = self.sources[puller]
        source.open[author] = now
        if seq >= source.claims.get(author, 0):
            source.close(author)
            self._release(author, puller)
            if not source.open:  # it served all we asked for
                source.patience = limits.STALL_SECONDS
                source.tardy = 0

    def durable(self, author: bytes, seq: int) -> None:
        """Our durable head of ``author`` is ``seq``: claims up to it are settled."""
        for session in self.claimants(author):
            if self.sources[session].claims[author] <= seq:
                self.drop(session, author)
        self._advance(author, seq)

    def next_wants(self, accepted_seq: Callable[[bytes], int], now: float) -> list[tuple[int, list[bytes]]]:
        """Fill the free places of every session, in turn; returns the authors newly opened, by session.

        Sessions that let us wait before come last.  O(1) when nothing was claimed or freed since the last call.
        """
        if not self._changed:
            return []
        self._changed = False
        # refill in batches: one WANT for sixteen authors costs one frame
        waiting = sorted(
            (source.tardy, session)
            for session, source in self.sources.items()
            if source.todo and len(source.open) <= limits.OPEN_WANTS_PER_PEER // 2
        )
        opened: dict[int, list[bytes]] = {}
        for _, equals in groupby(waiting, key=lambda place: place[0]):
            turns = deque(session for _, session in equals)
            while turns:
                session = turns.popleft()
                source = self.sources[session]
                author = self._next(source, accepted_seq)
                if author is None:
                    continue
                if not source.open:
                    source.progress_at = now
                source.open[author] = now
                self.pulled_from[author] = session
                opened.setdefault(session, []).append(author)
                if len(source.open) < limits.OPEN_WANTS_PER_PEER:
                    turns.append(session)
        return [*opened.items()]

    def stalled(self, now: float) -> bool:
        """Whether a session did not advance what we pull from it for too long; that was given back.

        Each author goes to the end of its session's queue and to the front of everyone else's that claims it.  When
        none advanced, the session is given twice the time from then on.  One that is in the middle of a long segment
        keeps what nobody else has; one that advances others keeps what nobody is better placed for.
        """
        late = False
        for session, source in self.sources.items():
            if not source.open or now - min(source.open.values()) < limits.STALL_SECONDS:
                continue
            is_late = now - source.progress_at >= source.patience
            if is_late:
                trickles = self.trickles(session, now)
                given = [a for a in source.open if not trickles or len(self.claimants(a)) > 1]
                source.patience = min(source.patience * (2 if given else 1), limits.STALL_MOST_SECONDS)
            else:
                given = [a for a, since in source.open.items() if self._better(a, source, since, now)]
            for author in given:
                late = True
                source.close(author)
                self._release(author, session)
                source.todo.put(author)
            source.tardy += bool(given)
        return late

    def _better(self, author: bytes, source: Source, since: float, now: float) -> bool:
        """Whether somebody else may take ``author``, which advanced last at ``since``, from ``source``.

        Whoever advances what it likes to advance must not hold up the rest; but somebody who is busy is not better than
        ``source``, whose turn for this author may come in a moment.
        """
        if now - since < limits.STALL_SECONDS:
            return False
        others = [self.sources[number] for number in self.claimants(author)]
        free = [
            other
            for other in others
            if other is not source and len(other.open) <= limits.OPEN_WANTS_PER_PEER // 2
        ]
        if now - source.progress_at >= limits.STALL_SECONDS:
            return any(other.tardy < source.tardy for other in free)
        waited_long = now - since >= limits.STALL_MOST_SECONDS
        return any(other.tardy <= source.tardy and (waited_long or not other.open) for other in free)

    def trickled(self, session: int, now: float) -> None:
        """Part of a segment, or of something else, came from ``session``."""
        if session in self.sources:
            self.sources[session].trickled_at = now

    def trickles(self, session: int, now: float, within: float = limits.STALL_SECONDS) -> bool:
        """Whether part of a segment, or of something else, came from ``session`` lately."""
        source = self.sources.get(session)
        return source is not None and now - source.trickled_at < within

    def resume(self, now: float) -> None:
        """We read again after a pause of our own: nobody was late meanwhile."""
        for source in self.sources.values():
            source.progress_at = now
            source.open.update(dict.fromkeys(source.open, now))

    def reask(self, authors: Iterable[bytes]) -> None:
        """What was accepted of these ``authors`` is lost: whoever claims it is to be asked again."""
        self._changed = True
        for author in authors:
            puller = self.pulled_from.pop(author, None)
            self.ends.pop(author, None)
            if puller is not None:
                self.sources[puller].close(author)
            for session in self.claimants(author):
                self.sources[session].todo.put(author)

    def _next(self, source: Source, accepted_seq: Callable[[bytes], int]) -> bytes | None:
        while source.todo:
            author = source.todo.pop()
            if author not in self.pulled_from and source.claims.get(author, 0) > accepted_seq(author):
                return author
        return None

    def _release(self, author: bytes, session: int) -> None:
        """``author`` is pulled from ``session`` no longer; whoever else claims it may take it."""
        self._changed = True
        if self.pulled_from.get(author) == session:
            del self.pulled_from[author]
            self.ends.pop(author, None)
        for other in self.claimants(author):
            if other != session:
                self.sources[other].todo.put_first(author)
