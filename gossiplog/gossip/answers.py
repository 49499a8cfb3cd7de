"""What a peer was asked for: to answer costs it nothing.

Responsible for: remembering the questions of one session until they are answered, and telling an answer from what
nobody asked for.
Must not know: what is done with an answer.
Invariant: an answer is free once, and no more of it than was asked for: of a WANT, entries that we hold by now, once
each, and two segments that contradict them; of a FILL, each seq of its ranges once; of a reconcile that we began,
``ALLOWANCE_POINTS``.
"""

from __future__ import annotations

from collections.abc import Callable

from gossiplog import limits
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    Lazy,
    Message,
    Ping,
    Pong,
    RangeKind,
    Ranges,
    Refuse,
    Want,
)
from gossiplog.log.segment import Segment

_ASKING = (RangeKind.FINGERPRINT, RangeKind.LIST)


class _Exchange:
    """A reconcile that we began: what it may still cost, and whether the step that each side is saying asks more."""

    def __init__(self) -> None:
        self.points = float(limits.ALLOWANCE_POINTS)
        self.asks = {True: False, False: False}

    def is_over(self, step: Ranges, ours: bool) -> bool:
        """Take note of one message; whether it is the last."""
        self.asks[ours] |= any(part.kind in _ASKING for part in step.ranges)
        if step.more:
            return False
        asked, self.asks[ours] = self.asks[ours], False
        return not asked


class Answers:
    """I know what one peer still owes us: ``firsts``, from which seq on, of the authors that it was asked for.

    ``starts_even``: the exchanges that we begin have even numbers.
    """

    def __init__(self, *, starts_even: bool) -> None:
        self._parity = 0 if starts_even else 1
        self._begun = -1
        self.firsts: dict[bytes, int] = {}
        self._exchanges: dict[int, _Exchange] = {}
        self._token: int | None = None
        self._fills: dict[bytes, tuple[tuple[int, int], ...]] = {}
        self.fill_ranges = 0
        self.unasked = 0

    @property
    def reconciles(self) -> int:
        """How many reconciles that we began are not over."""
        return len(self._exchanges)

    def asked(self, message: Message) -> None:
        """This is sent to the peer."""
        if isinstance(message, Fill):
            self._fill(message.author, message.ranges)
            while self.fill_ranges > limits.MAX_ASKED_RANGES:
                self._filled(next(iter(self._fills)))
        elif isinstance(message, Want):
            for author, first, _ in message.items:
                if author is not None:
                    self.firsts[author] = first
            while len(self.firsts) > limits.MAX_OWED_AUTHORS:
                del self.firsts[next(iter(self.firsts))]  # as its answer may be forgotten by the peer
        elif isinstance(message, Lazy | Refuse):
            for name in message.authors:
                self.done(name or b"")
        elif isinstance(message, Ping):
            self._token = message.token
        elif isinstance(message, Ranges) and message.exchange % 2 == self._parity:
            if message.exchange > self._begun:
                self._begun = message.exchange
                self._exchanges[message.exchange] = _Exchange()
            self._follow(message, ours=True)

    def forget(self) -> None:
        """Nothing that comes is an answer to WANT or FILL any more."""
        self.firsts, self._fills = {}, {}
        self.fill_ranges = 0

    def done(self, author: bytes) -> None:
        """What was asked of ``author`` is answered."""
        self.firsts.pop(author, None)

    def spend(self, message: Ranges, points: float) -> bool:
        """Whether ``message`` belongs to a reconcile that we began, and may cost so much."""
        exchange = self._exchanges.get(message.exchange)
        if exchange is None or exchange.points < points:
            return False
        exchange.points -= points
        return True

    def answer(
        self,
        message: Message,
        points: float,
        accepted: Callable[[bytes], int],
        named: Callable[[Have], list[tuple[bytes, int]]],
    ) -> bool:
        """Whether ``message``, which came, is an answer; then it is not one again.

        ``accepted``: the seq that we accepted of an author; ``named``: what a HAVE says of whom.  Of a segment that has
        what was to be filled, ``unasked`` are the entries that were not: segments come whole.
        """
        self.unasked = 0
        if isinstance(message, Segment):
            return self._fills_in(message) or self._brings(message, accepted(message.author))
        if isinstance(message, Fork):
            return self._was_asked(message.proof.author)
        if isinstance(message, Have):
            answered = [self._was_asked(author, seq) for author, seq in named(message)]
            return bool(answered) and all(answered)
        if isinstance(message, Pong):
            is_answer = message.token == self._token
            self._token = None if is_answer else self._token
            return is_answer
        if isinstance(message, Ranges):
            is_answer = self.spend(message, points)
            self._follow(message, ours=False)
            return is_answer
        return False

    def _was_asked(self, author: bytes, held: int = 0) -> bool:
        """Whether the peer, which holds so much of ``author``, was asked for it; it is not any more."""
        was_wanted = author in self.firsts
        was_lacking = not held and author in self._fills
        self.done(author)
        if was_lacking:
            self._filled(author)
        return was_wanted or was_lacking

    def _fill(self, author: bytes, ranges: tuple[tuple[int, int], ...]) -> None:
        self._filled(author)
        if ranges:
            self._fills[author] = ranges
            self.fill_ranges += len(ranges)

    def _filled(self, author: bytes) -> None:
        self.fill_ranges -= len(self._fills.pop(author, ()))

    def _fills_in(self, segment: Segment) -> bool:
        """Whether a segment has some of what the peer was asked to fill, or ends the answer to that.

        Answers are ascending, and segments come whole: what is before the end of one does not come again.
        """
        author, first, last = segment.author, segment.first, segment.last
        ranges = self._fills.get(author)
        if ranges is None:
            return False
        if not segment.count:
            self._filled(author)
            return True
        asked = sum(max(0, min(last, high) - max(first, low) + 1) for low, high in ranges)
        if not asked:
            return False
        self.unasked = segment.count - asked
        self._fill(author, tuple((max(low, last + 1), high) for low, high in ranges if high > last))
        return True

    def _brings(self, segment: Segment, held: int) -> bool:
        """Whether a segment goes on where the one before ended, or where it was asked for, within what is held."""
        first = self.firsts.get(segment.author)
        if first is None or not first <= segment.first <= held + 1 or not segment.count:
            return False
        if segment.last == held:
            del self.firsts[segment.author]
        else:
            self.firsts[segment.author] = segment.last + 1
        return True

    def _follow(self, message: Ranges, *, ours: bool) -> None:
        exchange = self._exchanges.get(message.exchange)
        if exchange is not None and exchange.is_over(message, ours):
            del self._exchanges[message.exchange]
