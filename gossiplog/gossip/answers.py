"""What a peer was asked for: to answer costs it nothing.

Responsible for: remembering the questions of one session until they are answered, and telling an answer from what
nobody asked for.
Must not know: what is done with an answer.
Invariant: an answer is free once, and no more of it than was asked for: of a WANT, entries that we hold by now, once
each, and two segments that contradict them; of a reconcile that we began, ``ALLOWANCE_POINTS``.  What crosses with what
we said is free as often as we said something.
"""

from __future__ import annotations

from collections.abc import Callable

from gossiplog import limits
from gossiplog.gossip.messages import (
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
        self._proofs = 0
        self._pushes = 0
        self._prunes = 0

    @property
    def reconciles(self) -> int:
        """How many reconciles that we began are not over."""
        return len(self._exchanges)

    def asked(self, message: Message) -> None:
        """This is sent to the peer."""
        if isinstance(message, Segment):
            self._pushes += 1
            self._prunes += 1
        elif isinstance(message, Fork):
            self._proofs += 1
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
        named: Callable[[Have], list[bytes]],
    ) -> bool:
        """Whether ``message``, which came, is an answer; then it is not one again.

        ``accepted``: the seq that we accepted of an author; ``named``: the authors that a HAVE speaks of.
        """
        if isinstance(message, Segment):
            return self._brings(message, accepted(message.author))
        if isinstance(message, Fork):
            return self.firsts.pop(message.proof.author, None) is not None
        if isinstance(message, Have):
            answered = [self.firsts.pop(author, None) is not None for author in named(message)]
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

    def crosses(self, message: Message) -> bool:
        """Whether a peer says this because we said the same, or could not know yet that we did.

        A third party that gives two nodes the same makes them tell each other.
        """
        if isinstance(message, Fork):
            self._proofs, crosses = max(0, self._proofs - 1), self._proofs > 0
            return crosses
        if isinstance(message, Segment):
            self._pushes, crosses = max(0, self._pushes - 1), self._pushes > 0
            return crosses
        if isinstance(message, Lazy):
            names = len(message.authors)
            self._prunes, crosses = max(0, self._prunes - names), self._prunes >= names
            return crosses and None not in message.authors
        return False

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
